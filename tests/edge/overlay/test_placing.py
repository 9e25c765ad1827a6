from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from overlay_for_tests import LABELS, ellipses, region_from_mask

from edge.overlay.badges import Badge, place_badges
from edge.overlay.layout import Rect
from edge.overlay.outline import Shape, shape_of
from edge.overlay.placing import LesionMap, nearest_point
from edge.overlay.text import Typesetter
from edge.result import Region

EM = 16
SIZE_WH = (800, 480)
TYPESETTER = Typesetter()


def placed(
    regions: list[Region],
    *,
    previous: Mapping[str, int] | None = None,
    size_wh: tuple[int, int] = SIZE_WH,
) -> list[Badge]:
    shapes: list[Shape] = [shape_of(region, 1.0, size_wh, EM) for region in regions]
    return place_badges(
        shapes,
        size_wh,
        EM,
        label_text=LABELS,
        typesetter=TYPESETTER,
        lesions=LesionMap(shapes, size_wh, EM),
        previous=previous or {},
    )


def covered(rect: Rect, masks: list[NDArray[np.bool_]]) -> int:
    x0, y0, x1, y1 = rect
    return int(sum(mask[y0:y1, x0:x1].sum() for mask in masks))


def overlap(one: Rect, other: Rect) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(
        one[3], other[3]
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 3, 8])
def test_badges_cover_no_lesion_and_no_badge(seed: int, count: int) -> None:
    masks = ellipses(SIZE_WH, count, seed)
    badges = placed([region_from_mask(m, i) for i, m in enumerate(masks)])
    assert [badge.shape.region.letter for badge in badges] == list("ABCDEFGH"[:count])
    for index, badge in enumerate(badges):
        x0, y0, x1, y1 = badge.rect
        assert 0 <= x0 < x1 <= SIZE_WH[0] and 0 <= y0 < y1 <= SIZE_WH[1]
        assert covered(badge.rect, masks) == 0
        assert not any(overlap(badge.rect, other.rect) for other in badges[:index])


@pytest.mark.parametrize("seed", range(3))
def test_thirty_regions_get_thirty_separate_badges(seed: int) -> None:
    masks = ellipses((1280, 720), 30, seed)
    regions = [region_from_mask(m, i, classified=i < 8) for i, m in enumerate(masks)]
    badges = placed(regions, size_wh=(1280, 720))
    assert len({badge.shape.region.letter for badge in badges}) == 30
    for index, badge in enumerate(badges):
        assert not any(overlap(badge.rect, other.rect) for other in badges[:index])
    lesion_px = sum(int(mask.sum()) for mask in masks)
    assert sum(covered(badge.rect, masks) for badge in badges) < 0.03 * lesion_px


def test_a_lesion_that_fills_the_frame_still_has_its_letter() -> None:
    badge = placed([region_from_mask(np.ones((480, 800), bool), 0)])[0]
    x0, y0, x1, y1 = badge.rect
    assert 0 <= x0 < x1 <= 800 and 0 <= y0 < y1 <= 480


def test_a_badge_stays_where_it_was_while_its_lesion_moves_a_little() -> None:
    """Two places cost nearly the same; without memory the badge would jump between them."""
    mask = np.zeros((480, 800), np.uint8)
    cv2.ellipse(mask, (400, 240), (60, 40), 0, 0, 360, 1, -1)
    first = placed([region_from_mask(mask.astype(bool), 0)])[0]
    elsewhere = first.place + 2
    again = placed([region_from_mask(mask.astype(bool), 0)], previous={"A": elsewhere})[0]
    assert again.place == elsewhere
    assert placed([region_from_mask(mask.astype(bool), 0)])[0].place == first.place


def test_words_say_class_and_probability_or_that_it_is_uncertain() -> None:
    masks = ellipses(SIZE_WH, 3)
    badges = placed(
        [
            region_from_mask(masks[0], 0, classes=(("SEK", 0.614), ("MEL", 0.3))),
            region_from_mask(masks[1], 1, abstained=True),
            region_from_mask(masks[2], 2, classified=False),
        ]
    )
    words = [[patch.text for patch, _ in badge.texts] for badge in badges]
    assert words == [["Seborrhoeic keratosis", "61%"], ["uncertain"], ["not classified"]]


def test_many_unclassified_regions_have_letters_only() -> None:
    masks = ellipses(SIZE_WH, 7)
    badges = placed([region_from_mask(m, i, classified=i < 2) for i, m in enumerate(masks)])
    assert [bool(badge.texts) for badge in badges] == [True] * 2 + [False] * 5


def test_a_label_without_text_or_glyphs_is_its_code() -> None:
    masks = ellipses(SIZE_WH, 2)
    shapes = [
        shape_of(region_from_mask(m, i, classes=((code, 0.5),)), 1.0, SIZE_WH, EM)
        for i, (m, code) in enumerate(zip(masks, ("NEW", "ODD"), strict=True))
    ]
    badges = place_badges(
        shapes,
        SIZE_WH,
        EM,
        label_text={"ODD": "\ue000\ue001"},
        typesetter=TYPESETTER,
        lesions=LesionMap(shapes, SIZE_WH, EM),
        previous={},
    )
    assert [badge.texts[0][0].text for badge in badges] == ["NEW", "ODD"]


def test_leaders_join_badge_and_outline() -> None:
    mask = ellipses(SIZE_WH, 1)[0]
    shape = shape_of(region_from_mask(mask, 0), 1.0, SIZE_WH, EM)
    rect = (10, 10, 60, 34)
    start, end, length = nearest_point(shape, rect)
    assert rect[0] <= start[0] < rect[2] and rect[1] <= start[1] < rect[3]
    near = mask[end[1] - 2 : end[1] + 3, end[0] - 2 : end[0] + 3]
    assert near.any()
    assert length == pytest.approx(np.hypot(end[0] - start[0], end[1] - start[1]), abs=1.5)
