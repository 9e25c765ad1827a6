from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from overlay_for_tests import LABELS, ellipses, make_result, region_from_mask, skin_rgb

from edge.overlay.fonts import Fonts
from edge.overlay.layout import LONG_SIDE_MAX_PX, Rect, Room, layout_for
from edge.overlay.overlay import Overlay
from edge.overlay.text import Typesetter
from edge.result import DISCLAIMER, STATUS_WORDS, UNVALIDATED, Result, Stage, Status
from models.phantom import random_spec, render

ALL: tuple[Status, ...] = tuple(STATUS_WORDS)
NO_ANSWER: tuple[Status, ...] = ALL[2:]


def frame_of(size_wh: tuple[int, int], ita_deg: float = 30.0) -> NDArray[np.uint8]:
    pixels = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    pixels[:] = skin_rgb(ita_deg)
    return pixels


def some_regions(size_wh: tuple[int, int], count: int = 3, seed: int = 1, **how: Any) -> list[Any]:
    masks = ellipses(size_wh, count, seed)
    return [region_from_mask(m, i, classified=i < 8, **how) for i, m in enumerate(masks)]


def result_with(status: Status, size_wh: tuple[int, int]) -> Result:
    regions: Sequence[Any] | None = None
    if status == "ok":
        regions = some_regions(size_wh)
    elif status == "nothing_found":
        regions = ()
    reasons = () if status in ("ok", "nothing_found") else ("the reason is said here",)
    return make_result(size_wh, regions, status=status, reasons=reasons)


SMALL = Room((800, 480), filled=True)
"""A 5-inch screen."""


def disclaimer_in(
    picture: NDArray[np.uint8], size_wh: tuple[int, int], room: Room | None = None
) -> bool:
    """True where the band shows the disclaimer's pixels, white on black, nothing over them."""
    layout = layout_for(size_wh, None, room)
    words = Typesetter().line(DISCLAIMER, layout.em_px, bold=True).alpha
    x0, y0, _, y1 = layout.band
    left = picture[y0:y1, x0 + layout.em_px // 2 :, 1].astype(int)
    height, width = words.shape
    for top in range(left.shape[0] - height + 1):
        for start in range(3):
            spot = left[top : top + height, start : start + width]
            if np.abs(spot - words).max() <= 2:
                return True
    return False


def overlap(one: Rect, other: Rect) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(
        one[3], other[3]
    )


def inside(inner: Rect, outer: Rect) -> bool:
    return (
        outer[0] <= inner[0] < inner[2] <= outer[2] and outer[1] <= inner[1] < inner[3] <= outer[3]
    )


@pytest.mark.parametrize("status", ALL)
@pytest.mark.parametrize("size_wh", [(800, 480), (320, 240), (3000, 200), (48, 36)])
def test_the_disclaimer_is_always_there(status: Status, size_wh: tuple[int, int]) -> None:
    result = result_with(status, size_wh)
    drawn = Overlay().draw(frame_of(size_wh), result, age_ms=123456.0, view="paired")
    assert disclaimer_in(drawn, size_wh)


@pytest.mark.parametrize("status", ALL)
@pytest.mark.parametrize("size_wh", [(800, 480), (640, 480), (1280, 720), (1920, 1080)])
def test_a_five_inch_screen_shows_the_disclaimer(status: Status, size_wh: tuple[int, int]) -> None:
    result = result_with(status, size_wh)
    overlay = Overlay()
    drawn = overlay.draw(frame_of(size_wh), result, age_ms=123456.0, view="paired", room=SMALL)
    assert drawn.shape == (480, 800, 3)
    assert overlay.size_for(size_wh, SMALL) == (800, 480)
    assert disclaimer_in(drawn, size_wh, SMALL)


@pytest.mark.parametrize("size_wh", [(800, 480), (1280, 720), (1920, 1080), (2001, 999)])
def test_a_reduced_frame_is_the_mean_of_its_pixels(size_wh: tuple[int, int]) -> None:
    """And lies where the layout says; what is beside it is black."""
    rng = np.random.default_rng(5)
    frame = cv2.GaussianBlur(rng.integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8), None, 6)
    frame = cv2.normalize(frame, None, 0, 255, cv2.NORM_MINMAX)
    overlay = Overlay()
    out = np.full((480, 800, 3), 77, np.uint8)
    drawn = overlay.draw(frame, make_result(size_wh, (), status="ok"), room=SMALL, out=out)
    assert overlay.drawn is not None
    x0, y0, x1, y1 = overlay.drawn.layout.picture
    mean = cv2.resize(frame, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    assert np.abs(drawn[y0:y1, x0:x1].astype(int) - mean).mean() < 3.0
    assert drawn[y0:y1, :x0].max(initial=0) == 0 and drawn[y0:y1, x1:].max(initial=0) == 0


def test_the_disclaimer_test_can_fail() -> None:
    drawn = Overlay().draw(frame_of((800, 480)), result_with("ok", (800, 480))).copy()
    top = layout_for((800, 480)).band[1]
    drawn[top + 4 : top + 20, 40:60] = 0
    assert not disclaimer_in(drawn, (800, 480))


@pytest.mark.parametrize("size_wh", [(800, 480), (640, 480)])
def test_every_status_looks_different(size_wh: tuple[int, int]) -> None:
    """In luminance alone, too: signs, words and borders, not only colours."""
    pictures = {}
    for status in ALL:
        drawn = Overlay().draw(frame_of(size_wh), result_with(status, size_wh))
        pictures[status] = drawn.astype(int).sum(axis=2)
    for one, other in combinations(ALL, 2):
        changed = np.abs(pictures[one] - pictures[other]) > 90
        assert changed.sum() > 1500, (one, other)


@pytest.mark.parametrize("status", NO_ANSWER)
def test_without_an_answer_there_is_no_outline_and_no_letter(status: Status) -> None:
    size_wh = (800, 480)
    overlay = Overlay()
    overlay.draw(frame_of(size_wh), result_with("ok", size_wh), age_ms=10.0, view="paired")
    with_answer = overlay.drawn
    assert with_answer is not None and len(with_answer.badges) == 3
    drawn = overlay.draw(
        frame_of(size_wh), result_with(status, size_wh), age_ms=10.0, view="paired"
    )
    parts = overlay.drawn
    assert parts is not None and parts.badges == () and parts.banner is not None
    # Below the banner and inside the border, the picture is the frame (or all of it is dimmed).
    x0, y0, x1, y1 = parts.banner
    mask = np.ones((480, 800), bool)
    mask[y0:y1, x0:x1] = False
    rest = drawn[:480][mask & _margin((800, 480), 20)].astype(int)
    assert np.ptp(rest, axis=0).max() == 0


def test_no_live_image_is_dark_and_says_so() -> None:
    size_wh = (800, 480)
    frame = frame_of(size_wh)
    overlay = Overlay()
    drawn = overlay.draw(frame, result_with("no_live_image", size_wh), age_ms=3200.0, view="live")
    assert drawn[300, 30].sum() < 0.5 * frame[300, 30].sum()
    parts = overlay.drawn
    assert parts is not None and parts.banner is not None
    x0, y0, x1, y1 = parts.banner
    assert (y1 - y0) > 480 / 10
    red = drawn[y0:y1, x0:x1].astype(int)
    assert ((red[..., 0] > 200) & (red[..., 1] < 100)).sum() > 800
    assert (drawn[1, 100:700, 0] > 200).all()


def test_nothing_is_called_old_where_nothing_is_shown() -> None:
    size_wh = (800, 480)
    heights = []
    for pixels in (frame_of(size_wh), np.zeros((480, 800, 3), np.uint8)):
        overlay = Overlay()
        overlay.draw(pixels, result_with("no_live_image", size_wh))
        assert overlay.drawn is not None and overlay.drawn.banner is not None
        heights.append(overlay.drawn.banner[3] - overlay.drawn.banner[1])
    em_px = overlay.drawn.layout.em_px
    assert heights[0] - heights[1] == round(1.4 * em_px)  # one line: What is shown here is old.


def test_reasons_are_on_the_screen() -> None:
    """The same status with another reason is another picture."""
    size_wh = (640, 480)
    pictures = [
        Overlay()
        .draw(frame_of(size_wh), make_result(size_wh, None, status="poor_quality", reasons=(why,)))
        .copy()
        for why in ("the picture is too dark", "the picture is blurred")
    ]
    assert (pictures[0] != pictures[1]).any(axis=2).sum() > 200


@pytest.mark.parametrize(
    "size_wh", [(800, 480), (3840, 2160), (1280, 960), (64, 64), (200, 150), (480, 800)]
)
@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("room", [None, SMALL], ids=["file", "small screen"])
def test_nothing_overflows_or_overlaps(
    size_wh: tuple[int, int], count: int, room: Room | None
) -> None:
    if min(size_wh) == 64 and count > 3:
        count = 3
    overlay = Overlay()
    result = make_result(size_wh, some_regions(size_wh, count), captured_by="arrival")
    drawn = overlay.draw(frame_of(size_wh), result, age_ms=45.0, view="paired", room=room)
    parts = overlay.drawn
    assert parts is not None
    assert (drawn.shape[1], drawn.shape[0]) == overlay.size_for(size_wh, room)
    assert len(parts.badges) == count
    for _, badge in parts.badges:
        assert inside(badge, parts.layout.picture)
    for (_, one), (_, other) in combinations(parts.badges, 2):
        assert not overlap(one, other)
    rows = [rect for _, rect in parts.rows]
    assert rows
    for row in rows:
        assert inside(row, parts.layout.legend)
    for one, other in combinations(rows, 2):
        assert not overlap(one, other)


def test_words_stay_inside_their_rows() -> None:
    """The legend has no ink outside its rows."""
    size_wh = (800, 480)
    overlay = Overlay()
    regions = some_regions(size_wh, 3, classes=(("ACK", 0.9), ("NEV", 0.05), ("SEK", 0.03)))
    drawn = overlay.draw(frame_of(size_wh), make_result(size_wh, regions), age_ms=1.0)
    parts = overlay.drawn
    assert parts is not None
    between = np.zeros(drawn.shape[:2], bool)
    x0, y0, x1, y1 = parts.layout.legend
    between[y0:y1, x0:x1] = True
    for _, (rx0, ry0, rx1, ry1) in parts.rows:
        assert drawn[ry0:ry1, rx0:rx1].max() > 150
        between[ry0:ry1, rx0:rx1] = False
    assert drawn[between].max() < 60


def test_thirty_regions_on_a_wide_frame() -> None:
    size_wh = (1280, 720)
    overlay = Overlay()
    overlay.draw(frame_of(size_wh), make_result(size_wh, some_regions(size_wh, 30)))
    parts = overlay.drawn
    assert parts is not None
    assert len(parts.badges) == 30
    assert "22 more not classified" in [row.text for row, _ in parts.rows]


def test_a_huge_frame_is_drawn_reduced_with_its_outlines() -> None:
    size_wh = (5000, 4000)
    frame = np.full((4000, 5000, 3), 150, np.uint8)
    mask = np.zeros((4000, 5000), bool)
    mask[1000:2000, 1000:2500] = True
    overlay = Overlay()
    drawn = overlay.draw(frame, make_result(size_wh, [region_from_mask(mask, 0)]))
    assert max(drawn.shape) <= LONG_SIDE_MAX_PX + 1
    layout = layout_for(size_wh)
    row = drawn[round(1500 * layout.scale), : layout.picture[2]].astype(int)
    changed = np.flatnonzero(np.abs(row - 150).max(axis=1) > 40)
    assert changed.min() == pytest.approx(1000 * layout.scale, abs=12)


def test_the_frame_is_left_alone_and_a_picture_is_kept_while_somebody_looks_at_it() -> None:
    size_wh = (640, 480)
    phantom = render(random_spec(3, size_wh, ita_deg=-30, lesion_count=2))
    before = phantom.pixels.copy()
    overlay, result = Overlay(), make_result(size_wh, some_regions(size_wh))
    first = overlay.draw(phantom.pixels, result)
    again = overlay.draw(phantom.pixels, result)
    assert not np.shares_memory(first, again)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(phantom.pixels, before)
    width, height = overlay.size_for(size_wh)
    out = np.full((height, width, 3), 77, np.uint8)
    assert overlay.draw(phantom.pixels, result, out=out) is out
    np.testing.assert_array_equal(out, again)


def test_nothing_of_the_last_picture_is_left() -> None:
    size_wh = (640, 480)
    overlay = Overlay()
    alone = Overlay().draw(frame_of(size_wh), make_result(size_wh, ())).copy()
    overlay.draw(frame_of(size_wh, -40), make_result(size_wh, some_regions(size_wh, 8)))
    after = overlay.draw(frame_of(size_wh), make_result(size_wh, ()))
    np.testing.assert_array_equal(after, alone)


def test_steady_drawing_allocates_no_frame() -> None:
    size_wh = (1280, 720)
    frame, result = frame_of(size_wh), make_result(size_wh, some_regions(size_wh))
    overlay = Overlay()
    for age_ms in (40.0, 41.0, 42.0):
        overlay.draw(frame, result, age_ms=age_ms, view="paired")
    tracemalloc.start()
    try:
        overlay.draw(frame, result, age_ms=40.0, view="paired")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < frame.nbytes / 4


def test_an_arrival_age_is_shown_as_a_lower_bound() -> None:
    size_wh = (800, 480)
    layout = layout_for(size_wh)
    bands = []
    for captured_by in ("driver", "arrival"):
        result = make_result(size_wh, (), captured_by=captured_by)
        drawn = Overlay().draw(frame_of(size_wh), result, age_ms=45.0)
        bands.append(drawn[layout.band[1] :].astype(int))
    assert (np.abs(bands[0] - bands[1]).max(axis=2) > 60).sum() > 20


def test_a_still_has_no_age() -> None:
    size_wh = (800, 480)
    layout = layout_for(size_wh)
    result = make_result(size_wh, ())
    middle = np.s_[layout.band[1] :, 600:]
    still = Overlay().draw(frame_of(size_wh), result)[middle].copy()
    live = Overlay().draw(frame_of(size_wh), result, age_ms=45.0)[middle]
    assert (still != live).any()


def test_extra_stages_are_in_the_legend() -> None:
    size_wh = (640, 480)
    overlay = Overlay()
    overlay.draw(
        frame_of(size_wh),
        make_result(size_wh, ()),
        durations_ms={Stage.DRAW: 2.5},
    )
    parts = overlay.drawn
    assert parts is not None
    assert ("draw", "2.5") in [pair for row, _ in parts.rows for pair in row.pairs]


def test_that_classes_are_unvalidated_is_said_once() -> None:
    """It is among the reasons of a Result, too."""
    size_wh = (1280, 720)
    for validated in (False, True):
        overlay = Overlay(validated=validated)
        result = make_result(size_wh, some_regions(size_wh), reasons=(UNVALIDATED, "note well"))
        overlay.draw(frame_of(size_wh), result)
        assert overlay.drawn is not None
        words = [row.text for row, _ in overlay.drawn.rows]
        assert [text for text in words if "unvalidated" in text] == ["Classes: unvalidated model"]
        assert "Note well" in words


def test_korean_and_hindi_labels_are_drawn_as_such(noto: Fonts) -> None:
    size_wh = (640, 480)
    overlay = Overlay(fonts=noto)
    mask = ellipses(size_wh, 1)[0]
    pictures = []
    for label_text in (LABELS, {**LABELS, "NEV": "NEV", "ACK": "ACK"}):
        regions = [region_from_mask(mask, 0, classes=(("NEV", 0.5), ("ACK", 0.4)))]
        result = make_result(size_wh, regions, label_text=label_text)
        pictures.append(overlay.draw(frame_of(size_wh), result).copy())
    assert (pictures[0] != pictures[1]).any(axis=2).sum() > 300


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 4), np.uint8), np.zeros((48, 64, 3))],
    ids=["grey", "alpha", "float"],
)
def test_other_pictures_are_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match="HxWx3 uint8 RGB"):
        Overlay().draw(pixels, make_result((64, 48), ()))


def test_a_result_of_another_frame_is_refused() -> None:
    result = make_result((640, 480), some_regions((640, 480)))
    with pytest.raises(ValueError, match="frame of"):
        Overlay().draw(frame_of((320, 240)), result)


def test_a_buffer_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="out must be"):
        Overlay().draw(
            frame_of((64, 48)), make_result((64, 48), ()), out=np.zeros((48, 64, 3), np.uint8)
        )


def _margin(size_wh: tuple[int, int], width: int) -> NDArray[np.bool_]:
    mask = np.zeros((size_wh[1], size_wh[0]), bool)
    mask[width:-width, width:-width] = True
    return mask
