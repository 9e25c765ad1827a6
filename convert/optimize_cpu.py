"""Rewrites of a prepared graph that make it cheaper on a CPU; the numbers stay within rounding.

They aim at what ONNX Runtime's kernels are slow at in the paper's U-Net; the first helps OpenVINO
as much. `docs/decisions/2026-11-23-cpu-engine.md` holds what each of them gains.

1. Two convolutions of the decoder are multiplied out into one (:mod:`convert.compose_upsampling`).
2. ``Elu(x)`` is ``max(x, exp(min(x, 0)) - 1)``: ONNX Runtime vectorises these four well, but not
   its Elu.

Not for TensorRT, which fuses the graph as it was.
"""

from __future__ import annotations

import numpy as np
import onnx

from convert.compose_upsampling import compose_upsampling
from convert.editable_graph import EditableGraph, attributes, new_node

_OPSET_MIN = 11  # Clip takes its bounds as inputs


def optimized_for_cpu(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the graph, rewritten where the patterns above occur and equal elsewhere.

    Args:
        model: A checked graph; weights are initializers. Left as it is.

    Returns:
        Same inputs and outputs; sums are added up in another order. A graph with an opset below
        11 or with control flow is copied only.
    """
    optimized = onnx.ModelProto()
    optimized.CopyFrom(model)
    if _opset(model) >= _OPSET_MIN and not any(map(_holds_graphs, model.graph.node)):
        for rewrite in (compose_upsampling, split_elu):
            rewrite(EditableGraph(optimized))
    return optimized


def split_elu(graph: EditableGraph) -> None:
    """Write every float32 Elu as Clip, Exp, Sub and Max."""
    places = [
        (index, node)
        for index, node in enumerate(graph.nodes)
        if node.op_type == "Elu"
        and attributes(node).get("alpha", 1.0) == 1.0
        and graph.is_float(node.input[0])
    ]
    if not places:
        return
    zero = graph.constant("elu/zero", np.array(0, np.float32))
    one = graph.constant("elu/one", np.array(1, np.float32))
    replacements = {}
    for index, node in places:
        x, name = node.input[0], f"elu_{index}"
        negative = new_node("Clip", [x, "", zero], f"{name}/negative")
        power = new_node("Exp", [negative.output[0]], f"{name}/power")
        shifted = new_node("Sub", [power.output[0], one], f"{name}/shifted")
        whole = new_node("Max", [x, shifted.output[0]], name, node.output[0])
        replacements[id(node)] = [negative, power, shifted, whole]
    graph.replace(replacements)


def _opset(model: onnx.ModelProto) -> int:
    return max((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), default=0)


def _holds_graphs(node: onnx.NodeProto) -> bool:
    return any(a.HasField("g") or len(a.graphs) for a in node.attribute)
