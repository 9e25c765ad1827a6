"""Graphs of a few nodes, with or without a planted fault, and what the check says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from convert.check import Finding, check_graph
from convert.targets import find_target

FP32, FP16, UINT8, INT8, INT32, INT64, BOOL, FP64 = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT8,
    TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.DOUBLE,
)  # fmt: skip

PICTURE = ["N", 3, 8, 8]

Node = onnx.NodeProto
Weights = dict[str, np.ndarray]


def node(op: str, reads: str, makes: str, **attributes: Any) -> Node:
    """A node named like what it makes; tensors are words of a text, ``_`` for one left out."""
    inputs = ["" if name == "_" else name for name in reads.split()]
    outputs = ["" if name == "_" else name for name in makes.split()]
    name = attributes.pop("name", outputs[0])
    return helper.make_node(op, inputs, outputs, name=name, **attributes)


def value(name: str, element: int, shape: list[Any] | None) -> onnx.ValueInfoProto:
    """An input or output of a graph."""
    return helper.make_tensor_value_info(name, element, shape)


def graph(
    *nodes: Node,
    x: tuple[int, list[Any]] = (FP32, PICTURE),
    y: tuple[int, list[Any]] = (FP32, PICTURE),
    opset: int = 17,
    ir_version: int = 8,
    **weights: Any,
) -> onnx.ModelProto:
    """A graph from ``x`` to ``y``, unchecked; element type and shape of each; weights by name."""
    proto = helper.make_graph(
        list(nodes),
        "planted",
        [value("x", *x)],
        [value("y", *y)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(proto, opset_imports=imports, ir_version=ir_version)


def check(model: onnx.ModelProto, target: str = "10.3", exclude: Any = ()) -> list[Finding]:
    """What the check says for a target."""
    return check_graph(model, find_target(target), exclude=exclude)


def only(findings: list[Finding]) -> Finding:
    """The one finding, which says where, what and the way out on one line."""
    assert len(findings) == 1, [str(finding) for finding in findings]
    (found,) = findings
    text = str(found)
    assert found.node and found.found and found.way_out
    assert text == f"{found.severity}: {found.node}: {found.found}; {found.way_out}"
    assert "\n" not in text
    return found
