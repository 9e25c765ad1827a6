"""Does the picture change colour while the view stands still? Then lamp or camera did it."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.light import CLIPPED_ABOVE, CLIPPED_BELOW, linear_of, linear_table
from models import skin

Float32 = NDArray[np.float32]

EVERY_S = 0.2
"""How often a frame is compared: automatics act over seconds."""

SIDE = 160

SAME_VIEW_MIN = 0.6
"""Correlation of fine structure from which on two frames show the same view."""

SHIFT_MAX, SHIFT_LEFT = 0.07, 0.03
"""Change of colour, in ln of linear light, that is a drift, and below which it is over. Skin
pressed pale (two thirds of its blood gone, phantoms, ITA -30 to +60 degrees) moves up to 0.04."""

LASTING = 5
"""Comparisons in a row that must agree."""


class StillViewWatch:
    """Compares frames with the first one of the same view.

    Two frames show the same view where the fine structure of green (a Gaussian of 3 px of 160 taken
    away; it does not depend on colour gains) correlates by at least 0.6. Then each pixel's change
    of ln R/G and ln B/G is lamp, camera, or the skin's blood: pressing and warming move it along
    the line of hemoglobin. Only what lies across that line counts, mostly the change of B/G, which
    every change of colour temperature brings. As soon as the view moves the comparison starts anew:
    what changed meanwhile is not seen, nor is a change between two patients. That is what the card
    is for.

    One thread. Pixels are read during the call only.
    """

    def __init__(self) -> None:
        self._structure: Float32 | None = None
        self._ratios: Float32 | None = None
        self._next_ns = 0
        self._over = self._under = 0
        self._drifted_here = False
        self.drifted = False
        """Whether the colour changed; it stays so until it changes back in the very view in which
        it did, or :meth:`forget`."""
        self.shift = 0.0
        """Change of the last comparison, signed."""

    def forget(self) -> None:
        """Start anew, without drift."""
        self._structure = self._ratios = None
        self._over = self._under = 0
        self.drifted, self._drifted_here, self.shift = False, False, 0.0

    def observe(self, pixels: NDArray[np.uint8], now_ns: int) -> None:
        """Compare a frame, if it is time.

        Args:
            pixels: HxWx3 uint8 RGB.
            now_ns: Monotonic.
        """
        if now_ns < self._next_ns:
            return
        self._next_ns = now_ns + round(EVERY_S * 1e9)
        structure, ratios = _looks(pixels)
        before, first = self._structure, self._ratios
        if before is None or first is None or not _same_view(before, structure):
            self._structure, self._ratios = structure, ratios
            self._over = self._under = 0
            self._drifted_here = False
            return
        change = ratios - first
        known = np.isfinite(change[..., 0])
        if np.count_nonzero(known) < 0.1 * known.size:
            return
        red, blue = (float(np.median(change[..., channel][known])) for channel in (0, 1))
        across_red, across_blue = _ACROSS_BLOOD
        self.shift = red * across_red + blue * across_blue
        self._over = self._over + 1 if abs(self.shift) > SHIFT_MAX else 0
        self._under = self._under + 1 if abs(self.shift) < SHIFT_LEFT else 0
        if self._over >= LASTING:
            self.drifted = self._drifted_here = True
        elif self._under >= LASTING and self._drifted_here:
            self.drifted = self._drifted_here = False


def _across_blood() -> tuple[float, float]:
    """Unit vector in (ln R/G, ln B/G) across the line along which blood moves a colour."""
    red, green, blue = skin.HEMOGLOBIN_VECTOR
    along_red, along_blue = red - green, blue - green
    length = math.hypot(along_red, along_blue)
    return -along_blue / length, along_red / length


_ACROSS_BLOOD = _across_blood()


def _looks(pixels: NDArray[np.uint8]) -> tuple[Float32, Float32]:
    """Fine structure (hxw) and ln R/G, ln B/G (hxwx2; NaN where clipped) of a small picture."""
    step = max(1, max(pixels.shape[:2]) // (2 * SIDE))
    sample = np.ascontiguousarray(pixels[::step, ::step])
    size = (max(1, sample.shape[1] // 2), max(1, sample.shape[0] // 2))
    linear = cv2.resize(cv2.LUT(sample, linear_table()), size, interpolation=cv2.INTER_AREA)
    light = np.maximum(linear.astype(np.float32) / np.float32(65535.0), np.float32(1e-4))
    logs = np.log(light)
    red, green, blue = cv2.split(logs)
    structure = green - cv2.GaussianBlur(green, (0, 0), 3.0)
    ratios = np.stack((red - green, blue - green), axis=2)
    lowest, highest = math.log(linear_of(CLIPPED_BELOW)), math.log(linear_of(CLIPPED_ABOVE))
    ratios[(np.minimum(np.minimum(red, green), blue) < lowest)] = np.nan
    ratios[(np.maximum(np.maximum(red, green), blue) > highest)] = np.nan
    return np.asarray(structure, np.float32), np.asarray(ratios, np.float32)


def _same_view(before: Float32, now: Float32) -> bool:
    if before.shape != now.shape:
        return False
    product = float(np.vdot(before, now))
    power = math.sqrt(float(np.vdot(before, before)) * float(np.vdot(now, now)))
    return power > 0.0 and product / power >= SAME_VIEW_MIN
