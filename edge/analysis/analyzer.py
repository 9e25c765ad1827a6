"""One frame in, one Result out: resize, segment, regions, crop, classify, colour."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.analysis.classify import verdict
from edge.analysis.colour import colour_lock, measure_colour
from edge.analysis.crops import CropBatch, padded_box
from edge.analysis.light import LightMeter, LinearFrame, Overview, is_grey, overview
from edge.analysis.networks import Classifier, Segmenter
from edge.analysis.quality import light_problem, measure_quality, size_problem
from edge.analysis.regions import RegionShape, find_regions
from edge.analysis.stamp import stamp_of
from edge.analysis.tone import measure_tone
from edge.engines.base import Engine, EngineFailedError
from edge.errors import ModelRefusedError
from edge.frame import Frame
from edge.pixel_pool import PixelPool
from edge.result import (
    NO_COLOUR,
    UNVALIDATED,
    Quality,
    Region,
    RegionColour,
    Result,
    SkinTone,
    Stage,
    Status,
    letters,
)
from models.manifest import Manifest, Pack, RegionRules
from models.resize import fit_image

SOFTWARE = f"dermedge {__version__}"


@dataclass(frozen=True)
class Analysis:
    """A Result and the mask that it describes.

    Attributes:
        result: Complete; belongs to the caller.
        mask: HxW uint8 in the frame's size, 255 at every pixel of a region, else 0; ``None`` where
            there is no answer. Not overwritten while anybody refers to it.
        probabilities: RxC float32, all class probabilities of the first R regions, those that are
            classified, in the order of the labels; ``None`` where there is no answer.
    """

    result: Result
    mask: NDArray[np.uint8] | None
    probabilities: NDArray[np.float32] | None = None


@dataclass
class _Findings:
    """What is known so far about the frame being analysed."""

    frame: Frame
    timings_ms: dict[Stage, float]
    quality: Quality
    started: float
    grey: bool = False

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Account the wall time of a block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - start) * 1e3
            self.timings_ms[stage] = self.timings_ms.get(stage, 0.0) + spent


class Analyzer:
    """Runs a pack's two networks on frames and measures what they find.

    One call at a time: the input picture, the crops and the reduced frame live in buffers that
    every call reuses. It reads a frame's pixels during the call only. The engines
    stay the caller's, who closes them after the last call.

    Args:
        segmenter: Engine of the pack's segmenter.
        classifier: Engine of the pack's classifier.
        pack: Manifests that say how to feed the engines and read them.

    Raises:
        ModelRefusedError: An engine's input is not of the size that its manifest says, or the
            segmenter's manifest is not one of a segmentation model.
    """

    def __init__(self, segmenter: Engine, classifier: Engine, pack: Pack) -> None:
        self._segmenter_manifest = pack.segmenter.manifest
        self._classifier_manifest = pack.classifier.manifest
        self._threshold, self._rules = _mask_rules(self._segmenter_manifest)
        self._segmenter = Segmenter(segmenter, self._segmenter_manifest)
        self._classifier = Classifier(classifier, self._classifier_manifest)
        self._engines = {"segmenter": segmenter.identity, "classifier": classifier.identity}
        width, height = self._segmenter_manifest.size_wh
        self._picture = np.empty((height, width, 3), np.uint8)
        self._crops = CropBatch(self._classifier_manifest)
        self._meter = LightMeter()
        self._masks = PixelPool()
        self._mask = np.empty((0, 0), np.uint8)

    @property
    def backend(self) -> str:
        """What computes: ``tensorrt``, ``onnx``, ``openvino``."""
        return self._engines["segmenter"].backend

    def analyze(self, frame: Frame) -> Analysis:
        """Everything about one frame.

        A picture that cannot be judged, a model whose numbers cannot be probabilities and a frame
        too large for the memory become a Result with that status and its reason; nothing of that
        is raised.

        Raises:
            EngineFailedError: What computes has failed: no other picture would fare better.
        """
        found = _Findings(frame, {}, Quality(), time.perf_counter())
        try:
            return self._analyze(found)
        except EngineFailedError:
            raise
        except ModelRefusedError as error:
            return self._without_answer(found, "model_refused", str(error))
        except (MemoryError, cv2.error) as error:
            words = " ".join(str(error).split()) or "out of memory"
            return self._without_answer(found, "analysis_failed", words)

    def _analyze(self, found: _Findings) -> Analysis:
        frame = found.frame
        problem = size_problem(frame.size_wh)
        if problem:
            return self._without_answer(found, "poor_quality", problem)
        with found.timed(Stage.QUALITY):
            light = self._meter.reduce(frame.pixels)
            seen = overview(light)
            found.grey = is_grey(frame.pixels)
            found.quality = measure_quality(light, seen, grey=found.grey)
            problem = light_problem(seen)
        if problem:
            return self._without_answer(found, "poor_quality", problem)
        shapes = self._find(found)
        chosen = shapes[: self._rules.max_regions]
        probabilities = self._classify(found, chosen)
        with found.timed(Stage.COLOUR):
            colours, tone = self._measure(found, light, seen, shapes, len(chosen))
        with found.timed(Stage.REGIONS):
            regions = tuple(
                self._region(index, shape, frame, probabilities, colours)
                for index, shape in enumerate(shapes)
            )
        status: Status = "ok" if regions else "nothing_found"
        named = any(region.classes for region in regions)
        doubts = (UNVALIDATED,) if named and not self._classifier_manifest.validated else ()
        if found.grey:
            doubts = (*doubts, NO_COLOUR)
        result = self._result(found, status, doubts, regions, tone)
        return Analysis(result, self._mask, probabilities)

    def _find(self, found: _Findings) -> tuple[RegionShape, ...]:
        pixels = found.frame.pixels
        manifest = self._segmenter_manifest
        with found.timed(Stage.RESIZE):
            _, placement = fit_image(pixels, manifest.size_wh, manifest.resize, out=self._picture)
        with found.timed(Stage.SEGMENT):
            probability = self._segmenter.run(self._picture)
        with found.timed(Stage.REGIONS):
            self._mask = self._masks.take(pixels.shape[:2])
            return find_regions(probability, placement, self._threshold, self._rules, self._mask)

    def _classify(self, found: _Findings, chosen: Sequence[RegionShape]) -> NDArray[np.float32]:
        frame = found.frame
        with found.timed(Stage.CROP):
            padding = self._rules.padding_fraction
            boxes = [padded_box(shape.box_xyxy, frame.size_wh, padding) for shape in chosen]
            crops = self._crops.fit(frame.pixels, boxes)
        with found.timed(Stage.CLASSIFY):
            return self._classifier.run(crops)

    def _measure(
        self,
        found: _Findings,
        light: LinearFrame,
        seen: Overview,
        shapes: Sequence[RegionShape],
        count: int,
    ) -> tuple[Sequence[RegionColour | None], SkinTone | None]:
        """Colours of the first ``count`` regions, so that latency is bounded, and the tone."""
        if found.grey:
            return [None] * count, None
        locked = colour_lock(found.frame)
        colours = [measure_colour(light, shape, self._mask, locked) for shape in shapes[:count]]
        return colours, measure_tone(seen, shapes, self._mask)

    def _region(
        self,
        index: int,
        shape: RegionShape,
        frame: Frame,
        probabilities: NDArray[np.float32],
        colours: Sequence[RegionColour | None],
    ) -> Region:
        classified = index < len(probabilities)
        said = verdict(probabilities[index], self._classifier_manifest) if classified else None
        width, height = frame.size_wh
        return Region(
            letter=letters(index),
            track_id=None,
            box_xyxy=shape.box_xyxy,
            contours=shape.contours(),
            area_px=shape.area_px,
            area_fraction=shape.area_px / (width * height),
            score=min(1.0, shape.score),
            classified=classified,
            abstained=said.abstained if said else False,
            abstain_reason=said.abstain_reason if said else None,
            classes=said.classes if said else None,
            colour=colours[index] if classified else None,
        )

    def _without_answer(self, found: _Findings, status: Status, reason: str) -> Analysis:
        return Analysis(self._result(found, status, (reason,), None, None), None)

    def _result(
        self,
        found: _Findings,
        status: Status,
        reasons: tuple[str, ...],
        regions: tuple[Region, ...] | None,
        tone: SkinTone | None,
    ) -> Result:
        total = (time.perf_counter() - found.started) * 1e3
        return Result(
            software=SOFTWARE,
            status=status,
            reasons=(*reasons, *found.frame.notes),
            frame=stamp_of(found.frame),
            threshold=self._threshold,
            regions=regions,
            regions_not_classified=max(0, len(regions or ()) - self._rules.max_regions),
            skin_tone=tone,
            quality=found.quality,
            timings_ms={**found.timings_ms, Stage.TOTAL: total},
            engines=self._engines,
            label_text=self._classifier_manifest.label_text,
        )


def _mask_rules(segmenter: Manifest) -> tuple[float, RegionRules]:
    """The threshold that makes the mask, and what becomes a region; never guessed."""
    threshold, rules = segmenter.output.threshold, segmenter.regions
    if threshold is None or rules is None:
        raise ModelRefusedError(
            "a segmenter whose manifest has output.threshold and [regions]",
            got=f"{segmenter.name}, a {segmenter.task} model",
            next_step="name a segmentation model as the pack's segmenter",
        )
    return threshold, rules
