"""The paper's U-Net as .tflite files for ``benchmarks.cpu_engines``, with the very same weights.

Needs TensorFlow, which dermedge does not: run it in an environment of its own.

    python -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu onnx
    /tmp/tf/bin/python -m benchmarks.paper_unet_tflite

Writes ``out/bench/paper-unet.tflite`` (the graph as exported) and
``out/bench/paper-unet-rewritten.tflite`` (after `convert.compose_upsampling`). The ONNX graph is
walked node by node in NHWC, so no converter stands between the two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import helper, numpy_helper

from benchmarks.paper_unet import INPUT_CHANNELS, SIDE_PX, paper_unet
from convert.compose_upsampling import compose_upsampling
from convert.editable_graph import EditableGraph

FOLDER = Path("out/bench")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    exported, rewritten = paper_unet(), paper_unet()
    compose_upsampling(EditableGraph(rewritten))
    for name, model in (("paper-unet", exported), ("paper-unet-rewritten", rewritten)):
        path = FOLDER / f"{name}.tflite"
        path.write_bytes(tflite_from_onnx(model))
        print(f"{path}: {path.stat().st_size} bytes")


def tflite_from_onnx(model: onnx.ModelProto) -> bytes:
    """A flatbuffer with one input [1,304,304,9] and one output [1,304,304,1]."""
    shape = [1, SIDE_PX, SIDE_PX, INPUT_CHANNELS]
    function = tf.function(
        lambda planes: run_nhwc(model, planes),
        input_signature=[tf.TensorSpec(shape, tf.float32, "planes")],
    )
    concrete = function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()


def run_nhwc(model: onnx.ModelProto, planes: Any) -> Any:
    """The ONNX graph in TensorFlow's operators; weights stay float32."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    values: dict[str, Any] = {model.graph.input[0].name: planes}
    for node in model.graph.node:
        tensors = [values[name] for name in node.input if name in values]
        constants = [weights[name] for name in node.input if name in weights]
        values[node.output[0]] = _OPERATORS[node.op_type](node, tensors, constants)
    return values[model.graph.output[0].name]


def _convolution(node: onnx.NodeProto, x: list[Any], weights: list[np.ndarray]) -> Any:
    kernel = weights[0].transpose(2, 3, 1, 0)
    strides = _attributes(node).get("strides", [1, 1])
    padding: Any = "SAME"
    if strides != [1, 1]:  # TensorFlow's SAME pads stride 2 at the right and bottom only
        pad = [kernel.shape[0] // 2] * 2
        padding = [[0, 0], pad, pad, [0, 0]]
    y = tf.nn.conv2d(x[0], kernel, strides, padding)
    return y if len(weights) == 1 else tf.nn.bias_add(y, weights[1])


def _transposed(node: onnx.NodeProto, x: list[Any], weights: list[np.ndarray]) -> Any:
    kernel = weights[0].transpose(2, 3, 1, 0)
    _, height, width, _ = x[0].shape
    shape = [1, 2 * height, 2 * width, kernel.shape[2]]
    y = tf.nn.conv2d_transpose(x[0], kernel, shape, [2, 2], "SAME")
    return y if len(weights) == 1 else tf.nn.bias_add(y, weights[1])


def _batch_norm(node: onnx.NodeProto, x: list[Any], weights: list[np.ndarray]) -> Any:
    scale, bias, mean, variance = weights
    factor = scale / np.sqrt(variance + _attributes(node)["epsilon"])
    return x[0] * factor.astype(np.float32) + (bias - mean * factor).astype(np.float32)


def _add(node: onnx.NodeProto, x: list[Any], weights: list[np.ndarray]) -> Any:
    return x[0] + (weights[0].transpose(0, 2, 3, 1) if weights else x[1])


_OPERATORS = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "BatchNormalization": _batch_norm,
    "Add": _add,
    "Elu": lambda _, x, __: tf.nn.elu(x[0]),
    "Concat": lambda _, x, __: tf.concat(x, axis=3),
    "Sigmoid": lambda _, x, __: tf.sigmoid(x[0]),
}


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


if __name__ == "__main__":
    main()
