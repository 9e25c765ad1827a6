"""A network for one picture takes several afterwards, or keeps batch 1 and says why."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from networks_for_tests import (
    SIZE_WH,
    classification,
    hard_pictures,
    model_of,
    run_onnx,
    segmentation,
)
from onnx import TensorProto, helper, numpy_helper

from convert.description import describe
from convert.prepare import prepare_model

WIDTH, HEIGHT = SIZE_WH
WEIGHTS = np.random.default_rng(5).normal(0, 2, (3, 6)).astype(np.float32)


def classifier(
    middle: list[onnx.NodeProto], weights: dict[str, Any], *, batch: int | str = 1
) -> bytes:
    """Mean colour [N,3,1,1] as ``colour``, the given nodes up to ``flat`` [N,3], then logits."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["colour"], axes=[2, 3]),
        *middle,
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    tensors = {"weights": WEIGHTS, **weights}
    return model_of(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 6])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def constant_node(name: str, value: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


RESHAPES = {
    "whole target": ([helper.make_node("Reshape", ["colour", "to"], ["flat"])], ints(1, 3)),
    "open end": ([helper.make_node("Reshape", ["colour", "to"], ["flat"])], ints(1, -1)),
    "already open": ([helper.make_node("Reshape", ["colour", "to"], ["flat"])], ints(-1, 3)),
    "zero is the batch": ([helper.make_node("Reshape", ["colour", "to"], ["flat"])], ints(0, 3)),
    "zero means zero": (
        [helper.make_node("Reshape", ["colour", "to"], ["flat"], allowzero=1)],
        ints(1, 3),
    ),
    "there and back": (
        [
            helper.make_node("Reshape", ["colour", "to"], ["wide"]),
            helper.make_node("Reshape", ["wide", "to"], ["flat"]),
        ],
        ints(1, 3),
    ),
    "through a first axis that is no batch": (
        [
            helper.make_node("Reshape", ["colour", "column"], ["long"]),
            helper.make_node("Reshape", ["long", "to"], ["flat"]),
        ],
        ints(1, 3),
    ),
    "a constant node": (
        [
            constant_node("there", ints(1, 3)),
            helper.make_node("Reshape", ["colour", "there"], ["flat"]),
        ],
        ints(1, 3),
    ),
    "a reshaped weight stays": (
        [
            helper.make_node("Reshape", ["ones", "like_weight"], ["plane"]),
            helper.make_node("Mul", ["colour", "plane"], ["scaled"]),
            helper.make_node("Reshape", ["scaled", "to"], ["flat"]),
        ],
        ints(1, 3),
    ),
}


@pytest.mark.parametrize("kind", RESHAPES)
def test_reshape_targets_are_freed(kind: str) -> None:
    middle, target = RESHAPES[kind]
    used = {name for node in middle for name in node.input}
    weights = {
        "to": target,
        "column": ints(-1, 1),
        "ones": np.ones(3, np.float32),
        "like_weight": ints(1, 3, 1, 1),
    }
    network = classifier(middle, {name: w for name, w in weights.items() if name in used})
    check_any_batch(network)


def check_any_batch(network: bytes) -> None:
    """The prepared graph takes four pictures at once and gives what the network gives for each."""
    manifest = classification(output__activation="none")
    prepared = prepare_model(network, manifest)
    assert (describe(prepared).batch, describe(prepared).batch_reason) == (None, "")
    pictures = hard_pictures()
    (found,) = run_onnx(prepared, {"rgb": pictures})
    logits = (pictures / 255).mean(axis=(1, 2)) @ WEIGHTS
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


def test_an_open_batch_stays_open() -> None:
    middle = [helper.make_node("Flatten", ["colour"], ["flat"], axis=1)]
    check_any_batch(classifier(middle, {}, batch="batch_size"))


FROZEN = {
    # A constant of batch 1 beside the picture's own row.
    "does not run": (
        [
            helper.make_node("Flatten", ["colour"], ["row"], axis=1),
            helper.make_node("Concat", ["row", "zeros"], ["both"], axis=1),
            helper.make_node("Slice", ["both", "start", "end", "axis"], ["flat"]),
        ],
        {
            "zeros": np.zeros((1, 3), np.float32),
            "start": ints(0),
            "end": ints(3),
            "axis": ints(1),
        },
        1,
    ),
    # Runs with any batch, but every picture's answer depends on the others.
    "mixes pictures": (
        [
            helper.make_node("Flatten", ["colour"], ["row"], axis=1),
            helper.make_node("ReduceMean", ["row"], ["common"], axes=[0]),
            helper.make_node("Mul", ["common", "third"], ["less"]),
            helper.make_node("Sub", ["row", "less"], ["flat"]),
        ],
        {"third": np.float32(1 / 3)},
        "N",
    ),
}


@pytest.mark.parametrize("kind", FROZEN)
def test_a_batch_that_comes_out_wrong_is_not_used(kind: str) -> None:
    middle, weights, batch = FROZEN[kind]
    network = classifier(middle, weights, batch=batch)
    prepared = prepare_model(network, classification())
    facts = describe(prepared)
    assert facts.batch == 1
    expected = {
        "does not run": "a batch of 4 does not run: ",
        "mixes pictures": "a batch of 4 gives other numbers than its pictures one by one",
    }
    assert facts.batch_reason.startswith(expected[kind])
    dims = [d.dim_value for d in prepared.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [1, HEIGHT, WIDTH, 3]
    for picture in hard_pictures():
        (found,) = run_onnx(prepared, {"rgb": picture[np.newaxis]})
        assert found.shape == (1, 6)
        np.testing.assert_allclose(found.sum(), 1.0, atol=1e-5)


def test_a_segmenter_for_one_picture_takes_several() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1]),
        helper.make_node("Reshape", ["mean", "to"], ["logit"]),
    ]
    network = model_of(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1, HEIGHT, WIDTH])],
        [numpy_helper.from_array(ints(1, 1, HEIGHT, WIDTH), "to")],
    )
    prepared = prepare_model(network, segmentation())
    assert describe(prepared).batch is None
    pictures = hard_pictures()
    (found,) = run_onnx(prepared, {"rgb": pictures})
    expected = 1 / (1 + np.exp(-(pictures / 255).mean(axis=3)))
    np.testing.assert_allclose(found, expected, atol=1e-6)
