"""CUDA through NVIDIA's cuda-python: the one file that imports it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.cuda import CudaError, cuda_failed, version_words

try:
    from cuda.bindings import driver
except ImportError:  # before 12.7
    from cuda import cuda as driver

_NON_BLOCKING = 1
"""``CU_STREAM_NON_BLOCKING``: it does not wait for the default stream, nor that one for it."""


class CudaPython:
    """See :class:`edge.engines.cuda.Cuda`.

    Raises:
        CudaError: There is no driver, no such GPU, or its context cannot be had.
    """

    binding = "cuda-python"

    def __init__(self, ordinal: int = 0) -> None:
        self._device: Any = None
        wanted = "an NVIDIA GPU and its driver"
        try:
            _done(wanted, driver.cuInit(0))
            device = _done(wanted, driver.cuDeviceGet(ordinal))
        except RuntimeError as error:  # what the bindings raise where there is no libcuda
            raise cuda_failed(wanted, " ".join(str(error).split())) from error
        self._context = _done("the GPU's context", driver.cuDevicePrimaryCtxRetain(device))
        self._device = device

    @property
    def gpu_name(self) -> str:
        """As the driver gives it."""
        name: bytes = _done("the GPU's name", driver.cuDeviceGetName(256, self._device))
        return name.split(b"\0")[0].decode()

    @property
    def compute_capability(self) -> str:
        """Such as ``8.7``."""
        major = self._attribute("CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR")
        return f"{major}.{self._attribute('CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR')}"

    @property
    def sm_count(self) -> int:
        """Number of streaming multiprocessors."""
        return self._attribute("CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT")

    @property
    def driver_version(self) -> str:
        """The newest CUDA that the driver knows, such as ``12.6``."""
        return version_words(int(_done("the driver's version", driver.cuDriverGetVersion())))

    @property
    def integrated(self) -> bool:
        """Whether GPU and host share their memory."""
        return bool(self._attribute("CU_DEVICE_ATTRIBUTE_INTEGRATED"))

    @property
    def can_map_host(self) -> bool:
        """Whether the GPU can read and write memory of the host."""
        return bool(self._attribute("CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY"))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current on this thread for the time of a ``with``."""
        _done("the GPU's context", driver.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            # Whatever happened to the context, the thread must not keep it.
            driver.cuCtxPopCurrent()

    def memory_bytes(self) -> tuple[int, int]:
        """Free and total memory of the GPU."""
        free, total = _done("the GPU's free memory", driver.cuMemGetInfo())
        return int(free), int(total)

    def stream(self) -> _Stream:
        """A new stream."""
        return _Stream()

    def event(self) -> _Event:
        """A new event that can be timed."""
        return _Event()

    def device_buffer(self, size_bytes: int) -> _DeviceBuffer:
        """New memory of the GPU."""
        return _DeviceBuffer(size_bytes)

    def host_buffer(self, size_bytes: int, *, mapped: bool) -> _HostBuffer:
        """New pinned memory of the host."""
        return _HostBuffer(size_bytes, mapped=mapped)

    def to_device(
        self, target: _DeviceBuffer, source: _HostBuffer, size_bytes: int, stream: _Stream
    ) -> None:
        """Copy in the stream."""
        copied = driver.cuMemcpyHtoDAsync(
            target.address, source.array.ctypes.data, size_bytes, stream.raw
        )
        _done("a copy to the GPU", copied)

    def to_host(
        self, target: _HostBuffer, source: _DeviceBuffer, size_bytes: int, stream: _Stream
    ) -> None:
        """Copy in the stream."""
        copied = driver.cuMemcpyDtoHAsync(
            target.array.ctypes.data, source.address, size_bytes, stream.raw
        )
        _done("a copy from the GPU", copied)

    def capture(self, stream: _Stream, work: Callable[[], bool]) -> _Graph | None:
        """See :meth:`edge.engines.cuda.Cuda.capture`."""
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        if _failed(driver.cuStreamBeginCapture(stream.raw, mode)):
            return None
        recorded = False
        try:
            recorded = work()
        except CudaError:
            pass  # a call that cannot be recorded; the work is then done unrecorded
        finally:
            # Also after a failure: otherwise the stream stays in capture mode.
            ended = driver.cuStreamEndCapture(stream.raw)
            graph = None if _failed(ended) else _instantiated(ended[1], wanted=recorded)
        return graph

    def close(self) -> None:
        """Release the context; calling it twice is harmless."""
        device, self._device = self._device, None
        if device is not None:
            driver.cuDevicePrimaryCtxRelease(device)

    def __enter__(self) -> CudaPython:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attribute(self, name: str) -> int:
        attribute = getattr(driver.CUdevice_attribute, name)
        return int(_done("a fact of the GPU", driver.cuDeviceGetAttribute(attribute, self._device)))


class _Stream:
    def __init__(self) -> None:
        self.raw: Any = _done("a stream of the GPU", driver.cuStreamCreate(_NON_BLOCKING))

    @property
    def handle(self) -> int:
        return int(self.raw)

    def synchronize(self) -> None:
        _done("the GPU's answer", driver.cuStreamSynchronize(self.raw))

    def close(self) -> None:
        raw, self.raw = self.raw, None
        if raw is not None:
            driver.cuStreamDestroy(raw)


class _Event:
    def __init__(self) -> None:
        self.raw: Any = _done("an event of the GPU", driver.cuEventCreate(0))

    def record(self, stream: _Stream) -> None:
        _done("the GPU's clock", driver.cuEventRecord(self.raw, stream.raw))

    def ms_since(self, earlier: _Event) -> float:
        return float(_done("the GPU's clock", driver.cuEventElapsedTime(earlier.raw, self.raw)))

    def close(self) -> None:
        raw, self.raw = self.raw, None
        if raw is not None:
            driver.cuEventDestroy(raw)


class _DeviceBuffer:
    def __init__(self, size_bytes: int) -> None:
        wanted = f"{size_bytes} bytes of GPU memory"
        self._raw: Any = _done(wanted, driver.cuMemAlloc(size_bytes))

    @property
    def address(self) -> int:
        return int(self._raw)

    def close(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            driver.cuMemFree(raw)


class _HostBuffer:
    def __init__(self, size_bytes: int, *, mapped: bool) -> None:
        wanted = f"{size_bytes} bytes of pinned memory"
        flags = driver.CU_MEMHOSTALLOC_DEVICEMAP if mapped else 0
        self._address: int | None = int(_done(wanted, driver.cuMemHostAlloc(size_bytes, flags)))
        self.device_address: int | None = None
        try:
            if mapped:
                pointer = driver.cuMemHostGetDevicePointer(self._address, 0)
                self.device_address = int(_done("memory that the GPU can see", pointer))
        except BaseException:
            self.close()
            raise
        memory = (ctypes.c_uint8 * size_bytes).from_address(self._address)
        self.array: NDArray[np.uint8] = np.ctypeslib.as_array(memory)

    def close(self) -> None:
        address, self._address = self._address, None
        if address is not None:
            driver.cuMemFreeHost(address)


class _Graph:
    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def launch(self, stream: _Stream) -> None:
        _done("the start of a recorded run", driver.cuGraphLaunch(self._raw, stream.raw))

    def close(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            driver.cuGraphExecDestroy(raw)


def _instantiated(recording: Any, *, wanted: bool) -> _Graph | None:
    """What can be started of a recording; the recording itself is given back."""
    made = driver.cuGraphInstantiate(recording, 0) if wanted else None
    driver.cuGraphDestroy(recording)
    return None if made is None or _failed(made) else _Graph(made[1])


def _failed(answer: tuple[Any, ...]) -> bool:
    return int(answer[0]) != 0


def _done(wanted: str, answer: tuple[Any, ...]) -> Any:
    """The results of a call.

    Raises:
        CudaError: It failed.
    """
    code, *results = answer
    if int(code) != 0:
        # By its name: without a driver there is nobody to ask for words.
        name = getattr(code, "name", f"CUDA_ERROR_{int(code)}")
        words = name.removeprefix("CUDA_ERROR_").lower().replace("_", " ")
        raise cuda_failed(wanted, f"{words} ({name})")
    return results[0] if len(results) == 1 else tuple(results)
