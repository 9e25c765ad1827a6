"""``dermedge-convert`` with small golden frames, as a program and for tests in this process."""

from __future__ import annotations

import sys
from functools import cache

import pytest

from convert import golden

SMALL_SIZES_WH = ((96, 72), (72, 96))


_phantom = cache(golden.phantom)
"""Drawn once: most of the time of a gate goes there."""


def prepare(patch: pytest.MonkeyPatch) -> None:
    """Small golden frames, each drawn once."""
    patch.setattr(golden, "_SIZES_WH", SMALL_SIZES_WH)
    patch.setattr(golden, "phantom", _phantom)


if __name__ == "__main__":
    from convert.__main__ import main

    prepare(pytest.MonkeyPatch())
    sys.argv[0] = "dermedge-convert"
    main()
