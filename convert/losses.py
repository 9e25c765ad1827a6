"""What a change of precision costs: a candidate against float32 in ONNX Runtime, before any board.

Frames are taken as the network sees them, fitted to its input. Regions are found on the network's
own grid, by the rules of the manifest; the gate on a device finds them in the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from numpy.typing import NDArray

from convert.agreement import (
    Box,
    ClassifierAgreement,
    SegmenterAgreement,
    classifier_agreement,
    segmenter_agreement,
)
from convert.prepare import INPUT_NAME
from convert.trial import CannotRunError, TrialSession
from edge.analysis.regions import find_regions
from models.errors import InputError, ModelRefusedError
from models.manifest import Manifest
from models.resize import place

Candidate = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From uint8 [N,H,W,3] to the prepared graph's output, float32 [N,H,W] or [N,C]."""


def segmenter_losses(
    reference: Candidate,
    candidate: Candidate,
    frames: Iterable[NDArray[np.uint8]],
    manifest: Manifest,
) -> SegmenterAgreement:
    """Dice, blank frames, marked area and change of probability of a segmenter.

    Args:
        reference: The same network in float32 (:func:`float32_reference`).
        candidate: What is judged.
        frames: uint8 [H,W,3] in the network's input size, one at a time.
        manifest: Threshold and region rules.

    Raises:
        InputError: There is no frame.
        ModelRefusedError: One of the two cannot be run, or the reference gives no numbers.
    """
    expected, found = _answers(reference, candidate, frames)
    threshold = manifest.output.threshold
    assert threshold is not None  # the manifest checks that a segmenter has one
    return segmenter_agreement(
        expected,
        found,
        threshold,
        [_boxes(probability, manifest) for probability in expected],
        [_boxes(probability, manifest) for probability in found],
    )


def classifier_losses(
    reference: Candidate, candidate: Candidate, frames: Iterable[NDArray[np.uint8]]
) -> ClassifierAgreement:
    """Agreement of the likeliest class, and change of probability, of a classifier.

    Args:
        reference: The same network in float32 (:func:`float32_reference`).
        candidate: What is judged.
        frames: uint8 [H,W,3] in the network's input size, one at a time.

    Raises:
        InputError: There is no frame.
        ModelRefusedError: One of the two cannot be run, or the reference gives no numbers.
    """
    return classifier_agreement(*_answers(reference, candidate, frames))


def float32_reference(prepared: onnx.ModelProto) -> Candidate:
    """The prepared graph in ONNX Runtime, as a candidate among others.

    Raises:
        ModelRefusedError: It cannot be loaded; the function that is returned raises the same where
            it fails on a batch.
    """
    try:
        session = TrialSession(prepared)
    except CannotRunError as error:
        raise _cannot_run(error) from error

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            (output,) = session.run({INPUT_NAME: pixels})
        except CannotRunError as error:
            raise _cannot_run(error) from error
        return np.asarray(output, np.float32)

    return run


def _answers(
    reference: Candidate, candidate: Candidate, frames: Iterable[NDArray[np.uint8]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    expected, found = [], []
    for frame in frames:
        batch = frame[np.newaxis]
        # Copies: an engine may reuse its buffer.
        expected.append(np.array(reference(batch), np.float32))
        found.append(np.array(candidate(batch), np.float32))
    if not expected:
        raise InputError(
            "pictures to compare precisions on", got="none", next_step="name a folder of pictures"
        )
    return np.concatenate(expected), np.concatenate(found)


def _boxes(probability: NDArray[np.float32], manifest: Manifest) -> list[Box]:
    """Boxes of the regions; none where a value is no number, as there is no answer then."""
    rules, threshold = manifest.regions, manifest.output.threshold
    assert rules is not None and threshold is not None  # as above
    if not np.isfinite(probability).all():
        return []
    height, width = probability.shape
    placement = place((width, height), (width, height), manifest.resize)
    mask = np.empty((height, width), np.uint8)
    return [r.box_xyxy for r in find_regions(probability, placement, threshold, rules, mask)]


def _cannot_run(error: CannotRunError) -> ModelRefusedError:
    return ModelRefusedError(
        "a prepared graph that ONNX Runtime can run",
        got=str(error),
        next_step="prepare it again: dermedge-convert prepare PACK",
    )
