"""The two networks, and what their numbers must look like to be believed.

A blank or broken mask looks like healthy skin, so numbers that cannot be probabilities refuse the
model instead of becoming an answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import Engine
from edge.errors import ModelRefusedError
from models.manifest import Manifest

TOLERANCE = 1e-3
"""How far a probability may lie outside 0..1 by rounding (half precision), before clipping."""

SUM_TOLERANCE = 0.02
"""How far the classes' probabilities may add up to something else than 1."""

_NEXT = "use another pack, or check the model with: dermedge-convert check PACK"


class Segmenter:
    """Gives a probability for every cell of the network's grid.

    Args:
        engine: Runs the prepared segmentation graph; borrowed.
        manifest: What the network is.
    """

    def __init__(self, engine: Engine, manifest: Manifest) -> None:
        _check_size(engine, manifest)
        self._engine, self._manifest = engine, manifest

    def run(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of one fitted picture.

        Args:
            picture: HxWx3 uint8 in the network's input size.

        Returns:
            HxW float32, 0..1. It may be the engine's buffer: valid until its next call.

        Raises:
            ModelRefusedError: The graph failed, or its numbers are no probabilities.
        """
        outputs = self._engine.infer({"rgb": picture[np.newaxis]})
        width, height = self._manifest.size_wh
        shape = (1, height, width)
        return _checked(outputs, "probability", shape, self._manifest.name).reshape(height, width)


class Classifier:
    """Gives a probability for every class of each crop.

    Args:
        engine: Runs the prepared classification graph; borrowed.
        manifest: What the network is.
    """

    def __init__(self, engine: Engine, manifest: Manifest) -> None:
        _check_size(engine, manifest)
        self._engine, self._manifest = engine, manifest
        self._chunk = max(1, min(engine.max_batch, manifest.max_batch))

    def run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of a batch, at most ``max_batch`` (the engine's, the manifest's) at once.

        Args:
            crops: NxHxWx3 uint8 in the network's input size.

        Returns:
            NxC float32, 0..1, in the order of the manifest's labels; a new array.

        Raises:
            ModelRefusedError: The graph failed, or its numbers are no probabilities.
        """
        labels, name = self._manifest.output.labels, self._manifest.name
        result = np.empty((len(crops), len(labels)), np.float32)
        for start in range(0, len(crops), self._chunk):
            chunk = crops[start : start + self._chunk]
            outputs = self._engine.infer({"rgb": chunk})
            values = _checked(outputs, "probabilities", (len(chunk), len(labels)), name)
            result[start : start + len(chunk)] = values
        sums = result.sum(axis=1)
        if len(sums) and float(np.abs(sums - 1.0).max()) > SUM_TOLERANCE:
            worst = float(sums[np.abs(sums - 1.0).argmax()])
            raise ModelRefusedError(
                f"{name}: the classes' probabilities to add up to 1",
                got=f"{worst:.4g}",
                next_step=_NEXT,
            )
        return result


def _check_size(engine: Engine, manifest: Manifest) -> None:
    if engine.input_size_wh != manifest.size_wh:
        raise ModelRefusedError(
            f"{manifest.name}: an engine for pictures of {_size(manifest.size_wh)}",
            got=f"one for {_size(engine.input_size_wh)}",
            next_step="build or prepare the engine again from this pack",
        )


def _size(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"


def _checked(
    outputs: dict[str, NDArray[Any]], key: str, shape: tuple[int, ...], name: str
) -> NDArray[np.float32]:
    """One output, if it is float32 of that shape and all within 0..1 (clipped to it)."""
    values = outputs.get(key)
    if values is None or values.shape != shape or values.dtype != np.float32:
        found = "nothing" if values is None else f"{values.dtype} {values.shape}"
        raise ModelRefusedError(
            f"{name}: the output {key!r} as float32 {shape}", got=found, next_step=_NEXT
        )
    # A NaN anywhere makes both extremes NaN, which fails every comparison.
    low, high = float(values.min()), float(values.max())
    if not (low >= -TOLERANCE and high <= 1.0 + TOLERANCE):
        wrong = ~((values >= -TOLERANCE) & (values <= 1.0 + TOLERANCE))
        raise ModelRefusedError(
            f"{name}: every value of {key!r} between 0 and 1",
            got=f"{values[wrong].flat[0]} ({np.count_nonzero(wrong)} of {values.size} values)",
            next_step=_NEXT,
        )
    if low < 0.0 or high > 1.0:
        return np.asarray(np.clip(values, 0.0, 1.0), np.float32)
    return np.asarray(values, np.float32)
