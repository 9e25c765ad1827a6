from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.overlay.layout import (
    EM_MIN_PX,
    LONG_SIDE_MAX_PX,
    Layout,
    Rect,
    layout_for,
)

SIZES = [(800, 480), (3840, 2160), (1280, 720), (640, 480), (64, 64), (304, 304), (480, 800)]


def overlap(one: Rect, other: Rect) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(
        one[3], other[3]
    )


def check(layout: Layout) -> None:
    width, height = layout.canvas_wh
    assert width % 2 == 0 and height % 2 == 0
    assert max(width, height) <= LONG_SIDE_MAX_PX + 1
    assert layout.em_px >= EM_MIN_PX
    for part in (layout.picture, layout.legend, layout.band):
        assert 0 <= part[0] < part[2] <= width
        assert 0 <= part[1] < part[3] <= height
    assert not overlap(layout.band, layout.picture)
    assert not overlap(layout.band, layout.legend)
    assert layout.band[2] - layout.band[0] >= 24 * layout.em_px
    assert not overlap(layout.picture, layout.legend)


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(1, 20000),
    height=st.integers(1, 20000),
    placement=st.sampled_from([None, "beside", "below"]),
)
def test_every_frame_has_a_layout(width: int, height: int, placement: None) -> None:
    check(layout_for((width, height), placement))


@pytest.mark.parametrize("size_wh", SIZES)
def test_text_keeps_its_share_of_the_picture_or_16_pixels(size_wh: tuple[int, int]) -> None:
    layout = layout_for(size_wh)
    check(layout)
    width, height = layout.canvas_wh
    assert layout.em_px >= min(height / 39, width / 55)
    assert layout.em_px <= max(EM_MIN_PX, height / 29)


def test_a_five_inch_screen_keeps_16_pixels() -> None:
    assert layout_for((800, 480)).em_px == 16
    assert layout_for((3840, 2160)).em_px > 70


def test_pictures_keep_their_shape() -> None:
    for size_wh in SIZES:
        layout = layout_for(size_wh)
        x0, y0, x1, y1 = layout.picture
        assert (x1 - x0) / (y1 - y0) == pytest.approx(size_wh[0] / size_wh[1], rel=0.01)
        assert (x1 - x0) == pytest.approx(layout.scale * size_wh[0], abs=1)


def test_small_pictures_are_enlarged_and_huge_ones_reduced() -> None:
    assert layout_for((64, 64)).scale > 7
    assert layout_for((1280, 720)).scale == 1.0
    assert layout_for((3840, 2160)).scale == 1.0
    assert max(layout_for((12000, 9000)).canvas_wh) <= LONG_SIDE_MAX_PX + 1
    assert max(layout_for((12000, 9000)).canvas_wh) > 0.9 * LONG_SIDE_MAX_PX


def test_where_the_legend_goes() -> None:
    assert layout_for((640, 480)).placement == "beside"
    assert layout_for((1280, 720)).placement == "below"
    assert layout_for((1280, 720), "beside").placement == "beside"
    assert layout_for((4000, 500)).placement == "below"
    assert layout_for((4000, 500), "beside").placement == "below"


def test_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1x1"):
        layout_for((0, 480))


@pytest.mark.parametrize("size_wh", [(1280, 720), (1920, 1080), (3840, 2160)])
def test_the_legend_of_a_wide_frame_adds_little(size_wh: tuple[int, int]) -> None:
    """Every frame of a stream pays for it: in memory, and in a video of limited width."""
    width, height = layout_for(size_wh).canvas_wh
    assert width <= size_wh[0] * 1.01
    assert height <= size_wh[1] * 1.36
