"""The legend: as much as there is room for, beside or below the picture, over no skin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.overlay.badges import baseline_in, draw_letter, letter_size
from edge.overlay.layout import Layout, Rect
from edge.overlay.paint import Painter, Pixels, shade
from edge.overlay.palette import SOFT_INK, region_colour
from edge.overlay.rows import DETAILS, ROW_HEIGHT_EM, Facts, Row, rows_for
from edge.overlay.text import Typesetter
from edge.result import Result

_MARGIN_EM, _MARGIN_BELOW_EM = 0.5, 0.4
_INDENT_EM, _RIGHT_GAP_EM = 1.75, 0.4
_NOTES_EM = 13.5
"""Width of the column of notes in a legend below: as the longest fixed words need."""

_COLUMNS_BELOW = 3


@dataclass(frozen=True)
class Column:
    """Rows below one another, between two edges in pixels of the drawn picture."""

    left: int
    right: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class LegendPlan:
    """The legend of one picture before it is drawn.

    Attributes:
        place: The panel, in pixels of the drawn picture.
        top: Upper edge of the first rows.
        columns: The rows and where they are.
    """

    place: Rect
    top: int
    columns: tuple[Column, ...]


def plan_legend(result: Result, facts: Facts, layout: Layout) -> LegendPlan:
    """Choose the rows: every region's first class, and of the rest what there is room for."""
    x0, y0, x1, y1 = layout.legend
    em = layout.em_px
    if layout.placement == "beside":
        margin = round(_MARGIN_EM * em)
        rows = _rows_beside(result, facts, (y1 - y0) / em - 2 * _MARGIN_EM)
        column = Column(x0 + margin, x1 - margin, tuple(rows))
        return LegendPlan(layout.legend, y0 + margin, (column,))
    top, bottom = (y + sign * round(_MARGIN_BELOW_EM * em) for y, sign in ((y0, 1), (y1, -1)))
    columns = _rows_below(result, facts, (bottom - top) / em)
    edges = _edges_below(x0, x1, em)
    placed = (Column(a, b, tuple(rows)) for (a, b), rows in zip(edges, columns, strict=False))
    return LegendPlan(layout.legend, top, tuple(placed))


def note_width(layout: Layout) -> int:
    """Longest advance in pixels of a note's words."""
    x0, _, x1, _ = layout.legend
    if layout.placement == "beside":
        return x1 - x0 - 2 * round(_MARGIN_EM * layout.em_px)
    left, right = _edges_below(x0, x1, layout.em_px)[0]
    return right - left


def _edges_below(x0: int, x1: int, em_px: int) -> list[tuple[int, int]]:
    """Left and right edge of each column below the picture: notes first, then regions."""
    margin = round(_MARGIN_EM * em_px)
    first = x0 + round(_NOTES_EM * em_px)
    second = first + (x1 - margin - first) // 2
    return [(x0 + margin, first), (first + margin, second), (second + margin, x1 - margin)]


def _rows_beside(result: Result, facts: Facts, room_em: float) -> list[Row]:
    for detail in DETAILS:
        rows = rows_for(result, facts, detail)
        if _height_em(rows) <= room_em:
            return rows
    return _shortened(rows, room_em)


def _rows_below(result: Result, facts: Facts, room_em: float) -> list[list[Row]]:
    """Notes and, right of them, regions and the table of stages; at most three columns."""
    for detail in DETAILS:
        rows = rows_for(result, facts, detail)
        blocks = _blocks(rows)
        notes = [row for block in blocks if len(block) == 1 for row in block if _is_note(row)]
        others = [block for block in blocks if not (len(block) == 1 and _is_note(block[0]))]
        columns = [*_in_columns([[row] for row in notes], room_em), *_in_columns(others, room_em)]
        if len(columns) <= _COLUMNS_BELOW:
            return columns
    answers = _in_columns(others, room_em)
    missing = sum(len(column) for column in answers[_COLUMNS_BELOW - 1 :])
    more = [_more(missing)] if missing else []
    while notes and _height_em(notes + more) > room_em:
        notes.pop()
    return [notes + more, *answers[: _COLUMNS_BELOW - 1]]


def _shortened(rows: Sequence[Row], room_em: float) -> list[Row]:
    """The first rows, and how many regions are missing."""
    kept = list(rows)
    while kept and _height_em(kept) + ROW_HEIGHT_EM["note"] > room_em:
        kept.pop()
    missing = sum(row.kind == "region" for row in rows[len(kept) :])
    return [*kept, _more(missing)] if missing else kept


def _more(regions: int) -> Row:
    return Row("note", f"{regions} more: see the picture", colour=SOFT_INK)


def _is_note(row: Row) -> bool:
    return row.kind in ("heading", "note")


def _height_em(rows: Sequence[Row]) -> float:
    return sum(ROW_HEIGHT_EM[row.kind] for row in rows)


def _in_columns(blocks: Sequence[Sequence[Row]], room_em: float) -> list[list[Row]]:
    """Blocks in columns of at most ``room_em``; none of them is torn apart."""
    columns: list[list[Row]] = []
    for block in blocks:
        if not columns or _height_em([*columns[-1], *block]) > room_em:
            columns.append([])
        columns[-1] += block
    return columns


def _blocks(rows: Sequence[Row]) -> list[list[Row]]:
    """A region with its lesser classes, the table of stages; any other row alone."""
    blocks: list[list[Row]] = []
    for row in rows:
        if blocks and row.kind in ("class", "pair"):
            blocks[-1].append(row)
        else:
            blocks.append([row])
    return blocks


class LegendPainter:
    """Draws planned legends."""

    def __init__(self, painter: Painter, typesetter: Typesetter) -> None:
        self._painter = painter
        self._typesetter = typesetter

    def draw(self, canvas: Pixels, plan: LegendPlan, em_px: int) -> list[tuple[Row, Rect]]:
        """Draw a planned legend into the canvas, in place.

        Returns:
            Each row with its rectangle.
        """
        shade(canvas, plan.place, opacity=1.0)
        drawn = []
        for column in plan.columns:
            y = plan.top
            for row in column.rows:
                bottom = y + round(ROW_HEIGHT_EM[row.kind] * em_px)
                rect = (column.left, y, column.right, bottom)
                self._draw_row(canvas, rect, row, em_px)
                drawn.append((row, rect))
                y = bottom
        return drawn

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
            x1 -= round(_RIGHT_GAP_EM * em_px)
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
