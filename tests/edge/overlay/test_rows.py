from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from overlay_for_tests import ellipses, make_result, region_from_mask

from edge.overlay.fonts import Fonts
from edge.overlay.layout import layout_for
from edge.overlay.legend import plan_legend
from edge.overlay.numbers import HOLD_S, WorstSoFar, duration, milliseconds
from edge.overlay.rows import (
    DETAILS,
    HEALTHY_CAVEAT,
    ROW_HEIGHT_EM,
    UNVALIDATED,
    Facts,
    Row,
    rows_for,
)
from edge.overlay.text import Typesetter
from edge.result import Region, Result

SIZE_WH = (800, 480)
FACTS = Facts(validated=False, stages=(("segment", "9.1"), ("classify", "6.0")))


def regions(count: int, classified: int = 8) -> list[Region]:
    masks = ellipses(SIZE_WH, count)
    return [region_from_mask(m, i, classified=i < classified) for i, m in enumerate(masks)]


def texts(rows: list[Row]) -> list[str]:
    return [row.text for row in rows]


def planned(result: Result, *, facts: Facts = FACTS) -> list[Row]:
    layout = layout_for(result.frame.size_wh)
    plan = plan_legend(result, facts, layout)
    assert plan.place == layout.legend
    x0, y0, x1, y1 = plan.place
    for column in plan.columns:
        assert x0 <= column.left < column.right <= x1
        height = sum(round(ROW_HEIGHT_EM[row.kind] * layout.em_px) for row in column.rows)
        assert y0 <= plan.top and plan.top + height <= y1
    for left, right in pairwise(plan.columns):
        assert left.right <= right.left
    return [row for column in plan.columns for row in column.rows]


def test_everything_is_said_where_there_is_room() -> None:
    result = make_result(SIZE_WH, [region_from_mask(ellipses(SIZE_WH, 1)[0], 0)])
    rows = rows_for(result, FACTS, DETAILS[0])
    assert texts(rows) == [
        "1 region",
        UNVALIDATED,
        "Melanoma",
        "멜라닌세포 모반",
        "Seborrhoeic keratosis",
        "redness ΔEI",
        "Skin ITA 35° (uncalibrated)",
        "Stages in ms",
        "",
    ]
    assert [row.right for row in rows[2:6]] == ["61%", "30%", "6%", "+8.3"]
    assert [row.fallback for row in rows[2:6]] == ["MEL", "NEV", "SEK", "redness dEI"]
    assert rows[2].letter == "A"


def test_unvalidated_stays_at_every_level_of_detail() -> None:
    result = make_result(SIZE_WH, regions(3))
    for detail in DETAILS:
        assert UNVALIDATED in texts(rows_for(result, FACTS, detail))
    validated = Facts(validated=True)
    assert UNVALIDATED not in texts(rows_for(result, validated, DETAILS[0]))


@pytest.mark.parametrize("size_px", [16, 17, 25, 34, 76])
def test_fixed_words_are_never_shortened(size_px: int, noto: Fonts) -> None:
    """``This does not mean healthy...`` was once on the screen."""
    unclassified = make_result(SIZE_WH, regions(30, classified=1))
    nothing = make_result(SIZE_WH, ())
    room = round(13.5 * size_px) - round(0.5 * size_px)
    for result in (unclassified, nothing):
        for row in rows_for(result, FACTS, DETAILS[0]):
            if row.kind in ("heading", "note"):
                patch = Typesetter(noto).line(row.text, size_px, bold=row.bold)
                assert patch.advance <= room, row.text


def test_an_uncertain_region_names_no_first_class() -> None:
    result = make_result(SIZE_WH, [region_from_mask(ellipses(SIZE_WH, 1)[0], 0, abstained=True)])
    first = next(row for row in rows_for(result, FACTS, DETAILS[0]) if row.kind == "region")
    assert (first.text, first.right) == ("uncertain", "")


def test_an_unreliable_redness_says_so() -> None:
    result = make_result(SIZE_WH, [region_from_mask(ellipses(SIZE_WH, 1)[0], 0, reliable=False)])
    assert "ΔEI unreliable" in texts(rows_for(result, FACTS, DETAILS[0]))
    assert "redness ΔEI" not in texts(rows_for(result, FACTS, DETAILS[0]))


@pytest.mark.parametrize("measured", [True, False])
def test_a_redness_that_could_not_be_measured_is_unknown(measured: bool) -> None:
    region = region_from_mask(ellipses(SIZE_WH, 1)[0], 0)
    assert region.colour is not None
    without = dataclasses.replace(region.colour, delta_ei=None, erythema_reliable=False)
    region = dataclasses.replace(region, colour=without if measured else None)
    rows = rows_for(make_result(SIZE_WH, [region]), FACTS, DETAILS[0])
    about = [row for row in rows if "ΔEI" in row.text]
    assert [(row.text, row.fallback, row.right) for row in about] == [
        ("ΔEI unknown", "dEI unknown", "")
    ]


def test_nothing_found_is_not_called_healthy() -> None:
    rows = rows_for(make_result(SIZE_WH, ()), FACTS, DETAILS[0])
    assert texts(rows)[:2] == ["Nothing found", HEALTHY_CAVEAT]
    assert "does not mean healthy" in HEALTHY_CAVEAT


def test_what_is_not_classified_is_counted() -> None:
    rows = rows_for(make_result(SIZE_WH, regions(12)), FACTS, DETAILS[-1])
    assert "4 more not classified" in texts(rows)
    none = rows_for(make_result(SIZE_WH, regions(2, classified=0)), FACTS, DETAILS[0])
    assert "2 not classified" in texts(none)


@pytest.mark.parametrize(
    "size_wh", [(640, 480), (800, 480), (304, 304), (2000, 300), (1280, 720), (3840, 2160)]
)
@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_every_region_has_a_line(size_wh: tuple[int, int], count: int) -> None:
    """Legends over the picture once fell back to ``8 regions``, to hide no lesion."""
    masks = ellipses(size_wh, count, seed=3)
    found = [region_from_mask(m, i, abstained=i == 1) for i, m in enumerate(masks)]
    rows = planned(make_result(size_wh, found))
    assert UNVALIDATED in texts(rows)
    named = {row.letter: row.text for row in rows if row.kind == "region"}
    words = ["uncertain" if i == 1 else "Melanoma" for i in range(count)]
    assert named == dict(zip("ABCDEFGH", words, strict=False))


def test_more_notes_than_lines_leave_the_regions_their_places() -> None:
    facts = Facts(validated=False, lines=tuple(f"reason {i}" for i in range(9)))
    rows = planned(make_result(SIZE_WH, regions(8)), facts=facts)
    assert sum(row.kind == "region" for row in rows) == 8
    assert texts(rows)[:2] == ["8 regions", UNVALIDATED]


@pytest.mark.parametrize("size_wh", [(640, 480), (800, 480)])
def test_more_regions_than_lines_are_counted(size_wh: tuple[int, int]) -> None:
    masks = ellipses(size_wh, 30)
    rows = planned(make_result(size_wh, [region_from_mask(m, i) for i, m in enumerate(masks)]))
    named = sum(row.kind == "region" for row in rows)
    assert 8 <= named < 30
    assert f"{30 - named} more: see the picture" in texts(rows)


def test_durations_have_two_or_three_digits() -> None:
    shown = [duration(ms) for ms in (0.04, 9.94, 9.96, 45.4, 999.4, 999.6, 9949, 75000)]
    assert shown == ["0.0 ms", "9.9 ms", "10 ms", "45 ms", "999 ms", "1.0 s", "9.9 s", "75 s"]
    assert [milliseconds(ms) for ms in (0.42, 91.2, 1234.0)] == ["0.4", "91", "1234"]


def test_numbers_are_held_and_never_shown_smaller_than_they_are() -> None:
    now = [0.0]
    held = WorstSoFar(lambda: now[0])
    assert held.update({"age": 40.0}) == {"age": 40.0}
    now[0] = HOLD_S * 0.4
    assert held.update({"age": 90.0}) == {"age": 90.0}
    now[0] = HOLD_S * 0.8
    assert held.update({"age": 50.0}) == {"age": 90.0}
    now[0] = HOLD_S * 1.1
    assert held.update({"age": 50.0}) == {"age": 90.0}
    now[0] = HOLD_S * 1.2
    assert held.update({"age": 30.0, "analysis": 9.0}) == {"age": 30.0, "analysis": 9.0}
