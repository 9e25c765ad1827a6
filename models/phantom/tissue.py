"""Skin as two pigment maps, and the light that it sends back.

The model is Tsumura's (JOSA A 16(9), 1999), in linear light: the optical density of a pixel is
``dermis + melanin * melanin_vector + hemoglobin * hemoglobin_vector``. The vectors of one phantom
are drawn from a range around published ones and are never exactly those that the network's input
is separated with (``models.skin``), which would make the phantom an oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models import skin
from models.phantom.spec import Lesion, PhantomSpec, Rgb, SkinModel
from models.phantom.texture import Float32, cloudy_field, smooth_field, stream

MELANIN_PUBLISHED = (
    (0.4379, 0.5625, 0.7013),  # Lu et al., ICIP 2010, as a unit vector
    (0.4143, 0.3570, 0.8372),  # Chiba University (Tsumura), as used for skin pigment separation
)
HEMOGLOBIN_PUBLISHED = (
    (0.1883, 0.7365, 0.6497),  # Lu et al., ICIP 2010, as a unit vector
    (0.2988, 0.6838, 0.6657),  # Chiba University (Tsumura)
)


@dataclass(frozen=True)
class Tissue:
    """Pigments of every pixel before anything stands in front of them.

    Attributes:
        melanin: float32 HxW, optical density along the melanin vector.
        hemoglobin: float32 HxW, optical density along the hemoglobin vector.
        labels: uint8 HxW, 0 for none, k for lesion k (1 is the first of the spec).
        flakes: float32 HxW, share of the pixel hidden by scale or crust.
        flake_colors: float32 (lesions + 1)x3, linear reflectance of the scale of each label.
    """

    melanin: Float32
    hemoglobin: Float32
    labels: NDArray[np.uint8]
    flakes: Float32
    flake_colors: Float32


def draw_vector(
    rng: np.random.Generator, published: tuple[Rgb, ...], *, towards_second: float, jitter: float
) -> Rgb:
    """A unit vector between the two published ones, moved a little at random.

    Args:
        rng: The draw.
        published: Two unit vectors.
        towards_second: Largest weight of the second one.
        jitter: Sigma added to each component.
    """
    weight = rng.uniform(-0.15, towards_second)
    vector = (1.0 - weight) * np.array(published[0]) + weight * np.array(published[1])
    vector = np.maximum(vector + rng.normal(0.0, jitter, 3), 0.05)
    vector = vector / np.linalg.norm(vector)
    return (float(vector[0]), float(vector[1]), float(vector[2]))


@lru_cache(maxsize=256)
def basal_melanin(model: SkinModel) -> float:
    """Melanin that brings even skin to ``model.ita_deg``, found by halving an interval.

    More melanin always lowers the angle. The lightest skin may need slightly less than none, which
    stands for a paler dermis.
    """
    low, high = -0.6, 9.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        if even_skin_ita_deg(model, middle) > model.ita_deg:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def even_skin_ita_deg(model: SkinModel, melanin: float) -> float:
    """Individual typology angle, in degrees, of skin with this much melanin and no texture."""
    color = even_skin_color(model, melanin)
    lab = skin.lab_from_linear(np.asarray(color, dtype=np.float32)).astype(np.float64)
    return float(np.degrees(np.arctan2(lab[0] - 50.0, lab[2])))


def even_skin_color(model: SkinModel, melanin: float) -> Rgb:
    """Linear reflectance of skin with this much melanin and no texture."""
    density = melanin * np.array(model.melanin_vector)
    density = density + model.hemoglobin * np.array(model.hemoglobin_vector)
    color = np.clip(np.array(model.dermis) * np.exp(-density), 0.0, 1.0)
    return (float(color[0]), float(color[1]), float(color[2]))


def grow(spec: PhantomSpec) -> Tissue:
    """Pigment maps, lesion labels and flakes of a phantom, at its own size."""
    width, height = spec.size_wh
    model = spec.skin
    rng = stream(spec.seed, 1)
    base = basal_melanin(model)
    mottling = model.mottling
    melanin = base + mottling * (0.25 + abs(base)) * cloudy_field(rng, spec.size_wh, 3.0)
    hemoglobin = model.hemoglobin * (
        1.0 + 2.0 * mottling * cloudy_field(rng, spec.size_wh, 5.0, octaves=4, roughness=0.8)
    )
    labels = np.zeros((height, width), dtype=np.uint8)
    flakes = np.zeros((height, width), dtype=np.float32)
    colors = np.array([(0.0, 0.0, 0.0), *(lesion.scale_color for lesion in spec.lesions)])
    tissue = Tissue(melanin, hemoglobin, labels, flakes, colors.astype(np.float32))
    _add_freckles(rng, tissue, model.freckles)
    for label, lesion in enumerate(spec.lesions, start=1):
        _add_lesion(tissue, lesion, label)
    return tissue


def reflectance(tissue: Tissue, model: SkinModel, lamp: Float32) -> Float32:
    """Linear light sent back by the skin.

    Shading is a third direction (1, 1, 1) of optical density beside the two pigments (Tsumura et
    al., ACM TOG 22(3), 2003).

    Args:
        tissue: The pigment maps.
        model: The pigment vectors and the dermis.
        lamp: float32 HxW, light falling on each pixel, 1 is even light.

    Returns:
        float32 HxWx3, 1 is white.
    """
    thickness = cv2.merge((tissue.melanin, tissue.hemoglobin, -cv2.log(lamp)))
    directions = np.array([model.melanin_vector, model.hemoglobin_vector, (1.0, 1.0, 1.0)]).T
    offset = -np.log(np.array(model.dermis))
    light = cv2.transform(thickness, -np.column_stack((directions, offset)))
    cv2.exp(light, dst=light)
    rows, columns = np.nonzero(tissue.flakes)
    if rows.size:
        cover = tissue.flakes[rows, columns][:, np.newaxis]
        scale = tissue.flake_colors[tissue.labels[rows, columns]]
        scale = scale * lamp[rows, columns][:, np.newaxis]
        light[rows, columns] += cover * (scale - light[rows, columns])
    return np.asarray(light, dtype=np.float32)


def _add_freckles(rng: np.random.Generator, tissue: Tissue, count: int) -> None:
    height, width = tissue.melanin.shape
    short = min(width, height)
    for _ in range(count):
        radius = float(rng.uniform(0.004, 0.012)) * short
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        strength = float(rng.uniform(0.1, 0.45))
        window = _window((x, y), 3 * radius, (width, height))
        if window is None:
            continue
        rows, columns = window
        dy = np.arange(rows.start, rows.stop, dtype=np.float32)[:, np.newaxis] - np.float32(y)
        dx = np.arange(columns.start, columns.stop, dtype=np.float32) - np.float32(x)
        spot = np.exp(-(dx * dx + dy * dy) / np.float32(radius * radius))
        tissue.melanin[rows, columns] += np.float32(strength) * spot


def _window(
    center_xy: tuple[float, float], reach: float, size_wh: tuple[int, int]
) -> tuple[slice, slice] | None:
    """Rows and columns of the picture within ``reach`` pixels of a point, or None outside it."""
    width, height = size_wh
    left, right = max(0, int(center_xy[0] - reach)), min(width, int(center_xy[0] + reach) + 1)
    top, bottom = max(0, int(center_xy[1] - reach)), min(height, int(center_xy[1] + reach) + 1)
    if left >= right or top >= bottom:
        return None
    return slice(top, bottom), slice(left, right)


def _add_lesion(tissue: Tissue, lesion: Lesion, label: int) -> None:
    height, width = tissue.melanin.shape
    short = min(width, height)
    rng = stream(lesion.seed, 2)
    center = (lesion.center_xy[0] * width, lesion.center_xy[1] * height)
    radius = lesion.radius * short
    window = _window(center, radius * lesion.aspect**0.5 * 1.7 + 4, (width, height))
    if window is None:
        return
    rows, columns = window
    shape = _outline(rng, lesion, center, radius, window)
    for _ in range(lesion.satellites):
        shape = np.maximum(shape, _satellite(rng, lesion, center, radius, window))
    profile = _smooth_step(shape / np.float32(max(lesion.softness, 2.0 / radius)) + 0.5)
    if lesion.clearing > 0:
        profile = profile * (1.0 - lesion.clearing * _smooth_step((shape - 0.35) * 4.0))
    inside = profile >= 0.5
    tissue.labels[rows, columns][inside] = label
    pattern = _pattern(rng, lesion, shape)
    tissue.melanin[rows, columns] += np.float32(lesion.melanin) * profile * pattern
    tissue.hemoglobin[rows, columns] += np.float32(lesion.hemoglobin) * profile * pattern
    if lesion.scale > 0:
        _add_flakes(rng, tissue.flakes[rows, columns], lesion.scale, profile)


def _add_flakes(rng: np.random.Generator, flakes: Float32, share: float, profile: Float32) -> None:
    """Scale over ``share`` of a lesion, thicker in the middle of each flake, in place."""
    size_wh = (flakes.shape[1], flakes.shape[0])
    cover = cloudy_field(rng, size_wh, 6.0, octaves=4, roughness=0.8)
    threshold = np.float32(np.quantile(cover[::2, ::2], 1.0 - share))
    opacity = np.float32(rng.uniform(0.3, 0.8))
    np.maximum(
        flakes, opacity * _smooth_step((cover - threshold) * np.float32(0.9)) * profile, out=flakes
    )


def _smooth_step(value: Float32) -> Float32:
    clipped = np.clip(value, 0.0, 1.0)
    return np.asarray(clipped * clipped * (3.0 - 2.0 * clipped), dtype=np.float32)


def _outline(
    rng: np.random.Generator,
    lesion: Lesion,
    center: tuple[float, float],
    radius: float,
    window: tuple[slice, slice],
) -> Float32:
    """Positive inside, 0 on the outline, about 1 in the middle: float32 of the window's shape."""
    rows, columns = window
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, np.newaxis] + 0.5 - center[1]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[np.newaxis, :] + 0.5 - center[0]
    angle = np.radians(lesion.angle_deg)
    along = (x * np.cos(angle) + y * np.sin(angle)) / (radius * lesion.aspect**0.5)
    across = (y * np.cos(angle) - x * np.sin(angle)) / (radius / lesion.aspect**0.5)
    distance = np.sqrt(along * along + across * across).astype(np.float32)
    size_wh = (distance.shape[1], distance.shape[0])
    # Three scales of wandering: lobes, bays and the fine fringe of the edge.
    cells = 2.0 * min(size_wh) / (3.4 * radius)
    lobes = cloudy_field(rng, size_wh, max(cells * 1.2, 1.0), octaves=4, roughness=0.6)
    wander = np.float32(0.75 * lesion.irregularity) * lobes
    return np.asarray(np.float32(1.0) - distance + wander, dtype=np.float32)


def _satellite(
    rng: np.random.Generator,
    lesion: Lesion,
    center: tuple[float, float],
    radius: float,
    window: tuple[slice, slice],
) -> Float32:
    direction = rng.uniform(0.0, 2.0 * np.pi)
    reach = radius * rng.uniform(1.2, 1.5)
    own = radius * rng.uniform(0.08, 0.2)
    rows, columns = window
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, np.newaxis]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[np.newaxis, :]
    dx = (x - np.float32(center[0] + reach * np.cos(direction))) / np.float32(own)
    dy = (y - np.float32(center[1] + reach * np.sin(direction))) / np.float32(own)
    # In units of the lesion's own radius, so that its edge is as soft in pixels as the lesion's.
    inside = np.float32(1.0) - np.sqrt(dx * dx + dy * dy)
    return np.asarray(inside * np.float32(own / radius), dtype=np.float32)


def _pattern(rng: np.random.Generator, lesion: Lesion, outline: Float32) -> Float32:
    """Relative strength of the lesion's pigment, about 1 on average, never below 0.35.

    Args:
        rng: The draw.
        lesion: Its texture, contrast and core.
        outline: Its ``_outline``, which says where the middle is.
    """
    size_wh = (outline.shape[1], outline.shape[0])
    slow = cloudy_field(rng, size_wh, 4.0, octaves=3, roughness=0.7)
    if lesion.texture == "plain":
        pattern = np.float32(0.3) * slow
    elif lesion.texture == "mottled":
        pattern = slow
    elif lesion.texture == "reticular":
        ridges = np.abs(smooth_field(rng, size_wh, (26.0, 26.0)))
        pattern = np.float32(0.5) * slow + np.float32(1.6) * (np.float32(0.6) - ridges)
    else:
        dots = smooth_field(rng, size_wh, (18.0, 18.0))
        pattern = np.float32(0.5) * slow + np.float32(1.2) * dots
    strength = np.float32(1.0) + np.float32(lesion.contrast) * pattern
    if lesion.core != 0.0:
        middle = np.float32(rng.uniform(0.25, 0.6))
        zone = _smooth_step((outline - middle + np.float32(0.25) * slow) * np.float32(4.0))
        strength *= np.float32(1.0) + np.float32(lesion.core) * zone
    return np.asarray(np.clip(strength, np.float32(0.35), np.float32(2.2)), dtype=np.float32)
