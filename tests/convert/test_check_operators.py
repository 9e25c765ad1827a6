"""The check of operators: those that the target does not read, and those it reads with limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from graphs_for_tests import (
    BOOL,
    FP16,
    FP32,
    INT32,
    PICTURE,
    Node,
    check,
    graph,
    node,
    only,
    value,
)
from onnx import helper, numpy_helper

KERNEL = np.ones((3, 3, 1, 1), np.float32)
SCALE, ZERO, ZERO_BYTE = np.float32(0.1), np.int8(0), np.uint8(0)


def integers(*nodes: Node, **weights: Any) -> onnx.ModelProto:
    """A network on UINT8, as quantizers that do not write QDQ make it."""
    return graph(
        node("QuantizeLinear", "x scale zero_byte", "bytes"),
        *nodes,
        scale=SCALE,
        zero_byte=ZERO_BYTE,
        **weights,
    )


NEVER = {
    "QLinearConv": integers(
        node("QLinearConv", "bytes scale zero_byte k scale zero scale zero_byte", "planted"),
        node("DequantizeLinear", "planted scale zero_byte", "y"),
        k=np.ones((3, 3, 1, 1), np.int8),
        zero=ZERO,
    ),
    "QLinearMatMul": integers(
        node("QLinearMatMul", "bytes scale zero_byte b scale zero_byte scale zero_byte", "planted"),
        node("DequantizeLinear", "planted scale zero_byte", "y"),
        b=np.ones((8, 8), np.uint8),
    ),
    "ConvInteger": integers(
        node("ConvInteger", "bytes k", "planted"),
        node("Cast", "planted", "y", to=FP32),
        k=np.ones((3, 3, 1, 1), np.uint8),
    ),
    "MatMulInteger": integers(
        node("MatMulInteger", "bytes b", "planted"),
        node("Cast", "planted", "y", to=FP32),
        b=np.ones((8, 8), np.uint8),
    ),
    "DynamicQuantizeLinear": graph(
        node("DynamicQuantizeLinear", "x", "bytes s z", name="planted"),
        node("DequantizeLinear", "bytes s z", "y"),
    ),
}


@pytest.mark.parametrize("operator", NEVER)
@pytest.mark.parametrize("target", ["jetpack-6.2", "11.4.1"])
def test_quantized_operators_that_never_parse(operator: str, target: str) -> None:
    onnx.checker.check_model(NEVER[operator])
    (found,) = [
        f for f in check(NEVER[operator], target) if f.node == "planted" and operator in f.found
    ]
    assert found.severity == "error"
    assert f"{operator} is no operator that TensorRT" in found.found
    assert "(QDQ format)" in found.way_out


def test_an_operator_of_another_domain() -> None:
    model = graph(node("FusedConv", "x k", "y", domain="com.microsoft"), k=KERNEL)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = only(check(model))
    assert found.node == "y"
    assert found.found.startswith("FusedConv of the domain com.microsoft")
    assert "opset 17" in found.way_out


def test_a_quantized_operator_of_another_domain() -> None:
    model = graph(node("QLinearSigmoid", "x s z s z", "y", domain="com.microsoft"), s=SCALE, z=ZERO)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = only(check(model))
    assert "(QDQ format)" in found.way_out


def test_an_operator_that_a_later_release_reads() -> None:
    model = graph(
        node("HannWindow", "length", "window"), node("Add", "x window", "y"), length=np.int64(8)
    )
    found = only(check(model, "10.3"))
    assert found.node == "window"
    assert found.found == "HannWindow is no operator that TensorRT 10.3 reads (TensorRT 10.4 does)"
    assert check(model, "10.4") == []


# --- types --------------------------------------------------------------------------------------

TYPES = {
    # what a node reads, and what is said of it, if anything is
    "Round of bfloat16": (graph(node("Round", "x", "y"), x=(16, PICTURE), y=(16, PICTURE)), None),
    "Not of bool": (graph(node("Not", "x", "y"), x=(BOOL, PICTURE), y=(BOOL, PICTURE)), None),
    "Relu of int32": (graph(node("Relu", "x", "y"), x=(INT32, PICTURE), y=(INT32, PICTURE)), None),
    "Transpose of int8": (
        graph(
            node("QuantizeLinear", "x s z", "q"),
            node("Transpose", "q", "planted", perm=[0, 1, 3, 2]),
            node("DequantizeLinear", "planted s z", "y"),
            s=np.float16(0.1),
            z=ZERO,
            x=(FP16, PICTURE),
            y=(FP16, PICTURE),
            opset=19,
            ir_version=9,
        ),
        "Transpose of INT8 (q)",
    ),
    "CumSum of int32": (
        graph(
            node("CumSum", "x axis", "planted"),
            node("Cast", "planted", "y", to=FP32),
            axis=np.int64(0),
            x=(INT32, PICTURE),
        ),
        "CumSum of INT32 (x)",
    ),
    "indices are no data": (
        graph(
            node("Cast", "x", "whole", to=INT32),
            node("Gather", "table whole", "y"),
            table=np.ones(8, np.float32),
        ),
        None,
    ),
    "a condition is no data": (
        graph(
            node("Greater", "x zero", "positive"),
            node("Where", "positive x zero", "y"),
            zero=np.float32(0),
        ),
        None,
    ),
    "OneHot's depth is no data": (
        graph(
            node("Cast", "x", "whole", to=INT32),
            node("OneHot", "whole depth values", "y"),
            depth=np.int64(3),
            values=np.array([0, 1], np.float32),
            y=(FP32, [*PICTURE, 3]),
        ),
        None,
    ),
}


@pytest.mark.parametrize("case", TYPES)
def test_types(case: str) -> None:
    model, expected = TYPES[case]
    onnx.checker.check_model(model)
    findings = check(model)
    if expected is None:
        assert findings == []
        return
    found = only(findings)
    assert (found.severity, found.node) == ("error", "planted")
    assert found.found.startswith(f"{expected}, where TensorRT 10.3 reads ")
    assert found.way_out.startswith("cast to ")


def test_the_exponent_of_a_power() -> None:
    model = graph(node("Pow", "x two", "y"), two=np.int64(2))
    found = only(check(model, "10.7"))
    assert (found.node, found.found[:17]) == ("y", "Pow of INT64 (two")
    assert check(model, "10.8") == []


def test_the_base_of_a_power() -> None:
    model = graph(
        node("Pow", "x two", "y"), two=np.int32(2), x=(INT32, PICTURE), y=(INT32, PICTURE)
    )
    assert only(check(model, "10.11")).found.startswith("Pow of INT32 (x)")
    assert check(model, "10.12") == []


# --- inputs that must be constants --------------------------------------------------------------


def test_axes_that_are_computed() -> None:
    def model(*maker: Node, **weights: Any) -> onnx.ModelProto:
        return graph(
            *maker,
            node("ReduceMean", "x axes", "y", keepdims=1),
            y=(FP32, ["N", 1, "h", "w"]),
            opset=18,
            **weights,
        )

    sound = model(axes=np.array([1]))
    assert check(sound) == []
    held = model(node("Constant", "", "axes", value_ints=[1]))
    assert check(held) == []
    computed = model(node("Add", "half half", "axes"), half=np.array([1]))
    (found,) = [f for f in check(computed) if f.severity == "error"]
    assert found.node == "y"
    assert found.found.startswith("ReduceMean computes its input 1 (axes)")


def test_axes_that_later_releases_may_compute() -> None:
    model = graph(
        node("Add", "zero zero", "axes"),
        node("Unsqueeze", "x axes", "wide"),
        node("ReduceMax", "wide", "y", keepdims=0),
        zero=np.array([0]),
        y=(FP32, []),
    )
    assert any(f.node == "wide" and f.severity == "error" for f in check(model, "10.6"))
    assert not any(f.severity == "error" for f in check(model, "10.7"))


# --- limits -------------------------------------------------------------------------------------

HALVES = np.array([1, 1, 0.5, 0.5], np.float32)
SEVEN = ["N", 3, 7, 7]


def resized(reads: str = "x _ scales", **attributes: Any) -> onnx.ModelProto:
    return graph(
        node("Mul", "scales one", "computed"),
        node("Resize", reads, "y", **attributes),
        scales=HALVES,
        one=np.float32(1),
        sizes=np.array([1, 3, 4, 4]),
        y=(FP32, ["n", "c", "h", "w"]),
        opset=19,
        ir_version=9,
    )


def pooled(op: str, **attributes: Any) -> onnx.ModelProto:
    return graph(
        node(op, "x", "y", kernel_shape=[2, 2], **attributes),
        y=(FP32, ["N", 3, "h", "w"]),
        opset=19,
        ir_version=9,
    )


def ranked(count: int, **attributes: Any) -> onnx.ModelProto:
    return graph(
        node("TopK", "x count", "y places", **attributes),
        x=(FP32, ["N", 5000]),
        y=(FP32, ["N", count]),
        count=np.array([count]),
    )


def scattered(opset: int = 18, **attributes: Any) -> onnx.ModelProto:
    return graph(
        node("ScatterND", "x places updates", "y", **attributes),
        x=(FP32, [4]),
        y=(FP32, [4]),
        places=np.array([[1]]),
        updates=np.ones(1, np.float32),
        opset=opset,
    )


def normalized(makes: str) -> onnx.ModelProto:
    return graph(node("LayerNormalization", "x scale", makes), scale=np.ones(8, np.float32))


def dropped(training: bool) -> onnx.ModelProto:
    return graph(
        node("Dropout", "x ratio training", "y"),
        ratio=np.float32(0.5),
        training=np.bool_(training),
    )


def deformed(pads: list[int]) -> onnx.ModelProto:
    shape = ["N", 3, 8 + pads[0] + pads[2], 8 + pads[1] + pads[3]]
    offsets = np.zeros((1, 2, *shape[2:]), np.float32)
    return graph(
        node("DeformConv", "x k offsets", "y", kernel_shape=[1, 1], pads=pads),
        k=KERNEL,
        offsets=offsets,
        x=(FP32, [1, 3, 8, 8]),
        y=(FP32, [1, *shape[1:]]),
        opset=19,
        ir_version=9,
    )


def summed(equation: str) -> onnx.ModelProto:
    length = [8] * len(equation.partition("->")[2])
    return graph(node("Einsum", "x", "y", equation=equation), x=(FP32, [8, 8]), y=(FP32, length))


def constant(**attributes: Any) -> onnx.ModelProto:
    return graph(node("Constant", "", "planted", **attributes), node("Relu", "x", "y"))


def sampled(rank: int) -> onnx.ModelProto:
    size = [1, 2, *[4] * (rank - 2)]
    grid = np.zeros((1, *[4] * (rank - 2), rank - 2), np.float32)
    return graph(
        node("GridSample", "x grid", "y", mode="linear" if rank > 4 else "bilinear"),
        x=(FP32, size),
        y=(FP32, size),
        grid=grid,
        opset=20 if rank > 4 else 17,
        ir_version=9,
    )


def remembering(**attributes: Any) -> onnx.ModelProto:
    return graph(
        node("LSTM", "x w r", "y", hidden_size=2, **attributes),
        w=np.ones((1, 8, 3), np.float32),
        r=np.ones((1, 8, 2), np.float32),
        x=(FP32, [4, 1, 3]),
        y=(FP32, [4, 1, 1, 2]),
    )


SPARSE = helper.make_sparse_tensor(
    numpy_helper.from_array(np.ones(1, np.float32), "values"),
    numpy_helper.from_array(np.array([0]), "indices"),
    [3],
)

LIMITS: dict[str, tuple[onnx.ModelProto, onnx.ModelProto, str]] = {
    # what is planted: with the fault, without it, what is said
    "nearest mode": (
        resized(nearest_mode="simple"),
        resized(nearest_mode="floor"),
        "Resize with nearest_mode simple",
    ),
    "transformation": (
        resized(coordinate_transformation_mode="half_pixel_symmetric"),
        resized(coordinate_transformation_mode="asymmetric"),
        "Resize with coordinate_transformation_mode half_pixel_symmetric",
    ),
    "antialias": (
        resized(mode="linear", antialias=1),
        resized(mode="linear", antialias=0),
        "Resize with antialias 1",
    ),
    "aspect ratio": (
        resized("x _ _ sizes", keep_aspect_ratio_policy="not_larger"),
        resized("x _ _ sizes", keep_aspect_ratio_policy="stretch", mode="cubic"),
        "Resize with keep_aspect_ratio_policy not_larger",
    ),
    "resized axes": (
        resized("x _ computed", axes=[0, 1, 3, 2]),
        resized("x _ scales", axes=[0, 1, 3, 2]),
        "Resize with axes [0, 1, 3, 2] and computed scales",
    ),
    "dilated maximum": (
        pooled("MaxPool", dilations=[2, 2]),
        pooled("MaxPool", dilations=[1, 1]),
        "MaxPool with dilations",
    ),
    "dilated mean": (
        pooled("AveragePool", dilations=[2, 1]),
        pooled("AveragePool"),
        "AveragePool with dilations",
    ),
    "places of maxima": (
        graph(node("MaxPool", "x", "y places", kernel_shape=[2, 2]), y=(FP32, SEVEN)),
        graph(node("MaxPool", "x", "y", kernel_shape=[2, 2]), y=(FP32, SEVEN)),
        "MaxPool gives the places of its maxima (places)",
    ),
    "one axis": (
        graph(
            node("MaxPool", "x", "y", kernel_shape=[2]),
            x=(FP32, ["N", 3, 8]),
            y=(FP32, ["N", 3, 7]),
        ),
        graph(
            node("MaxPool", "x", "y", kernel_shape=[2, 2, 2]),
            x=(FP32, ["N", 3, 8, 8, 8]),
            y=(FP32, ["N", 3, 7, 7, 7]),
        ),
        "MaxPool over 1 axis",
    ),
    "unsorted": (ranked(5, sorted=0), ranked(5, sorted=1), "TopK with sorted 0"),
    "many": (ranked(3840), ranked(3839), "TopK of 3840 values"),
    "adding": (scattered(reduction="add"), scattered(), "ScatterND with reduction add"),
    "mean too": (
        normalized("y mean"),
        normalized("y"),
        "LayerNormalization gives mean or deviation too",
    ),
    "training": (dropped(True), dropped(False), "Dropout drops values, as in training"),
    "uneven pads": (
        deformed([0, 0, 1, 1]),
        deformed([1, 1, 1, 1]),
        "DeformConv with pads [0, 0, 1, 1]",
    ),
    "diagonal": (summed("ii->i"), summed("ij->ji"), "Einsum with equation ii->i"),
    "volume": (sampled(5), sampled(4), "GridSample of 5 axes"),
    "layout": (remembering(layout=1), remembering(), "LSTM with layout 1"),
}


@pytest.mark.parametrize("case", LIMITS)
def test_limits(case: str) -> None:
    faulty, sound, says = LIMITS[case]
    onnx.checker.check_model(sound)
    errors = [f for f in check(faulty) if f.severity == "error"]
    found = only(errors)
    assert found.node == "y"
    assert found.found.startswith(says)
    assert [f for f in check(sound) if f.severity == "error"] == []


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("value_string", "text"),
        ("value_strings", ["two", "texts"]),
        ("sparse_value", SPARSE),
    ],
)
def test_constants_that_are_no_tensors(name: str, held: Any) -> None:
    found = [f for f in check(constant(**{name: held})) if name in f.found]
    assert only(found).node == "planted"
    assert check(constant(value_floats=[1.0])) == []


def test_scattering_without_reduction_on_old_and_new_releases() -> None:
    model = scattered(reduction="none")
    assert only(check(model, "10.8")).found == "ScatterND with reduction none"
    assert check(model, "10.9") == []


def test_a_diagonal_on_a_newer_release() -> None:
    assert check(summed("ii->i"), "10.12") == []


def test_a_normalization_of_two_types() -> None:
    """ONNX lets the parameters have types of their own."""

    def model(dtype: Any) -> onnx.ModelProto:
        ones = np.ones(3, dtype)
        return graph(
            node("BatchNormalization", "x scale bias mean variance", "y"),
            x=(FP16, PICTURE),
            y=(FP16, PICTURE),
            **dict.fromkeys(("scale", "bias", "mean", "variance"), ones),
        )

    found = only(check(model(np.float32), "10.6"))
    assert (found.node, found.found[:42]) == ("y", "BatchNormalization of FP16 and FP32 at onc")
    assert check(model(np.float32), "10.7") == []
    assert check(model(np.float16), "10.3") == []


def test_a_limit_that_cannot_be_read_from_the_graph_is_a_warning() -> None:
    model = graph(node("RandomUniformLike", "x", "noise"), node("Add", "x noise", "y"))
    found = only(check(model))
    assert (found.severity, found.node) == ("warning", "noise")
    assert "the seed is ignored" in found.found


def branches(first: str, second: str, *, rank: int = 4) -> onnx.ModelProto:
    shape = [4] if rank == 1 else [1, 3, 8, 8]
    flat = numpy_helper.from_array(np.zeros(shape, np.float32))
    then = [helper.make_node("Constant", [], [first], value=flat, name="then")]
    other = [helper.make_node("Relu", ["x"], [second], name="other")]
    return graph(
        node("ReduceMax", "x", "largest", keepdims=0),
        node("Greater", "largest zero", "bright"),
        node(
            "If",
            "bright",
            "y",
            then_branch=helper.make_graph(then, "a", [], [value(first, FP32, None)]),
            else_branch=helper.make_graph(other, "b", [], [value(second, FP32, None)]),
        ),
        zero=np.float32(0),
    )


def test_branches_that_give_the_same_name() -> None:
    assert check(branches("a", "b")) == []
    found = only(check(branches("a", "a")))
    assert (found.node, found.found) == ("y", "If gives a from both branches")


def test_branches_of_different_rank() -> None:
    (found,) = [f for f in check(branches("a", "b", rank=1)) if "rank" in f.found]
    assert found.node == "y"
