"""Tiny graphs with the interface of prepared ones, and what numpy says they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH = 6, 10


def write_segmenter(
    path: Path,
    *,
    batch: int | str = "N",
    input_name: str = "rgb",
    element: int = TensorProto.UINT8,
    output_name: str = "probability",
    sides: tuple[int | str, int | str] = (HEIGHT, WIDTH),
) -> Path:
    """A graph whose ``probability`` is the mean of the three channels over 255."""
    nodes = [
        helper.make_node("Cast", [input_name], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[3], keepdims=0),
        helper.make_node("Div", ["mean", "full"], [output_name]),
    ]
    picture = helper.make_tensor_value_info(input_name, element, [batch, *sides, 3])
    plane = helper.make_tensor_value_info(output_name, TensorProto.FLOAT, [batch, *sides])
    full = numpy_helper.from_array(np.array(255, np.float32), "full")
    return _write(path, nodes, picture, plane, full)


def segmenter_answer(pixels: np.ndarray) -> np.ndarray:
    """What :func:`write_segmenter` computes, float32 [N,H,W]."""
    return (pixels.astype(np.float32).mean(axis=3) / 255).astype(np.float32)


def write_picky_classifier(path: Path) -> Path:
    """A graph that loads for any batch and fails at run time for a batch other than two."""
    nodes = [
        helper.make_node("Cast", ["rgb"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "shape"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["probabilities"], axes=[2], keepdims=0),
    ]
    picture = helper.make_tensor_value_info("rgb", TensorProto.UINT8, ["N", HEIGHT, WIDTH, 3])
    classes = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])
    shape = numpy_helper.from_array(np.array([2, 3, HEIGHT * WIDTH], np.int64), "shape")
    return _write(path, nodes, picture, classes, shape)


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    picture: onnx.ValueInfoProto,
    answer: onnx.ValueInfoProto,
    constant: onnx.TensorProto,
) -> Path:
    graph = helper.make_graph(nodes, "prepared", [picture], [answer], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
