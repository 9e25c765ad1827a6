"""The check of a graph: each planted fault is named with its node, and is the only finding."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graphs_for_tests import (
    FP16,
    FP32,
    FP64,
    INT64,
    PICTURE,
    UINT8,
    check,
    graph,
    node,
    only,
    value,
)
from onnx import TensorProto, helper, numpy_helper

KERNEL = np.ones((3, 3, 1, 1), np.float32)
HALF = KERNEL.astype(np.float16)


def sound() -> onnx.ModelProto:
    """A uint8 picture, one Cast, a convolution."""
    return graph(
        node("Cast", "x", "pixels", to=FP32),
        node("Transpose", "pixels", "planes", perm=[0, 3, 1, 2]),
        node("Conv", "planes kernel", "y"),
        x=(UINT8, ["N", 8, 8, 3]),
        kernel=KERNEL,
    )


@pytest.mark.parametrize("target", ["10.3", "10.7", "10.13.3.9", "10.16.2.10", "11.4.1"])
def test_a_sound_graph(target: str) -> None:
    assert check(sound(), target) == []


def test_the_graph_is_left_as_it_is() -> None:
    model = sound()
    for part in model.graph.node:
        part.ClearField("name")
    before = model.SerializeToString(deterministic=True)
    check(model)
    assert model.SerializeToString(deterministic=True) == before


# --- versions and validity ----------------------------------------------------------------------


def test_an_opset_that_the_target_does_not_read() -> None:
    model = graph(node("Relu", "x", "y"), opset=21)
    found = only(check(model, "10.3"))
    assert (found.severity, found.node) == ("error", "planted")
    assert found.found == "opset 21, where TensorRT 10.3 reads 9 to 20"
    assert check(model, "10.16") == []


def test_an_opset_that_is_too_old() -> None:
    assert "opset 7" in only(check(graph(node("Relu", "x", "y"), opset=7))).found


def test_an_ir_version_that_onnx_runtime_on_a_device_does_not_read() -> None:
    found = only(check(graph(node("Relu", "x", "y"), ir_version=11)))
    assert "IR version 11" in found.found


@pytest.mark.parametrize(
    ("nodes", "where"),
    [
        ([node("Relu", "nobody", "y", name="first one")], "first one"),
        ([node("Relu", "x x", "y", name="greedy")], "greedy"),
        ([node("Relu", "x", "y", name="odd", alpha=3)], "odd"),
        ([node("Relu", "x", "y", name="", alpha=3)], "y"),
        ([node("Relu", "x", "y"), node("Abs", "x", "y")], "planted"),
    ],
)
def test_no_valid_onnx(nodes: list[onnx.NodeProto], where: str) -> None:
    found = only(check(graph(*nodes)))
    assert found.node == where
    assert found.found.startswith("no valid ONNX (")


def test_a_contradiction_of_shapes() -> None:
    model = graph(node("Reshape", "x shape", "y", name="reshape"), shape=np.array([1, 7]))
    found = only(check(model))
    assert found.node == "reshape"
    assert "no valid ONNX" in found.found


def test_values_in_another_file() -> None:
    model = sound()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")
    model.graph.initializer[0].ClearField("raw_data")
    found = only(check(model))
    assert (found.severity, found.node) == ("error", "kernel")
    assert "another file (weights.bin)" in found.found


def test_values_of_a_constant_node_in_another_file() -> None:
    tensor = numpy_helper.from_array(np.ones(3, np.float32))
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")
    model = graph(node("Constant", "", "one", value=tensor), node("Add", "x one", "y"))
    assert only(check(model)).node == "one"


# --- types --------------------------------------------------------------------------------------


def test_uint8_read_by_two_casts() -> None:
    model = graph(
        node("Cast", "x", "a", to=FP32),
        node("Cast", "x", "b", to=FP32),
        node("Add", "a b", "y"),
        x=(UINT8, PICTURE),
    )
    found = only(check(model))
    assert (found.severity, found.node) == ("error", "b")
    assert found.found == "a second Cast of the UINT8 input x"


def test_uint8_read_by_something_else() -> None:
    model = graph(
        node("Transpose", "x", "turned", perm=[0, 1, 3, 2]),
        node("Cast", "turned", "y", to=FP32),
        x=(UINT8, PICTURE),
    )
    found = only(check(model))
    assert (found.severity, found.node) == ("error", "turned")
    assert found.found == "Transpose reads the UINT8 input x"


def test_uint8_read_by_nobody() -> None:
    model = graph(node("Constant", "", "y", value_floats=[1.0]), x=(UINT8, PICTURE), y=(FP32, [1]))
    assert only(check(model)).found == "a UINT8 input that no Cast reads"


def test_uint8_input_as_output() -> None:
    model = graph(node("Cast", "x", "y", to=FP32), x=(UINT8, PICTURE))
    model.graph.output.append(value("x", UINT8, PICTURE))
    assert only(check(model)).found == "a UINT8 input that is an output too"


def test_uint8_made_inside() -> None:
    model = graph(node("Cast", "x", "bytes", to=UINT8), node("Cast", "bytes", "y", to=FP32))
    found = only(check(model))
    assert (found.node, found.found) == ("bytes", "Cast makes UINT8 inside the graph")


def test_uint8_stored() -> None:
    model = graph(
        node("Cast", "table", "wide", to=FP32),
        node("Add", "x wide", "y"),
        table=np.ones((1, 3, 1, 1), np.uint8),
    )
    found = only(check(model))
    assert (found.node, found.found) == ("table", "a stored tensor of UINT8")


def test_fp64_stored() -> None:
    model = graph(
        node("Cast", "table", "narrow", to=FP32),
        node("Add", "x narrow", "y"),
        table=np.ones((1, 3, 1, 1)),
    )
    found = only(check(model))
    assert (found.severity, found.node) == ("error", "table")
    assert found.found == "a stored tensor of FP64"
    assert "float32" in found.way_out


def test_fp64_computed_is_named_where_it_begins() -> None:
    model = graph(
        node("Cast", "x", "wide", to=FP64),
        node("Sqrt", "wide", "root"),
        node("Cast", "root", "y", to=FP32),
    )
    found = only(check(model))
    assert (found.node, found.found) == ("wide", "Cast makes FP64")


def test_fp64_as_input() -> None:
    model = graph(node("Cast", "x", "y", to=FP32), x=(FP64, PICTURE))
    assert only(check(model)).found == "an input of FP64"


def test_int64_as_input() -> None:
    model = graph(node("Cast", "x", "y", to=FP32), x=(INT64, PICTURE))
    assert only(check(model)).found == "an input of INT64"


def test_int64_of_the_pictures_values() -> None:
    model = graph(
        node("Cast", "x", "whole", to=INT64),
        node("Add", "whole one", "more"),
        node("Cast", "more", "y", to=FP32),
        one=np.int64(1),
    )
    found = only(check(model))
    assert (found.severity, found.node) == ("warning", "whole")


def test_int64_of_sizes_is_fine() -> None:
    model = graph(
        node("Shape", "x", "sizes"),
        node("Gather", "sizes first", "batch"),
        node("Mul", "batch one", "same"),
        node("Concat", "same rest", "shape", axis=0),
        node("Reshape", "x shape", "y"),
        first=np.array([0]),
        one=np.array([1]),
        rest=np.array([3, 8, 8]),
    )
    assert check(model) == []


def test_a_type_that_tensorrt_lacks() -> None:
    model = graph(
        node("Cast", "x", "short", to=TensorProto.INT16), node("Cast", "short", "y", to=FP32)
    )
    assert only(check(model)).found == "Cast makes INT16"


# --- shapes -------------------------------------------------------------------------------------


def test_an_open_height() -> None:
    model = graph(node("Relu", "x", "y"), x=(FP32, ["N", 3, "H", 8]), y=(FP32, ["N", 3, "H", 8]))
    found = only(check(model))
    assert (found.severity, found.node) == ("error", "x")
    assert found.found == "an input whose axis 2 is open"


def test_an_input_of_unknown_rank_is_no_valid_onnx() -> None:
    model = graph(node("Relu", "x", "y"))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert only(check(model)).severity == "error"


def test_a_batch_that_moves_is_still_the_batch() -> None:
    model = graph(
        node("Reshape", "x shape", "rows"),
        node("Relu", "rows", "y"),
        shape=np.array([-1, 8]),
        y=(FP32, ["M", 8]),
    )
    assert check(model) == []


def test_a_size_that_depends_on_the_picture() -> None:
    model = graph(
        node("NonZero", "x", "places"),
        node("Cast", "places", "y", to=FP32),
        y=(FP32, ["axes", "count"]),
    )
    (found,) = [f for f in check(model) if f.severity == "error"]
    assert found.node == "places"
    assert "(places) depends on the picture's values" in found.found


def test_a_target_size_that_depends_on_the_picture() -> None:
    model = graph(
        node("ReduceMax", "x", "largest", keepdims=0),
        node("Cast", "largest", "length", to=INT64),
        node("Reshape", "length vector", "lengths"),
        node("Expand", "one lengths", "y"),
        vector=np.array([1]),
        one=np.ones(1, np.float32),
        y=(FP32, ["length"]),
    )
    (found,) = [f for f in check(model) if f.severity == "error"]
    assert (found.node, found.found[:11]) == ("y", "the size of")


def test_a_size_that_inference_does_not_find() -> None:
    """No data is involved, so TensorRT will know; only this check does not."""
    model = graph(
        node("Shape", "x", "sizes"),
        node("Cast", "sizes", "as_float", to=FP32),
        node("Sqrt", "as_float", "roots"),
        node("Cast", "roots", "small", to=INT64),
        node("ConstantOfShape", "small", "y"),
        y=(FP32, ["a", "b", "c", "d"]),
    )
    found = only(check(model))
    assert (found.severity, found.node) == ("warning", "y")


# --- subgraphs ----------------------------------------------------------------------------------


def branching(op: str, reads: str = "x", **attributes: object) -> onnx.ModelProto:
    """An If of which one branch is the given node."""

    def branch(name: str, part: onnx.NodeProto) -> onnx.GraphProto:
        return helper.make_graph([part], name, [], [value(name, FP32, None)])

    return graph(
        node("ReduceMax", "x", "largest", keepdims=0),
        node("Greater", "largest zero", "bright"),
        node(
            "If",
            "bright",
            "y",
            then_branch=branch("yes", node(op, reads, "yes", **attributes)),
            else_branch=branch("no", node("Relu", "x", "no")),
        ),
        zero=np.float32(0),
    )


def test_a_sound_branch() -> None:
    assert check(branching("Abs")) == []


def test_an_operator_inside_a_branch() -> None:
    found = only(check(branching("Bernoulli"), "11.4"))
    assert found.node == "yes"
    assert found.found == "Bernoulli is no operator that TensorRT 11.4 reads"


def test_uint8_read_inside_a_branch() -> None:
    """Readers in subgraphs count."""
    model = branching("Cast", "bytes", to=FP32)
    model.graph.input.append(value("bytes", UINT8, PICTURE))
    assert check(model) == []
    model.graph.node.insert(0, node("Cast", "bytes", "again", to=FP32))
    found = only(check(model))
    assert found.node == "yes"
    assert found.found == "a second Cast of the UINT8 input bytes"


# --- strong typing --------------------------------------------------------------------------------


def test_mixed_types_in_one_node() -> None:
    """ONNX's checker lets it pass; a strongly typed network does not."""
    model = graph(
        node("Cast", "x", "half", to=FP16),
        node("Add", "half offset", "y"),
        offset=np.ones((1, 3, 1, 1), np.float32),
        y=(FP16, PICTURE),
    )
    found = only(check(model))
    assert (found.node, found.found) == ("y", "Add of FP16 and FP32 at once")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(HALF[:1], "offset"))
    assert check(model) == []
