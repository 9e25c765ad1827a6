"""The legend: as much as there is room for, and inside a picture where it hides no lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.overlay.badges import baseline_in, draw_letter, letter_size
from edge.overlay.layout import Layout, Rect
from edge.overlay.outline import Shape
from edge.overlay.paint import Painter, Pixels, shade
from edge.overlay.palette import SOFT_INK, region_colour
from edge.overlay.rows import DETAILS, ROW_HEIGHT_EM, Facts, Row, rows_for
from edge.overlay.text import Typesetter
from edge.result import Result

_MARGIN_EM = 0.5
_INDENT_EM = 1.9
_COLUMN_EM = 15
_INSIDE_OPACITY = 0.85

_MAY_HIDE = 0.1
"""How much of one lesion's box may lie under the legend before it moves or shrinks."""

_STAGES_BELOW_HEIGHT = 0.6
"""A legend inside the picture is not made taller than this for the table of stages."""


@dataclass(frozen=True)
class LegendPlan:
    """The legend of one picture before it is drawn.

    Attributes:
        place: The panel, in pixels of the drawn picture.
        columns: The rows of each column.
    """

    place: Rect
    columns: tuple[tuple[Row, ...], ...]


class Legend:
    """Plans and draws legends; in a stream it stays where it is as long as it hides nothing."""

    def __init__(self, painter: Painter, typesetter: Typesetter) -> None:
        self._painter = painter
        self._typesetter = typesetter
        self._last: tuple[int, int] | None = None
        self._last_letters: tuple[str, ...] = ()

    def plan(
        self,
        result: Result,
        facts: Facts,
        layout: Layout,
        shapes: Sequence[Shape],
        *,
        stream: bool,
    ) -> LegendPlan | None:
        """Choose rows and place.

        Returns:
            ``None`` where a legend inside the picture has nothing to add to the banner.
        """
        if layout.placement == "inside":
            if result.status != "ok":
                return None
            return self._plan_inside(result, facts, layout, shapes, stream)
        x0, y0, x1, y1 = layout.legend
        em = layout.em_px
        count = max(1, (x1 - x0) // (_COLUMN_EM * em)) if layout.placement == "below" else 1
        height_em = (y1 - y0) / em
        for detail in DETAILS[:-1]:
            columns = _in_columns(rows_for(result, facts, detail), height_em)
            if len(columns) <= count:
                break
        else:
            rows = _shortened(rows_for(result, facts, DETAILS[-2]), count * (height_em - 2))
            columns = _in_columns(rows, height_em)
        return LegendPlan(layout.legend, tuple(tuple(rows) for rows in columns[:count]))

    def draw(self, canvas: Pixels, plan: LegendPlan, layout: Layout) -> list[tuple[Row, Rect]]:
        """Draw a planned legend into the canvas, in place.

        Returns:
            Each row with its rectangle.
        """
        x0, y0, x1, _ = plan.place
        em, margin = layout.em_px, round(_MARGIN_EM * layout.em_px)
        shade(canvas, plan.place, opacity=_INSIDE_OPACITY if layout.placement == "inside" else 1.0)
        width = min(x1 - x0, 2 * _COLUMN_EM * em) if len(plan.columns) < 2 else _COLUMN_EM * em
        drawn = []
        for index, rows in enumerate(plan.columns):
            left, y = x0 + index * width, y0 + margin
            for row in rows:
                bottom = y + round(ROW_HEIGHT_EM[row.kind] * em)
                rect = (left + margin, y, min(left + width, x1) - margin, bottom)
                self._draw_row(canvas, rect, row, em)
                drawn.append((row, rect))
                y = bottom
        return drawn

    def _plan_inside(
        self,
        result: Result,
        facts: Facts,
        layout: Layout,
        shapes: Sequence[Shape],
        stream: bool,
    ) -> LegendPlan:
        letters = tuple(region.letter for region in result.regions or ())
        if not stream or letters != self._last_letters:
            self._last, self._last_letters = None, letters
        best: tuple[float, int, int, LegendPlan] | None = None  # hidden, level, corner, plan
        room_px = layout.legend[3] - layout.legend[1]
        for level, detail in enumerate(DETAILS):
            if self._last is not None and level < self._last[0]:
                continue
            rows = rows_for(result, facts, detail)
            height = round(_height_em(rows) * layout.em_px)
            if height > room_px * (_STAGES_BELOW_HEIGHT if detail.stages else 1.0):
                continue
            corners = _corners(layout, height)
            hidden = _hidden(corners, shapes)
            if self._last is not None and hidden[self._last[1]] <= _MAY_HIDE:
                corner = self._last[1]
            else:
                corner = int(np.argmin(hidden))
            if best is None or hidden[corner] < best[0] - _MAY_HIDE / 2:
                plan = LegendPlan(corners[corner], (tuple(rows),))
                best = float(hidden[corner]), level, corner, plan
            if best[0] <= _MAY_HIDE / 2:
                break
        if best is None:
            rows = rows_for(result, facts, DETAILS[-1])
            return LegendPlan(layout.legend, (tuple(rows),))
        self._last = best[1], best[2]
        return best[3]

    def _draw_row(self, canvas: Pixels, rect: Rect, row: Row, em_px: int) -> None:
        x0, y0, x1, y1 = rect
        painter, typesetter = self._painter, self._typesetter
        baseline = baseline_in(y0, y1, em_px)
        if row.kind == "pair":
            self._draw_pairs(canvas, rect, row, em_px)
            return
        if row.right:
            right = typesetter.line(row.right, em_px, bold=row.bold)
            x1 -= right.advance
            painter.text(canvas, right, x1, baseline, row.colour)
            x1 -= em_px // 2
        if row.letter is not None:
            width, height = letter_size(row.letter, em_px, typesetter)
            top = (y0 + y1 - height) // 2
            plate = (x0, top, x0 + width, top + height)
            colour = region_colour(row.letter)
            draw_letter(canvas, row.letter, plate, colour, em_px, painter, typesetter)
        if row.kind in ("region", "class"):
            x0 += round(_INDENT_EM * em_px)
        words = typesetter.line(
            row.text, em_px, bold=row.bold, fallback=row.fallback, max_width=max(em_px, x1 - x0)
        )
        painter.text(canvas, words, x0, baseline, row.colour)

    def _draw_pairs(self, canvas: Pixels, rect: Rect, row: Row, em_px: int) -> None:
        x0, y0, x1, y1 = rect
        baseline = baseline_in(y0, y1, em_px)
        width = (x1 - x0 - em_px) // 2
        for index, (name, value) in enumerate(row.pairs):
            left = x0 + index * (width + em_px)
            number = self._typesetter.line(value, em_px)
            end = left + width - number.advance
            self._painter.text(canvas, number, end, baseline, row.colour)
            room = max(em_px, end - left - em_px // 4)
            words = self._typesetter.line(name, em_px, max_width=room)
            self._painter.text(canvas, words, left, baseline, row.colour)


def _height_em(rows: Sequence[Row]) -> float:
    return 2 * _MARGIN_EM + sum(ROW_HEIGHT_EM[row.kind] for row in rows)


def _shortened(rows: Sequence[Row], height_em: float) -> list[Row]:
    """The first rows, and how many regions are missing."""
    kept = list(rows)
    while kept and _height_em(kept) + ROW_HEIGHT_EM["note"] > height_em:
        kept.pop()
    missing = sum(row.kind == "region" for row in rows[len(kept) :])
    return [*kept, Row("note", f"{missing} more: see the picture", colour=SOFT_INK)]


def _in_columns(rows: Sequence[Row], height_em: float) -> list[list[Row]]:
    """Rows in columns of at most ``height_em``; what belongs together stays together."""
    columns: list[list[Row]] = [[]]
    for block in _blocks(rows):
        if columns[-1] and _height_em([*columns[-1], *block]) > height_em:
            columns.append([])
        columns[-1] += block
    return columns


def _blocks(rows: Sequence[Row]) -> list[list[Row]]:
    """A region with its lesser classes, the table of stages; any other row alone."""
    blocks: list[list[Row]] = []
    for row in rows:
        if row.kind == "class" or (row.kind == "pair" and blocks):
            blocks[-1].append(row)
        else:
            blocks.append([row])
    return blocks


def _hidden(places: Sequence[Rect], shapes: Sequence[Shape]) -> NDArray[np.float64]:
    """For each place, the sum over all lesions of the part of their box that lies under it.

    Parts and not pixels: a legend over one tiny mole hides a whole lesion.
    """
    if not shapes:
        return np.zeros(len(places))
    box = np.array([shape.box_xyxy for shape in shapes])
    place = np.array(places, dtype=np.float64)[:, None]
    sides = np.minimum(place[..., 2:], box[:, 2:]) - np.maximum(place[..., :2], box[:, :2])
    under = np.prod(np.maximum(sides, 0), axis=2) / np.prod(box[:, 2:] - box[:, :2], axis=1)
    total: NDArray[np.float64] = under.sum(axis=1)
    return total


def _corners(layout: Layout, height: int) -> list[Rect]:
    """Places of a legend inside the picture, the usual one first."""
    x0, y0, x1, y1 = layout.legend
    left = layout.picture[0] + layout.picture[2] - x1
    spans = ((x0, x1), (left, left + x1 - x0))
    return [(a, top, b, top + height) for top in (y0, y1 - height) for a, b in spans]
