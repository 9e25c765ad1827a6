"""Short words over the lower edge of the picture: what to do, and what not to believe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.overlay.badges import baseline_in
from edge.overlay.layout import Rect
from edge.overlay.paint import Painter, Pixels
from edge.overlay.palette import DARK_INK, INK, WARNING, Colour
from edge.overlay.text import Typesetter

Level = Literal["info", "prompt", "alarm"]
"""``info`` tells a state, ``prompt`` asks the person to do something, ``alarm`` says that what is
seen cannot be trusted."""

ALARM: Colour = (255, 110, 110)
_COLOURS: Mapping[Level, Colour] = {"info": INK, "prompt": WARNING, "alarm": ALARM}

_HEIGHT_EM, _GAP_EM, _PADDING_EM = 1.5, 0.25, 0.6
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
) -> list[Rect]:
    """Draw them into the picture, in place, the first one lowest.

    Returns:
        Where each is, in pixels of the picture; those that find no room are left out.
    """
    height, width = picture.shape[:2]
    line, padding = round(_HEIGHT_EM * em_px), round(_PADDING_EM * em_px)
    bottom, places = height - em_px // 2, []
    for notice in notices[:MOST]:
        top = bottom - line
        if top < height // 2:
            break
        words = typesetter.line(
            notice.text, em_px, bold=True, max_width=max(em_px, width - 2 * padding - em_px)
        )
        box_w = words.advance + 2 * padding
        x0 = max(0, (width - box_w) // 2)
        rect = (x0, top, min(width, x0 + box_w), bottom)
        painter.plate(picture, rect, DARK_INK, opacity=0.8, radius_px=em_px // 4)
        baseline = baseline_in(top, bottom, em_px)
        painter.text(picture, words, x0 + padding, baseline, _COLOURS[notice.level])
        places.append(rect)
        bottom = top - round(_GAP_EM * em_px)
    return places
