"""The gate for segmenters: masks, regions and probabilities against the reference's."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convert.agreement import (
    SMALL_BOX_IOU,
    SMALL_MASK_FRACTION,
    Box,
    SegmenterAgreement,
    SegmenterComparison,
    dice,
)
from convert.diagnosis import Sample, segmenter_fault
from convert.golden import GoldenFrame
from convert.verdict import Times, drift, numbers_missing, refused, verdict_of
from edge.analysis.networks import TOLERANCE, Segmenter
from edge.analysis.regions import find_regions
from edge.engine_card import GateVerdict
from edge.engines.base import Engine
from edge.errors import ModelRefusedError
from models.manifest import Gate, Manifest, RegionRules
from models.resize import Placement, fit_image

SMALL_AGREEMENT_MIN = 0.98
"""Share of the frames with small masks in which the regions' boxes must agree: a region just as
large as the smallest one allowed may come and go by rounding."""

LARGE_FRAMES_MIN = 20
"""With fewer frames in which there is something to find, a blank engine would agree."""

_SAMPLES = 8
_WARM_UP_RUNS = 3

Float32 = NDArray[np.float32]
Uint8 = NDArray[np.uint8]


class SegmenterGate:
    """Judges one segmenter.

    Args:
        candidate: The engine to be judged; borrowed.
        reference: The same network in float32.
        manifest: Threshold, region rules and limits.
    """

    def __init__(self, candidate: Engine, reference: Segmenter, manifest: Manifest) -> None:
        self._candidate, self._reference, self._manifest = candidate, reference, manifest
        self._threshold = threshold_of(manifest)
        self._comparison = SegmenterComparison(self._threshold)
        self._times = Times()
        self._truth: list[tuple[float, float]] = []
        self._samples: list[Sample] = []
        self._worst = ""
        self._worst_dice = 2.0
        self._failure = ""
        self._beyond = 0

    def add(
        self,
        frame: GoldenFrame,
        picture: Uint8,
        placement: Placement,
        expected: Float32,
        boxes: Sequence[Box],
        reference_ms: float,
    ) -> None:
        """Take one frame in.

        Args:
            frame: The golden frame.
            picture: It, fitted to the network's input.
            placement: How it was fitted.
            expected: The reference's probabilities.
            boxes: Boxes of the reference's regions, in pixels of the frame.
            reference_ms: How long the reference took.
        """
        if self._failure:
            return
        if not self._times.candidate_ms:
            self._warm_up(picture)
        found = self._answer(frame, picture)
        if found is None:
            return
        self._times.reference_ms.append(reference_ms)
        # What the product refuses from an engine is refused here, too.
        self._beyond += int(((found < -TOLERANCE) | (found > 1.0 + TOLERANCE)).sum())
        x0, y0, x1, y1 = placement.target_xyxy
        # What lies beyond the frame is nobody's answer, but a NaN there refuses the model too.
        seen = np.s_[y0:y1, x0:x1] if np.isfinite(found).all() else np.s_[:, :]
        overlap = self._comparison.add(
            expected[seen],
            found[seen],
            boxes,
            region_boxes(found, placement, self._manifest),
        )
        large = bool((expected[seen] >= np.float32(self._threshold)).mean() >= SMALL_MASK_FRACTION)
        if large and overlap < self._worst_dice:
            self._worst, self._worst_dice = frame.name, overlap
        if large and len(self._samples) < _SAMPLES and np.isfinite(found).all():
            self._samples.append(Sample(picture.copy(), expected, found))
        if frame.truth is not None:
            self._truth.append(self._against_truth(frame, placement, expected, found))

    def verdict(self, frames: int, golden_sha256: str) -> GateVerdict:
        """The verdict over all frames so far."""
        limits = self._manifest.gate
        if self._failure or not self._times.candidate_ms:
            return refused(self._failure or "there was no frame", frames, golden_sha256, {})
        found = self._comparison.agreement()
        reasons = _segmenter_reasons(found, limits, self._worst)
        if self._beyond:
            reasons.insert(0, f"{self._beyond} values are not between 0 and 1")
        if found.large_frames < LARGE_FRAMES_MIN:
            reasons.append(
                f"the reference marks something large in {found.large_frames} frames only, which "
                f"decides nothing: give {LARGE_FRAMES_MIN} pictures with lesions (--frames)"
            )
        if reasons:
            fault = segmenter_fault(
                self._samples, self._threshold, lambda p: self._reference.run(p).copy()
            )
            reasons += [fault] if fault else []
        truth = np.array(self._truth) if self._truth else None
        return verdict_of(
            reasons,
            frames,
            golden_sha256,
            limits={
                "dice_mean_min": limits.dice_mean_min,
                "dice_min": limits.dice_min,
                "small_agreement_min": SMALL_AGREEMENT_MIN,
                "blank_rate_max": found.blank_rate_reference,
                "probability_change_p99_max": limits.probability_change_p99_max,
            },
            figures={
                "dice_mean": found.dice_mean,
                "dice_min": found.dice_min,
                "large_frames": found.large_frames,
                "small_agreement": _small_agreement(found),
                "small_frames": found.small_frames,
                "blank_rate": found.blank_rate_candidate,
                "mask_area_ratio": found.area_ratio,
                "probability_change_p99": found.change_p99,
                "probability_change_max": found.change_max,
                "not_finite": found.nan_values + found.infinite_values,
                "dice_truth": None if truth is None else float(truth[:, 1].mean()),
                "dice_truth_reference": None if truth is None else float(truth[:, 0].mean()),
                **self._times.figures(),
            },
        )

    def _warm_up(self, picture: Uint8) -> None:
        for _ in range(_WARM_UP_RUNS):
            try:
                self._candidate.infer({"rgb": picture[np.newaxis]})
            except ModelRefusedError:
                return  # the frame itself says what is wrong

    def _answer(self, frame: GoldenFrame, picture: Uint8) -> Float32 | None:
        started = time.perf_counter()
        try:
            outputs = self._candidate.infer({"rgb": picture[np.newaxis]})
        except ModelRefusedError as error:
            self._failure = f"it fails on {frame.name}: {error.got}"
            return None
        self._times.candidate_ms.append((time.perf_counter() - started) * 1e3)
        # A copy: an engine may reuse its buffer.
        return np.array(outputs["probability"][0], np.float32)

    def _against_truth(
        self, frame: GoldenFrame, placement: Placement, expected: Float32, found: Float32
    ) -> tuple[float, float]:
        """Dice of reference and candidate against the known lesions, on the network's grid."""
        assert frame.truth is not None
        drawn = frame.truth.astype(np.uint8)[..., np.newaxis] * np.uint8(255)
        fitted, _ = fit_image(drawn, self._manifest.size_wh, self._manifest.resize)
        x0, y0, x1, y1 = placement.target_xyxy
        seen = np.s_[y0:y1, x0:x1]
        truth = fitted.reshape(fitted.shape[:2])[seen] >= 128
        limit = np.float32(self._threshold)
        return dice(truth, expected[seen] >= limit), dice(truth, found[seen] >= limit)


def region_boxes(probability: Float32, placement: Placement, manifest: Manifest) -> list[Box]:
    """Boxes of the regions in the whole frame, the largest first; none where a value is no number.

    Args:
        probability: float32 [H,W] in the network's input size.
        placement: Where the frame lies in that input.
        manifest: Threshold and region rules.
    """
    if not np.isfinite(probability).all():
        return []
    width, height = placement.source_wh
    mask = np.empty((height, width), np.uint8)
    clipped = np.clip(probability, 0.0, 1.0)
    found = find_regions(clipped, placement, threshold_of(manifest), region_rules(manifest), mask)
    return [region.box_xyxy for region in found]


def _segmenter_reasons(found: SegmenterAgreement, limits: Gate, worst: str) -> list[str]:
    reasons = numbers_missing(found.nan_values, found.infinite_values)
    if found.blank_candidate > found.blank_reference:
        reasons.append(
            f"no region in {found.blank_candidate} of {found.frames} frames, the reference has "
            f"none in {found.blank_reference}"
        )
    if not found.dice_mean >= limits.dice_mean_min:
        reasons.append(f"mean Dice {found.dice_mean:.4f} below {limits.dice_mean_min:g}")
    if found.dice_min is not None and not found.dice_min >= limits.dice_min:
        reasons.append(f"Dice {found.dice_min:.4f} on {worst} below {limits.dice_min:g}")
    small = _small_agreement(found)
    if small is not None and small < SMALL_AGREEMENT_MIN:
        reasons.append(
            f"boxes of small regions agree (IoU of at least {SMALL_BOX_IOU:g}) in {small:.1%} of "
            f"{found.small_frames} frames, below {SMALL_AGREEMENT_MIN:.0%}"
        )
    reasons += drift(found.change_p99, limits)
    return reasons


def _small_agreement(found: SegmenterAgreement) -> float | None:
    if not found.small_frames:
        return None
    return 1.0 - found.small_disagreeing / found.small_frames


def threshold_of(manifest: Manifest) -> float:
    assert manifest.output.threshold is not None  # the manifest checks that a segmenter has one
    return manifest.output.threshold


def region_rules(manifest: Manifest) -> RegionRules:
    assert manifest.regions is not None  # as above
    return manifest.regions
