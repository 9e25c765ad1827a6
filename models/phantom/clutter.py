"""Things drawn over the skin: hair, pen, ruler, sticker, gel bubbles."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.phantom.spec import Artefacts, Rgb
from models.phantom.texture import Float32, stream

Uint8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]

_SUBPIXEL_BITS = 4
"""Fixed-point bits of the coordinates that OpenCV draws with."""


def draw_over(light: Float32, artefacts: Artefacts, seed: int) -> Bool:
    """Pen, ruler, hair and bubbles, drawn in place.

    Args:
        light: float32 HxWx3 linear light, changed in place.
        artefacts: What to draw.
        seed: Of the picture.

    Returns:
        bool HxW, true where the skin's own colour is not seen.
    """
    height, width = light.shape[:2]
    hidden = np.zeros((height, width), dtype=np.bool_)
    if artefacts.pen_marks:
        ink = _pen(stream(seed, 30), artefacts.pen_marks, (width, height))
        _stain(light, ink, (0.35, 0.22, 0.55))
        hidden |= ink > 96
    if artefacts.ruler:
        scale = _ruler(stream(seed, 32), (width, height))
        _paint(light, scale, (0.02, 0.02, 0.02))
        hidden |= scale > 96
    if artefacts.hairs:
        hair = _hairs(stream(seed, 33), artefacts, (width, height))
        _paint(light, hair, artefacts.hair_color)
        hidden |= hair > 96
    if artefacts.bubbles:
        _bubbles(light, stream(seed, 34), artefacts.bubbles)
    return hidden


def stick(light: Float32, color: Rgb, seed: int) -> Bool:
    """Put a coloured sticker on the border, in place; true where it hides the skin."""
    patch = _sticker(stream(seed, 31), (light.shape[1], light.shape[0]))
    _paint(light, patch, color)
    return np.asarray(patch > 96)


def _paint(light: Float32, alpha: Uint8, color: Rgb) -> None:
    """Blend a colour in where ``alpha`` is above 0; only those pixels are touched."""
    where = np.nonzero(alpha)
    weight = (alpha[where].astype(np.float32) / np.float32(255.0))[:, np.newaxis]
    light[where] += weight * (np.array(color, dtype=np.float32) - light[where])


def _stain(light: Float32, alpha: Uint8, transmission: Rgb) -> None:
    """Ink: multiply by its transmission, so that the skin shines through."""
    where = np.nonzero(alpha)
    weight = (alpha[where].astype(np.float32) / np.float32(255.0))[:, np.newaxis]
    light[where] *= np.float32(1.0) - weight * (1.0 - np.array(transmission, dtype=np.float32))


def _fixed_point(points_xy: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points in OpenCV's fixed-point coordinates."""
    return np.asarray(np.rint(points_xy * (1 << _SUBPIXEL_BITS)), dtype=np.int32)


def _hairs(rng: np.random.Generator, artefacts: Artefacts, size_wh: tuple[int, int]) -> Uint8:
    width, height = size_wh
    short = min(size_wh)
    alpha = np.zeros((height, width), dtype=np.uint8)
    main_direction = rng.uniform(0.0, 2 * np.pi)
    steps = np.linspace(0.0, 1.0, 13)
    for _ in range(artefacts.hairs):
        start = rng.uniform(-0.1, 1.1, 2) * (width, height)
        direction = main_direction + rng.normal(0.0, 0.6)
        length = rng.uniform(0.15, 0.9) * short
        turn = direction + artefacts.hair_curl * rng.normal(0.0, 1.2) * steps
        path = np.cumsum(np.column_stack((np.cos(turn), np.sin(turn))), axis=0)
        points = start + path * (length / len(steps))
        thickness = artefacts.hair_width * short * rng.uniform(0.6, 1.4)
        strength = int(255 * min(1.0, thickness) * rng.uniform(0.7, 1.0))
        cv2.polylines(
            alpha,
            [_fixed_point(points)],
            False,
            strength,
            max(1, round(thickness)),
            cv2.LINE_AA,
            _SUBPIXEL_BITS,
        )
    return alpha


def _pen(rng: np.random.Generator, count: int, size_wh: tuple[int, int]) -> Uint8:
    width, height = size_wh
    short = min(size_wh)
    alpha = np.zeros((height, width), dtype=np.uint8)
    for _ in range(count):
        center = rng.uniform(0.0, 1.0, 2) * (width, height)
        turn = np.linspace(0.0, rng.uniform(0.5, 5.0), 24) + rng.uniform(0, 6.28)
        radius = rng.uniform(0.1, 0.5) * short * (1.0 + rng.normal(0.0, 0.03, 24))
        points = center + np.column_stack((np.cos(turn), np.sin(turn))) * radius[:, np.newaxis]
        thickness = max(1, round(rng.uniform(0.008, 0.02) * short))
        strength = int(rng.uniform(120, 240))
        cv2.polylines(
            alpha, [_fixed_point(points)], False, strength, thickness, cv2.LINE_AA, _SUBPIXEL_BITS
        )
    return alpha


def _sticker(rng: np.random.Generator, size_wh: tuple[int, int]) -> Uint8:
    width, height = size_wh
    alpha = np.zeros((height, width), dtype=np.uint8)
    side = rng.integers(4)
    along = rng.uniform(0.1, 0.9)
    x = (0.0, float(width), along * width, along * width)[side]
    y = (along * height, along * height, 0.0, float(height))[side]
    axes = rng.uniform(0.12, 0.3, 2) * min(size_wh)
    cv2.ellipse(
        alpha,
        (round(x), round(y)),
        (round(axes[0]), round(axes[1])),
        float(rng.uniform(0, 180)),
        0.0,
        360.0,
        255,
        -1,
        cv2.LINE_AA,
    )
    return alpha


def _ruler(rng: np.random.Generator, size_wh: tuple[int, int]) -> Uint8:
    width, height = size_wh
    short = min(size_wh)
    alpha = np.zeros((height, width), dtype=np.uint8)
    angle = rng.uniform(-0.9, 0.9)
    forward = np.array((np.cos(angle), np.sin(angle)))
    aside = np.array((-forward[1], forward[0]))
    middle = np.array((rng.uniform(0.3, 0.7) * width, rng.choice((0.13, 0.87)) * height))
    pitch = rng.uniform(0.02, 0.04) * short
    ticks = int(rng.integers(8, 16))
    lines = [middle + forward * pitch * np.array([[-ticks], [ticks]]) / 2]
    for tick in range(ticks + 1):
        foot = middle + forward * pitch * (tick - ticks / 2)
        size = (0.03 if tick % 5 == 0 else 0.017) * short
        lines.append(np.stack((foot, foot + aside * size)))
    thickness = max(1, round(0.004 * short))
    for line in lines:
        cv2.polylines(
            alpha, [_fixed_point(line)], False, 220, thickness, cv2.LINE_AA, _SUBPIXEL_BITS
        )
    return alpha


def _bubbles(light: Float32, rng: np.random.Generator, count: int) -> None:
    height, width = light.shape[:2]
    short = min(width, height)
    rims = np.zeros((height, width), dtype=np.uint8)
    spots = np.zeros((height, width), dtype=np.uint8)
    for _ in range(count):
        center = rng.uniform(0.0, 1.0, 2) * (width, height)
        radius = rng.uniform(0.006, 0.03) * short
        at = (round(center[0]), round(center[1]))
        cv2.circle(rims, at, max(1, round(radius)), int(rng.uniform(40, 150)), 1, cv2.LINE_AA)
        glint = (round(center[0] - 0.4 * radius), round(center[1] - 0.4 * radius))
        cv2.circle(spots, glint, max(1, round(0.25 * radius)), 230, -1, cv2.LINE_AA)
    _paint(light, rims, (0.9, 0.88, 0.85))
    _paint(light, spots, (1.0, 1.0, 1.0))
