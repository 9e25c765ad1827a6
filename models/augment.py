"""How training varies a picture: where it lies, its colours, its sharpness, and what is on it.

Everything happens on the 8-bit RGB picture, before the pigments are separated, so that the pigment
images that a network is trained on are those of the picture it is trained on. Each function takes
the random generator that it may use and touches no other state.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Uint8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

ASPECTS = (4 / 3, 3 / 4, 16 / 9, 3 / 2)
"""Width over height of frames and crops that a letterbox has to take in."""

HEMOGLOBIN_DIRECTION = (0.25, 1.0, 0.85)
"""Optical density that blood adds in R, G, B, relative to green (shape of Lu's vector, 2010)."""


@dataclass(frozen=True)
class View:
    """Ranges that :func:`random_view` draws from.

    Attributes:
        zoom: Size of the picture in the view; 1 fills it, above 1 crops, below 1 shows it smaller
            (the rest is the mirrored picture).
        shift: Largest displacement, as a fraction of the view.
        stretch: Largest change of the ratio of width to height.
        turn: Whether any angle may come, or only flips and quarter turns.
        letterbox: Share of views that are not square and are padded with ``fill``.
        fill: RGB around a letterboxed view, 0..255.
    """

    zoom: tuple[float, float] = (0.85, 1.6)
    shift: float = 0.15
    stretch: float = 0.15
    turn: bool = True
    letterbox: float = 0.25
    fill: tuple[int, int, int] = (128, 128, 128)


def random_view(
    rng: np.random.Generator, pixels: Uint8, mask: Uint8 | None, size: int, view: View
) -> tuple[Uint8, Uint8]:
    """A random part of a picture, turned, flipped and stretched, as a square input.

    Args:
        rng: Random numbers.
        pixels: HxWx3 uint8.
        mask: HxW uint8, 0 or 255, or ``None`` for all 0.
        size: Side of the result in pixels.
        view: Ranges.

    Returns:
        size x size x 3 uint8 and size x size uint8 (0 or 255). The padding's mask is 0.
    """
    width, height = _inner_wh(rng, size, view.letterbox)
    zoom = float(np.exp(rng.uniform(np.log(view.zoom[0]), np.log(view.zoom[1]))))
    scale = zoom * max(width / pixels.shape[1], height / pixels.shape[0])
    while scale < 0.6 and min(pixels.shape[:2]) > 32:  # a warp samples points: average first
        half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels = np.asarray(cv2.resize(pixels, half, interpolation=cv2.INTER_AREA), np.uint8)
        if mask is not None:
            mask = np.asarray(cv2.resize(mask, half, interpolation=cv2.INTER_AREA), np.uint8)
        scale = zoom * max(width / pixels.shape[1], height / pixels.shape[0])
    matrix = _affine(rng, (pixels.shape[1], pixels.shape[0]), (width, height), scale, view)
    seen = _warp(pixels, matrix, (width, height))
    truth = np.zeros((height, width), np.uint8)
    if mask is not None:
        truth = np.where(_warp(mask, matrix, (width, height)) > 127, 255, 0).astype(np.uint8)
    if (width, height) == (size, size):
        return seen, truth
    x, y = (size - width) // 2, (size - height) // 2
    framed = np.empty((size, size, 3), np.uint8)
    framed[:] = np.asarray(view.fill, np.uint8)
    framed[y : y + height, x : x + width] = seen
    framed_truth = np.zeros((size, size), np.uint8)
    framed_truth[y : y + height, x : x + width] = truth
    return framed, framed_truth


def random_colour(rng: np.random.Generator, pixels: Uint8) -> Uint8:
    """Another camera: white balance, exposure, contrast, gamma per channel, and saturation.

    Args:
        rng: Random numbers.
        pixels: HxWx3 uint8 RGB.

    Returns:
        The same shape.
    """
    levels = np.arange(256, dtype=np.float32) / 255.0
    gain = np.exp(rng.normal(0.0, 0.10)) * np.exp(rng.normal(0.0, 0.05, 3))
    gamma = np.exp(rng.normal(0.0, 0.15)) * np.exp(rng.normal(0.0, 0.02, 3))
    contrast = rng.normal(0.0, 0.12)
    table = np.power(levels[:, None], gamma) * gain
    table = table + contrast * (table - 0.5)
    table8 = np.clip(np.rint(table * 255.0), 0, 255).astype(np.uint8)
    changed = np.asarray(cv2.LUT(pixels, table8[:, None, :]), np.uint8)
    if rng.random() < 0.5:
        grey = np.full((3, 3), 1.0 / 3.0) * (share := float(rng.uniform(-0.25, 0.25)))
        changed = np.asarray(cv2.transform(changed, grey + (1.0 - share) * np.eye(3)), np.uint8)
    return changed


def random_damage(rng: np.random.Generator, pixels: Uint8) -> Uint8:
    """A worse lens and sensor: lost resolution, blur, noise, compression; each only sometimes.

    Args:
        rng: Random numbers.
        pixels: HxWx3 uint8.

    Returns:
        The same shape.
    """
    height, width = pixels.shape[:2]
    if rng.random() < 0.2:
        factor = float(rng.uniform(0.3, 0.8))
        small = (max(8, int(width * factor)), max(8, int(height * factor)))
        pixels = np.asarray(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), np.uint8)
        pixels = np.asarray(cv2.resize(pixels, (width, height)), np.uint8)
    if rng.random() < 0.15:
        sigma = float(rng.uniform(0.4, 1.6)) * width / 304
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), max(0.3, sigma)), np.uint8)
    if rng.random() < 0.3:
        noise = np.empty(pixels.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1, 2**31 - 1)))
        cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(1.0, 8.0)))
        pixels = np.asarray(cv2.add(pixels, noise, dtype=cv2.CV_8U), np.uint8)
    if rng.random() < 0.15:
        quality = int(rng.integers(35, 90))
        _, packed = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
        pixels = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return pixels


@dataclass(frozen=True)
class Donor:
    """A lesion cut out of a picture, as how it changes the skin it lies on.

    Attributes:
        ratio: hxwx3 float32, colour of each pixel over the colour of the skin around the lesion.
        mask: hxw uint8, 0 or 255.
    """

    ratio: Float32
    mask: Uint8


def donor_from_picture(pixels: Uint8, mask: Uint8) -> Donor | None:
    """Cut out the lesion; ``None`` where it fills the picture or too little skin is around it.

    Args:
        pixels: HxWx3 uint8 RGB.
        mask: HxW uint8, 0 or 255.
    """
    ring = cv2.dilate(mask, np.ones((15, 15), np.uint8)) == 0
    skin = pixels[ring & (pixels.min(axis=2) > 50)]
    x, y, width, height = cv2.boundingRect(mask)
    side = min(mask.shape)
    if len(skin) < 0.15 * mask.size or not 0.15 * side < max(width, height) < 0.85 * side:
        return None
    pad = max(4, max(width, height) // 10)
    rows = slice(max(0, y - pad), min(mask.shape[0], y + height + pad))
    columns = slice(max(0, x - pad), min(mask.shape[1], x + width + pad))
    ratio = pixels[rows, columns].astype(np.float32) / np.median(skin, axis=0).astype(np.float32)
    return Donor(np.clip(ratio, 0.05, 1.5).astype(np.float32), mask[rows, columns].copy())


def paste(rng: np.random.Generator, background: Uint8, donors: list[Donor]) -> tuple[Uint8, Uint8]:
    """Put lesions on lesion-free skin: the skin's own colour and texture, times the donor's ratio.

    One in three becomes a red lesion: its darkness is put back as blood instead of melanin.

    Args:
        rng: Random numbers.
        background: HxWx3 uint8 RGB without lesions.
        donors: What to put on it.

    Returns:
        Picture and mask (0 or 255), in the background's size.
    """
    picture = background.astype(np.float32)
    truth = np.zeros(background.shape[:2], np.uint8)
    side = min(background.shape[:2])
    for donor in donors:
        longest = float(np.exp(rng.uniform(np.log(0.10), np.log(0.5)))) * side
        scale = longest / max(donor.mask.shape)
        size = (max(6, int(donor.mask.shape[1] * scale)), max(6, int(donor.mask.shape[0] * scale)))
        size = (min(size[0], background.shape[1] - 1), min(size[1], background.shape[0] - 1))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        ratio = np.asarray(cv2.resize(donor.ratio, size, interpolation=way), np.float32)
        mask = np.asarray(cv2.resize(donor.mask, size, interpolation=way), np.uint8)
        turns, flip = int(rng.integers(4)), bool(rng.integers(2))
        ratio, mask = np.rot90(ratio, turns), np.ascontiguousarray(np.rot90(mask, turns))
        if flip:
            ratio, mask = ratio[:, ::-1], np.ascontiguousarray(mask[:, ::-1])
        height, width = mask.shape
        if height >= background.shape[0] or width >= background.shape[1]:
            continue
        x = int(rng.integers(background.shape[1] - width))
        y = int(rng.integers(background.shape[0] - height))
        if truth[y : y + height, x : x + width].any():
            continue
        if rng.random() < 0.35:
            ratio = _reddened(rng, ratio)
        grown = cv2.dilate(mask, np.ones((3, 3), np.uint8))
        alpha = cv2.GaussianBlur(grown, (0, 0), max(0.8, 0.02 * longest)).astype(np.float32)
        change = 1.0 + (ratio - 1.0) * (alpha / 255.0)[..., None]
        picture[y : y + height, x : x + width] *= change
        truth[y : y + height, x : x + width] = np.where(mask > 127, 255, 0)
    return np.clip(picture, 0, 255).astype(np.uint8), truth


def _reddened(rng: np.random.Generator, ratio: Float32) -> Float32:
    darkness = -np.log(np.clip(ratio.mean(axis=2), 0.1, 1.0))
    density = darkness[..., None] * np.asarray(HEMOGLOBIN_DIRECTION, np.float32)
    return np.asarray(np.exp(-float(rng.uniform(0.35, 0.9)) * density), np.float32)


def _inner_wh(rng: np.random.Generator, size: int, letterbox: float) -> tuple[int, int]:
    if rng.random() >= letterbox:
        return size, size
    aspect = float(rng.choice(np.asarray(ASPECTS)))
    return (size, round(size / aspect)) if aspect > 1 else (round(size * aspect), size)


def _affine(
    rng: np.random.Generator,
    source_wh: tuple[int, int],
    target_wh: tuple[int, int],
    scale: float,
    view: View,
) -> NDArray[np.float64]:
    """2x3 matrix from picture to view, both in pixels."""
    quarter = float(rng.integers(4)) * np.pi / 2
    angle = float(rng.uniform(-np.pi, np.pi)) if view.turn and rng.random() < 0.5 else quarter
    stretch = np.exp(rng.uniform(-view.stretch, view.stretch) / 2)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.diag([flip * stretch, 1.0 / stretch])
    target = np.asarray(target_wh) / 2 - 0.5
    target = target + rng.uniform(-view.shift, view.shift, 2) * np.asarray(target_wh)
    source = np.asarray(source_wh) / 2 - 0.5
    return np.column_stack((linear, target - linear @ source))


def _warp(pixels: Uint8, matrix: NDArray[np.float64], size_wh: tuple[int, int]) -> Uint8:
    warped = cv2.warpAffine(
        pixels, matrix, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, np.uint8)
