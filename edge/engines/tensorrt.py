"""Compiled engines on the GPU, by TensorRT: trusted only with a card that fits and has passed.

Inputs and outputs are named tensors. The run is ``execute_async_v3`` on a stream of its own, or,
from the second run of a batch size on, the replay of a CUDA graph where the binding offers one. A
graph replays the state that its execution context had: a context whose shapes are changed later
leaves the replay undefined (NVIDIA/TensorRT#3798), so each batch size has a context of its own. As
only one of them runs at a time, all compute in the same memory.
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
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorrt as trt
from numpy.typing import NDArray

from edge.engine_card import EngineCard, difference
from edge.engines.base import EngineIdentity
from edge.engines.cuda import Cuda, CudaError, DeviceBuffer, Event, Graph, HostBuffer, Stream
from edge.engines.gpu_thread import GpuThread
from edge.engines.prepared import (
    INPUT_NAME,
    PreparedInterface,
    TensorFacts,
    prepared_interface,
)
from edge.engines.shell import EngineShell
from edge.engines.this_device import device_facts, refuse_old_tensorrt
from edge.errors import ModelRefusedError

Transfer = Literal["mapped", "staged"]

_WARM_UP_RUNS = 2
_ERRORS_TO_KEEP = 8
_BUILD_AGAIN = "build it again: dermedge-convert build PACK"

# Before any name is used that older ones lack.
refuse_old_tensorrt(trt.__version__)

_DTYPES = {trt.DataType.UINT8: "uint8", trt.DataType.FLOAT: "float32"}


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
                self._gpu.call(lambda cuda: runner.close())
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


class _Runner:
    """The engine inside the GPU's thread: every method is called there."""

    def __init__(self, cuda: Cuda, path: Path, card: EngineCard) -> None:
        here = device_facts(cuda, trt.__version__)
        problem = difference(card, here)
        if problem is not None:
            raise _refused(card, problem)
        content = _content(path, card)
        self._cuda = cuda
        self._stack = ExitStack()
        self._batches: dict[int, _Batch] = {}
        try:
            self._open(content, card)
        except BaseException as error:
            # Its frames hold TensorRT's objects, which must go now, and in this thread.
            traceback.clear_frames(error.__traceback__)
            self.close()
            raise

    def run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Run a batch; the answer is overwritten by the next run. The time is the GPU's, in ms."""
        size = len(pixels)
        if size not in self._batches:
            self._batches[size] = self._new_batch(size)
        batch = self._batches[size]
        np.copyto(self._input.view(pixels.shape), pixels)
        self._start.record(self._stream)
        if batch.graph is None:
            self._check(self._enqueue(batch))
        else:
            batch.graph.launch(self._stream)
        # Not inside a graph: events of a recording cannot be timed.
        self._end.record(self._stream)
        self._stream.synchronize()
        if not batch.has_run:
            # Only now: what TensorRT prepares in the first run must not be recorded.
            batch.has_run = True
            batch.graph = self._cuda.capture(self._stream, lambda: self._enqueue(batch))
            # Where nothing could be recorded it runs all the same; that is no reason for anything.
            self._log.forget()
        answer = self._answer[:size]
        np.copyto(answer, self._output.view(batch.answer_shape))
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
        self._forget_batches()
        self._stack.close()

    # --- opening ----------------------------------------------------------------------------------

    def _open(self, content: bytes, card: EngineCard) -> None:
        self._log = _Log()
        self._runtime = self._new_runtime()
        self._stack.callback(delattr, self, "_runtime")
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise _refused(card, f"TensorRT does not take the file: {self._log.words()}")
        self._engine: trt.ICudaEngine = engine
        self._stack.callback(delattr, self, "_engine")
        self.interface = _interface(engine, card)
        self._stream: Stream = self._closed_later(self._cuda.stream())
        self._start: Event = self._closed_later(self._cuda.event())
        self._end: Event = self._closed_later(self._cuda.event())
        self._scratch_bytes = engine.device_memory_size_v2
        # No allocation of nothing: an engine may do without.
        scratch = self._cuda.device_buffer(max(1, self._scratch_bytes))
        self._scratch: DeviceBuffer = self._closed_later(scratch)
        self._input, self._output = self._tensors()
        for tensor in (self._input, self._output):
            self._stack.callback(tensor.close)
            wanted = card.transfer.get(tensor.name, "staged")
            self._bind(tensor, wanted if self._cuda.can_map_host else "staged")
        self._answer = np.empty(self._output.shape, np.float32)
        self._warm_up()

    def _new_runtime(self) -> trt.Runtime:
        try:
            return trt.Runtime(self._log)
        except TypeError as error:  # what the bindings raise where the library finds no device
            raise CudaError(
                "TensorRT to start",
                got=self._log.words(),
                next_step="see what is missing: dermedge doctor",
            ) from error

    def _closed_later(self, thing: Any) -> Any:
        self._stack.callback(thing.close)
        return thing

    def _tensors(self) -> tuple[_Tensor, _Tensor]:
        width, height = self.interface.size_wh
        largest = self.interface.max_batch
        pixels = _Tensor(INPUT_NAME, (largest, height, width, 3), np.dtype(np.uint8))
        rest = tuple(self._engine.get_tensor_shape(self.interface.output_name))[1:]
        answer = _Tensor(self.interface.output_name, (largest, *rest), np.dtype(np.float32))
        return pixels, answer

    def _warm_up(self) -> None:
        """The first runs are slow; nobody is to wait for them later."""
        for size in sorted({1, self.interface.max_batch}):
            for _ in range(_WARM_UP_RUNS):
                self.run(np.zeros((size, *self._input.shape[1:]), np.uint8))

    # --- running ----------------------------------------------------------------------------------

    def _new_batch(self, size: int) -> _Batch:
        lent = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(lent)
        self._check(context is not None)
        assert context is not None
        context.set_device_memory(self._scratch.address, self._scratch_bytes)
        self._check(context.set_input_shape(INPUT_NAME, (size, *self._input.shape[1:])))
        for tensor in (self._input, self._output):
            self._check(context.set_tensor_address(tensor.name, tensor.device_address))
        return _Batch(context, size, tuple(context.get_tensor_shape(self._output.name)))

    def _enqueue(self, batch: _Batch) -> bool:
        """Put copies and run into the stream; False where TensorRT does not start."""
        self._input.upload(self._cuda, batch.size, self._stream)
        if not batch.context.execute_async_v3(self._stream.handle):
            return False
        self._output.download(self._cuda, batch.size, self._stream)
        return True

    def _check(self, went_well: bool) -> None:
        if not went_well:
            raise ModelRefusedError(
                "an answer from the engine", got=self._log.words(), next_step=_BUILD_AGAIN
            )

    # --- memory -----------------------------------------------------------------------------------

    def _bind(self, tensor: _Tensor, way: Transfer) -> None:
        """Give a tensor its memory, and forget every context that knows the memory before."""
        self._forget_batches()
        tensor.allocate(self._cuda, way)

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

    def _forget_batches(self) -> None:
        while self._batches:
            _, batch = self._batches.popitem()
            batch.close()


class _Batch:
    """One batch size: a context whose shapes and addresses stay, and the graph of its run."""

    def __init__(
        self, context: trt.IExecutionContext, size: int, answer_shape: tuple[int, ...]
    ) -> None:
        self.context, self.size, self.answer_shape = context, size, answer_shape
        self.has_run = False
        self.graph: Graph | None = None

    def close(self) -> None:
        """Give the graph and the context back, in this order."""
        graph, self.graph = self.graph, None
        if graph is not None:
            graph.close()
        del self.context


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
    """Keeps what TensorRT says is wrong: it gives ``None`` where others raise."""

    def __init__(self) -> None:
        super().__init__()
        self._errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT, from any thread; it must not raise."""
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self._errors = [*self._errors, " ".join(msg.split())][:_ERRORS_TO_KEEP]

    def forget(self) -> None:
        """What was said so far has been told, or is no longer true."""
        self._errors = []

    def words(self) -> str:
        """The first two errors, which usually cause the others, in one line; they are then told."""
        errors = self._errors
        self.forget()
        return "; ".join(dict.fromkeys(errors[:2])) or "TensorRT gave no reason"


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


def _refused(card: EngineCard, got: str, next_step: str = _BUILD_AGAIN) -> ModelRefusedError:
    return ModelRefusedError(
        f"{card.model.name}: an engine for this device that the gate has passed",
        got=got,
        next_step=next_step,
    )
