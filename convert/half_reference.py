"""What a float16 graph computes when every float16 tensor really is rounded to float16.

ONNX Runtime's CPU kernels run float16 operators in float32 and do not round between nodes, so a
value beyond 65,504 passes unseen. Here each float16 tensor becomes a float32 one that is rounded,
right after the node that makes it, by a Cast to float16 and back; graph optimisations, which might
remove such pairs, are off. The largest magnitude is taken before rounding, so an overflow shows as
the number that it was.

Sums inside a node are float32, as on a device whose kernels accumulate in float32; in which order
a device adds, and which nodes it fuses without rounding between them, is not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from convert.half import FLOAT16_MAX, known_types
from convert.network import OUR_PREFIX
from convert.prepare import INPUT_NAME
from convert.trial import CannotRunError, TrialSession
from models.errors import InputError, ModelRefusedError

# float16 rounds to infinity from here on: halfway between the largest number and the next step.
_OVERFLOW = 65520.0


@dataclass(frozen=True)
class Activation:
    """The largest value that a node of a float16 graph gave.

    Attributes:
        node: Its name, or that of its output where it has none.
        operator: ONNX operator.
        tensor: Name of the output.
        largest: Largest magnitude before rounding, over all pictures; infinity where the output
            held one or a NaN.
    """

    node: str
    operator: str
    tensor: str
    largest: float

    @property
    def share(self) -> float:
        """Of the largest float16, 65,504."""
        return self.largest / FLOAT16_MAX

    @property
    def overflows(self) -> bool:
        """Whether float16 makes infinity of it."""
        return not self.largest < _OVERFLOW


class HalfReference:
    """Runs a float16 graph, or an INT8 one over float16, with every float16 tensor rounded.

    Args:
        model: From :func:`convert.half.to_half`, or with quantization written into that; one input
            ``rgb``, one float32 output.

    Raises:
        ModelRefusedError: The graph has no float16 tensor, or ONNX Runtime cannot run it.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        rounded, self._places = _rounded(model)
        if not self._places:
            raise ModelRefusedError(
                "a graph with float16 tensors",
                got="none",
                next_step="make it with convert.half.to_half",
            )
        self._largest = np.zeros(len(self._places), np.float64)
        self._calls = 0
        try:
            self._session = TrialSession(rounded, as_written=True)
        except CannotRunError as error:
            raise _cannot_run(error) from error

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The graph's output for a batch; the activations are remembered.

        Args:
            pixels: uint8 [N,H,W,3].

        Returns:
            ``probability`` float32 [N,H,W] or ``probabilities`` float32 [N,C].

        Raises:
            ModelRefusedError: ONNX Runtime fails on this batch.
        """
        try:
            output, *largest = self._session.run({INPUT_NAME: pixels})
        except CannotRunError as error:
            raise _cannot_run(error) from error
        self._calls += 1
        np.maximum(self._largest, np.array(largest, np.float64), out=self._largest)
        return np.asarray(output, np.float32)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """Every float16 tensor that a node makes, the largest first, over all calls so far."""
        return tuple(sorted(self._in_running_order(), key=lambda a: -a.largest))

    def refuse_overflow(self) -> None:
        """Stop here if a value left float16's range in any call so far.

        Raises:
            ModelRefusedError: Names the first node in running order that overflowed.
            InputError: There was no call, so nothing can be said.
        """
        if not self._calls:
            raise InputError(
                "pictures to look for values beyond float16 on",
                got="none",
                next_step="name a folder of pictures",
            )
        for found in self._in_running_order():
            if found.overflows:
                value = f"{found.largest:,.0f}" if found.largest < np.inf else "infinity or NaN"
                raise ModelRefusedError(
                    f"values within float16's range, up to {FLOAT16_MAX:,.0f}",
                    got=f"{value} from {found.operator} {found.node!r}",
                    next_step="build it with --precision fp32, or export the network with smaller "
                    "activations there",
                )

    def _in_running_order(self) -> list[Activation]:
        return [
            Activation(place.node, place.operator, place.tensor, float(value))
            for place, value in zip(self._places, self._largest, strict=True)
        ]


def _cannot_run(error: CannotRunError) -> ModelRefusedError:
    return ModelRefusedError(
        "a float16 graph that ONNX Runtime can run",
        got=str(error),
        next_step="build it with --precision fp32",
    )


# --- the graph that rounds ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    node: str
    operator: str
    tensor: str


def _rounded(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[_Place]]:
    """The float32 graph that rounds, and what each of its outputs but the first measures."""
    types = known_types(model)
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    graph = rounded.graph
    del graph.value_info[:], graph.initializer[:]
    graph.initializer.extend(_widened(tensor) for tensor in model.graph.initializer)
    infinity = f"{OUR_PREFIX}rounding/infinity"
    graph.initializer.append(numpy_helper.from_array(np.array(np.inf, np.float32), infinity))
    nodes: list[onnx.NodeProto] = []
    places: list[_Place] = []
    for node in rounded.graph.node:
        _widen_attributes(node)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name and types.get(name) == TensorProto.FLOAT16:
                measured = f"{OUR_PREFIX}rounding/{len(places)}"
                places.append(_Place(node.name or name, node.op_type, name))
                node.output[index] = f"{measured}/exact"
                nodes += _rounding(measured, name, infinity)
                graph.output.append(onnx.ValueInfoProto(name=f"{measured}/largest"))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    return rounded, places


def _rounding(measured: str, name: str, infinity: str) -> list[onnx.NodeProto]:
    """From ``measured``/exact to the rounded ``name``, and ``measured``/largest beside it."""
    exact = f"{measured}/exact"
    return [
        helper.make_node("Cast", [exact], [f"{measured}/half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [f"{measured}/half"], [name], to=TensorProto.FLOAT),
        helper.make_node("Abs", [exact], [f"{measured}/abs"]),
        # ONNX Runtime's ReduceMax overlooks a NaN that does not come first.
        helper.make_node("IsNaN", [exact], [f"{measured}/nan"]),
        helper.make_node(
            "Where", [f"{measured}/nan", infinity, f"{measured}/abs"], [f"{measured}/shown"]
        ),
        helper.make_node("ReduceMax", [f"{measured}/shown"], [f"{measured}/largest"], keepdims=0),
    ]


def _widen_attributes(node: onnx.NodeProto) -> None:
    """Let a node make float32 where an attribute of it says float16; in place."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
        if attribute.HasField("t"):
            attribute.t.CopyFrom(_widened(attribute.t))


def _widened(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type != TensorProto.FLOAT16:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
