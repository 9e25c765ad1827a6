from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.overlay.layout import (
    EM_MIN_PX,
    LONG_SIDE_MAX_PX,
    SMALLEST_ROOM_WH,
    Layout,
    Placement,
    Rect,
    Room,
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


def test_text_grows_with_the_frame() -> None:
    assert layout_for((3840, 2160)).em_px > 70


@pytest.mark.parametrize(
    ("frame_wh", "picture_wh", "placement"),
    [
        ((800, 480), (538, 323), "below"),
        ((640, 480), (496, 372), "beside"),
        ((1280, 720), (574, 323), "below"),
        ((1920, 1080), (574, 323), "below"),
    ],
)
def test_a_five_inch_screen_keeps_16_pixels_and_as_much_picture_as_they_leave(
    frame_wh: tuple[int, int], picture_wh: tuple[int, int], placement: Placement
) -> None:
    screen_wh = (800, 480)
    layout = layout_for(frame_wh, None, Room(screen_wh, filled=True))
    check(layout)
    fitted = min(s / c for s, c in zip(screen_wh, layout.canvas_wh, strict=True))
    assert fitted == 1.0
    assert fitted * layout.em_px >= 16
    x0, y0, x1, y1 = layout.picture
    assert (x1 - x0, y1 - y0) == pytest.approx(picture_wh, abs=1)
    assert layout.placement == placement


@settings(max_examples=300, deadline=None)
@given(
    frame_wh=st.tuples(st.integers(1, 20000), st.integers(1, 20000)),
    room_wh=st.tuples(st.integers(800, 6000), st.integers(480, 6000)),
    placement=st.sampled_from([None, "beside", "below"]),
    filled=st.booleans(),
)
def test_every_frame_has_a_layout_in_every_room(
    frame_wh: tuple[int, int],
    room_wh: tuple[int, int],
    placement: Placement | None,
    filled: bool,
) -> None:
    layout = layout_for(frame_wh, placement, Room(room_wh, filled))
    check(layout)
    for side, most in zip(layout.canvas_wh, room_wh, strict=True):
        assert side <= most
        if filled:
            assert side >= min(most, LONG_SIDE_MAX_PX) - 1


@pytest.mark.parametrize("room_wh", [(480, 320), (320, 240), (480, 800), (60, 3000)])
def test_in_too_little_room_text_is_small_but_nothing_is_cut_off(room_wh: tuple[int, int]) -> None:
    layout = layout_for((640, 480), None, Room(room_wh, filled=True))
    check(layout)
    assert all(
        side >= least for side, least in zip(layout.canvas_wh, SMALLEST_ROOM_WH, strict=True)
    )


def test_a_window_with_room_enough_changes_nothing() -> None:
    """Drawing takes no longer on a desktop, and one recording looks like another."""
    for frame_wh in SIZES:
        alone = layout_for(frame_wh)
        assert layout_for(frame_wh, None, Room(alone.canvas_wh, filled=False)) == alone
        width, height = alone.canvas_wh
        assert layout_for(frame_wh, None, Room((width, height - 2), filled=False)) != alone


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
