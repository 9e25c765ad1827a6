"""Smooth random fields: the irregularity of skin, lesions and cloth."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def stream(seed: int, name: int) -> np.random.Generator:
    """A generator for one purpose, so that adding draws to one never changes another."""
    return np.random.default_rng(np.random.SeedSequence([seed, name]))


def smooth_field(
    rng: np.random.Generator, size_wh: tuple[int, int], cells_wh: tuple[float, float]
) -> Float32:
    """Normal noise on a coarse grid, smoothly enlarged: float32, shape (height, width).

    Args:
        rng: Where the grid values come from.
        size_wh: Size of the field in pixels.
        cells_wh: Number of grid cells across it; more cells than pixels is as many as pixels.

    Returns:
        Zero mean and a deviation between 0.5 and 1.
    """
    width, height = size_wh
    columns = int(np.clip(round(cells_wh[0]), 1, width))
    rows = int(np.clip(round(cells_wh[1]), 1, height))
    grid = rng.standard_normal((rows + 3, columns + 3), dtype=np.float32)
    # Pixel (x, y) looks at grid point (1 + x * columns / width, ...): the spare points around keep
    # the cubic kernel off the border.
    back = np.array([[columns / width, 0.0, 1.0], [0.0, rows / height, 1.0]])
    return _enlarge(grid, back, size_wh)


def cloudy_field(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    cells: float,
    *,
    octaves: int = 3,
    roughness: float = 0.5,
) -> Float32:
    """Sum of smooth fields, each twice as fine and ``roughness`` as strong as the one before.

    Args:
        rng: Where the grid values come from.
        size_wh: Size of the field in pixels.
        cells: Grid cells along the shorter side, in the coarsest field.
        octaves: How many fields.
        roughness: Ratio of one field's strength to the one before.

    Returns:
        float32, shape (height, width), zero mean and a deviation between 0.5 and 1.
    """
    width, height = size_wh
    short = min(width, height)
    # The finest field needs three pixels per cell; above that the sum is only enlarged.
    reduction = min(1.0, 3.0 * cells * 2 ** (octaves - 1) / short)
    work_wh = (max(2, round(width * reduction)), max(2, round(height * reduction)))
    total = np.zeros((work_wh[1], work_wh[0]), dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = roughness**octave
        per_side = cells * 2**octave
        cells_wh = (per_side * width / short, per_side * height / short)
        total += np.float32(weight) * smooth_field(rng, work_wh, cells_wh)
        power += weight * weight
    total *= np.float32(power**-0.5)
    if work_wh == size_wh:
        return total
    return np.asarray(cv2.resize(total, size_wh, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def turned_field(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    cell_wh: tuple[float, float],
    angle_deg: float,
) -> Float32:
    """Smooth noise with cells of a given size in pixels along and across a direction.

    Args:
        rng: Where the grid values come from.
        size_wh: Size of the field in pixels.
        cell_wh: Pixels per cell along and across the direction.
        angle_deg: The direction.

    Returns:
        float32, shape (height, width), zero mean and a deviation between 0.5 and 1.
    """
    width, height = size_wh
    diagonal = float(np.hypot(width, height))
    columns, rows = int(diagonal / cell_wh[0]) + 3, int(diagonal / cell_wh[1]) + 3
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    along, across = 1.0 / cell_wh[0], 1.0 / cell_wh[1]
    back = np.array(
        [
            [cos * along, sin * along, columns / 2 - (cos * width + sin * height) * along / 2],
            [-sin * across, cos * across, rows / 2 + (sin * width - cos * height) * across / 2],
        ]
    )
    return _enlarge(grid, back, size_wh)


def _enlarge(grid: Float32, back: NDArray[np.float64], size_wh: tuple[int, int]) -> Float32:
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    field = cv2.warpAffine(grid, back, size_wh, flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(field, dtype=np.float32)


@lru_cache(maxsize=1)
def _grain_bank() -> Float32:
    return stream(0, 99).standard_normal(1 << 20, dtype=np.float32)


def grain(rng: np.random.Generator, shape: tuple[int, ...]) -> Float32:
    """Normal noise per pixel, float32, of the given shape.

    Small pictures take a random stretch of one fixed bank, in a random sign: drawing a fresh value
    per pixel would cost as much as the rest of the picture. The result is read-only.
    """
    count = int(np.prod(shape))
    bank = _grain_bank()
    if count > bank.size // 2:
        return rng.standard_normal(shape, dtype=np.float32)
    start = int(rng.integers(bank.size - count))
    values = bank[start : start + count].reshape(shape)
    return values if rng.random() < 0.5 else -values


def grid_xy(size_wh: tuple[int, int]) -> tuple[Float32, Float32]:
    """Pixel centres in units of the shorter side, origin in the middle: a row and a column."""
    width, height = size_wh
    short = np.float32(min(width, height))
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5 - width / 2)) / short
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5 - height / 2)) / short
    return x[np.newaxis, :], y[:, np.newaxis]
