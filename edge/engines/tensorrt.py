"""Compiled engines on the GPU, by TensorRT: trusted only with a card that fits and has passed.

Inputs and outputs are named tensors. The run is ``execute_async_v3`` on a stream of its own, or,
while the batch stays the same, the replay of a CUDA graph where the binding offers one: a recording
is worth nothing once the shapes of its context have changed.
Each tensor lies in mapped memory, which the GPU reads and writes where it is, or is copied through
pinned memory; the gate measures which is faster on this device, and the card says so.

NaN is not looked for here: :mod:`edge.analysis.networks` refuses it from every backend.
"""

from __future__ import annotations

import hashlib
import statistics
import time
import traceback
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import tensorrt as trt
from numpy.typing import NDArray

from edge.engine_card import EngineCard, difference
from edge.engine_folder import how_to_build
from edge.engines.base import EngineFailedError, EngineIdentity
from edge.engines.cuda import Cuda, CudaError, DeviceBuffer, Event, Graph, HostBuffer, Stream
from edge.engines.gpu_thread import GpuThread
from edge.engines.prepared import PreparedInterface, TensorFacts, prepared_interface
from edge.engines.shell import EngineShell
from edge.engines.this_device import device_facts, refuse_old_tensorrt
from edge.errors import ModelRefusedError

Transfer = Literal["mapped", "staged"]

_WARM_UP_RUNS = 3
_RUNS_BEFORE_GRAPH = 2

# Before any name is used that older ones lack.
refuse_old_tensorrt(trt.__version__)

_DTYPES = {trt.DataType.UINT8: "uint8", trt.DataType.FLOAT: "float32"}

T = TypeVar("T")


@dataclass(frozen=True)
class Timings:
    """How long the last run took, in milliseconds.

    Attributes:
        host_ms: From the call of the GPU's thread to its answer.
        device_ms: On the GPU, copies included.
    """

    host_ms: float
    device_ms: float


class TensorRtEngine(EngineShell):
    """One compiled engine.

    :meth:`infer` gives the same arrays again and again: copy what must outlive the next call.
    Any thread may call it, one at a time; the work is done in the GPU's own thread.

    Args:
        path: The engine's file.
        card: Its card.
        identity: What the pack says of this network.
        gpu: The GPU's thread, borrowed; a thread of its own where ``None``.
        judged: False for the gate alone, which opens engines that have no verdict yet.

    Raises:
        ModelRefusedError: The card has no passing verdict or is of another device, the file is
            another one, or TensorRT does not take it; the message says which.
        RequestError: No CUDA binding is installed.
    """

    def __init__(
        self,
        path: Path,
        card: EngineCard,
        identity: EngineIdentity,
        *,
        gpu: GpuThread | None = None,
        judged: bool = True,
    ) -> None:
        if judged and not card.passed:
            raise _not_passed(card)
        self._session: Any = None
        self.last_timings: Timings | None = None
        self._stack = ExitStack()
        try:
            self._gpu = gpu or self._stack.enter_context(GpuThread())
            runner = self._opened(path, card)
        except BaseException:
            self._stack.close()
            raise
        super().__init__(identity, runner.interface, runner)

    def measure_transfer(self, runs: int = 20) -> dict[str, Transfer]:
        """Try both ways for each tensor, keep the faster one, and say which.

        Args:
            runs: How often each is tried; the median counts.

        Returns:
            By tensor; all ``staged`` where the GPU cannot map memory of the host.
        """
        runner: _Runner = self._session
        return self._gpu.call(lambda cuda: runner.measure_transfer(runs))

    def close(self) -> None:
        """Give all memory of the GPU back; calling it twice is harmless."""
        runner, self._session = self._session, None
        try:
            if runner is not None:
                self._gpu.call_at_the_end(lambda cuda: runner.close())
        finally:
            self._stack.close()

    def _opened(self, path: Path, card: EngineCard) -> _Runner:
        opened: list[_Runner] = []
        try:
            self._gpu.call(lambda cuda: opened.append(_Runner(cuda, path, card)))
        except BaseException:
            # Ctrl-C ends the wait, not the work; what it still opens is closed behind it.
            self._gpu.call(lambda cuda: _close_all(opened))
            raise
        return opened[0]

    def _run(self, session: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        started = time.perf_counter()
        answer, device_ms = self._gpu.call(lambda cuda: session.run(pixels))
        self.last_timings = Timings((time.perf_counter() - started) * 1e3, device_ms)
        values: NDArray[np.float32] = answer
        return values


@cache
def _log() -> _Log:
    return _Log()


class _Runner:
    """The engine inside the GPU's thread: every method is called there."""

    def __init__(self, cuda: Cuda, path: Path, card: EngineCard) -> None:
        here = device_facts(cuda, trt.__version__)
        problem = difference(card, here)
        if problem is not None:
            raise _refused(card, problem)
        content = _content(path, card)
        self._cuda = cuda
        self._log = _log()
        self._log.forget()
        self._stack = ExitStack()
        self._graph: Graph | None = None
        self._batch = self._runs_of_batch = 0
        try:
            self._open(content, card)
        except BaseException as error:
            # Its frames hold TensorRT's objects, which must go now, and in this thread.
            traceback.clear_frames(error.__traceback__)
            self.close()
            raise

    def run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Run a batch; the answer is overwritten by the next run. The time is the GPU's, in ms."""
        self._log.forget()
        batch = len(pixels)
        if batch != self._batch:
            self._set_batch(batch)
        np.copyto(self._input.view(pixels.shape), pixels)
        if self._graph is not None:
            self._replay(self._graph)
        else:
            self._check(self._enqueue())
            self._stream.synchronize()
            self._runs_of_batch += 1
            # Ordinary runs first: what TensorRT prepares in them must not be recorded, and a batch
            # that changes with every frame is never worth it.
            if self._runs_of_batch == _RUNS_BEFORE_GRAPH:
                self._graph = self._captured()
        shape = tuple(self._context.get_tensor_shape(self._output.name))
        answer = self._answer[:batch]
        np.copyto(answer, self._output.view(shape))
        return answer, self._end.ms_since(self._start)

    def measure_transfer(self, runs: int) -> dict[str, Transfer]:
        chosen: dict[str, Transfer] = {}
        for tensor in (self._input, self._output):
            ways: tuple[Transfer, ...] = ("staged", "mapped")
            if not self._cuda.can_map_host:
                ways = ("staged",)
            spent = {way: self._time(tensor, way, runs) for way in ways}
            chosen[tensor.name] = min(ways, key=lambda way: spent[way])
            self._bind(tensor, chosen[tensor.name])
        return chosen

    def close(self) -> None:
        self._forget_graph()
        self._stack.close()

    # --- opening ----------------------------------------------------------------------------------

    def _open(self, content: bytes, card: EngineCard) -> None:
        runtime = self._held(self._runtime(), "runtime")
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise _refused(card, f"TensorRT does not take the file: {self._log.words()}")
        self._held(engine, "engine")
        self.interface = _interface(engine, card)
        context = engine.create_execution_context()
        if context is None:
            raise _refused(card, f"TensorRT cannot start it: {self._log.words()}")
        self._context = self._held(context, "context")
        self._stream: Stream = self._closed_later(self._cuda.stream())
        self._start: Event = self._closed_later(self._cuda.event())
        self._end: Event = self._closed_later(self._cuda.event())
        self._input, self._output = self._tensors(engine)
        for tensor in (self._input, self._output):
            self._stack.callback(tensor.close)
            wanted = card.transfer.get(tensor.name, "staged")
            self._bind(tensor, wanted if self._cuda.can_map_host else "staged")
        self._answer = np.empty(self._output.shape, np.float32)
        self._warm_up()

    def _runtime(self) -> trt.Runtime:
        try:
            return trt.Runtime(self._log)
        except TypeError as error:  # what the bindings raise where the library finds no device
            raise CudaError(
                "TensorRT to start",
                got=self._log.words(),
                next_step="see what is missing: dermedge doctor",
            ) from error

    def _held(self, thing: T, name: str) -> T:
        """Keep a TensorRT object until its turn to go: what it was made from outlives it."""
        setattr(self, f"_held_{name}", thing)
        self._stack.callback(delattr, self, f"_held_{name}")
        if name == "context":
            self._stack.callback(delattr, self, "_context")
        return thing

    def _closed_later(self, thing: Any) -> Any:
        self._stack.callback(thing.close)
        return thing

    def _tensors(self, engine: trt.ICudaEngine) -> tuple[_Tensor, _Tensor]:
        width, height = self.interface.size_wh
        largest = self.interface.max_batch
        pixels = _Tensor("rgb", (largest, height, width, 3), np.dtype(np.uint8))
        rest = tuple(engine.get_tensor_shape(self.interface.output_name))[1:]
        answer = _Tensor(self.interface.output_name, (largest, *rest), np.dtype(np.float32))
        return pixels, answer

    def _warm_up(self) -> None:
        """The first runs are slow; nobody is to wait for them later."""
        for batch in range(self.interface.max_batch, 0, -1):
            for _ in range(_WARM_UP_RUNS):
                self.run(np.zeros((batch, *self._input.shape[1:]), np.uint8))

    # --- running ----------------------------------------------------------------------------------

    def _set_batch(self, batch: int) -> None:
        self._forget_graph()
        self._batch = 0  # nobody knows which, should it fail
        if not self._context.set_input_shape(self._input.name, (batch, *self._input.shape[1:])):
            raise ModelRefusedError(
                f"an engine that takes {batch} pictures at once",
                got=self._log.words(),
                next_step=_build_again(),
            )
        self._batch, self._runs_of_batch = batch, 0

    def _enqueue(self) -> bool:
        """Put copies and run into the stream; False where TensorRT does not start."""
        batch = self._batch
        self._start.record(self._stream)
        self._input.upload(self._cuda, batch, self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            return False
        self._output.download(self._cuda, batch, self._stream)
        self._end.record(self._stream)
        return True

    def _replay(self, graph: Graph) -> None:
        # Events inside a recording cannot be timed.
        self._start.record(self._stream)
        graph.launch(self._stream)
        self._end.record(self._stream)
        self._stream.synchronize()

    def _captured(self) -> Graph | None:
        def work() -> bool:
            self._input.upload(self._cuda, self._batch, self._stream)
            if not self._context.execute_async_v3(self._stream.handle):
                return False
            self._output.download(self._cuda, self._batch, self._stream)
            return True

        return self._cuda.capture(self._stream, work)

    def _check(self, started: bool) -> None:
        if not started:
            raise EngineFailedError(
                "an answer from the engine", got=self._log.words(), next_step=_build_again()
            )

    # --- memory -----------------------------------------------------------------------------------

    def _bind(self, tensor: _Tensor, way: Transfer) -> None:
        """Give a tensor its memory, and forget what was recorded with the memory before."""
        self._forget_graph()
        self._runs_of_batch = 0
        tensor.allocate(self._cuda, way)
        if not self._context.set_tensor_address(tensor.name, tensor.device_address):
            raise ModelRefusedError(
                f"an engine with the tensor {tensor.name}",
                got=self._log.words(),
                next_step=_build_again(),
            )

    def _time(self, tensor: _Tensor, way: Transfer, runs: int) -> float:
        self._bind(tensor, way)
        pixels = np.zeros((1, *self._input.shape[1:]), np.uint8)
        spent = []
        for index in range(_WARM_UP_RUNS + runs):
            started = time.perf_counter()
            self.run(pixels)
            if index >= _WARM_UP_RUNS:
                spent.append(time.perf_counter() - started)
        return statistics.median(spent)

    def _forget_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()


class _Tensor:
    """Memory of one input or output, on both sides."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.name, self.shape, self._dtype = name, shape, dtype
        self._size_bytes = int(np.prod(shape)) * dtype.itemsize
        self._host: HostBuffer | None = None
        self._device: DeviceBuffer | None = None
        self.device_address = 0

    def allocate(self, cuda: Cuda, way: Transfer) -> None:
        """New memory of that kind; the one before is given back first."""
        self.close()
        self._host = cuda.host_buffer(self._size_bytes, mapped=way == "mapped")
        mapped = self._host.device_address
        if mapped is None:
            self._device = cuda.device_buffer(self._size_bytes)
        self.device_address = self._device.address if self._device else mapped or 0

    def view(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The first bytes of the host's side, as an array of that shape."""
        assert self._host is not None
        count = int(np.prod(shape)) * self._dtype.itemsize
        return self._host.array[:count].view(self._dtype).reshape(shape)

    def upload(self, cuda: Cuda, batch: int, stream: Stream) -> None:
        """Copy a batch to the GPU, where it has a memory of its own."""
        if self._device is not None and self._host is not None:
            cuda.to_device(self._device, self._host, self._bytes_of(batch), stream)

    def download(self, cuda: Cuda, batch: int, stream: Stream) -> None:
        """Copy a batch from the GPU, where it has a memory of its own."""
        if self._device is not None and self._host is not None:
            cuda.to_host(self._host, self._device, self._bytes_of(batch), stream)

    def close(self) -> None:
        """Give both sides back; calling it twice is harmless."""
        device, self._device = self._device, None
        host, self._host = self._host, None
        if device is not None:
            device.close()
        if host is not None:
            host.close()

    def _bytes_of(self, batch: int) -> int:
        return self._size_bytes // self.shape[0] * batch


class _Log(trt.ILogger):
    """Keeps what TensorRT says is wrong: it gives ``None`` where others raise.

    One for the whole process, never freed: TensorRT keeps the first one that it is given for
    everything that belongs to no engine.
    """

    def __init__(self) -> None:
        super().__init__()
        self._errors: list[str] = []

    def forget(self) -> None:
        """Begin anew: what follows is about something else."""
        self._errors = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT, from any thread; it must not raise."""
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self._errors = [*self._errors, " ".join(msg.split())][-8:]

    def words(self) -> str:
        """The first two errors, which usually cause the others, in one line."""
        return "; ".join(dict.fromkeys(self._errors[:2])) or "TensorRT gave no reason"


def _close_all(runners: list[_Runner]) -> None:
    for runner in runners:
        runner.close()


def _interface(engine: trt.ICudaEngine, card: EngineCard) -> PreparedInterface:
    inputs: list[TensorFacts] = []
    outputs: list[TensorFacts] = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        element = engine.get_tensor_dtype(name)
        shape = tuple(None if size < 0 else size for size in engine.get_tensor_shape(name))
        facts = TensorFacts(name, _DTYPES.get(element, str(element)), shape)
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        (inputs if is_input else outputs).append(facts)
    return prepared_interface(card.model.name, inputs, outputs, max_batch=card.settings.max_batch)


def _content(path: Path, card: EngineCard) -> bytes:
    """The engine's bytes, if they are the ones that the card vouches for."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _refused(card, f"{path}: {error.strerror or error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.engine.sha256:
        raise _refused(
            card, f"{path} is another file than its card says, or cut off ({len(content)} bytes)"
        )
    return content


def _not_passed(card: EngineCard) -> ModelRefusedError:
    if card.gate is None:
        return _refused(card, "the gate has not judged it", "dermedge-convert gate PACK")
    return _refused(card, f"the gate refused it: {', '.join(card.gate.reasons)}")


def _refused(card: EngineCard, got: str, next_step: str = "") -> ModelRefusedError:
    return ModelRefusedError(
        f"{card.model.name}: an engine for this device that the gate has passed",
        got=got,
        next_step=next_step or _build_again(),
    )


def _build_again() -> str:
    return f"build it again: {how_to_build()}"
