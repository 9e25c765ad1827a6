"""The strip under the picture: the disclaimer, always, and the times where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.overlay.badges import baseline_in
from edge.overlay.layout import Rect
from edge.overlay.paint import Painter, Pixels, fill
from edge.overlay.palette import DARK_INK, INK, SOFT_INK
from edge.overlay.text import Typesetter
from edge.result import DISCLAIMER


@dataclass(frozen=True)
class Reading:
    """One named number: ``age`` ``≥`` ``45 ms``; ``lower_bound`` adds the sign."""

    name: str
    value: str
    lower_bound: bool = False


def draw_band(
    canvas: Pixels,
    band: Rect,
    readings: Sequence[Reading],
    em_px: int,
    painter: Painter,
    typesetter: Typesetter,
) -> list[Reading]:
    """Draw the strip into the canvas, in place.

    Returns:
        The readings that found no room, for the legend; the first ones given stay longest.
    """
    x0, y0, x1, y1 = band
    fill(canvas, band, DARK_INK)
    baseline, margin = baseline_in(y0, y1, em_px), em_px // 2
    words = typesetter.line(DISCLAIMER, em_px, bold=True)
    painter.text(canvas, words, x0 + margin, baseline, INK)
    pen, room = x1 - margin, x1 - 2 * margin - words.advance - 2 * em_px
    left_out: list[Reading] = []
    for reading in readings:
        patches = [typesetter.line(reading.name, em_px)]
        if reading.lower_bound:
            patches.append(typesetter.line("≥", em_px, fallback=">="))
        patches.append(typesetter.line(reading.value, em_px))
        gap = round(0.3 * em_px)
        width = sum(patch.advance for patch in patches) + gap * (len(patches) - 1)
        if left_out or width > room:
            left_out.append(reading)
            continue
        start = pen - width
        for index, patch in enumerate(patches):
            painter.text(canvas, patch, start, baseline, SOFT_INK if index == 0 else INK)
            start += patch.advance + gap
        pen -= width + em_px
        room -= width + em_px
    return left_out
