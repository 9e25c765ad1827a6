"""Chooses a place for each badge: near its region, but on no lesion and no badge if possible."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.overlay.layout import Rect
from edge.overlay.outline import Points, Shape

CLEAR_COST = 2.0
"""A place below this cost covers nothing."""

_LESION_COST, _BADGE_COST = 100.0, 100.0
_NEAR_ANOTHER_COST = 1.2
_SAME_PLACE_BONUS = 1.5
_CELLS_PER_EM = 4.0
_SIDE_COST = (0.0, 0.15, 0.1, 0.3, 0.4, 0.35, 0.2, 0.25, 0.3, 0.5, 0.5, 0.5)
"""Above is best, then right, below, left; within a side the aligned one."""

_RING_EM = (0.25, 1.2, 3.0, 5.5)
_GRID_XY = (7, 6)


class LesionMap:
    """Which part of the picture is lesion, on a grid coarse enough to ask often.

    Args:
        shapes: All regions of the picture.
        picture_wh: Size of the drawn picture in pixels.
        em_px: Text size; a cell is a quarter of it.
    """

    def __init__(self, shapes: Sequence[Shape], picture_wh: tuple[int, int], em_px: int) -> None:
        self._cell_px = max(1.0, em_px / _CELLS_PER_EM)
        width, height = (int(np.ceil(side / self._cell_px)) for side in picture_wh)
        covered = np.zeros((height, width), np.uint8)
        for shape in shapes:
            # Holes are filled too: a badge inside a ring-shaped lesion would read as part of it.
            for points in shape.contours:
                cells = np.rint(points / self._cell_px - 0.5).astype(np.int32)
                cv2.fillPoly(covered, [cells.reshape(-1, 1, 2)], 1)
        self._sum = cv2.integral(covered)

    def fraction(self, rects: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of each rectangle (Nx4, x0 y0 x1 y1 in picture pixels) that is lesion, 0..1."""
        height, width = self._sum.shape
        edges = rects / self._cell_px
        np.clip(edges, 0, (width - 1, height - 1, width - 1, height - 1), out=edges)
        left, top = np.floor(edges[:, :2]).astype(np.intp).T
        right, bottom = np.ceil(edges[:, 2:]).astype(np.intp).T
        cells = (
            self._sum[bottom, right]
            - self._sum[top, right]
            - self._sum[bottom, left]
            + self._sum[top, left]
        )
        area: NDArray[np.float64] = cells / np.maximum((right - left) * (bottom - top), 1)
        return area


def best_place(
    shape: Shape,
    size_wh: tuple[int, int],
    picture_wh: tuple[int, int],
    em_px: int,
    *,
    lesions: LesionMap,
    others: Sequence[Shape],
    badges: Sequence[Rect],
    previous: int | None,
) -> tuple[Rect, float, int]:
    """The cheapest place for one badge.

    Args:
        shape: The region that the badge belongs to.
        size_wh: Size of the badge in pixels.
        picture_wh: Size of the picture that it must stay in.
        em_px: Text size.
        lesions: What not to cover.
        others: The other regions: beside one of them, a badge would seem to be its own.
        badges: Badges already placed.
        previous: The place's number in the last picture of a stream: a badge jumps only when
            that is clearly better.

    Returns:
        The rectangle in picture pixels, its cost, and the place's number.
    """
    rects, costs = _candidates(shape, size_wh, picture_wh, em_px)
    costs += _LESION_COST * lesions.fraction(rects)
    costs += _NEAR_ANOTHER_COST * _near(rects, others, em_px / 2)
    if badges:
        costs += _BADGE_COST * _covering(rects, np.array(badges), max(1, em_px // 6))
    if previous is not None and previous < len(costs):
        costs[previous] -= _SAME_PLACE_BONUS
    best = int(np.argmin(costs))
    x0, y0, x1, y1 = (int(edge) for edge in rects[best])
    return (x0, y0, x1, y1), float(costs[best]), best


def nearest_point(shape: Shape, rect: Rect) -> tuple[tuple[int, int], tuple[int, int], float]:
    """The two ends of the shortest line from a badge to its outline, and its length in pixels."""
    points: Points = np.concatenate(shape.contours)
    x0, y0, x1, y1 = rect
    on_badge = np.stack(
        (np.clip(points[:, 0], x0, x1 - 1), np.clip(points[:, 1], y0, y1 - 1)), axis=1
    )
    distance = np.hypot(*(points - on_badge).T)
    best = int(np.argmin(distance))
    start, end = (np.rint(place[best]).astype(int) for place in (on_badge, points))
    return (
        (int(start[0]), int(start[1])),
        (int(end[0]), int(end[1])),
        float(distance[best]),
    )


def is_near_another(rect: Rect, others: Sequence[Shape], within_px: float) -> bool:
    """True where the box of another region is at most ``within_px`` from a badge."""
    return bool(_near(np.array([rect]), others, within_px)[0])


def _near(rects: NDArray[np.int64], others: Sequence[Shape], within_px: float) -> NDArray[np.bool_]:
    if not others:
        return np.zeros(len(rects), bool)
    box = np.array([shape.box_xyxy for shape in others])
    apart = np.maximum(box[:, :2] - rects[:, None, 2:], rects[:, None, :2] - box[:, 2:])
    np.maximum(apart, 0, out=apart)
    near: NDArray[np.bool_] = (np.hypot(apart[..., 0], apart[..., 1]) <= within_px).any(axis=1)
    return near


def _candidates(
    shape: Shape, size_wh: tuple[int, int], picture_wh: tuple[int, int], em_px: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    (x0, y0, x1, y1), (width, height) = shape.box_xyxy, size_wh
    rings = len(_RING_EM)
    wanted = np.concatenate((np.empty((12 * rings + 4, 2)), _grid(size_wh, picture_wh)))
    gaps = np.array(_RING_EM)[:, None] * em_px
    beside = wanted[: 12 * rings].reshape(rings, 12, 2)
    beside[:, :3, 0] = beside[:, 6:9, 0] = x0, (x0 + x1 - width) / 2, x1 - width
    beside[:, 3:6, 1] = beside[:, 9:, 1] = y0, (y0 + y1 - height) / 2, y1 - height
    beside[:, :3, 1], beside[:, 6:9, 1] = y0 - gaps - height, y1 + gaps
    beside[:, 3:6, 0], beside[:, 9:, 0] = x1 + gaps, x0 - gaps - width
    # At the corners of its box, a round lesion leaves room.
    in_x, in_y = (x1 - x0) / 8, (y1 - y0) / 8
    wanted[12 * rings : 12 * rings + 4] = [
        (x, y) for x in (x0 + in_x - width, x1 - in_x) for y in (y0 + in_y - height, y1 - in_y)
    ]
    limit = np.maximum(np.array(picture_wh) - size_wh, 0)
    corners = np.minimum(np.maximum(np.rint(wanted), 0), limit).astype(np.int64)
    rects = np.concatenate((corners, corners + size_wh), axis=1)
    beyond_x = np.maximum(np.maximum(x0 - rects[:, 2], rects[:, 0] - x1), 0)
    beyond_y = np.maximum(np.maximum(y0 - rects[:, 3], rects[:, 1] - y1), 0)
    costs: NDArray[np.float64] = np.hypot(beyond_x, beyond_y) / em_px
    costs[: 12 * rings].reshape(rings, 12)[:] += _SIDE_COST
    costs[12 * rings :] += 1.0
    return rects, costs


@lru_cache(maxsize=256)
def _grid(size_wh: tuple[int, int], picture_wh: tuple[int, int]) -> NDArray[np.float64]:
    """Places all over the picture, for when everything near is taken; top left corners, Nx2."""
    xs, ys = (
        np.linspace(0, max(side - own, 0), count)
        for side, own, count in zip(picture_wh, size_wh, _GRID_XY, strict=True)
    )
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def _covering(
    rects: NDArray[np.int64], others: NDArray[np.int64], apart_px: int
) -> NDArray[np.float64]:
    """Share of each rectangle that lies on or near the others (Mx4), and a tenth per touch."""
    low = np.maximum(rects[:, None, :2], others[None, :, :2] - apart_px)
    high = np.minimum(rects[:, None, 2:], others[None, :, 2:] + apart_px)
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    own = max(1, int((rects[0, 2] - rects[0, 0]) * (rects[0, 3] - rects[0, 1])))
    covering: NDArray[np.float64] = (shared / own + 0.1 * (shared > 0)).sum(axis=1)
    return covering
