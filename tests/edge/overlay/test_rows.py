from __future__ import annotations

import cv2
import numpy as np
import pytest
from overlay_for_tests import ellipses, make_result, region_from_mask

from edge.overlay.fonts import Fonts
from edge.overlay.layout import layout_for
from edge.overlay.legend import Legend
from edge.overlay.numbers import HOLD_S, WorstSoFar, duration, milliseconds
from edge.overlay.outline import shape_of
from edge.overlay.paint import Painter
from edge.overlay.rows import DETAILS, HEALTHY_CAVEAT, UNVALIDATED, Facts, Row, rows_for
from edge.overlay.text import Typesetter
from edge.result import Region, Result

SIZE_WH = (800, 480)
FACTS = Facts(validated=False, stages=(("segment", "9.1"), ("classify", "6.0")))


def regions(count: int, classified: int = 8) -> list[Region]:
    masks = ellipses(SIZE_WH, count)
    return [region_from_mask(m, i, classified=i < classified) for i, m in enumerate(masks)]


def texts(rows: list[Row]) -> list[str]:
    return [row.text for row in rows]


def planned(
    result: Result, *, facts: Facts = FACTS, stream: bool = False, legend: Legend | None = None
) -> list[Row]:
    layout = layout_for(result.frame.size_wh)
    picture = (layout.picture[2] - layout.picture[0], layout.picture[3] - layout.picture[1])
    shapes = [shape_of(r, layout.scale, picture, layout.em_px) for r in result.regions or ()]
    legend = legend or Legend(Painter(), Typesetter())
    plan = legend.plan(result, facts, layout, shapes, stream=stream)
    assert plan is not None
    x0, y0, x1, y1 = plan.place
    assert x0 >= layout.legend[0] or layout.placement == "inside"
    assert 0 <= x0 < x1 <= layout.canvas_wh[0] and 0 <= y0 < y1 <= layout.band[1]
    return [row for column in plan.columns for row in column]


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
    room = 15 * size_px - 2 * (size_px // 2)
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


def test_nothing_found_is_not_called_healthy() -> None:
    rows = rows_for(make_result(SIZE_WH, ()), FACTS, DETAILS[0])
    assert texts(rows)[:2] == ["Nothing found", HEALTHY_CAVEAT]
    assert "does not mean healthy" in HEALTHY_CAVEAT


def test_what_is_not_classified_is_counted() -> None:
    rows = rows_for(make_result(SIZE_WH, regions(12)), FACTS, DETAILS[-1])
    assert "4 more not classified" in texts(rows)
    none = rows_for(make_result(SIZE_WH, regions(2, classified=0)), FACTS, DETAILS[0])
    assert "2 not classified" in texts(none)


@pytest.mark.parametrize("size_wh", [(640, 480), (800, 480), (304, 304), (2000, 300)])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_first_class_of_each_region_is_the_last_to_go(
    size_wh: tuple[int, int], count: int
) -> None:
    """Inside a picture, lesions may leave room for less; beside and below, all are named."""
    masks = ellipses(size_wh, count, seed=3)
    rows = planned(make_result(size_wh, [region_from_mask(m, i) for i, m in enumerate(masks)]))
    named = sum(row.kind == "region" for row in rows)
    assert UNVALIDATED in texts(rows)
    if layout_for(size_wh).placement != "inside":
        assert named == count


def test_more_regions_than_lines_are_counted() -> None:
    masks = ellipses((640, 480), 30)
    rows = planned(make_result((640, 480), [region_from_mask(m, i) for i, m in enumerate(masks)]))
    named = sum(row.kind == "region" for row in rows)
    assert 8 < named < 30
    assert rows[-1].text == f"{30 - named} more: see the picture"


def test_a_legend_inside_the_picture_hides_no_lesion() -> None:
    layout = layout_for(SIZE_WH)
    for seed in range(8):
        masks = ellipses(SIZE_WH, 4, seed)
        result = make_result(SIZE_WH, [region_from_mask(m, i) for i, m in enumerate(masks)])
        shapes = [shape_of(r, 1.0, SIZE_WH, layout.em_px) for r in result.regions or ()]
        legend = Legend(Painter(), Typesetter())
        plan = legend.plan(result, FACTS, layout, shapes, stream=False)
        assert plan is not None
        x0, y0, x1, y1 = plan.place
        for mask in masks:
            assert mask[y0:y1, x0:x1].sum() <= 0.15 * mask.sum()


def test_a_legend_inside_the_picture_does_not_hide_a_tiny_mole() -> None:
    """It is a thousandth of the legend's area, and a whole lesion."""
    layout = layout_for(SIZE_WH)
    mole = np.zeros((480, 800), bool)
    mole[100:106, 700:706] = True
    result = make_result(SIZE_WH, [region_from_mask(mole, 0)])
    shapes = [shape_of(r, 1.0, SIZE_WH, layout.em_px) for r in result.regions or ()]
    legend = Legend(Painter(), Typesetter())
    plan = legend.plan(result, FACTS, layout, shapes, stream=False)
    assert plan is not None
    x0, y0, x1, y1 = plan.place
    assert not mole[y0:y1, x0:x1].any()


def test_in_a_stream_the_legend_stays_until_it_hides_a_lesion() -> None:
    layout = layout_for(SIZE_WH)
    legend = Legend(Painter(), Typesetter())
    places = []
    for x in range(60, 760, 20):
        disc = np.zeros((480, 800), np.uint8)
        cv2.circle(disc, (x, 150), 30, 1, cv2.FILLED)
        result = make_result(SIZE_WH, [region_from_mask(disc.astype(bool), 0)])
        shapes = [shape_of(r, 1.0, SIZE_WH, layout.em_px) for r in result.regions or ()]
        plan = legend.plan(result, FACTS, layout, shapes, stream=True)
        assert plan is not None
        places.append(plan.place)
    assert len(set(places)) == 2


def test_no_answer_needs_no_legend_inside_the_picture() -> None:
    result = make_result(SIZE_WH, None, status="model_refused")
    layout = layout_for(SIZE_WH)
    plan = Legend(Painter(), Typesetter()).plan(result, FACTS, layout, [], stream=False)
    assert plan is None


def test_durations_have_two_or_three_digits() -> None:
    shown = [duration(ms) for ms in (0.04, 9.94, 9.96, 45.4, 999.4, 999.6, 9949, 75000)]
    assert shown == ["0.0 ms", "9.9 ms", "10 ms", "45 ms", "999 ms", "1.0 s", "9.9 s", "75 s"]
    assert [milliseconds(ms) for ms in (0.42, 91.2, 1234.0)] == ["0.4", "91", "1234"]


def test_numbers_are_held_and_then_show_the_worst() -> None:
    now = [0.0]
    held = WorstSoFar(lambda: now[0])
    assert held.update({"age": 40.0}) == {"age": 40.0}
    now[0] = HOLD_S * 0.4
    assert held.update({"age": 90.0}) == {"age": 40.0}
    now[0] = HOLD_S * 1.1
    assert held.update({"age": 50.0}) == {"age": 90.0}
    now[0] = HOLD_S * 1.2
    assert held.update({"age": 30.0, "analysis": 9.0}) == {"age": 30.0, "analysis": 9.0}
