"""The graph that a compiler takes, in the precision that was asked for."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from convert.half import to_half
from convert.network import subject
from convert.quantize import to_int8
from edge.engine_card import Precision
from models.errors import ModelRefusedError
from models.manifest import Model


def graph_for(
    model: Model,
    prepared: onnx.ModelProto,
    precision: Precision,
    ranges: Mapping[str, float] | None = None,
) -> onnx.ModelProto:
    """The prepared graph in a precision; all types are in the graph itself.

    Args:
        model: What was prepared.
        prepared: From :func:`convert.prepare.prepare_model`; left as it is.
        precision: ``fp32`` gives the graph as it was prepared (a network that was exported in
            float16 stays float16), ``fp16`` its network in float16, ``int8`` that with its
            products in INT8, except those in the manifest's ``[quantize]``.
        ranges: For ``int8``: what the calibration measured (``convert.calibrate``).

    Raises:
        ManifestError: ``[quantize]`` excludes a node that is none.
        ModelRefusedError: The graph cannot be had in that precision; the message says why.
    """
    if precision == "fp32":
        return prepared
    try:
        half = to_half(prepared)
        if precision == "fp16":
            return half
        return to_int8(half, _calibrated(ranges), model.manifest.quantize.exclude)
    except ModelRefusedError as error:
        # The same class: a manifest that is wrong is not a graph that is.
        raise type(error)(
            f"{subject(model.manifest)}: {error.expected}",
            got=error.got,
            next_step=error.next_step,
        ) from error


def _calibrated(ranges: Mapping[str, float] | None) -> Mapping[str, float]:
    if ranges is None:
        raise ModelRefusedError(
            "a calibration for INT8",
            got="none",
            next_step="give real pictures: --calibration FOLDER",
        )
    return ranges
