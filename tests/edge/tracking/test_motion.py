"""The movement that is found is the one that was made."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shots_for_tests import frame

from edge.frame import Frame
from edge.tracking.motion import MOVED_SHARE, ViewMotion, movement_between, small_view
from models.phantom import PhantomCamera

SIZE_WH = (1280, 720)
GRID = np.stack(np.meshgrid((128.0, 640.0, 1152.0), (72.0, 360.0, 648.0)), -1).reshape(-1, 2)


@pytest.fixture(scope="module")
def skin() -> np.ndarray:
    return PhantomCamera(7, SIZE_WH).frame(0).pixels


@pytest.fixture(scope="module")
def other_skin() -> np.ndarray:
    return PhantomCamera(8, SIZE_WH).frame(0).pixels


def matrix_of(dx: float, dy: float, angle: float = 0.0, zoom: float = 1.0) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((640, 360), angle, zoom)
    matrix[:, 2] += (dx, dy)
    return matrix


def moved(pixels: np.ndarray, dx: float, dy: float, angle: float = 0.0, zoom: float = 1.0):
    matrix = matrix_of(dx, dy, angle, zoom)
    return cv2.warpAffine(pixels, matrix, SIZE_WH, borderMode=cv2.BORDER_REFLECT_101)


def through_a_dermatoscope(pixels: np.ndarray) -> np.ndarray:
    """A round field with a black rim that stands still."""
    field = np.zeros(pixels.shape[:2], np.uint8)
    cv2.circle(field, (640, 360), 345, 255, cv2.FILLED)
    return cv2.bitwise_and(pixels, pixels, mask=field) + np.uint8(3)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(-120.0, 120.0),
    st.floats(-70.0, 70.0),
    st.floats(-5.0, 5.0),
    st.floats(0.93, 1.07),
)
def test_shift_turn_and_zoom_are_found(skin: np.ndarray, dx: float, dy: float, angle, zoom):
    """To a third of the outline's width, everywhere in the picture."""
    found = movement_between(small_view(skin), small_view(moved(skin, dx, dy, angle, zoom)))
    made = matrix_of(dx, dy, angle, zoom)
    truth = GRID @ made[:, :2].T + made[:, 2]
    assert found.is_known
    assert np.hypot(*(found.of(GRID) - truth).T).max() < 3.0
    assert found.zoom == pytest.approx(zoom, abs=0.01)


def test_a_large_shift_is_found(skin: np.ndarray):
    found = movement_between(small_view(skin), small_view(moved(skin, 250, 120)))
    assert found.is_known
    assert found.of(GRID) - GRID == pytest.approx(np.tile((250.0, 120.0), (9, 1)), abs=4.0)


def test_the_same_question_has_the_same_answer_as_often_as_it_is_asked(skin: np.ndarray):
    """OpenCV's phase correlation writes into its inputs when it is given a window."""
    before, now = small_view(skin), small_view(moved(skin, 40, -25, 1.0))
    first = movement_between(before, now)
    for _ in range(5):
        again = movement_between(before, now)
        assert again.confidence == first.confidence
        assert np.array_equal(again.matrix, first.matrix)


def test_other_skin_and_other_sizes_are_not_known(skin: np.ndarray, other_skin: np.ndarray):
    noise = np.random.default_rng(1).integers(0, 256, skin.shape, np.uint8)
    for other in (other_skin, noise, skin[:360]):
        found = movement_between(small_view(skin), small_view(other))
        assert not found.is_known and not found.is_blind


def test_where_nothing_can_be_followed_nobody_can_tell(skin: np.ndarray):
    plain = np.full_like(skin, 128)
    assert movement_between(small_view(plain), small_view(plain)).is_blind
    assert movement_between(small_view(skin), small_view(plain)).is_blind


def test_the_rim_of_a_dermatoscope_neither_holds_the_skin_nor_makes_other_skin_alike(
    skin: np.ndarray, other_skin: np.ndarray
):
    before = small_view(through_a_dermatoscope(skin))
    now = small_view(through_a_dermatoscope(moved(skin, 50, -30)))
    found = movement_between(before, now)
    assert found.is_known
    centre = np.array([[640.0, 360.0]])
    assert found.of(centre) - centre == pytest.approx(np.array([[50.0, -30.0]]), abs=5.0)
    elsewhere = small_view(through_a_dermatoscope(other_skin))
    assert not movement_between(before, elsewhere).is_known


def test_a_darker_or_blurred_picture_is_the_same_view(skin: np.ndarray):
    dark, blurred = skin // 2, cv2.GaussianBlur(skin, (0, 0), 6)
    for changed in (dark, blurred):
        found = movement_between(small_view(skin), small_view(changed))
        assert found.is_known and found.farthest_px(SIZE_WH) < 3.0


def shown(number: int, pixels: np.ndarray) -> Frame:
    return dataclasses.replace(frame(number), pixels=pixels)


def test_outlines_are_hidden_once_they_would_lie_beside_their_lesions(skin: np.ndarray):
    motion = ViewMotion()
    first = shown(1, skin)
    limit_px = MOVED_SHARE * 720
    assert not motion.has_moved(first, first)
    assert not motion.has_moved(first, shown(2, moved(skin, 0.5 * limit_px, 0)))
    assert motion.has_moved(first, shown(3, moved(skin, 1.5 * limit_px, 0)))
    assert motion.has_moved(first, frame(4))  # of another size


@pytest.mark.parametrize(("angle", "zoom"), [(2.0, 1.0), (0.0, 1.04), (0.0, 0.96)])
def test_outlines_are_hidden_when_the_view_turns_or_comes_closer_about_its_middle(
    skin: np.ndarray, angle: float, zoom: float
):
    assert ViewMotion().has_moved(shown(1, skin), shown(2, moved(skin, 0, 0, angle, zoom)))


def test_outlines_are_shown_as_long_as_nothing_moves_however_often_that_is_asked(skin: np.ndarray):
    motion, first, moved_away = ViewMotion(), shown(0, skin), shown(1, moved(skin, 20, 0))
    for number in range(2, 40):
        assert not motion.has_moved(first, shown(number, skin))
        assert motion.has_moved(first, moved_away)
    assert len(motion._views) <= 12


def test_a_camera_that_is_opened_again_counts_from_the_beginning_again(
    skin: np.ndarray, other_skin: np.ndarray
):
    motion = ViewMotion()
    first = dataclasses.replace(shown(1, skin), captured_ns=1_000, captured_clock="monotonic")
    again = dataclasses.replace(first, pixels=other_skin, captured_ns=9_000)
    assert not motion.has_moved(first, shown(2, skin))
    assert motion.has_moved(first, again)
    assert motion.has_moved(again, shown(2, skin))
