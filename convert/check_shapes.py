"""Shapes: only the batch may be open when an engine is built, everything else is a number."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from convert.examined_graph import ExaminedGraph, Shape, called
from convert.finding import Finding, error, warning
from convert.targets import Target

# Operators whose output is as long as the values of their first input say.
_COUNTING = frozenset({"NonZero", "NonMaxSuppression", "Compress", "Unique"})

# Which inputs say how long the output is.
_SIZES: dict[str, tuple[int, ...]] = {
    "CenterCropPad": (1,), "ConstantOfShape": (0,), "Expand": (1,), "OneHot": (1,), "Pad": (1, 3),
    "Range": (0, 1, 2), "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,),
    "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Unsqueeze": (1,), "Upsample": (1,),
}  # fmt: skip


def check_shapes(graph: ExaminedGraph, target: Target) -> Iterator[Finding]:
    """Findings about open axes of the inputs or, if they have none, about what nodes make."""
    found = list(_check_inputs(graph))
    yield from found
    # Open inputs leave everything behind them open: one cause, one finding.
    if not found:
        yield from _check_nodes(graph, target)


def _check_inputs(graph: ExaminedGraph) -> Iterator[Finding]:
    weights = {tensor.name for tensor in graph.proto.initializer}
    for value in graph.proto.input:
        shape = graph.tensor(value.name).shape
        if value.name in weights:
            continue
        if shape is None:
            yield error(
                value.name, "an input of unknown rank", "export the network with fixed sizes"
            )
            continue
        # A batch that is left open has become 1 in an examined graph.
        axes = [str(axis) for axis, length in enumerate(shape) if length is None]
        if axes:
            yield error(
                value.name,
                f"an input whose axis {' and '.join(axes)} is open",
                "export the network with fixed sizes; only axis 0, the batch, may be open",
            )


def _check_nodes(graph: ExaminedGraph, target: Target) -> Iterator[Finding]:
    for node in graph.proto.node:
        made = [name for name in node.output if name]
        opened = [name for name in made if not _is_known(graph.tensor(name).shape)]
        read = [name for name in node.input if name]
        if not target.reads(node.op_type, node.domain):
            continue
        if opened and all(_is_known(graph.tensor(name).shape) for name in read):
            yield _finding(node, opened[0], graph)
        for inner in graph.inner(node):
            yield from _check_nodes(inner, target)


def _finding(node: onnx.NodeProto, name: str, graph: ExaminedGraph) -> Finding:
    if node.op_type in _COUNTING:
        decisive = list(node.input)
    else:
        places = _SIZES.get(node.op_type, ())
        decisive = [node.input[index] for index in places if index < len(node.input)]
    if any(graph.varies(part) for part in decisive if part):
        return error(
            called(node),
            f"the size of what {node.op_type} makes ({name}) depends on the picture's values",
            "export the network so that every size but the batch is fixed",
        )
    return warning(
        called(node),
        f"the size of what {node.op_type} makes ({name}) cannot be told from the graph",
        "export the network with fixed sizes, or fold its constants",
    )


def _is_known(shape: Shape | None) -> bool:
    return shape is not None and None not in shape
