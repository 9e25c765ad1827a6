"""float16 as it really rounds: between all nodes, to infinity beyond its range."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from networks_for_tests import run_onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_networks_for_tests import prepared_tiny

from convert.half import to_half
from convert.half_reference import Activation, HalfReference
from models.errors import InputError, ModelRefusedError
from models.offline import onnx_runtime

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


def graph_of(
    nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], *, opset: int = 19
) -> onnx.ModelProto:
    """From ``rgb`` uint8 [N,1,4,3] over float16 ``x`` to float16 ``y``, then float32 ``answer``."""
    nodes = [
        helper.make_node("Cast", ["rgb"], ["pixels"], name="front", to=SINGLE),
        helper.make_node("Cast", ["pixels"], ["x"], name="narrow", to=HALF),
        *nodes,
        helper.make_node("Cast", ["y"], ["answer"], name="wide", to=SINGLE),
    ]
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("rgb", TensorProto.UINT8, ["N", 1, 4, 3])],
        [helper.make_tensor_value_info("answer", SINGLE, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model), full_check=True)
    return model


def node(op: str, inputs: list[str], output: str, **keys: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=f"the_{output}", **keys)


def half(*values: float) -> np.ndarray:
    return np.array(values if len(values) > 1 else values[0], np.float16)


def pixels(*values: int) -> np.ndarray:
    return np.resize(np.array(values, np.uint8), (1, 1, 4, 3))


CHAIN = [
    node("Add", ["x", "large"], "high"),
    node("Mul", ["high", "third"], "less"),
    node("Sub", ["less", "offset"], "y"),
]
CHAIN_WEIGHTS = {"large": half(2048), "third": half(0.3333), "offset": half(700)}


@pytest.mark.parametrize("opset", [13, 17, 18, 19])
def test_every_tensor_is_rounded_as_numpy_rounds(opset: int) -> None:
    rgb = np.arange(12, dtype=np.uint8).reshape(1, 1, 4, 3) * 21
    found = HalfReference(graph_of(CHAIN, CHAIN_WEIGHTS, opset=opset))(rgb)
    x = rgb.astype(np.float16)
    weights = CHAIN_WEIGHTS
    wanted = (x + weights["large"]) * weights["third"] - weights["offset"]
    assert wanted.dtype == np.float16 and found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted.astype(np.float32))

    exact = (x.astype(np.float64) + 2048) * float(half(0.3333)) - 700
    assert (found != exact.astype(np.float16)).any(), "the chain must need rounding between nodes"


def test_an_overflow_is_infinite_and_names_its_node() -> None:
    """300 * 250 = 75,000 is infinity in float16; ONNX Runtime alone gives a plausible 250."""
    weights = {"up": half(300), "down": half(1 / 300)}
    model = graph_of(
        [node("Mul", ["x", "up"], "high"), node("Mul", ["high", "down"], "y")], weights
    )
    reference = HalfReference(model)
    assert np.isfinite(reference(pixels(10, 20))).all()
    reference.refuse_overflow()
    assert np.isinf(reference(pixels(250, 20))).any()
    with pytest.raises(ModelRefusedError) as refused:
        reference.refuse_overflow()
    assert "got 75,000 from Mul 'the_high';" in str(refused.value)
    first = reference.activations[0]
    assert first == Activation("the_y", "Mul", "y", np.inf) and first.overflows
    second = reference.activations[1]
    assert second == Activation("the_high", "Mul", "high", 75000.0)
    assert second.overflows and second.share == pytest.approx(1.145, abs=1e-3)


def test_an_overflow_counts_even_where_a_later_node_hides_it() -> None:
    weights = {"up": half(300), "top": half(60000)}
    model = graph_of([node("Mul", ["x", "up"], "high"), node("Min", ["high", "top"], "y")], weights)
    reference = HalfReference(model)
    assert np.isfinite(reference(pixels(250))).all()
    with pytest.raises(ModelRefusedError, match="from Mul 'the_high'"):
        reference.refuse_overflow()


def test_a_nan_counts_wherever_it_stands() -> None:
    """0 / 0 in the last pixel only."""
    model = graph_of([node("Div", ["x", "x"], "y")], {})
    reference = HalfReference(model)
    rgb = pixels(7)
    rgb[..., -1, -1] = 0
    assert np.isnan(reference(rgb)).any()
    with pytest.raises(ModelRefusedError, match="infinity or NaN from Div 'the_y'"):
        reference.refuse_overflow()


@pytest.mark.parametrize(
    ("pixel", "factor", "overflows"), [(251, 261, False), (252, 260, True), (130, 504, True)]
)
def test_the_limit_is_float16s_own(pixel: int, factor: int, overflows: bool) -> None:
    """65,511 rounds to 65,504, the largest one; 65,520 lies halfway to the next, infinity."""
    model = graph_of([node("Mul", ["x", "up"], "y")], {"up": half(factor)})
    reference = HalfReference(model)
    found = reference(pixels(pixel))
    assert bool(np.isinf(found).any()) == overflows
    first = reference.activations[0]
    assert (first.node, first.largest, first.overflows) == ("the_y", pixel * factor, overflows)


def test_the_largest_of_all_pictures_is_remembered() -> None:
    reference = HalfReference(graph_of([node("Neg", ["x"], "y")], {}))
    for value in (10, 200, 30):
        reference(pixels(value))
    assert {a.largest for a in reference.activations} == {200.0}
    assert [a.node for a in reference.activations] == ["narrow", "the_y"]


def test_no_picture_proves_nothing() -> None:
    reference = HalfReference(graph_of([node("Neg", ["x"], "y")], {}))
    with pytest.raises(InputError, match="values beyond float16 on; got none"):
        reference.refuse_overflow()


def test_quantized_tensors_over_float16_are_dequantized_to_float16() -> None:
    weights = {
        "scale": half(0.05),
        "zero": np.array(0, np.int8),
        "kernel_8": np.arange(9, dtype=np.int8).reshape(3, 3),
        "kernel_scale": half(0.011, 0.013, 0.017),
        "kernel_zero": np.zeros(3, np.int8),
        "tenth": half(0.02),
    }
    nodes = [
        node("Mul", ["x", "tenth"], "small"),
        node("QuantizeLinear", ["small", "scale", "zero"], "small_8"),
        node("DequantizeLinear", ["small_8", "scale", "zero"], "small_half"),
        node("DequantizeLinear", ["kernel_8", "kernel_scale", "kernel_zero"], "kernel", axis=1),
        node("MatMul", ["small_half", "kernel"], "y"),
    ]
    rgb = np.arange(12, dtype=np.uint8).reshape(1, 1, 4, 3) * 20
    reference = HalfReference(graph_of(nodes, weights))
    found = reference(rgb)
    small = rgb.astype(np.float16) * weights["tenth"]
    whole = np.clip(np.rint(small.astype(np.float32) / np.float32(weights["scale"])), -128, 127)
    small = whole.astype(np.float16) * weights["scale"]
    kernel = weights["kernel_8"].astype(np.float16) * weights["kernel_scale"]
    wanted = small.astype(np.float32) @ kernel.astype(np.float32)
    np.testing.assert_array_equal(found, wanted.astype(np.float16).astype(np.float32))
    assert {a.operator for a in reference.activations} >= {"DequantizeLinear", "MatMul"}


@pytest.mark.parametrize("name", ["tiny_unet", "tiny_efficientnet"])
def test_every_float16_tensor_of_a_network_is_measured(name: str) -> None:
    model = to_half(prepared_tiny(name))
    reference = HalfReference(model)
    rgb = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    found = reference(rgb)
    (single,) = run_onnx(prepared_tiny(name), {"rgb": rgb})
    np.testing.assert_allclose(found, single, atol=5e-3)
    assert not np.array_equal(found, single)
    tensors = [a.tensor for a in reference.activations]
    made = {t for n in model.graph.node if n.op_type in ("Conv", "Elu", "Mul") for t in n.output}
    assert made - {t for t in made if t.startswith("dermedge/")} <= set(tensors)
    assert len(tensors) == len(set(tensors))
    session = onnx_runtime().InferenceSession(
        with_outputs(model, tensors).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    kept = dict(zip(tensors, session.run(tensors, {"rgb": rgb}), strict=True))
    for activation in reference.activations:
        largest = float(np.abs(kept[activation.tensor].astype(np.float64)).max())
        assert activation.largest == pytest.approx(largest, rel=2e-2, abs=1e-3), activation.node


def with_outputs(model: onnx.ModelProto, tensors: list[str]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors)
    return copy


def test_a_float32_graph_is_refused() -> None:
    with pytest.raises(ModelRefusedError, match="a graph with float16 tensors; got none"):
        HalfReference(prepared_tiny("tiny_unet"))


def test_a_graph_that_cannot_run_is_refused_in_one_line() -> None:
    model = graph_of([node("Neg", ["x"], "y")], {})
    reference = HalfReference(model)
    with pytest.raises(ModelRefusedError, match="a float16 graph that ONNX Runtime can run"):
        reference(np.zeros((1, 2, 2, 3), np.uint8))
    model.graph.node[2].op_type = "Nonsense"
    model.graph.node.extend([node("Neg", ["x"], "z")])
    with pytest.raises(ModelRefusedError, match="Nonsense"):
        HalfReference(model)
