"""How well the view's movement is known: ``python -m benchmarks.view_motion [--seeds N ...]``.

Frames of phantom cameras at 1280x720 are moved, turned and zoomed by known amounts, with grain of
their own, in the open and through a dermatoscope's round field with a black rim. Printed: how far
the movement that is found is off anywhere in the middle 80 % of the frame; how far outlines lie
beside their lesions there at most while the live view still shows them; how often other skin is
taken for the same; and what one question costs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.tracking.motion import MOVED_SHARE, Movement, SmallView, movement_between, small_view
from models.phantom import PhantomCamera

SIZE_WH = (1280, 720)
MOVES = 40
GRID = np.stack(
    np.meshgrid(np.linspace(0.1, 0.9, 9) * SIZE_WH[0], np.linspace(0.1, 0.9, 5) * SIZE_WH[1]), -1
).reshape(-1, 2)
SIZES = (
    # name, shift in pixels, turn in degrees, zoom: the most of each
    ("small", 8.0, 0.7, 0.01),
    ("medium", 60.0, 4.0, 0.06),
    ("large", 150.0, 8.0, 0.12),
)

Pixels = NDArray[np.uint8]


def _matrix(
    rng: np.random.Generator, shift_px: float, turn_deg: float, zoom: float
) -> NDArray[np.float64]:
    middle = (SIZE_WH[0] / 2, SIZE_WH[1] / 2)
    matrix = cv2.getRotationMatrix2D(
        middle, rng.uniform(-turn_deg, turn_deg), 1.0 + rng.uniform(-zoom, zoom)
    )
    matrix[:, 2] += rng.uniform(-shift_px, shift_px, 2)
    return np.asarray(matrix, np.float64)


def _taken(
    pixels: Pixels, matrix: NDArray[np.float64], rng: np.random.Generator, *, rim: bool
) -> SmallView:
    """The small view of a moved scene under another grain and another light."""
    moved = cv2.warpAffine(pixels, matrix, SIZE_WH, borderMode=cv2.BORDER_REFLECT_101)
    grain = rng.normal(0.0, 3.0, moved.shape).astype(np.float32)
    moved = np.clip(rng.uniform(0.85, 1.1) * moved + grain, 0, 255).astype(np.uint8)
    if rim:
        field = cv2.circle(
            np.zeros(moved.shape[:2], np.uint8),
            (SIZE_WH[0] // 2, SIZE_WH[1] // 2),
            round(0.48 * SIZE_WH[1]),
            255,
            cv2.FILLED,
        )
        moved = cv2.bitwise_and(moved, moved, mask=field)
    return small_view(np.ascontiguousarray(moved))


def _way(movement: Movement, truth: NDArray[np.float64]) -> float:
    return float(np.hypot(*(movement.of(GRID) - truth).T).max())


def _moves(scenes: list[Pixels], *, rim: bool) -> None:
    still = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    limit_px = MOVED_SHARE * min(SIZE_WH)
    for name, *most in SIZES:
        rng = np.random.default_rng(1)
        off, beside, known, asked = [], [], 0, 0
        for pixels in scenes:
            before = _taken(pixels, still, rng, rim=rim)
            for _ in range(MOVES):
                matrix = _matrix(rng, *most)
                truth = GRID @ matrix[:, :2].T + matrix[:, 2]
                found = movement_between(before, _taken(pixels, matrix, rng, rim=rim))
                asked += 1
                known += found.is_known
                if found.is_known:
                    off.append(_way(found, truth))
                    if found.farthest_px(SIZE_WH) <= limit_px:
                        beside.append(float(np.hypot(*(truth - GRID).T).max()))
        shown = f"{len(beside):>4} shown, at most {max(beside):4.1f} px beside" if beside else ""
        print(
            f"{name:<7} {'rim' if rim else 'open':<5} known {known:>4} of {asked}   "
            f"off {np.median(off):4.1f} px (95 %: {np.percentile(off, 95):4.1f})   {shown}",
            flush=True,
        )


def _other_skin(scenes: list[Pixels], *, rim: bool) -> None:
    rng = np.random.default_rng(2)
    still = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    views = [_taken(pixels, still, rng, rim=rim) for pixels in scenes]
    pairs = list(itertools.permutations(views, 2))
    found = [movement_between(*pair) for pair in pairs]
    highest = max(movement.confidence for movement in found)
    print(
        f"other skin {'rim' if rim else 'open':<5} taken for the same in "
        f"{sum(m.is_known for m in found)} of {len(pairs)}; likeness at most {highest:.2f}"
    )


def _cost(pixels: Pixels) -> None:
    matrix = np.array([[1.0, 0.0, 20.0], [0.0, 1.0, -10.0]])
    now = cv2.warpAffine(pixels, matrix, SIZE_WH, borderMode=cv2.BORDER_REFLECT_101)
    before, spent_ms = small_view(pixels), []
    for _ in range(300):
        began = time.perf_counter()
        movement_between(before, small_view(now))
        spent_ms.append((time.perf_counter() - began) * 1e3)
    print(
        f"one question with a new frame: {np.median(spent_ms):.2f} ms (95 %: "
        f"{np.percentile(spent_ms, 95):.2f} ms)"
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(7, 15)))
    arguments = parser.parse_args()
    scenes = [PhantomCamera(seed, SIZE_WH).frame(0).pixels for seed in arguments.seeds]
    for rim in (False, True):
        _moves(scenes, rim=rim)
        _other_skin(scenes, rim=rim)
    _cost(scenes[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
