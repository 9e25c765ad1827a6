"""Which programs encode H.264 on this machine, and pictures that tell their number."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.recording.h264 import PROGRAMS, Program, proven_program


@cache
def why_not(program: Program) -> str:
    """Empty where it works."""
    return proven_program([program])[1]


def needs_h264() -> None:
    """Skip the test where nothing encodes it."""
    if all(why_not(program) for program in PROGRAMS):
        pytest.skip("; ".join(f"{why_not(program)}" for program in PROGRAMS))


def numbered(number: int, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """A grey picture whose blocks tell its number in binary."""
    width, height = size_wh
    bits = np.array([40 + 170 * (number >> bit & 1) for bit in range(8)], np.uint8)
    row = np.repeat(bits, -(-width // 8))[:width]
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))


def number_of(picture: NDArray[np.uint8]) -> int:
    """What :func:`numbered` put into it."""
    width = -(-picture.shape[1] // 8)
    middles = picture[picture.shape[0] // 2, width // 2 :: width, 1]
    return sum(1 << bit for bit, value in enumerate(middles[:8]) if value > 120)
