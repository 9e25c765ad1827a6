"""From linear light to the picture: exposure, colour cast, sensor noise, tone curve."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.phantom.spec import CameraCurve
from models.phantom.texture import Float32, grain, stream

Uint8 = NDArray[np.uint8]

_CURVE_STEPS = 16384
"""Entries of the tone curve's table: the steepest part, near black, moves 0.2 levels per entry."""


def expose(light: Float32, camera: CameraCurve, noise: float, seed: int) -> Uint8:
    """Take the picture.

    Args:
        light: float32 HxWx3 linear light, 1 is white; it is used as working space.
        camera: Exposure, colour cast and tone curve.
        noise: Sigma of the sensor's noise at full light, of 1: shot noise with a small floor.
        seed: Of the picture.

    Returns:
        uint8 HxWx3 RGB.
    """
    gains = np.array(camera.white_balance, dtype=np.float32) * np.float32(camera.exposure)
    matrix = _color_matrix(camera.saturation) @ np.diag(gains)
    light = np.asarray(cv2.transform(light, matrix), dtype=np.float32)
    np.maximum(light, np.float32(0.0), out=light)
    if noise > 0:
        sigma = cv2.sqrt(light + np.float32(0.0225))
        light += sigma * (np.float32(noise) * grain(stream(seed, 50), light.shape))
        np.maximum(light, np.float32(0.0), out=light)
    light *= np.float32(_CURVE_STEPS - 1)
    np.minimum(light, np.float32(_CURVE_STEPS - 1), out=light)
    table = _curve_table(camera.gamma, camera.contrast)
    return np.asarray(np.take(table, light.astype(np.uint16)), dtype=np.uint8)


def _color_matrix(saturation: float) -> Float32:
    """Mix each channel with the luminance (Rec. 709 weights)."""
    luminance = np.array([[0.2126, 0.7152, 0.0722]] * 3, dtype=np.float32)
    identity = np.eye(3, dtype=np.float32)
    mixed = luminance * (1.0 - saturation) + identity * saturation
    return np.asarray(mixed, dtype=np.float32)


@lru_cache(maxsize=4)
def _curve_table(gamma: float, contrast: float) -> Uint8:
    light = (np.arange(_CURVE_STEPS) + 0.5) / _CURVE_STEPS
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    encoded = np.clip(encoded, 0.0, 1.0) ** gamma
    s_shaped = encoded * encoded * (3.0 - 2.0 * encoded)
    encoded = (1.0 - contrast) * encoded + contrast * s_shaped
    return np.rint(encoded * 255.0).astype(np.uint8)
