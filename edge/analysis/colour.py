"""Colour of a region against the skin around it.

Absolute colour depends on lamp, camera and skin tone; the difference from the patient's own
surrounding skin in the same picture is the figure to look at. In it the gains of the camera's
white balance cancel: they multiply R/G of region and ring alike. So a still whose camera is not
known may count as red, with a caveat in its ``reason``; a live camera that runs on automatic, whose
figures would be compared over time, may not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.light import (
    FULL_SCALE,
    LinearFrame,
    kinds_of,
    linear_of,
    skin_coloured,
    upper_median,
)
from edge.analysis.regions import RegionShape
from edge.frame import Frame
from edge.result import RegionColour
from models import skin

RING_FRACTIONS = (0.05, 0.25)
"""The perilesional ring, in equivalent diameters of the region outside its edge."""

RING_PX_MIN = 200
RING_SHARE_MIN = 0.30
"""Below either, the ring says nothing about the skin around: differences are unknown."""

REGION_SHARE_MIN = 0.30
"""Share of a region's pixels that must be free of glare and clipping."""

SKIN_SHARE_MIN = 0.50
"""Share of a region's pixels, free of glare and clipping, that must have the colour of skin or of a
lesion (``models.skin.skin_mask``): a red sticker, pen or sleeve is redder than any erythema."""

RED_RISE_MAX = 1.0
"""``ln R/G`` by which pixels of a region may exceed the ring around it, where that is more than the
skin rule allows: on the darkest skin melanin alone comes within 0.4 of that limit, and redness
passes it without any dye. Without this, 3 of 11 red phantoms recognised at ITA -60 would be lost.
"""

CLIPPED_SHARE_MAX = 0.05
"""Share of clipped pixels above which redness is not reliable; of the region's pixels and those of
the ring that have the colour of skin."""

MELANIN_RISE_MIN = 0.5
MELANIN_PER_HEMOGLOBIN = 0.5
"""Melanin rises too where delta q_mel exceeds both this and this share of delta q_hem.

Set on the tune side of the split alone, where 109 of 111 measured nevi (ISIC 2017 with drawn masks,
PAD-UFES-20 with masks by brightness) have a positive delta EI: 12 of them (11 %) are still called
red; on the test side, looked at once afterwards, 28 of 200 (14 %). The price: of red phantoms with
enough clear skin around them the rules leave 54 in 100 without a camera in between, 45 through a
phone's, fewest on the darkest skin (``python -m benchmarks.colour``; docs/result.md).
"""

_WINDOW_SAMPLES = 8_000
"""Most reduced pixels of a region and its surroundings; larger ones are sampled every second,
fourth ... pixel. Of 90 regions of phantoms at 1280x720 the index and its difference were within
0.34 of those of all pixels for 95 in 100, within 0.7 for all; with 4000 within 0.63 and 1.5."""


@dataclass(frozen=True)
class _Colours:
    """Medians over a set of pixels."""

    ei: float
    a_star: float
    q_hem: float
    q_mel: float


@dataclass(frozen=True)
class _Samples:
    """Pixels of one region and its ring.

    Attributes:
        pixels: Nx3 uint16 RGB in linear light, 65535 is white: first the region's, then those of
            the ring that lie in the frame and in no region.
        region_count: How many are the region's.
        ring_total: Pixels of the whole ring, also of what lies beyond the frame.
        pixel_px: Full-frame pixels that each stands for.
    """

    pixels: NDArray[np.uint16]
    region_count: int
    ring_total: int
    pixel_px: int


def measure_colour(
    light: LinearFrame,
    region: RegionShape,
    mask: NDArray[np.uint8],
    colour_locked: bool | None,
) -> RegionColour:
    """Colour of one region and its difference from the ring around it.

    Args:
        light: The reduced frame.
        region: The region.
        mask: HxW uint8 of the full frame, not 0 in every region; keeps the ring out of others.
        colour_locked: Whether the camera held white balance and exposure; ``None`` if unknown.
    """
    samples = _samples(light, region, mask)
    linear = np.ascontiguousarray(samples.pixels.T, np.float32)
    linear *= np.float32(1.0 / FULL_SCALE)
    kinds = kinds_of(*linear)
    usable = ~(kinds.clipped | kinds.glare)
    count = samples.region_count
    inside = np.flatnonzero(usable[:count])
    # Cloth and background are no part of the measurement, clipped or not.
    measured = np.concatenate((np.ones(count, np.bool_), kinds.skin[count:]))
    ring = np.flatnonzero(usable[count:] & measured[count:]) + count
    ring_px = len(ring) * samples.pixel_px
    seen = len(inside) >= max(1.0, REGION_SHARE_MIN * count)
    enough = ring_px >= RING_PX_MIN and len(ring) >= RING_SHARE_MIN * samples.ring_total
    indices = _indices(samples.pixels, linear)
    own = _medians(indices, inside) if seen else None
    around = _medians(indices, ring) if enough else None
    like_skin = _like_skin(linear, kinds.skin, inside, around)
    clipped = int(np.count_nonzero(kinds.clipped & measured)) / max(1, int(measured.sum()))
    reasons = _doubts(own, around, like_skin, clipped, colour_locked)
    return _colour(own, around, ring_px, reasons, colour_locked)


def _samples(light: LinearFrame, region: RegionShape, mask: NDArray[np.uint8]) -> _Samples:
    diameter = 2.0 * float(np.sqrt(region.area_px / np.pi))
    reach = RING_FRACTIONS[1] * diameter
    step = _step(region.box_xyxy, reach, light)
    pitch, middle = step * light.factor, light.factor // 2
    # Sample i stands for reduced pixel i * step, whose middle is frame pixel i * pitch + middle.
    # The grid reaches beyond the frame, as the ring does.
    x0, y0, x1, y1 = region.box_xyxy
    left, top = int((x0 - reach) // pitch) - 1, int((y0 - reach) // pitch) - 1
    right, bottom = int((x1 + reach) // pitch) + 2, int((y1 + reach) // pitch) + 2
    origin = (left * pitch + middle, top * pitch + middle)
    window = (*origin, origin[0] + (right - left) * pitch, origin[1] + (bottom - top) * pitch)
    inside = np.ascontiguousarray(region.inside(window)[::pitch, ::pitch])
    # From sample to sample; the region's edge lies half a sample beyond its last one.
    distance = cv2.distanceTransform(~inside, cv2.DIST_L2, 5)
    near, far = (fraction * diameter / pitch + 0.5 for fraction in RING_FRACTIONS)
    ring = (distance >= near) & (distance <= far)
    total = int(np.count_nonzero(ring))
    width, height = light.size_wh
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(right, -(-width // step)), min(bottom, -(-height // step))
    seen = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    free = mask[middle::pitch, middle::pitch][y0:y1, x0:x1] == 0
    linear = light.window(
        (x0 * step, y0 * step, min(width, x1 * step), min(height, y1 * step)), step
    )
    of_region = np.flatnonzero(inside[seen])
    of_ring = np.flatnonzero(ring[seen] & free)
    rows, columns = np.divmod(np.concatenate((of_region, of_ring)), linear.shape[1])
    return _Samples(linear[rows, columns], len(of_region), total, pitch * pitch)


def _step(box_xyxy: tuple[int, int, int, int], reach: float, light: LinearFrame) -> int:
    """Every how many reduced pixels the surroundings of a box are sampled: 1 or an even number."""
    x0, y0, x1, y1 = box_xyxy
    area = (x1 - x0 + 2.0 * reach) * (y1 - y0 + 2.0 * reach) / light.factor**2
    step = max(1, math.ceil(math.sqrt(area / _WINDOW_SAMPLES)))
    return step if step == 1 else step + step % 2


def _indices(pixels: NDArray[np.uint16], linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Erythema index, a*, q_hem and q_mel of each pixel; the formulas are ``models.skin``'s.

    Args:
        pixels: Nx3 RGB in linear light, 65535 is white.
        linear: 3xN, the same with 1 as white.

    Returns:
        4xN float32.
    """
    indices = np.empty((4, len(pixels)), np.float32)
    # 1 of 255 is where the reference takes its floor too.
    logs = np.log(np.maximum(linear[:2], np.float32(linear_of(1.0))))
    np.subtract(logs[0], logs[1], out=indices[0])
    indices[0] *= np.float32(100.0 / math.log(10.0))
    indices[1] = skin.lab_from_linear(linear.T)[:, 1]
    indices[2:] = _hemoglobin_first() @ np.take(_density_table(), pixels.T)
    mel_offset, hem_offset = skin.PIGMENT_OFFSET
    indices[2] -= np.float32(hem_offset)
    indices[3] -= np.float32(mel_offset)
    return indices


def _like_skin(
    linear: NDArray[np.float32],
    plausible: NDArray[np.bool_],
    inside: NDArray[np.intp],
    around: _Colours | None,
) -> bool:
    """Whether a region may be skin with a lesion, by its colour, and not cloth, pen or sticker.

    Args:
        linear: 3xN, linear light, 1 is white.
        plausible: N, which pixels pass the skin rule.
        inside: Places of the region's usable pixels.
        around: The ring, if it is known: what is redder than the rule allows is judged by it.
    """
    fewest = SKIN_SHARE_MIN * len(inside)
    enough = bool(np.count_nonzero(plausible[inside]) >= fewest)
    if enough or around is None:
        return enough
    red, green, blue = linear[:, inside]
    reddest = around.ei * math.log(10.0) / 100.0 + RED_RISE_MAX
    return bool(np.count_nonzero(skin_coloured(red, green, blue, reddest)) >= fewest)


def _medians(indices: NDArray[np.float32], chosen: NDArray[np.intp]) -> _Colours:
    return _Colours(*(upper_median(row[chosen]) for row in indices))


@lru_cache(maxsize=1)
def _hemoglobin_first() -> NDArray[np.float32]:
    """The 2x3 matrix from densities to q_hem and q_mel."""
    return np.ascontiguousarray(skin.unmixing_matrix()[::-1], np.float32)


@lru_cache(maxsize=1)
def _density_table() -> NDArray[np.float32]:
    """``-ln`` of the sRGB value, at least 1 of 255, of each 16-bit linear light; 256 kB."""
    linear = np.arange(65536) / FULL_SCALE
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (-np.log(np.maximum(encoded, skin.DENSITY_FLOOR / 255.0))).astype(np.float32)


# --- may the difference be read as redness? -----------------------------------------------------


def colour_lock(frame: Frame) -> bool | None:
    """Whether the camera held exposure and white balance while it took a frame.

    The camera's settings say so under ``colour_locked``. A live camera that does not say runs on
    automatic. The synthetic camera has no automatic. Of a file it is unknown (``None``).
    """
    stated = (frame.settings or {}).get("colour_locked")
    if isinstance(stated, bool):
        return stated
    if frame.captured_by == "synthetic":
        return True
    return None if frame.captured_by == "file" else False


def _doubts(
    own: _Colours | None,
    around: _Colours | None,
    like_skin: bool,
    clipped: float,
    colour_locked: bool | None,
) -> list[str]:
    """Why the difference must not be read as redness, in words; empty where it may."""
    reasons = []
    if own is None:
        reasons.append("most of the region is glare or clipped")
    elif not like_skin:
        reasons.append("the region does not have the colour of skin")
    if around is None:
        reasons.append("too little clear skin around the region to compare with")
    if own and around and melanin_rises(own.q_mel - around.q_mel, own.q_hem - around.q_hem):
        reasons.append("melanin rises too: a mole looks red to this index")
    if clipped > CLIPPED_SHARE_MAX:
        reasons.append(f"{clipped:.0%} of the pixels are clipped")
    if colour_locked is False:
        reasons.append("the camera's colours are not locked")
    return reasons


def melanin_rises(delta_q_mel: float, delta_q_hem: float) -> bool:
    """Whether a region differs from its ring by melanin, too; both in the units of ``q_*``."""
    return delta_q_mel > max(MELANIN_RISE_MIN, MELANIN_PER_HEMOGLOBIN * delta_q_hem)


UNKNOWN_LOCK = "colour lock unknown: only the difference within this picture counts"


def _colour(
    own: _Colours | None,
    around: _Colours | None,
    ring_px: int,
    reasons: list[str],
    colour_locked: bool | None,
) -> RegionColour:
    compared = own is not None and around is not None
    caveat = [UNKNOWN_LOCK] if compared and colour_locked is None else []
    return RegionColour(
        ei=own.ei if own else None,
        a_star=own.a_star if own else None,
        q_hem=own.q_hem if own else None,
        q_mel=own.q_mel if own else None,
        delta_ei=own.ei - around.ei if own and around else None,
        delta_a_star=own.a_star - around.a_star if own and around else None,
        delta_q_hem=own.q_hem - around.q_hem if own and around else None,
        delta_q_mel=own.q_mel - around.q_mel if own and around else None,
        ring_px=ring_px,
        erythema_reliable=not reasons,
        reason="; ".join(reasons + caveat) or None,
    )
