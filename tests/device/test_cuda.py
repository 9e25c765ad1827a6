"""CUDA's interface on a real GPU: ``python -m pytest -m device tests/device``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.engines.cuda import Cuda, has_binding, open_cuda

pytestmark = pytest.mark.device


@pytest.fixture
def cuda() -> Iterator[Cuda]:
    if not (list(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/nvhost-gpu").exists()):
        pytest.skip("no NVIDIA GPU here")
    if not has_binding():
        pytest.skip("neither pycuda nor cuda-python is installed here")
    with open_cuda() as opened, opened.current():
        yield opened


def test_the_gpu_says_what_it_is(cuda: Cuda) -> None:
    assert cuda.gpu_name and cuda.sm_count > 0
    major, _, minor = cuda.compute_capability.partition(".")
    assert int(major) >= 5 and int(minor) >= 0
    free, total = cuda.memory_bytes()
    assert 0 < free <= total


@pytest.mark.parametrize("mapped", [False, True])
def test_bytes_go_there_and_back(cuda: Cuda, mapped: bool) -> None:
    if mapped and not cuda.can_map_host:
        pytest.skip("this GPU cannot map memory of the host")
    size = 1 << 20
    stream, start, end = cuda.stream(), cuda.event(), cuda.event()
    source, result = (cuda.host_buffer(size, mapped=mapped) for _ in range(2))
    device = cuda.device_buffer(size)
    source.array[:] = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    start.record(stream)
    cuda.to_device(device, source, size, stream)
    cuda.to_host(result, device, size, stream)
    end.record(stream)
    stream.synchronize()
    assert np.array_equal(result.array, source.array)
    assert end.ms_since(start) >= 0.0
    assert (source.device_address is not None) == mapped
    for thing in (device, source, result, start, end, stream):
        thing.close()


def test_a_recorded_copy_is_replayed(cuda: Cuda) -> None:
    size = 4096
    stream = cuda.stream()
    source, result = (cuda.host_buffer(size, mapped=False) for _ in range(2))
    device = cuda.device_buffer(size)

    def work() -> bool:
        cuda.to_device(device, source, size, stream)
        cuda.to_host(result, device, size, stream)
        return True

    graph = cuda.capture(stream, work)
    if graph is None:
        pytest.skip(f"{cuda.binding} offers no graphs")
    for value in (3, 200):
        source.array[:] = value
        graph.launch(stream)
        stream.synchronize()
        assert (result.array == value).all()
    for thing in (graph, device, source, result, stream):
        thing.close()
