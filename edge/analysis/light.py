"""The frame in linear light, small enough to measure colour on.

Averages of encoded values are too dark wherever a block holds light and dark; averages of linear
light are what a coarser sensor would have seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models import skin

LONG_SIDE_MAX = 640
"""Colour is measured on a frame of at most this long side."""

FULL_SCALE = 65535.0
"""Value of white in 16-bit linear light."""

Float32 = NDArray[np.float32]

_BAND_VALUES = 100_000
"""Values that are made linear at once; the band then stays in a core's own cache."""


_SAMPLES_SIDE_MAX = 320
"""Of a reduced frame larger than this, every second row and column is kept."""

OVERVIEW_SIDE_MAX = 160
"""What concerns the whole frame (tone, quality) is measured on a sample of at most this side: some
ten thousand pixels, so that a share of one in a hundred is known to a tenth of itself."""


@dataclass(frozen=True)
class LinearFrame:
    """A frame reduced by whole pixels, of which only every ``step``-th one is kept.

    The reduced frame has pixels (row, column) of ``factor`` x ``factor`` frame pixels; up to
    ``factor - 1`` last columns and rows of the frame are not in it. The other pixels are made
    where they are asked for: most pixels of a frame are in no window. Reduced pixels are uint16
    RGB in linear light, 65535 is white.

    Attributes:
        samples: Reduced rows 0, step, 2 step ... and of them columns 0, step, 2 step ...; shape
            (h, w, 3). The buffer belongs to the :class:`LightMeter` that made it and is
            overwritten by its next frame.
        step: 1 or 2.
        factor: Frame pixels along each side of a reduced pixel.
        pixels: The frame itself, HxWx3 uint8; borrowed from the caller of the meter.
        size_wh: Width and height of the reduced frame.
    """

    samples: NDArray[np.uint16]
    step: int
    factor: int
    pixels: NDArray[np.uint8]
    size_wh: tuple[int, int]

    def window(self, window_xyxy: tuple[int, int, int, int], step: int) -> NDArray[np.uint16]:
        """Every ``step``-th reduced pixel, in both directions, of a window of the reduced frame.

        Args:
            window_xyxy: Half-open, within the reduced frame, in reduced pixels; the first row and
                column are multiples of ``step``.
            step: 1, or a multiple of :attr:`step`.

        Returns:
            hxwx3 uint16: a view into the samples, or a new array.
        """
        x0, y0, x1, y1 = window_xyxy
        if step % self.step == 0:
            rows, columns = -(-(y1 - y0) // step), -(-(x1 - x0) // step)
            skipped = step // self.step
            kept = self.samples[y0 // self.step :: skipped, x0 // self.step :: skipped]
            return kept[:rows, :columns]
        block = np.ascontiguousarray(self._frame_pixels(window_xyxy))
        linear = np.empty((y1 - y0, x1 - x0, 3), np.uint16)
        _reduce(block, linear, np.empty(block.shape, np.uint16), self.factor)
        return linear

    def green(self, window_xyxy: tuple[int, int, int, int]) -> NDArray[np.uint16]:
        """The green channel of every reduced pixel of a window; a new hxw array."""
        x0, y0, x1, y1 = window_xyxy
        block = np.ascontiguousarray(self._frame_pixels(window_xyxy)[..., 1])
        linear = np.empty((y1 - y0, x1 - x0), np.uint16)
        _reduce(block, linear, np.empty(block.shape, np.uint16), self.factor)
        return linear

    def _frame_pixels(self, window_xyxy: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        x0, y0, x1, y1 = (edge * self.factor for edge in window_xyxy)
        return self.pixels[y0:y1, x0:x1]


class LightMeter:
    """Makes :class:`LinearFrame` from frames, in buffers that it reuses."""

    def __init__(self) -> None:
        self._samples = np.empty((0, 0, 3), np.uint16)
        self._encoded = np.empty(0, np.uint8)
        self._linear = np.empty(0, np.uint16)

    def reduce(self, pixels: NDArray[np.uint8]) -> LinearFrame:
        """Average a frame in linear light down to a long side of at most 640.

        Args:
            pixels: HxWx3 uint8 RGB, the long side at most 640 times the short one.

        Returns:
            The reduced frame; its values are rounded to 1/65535 of white.

        Raises:
            ValueError: The frame is a strip narrower than one reduced pixel.
        """
        height, width = pixels.shape[:2]
        factor = -(-max(width, height) // LONG_SIDE_MAX)
        small_w, small_h = width // factor, height // factor
        if min(small_w, small_h) < 1:
            raise ValueError(f"a strip of {width}x{height} pixels cannot be reduced by {factor}")
        step = 2 if max(small_w, small_h) > _SAMPLES_SIDE_MAX else 1
        rows, columns = -(-small_h // step), -(-small_w // step)
        if self._samples.shape[:2] != (rows, columns):
            self._samples = np.empty((rows, columns, 3), np.uint16)
        blocks = _blocks(np.ascontiguousarray(pixels), factor, step, (columns, rows))
        line = factor * columns * factor * 3
        together = max(1, _BAND_VALUES // line)
        if self._encoded.size < together * line:
            self._encoded = np.empty(together * line, np.uint8)
            self._linear = np.empty(together * line, np.uint16)
        for top in range(0, rows, together):
            target = self._samples[top : top + together]
            encoded = self._encoded[: len(target) * line]
            encoded.view(blocks.dtype).reshape(-1, factor, columns)[:] = blocks[top:][:together]
            shape = (len(target) * factor, columns * factor, 3)
            linear = self._linear[: len(target) * line].reshape(shape)
            _reduce(encoded.reshape(shape), target, linear, factor)
        return LinearFrame(self._samples, step, factor, pixels, (small_w, small_h))


def _blocks(
    pixels: NDArray[np.uint8], factor: int, step: int, count_wh: tuple[int, int]
) -> NDArray[np.void]:
    """Rows of every ``step``-th block of ``factor`` x ``factor`` pixels, as a view.

    Returns:
        (rows, factor, columns) items of ``factor`` RGB pixels, which numpy moves as one.
    """
    (columns, rows), (row_bytes, pixel_bytes, _) = count_wh, pixels.strides
    block_bytes = factor * pixel_bytes
    strides = (step * factor * row_bytes, row_bytes, step * block_bytes)
    blocks: NDArray[np.void] = np.ndarray(
        (rows, factor, columns), f"V{block_bytes}", pixels, strides=strides
    )
    return blocks


def _reduce(
    encoded: NDArray[np.uint8],
    target: NDArray[np.uint16],
    linear: NDArray[np.uint16],
    factor: int,
) -> None:
    """Mean linear light of blocks of ``factor`` x ``factor`` pixels into ``target``.

    ``linear`` has the shape of ``encoded`` and is written too.
    """
    if factor == 1:
        cv2.LUT(encoded, linear_table(), dst=target)
        return
    cv2.LUT(encoded, linear_table(), dst=linear)
    size = (target.shape[1], target.shape[0])
    cv2.resize(linear, size, dst=target, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=1)
def linear_table() -> NDArray[np.uint16]:
    """Linear light of each 8-bit sRGB value, 65535 is white."""
    linear = skin.linear_from_srgb(np.arange(256, dtype=np.uint8))
    return np.rint(linear.astype(np.float64) * FULL_SCALE).astype(np.uint16)


def linear_of(encoded: float) -> float:
    """Linear light (1 is white) of an sRGB value 0..255 that need not be whole; IEC 61966-2-1."""
    value = encoded / 255.0
    return value / 12.92 if value <= 0.04045 else math.pow((value + 0.055) / 1.055, 2.4)


def upper_median(values: Float32) -> float:
    """The middle value, of an even count the upper one; in a third of ``np.median``'s time.

    Args:
        values: At least one, none NaN; they are reordered.
    """
    middle = len(values) // 2
    values.partition(middle)
    return float(values[middle])


# --- which pixels can be measured ---------------------------------------------------------------

CLIPPED_BELOW, CLIPPED_ABOVE = 5.0, 250.0
"""An 8-bit value beyond these says only that there was less, or more, light."""

GLARE_ABOVE = 230.0
"""All three channels above: the lamp and not the skin (blue of the palest skin is near 170)."""


@dataclass(frozen=True)
class Kinds:
    """What each pixel is good for; bool arrays of one shape.

    Attributes:
        clipped: A channel is below 5 or above 250 of 255.
        glare: Every channel is above 230 of 255: a highlight.
        skin: It has the colour of skin or of a lesion: ``models.skin.skin_mask`` without its
            logarithms; on 8-bit values both agree but for the rounding of floats.
    """

    clipped: NDArray[np.bool_]
    glare: NDArray[np.bool_]
    skin: NDArray[np.bool_]


def kinds_of(red: Float32, green: Float32, blue: Float32) -> Kinds:
    """Judge pixels by their linear light, 1 is white; the arrays have one shape."""
    lowest = np.minimum(np.minimum(red, green), blue)
    highest = np.maximum(np.maximum(red, green), blue)
    clipped = lowest < linear_of(CLIPPED_BELOW)
    clipped |= highest > linear_of(CLIPPED_ABOVE)
    glare = lowest > linear_of(GLARE_ABOVE)
    return Kinds(clipped, glare, skin_coloured(red, green, blue))


def skin_coloured(
    red: Float32,
    green: Float32,
    blue: Float32,
    red_over_green_max: float = skin.RED_OVER_GREEN[1],
) -> NDArray[np.bool_]:
    """Which pixels have the colour of skin; see :class:`Kinds`.

    Args:
        red: Linear light, 1 is white; the three have one shape.
        green: Likewise.
        blue: Likewise.
        red_over_green_max: Largest ``ln R/G`` that still counts.
    """
    floor = linear_of(8.0)
    r, g, b = np.maximum(red, floor), np.maximum(green, floor), np.maximum(blue, floor)
    red_green = [math.exp(limit) for limit in (skin.RED_OVER_GREEN[0], red_over_green_max)]
    green_blue = [math.exp(limit) for limit in skin.GREEN_OVER_BLUE]
    darkest, lightest = (linear_of(value - 0.5) for value in skin.SKIN_VALUES)
    plausible = red > darkest
    plausible &= green < lightest
    plausible &= r >= g * np.float32(red_green[0])
    plausible &= r <= g * np.float32(red_green[1])
    plausible &= g >= b * np.float32(green_blue[0])
    plausible &= g <= b * np.float32(green_blue[1])
    return np.asarray(plausible, np.bool_)


# --- the whole frame at a glance ----------------------------------------------------------------


GREY_SPREAD_MAX = 2
"""Steps of 255 by which R, G and B of a grey picture may differ: what conversions leave."""


def is_grey(pixels: NDArray[np.uint8]) -> bool:
    """Whether a frame has no colour anywhere that a sample would show, whatever its file says.

    Args:
        pixels: HxWx3 uint8 RGB.
    """
    for side in (32, OVERVIEW_SIDE_MAX):  # nearly every colour picture is told by the first
        step = -(-max(pixels.shape[:2]) // side)
        red, green, blue = cv2.split(np.ascontiguousarray(pixels[::step, ::step]))
        highest = np.maximum(np.maximum(red, green), blue)
        lowest = np.minimum(np.minimum(red, green), blue)
        if int((highest - lowest).max()) > GREY_SPREAD_MAX:
            return False
    return True


@dataclass(frozen=True)
class Overview:
    """A sample of the whole frame in linear light, 1 is white.

    Sample (row, column) is the mean of the block of frame pixels whose middle is
    (row * pitch_px + middle_px, column * pitch_px + middle_px). All arrays are hxw and new.
    """

    red: Float32
    green: Float32
    blue: Float32
    kinds: Kinds
    pitch_px: int
    middle_px: int


def overview(light: LinearFrame) -> Overview:
    """Sample a reduced frame down to a long side of at most 160."""
    skip = -(-max(light.samples.shape[:2]) // OVERVIEW_SIDE_MAX)
    white = np.float32(1.0 / FULL_SCALE)
    sampled = np.ascontiguousarray(light.samples[::skip, ::skip])
    red, green, blue = (plane * white for plane in cv2.split(sampled))
    return Overview(
        red=red,
        green=green,
        blue=blue,
        kinds=kinds_of(red, green, blue),
        pitch_px=skip * light.step * light.factor,
        middle_px=light.factor // 2,
    )
