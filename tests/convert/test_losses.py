"""What a precision costs, through the real graphs: float16 holds, planted damage shows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.agreement import ClassifierAgreement, SegmenterAgreement
from convert.half_reference import HalfReference
from convert.losses import Candidate, classifier_losses, float32_reference, segmenter_losses
from convert.precision import graph_for
from convert.prepare import prepare_model
from models.errors import InputError, ModelRefusedError
from models.manifest import Model, Pack, find_pack, load_pack
from models.phantom import random_spec, render
from models.resize import fit_image


def fitted_phantoms(model: Model, count: int) -> list[NDArray[np.uint8]]:
    manifest = model.manifest
    pictures = [render(random_spec(seed)).pixels for seed in range(count)]
    return [fit_image(p, manifest.size_wh, manifest.resize)[0] for p in pictures]


def losses(model: Model, candidate: Candidate, count: int):
    """Of any model's candidate on some phantoms."""
    reference = float32_reference(prepare_model(model.read_onnx(), model.manifest))
    frames = fitted_phantoms(model, count)
    if model.manifest.task == "segmentation":
        return segmenter_losses(reference, candidate, frames, model.manifest)
    return classifier_losses(reference, candidate, frames)


def half_of(model: Model) -> HalfReference:
    prepared = prepare_model(model.read_onnx(), model.manifest)
    return HalfReference(graph_for(model, prepared, "fp16"))


@pytest.fixture(scope="module")
def tiny(tiny_pack) -> Pack:
    return load_pack(tiny_pack)


def single_of(model: Model) -> Candidate:
    return float32_reference(prepare_model(model.read_onnx(), model.manifest))


def test_the_reference_loses_nothing_against_itself(tiny: Pack) -> None:
    masks = losses(tiny.segmenter, single_of(tiny.segmenter), 4)
    assert isinstance(masks, SegmenterAgreement)
    assert (masks.frames, masks.dice_mean, masks.change_max) == (4, 1.0, 0.0)
    assert masks.area_ratio == 1.0 and masks.blank_reference == masks.blank_candidate < 4
    classes = losses(tiny.classifier, single_of(tiny.classifier), 4)
    assert isinstance(classes, ClassifierAgreement)
    assert (classes.frames, classes.top1, classes.change_max) == (4, 1.0, 0.0)


def test_float16_holds_its_limits_on_the_released_pack() -> None:
    """On phantoms only, few of them; `python -m benchmarks.precision` measures on pictures."""
    pack = find_pack("reference")
    half = half_of(pack.segmenter)
    masks = losses(pack.segmenter, half, 6)
    half.refuse_overflow()
    assert 0.995 <= masks.dice_mean < 1.0 and masks.large_frames >= 3
    assert masks.blank_candidate == masks.blank_reference
    assert 0.0 < masks.change_max < 0.05
    assert half.activations[0].largest > 1000, "this U-Net's decoder is far from 1"
    half = half_of(pack.classifier)
    classes = losses(pack.classifier, half, 6)
    half.refuse_overflow()
    assert classes.top1_clear == 1.0 and 0.0 < classes.change_max < 0.01


def test_a_blank_candidate_shows(tiny: Pack) -> None:
    found = losses(tiny.segmenter, lambda pixels: np.zeros(pixels.shape[:3], np.float32), 4)
    assert found.blank_candidate == 4 > found.blank_reference
    assert found.area_ratio == 0.0 and found.dice_min == 0.0


def test_swapped_channels_show(tiny: Pack) -> None:
    run = single_of(tiny.segmenter)
    found = losses(tiny.segmenter, lambda pixels: run(pixels[..., ::-1]), 4)
    assert found.dice_mean < 0.9 and found.change_p99 > 0.05


def test_nan_shows_and_its_frame_is_blank(tiny: Pack) -> None:
    run = single_of(tiny.segmenter)
    calls = []

    def poisoned(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append(len(pixels))
        output = run(pixels).copy()
        if len(calls) == 1:
            output[:, 0, 0] = np.nan
        return output

    found = losses(tiny.segmenter, poisoned, 3)
    clean = losses(tiny.segmenter, run, 3)
    assert found.nan_values == 1 and found.change_max == 1.0
    assert found.dice_mean == pytest.approx(2 / 3)
    assert found.blank_candidate >= clean.blank_candidate


def test_a_buffer_that_is_reused_is_copied(tiny: Pack) -> None:
    run, buffer = single_of(tiny.segmenter), np.empty((1, 96, 96), np.float32)

    def reusing(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        buffer[:] = run(pixels)
        return buffer

    assert losses(tiny.segmenter, reusing, 3).change_max == 0.0


def test_no_picture_and_a_wrong_size_are_named(tiny: Pack) -> None:
    run = single_of(tiny.classifier)
    with pytest.raises(InputError, match="pictures to compare precisions on; got none"):
        classifier_losses(run, run, [])
    with pytest.raises(ModelRefusedError, match="a prepared graph that ONNX Runtime can run"):
        run(np.zeros((1, 8, 8, 3), np.uint8))
