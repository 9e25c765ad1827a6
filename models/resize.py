"""The one way in which a picture becomes a network's input size.

Training, calibration, the gate and the device all call :func:`fit_image`, so that a network sees
at work what it saw in training. It stays outside the networks' graphs because TensorRT's Resize
layer has no antialiasing.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.manifest import ResizeRule

_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
}


_FLOAT_PIXELS_MAX = 2_000_000
"""Largest picture that is averaged in float32, which takes four times its memory."""


@dataclass(frozen=True)
class Placement:
    """Where a picture went inside the network's input.

    The part ``source_xyxy`` of the picture (pixels, half-open) fills ``target_xyxy`` of the input.

    Attributes:
        source_wh: Size of the whole picture in pixels.
        target_wh: Size of the network's input in pixels.
        source_xyxy: The part of the picture that was used; all of it unless ``fit`` is ``crop``.
        target_xyxy: Where it lies in the input; all of it unless ``fit`` is ``letterbox``.
    """

    source_wh: tuple[int, int]
    target_wh: tuple[int, int]
    source_xyxy: tuple[int, int, int, int]
    target_xyxy: tuple[int, int, int, int]


def place(source_wh: tuple[int, int], target_wh: tuple[int, int], rule: ResizeRule) -> Placement:
    """Where a picture of ``source_wh`` goes in an input of ``target_wh``; both in pixels."""
    (sw, sh), (tw, th) = source_wh, target_wh
    source, target = (0, 0, sw, sh), (0, 0, tw, th)
    if rule.fit == "letterbox":
        scale = min(tw / sw, th / sh)
        w, h = max(1, round(sw * scale)), max(1, round(sh * scale))
        x, y = (tw - w) // 2, (th - h) // 2
        target = (x, y, x + w, y + h)
    elif rule.fit == "crop":
        scale = max(tw / sw, th / sh)
        w, h = min(sw, max(1, round(tw / scale))), min(sh, max(1, round(th / scale)))
        x, y = (sw - w) // 2, (sh - h) // 2
        source = (x, y, x + w, y + h)
    return Placement(source_wh, target_wh, source, target)


def fit_image(
    pixels: NDArray[np.uint8],
    size_wh: tuple[int, int],
    rule: ResizeRule,
    out: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.uint8], Placement]:
    """Make ``pixels`` the size that a network takes.

    Args:
        pixels: HxWxC uint8, any size of at least one pixel; need not be contiguous.
        size_wh: Width and height wanted, in pixels.
        rule: How, from the model's manifest.
        out: Optional C-contiguous uint8 array of the result's shape, to be written into.

    Returns:
        The fitted picture (``out`` where given), and where the picture lies in it.
    """
    placement = place((pixels.shape[1], pixels.shape[0]), size_wh, rule)
    if out is None:
        out = np.empty((size_wh[1], size_wh[0], pixels.shape[2]), np.uint8)
    x0, y0, x1, y1 = placement.source_xyxy
    source = pixels[y0:y1, x0:x1]
    x0, y0, x1, y1 = placement.target_xyxy
    if (x1 - x0, y1 - y0) == tuple(size_wh):
        _scale(source, out, rule)
        return out, placement
    inner = np.empty((y1 - y0, x1 - x0, pixels.shape[2]), np.uint8)
    _scale(source, inner, rule)
    borders = (y0, size_wh[1] - y1, x0, size_wh[0] - x1)
    cv2.copyMakeBorder(inner, *borders, cv2.BORDER_CONSTANT, dst=out, value=rule.fill)
    return out, placement


def _scale(source: NDArray[np.uint8], target: NDArray[np.uint8], rule: ResizeRule) -> None:
    """Resize ``source`` into the contiguous array ``target``."""
    height, width = target.shape[:2]
    if source.shape[:2] == (height, width):
        target[:] = source
        return
    shrinks_x, shrinks_y = source.shape[1] > width, source.shape[0] > height
    if rule.antialias and (shrinks_x or shrinks_y):
        source = _halved(source, (width, height))
        # Average over the axis (or both) that shrinks, then interpolate along the one that grows.
        size = (width if shrinks_x else source.shape[1], height if shrinks_y else source.shape[0])
        source = _averaged(source, size)
        if size == (width, height):
            target[:] = source
            return
    flag = _INTERPOLATION[rule.interpolation]
    cv2.resize(source, (width, height), dst=target, interpolation=flag)


def _halved(source: NDArray[np.uint8], target_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Means of 2x2 pixels while that leaves at least what is wanted, for even sizes.

    OpenCV averages ten times faster over whole pixels than over fractions: at 1280x720 to 304
    pixels fractions alone would be the largest stage outside the networks. What remains is still
    an average over the area that an output pixel covers, except that pixels at its border count
    in blocks.
    """
    height, width = source.shape[:2]
    while width >= 2 * target_wh[0] and height >= 2 * target_wh[1] and not (width | height) % 2:
        width, height = width // 2, height // 2
        half = cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA)
        source = half.astype(np.uint8, copy=False).reshape(height, width, -1)
    return source


def _averaged(source: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Mean over the area that each output pixel covers, rounded; at most as large as ``source``."""
    if source.shape[0] * source.shape[1] > _FLOAT_PIXELS_MAX:
        averaged = cv2.resize(source, size_wh, interpolation=cv2.INTER_AREA)
    else:
        # The same sums as on 8 bit, which OpenCV makes in float32 too, in 0.7 times the time.
        exact = cv2.resize(source.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
        averaged = cv2.convertScaleAbs(exact)
    return averaged.astype(np.uint8, copy=False).reshape(size_wh[1], size_wh[0], -1)
