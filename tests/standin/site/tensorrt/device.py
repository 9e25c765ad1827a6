"""The device as the stand-in of libnvinfer sees it: the stand-in of libcuda, called by ctypes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_DONE = 0
_MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
_LAUNCH_FAILED = 719

Launched = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def cuda() -> ctypes.CDLL:
    """The stand-in of libcuda; it is already loaded, or found on LD_LIBRARY_PATH."""
    library = ctypes.CDLL("libcuda.so.1")
    library.standin_bytes.restype = ctypes.c_void_p
    library.standin_bytes.argtypes = [ctypes.c_uint64, ctypes.c_size_t]
    library.standin_launch.argtypes = [ctypes.c_void_p, Launched, ctypes.c_void_p]
    library.cuMemFree_v2.argtypes = [ctypes.c_uint64]
    library.cuMemAlloc_v2.argtypes = [ctypes.POINTER(ctypes.c_uint64), ctypes.c_size_t]
    library.cuStreamIsCapturing.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    library.cuCtxPushCurrent_v2.argtypes = [ctypes.c_void_p]
    return library


@dataclass(frozen=True)
class Device:
    """What an engine is tied to."""

    name: str
    compute: str
    multiprocessors: int
    memory: int


def device() -> Device | int:
    """The first device, or CUDA's error code."""
    library = cuda()
    code = library.cuInit(0)
    if code != _DONE:
        return int(code)
    name = ctypes.create_string_buffer(256)
    major, minor, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    memory = ctypes.c_size_t()
    library.cuDeviceGetName(name, len(name), 0)
    library.cuDeviceComputeCapability(ctypes.byref(major), ctypes.byref(minor), 0)
    library.cuDeviceGetAttribute(ctypes.byref(count), _MULTIPROCESSORS, 0)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), 0)
    compute = f"{major.value}.{minor.value}"
    return Device(name.value.decode(), compute, count.value, memory.value)


def allocate(size: int) -> int | None:
    """Device memory in the thread's context, or ``None``.

    A thread without a context gets the primary one, and keeps it: so does CUDA's runtime API,
    which the genuine library uses.
    """
    library = cuda()
    current, pointer = ctypes.c_void_p(), ctypes.c_uint64()
    library.cuCtxGetCurrent(ctypes.byref(current))
    if not current.value:
        library.cuDevicePrimaryCtxRetain(ctypes.byref(current), 0)
        library.cuCtxPushCurrent_v2(current)
    code = library.cuMemAlloc_v2(ctypes.byref(pointer), size)
    return pointer.value if code == _DONE else None


def free(pointer: int) -> None:
    """Give device memory back; without its context it stays counted as alive."""
    cuda().cuMemFree_v2(pointer)


def bytes_at(pointer: int, size: int) -> int | None:
    """Host address of device memory, or ``None`` where it is no whole part of an allocation."""
    return cuda().standin_bytes(pointer, size)


def is_capturing(stream: int) -> bool:
    """Is the stream recording a graph?"""
    status = ctypes.c_int()
    cuda().cuStreamIsCapturing(stream, ctypes.byref(status))
    return bool(status.value)


def launch(stream: int, function: Launched, argument: int) -> int:
    """Queue a call on a stream; returns CUDA's error code."""
    return int(cuda().standin_launch(stream, function, argument))


def fail() -> None:
    """What runs now fails: whoever waits for it is told."""
    cuda().standin_fail(_LAUNCH_FAILED)
