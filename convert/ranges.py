"""How large the values of a tensor get, and where to cut them off for eight bits.

Two passes over the same pictures: the largest magnitude of each tensor, then a histogram of its
magnitudes up to there. The cut is a percentile, or the one that loses the least information: the
smallest Kullback-Leibler divergence between the magnitudes as they are and as 128 levels tell them
(S. Migacz, "8-bit Inference with TensorRT", GPU Technology Conference 2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from convert.prepare import INPUT_NAME
from convert.trial import CannotRunError, TrialSession
from models.errors import ModelRefusedError

Method = Literal["percentile", "entropy"]

PERCENTILE = 99.999
"""Share of the magnitudes, in percent, that is not cut off."""

_BINS = 2048
_LEVELS = 128
"""Magnitudes that INT8 tells apart."""


class RangeCollector:
    """Runs a prepared graph on pictures and watches some of its tensors.

    Args:
        prepared: A float32 graph from :func:`convert.prepare.prepare_model`.
        tensors: Names of the float32 tensors to watch.

    Raises:
        ModelRefusedError: ONNX Runtime cannot run the graph.
    """

    def __init__(self, prepared: onnx.ModelProto, tensors: Sequence[str]) -> None:
        self._tensors = list(tensors)
        watched = onnx.ModelProto()
        watched.CopyFrom(prepared)
        del watched.graph.output[:]
        # ONNX Runtime infers the types; a value without one is allowed only here, not in a file.
        watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._tensors)
        try:
            # As written: an optimised graph no longer has all of these tensors.
            self._session = TrialSession(watched, as_written=True)
        except CannotRunError as error:
            raise _cannot_run(error) from error
        self._largest = np.zeros(len(self._tensors))
        self._counts = np.zeros((len(self._tensors), _BINS), np.int64)

    def measure(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """First pass: the largest magnitudes.

        Args:
            pictures: uint8 [H,W,3] in the network's input size, one at a time.

        Raises:
            ModelRefusedError: The graph fails, or gives values that are no numbers.
        """
        for picture in pictures:
            for index, values in enumerate(self._run(picture)):
                largest = float(np.abs(values).max(initial=0.0))
                if not np.isfinite(largest):
                    raise ModelRefusedError(
                        "finite numbers inside the network, to calibrate it",
                        got=f"{largest} in the tensor {self._tensors[index]!r}",
                        next_step="check the network itself: dermedge-convert check PACK",
                    )
                self._largest[index] = max(self._largest[index], largest)

    def count(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Second pass, over the same pictures: how often each magnitude comes."""
        for picture in pictures:
            for index, values in enumerate(self._run(picture)):
                if self._largest[index] == 0.0:
                    continue
                bins = np.abs(values).ravel() * np.float32(_BINS / self._largest[index])
                places = np.minimum(bins.astype(np.int64), _BINS - 1)
                self._counts[index] += np.bincount(places, minlength=_BINS)

    def ranges(self, method: Method) -> dict[str, float]:
        """Where each tensor is cut off; 0 for one that held nothing but zeros."""
        cut = percentile_cut if method == "percentile" else entropy_cut
        return {
            name: 0.0 if largest == 0.0 else largest * cut(counts)
            for name, largest, counts in zip(
                self._tensors, self._largest.tolist(), self._counts, strict=True
            )
        }

    def _run(self, picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        try:
            return self._session.run({INPUT_NAME: picture[np.newaxis]})
        except CannotRunError as error:
            raise _cannot_run(error) from error


def percentile_cut(counts: NDArray[np.int64], percentile: float = PERCENTILE) -> float:
    """The share of the histogram's span below which that percentage of all values lies."""
    reached = np.cumsum(counts) >= percentile / 100.0 * counts.sum()
    return (int(reached.argmax()) + 1) / len(counts)


def entropy_cut(counts: NDArray[np.int64]) -> float:
    """The share of the histogram's span that 128 levels tell with the least loss."""
    # Zeros are told exactly, whatever the cut; counted, they would hide everything else.
    seen = counts.astype(np.float64)
    seen[0] = 0.0
    if not seen.any():
        return 1.0
    losses = {stop: _divergence(seen, stop) for stop in range(_LEVELS, len(counts) + 1, 8)}
    return min(losses, key=lambda stop: (losses[stop], -stop)) / len(counts)


def _divergence(counts: NDArray[np.float64], stop: int) -> float:
    """Kullback-Leibler divergence of the first ``stop`` bins, told in 128 levels."""
    reference = counts[:stop].copy()
    edges = np.linspace(0, stop, _LEVELS + 1).astype(np.intp)
    sums = np.add.reduceat(reference, edges[:-1])
    filled = np.add.reduceat((reference > 0).astype(np.float64), edges[:-1])
    spread = np.divide(sums, filled, out=np.zeros_like(sums), where=filled > 0)
    told = np.repeat(spread, np.diff(edges)) * (reference > 0)
    # What is cut off is told as the largest level.
    reference[-1] += counts[stop:].sum()
    p, q = reference / reference.sum(), told / max(told.sum(), 1.0)
    both = (p > 0) & (q > 0)
    lost = float(p[(p > 0) & (q == 0)].sum())
    return float(np.sum(p[both] * np.log(p[both] / q[both]))) + lost


def _cannot_run(error: CannotRunError) -> ModelRefusedError:
    return ModelRefusedError(
        "a prepared graph that ONNX Runtime can run",
        got=str(error),
        next_step="prepare it again: dermedge-convert prepare PACK",
    )
