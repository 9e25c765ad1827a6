"""What this device is, as engine cards write it down."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

from edge.engine_card import DeviceFacts
from edge.engines.cuda import Cuda

TEGRA_RELEASE = Path("/etc/nv_tegra_release")
OLDEST_TENSORRT = (10, 3)
"""What JetPack 6.1 brings; in older ones half of what is used here has another name."""

_RELEASE = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")
_PARTS = ("Major", "Minor", "Patch", "Build")


def device_facts(cuda: Cuda, tensorrt: str, tegra_release: Path = TEGRA_RELEASE) -> DeviceFacts:
    """The facts that an engine is bound to.

    Args:
        cuda: The GPU.
        tensorrt: ``tensorrt.__version__``; the library itself may know one part more.
        tegra_release: Jetson Linux writes its release there.
    """
    return DeviceFacts(
        gpu_name=cuda.gpu_name,
        compute_capability=cuda.compute_capability,
        sm_count=cuda.sm_count,
        l4t=l4t_release(tegra_release),
        tensorrt=tensorrt_version(tensorrt),
    )


def l4t_release(path: Path = TEGRA_RELEASE) -> str | None:
    """Release of Jetson Linux, such as ``36.4.3``; ``None`` where this is none."""
    try:
        found = _RELEASE.search(path.read_text("utf-8", "replace"))
    except OSError:
        return None
    return f"{found[1]}.{found[2]}" if found else None


def tensorrt_version(module_version: str) -> str:
    """TensorRT's version in four parts, such as ``10.3.0.30``, where the library gives them.

    JetPack's Python module says ``10.3.0`` and leaves out the build, to which an engine file is
    bound too. ``libnvinfer``, which the module has loaded, knows it; where it does not say so, or
    says something else than the module, the module's own version stands.
    """
    library = _loaded_library("libnvinfer.so")
    if library is None:
        return module_version
    try:
        loaded = ctypes.CDLL(library)
        parts = [str(getattr(loaded, f"getInferLib{part}Version")()) for part in _PARTS]
    except (OSError, AttributeError):
        return module_version
    version = ".".join(parts)
    return version if f"{version}.".startswith(f"{module_version}.") else module_version


def refuse_old_tensorrt(module_version: str) -> None:
    """Called where TensorRT is imported.

    Raises:
        ImportError: It is older than :data:`OLDEST_TENSORRT`.
    """
    if tuple(map(int, module_version.split(".")[:2])) < OLDEST_TENSORRT:
        raise ImportError(
            f"TensorRT {module_version}, older than 10.3: dermedge needs JetPack 6.1 or later"
        )


def _loaded_library(name: str) -> str | None:
    """Path of a library that this process has loaded already."""
    try:
        maps = Path("/proc/self/maps").read_text("utf-8", "replace")
    except OSError:
        return None
    for line in maps.splitlines():
        path = line.partition("/")[2]
        if path.rpartition("/")[2].startswith(name):
            return f"/{path}"
    return None
