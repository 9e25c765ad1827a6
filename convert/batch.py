"""Batches: a network that was exported for one picture is made to take several.

Only the batch axis is touched: that of the inputs and outputs, and constant targets of Reshape
that keep it. What else may have frozen the batch (a Tile, a Concat with a constant, a size
computed at export) is not guessed at: :mod:`convert.prepare` compares a batch of four with four
single pictures and keeps batch 1 where they differ.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

BATCH_AXIS = "N"


def set_batch(graph: onnx.GraphProto, *, dynamic: bool) -> None:
    """Declare the first axis of all inputs and outputs: ``N``, or 1."""
    for value in (*graph.input, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims:
            dims[0].Clear()
            if dynamic:
                dims[0].dim_param = BATCH_AXIS
            else:
                dims[0].dim_value = 1


def free_batch(model: onnx.ModelProto) -> None:
    """Make a graph for batch 1 take any batch, as far as Reshape targets go; in place.

    The first entry of a constant target is replaced where it is 1 and the tensor depends on an
    input: by 0 (the length of the data's own first axis) where that axis is 1 too, or else by -1
    where no other entry is.
    """
    shapes = _shapes(model)
    graph = model.graph
    values = _constant_values(graph)
    varying = _depends_on_input(graph)
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[0] not in varying:
            continue
        target = values.get(node.input[1])
        if target is None or target.size == 0 or target[0] != 1:
            continue
        freed = target.copy()
        keeps_zero = any(a.name == "allowzero" and a.i for a in node.attribute)
        if shapes.get(node.input[0], [None])[:1] == [1] and not keeps_zero:
            freed[0] = 0
        elif not np.any(target == -1):
            freed[0] = -1
        else:
            continue
        # A target of its own: several nodes may share one constant.
        name = f"{node.output[0]}/any_batch"
        graph.initializer.append(numpy_helper.from_array(freed, name))
        node.input[1] = name
    del graph.value_info[:]
    set_batch(graph, dynamic=True)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    try:
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
    except shape_inference.InferenceError:
        return {}
    return {
        value.name: [d.dim_value if d.HasField("dim_value") else None for d in dims]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if (dims := value.type.tensor_type.shape.dim)
    }


def _constant_values(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer if len(t.dims) == 1}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    values[node.output[0]] = numpy_helper.to_array(attribute.t)
                elif attribute.name == "value_ints":
                    values[node.output[0]] = np.array(attribute.ints, np.int64)
    return values


def _depends_on_input(graph: onnx.GraphProto) -> set[str]:
    varying = {value.name for value in graph.input}
    for node in graph.node:
        if varying.intersection(node.input):
            varying.update(node.output)
    return varying
