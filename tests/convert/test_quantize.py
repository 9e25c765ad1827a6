"""INT8 over float16: which nodes get it, in which form, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_networks_for_tests import SIDE, prepared_tiny

from convert.check import check_graph
from convert.description import describe
from convert.half import known_types, to_half
from convert.half_reference import HalfReference
from convert.losses import float32_reference
from convert.quantize import OPSET, quantizable, to_int8
from convert.targets import find_target
from models.errors import ManifestError, ModelRefusedError


def plain_ranges(half: onnx.ModelProto, value: float = 4.0) -> dict[str, float]:
    """One range for every tensor of a graph."""
    return {name: value for node in half.graph.node for name in node.output}


def measured_ranges(prepared: onnx.ModelProto) -> dict[str, float]:
    from convert.calibrate import watched_tensors
    from convert.ranges import RangeCollector

    collector = RangeCollector(prepared, watched_tensors(prepared))
    seen = pictures(16)
    collector.measure(seen)
    collector.count(seen)
    return collector.ranges("percentile")


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [
        np.clip(rng.integers(60, 230, 3) + rng.normal(0, 30, (SIDE, SIDE, 3)), 0, 255).astype(
            np.uint8
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", ["tiny_unet", "tiny_efficientnet"])
def test_every_product_reads_int8_and_nothing_else_does(name: str) -> None:
    prepared = prepared_tiny(name)
    half = to_half(prepared)
    model = to_int8(half, measured_ranges(prepared), ())
    graph = model.graph
    types = known_types(model)
    makers = {out: node for node in graph.node for out in node.output}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    products = [n for n in graph.node if n.name in {p.name for p in quantizable(half)}]
    int8 = [n for n in products if makers.get(n.input[0], n).op_type == "DequantizeLinear"]
    assert int8 and all(types[n.output[0]] == TensorProto.FLOAT16 for n in int8)
    assert len(int8) == len(products)
    for node in int8:
        weight = makers[node.input[1]]
        levels, scales, zero = (constants[i] for i in weight.input)
        axis = next(a.i for a in weight.attribute if a.name == "axis")
        assert axis == {"Conv": 0, "ConvTranspose": 1}.get(node.op_type, axis)
        assert levels.dtype == zero.dtype == np.int8 and not zero.any()
        assert scales.dtype == np.float16 and scales.shape == (levels.shape[axis],)
        assert np.abs(levels.astype(int)).max() == 127
        assert all(i in constants for i in node.input[2:])  # biases stay plain
    readers = [n for n in graph.node for i in n.input if i in makers and "int8/" in i]
    assert {n.op_type for n in readers} <= {"Conv", "ConvTranspose", "Gemm", "MatMul"} | {
        "DequantizeLinear"
    }
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            _, scale, zero = node.input
            assert constants[scale].dtype == np.float16 and constants[scale].shape == ()
            assert constants[zero] == 0 and constants[zero].dtype == np.int8
    assert model.opset_import[0].version == OPSET and 9 <= model.ir_version <= 10
    assert describe(model).precision == "int8"


@pytest.mark.parametrize("target", ["jetpack-6.2", "jetpack-7.0", "tensorrt-11.4"])
@pytest.mark.parametrize("name", ["tiny_unet", "tiny_efficientnet"])
def test_the_check_for_devices_has_nothing_against_it(name: str, target: str) -> None:
    prepared = prepared_tiny(name)
    model = to_int8(to_half(prepared), measured_ranges(prepared), ())
    assert check_graph(model, find_target(target)) == []


@pytest.mark.parametrize("name", ["tiny_unet", "tiny_efficientnet"])
def test_the_numbers_stay_near_those_of_float32(name: str) -> None:
    """In ONNX Runtime as it is, and with every float16 tensor rounded."""
    prepared = prepared_tiny(name)
    half = to_half(prepared)
    model = to_int8(half, measured_ranges(prepared), ())
    expected, plain, rounded = (
        float32_reference(prepared),
        float32_reference(model),
        HalfReference(model),
    )
    for picture in pictures(4):
        wanted = expected(picture[np.newaxis])
        for found in (plain(picture[np.newaxis]), rounded(picture[np.newaxis])):
            assert found.shape == wanted.shape and found.dtype == np.float32
            assert 0.0 < np.abs(found - wanted).max() < 0.1


def test_excluded_products_stay_float16() -> None:
    prepared = prepared_tiny("tiny_unet")
    half = to_half(prepared)
    kept = [node.name for node in quantizable(half)][1]
    model = to_int8(half, measured_ranges(prepared), [kept])
    makers = {out: node for node in model.graph.node for out in node.output}
    (node,) = (n for n in model.graph.node if n.name == kept)
    assert all(makers[i].op_type != "DequantizeLinear" for i in node.input if i in makers)
    everything = [node.name for node in quantizable(half)]
    with pytest.raises(ModelRefusedError, match="at least one product"):
        to_int8(half, measured_ranges(prepared), everything)


def test_a_name_that_is_no_product_is_refused() -> None:
    half = to_half(prepared_tiny("tiny_unet"))
    with pytest.raises(ManifestError, match="'nowhere'"):
        to_int8(half, plain_ranges(half), ["nowhere"])


def test_a_range_that_was_not_measured_is_refused() -> None:
    half = to_half(prepared_tiny("tiny_unet"))
    with pytest.raises(ModelRefusedError, match="calibrate again"):
        to_int8(half, {}, ())


def test_an_activation_that_is_always_0_is_left_alone() -> None:
    prepared = prepared_tiny("tiny_unet")
    half = to_half(prepared)
    ranges = measured_ranges(prepared)
    first = next(iter(ranges))
    model = to_int8(half, {**ranges, first: 0.0}, ())
    plain = to_int8(half, ranges, ())

    def count(graph: onnx.GraphProto) -> int:
        return sum(node.op_type == "QuantizeLinear" for node in graph.node)

    assert count(model.graph) == count(plain.graph) - 1


def test_scales_stay_within_float16() -> None:
    """Ranges and weights so small or so large that a scale would be 0 or infinite."""
    prepared = prepared_tiny("tiny_unet")
    half = to_half(prepared)
    for value in (1e-9, 60000.0):
        model = to_int8(half, dict.fromkeys(measured_ranges(prepared), value), ())
        for tensor in model.graph.initializer:
            if tensor.name.endswith("/scale"):
                scale = numpy_helper.to_array(tensor).astype(np.float64)
                assert np.isfinite(scale).all() and (scale >= 6.1e-5).all()


def test_a_product_of_two_activations_is_left_alone() -> None:
    nodes = [helper.make_node("MatMul", ["a", "b"], ["c"], name="both")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT16, [2, 2]) for n in "ab"],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT16, [2, 2])],
    )
    assert quantizable(helper.make_model(graph)) == []


def test_it_is_deterministic_and_leaves_its_input_alone() -> None:
    prepared = prepared_tiny("tiny_efficientnet")
    half = to_half(prepared)
    before = half.SerializeToString(deterministic=True)
    ranges = measured_ranges(prepared)
    first, second = (to_int8(half, ranges, ()) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert half.SerializeToString(deterministic=True) == before
