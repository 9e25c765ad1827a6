"""The classifier's view: right place, full resolution, the manifest's fit, one reused buffer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.analysis.crops import CropBatch, padded_box
from models.manifest import Manifest, load_pack
from models.resize import fit_image
from packs_for_tests import write_pack


def classifier(folder: Path, fit: str) -> Manifest:
    changes = {"classifier__resize__fit": fit, "classifier__resize__fill": [9, 9, 9]}
    return load_pack(write_pack(folder / fit, size=64, **changes)).classifier.manifest


@pytest.mark.parametrize(
    ("box_xyxy", "fraction", "expected"),
    [
        ((100, 100, 200, 150), 0.15, (85, 85, 215, 165)),
        ((100, 100, 200, 150), 0.0, (100, 100, 200, 150)),
        ((0, 10, 40, 60), 0.5, (0, 0, 65, 85)),
        ((600, 440, 640, 480), 0.25, (590, 430, 640, 480)),
        ((0, 0, 640, 480), 0.3, (0, 0, 640, 480)),
        ((7, 7, 8, 8), 0.15, (7, 7, 8, 8)),
    ],
)
def test_padding_is_a_share_of_the_longer_side_cut_at_the_frame(box_xyxy, fraction, expected):
    assert padded_box(box_xyxy, (640, 480), fraction) == expected


@pytest.mark.parametrize("fit", ["stretch", "letterbox", "crop"])
def test_crops_come_from_the_full_frame_by_the_one_resize(tmp_path, fit):
    manifest = classifier(tmp_path, fit)
    pixels = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    boxes = [(0, 0, 640, 480), (10, 20, 74, 84), (600, 100, 640, 300), (5, 5, 6, 6)]
    batch = CropBatch(manifest).fit(pixels, boxes)
    assert batch.shape == (4, 64, 64, 3) and batch.dtype == np.uint8
    for crop, (x0, y0, x1, y1) in zip(batch, boxes, strict=True):
        expected, _ = fit_image(pixels[y0:y1, x0:x1], (64, 64), manifest.resize)
        assert np.array_equal(crop, expected)
    assert np.array_equal(batch[1], pixels[20:84, 10:74])


def test_letterboxing_keeps_the_shape_and_fills_the_rest(tmp_path):
    pixels = np.full((480, 640, 3), 200, np.uint8)
    (crop,) = CropBatch(classifier(tmp_path, "letterbox")).fit(pixels, [(100, 100, 200, 150)])
    assert (crop[16:48] == 200).all() and (crop[:16] == 9).all() and (crop[48:] == 9).all()


def test_the_batch_is_reused(tmp_path):
    crops = CropBatch(classifier(tmp_path, "letterbox"))
    pixels = np.zeros((480, 640, 3), np.uint8)
    first = crops.fit(pixels, [(0, 0, 64, 64)] * 5)
    again = crops.fit(pixels, [(0, 0, 64, 64)] * 3)
    assert len(first) == 5 and len(again) == 3 and np.shares_memory(first, again)
    assert len(crops.fit(pixels, [])) == 0
