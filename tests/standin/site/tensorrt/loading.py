"""Loads NVIDIA's own module from its wheel, with empty libraries in the place of libnvinfer."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import ModuleType


def genuine_module() -> ModuleType:
    """The module of the release that ``STANDIN_TENSORRT`` names.

    Raises:
        ModuleNotFoundError: It names none: there is no TensorRT then.
    """
    release = os.environ.get("STANDIN_TENSORRT")
    if release is None:
        raise ModuleNotFoundError("No module named 'tensorrt'", name="tensorrt")
    for library in sorted(Path(os.environ["STANDIN_LIBRARIES"], release).glob("libnv*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, os.environ["STANDIN_BINDINGS"])
    try:
        import tensorrt_bindings
    finally:
        sys.path.remove(os.environ["STANDIN_BINDINGS"])
    return tensorrt_bindings
