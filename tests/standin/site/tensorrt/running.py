"""``Runtime``, engines and contexts: ONNX Runtime computes, CUDA's streams say when."""

from __future__ import annotations

import ctypes
import json
import time
import weakref
from typing import Any

import numpy as np
import onnx
import onnxruntime

from . import device, genuine, graph, messages, perturbations, plan, settings
from .building import IHostMemory

_LAYER_MEMORY = 1 << 20  # what a context takes of the device, in bytes
_SHAPES_TO_KEEP = 64


class Runtime:
    """Reads engines."""

    def __init__(self, logger: Any) -> None:
        self._voice = messages.Voice(logger)
        here = device.device()
        if isinstance(here, int):
            self._voice.error(f"CUDA initialization failure with error: {here}")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._here = here

    @property
    def logger(self) -> Any:
        return self._voice.logger

    @property
    def num_DLA_cores(self) -> int:
        return 0

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        read = plan.Plan.read(bytes(memoryview(serialized_engine)))
        version = plan.library_version()
        problem = None
        if read is None:
            problem = messages.wrong_version(version, "")
        elif read.version != version:
            problem = messages.wrong_version(version, read.version)
        elif read.device.compute != self._here.compute:
            problem = messages.wrong_device(self._here.compute, read.device.compute)
        if read is None or problem is not None:
            self._voice.error(str(problem))
            self._voice.error(messages.NOT_DESERIALIZED)
            return None
        if read.device != self._here:
            self._voice.warning(messages.OTHER_MODEL)
        return ICudaEngine._of(read, self._voice)


class ICudaEngine:
    """A built network."""

    def __init__(self) -> None:
        raise messages.no_constructor("ICudaEngine")

    @classmethod
    def _of(cls, read: plan.Plan, voice: messages.Voice) -> ICudaEngine:
        self = cls.__new__(cls)
        self._plan, self._voice = read, voice
        self._model = onnx.load_model_from_string(read.onnx)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            read.onnx, options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {t.name: t for t in graph.tensors(self._model.graph.input)}
        self._outputs = {t.name: t for t in graph.tensors(self._model.graph.output)}
        return self

    def _tensor(self, name: str) -> graph.Tensor | None:
        return self._inputs.get(name) or self._outputs.get(name)

    @property
    def name(self) -> str:
        return self._model.graph.name

    @property
    def num_io_tensors(self) -> int:
        return len(self._inputs) + len(self._outputs)

    @property
    def num_layers(self) -> int:
        return len(self._model.graph.node)

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._plan.profiles)

    @property
    def device_memory_size(self) -> int:
        return _LAYER_MEMORY

    @property
    def device_memory_size_v2(self) -> int:
        return _LAYER_MEMORY

    @property
    def profiling_verbosity(self) -> Any:
        return getattr(genuine.ProfilingVerbosity, self._plan.verbosity)

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, *self._outputs][index]

    def __getitem__(self, index: int) -> str:
        return self.get_tensor_name(index)

    def get_tensor_mode(self, name: str) -> Any:
        if name in self._inputs:
            return genuine.TensorIOMode.INPUT
        return genuine.TensorIOMode.OUTPUT if name in self._outputs else genuine.TensorIOMode.NONE

    def get_tensor_dtype(self, name: str) -> Any:
        tensor = self._tensor(name)
        return genuine.DataType.FLOAT if tensor is None else tensor.dtype

    def get_tensor_shape(self, name: str) -> Any:
        tensor = self._tensor(name)
        return genuine.Dims() if tensor is None else genuine.Dims(tensor.shape)

    def get_tensor_location(self, name: str) -> Any:
        return genuine.TensorLocation.DEVICE

    def get_tensor_format(self, name: str) -> Any:
        return genuine.TensorFormat.LINEAR

    def get_tensor_format_desc(self, name: str) -> str:
        return "Row major linear format (kLINEAR)"

    def get_tensor_vectorized_dim(self, name: str) -> int:
        return -1

    def get_tensor_bytes_per_component(self, name: str) -> int:
        return -1

    def get_tensor_components_per_element(self, name: str) -> int:
        return -1

    def is_shape_inference_io(self, name: str) -> bool:
        return False

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        shapes = self._plan.profiles[profile_index].get(name)
        return [genuine.Dims(shape) for shape in shapes] if shapes else [genuine.Dims()] * 3

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._plan.write())

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector._of(self)

    def create_execution_context(self, strategy: Any = None) -> IExecutionContext | None:
        memory = device.allocate(_LAYER_MEMORY)
        if memory is None:
            self._voice.error(
                f"Error Code 2: OutOfMemory (Requested size was {_LAYER_MEMORY} bytes.)"
            )
            return None
        return IExecutionContext._of(self, memory)


class IExecutionContext:
    """Runs an engine with shapes and addresses of its own."""

    _memory: int | None = None

    def __init__(self) -> None:
        raise messages.no_constructor("IExecutionContext")

    @classmethod
    def _of(cls, engine: ICudaEngine, memory: int) -> IExecutionContext:
        self = cls.__new__(cls)
        self._engine, self._memory, self._voice = engine, memory, engine._voice
        self._profile = 0
        self._profiler: Any = None
        self._addresses: dict[str, int] = {}
        self._shapes = {n: t.shape for n, t in engine._inputs.items() if -1 not in t.shape}
        self._launches: list[_Launch] = []
        self._run_before: set[tuple[Any, ...]] = set()
        # One callback for all launches: CUDA hands back which one. Weak, so that the last
        # reference of the caller is the last of all, as with the genuine class.
        run = weakref.WeakMethod(self._run)
        self._callback = device.Launched(lambda argument: run()(argument))
        return self

    def __del__(self) -> None:
        if self._memory is not None:
            device.free(self._memory)

    @property
    def engine(self) -> ICudaEngine:
        return self._engine

    @property
    def active_optimization_profile(self) -> int:
        return self._profile

    @property
    def all_binding_shapes_specified(self) -> bool:
        return not self.infer_shapes()

    @property
    def profiler(self) -> Any:
        return self._profiler

    @profiler.setter
    def profiler(self, value: Any) -> None:
        if not isinstance(value, genuine.IProfiler):
            raise TypeError(f"expected IProfiler, got {value!r}")
        self._profiler = value

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            raise RuntimeError("Error in set optimization profile async.")
        self._profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        tensor = self._engine._inputs.get(name)
        if tensor is None:
            return self._usage(f"{name} is no input")
        wanted = tuple(int(size) for size in shape)
        smallest, _, largest = self._engine._plan.profiles[self._profile][name]
        if len(wanted) != len(smallest):
            return self._usage(f"input {name}: rank {len(wanted)}, expected {len(smallest)}")
        for axis, (low, size, high) in enumerate(zip(smallest, wanted, largest, strict=True)):
            if not low <= size <= high:
                return self._usage(
                    f"input {name}: {size} of axis {axis} is not in [{low}, {high}] of profile "
                    f"{self._profile}; the network has {list(tensor.shape)}"
                )
        self._shapes[name] = wanted
        return True

    def get_tensor_shape(self, name: str) -> Any:
        if name in self._engine._inputs:
            declared = self._engine._inputs[name].shape
            return genuine.Dims(self._shapes.get(name, declared))
        if name not in self._engine._outputs:
            return genuine.Dims()
        return genuine.Dims(self._output_shape(name))

    def get_tensor_strides(self, name: str) -> Any:
        shape = tuple(self.get_tensor_shape(name))
        return genuine.Dims([int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))])

    def get_max_output_size(self, name: str) -> int:
        largest = self._engine._plan.profiles[self._profile]
        batch = max(shapes[2][0] for shapes in largest.values())
        declared = [batch if size == -1 else size for size in self._engine._outputs[name].shape]
        return _bytes_of(self._engine.get_tensor_dtype(name), declared)

    def _output_shape(self, name: str) -> tuple[int, ...]:
        """Every dynamic axis of a prepared graph is the batch."""
        declared = self._engine._outputs[name].shape
        batches = {shape[0] for shape in self._shapes.values()}
        known = len(self._shapes) == len(self._engine._inputs) and len(batches) == 1
        return tuple(batches.copy().pop() if s == -1 and known else s for s in declared)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self._engine._tensor(name) is None:
            return self._usage(f"{name} is no input or output")
        if isinstance(memory, float):
            raise TypeError("set_tensor_address(): incompatible function arguments")
        if int(memory) % 256:
            return self._usage(f"{name}: {int(memory):#x} is not aligned to 256 bytes")
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine._inputs if name not in self._shapes]

    def update_device_memory_size_for_shapes(self) -> int:
        return _LAYER_MEMORY

    def execute_async_v3(self, stream_handle: int) -> bool:
        names = [*self._engine._inputs, *self._engine._outputs]
        if self.infer_shapes():
            return self._usage(f"shapes of {self.infer_shapes()} are not specified")
        missing = [name for name in names if not self._addresses.get(name)]
        if missing:
            return self._usage(f"addresses of {missing} are not set")
        launch = self._as_set()
        key = tuple(launch.shapes.items())
        if device.is_capturing(int(stream_handle)) and key not in self._run_before:
            return self._usage("the first run after a change of shape cannot be captured")
        self._run_before.add(key)
        if launch not in self._launches:
            self._launches = [*self._launches[-_SHAPES_TO_KEEP:], launch]
        code = device.launch(int(stream_handle), self._callback, id(self._known(launch)))
        if code:
            self._voice.error(f"Error Code 1: Cuda Runtime (CUDA error {code} in enqueue)")
        return code == 0

    def _as_set(self) -> _Launch:
        names = [*self._engine._inputs, *self._engine._outputs]
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in names}
        return _Launch(shapes, dict(self._addresses))

    def _known(self, launch: _Launch) -> _Launch:
        return self._launches[self._launches.index(launch)]

    def _usage(self, what: str) -> bool:
        self._voice.error(f"IExecutionContext: Error Code 3: API Usage Error ({what})")
        return False

    def _run(self, argument: int) -> None:
        """On the device, so to speak: in the order of the stream, when somebody waits for it."""
        launch = next(known for known in self._launches if id(known) == argument)
        if launch != self._as_set():
            # Undefined on a device: a graph whose context has other shapes or addresses by now.
            self._voice.error("Error Code 1: Cuda Driver (recorded before the context was changed)")
            device.fail()
            return
        try:
            self._compute(launch)
        except Exception as error:  # nothing may leave a callback from C
            self._voice.error(f"Error Code 1: Cuda Driver ({error})")
            device.fail()

    def _compute(self, launch: _Launch) -> None:
        engine = self._engine
        precision = engine._plan.precision
        began = time.monotonic()
        inputs = {name: self._view(name, launch) for name in engine._inputs}
        fed = perturbations.of_inputs(inputs, precision, list(engine._outputs))
        outputs = engine._session.run(list(engine._outputs), fed)
        for name, output in zip(engine._outputs, outputs, strict=True):
            self._view(name, launch)[...] = perturbations.of_output(name, output, precision)
        time.sleep(max(0.0, settings.run_seconds(precision) - (time.monotonic() - began)))
        if self._profiler is not None:
            each = 1000 * (time.monotonic() - began) / engine.num_layers
            for index, node in enumerate(engine._model.graph.node):
                self._profiler.report_layer_time(_layer_name(index, node), each)

    def _view(self, name: str, launch: _Launch) -> np.ndarray[Any, Any]:
        dtype = np.dtype(genuine.nptype(self._engine.get_tensor_dtype(name)))
        shape = launch.shapes[name]
        size = int(np.prod(shape)) * dtype.itemsize
        address = device.bytes_at(launch.addresses[name], size)
        if address is None:
            raise ValueError(f"{name}: no {size} bytes at {launch.addresses[name]:#x}")
        held = (ctypes.c_uint8 * size).from_address(address)
        return np.frombuffer(held, dtype).reshape(shape)


class _Launch:
    """Shapes and addresses as they were when a run was asked for."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        self.shapes, self.addresses = shapes, addresses

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Launch) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(self.addresses.values()))


class EngineInspector:
    """Says what an engine is made of."""

    def __init__(self) -> None:
        raise messages.no_constructor("EngineInspector")

    @classmethod
    def _of(cls, engine: ICudaEngine) -> EngineInspector:
        self = cls.__new__(cls)
        self._engine = engine
        return self

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        layer = self._layers()[layer_index]
        if format == genuine.LayerInformationFormat.JSON:
            return json.dumps(layer)
        return layer if isinstance(layer, str) else str(layer["Name"])

    def get_engine_information(self, format: Any) -> str:
        layers = self._layers()
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        if format == genuine.LayerInformationFormat.JSON:
            return json.dumps({"Layers": layers, "Bindings": names})
        lines = [self.get_layer_information(i, format) for i in range(len(layers))]
        return "\n".join(["Layers:", *lines, "Bindings:", *names])

    def _layers(self) -> list[Any]:
        nodes = list(enumerate(self._engine._model.graph.node))
        if self._engine._plan.verbosity != "DETAILED":
            return [_layer_name(index, node) for index, node in nodes]
        return [
            {
                "Name": _layer_name(index, node),
                "LayerType": node.op_type,
                "Inputs": [{"Name": name} for name in node.input],
                "Outputs": [{"Name": name} for name in node.output],
                "TacticName": "stand-in",
                "StreamId": 0,
                "Metadata": f"[ONNX Layer: {node.name}]",
            }
            for index, node in nodes
        ]


def _layer_name(index: int, node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type}_{index}"


def _bytes_of(dtype: Any, shape: list[int]) -> int:
    return int(np.prod(shape)) * np.dtype(genuine.nptype(dtype)).itemsize
