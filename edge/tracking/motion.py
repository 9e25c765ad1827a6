"""How far the view moved between two frames, from a small grey picture of each."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.frame import Frame

Float32 = NDArray[np.float32]

SIDE_PX = 128
"""Long side of the small picture. At 1280 pixels one of its pixels is ten; the shift is found to
1.3 pixels of the frame (median; 95 %: 2.6), against the phantom camera's own movement."""

CONFIDENCE_MIN = 0.5
"""Likeness of two views below which they have nothing in common. Of six phantom streams at 30
frames per second: a tenth of a second apart 0.79 to 0.98, a second apart 0.64 to 0.98; views of
different streams exceed 0.5 in 8 % of pairs, as arms resemble each other."""

FEATURELESS = 0.05
"""Mean square in levels of 255 below which a view shows nothing that could be followed."""

MOVED_SHARE = 0.012
"""Share of the short side by which an outline may lie beside its lesion in the live view: at
1280x720 nine pixels, about the width of the outline with its halo."""

_REMEMBERED = 12


@dataclass(frozen=True)
class Shift:
    """How the content of the picture moved.

    Attributes:
        dx_px: To the right, in pixels of the frame.
        dy_px: Down.
        confidence: 0..1; how much of the two views agrees at this shift.
    """

    dx_px: float
    dy_px: float
    confidence: float

    @property
    def distance_px(self) -> float:
        """Length of the way."""
        return math.hypot(self.dx_px, self.dy_px)

    @property
    def is_known(self) -> bool:
        """False where the two views have nothing in common."""
        return self.confidence >= CONFIDENCE_MIN


@dataclass(frozen=True)
class SmallView:
    """A frame, small, grey, and freed from the lamp's fall-off.

    Attributes:
        grey: HxW float32 with mean about 0.
        scale: Pixels of the frame for each of its own.
        size_wh: Of the frame.
    """

    grey: Float32
    scale: float
    size_wh: tuple[int, int]


def small_view(pixels: NDArray[np.uint8]) -> SmallView:
    """The small view of HxWx3 uint8 RGB pixels; green alone, sampled and averaged."""
    height, width = pixels.shape[:2]
    step = max(1, max(width, height) // (2 * SIDE_PX))
    sampled = np.ascontiguousarray(pixels[::step, ::step, 1])
    scale = max(width, height) / SIDE_PX
    size = (max(8, round(width / scale)), max(8, round(height / scale)))
    grey = cv2.resize(sampled, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    grey -= cv2.GaussianBlur(grey, (0, 0), 6.0)
    return SmallView(grey, scale, (width, height))


def shift_between(before: SmallView, now: SmallView) -> Shift:
    """How the content moved from one view to the other, by phase correlation."""
    if before.size_wh != now.size_wh:
        return Shift(0.0, 0.0, 0.0)
    window = _window(now.grey.shape)
    (dx, dy), _ = cv2.phaseCorrelate(before.grey, now.grey, window)
    confidence = _likeness(before.grey, now.grey, round(dx), round(dy))
    return Shift(dx * now.scale, dy * now.scale, confidence)


def _likeness(before: Float32, now: Float32, dx: int, dy: int) -> float:
    """Normalised correlation of what both views show once moved; 0 where they share too little.

    The peak of the phase correlation is no measure: between different scenes it may be as high.
    """
    height, width = now.shape
    if 2 * abs(dx) > width or 2 * abs(dy) > height:
        return 0.0
    x, y = max(0, dx), max(0, dy)
    here = now[y : height + min(0, dy), x : width + min(0, dx)]
    there = before[y - dy : y - dy + here.shape[0], x - dx : x - dx + here.shape[1]]
    energies = float(np.vdot(here, here)), float(np.vdot(there, there))
    if min(energies) < FEATURELESS * here.size:
        return 0.0
    return max(0.0, float(np.vdot(here, there)) / math.sqrt(energies[0] * energies[1]))


@lru_cache(maxsize=4)
def _window(shape: tuple[int, int]) -> Float32:
    return np.asarray(cv2.createHanningWindow((shape[1], shape[0]), cv2.CV_32F), np.float32)


class ViewMotion:
    """Whether outlines of one frame would lie beside their lesions in another; one thread.

    The small views of the frames asked about last are kept, by frame id.
    """

    def __init__(self) -> None:
        self._views: OrderedDict[tuple[str, int], SmallView] = OrderedDict()

    def has_moved(self, result_frame: Frame, newest: Frame) -> bool:
        """True where the view moved too far, or nobody can tell how far."""
        if result_frame.frame_id == newest.frame_id:
            return False
        shift = shift_between(self._view_of(result_frame), self._view_of(newest))
        return not shift.is_known or shift.distance_px > MOVED_SHARE * min(newest.size_wh)

    def _view_of(self, frame: Frame) -> SmallView:
        key = (frame.source, frame.frame_id)
        view = self._views.get(key)
        if view is None or view.size_wh != frame.size_wh:
            view = self._views[key] = small_view(frame.pixels)
            while len(self._views) > _REMEMBERED:
                self._views.popitem(last=False)
        return view
