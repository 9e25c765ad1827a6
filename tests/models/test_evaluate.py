"""Evaluation through the product, on a data folder made of phantoms under the split's names."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from models import evaluate
from models.measures import (
    balanced_accuracy,
    bootstrap_interval,
    choose_abstention,
    dice_per_picture,
    fit_temperature,
    sensitivity_specificity,
    softmax,
)
from models.phantom import clean, random_spec, render
from models.splits import load_splits

COUNTS = {"dermoscopy": 4, "clinical": 12, "normal_skin": 2}


def _table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few rows of the tuning side and one of each other folder."""
    folder = tmp_path_factory.mktemp("data")
    rows = {
        name: [r for r in load_splits() if (r.folder, r.side) == (name, "tune")][:count]
        for name, count in COUNTS.items()
    }
    full = next(r for r in load_splits() if r.folder == "dermoscopy_full")
    for index, row in enumerate([*rows["dermoscopy"], full]):
        phantom = render(random_spec(index, (128, 128), lesion_count=1, domain="dermoscopic"))
        _save(folder / row.folder / "images" / f"{row.name}.jpg", phantom.pixels)
        mask = phantom.mask.astype(np.uint8) * 255
        _save(folder / row.folder / "masks" / f"{row.name}.png", mask)
    for index, row in enumerate(rows["clinical"]):
        phantom = render(random_spec(50 + index, (128, 128), lesion_count=1, domain="clinical"))
        _save(folder / "clinical" / "images" / f"{row.name}.jpg", phantom.pixels)
    for index, row in enumerate(rows["normal_skin"]):
        phantom = render(clean(random_spec(90 + index, (110, 110), domain="clinical")))
        _save(folder / "normal_skin" / f"{row.name}.png", phantom.pixels)
    _table(
        folder / "dermoscopy" / "labels.csv",
        ("id", "diagnosis"),
        [(r.name, r.label) for r in rows["dermoscopy"]],
    )
    _table(
        folder / "clinical" / "labels.csv",
        ("id", "patient", "diagnosis", "fitzpatrick"),
        [(r.name, r.group, r.label, "2.0") for r in rows["clinical"]],
    )
    _table(
        folder / "normal_skin" / "patches.csv",
        ("file", "fitzpatrick"),
        [(f"{r.name}.png", "NA") for r in rows["normal_skin"]],
    )
    _table(folder / "erythema" / "CREDITS.csv", ("file",), [])
    return folder


def test_command_measures_and_writes(
    tiny_pack: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "PHANTOMS", 8)
    out = tmp_path / "figures.json"
    arguments = [str(tiny_pack), str(data), "--json", str(out), "--threads", "1"]
    done = CliRunner().invoke(evaluate.command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["side"] == "tune"
    assert report["dermoscopy"]["pictures"] == COUNTS["dermoscopy"]
    assert "dermoscopy_full" not in report, "it is all on the test side"
    low, high = report["dermoscopy"]["dice"]["interval_95"]
    assert low <= report["dermoscopy"]["dice"]["mean"] <= high
    assert report["normal_skin"]["marked"]["all"]["patches"] == COUNTS["normal_skin"]
    clinical = report["clinical"]
    assert clinical["pictures"] == COUNTS["clinical"]
    for entry in (clinical["whole_picture"], clinical["largest_region"]):
        assert list(entry["right_by_fitzpatrick"]) == ["type 2"]
        for values in entry["right_by_class"].values():
            assert (values["right"] is None) == (values["cases"] < evaluate.LEAST_CASES)
    assert "balanced_accuracy" in done.output
    assert evaluate.TEST_NOTE not in done.output


def test_test_side_is_announced(
    tiny_pack: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: {"side": "test"})
    arguments = [str(tiny_pack), str(data), "--split", "test"]
    done = CliRunner().invoke(evaluate.command, arguments, catch_exceptions=False)
    assert done.output.splitlines()[-1] == evaluate.TEST_NOTE


# --- measures -----------------------------------------------------------------------------------


def test_dice_by_hand() -> None:
    truth = np.zeros((3, 2, 2), bool)
    truth[0, 0] = True
    truth[1, 0, 0] = True
    probability = np.zeros((3, 2, 2), np.float32)
    probability[0, :, 0] = 0.5
    assert dice_per_picture(probability, truth, 0.5).tolist() == [0.5, 0.0, 1.0]
    assert dice_per_picture(probability, truth, 0.6).tolist() == [0.0, 0.0, 1.0]


def test_sensitivity_and_specificity_by_hand() -> None:
    truth = np.array([[True, True], [False, False]])
    marked = np.array([[True, False], [False, False]])
    assert sensitivity_specificity(marked, truth) == (0.5, 1.0)
    assert sensitivity_specificity(marked, np.ones((2, 2), bool)) == (0.25, None)


def test_balanced_accuracy_weighs_classes_equally() -> None:
    assert balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0]) == 0.5


def test_interval_draws_groups_and_not_items() -> None:
    """Two groups of opposite items: each draw has 0, 1 or 2 of either, never a mixture."""
    values = np.array([0.0] * 50 + [1.0] * 50)
    seen = set()

    def mean(index: np.ndarray) -> float:
        seen.add(float(values[index].mean()))
        return float(values[index].mean())

    low, high = bootstrap_interval(mean, ["a"] * 50 + ["b"] * 50, draws=200)
    assert seen == {0.0, 0.5, 1.0}
    assert (low, high) == (0.0, 1.0)


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (4000, 3))
    labels = np.array([rng.choice(3, p=p) for p in softmax(logits)])
    assert fit_temperature(4.0 * logits, labels) == pytest.approx(4.0, rel=0.1)


def test_abstention_is_the_lowest_that_is_right_often_enough() -> None:
    top = np.linspace(0.35, 0.95, 100)
    rest = (1 - top) / 2
    probabilities = np.column_stack((top, rest, rest))
    labels = np.where(np.arange(100) >= 50, 0, 1)  # right exactly where the top is high
    chosen = choose_abstention(probabilities, labels)
    assert (labels[top >= chosen] == 0).mean() >= 0.6
    assert (labels[top >= chosen - 0.01] == 0).mean() < 0.6
    never = choose_abstention(probabilities, np.ones(100, np.int64))
    assert 0.3 <= (top >= never).mean() < 0.35
