"""The compiler's side of a build: TensorRT, in a process of its own.

The only file of ``convert`` that imports tensorrt; it runs as a child of
:mod:`convert.build_process`, so that the memory that a build takes is given back for certain, and
a kill for lack of memory ends nothing else.

All precision is in the graph (decision 1): the network is strongly typed and no precision flag is
set. TF32, which rounds FP32 layers to 10 bits, is cleared. What a release of TensorRT has is asked
by ``hasattr``, never by its version.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from typing import TypeVar

import tensorrt as trt

from convert.compiler_link import BuildFailed, Order, Uplink
from edge.errors import DermedgeError

_ERRORS_KEPT = 20
_ERRORS_SHOWN = 3
_STEP_EVERY_S = 0.1

# TensorRT has no error codes in Python: what it says on its logger is all there is.
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|requested size was|cudaErrorMemoryAlloc", re.I)
_NO_IMPLEMENTATION = re.compile(r"could not find any implementation|insufficient workspace", re.I)

T = TypeVar("T")


class ErrorLog(trt.ILogger):
    """Keeps what TensorRT says is wrong; nothing of it reaches the terminal by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT, from any thread; it must not raise."""
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors = [*self.errors, " ".join(msg.split())][-_ERRORS_KEPT:]

    def words(self) -> str:
        """The first errors, which usually cause the others, in one line."""
        shown = list(dict.fromkeys(self.errors))[:_ERRORS_SHOWN]
        return "; ".join(shown) or "TensorRT gave no reason"


def _monitor(uplink: Uplink) -> trt.IProgressMonitor:
    """Tells the parent how far the build is, and TensorRT when to stop."""

    class Progress(trt.IProgressMonitor):
        def __init__(self, uplink: Uplink) -> None:
            super().__init__()
            self._uplink = uplink
            self._sent_s: dict[str, float] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins, inside ``parent_phase``."""
            self._uplink.send("phase", name=phase_name, parent=parent_phase, steps=num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step of a phase is done; False ends the build."""
            now_s = time.monotonic()
            if now_s - self._sent_s.get(phase_name, 0.0) >= _STEP_EVERY_S:  # there may be thousands
                self._sent_s[phase_name] = now_s
                self._uplink.send("step", name=phase_name, step=step)
            return not self._uplink.stopped

        def phase_finish(self, phase_name: str) -> None:
            """A phase is over, done or not."""
            self._uplink.send("finish", name=phase_name)

    return Progress(uplink)


def build_engine(graph: bytes, order: Order, uplink: Uplink) -> memoryview:
    """Compile a graph.

    Args:
        graph: An ONNX file whose types are all in the graph; the first axis of each input may be
            the batch, and no other may be open.
        order: Batches, limits, level and timing cache.
        uplink: Takes progress and warnings.

    Returns:
        The engine's content.

    Raises:
        BuildFailed: There is none; its kind says what can be done.
    """
    log = ErrorLog()
    builder = _started(log)
    network = _made(builder.create_network(_network_flags()), log)
    _parse(graph, network, log)
    config = _made(builder.create_builder_config(), log)
    _configure(config, order, uplink)
    profile = _made(builder.create_optimization_profile(), log)
    _set_batches(profile, network, order)
    if config.add_optimization_profile(profile) < 0:
        raise BuildFailed("graph", log.words())
    _give_timing_cache(config, order, uplink)
    plan = builder.build_serialized_network(network, config)
    if uplink.stopped:
        raise BuildFailed("stopped", "it was asked to stop")
    if plan is None:
        raise _why(log)
    _keep_timing_cache(config, order, uplink)
    return memoryview(plan)


def engine_layers(plan: bytes) -> str:
    """The layers of an engine, as TensorRT's inspector tells them: JSON.

    Raises:
        BuildFailed: It is no engine of this device and version.
    """
    log = ErrorLog()
    try:
        runtime = trt.Runtime(log)
    except TypeError as error:
        raise BuildFailed("start", log.words()) from error
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BuildFailed("graph", log.words())
    inspector = _made(engine.create_engine_inspector(), log)
    return inspector.get_engine_information(trt.LayerInformationFormat.JSON)


def _started(log: ErrorLog) -> trt.Builder:
    try:
        return trt.Builder(log)
    except TypeError as error:  # what the bindings raise where the library finds no device
        raise BuildFailed("start", log.words()) from error


def _made(thing: T | None, log: ErrorLog) -> T:
    """What a factory made; it gives ``None`` where it cannot, and says why on the logger."""
    if thing is None:
        raise _why(log)
    return thing


def _why(log: ErrorLog) -> BuildFailed:
    words = log.words()
    every = " ".join(log.errors)
    if _OUT_OF_MEMORY.search(every):
        return BuildFailed("memory", words)
    if _NO_IMPLEMENTATION.search(every):
        return BuildFailed("workspace", words)
    return BuildFailed("compiler", words)


def _network_flags() -> int:
    # From some release on there will be no other networks, and no flag.
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 0


def _parse(graph: bytes, network: trt.INetworkDefinition, log: ErrorLog) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse(graph):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    lines = list(dict.fromkeys(_parser_error(error) for error in errors if error is not None))
    more = len(lines) - _ERRORS_SHOWN
    text = "; ".join(lines[:_ERRORS_SHOWN]) or log.words()
    raise BuildFailed("graph", text + (f"; and {more} more" if more > 0 else ""))


def _parser_error(error: trt.ParserError) -> str:
    words = " ".join(error.desc().split())
    if not error.node_operator():
        return words
    name = error.node_name() or f"number {error.node()}"
    return f"node {name} ({error.node_operator()}): {words}"


def _configure(config: trt.IBuilderConfig, order: Order, uplink: Uplink) -> None:
    limits = {
        trt.MemoryPoolType.WORKSPACE: order.workspace_bytes,
        trt.MemoryPoolType.TACTIC_DRAM: order.tactic_bytes,
    }
    for pool, limit in limits.items():
        # The default is what the device has at all, which is less where it has its own memory.
        config.set_memory_pool_limit(pool, min(limit, config.get_memory_pool_limit(pool)))
    config.clear_flag(trt.BuilderFlag.TF32)
    config.builder_optimization_level = order.optimization_level
    if order.detailed:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # TensorRT 8 has none; it is refused later, in words.
    if hasattr(config, "progress_monitor") and hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = _monitor(uplink)


def _set_batches(
    profile: trt.IOptimizationProfile, network: trt.INetworkDefinition, order: Order
) -> None:
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor is None:
            continue
        batch, *rest = tensor.shape
        if -1 in rest or batch not in (-1, 1):
            raise BuildFailed(
                "graph",
                f"input {tensor.name} has shape {list(tensor.shape)}: only the batch may "
                "be open, and a fixed one must be 1",
            )
        sizes = (1, order.opt_batch, order.max_batch) if batch == -1 else (1, 1, 1)
        smallest, best, largest = ([size, *rest] for size in sizes)
        profile.set_shape(tensor.name, smallest, best, largest)


def _give_timing_cache(config: trt.IBuilderConfig, order: Order, uplink: Uplink) -> None:
    content = _content(order.timing_fd)
    if content:
        cache = config.create_timing_cache(content)
        if cache is not None and config.set_timing_cache(cache, False):
            return
        uplink.send("warning", text="the timing cache is dropped: TensorRT does not take it")
    empty = config.create_timing_cache(b"")
    if empty is not None:
        config.set_timing_cache(empty, False)


def _keep_timing_cache(config: trt.IBuilderConfig, order: Order, uplink: Uplink) -> None:
    cache = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    if content is None:
        return
    try:
        _write(order.timing_fd, memoryview(content))
    except OSError as error:  # an engine is none the worse for it
        uplink.send("warning", text=f"the timing cache is not kept: {error.strerror}")


# --- the process ----------------------------------------------------------------------------------


def main(order: Order) -> int:
    """Do what the parent ordered, and say what became of it; returns the exit code."""
    uplink = Uplink(order)
    uplink.listen()
    try:
        if order.work == "device":
            _tell_device(uplink)
        elif order.work == "layers":
            uplink.send("layers", layers=engine_layers(_content(order.graph_fd)))
        else:
            _build(order, uplink)
    except BuildFailed as failure:
        uplink.send("failed", kind=failure.kind, text=failure.text, errno=failure.errno)
        return 1
    except DermedgeError as error:
        words = {"expected": error.expected, "got": error.got, "next_step": error.next_step}
        uplink.send("refused", exit_code=error.exit_code, **words)
        return 1
    return 0


def _build(order: Order, uplink: Uplink) -> None:
    graph = _content(order.graph_fd)
    started_s = time.monotonic()
    plan = build_engine(graph, order, uplink)
    seconds = time.monotonic() - started_s
    try:
        _write(order.engine_fd, plan)
    except OSError as error:
        raise BuildFailed("output", error.strerror or str(error), error.errno or 0) from error
    digest = hashlib.sha256(plan).hexdigest()
    uplink.send("built", seconds=seconds, sha256=digest, size_bytes=plan.nbytes)


def _tell_device(uplink: Uplink) -> None:
    from edge.engines.cuda import open_cuda
    from edge.engines.this_device import device_facts, refuse_old_tensorrt

    refuse_old_tensorrt(trt.__version__)
    with open_cuda() as cuda, cuda.current():
        facts = device_facts(cuda, trt.__version__)
    uplink.send("device", device=facts.model_dump(mode="json"))


def _content(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def _write(fd: int, content: memoryview) -> None:
    """Write a file from its start, whatever an attempt before has left in it."""
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    rest = content.cast("B")
    while rest:
        rest = rest[os.write(fd, rest) :]


if __name__ == "__main__":
    sys.exit(main(Order.from_json(sys.argv[1])))
