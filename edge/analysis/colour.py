"""Colour of a region against the skin around it.

Absolute colour depends on lamp, camera and skin tone; the difference from the patient's own
surrounding skin in the same picture is the figure to look at. In it the gains of the camera's
white balance cancel: they multiply R/G of region and ring alike. So a still whose camera is not
known may count as red, with a caveat in its ``reason``; a live camera that runs on automatic, whose
figures would be compared over time, may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.light import FULL_SCALE, LinearFrame, is_clipped, is_glare, is_skin
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

CLIPPED_SHARE_MAX = 0.05
"""Share of clipped pixels in region and ring above which redness is not reliable."""

MELANIN_RISE_MIN = 0.5
MELANIN_PER_HEMOGLOBIN = 0.5
"""Melanin rises too where delta q_mel exceeds both this and this share of delta q_hem.

Set on the tune side of the split alone: it leaves 12 of 102 measured ISIC 2017 nevi (drawn masks)
and none of 9 PAD-UFES-20 nevi (masks by brightness) with a redness that counts, where 101 and 8
have a positive delta EI. Its price: of red phantoms 6 in 10 still count, and 9 in 10 of those whose
hemoglobin takes little red light, as the constants of q_hem assume.
"""

_WINDOW_SAMPLES = 40_000
"""Most pixels that one region is measured on; larger windows are sampled every second, third ..."""


@dataclass(frozen=True)
class _Colours:
    """Medians over a set of pixels."""

    ei: float
    a_star: float
    q_hem: float
    q_mel: float


@dataclass(frozen=True)
class _Samples:
    """Pixels of one region and its ring: rows of RGB in 16-bit linear light.

    Attributes:
        region: Every pixel of the region.
        ring: Pixels of the ring that lie in the frame and in no region.
        ring_total: Pixels of the whole ring, also of what lies beyond the frame.
        pixel_px: Full-frame pixels that each stands for.
    """

    region: NDArray[np.uint16]
    ring: NDArray[np.uint16]
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
    inside, inside_clipped = _measurable(samples.region, only_skin=False)
    ring, ring_clipped = _measurable(samples.ring, only_skin=True)
    ring_px = len(ring) * samples.pixel_px
    own = (
        _medians(inside) if len(inside) >= max(1, REGION_SHARE_MIN * len(samples.region)) else None
    )
    enough = ring_px >= RING_PX_MIN and len(ring) >= RING_SHARE_MIN * samples.ring_total
    around = _medians(ring) if enough else None
    clipped = (inside_clipped + ring_clipped) / max(1, len(samples.region) + len(samples.ring))
    reasons = _doubts(own, around, clipped, colour_locked)
    return _colour(own, around, ring_px, reasons, colour_locked)


def _samples(light: LinearFrame, region: RegionShape, mask: NDArray[np.uint8]) -> _Samples:
    diameter = 2.0 * float(np.sqrt(region.area_px / np.pi))
    x0, y0, x1, y1 = region.box_xyxy
    reach = RING_FRACTIONS[1] * diameter
    wide, high = x1 - x0 + 2.0 * reach, y1 - y0 + 2.0 * reach
    skip = max(1, int(np.ceil(np.sqrt(wide * high / _WINDOW_SAMPLES) / light.factor)))
    pitch, middle = skip * light.factor, light.factor // 2
    # Sample i stands for reduced pixel i * skip, whose middle is frame pixel i * pitch + middle.
    left, top = int((x0 - reach) // pitch) - 1, int((y0 - reach) // pitch) - 1
    right, bottom = int((x1 + reach) // pitch) + 2, int((y1 + reach) // pitch) + 2
    origin = (left * pitch + middle, top * pitch + middle)
    window = (*origin, origin[0] + (right - left) * pitch, origin[1] + (bottom - top) * pitch)
    inside = np.ascontiguousarray(region.inside(window)[::pitch, ::pitch])
    distance_px = (cv2.distanceTransform(~inside, cv2.DIST_L2, 5) - 0.5) * pitch
    near, far = (fraction * diameter for fraction in RING_FRACTIONS)
    ring = (distance_px >= near) & (distance_px <= far) & (inside == 0)
    total = int(np.count_nonzero(ring))
    height, width = light.linear.shape[:2]
    rows = slice(max(0, top), min(bottom, -(-height // skip)))
    columns = slice(max(0, left), min(right, -(-width // skip)))
    seen = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    regions = mask[middle::pitch, middle::pitch][rows, columns]
    # Where each sample lies in the reduced frame, as one number: gathering by it is quickest.
    places = np.arange(rows.start, rows.stop)[:, np.newaxis] * (skip * width)
    places = places + np.arange(columns.start, columns.stop) * skip
    pixels = light.linear.reshape(-1, 3)
    return _Samples(
        region=pixels[places.ravel()[np.flatnonzero(inside[seen])]],
        ring=pixels[places.ravel()[np.flatnonzero(ring[seen] & (regions == 0))]],
        ring_total=total,
        pixel_px=pitch * pitch,
    )


def _measurable(pixels: NDArray[np.uint16], *, only_skin: bool) -> tuple[NDArray[np.uint16], int]:
    """The pixels without glare and clipping, and how many were clipped."""
    red, green, blue = np.ascontiguousarray(pixels.T, np.float32) / np.float32(FULL_SCALE)
    clipped = is_clipped(red, green, blue)
    kept = ~(clipped | is_glare(red, green, blue))
    if only_skin:
        kept &= is_skin(red, green, blue)
    return pixels[kept], int(np.count_nonzero(clipped))


def _medians(pixels: NDArray[np.uint16]) -> _Colours:
    """Median of each index over rows of linear RGB; the formulas are those of ``models.skin``."""
    linear = pixels.astype(np.float32) / np.float32(FULL_SCALE)
    ei = np.float32(100.0 / np.log(10.0)) * np.log(linear[:, 0] / linear[:, 1])
    a_star = skin.lab_from_linear(linear)[:, 1]
    unmixing = skin.unmixing_matrix().astype(np.float32)
    q_mel, q_hem = (_density_table()[pixels] @ unmixing.T).T
    mel_offset, hem_offset = skin.PIGMENT_OFFSET
    return _Colours(
        ei=float(np.median(ei)),
        a_star=float(np.median(a_star)),
        q_hem=float(np.median(q_hem)) - hem_offset,
        q_mel=float(np.median(q_mel)) - mel_offset,
    )


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
    own: _Colours | None, around: _Colours | None, clipped: float, colour_locked: bool | None
) -> list[str]:
    """Why the difference must not be read as redness, in words; empty where it may."""
    reasons = []
    if own is None:
        reasons.append("most of the region is glare or clipped")
    if around is None:
        reasons.append("too little clear skin around the region to compare with")
    if own is not None and around is not None and _melanin_rises(own, around):
        reasons.append("melanin rises too: a mole looks red to this index")
    if clipped > CLIPPED_SHARE_MAX:
        reasons.append(f"{clipped:.0%} of the pixels are clipped")
    if colour_locked is False:
        reasons.append("the camera's colours are not locked")
    return reasons


def _melanin_rises(own: _Colours, around: _Colours) -> bool:
    rise, blood = own.q_mel - around.q_mel, own.q_hem - around.q_hem
    return rise > max(MELANIN_RISE_MIN, MELANIN_PER_HEMOGLOBIN * blood)


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
