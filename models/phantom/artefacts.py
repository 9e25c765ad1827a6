"""What stands between skin and lens: light, relief, cloth, hair, glare, gel, ruler, pen, blur."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.phantom.spec import Artefacts, Edge, PhantomSpec, Rgb, SkinModel
from models.phantom.texture import Float32, cloudy_field, grid_xy, smooth_field, stream

Uint8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]

_SUBPIXEL_BITS = 4
"""Fixed-point bits of coordinates that OpenCV draws with."""


# --- light and relief ---------------------------------------------------------------------------


def relief(model: SkinModel, seed: int, size_wh: tuple[int, int]) -> Float32:
    """Light on skin lines, pores and creases: float32 HxW, a factor around 1."""
    rng = stream(seed, 10)
    width, height = size_wh
    short = min(width, height)
    period = max(model.relief_size * short, 1.5)
    # Two crossed families of lines, stretched along their own direction, as on a forearm.
    stretch = float(rng.uniform(1.2, 3.0))
    first = _lines(rng, size_wh, period, stretch, model.relief_angle_deg)
    second = _lines(rng, size_wh, period * 1.3, stretch, model.relief_angle_deg + 70.0)
    light = 1.0 + np.float32(model.relief) * (0.7 * first + 0.5 * second)
    for _ in range(model.creases):
        light *= _crease(rng, size_wh, model.relief_angle_deg)
    return np.clip(light, 0.25, 1.6).astype(np.float32)


def _lines(
    rng: np.random.Generator,
    size_wh: tuple[int, int],
    period: float,
    stretch: float,
    angle_deg: float,
) -> Float32:
    width, height = size_wh
    diagonal = float(np.hypot(width, height))
    columns, rows = int(diagonal / (period * stretch)) + 3, int(diagonal / period) + 3
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    along, across = 1.0 / (period * stretch), 1.0 / period
    back = np.array(
        [
            [cos * along, sin * along, columns / 2 - (cos * width + sin * height) * along / 2],
            [-sin * across, cos * across, rows / 2 + (sin * width - cos * height) * across / 2],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    field = cv2.warpAffine(grid, back, size_wh, flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(field, dtype=np.float32)


def _crease(rng: np.random.Generator, size_wh: tuple[int, int], angle_deg: float) -> Float32:
    x, y = grid_xy(size_wh)
    angle = np.radians(angle_deg + rng.normal(0.0, 15.0))
    offset, bend = rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle) - offset - bend * along * along
    width, depth = rng.uniform(0.004, 0.02), rng.uniform(0.1, 0.45)
    dark = np.exp(-((across / width) ** 2)) - 0.35 * np.exp(-(((across - 2 * width) / width) ** 2))
    return (1.0 - depth * dark).astype(np.float32)


def illumination(artefacts: Artefacts, seed: int, size_wh: tuple[int, int]) -> Float32:
    """Uneven light of the scene: float32 HxW, a factor around 1 in the middle."""
    rng = stream(seed, 11)
    x, y = grid_xy(size_wh)
    angle = np.radians(artefacts.shading_angle_deg)
    ramp = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    light = 1.0 - np.float32(artefacts.shading) * ramp
    if artefacts.shading > 0:
        light = light + np.float32(0.15 * artefacts.shading) * cloudy_field(
            rng, size_wh, 1.5, octaves=2
        )
    if artefacts.vignette > 0:
        light = light * (1.0 - np.float32(artefacts.vignette) * (x * x + y * y))
    return np.clip(light, 0.05, 2.0).astype(np.float32)


# --- cloth and table ----------------------------------------------------------------------------


def cover_with_cloth(light: Float32, edges: tuple[Edge, ...], seed: int) -> Bool:
    """Replace, in place, the light beyond each edge by cloth or table.

    Args:
        light: float32 HxWx3 linear light, changed in place.
        edges: The borders.
        seed: Of the picture.

    Returns:
        bool HxW, true where cloth or table is seen.
    """
    height, width = light.shape[:2]
    covered = np.zeros((height, width), dtype=np.bool_)
    for number, edge in enumerate(edges):
        rng = stream(seed, 20 + number)
        beyond = _beyond(rng, edge, (width, height))
        if edge.limb:
            fall = np.clip(-beyond / np.float32(0.22), 0.0, 1.0)
            light *= (0.35 + 0.65 * np.sqrt(fall * (2.0 - fall)))[..., np.newaxis]
        else:
            # Cloth lies on the skin and throws a soft shadow.
            light *= (1.0 - 0.45 * np.exp(np.minimum(beyond, 0.0) / 0.02))[..., np.newaxis]
        outside = beyond > 0
        if outside.any():
            light[outside] = _cloth(rng, edge, (width, height), beyond)[outside]
            covered |= outside
    return covered


def _beyond(rng: np.random.Generator, edge: Edge, size_wh: tuple[int, int]) -> Float32:
    """Distance beyond the border in units of the shorter side, negative on the skin."""
    x, y = grid_xy(size_wh)
    angle = np.radians(edge.angle_deg)
    across = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    along = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    wander = np.zeros_like(along)
    for order in (1.0, 2.3, 5.1):
        wander += np.sin(2 * np.pi * order * along + rng.uniform(0, 6.28)) * rng.normal(
            0, 1 / order
        )
    return (across - np.float32(edge.distance) + np.float32(edge.waviness) * wander).astype(
        np.float32
    )


def _cloth(
    rng: np.random.Generator, edge: Edge, size_wh: tuple[int, int], beyond: Float32
) -> Float32:
    x, y = grid_xy(size_wh)
    angle = rng.uniform(0.0, np.pi)
    u = (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))) / np.float32(
        edge.weave_size
    )
    v = (y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))) / np.float32(
        edge.weave_size
    )
    threads = np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v)
    folds = cloudy_field(rng, size_wh, 2.5, octaves=3)
    light = np.clip(1.0 + edge.weave * threads + 0.15 * folds, 0.2, 1.6).astype(np.float32)
    color = np.broadcast_to(np.array(edge.color, dtype=np.float32), (*light.shape, 3))
    if edge.stripe_color is not None:
        stripe = np.sin(u * np.float32(0.35)) > 0.2
        other = np.array(edge.stripe_color, dtype=np.float32)
        color = np.where(stripe[..., np.newaxis], other, color)
    # The border of a sleeve is turned over: a bright seam and the shadow of its thickness.
    seam = 1.0 - 0.4 * np.exp(np.minimum(-beyond, 0.0) / np.float32(0.008))
    return np.minimum(color * (light * seam)[..., np.newaxis], 1.0).astype(np.float32)


# --- things drawn over the skin -----------------------------------------------------------------


def draw_over(light: Float32, artefacts: Artefacts, seed: int) -> Bool:
    """Hair, pen, ruler, sticker and bubbles, drawn in place.

    Args:
        light: float32 HxWx3 linear light, changed in place.
        artefacts: What to draw.
        seed: Of the picture.

    Returns:
        bool HxW, true where the skin is hidden.
    """
    height, width = light.shape[:2]
    hidden = np.zeros((height, width), dtype=np.bool_)
    if artefacts.pen_marks:
        ink = _pen(stream(seed, 30), artefacts.pen_marks, (width, height))
        _stain(light, ink, (0.35, 0.22, 0.55))
        hidden |= ink > 96
    if artefacts.sticker is not None:
        patch = _sticker(stream(seed, 31), (width, height))
        _paint(light, patch, artefacts.sticker)
        hidden |= patch > 96
    if artefacts.ruler:
        _paint(light, _ruler(stream(seed, 32), (width, height)), (0.02, 0.02, 0.02))
    if artefacts.hairs:
        hair = _hairs(stream(seed, 33), artefacts, (width, height))
        _paint(light, hair, artefacts.hair_color)
        hidden |= hair > 96
    if artefacts.bubbles:
        _bubbles(light, stream(seed, 34), artefacts.bubbles)
    return hidden


def _paint(light: Float32, alpha: Uint8, color: Rgb) -> None:
    """Blend a colour in where ``alpha`` is above 0; only those pixels are touched."""
    where = alpha > 0
    weight = (alpha[where].astype(np.float32) / np.float32(255.0))[:, np.newaxis]
    light[where] += weight * (np.array(color, dtype=np.float32) - light[where])


def _stain(light: Float32, alpha: Uint8, transmission: Rgb) -> None:
    """Ink: multiply by its transmission, so that the skin shines through."""
    where = alpha > 0
    weight = (alpha[where].astype(np.float32) / np.float32(255.0))[:, np.newaxis]
    light[where] *= 1.0 - weight * (1.0 - np.array(transmission, dtype=np.float32))


def _fixed_point(points_xy: NDArray[np.float64]) -> NDArray[np.int32]:
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


# --- optics -------------------------------------------------------------------------------------


def add_glare(light: Float32, artefacts: Artefacts, seed: int, surface: Float32) -> None:
    """Wet highlights where the relief faces the lamp, added in place as white light.

    Args:
        light: float32 HxWx3 linear light, changed in place.
        artefacts: Strength and size of the highlights.
        seed: Of the picture.
        surface: The relief's own light, HxW: highlights sit on its bright side.
    """
    if artefacts.glare <= 0:
        return
    rng = stream(seed, 40)
    height, width = light.shape[:2]
    cells = 1.0 / max(artefacts.glare_size, 4.0 / min(width, height))
    where = smooth_field(
        rng,
        (width, height),
        (cells * width / min(width, height), cells * height / min(width, height)),
    )
    broad = cloudy_field(rng, (width, height), 2.0, octaves=2)
    shine = np.clip(where + 4.0 * (surface - 1.0) + 0.8 * broad - 2.0, 0.0, 1.0)
    light += (np.float32(artefacts.glare) * shine)[..., np.newaxis]


def close_field(light: Float32, field_radius: float, seed: int) -> Bool:
    """Darken, in place, what lies outside a dermatoscope's round field; true where it is dark."""
    height, width = light.shape[:2]
    rng = stream(seed, 41)
    x, y = grid_xy((width, height))
    shift = rng.normal(0.0, 0.02, 2)
    distance = np.hypot(x - np.float32(shift[0]), y - np.float32(shift[1]))
    open_share = np.clip((np.float32(field_radius) - distance) / np.float32(0.015), 0.0, 1.0)
    light *= (0.012 + 0.988 * open_share)[..., np.newaxis]
    return np.asarray(open_share < 0.5, dtype=np.bool_)


def defocus(light: Float32, artefacts: Artefacts, seed: int) -> Float32:
    """Blur of focus and of motion: a new float32 HxWx3, or the same one where both are 0."""
    short = min(light.shape[:2])
    sigma = artefacts.blur * short
    if sigma > 0.2:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), dtype=np.float32)
    length = round(artefacts.motion * short)
    if length >= 2:
        angle = stream(seed, 42).uniform(0.0, np.pi)
        kernel = np.zeros((2 * length + 1, 2 * length + 1), dtype=np.float32)
        arm = np.array((np.cos(angle), np.sin(angle))) * length / 2
        ends = _fixed_point(np.stack((length - arm, length + arm)))
        cv2.polylines(kernel, [ends], False, 1.0, 1, cv2.LINE_8, _SUBPIXEL_BITS)
        light = np.asarray(cv2.filter2D(light, -1, kernel / kernel.sum()), dtype=np.float32)
    return light
