"""The tone of the skin outside every region."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.analysis.light import Overview, upper_median
from edge.analysis.regions import RegionShape
from edge.result import SkinTone
from models import skin

MARGIN_DIAMETERS = 0.25
"""Skin this near a region (in its equivalent diameters) may share its colour: the outer rim of the
perilesional ring."""

SKIN_SHARE_MIN = 0.01
"""Smallest share of the frame that must be such skin."""

B_STAR_MIN = 5.0
"""Smallest b* of skin that is believed: phantoms lit evenly and photographed plainly have at least
11.9 at every tone. Below, light or camera is bluer than skin can be, and a step of b* turns the
angle by several degrees."""

ITA_DEG_MAX = 70.0
"""Largest angle, and with a minus the smallest, that is believed: ten degrees beyond the palest and
the darkest skin that the phantoms are drawn with."""

_COLOURS_MAX = 2000
"""The median is taken of at most twice so many pixels, evenly chosen."""


def measure_tone(
    seen: Overview, regions: Sequence[RegionShape], mask: NDArray[np.uint8]
) -> SkinTone:
    """Individual typology angle of the median L* and the median b* of non-lesional skin.

    Taken are skin pixels by colour, without glare and clipping, outside every region's box grown
    by a quarter of its equivalent diameter; where large lesions leave less than 1 % of the frame
    so, every such pixel outside the regions themselves. It is not calibrated: lamp and camera
    shift it. Where they shift it to what no skin has (:data:`B_STAR_MIN`, :data:`ITA_DEG_MAX`)
    there is no tone: cold light would read as "very light", whatever the skin.

    Args:
        seen: The frame's overview.
        regions: Every region of the frame.
        mask: HxW uint8 of the full frame, not 0 in every region.
    """
    sampled = slice(seen.middle_px, None, seen.pitch_px)
    height, width = seen.red.shape
    clear = seen.kinds.skin & ~seen.kinds.glare & ~seen.kinds.clipped
    clear &= mask[sampled, sampled][:height, :width] == 0
    far = clear & ~_near(regions, seen)
    fewest = SKIN_SHARE_MIN * clear.size
    chosen = np.flatnonzero(far)
    if len(chosen) < fewest:
        chosen = np.flatnonzero(clear)
    skin_px = len(chosen) * seen.pitch_px**2
    if len(chosen) < max(1.0, fewest):
        return SkinTone(ita_deg=None, group=None, skin_px=skin_px)
    angle = _typical_ita(seen, chosen[:: max(1, len(chosen) // _COLOURS_MAX)])
    if angle is None:
        return SkinTone(ita_deg=None, group=None, skin_px=skin_px)
    return SkinTone(ita_deg=angle, group=skin.tone_group(angle), skin_px=skin_px)


def _near(regions: Sequence[RegionShape], seen: Overview) -> NDArray[np.bool_]:
    near = np.zeros(seen.red.shape, np.bool_)
    for region in regions:
        reach = MARGIN_DIAMETERS * 2.0 * float(np.sqrt(region.area_px / np.pi))
        x0, y0, x1, y1 = region.box_xyxy
        left, top = (max(0, int((v - reach) // seen.pitch_px)) for v in (x0, y0))
        right, bottom = (int((v + reach) // seen.pitch_px) + 1 for v in (x1, y1))
        near[top:bottom, left:right] = True
    return near


def _typical_ita(seen: Overview, places: NDArray[np.intp]) -> float | None:
    """The angle of the medians in degrees; ``None`` where no skin has it."""
    linear = np.stack([plane.ravel()[places] for plane in (seen.red, seen.green, seen.blue)], 1)
    lab = skin.lab_from_linear(linear)
    typical = [upper_median(lab[:, channel].copy()) for channel in range(3)]
    if typical[2] < B_STAR_MIN:
        return None
    angle = float(skin.ita_deg(np.array(typical, np.float32)))
    return angle if abs(angle) <= ITA_DEG_MAX else None
