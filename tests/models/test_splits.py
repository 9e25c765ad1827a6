"""The committed split: nothing leaks from one side to another, and it can be made again."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.data_folder import list_pictures
from models.errors import InputError
from models.splits import SHARES, load_splits, make_splits, near_duplicates, pictures_of_side

ROWS = load_splits()


@pytest.fixture(scope="module")
def data() -> Path:
    folder = os.environ.get("DERMEDGE_DATA")
    if not folder:
        pytest.skip("DERMEDGE_DATA does not name a data folder")
    return Path(folder)


def test_no_group_is_on_two_sides() -> None:
    sides = defaultdict(set)
    for row in ROWS:
        sides[row.group].add(row.side)
    assert {group for group, found in sides.items() if len(found) > 1} == set()


def test_a_patient_is_one_group_in_both_clinical_folders() -> None:
    for row in ROWS:
        if row.folder == "clinical":
            assert row.group == "_".join(row.name.split("_")[:2])
        if row.folder == "normal_skin":
            assert row.group == "_".join(row.name.split("_")[1:3])


def test_full_size_dermoscopy_is_tested_together_with_its_twins() -> None:
    twins = {row.name: row for row in ROWS if row.folder == "dermoscopy"}
    full = [row for row in ROWS if row.folder == "dermoscopy_full"]
    assert len(full) == 38
    for row in full:
        assert row.side == "test"
        assert (twins[row.name].side, twins[row.name].group) == ("test", row.group)


def test_no_row_stands_twice() -> None:
    assert len({(row.folder, row.name) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("folder", ["dermoscopy", "clinical", "normal_skin"])
def test_shares_are_those_promised(folder: str) -> None:
    sides = Counter(row.side for row in ROWS if row.folder == folder)
    total = sum(sides.values())
    for side, share in SHARES.items():
        assert sides[side] / total == pytest.approx(share, abs=0.015)


def test_every_label_is_on_every_side() -> None:
    for folder, count in (("dermoscopy", 3), ("clinical", 6)):
        for side in SHARES:
            labels = {row.label for row in ROWS if (row.folder, row.side) == (folder, side)}
            assert len(labels) == count


def test_near_duplicates_are_found_and_strangers_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scenes = [cv2.GaussianBlur(rng.random((96, 96, 3)), (0, 0), 9) for _ in range(3)]
    scenes = [(255 * (s - s.min()) / np.ptp(s)).astype(np.uint8) for s in scenes]
    again = cv2.convertScaleAbs(cv2.resize(scenes[1], (70, 70)), alpha=0.8, beta=20)
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, pixels in zip(paths, [*scenes, again], strict=True):
        cv2.imwrite(str(path), pixels)
    assert near_duplicates(paths) == [(1, 3)]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dermoscopy/labels.csv.*got no readable file"):
        list_pictures(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "dermoscopy").mkdir()
    (tmp_path / "dermoscopy" / "labels.csv").write_text("id,what\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column diagnosis"):
        list_pictures(tmp_path)


def test_the_table_is_made_again_from_the_data(data: Path) -> None:
    assert make_splits(data) == ROWS


def test_the_table_covers_the_data(data: Path) -> None:
    pictures = {(p.folder, p.name) for side in SHARES for p in pictures_of_side(data, side)}
    assert pictures == {(row.folder, row.name) for row in ROWS}
