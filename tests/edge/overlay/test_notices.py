"""Words over the lower edge: read by everybody, over no lesion where there is another place."""

from __future__ import annotations

import numpy as np
import pytest
from overlay_for_tests import make_result, region_from_mask

from edge.overlay.notices import MOST, Notice
from edge.overlay.overlay import Overlay

SIZE_WH = (1280, 720)


def drawn_with(notices, mask=None, overlay=None):
    overlay = overlay or Overlay()
    regions = () if mask is None else [region_from_mask(mask, 0)]
    picture = overlay.draw(
        np.full((720, 1280, 3), 150, np.uint8), make_result(SIZE_WH, regions), notices=notices
    )
    return picture, overlay.drawn


def disc(x: int, y: int, radius: int) -> np.ndarray:
    yy, xx = np.ogrid[:720, :1280]
    return (xx - x) ** 2 + (yy - y) ** 2 < radius**2


def test_they_stand_in_the_middle_of_the_lower_edge_the_first_one_lowest():
    _, drawn = drawn_with([Notice("Hold still", "prompt"), Notice("colour not locked", "alarm")])
    first, second = drawn.notices
    x0, _, x1, y1 = drawn.layout.picture
    assert y1 - first[3] == drawn.layout.em_px // 2
    assert second[3] < first[1]
    for rect in drawn.notices:
        assert (rect[0] + rect[2]) / 2 == pytest.approx((x0 + x1) / 2, abs=1)


@pytest.mark.parametrize(("x", "side"), [(640, "any"), (200, "right of it"), (1080, "left of it")])
def test_they_cover_no_lesion_where_there_is_another_place(x: int, side: str):
    mask = disc(x, 660, 60)
    _, drawn = drawn_with([Notice("Hold still", "prompt")], mask)
    ((x0, y0, x1, y1),) = drawn.notices
    scale, (left, top) = drawn.layout.scale, drawn.layout.picture[:2]
    box = [round((value - origin) / scale) for value, origin in ((x0, left), (y0, top))]
    end = [round((value - origin) / scale) for value, origin in ((x1, left), (y1, top))]
    assert not mask[box[1] : end[1], box[0] : end[0]].any()


def test_they_do_not_jump_for_a_small_gain():
    overlay = Overlay()
    places = set()
    for y in range(640, 760, 10):  # a lesion slips out at the lower edge
        _, drawn = drawn_with([Notice("Hold still", "prompt")], disc(640, y, 60), overlay)
        places.add(drawn.notices[0][0])
    assert len(places) <= 2


def test_long_words_and_many_of_them_stay_inside():
    many = [Notice("words " * 60 + str(number), "info") for number in range(9)]
    _, drawn = drawn_with(many)
    assert len(drawn.notices) == MOST
    x0, y0, x1, y1 = drawn.layout.picture
    for rect in drawn.notices:
        assert x0 <= rect[0] < rect[2] <= x1 and (y0 + y1) // 2 <= rect[1] < rect[3] <= y1


def test_without_words_nothing_is_drawn():
    plain, drawn = drawn_with([])
    again, _ = drawn_with([])
    assert drawn.notices == ()
    np.testing.assert_array_equal(plain, again)
