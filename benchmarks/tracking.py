"""How still regions keep, with known truth: ``python -m benchmarks.tracking [--seeds N ...]``.

    python -m benchmarks.tracking [--pack reference] [--seconds S] [--rate R]

Streams of the phantom camera at 1280x720, analyzed by the pack R times a second; every region is
told by the drawn lesion that it covers most of. Counted per minute of stream, without and with
tracking:

switches   a letter that stood for one lesion stands for another
letters    a lesion's letter changes
flips      the class named for a lesion changes to another class
doubts     a lesion changes between named and "uncertain"
flicker    a lesion that stays in sight is found and lost, or lost and found

The streams: calm (as the camera moves), shaky (a hand that trembles by 1 % of the width), jumpy
(every third second half of the frames are lost), turning (a hand that turns by 12 degrees to either
side in 5 s and goes 12 % nearer and away in 4 s), gone (the camera looks away for two seconds). In
the last one, cuts, every two seconds another stream begins from one analysis to the next; what
counts there is how often a lesion of other skin is taken for one of the skin before.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.analyzer import Analysis, Analyzer
from edge.compose import open_engines
from edge.frame import Frame
from edge.result import Region
from edge.tracking.tracker import Tracker
from models.manifest import Manifest, find_pack
from models.phantom import PhantomCamera

SIZE_WH, FPS = (1280, 720), 30.0
KINDS = ("calm", "shaky", "jumpy", "turning", "gone")
CUT_S = 2.0
MEASURES = ("switches", "letters", "flips", "doubts", "flicker")

COVER_MIN = 0.3
"""Share of a region that must lie on one lesion."""

IN_SIGHT_PX = 2500
"""Pixels of a lesion that count as in sight; fewer at the picture's edge are anybody's guess."""


def frames(
    seed: int, kind: str, seconds: float, rate: float
) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """Frames with the numbers of their lesions."""
    camera = PhantomCamera(seed, SIZE_WH, FPS)
    rng = np.random.default_rng(seed)
    step = round(FPS / rate)
    for index in range(0, round(seconds * FPS), step):
        if kind == "jumpy" and int(index / FPS) % 3 == 2 and rng.random() < 0.5:
            continue
        shot = camera.frame(index)
        pixels, labels = shot.pixels, shot.labels
        if kind == "shaky":
            dx, dy = rng.normal(0.0, 0.01 * SIZE_WH[0], 2)
            pixels, labels = _both_moved(pixels, labels, np.array([[1, 0, dx], [0, 1, dy]]))
        if kind == "turning":
            pixels, labels = _both_moved(pixels, labels, _turned(index / FPS))
        if kind == "gone" and 6.0 <= (index / FPS) % 12.0 < 8.0:
            pixels = np.ascontiguousarray(np.roll(pixels[:, ::-1] // 2 + 60, 400, axis=1))
            labels = np.zeros_like(labels)
        yield (
            Frame(
                pixels, index, f"phantom:{seed}", round(index * 1e9 / FPS), "monotonic", "synthetic"
            ),
            labels,
        )


def _turned(seconds: float) -> NDArray[np.float64]:
    angle_deg = 12.0 * np.sin(2.0 * np.pi * seconds / 5.0)
    zoom = 1.12 + 0.12 * np.sin(2.0 * np.pi * seconds / 4.0)
    matrix = cv2.getRotationMatrix2D((SIZE_WH[0] / 2, SIZE_WH[1] / 2), angle_deg, zoom)
    return np.asarray(matrix, np.float64)


def _both_moved(
    pixels: NDArray[np.uint8], labels: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    border, matrix = cv2.BORDER_REFLECT_101, matrix.astype(np.float64)
    moved = cv2.warpAffine(pixels, matrix, SIZE_WH, borderMode=border)
    flags = cv2.INTER_NEAREST
    truth = cv2.warpAffine(labels, matrix, SIZE_WH, flags=flags, borderMode=border)
    return np.asarray(moved, np.uint8), np.asarray(truth, np.uint8)


class Truth:
    """Follows drawn lesions through Results and counts what changes."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._letter_of: dict[int, str] = {}
        self._lesion_of: dict[str, int] = {}
        self._named: dict[int, str] = {}
        self._uncertain: dict[int, bool] = {}
        self._found: dict[int, bool] = {}

    def look(self, regions: tuple[Region, ...], labels: NDArray[np.uint8]) -> None:
        """Account for one analyzed frame."""
        seen: dict[int, Region] = {}
        for region in sorted(regions, key=lambda region: region.area_px):
            lesion = _lesion_under(region, labels)
            if lesion:
                seen[lesion] = region  # the largest of several
        for lesion, region in seen.items():
            self._letter(lesion, region.letter)
            if region.classified and region.classes:
                self._class(lesion, region)
        sizes = np.bincount(labels.ravel(), minlength=1)
        for lesion in range(1, len(sizes)):
            if sizes[lesion] < IN_SIGHT_PX:
                self._found.pop(lesion, None)
                continue
            before = self._found.get(lesion)
            self._found[lesion] = lesion in seen
            self.counts["flicker"] += before is not None and before != (lesion in seen)

    def _letter(self, lesion: int, letter: str) -> None:
        self.counts["letters"] += self._letter_of.get(lesion, letter) != letter
        self.counts["switches"] += self._lesion_of.get(letter, lesion) != lesion
        self._letter_of[lesion], self._lesion_of[letter] = letter, lesion

    def _class(self, lesion: int, region: Region) -> None:
        assert region.classes
        self.counts["doubts"] += self._uncertain.get(lesion, region.abstained) != region.abstained
        self._uncertain[lesion] = region.abstained
        if not region.abstained:
            label = region.classes[0].label
            self.counts["flips"] += self._named.get(lesion, label) != label
            self._named[lesion] = label


def _lesion_under(region: Region, labels: NDArray[np.uint8]) -> int:
    x0, y0, x1, y1 = region.box_xyxy
    inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
    outlines = [np.array(contour.points, np.int32) for contour in region.contours]
    cv2.drawContours(inside, outlines, -1, 1, cv2.FILLED, offset=(-x0, -y0))
    counts = np.bincount(labels[y0:y1, x0:x1][inside > 0], minlength=1)
    if len(counts) < 2 or counts[1:].max() < COVER_MIN * max(1, region.area_px):
        return 0
    return int(counts[1:].argmax()) + 1


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="reference")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9, 10])
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--rate", type=float, default=10.0)
    arguments = parser.parse_args()
    pack = find_pack(arguments.pack)
    spent_ms: list[float] = []
    print(
        f"{len(arguments.seeds)} phantom streams of {arguments.seconds:g} s for each kind, "
        f"{arguments.rate:g} analyses per second, pack {pack.name}; events per minute, "
        "without -> with tracking"
    )
    print(f"{'':<8}" + "".join(f"{name:>17}" for name in MEASURES))
    with open_engines(pack) as engines:
        analyzer = Analyzer(*engines, pack)
        for kind in KINDS:
            plain, followed = Counter[str](), Counter[str]()
            for seed in arguments.seeds:
                tracker = Tracker(pack.classifier.manifest)
                before, after = Truth(), Truth()
                for frame, labels in frames(seed, kind, arguments.seconds, arguments.rate):
                    analysis = analyzer.analyze(frame)
                    before.look(analysis.result.regions or (), labels)
                    began = time.perf_counter()
                    steady = _follow(tracker, frame, analysis)
                    spent_ms.append((time.perf_counter() - began) * 1e3)
                    after.look(steady.result.regions or (), labels)
                plain += before.counts
                followed += after.counts
            minutes = len(arguments.seeds) * arguments.seconds / 60.0
            cells = (
                f"{plain[name] / minutes:>8.1f} -> {followed[name] / minutes:<5.1f}"
                for name in MEASURES
            )
            print(f"{kind:<8}" + "".join(cells), flush=True)
        cuts, mistaken = _mistaken_at_cuts(analyzer, pack.classifier.manifest, arguments)
    print(
        f"cuts: {cuts}, with regions on both sides; a track went over to other skin in {mistaken}"
    )
    print(
        f"tracking takes {np.median(spent_ms):.2f} ms per analysis (median; 95 %: "
        f"{np.percentile(spent_ms, 95):.2f} ms)"
    )
    return 0


def _mistaken_at_cuts(
    analyzer: Analyzer, classifier: Manifest, arguments: argparse.Namespace
) -> tuple[int, int]:
    """Cuts between the calm streams, and those at which a track id is on both sides."""
    streams = [frames(s, "calm", arguments.seconds, arguments.rate) for s in arguments.seeds]
    tracker, cuts, mistaken, number = Tracker(classifier), 0, 0, 0
    ids: set[int | None] = set()
    for _ in range(int(arguments.seconds / CUT_S)):
        for stream in streams:
            for piece in range(round(CUT_S * arguments.rate)):
                frame, _ = next(stream)
                at_ns = round(number * 1e9 / arguments.rate)
                frame = replace(frame, source="phantom:cuts", frame_id=number, captured_ns=at_ns)
                regions = _follow(tracker, frame, analyzer.analyze(frame)).result.regions or ()
                before, ids = ids, {region.track_id for region in regions}
                if piece == 0 and before and ids:
                    cuts += 1
                    mistaken += bool(before & ids)
                number += 1
    return cuts, mistaken


def _follow(tracker: Tracker, frame: Frame, analysis: Analysis) -> Analysis:
    mask = None if analysis.mask is None else analysis.mask.copy()
    return tracker.follow(frame, replace(analysis, mask=mask))


if __name__ == "__main__":
    sys.exit(main())
