"""What tests tell the stand-in of TensorRT, in environment variables that are read at each use.

``STANDIN_LIBRARY_VERSION``   what the library calls itself, in four parts
``STANDIN_BUILD_SECONDS``     a build without a timing cache takes that long
``STANDIN_BUILD_OOM_ABOVE``   a build with more workspace (bytes) finds no memory and fails
``STANDIN_BUILD_KILL_ABOVE``  the same, but the kernel kills the process, half way through
``STANDIN_BUILD_NEEDS``       a build with less workspace (bytes) finds no implementation and fails
``STANDIN_BUILD_FAILS``       a build fails, with this text in the log
``STANDIN_RUN_MS``            how long a run takes: ``5``, or by precision ``fp32=9,fp16=5,int8=3``
``STANDIN_PERTURB``           what is wrong with the results, see ``perturbations.py``
"""

from __future__ import annotations

import os


def text(name: str) -> str | None:
    """The value of a variable, or ``None`` where it is not set or empty."""
    return os.environ.get(f"STANDIN_{name}") or None


def number(name: str) -> float | None:
    """The value of a variable as a number."""
    value = text(name)
    return None if value is None else float(value)


def run_seconds(precision: str) -> float:
    """How long one run is to take, beside what ONNX Runtime takes."""
    value = text("RUN_MS") or "0"
    if "=" not in value:
        return float(value) / 1000
    by_precision = dict(part.split("=") for part in value.split(","))
    return float(by_precision.get(precision, 0)) / 1000
