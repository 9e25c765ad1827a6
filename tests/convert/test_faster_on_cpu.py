"""The rewrites for CPUs are used only if the numbers stay."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from networks_for_tests import hard_pictures, input_table, run_onnx, seeing_network, segmentation
from onnx import numpy_helper

from convert import prepare
from convert.description import describe
from convert.prepare import faster_on_cpu, prepare_model

MANIFEST = segmentation([input_table("image", ["rgb", "hemoglobin", "melanin"])])


@pytest.fixture(scope="module")
def prepared() -> onnx.ModelProto:
    return prepare_model(seeing_network(MANIFEST), MANIFEST)


def test_the_rewritten_graph_gives_the_same(prepared: onnx.ModelProto) -> None:
    fast = faster_on_cpu(prepared)
    feeds = {"rgb": hard_pictures()}
    np.testing.assert_allclose(
        run_onnx(fast, feeds)[0], run_onnx(prepared, feeds)[0], rtol=0, atol=1e-4
    )
    assert describe(fast) == describe(prepared)


def wrong(model: onnx.ModelProto) -> onnx.ModelProto:
    """A rewrite with an error: one weight has another sign."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.dims and tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
            return copy
    raise AssertionError("the graph has no weight to spoil")


def broken(model: onnx.ModelProto) -> onnx.ModelProto:
    """A rewrite that leaves a node without its input."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.initializer[:]
    return copy


@pytest.mark.parametrize("rewrite", [wrong, broken])
def test_a_rewrite_that_fails_is_not_used(
    prepared: onnx.ModelProto,
    rewrite: object,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(prepare, "optimized_for_cpu", rewrite)
    with caplog.at_level(logging.WARNING):
        assert faster_on_cpu(prepared) is prepared
    assert "the graph is used without the rewrites for CPUs" in caplog.text
