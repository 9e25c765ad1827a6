"""Badges: the letter of a region in its colour, and beside it the answer in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2

from edge.overlay.layout import Rect
from edge.overlay.outline import Shape
from edge.overlay.paint import Painter, Pixels
from edge.overlay.palette import DARK_INK, HALO, INK, SOFT_INK, WARNING, Colour
from edge.overlay.placing import (
    CLEAR_COST,
    LesionMap,
    best_place,
    is_near_another,
    nearest_point,
)
from edge.overlay.text import TextPatch, Typesetter
from edge.result import Region, percent

UNCERTAIN = "uncertain"
NOT_CLASSIFIED_WORDS = "not classified"

_HEIGHT_EM = 1.5
_PADDING_EM = 0.35
_RADIUS_EM = 0.25
_TEXT_MAX_OF_WIDTH, _TEXT_MAX_AT_LEAST_EM = 0.3, 13  # 12.6: squamous cell carcinoma
_WORDS_FOR_UNCLASSIFIED = 4
"""With more unclassified regions than this, their badges are the letter alone."""
_LEADER_FROM_EM, _LEADER_AMONG_OTHERS_EM = 0.9, 0.4
_LETTER_ONLY_COST = 4.0


@dataclass(frozen=True, eq=False)
class Badge:
    """One badge as it was placed, in picture pixels.

    Attributes:
        shape: Its region.
        rect: Where it is.
        texts: Its words after the letter, with their colours; empty where only the letter fits.
        place: Number of the place, for the next picture of a stream.
    """

    shape: Shape
    rect: Rect
    texts: tuple[tuple[TextPatch, Colour], ...]
    place: int


def place_badges(
    shapes: Sequence[Shape],
    picture_wh: tuple[int, int],
    em_px: int,
    *,
    label_text: Mapping[str, str],
    typesetter: Typesetter,
    lesions: LesionMap,
    previous: Mapping[str, int],
) -> list[Badge]:
    """Choose words and place for every badge.

    Args:
        shapes: Regions in letter order.
        picture_wh: Size of the drawn picture in pixels.
        em_px: Text size.
        label_text: Display text of labels; a label without one is shown as its code.
        typesetter: Sets the words.
        lesions: Where the lesions of ``shapes`` are.
        previous: Place numbers by letter in the last picture of a stream, or empty.
    """
    unclassified = sum(not shape.region.classified for shape in shapes)
    badges: list[Badge] = []
    # Those with an answer first: where room is short, they get the better places.
    for shape in sorted(shapes, key=lambda shape: not shape.region.classified):
        texts = _texts(shape.region, picture_wh[0], em_px, label_text, typesetter)
        if not shape.region.classified and unclassified > _WORDS_FOR_UNCLASSIFIED:
            texts = ()
        choices = [texts] if not texts else [texts, ()]
        best: tuple[float, Badge] | None = None
        for choice in choices:
            rect, cost, place = best_place(
                shape,
                _size(shape.region.letter, choice, em_px, typesetter),
                picture_wh,
                em_px,
                lesions=lesions,
                others=[other for other in shapes if other is not shape],
                badges=[badge.rect for badge in badges],
                previous=previous.get(shape.region.letter),
            )
            cost += _LETTER_ONLY_COST if texts and not choice else 0.0
            if best is None or cost < best[0]:
                best = cost, Badge(shape, rect, choice, place)
            if cost < CLEAR_COST + _LETTER_ONLY_COST:
                break
        assert best is not None
        badges.append(best[1])
    return badges


def draw_leaders(picture: Pixels, badges: Sequence[Badge], em_px: int) -> None:
    """Join each badge that is far from its outline, or as near to another one, in place."""
    for badge in badges:
        start, end, length = nearest_point(badge.shape, badge.rect)
        others = [other.shape for other in badges if other is not badge]
        alone = not is_near_another(badge.rect, others, length + em_px / 2)
        if length < (_LEADER_FROM_EM if alone else _LEADER_AMONG_OTHERS_EM) * em_px:
            continue
        bright = max(1, em_px // 14)
        cv2.line(picture, start, end, HALO, bright + 2 * max(1, em_px // 16), cv2.LINE_AA)
        cv2.line(picture, start, end, badge.shape.colour, bright, cv2.LINE_AA)


def draw_badge(
    picture: Pixels, badge: Badge, em_px: int, painter: Painter, typesetter: Typesetter
) -> None:
    """Draw one badge into ``picture``, in place."""
    x0, y0, x1, y1 = badge.rect
    baseline = baseline_in(y0, y1, em_px)
    letter_x1 = x0 + _letter_width(badge.shape.region.letter, em_px, typesetter)
    radius = round(_RADIUS_EM * em_px)
    painter.plate(picture, badge.rect, HALO, opacity=0.85, radius_px=radius)
    draw_letter(
        picture,
        badge.shape.region.letter,
        (x0, y0, letter_x1, y1),
        badge.shape.colour,
        em_px,
        painter,
        typesetter,
    )
    pen = letter_x1 + round(_PADDING_EM * em_px)
    for patch, colour in badge.texts:
        painter.text(picture, patch, pen, baseline, colour)
        pen += patch.advance + _word_gap(em_px)


def draw_letter(
    canvas: Pixels,
    letter: str,
    rect: Rect,
    colour: Colour,
    em_px: int,
    painter: Painter,
    typesetter: Typesetter,
) -> None:
    """Draw a letter on its colour, dark-rimmed, in place; the legend repeats it."""
    x0, y0, x1, y1 = rect
    size_wh = (x1 - x0, y1 - y0)

    def draw(sprite: Pixels) -> None:
        width, height = size_wh
        rim, radius = max(1, em_px // 16), round(_RADIUS_EM * em_px)
        painter.plate(sprite, (0, 0, width, height), HALO, opacity=1.0, radius_px=radius)
        inner = (rim, rim, width - rim, height - rim)
        painter.plate(sprite, inner, colour, opacity=1.0, radius_px=max(0, radius - rim))
        patch = typesetter.line(letter, em_px, bold=True)
        pen = (width - patch.advance) // 2
        painter.text(sprite, patch, pen, baseline_in(0, height, em_px), DARK_INK)

    painter.stack(canvas, ("letter", letter, size_wh, colour, em_px), size_wh, x0, y0, draw)


def baseline_in(y0: int, y1: int, em_px: int) -> int:
    """The baseline that centres capitals (0.71 em high in Noto Sans) between two edges."""
    return round((y0 + y1 + 0.71 * em_px) / 2)


def letter_size(letter: str, em_px: int, typesetter: Typesetter) -> tuple[int, int]:
    """Width and height of a letter's plate, in pixels."""
    return _letter_width(letter, em_px, typesetter), round(_HEIGHT_EM * em_px)


def _texts(
    region: Region,
    picture_width: int,
    em_px: int,
    label_text: Mapping[str, str],
    typesetter: Typesetter,
) -> tuple[tuple[TextPatch, Colour], ...]:
    if not region.classified:
        return ((typesetter.line(NOT_CLASSIFIED_WORDS, em_px), SOFT_INK),)
    if region.abstained or not region.classes:
        return ((typesetter.line(UNCERTAIN, em_px), WARNING),)
    top = region.classes[0]
    limit = max(_TEXT_MAX_AT_LEAST_EM * em_px, round(_TEXT_MAX_OF_WIDTH * picture_width))
    name = typesetter.line(
        label_text.get(top.label, top.label),
        em_px,
        bold=True,
        fallback=top.label,
        max_width=limit,
    )
    return (name, INK), (typesetter.line(percent(top.probability), em_px), SOFT_INK)


def _size(
    letter: str,
    texts: Sequence[tuple[TextPatch, Colour]],
    em_px: int,
    typesetter: Typesetter,
) -> tuple[int, int]:
    width, height = letter_size(letter, em_px, typesetter)
    if texts:
        words = sum(patch.advance for patch, _ in texts) + _word_gap(em_px) * (len(texts) - 1)
        width += words + 2 * round(_PADDING_EM * em_px)
    return width, height


def _letter_width(letter: str, em_px: int, typesetter: Typesetter) -> int:
    advance = typesetter.line(letter, em_px, bold=True).advance
    return max(round(_HEIGHT_EM * em_px), advance + round(2 * _PADDING_EM * em_px))


def _word_gap(em_px: int) -> int:
    return round(0.4 * em_px)
