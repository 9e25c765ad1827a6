"""The genuine pycuda on the stand-in of libcuda."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from standin_for_tests import Standin, alive

pytestmark = pytest.mark.pycuda


@pytest.fixture
def driver(pycuda_here: Standin) -> Any:
    """``pycuda.driver`` with the primary context current; nothing is alive at the end."""
    from pycuda import driver

    driver.init()
    context = driver.Device(0).retain_primary_context()
    context.push()
    yield driver
    driver.Context.pop()
    context.detach()  # leaves it current for CUDA, though not for pycuda
    assert alive(pycuda_here.counters()) == {}


def test_the_device(driver: Any) -> None:
    device = driver.Device(0)
    assert (device.name(), device.compute_capability()) == ("Orin", (8, 7))
    assert device.get_attribute(driver.device_attribute.MULTIPROCESSOR_COUNT) == 8
    free, total = driver.mem_get_info()
    assert 0 < free <= total == 8 << 30


def test_pinned_memory_streams_and_events(driver: Any) -> None:
    stream, event = driver.Stream(1), driver.Event()
    device = driver.mem_alloc(16)
    source, result = (driver.pagelocked_empty((16,), np.uint8) for _ in range(2))
    source[:] = 7
    before = result.copy()
    driver.memcpy_htod_async(device, source, stream)
    driver.memcpy_dtoh_async(result, device, stream)
    event.record(stream)
    assert (result == before).all()
    event.synchronize()
    assert (result == 7).all()


def test_mapped_memory(driver: Any) -> None:
    flags = driver.host_alloc_flags.DEVICEMAP
    host = driver.pagelocked_empty((16,), np.uint8, mem_flags=flags)
    driver.memset_d8(host.base.get_device_pointer(), 9, 16)
    assert (host == 9).all()


def test_no_memory(driver: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("STANDIN_FAIL_ALLOC", "1+")
    with pytest.raises(driver.MemoryError):
        driver.mem_alloc(16)


def test_no_current_context(driver: Any) -> None:
    context = driver.Context.get_current()
    driver.Context.pop()
    with pytest.raises(driver.LogicError, match="invalid device context"):
        driver.mem_alloc(16)
    context.push()


def test_what_the_standin_does_not_do_says_so(driver: Any) -> None:
    with pytest.raises(driver.Error, match="not supported"):
        driver.module_from_file("no kernel")
