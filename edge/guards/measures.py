"""What prompts are made from: crispness, bright end, burnt skin, highlights, movement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.light import CLIPPED_ABOVE, GLARE_ABOVE, linear_of, linear_table, skin_coloured

Float32 = NDArray[np.float32]

SAMPLES_SIDE = 160
"""Light is judged on single pixels, at most so many along the long side: averages hide clipping."""

DETAIL_SIDE = 320
"""Blur is judged on the frame reduced to about this long side, near what the segmenter sees."""

DETAIL_SHARE = 2.0 / 3.0
"""Middle part of width and height in which blur is judged: there the lesion should be."""

BLOCK = 8
"""Side of the blocks of which the strongest are taken, in reduced pixels."""

STRONGEST_SHARE = 0.08
"""Share of the blocks that count: the edges. Skin between them shows noise alone."""

CONTRAST_MIN = 6.0
"""Energy of the strongest blocks over that of the noise, from which on blur can be told."""

QUANTISATION = 0.08
"""Noise, in steps of 8 bit squared, that rounding leaves at least: a twelfth."""

BRIGHT_QUANTILE = 0.9

SAME_MIN = 0.5
"""Correlation at its peak below which two frames do not show the same."""


@dataclass(frozen=True)
class Light:
    """How the light of a frame is spread; all 0..1.

    Attributes:
        bright_end: Linear light of the lightest channel that nine in ten pixels stay below.
        burnt_share: Of the pixels with the colour of skin, those with a channel above 250 of 255;
            of all pixels where fewer than one in ten have that colour, those with every channel
            above 250.
        glare_share: Of all pixels, those in highlights (every channel above 230 of 255) that do
            not reach the picture's border: a sheet of white cloth does.
    """

    bright_end: float
    burnt_share: float
    glare_share: float


@dataclass(frozen=True)
class Detail:
    """The middle of a frame, reduced, and how crisp its edges are.

    Attributes:
        green: The reduced green channel, hxw float32, encoded values; compare two for movement.
        short_side: Of the whole frame, in reduced pixels.
        crispness: See :func:`detail_of`; ``None`` where nothing stands out from the noise.
        structure: Root mean square of the strongest blocks over the mean level.
    """

    green: Float32
    short_side: float
    crispness: float | None
    structure: float


def light_of(pixels: NDArray[np.uint8]) -> Light:
    """Judge the light of a frame on a sample of its pixels.

    Args:
        pixels: HxWx3 uint8 RGB.
    """
    step = -(-max(pixels.shape[:2]) // SAMPLES_SIDE)
    sample = np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])
    linear = cv2.LUT(sample, linear_table()).astype(np.float32) * np.float32(1.0 / 65535.0)
    red, green, blue = cv2.split(linear)
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    limit = linear_of(CLIPPED_ABOVE)
    of_skin = skin_coloured(red, green, blue)
    skin_count = np.count_nonzero(of_skin)
    if skin_count >= 0.1 * of_skin.size:
        burnt = np.count_nonzero(of_skin & (highest > limit)) / skin_count
    else:
        burnt = np.count_nonzero(lowest > limit) / lowest.size
    return Light(
        bright_end=float(np.quantile(highest, BRIGHT_QUANTILE)),
        burnt_share=float(burnt),
        glare_share=_inner_share(lowest > linear_of(GLARE_ABOVE)),
    )


def _inner_share(highlights: NDArray[np.bool_]) -> float:
    """Share of the picture in patches that do not touch its border."""
    if not highlights.any():
        return 0.0
    _, _, stats, _ = cv2.connectedComponentsWithStats(highlights.astype(np.uint8), connectivity=8)
    height, width = highlights.shape
    left, top = stats[1:, cv2.CC_STAT_LEFT], stats[1:, cv2.CC_STAT_TOP]
    right = left + stats[1:, cv2.CC_STAT_WIDTH]
    bottom = top + stats[1:, cv2.CC_STAT_HEIGHT]
    inner = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    return float(stats[1:, cv2.CC_STAT_AREA][inner].sum() / highlights.size)


def detail_of(pixels: NDArray[np.uint8]) -> Detail:
    """Judge the edges of a frame.

    Along rows, and along columns: the amplitude of fine detail (what a Gaussian of 1 reduced pixel
    takes away) over that of coarser detail (what remains of it and one of 2 takes away), both in
    the 8 % of blocks with most coarse detail, both without the energy of noise. The noise is that
    of the block that a tenth of all stay below. A step edge has a fixed ratio whatever its height;
    defocus lowers it in both directions, a smear along its own. Crispness is the lower one.
    The ratio of whole-picture energies, or ``Quality.sharpness``, would be the noise's own on
    plain skin, sharp or not.

    Args:
        pixels: HxWx3 uint8 RGB.
    """
    height, width = pixels.shape[:2]
    factor = max(1, round(max(width, height) / DETAIL_SIDE))
    x, y = (int(side * (1.0 - DETAIL_SHARE) / 2.0) for side in (width, height))
    middle = np.ascontiguousarray(pixels[y : height - y, x : width - x, 1])
    size = (max(1, middle.shape[1] // factor), max(1, middle.shape[0] // factor))
    green = cv2.resize(middle, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    short_side = min(width, height) / factor
    if min(size) < BLOCK:
        return Detail(green, short_side, None, 0.0)
    found = [_along(green, by_rows) for by_rows in (True, False)]
    told = [ratio for ratio, _ in found if ratio is not None]
    energy = sum(coarse for _, coarse in found)
    return Detail(
        green=green,
        short_side=short_side,
        crispness=min(told) if told else None,
        structure=math.sqrt(energy) / (float(green.mean()) + 1.0),
    )


def _along(green: Float32, by_rows: bool) -> tuple[float | None, float]:
    """Fine over coarse amplitude in one direction, ``None`` in noise; and the coarse energy."""
    fine, coarse = (_block_energies(band) for band in _bands(green, by_rows))
    of_fine, of_coarse = _noise_energies()
    noise = float(np.quantile(fine, 0.1)) / of_fine
    count = max(4, int(STRONGEST_SHARE * coarse.size))
    strongest = np.argsort(coarse)[-count:]
    fine_energy = max(0.0, float(fine[strongest].mean()) - of_fine * noise)
    coarse_energy = max(0.0, float(coarse[strongest].mean()) - of_coarse * noise)
    told = coarse_energy >= CONTRAST_MIN * of_coarse * (noise + QUANTISATION)
    return (math.sqrt(fine_energy / coarse_energy) if told else None), coarse_energy


def _bands(green: Float32, by_rows: bool) -> tuple[Float32, Float32]:
    """What a Gaussian of 1 pixel takes away, and what one of 2 takes away of the rest.

    Both act along rows, or else along columns; across them all is smoothed by 1 pixel first.
    """
    along, across = ((0, 1), (1, 0)) if by_rows else ((1, 0), (0, 1))
    smoothed = _smooth(green, 1.0, across)
    once, twice = _smooth(smoothed, 1.0, along), _smooth(smoothed, 2.0, along)
    return smoothed - once, once - twice


def _smooth(green: Float32, sigma: float, axis_yx: tuple[int, int]) -> Float32:
    """Gaussian along one axis, out to four sigma."""
    side = 2 * math.ceil(4.0 * sigma) + 1
    size = (side if axis_yx == (0, 1) else 1, side if axis_yx == (1, 0) else 1)
    return np.asarray(cv2.GaussianBlur(green, size, sigma), np.float32)


def _block_energies(band: Float32) -> Float32:
    """Mean square of each whole block."""
    rows, columns = band.shape[0] // BLOCK, band.shape[1] // BLOCK
    whole = np.square(band[: rows * BLOCK, : columns * BLOCK])
    return np.asarray(whole.reshape(rows, BLOCK, columns, BLOCK).mean((1, 3)).ravel(), np.float32)


@lru_cache(maxsize=1)
def _noise_energies() -> tuple[float, float]:
    """What white noise of variance 1 leaves in the fine and the coarse band."""
    impulse = np.zeros((33, 33), np.float32)
    impulse[16, 16] = 1.0
    fine, coarse = _bands(impulse, by_rows=True)
    return float(np.square(fine).sum()), float(np.square(coarse).sum())


def movement(before: Detail, now: Detail) -> float | None:
    """How far the view moved between two frames, as a share of the short side.

    By the peak of the cross-correlation of their middles, freed from noise and from the lamp's
    fall-off; to one reduced pixel.

    Returns:
        The distance; ``None`` where the two do not show the same things, or show nothing.
    """
    if before.green.shape != now.green.shape or min(now.green.shape) < 4 * BLOCK:
        return None
    first, second = (_evened(detail.green) for detail in (before, now))
    power = math.sqrt(float(np.vdot(first, first)) * float(np.vdot(second, second)))
    if power <= 0.0:
        return None
    spectrum = np.fft.rfft2(first).conj() * np.fft.rfft2(second)
    correlation = np.fft.irfft2(spectrum, first.shape)
    row, column = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    if float(correlation[row, column]) < SAME_MIN * power:
        return None
    # Beyond the middle the shift is to the other side.
    dy, dx = (
        int(at) - side * (at > side // 2)
        for at, side in zip((row, column), first.shape, strict=True)
    )
    return math.hypot(dx, dy) / now.short_side


def _evened(green: Float32) -> Float32:
    """Without noise, without the lamp's fall-off, which stays where it is, and fading outwards."""
    band = cv2.GaussianBlur(green, (0, 0), 2.0) - cv2.GaussianBlur(green, (0, 0), 8.0)
    return np.asarray(band * _window(green.shape[1], green.shape[0]), np.float32)


@lru_cache(maxsize=2)
def _window(width: int, height: int) -> Float32:
    return np.asarray(cv2.createHanningWindow((width, height), cv2.CV_32F), np.float32)
