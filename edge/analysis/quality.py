"""Is the picture itself good enough, and how good is it?"""

from __future__ import annotations

import cv2
import numpy as np

from edge.analysis.light import LinearFrame, Overview, linear_of
from edge.result import Quality
from models import skin

SIDE_PX_MIN = 64
"""Below it a lesion is a handful of pixels."""

ASPECT_MAX = 32
"""Longest side over shortest. A longer strip is no photograph, and the short side of what a network
of 304 pixels would see of it is less than ten pixels."""

BLACK_BELOW, WHITE_ABOVE = 16.0, 247.0
"""Of 255. A covered lens reads up to about 12 with its noise."""

_SHARE_MIN = 0.005
"""A picture is black (white) where fewer of its pixels than this are not."""


def size_problem(size_wh: tuple[int, int]) -> str | None:
    """Why a frame of this size is not analysed, in words, or ``None``."""
    width, height = size_wh
    if min(size_wh) < SIDE_PX_MIN:
        needed = f"at least {SIDE_PX_MIN} on each side are needed"
    elif max(size_wh) > ASPECT_MAX * min(size_wh):
        needed = f"one side may be at most {ASPECT_MAX} times the other"
    else:
        return None
    return f"the picture is {width}x{height} pixels; {needed}"


def light_problem(seen: Overview) -> str | None:
    """Why a frame with this light is not analysed, in words, or ``None``."""
    brightest = np.maximum(np.maximum(seen.red, seen.green), seen.blue)
    if np.count_nonzero(brightest > linear_of(BLACK_BELOW)) < _SHARE_MIN * brightest.size:
        return "the picture is black; check the lens cap and the light"
    darkest = np.minimum(np.minimum(seen.red, seen.green), seen.blue)
    if np.count_nonzero(darkest < linear_of(WHITE_ABOVE)) < _SHARE_MIN * darkest.size:
        return "the picture is white; reduce the exposure or the light"
    return None


def measure_quality(light: LinearFrame, seen: Overview, *, grey: bool = False) -> Quality:
    """Measures of one frame.

    ``sharpness`` is the mean absolute Laplacian (4 neighbours) of green over mean green, in the
    middle third of width and height, in linear light on the frame reduced to a long side of at
    most 640: exposure cancels, and blur finer than a reduced pixel is not seen. It compares
    pictures of one scene; it has no universal threshold.
    ``exposure`` is the mean luminance (0..1), ``glare_fraction`` and ``skin_fraction`` are shares
    of the frame's pixels, lesions of the colour of skin included; of a ``grey`` frame nobody knows
    what is skin.
    """
    luminance = skin.SRGB_TO_XYZ[1]
    planes = (seen.red, seen.green, seen.blue)
    exposure = sum(k * cv2.mean(plane)[0] for k, plane in zip(luminance, planes, strict=True))
    return Quality(
        sharpness=_sharpness(light),
        glare_fraction=np.count_nonzero(seen.kinds.glare) / seen.red.size,
        exposure=exposure,
        skin_fraction=None if grey else np.count_nonzero(seen.kinds.skin) / seen.red.size,
    )


def _sharpness(light: LinearFrame) -> float | None:
    width, height = light.size_wh
    x0, y0 = width // 3, height // 3
    green = light.green((x0, y0, width - x0, height - y0))
    level = cv2.mean(green)[0]
    laplacian = cv2.Laplacian(green, cv2.CV_32F)
    return cv2.norm(laplacian, cv2.NORM_L1) / laplacian.size / level if level > 0.0 else None
