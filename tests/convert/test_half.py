"""float16 in the graph: which tensors get it, which never do, and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from networks_for_tests import (
    classification,
    hard_pictures,
    input_table,
    model_of,
    run_onnx,
    seeing_network,
    segmentation,
)
from onnx import TensorProto, checker, helper, numpy_helper
from tiny_networks_for_tests import prepared_tiny

from convert.description import describe
from convert.half import known_types, to_half
from convert.precision import graph_for
from convert.prepare import prepare_model
from models.errors import ModelRefusedError
from models.manifest import Model, find_pack, load_pack
from packs_for_tests import write_pack

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT
HEIGHT, WIDTH = 16, 24


def prepared(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    element: int = SINGLE,
    **keys: object,
) -> onnx.ModelProto:
    """A prepared segmenter of a network from ``image`` [N,3,16,24] to ``logit`` [N,1,16,24]."""
    manifest = segmentation([input_table("image", ["rgb"], **keys)])
    image = helper.make_tensor_value_info("image", element, ["N", 3, HEIGHT, WIDTH])
    logit = helper.make_tensor_value_info("logit", element, ["N", 1, HEIGHT, WIDTH])
    stored = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    if any("head" in n.input for n in nodes):
        head_kernel = np.full((1, 3, 1, 1), 0.5, helper.tensor_dtype_to_np_dtype(element))
        stored.append(numpy_helper.from_array(head_kernel, "head"))
    return prepare_model(model_of(nodes, [image], [logit], stored, opset=opset), manifest)


def node(op: str, inputs: list[str], output: str, **keys: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], name=f"the_{output}", **keys)


def head(source: str) -> list[onnx.NodeProto]:
    """From [N,3,16,24] to the logit; with weights, so that what precedes is worth float16."""
    return [node("Conv", [source, "head"], "logit")]


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    checker.check_model(model, full_check=True)
    return known_types(model)


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(n.op_type for n in model.graph.node)


def answers(model: onnx.ModelProto) -> np.ndarray:
    (found,) = run_onnx(model, {"rgb": hard_pictures()})
    return found


# --- whole networks -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny_unet", "tiny_efficientnet"])
def test_a_network_runs_in_float16_between_float32_ends(name: str) -> None:
    model = prepared_tiny(name)
    before = model.SerializeToString()
    half = to_half(model)
    assert model.SerializeToString() == before
    assert half.graph.input == model.graph.input and half.graph.output == model.graph.output
    assert half.opset_import == model.opset_import and half.ir_version == model.ir_version
    assert describe(half).precision == "fp16"
    types = types_of(half)
    for n in half.graph.node:
        if n.op_type in ("Conv", "ConvTranspose", "Elu", "BatchNormalization", "Concat", "Gemm"):
            wanted = SINGLE if n.name.startswith("dermedge/") else HALF
            assert {types[t] for t in (*n.input, *n.output)} == {wanted}, n.name
        if n.op_type in ("GlobalAveragePool", "Softmax", "Log", "Exp", "Clip"):
            assert {types[t] for t in (*n.input, *n.output) if t} == {SINGLE}, n.name
    last = half.graph.node[-1]
    assert last.op_type in ("Sigmoid", "Softmax") and types[last.input[0]] == SINGLE
    uint8_readers = [n for n in half.graph.node if "rgb" in n.input]
    assert [n.op_type for n in uint8_readers] == ["Cast"] and types[uint8_readers[0].output[0]] == 1

    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    (wanted,), (found,) = run_onnx(model, {"rgb": pixels}), run_onnx(half, {"rgb": pixels})
    assert np.ptp(wanted) > 0.05
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert not np.array_equal(found, wanted)


def test_the_arithmetic_networks_of_the_tests_too(tmp_path: object) -> None:
    pack = load_pack(write_pack(tmp_path / "pack"))
    for model in (pack.segmenter, pack.classifier):
        graph = prepare_model(model.read_onnx(), model.manifest)
        pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), np.uint8)
        (wanted,) = run_onnx(graph, {"rgb": pixels})
        (found,) = run_onnx(graph_for(model, graph, "fp16"), {"rgb": pixels})
        np.testing.assert_allclose(found, wanted, atol=2e-2)
        assert graph_for(model, graph, "fp32") is graph


def test_the_released_pack() -> None:
    pack = find_pack("reference")
    for model in (pack.segmenter, pack.classifier):
        graph = prepare_model(model.read_onnx(), model.manifest)
        half = to_half(graph)
        types = types_of(half)
        convolutions = [n for n in half.graph.node if n.op_type in ("Conv", "ConvTranspose")]
        ours = [n.name for n in convolutions if types[n.output[0]] == SINGLE]
        assert len(convolutions) > 30 and all(name.startswith("dermedge/") for name in ours)
        size = half.ByteSize() / graph.ByteSize()
        assert 0.49 < size < 0.55, "the weights are stored once, in float16"


def test_the_same_graph_always() -> None:
    graphs = [to_half(prepared_tiny("tiny_efficientnet")) for _ in range(2)]
    first, second = (graph.SerializeToString(deterministic=True) for graph in graphs)
    assert first == second


# --- what stays float32 -------------------------------------------------------------------------


def test_an_epsilon_that_float16_would_lose_stays() -> None:
    """x / (|x| + 1e-12) of zeros: 0 in float32, NaN where the epsilon is 0."""
    weights = {
        "kernel": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "tiny": np.array(1e-12, np.float32),
    }
    nodes = [
        node("Conv", ["image", "kernel"], "made"),
        node("Abs", ["made"], "size"),
        node("Add", ["size", "tiny"], "safe"),
        node("Div", ["made", "safe"], "unit"),
        node("Conv", ["unit", "kernel"], "mixed"),
        *head("mixed"),
    ]
    model = prepared(nodes, weights)
    half = to_half(model)
    types = types_of(half)
    assert types["safe"] == SINGLE and types["made"] == types["mixed"] == HALF
    stored = {t.name: numpy_helper.to_array(t) for t in half.graph.initializer}
    assert stored["tiny"] == np.float32(1e-12)


def test_a_sigmoid_that_was_written_out_is_one_float32_island() -> None:
    """1 / (1 + exp(-x)): exp leaves float16's range at 11.1."""
    weights = {
        "kernel": np.full((3, 3, 1, 1), -16, np.float32),
        "one": np.array(1, np.float32),
    }
    nodes = [
        node("Conv", ["image", "kernel"], "made"),
        node("Neg", ["made"], "negative"),
        node("Exp", ["negative"], "power"),
        node("Add", ["power", "one"], "sum"),
        node("Reciprocal", ["sum"], "share"),
        *head("share"),
    ]
    model = prepared(nodes, weights)
    half = to_half(model)
    types = types_of(half)
    assert {types[t] for t in ("power", "sum", "share")} == {SINGLE}
    assert {types[t] for t in ("made", "negative", "logit")} == {HALF}
    (power,) = run_onnx(half, {"rgb": hard_pictures()}, "power")
    assert power.max() > 65504
    np.testing.assert_allclose(answers(half), answers(model), atol=2e-3)


def test_shapes_are_left_alone_even_where_they_are_floats() -> None:
    """304 * 304 as a float is 92,416: beyond float16."""
    nodes = [
        node("Shape", ["image"], "shape"),
        node("Cast", ["shape"], "shape_float", to=SINGLE),
        node("Constant", [], "many", value_floats=[1.0, 1.0, 92416.0, 92416.0]),
        node("Mul", ["shape_float", "many"], "large"),
        node("Div", ["large", "many"], "small"),
        node("Cast", ["small"], "sizes", to=TensorProto.INT64),
        helper.make_node(
            "Resize", ["image", "", "", "sizes"], ["resized"], name="the_resized", mode="nearest"
        ),
        *head("resized"),
    ]
    model = prepared(nodes)
    half = to_half(model)
    types = types_of(half)
    assert types["large"] == types["shape_float"] == SINGLE
    assert types["resized"] == HALF
    np.testing.assert_allclose(answers(half), answers(model), atol=1e-3)


def test_the_scales_of_a_resize_are_float32_by_the_standard() -> None:
    nodes = [
        node("Resize", ["image", "", "scales"], "grown", mode="linear"),
        node("MaxPool", ["grown"], "shrunk", kernel_shape=[2, 2], strides=[2, 2]),
        *head("shrunk"),
    ]
    half = to_half(prepared(nodes, {"scales": np.array([1, 1, 2, 2], np.float32)}))
    types = types_of(half)
    assert types["scales"] == SINGLE and types["grown"] == types["shrunk"] == HALF


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
def test_every_opset_that_preparation_gives(opset: int) -> None:
    kernel = np.random.default_rng(1).normal(0, 0.5, (3, 3, 3, 3)).astype(np.float32)
    norm = {name: np.full(3, 0.5, np.float32) for name in ("scale", "bias", "mean", "var")}
    nodes = [
        node("Conv", ["image", "kernel"], "made", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["made", "scale", "bias", "mean", "var"], "normal"),
        node("Elu", ["normal"], "active"),
        node("Conv", ["active", "narrow"], "logit"),
    ]
    weights = {"kernel": kernel, "narrow": np.ones((1, 3, 1, 1), np.float32), **norm}
    model = prepared(nodes, weights, opset=opset)
    half = to_half(model)
    types = types_of(half)
    assert {types[t] for t in ("made", "normal", "active")} == {HALF}
    np.testing.assert_allclose(answers(half), answers(model), atol=5e-3)


# --- numbers that float16 lacks -----------------------------------------------------------------


def test_a_normalization_with_a_tiny_variance_keeps_its_numbers() -> None:
    """Variance and epsilon of 1e-9 are 0 in float16; what the node computes is ordinary."""
    parts = {
        "scale": np.array([1e-4, 2e-4, 3e-4], np.float32),
        "bias": np.array([0.1, -0.2, 0.3], np.float32),
        "mean": np.array([0.5, 0.4, 0.3], np.float32),
        "var": np.array([1e-9, 2e-9, 3e-9], np.float32),
    }
    nodes = [node("BatchNormalization", ["image", *parts], "normal", epsilon=1e-9), *head("normal")]
    model = prepared(nodes, parts)
    half = to_half(model)
    assert types_of(half)["normal"] == HALF and operators(half)["BatchNormalization"] == 1
    np.testing.assert_allclose(answers(half), answers(model), atol=2e-3)


def test_weights_beyond_float16_are_refused_by_name() -> None:
    kernel = np.ones((1, 3, 1, 1), np.float32)
    kernel[0, 1] = -70000
    model = prepared([node("Conv", ["image", "kernel"], "logit")], {"kernel": kernel})
    with pytest.raises(ModelRefusedError) as refused:
        to_half(model)
    assert "70000 in 'kernel', read by Conv 'the_logit'" in str(refused.value)
    assert "--precision fp32" in refused.value.next_step


def test_the_model_is_named_where_it_is_known(tmp_path: object) -> None:
    model = Model(segmentation(), tmp_path)
    kernel = np.full((1, 3, 1, 1), 1e6, np.float32)
    graph = prepared([node("Conv", ["image", "kernel"], "logit")], {"kernel": kernel})
    with pytest.raises(ModelRefusedError, match=r"expected tiny-segmenter \(segmenter\.onnx\): "):
        graph_for(model, graph, "fp16")


def test_the_largest_float16_is_a_weight_like_others() -> None:
    kernel = np.full((1, 3, 1, 1), 65504, np.float32)
    half = to_half(prepared([node("Conv", ["image", "kernel"], "logit")], {"kernel": kernel}))
    stored = [numpy_helper.to_array(t) for t in half.graph.initializer if t.data_type == HALF]
    assert stored[0].max() == 65504


def test_a_bound_that_no_float16_reaches_is_no_bound() -> None:
    far = float(np.finfo(np.float32).max)
    bounds = {"low": np.array(0.25, np.float32), "high": np.array(far, np.float32)}
    model = prepared([node("Clip", ["image", "low", "high"], "kept"), *head("kept")], bounds)
    half = to_half(model)
    clip = next(n for n in half.graph.node if n.name == "the_kept")
    assert types_of(half)["kept"] == HALF and clip.input[1] and not clip.input[2]
    np.testing.assert_allclose(answers(half), answers(model), atol=1e-3)


# --- types that the network brought along -------------------------------------------------------


def test_a_network_exported_in_float16_gets_the_same_treatment() -> None:
    """Its averages over the picture are raised to float32, its needless casts go."""
    kernel = np.random.default_rng(2).normal(0, 1, (1, 3, 1, 1)).astype(np.float16)
    nodes = [
        node("GlobalAveragePool", ["image"], "mean"),
        node("Sub", ["image", "mean"], "contrast"),
        node("Cast", ["contrast"], "wide", to=SINGLE),
        node("Mul", ["wide", "gain"], "louder"),
        node("Cast", ["louder"], "narrow", to=HALF),
        node("Conv", ["narrow", "kernel"], "logit"),
    ]
    weights = {"kernel": kernel, "gain": np.array(3, np.float32)}
    model = prepared(nodes, weights, element=HALF, dtype="float16")
    half = to_half(model)
    types = types_of(half)
    assert types["mean"] == SINGLE and types["contrast"] == types["louder"] == HALF
    assert operators(model)["Cast"] == 5
    assert "wide" not in types and "narrow" not in types
    np.testing.assert_allclose(answers(half), answers(model), atol=5e-3)


def test_a_cast_to_float32_inside_the_network_becomes_one_to_float16() -> None:
    nodes = [
        node("Constant", [], "half", value_float=0.5),
        node("Greater", ["image", "half"], "bright"),
        node("Cast", ["bright"], "bright_float", to=SINGLE),
        node("Mul", ["image", "bright_float"], "lit"),
        *head("lit"),
    ]
    model = prepared(nodes)
    half = to_half(model)
    types = types_of(half)
    assert types["bright_float"] == types["lit"] == HALF
    assert "Constant" not in operators(half)
    np.testing.assert_allclose(answers(half), answers(model), atol=1e-3)


def test_integers_beyond_float16_stay_float32() -> None:
    """Where the root and the cap are taken, 200,000 is still 200,000."""
    nodes = [
        node("ArgMax", ["image"], "place", axis=1),
        node("Mul", ["place", "many"], "number"),
        node("Cast", ["number"], "number_float", to=SINGLE),
        node("Sqrt", ["number_float"], "small"),
        node("Min", ["number_float", "top"], "capped"),
        node("Concat", ["small", "capped"], "both", axis=1),
        node("Conv", ["both", "narrow"], "logit"),
    ]
    weights = {
        "many": np.array(100_000, np.int64),
        "top": np.array(100, np.float32),
        "narrow": np.full((1, 2, 1, 1), 0.01, np.float32),
    }
    model = prepared(nodes, weights)
    half = to_half(model)
    types = types_of(half)
    assert types["number_float"] == types["small"] == SINGLE and types["capped"] == HALF
    np.testing.assert_allclose(answers(half), answers(model), atol=1e-3)


def test_a_network_that_takes_the_pixels_themselves() -> None:
    manifest_input = input_table("image", ["rgb"], dtype="uint8", scale=1.0)
    model = prepare_model(
        seeing_network(segmentation([manifest_input])), segmentation([manifest_input])
    )
    np.testing.assert_allclose(answers(to_half(model)), answers(model), atol=5e-3)


def test_a_softmax_inside_the_network_stays_float32() -> None:
    manifest = classification(output__activation="softmax", output__name="share")
    nodes = [
        node("GlobalAveragePool", ["image"], "mean"),
        node("Flatten", ["mean"], "flat"),
        node("MatMul", ["flat", "weights"], "logits"),
        node("Softmax", ["logits"], "share"),
    ]
    weights = np.random.default_rng(3).normal(0, 2, (3, 6)).astype(np.float32)
    image = helper.make_tensor_value_info("image", SINGLE, ["N", 3, HEIGHT, WIDTH])
    share = helper.make_tensor_value_info("share", SINGLE, ["N", 6])
    stored = [numpy_helper.from_array(weights, "weights")]
    half = to_half(prepare_model(model_of(nodes, [image], [share], stored), manifest))
    types = types_of(half)
    assert types["logits"] == HALF and types["dermedge/half/logits/float32"] == SINGLE


def test_a_sigmoid_inside_the_network_stays_float32_and_others_do_not() -> None:
    manifest = segmentation(output__activation="sigmoid", output__name="probable")
    nodes = [
        node("Conv", ["image", "kernel"], "made"),
        node("Sigmoid", ["made"], "gate"),
        node("Conv", ["gate", "narrow"], "raw"),
        node("Sigmoid", ["raw"], "share"),
        node("Identity", ["share"], "probable"),
    ]
    weights = {
        "kernel": np.ones((3, 3, 1, 1), np.float32),
        "narrow": np.ones((1, 3, 1, 1), np.float32),
    }
    image = helper.make_tensor_value_info("image", SINGLE, ["N", 3, HEIGHT, WIDTH])
    output = helper.make_tensor_value_info("probable", SINGLE, ["N", 1, HEIGHT, WIDTH])
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    half = to_half(prepare_model(model_of(nodes, [image], [output], stored), manifest))
    types = types_of(half)
    assert types["gate"] == types["raw"] == HALF and types["share"] == SINGLE


# --- refused ------------------------------------------------------------------------------------


def test_control_flow_is_refused_by_name() -> None:
    branch = helper.make_graph(
        [node("Identity", ["image"], "taken")],
        "branch",
        [],
        [helper.make_tensor_value_info("taken", SINGLE, None)],
    )
    nodes = [
        node("If", ["yes"], "chosen", then_branch=branch, else_branch=branch),
        *head("chosen"),
    ]
    model = prepared(nodes, {"yes": np.array(True)})
    with pytest.raises(ModelRefusedError, match="got control flow: If 'the_chosen';"):
        to_half(model)


def test_a_quantized_network_is_refused_by_name() -> None:
    nodes = [
        node("QuantizeLinear", ["image", "scale", "zero"], "quantized"),
        node("DequantizeLinear", ["quantized", "scale", "zero"], "back"),
        *head("back"),
    ]
    weights = {"scale": np.array(0.01, np.float32), "zero": np.array(0, np.int8)}
    with pytest.raises(ModelRefusedError, match="already: QuantizeLinear 'the_quantized'"):
        to_half(prepared(nodes, weights))


def test_an_operator_of_somebody_else_is_refused_by_name() -> None:
    model = prepared([node("Relu", ["image"], "made"), *head("made")])
    model.graph.node[-3].domain = "com.example"
    with pytest.raises(ModelRefusedError, match="an operator of com.example"):
        to_half(model)


def test_a_newer_opset_is_refused() -> None:
    model = prepared_tiny("tiny_unet")
    model.opset_import[0].version = 20
    with pytest.raises(ModelRefusedError, match="got opset 20, IR 8"):
        to_half(model)


def test_a_tensor_without_a_type_is_refused_by_name() -> None:
    """ONNX's inference stops at a node that contradicts itself."""
    model = prepared_tiny("tiny_unet")
    reshape = next(n for n in model.graph.node if n.op_type == "Elu")
    reshape.op_type = "SequenceAt"
    with pytest.raises(ModelRefusedError, match="none for .*, made by SequenceAt"):
        to_half(model)
