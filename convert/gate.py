"""The gate: golden frames through an engine and through ONNX Runtime in float32, side by side.

A compiler picks kernels by their speed, and what it picked once may be wrong the next time
(NVIDIA/TensorRT#4798); a blank mask looks like healthy skin. So every engine is judged on the way
that pictures really take: fitted, segmented, cut into regions, cropped, classified. The limits come
from the manifest's ``[gate]``; what each one means is in docs/gate.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from convert.classifier_gate import ClassifierGate
from convert.golden import FrameHash, GoldenFrame
from convert.segmenter_gate import SegmenterGate, region_boxes, region_rules
from edge.analysis.crops import padded_box
from edge.analysis.networks import Segmenter
from edge.engine_card import GateVerdict, Part
from edge.engines.base import Engine
from models.manifest import Pack
from models.resize import fit_image


def run_gate(
    pack: Pack,
    candidates: Mapping[Part, Engine],
    references: tuple[Engine, Engine],
    frames: Iterable[GoldenFrame],
    on_frame: Callable[[], None] = lambda: None,
) -> dict[Part, GateVerdict]:
    """Judge engines of a pack.

    Args:
        pack: Manifests of both networks.
        candidates: The engine to be judged for one part or both.
        references: Segmenter and classifier in ONNX Runtime, float32.
        frames: Golden frames, at least 200, taken one at a time.
        on_frame: Called after each.

    Returns:
        A verdict for each candidate; it fails where there were too few frames.

    Raises:
        InputError: A frame cannot be read.
        ModelRefusedError: The reference itself gives no usable numbers.
    """
    segmenter_reference, classifier_reference = references
    gate = _Gate(pack, segmenter_reference)
    if "segmenter" in candidates:
        gate.segmenter = SegmenterGate(
            candidates["segmenter"], gate.reference, pack.segmenter.manifest
        )
    if "classifier" in candidates:
        gate.classifier = ClassifierGate(
            candidates["classifier"], classifier_reference, pack.classifier.manifest
        )
    for frame in frames:
        gate.add(frame)
        on_frame()
    return gate.verdicts()


class _Gate:
    """Takes each frame the way that pictures take, once for both judges."""

    def __init__(self, pack: Pack, reference: Engine) -> None:
        self._manifest = pack.segmenter.manifest
        self._rules = region_rules(self._manifest)
        self.reference = Segmenter(reference, self._manifest)
        self.segmenter: SegmenterGate | None = None
        self.classifier: ClassifierGate | None = None
        self._hash = FrameHash()
        self._frames = 0

    def add(self, frame: GoldenFrame) -> None:
        self._hash.add(frame)
        self._frames += 1
        picture, placement = fit_image(frame.pixels, self._manifest.size_wh, self._manifest.resize)
        started = time.perf_counter()
        expected = self.reference.run(picture).copy()
        spent_ms = (time.perf_counter() - started) * 1e3
        boxes = region_boxes(expected, placement, self._manifest)
        if self.segmenter is not None:
            self.segmenter.add(frame, picture, placement, expected, boxes, spent_ms)
        if self.classifier is not None:
            size_wh = (frame.pixels.shape[1], frame.pixels.shape[0])
            padding = self._rules.padding_fraction
            seen = [*boxes[: self._rules.max_regions], *frame.truth_boxes]
            padded = [padded_box(box, size_wh, padding) for box in seen]
            self.classifier.add(frame.pixels, padded)

    def verdicts(self) -> dict[Part, GateVerdict]:
        judged: dict[Part, GateVerdict] = {}
        judges: dict[Part, SegmenterGate | ClassifierGate | None] = {
            "segmenter": self.segmenter,
            "classifier": self.classifier,
        }
        for part, judge in judges.items():
            if judge is not None:
                judged[part] = judge.verdict(self._frames, self._hash.hexdigest())
        return judged
