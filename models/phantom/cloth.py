"""Cloth on the skin and the table beside an arm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.phantom.spec import Edge
from models.phantom.texture import Float32, cloudy_field, grid_xy, stream

Bool = NDArray[np.bool_]


def distance_beyond(edge: Edge, number: int, seed: int, size_wh: tuple[int, int]) -> Float32:
    """Distance beyond a border in units of the shorter side: float32 HxW, negative on the skin.

    Args:
        edge: The border.
        number: Its place in the description: each border wanders in its own way.
        seed: Of the picture.
        size_wh: Size of the picture in pixels.
    """
    rng = stream(seed, 20 + number)
    x, y = grid_xy(size_wh)
    cos = np.float32(np.cos(np.radians(edge.angle_deg)))
    sin = np.float32(np.sin(np.radians(edge.angle_deg)))
    # The wave runs along the border, so it is drawn on a line and looked up.
    steps = np.linspace(-2.5, 2.5, 512)
    wave = np.zeros_like(steps)
    for order in (1.0, 2.3, 5.1):
        phase, strength = rng.uniform(0.0, 2.0 * np.pi), rng.normal(0.0, 1.0 / order)
        wave += strength * np.sin(2.0 * np.pi * order * steps + phase)
    offset = (edge.waviness * wave - edge.distance).astype(np.float32)
    along = (y * cos - x * sin) * np.float32(511 / 5.0) + np.float32(255.5)
    index = np.clip(along, 0, 511).astype(np.intp)
    return np.asarray((x * cos + y * sin) + offset[index], dtype=np.float32)


def shadow(edge: Edge, beyond: Float32) -> Float32:
    """Light that is left on the skin near a border: float32 HxW, a factor up to 1."""
    if edge.limb:  # the arm is round and turns away from the light
        fall = np.clip(beyond * np.float32(-1.0 / 0.22), np.float32(0.0), np.float32(1.0))
        turned = np.sqrt(fall * (np.float32(2.0) - fall))
        return np.asarray(np.float32(0.35) + np.float32(0.65) * turned, dtype=np.float32)
    near = np.exp(np.minimum(beyond, np.float32(0.0)) * np.float32(1.0 / 0.02))
    return np.asarray(np.float32(1.0) - np.float32(0.45) * near, dtype=np.float32)


def lay(light: Float32, edge: Edge, number: int, seed: int, beyond: Float32) -> Bool:
    """Replace, in place, what lies beyond a border by cloth or table.

    Args:
        light: float32 HxWx3 linear light.
        edge: The border.
        number: Its place in the description.
        seed: Of the picture.
        beyond: Its ``distance_beyond``.

    Returns:
        bool HxW, true where cloth or table is seen.
    """
    outside = np.asarray(beyond > 0)
    rows, columns = np.nonzero(outside)
    if rows.size == 0:
        return outside
    rng = stream(seed, 24 + number)
    height, width = outside.shape
    angle = rng.uniform(0.0, np.pi)
    scale = 1.0 / (edge.weave_size * min(height, width))
    cos, sin = np.float32(np.cos(angle) * scale), np.float32(np.sin(angle) * scale)
    u = columns.astype(np.float32) * cos + rows.astype(np.float32) * sin
    v = rows.astype(np.float32) * cos - columns.astype(np.float32) * sin
    turn = np.float32(2.0 * np.pi)
    threads = np.sin(turn * u) * np.sin(turn * v)
    folds = cloudy_field(rng, (width, height), 2.5, octaves=3)[outside]
    weight = np.float32(1.0) + np.float32(edge.weave) * threads + np.float32(0.15) * folds
    # The border is turned over: it lies a little in its own shadow.
    weight *= np.float32(1.0) - np.float32(0.4) * np.exp(beyond[outside] * np.float32(-125.0))
    np.clip(weight, np.float32(0.1), np.float32(1.6), out=weight)
    color = np.array(edge.color, dtype=np.float32)[np.newaxis, :]
    if edge.stripe_color is not None:
        stripe = (np.sin(np.float32(0.35) * u) > np.float32(0.2))[:, np.newaxis]
        color = np.where(stripe, np.array(edge.stripe_color, dtype=np.float32), color)
    light[outside] = np.minimum(color * weight[:, np.newaxis], np.float32(1.0))
    return outside
