"""The movement that is found is the one that was made."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from shots_for_tests import frame

from edge.tracking.motion import MOVED_SHARE, ViewMotion, shift_between, small_view
from models.phantom import PhantomCamera

SIZE_WH = (1280, 720)


@pytest.fixture(scope="module")
def skin() -> np.ndarray:
    return PhantomCamera(7, SIZE_WH).frame(0).pixels


def moved(pixels: np.ndarray, dx: float, dy: float, angle: float = 0.0, zoom: float = 1.0):
    matrix = cv2.getRotationMatrix2D((640, 360), angle, zoom)
    matrix[:, 2] += (dx, dy)
    return cv2.warpAffine(pixels, matrix, SIZE_WH, borderMode=cv2.BORDER_REFLECT_101)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (40, -25), (-120, 60), (200, 100)])
def test_a_shift_is_found(skin: np.ndarray, dx: float, dy: float):
    found = shift_between(small_view(skin), small_view(moved(skin, dx, dy)))
    assert found.is_known
    assert (found.dx_px, found.dy_px) == pytest.approx((dx, dy), abs=4.0)


@pytest.mark.parametrize(("angle", "zoom"), [(3.0, 1.0), (0.0, 1.05), (-2.0, 0.96)])
def test_small_turns_and_zooms_do_not_hide_it(skin: np.ndarray, angle: float, zoom: float):
    found = shift_between(small_view(skin), small_view(moved(skin, 30, 20, angle, zoom)))
    assert found.is_known
    assert (found.dx_px, found.dy_px) == pytest.approx((30, 20), abs=12.0)


def test_other_skin_and_other_sizes_are_not_known(skin: np.ndarray):
    other = np.random.default_rng(1).integers(0, 256, skin.shape, np.uint8)
    assert not shift_between(small_view(skin), small_view(other)).is_known
    assert not shift_between(small_view(skin), small_view(skin[:360])).is_known
    plain = np.full_like(skin, 128)
    assert not shift_between(small_view(plain), small_view(plain)).is_known


def test_a_darker_or_blurred_picture_is_the_same_view(skin: np.ndarray):
    dark, blurred = skin // 2, cv2.GaussianBlur(skin, (0, 0), 6)
    for changed in (dark, blurred):
        found = shift_between(small_view(skin), small_view(changed))
        assert found.is_known and found.distance_px < 3.0


def test_outlines_are_hidden_once_they_would_lie_beside_their_lesions(skin: np.ndarray):
    motion = ViewMotion()
    first = dataclasses.replace(frame(1), pixels=skin)
    limit_px = MOVED_SHARE * 720
    near = dataclasses.replace(frame(2), pixels=moved(skin, 0.4 * limit_px, 0))
    far = dataclasses.replace(frame(3), pixels=moved(skin, 2.0 * limit_px, 0))
    assert not motion.has_moved(first, first)
    assert not motion.has_moved(first, near)
    assert motion.has_moved(first, far)
    assert motion.has_moved(first, frame(4))  # of another size


def test_views_are_remembered_and_memory_is_bounded(skin: np.ndarray):
    motion = ViewMotion()
    first = dataclasses.replace(frame(0), pixels=skin)
    for number in range(1, 100):
        motion.has_moved(first, dataclasses.replace(frame(number), pixels=skin))
    assert len(motion._views) <= 12
