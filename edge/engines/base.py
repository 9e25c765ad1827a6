"""The seam to whatever runs a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from numpy.typing import NDArray

from edge.errors import ModelRefusedError


@dataclass(frozen=True)
class EngineIdentity:
    """Which network ran, and in what form; travels in every Result.

    Attributes:
        name: Model name from its manifest.
        version: Model version from its manifest.
        backend: ``onnx``, ``openvino`` or ``tensorrt``.
        precision: ``fp32``, ``fp16`` or ``int8``.
        model_sha256: Hash of the ONNX file that the manifest names.
        engine_sha256: Hash of the compiled engine, or ``None`` where nothing is compiled.
    """

    name: str
    version: str
    backend: str
    precision: str
    model_sha256: str
    engine_sha256: str | None = None


class EngineFailedError(ModelRefusedError):
    """What computes has failed in the middle of its work, whatever the model and the picture.

    After such an error of a GPU nothing works in its process any more: CUDA's documentation (error
    700 and its like) has the process ended and begun anew.
    """


class Engine(Protocol):
    """Runs one prepared graph. Knows nothing of masks or labels.

    A prepared graph has one input ``rgb``, uint8 NxHxWx3, and one output: ``probability``
    (segmentation, float32 NxHxW) or ``probabilities`` (classification, float32 NxC).
    """

    @property
    def identity(self) -> EngineIdentity:
        """Which network this is."""
        ...

    @property
    def input_size_wh(self) -> tuple[int, int]:
        """Width and height of the input, in pixels."""
        ...

    @property
    def max_batch(self) -> int:
        """Largest N that one call of :meth:`infer` takes."""
        ...

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the graph once.

        Args:
            inputs: One array per input name; shape and dtype as in the graph.

        Returns:
            One array per output name. The arrays may be reused by the next call: copy what
            must outlive it.

        Raises:
            ModelRefusedError: An input has the wrong name, shape or dtype, or the graph failed.
        """
        ...

    def close(self) -> None:
        """Release the session; calling it twice is harmless."""
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
