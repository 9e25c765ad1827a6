"""No needless Transposes, no needless Casts, and names that collide."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from networks_for_tests import (
    SIZE_WH,
    hard_pictures,
    input_table,
    model_of,
    run_onnx,
    seeing_network,
    segmentation,
)
from onnx import TensorProto, helper

from convert.prepare import prepare_model
from convert.rewrites import cancel_transposes, prune
from models.manifest import Manifest

WIDTH, HEIGHT = SIZE_WH
STACK = ["rgb", "hemoglobin", "melanin"]


def operators(prepared: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in prepared.graph.node]


def tensorflow_like(manifest: Manifest) -> bytes:
    """NHWC inputs, each transposed to NCHW at once, as exporters of NHWC frameworks write it."""
    nodes, inputs, means = [], [], []
    for tensor in manifest.inputs:
        shape = [1, HEIGHT, WIDTH, tensor.channels]
        inputs.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, shape))
        first = f"{tensor.name}_nchw"
        nodes.append(helper.make_node("Transpose", [tensor.name], [first], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("ReduceMean", [first], [f"{tensor.name}_mean"], axes=[1]))
        means.append(f"{tensor.name}_mean")
    nodes.append(helper.make_node("Sum", means, ["logit"]))
    output = helper.make_tensor_value_info("logit", TensorProto.FLOAT, [1, 1, HEIGHT, WIDTH])
    return model_of(nodes, inputs, [output])


@pytest.mark.parametrize("roles", [["rgb"], STACK])
def test_an_nhwc_network_needs_no_transpose(roles: list[str]) -> None:
    manifest = segmentation([input_table("image", roles, layout="NHWC")])
    channels = manifest.inputs[0].channels
    shape = ["N", HEIGHT, WIDTH, channels]
    nodes = [helper.make_node("ReduceMean", ["image"], ["logit"], axes=[3])]
    network = model_of(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", HEIGHT, WIDTH, 1])],
    )
    manifest = segmentation([input_table("image", roles, layout="NHWC")], output__layout="NHWC")
    assert "Transpose" not in operators(prepare_model(network, manifest))


def test_an_nchw_network_needs_one_transpose() -> None:
    inputs = [input_table(f"in_{role}", [role]) for role in STACK]
    manifest = segmentation(inputs)
    assert operators(prepare_model(seeing_network(manifest), manifest)).count("Transpose") == 1


def test_the_transposes_of_an_nhwc_export_are_cancelled() -> None:
    """Three NHWC inputs, three Transposes in the network: one is left, and the numbers stay."""
    inputs = [input_table(f"in_{role}", [role], layout="NHWC") for role in STACK]
    manifest = segmentation(inputs)
    network = tensorflow_like(manifest)
    prepared = prepare_model(network, manifest)
    assert operators(prepared).count("Transpose") == 1
    plain = segmentation([input_table(f"in_{role}", [role]) for role in STACK])
    expected = prepare_model(seeing_network(plain), plain)
    feeds = {"rgb": hard_pictures()}
    np.testing.assert_array_equal(run_onnx(prepared, feeds)[0], run_onnx(expected, feeds)[0])


def test_only_inverse_transposes_cancel() -> None:
    first, second = [0, 3, 1, 2], [0, 3, 1, 2]
    nodes = [
        helper.make_node("Transpose", ["x"], ["y"], perm=first),
        helper.make_node("Transpose", ["y"], ["z"], perm=second),
        helper.make_node("Transpose", ["z"], ["back"], perm=[0, 2, 3, 1]),
        helper.make_node("Neg", ["back"], ["out"]),
    ]
    shape = [1, 2, 3, 4]
    info = helper.make_tensor_value_info
    # Two Transposes of four axes by one place each: their product is no identity.
    model = onnx.load_model_from_string(
        model_of(
            nodes,
            [info("x", TensorProto.FLOAT, shape)],
            [info("out", TensorProto.FLOAT, [1, 4, 2, 3])],
        )
    )
    feeds = {"x": np.arange(24, dtype=np.float32).reshape(shape)}
    expected = run_onnx(model, feeds)[0]
    cancel_transposes(model.graph)
    prune(model.graph)
    assert operators(model) == ["Transpose", "Neg"]
    np.testing.assert_array_equal(run_onnx(model, feeds)[0], expected)


@pytest.mark.parametrize("to", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_network_that_casts_its_uint8_input_gets_the_cast_pixels(to: int) -> None:
    """No uint8 tensor is left inside the graph: TensorRT has none."""
    nodes = [
        helper.make_node("Cast", ["image"], ["wide"], to=to),
        helper.make_node("ReduceMean", ["wide"], ["logit"], axes=[1]),
    ]
    network = model_of(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("logit", to, [1, 1, HEIGHT, WIDTH])],
    )
    manifest = segmentation([input_table("image", ["rgb"], dtype="uint8", scale=1.0)])
    prepared = prepare_model(network, manifest)
    casts = [node for node in prepared.graph.node if node.op_type == "Cast"]
    targets = {a.i for node in casts for a in node.attribute}
    assert TensorProto.UINT8 not in targets
    pictures = hard_pictures()
    logits = pictures.astype(np.float64).mean(axis=3)
    found = run_onnx(prepared, {"rgb": pictures})[0]
    tolerance = 1e-5 if to == TensorProto.FLOAT else 1e-2
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), atol=tolerance)


def test_networks_may_use_our_names() -> None:
    """The network's own input is called rgb, an inner tensor too is free, its output as ours."""
    nodes = [
        helper.make_node("ReduceMean", ["rgb"], ["probabilities"], axes=[1], name="mean"),
        helper.make_node("Sigmoid", ["probabilities"], ["probability"], name="sigmoid"),
    ]
    network = model_of(
        nodes,
        [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", 1, HEIGHT, WIDTH])],
    )
    manifest = segmentation(
        [input_table("rgb", ["rgb"])],
        output__name="probability",
        output__activation="sigmoid",
    )
    prepared = prepare_model(network, manifest)
    assert {"mean", "sigmoid"} <= {node.name for node in prepared.graph.node}
    pictures = hard_pictures()
    found = run_onnx(prepared, {"rgb": pictures})[0]
    expected = 1 / (1 + np.exp(-pictures.mean(axis=3) / 255))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_inner_tensor_called_rgb_is_renamed() -> None:
    nodes = [
        helper.make_node("Neg", ["image"], ["rgb"], name="negate"),
        helper.make_node("ReduceMean", ["rgb"], ["logit"], axes=[1], name="mean"),
    ]
    network = model_of(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["N", 1, HEIGHT, WIDTH])],
    )
    pictures = hard_pictures()
    found = run_onnx(prepare_model(network, segmentation()), {"rgb": pictures})[0]
    expected = 1 / (1 + np.exp(pictures.mean(axis=3) / 255))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_the_output_does_not_need_is_left_out() -> None:
    """A second head and its weights do not travel to the device."""
    weights = [onnx.numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "second")]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["logit"], axes=[1]),
        helper.make_node("Mul", ["logit", "second"], ["other"]),
    ]
    info = helper.make_tensor_value_info
    network = model_of(
        nodes,
        [info("image", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [info(name, TensorProto.FLOAT, ["N", 1, HEIGHT, WIDTH]) for name in ("logit", "other")],
        weights,
    )
    prepared = prepare_model(network, segmentation())
    assert "second" not in {tensor.name for tensor in prepared.graph.initializer}
    assert [value.name for value in prepared.graph.output] == ["probability"]
