"""The surface of the skin and the light that falls on it."""

from __future__ import annotations

import numpy as np

from models.phantom.spec import Artefacts, SkinModel
from models.phantom.texture import Float32, cloudy_field, grid_xy, stream, turned_field


def relief(model: SkinModel, seed: int, size_wh: tuple[int, int]) -> Float32:
    """Height of skin lines and pores: float32 HxW, zero mean and a deviation near 1."""
    rng = stream(seed, 10)
    period = max(model.relief_size * min(size_wh), 1.5)
    # Two crossed families of lines, stretched along their own direction, as on a forearm.
    stretch = float(rng.uniform(1.2, 3.0))
    angle = model.relief_angle_deg
    first = turned_field(rng, size_wh, (period * stretch, period), angle)
    second = turned_field(rng, size_wh, (1.3 * period * stretch, 1.3 * period), angle + 70.0)
    first *= np.float32(0.9)
    first += np.float32(0.6) * second
    return first


def relief_light(model: SkinModel, seed: int, height: Float32) -> Float32:
    """Light on the relief and in the creases: float32 HxW, a factor around 1."""
    rng = stream(seed, 12)
    light = np.float32(1.0) + np.float32(model.relief) * height
    size_wh = (height.shape[1], height.shape[0])
    for _ in range(model.creases):
        light *= _crease(rng, size_wh, model.relief_angle_deg)
    return np.asarray(np.clip(light, np.float32(0.25), np.float32(1.6)), dtype=np.float32)


def _crease(rng: np.random.Generator, size_wh: tuple[int, int], angle_deg: float) -> Float32:
    """A fold: a dark line with a bright lip."""
    x, y = grid_xy(size_wh)
    angle = np.radians(angle_deg + rng.normal(0.0, 15.0))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    offset, bend = np.float32(rng.uniform(-0.5, 0.5)), np.float32(rng.uniform(-0.4, 0.4))
    width, depth = np.float32(rng.uniform(0.004, 0.02)), np.float32(rng.uniform(0.1, 0.45))
    along = x * cos + y * sin
    across = (y * cos - x * sin - offset - bend * along * along) / width
    lip = across - np.float32(2.0)
    dark = np.exp(-across * across) - np.float32(0.35) * np.exp(-lip * lip)
    return np.asarray(np.float32(1.0) - depth * dark, dtype=np.float32)


def illumination(artefacts: Artefacts, seed: int, size_wh: tuple[int, int]) -> Float32:
    """Uneven light of the scene: float32 HxW, a factor around 1 in the middle."""
    rng = stream(seed, 11)
    x, y = grid_xy(size_wh)
    angle = np.radians(artefacts.shading_angle_deg)
    ramp = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    light = np.float32(1.0) - np.float32(artefacts.shading) * ramp
    if artefacts.shading > 0:
        uneven = cloudy_field(rng, size_wh, 1.5, octaves=2)
        light += np.float32(0.15 * artefacts.shading) * uneven
    if artefacts.vignette > 0:
        light *= np.float32(1.0) - np.float32(artefacts.vignette) * (x * x + y * y)
    return np.asarray(np.clip(light, np.float32(0.05), np.float32(2.0)), dtype=np.float32)
