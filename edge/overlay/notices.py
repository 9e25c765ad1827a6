"""Short words over the lower edge of the picture: what to do, and what not to believe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge.overlay.badges import baseline_in
from edge.overlay.layout import Rect
from edge.overlay.paint import Painter, Pixels
from edge.overlay.palette import DARK_INK, INK, WARNING, Colour
from edge.overlay.placing import LesionMap
from edge.overlay.text import Typesetter

Level = Literal["info", "prompt", "alarm"]
"""``info`` tells a state, ``prompt`` asks the person to do something, ``alarm`` says that what is
seen cannot be trusted."""

ALARM: Colour = (255, 110, 110)
_COLOURS: Mapping[Level, Colour] = {"info": INK, "prompt": WARNING, "alarm": ALARM}

_HEIGHT_EM, _GAP_EM, _PADDING_EM = 1.5, 0.25, 0.6
_STAYS = 0.05
"""So much more of a box may lie over lesions before it moves to another place."""

MOST = 4
"""More at once cannot be read; the first ones given are the ones that are shown."""


@dataclass(frozen=True)
class Notice:
    """One line of words, shown as long as it is given."""

    text: str
    level: Level = "info"


def draw_notices(
    picture: Pixels,
    notices: Sequence[Notice],
    em_px: int,
    painter: Painter,
    typesetter: Typesetter,
    lesions: LesionMap,
    anchor: int = 0,
) -> tuple[list[Rect], int]:
    """Draw them into the picture, in place, the first one lowest.

    They stand at the lower edge, in the middle unless that covers a lesion which they would not
    cover at the left or the right.

    Args:
        picture: HxWx3 uint8 RGB.
        notices: Those beyond :data:`MOST`, or beyond half the height, are left out.
        em_px: Text size.
        painter: Draws.
        typesetter: Sets the words.
        lesions: What not to cover.
        anchor: Where they stood in the picture before: they jump only for something clearly better.

    Returns:
        Where each is, in pixels of the picture, and the anchor for the next picture.
    """
    height, width = picture.shape[:2]
    line, padding, gap = (round(em * em_px) for em in (_HEIGHT_EM, _PADDING_EM, _GAP_EM))
    lowest = height - em_px // 2
    count = min(MOST, len(notices), (height // 2 - em_px // 2) // (line + gap))
    room = max(em_px, width - 2 * padding - em_px)
    texts = [typesetter.line(n.text, em_px, bold=True, max_width=room) for n in notices[:count]]
    if not texts:
        return [], anchor
    box_w = min(width, max(text.advance for text in texts) + 2 * padding)
    anchor = _best_anchor(width, box_w, lowest, count * (line + gap), em_px, lesions, anchor)
    places, bottom = [], lowest
    for notice, words in zip(notices, texts, strict=False):
        own_w = min(width, words.advance + 2 * padding)
        left = _left_edge(anchor, width, own_w, em_px)
        rect = (left, bottom - line, left + own_w, bottom)
        painter.plate(picture, rect, DARK_INK, opacity=0.8, radius_px=em_px // 4)
        baseline = baseline_in(rect[1], bottom, em_px)
        painter.text(picture, words, left + padding, baseline, _COLOURS[notice.level])
        places.append(rect)
        bottom -= line + gap
    return places, anchor


def _best_anchor(
    width: int,
    box_w: int,
    bottom: int,
    box_h: int,
    em_px: int,
    lesions: LesionMap,
    before: int,
) -> int:
    """0 for the middle, 1 left, 2 right: where the least of lesions is covered."""
    lefts = [_left_edge(anchor, width, box_w, em_px) for anchor in range(3)]
    rects = np.array([(left, bottom - box_h, left + box_w, bottom) for left in lefts])
    costs = lesions.fraction(rects) + np.array([0.0, 0.02, 0.02])
    costs[before] -= _STAYS
    return int(np.argmin(costs))


def _left_edge(anchor: int, width: int, box_w: int, em_px: int) -> int:
    margin = em_px // 2
    return max(0, ((width - box_w) // 2, margin, width - box_w - margin)[anchor])
