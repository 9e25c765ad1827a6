"""From probabilities to classes, and when no class is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge.analysis.classify import verdict
from models.manifest import Manifest, load_pack
from packs_for_tests import write_pack


def classifier(folder: Path, abstain_below: float, classes: int = 6) -> Manifest:
    changes = {"classifier__decision__abstain_below": abstain_below}
    return load_pack(write_pack(folder, classes=classes, **changes)).classifier.manifest


def test_at_most_five_classes_descending_ties_in_the_labels_order(tmp_path):
    manifest = classifier(tmp_path, 0.0)
    said = verdict(np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.1], np.float32), manifest)
    assert [c.label for c in said.classes] == ["MEL", "BCC", "SCC", "ACK", "NEV"]
    assert [c.probability for c in said.classes] == pytest.approx([0.3, 0.2, 0.2, 0.1, 0.1])
    assert not said.abstained and said.abstain_reason is None


def test_fewer_labels_than_five(tmp_path):
    said = verdict(np.array([0.25, 0.75], np.float32), classifier(tmp_path, 0.5, classes=2))
    assert [c.label for c in said.classes] == ["BCC", "ACK"]


@pytest.mark.parametrize(("top", "abstained"), [(0.39, True), (0.4, False), (0.9, False)])
def test_below_the_manifests_probability_no_class_is_named(tmp_path, top, abstained):
    rest = (1.0 - top) / 5
    said = verdict(np.array([rest, top, *[rest] * 4], np.float64), classifier(tmp_path, 0.4))
    assert said.abstained is abstained
    assert len(said.classes) == 5
    if abstained:
        assert said.abstain_reason == "the likeliest class has 39%; 40% are needed to name it"


@pytest.mark.parametrize(
    ("top", "limit", "words"),
    [
        (0.468, 0.47, "has 46.8%; 47% are needed"),
        (0.4697, 0.47, "has 46.97%; 47% are needed"),
        (0.469999, 0.47, "has just under 47%; 47% are needed"),
        (0.4649, 0.465, "has 46%; 46.5% are needed"),
        (0.996, 0.999, "has 99.6%; 99.9% are needed"),
        (0.21, 0.29, "has 21%; 29% are needed"),
    ],
)
def test_the_two_numbers_of_a_refusal_never_look_equal(tmp_path, top, limit, words):
    rest = (1.0 - top) / 5
    said = verdict(np.array([rest, top, *[rest] * 4], np.float64), classifier(tmp_path, limit))
    assert said.abstained and words in (said.abstain_reason or "")
