"""Engines that the gate compares: the reference, and what can be judged without a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from convert.cache import prepared_path
from convert.half_reference import HalfReference
from convert.precision import graph_for
from edge.compose import open_engines
from edge.engine_card import Part
from edge.engines.base import Engine, EngineIdentity
from edge.engines.onnx import OnnxEngine
from edge.engines.prepared import INPUT_NAME, OUTPUT_RANKS
from models.manifest import Model, Pack

DESK_BACKENDS = ("onnx", "openvino", "float16")
"""What can be judged without TensorRT: ONNX Runtime on the graph rewritten for CPUs, OpenVINO, and
the float16 graph with every tensor rounded."""


@contextmanager
def reference_engines(pack: Pack) -> Iterator[tuple[Engine, Engine]]:
    """Segmenter and classifier in ONNX Runtime, float32, on the graphs exactly as prepared."""
    with ExitStack() as stack:
        segmenter = stack.enter_context(_reference(pack.segmenter))
        classifier = stack.enter_context(_reference(pack.classifier))
        yield segmenter, classifier


@contextmanager
def desk_candidates(pack: Pack, backend: str) -> Iterator[dict[Part, Engine]]:
    """Both networks of a pack on one of :data:`DESK_BACKENDS`.

    Raises:
        RequestError: The backend is not installed.
        ModelRefusedError: A model cannot be prepared, converted or loaded.
    """
    if backend == "float16":
        yield {
            "segmenter": _float16(pack.segmenter),
            "classifier": _float16(pack.classifier),
        }
        return
    with open_engines(pack, backend) as (segmenter, classifier):
        yield {"segmenter": segmenter, "classifier": classifier}


class FunctionEngine:
    """A function as an :class:`edge.engines.base.Engine`.

    Args:
        function: From uint8 [N,H,W,3] to the prepared graph's output.
        identity: What it computes.
        size_wh: Width and height that it takes, in pixels.
        max_batch: Largest N that it takes.
        output_name: Name of what it gives.
    """

    def __init__(
        self,
        function: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
        identity: EngineIdentity,
        size_wh: tuple[int, int],
        max_batch: int,
        output_name: str,
    ) -> None:
        self._function, self._output_name = function, output_name
        self.identity, self.input_size_wh, self.max_batch = identity, size_wh, max_batch

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Call the function; errors are its own."""
        return {self._output_name: self._function(inputs[INPUT_NAME])}

    def close(self) -> None:
        """There is nothing to let go of."""

    def __enter__(self) -> FunctionEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def identity_of(model: Model, backend: str, precision: str) -> EngineIdentity:
    """What a Result would say of a model's engine."""
    manifest = model.manifest
    return EngineIdentity(manifest.name, manifest.version, backend, precision, manifest.onnx.sha256)


def _reference(model: Model) -> OnnxEngine:
    manifest = model.manifest
    return OnnxEngine(
        prepared_path(model), identity_of(model, "onnx", "fp32"), max_batch=manifest.max_batch
    )


def _float16(model: Model) -> FunctionEngine:
    graph = graph_for(model, onnx.load(prepared_path(model)), "fp16")
    batch = graph.graph.input[0].type.tensor_type.shape.dim[0]
    (name,) = (value.name for value in graph.graph.output if value.name in OUTPUT_RANKS)
    return FunctionEngine(
        HalfReference(graph),
        identity_of(model, "onnx", "fp16"),
        model.manifest.size_wh,
        1 if batch.HasField("dim_value") else model.manifest.max_batch,
        name,
    )
