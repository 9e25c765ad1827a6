"""The INT8 form of a float16 graph: INT8 at the inputs of products, float16 everywhere else.

What TensorRT compiles as a strongly typed network: symmetric INT8 with zero points of 0, one
float16 scale for each activation and one for each output channel of weights, plain biases. Only
Conv, ConvTranspose, Gemm and MatMul get it, because they are where the time goes; a sum of two
branches stays float16, although INT8 at its inputs would let TensorRT fuse it, because every
rounding of a residual branch is carried to the end of the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper, version_converter

from convert.description import note_precision
from convert.half import known_types
from convert.network import OUR_PREFIX, standard_opset
from convert.trial import CannotRunError, TrialSession
from models.errors import ManifestError, ModelRefusedError

OPSET = 19
"""The first one whose QuantizeLinear takes float16."""

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

_LARGEST = 127
_SMALLEST_SCALE = float(np.finfo(np.float16).tiny)
"""Smaller float16 numbers lose their digits."""


def quantizable(half: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Products of an activation with constant weights, in float16."""
    constants = {tensor.name for tensor in half.graph.initializer}
    types = known_types(half)
    return [
        node
        for node in half.graph.node
        if node.op_type in PRODUCTS
        and node.input[0] not in constants
        and node.input[1] in constants
        and types.get(node.output[0]) == TensorProto.FLOAT16
    ]


def to_int8(
    half: onnx.ModelProto, ranges: Mapping[str, float], exclude: Sequence[str]
) -> onnx.ModelProto:
    """The graph with its products in INT8.

    Args:
        half: From :func:`convert.half.to_half`; left as it is.
        ranges: Largest magnitude worth telling of each activation, by the tensor's name in the
            prepared graph (``convert.calibrate``).
        exclude: Names of nodes that stay float16.

    Returns:
        A graph of opset 19 that ONNX Runtime runs. Products in float32, products whose activation
        is always 0, and those in ``exclude`` are left as they are.

    Raises:
        ManifestError: ``exclude`` names no product of the graph.
        ModelRefusedError: A range is missing, nothing is left to be quantized, or ONNX Runtime
            cannot run the result.
    """
    model = _of_opset(half)
    graph = model.graph
    products = quantizable(model)
    _refuse_unknown(exclude, products)
    writer = _Writer(graph, ranges)
    for node in products:
        if node.name not in exclude:
            writer.quantize(node)
    if not writer.count:
        raise ModelRefusedError(
            "at least one product to compute in INT8",
            got=f"{len(products)} in float16, {len(exclude)} of them excluded",
            next_step="build it with --precision fp16, or shorten [quantize] exclude",
        )
    writer.place()
    note_precision(model, "int8")
    _prove(model)
    return model


class _Writer:
    """Adds the quantizing nodes, once for each activation."""

    def __init__(self, graph: onnx.GraphProto, ranges: Mapping[str, float]) -> None:
        self._graph, self._ranges = graph, ranges
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._told: dict[str, str] = {}
        self._before: dict[str, list[onnx.NodeProto]] = {}
        self.count = 0

    def quantize(self, node: onnx.NodeProto) -> None:
        """Put INT8 in front of one product."""
        activation, weight = node.input[0], node.input[1]
        scale = self._scale(activation)
        if scale is None:
            return
        if activation not in self._told:
            self._told[activation] = self._activation(node, activation, scale)
        node.input[0] = self._told[activation]
        node.input[1] = self._weight(node, numpy_helper.to_array(self._weights[weight]))
        self.count += 1

    def place(self) -> None:
        """Put the new nodes in front of those that read them, and drop unused weights."""
        nodes = []
        for node in self._graph.node:
            nodes += [*self._before.get(node.output[0], ()), node]
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self._graph.node[:]
        self._graph.node.extend(copies)
        used = {name for node in copies for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del self._graph.initializer[:]
        self._graph.initializer.extend(tensors)

    def _scale(self, activation: str) -> float | None:
        """The scale of an activation as float16 stores it, or ``None`` where it is always 0."""
        name = activation
        while name not in self._ranges:
            maker = self._makers.get(name)
            if maker is None or maker.op_type != "Cast":
                raise ModelRefusedError(
                    "a calibrated range for every activation of a product",
                    got=f"none for {activation!r}",
                    next_step="calibrate again: dermedge-convert build PACK --calibration FOLDER",
                )
            name = maker.input[0]
        if self._ranges[name] == 0.0:
            return None
        return float(np.float16(max(self._ranges[name] / _LARGEST, _SMALLEST_SCALE)))

    def _activation(self, reader: onnx.NodeProto, tensor: str, scale: float) -> str:
        prefix = f"{OUR_PREFIX}int8/{tensor}"
        scale_name = self._constant(f"{prefix}/scale", np.array(scale, np.float16))
        zero = self._constant(f"{prefix}/zero", np.array(0, np.int8))
        self._before.setdefault(reader.output[0], []).extend(
            (
                helper.make_node(
                    "QuantizeLinear",
                    [tensor, scale_name, zero],
                    [f"{prefix}/quantized"],
                    name=f"{prefix}/quantize",
                ),
                helper.make_node(
                    "DequantizeLinear",
                    [f"{prefix}/quantized", scale_name, zero],
                    [f"{prefix}/dequantized"],
                    name=f"{prefix}/dequantize",
                ),
            )
        )
        return f"{prefix}/dequantized"

    def _weight(self, node: onnx.NodeProto, values: NDArray[np.float16]) -> str:
        axis = _output_axis(node, values.ndim)
        wide = np.moveaxis(values.astype(np.float64), axis, 0).reshape(values.shape[axis], -1)
        largest = np.abs(wide).max(axis=1)
        scales = np.maximum(largest / _LARGEST, _SMALLEST_SCALE).astype(np.float16)
        shape = [1] * values.ndim
        shape[axis] = -1
        # Divided by the scale as it is stored, so that its own rounding is not an error.
        steps = np.rint(values.astype(np.float64) / scales.astype(np.float64).reshape(shape))
        levels = np.clip(steps, -_LARGEST, _LARGEST).astype(np.int8)
        # By the product's own name: two products may share their weights.
        prefix = f"{OUR_PREFIX}int8/{node.output[0]}/weight"
        inputs = [
            self._constant(f"{prefix}/levels", levels),
            self._constant(f"{prefix}/scale", scales),
            self._constant(f"{prefix}/zero", np.zeros(len(scales), np.int8)),
        ]
        self._before.setdefault(node.output[0], []).append(
            helper.make_node(
                "DequantizeLinear",
                inputs,
                [f"{prefix}/dequantized"],
                name=f"{prefix}/dequantize",
                axis=axis,
            )
        )
        return f"{prefix}/dequantized"

    def _constant(self, name: str, value: NDArray[np.generic]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name


def _output_axis(node: onnx.NodeProto, rank: int) -> int:
    """The axis of the weights that counts output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        transposed = next((a.i for a in node.attribute if a.name == "transB"), 0)
        return 0 if transposed else 1
    return rank - 1


def _of_opset(half: onnx.ModelProto) -> onnx.ModelProto:
    if standard_opset(half) >= OPSET:
        model = onnx.ModelProto()
        model.CopyFrom(half)
        return model
    try:
        converted: onnx.ModelProto = version_converter.convert_version(half, OPSET)
    # The converter's exceptions have no common base class but Exception.
    except Exception as error:
        raise ModelRefusedError(
            f"a graph that can be written in opset {OPSET}, for INT8",
            got=" ".join(str(error).split())[:160] or type(error).__name__,
            next_step=f"export the network with opset {OPSET}, or build it with --precision fp16",
        ) from error
    converted.ir_version = max(half.ir_version, 9)
    del converted.metadata_props[:]
    converted.metadata_props.extend(half.metadata_props)
    return converted


def _refuse_unknown(exclude: Sequence[str], products: Sequence[onnx.NodeProto]) -> None:
    names = {node.name for node in products}
    unknown = sorted(set(exclude) - names)
    if unknown:
        raise ManifestError(
            "[quantize] exclude with names of Conv, ConvTranspose, Gemm or MatMul nodes",
            got=", ".join(map(repr, unknown)),
            next_step="see the names: dermedge-convert check PACK --precision fp16, or any viewer "
            "of ONNX files",
        )


def _prove(model: onnx.ModelProto) -> None:
    checker.check_model(model)
    try:
        TrialSession(model)
    except CannotRunError as error:
        raise ModelRefusedError(
            "a network that also runs in INT8",
            got=str(error),
            next_step="build it with --precision fp16",
        ) from error
