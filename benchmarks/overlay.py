"""What drawing costs: ``python -m benchmarks.overlay``.

Prints the median, the fastest and the 95th percentile of one ``Overlay.draw`` on one core, for
steady pictures (the same labels every time) and for the stream's case: probabilities, times and
outlines change with every picture. The last column is the median in copies of the same frame,
taken in turn with the drawing: it holds on a busy machine, too. Times are CPU time of the thread.
With ``--check`` the exit code is 1 where 1280x720 with three regions takes longer than the limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median, quantiles

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.overlay.overlay import Overlay
from edge.result import (
    ClassProbability,
    Contour,
    FrameStamp,
    Quality,
    Region,
    RegionColour,
    Result,
    SkinTone,
    Stage,
    letters,
)

_LABELS = {
    "MEL": "Melanoma",
    "NEV": "멜라닌세포 모반",
    "SEK": "Seborrhoeic keratosis",
    "ACK": "एक्टिनिक केराटोसिस",
    "BCC": "Basal cell carcinoma",
}
_SKIN_RGB = (205, 160, 130)
_PICTURES = 200
_LIMIT_MS = 3.0


def main() -> int:
    """Measure and print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description="What drawing costs.")
    parser.add_argument("--check", action="store_true", help="exit 1 where the limit is exceeded")
    check = parser.parse_args().check
    cv2.setNumThreads(1)
    too_slow = False
    print("     frame regions   labels median ms fastest   95 % copies of the frame")
    for size_wh in ((800, 480), (1280, 720), (1280, 960), (3840, 2160)):
        for count in (1, 3, 8):
            for changing in (False, True):
                drawing, copying = measure(size_wh, count, changing)
                line = (
                    f"{size_wh[0]:>5}x{size_wh[1]:<4} {count:>7} "
                    f"{'changing' if changing else 'steady':>8} {median(drawing):>9.2f} "
                    f"{min(drawing):>7.2f} {quantiles(drawing, n=20)[-1]:>6.2f} "
                    f"{median(drawing) / median(copying):>10.1f}"
                )
                if size_wh == (1280, 720) and count == 3:
                    exceeded = median(drawing) > _LIMIT_MS
                    too_slow |= exceeded
                    line += f"   limit {_LIMIT_MS:.0f} ms{': exceeded' if exceeded else ''}"
                print(line)
    return 1 if check and too_slow else 0


def measure(
    size_wh: tuple[int, int], count: int, changing: bool
) -> tuple[list[float], list[float]]:
    """Milliseconds of each drawing and of each copy of the frame, taken in turn."""
    frame = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    frame[:] = _SKIN_RGB
    results = [_result(size_wh, count, seed) for seed in range(_PICTURES if changing else 1)]
    overlay = Overlay()
    for result in results[:20]:
        overlay.draw(frame, result, age_ms=40.0, view="paired")
    drawing, copying, copy = [], [], np.empty_like(frame)
    for index in range(_PICTURES):
        result = results[index % len(results)]
        started = time.thread_time()
        overlay.draw(frame, result, age_ms=40.0 + index % 7, view="paired")
        drawn = time.thread_time()
        np.copyto(copy, frame)
        copying.append(1000 * (time.thread_time() - drawn))
        drawing.append(1000 * (drawn - started))
    return drawing, copying


def _result(size_wh: tuple[int, int], count: int, seed: int) -> Result:
    rng = np.random.default_rng(seed)
    regions = tuple(_region(size_wh, index, count, rng) for index in range(count))
    stages = {stage: float(rng.uniform(0.1, 40.0)) for stage in list(Stage)[:8]}
    stamp = FrameStamp("synthetic:1", seed, size_wh, 1, "monotonic", "arrival", None, None, False)
    return Result(
        "dermedge",
        "ok",
        (),
        stamp,
        0.5,
        regions,
        0,
        SkinTone(30.0, "intermediate", 100000),
        Quality(),
        stages,
        {},
        _LABELS,
    )


def _region(size_wh: tuple[int, int], index: int, count: int, rng: np.random.Generator) -> Region:
    across = (index + 0.5) / count * size_wh[0] * 0.7
    centre = np.array([across + 20, size_wh[1] * (0.35 + 0.3 * (index % 2))])
    contour = _wavy_outline(centre + rng.normal(0, 3, 2), size_wh[1] * 0.12, rng)
    low, high = contour.min(axis=0), contour.max(axis=0) + 1
    chances = np.sort(rng.dirichlet(np.ones(len(_LABELS))))[::-1]
    return Region(
        letter=letters(index),
        track_id=index,
        box_xyxy=(int(low[0]), int(low[1]), int(high[0]), int(high[1])),
        contours=(Contour(tuple((int(x), int(y)) for x, y in contour)),),
        area_px=1000,
        area_fraction=0.01,
        score=0.9,
        classified=True,
        abstained=False,
        abstain_reason=None,
        classes=tuple(
            ClassProbability(label, float(chance))
            for label, chance in zip(rng.permutation(list(_LABELS)), chances, strict=True)
        ),
        colour=RegionColour(20.0, 18.0, 6.0, 3.0, 8.0, 6.0, 5.0, 0.2, 4000, True, None),
    )


def _wavy_outline(
    centre: NDArray[np.float64], radius: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Every pixel of an irregular outline, as a contour follower gives it; Nx2."""
    angle = np.linspace(0.0, 2 * np.pi, int(2 * np.pi * radius), endpoint=False)
    waves = sum(
        rng.uniform(0.0, 0.3 / k) * np.cos(k * angle + rng.uniform(0, 6)) for k in range(2, 7)
    )
    reach = (radius * (1.0 + waves))[:, None]
    return np.rint(centre + reach * np.stack((np.cos(angle), np.sin(angle)), axis=1)).astype(int)


if __name__ == "__main__":
    sys.exit(main())
