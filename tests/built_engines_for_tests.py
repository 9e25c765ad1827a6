"""``dermedge-convert`` with small golden frames, for tests that build.

Run as a program it is ``dermedge-convert`` itself.
"""

from __future__ import annotations

import sys
from functools import cache

import pytest

from convert import golden

SMALL_SIZES_WH = ((96, 72), (72, 96))

_phantom = cache(golden.phantom)
"""Drawn once: most of the time of a gate goes there."""


def use_small_frames(patch: pytest.MonkeyPatch) -> None:
    """As many golden frames as ever, but small ones."""
    patch.setattr(golden, "_SIZES_WH", SMALL_SIZES_WH)
    patch.setattr(golden, "phantom", _phantom)


if __name__ == "__main__":
    from convert.__main__ import main

    use_small_frames(pytest.MonkeyPatch())
    sys.argv[0] = "dermedge-convert"
    main()
