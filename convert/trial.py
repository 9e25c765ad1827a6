"""Trial runs: a graph is run once in ONNX Runtime before anybody relies on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from models.manifest import Manifest
from models.offline import onnx_runtime

Arrays = Mapping[str, NDArray[Any]]

_FATAL_ONLY = 4


class CannotRunError(Exception):
    """ONNX Runtime cannot run a graph as it is; the text is the runtime's first line."""


def run_graph(model: onnx.ModelProto, feeds: Arrays) -> list[NDArray[Any]]:
    """All outputs of a graph for one set of inputs, in the graph's order.

    Raises:
        CannotRunError: The graph does not load, or fails on these inputs.
    """
    return TrialSession(model).run(feeds)


class TrialSession:
    """An ONNX Runtime session that says nothing on stderr and whose failures are one class.

    Args:
        model: The graph.
        as_written: Run every node as it stands, without any graph optimisation.

    Raises:
        CannotRunError: The graph does not load.
    """

    def __init__(self, model: onnx.ModelProto, *, as_written: bool = False) -> None:
        onnxruntime = onnx_runtime()
        options = onnxruntime.SessionOptions()
        if as_written:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = _FATAL_ONLY
        # Threads that spin after a run would slow down whatever the caller does next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's exceptions have no common base class but Exception.
        except Exception as error:
            raise CannotRunError(_reason(error)) from error

    def run(self, feeds: Arrays) -> list[NDArray[Any]]:
        """All outputs, in the graph's order.

        Raises:
            CannotRunError: The graph fails on these inputs.
        """
        options = onnx_runtime().RunOptions()
        options.log_severity_level = _FATAL_ONLY
        try:
            outputs: list[NDArray[Any]] = self._session.run(None, dict(feeds), options)
        # As above.
        except Exception as error:
            raise CannotRunError(_reason(error)) from error
        return outputs


def network_feeds(manifest: Manifest) -> dict[str, NDArray[Any]]:
    """Random inputs for the network as exported, batch 1, in the range that pictures give it."""
    rng = np.random.default_rng(0)
    feeds = {}
    for tensor in manifest.inputs:
        width, height = tensor.size_wh
        picture = rng.integers(0, 256, (1, height, width, tensor.channels))
        values = (picture * tensor.scale - np.mean(tensor.mean)) / np.mean(tensor.std)
        if tensor.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        feeds[tensor.name] = np.ascontiguousarray(values).astype(tensor.dtype)
    return feeds


def trial_pictures(size_wh: tuple[int, int], count: int) -> NDArray[np.uint8]:
    """Pictures that differ from each other in colour and in shape, so that a mix-up shows.

    Returns:
        uint8 RGB, shape (count, H, W, 3); deterministic.
    """
    width, height = size_wh
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    pictures = np.empty((count, height, width, 3), np.uint8)
    for picture in pictures:
        skin, patch = rng.integers(90, 240, 3), rng.integers(0, 256, 3)
        centre, radius = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.35)
        inside = np.hypot(y / height - centre[0], x / width - centre[1]) < radius
        noisy = np.where(inside[..., np.newaxis], patch, skin) + rng.normal(0, 8, picture.shape)
        picture[:] = np.clip(noisy, 0, 255)
    return pictures


def same_numbers(
    expected: NDArray[Any], found: NDArray[Any], *, relative: float | None = None
) -> bool:
    """Whether two results differ by no more than rounding does.

    Args:
        expected: Of any shape.
        found: Compared with ``expected``; shape and dtype must be equal too.
        relative: Allowed difference over the largest magnitude; by default 1e-4 (kernels for
            another batch add up in another order), or 2e-3 where the numbers are float16.
    """
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return False
    if relative is None:
        relative = 2e-3 if expected.dtype == np.float16 else 1e-4
    wanted, got = expected.astype(np.float64), found.astype(np.float64)
    if not np.array_equal(np.isfinite(wanted), np.isfinite(got)):
        return False
    finite = np.isfinite(wanted)
    if not finite.any():
        return True
    difference = np.abs(wanted - got)[finite].max()
    return bool(difference <= relative * np.abs(wanted[finite]).max())


def _reason(error: Exception) -> str:
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split()))
    return text if len(text) <= 160 else text[:157] + "..."
