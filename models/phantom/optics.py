"""Highlights on the skin, the dark rim of a dermatoscope, and blur."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.phantom.spec import Artefacts
from models.phantom.texture import Float32, cloudy_field, grid_xy, stream, turned_field

Bool = NDArray[np.bool_]


def add_glare(light: Float32, artefacts: Artefacts, seed: int, height: Float32) -> None:
    """Wet highlights where the relief faces the lamp, added in place as white light.

    Args:
        light: float32 HxWx3 linear light, changed in place.
        artefacts: Strength and size of the highlights.
        seed: Of the picture.
        height: The relief, HxW: highlights follow its lines.
    """
    if artefacts.glare <= 0:
        return
    rng = stream(seed, 40)
    size_wh = (light.shape[1], light.shape[0])
    cell = max(artefacts.glare_size * min(size_wh), 1.5)
    fine = turned_field(rng, size_wh, (cell * 2.0, cell), float(rng.uniform(0.0, 180.0)))
    broad = cloudy_field(rng, size_wh, 2.0, octaves=2)
    shine = np.float32(0.8) * height + np.float32(0.7) * fine + np.float32(0.9) * broad
    shine = np.float32(0.45) * (shine - np.float32(1.7))
    np.clip(shine, np.float32(0.0), np.float32(1.0), out=shine)
    light += (np.float32(artefacts.glare) * shine)[..., np.newaxis]


def close_field(light: Float32, field_radius: float, seed: int) -> Bool:
    """Darken, in place, what lies outside a dermatoscope's round field; true where it is dark."""
    height, width = light.shape[:2]
    rng = stream(seed, 41)
    x, y = grid_xy((width, height))
    shift = rng.normal(0.0, 0.02, 2)
    distance = np.hypot(x - np.float32(shift[0]), y - np.float32(shift[1]))
    open_share = (np.float32(field_radius) - distance) / np.float32(0.015)
    np.clip(open_share, np.float32(0.0), np.float32(1.0), out=open_share)
    light *= (np.float32(0.012) + np.float32(0.988) * open_share)[..., np.newaxis]
    return np.asarray(open_share < 0.5, dtype=np.bool_)


def defocus(light: Float32, artefacts: Artefacts, seed: int) -> Float32:
    """Blur of focus and of motion: a new float32 HxWx3, or the same one where both are 0."""
    short = min(light.shape[:2])
    sigma = artefacts.blur * short
    if sigma > 0.2:
        side = 2 * int(np.ceil(2.5 * sigma)) + 1
        light = np.asarray(cv2.GaussianBlur(light, (side, side), sigma), dtype=np.float32)
    length = round(artefacts.motion * short)
    if length >= 2:
        angle = stream(seed, 42).uniform(0.0, np.pi)
        steps = np.linspace(-0.5, 0.5, 4 * length) * length
        kernel = np.zeros((length + 3, length + 3), dtype=np.float32)
        middle = (length + 2) / 2
        columns = np.rint(middle + steps * np.cos(angle)).astype(np.intp)
        rows = np.rint(middle + steps * np.sin(angle)).astype(np.intp)
        np.add.at(kernel, (rows, columns), np.float32(1.0 / steps.size))
        light = np.asarray(cv2.filter2D(light, -1, kernel), dtype=np.float32)
    return light
