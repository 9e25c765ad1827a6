"""The output side: activations, channels and temperature, against numpy."""

from __future__ import annotations

import numpy as np
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

from convert.prepare import prepare_model
from models.errors import ManifestError

WIDTH, HEIGHT = SIZE_WH
RNG = np.random.default_rng(3)
CLASS_WEIGHTS = RNG.normal(0, 3, (3, 6)).astype(np.float32)


def segmenter(channels: int, activation: str, layout: str, element: int) -> bytes:
    """Channel k of the output is the input's channel k times 4 minus 2, then the activation."""
    pick = np.zeros((channels, 3, 1, 1), np.float32)
    pick[range(channels), range(channels)] = 4.0
    bias = np.full(channels, -2.0, np.float32)
    nodes = [helper.make_node("Conv", ["image", "pick", "bias"], ["y0"])]
    if activation != "none":
        attributes = {} if activation == "sigmoid" else {"axis": 1}
        nodes.append(helper.make_node(activation.capitalize(), ["y0"], ["y1"], **attributes))
    if layout == "NHWC":
        last = nodes[-1].output[0]
        nodes.append(helper.make_node("Transpose", [last], ["y2"], perm=[0, 2, 3, 1]))
    nodes.append(helper.make_node("Cast", [nodes[-1].output[0]], ["y"], to=element))
    shape = ["N", channels, HEIGHT, WIDTH] if layout == "NCHW" else ["N", HEIGHT, WIDTH, channels]
    return model_of(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("y", element, shape)],
        [numpy_helper.from_array(pick, "pick"), numpy_helper.from_array(bias, "bias")],
    )


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("channels", "activation"), [(1, "none"), (1, "sigmoid"), (2, "none"), (2, "softmax")]
)
def test_segmentation(channels: int, activation: str, layout: str, element: int) -> None:
    manifest = segmentation(output__name="y", output__activation=activation, output__layout=layout)
    prepared = prepare_model(segmenter(channels, activation, layout, element), manifest)
    pictures = hard_pictures()
    (found,) = run_onnx(prepared, {"rgb": pictures})
    logits = pictures.astype(np.float64) / 255 * 4 - 2
    lesion = logits[..., 0] if channels == 1 else logits[..., 1] - logits[..., 0]
    assert found.shape == (4, HEIGHT, WIDTH)
    assert found.dtype == np.float32
    tolerance = 1e-6 if element == TensorProto.FLOAT else 2e-3
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-lesion)), atol=tolerance)


def classifier(activation: str, element: int = TensorProto.FLOAT) -> bytes:
    """Logits are the mean colour times a matrix."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["colour"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
    ]
    if activation == "softmax":
        nodes.append(helper.make_node("Softmax", ["logits"], ["soft"], axis=1))
    nodes.append(helper.make_node("Cast", [nodes[-1].output[0]], ["y"], to=element))
    return model_of(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("y", element, ["N", 6])],
        [numpy_helper.from_array(CLASS_WEIGHTS, "weights")],
    )


@pytest.mark.parametrize("element", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.7])
@pytest.mark.parametrize("activation", ["none", "softmax"])
def test_classification(activation: str, temperature: float, element: int) -> None:
    manifest = classification(
        output__name="y", output__activation=activation, decision__temperature=temperature
    )
    prepared = prepare_model(classifier(activation, element), manifest)
    pictures = hard_pictures()
    (found,) = run_onnx(prepared, {"rgb": pictures})
    logits = (pictures.astype(np.float64) / 255).mean(axis=(1, 2)) @ CLASS_WEIGHTS
    assert found.shape == (4, 6)
    assert found.dtype == np.float32
    tolerance = 1e-5 if element == TensorProto.FLOAT else 3e-3
    np.testing.assert_allclose(found, softmax(logits / temperature, 1), atol=tolerance)


def test_a_probability_of_zero_stays_finite() -> None:
    """A saturated softmax has exact zeros, of which no logarithm may be taken."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["colour"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["colour", "much"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    network = model_of(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.float32(1e5), "much")],
    )
    manifest = classification(
        output__name="y",
        output__activation="softmax",
        output__labels=["A", "B", "C"],
        label_text=None,
        decision__temperature=2.0,
    )
    picture = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    picture[..., 0] = 200
    (found,) = run_onnx(prepare_model(network, manifest), {"rgb": picture})
    np.testing.assert_allclose(found, [[1.0, 0.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("inside", "claimed", "message"),
    [
        ("none", "softmax", "probabilities from output 'y'"),
        ("softmax", "none", "logits from output 'y'"),
    ],
)
def test_a_wrong_activation_is_found_by_running(inside: str, claimed: str, message: str) -> None:
    """A doubled softmax still gives plausible numbers: the manifest's word is checked."""
    manifest = classification(output__name="y", output__activation=claimed)
    with pytest.raises(ManifestError, match=message) as caught:
        prepare_model(classifier(inside), manifest)
    assert caught.value.next_step == "correct output.activation in the manifest"


def test_a_segmenter_without_its_sigmoid_is_refused() -> None:
    manifest = segmentation(output__name="y", output__activation="sigmoid")
    network = segmenter(1, "none", "NCHW", TensorProto.FLOAT)
    with pytest.raises(ManifestError, match=r"got values from -1\.\d+ to 1\.\d+"):
        prepare_model(network, manifest)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_doubled_sigmoid_is_refused(layout: str) -> None:
    """It would put every pixel above 0.5, and no number is out of place: the graph is asked."""
    manifest = segmentation(output__name="y", output__layout=layout)
    network = segmenter(1, "sigmoid", layout, TensorProto.FLOAT)
    with pytest.raises(ManifestError, match="got the output of a Sigmoid"):
        prepare_model(network, manifest)
