"""The measures that losses and gate share, on answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from convert.agreement import (
    Box,
    box_agreement,
    classifier_agreement,
    dice,
    probability_changes,
    segmenter_agreement,
)
from models.errors import ModelRefusedError

SIDE = 20  # 0.5 % of 400 pixels are 2


def masks(*counts: int) -> np.ndarray:
    """Probability maps in which the first ``count`` pixels have 0.9 and the others 0.1."""
    maps = np.full((len(counts), SIDE * SIDE), 0.1, np.float32)
    for row, count in zip(maps, counts, strict=True):
        row[:count] = 0.9
    return maps.reshape(-1, SIDE, SIDE)


def none(frames: int) -> list[list[Box]]:
    return [[] for _ in range(frames)]


def test_dice_is_mean_and_worst_of_the_large_masks() -> None:
    """80 of 100 (0.8889), 10 of 10, both empty, and one pixel against none in a small frame."""
    reference, candidate = masks(100, 10, 0, 1), masks(80, 10, 0, 0)
    found = segmenter_agreement(reference, candidate, 0.5, none(4), none(4))
    assert found.dice_mean == pytest.approx((2 * 80 / 180 + 1 + 1 + 0) / 4)
    assert found.dice_min == pytest.approx(2 * 80 / 180)
    assert (found.frames, found.large_frames, found.small_frames) == (4, 2, 2)
    assert found.dice_min_frame == 0
    assert found.area_ratio == pytest.approx(90 / 111)
    assert (found.nan_values, found.infinite_values) == (0, 0)


def test_a_mask_is_large_from_half_a_percent_on() -> None:
    found = segmenter_agreement(masks(1, 2), masks(1, 1), 0.5, none(2), none(2))
    assert found.large_frames == found.small_frames == 1
    assert found.dice_min == pytest.approx(2 / 3) and found.dice_min_frame == 1


def test_the_threshold_itself_is_marked() -> None:
    reference = np.full((1, 2, 2), 0.45, np.float32)
    found = segmenter_agreement(reference, reference - np.float32(1e-3), 0.45, none(1), none(1))
    assert found.dice_mean == 0.0 and found.area_ratio == 0.0


def test_small_masks_are_judged_by_their_boxes() -> None:
    """An overlap of 8 of 10 pixels, a box gone, and a box out of nothing."""
    reference = [[(0, 0, 3, 3)], [(0, 0, 2, 2)], []]
    candidate = [[(0, 0, 3, 3)], [], [(5, 5, 6, 6)]]
    found = segmenter_agreement(masks(1, 1, 0), masks(1, 0, 1), 0.5, reference, candidate)
    assert (found.small_iou_min, found.small_disagreeing) == (0.0, 2)
    assert (found.blank_reference, found.blank_candidate) == (1, 1)
    assert found.blank_rate_reference == found.blank_rate_candidate == pytest.approx(1 / 3)
    assert found.dice_min is None and found.dice_min_frame is None


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ([], [], 1.0),
        ([(0, 0, 4, 4)], [], 0.0),
        ([(0, 0, 4, 4)], [(0, 0, 4, 2)], 0.5),
        ([(0, 0, 4, 4)], [(4, 0, 8, 4)], 0.0),
        # The order does not matter, and the worse pair counts.
        ([(0, 0, 4, 4), (10, 10, 12, 12)], [(10, 10, 12, 13), (0, 0, 4, 4)], 2 / 3),
        # One box too many agrees with nothing.
        ([(0, 0, 4, 4)], [(0, 0, 4, 4), (10, 10, 12, 12)], 0.0),
    ],
)
def test_boxes_agree_as_well_as_the_worst_of_them(
    a: list[Box], b: list[Box], wanted: float
) -> None:
    assert box_agreement(a, b) == pytest.approx(wanted)
    assert box_agreement(b, a) == pytest.approx(wanted)


def test_dice_of_empty_masks_is_1() -> None:
    empty, full = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert (dice(empty, empty), dice(empty, full), dice(full, full)) == (1.0, 0.0, 1.0)


def test_numbers_that_are_none_count_against_the_candidate() -> None:
    reference = masks(100, 100)
    candidate = reference.copy()
    candidate[0, -1, -1], candidate[0, -1, -2] = np.nan, np.inf
    found = segmenter_agreement(reference, candidate, 0.5, none(2), none(2))
    assert (found.nan_values, found.infinite_values) == (1, 1)
    assert (found.dice_min, found.dice_mean, found.change_max) == (0.0, 0.5, 1.0)


def test_changes_are_of_all_values_together() -> None:
    reference = np.zeros((1, 10, 10), np.float32)
    candidate = reference.copy()
    candidate[0, 0, :2] = 0.3, 0.2
    found = segmenter_agreement(reference, candidate, 0.5, none(1), none(1))
    assert found.change_max == pytest.approx(0.3)
    # 99 of 100 changes are at most 0.2.
    assert found.change_p99 == pytest.approx(0.2, abs=2e-4)
    halves = np.concatenate([reference, reference]), np.concatenate([candidate, reference])
    assert segmenter_agreement(*halves, 0.5, none(2), none(2)).change_p99 == 0.0
    np.testing.assert_array_equal(
        probability_changes(reference[0, 0, :2], np.array([np.nan, -0.5], np.float32)), [1, 0.5]
    )


def test_top1_over_all_and_where_the_reference_is_sure() -> None:
    reference = np.array(
        [[0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.2, 0.7, 0.1], [0.5, 0.3, 0.2]], np.float32
    )
    candidate = reference.copy()
    candidate[1] = 0.35, 0.4, 0.25  # another class, but the reference was not sure
    found = classifier_agreement(reference, candidate)
    assert (found.frames, found.top1, found.clear_frames, found.top1_clear) == (4, 0.75, 3, 1.0)
    assert found.change_max == pytest.approx(0.05)

    candidate[3] = np.nan, 0.1, 0.2  # numpy's argmax is at the NaN, the reference's own class
    found = classifier_agreement(reference, candidate)
    assert found.top1 == 0.5 and found.top1_clear == pytest.approx(2 / 3)
    assert (found.nan_values, found.change_max) == (1, 1.0)


def test_no_clear_frame_gives_no_figure() -> None:
    even = np.full((2, 2), 0.5, np.float32)
    assert classifier_agreement(even, even).top1_clear is None


@pytest.mark.parametrize("measure", ["masks", "classes"])
def test_what_cannot_be_compared_is_refused(measure: str) -> None:
    def compare(reference: np.ndarray, candidate: np.ndarray) -> None:
        if measure == "classes":
            flat = (-1, SIDE * SIDE)
            classifier_agreement(reference.reshape(flat), candidate.reshape(flat))
        else:
            segmenter_agreement(reference, candidate, 0.5, none(2), none(2))

    with pytest.raises(ModelRefusedError, match="answers to the same frames"):
        compare(masks(1, 2), masks(1))
    with pytest.raises(ModelRefusedError, match="at least one"):
        compare(masks(1)[:0], masks(1)[:0])
    poisoned = masks(1, 2)
    poisoned[1, 3, 3] = np.nan
    with pytest.raises(ModelRefusedError, match="NaN or infinity for frame 1;"):
        compare(poisoned, masks(1, 2))
