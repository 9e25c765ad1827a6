"""Writing nodes: what preparation adds to a network's graph, in the order in which it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from convert.network import OUR_PREFIX


class GraphWriter:
    """Collects nodes and constants; every name gets the prefix ``dermedge/``.

    Attributes:
        nodes: In running order.
        constants: The initializers that the nodes use; equal ones exist once.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._constant_names: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(
        self, op: str, inputs: list[str], name: str, *, output: str | None = None, **attributes: Any
    ) -> str:
        """Append one node and return the name of its only output.

        Args:
            op: Operator of the standard domain.
            inputs: Tensor names.
            name: What the node does; the prefix is added, and a number if the name is taken.
            output: Name of the output, if it must be a certain one.
            attributes: The operator's attributes.
        """
        taken = {node.name for node in self.nodes}
        full, count = OUR_PREFIX + name, 1
        while full in taken:
            count += 1
            full = f"{OUR_PREFIX}{name}_{count}"
        output = output or full
        self.nodes.append(helper.make_node(op, inputs, [output], name=full, **attributes))
        return output

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """Name of an initializer with this value."""
        value = np.array(value, order="C")  # ascontiguousarray would make a scalar a vector
        key = (str(value.dtype), value.shape, value.tobytes())
        if key not in self._constant_names:
            name = f"{OUR_PREFIX}constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(value, name))
            self._constant_names[key] = name
        return self._constant_names[key]
