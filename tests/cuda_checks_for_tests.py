"""What :class:`edge.engines.cuda.Cuda` must do, on the stand-in of libcuda and on a real driver."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest

from edge.engines.cuda import Cuda, CudaError

SIZE = 1 << 16


@contextmanager
def _things(cuda: Cuda, *, mapped: bool = False) -> Iterator[tuple[Any, Any, Any, Any]]:
    """A stream, a source and a result on the host, and memory of the GPU between them."""
    with ExitStack() as stack:
        made: list[Any] = [cuda.stream()]
        stack.callback(made[0].close)
        for _ in range(2):
            made.append(cuda.host_buffer(SIZE, mapped=mapped))
            stack.callback(made[-1].close)
        made.append(cuda.device_buffer(SIZE))
        stack.callback(made[-1].close)
        yield made[0], made[1], made[2], made[3]


def check_facts(cuda: Cuda) -> None:
    """It says what GPU it is."""
    assert cuda.gpu_name and cuda.sm_count > 0
    major, _, minor = cuda.compute_capability.partition(".")
    assert int(major) >= 5 and int(minor) >= 0
    assert float(cuda.driver_version) >= 10.0
    free, total = cuda.memory_bytes()
    assert 0 < free <= total


def check_copies(cuda: Cuda, *, mapped: bool) -> None:
    """Bytes go to the GPU and back, and the GPU's clock says for how long."""
    with _things(cuda, mapped=mapped) as (stream, source, result, device), ExitStack() as stack:
        start, end = cuda.event(), cuda.event()
        stack.callback(start.close)
        stack.callback(end.close)
        source.array[:] = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
        result.array[:] = 0
        start.record(stream)
        cuda.to_device(device, source, SIZE, stream)
        cuda.to_host(result, device, SIZE // 2, stream)
        end.record(stream)
        stream.synchronize()
        half = SIZE // 2
        assert np.array_equal(result.array[:half], source.array[:half])
        assert not result.array[half:].any()
        assert end.ms_since(start) >= 0.0
        assert (source.device_address is not None) == mapped


def check_replay(cuda: Cuda) -> None:
    """A recorded copy is replayed with what the memory then holds, where there are graphs."""
    with _things(cuda) as (stream, source, result, device):

        def work() -> bool:
            cuda.to_device(device, source, SIZE, stream)
            cuda.to_host(result, device, SIZE, stream)
            return True

        graph = cuda.capture(stream, work)
        if graph is None:
            pytest.skip(f"{cuda.binding} offers no graphs")
        for value in (3, 200):
            source.array[:] = value
            graph.launch(stream)
            stream.synchronize()
            assert (result.array == value).all()
        graph.close()
        graph.close()


def check_failed_capture(cuda: Cuda) -> None:
    """What cannot be recorded leaves no graph, and a stream that still works."""
    with _things(cuda) as (stream, source, result, device):

        def refuses() -> bool:
            cuda.to_device(device, source, SIZE, stream)
            return False

        def waits() -> bool:
            cuda.to_device(device, source, SIZE, stream)
            stream.synchronize()  # nothing may wait for a stream that is recording
            return True

        def breaks() -> bool:
            cuda.to_device(device, source, SIZE, stream)
            raise KeyError("a fault of the program")

        assert cuda.capture(stream, refuses) is None
        assert cuda.capture(stream, waits) is None
        if cuda.binding == "cuda-python":
            with pytest.raises(KeyError):
                cuda.capture(stream, breaks)
        source.array[:] = 7
        cuda.to_device(device, source, SIZE, stream)
        cuda.to_host(result, device, SIZE, stream)
        stream.synchronize()
        assert (result.array == 7).all()


def check_current(cuda: Cuda) -> None:
    """The context is that of the thread which made it current, and of no other."""
    failures: list[BaseException] = []

    def elsewhere() -> None:
        try:
            cuda.memory_bytes()
        except CudaError as error:
            failures.append(error)
        with cuda.current():
            assert cuda.memory_bytes()[1] > 0
        try:
            cuda.memory_bytes()
        except CudaError as error:
            failures.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(failures) == 2


def check_too_much(cuda: Cuda) -> None:
    """Memory that is not there is one line, and costs nothing."""
    total = cuda.memory_bytes()[1]
    with pytest.raises(CudaError, match="memory") as caught:
        cuda.device_buffer(2 * total)
    assert caught.value.exit_code == 4 and "\n" not in str(caught.value)
    check_copies(cuda, mapped=False)
