"""The graph that a compiler takes, in the precision that was asked for."""

from __future__ import annotations

from typing import Literal

import onnx

from convert.half import to_half
from convert.network import subject
from models.errors import ModelRefusedError
from models.manifest import Model

Precision = Literal["fp32", "fp16"]


def graph_for(model: Model, prepared: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The prepared graph in a precision; all types are in the graph itself.

    Args:
        model: What was prepared.
        prepared: From :func:`convert.prepare.prepare_model`; left as it is.
        precision: ``fp32`` gives the graph as it was prepared (a network that was exported in
            float16 stays float16), ``fp16`` its network in float16.

    Raises:
        ModelRefusedError: The graph cannot be had in that precision; the message says why.
    """
    if precision == "fp32":
        return prepared
    try:
        return to_half(prepared)
    except ModelRefusedError as error:
        raise ModelRefusedError(
            f"{subject(model.manifest)}: {error.expected}",
            got=error.got,
            next_step=error.next_step,
        ) from error
