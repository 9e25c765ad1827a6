"""How far a candidate's answers are from the reference's: measures in numpy, without any engine.

The losses that a conversion prints and the gate that a device must pass count alike, because both
count here. A value that is no number (NaN or infinite) is never left out: its frame has Dice 0, its
class is another one, its probability changed by 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelRefusedError

SMALL_MASK_FRACTION = 0.005
"""A reference mask that covers less of its frame is judged by its boxes, not by its Dice."""

SMALL_BOX_IOU = 0.5
"""Overlap from which two boxes agree."""

CLEAR_MARGIN = 0.1
"""A reference is sure of its class where its two likeliest ones are further apart than this."""

_CHANGE_STEPS = 10_000
"""Changes of probability are counted in steps of a ten-thousandth, rounded up."""

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1; half-open."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class SegmenterAgreement:
    """A segmenter against its reference.

    Attributes:
        frames: How many were compared; all figures rest on them unless said otherwise.
        dice_mean: Mean Dice of the masks; 1 for a frame in which both are empty.
        large_frames: Frames whose reference mask covers at least 0.5 %.
        dice_min: Smallest Dice among those; ``None`` where there is none.
        dice_min_frame: Index of that frame.
        small_frames: The other frames.
        small_iou_min: Smallest box agreement among those (:func:`box_agreement`); ``None`` where
            there is none.
        small_disagreeing: Those among them whose box agreement is below 0.5.
        blank_reference: Frames in which the reference has no region.
        blank_candidate: Frames in which the candidate has none.
        area_ratio: Pixels that the candidate marks over those that the reference marks, in all
            frames together; ``None`` where the reference marks none.
        change_p99: What 99 % of the changes of probability do not pass, over all pixels, rounded up
            to a ten-thousandth.
        change_max: Largest change of probability.
        nan_values: Pixels for which the candidate gave NaN.
        infinite_values: Pixels for which it gave an infinity.
    """

    frames: int
    dice_mean: float
    large_frames: int
    dice_min: float | None
    dice_min_frame: int | None
    small_frames: int
    small_iou_min: float | None
    small_disagreeing: int
    blank_reference: int
    blank_candidate: int
    area_ratio: float | None
    change_p99: float
    change_max: float
    nan_values: int
    infinite_values: int

    @property
    def blank_rate_reference(self) -> float:
        """Share of frames in which the reference has no region."""
        return self.blank_reference / self.frames

    @property
    def blank_rate_candidate(self) -> float:
        """Share of frames in which the candidate has no region."""
        return self.blank_candidate / self.frames


@dataclass(frozen=True)
class ClassifierAgreement:
    """A classifier against its reference.

    Attributes:
        frames: How many were compared; all figures rest on them unless said otherwise.
        top1: Share of frames with the same likeliest class.
        clear_frames: Frames in which the reference's two likeliest classes are more than 0.1 apart.
        top1_clear: Share of those with the same likeliest class; ``None`` where there is none.
        change_p99: 99th percentile of the change of probability, over all classes of all frames.
        change_max: Largest change of probability.
        nan_values: Probabilities that are NaN in the candidate.
        infinite_values: Probabilities that are infinite there.
    """

    frames: int
    top1: float
    clear_frames: int
    top1_clear: float | None
    change_p99: float
    change_max: float
    nan_values: int
    infinite_values: int


class SegmenterComparison:
    """Compares a segmenter with its reference frame by frame; holds no picture.

    Args:
        threshold: A pixel is marked from here on.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._dices: list[float] = []
        self._large: list[bool] = []
        self._small_ious: list[float] = []
        self._blank_reference = self._blank_candidate = 0
        self._marked = self._found = 0
        self._nan = self._infinite = 0
        self._changes = np.zeros(_CHANGE_STEPS + 1, np.int64)
        self._change_max = 0.0

    def add(
        self,
        reference: Float32,
        candidate: Float32,
        reference_boxes: Sequence[Box],
        candidate_boxes: Sequence[Box],
    ) -> float:
        """Take one frame in.

        Args:
            reference: float32 [H,W].
            candidate: As ``reference``.
            reference_boxes: Boxes of the regions, after the region rules.
            candidate_boxes: Likewise.

        Returns:
            The Dice of this frame.

        Raises:
            ModelRefusedError: Shapes differ, or the reference holds a value that is no number.
        """
        _refuse_incomparable(reference[np.newaxis], candidate[np.newaxis], len(self._dices))
        mask, found = _mask(reference, self._threshold), _mask(candidate, self._threshold)
        overlap = dice(mask, found) if np.isfinite(candidate).all() else 0.0
        self._dices.append(overlap)
        self._large.append(bool(mask.mean() >= SMALL_MASK_FRACTION))
        if not self._large[-1]:
            self._small_ious.append(box_agreement(reference_boxes, candidate_boxes))
        self._blank_reference += not reference_boxes
        self._blank_candidate += not candidate_boxes
        self._marked += int(mask.sum())
        self._found += int(found.sum())
        self._nan += int(np.isnan(candidate).sum())
        self._infinite += int(np.isinf(candidate).sum())
        changes = probability_changes(reference, candidate)
        self._change_max = max(self._change_max, float(changes.max()))
        steps = np.ceil(np.minimum(changes, 1.0) * _CHANGE_STEPS).astype(np.int64).ravel()
        self._changes += np.bincount(steps, minlength=_CHANGE_STEPS + 1)
        return overlap

    def agreement(self) -> SegmenterAgreement:
        """The figures over all frames so far.

        Raises:
            ModelRefusedError: There was no frame.
        """
        dices, large = np.array(self._dices), np.array(self._large)
        if not len(dices):
            raise _incomparable("none")
        worst = int(np.where(large, dices, np.inf).argmin()) if large.any() else None
        # The smallest step that 99 % of the changes do not pass.
        reached = np.cumsum(self._changes) >= 0.99 * self._changes.sum()
        return SegmenterAgreement(
            frames=len(dices),
            dice_mean=float(dices.mean()),
            large_frames=int(large.sum()),
            dice_min=None if worst is None else float(dices[worst]),
            dice_min_frame=worst,
            small_frames=len(self._small_ious),
            small_iou_min=min(self._small_ious, default=None),
            small_disagreeing=sum(iou < SMALL_BOX_IOU for iou in self._small_ious),
            blank_reference=self._blank_reference,
            blank_candidate=self._blank_candidate,
            area_ratio=self._found / self._marked if self._marked else None,
            change_p99=min(int(reached.argmax()) / _CHANGE_STEPS, self._change_max),
            change_max=self._change_max,
            nan_values=self._nan,
            infinite_values=self._infinite,
        )


def segmenter_agreement(
    reference: Float32,
    candidate: Float32,
    threshold: float,
    reference_boxes: Sequence[Sequence[Box]],
    candidate_boxes: Sequence[Sequence[Box]],
) -> SegmenterAgreement:
    """Compare probability maps and the regions found in them.

    Args:
        reference: float32 [N,H,W], at least one frame.
        candidate: As ``reference``.
        threshold: A pixel is marked from here on.
        reference_boxes: For each frame the boxes of its regions, after the region rules.
        candidate_boxes: Likewise.

    Raises:
        ModelRefusedError: Shapes differ, there is no frame, or the reference holds a value that is
            no number.
    """
    if reference.shape != candidate.shape or not len(reference):
        raise _incomparable(f"{candidate.shape} and {reference.shape}")
    comparison = SegmenterComparison(threshold)
    for frame in zip(reference, candidate, reference_boxes, candidate_boxes, strict=True):
        comparison.add(*frame)
    return comparison.agreement()


def classifier_agreement(reference: Float32, candidate: Float32) -> ClassifierAgreement:
    """Compare class probabilities.

    Args:
        reference: float32 [N,C], at least one frame and two classes.
        candidate: As ``reference``.

    Raises:
        ModelRefusedError: Shapes differ, there is no frame, or the reference holds a value that is
            no number.
    """
    _refuse_incomparable(reference, candidate)
    ordered = np.sort(reference, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > CLEAR_MARGIN
    same = reference.argmax(axis=1) == candidate.argmax(axis=1)
    same &= np.isfinite(candidate).all(axis=1)
    changes = probability_changes(reference, candidate)
    return ClassifierAgreement(
        frames=len(reference),
        top1=float(same.mean()),
        clear_frames=int(clear.sum()),
        top1_clear=float(same[clear].mean()) if clear.any() else None,
        change_p99=float(np.percentile(changes, 99)),
        change_max=float(changes.max()),
        nan_values=int(np.isnan(candidate).sum()),
        infinite_values=int(np.isinf(candidate).sum()),
    )


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """``2 |A and B| / (|A| + |B|)`` of two masks; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def probability_changes(reference: Float32, candidate: Float32) -> Float32:
    """Absolute differences, value by value; 1 where the candidate's is no number."""
    finite = np.isfinite(candidate)
    changes = np.abs(np.where(finite, candidate, np.float32(0)) - reference)
    return np.asarray(np.where(finite, changes, np.float32(1)), np.float32)


def box_agreement(a: Sequence[Box], b: Sequence[Box]) -> float:
    """How well two sets of boxes agree, 0..1.

    Each box is compared with the one of the other set that overlaps it best (intersection over
    union); the worst of these counts. 1 where both sets are empty, 0 where only one is.
    """
    if not a or not b:
        return float(len(a) == len(b))
    overlaps = np.array([[_iou(one, other) for other in b] for one in a])
    return float(min(overlaps.max(axis=1).min(), overlaps.max(axis=0).min()))


def _iou(a: Box, b: Box) -> float:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union else 0.0


def _mask(values: Float32, threshold: float) -> NDArray[np.bool_]:
    # As the product compares: in float32. NaN is never marked.
    return np.asarray(values >= np.float32(threshold))


def _refuse_incomparable(reference: Float32, candidate: Float32, first: int = 0) -> None:
    """Refuse answers [N,...] of different shapes, none at all, or a reference without numbers."""
    if reference.shape != candidate.shape or not len(reference):
        raise _incomparable(f"{candidate.shape} and {reference.shape}")
    if not np.isfinite(reference).all():
        wrong = int(np.argmin(np.isfinite(reference).reshape(len(reference), -1).all(axis=1)))
        raise ModelRefusedError(
            "a reference in float32 that gives numbers",
            got=f"NaN or infinity for frame {first + wrong}",
            next_step="check the network itself: dermedge-convert check PACK",
        )


def _incomparable(got: str) -> ModelRefusedError:
    return ModelRefusedError(
        "answers to the same frames, at least one, from candidate and reference",
        got=got,
        next_step="compare engines of one and the same model",
    )
