"""What every engine asks of a prepared graph, and of the pixels that are put into it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelRefusedError

INPUT_NAME = "rgb"
OUTPUT_RANKS = {"probability": 3, "probabilities": 2}
"""The two outputs that a prepared graph may have: [N,H,W] of a segmenter, [N,C] of a classifier."""

_MAX_THREADS = 4
_PREPARE_AGAIN = "prepare the pack again: dermedge-convert prepare PACK"


@dataclass(frozen=True)
class TensorFacts:
    """One input or output as a runtime reports it.

    Attributes:
        name: As in the graph.
        dtype: numpy's name of the element type, or the runtime's own where numpy has none.
        shape: One entry per axis; ``None`` where the axis is dynamic.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        axes = ",".join("N" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype} [{axes}]"


@dataclass(frozen=True)
class PreparedInterface:
    """The checked interface of a prepared graph.

    Attributes:
        model: Name of the model, for messages.
        size_wh: Width and height of the input in pixels.
        max_batch: Largest N that one run takes.
        output_name: Name of the only output.
    """

    model: str
    size_wh: tuple[int, int]
    max_batch: int
    output_name: str

    def pixels(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
        """The array for ``rgb``, C-contiguous.

        Raises:
            ModelRefusedError: There is another input, shape or dtype than the graph's.
        """
        if set(inputs) != {INPUT_NAME}:
            raise self._wrong_input(f"inputs named {sorted(inputs)}")
        pixels = inputs[INPUT_NAME]
        shape = (*self.size_wh[::-1], 3)
        fits = pixels.ndim == 4 and pixels.shape[1:] == shape
        if pixels.dtype != np.uint8 or not fits or not 1 <= len(pixels) <= self.max_batch:
            raise self._wrong_input(f"{pixels.dtype} {list(pixels.shape)}")
        return np.ascontiguousarray(pixels)

    def _wrong_input(self, got: str) -> ModelRefusedError:
        width, height = self.size_wh
        return ModelRefusedError(
            f"{self.model}: one input {INPUT_NAME!r}, uint8 [1 to {self.max_batch},"
            f"{height},{width},3]",
            got=got,
            next_step="this is a fault of the program: please report it with this line",
        )


def prepared_interface(
    model: str,
    inputs: Sequence[TensorFacts],
    outputs: Sequence[TensorFacts],
    *,
    max_batch: int,
) -> PreparedInterface:
    """Check that a graph is a prepared one.

    Args:
        model: Name of the model, for messages.
        inputs: All inputs of the graph.
        outputs: All outputs of the graph.
        max_batch: Largest batch that the caller wants; 1 where the graph's batch is fixed at 1.

    Raises:
        ModelRefusedError: The graph is not what ``convert.prepare`` writes.
    """
    if not (_is_picture(inputs) and _is_probability(outputs)):
        raise ModelRefusedError(
            f"{model}: a prepared graph, rgb uint8 [N,H,W,3] to probability float32 [N,H,W] or "
            "probabilities float32 [N,C]",
            got=f"{', '.join(map(str, inputs))} to {', '.join(map(str, outputs))}",
            next_step=_PREPARE_AGAIN,
        )
    batch, height, width, _ = inputs[0].shape
    assert height is not None and width is not None  # _is_picture has seen to it
    return PreparedInterface(
        model=model,
        size_wh=(width, height),
        max_batch=max_batch if batch is None else 1,
        output_name=outputs[0].name,
    )


def cannot_load(model: str, reason: Exception) -> ModelRefusedError:
    """The error for a file that a runtime does not load."""
    return ModelRefusedError(
        f"{model}: a prepared graph that this machine can run",
        got=first_line(reason),
        next_step=_PREPARE_AGAIN,
    )


def cannot_run(model: str, reason: Exception) -> ModelRefusedError:
    """The error for a graph that loaded, but failed on a picture."""
    return ModelRefusedError(
        f"{model}: an answer from the network",
        got=first_line(reason),
        next_step=_PREPARE_AGAIN,
    )


def was_closed(model: str) -> ModelRefusedError:
    """The error for a run after :meth:`edge.engines.base.Engine.close`."""
    return ModelRefusedError(
        f"{model}: an open engine",
        got="one that was closed before",
        next_step="open it again",
    )


def first_line(error: Exception) -> str:
    """What a runtime says, cut to one line of at most 160 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def default_threads() -> int:
    """Cores that this process may use, at most four: the camera and the screen need some too."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, _MAX_THREADS)


def _is_picture(inputs: Sequence[TensorFacts]) -> bool:
    if len(inputs) != 1 or inputs[0].name != INPUT_NAME or inputs[0].dtype != "uint8":
        return False
    shape = inputs[0].shape
    sized = len(shape) == 4 and None not in shape[1:] and shape[3] == 3
    return sized and shape[0] in (None, 1)


def _is_probability(outputs: Sequence[TensorFacts]) -> bool:
    if len(outputs) != 1 or outputs[0].dtype != "float32":
        return False
    return OUTPUT_RANKS.get(outputs[0].name) == len(outputs[0].shape)
