"""What importing the program loads: nothing heavy, and nothing that only a board has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HARDWARE = {"torch", "tensorrt", "pycuda", "gi", "picamera2", "openvino"}
HEAVY = HARDWARE | {"cv2", "onnx", "onnxruntime", "numpy", "PIL", "pydantic", "rich"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a fresh process after ``code``."""
    child = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return {name.partition(".")[0] for name in child.stdout.split()}


def test_the_package_and_its_command_line_are_light():
    assert not loaded_by("import edge, edge.__main__") & HEAVY


def test_doctor_starts_where_opencv_is_broken():
    names = "edge.doctor.basis, edge.compose"
    assert "cv2" not in loaded_by(f"import {names}")


def test_no_module_needs_torch_or_a_board():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "edge").rglob("*.py"))
    ]
    modules = [name.removesuffix(".__init__") for name in names]
    # The files that are named for a library of the hardware or of an extra.
    for name in ("openvino", "tensorrt", "cuda_pycuda", "cuda_python"):
        modules.remove(f"edge.engines.{name}")
    assert not loaded_by("import " + ", ".join(modules)) & HARDWARE
