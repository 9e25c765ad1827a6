"""The network's probability map, seen at the frame's own pixels without storing all of them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.resize import Placement

_BLOCK_PIXELS = 4_000_000
"""Most pixels that are enlarged at once: a phone's picture needs no second map of its size."""


class FrameProbability:
    """Bilinear enlargement of one probability map onto the part of the frame that was seen.

    The value at a pixel is what OpenCV's bilinear resize of the whole map would give: bilinear
    between the centres of the map's cells, constant beyond the outermost ones. It is computed in
    float32 one axis after the other, for whole columns at a time.

    Args:
        values: HxW float32 in the network's input size, finite.
        placement: Where the frame lies in that input.
    """

    def __init__(self, values: NDArray[np.float32], placement: Placement) -> None:
        x0, y0, x1, y1 = placement.target_xyxy
        self._cells = np.ascontiguousarray(values[y0:y1, x0:x1])
        sx0, sy0, sx1, sy1 = placement.source_xyxy
        self.origin_xy = (sx0, sy0)
        self.size_wh = (sx1 - sx0, sy1 - sy0)
        self._wide: NDArray[np.float32] | None = None
        self._block: NDArray[np.float32] | None = None
        self._block_columns = (0, 0)

    def window_above(self, threshold: float) -> tuple[int, int, int, int] | None:
        """A window (x0, y0, x1, y1) of the seen part outside which no pixel reaches ``threshold``.

        ``None`` where no cell reaches it: a bilinear value never exceeds its four corners.
        """
        reached = self._cells >= np.float32(threshold)
        columns = np.flatnonzero(reached.any(axis=0))
        rows = np.flatnonzero(reached.any(axis=1))
        if not len(columns):
            return None
        x0, x1 = _span(int(columns[0]), int(columns[-1]), self._cells.shape[1], self.size_wh[0])
        y0, y1 = _span(int(rows[0]), int(rows[-1]), self._cells.shape[0], self.size_wh[1])
        return x0, y0, x1, y1

    def above(self, threshold: float, window_xyxy: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """Where the probability reaches ``threshold``: bool, in the size of the window."""
        x0, y0, x1, y1 = window_xyxy
        reached = np.empty((y1 - y0, x1 - x0), np.bool_)
        for left, right in self._blocks(x0, x1):
            block = self._columns(left, right)[y0:y1]
            np.greater_equal(block, np.float32(threshold), out=reached[:, left - x0 : right - x0])
        return reached

    def mean_inside(
        self, window_xyxy: tuple[int, int, int, int], inside: NDArray[np.uint8]
    ) -> float:
        """Mean probability of the window's pixels where ``inside`` is not 0."""
        x0, y0, x1, y1 = window_xyxy
        total, count = 0.0, 0
        for left, right in self._blocks(x0, x1):
            part = np.ascontiguousarray(inside[:, left - x0 : right - x0])
            pixels = cv2.countNonZero(part)
            if pixels:
                block = self._columns(left, right)[y0:y1]
                total += cv2.mean(block, mask=part)[0] * pixels
                count += pixels
        return total / count if count else 0.0

    def _blocks(self, x0: int, x1: int) -> list[tuple[int, int]]:
        """Column ranges that cover x0..x1, each within the size that is enlarged at once."""
        first, last = self._block_columns
        if first <= x0 and x1 <= last:
            return [(x0, x1)]
        step = max(1, _BLOCK_PIXELS // self.size_wh[1])
        return [(x, min(x + step, x1)) for x in range(x0, x1, step)]

    def _columns(self, x0: int, x1: int) -> NDArray[np.float32]:
        """All rows of columns x0..x1; the last block is kept for the next caller."""
        first, last = self._block_columns
        if self._block is None or x0 < first or x1 > last:
            if self._wide is None:
                wide = (self.size_wh[0], self._cells.shape[0])
                self._wide = np.asarray(cv2.resize(self._cells, wide), np.float32)
            part = np.ascontiguousarray(self._wide[:, x0:x1])
            self._block = np.asarray(
                cv2.resize(part, (x1 - x0, self.size_wh[1])), np.float32
            ).reshape(self.size_wh[1], x1 - x0)
            self._block_columns = first, last = (x0, x1)
        return self._block[:, x0 - first : x1 - first]


def _span(first: int, last: int, cells: int, pixels: int) -> tuple[int, int]:
    """Pixels that lie less than one cell from cells first..last; one more for rounding."""
    scale = pixels / cells
    start = int((first - 0.5) * scale) - 1
    stop = int((last + 1.5) * scale) + 2
    return max(0, start), min(pixels, stop)
