"""Smooth random fields: the irregularity of skin, lesions and cloth."""

from __future__ import annotations

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
        Zero mean and about unit deviation.
    """
    width, height = size_wh
    columns = int(np.clip(round(cells_wh[0]), 1, width)) + 3
    rows = int(np.clip(round(cells_wh[1]), 1, height)) + 3
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    scale_x, scale_y = width / (columns - 3), height / (rows - 3)
    # Pixel (x, y) looks at grid point (1 + x / scale_x, ...): one spare row and column around it
    # keeps the cubic kernel off the border.
    back = np.array([[1.0 / scale_x, 0.0, 1.0], [0.0, 1.0 / scale_y, 1.0]], dtype=np.float64)
    field = cv2.warpAffine(
        grid,
        back,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(field, dtype=np.float32)


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
        float32, shape (height, width), zero mean and about unit deviation.
    """
    width, height = size_wh
    short = min(width, height)
    total = np.zeros((height, width), dtype=np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = roughness**octave
        per_side = cells * 2**octave
        if per_side > short:
            break
        total += np.float32(weight) * smooth_field(
            rng, size_wh, (per_side * width / short, per_side * height / short)
        )
        power += weight * weight
    return total / np.float32(max(power, 1e-6) ** 0.5)


def grid_xy(size_wh: tuple[int, int]) -> tuple[Float32, Float32]:
    """Pixel centres in units of the shorter side, origin in the middle: a row and a column."""
    width, height = size_wh
    short = min(width, height)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / short
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / short
    return x[np.newaxis, :], y[:, np.newaxis]
