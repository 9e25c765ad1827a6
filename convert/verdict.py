"""Verdicts of the gate, and what both judges say in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.engine_card import GateVerdict
from models.manifest import Gate

FRAMES_MIN = 200
"""Fewer golden frames decide nothing."""


@dataclass
class Times:
    """Milliseconds for one picture at a time."""

    candidate_ms: list[float] = field(default_factory=list)
    reference_ms: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float | None]:
        figures: dict[str, float | None] = {}
        for prefix, values in (("", self.candidate_ms), ("reference_", self.reference_ms)):
            for name, share in (("median", 50), ("p95", 95)):
                figures[f"{prefix}latency_ms_{name}"] = (
                    float(np.percentile(values, share)) if values else None
                )
        return figures


def verdict_of(
    reasons: Sequence[str],
    frames: int,
    golden_sha256: str,
    *,
    limits: dict[str, float],
    figures: dict[str, float | None],
) -> GateVerdict:
    reasons = list(reasons)
    if frames < FRAMES_MIN:
        reasons.append(f"{frames} golden frames decide nothing, {FRAMES_MIN} are needed")
    return GateVerdict(
        passed=not reasons,
        reasons=tuple(reasons),
        frames=frames,
        golden_sha256=golden_sha256,
        reference="ONNX Runtime, float32",
        limits={**limits, "frames_min": FRAMES_MIN},
        figures=figures,
    )


def refused(reason: str, frames: int, golden_sha256: str, limits: dict[str, float]) -> GateVerdict:
    return verdict_of([reason], frames, golden_sha256, limits=limits, figures={})


def numbers_missing(nan: int, infinite: int) -> list[str]:
    kinds = [f"{count} values are {kind}" for count, kind in ((nan, "NaN"), (infinite, "infinite"))]
    return [words for words, count in zip(kinds, (nan, infinite), strict=True) if count]


def drift(p99: float, limits: Gate) -> list[str]:
    limit = limits.probability_change_p99_max
    if p99 <= limit:
        return []
    return [f"one probability in a hundred changes by {p99:.3f} or more, above {limit:g}"]
