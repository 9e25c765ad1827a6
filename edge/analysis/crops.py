"""The classifier's view of each region, cut from the full-resolution frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.resize import fit_image

Box = tuple[int, int, int, int]


def padded_box(box_xyxy: Box, frame_wh: tuple[int, int], padding_fraction: float) -> Box:
    """A region's box with context on every side, cut off at the frame's border.

    The context is ``padding_fraction`` of the box's longer side, rounded to whole pixels.
    """
    x0, y0, x1, y1 = box_xyxy
    pad = round(padding_fraction * max(x1 - x0, y1 - y0))
    width, height = frame_wh
    return max(0, x0 - pad), max(0, y0 - pad), min(width, x1 + pad), min(height, y1 + pad)


class CropBatch:
    """Fits crops into one batch for the classifier, in a buffer that it reuses.

    Args:
        classifier: Its manifest says size and fit.
    """

    def __init__(self, classifier: Manifest) -> None:
        self._rule = classifier.resize
        self._size_wh = classifier.size_wh
        self._batch = np.empty((0, *self._size_wh[::-1], 3), np.uint8)

    def fit(self, pixels: NDArray[np.uint8], boxes_xyxy: Sequence[Box]) -> NDArray[np.uint8]:
        """Cut and fit every box.

        Args:
            pixels: HxWx3 uint8 RGB, the full frame; only read.
            boxes_xyxy: Half-open boxes within the frame.

        Returns:
            NxHxWx3 uint8 in the classifier's input size, N the number of boxes. The buffer is
            overwritten by the next call.
        """
        if len(self._batch) < len(boxes_xyxy):
            self._batch = np.empty((len(boxes_xyxy), *self._batch.shape[1:]), np.uint8)
        for index, (x0, y0, x1, y1) in enumerate(boxes_xyxy):
            fit_image(pixels[y0:y1, x0:x1], self._size_wh, self._rule, out=self._batch[index])
        return self._batch[: len(boxes_xyxy)]
