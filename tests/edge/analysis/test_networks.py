"""Numbers that cannot be probabilities refuse the model."""

from __future__ import annotations

import numpy as np
import pytest

from edge.analysis.analyzer import Analyzer
from edge.errors import ModelRefusedError
from models.manifest import load_pack

SIZE = 96
GOOD_MAP = np.zeros((1, SIZE, SIZE), np.float32)


def with_value(value: float) -> np.ndarray:
    broken = np.full((1, SIZE, SIZE), 0.9, np.float32)
    broken[0, 50, 50] = value
    return broken


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (with_value(float("nan")), "nan"),
        (with_value(float("inf")), "inf"),
        (with_value(float("-inf")), "-inf"),
        (with_value(1.5), "1.5"),
        (with_value(-0.2), "-0.2"),
        (GOOD_MAP[:, :-1], "95"),
        (GOOD_MAP[0], "96"),
        (GOOD_MAP.astype(np.float64), "float64"),
        (np.zeros((2, SIZE, SIZE), np.float32), "2"),
        (np.zeros((1, 0, 0), np.float32), "0"),
    ],
)
def test_a_broken_map_refuses_the_segmenter(planted, still, answer, word):
    analyzer, _, _ = planted(lambda rgb: answer)
    analysis = analyzer.analyze(still(np.full((120, 160, 3), 150, np.uint8)))
    result = analysis.result
    assert result.status == "model_refused" and result.regions is None and analysis.mask is None
    assert word in result.reasons[0] and "tiny-segmenter" in result.reasons[0]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (np.full((1, 6), np.nan, np.float32), "nan"),
        (np.full((1, 6), 0.5, np.float32), "3"),
        (np.zeros((1, 6), np.float32), "add up to 1"),
        (np.array([[1.2, -0.2, 0, 0, 0, 0]], np.float32), "1.2"),
        (np.full((1, 5), 0.2, np.float32), "(1, 5)"),
        (np.full((6,), 1 / 6, np.float32), "(6,)"),
    ],
)
def test_broken_classes_refuse_the_classifier(planted, still, answer, word):
    analyzer, _, _ = planted(np.ones((SIZE, SIZE)), lambda rgb: answer)
    result = analyzer.analyze(still(np.full((120, 160, 3), 150, np.uint8))).result
    assert result.status == "model_refused" and result.regions is None
    assert word in result.reasons[0] and "tiny-classifier" in result.reasons[0]


def test_an_output_of_another_name_refuses_the_model(planted, still):
    analyzer, segmenter, _ = planted(GOOD_MAP[0])
    segmenter._output = "mask"
    result = analyzer.analyze(still(np.full((120, 160, 3), 150, np.uint8))).result
    assert result.status == "model_refused" and "nothing" in result.reasons[0]


def test_a_graph_that_fails_refuses_the_model(planted, still):
    def fail(rgb):
        raise ModelRefusedError("the graph to run", got="an error", next_step="use another pack")

    analyzer, _, _ = planted(fail)
    result = analyzer.analyze(still(np.full((120, 160, 3), 150, np.uint8))).result
    assert result.status == "model_refused" and "the graph to run" in result.reasons[0]


def test_rounding_just_outside_0_to_1_is_taken_as_0_and_1(planted, still):
    edge = np.full((SIZE, SIZE), 1.0002, np.float32)
    edge[0, 0] = -0.0002
    analyzer, _, _ = planted(edge)
    (region,) = analyzer.analyze(still(np.full((120, 160, 3), 150, np.uint8))).result.regions
    assert region.score <= 1.0


def test_an_engine_of_another_size_is_refused_at_the_start(planted, tiny_pack):
    _, segmenter, classifier = planted(np.zeros((32, 32)), size=32)
    with pytest.raises(ModelRefusedError, match="96x96.*32x32"):
        Analyzer(segmenter, classifier, load_pack(tiny_pack))
