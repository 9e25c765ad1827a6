"""Engines that answer what a test plants, behind the real seam."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.analysis.analyzer import Analyzer
from edge.engines.base import EngineIdentity
from edge.errors import ModelRefusedError
from edge.frame import Frame
from models.manifest import load_pack
from packs_for_tests import write_pack


class PlantedEngine:
    """Answers every call with ``answer(rgb)`` under one output name and counts the batches."""

    def __init__(
        self,
        output: str,
        size: int,
        answer: Callable[[NDArray[np.uint8]], Any],
        max_batch: int = 1,
    ) -> None:
        self.identity = EngineIdentity(f"planted-{output}", "1.0", "onnx", "fp32", "0" * 64)
        self.input_size_wh = (size, size)
        self.max_batch = max_batch
        self.batches: list[NDArray[np.uint8]] = []
        self._output, self._answer = output, answer

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Like a session: refuses what the graph does not take."""
        rgb = inputs["rgb"]
        if rgb.dtype != np.uint8 or rgb.shape[1:] != (*self.input_size_wh[::-1], 3):
            raise ModelRefusedError("uint8 pictures", got=str(rgb.shape), next_step="fix the call")
        if len(rgb) > self.max_batch:
            raise ModelRefusedError("a smaller batch", got=str(len(rgb)), next_step="fix the call")
        self.batches.append(rgb.copy())
        return {self._output: self._answer(rgb)}

    def close(self) -> None:
        """Nothing to release."""

    def __enter__(self) -> PlantedEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def planted(tmp_path: Path) -> Callable[..., tuple[Analyzer, PlantedEngine, PlantedEngine]]:
    """Makes an analyzer whose segmenter answers a given map of 96x96 cells.

    ``segment`` is the map or a function of the batch; ``classify`` likewise. Further keywords
    change the pack's manifests, as in ``write_pack``.
    """

    def make(
        segment: Any, classify: Any = None, classifier_batch: int = 4, **changes: Any
    ) -> tuple[Analyzer, PlantedEngine, PlantedEngine]:
        pack = load_pack(write_pack(tmp_path / f"pack{len(list(tmp_path.iterdir()))}", **changes))
        size = pack.segmenter.manifest.size_wh[0]
        labels = len(pack.classifier.manifest.output.labels)

        def map_of(rgb: NDArray[np.uint8]) -> Any:
            return segment(rgb) if callable(segment) else np.asarray(segment, np.float32)[None]

        def classes_of(rgb: NDArray[np.uint8]) -> Any:
            if classify is None:
                return np.full((len(rgb), labels), 1.0 / labels, np.float32)
            return classify(rgb)

        segmenter = PlantedEngine("probability", size, map_of)
        classifier = PlantedEngine("probabilities", size, classes_of, classifier_batch)
        return Analyzer(segmenter, classifier, pack), segmenter, classifier

    return make


@pytest.fixture
def still() -> Callable[..., Frame]:
    """Makes a frame of a still picture."""

    def make(pixels: NDArray[np.uint8], **changes: Any) -> Frame:
        facts: dict[str, Any] = {
            "frame_id": 0,
            "source": "file:skin.png",
            "captured_ns": None,
            "captured_clock": None,
            "captured_by": "file",
        }
        return Frame(pixels=pixels, **{**facts, **changes})

    return make
