"""CUDA as the engines need it: memory, streams, events and graphs, behind one small interface.

Two bindings offer it, each in a file of its own: pycuda, and NVIDIA's cuda-python where pycuda is
not installed. Everything works on the GPU's *primary* context, which TensorRT uses too, and on the
thread that made it current (:meth:`Cuda.current`); nothing happens at import.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import EngineFailedError
from edge.errors import RequestError
from edge.pages import page


class CudaError(EngineFailedError):
    """The driver, the GPU or its memory failed."""


class Stream(Protocol):
    """Work that the GPU does in order, beside the default stream."""

    @property
    def handle(self) -> int:
        """What TensorRT calls it by."""
        ...

    def synchronize(self) -> None:
        """Wait for all of its work; a failure of that work is raised here."""
        ...

    def close(self) -> None: ...


class Event(Protocol):
    """A point in a stream's work."""

    def record(self, stream: Any) -> None:
        """Set the point behind what the stream has to do so far."""
        ...

    def ms_since(self, earlier: Any) -> float:
        """Milliseconds on the GPU from another event to this one; both must be over."""
        ...

    def close(self) -> None: ...


class DeviceBuffer(Protocol):
    """Memory of the GPU."""

    @property
    def address(self) -> int:
        """Where the GPU sees it."""
        ...

    def close(self) -> None: ...


class HostBuffer(Protocol):
    """Memory of the host that the GPU reaches without the processor: pinned, or mapped too."""

    @property
    def array(self) -> NDArray[np.uint8]:
        """Its bytes; not to be touched after :meth:`close`."""
        ...

    @property
    def device_address(self) -> int | None:
        """Where the GPU sees it; ``None`` where it is not mapped."""
        ...

    def close(self) -> None: ...


class Graph(Protocol):
    """Recorded work that is started as one."""

    def launch(self, stream: Any) -> None: ...

    def close(self) -> None: ...


class Cuda(Protocol):
    """One GPU and its primary context, retained until :meth:`close`.

    All methods but :meth:`close` want the context to be current on the calling thread. What they
    make is closed by the caller, before the context, and fits only the binding that made it; the
    arguments that are such things are not typed closer.
    """

    @property
    def binding(self) -> str:
        """``pycuda`` or ``cuda-python``."""
        ...

    @property
    def gpu_name(self) -> str: ...

    @property
    def compute_capability(self) -> str:
        """Such as ``8.7``."""
        ...

    @property
    def sm_count(self) -> int:
        """Number of streaming multiprocessors."""
        ...

    @property
    def driver_version(self) -> str:
        """The newest CUDA that the driver knows, such as ``12.6``."""
        ...

    @property
    def integrated(self) -> bool:
        """Whether GPU and host share their memory."""
        ...

    @property
    def can_map_host(self) -> bool:
        """Whether the GPU can read and write memory of the host."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make the context current on this thread for the time of a ``with``."""
        ...

    def memory_bytes(self) -> tuple[int, int]:
        """Free and total memory of the GPU."""
        ...

    def stream(self) -> Stream: ...

    def event(self) -> Event: ...

    def device_buffer(self, size_bytes: int) -> DeviceBuffer: ...

    def host_buffer(self, size_bytes: int, *, mapped: bool) -> HostBuffer: ...

    def to_device(self, target: Any, source: Any, size_bytes: int, stream: Any) -> None:
        """Copy in the stream."""
        ...

    def to_host(self, target: Any, source: Any, size_bytes: int, stream: Any) -> None:
        """Copy in the stream."""
        ...

    def capture(self, stream: Any, work: Callable[[], bool]) -> Graph | None:
        """Record what ``work`` puts into the stream instead of doing it.

        Args:
            stream: Nothing is left to be done in it.
            work: False where it failed.

        Returns:
            The recording, or ``None`` where this binding, driver or work does not allow it; the
            stream is then as it was before.
        """
        ...

    def close(self) -> None:
        """Release the context; calling it twice is harmless."""
        ...

    def __enter__(self) -> Cuda: ...

    def __exit__(self, *_: object) -> None: ...


def has_binding() -> bool:
    """Whether one of the two bindings is installed; neither is imported."""
    return _has("pycuda") or _has_cuda_python()


def open_cuda(ordinal: int = 0) -> Cuda:
    """The GPU of this number, through a binding that loads, pycuda first.

    Raises:
        RequestError: Neither is installed, or none loads.
        CudaError: There is no driver, no GPU, or it cannot be used.
    """
    faults = []
    for name, is_here, load in (
        ("pycuda", _has("pycuda"), _load_pycuda),
        ("cuda-python", _has_cuda_python(), _load_cuda_python),
    ):
        if is_here:
            try:
                binding = load()
            except ImportError as error:  # built for another CUDA, or there is no driver at all
                faults.append(f"{name}: {' '.join(str(error).split())[:160]}")
            else:
                return binding(ordinal)
    if faults:
        raise RequestError(
            "a binding to CUDA that loads",
            got="; ".join(faults),
            next_step=f"build it for the CUDA and the driver that are here; {page('jetson.md')}",
        )
    raise RequestError(
        "pycuda or cuda-python, to use the GPU",
        got="neither",
        next_step="in dermedge's folder: pip install '.[jetson]', or pip install cuda-python; "
        + page("jetson.md"),
    )


def _load_pycuda() -> Callable[[int], Cuda]:
    from edge.engines.cuda_pycuda import PyCuda

    return PyCuda


def _load_cuda_python() -> Callable[[int], Cuda]:
    from edge.engines.cuda_python import CudaPython

    return CudaPython


def version_words(number: int) -> str:
    """``12060``, as drivers tell their version, is ``12.6``."""
    return f"{number // 1000}.{number % 1000 // 10}"


def cuda_failed(doing: str, reason: str) -> CudaError:
    """The error for a call of the driver that failed.

    Args:
        doing: What was wanted, such as ``4096 bytes of GPU memory``.
        reason: The driver's words.
    """
    lowered = reason.lower()
    if "no cuda-capable device" in lowered or "no_device" in lowered:
        next_step = f"check the board: /dev/nvhost-gpu or nvidia-smi; {page('jetson.md')}"
    elif "out of memory" in lowered or "out_of_memory" in lowered:
        next_step = "close what else uses the GPU, or build with a smaller max_batch"
    elif "driver" in lowered:  # a mismatch, one too old, a stub
        next_step = "the CUDA binding does not fit the driver: install the one of your JetPack"
    else:
        next_step = "see what the system says of it: dermedge doctor, dmesg"
    return CudaError(doing, got=reason, next_step=next_step)


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _has_cuda_python() -> bool:
    """``cuda.bindings.driver``, or ``cuda.cuda`` as it was called before 12.7."""
    if not _has("cuda"):
        return False
    return any(_has_inside("cuda", name) for name in ("bindings", "cuda"))


def _has_inside(package: str, name: str) -> bool:
    try:
        return _has(f"{package}.{name}")
    except ModuleNotFoundError:
        return False
