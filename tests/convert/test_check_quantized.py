"""The check of quantized graphs: INT8 over FP16 passes, and each thing that TensorRT refuses."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs_for_tests import (
    FP16,
    FP32,
    PICTURE,
    Finding,
    Node,
    check,
    graph,
    node,
    only,
)

from models.offline import onnx_runtime

KERNEL = np.ones((4, 3, 1, 1), np.int8)
DECONVOLUTION = np.ones((3, 5, 2, 2), np.int8)

# Scales for each channel along an axis of these kernels, and of an activation.
FOUR, THREE, FIVE = (np.full(n, 0.01, np.float16) for n in (4, 3, 5))

CHANNELS: dict[str, Any] = {"Conv": (KERNEL, FOUR, 0), "ConvTranspose": (DECONVOLUTION, FIVE, 1)}


def quantized(
    *extra: Node,
    op: str = "Conv",
    reads: str = "activation kernel",
    scale: str = "s",
    zero: str = "z",
    kernel: str = "k ks kz",
    axis: int | None = None,
    weights: dict[str, Any] | None = None,
    **changed: Any,
) -> onnx.ModelProto:
    """One layer in INT8 over FP16, as it should be where nothing is changed.

    ``x`` (FP16) is quantized (``q``) and dequantized (``activation``); the layer's weights are
    stored as INT8 and dequantized (``kernel``).
    """
    stored, scales, right_axis = CHANNELS[op]
    tensors: dict[str, Any] = {
        "s": np.float16(0.02),
        "z": np.int8(0),
        "k": stored,
        "ks": scales,
        "kz": np.zeros(len(scales), np.int8),
        **(weights or {}),
    }
    nodes = [
        *extra,
        node("QuantizeLinear", f"x {scale} {zero}", "q"),
        node("DequantizeLinear", f"q {scale} {zero}", "activation"),
        node("DequantizeLinear", kernel, "kernel", axis=right_axis if axis is None else axis),
        node(op, reads, "y", name="layer"),
    ]
    options: dict[str, Any] = {
        "x": (FP16, PICTURE),
        "y": (FP16, ["n", "c", "h", "w"]),
        "opset": 19,
        "ir_version": 9,
        **changed,
    }
    return graph(*nodes, **options, **tensors)


def errors(model: onnx.ModelProto, **options: Any) -> list[Finding]:
    return [f for f in check(model, **options) if f.severity == "error"]


@pytest.mark.parametrize("op", CHANNELS)
@pytest.mark.parametrize("target", ["jetpack-6.2", "10.13.3.9", "11.4.1"])
def test_int8_over_fp16_passes(op: str, target: str) -> None:
    model = quantized(op=op)
    onnx.checker.check_model(model)
    assert check(model, target) == []


def test_weights_that_are_quantized_in_the_graph_pass() -> None:
    quantize = node("QuantizeLinear", "floats ks kz", "k8", axis=0)
    model = quantized(quantize, kernel="k8 ks kz", weights={"floats": KERNEL.astype(np.float16)})
    assert check(model) == []


def test_scales_of_constant_nodes_pass() -> None:
    held = onnx.numpy_helper.from_array(np.float16(0.02), "held")
    assert check(quantized(node("Constant", "", "c", value=held), scale="c")) == []


# --- types and zero points ----------------------------------------------------------------------


def test_int32_as_quantizers_write_biases() -> None:
    dequantize = node("DequantizeLinear", "b32 s", "bias")
    weights = {"b32": np.ones(4, np.int32)}
    model = quantized(dequantize, reads="activation kernel bias", weights=weights)
    found = only(check(model))
    assert (found.severity, found.node) == ("error", "bias")
    assert found.found.startswith("DequantizeLinear of INT32")
    assert found.way_out == "leave the biases unquantized"
    plain = {"bias": np.ones(4, np.float16)}
    assert check(quantized(reads="activation kernel bias", weights=plain)) == []


def test_int8_on_a_bias() -> None:
    dequantize = node("DequantizeLinear", "b8 s z", "dequantized")
    model = quantized(
        dequantize,
        node("Cast", "dequantized", "bias", to=FP16),
        reads="activation kernel bias",
        weights={"b8": np.ones(4, np.int8)},
    )
    found = only(check(model))
    assert (found.node, found.found) == ("dequantized", "DequantizeLinear on the bias of layer")


def test_uint8_activations() -> None:
    found = errors(quantized(zero="zu", weights={"zu": np.uint8(0)}))
    assert {f.node: f.found for f in found} == {
        "q": "QuantizeLinear to UINT8",
        "activation": "DequantizeLinear of UINT8",
    }
    assert all(f.way_out.startswith("quantize symmetrically to INT8") for f in found)


def test_uint8_because_no_zero_point_says_int8() -> None:
    """ONNX's default is UINT8, TensorRT's is INT8: the numbers would differ."""
    found = errors(quantized(zero=""))
    assert [f.node for f in found] == ["q", "activation"]
    assert found[0].way_out == "quantize symmetrically to INT8, with a zero point of 0 of type INT8"


def test_uint8_weights() -> None:
    weights = {"k": KERNEL.astype(np.uint8), "kz": np.full(4, 128, np.uint8)}
    found = errors(quantized(weights=weights))
    assert [f.found for f in found] == [
        "DequantizeLinear of UINT8",
        "DequantizeLinear with zero point 128 (kz)",
    ]
    assert {f.node for f in found} == {"kernel"}


def test_a_zero_point_that_is_not_zero() -> None:
    found = errors(quantized(weights={"z": np.int8(-3)}))
    assert [f.node for f in found] == ["q", "activation"]
    assert found[0].found == "QuantizeLinear with zero point -3 (z)"
    assert found[1].found == "DequantizeLinear with zero point -3 (z)"


def test_one_zero_point_among_many() -> None:
    zeros = np.array([0, 0, 5, 0], np.int8)
    found = only(errors(quantized(weights={"kz": zeros})))
    assert (found.node, found.found) == ("kernel", "DequantizeLinear with zero point 5 (kz)")


def test_a_zero_point_that_is_computed() -> None:
    found = errors(quantized(node("Identity", "z", "zc"), zero="zc"))
    # Identity of INT8 is no operator's business in TensorRT either.
    assert {"q", "activation"} <= {f.node for f in found}
    assert "QuantizeLinear computes its zero point (zc)" in [f.found for f in found]


def test_int8_inside_without_dequantizing() -> None:
    model = graph(
        node("QuantizeLinear", "x s z", "q"),
        node("Reshape", "q shape", "turned"),
        node("DequantizeLinear", "turned s z", "y"),
        s=np.float16(0.1),
        z=np.int8(0),
        shape=np.array([0, 3, 8, 8]),
        x=(FP16, PICTURE),
        y=(FP16, PICTURE),
        opset=19,
        ir_version=9,
    )
    assert only(check(model)).node == "turned"


# --- scales -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0.0, -0.5, np.nan, np.inf])
def test_scales_that_are_no_scales(bad: float) -> None:
    found = errors(quantized(weights={"s": np.float16(bad)}))
    assert [f.node for f in found] == ["q", "activation"]
    assert found[0].found == f"QuantizeLinear with a scale of {bad:g} (s)"


def test_a_scale_that_float16_loses() -> None:
    """1e-8 is a scale, and 0 in float16."""
    scales = np.array([0.1, 1e-8, 0.1, 0.1], np.float16)
    found = only(errors(quantized(weights={"ks": scales})))
    assert (found.node, found.found) == ("kernel", "DequantizeLinear with a scale of 0 (ks)")


def test_a_scale_that_is_computed() -> None:
    found = errors(quantized(node("Mul", "s s", "sc"), scale="sc"))
    assert [f.node for f in found] == ["q", "activation"]
    assert found[0].found == "QuantizeLinear computes its scale (sc)"


def test_a_scale_for_each_channel_of_an_activation() -> None:
    weights = {"s": THREE, "z": np.zeros(3, np.int8)}
    found = errors(quantized(weights=weights))
    assert [f.node for f in found] == ["q", "activation"]
    assert "a scale per channel of a tensor that is no constant" in found[0].found


def test_as_many_scales_as_channels() -> None:
    weights = {"ks": THREE, "kz": np.zeros(3, np.int8)}
    found = only(errors(quantized(weights=weights)))
    assert found.node == "kernel"
    assert found.found == "3 scales along axis 0 of a tensor of shape [4, 3, 1, 1]"


def test_a_scale_per_block() -> None:
    weights = {
        "ks": np.full((4, 1, 1, 1), 0.1, np.float16),
        "kz": np.zeros((4, 1, 1, 1), np.int8),
    }
    model = quantized(weights=weights, opset=21, ir_version=10)
    model.graph.node[2].attribute.append(onnx.helper.make_attribute("block_size", 3))
    found = only(errors(model, target="11.4.1"))
    assert (found.node, found.found) == ("kernel", "DequantizeLinear with a scale per block")


# --- axes of weights ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "axis", "length"), [("ConvTranspose", 0, 3), ("Conv", 1, 3), ("Conv", -3, 3)]
)
def test_the_wrong_axis(op: str, axis: int, length: int) -> None:
    weights = {"ks": np.full(length, 0.1, np.float16), "kz": np.zeros(length, np.int8)}
    found = only(errors(quantized(op=op, axis=axis, weights=weights)))
    assert found.node == "kernel"
    assert found.found == f"scales along axis {axis} of the weights of layer ({op})"
    right = CHANNELS[op][2]
    assert found.way_out == f"give one for each output channel, axis {right}"
    assert errors(quantized(op=op, axis=right - 4)) == []


def multiplied(op: str, axis: int, **attributes: Any) -> onnx.ModelProto:
    return graph(
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "activation"),
        node("DequantizeLinear", "k ks kz", "kernel", axis=axis),
        node(op, "activation kernel", "y", name="layer", **attributes),
        x=(FP16, ["N", 6]),
        y=(FP16, ["N", 6]),
        s=np.float16(0.1),
        z=np.int8(0),
        k=np.ones((6, 6), np.int8),
        ks=np.full(6, 0.1, np.float16),
        kz=np.zeros(6, np.int8),
        opset=19,
        ir_version=9,
    )


@pytest.mark.parametrize(
    ("op", "attributes", "right"),
    [("MatMul", {}, 1), ("Gemm", {}, 1), ("Gemm", {"transB": 1}, 0)],
)
def test_the_axis_of_a_matrix(op: str, attributes: dict[str, Any], right: int) -> None:
    assert check(multiplied(op, right, **attributes)) == []
    found = only(check(multiplied(op, 1 - right, **attributes)))
    assert found.node == "kernel"
    assert found.way_out == f"give one for each output channel, axis {right}"


# --- FP32 behind a DequantizeLinear -------------------------------------------------------------


def single(*, opset: int = 19) -> onnx.ModelProto:
    """The layer in INT8 over FP32, as ONNX Runtime's quantizer makes it."""
    return quantized(
        x=(FP32, PICTURE),
        y=(FP32, ["n", "c", "h", "w"]),
        weights={"s": np.float32(0.02), "ks": FOUR.astype(np.float32)},
        opset=opset,
        ir_version=8,
    )


@pytest.mark.parametrize("opset", [13, 19])
def test_fp32_compute(opset: int) -> None:
    found = errors(single(opset=opset))
    assert {f.node for f in found} == {"activation", "kernel"}
    assert found[0].found == "DequantizeLinear feeds layer (Conv), which computes in FP32"
    assert "exclude" in found[0].way_out


def test_fp32_compute_that_is_excluded() -> None:
    assert check(single(), exclude=("layer",)) == []
    assert errors(single(), exclude=("another",)) != []


def test_fp32_compute_behind_casts_and_moves() -> None:
    model = quantized(
        node("Cast", "turned", "wide", to=FP32),
        node("Sigmoid", "wide", "probability"),
        y=(FP16, ["n", "c", "h", "w"]),
    )
    # The new nodes read what the quantized part makes, so they come last.
    turn = node("Transpose", "activation", "turned", perm=[0, 2, 3, 1])
    nodes = [*model.graph.node[2:], turn, *model.graph.node[:2]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    found = only(errors(model))
    assert found.node == "activation"
    assert "feeds probability (Sigmoid), which computes in FP32" in found.found
    assert errors(model, exclude=("probability",)) == []


def test_dequantizing_into_the_output_is_no_compute() -> None:
    model = graph(
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "y"),
        s=np.float32(0.1),
        z=np.int8(0),
    )
    assert check(model) == []


# --- what a real quantizer writes ---------------------------------------------------------------


def quantization() -> Any:
    """ONNX Runtime's quantizer; its telemetry is off before it is loaded."""
    onnx_runtime()
    return importlib.import_module("onnxruntime.quantization")


class _Pictures:
    """Four random pictures."""

    def __init__(self) -> None:
        chance = np.random.default_rng(0)
        self._left = [chance.random((1, 3, 8, 8), np.float32) for _ in range(4)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"x": self._left.pop()} if self._left else None


def written_by_onnx_runtime(folder: Path, **options: Any) -> onnx.ModelProto:
    chance = np.random.default_rng(0)
    model = graph(
        node("Conv", "x k b", "features"),
        node("ConvTranspose", "features t", "y", strides=[2, 2]),
        k=chance.random((4, 3, 1, 1), np.float32),
        b=chance.random(4, np.float32),
        t=chance.random((4, 5, 2, 2), np.float32),
        y=(FP32, ["N", 5, 16, 16]),
    )
    onnx.save(model, folder / "float.onnx")
    quantization().quantize_static(
        folder / "float.onnx", folder / "int8.onnx", _Pictures(), **options
    )
    return onnx.load(str(folder / "int8.onnx"))


def test_uint8_and_int32_of_onnx_runtimes_quantizer(tmp_path: Path) -> None:
    """UINT8 activations and INT32 biases are what it writes, and what TensorRT does not parse."""
    model = written_by_onnx_runtime(tmp_path, activation_type=quantization().QuantType.QUInt8)
    found = [f.found for f in errors(model)]
    assert "QuantizeLinear to UINT8" in found
    assert "DequantizeLinear of UINT8" in found
    assert any(text.startswith("DequantizeLinear of INT32") for text in found)
    assert any("which computes in FP32" in text for text in found)


def test_the_other_format_of_onnx_runtimes_quantizer(tmp_path: Path) -> None:
    model = written_by_onnx_runtime(tmp_path, quant_format=quantization().QuantFormat.QOperator)
    (found,) = [f for f in errors(model) if "QLinearConv" in f.found]
    assert found.node in {n.name for n in model.graph.node}
    assert "(QDQ format)" in found.way_out


def test_symmetric_options_leave_biases_and_fp32(tmp_path: Path) -> None:
    int8 = quantization().QuantType.QInt8
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    model = written_by_onnx_runtime(
        tmp_path,
        activation_type=int8,
        weight_type=int8,
        extra_options=symmetric,
    )
    layers = [n.name for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose")]
    assert all("which computes in FP32" in f.found for f in errors(model))
    assert errors(model) != []
    assert errors(model, exclude=layers) == []
