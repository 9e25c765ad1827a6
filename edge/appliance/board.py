"""Which kind of board this is, for the device nodes that its services need."""

from __future__ import annotations

from pathlib import Path

from edge.appliance.files import Board
from edge.appliance.package import Package

_EXTRAS: dict[Board, tuple[str, ...]] = {
    "jetson": ("jetson", "web"),
    "pi": ("pi", "web"),
    "pc": ("desktop", "web"),
}


def extras_of(board: Board, package: Package | None) -> tuple[str, ...]:
    """Extras of the package that a board takes.

    pycuda is built on the board and may be in no bundle: cuda-python does as well.
    """
    if board == "jetson" and package is not None and not package.has("pycuda"):
        return ("cuda", "web")
    return _EXTRAS[board]


def board_of(root: Path) -> Board:
    """By the device tree's model, or what NVIDIA's Linux leaves in ``/etc``."""
    if (root / "etc/nv_tegra_release").exists():
        return "jetson"
    model = b""
    for name in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        try:
            model = (root / name).read_bytes().lower()
            break
        except OSError:
            continue
    if b"jetson" in model or b"tegra" in model or b"nvidia" in model:
        return "jetson"
    return "pi" if b"raspberry pi" in model else "pc"
