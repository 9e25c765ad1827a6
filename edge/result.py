"""What was found in one frame: the same object on the screen, on disk and on the wire.

The JSON form is ``dermedge.result/1``. Coordinates are pixels of the full upright frame, origin
top left, x right, y down; boxes are half-open. Unknown is ``null``, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from edge.engines.base import EngineIdentity

SCHEMA = "dermedge.result/1"
DISCLAIMER = "Research prototype. Not for diagnosis."
UNVALIDATED = "classes are unvalidated"
"""Among the reasons of every Result whose classes come from a model that nobody has validated."""

NO_COLOUR = "a grey picture: it has no colour to measure"
"""Among the reasons of every answer about a picture without colour; its colour fields are null."""

Status = Literal[
    "ok", "nothing_found", "poor_quality", "no_live_image", "model_refused", "analysis_failed"
]
ANSWERED: tuple[Status, ...] = ("ok", "nothing_found")
"""The only statuses that carry regions: a blank answer is not a healthy answer."""

FAILED: tuple[Status, ...] = ("model_refused", "analysis_failed")
"""Statuses that are the program's or the model's fault, and say nothing of the picture."""

STATUS_WORDS: Mapping[Status, str] = {
    "ok": "Regions found",
    "nothing_found": "Nothing found",
    "poor_quality": "Picture quality too poor",
    "no_live_image": "NO LIVE IMAGE",
    "model_refused": "Model refused",
    "analysis_failed": "Analysis failed",
}


class Stage(str, Enum):
    """Names of the measured stages; keys of ``timings_ms``, of metrics and of reports.

    ``total`` is the wall time of the whole analysis; the others are its parts. ``draw`` and
    ``present`` happen after a Result is made and are reported by the loop only.
    """

    RESIZE = "resize"
    SEGMENT = "segment"
    REGIONS = "regions"
    CROP = "crop"
    CLASSIFY = "classify"
    COLOUR = "colour"
    QUALITY = "quality"
    TRACK = "track"
    TOTAL = "total"
    DRAW = "draw"
    PRESENT = "present"


@dataclass(frozen=True)
class ClassProbability:
    """One label with its temperature-scaled probability (0..1)."""

    label: str
    probability: float


def percent(probability: float) -> str:
    """A probability as people read it; never 0% or 100%, which no model can know."""
    if probability >= 0.995:
        return ">99%"
    if probability <= 0.005:  # half a percent itself would be rounded to 0%
        return "<1%"
    return f"{100 * probability:.0f}%"


def percent_below(probability: float, limit: float) -> str:
    """A probability below ``limit`` in as many digits as make it look below."""
    for digits in range(4):
        shown = round(100.0 * probability, digits)
        if shown < 100.0 * limit:
            return f"{shown:.{digits}f}%" if digits else percent(probability)
    return f"just under {100.0 * limit:g}%"


@dataclass(frozen=True)
class Contour:
    """One closed outline: ``points`` is ((x, y), ...) in pixels; holes run inside their region."""

    points: tuple[tuple[int, int], ...]
    hole: bool = False


@dataclass(frozen=True)
class RegionColour:
    """Colour of a region and its difference from the perilesional ring.

    ``ei`` is the median of 100*log10(R/G) on linearised sRGB, ``a_star`` the median CIELAB D65 a*,
    ``q_hem`` and ``q_mel`` median pigment quantities in arbitrary units. Deltas are region minus
    ring and ``None`` where the ring is too small. ``ring_px`` counts full-frame pixels.
    ``erythema_reliable`` is false with a ``reason`` in words.
    """

    ei: float | None
    a_star: float | None
    q_hem: float | None
    q_mel: float | None
    delta_ei: float | None
    delta_a_star: float | None
    delta_q_hem: float | None
    delta_q_mel: float | None
    ring_px: int
    erythema_reliable: bool
    reason: str | None


@dataclass(frozen=True)
class Region:
    """One connected piece of abnormal skin.

    Attributes:
        letter: A..Z, AA..; by area in a still.
        track_id: Identity over time in a stream, ``None`` in a still.
        box_xyxy: Half-open bounding box of the region itself (no padding), in pixels.
        contours: Outer outlines and holes.
        area_px: Pixels of the region in the frame (holes not counted).
        area_fraction: ``area_px`` over the frame's pixels.
        score: Mean segmentation probability inside the region, 0..1.
        classified: False where the region was beyond ``max_regions``.
        abstained: True where no class is probable enough to be named.
        abstain_reason: Why, in words.
        classes: At most 5, descending; ``None`` where not classified.
        colour: Colour statistics, or ``None`` where they could not be taken.
    """

    letter: str
    track_id: int | None
    box_xyxy: tuple[int, int, int, int]
    contours: tuple[Contour, ...]
    area_px: int
    area_fraction: float
    score: float
    classified: bool
    abstained: bool
    abstain_reason: str | None
    classes: tuple[ClassProbability, ...] | None
    colour: RegionColour | None


@dataclass(frozen=True)
class SkinTone:
    """Individual typology angle of non-lesional skin; ``None`` where too little skin is seen."""

    ita_deg: float | None
    group: str | None
    skin_px: int
    calibrated: bool = False
    binning: str = "Del Bino"


@dataclass(frozen=True)
class Quality:
    """Measures of the picture itself; ``None`` where not measured.

    ``sharpness`` is documented where it is computed; ``glare_fraction`` and ``skin_fraction`` are
    fractions of the frame; ``exposure`` is the mean linear luminance, 0..1.
    """

    sharpness: float | None = None
    glare_fraction: float | None = None
    exposure: float | None = None
    skin_fraction: float | None = None


@dataclass(frozen=True)
class FrameStamp:
    """The frame a result belongs to, without its pixels."""

    source: str
    id: int
    size_wh: tuple[int, int]
    captured_ns: int | None
    captured_clock: str | None
    captured_by: str
    boot_id: str | None
    wall: str | None
    wall_trusted: bool
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Result:
    """Everything known about one frame.

    ``regions`` is ``None`` unless ``status`` is ``ok`` or ``nothing_found``; ``reasons`` says in
    words why there is no answer, or what to keep in mind about it, such as the frame's notes.

    Raises:
        ValueError: Regions are given with a status that has no answer, or the other way round.
    """

    software: str
    status: Status
    reasons: tuple[str, ...]
    frame: FrameStamp
    threshold: float | None
    regions: tuple[Region, ...] | None
    regions_not_classified: int
    skin_tone: SkinTone | None
    quality: Quality
    timings_ms: Mapping[Stage, float]
    engines: Mapping[str, EngineIdentity]
    label_text: Mapping[str, str] = field(default_factory=dict)
    """Display text of each label, from the manifest; not part of the JSON."""

    def __post_init__(self) -> None:
        if (self.status in ANSWERED) != (self.regions is not None):
            raise ValueError(
                f"status {self.status!r} must {'' if self.status in ANSWERED else 'not '}"
                "carry regions"
            )

    def to_json_dict(self) -> dict[str, Any]:
        """The ``dermedge.result/1`` object, ready for ``json.dumps(..., allow_nan=False)``."""
        return {
            "schema": SCHEMA,
            "software": self.software,
            "status": self.status,
            "reasons": list(self.reasons),
            "frame": _frame_json(self.frame),
            "threshold": self.threshold,
            "regions": None if self.regions is None else [_region_json(r) for r in self.regions],
            "regions_not_classified": self.regions_not_classified,
            "skin_tone": None if self.skin_tone is None else _skin_tone_json(self.skin_tone),
            "quality": {
                "sharpness": _rounded(self.quality.sharpness, 4),
                "glare_fraction": _rounded(self.quality.glare_fraction, 4),
                "exposure": _rounded(self.quality.exposure, 4),
                "skin_fraction": _rounded(self.quality.skin_fraction, 4),
            },
            "timings_ms": {s.value: _rounded(ms, 3) for s, ms in self.timings_ms.items()},
            "engines": {role: _engine_json(e) for role, e in self.engines.items()},
        }


def letters(index: int) -> str:
    """Spreadsheet letters: 0 is ``A``, 25 is ``Z``, 26 is ``AA``."""
    text = ""
    index += 1
    while index > 0:
        index, digit = divmod(index - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def _rounded(value: float | None, digits: int) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) + 0.0  # a rounded -0.001 would be written as -0.0


def _frame_json(frame: FrameStamp) -> dict[str, Any]:
    return {
        "source": frame.source,
        "id": frame.id,
        "size_wh": list(frame.size_wh),
        "captured_ns": frame.captured_ns,
        "captured_clock": frame.captured_clock,
        "captured_by": frame.captured_by,
        "boot_id": frame.boot_id,
        "wall": frame.wall,
        "wall_trusted": frame.wall_trusted,
        "settings": None if frame.settings is None else dict(frame.settings),
    }


def _region_json(region: Region) -> dict[str, Any]:
    return {
        "letter": region.letter,
        "track_id": region.track_id,
        "box_xyxy": list(region.box_xyxy),
        "contours_xy": [
            {"hole": c.hole, "points": [list(point) for point in c.points]} for c in region.contours
        ],
        "area_px": region.area_px,
        "area_fraction": _rounded(region.area_fraction, 6),
        "score": _rounded(region.score, 4),
        "classified": region.classified,
        "abstained": region.abstained,
        "abstain_reason": region.abstain_reason,
        "classes": None
        if region.classes is None
        else [
            {"label": c.label, "probability": _rounded(c.probability, 4)} for c in region.classes
        ],
        "colour": None if region.colour is None else _colour_json(region.colour),
    }


def _colour_json(colour: RegionColour) -> dict[str, Any]:
    return {
        "ei": _rounded(colour.ei, 2),
        "a_star": _rounded(colour.a_star, 2),
        "q_hem": _rounded(colour.q_hem, 3),
        "q_mel": _rounded(colour.q_mel, 3),
        "delta_ei": _rounded(colour.delta_ei, 2),
        "delta_a_star": _rounded(colour.delta_a_star, 2),
        "delta_q_hem": _rounded(colour.delta_q_hem, 3),
        "delta_q_mel": _rounded(colour.delta_q_mel, 3),
        "ring_px": colour.ring_px,
        "erythema_reliable": colour.erythema_reliable,
        "reason": colour.reason,
    }


def _skin_tone_json(tone: SkinTone) -> dict[str, Any]:
    return {
        "ita_deg": _rounded(tone.ita_deg, 1),
        "binning": tone.binning,
        "group": tone.group,
        "skin_px": tone.skin_px,
        "calibrated": tone.calibrated,
    }


def _engine_json(engine: EngineIdentity) -> dict[str, Any]:
    return {
        "name": engine.name,
        "version": engine.version,
        "backend": engine.backend,
        "precision": engine.precision,
        "model_sha256": engine.model_sha256,
        "engine_sha256": engine.engine_sha256,
    }
