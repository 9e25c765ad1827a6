"""What one frame costs outside the two networks: ``python -m benchmarks.pipeline [--check]``.

Frames of the phantom camera at 1280x720 with one and with three regions, one core for everything
but the networks' own sessions, which run as the product sets them up. The sessions are run on
every frame, but the regions are those of the phantom's truth, so that their number does not depend
on the pack. Printed per stage: median and 95th percentile of wall time. CPU time of the analysing
thread outside the sessions stands beside the total: on a busy machine only that one holds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.analyzer import Analyzer
from edge.compose import open_engines
from edge.engines.base import Engine, EngineIdentity
from edge.errors import ManifestError
from edge.frame import Frame
from edge.overlay.overlay import Overlay
from edge.result import Stage
from edge.view import frame_age_ms
from models.manifest import Manifest, Pack, find_pack
from models.phantom import PhantomCamera
from models.resize import fit_image

SIZE_WH = (1280, 720)
LIMITS_MS = {1: 8.0, 3: 12.0}
"""Largest median outside the sessions, by number of regions."""

_FRAMES = 24
_OUTSIDE = (
    Stage.QUALITY,
    Stage.RESIZE,
    Stage.REGIONS,
    Stage.CROP,
    Stage.COLOUR,
    Stage.DRAW,
)
_SESSIONS = (Stage.SEGMENT, Stage.CLASSIFY)


class TimedEngine:
    """Runs the real session and counts its time; may then answer with a planted map instead."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.planted: NDArray[np.float32] | None = None
        self.wall_ms = self.cpu_ms = 0.0

    @property
    def identity(self) -> EngineIdentity:
        return self._engine.identity

    @property
    def input_size_wh(self) -> tuple[int, int]:
        return self._engine.input_size_wh

    @property
    def max_batch(self) -> int:
        return self._engine.max_batch

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        wall, cpu = time.perf_counter(), time.thread_time()
        outputs = self._engine.infer(inputs)
        self.wall_ms += (time.perf_counter() - wall) * 1e3
        self.cpu_ms += (time.thread_time() - cpu) * 1e3
        return outputs if self.planted is None else {"probability": self.planted}

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> TimedEngine:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Scene:
    """One frame and the map that the segmenter is made to answer."""

    frame: Frame
    probability: NDArray[np.float32]


@dataclass
class Times:
    """Milliseconds of every repetition."""

    stages: dict[Stage, list[float]] = field(default_factory=dict)
    outside: list[float] = field(default_factory=list)
    outside_cpu: list[float] = field(default_factory=list)
    sessions: list[float] = field(default_factory=list)
    area_fractions: list[float] = field(default_factory=list)


def scenes(camera: PhantomCamera, regions: int, segmenter: Manifest) -> list[Scene]:
    """Frames that show at least so many lesions, with the probabilities of the largest ones."""
    made: list[Scene] = []
    for index in range(0, 40 * _FRAMES, 8):
        shot = camera.frame(index)
        sizes = np.bincount(shot.labels.ravel())[1:]
        largest = np.argsort(-sizes)[:regions] + 1
        if len(largest) < regions or sizes[largest[-1] - 1] < 0.005 * shot.labels.size:
            continue
        drawn = np.isin(shot.labels, largest).astype(np.uint8)[..., np.newaxis] * np.uint8(255)
        fitted, _ = fit_image(drawn, segmenter.size_wh, segmenter.resize)
        smooth = cv2.GaussianBlur(fitted, (5, 5), 0).reshape(1, *fitted.shape[:2])
        frame = Frame(shot.pixels, index, "synthetic:bench", 1, "monotonic", "synthetic")
        made.append(Scene(frame, smooth.astype(np.float32) / np.float32(255.0)))
        if len(made) == _FRAMES:
            return made
    sys.exit(f"benchmarks.pipeline: the phantom camera shows too few frames with {regions} lesions")


def measure(pack: Pack, regions: int, rounds: int) -> Times:
    """Analyse and draw every frame ``rounds`` times."""
    camera = PhantomCamera(7, SIZE_WH, lesion_count=6)
    prepared = scenes(camera, regions, pack.segmenter.manifest)
    times = Times()
    with open_engines(pack) as (segmenter, classifier):
        timed = TimedEngine(segmenter), TimedEngine(classifier)
        analyzer, overlay = Analyzer(*timed, pack), Overlay()
        for repetition in range(-1, rounds):
            for scene in prepared:
                _one(
                    scene, analyzer, overlay, timed, times if repetition >= 0 else Times(), regions
                )
    return times


def _one(
    scene: Scene,
    analyzer: Analyzer,
    overlay: Overlay,
    engines: Sequence[TimedEngine],
    times: Times,
    regions: int,
) -> None:
    engines[0].planted = scene.probability
    for engine in engines:
        engine.wall_ms = engine.cpu_ms = 0.0
    cpu, start = time.thread_time(), time.perf_counter()
    result = analyzer.analyze(scene.frame).result
    drawing = time.perf_counter()
    age_ms = frame_age_ms(scene.frame, time.monotonic_ns())
    overlay.draw(scene.frame.pixels, result, age_ms=age_ms, view="paired")
    end = time.perf_counter()
    found = result.regions or ()
    if len(found) != regions:
        sys.exit(f"benchmarks.pipeline: {regions} regions were planted, {len(found)} found")
    sessions = sum(engine.wall_ms for engine in engines)
    times.sessions.append(sessions)
    times.outside.append((end - start) * 1e3 - sessions)
    session_cpu = sum(engine.cpu_ms for engine in engines)
    times.outside_cpu.append((time.thread_time() - cpu) * 1e3 - session_cpu)
    stages = {**result.timings_ms, Stage.DRAW: (end - drawing) * 1e3}
    for stage, spent in stages.items():
        times.stages.setdefault(stage, []).append(spent)
    times.area_fractions.extend(region.area_fraction for region in found)


def report(pack: Pack, by_regions: Mapping[int, Times]) -> bool:
    """Print the table; false where a limit is passed."""
    print(f"{SIZE_WH[0]}x{SIZE_WH[1]}, pack {pack.name}, OpenCV on one core; median (95 %) in ms")
    print(f"{'stage':<22}" + "".join(f"{_count(count):>20}" for count in by_regions))
    for stage in (*_OUTSIDE, *_SESSIONS):
        cells = (_cell(times.stages[stage]) for times in by_regions.values())
        note = " (session)" if stage in _SESSIONS else ""
        print(f"{stage.value + note:<22}" + "".join(f"{cell:>20}" for cell in cells))
    rows = {
        "outside the sessions": [_cell(times.outside) for times in by_regions.values()],
        "  CPU time of it": [_cell(times.outside_cpu) for times in by_regions.values()],
        "share of the sessions": [
            f"{median(times.outside) / median(times.sessions):.0%}" for times in by_regions.values()
        ],
        "region, of the frame": [
            f"{min(times.area_fractions):.1%} to {max(times.area_fractions):.1%}"
            for times in by_regions.values()
        ],
        "limit of the median": [f"{LIMITS_MS[count]:.0f}" for count in by_regions],
    }
    for name, row in rows.items():
        print(f"{name:<22}" + "".join(f"{cell:>20}" for cell in row))
    return all(median(times.outside) <= LIMITS_MS[count] for count, times in by_regions.items())


def _count(regions: int) -> str:
    return f"{regions} region" + ("s" if regions > 1 else "")


def _cell(values: list[float]) -> str:
    return f"{median(values):.2f} ({quantiles(values, n=20)[-1]:.2f})"


def main() -> None:
    """Measure, print, and with ``--check`` exit 1 above a limit."""
    parser = argparse.ArgumentParser(prog="benchmarks.pipeline", description=__doc__)
    parser.add_argument("--pack", default="reference", help="released pack or folder of a pack")
    parser.add_argument("--rounds", type=int, default=8, help="repetitions of every frame")
    parser.add_argument("--check", action="store_true", help="exit 1 above a limit")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        pack = find_pack(options.pack)
    except ManifestError as error:
        sys.exit(f"benchmarks.pipeline: {error}")
    within = report(pack, {n: measure(pack, n, options.rounds) for n in LIMITS_MS})
    if not within:
        print("above the limit" if options.check else "above the limit (not checked)")
        sys.exit(1 if options.check else 0)


if __name__ == "__main__":
    main()
