"""Which kind of board this is, for the device nodes that its services need."""

from __future__ import annotations

from pathlib import Path

from edge.appliance.files import Board
from edge.appliance.package import Package
from edge.board.state import read_board

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
    """As the rest of the program sees it."""
    kinds: dict[str, Board] = {"jetson": "jetson", "raspberry pi": "pi"}
    return kinds.get(read_board(root).kind, "pc")
