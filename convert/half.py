"""The float16 form of a prepared graph, as types and Cast nodes in the graph itself.

TensorRT then compiles it as a strongly typed network, and what runs on a device is what was
measured at a desk. :mod:`convert.half_plan` says which nodes stay float32. Casts that the network
brought along are forgotten and set anew, so a network that was exported in float16 gets the same
treatment as any other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper, shape_inference

from convert.description import note_precision
from convert.half_plan import (
    FLOATS,
    Kind,
    cast_target,
    half_variables,
    input_variable,
    plan,
    varying_tensors,
)
from convert.network import IR_MAX, OPSET_MAX, OUR_PREFIX, standard_opset
from convert.rewrites import lift_constants, prune, rename_tensor, replace_uses
from convert.trial import CannotRunError, TrialSession
from models.errors import ModelRefusedError

FLOAT16_MAX = 65504.0
"""Largest finite float16 (IEEE 754 binary16)."""

_USE_FP32 = "build it with --precision fp32"
_WIDTH = {TensorProto.FLOAT16: "float16", TensorProto.FLOAT: "float32"}


def to_half(prepared: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its network in float16.

    Inputs and outputs keep their names and types. The front, the last activation and what follows
    it, and sums over many values stay float32. Deterministic.

    Args:
        prepared: From :func:`convert.prepare.prepare_model`; left as it is.

    Returns:
        A strongly typed graph that ONNX Runtime runs, of the same opset and IR version.

    Raises:
        ModelRefusedError: The graph holds control flow, quantized or foreign operators, weights
            beyond float16's range, or tensors whose type cannot be told; the message names the
            node or tensor.
    """
    model = onnx.ModelProto()
    model.CopyFrom(prepared)
    _refuse_unsuitable(model)
    lift_constants(model.graph)
    del model.graph.value_info[:]
    types = _element_types(model)
    _forget_casts(model.graph, types)
    _simplify_normalizations(model.graph)
    types = _element_types(model)
    _Retyping(model, types, plan(model, types)).run()
    prune(model.graph)
    note_precision(model, "fp16")
    _prove(model)
    return model


# --- what is refused ----------------------------------------------------------------------------


def _refuse_unsuitable(model: onnx.ModelProto) -> None:
    opset = standard_opset(model)
    if opset > OPSET_MAX or model.ir_version > IR_MAX:
        raise ModelRefusedError(
            f"a graph of opset {OPSET_MAX} and IR {IR_MAX} at most",
            got=f"opset {opset}, IR {model.ir_version}",
            next_step="prepare it: dermedge-convert prepare PACK",
        )
    for node in model.graph.node:
        if any(a.HasField("g") or len(a.graphs) for a in node.attribute):
            problem = "control flow"
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            problem = "a network that is quantized already"
        elif node.domain not in ("", "ai.onnx"):
            problem = f"an operator of {node.domain}"
        else:
            continue
        raise ModelRefusedError(
            "a network of plain standard operators, to compute in float16",
            got=f"{problem}: {_called(node)}",
            next_step=f"{_USE_FP32}, or export the network without it",
        )


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor.

    Raises:
        ModelRefusedError: ONNX's inference does not reach one of them.
    """
    types = known_types(model)
    for node in model.graph.node:
        for name in node.output:
            if name and not types.get(name):
                raise ModelRefusedError(
                    "a graph in which the type of every tensor can be told, to compute in float16",
                    got=f"none for {name!r}, made by {_called(node)}",
                    next_step=f"{_USE_FP32}, or export the network again",
                )
    return types


def known_types(model: onnx.ModelProto) -> dict[str, int]:
    """``onnx.TensorProto`` element type of each tensor, as far as ONNX's inference gets."""
    graph = shape_inference.infer_shapes(model).graph
    types = {
        value.name: int(value.type.tensor_type.elem_type)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    types.update({tensor.name: int(tensor.data_type) for tensor in graph.initializer})
    return types


def _prove(model: onnx.ModelProto) -> None:
    """The result is valid ONNX, and ONNX Runtime finds the types that its operators allow."""
    checker.check_model(model)
    try:
        TrialSession(model)
    except CannotRunError as error:
        raise ModelRefusedError(
            "a network that also runs in float16",
            got=str(error),
            next_step=_USE_FP32,
        ) from error


def _called(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]!r}"


# --- before types are given ---------------------------------------------------------------------


def _forget_casts(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    """Remove the Casts between float16 and float32 of everything that depends on the picture."""
    varying = varying_tensors(graph)
    outputs = {value.name for value in graph.output}
    inputs = {value.name for value in graph.input}
    kept = []
    # Every name is looked up when its turn comes: the renaming below changes later nodes.
    for node in graph.node:
        if node.op_type != "Cast" or cast_target(node) not in FLOATS:
            kept.append(node)
            continue
        source, made = node.input[0], node.output[0]
        if source not in varying or types[source] not in FLOATS:
            kept.append(node)
        elif made not in outputs:
            replace_uses(graph, {made: source})
        elif source in inputs or source in outputs:
            kept.append(node)
        else:
            rename_tensor(graph, source, made)
            varying.add(made)
            types[made] = types[source]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)


def _simplify_normalizations(graph: onnx.GraphProto) -> None:
    """Give each BatchNormalization a mean of 0, a variance of 1 and no epsilon; in place.

    A variance of 1e-9 is 0 in float16, and nobody says in which type a runtime multiplies the four
    parameters out; so that is done here, in float64. The node stays one node.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "BatchNormalization" or len(node.output) > 1:
            continue
        if not all(name in weights for name in node.input[1:]):
            continue
        scale, bias, mean, variance = (
            numpy_helper.to_array(weights[name]).astype(np.float64) for name in node.input[1:]
        )
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        parts = {
            "scale": factor,
            "bias": bias - mean * factor,
            "mean": np.zeros_like(mean),
            "variance": np.ones_like(variance),
        }
        for index, (part, value) in enumerate(parts.items(), start=1):
            name = f"{OUR_PREFIX}half/{node.output[0]}/{part}"
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
            node.input[index] = name
        kept = [a for a in node.attribute if a.name != "epsilon"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("epsilon", 0.0)])


# --- types --------------------------------------------------------------------------------------


class _Retyping:
    """Gives every node the types of its kind, and sets Casts where two kinds meet; in place.

    Args:
        model: Constants are initializers, Casts between floats are forgotten.
        types: Element type of every tensor, before.
        kinds: Of each node.
    """

    def __init__(self, model: onnx.ModelProto, types: dict[str, int], kinds: list[Kind]) -> None:
        self._graph, self._opset = model.graph, standard_opset(model)
        self._types, self._kinds = types, kinds
        self._now = dict(types)
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._cast: dict[tuple[str, int], str] = {}

    def run(self) -> None:
        """Rewrite the graph."""
        nodes: list[onnx.NodeProto] = []
        for node, kind in zip(self._graph.node, self._kinds, strict=True):
            for index, element in self._wanted_inputs(node, kind):
                name = node.input[index]
                if self._now[name] == element:
                    continue
                if name in self._weights:
                    node.input[index] = self._weight(node, index, element)
                else:
                    node.input[index] = self._cast_of(name, element, nodes)
            self._set_outputs(node, kind)
            nodes.append(node)
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self._graph.node[:]
        self._graph.node.extend(nodes)

    def _wanted_inputs(self, node: onnx.NodeProto, kind: Kind) -> Iterator[tuple[int, int]]:
        """Index of each floating input and the type that it must have."""
        if kind is Kind.LEFT or (node.op_type == "Cast" and kind is Kind.HALF):
            return
        variables = half_variables(node, self._opset) if kind is Kind.HALF else set()
        for index, name in enumerate(node.input):
            if name and self._types[name] in FLOATS:
                half = input_variable(node, index, self._opset) in variables
                yield index, TensorProto.FLOAT16 if half else TensorProto.FLOAT

    def _set_outputs(self, node: onnx.NodeProto, kind: Kind) -> None:
        if kind is Kind.LEFT:
            return
        element = TensorProto.FLOAT16 if kind is Kind.HALF else TensorProto.FLOAT
        for name in node.output:
            if name and self._types[name] in FLOATS:
                self._now[name] = element
        if node.op_type == "Cast":
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("to", element))

    def _cast_of(self, name: str, element: int, nodes: list[onnx.NodeProto]) -> str:
        """The tensor in another type; the Cast is written before its first reader."""
        key = (name, element)
        if key not in self._cast:
            made = f"{OUR_PREFIX}half/{name}/{_WIDTH[element]}"
            nodes.append(helper.make_node("Cast", [name], [made], name=made, to=element))
            self._cast[key] = made
        return self._cast[key]

    def _weight(self, node: onnx.NodeProto, index: int, element: int) -> str:
        """An initializer in another type; an empty name for a Clip's bound out of reach."""
        name = node.input[index]
        if (name, element) in self._cast:
            return self._cast[name, element]
        value = numpy_helper.to_array(self._weights[name])
        if element == TensorProto.FLOAT16:
            if node.op_type == "Clip" and np.abs(value).max(initial=0.0) > FLOAT16_MAX:
                return ""
            _refuse_too_large(node, name, value)
        made = f"{OUR_PREFIX}half/{name}/{_WIDTH[element]}"
        dtype = helper.tensor_dtype_to_np_dtype(element)
        self._graph.initializer.append(numpy_helper.from_array(value.astype(dtype), made))
        self._cast[name, element] = made
        return made


def _refuse_too_large(node: onnx.NodeProto, name: str, value: NDArray[np.float32]) -> None:
    # Infinity is no number that got lost: masks are made of it.
    finite = np.abs(value[np.isfinite(value)].astype(np.float64))
    largest = float(finite.max(initial=0.0))
    if largest > FLOAT16_MAX:
        raise ModelRefusedError(
            f"weights up to {FLOAT16_MAX:,.0f}, the largest float16",
            got=f"{largest:.6g} in {name!r}, read by {_called(node)}",
            next_step=f"{_USE_FP32}, or export the network with smaller weights there",
        )
