"""Regions against masks whose truth is drawn or recomputed another way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.analysis.regions import RegionShape, find_regions
from edge.analysis.upsample import FrameProbability
from models.manifest import RegionRules, ResizeRule
from models.resize import Placement, place

STRETCH = ResizeRule(fit="stretch")
KEEP_ALL = {"min_area_fraction": 0.0}


def regions_of(
    drawn: NDArray[np.uint8], **rules: object
) -> tuple[tuple[RegionShape, ...], NDArray[np.uint8]]:
    """Regions of a mask drawn at frame size: the network's grid is the frame itself."""
    height, width = drawn.shape
    placement = place((width, height), (width, height), STRETCH)
    mask = np.full(drawn.shape, 77, np.uint8)
    probability = (drawn > 0).astype(np.float32) * np.float32(0.75)
    found = find_regions(probability, placement, 0.5, RegionRules.model_validate(rules), mask)
    return found, mask


def to_source(
    values: NDArray[np.float32], placement: Placement, fill: float = 0.0
) -> NDArray[np.float32]:
    """Bring a map from the network's grid back onto the whole picture, bilinearly.

    Args:
        values: HxW float32 in the network's input size.
        placement: From ``models.resize.fit_image``.
        fill: Value of the parts of the picture that the network did not see.

    Returns:
        HxW float32 in the picture's size.
    """
    x0, y0, x1, y1 = placement.target_xyxy
    part = np.ascontiguousarray(values[y0:y1, x0:x1])
    sx0, sy0, sx1, sy1 = placement.source_xyxy
    resized = cv2.resize(part, (sx1 - sx0, sy1 - sy0), interpolation=cv2.INTER_LINEAR)
    grown = np.asarray(resized, np.float32)
    if (sx1 - sx0, sy1 - sy0) == tuple(placement.source_wh):
        return grown
    whole = np.full((placement.source_wh[1], placement.source_wh[0]), fill, np.float32)
    whole[sy0:sy1, sx0:sx1] = grown
    return whole


def test_nothing_above_the_threshold_is_no_region_and_clears_the_mask():
    found, mask = regions_of(np.zeros((20, 30), np.uint8))
    assert found == () and not mask.any()


def test_a_lesion_that_fills_the_frame_is_kept():
    found, mask = regions_of(np.ones((40, 60), np.uint8))
    assert len(found) == 1
    assert found[0].box_xyxy == (0, 0, 60, 40)
    assert found[0].area_px == 60 * 40
    assert mask.min() == 255


def test_boxes_are_half_open_and_x_comes_first():
    drawn = np.zeros((50, 80), np.uint8)
    drawn[10:14, 20:27] = 1
    (region,), _ = regions_of(drawn, **KEEP_ALL)
    assert region.box_xyxy == (20, 10, 27, 14)
    assert region.area_px == 28
    (contour,) = region.contours()
    assert not contour.hole
    assert sorted(contour.points) == [(20, 10), (20, 13), (26, 10), (26, 13)]
    assert all(type(value) is int for point in contour.points for value in point)


def test_one_pixel_and_one_pixel_lines_are_regions_with_their_area():
    drawn = np.zeros((30, 30), np.uint8)
    drawn[0, 0] = 1
    drawn[10, 5:25] = 1
    drawn[29, 29] = drawn[28, 28] = 1
    found, mask = regions_of(drawn, **KEEP_ALL)
    assert [region.area_px for region in found] == [20, 2, 1]
    assert np.array_equal(mask > 0, drawn > 0)


def test_pieces_that_touch_at_a_corner_are_one_region():
    drawn = np.zeros((20, 20), np.uint8)
    drawn[2:5, 2:5] = drawn[5:8, 5:8] = 1
    found, _ = regions_of(drawn, **KEEP_ALL)
    assert [region.area_px for region in found] == [18]


@pytest.mark.parametrize("fill", [True, False])
def test_a_hole_is_filled_or_kept_as_the_manifest_says(fill: bool):
    drawn = np.zeros((60, 60), np.uint8)
    cv2.circle(drawn, (30, 30), 20, 1, -1)
    solid = int(drawn.sum())
    drawn[28:33, 27:34] = 0
    (region,), mask = regions_of(drawn, fill_holes=fill, **KEEP_ALL)
    assert region.area_px == (solid if fill else solid - 35)
    assert region.holes == ((False,) if fill else (False, True))
    assert np.count_nonzero(mask) == region.area_px
    assert bool(mask[30, 30]) is fill


def test_an_island_in_a_hole_is_its_own_region_or_swallowed():
    drawn = np.zeros((60, 60), np.uint8)
    cv2.circle(drawn, (30, 30), 25, 1, -1)
    cv2.circle(drawn, (30, 30), 18, 0, -1)
    cv2.circle(drawn, (30, 30), 5, 1, -1)
    kept, _ = regions_of(drawn, fill_holes=False, **KEEP_ALL)
    assert len(kept) == 2
    assert sum(region.area_px for region in kept) == int(drawn.sum())
    filled, _ = regions_of(drawn, fill_holes=True, **KEEP_ALL)
    assert len(filled) == 1


def test_small_pieces_are_dropped_from_regions_and_mask_alike():
    drawn = np.zeros((100, 100), np.uint8)
    drawn[10:20, 10:20] = 1  # 100 px: 1 % of the frame
    drawn[50:55, 50:55] = 1
    found, mask = regions_of(drawn, min_area_fraction=0.01)
    assert [region.area_px for region in found] == [100]
    assert np.count_nonzero(mask) == 100
    found, mask = regions_of(drawn, min_area_fraction=0.0101)
    assert found == () and not mask.any()


def test_near_pieces_are_one_region_with_several_outlines():
    drawn = np.zeros((100, 100), np.uint8)
    drawn[40:50, 10:20] = 1
    drawn[40:50, 27:37] = 1  # centres of the nearest pixels: 8 apart
    drawn[80:90, 80:90] = 1
    joined, _ = regions_of(drawn, merge_distance_fraction=0.081, **KEEP_ALL)
    assert [region.area_px for region in joined] == [200, 100]
    assert len(joined[0].outlines) == 2 and joined[0].box_xyxy == (10, 40, 37, 50)
    apart, _ = regions_of(drawn, merge_distance_fraction=0.08, **KEEP_ALL)
    assert [region.area_px for region in apart] == [100, 100, 100]


def test_a_cluster_is_kept_where_each_of_its_pieces_is_too_small():
    drawn = np.zeros((100, 100), np.uint8)
    for x in range(10, 60, 5):
        drawn[20:23, x : x + 3] = 1
    rules = {"min_area_fraction": 0.005}
    assert regions_of(drawn, **rules)[0] == ()
    (cluster,), _ = regions_of(drawn, merge_distance_fraction=0.05, **rules)
    assert cluster.area_px == 90 and len(cluster.outlines) == 10


def test_regions_come_by_area():
    drawn = np.zeros((100, 100), np.uint8)
    drawn[5:10, 5:10] = drawn[50:70, 50:70] = drawn[20:30, 80:90] = 1
    found, _ = regions_of(drawn, **KEEP_ALL)
    assert [region.area_px for region in found] == [400, 100, 25]


def test_score_is_the_mean_probability_of_the_regions_pixels():
    probability = np.zeros((40, 40), np.float32)
    probability[10:20, 10:20], probability[10:20, 20:30] = 0.6, 0.9
    placement = place((40, 40), (40, 40), STRETCH)
    mask = np.empty((40, 40), np.uint8)
    (region,) = find_regions(probability, placement, 0.5, RegionRules(), mask)
    assert region.score == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize("frame_wh", [(1280, 720), (720, 1280), (701, 977), (97, 64), (304, 304)])
@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
def test_the_mask_is_the_thresholded_bilinear_enlargement(frame_wh, fit):
    rng = np.random.default_rng(3)
    probability = cv2.GaussianBlur(rng.random((304, 304), dtype=np.float32), (0, 0), 9)
    low, high = float(probability.min()), float(probability.max())
    probability = (probability - low) / (high - low)
    placement = place(frame_wh, (304, 304), ResizeRule(fit=fit))
    mask = np.empty((frame_wh[1], frame_wh[0]), np.uint8)
    rules = RegionRules(min_area_fraction=0.0, fill_holes=False)
    found = find_regions(probability, placement, 0.6, rules, mask)
    truth = to_source(probability, placement)
    undecided = np.abs(truth - 0.6) < 1e-5
    assert np.count_nonzero(truth >= 0.6) > 100
    assert np.array_equal((mask > 0) | undecided, (truth >= 0.6) | undecided)
    for region in found:
        inside = region.inside(region.box_xyxy) > 0
        x0, y0, x1, y1 = region.box_xyxy
        assert region.score == pytest.approx(truth[y0:y1, x0:x1][inside].mean(), abs=1e-4)


def test_a_huge_frame_is_enlarged_in_blocks_with_the_same_result(monkeypatch):
    rng = np.random.default_rng(5)
    probability = cv2.GaussianBlur(rng.random((64, 64), dtype=np.float32), (0, 0), 4)
    threshold = float(np.quantile(probability, 0.7))
    placement = place((311, 207), (64, 64), ResizeRule(fit="letterbox"))
    masks, results = [], []
    for block_pixels in (4_000_000, 3000):
        monkeypatch.setattr("edge.analysis.upsample._BLOCK_PIXELS", block_pixels)
        mask = np.empty((207, 311), np.uint8)
        rules = RegionRules(min_area_fraction=0.0)
        results.append(find_regions(probability, placement, threshold, rules, mask))
        masks.append(mask)
    assert np.array_equal(*masks) and len(results[0]) > 1
    for whole, blocks in zip(*results, strict=True):
        assert whole.box_xyxy == blocks.box_xyxy
        assert whole.score == pytest.approx(blocks.score, abs=1e-6)


def test_the_window_of_a_threshold_leaves_nothing_out():
    rng = np.random.default_rng(11)
    for trial in range(20):
        cells = np.zeros((32, 32), np.float32)
        y, x = rng.integers(0, 32, 2)
        cells[y, x] = 1.0
        placement = place((201 + 13 * trial, 157), (32, 32), STRETCH)
        x0, y0, x1, y1 = FrameProbability(cells, placement).window_above(0.01) or (0, 0, 0, 0)
        outside = to_source(cells, placement)
        outside[y0:y1, x0:x1] = 0.0
        assert outside.max() < 0.01


@pytest.mark.parametrize("fill", [True, False])
def test_a_cell_that_no_pixel_of_a_small_frame_samples_is_no_region(fill):
    cells = np.zeros((304, 304), np.float32)
    cells[150, 150] = 1.0  # between the cells that 64 pixels sample
    mask = np.empty((64, 64), np.uint8)
    rules = RegionRules(min_area_fraction=0.0, fill_holes=fill)
    placement = place((64, 64), (304, 304), STRETCH)
    assert to_source(cells, placement).max() < 0.9
    assert find_regions(cells, placement, 0.9, rules, mask) == () and not mask.any()


def random_mask(seed: int, width: int, height: int, share: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).random((height, width))
    return (noise < share).astype(np.uint8)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    share=st.floats(0.05, 0.95),
    distance=st.sampled_from([0.0, 0.05, 0.15]),
)
def test_the_regions_pixels_partition_the_mask(seed, width, height, share, distance):
    """Every pixel of the mask lies in exactly one region; areas and boxes are of those pixels."""
    drawn = random_mask(seed, width, height, share)
    found, mask = regions_of(drawn, fill_holes=False, merge_distance_fraction=distance, **KEEP_ALL)
    assert np.array_equal(mask > 0, drawn > 0)
    count = np.zeros(drawn.shape, np.int32)
    for region in found:
        pixels = region.inside((0, 0, width, height)) > 0
        rows, columns = np.nonzero(pixels)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert region.area_px == np.count_nonzero(pixels)
        assert region.box_xyxy == box
        count += pixels
    assert np.array_equal(count, drawn)
    pieces = cv2.connectedComponents(drawn, connectivity=8)[0] - 1
    assert len(found) == pieces if distance == 0.0 else len(found) <= pieces


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.9))
def test_filled_regions_partition_the_filled_mask(seed, share):
    drawn = random_mask(seed, 33, 27, share)
    found, mask = regions_of(drawn, fill_holes=True, **KEEP_ALL)
    # What no walk from the frame's border through 4-neighbours reaches is mask or hole.
    free = np.pad(drawn, 1) == 0
    outside = np.zeros_like(free)
    outside[0, 0] = grown = True
    while grown:
        wider = outside.copy()
        for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
            wider |= np.roll(outside, shift, axis)
        wider &= free
        grown = bool((wider != outside).any())
        outside = wider
    filled = ~outside[1:-1, 1:-1]
    assert np.array_equal(mask > 0, filled)
    assert sum(region.area_px for region in found) == np.count_nonzero(filled)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.01, 0.2))
def test_merging_agrees_with_all_distances(seed, share):
    drawn = random_mask(seed, 40, 30, share)
    found, _ = regions_of(drawn, fill_holes=False, merge_distance_fraction=0.1, **KEEP_ALL)
    points = np.argwhere(drawn)
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    unseen, groups = set(range(len(points))), 0
    near = (apart < 4.0) | (np.abs(points[:, None] - points[None]).max(-1) <= 1)
    while unseen:
        groups += 1
        stack = [unseen.pop()]
        while stack:
            reached = {int(k) for k in np.flatnonzero(near[stack.pop()])} & unseen
            unseen -= reached
            stack.extend(reached)
    assert len(found) == groups
