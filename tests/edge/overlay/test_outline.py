from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from overlay_for_tests import contrast, ellipses, luminance, region_from_mask, skin_rgb

from edge.overlay.outline import draw_outlines, line_widths, shape_of
from models.phantom import random_spec, render

EM = 16


def lowest_contrast_along(
    before: NDArray[np.uint8], after: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> float:
    """For each outline point, the best contrast of a drawn pixel near it to the skin near it.

    The result is the 1st percentile over all points: a few lie under a later line's end.
    """
    outline = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
    best = []
    for x, y in np.concatenate(outline)[:, 0]:
        near = np.s_[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5]
        skin = np.median(luminance(before[near]))
        drawn = luminance(after[near][(before[near] != after[near]).any(axis=2)])
        best.append(contrast(drawn, skin).max() if drawn.size else 1.0)
    return float(np.percentile(best, 1))


@pytest.mark.parametrize("ita_deg", range(-60, 61, 20))
def test_outlines_show_on_flat_skin_of_any_tone(ita_deg: int) -> None:
    masks = ellipses((320, 240), 3)
    for lesion_darker in (1.0, 0.6):
        picture = np.empty((240, 320, 3), np.uint8)
        picture[:] = skin_rgb(ita_deg)
        for mask in masks:
            picture[mask] = np.array(skin_rgb(ita_deg)) * lesion_darker
        before = picture.copy()
        regions = [region_from_mask(mask, index) for index, mask in enumerate(masks)]
        draw_outlines(picture, [shape_of(r, 1.0, (320, 240), EM) for r in regions], EM)
        for mask in masks:
            assert lowest_contrast_along(before, picture, mask) > 2.5


@pytest.mark.parametrize("ita_deg", [-45, 0, 45])
@pytest.mark.parametrize("classified", [True, False])
def test_outlines_show_on_phantoms(ita_deg: int, classified: bool) -> None:
    phantom = render(random_spec(5, (320, 240), ita_deg=ita_deg, lesion_count=2))
    picture = phantom.pixels.copy()
    regions = [
        region_from_mask(phantom.labels == number, number - 1, classified=classified)
        for number in range(1, int(phantom.labels.max()) + 1)
    ]
    assert regions
    draw_outlines(picture, [shape_of(r, 1.0, (320, 240), EM) for r in regions], EM)
    assert lowest_contrast_along(phantom.pixels, picture, phantom.labels > 0) > 2.2


def test_unclassified_regions_are_drawn_otherwise() -> None:
    """Dashed: along the line, bright and dark take turns."""
    mask = ellipses((1280, 960), 1)[0]
    bright = []
    for classified in (True, False):
        picture = np.full((960, 1280, 3), 128, np.uint8)
        region = region_from_mask(mask, 0, classified=classified)
        draw_outlines(picture, [shape_of(region, 1.0, (1280, 960), EM)], EM)
        points = np.array(region.contours[0].points)
        bright.append((luminance(picture[points[:, 1], points[:, 0]]) > 0.3).mean())
    assert bright[0] > 0.95
    assert 0.3 < bright[1] < 0.8


def test_a_lesion_that_fills_the_frame_has_a_line_inside_it() -> None:
    region = region_from_mask(np.ones((120, 160), bool), 0)
    picture = np.full((120, 160, 3), 90, np.uint8)
    draw_outlines(picture, [shape_of(region, 1.0, (160, 120), EM)], EM)
    rows = luminance(picture[:, 80]) > 0.3
    assert rows[:6].any() and rows[-6:].any()
    assert not rows[20:-20].any()


@pytest.mark.parametrize("diameter", [12, 20, 40])
def test_small_lesions_stay_visible_inside_their_outline(diameter: int) -> None:
    mask = np.zeros((100, 100), np.uint8)
    cv2.circle(mask, (50, 50), diameter // 2, 1, cv2.FILLED)
    picture = np.full((100, 100, 3), 90, np.uint8)
    region = region_from_mask(mask.astype(bool), 0)
    draw_outlines(picture, [shape_of(region, 1.0, (100, 100), 24)], 24)
    untouched = (picture[mask > 0] == 90).all(axis=1).mean()
    assert untouched > 0.4


def test_lines_grow_with_the_text() -> None:
    shape = shape_of(region_from_mask(ellipses((2000, 1000), 1)[0], 0), 1.0, (2000, 1000), EM)
    widths = [line_widths(shape, em) for em in (16, 24, 72)]
    assert widths == sorted(widths)
    assert all(dark >= bright + 2 for bright, dark in widths)


def test_outlines_follow_the_scale() -> None:
    mask = ellipses((200, 150), 1)[0]
    region = region_from_mask(mask, 0)
    picture = np.zeros((600, 800, 3), np.uint8)
    shape = shape_of(region, 4.0, (800, 600), EM)
    draw_outlines(picture, [shape], EM)
    drawn = cv2.boundingRect((picture.max(axis=2) > 60).astype(np.uint8))
    x0, y0, x1, y1 = region.box_xyxy
    assert drawn == pytest.approx((4 * x0, 4 * y0, 4 * (x1 - x0), 4 * (y1 - y0)), abs=8)


def test_a_region_without_contours_gets_its_box() -> None:
    whole = region_from_mask(ellipses((200, 150), 1)[0], 0)
    bare = type(whole)(**{**vars(whole), "contours": ()})
    shape = shape_of(bare, 1.0, (200, 150), EM)
    assert len(shape.contours) == 1 and len(shape.contours[0]) == 4
