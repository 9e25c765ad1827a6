"""The rewrites for CPUs: same numbers as before, and only where the pattern is."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convert.compose_upsampling import composed_kernel, convolved_constant
from convert.optimize_cpu import optimized_for_cpu
from models.offline import onnx_runtime

SIDE = 14  # not a power of two


class NetworkWriter:
    """Writes small networks with random weights whose biases are large enough to be missed."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, op: str, inputs: list[str], output: str, **keys: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **keys))
        return output

    def weight(self, *shape: int) -> str:
        name = f"weight_{len(self.weights)}"
        value = self.rng.normal(0, 0.5, shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def conv(self, x: str, output: str, source: int, target: int, side: int = 3, **keys) -> str:
        inputs = [x, self.weight(target, source, side, side), self.weight(target)]
        return self.node("Conv", inputs, output, **{"pads": [side // 2] * 4, **keys})

    def grow(self, x: str, output: str, channels: int, **keys: object) -> str:
        inputs = [x, self.weight(channels, channels, 2, 2), self.weight(channels)]
        return self.node("ConvTranspose", inputs, output, **{"strides": [2, 2], **keys})

    def model(
        self, inputs: dict[str, list], outputs: list[str], *, opset: int = 17, element: int = 1
    ) -> onnx.ModelProto:
        # The shapes of the outputs are then inferred.
        def value(name: str, shape: list | None) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, element, shape)

        graph = helper.make_graph(
            self.nodes,
            "small",
            [value(name, shape) for name, shape in inputs.items()],
            [value(name, None) for name in outputs],
            self.weights,
        )
        imports = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


def decoder(*, skip_first: bool = False, opset: int = 17, **grow: object) -> onnx.ModelProto:
    """`small` is doubled, put beside `skip` and convolved by a 3x3 and a 1x1, then a head."""
    write = NetworkWriter()
    write.grow("small", "grown", 6, **grow)
    both = ["skip", "grown"] if skip_first else ["grown", "skip"]
    write.node("Concat", both, "both", axis=1)
    main = write.node("Elu", [write.conv("both", "main", 9, 6)], "active", alpha=1.0)
    write.conv("both", "shortcut", 9, 6, 1)
    write.node("Add", [main, "shortcut"], "sum")
    write.conv("sum", "head", 6, 1, 1)
    inputs = {"small": ["N", 6, SIDE // 2, SIDE // 2], "skip": ["N", 3, SIDE, SIDE]}
    return write.model(inputs, ["head"], opset=opset)


def feeds_for(model: onnx.ModelProto, batch: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    feeds = {}
    for value in model.graph.input:
        shape = [axis.dim_value or batch for axis in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = rng.normal(0, 1, shape).astype(dtype)
    return feeds


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    options = onnx_runtime().SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnx_runtime().GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnx_runtime().InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def assert_same_numbers(model: onnx.ModelProto, optimized: onnx.ModelProto) -> None:
    for batch in (1, 2):
        feeds = feeds_for(model, batch)
        before, after = run(model, feeds), run(optimized, feeds)
        for wanted, found in zip(before, after, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("skip_first", [False, True])
def test_a_decoder_block_gives_the_same_numbers(skip_first: bool) -> None:
    model = decoder(skip_first=skip_first)
    before = model.SerializeToString()
    optimized = optimized_for_cpu(model)
    assert model.SerializeToString() == before
    found = operators(optimized)
    assert "Concat" not in found and "Elu" not in found
    assert found["ConvTranspose"] == 2
    # The skip's shares of the 3x3 and of the 1x1 stay, and the head.
    assert found["Conv"] == 3
    assert_same_numbers(model, optimized)


def test_rewriting_twice_changes_nothing_more() -> None:
    once = optimized_for_cpu(decoder())
    assert operators(optimized_for_cpu(once)) == operators(once)


def test_the_composed_kernel_is_the_two_layers_one_after_the_other() -> None:
    """By hand, tap by tap, in float64."""
    rng = np.random.default_rng(3)
    grow = rng.normal(size=(1, 2, 2, 2)).astype(np.float32)
    kernel = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    # One pixel grows to 2x2; with two pixels of margin the convolution sees all of it.
    canvas = np.zeros((2, 6, 6))
    canvas[:, 2:4, 2:4] = grow[0]
    wanted = np.zeros((4, 4))
    for i, j in np.ndindex(4, 4):
        wanted[i, j] = (canvas[:, i : i + 3, j : j + 3] * kernel[0]).sum()
    np.testing.assert_allclose(composed_kernel(grow, kernel)[0, 0], wanted, atol=1e-6)


def test_a_constant_picture_counts_only_the_taps_inside() -> None:
    kernel = np.ones((1, 1, 3, 3), np.float32)
    found = convolved_constant(kernel, np.array([2.0], np.float32), (3, 4))
    assert found[0].tolist() == [[8, 12, 12, 8], [12, 18, 18, 12], [8, 12, 12, 8]]


@pytest.mark.parametrize(
    "grow",
    [{"pads": [0, 0, 1, 1], "output_padding": [1, 1]}, {"auto_pad": "SAME_UPPER"}],
)
def test_another_upsampling_is_left_alone(grow: dict[str, object]) -> None:
    model = decoder(**grow)
    optimized = optimized_for_cpu(model)
    assert operators(optimized)["Concat"] == 1
    assert_same_numbers(model, optimized)


def test_a_concat_that_others_read_is_left_alone() -> None:
    model = decoder()
    shape = ["N", 9, SIDE, SIDE]
    model.graph.output.append(helper.make_tensor_value_info("both", TensorProto.FLOAT, shape))
    optimized = optimized_for_cpu(model)
    assert operators(optimized)["Concat"] == 1
    assert_same_numbers(model, optimized)


def test_old_opsets_are_left_alone() -> None:
    model = decoder(opset=10)
    assert optimized_for_cpu(model).SerializeToString() == model.SerializeToString()


def test_graphs_with_control_flow_are_left_alone() -> None:
    """A branch may read what a rewrite takes away."""
    model = decoder()
    branch = helper.make_graph(
        [helper.make_node("Identity", ["both"], ["taken"])],
        "branch",
        [],
        [helper.make_tensor_value_info("taken", TensorProto.FLOAT, None)],
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(yes)
    node = helper.make_node("If", ["yes"], ["branched"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)
    assert optimized_for_cpu(model).SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize(
    ("alpha", "element"), [(0.5, TensorProto.FLOAT), (1.0, TensorProto.FLOAT16)]
)
def test_other_elus_are_left_alone(alpha: float, element: int) -> None:
    write = NetworkWriter()
    write.node("Elu", ["x"], "y", alpha=alpha)
    model = write.model({"x": ["N", 3, 4, 4]}, ["y"], element=element)
    optimized = optimized_for_cpu(model)
    assert operators(optimized) == {"Elu": 1}
    assert_same_numbers(model, optimized)


def test_elu_is_right_at_its_ends() -> None:
    write = NetworkWriter()
    write.node("Elu", ["x"], "y")
    model = write.model({"x": [1, 6]}, ["y"])
    x = np.array([[-np.inf, -90, -1e-7, 0, 1e-7, 1e30]], np.float32)
    (found,) = run(optimized_for_cpu(model), {"x": x})
    np.testing.assert_allclose(found, [[-1, -1, -1e-7, 0, 1e-7, 1e30]], rtol=1e-6, atol=1e-7)
    (poisoned,) = run(optimized_for_cpu(model), {"x": np.full((1, 6), np.nan, np.float32)})
    assert np.isnan(poisoned).all()
