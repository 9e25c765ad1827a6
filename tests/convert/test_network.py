"""Files that are no usable ONNX, and opsets that are not ours."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from networks_for_tests import (
    SIZE_WH,
    hard_pictures,
    model_of,
    run_onnx,
    seeing_network,
    segmentation,
)
from onnx import TensorProto, helper, numpy_helper

from convert.network import standard_opset
from convert.prepare import prepare_model
from models.errors import ModelRefusedError

WIDTH, HEIGHT = SIZE_WH


def network(
    *nodes: onnx.NodeProto, opset: int, weights: dict[str, np.ndarray] | None = None
) -> bytes:
    """From ``image`` [1,3,H,W] to ``logit`` [1,1,H,W]."""
    info = helper.make_tensor_value_info
    return model_of(
        list(nodes),
        [info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [info("logit", TensorProto.FLOAT, [1, 1, HEIGHT, WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        opset=opset,
    )


def refusal(content: bytes) -> str:
    with pytest.raises(ModelRefusedError) as caught:
        prepare_model(content, segmentation())
    assert caught.value.exit_code == 4
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "got 0 bytes without any node"),
        (b"This is a text, not a network.\n" * 10, "got 310 bytes that are no ONNX"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "that are no ONNX"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "got a pointer of Git LFS; fetch the file itself: git lfs pull",
        ),
    ],
)
def test_no_onnx_at_all(content: bytes, got: str) -> None:
    message = refusal(content)
    assert message.startswith("expected tiny-segmenter (segmenter.onnx): an ONNX model; ")
    assert got in message
    assert "\n" not in message


def test_a_truncated_file() -> None:
    whole = seeing_network(segmentation())
    for length in range(1, len(whole), 7):
        assert "tiny-segmenter (segmenter.onnx)" in refusal(whole[:length])


def test_an_invalid_graph() -> None:
    model = onnx.load_model_from_string(seeing_network(segmentation()))
    model.graph.node[0].op_type = "NoSuchOperator"
    message = refusal(model.SerializeToString())
    assert "a valid ONNX model; got No Op registered for NoSuchOperator" in message


def test_weights_in_another_file() -> None:
    weight = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "kernel")
    node = helper.make_node("Conv", ["image", "kernel"], ["logit"])
    model = onnx.load_model_from_string(
        network(node, opset=17, weights={"kernel": numpy_helper.to_array(weight)})
    )
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")
    model.graph.initializer[0].ClearField("raw_data")
    message = refusal(model.SerializeToString())
    assert "got weights in another file (weights.bin)" in message
    assert "without external data" in message


def test_a_graph_that_was_prepared_already() -> None:
    manifest = segmentation()
    prepared = prepare_model(seeing_network(manifest), manifest)
    assert "got a graph that was prepared already" in refusal(prepared.SerializeToString())


def test_a_graph_that_does_not_run() -> None:
    """Valid by every rule of ONNX, and still no kernel takes four channels from three."""
    node = helper.make_node("Conv", ["image", "kernel"], ["logit"])
    content = network(node, opset=17, weights={"kernel": np.zeros((1, 4, 1, 1), np.float32)})
    message = refusal(content)
    assert "a graph that ONNX Runtime can run; got Non-zero status code" in message
    assert message.endswith("export the network again, with standard operators of opset 17")


@pytest.mark.parametrize("opset", [11, 13, 17, 19])
def test_readable_opsets_stay(opset: int) -> None:
    kernel = {"kernel": np.full((1, 3, 1, 1), 0.5, np.float32)}
    node = helper.make_node("Conv", ["image", "kernel"], ["logit"])
    prepared = prepare_model(network(node, opset=opset, weights=kernel), segmentation())
    assert standard_opset(prepared) == opset
    assert prepared.ir_version <= 10
    check_half_sum(prepared)


@pytest.mark.parametrize(("opset", "becomes"), [(7, 13), (9, 13), (20, 19), (21, 19)])
def test_other_opsets_are_converted(opset: int, becomes: int) -> None:
    kernel = {"kernel": np.full((1, 3, 1, 1), 0.5, np.float32)}
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["sum"], name="convolution"),
        helper.make_node("Relu", ["sum"], ["logit"], name="relu"),
    ]
    prepared = prepare_model(network(*nodes, opset=opset, weights=kernel), segmentation())
    assert standard_opset(prepared) == becomes
    assert {"convolution", "relu"} <= {node.name for node in prepared.graph.node}
    check_half_sum(prepared)


def check_half_sum(prepared: onnx.ModelProto) -> None:
    pictures = hard_pictures()
    (found,) = run_onnx(prepared, {"rgb": pictures})
    expected = 1 / (1 + np.exp(-0.5 * (pictures / 255).sum(axis=3)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_operator_that_older_opsets_lack() -> None:
    """Gelu came with opset 20: there is no honest way back."""
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"]),
        helper.make_node("Gelu", ["mean"], ["logit"]),
    ]
    content = network(*nodes, opset=20, weights={"axes": np.array([1], np.int64)})
    message = refusal(content)
    assert message.endswith(
        "opset 11 to 19; got opset 20, not convertible (No Previous Version of Gelu exists); "
        "export the network with opset 17"
    )


def test_local_functions_are_inlined() -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    body = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1])]
    function = helper.make_function("own", "ColourMean", ["x"], ["y"], body, opsets[:1])
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("ColourMean", ["image"], ["logit"], domain="own", name="mean")],
        "network",
        [info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [info("logit", TensorProto.FLOAT, [1, 1, HEIGHT, WIDTH])],
    )
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    prepared = prepare_model(model.SerializeToString(), segmentation())
    assert not prepared.functions
    assert "ReduceMean" in {node.op_type for node in prepared.graph.node}


def test_initializers_that_pose_as_inputs() -> None:
    """Files of IR 3 list their weights as inputs; no manifest has to describe those."""
    kernel = {"kernel": np.full((1, 3, 1, 1), 0.5, np.float32)}
    node = helper.make_node("Conv", ["image", "kernel"], ["logit"])
    model = onnx.load_model_from_string(network(node, opset=11, weights=kernel))
    model.graph.input.append(
        helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [1, 3, 1, 1])
    )
    model.ir_version = 3
    prepared = prepare_model(model.SerializeToString(), segmentation())
    assert [value.name for value in prepared.graph.input] == ["rgb"]
    assert prepared.ir_version == 8
    check_half_sum(prepared)


def test_the_same_bytes_give_the_same_graph() -> None:
    manifest = segmentation()
    content = seeing_network(manifest)
    first, second = (
        prepare_model(content, manifest).SerializeToString(deterministic=True) for _ in range(2)
    )
    assert first == second
