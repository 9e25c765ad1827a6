"""Colours of the overlay, RGB 0..255.

The eight region colours were searched for on a grid: luminance at least 0.33, away from the hues of
skin, and the smallest CIELAB distance between any two as large as possible for normal sight,
protanopia, deuteranopia and tritanopia (matrices of Machado et al. 2009, severity 1.0). It is 22;
a just noticeable difference is about 2. Letters say the same, so colour is never the only sign.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.result import Status

Colour = tuple[int, int, int]

REGION_COLOURS: tuple[Colour, ...] = (
    (120, 255, 210),
    (210, 120, 255),
    (235, 255, 0),
    (235, 120, 150),
    (180, 255, 120),
    (210, 180, 0),
    (210, 180, 255),
    (90, 180, 90),
)
NOT_CLASSIFIED: Colour = (225, 225, 225)

HALO: Colour = (0, 0, 0)
"""Around every bright line: one of the two stands out on any skin."""

INK: Colour = (255, 255, 255)
SOFT_INK: Colour = (200, 204, 208)
DARK_INK: Colour = (0, 0, 0)
WARNING: Colour = (255, 190, 60)
PANEL_LEVEL = 20
"""Grey of panels: one level in all three channels."""

STATUS_COLOURS: Mapping[Status, Colour] = {
    "ok": (255, 255, 255),
    "nothing_found": (150, 200, 255),
    "poor_quality": (255, 190, 60),
    "no_live_image": (255, 60, 60),
    "model_refused": (255, 120, 220),
    "analysis_failed": (255, 130, 60),
}


def region_colour(letter: str) -> Colour:
    """The colour that belongs to a letter: A, I and Q share one, nine letters apart."""
    index = 0
    for character in letter:
        index = index * 26 + ord(character) - ord("A") + 1
    return REGION_COLOURS[(index - 1) % len(REGION_COLOURS)]
