"""Outlines of regions: a bright line inside a dark one, so that one of them shows on any skin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.overlay.palette import HALO, NOT_CLASSIFIED, Colour, region_colour
from edge.result import Region

Points = NDArray[np.float32]

_SHIFT = 3
"""Binary digits of sub-pixel coordinates given to OpenCV."""

_TOLERANCE_PX = 0.8
"""Points nearer than this to the line through their neighbours are left out, in frame pixels: it
takes away the staircase that a mask's edge is, and nine tenths of the time. At 0.6, a third of the
staircase stays."""

_TOLERANCE_OF_EM = 1 / 32

_MAX_WIDTH_OF_DIAMETER = 0.2
_DASH_EM, _GAP_EM = 0.55, 0.4

_SMALL_EM = 1.5
"""Lines stand off regions smaller than this, and less so up to twice of it."""


@dataclass(frozen=True, eq=False)
class Shape:
    """One region in pixels of the drawn picture, origin at the picture's corner.

    Attributes:
        region: What it is the shape of.
        contours: Nx2 float32 outlines; holes too.
        box_xyxy: Bounding box, half-open.
        colour: Colour of its line and badge.
    """

    region: Region
    contours: tuple[Points, ...]
    box_xyxy: tuple[float, float, float, float]
    colour: Colour


def shape_of(region: Region, scale: float, picture_wh: tuple[int, int], em_px: int) -> Shape:
    """A region's outline as it is drawn.

    Args:
        region: With contours in frame pixels (centres at whole numbers).
        scale: Drawn pixels per frame pixel.
        picture_wh: Size of the drawn picture.
        em_px: Text size; lines stay a ninth of it inside the picture, so that a lesion that fills
            it still has a visible outline.
    """
    inset_px = em_px / 9
    tolerance = max(_TOLERANCE_PX * max(1.0, scale), _TOLERANCE_OF_EM * em_px)
    x0, y0, x1, y1 = region.box_xyxy
    corners = ((x0, y0), (x1 - 1, y0), (x1 - 1, y1 - 1), (x0, y1 - 1))
    limit = np.array(picture_wh, np.float32) - 1 - inset_px
    contours = []
    for corners_xy in [contour.points for contour in region.contours] or [corners]:
        flat = np.fromiter(chain.from_iterable(corners_xy), np.float32, 2 * len(corners_xy))
        points = (flat.reshape(-1, 2) + 0.5) * scale - 0.5
        np.clip(points, min(inset_px, float(limit.min()) / 2), np.maximum(limit, 0), out=points)
        if len(points) > 3:
            fewer = cv2.approxPolyDP(points, tolerance, True)
            points = fewer.reshape(-1, 2).astype(np.float32, copy=False)
        contours.append(points)
    box = (x0 * scale, y0 * scale, x1 * scale, y1 * scale)
    colour = region_colour(region.letter) if region.classified else NOT_CLASSIFIED
    return Shape(region, tuple(contours), box, colour)


def line_widths(shape: Shape, em_px: int) -> tuple[int, int]:
    """Widths of the bright line and of the dark one under it, in pixels.

    They grow with the text and are thinner on small regions, whose inside must stay visible.
    """
    x0, y0, x1, y1 = shape.box_xyxy
    allowed = _MAX_WIDTH_OF_DIAMETER * min(x1 - x0, y1 - y0)
    bright = max(1, min(round(em_px / 9), round(allowed / 2)))
    return bright, bright + 2 * max(1, min(round(em_px / 16), bright))


def draw_outlines(picture: NDArray[np.uint8], shapes: Sequence[Shape], em_px: int) -> None:
    """Draw all outlines into ``picture`` (HxWx3 uint8 RGB), in place.

    Regions that were not classified get a dashed line.
    """
    for shape in shapes:
        bright_px, dark_px = line_widths(shape, em_px)
        around = [_outward(points, shape, dark_px, em_px) for points in shape.contours]
        whole = [_fixed_point(points) for points in around]
        cv2.polylines(picture, whole, True, HALO, dark_px, cv2.LINE_AA, _SHIFT)
        if shape.region.classified:
            cv2.polylines(picture, whole, True, shape.colour, bright_px, cv2.LINE_AA, _SHIFT)
        else:
            dashes = [d for points in around for d in _dashes(points, em_px)]
            cv2.polylines(picture, dashes, False, shape.colour, bright_px, cv2.LINE_AA, _SHIFT)


def _outward(points: Points, shape: Shape, dark_px: int, em_px: int) -> Points:
    """A small region's outline moved off it, so that the line does not hide what it points at."""
    x0, y0, x1, y1 = shape.box_xyxy
    small = min(1.0, max(0.0, 2.0 - min(x1 - x0, y1 - y0) / (_SMALL_EM * em_px)))
    if small == 0.0:
        return points
    away = points - np.array(((x0 + x1) / 2, (y0 + y1) / 2), np.float32)
    length = np.maximum(np.hypot(away[:, :1], away[:, 1:]), 1.0)
    moved: Points = points + away / length * np.float32(small * (dark_px / 2 + 1))
    return moved


def _fixed_point(points: Points) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)


def _dashes(points: Points, em_px: int) -> list[NDArray[np.int32]]:
    """Pieces of a closed outline, each ``_DASH_EM`` long."""
    closed = np.concatenate((points, points[:1]))
    along = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))))
    if along[-1] < 1.0:
        return [_fixed_point(points)]
    wanted = max(2, round(along[-1] / ((_DASH_EM + _GAP_EM) * em_px)))
    period = along[-1] / wanted
    lit = period * _DASH_EM / (_DASH_EM + _GAP_EM)
    steps = np.linspace(0.0, lit, 7)
    places = (np.arange(wanted) * period)[:, None] + steps[None]
    dashes = np.stack([np.interp(places, along, closed[:, axis]) for axis in (0, 1)], axis=-1)
    return [_fixed_point(dash) for dash in dashes]
