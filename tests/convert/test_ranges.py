"""Where a tensor's values are cut off, on histograms whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_networks_for_tests import SIDE, prepared_tiny

from convert.ranges import RangeCollector, entropy_cut, percentile_cut
from models.errors import ModelRefusedError


def test_the_percentile_is_where_that_share_of_all_values_lies() -> None:
    counts = np.zeros(2048, np.int64)
    counts[:1000] = 1000
    counts[2047] = 5  # 5 of 1,000,005 values
    assert percentile_cut(counts, 99.999) == pytest.approx(1000 / 2048)
    assert percentile_cut(counts, 100.0) == 1.0
    counts[2047] = 50
    assert percentile_cut(counts, 99.999) == 1.0


def test_entropy_cuts_off_rare_outliers_and_keeps_an_even_spread() -> None:
    falling = np.rint(1e6 * np.exp(-np.arange(2048) / 60.0)).astype(np.int64)
    falling[2047] = 1
    assert 0.1 < entropy_cut(falling) < 0.5
    assert entropy_cut(np.full(2048, 1000)) > 0.95
    assert entropy_cut(np.eye(1, 2048, dtype=np.int64)[0]) == 1.0


def test_the_collector_sees_the_largest_magnitude_of_every_picture() -> None:
    prepared = prepared_tiny("tiny_unet")
    names = [node.output[0] for node in prepared.graph.node if node.op_type == "Conv"][:3]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(4)]
    collector = RangeCollector(prepared, names)
    collector.measure(pictures)
    collector.count(pictures)
    ranges = collector.ranges("percentile")
    assert list(ranges) == names and all(value > 0.0 for value in ranges.values())
    one = RangeCollector(prepared, names)
    one.measure(pictures[:1])
    one.count(pictures[:1])
    fewer = one.ranges("percentile")
    assert all(fewer[name] <= ranges[name] * 1.001 for name in names)


def test_a_tensor_that_is_no_number_is_named() -> None:
    prepared = prepared_tiny("tiny_unet")
    weights = {tensor.name: tensor for tensor in prepared.graph.initializer}
    conv = [n for n in prepared.graph.node if n.op_type == "Conv" and len(n.input) > 2][-1]
    weights[conv.input[2]].raw_data = np.full(1, np.nan, np.float32).tobytes() * (
        len(weights[conv.input[2]].raw_data) // 4
    )
    collector = RangeCollector(prepared, [conv.output[0]])
    with pytest.raises(ModelRefusedError, match=conv.output[0]):
        collector.measure([np.zeros((SIDE, SIDE, 3), np.uint8)])
