"""The check of any graph at all: it never fails, and every finding says where and what next."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from graphs_for_tests import FP16, FP32, PICTURE, UINT8, check, graph, node, value
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

OPERATORS = sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""})
ELEMENTS = [code for code in TensorProto.DataType.values() if code]


def plain() -> onnx.ModelProto:
    return graph(
        node("Cast", "x", "pixels", to=FP32),
        node("Transpose", "pixels", "planes", perm=[0, 3, 1, 2]),
        node("Conv", "planes kernel bias", "features"),
        node("MaxPool", "features", "pooled", kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", "pooled _ scales", "large"),
        node("Shape", "large", "sizes"),
        node("Reshape", "large sizes", "same"),
        node("ReduceMean", "same", "mean", axes=[1]),
        node("TopK", "mean count", "best places"),
        node("Sigmoid", "best", "y"),
        x=(UINT8, ["N", 8, 8, 3]),
        y=(FP32, ["N", 1, 8, 4]),
        kernel=np.ones((4, 3, 1, 1), np.float32),
        bias=np.ones(4, np.float32),
        scales=np.array([1, 1, 2, 2], np.float32),
        count=np.array([4]),
    )


def quantized() -> onnx.ModelProto:
    return graph(
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "activation"),
        node("DequantizeLinear", "k ks kz", "kernel", axis=0),
        node("Conv", "activation kernel bias", "y"),
        x=(FP16, PICTURE),
        y=(FP16, ["N", 4, 8, 8]),
        s=np.float16(0.02),
        z=np.int8(0),
        k=np.ones((4, 3, 1, 1), np.int8),
        ks=np.full(4, 0.1, np.float16),
        kz=np.zeros(4, np.int8),
        bias=np.ones(4, np.float16),
        opset=19,
        ir_version=9,
    )


def branching() -> onnx.ModelProto:
    def branch(op: str, name: str) -> onnx.GraphProto:
        return helper.make_graph([node(op, "x", name)], name, [], [value(name, FP32, None)])

    return graph(
        node("ReduceMax", "x", "largest", keepdims=0),
        node("Greater", "largest zero", "bright"),
        node("If", "bright", "y", then_branch=branch("Abs", "a"), else_branch=branch("Relu", "b")),
        zero=np.float32(0),
    )


def break_something(model: onnx.ModelProto, chance: random.Random) -> None:
    """One accident of the kind that exporters, converters and editors of graphs have."""
    proto = model.graph
    part = chance.choice(proto.node)
    names = [name for n in proto.node for name in (*n.input, *n.output)]
    kind = chance.randrange(11)
    if kind == 0:
        part.op_type = chance.choice(OPERATORS)
    elif kind == 1 and part.input:
        part.input[chance.randrange(len(part.input))] = chance.choice([*names, "", "nobody"])
    elif kind == 2:
        part.input.append(chance.choice(names))
    elif kind == 3 and part.input:
        part.input.pop()
    elif kind == 4 and part.attribute:
        part.attribute.pop(chance.randrange(len(part.attribute)))
    elif kind == 5:
        stored = chance.choice([*proto.initializer, *proto.input, *proto.output])
        if isinstance(stored, onnx.TensorProto):
            shape = [chance.randrange(5) for _ in range(chance.randrange(4))]
            dtype = chance.choice([np.float64, np.float32, np.int64, np.int32, np.uint8, np.int8])
            array = np.random.default_rng(chance.randrange(99)).integers(0, 5, shape).astype(dtype)
            stored.CopyFrom(onnx.numpy_helper.from_array(array, stored.name))
        else:
            stored.type.tensor_type.elem_type = chance.choice(ELEMENTS)
    elif kind == 6:
        value_info = chance.choice([*proto.input, *proto.output])
        axis = chance.choice(value_info.type.tensor_type.shape.dim)
        axis.Clear() if chance.random() < 0.5 else setattr(
            axis, "dim_value", chance.randrange(-1, 9)
        )
    elif kind == 7:
        proto.node.remove(part)
        if not proto.node:
            proto.node.append(part)
    elif kind == 8:
        part.name, part.domain = (
            chance.choice(["", "two\nlines", "x: y"]),
            chance.choice(["", "own"]),
        )
    elif kind == 9:
        model.opset_import[0].version = chance.randrange(1, 26)
    else:
        part.output[0] = chance.choice(names)


@pytest.mark.parametrize("make", [plain, quantized, branching])
def test_the_unbroken_graphs_are_sound(make: Callable[[], onnx.ModelProto]) -> None:
    onnx.checker.check_model(make(), full_check=True)
    assert check(make()) == []


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([plain, quantized, branching]),
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.sampled_from(["10.3", "10.13", "11.4"]),
)
def test_every_finding_says_where_and_what_next(
    make: Callable[[], onnx.ModelProto], seed: int, accidents: int, target: str
) -> None:
    model, chance = make(), random.Random(seed)
    for _ in range(accidents):
        break_something(model, chance)
    for found in check(model, target):
        assert found.severity in ("error", "warning")
        assert found.node.strip()
        assert found.found.strip()
        assert found.way_out.strip()
        assert "\n" not in str(found)
