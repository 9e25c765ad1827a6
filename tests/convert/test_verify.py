"""A graph that disagrees with its manifest: exact words, exit code 4."""

from __future__ import annotations

from typing import Any

import pytest
from networks_for_tests import (
    SIZE_WH,
    classification,
    input_table,
    model_of,
    seeing_network,
    segmentation,
)
from onnx import TensorProto, helper

from convert.prepare import prepare_model
from models.errors import ManifestError
from models.manifest import Manifest

WIDTH, HEIGHT = SIZE_WH
SEGMENTER = "expected tiny-segmenter (segmenter.onnx): "
CLASSIFIER = "expected tiny-classifier (classifier.onnx): "


def network(
    in_shape: list[Any],
    out_shape: list[Any],
    *,
    element: int = TensorProto.FLOAT,
    out_element: int = TensorProto.FLOAT,
    task: str = "segmentation",
) -> bytes:
    """Input ``image``, output ``logit`` or ``logits``, both as declared; valid, little else."""
    name = "logit" if task == "segmentation" else "logits"
    nodes = [helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT)]
    if task == "segmentation":
        nodes.append(helper.make_node("ReduceMean", ["wide"], ["mean"], axes=[1]))
    else:
        nodes.append(helper.make_node("ReduceMean", ["wide"], ["mean"], axes=[2, 3], keepdims=0))
    nodes.append(helper.make_node("Cast", ["mean"], [name], to=out_element))
    return model_of(
        nodes,
        [helper.make_tensor_value_info("image", element, in_shape)],
        [helper.make_tensor_value_info(name, out_element, out_shape)],
    )


SHAPE = [1, 3, HEIGHT, WIDTH]
PLANE = [1, 1, HEIGHT, WIDTH]
IMAGE = input_table("image", ["rgb"])

CASES: dict[str, tuple[Manifest, bytes, str]] = {
    "input name": (
        segmentation([input_table("picture", ["rgb"])]),
        network(SHAPE, PLANE),
        SEGMENTER + "an input named 'picture'; got inputs 'image'; "
        "correct inputs.name in the manifest",
    ),
    "surplus input": (
        segmentation(),
        seeing_network(segmentation([IMAGE, input_table("mask", ["melanin"])])),
        SEGMENTER + "an [[inputs]] entry for each of the graph's inputs; got none for 'mask'; "
        "describe that input in the manifest, or export the network without it",
    ),
    "size": (
        segmentation(),
        network([1, 3, 32, 32], [1, 1, 32, 32]),
        SEGMENTER + "input 'image' of shape (N, 3, 16, 24) (NCHW, roles rgb); "
        "got (1, 3, 32, 32); correct inputs.size_wh, inputs.layout or inputs.roles in the manifest",
    ),
    "channels": (
        segmentation([input_table("image", ["rgb", "melanin"])]),
        network(["N", 3, HEIGHT, WIDTH], ["N", 1, HEIGHT, WIDTH]),
        SEGMENTER + "input 'image' of shape (N, 6, 16, 24) (NCHW, roles rgb, melanin); "
        "got (N, 3, 16, 24); correct inputs.size_wh, inputs.layout or inputs.roles in the manifest",
    ),
    "layout": (
        segmentation([input_table("image", ["rgb"], layout="NHWC")]),
        network(SHAPE, PLANE),
        SEGMENTER + "input 'image' of shape (N, 16, 24, 3) (NHWC, roles rgb); "
        "got (1, 3, 16, 24); correct inputs.size_wh, inputs.layout or inputs.roles in the manifest",
    ),
    "rank": (
        segmentation(),
        network([1, 3, HEIGHT], [1, 1, HEIGHT]),
        SEGMENTER + "input 'image' of shape (N, 3, 16, 24) (NCHW, roles rgb); "
        "got (1, 3, 16); correct inputs.size_wh, inputs.layout or inputs.roles in the manifest",
    ),
    "dtype": (
        segmentation(),
        network(SHAPE, PLANE, element=TensorProto.FLOAT16),
        SEGMENTER + "input 'image' of type float32; got float16; "
        "correct inputs.dtype in the manifest",
    ),
    "dtype that no manifest has": (
        segmentation(),
        network(SHAPE, PLANE, element=TensorProto.DOUBLE),
        SEGMENTER + "input 'image' of type float32; got double; "
        "correct inputs.dtype in the manifest",
    ),
    "batch": (
        segmentation(),
        network([8, 3, HEIGHT, WIDTH], [8, 1, HEIGHT, WIDTH]),
        SEGMENTER + "input 'image' with an open batch or batch 1; got batch 8; "
        "export the network with an open batch",
    ),
    "output name": (
        segmentation(output__name="mask"),
        network(SHAPE, PLANE),
        SEGMENTER + "an output named 'mask'; got outputs 'logit'; "
        "correct output.name in the manifest",
    ),
    "output type": (
        segmentation(),
        network(SHAPE, PLANE, out_element=TensorProto.INT64),
        SEGMENTER + "output 'logit' of type float32 or float16; got int64; "
        "export the network with a floating point output",
    ),
    "output layout": (
        segmentation(output__layout="NHWC"),
        network(SHAPE, PLANE),
        SEGMENTER + "output 'logit' of shape (N, 16, 24, 1 or 2); got (1, 1, 16, 24); "
        "correct output.layout, output.activation or inputs.size_wh in the manifest",
    ),
    "two channels for a sigmoid": (
        segmentation(output__activation="softmax"),
        network(SHAPE, PLANE),
        SEGMENTER + "output 'logit' of shape (N, 2, 16, 24); got (1, 1, 16, 24); "
        "correct output.layout, output.activation or inputs.size_wh in the manifest",
    ),
    "a class map is no mask": (
        segmentation(output__name="logits"),
        network(SHAPE, [1, 3], task="classification"),
        SEGMENTER + "output 'logits' of shape (N, 1 or 2, 16, 24); got (1, 3); "
        "correct output.layout, output.activation or inputs.size_wh in the manifest",
    ),
    "more labels than outputs": (
        classification(),
        network(SHAPE, [1, 3], task="classification"),
        CLASSIFIER + "as many labels as output 'logits' has columns, 3; got 6 labels; "
        "correct output.labels in the manifest",
    ),
    "fewer labels than outputs": (
        classification(output__labels=["A", "B"], label_text=None),
        network(SHAPE, [1, 3], task="classification"),
        CLASSIFIER + "as many labels as output 'logits' has columns, 3; got 2 labels; "
        "correct output.labels in the manifest",
    ),
    "a mask is no row of scores": (
        classification(output__name="logit"),
        network(SHAPE, PLANE),
        CLASSIFIER + "output 'logit' of shape (N, 6); got (1, 1, 16, 24); "
        "name the output with one row of class scores per picture in output.name",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_disagreement(case: str) -> None:
    manifest, content, message = CASES[case]
    with pytest.raises(ManifestError) as caught:
        prepare_model(content, manifest)
    assert str(caught.value) == message
    assert caught.value.exit_code == 4


def test_open_axes_are_filled_from_the_manifest() -> None:
    """A fully convolutional export leaves height and width open; TensorRT needs them."""
    content = network(["n", 3, "h", "w"], ["n", 1, "h", "w"])
    prepared = prepare_model(content, segmentation())
    dims = prepared.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims[1:]] == [HEIGHT, WIDTH, 3]
