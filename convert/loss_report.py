"""What a precision costs before any board sees it: golden frames in ONNX Runtime, in one line."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray

from convert.agreement import ClassifierAgreement, SegmenterAgreement
from convert.golden import GoldenFrame, GoldenFrames
from convert.half_reference import HalfReference
from convert.losses import classifier_losses, float32_reference, segmenter_losses
from edge.analysis.crops import CropBatch, padded_box
from edge.engine_card import Part
from models.manifest import Pack
from models.resize import fit_image

FRAMES = 24
"""The reference rounds every tensor, which takes a quarter of a second a frame."""


def report_losses(
    pack: Pack,
    part: Part,
    prepared: onnx.ModelProto,
    graph: onnx.ModelProto,
    golden: GoldenFrames,
    on_frame: Callable[[], None] = lambda: None,
) -> str:
    """Run a network in its precision beside itself in float32, and say how they differ.

    Args:
        pack: Manifests of both networks.
        part: Which of them.
        prepared: Its prepared graph.
        graph: The same in float16, or in INT8 over float16.
        golden: A few of these are taken, evenly.
        on_frame: Called for each.

    Raises:
        ModelRefusedError: A value left float16's range; its node is named.
        InputError: A frame cannot be read.
    """
    reference, candidate = float32_reference(prepared), HalfReference(graph)
    frames = []
    for frame in golden.thinned(FRAMES):
        frames += _seen(pack, part, frame)
        on_frame()
    manifest = pack.segmenter.manifest
    if part == "segmenter":
        words = _of_masks(segmenter_losses(reference, candidate, frames, manifest))
    else:
        words = _of_classes(classifier_losses(reference, candidate, frames))
    candidate.refuse_overflow()
    largest = candidate.activations[0]
    return f"{words}; largest value {largest.largest:.0f} of 65504 ({largest.node})"


def _seen(pack: Pack, part: Part, frame: GoldenFrame) -> list[NDArray[np.uint8]]:
    """What the network sees of a frame; the classifier sees the lesions, or else all of it."""
    if part == "segmenter":
        manifest = pack.segmenter.manifest
        return [fit_image(frame.pixels, manifest.size_wh, manifest.resize)[0]]
    size_wh = (frame.pixels.shape[1], frame.pixels.shape[0])
    rules = pack.segmenter.manifest.regions
    assert rules is not None  # the manifest checks that a segmenter has them
    boxes = [padded_box(box, size_wh, rules.padding_fraction) for box in frame.truth_boxes]
    batch = CropBatch(pack.classifier.manifest)
    return list(batch.fit(frame.pixels, boxes or [(0, 0, *size_wh)]).copy())


def _of_masks(found: SegmenterAgreement) -> str:
    smallest = "" if found.dice_min is None else f" (smallest {found.dice_min:.4f})"
    return (
        f"{found.frames} frames against float32: Dice {found.dice_mean:.4f}{smallest}, "
        f"without a region {found.blank_candidate} for {found.blank_reference}, "
        f"change of probability {found.change_p99:.4f} (99 %), {found.change_max:.4f} (largest)"
    )


def _of_classes(found: ClassifierAgreement) -> str:
    return (
        f"{found.frames} crops against float32: same class {found.top1:.4f}, "
        f"change of probability {found.change_p99:.4f} (99 %), {found.change_max:.4f} (largest)"
    )
