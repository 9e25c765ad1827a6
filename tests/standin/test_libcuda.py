"""The genuine cuda-python on the stand-in of libcuda: what tests of memory and streams rely on."""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from standin_for_tests import Standin, alive

BYTES = 4096


@pytest.fixture
def driver(standin_here: Standin) -> Any:
    """``cuda.bindings.driver`` with the primary context current; nothing is alive at the end."""
    from cuda.bindings import driver

    done(driver.cuInit(0))
    device = done(driver.cuDeviceGet(0))
    done(driver.cuCtxPushCurrent(done(driver.cuDevicePrimaryCtxRetain(device))))
    yield driver
    done(driver.cuCtxPopCurrent())
    done(driver.cuDevicePrimaryCtxRelease(device))
    assert alive(standin_here.counters()) == {}


def done(answer: tuple[Any, ...]) -> Any:
    """The results of a call that must succeed."""
    assert answer[0] == 0, answer
    return answer[1] if len(answer) == 2 else answer[1:]


def host_bytes(address: int) -> np.ndarray[Any, Any]:
    return np.frombuffer((ctypes.c_uint8 * BYTES).from_address(address), np.uint8)


def test_copies_are_done_when_somebody_waits_and_not_before(driver: Any) -> None:
    stream = done(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
    device = done(driver.cuMemAlloc(BYTES))
    source, result = (done(driver.cuMemHostAlloc(BYTES, 0)) for _ in range(2))
    host_bytes(source)[:] = 7
    before = host_bytes(result).copy()
    done(driver.cuMemcpyHtoDAsync(device, source, BYTES, stream))
    done(driver.cuMemcpyDtoHAsync(result, device, BYTES, stream))
    assert (host_bytes(result) == before).all() and before[0] != 7
    done(driver.cuStreamSynchronize(stream))
    assert (host_bytes(result) == 7).all()
    release(driver, stream, device, source, result)


def release(driver: Any, stream: Any, device: Any, *host: int) -> None:
    done(driver.cuStreamDestroy(stream))
    done(driver.cuMemFree(device))
    for address in host:
        done(driver.cuMemFreeHost(address))


def test_mapped_memory_needs_no_copy(driver: Any) -> None:
    host = done(driver.cuMemHostAlloc(BYTES, driver.CU_MEMHOSTALLOC_DEVICEMAP))
    pointer = done(driver.cuMemHostGetDevicePointer(host, 0))
    assert int(pointer) != host
    done(driver.cuMemsetD8(pointer, 9, BYTES))
    assert (host_bytes(host) == 9).all()
    unmapped = done(driver.cuMemHostAlloc(BYTES, 0))
    assert driver.cuMemHostGetDevicePointer(unmapped, 0)[0] == 1
    done(driver.cuMemFreeHost(host))
    done(driver.cuMemFreeHost(unmapped))


def test_events_and_queries(driver: Any) -> None:
    stream = done(driver.cuStreamCreate(1))
    first, last = (done(driver.cuEventCreate(0)) for _ in range(2))
    done(driver.cuEventRecord(first, stream))
    done(driver.cuEventRecord(last, stream))
    assert driver.cuEventElapsedTime(first, last)[0] == 600
    assert driver.cuEventQuery(last)[0] == 600
    assert driver.cuEventQuery(last)[0] == 0
    done(driver.cuEventSynchronize(last))
    assert done(driver.cuEventElapsedTime(first, last)) >= 0
    for event in (first, last):
        done(driver.cuEventDestroy(event))
    done(driver.cuStreamDestroy(stream))
    assert driver.cuEventRecord(first, None)[0] == 400


def test_a_stream_waits_for_another_ones_event(driver: Any) -> None:
    one, two = (done(driver.cuStreamCreate(1)) for _ in range(2))
    device = done(driver.cuMemAlloc(BYTES))
    result = done(driver.cuMemHostAlloc(BYTES, 0))
    event = done(driver.cuEventCreate(0))
    done(driver.cuMemsetD8Async(device, 5, BYTES, one))
    done(driver.cuEventRecord(event, one))
    done(driver.cuStreamWaitEvent(two, event, 0))
    done(driver.cuMemcpyDtoHAsync(result, device, BYTES, two))
    done(driver.cuStreamSynchronize(two))
    assert (host_bytes(result) == 5).all()
    done(driver.cuEventDestroy(event))
    done(driver.cuStreamDestroy(two))
    release(driver, one, device, result)


def test_graphs_replay_what_was_captured(driver: Any) -> None:
    stream = done(driver.cuStreamCreate(1))
    device = done(driver.cuMemAlloc(BYTES))
    source, result = (done(driver.cuMemHostAlloc(BYTES, 0)) for _ in range(2))
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    done(driver.cuStreamBeginCapture(stream, mode))
    done(driver.cuMemcpyHtoDAsync(device, source, BYTES, stream))
    done(driver.cuMemcpyDtoHAsync(result, device, BYTES, stream))
    assert driver.cuStreamSynchronize(stream)[0] == 900
    assert driver.cuMemAlloc(1)[0] == 900
    graph = done(driver.cuStreamEndCapture(stream))
    executable = done(driver.cuGraphInstantiate(graph, 0))
    done(driver.cuGraphDestroy(graph))
    for value in (1, 2, 3):
        host_bytes(source)[:] = value
        done(driver.cuGraphLaunch(executable, stream))
        done(driver.cuStreamSynchronize(stream))
        assert (host_bytes(result) == value).all()
    done(driver.cuGraphExecDestroy(executable))
    release(driver, stream, device, source, result)


def test_misuse_is_refused(driver: Any) -> None:
    device = done(driver.cuMemAlloc(BYTES))
    array = np.zeros(2 * BYTES, np.uint8)
    host = array.ctypes.data
    assert driver.cuMemcpyHtoD(device, host, BYTES + 1)[0] == 1, "past the end"
    assert driver.cuMemcpyHtoD(host, host, BYTES)[0] == 1, "a host address for a device address"
    context = done(driver.cuCtxPopCurrent())
    assert driver.cuMemcpyHtoD(device, host, BYTES)[0] == 201, "no current context"
    done(driver.cuCtxPushCurrent(context))
    done(driver.cuMemFree(device))
    assert driver.cuMemFree(device)[0] == 1, "twice"


def test_planted_lack_of_memory(driver: Any, standin_here: Standin, monkeypatch: Any) -> None:
    monkeypatch.setenv("STANDIN_FAIL_ALLOC", "2")
    first = done(driver.cuMemAlloc(BYTES))
    assert driver.cuMemAlloc(BYTES)[0] == 2
    third = done(driver.cuMemHostAlloc(BYTES, 0))
    monkeypatch.setenv("STANDIN_GPU_MEMORY", str(3 * BYTES))
    assert done(driver.cuMemGetInfo()) == (BYTES, 3 * BYTES)
    assert driver.cuMemAlloc(BYTES + 1)[0] == 2
    done(driver.cuMemFree(first))
    done(driver.cuMemFreeHost(third))


def child(standin: Standin, code: str, **settings: object) -> str:
    """What a child prints that has the context of :func:`driver` without its end."""
    head = """
        from cuda.bindings import driver
        print(driver.cuInit(0)[0].name)
        device = driver.cuDeviceGet(0)[1]
        driver.cuCtxPushCurrent(driver.cuDevicePrimaryCtxRetain(device)[1])
    """
    done = standin.run(["-c", dedent(head) + dedent(code)], **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_was_not_released_is_reported_at_the_end(standin: Standin, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    code = "driver.cuMemAlloc(100); driver.cuStreamCreate(0); driver.cuEventCreate(0)"
    child(standin, code, cuda_report=report)
    (line,) = report.read_text().splitlines()
    assert alive(json.loads(line)) == {
        "contexts": 1,
        "allocations": 1,
        "streams": 1,
        "events": 1,
    }


def test_memory_that_outlived_its_context_counts_as_alive(standin: Standin, tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    code = "driver.cuMemAlloc(100); driver.cuDevicePrimaryCtxRelease(device)"
    child(standin, code, cuda_report=report)
    assert alive(json.loads(report.read_text())) == {"allocations": 1}


def test_the_device_is_what_the_environment_says(standin: Standin) -> None:
    code = """
        attribute = driver.CUdevice_attribute
        for name in ("MULTIPROCESSOR_COUNT", "INTEGRATED", "CAN_MAP_HOST_MEMORY",
                     "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR"):
            found = getattr(attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
            print(name, driver.cuDeviceGetAttribute(found, device)[1])
        print(driver.cuDeviceGetName(64, device)[1].split(bytes(1))[0].decode())
        print(driver.cuDriverGetVersion()[1], driver.cuDeviceTotalMem(device)[1])
    """
    settings = {"gpu_name": "Thor", "gpu_compute": "11.0", "gpu_sms": 20, "gpu_memory": 1 << 30}
    said = child(standin, code, gpu_integrated=0, gpu_can_map_host=0, **settings)
    assert said.split("\n") == [
        "CUDA_SUCCESS",
        "MULTIPROCESSOR_COUNT 20",
        "INTEGRATED 0",
        "CAN_MAP_HOST_MEMORY 0",
        "COMPUTE_CAPABILITY_MAJOR 11",
        "COMPUTE_CAPABILITY_MINOR 0",
        "Thor",
        "12060 1073741824",
        "",
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gpu_count": 0}, "CUDA_ERROR_NO_DEVICE"),
        ({"fail_init": 3}, "CUDA_ERROR_NOT_INITIALIZED"),
    ],
)
def test_no_device(standin: Standin, settings: dict[str, int], said: str) -> None:
    code = "from cuda.bindings import driver; print(driver.cuInit(0)[0].name)"
    assert standin.run(["-c", code], **settings).stdout == f"{said}\n"


def test_touching_device_memory_from_the_host_ends_the_process(standin: Standin) -> None:
    code = """
        from cuda.bindings import driver
        import ctypes
        driver.cuInit(0)
        driver.cuCtxPushCurrent(driver.cuDevicePrimaryCtxRetain(driver.cuDeviceGet(0)[1])[1])
        ctypes.c_int.from_address(int(driver.cuMemAlloc(100)[1])).value = 1
    """
    killed_by = -standin.run(["-c", dedent(code)]).returncode
    assert killed_by in (signal.SIGSEGV, signal.SIGBUS)


def test_this_interpreter_was_not_given_a_real_library(standin_here: Standin) -> None:
    maps = Path("/proc/self/maps").read_text() if sys.platform == "linux" else ""
    loaded = {line.split()[-1] for line in maps.splitlines() if "libcuda.so" in line}
    assert loaded <= {str(standin_here.folder / "libcuda.so.1")}
