"""CUDA's interface on a real GPU: ``python -m pytest -m device tests/device``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cuda_checks_for_tests as checks
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


@pytest.mark.parametrize("mapped", [False, True])
def test_bytes_go_there_and_back(cuda: Cuda, mapped: bool) -> None:
    if mapped and not cuda.can_map_host:
        pytest.skip("this GPU cannot map memory of the host")
    checks.check_copies(cuda, mapped=mapped)


@pytest.mark.parametrize(
    "check",
    [
        checks.check_facts,
        checks.check_replay,
        checks.check_failed_capture,
        checks.check_current,
        checks.check_too_much,
    ],
)
def test_a_driver_does_what_the_engines_need(cuda: Cuda, check: Callable[[Cuda], None]) -> None:
    check(cuda)
