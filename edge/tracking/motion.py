"""How the view moved, turned and zoomed between two frames, from a small grey picture of each."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Frame

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

SIDE_PX = 128
"""Long side of the small picture. At 1280 pixels one of its pixels is ten."""

CONFIDENCE_MIN = 0.75
"""Likeness of two views below which they have nothing in common."""

FEATURELESS = 0.05
"""Mean square in levels of 255 below which a view shows nothing that could be followed."""

ZOOM_MAX, TURN_MAX_DEG = 1.25, 20.0
"""More than that between two analyses is no movement of a hand, but a wrong answer."""

BLACK = 20
"""Green below which nothing is seen, as beyond a dermatoscope's round field."""

MOVED_SHARE = 0.012
"""Share of the short side by which an outline may lie beside its lesion in the live view: at
1280x720 nine pixels, about the width of the outline with its halo."""

_REMEMBERED = 12
_SURROUNDINGS_PX = 6.0
_RIM = np.ones((5, 5), np.uint8)
_OVERLAP_MIN = 0.3
_SHARED_MIN = 0.1
_STEPS = ((2, 6), (1, 1))
"""Reduction of the small pictures and the most Gauss-Newton steps there, coarse before fine."""


@dataclass(frozen=True)
class Movement:
    """How the content of the picture moved, turned and grew.

    Attributes:
        matrix: 2x3, from pixels of the earlier frame to those of the later one.
        confidence: 0..1; correlation of what both views show once the one is moved onto the other.
        is_blind: One of the views shows nothing that could be followed, so that nobody can tell.
    """

    matrix: Float64
    confidence: float
    is_blind: bool = False

    @property
    def is_known(self) -> bool:
        """False where the two views have nothing in common."""
        return self.confidence >= CONFIDENCE_MIN

    @property
    def zoom(self) -> float:
        """By how much lengths grew."""
        return math.hypot(self.matrix[0, 0], self.matrix[1, 0])

    def of(self, points_xy: Float64) -> Float64:
        """Where Nx2 points of the earlier frame lie in the later one."""
        return np.asarray(points_xy @ self.matrix[:, :2].T + self.matrix[:, 2], np.float64)

    def farthest_px(self, size_wh: tuple[int, int]) -> float:
        """The longest way that any part of the picture went; its corners went farthest."""
        width, height = size_wh
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
        inner = 0.8 * corners + 0.1 * np.array([width, height])
        return float(np.hypot(*(self.of(inner) - inner).T).max())


UNKNOWN = Movement(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 0.0)
BLIND = replace(UNKNOWN, is_blind=True)


@dataclass(frozen=True)
class SmallView:
    """A frame, small, grey, and freed from the lamp's fall-off.

    Attributes:
        grey: HxW float32 with mean about 0; 0 beyond the field. Never written.
        field: HxW float32, 1 where the picture shows something, 0 beyond a dermatoscope's round
            field: its black rim stands still however the skin moves, and is alike on any skin.
        scale: Pixels of the frame for each of its own.
        size_wh: Of the frame.
    """

    grey: Float32
    field: Float32
    scale: float
    size_wh: tuple[int, int]

    @property
    def is_blank(self) -> bool:
        """True where there is nothing that could be followed."""
        return _energy(self.grey) < FEATURELESS * self.grey.size


def small_view(pixels: NDArray[np.uint8]) -> SmallView:
    """The small view of HxWx3 uint8 RGB pixels; green alone, sampled and averaged."""
    height, width = pixels.shape[:2]
    step = max(1, max(width, height) // (2 * SIDE_PX))
    sampled = np.ascontiguousarray(pixels[::step, ::step, 1])
    scale = max(width, height) / SIDE_PX
    size = (max(8, round(width / scale)), max(8, round(height / scale)))
    grey = cv2.resize(sampled, size, interpolation=cv2.INTER_AREA)
    _, lit = cv2.threshold(grey, BLACK, 1.0, cv2.THRESH_BINARY)
    field = cv2.erode(lit, _RIM).astype(np.float32)
    high = _high_pass(grey.astype(np.float32), field)
    for array in (high, field):
        array.flags.writeable = False
    return SmallView(high, field, scale, (width, height))


def _high_pass(grey: Float32, field: Float32) -> Float32:
    """What differs from the surroundings, of which only the field counts."""
    around = cv2.GaussianBlur(grey * field, (0, 0), _SURROUNDINGS_PX)
    weight = cv2.GaussianBlur(field, (0, 0), _SURROUNDINGS_PX)
    return np.asarray((grey - around / np.maximum(weight, np.float32(1e-3))) * field, np.float32)


def movement_between(before: SmallView, now: SmallView) -> Movement:
    """How the content moved from one view to the other: shift, turn and zoom.

    The shift comes from phase correlation; Gauss-Newton steps on the difference of the two pictures
    (Lucas and Kanade 1981, inverse compositional after Baker and Matthews 2004) refine it to a
    similarity. Views with nothing in common give a confidence below :data:`CONFIDENCE_MIN`.
    """
    if before.size_wh != now.size_wh:
        return UNKNOWN
    if before.is_blank or now.is_blank:
        return BLIND
    window = _window(now.grey.shape)
    # The windows are put on here: given one, OpenCV writes the windowed picture into its inputs.
    (dx, dy), _ = cv2.phaseCorrelate(before.grey * window, now.grey * window)
    found = _similarity(before, now, dx * now.scale, dy * now.scale)
    # Turn and zoom may hide the shift from the phase correlation; hands hardly shift meanwhile.
    return found if found.is_known else _similarity(before, now, 0.0, 0.0)


def _similarity(before: SmallView, now: SmallView, dx_px: float, dy_px: float) -> Movement:
    """The movement near a shift."""
    warp = np.array([[1.0, 0.0, dx_px], [0.0, 1.0, dy_px], [0.0, 0.0, 1.0]])
    for reduction, steps in _STEPS:
        warp = _refined(_reduced(before, reduction), _reduced(now, reduction), warp, steps)
    angle_deg = math.degrees(math.atan2(warp[1, 0], warp[0, 0]))
    zoom = math.hypot(warp[0, 0], warp[1, 0])
    if not 1.0 / ZOOM_MAX < zoom < ZOOM_MAX or abs(angle_deg) > TURN_MAX_DEG:
        return UNKNOWN
    return Movement(_in_frame_pixels(warp, now.size_wh), _likeness(*_laid_over(before, now, warp)))


def _refined(before: SmallView, now: SmallView, warp: Float64, steps: int) -> Float64:
    """The warp (3x3, about the centre, in frame pixels) after some Gauss-Newton steps."""
    slopes = _slopes(before.grey)
    for _ in range(steps):
        here, there, seen = _laid_over(before, now, warp)
        if np.count_nonzero(seen) < _OVERLAP_MIN * np.count_nonzero(before.field):
            break
        gain = math.sqrt(_energy(here) / max(_energy(there), 1e-6))
        masked = slopes * seen.ravel()
        change = np.linalg.solve(
            masked @ masked.T + np.eye(4, dtype=np.float32),
            masked @ (gain * there - here).ravel(),
        )
        shift_x, shift_y, grown, turned = change.tolist()
        shift = before.scale * shift_x, before.scale * shift_y
        step = np.array(
            [[1.0 + grown, -turned, shift[0]], [turned, 1.0 + grown, shift[1]], [0.0, 0.0, 1.0]]
        )
        warp = warp @ np.linalg.inv(step)
        # A twentieth of a small pixel moves nothing that anybody sees.
        at_the_corners = 0.6 * here.shape[1] * math.hypot(grown, turned)
        if math.hypot(shift_x, shift_y) + at_the_corners < 0.05:
            break
    return warp


def _slopes(grey: Float32) -> Float32:
    """4xN: how each pixel changes with a shift right, a shift down, growth and turn."""
    across, down = _from_centre(grey.shape)
    right = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=0.125)
    below = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=0.125)
    return np.stack(
        (right, below, right * across + below * down, below * across - right * down)
    ).reshape(4, -1)


def _laid_over(
    before: SmallView, now: SmallView, warp: Float64
) -> tuple[Float32, Float32, Float32]:
    """Both pictures as the earlier frame shows them, where both show something; and where."""
    height, width = now.grey.shape
    x, y = (width - 1) / 2.0, (height - 1) / 2.0
    matrix = warp[:2].copy()
    matrix[:, 2] = matrix[:, 2] / now.scale + (x, y) - matrix[:, :2] @ (x, y)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # Half of a pixel that lies half beyond the field would be an edge that the skin has not.
    seen = np.floor(cv2.warpAffine(now.field, matrix, (width, height), flags=flags) + 1e-3)
    seen = np.asarray(seen * before.field, np.float32)
    there = cv2.warpAffine(now.grey, matrix, (width, height), flags=flags)
    return before.grey * seen, np.asarray(there * seen, np.float32), seen


def _likeness(here: Float32, there: Float32, seen: Float32) -> float:
    """Normalised correlation of what both views show; 0 where they share too little.

    The peak of the phase correlation is no measure: between different scenes it may be as high.
    """
    shared = np.count_nonzero(seen)
    energies = _energy(here), _energy(there)
    if shared < _SHARED_MIN * seen.size or min(energies) < FEATURELESS * shared:
        return 0.0
    return max(0.0, float(np.vdot(here, there)) / math.sqrt(energies[0] * energies[1]))


def _in_frame_pixels(warp: Float64, size_wh: tuple[int, int]) -> Float64:
    """2x3 about the origin from 3x3 about the centre of the frame."""
    center = np.array(size_wh, np.float64) / 2.0
    matrix: Float64 = np.array(warp[:2])
    matrix[:, 2] += center - matrix[:, :2] @ center
    return matrix


def _energy(grey: Float32) -> float:
    return float(np.vdot(grey, grey))


def _reduced(view: SmallView, reduction: int) -> SmallView:
    if reduction == 1:
        return view
    size = (view.grey.shape[1] // reduction, view.grey.shape[0] // reduction)
    grey, field = (
        np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA), np.float32)
        for array in (view.grey, view.field)
    )
    return SmallView(grey, np.floor(field + 1e-3), view.scale * reduction, view.size_wh)


@lru_cache(maxsize=4)
def _window(shape: tuple[int, int]) -> Float32:
    return np.asarray(cv2.createHanningWindow((shape[1], shape[0]), cv2.CV_32F), np.float32)


@lru_cache(maxsize=8)
def _from_centre(shape: tuple[int, int]) -> tuple[Float32, Float32]:
    height, width = shape
    across = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2.0)
    down = np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2.0)
    return across[np.newaxis, :], down[:, np.newaxis]


class ViewMotion:
    """Whether outlines of one frame would lie beside their lesions in another; one thread.

    The small views of the frames asked about last are kept.
    """

    def __init__(self) -> None:
        self._views: OrderedDict[tuple[str, int, int | None], SmallView] = OrderedDict()

    def has_moved(self, result_frame: Frame, newest: Frame) -> bool:
        """True where the view moved, turned or zoomed too far, or nobody can tell how far."""
        if _key(result_frame) == _key(newest):
            return False
        movement = movement_between(self._view_of(result_frame), self._view_of(newest))
        if not movement.is_known:
            return True
        return movement.farthest_px(newest.size_wh) > MOVED_SHARE * min(newest.size_wh)

    def _view_of(self, frame: Frame) -> SmallView:
        key = _key(frame)
        view = self._views.get(key)
        if view is None or view.size_wh != frame.size_wh:
            view = self._views[key] = small_view(frame.pixels)
            while len(self._views) > _REMEMBERED:
                self._views.popitem(last=False)
        return view


def _key(frame: Frame) -> tuple[str, int, int | None]:
    """With the instant: a camera that is opened again may count from 0 again."""
    return frame.source, frame.frame_id, frame.captured_ns
