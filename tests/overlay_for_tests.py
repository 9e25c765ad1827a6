"""Results, fonts and flat skin of any tone, made by hand for the tests of the overlay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib.tables._g_l_y_f import Glyph
from numpy.typing import NDArray

from edge.result import (
    ClassProbability,
    Contour,
    FrameStamp,
    Quality,
    Region,
    RegionColour,
    Result,
    SkinTone,
    Stage,
    Status,
    letters,
)

LABELS = {
    "MEL": "Melanoma",
    "NEV": "멜라닌세포 모반",
    "SEK": "Seborrhoeic keratosis",
    "ACK": "एक्टिनिक केराटोसिस",
}


def region_from_mask(
    mask: NDArray[np.bool_],
    index: int,
    *,
    classified: bool = True,
    abstained: bool = False,
    classes: Sequence[tuple[str, float]] = (("MEL", 0.61), ("NEV", 0.3), ("SEK", 0.06)),
    reliable: bool = True,
) -> Region:
    """A Region with the outline of a mask."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return Region(
        letter=letters(index),
        track_id=index,
        box_xyxy=(x, y, x + width, y + height),
        contours=tuple(
            Contour(tuple((int(px), int(py)) for px, py in points[:, 0])) for points in found
        ),
        area_px=int(mask.sum()),
        area_fraction=float(mask.mean()),
        score=0.9,
        classified=classified,
        abstained=abstained,
        abstain_reason="no class is probable enough" if abstained else None,
        classes=tuple(ClassProbability(*one) for one in classes) if classified else None,
        colour=RegionColour(21.0, 19.0, 6.0, 3.0, 8.3, 6.1, 5.0, 0.2, 900, reliable, None),
    )


def ellipses(size_wh: tuple[int, int], count: int, seed: int = 1) -> list[NDArray[np.bool_]]:
    """Masks of lesions that do not touch each other."""
    rng = np.random.default_rng(seed)
    width, height = size_wh
    unit = math.sqrt(width * height)
    taken = np.zeros((height, width), np.uint8)
    masks: list[NDArray[np.bool_]] = []
    for _ in range(4000):
        if len(masks) == count:
            break
        mask = np.zeros((height, width), np.uint8)
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (max(2, int(unit * rng.uniform(0.02, 0.06))), max(2, int(unit * 0.04)))
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        if mask.any() and not (cv2.dilate(mask, np.ones((7, 7), np.uint8)) & taken).any():
            taken |= mask
            masks.append(mask.astype(bool))
    assert len(masks) == count
    return masks


def make_result(
    size_wh: tuple[int, int],
    regions: Sequence[Region] | None = (),
    *,
    status: Status | None = None,
    reasons: Sequence[str] = (),
    captured_by: str = "driver",
    label_text: Mapping[str, str] = LABELS,
) -> Result:
    """A Result of a frame of that size; the status follows from the regions."""
    if status is None:
        status = "ok" if regions else "nothing_found"
    stages = (Stage.RESIZE, Stage.SEGMENT, Stage.REGIONS, Stage.CROP, Stage.CLASSIFY, Stage.TOTAL)
    return Result(
        software="dermedge test",
        status=status,
        reasons=tuple(reasons),
        frame=FrameStamp("test:0", 1, size_wh, 1, "monotonic", captured_by, None, None, False),
        threshold=0.5,
        regions=None if regions is None else tuple(regions),
        regions_not_classified=sum(not region.classified for region in regions or ()),
        skin_tone=None if regions is None else SkinTone(34.8, "intermediate", 4000),
        quality=Quality(),
        timings_ms={stage: 1.5 * (index + 1) for index, stage in enumerate(stages)},
        engines={},
        label_text=label_text,
    )


def skin_rgb(ita_deg: float) -> tuple[int, int, int]:
    """A skin colour of one ITA: b* 18 on a* 12, which real skin has about in the middle.

    ITA = atan((L* - 50) / b*), so L* follows; CIELAB D65 to sRGB after IEC 61966-2-1.
    """
    lightness = float(np.clip(50 + 18 * math.tan(math.radians(ita_deg)), 8, 95))
    lab = np.array([[[lightness, 12.0, 18.0]]], np.float32)
    red, green, blue = np.rint(255 * cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)[0, 0]).astype(int)
    return int(red), int(green), int(blue)


def luminance(rgb: NDArray[np.generic] | tuple[int, ...]) -> NDArray[np.float64]:
    """Relative luminance, WCAG 2.2; last axis is RGB 0..255."""
    part = np.asarray(rgb, np.float64) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    weighted: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return weighted


def contrast(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Contrast ratio of two relative luminances, WCAG 2.2: 1 to 21."""
    return (np.maximum(one, other) + 0.05) / (np.minimum(one, other) + 0.05)


def write_font(path: Path, characters: list[int], features: str = "") -> Path:
    """A font with an empty glyph for each character, and the given feature rules."""
    names = [f"g{code:05X}" for code in characters]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap(dict(zip(characters, names, strict=True)))
    builder.setupGlyf({name: Glyph() for name in [".notdef", *names]})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names], (500, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    if features:
        builder.addOpenTypeFeatures(features)
    builder.save(path)
    return path
