"""What the legend says: its lines, in order of what can be left out first.

With many regions the table of stages goes first, then colour numbers, then the lesser classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.overlay.badges import UNCERTAIN
from edge.overlay.palette import INK, SOFT_INK, STATUS_COLOURS, WARNING, Colour
from edge.result import STATUS_WORDS, Region, RegionColour, Result, percent

UNVALIDATED = "Classes: unvalidated model"
HEALTHY_CAVEAT = "does not mean healthy skin"
"""Goes on from the heading above it: it must fit into the legend whole."""

HIDDEN = "Hidden: the view moves"

Kind = Literal["heading", "region", "class", "note", "pair"]

ROW_HEIGHT_EM: Mapping[Kind, float] = {
    "heading": 1.7,
    "region": 1.75,
    "class": 1.3,
    "note": 1.3,
    "pair": 1.2,
}


@dataclass(frozen=True)
class Row:
    """One line of the legend.

    Attributes:
        kind: Decides height and indentation.
        text: Words at the left; display text of any script.
        fallback: ASCII code shown where ``text`` cannot be drawn.
        right: Short text at the right edge.
        letter: Letter of a region's row.
        colour: Colour of ``text``.
        bold: Heavier words.
        pairs: For ``pair``: up to two columns of name and value.
    """

    kind: Kind
    text: str = ""
    fallback: str | None = None
    right: str = ""
    letter: str | None = None
    colour: Colour = INK
    bold: bool = False
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Facts:
    """What the legend tells besides the Result.

    Attributes:
        validated: False where the classifier is not validated: said on every legend with classes.
        lines: Further short notes: reasons, readings that the band had no room for.
        stages: Name and milliseconds of each stage, as text.
        hidden: The regions are not shown, because the view moves.
    """

    validated: bool
    lines: tuple[str, ...] = ()
    stages: tuple[tuple[str, str], ...] = ()
    hidden: bool = False


@dataclass(frozen=True)
class Detail:
    """How much is said: classes of each region, and which of the other lines."""

    classes: int
    colour: bool = False
    tone: bool = False
    stages: bool = False


DETAILS = (
    Detail(classes=3, colour=True, tone=True, stages=True),
    Detail(classes=3, colour=True, tone=True),
    Detail(classes=3, tone=True),
    Detail(classes=2, tone=True),
    Detail(classes=2),
    Detail(classes=1, tone=True),
    Detail(classes=1),
)
"""From everything to what must be said in any case."""


def rows_for(result: Result, facts: Facts, detail: Detail) -> list[Row]:
    """All lines of the legend at one level of detail."""
    return [
        *_head(result, facts),
        *(row for region in result.regions or () for row in _region(region, detail, result)),
        *_not_classified(result),
        *_foot(result, facts, detail),
    ]


def _head(result: Result, facts: Facts) -> Iterator[Row]:
    if facts.hidden:
        yield Row("heading", HIDDEN, bold=True, colour=WARNING)
        return
    count = len(result.regions or ())
    words = STATUS_WORDS[result.status]
    if count:
        words = "1 region" if count == 1 else f"{count} regions"
    yield Row("heading", words, bold=True, colour=STATUS_COLOURS[result.status])
    if result.status == "nothing_found":
        yield Row("note", HEALTHY_CAVEAT)
    if count and not facts.validated:
        yield Row("note", UNVALIDATED, colour=WARNING)


def _region(region: Region, detail: Detail, result: Result) -> Iterator[Row]:
    if not region.classified:
        return
    classes: Sequence[tuple[str, str, str]] = [
        (result.label_text.get(c.label, c.label), c.label, percent(c.probability))
        for c in region.classes or ()
    ]
    if region.abstained or not classes:
        yield Row("region", UNCERTAIN, letter=region.letter, colour=WARNING)
        lesser = classes[: detail.classes - 1]
    else:
        yield Row("region", *classes[0], letter=region.letter, bold=True)
        lesser = classes[1 : detail.classes]
    for text, code, probability in lesser:
        yield Row("class", text, code, probability, colour=SOFT_INK)
    if detail.colour:
        yield _colour_row(region.colour)


def _colour_row(colour: RegionColour | None) -> Row:
    if colour is None or colour.delta_ei is None:
        # No row would look like a region that is not red.
        return Row("class", "ΔEI unknown", "dEI unknown", colour=WARNING)
    number = f"{colour.delta_ei:+.1f}"
    if colour.erythema_reliable:
        return Row("class", "redness ΔEI", "redness dEI", number, colour=SOFT_INK)
    return Row("class", "ΔEI unreliable", "dEI unreliable", number, colour=WARNING)


def _not_classified(result: Result) -> Iterator[Row]:
    marked = sum(not region.classified for region in result.regions or ())
    count = max(result.regions_not_classified, marked)
    if count:
        more = " more" if count < len(result.regions or ()) else ""
        yield Row("note", f"{count}{more} not classified", colour=SOFT_INK)


def _foot(result: Result, facts: Facts, detail: Detail) -> Iterator[Row]:
    tone = result.skin_tone
    if detail.tone and tone is not None and tone.ita_deg is not None:
        known = "" if tone.calibrated else " (uncalibrated)"
        yield Row("note", f"Skin ITA {tone.ita_deg:.0f}°{known}", colour=SOFT_INK)
    for line in facts.lines:
        yield Row("note", line, colour=SOFT_INK)
    if detail.stages and facts.stages:
        yield Row("note", "Stages in ms", colour=SOFT_INK)
        for first in range(0, len(facts.stages), 2):
            yield Row("pair", pairs=facts.stages[first : first + 2], colour=SOFT_INK)
