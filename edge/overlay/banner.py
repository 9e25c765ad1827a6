"""Says on the picture itself that there is no answer, and why: each reason in its own look.

Words, sign, colour and border all differ, so that no two can be taken for each other, in black and
white either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from edge.overlay.badges import baseline_in
from edge.overlay.layout import Rect
from edge.overlay.paint import Painter, Pixels, fill, shade
from edge.overlay.palette import DARK_INK, INK, STATUS_COLOURS, Colour
from edge.overlay.rows import HEALTHY_CAVEAT
from edge.overlay.text import TextPatch, Typesetter
from edge.result import STATUS_WORDS, Result, Status

_MORE_WORDS: Mapping[Status, str] = {
    "nothing_found": f"This {HEALTHY_CAVEAT}.",
    "poor_quality": "Not analysed.",
    "no_live_image": "What is shown here is old.",
    "model_refused": "The model's answer is not used.",
    "analysis_failed": "No answer for this picture.",
}
_SIZE_EM: Mapping[Status, float] = {"no_live_image": 2.2}
_BORDERED: tuple[Status, ...] = (
    "poor_quality",
    "no_live_image",
    "model_refused",
    "analysis_failed",
)
_DASHED: Mapping[Status, float] = {"poor_quality": 1.2, "analysis_failed": 0.4}
"""Length of a dash in em; the other borders are solid."""

_REASON_LINES = 3
_ROOM_EM = (10, 5)
"""A picture narrower or lower than this, in em, has a border only: the legend has the words."""


@dataclass(frozen=True)
class _Words:
    lines: list[TextPatch]
    sizes_px: list[int]


def draw_banner(
    picture: Pixels, result: Result, em_px: int, painter: Painter, typesetter: Typesetter
) -> Rect | None:
    """Draw border, sign and words of a status into the picture, in place.

    Returns:
        Where the words are; ``None`` for ``ok``, which has none, and where they find no room.
    """
    status = result.status
    if status == "ok":
        return None
    height, width = picture.shape[:2]
    # Before the border is drawn: no frame has come yet, or a black one.
    is_blank = status == "no_live_image" and not picture.any()
    if status == "no_live_image":
        shade(picture, (0, 0, width, height), opacity=0.6, level=0)
    if status in _BORDERED:
        _draw_border(picture, STATUS_COLOURS[status], em_px, _DASHED.get(status))
    if width < _ROOM_EM[0] * em_px or height < _ROOM_EM[1] * em_px:
        return None
    padding = em_px // 2
    title_px = _title_size(status, em_px, width, typesetter)
    sign_px = round(1.2 * title_px)
    more = "" if is_blank else _MORE_WORDS.get(status, "")
    words = _words(result, more, em_px, title_px, width - 4 * em_px - sign_px, typesetter)
    line_heights = [round(1.4 * size) for size in words.sizes_px]
    box_w = max(patch.advance for patch in words.lines) + sign_px + 4 * padding
    box_h = sum(line_heights) + 2 * padding
    x0 = max(0, (width - box_w) // 2)
    y0 = max(0, (height - box_h) // 2 if status == "no_live_image" else em_px)
    box = (x0, y0, min(width, x0 + box_w), min(height, y0 + box_h))
    shade(picture, box, opacity=0.85, level=0)
    colour = STATUS_COLOURS[status]
    fill(picture, (box[0], box[1], box[0] + max(2, em_px // 4), box[3]), colour)
    _draw_sign(picture, status, box[0] + 2 * padding, y0 + padding, sign_px)
    pen, y = box[0] + 3 * padding + sign_px, y0 + padding
    for patch, size, line in zip(words.lines, words.sizes_px, line_heights, strict=True):
        ink = colour if patch is words.lines[0] else INK
        painter.text(picture, patch, pen, baseline_in(y, y + line, size), ink)
        y += line
    return box


def _title_size(status: Status, em_px: int, width: int, typesetter: Typesetter) -> int:
    size = round(_SIZE_EM.get(status, 1.4) * em_px)
    while size > em_px:
        advance = typesetter.line(STATUS_WORDS[status], size, bold=True).advance
        if advance + 1.2 * size + 4 * em_px <= width:
            break
        size = max(em_px, round(0.9 * size))
    return size


def _words(
    result: Result, more: str, em_px: int, title_px: int, width: int, typesetter: Typesetter
) -> _Words:
    room = max(4 * em_px, width)
    title = typesetter.line(STATUS_WORDS[result.status], title_px, bold=True, max_width=room)
    lines, sizes = [title], [title_px]
    room = min(room, max(22 * em_px, title.advance))
    texts = [more] if more else []
    texts += [sentence("; ".join(result.reasons))] if result.reasons else []
    for text in texts:
        for patch in typesetter.wrap(text, em_px, room, _REASON_LINES):
            lines.append(patch)
            sizes.append(em_px)
    return _Words(lines, sizes)


def sentence(text: str) -> str:
    """A reason as the start of a line: with a capital."""
    return text[:1].upper() + text[1:]


def _draw_border(picture: Pixels, colour: Colour, em_px: int, dash_em: float | None) -> None:
    height, width = picture.shape[:2]
    thick = max(3, em_px // 3)
    shades = (DARK_INK, colour) if dash_em is not None else (colour,)
    for shade_colour in shades:
        for edge in (
            (0, 0, width, thick),
            (0, height - thick, width, height),
            (0, 0, thick, height),
            (width - thick, 0, width, height),
        ):
            if dash_em is None or shade_colour == DARK_INK:
                fill(picture, edge, shade_colour)
            else:
                _fill_dashed(picture, edge, shade_colour, round(dash_em * em_px))


def _fill_dashed(picture: Pixels, edge: Rect, colour: Colour, dash_px: int) -> None:
    x0, y0, x1, y1 = edge
    if x1 - x0 > y1 - y0:
        for x in range(x0, x1, 2 * dash_px):
            fill(picture, (x, y0, min(x + dash_px, x1), y1), colour)
    else:
        for y in range(y0, y1, 2 * dash_px):
            fill(picture, (x0, y, x1, min(y + dash_px, y1)), colour)


def _draw_sign(picture: Pixels, status: Status, x: int, y: int, size_px: int) -> None:
    """A sign in the colour of the status: circle, triangle, barred circle, cross, square."""
    draw = _SIGNS.get(status)
    if draw is not None:
        draw(picture, x, y, size_px, STATUS_COLOURS[status])


def _circle(picture: Pixels, x: int, y: int, size: int, colour: Colour) -> None:
    centre, radius = (x + size // 2, y + size // 2), max(2, size * 3 // 8)
    cv2.circle(picture, centre, radius, colour, max(2, size // 9), cv2.LINE_AA)


def _barred_circle(picture: Pixels, x: int, y: int, size: int, colour: Colour) -> None:
    _circle(picture, x, y, size, colour)
    near, far = size // 4, size * 3 // 4
    line = max(2, size // 9)
    cv2.line(picture, (x + near, y + far), (x + far, y + near), colour, line, cv2.LINE_AA)


def _triangle(picture: Pixels, x: int, y: int, size: int, colour: Colour) -> None:
    corners = np.array([(x + size // 2, y + size // 8), (x, y + size), (x + size, y + size)])
    cv2.fillPoly(picture, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    _exclamation(picture, x, y + size // 8, size, DARK_INK)


def _square(picture: Pixels, x: int, y: int, size: int, colour: Colour) -> None:
    eighth = size // 8
    fill(picture, (x + eighth, y + eighth, x + size - eighth, y + size - eighth), colour)
    _exclamation(picture, x, y, size, DARK_INK)


def _exclamation(picture: Pixels, x: int, y: int, size: int, colour: Colour) -> None:
    middle, half = x + size // 2, max(1, size // 14)
    fill(picture, (middle - half, y + size // 4, middle + half, y + size * 9 // 16), colour)
    fill(picture, (middle - half, y + size * 5 // 8, middle + half, y + size * 3 // 4), colour)


def _cross(picture: Pixels, x: int, y: int, size: int, colour: Colour) -> None:
    near, far, line = size // 6, size * 5 // 6, max(2, size // 6)
    cv2.line(picture, (x + near, y + near), (x + far, y + far), colour, line, cv2.LINE_AA)
    cv2.line(picture, (x + far, y + near), (x + near, y + far), colour, line, cv2.LINE_AA)


_SIGNS: Mapping[Status, Callable[[Pixels, int, int, int, Colour], None]] = {
    "nothing_found": _circle,
    "poor_quality": _triangle,
    "no_live_image": _barred_circle,
    "model_refused": _cross,
    "analysis_failed": _square,
}
