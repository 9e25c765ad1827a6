"""CUDA through pycuda: the one file that imports it.

Never ``pycuda.autoinit``: it makes a context of its own, current on the importing thread only, and
TensorRT then works in another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycuda import driver

from edge.engines.cuda import cuda_failed, version_words

_NON_BLOCKING = 1
"""``CU_STREAM_NON_BLOCKING``: it does not wait for the default stream, nor that one for it."""


class PyCuda:
    """See :class:`edge.engines.cuda.Cuda`.

    Raises:
        CudaError: There is no driver, no such GPU, or its context cannot be had.
    """

    binding = "pycuda"

    def __init__(self, ordinal: int = 0) -> None:
        self._context: Any = None
        with _failing("an NVIDIA GPU and its driver"):
            driver.init()
            self._device = driver.Device(ordinal)
        with _failing("the GPU's context"):
            self._context = self._device.retain_primary_context()

    @property
    def gpu_name(self) -> str:
        """As the driver gives it."""
        return str(self._device.name())

    @property
    def compute_capability(self) -> str:
        """Such as ``8.7``."""
        return ".".join(map(str, self._device.compute_capability()))

    @property
    def sm_count(self) -> int:
        """Number of streaming multiprocessors."""
        return self._attribute("MULTIPROCESSOR_COUNT")

    @property
    def driver_version(self) -> str:
        """The newest CUDA that the driver knows, such as ``12.6``."""
        with _failing("the driver's version"):
            return version_words(driver.get_driver_version())

    @property
    def integrated(self) -> bool:
        """Whether GPU and host share their memory."""
        return bool(self._attribute("INTEGRATED"))

    @property
    def can_map_host(self) -> bool:
        """Whether the GPU can read and write memory of the host."""
        return bool(self._attribute("CAN_MAP_HOST_MEMORY"))

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current on this thread for the time of a ``with``."""
        with _failing("the GPU's context"):
            self._context.push()
        try:
            yield
        finally:
            driver.Context.pop()

    def memory_bytes(self) -> tuple[int, int]:
        """Free and total memory of the GPU."""
        with _failing("the GPU's free memory"):
            free, total = driver.mem_get_info()
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
        with _failing("a copy to the GPU"):
            driver.memcpy_htod_async(target.address, source.array[:size_bytes], stream.raw)

    def to_host(
        self, target: _HostBuffer, source: _DeviceBuffer, size_bytes: int, stream: _Stream
    ) -> None:
        """Copy in the stream."""
        with _failing("a copy from the GPU"):
            driver.memcpy_dtoh_async(target.array[:size_bytes], source.address, stream.raw)

    def capture(self, stream: _Stream, work: Callable[[], bool]) -> None:
        """``None``: pycuda's releases offer no graphs."""
        return None

    def close(self) -> None:
        """Release the context; calling it twice is harmless."""
        context, self._context = self._context, None
        if context is not None:
            context.detach()

    def __enter__(self) -> PyCuda:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _attribute(self, name: str) -> int:
        with _failing("a fact of the GPU"):
            return int(self._device.get_attribute(getattr(driver.device_attribute, name)))


class _Stream:
    def __init__(self) -> None:
        with _failing("a stream of the GPU"):
            self.raw: Any = driver.Stream(_NON_BLOCKING)

    @property
    def handle(self) -> int:
        return int(self.raw.handle)

    def synchronize(self) -> None:
        with _failing("the GPU's answer"):
            self.raw.synchronize()

    def close(self) -> None:
        self.raw = None  # pycuda destroys what nobody holds


class _Event:
    def __init__(self) -> None:
        with _failing("an event of the GPU"):
            self.raw: Any = driver.Event()

    def record(self, stream: _Stream) -> None:
        with _failing("the GPU's clock"):
            self.raw.record(stream.raw)

    def ms_since(self, earlier: _Event) -> float:
        with _failing("the GPU's clock"):
            return float(self.raw.time_since(earlier.raw))

    def close(self) -> None:
        self.raw = None


class _DeviceBuffer:
    def __init__(self, size_bytes: int) -> None:
        with _failing(f"{size_bytes} bytes of GPU memory"):
            self._raw: Any = driver.mem_alloc(size_bytes)

    @property
    def address(self) -> int:
        return int(self._raw)

    def close(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.free()


class _HostBuffer:
    def __init__(self, size_bytes: int, *, mapped: bool) -> None:
        flags = driver.host_alloc_flags.DEVICEMAP if mapped else 0
        with _failing(f"{size_bytes} bytes of pinned memory"):
            made = driver.pagelocked_empty((size_bytes,), np.uint8, mem_flags=flags)
        self._memory: Any = made.base
        self.array: NDArray[np.uint8] = made
        self.device_address: int | None = None
        if mapped:
            with _failing("memory that the GPU can see"):
                self.device_address = int(self._memory.get_device_pointer())

    def close(self) -> None:
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.free()


@contextmanager
def _failing(wanted: str) -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except driver.Error as error:
        raise cuda_failed(wanted, " ".join(str(error).split())) from error
