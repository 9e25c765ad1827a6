"""The system's fonts, where the tests of the overlay need real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.overlay.fonts import Fonts


@pytest.fixture(scope="session")
def noto() -> Fonts:
    """The system's fonts; the test is skipped where Debian's Noto packages are missing."""
    folder = Path("/usr/share/fonts")
    for name in ("NotoSans-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "NotoSansCJK-Bold.ttc"):
        if not any(folder.rglob(name)):
            pytest.skip(f"{name} is not installed: apt-get install fonts-noto-core fonts-noto-cjk")
    fonts = Fonts()
    if not fonts.shaping:
        pytest.skip("Pillow finds no FriBiDi: apt-get install libfribidi0")
    return fonts
