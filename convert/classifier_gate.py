"""The gate for classifiers: likeliest classes and probabilities against the reference's."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convert.agreement import CLEAR_MARGIN, Box, ClassifierAgreement, classifier_agreement
from convert.diagnosis import classifier_fault
from convert.verdict import Times, drift, numbers_missing, refused, verdict_of
from edge.analysis.crops import CropBatch
from edge.analysis.networks import SUM_TOLERANCE, Classifier
from edge.engine_card import GateVerdict
from edge.engines.base import Engine
from edge.errors import ModelRefusedError
from models.manifest import Gate, Manifest

CROPS_MIN = 50
"""Fewer crops say nothing about a classifier."""

_SAMPLES = 200
"""Crops that are kept to tell what kind of fault a failing engine has."""

Float32 = NDArray[np.float32]
Uint8 = NDArray[np.uint8]


class ClassifierGate:
    """Judges one classifier.

    Its crops go through the candidate in batches whose sizes go round from 1 to the largest, and
    through the reference one by one: what a batch does to its crops shows as disagreement.

    Args:
        candidate: The engine to be judged; borrowed.
        reference: The same network in ONNX Runtime, float32; borrowed.
        manifest: Labels, limits and largest batch.
    """

    def __init__(self, candidate: Engine, reference: Engine, manifest: Manifest) -> None:
        self._candidate, self._manifest = candidate, manifest
        self._reference = Classifier(reference, manifest)
        self._crops = CropBatch(manifest)
        self._waiting: list[Uint8] = []
        self._batch = 1
        self._max_batch = max(1, min(candidate.max_batch, manifest.max_batch))
        self._expected: list[Float32] = []
        self._samples: list[Uint8] = []
        self._found: list[Float32] = []
        self._sizes: list[int] = []
        self._times = Times()
        self._batch_ms: list[float] = []
        self._failure = ""

    def add(self, pixels: Uint8, boxes: Sequence[Box]) -> None:
        """Take the crops of one frame in.

        Args:
            pixels: HxWx3 uint8 RGB, the full frame.
            boxes: Where to cut, in pixels of the frame.
        """
        for crop in self._crops.fit(pixels, boxes):
            self._waiting.append(crop.copy())
            if len(self._waiting) == self._batch and not self._failure:
                self._run(np.stack(self._waiting))
                self._waiting = []
                self._batch = self._batch % self._max_batch + 1

    def verdict(self, frames: int, golden_sha256: str) -> GateVerdict:
        """The verdict over all crops so far."""
        if self._waiting and not self._failure:
            self._run(np.stack(self._waiting))
            self._waiting = []
        if self._failure:
            return refused(self._failure, frames, golden_sha256, {})
        if len(self._found) < CROPS_MIN:
            few = f"{len(self._found)} crops, and {CROPS_MIN} are needed: add pictures with lesions"
            return refused(few, frames, golden_sha256, {})
        expected, answers = np.stack(self._expected), np.stack(self._found)
        found = classifier_agreement(expected, answers)
        limits = self._manifest.gate
        reasons = _classifier_reasons(found, limits)
        # What the product refuses from an engine is refused here, too.
        off = int((np.abs(answers.sum(axis=1) - 1.0) > SUM_TOLERANCE).sum())
        if off and not found.nan_values + found.infinite_values:
            reasons.insert(0, f"the classes of {off} crops do not add up to 1")
        if reasons and np.isfinite(answers).all():
            swapped = [
                self._reference.run(crop[np.newaxis, ..., ::-1])[0] for crop in self._samples
            ]
            sizes = np.array(self._sizes, np.intp)
            reasons.append(classifier_fault(expected, answers, np.stack(swapped), sizes))
        return verdict_of(
            reasons,
            frames,
            golden_sha256,
            limits={
                "top1_agreement_min": limits.top1_agreement_min,
                "probability_change_p99_max": limits.probability_change_p99_max,
            },
            figures={
                "crops": found.frames,
                "top1_agreement": found.top1_clear,
                "clear_crops": found.clear_frames,
                "top1_agreement_all": found.top1,
                "probability_change_p99": found.change_p99,
                "probability_change_max": found.change_max,
                "not_finite": found.nan_values + found.infinite_values,
                **self._times.figures(),
                "batch": self._max_batch,
                "batch_ms_median": float(np.median(self._batch_ms)) if self._batch_ms else None,
            },
        )

    def _run(self, crops: Uint8) -> None:
        if not self._found:
            self._warm_up(crops)
        answers = self._timed(crops)
        if answers is None:
            return
        for crop, answer in zip(crops, answers, strict=True):
            started = time.perf_counter()
            self._expected.append(self._reference.run(crop[np.newaxis])[0])
            self._times.reference_ms.append((time.perf_counter() - started) * 1e3)
            if len(self._samples) < _SAMPLES:
                self._samples.append(crop)
            self._found.append(answer)
            self._sizes.append(len(crops))

    def _warm_up(self, crops: Uint8) -> None:
        for size in range(1, self._max_batch + 1):
            batch = np.repeat(crops[:1], size, axis=0)
            try:
                self._candidate.infer({"rgb": batch})
            except ModelRefusedError:
                return  # the crops themselves say what is wrong

    def _timed(self, crops: Uint8) -> Float32 | None:
        started = time.perf_counter()
        try:
            outputs = self._candidate.infer({"rgb": crops})
        except ModelRefusedError as error:
            self._failure = f"it fails on a batch of {len(crops)}: {error.got}"
            return None
        spent_ms = (time.perf_counter() - started) * 1e3
        if len(crops) == 1:
            self._times.candidate_ms.append(spent_ms)
        if len(crops) == self._max_batch:
            self._batch_ms.append(spent_ms)
        # A copy: an engine may reuse its buffer.
        return np.array(outputs["probabilities"], np.float32)


def _classifier_reasons(found: ClassifierAgreement, limits: Gate) -> list[str]:
    reasons = numbers_missing(found.nan_values, found.infinite_values)
    if found.top1_clear is not None and not found.top1_clear >= limits.top1_agreement_min:
        reasons.append(
            f"same likeliest class in {found.top1_clear:.1%} of {found.clear_frames} crops with a "
            f"margin above {CLEAR_MARGIN:g}, below {limits.top1_agreement_min:.0%}"
        )
    return reasons + drift(found.change_p99, limits)
