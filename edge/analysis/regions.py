"""From a probability map to regions in frame coordinates.

The mask is the bilinear enlargement of the network's probabilities, thresholded at the frame's own
pixels. A piece is an 8-connected part of it; pieces near each other form one region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.upsample import FrameProbability
from edge.result import Contour
from models.manifest import RegionRules
from models.resize import Placement

Chain = NDArray[np.int32]
"""A closed walk along border pixels, Nx2 (x, y); each step goes to one of the 8 neighbours."""


@dataclass(frozen=True)
class RegionShape:
    """Where one region lies, in pixels of the frame.

    Attributes:
        box_xyxy: Half-open bounding box.
        area_px: Number of its pixels; kept holes are not counted.
        score: Mean probability of its pixels, 0..1.
        outlines: Corner points of the borders, outer ones first; filling them gives its pixels.
        holes: For each outline, whether it is the border of a hole.
    """

    box_xyxy: tuple[int, int, int, int]
    area_px: int
    score: float
    outlines: tuple[Chain, ...]
    holes: tuple[bool, ...]

    def contours(self) -> tuple[Contour, ...]:
        """The outlines as the Result carries them."""
        return tuple(
            Contour(tuple(map(tuple, outline.tolist())), hole)
            for outline, hole in zip(self.outlines, self.holes, strict=True)
        )

    def fill(self, target: NDArray[np.uint8], origin_xy: tuple[int, int] = (0, 0)) -> None:
        """Write 255 at its pixels into ``target``, whose first pixel is ``origin_xy``."""
        offset = (-origin_xy[0], -origin_xy[1])
        cv2.drawContours(target, self.outlines, -1, 255, cv2.FILLED, offset=offset)

    def inside(self, window_xyxy: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """0 or 255 for each pixel of a window of the frame; a new array."""
        x0, y0, x1, y1 = window_xyxy
        target = np.zeros((y1 - y0, x1 - x0), np.uint8)
        self.fill(target, (x0, y0))
        return target


@dataclass(frozen=True)
class _Piece:
    """One 8-connected part of the mask: its outer border and those of its holes."""

    outer: Chain
    holes: tuple[Chain, ...]
    box_xyxy: tuple[int, int, int, int]

    @property
    def area_px(self) -> int:
        """Number of pixels, by Pick's theorem on the walks along the borders."""
        filled = round(cv2.contourArea(self.outer) + len(self.outer) / 2 + 1)
        if len(self.outer) == 1:
            filled = 1
        empty = sum(round(cv2.contourArea(h) - len(h) / 2 + 1) for h in self.holes)
        return filled - empty


def find_regions(
    probability: NDArray[np.float32],
    placement: Placement,
    threshold: float,
    rules: RegionRules,
    mask: NDArray[np.uint8],
) -> tuple[RegionShape, ...]:
    """The regions of one frame, the largest first.

    Args:
        probability: HxW float32 in the segmenter's input size, finite, 0..1.
        placement: Where the frame lies in that input; beyond it nothing is found.
        threshold: A pixel belongs to the mask where the enlarged probability reaches it.
        rules: Holes, smallest area and merge distance, from the segmenter's manifest.
        mask: uint8 in the frame's size; written: 255 at every pixel of a region, else 0.
    """
    mask.fill(0)
    enlarged = FrameProbability(probability, placement)
    window = enlarged.window_above(threshold)
    if window is None:
        return ()
    x, y = enlarged.origin_xy
    pieces = _pieces(
        enlarged.above(threshold, window), (window[0] + x, window[1] + y), rules.fill_holes
    )
    (width, height) = placement.source_wh
    groups = _near_groups(pieces, rules.merge_distance_fraction * max(width, height))
    smallest = rules.min_area_fraction * width * height
    regions = []
    for group in groups:
        if sum(_box_area(piece.box_xyxy) for piece in group) < smallest:
            continue
        area = sum(piece.area_px for piece in group)
        if area >= smallest:
            regions.append(_shape(group, area, enlarged))
    for region in regions:
        region.fill(mask)
    return tuple(sorted(regions, key=lambda r: (-r.area_px, r.box_xyxy[1], r.box_xyxy[0])))


def _pieces(above: NDArray[np.bool_], origin_xy: tuple[int, int], fill_holes: bool) -> list[_Piece]:
    mode = cv2.RETR_EXTERNAL if fill_holes else cv2.RETR_CCOMP
    chains, hierarchy = cv2.findContours(
        above.view(np.uint8), mode, cv2.CHAIN_APPROX_NONE, offset=origin_xy
    )
    flat = [np.asarray(chain, np.int32).reshape(-1, 2) for chain in chains]
    if fill_holes or not flat:
        return [_Piece(chain, (), _box(chain)) for chain in flat]
    holes_of: dict[int, list[Chain]] = {}
    parents = np.reshape(hierarchy, (-1, 4))[:, 3].tolist()
    for chain, parent in zip(flat, parents, strict=True):
        if parent >= 0:
            holes_of.setdefault(parent, []).append(chain)
    return [
        _Piece(chain, tuple(holes_of.get(index, ())), _box(chain))
        for index, (chain, parent) in enumerate(zip(flat, parents, strict=True))
        if parent < 0
    ]


def _shape(group: Sequence[_Piece], area_px: int, enlarged: FrameProbability) -> RegionShape:
    ordered = sorted(group, key=lambda piece: -piece.area_px)
    outlines = [_corners(piece.outer) for piece in ordered]
    holes = [_corners(hole) for piece in ordered for hole in piece.holes]
    boxes = np.array([piece.box_xyxy for piece in group])
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    drawn = RegionShape(
        box_xyxy=(x0, y0, x1, y1),
        area_px=area_px,
        score=0.0,
        outlines=(*outlines, *holes),
        holes=(False,) * len(outlines) + (True,) * len(holes),
    )
    dx, dy = enlarged.origin_xy
    window = (x0 - dx, y0 - dy, x1 - dx, y1 - dy)
    score = enlarged.mean_inside(window, drawn.inside(drawn.box_xyxy))
    return RegionShape(drawn.box_xyxy, area_px, score, drawn.outlines, drawn.holes)


def _corners(chain: Chain) -> Chain:
    """The points of a walk where it turns; the straight runs between them are not needed."""
    step = np.roll(chain, -1, axis=0) - chain
    turns = (step != np.roll(step, 1, axis=0)).any(axis=1)
    return chain[turns] if turns.any() else chain


def _box(chain: Chain) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(chain)
    return x, y, x + width, y + height


def _box_area(box_xyxy: tuple[int, int, int, int]) -> int:
    x0, y0, x1, y1 = box_xyxy
    return (x1 - x0) * (y1 - y0)


# --- pieces that belong together ----------------------------------------------------------------


def _near_groups(pieces: list[_Piece], distance_px: float) -> list[list[_Piece]]:
    """Pieces joined where the centres of their nearest pixels are less than ``distance_px`` apart.

    The relation is transitive: a chain of near pieces is one group.
    """
    if distance_px <= 0.0 or len(pieces) < 2:
        return [[piece] for piece in pieces]
    pieces = sorted(pieces, key=lambda piece: piece.box_xyxy[0])
    boxes = np.array([piece.box_xyxy for piece in pieces])
    leader = list(range(len(pieces)))
    for i in range(len(pieces)):
        for j in _near_boxes(boxes, i, distance_px):
            a, b = _leader(leader, i), _leader(leader, j)
            if a != b and _are_near(pieces[i], pieces[j], distance_px):
                leader[b] = a
    groups: dict[int, list[_Piece]] = {}
    for index, piece in enumerate(pieces):
        groups.setdefault(_leader(leader, index), []).append(piece)
    return list(groups.values())


def _leader(leader: list[int], index: int) -> int:
    while leader[index] != index:
        leader[index] = leader[leader[index]]
        index = leader[index]
    return index


def _near_boxes(boxes: NDArray[np.int64], index: int, distance_px: float) -> list[int]:
    """Later boxes (sorted by their left edge) within the distance of box ``index``."""
    stop = int(np.searchsorted(boxes[:, 0], boxes[index, 2] + distance_px))
    others = boxes[index + 1 : stop]
    apart_y = np.maximum(others[:, 1] - boxes[index, 3], boxes[index, 1] - others[:, 3]) + 1
    near = np.flatnonzero(apart_y < distance_px) + index + 1
    return [int(j) for j in near]


def _are_near(a: _Piece, b: _Piece, distance_px: float) -> bool:
    points_a = _within(a, b.box_xyxy, distance_px)
    points_b = _within(b, a.box_xyxy, distance_px)
    if not len(points_a) or not len(points_b):
        return False
    rows = max(1, 1_000_000 // len(points_b))
    for start in range(0, len(points_a), rows):
        apart = points_a[start : start + rows, np.newaxis] - points_b[np.newaxis]
        if int(np.min(np.einsum("abk,abk->ab", apart, apart))) < distance_px**2:
            return True
    return False


def _within(piece: _Piece, box_xyxy: tuple[int, int, int, int], distance_px: float) -> Chain:
    """Border points of a piece that lie in a box grown by the distance."""
    points = np.concatenate((piece.outer, *piece.holes)) if piece.holes else piece.outer
    x0, y0, x1, y1 = box_xyxy
    x, y = points[:, 0], points[:, 1]
    kept = (x > x0 - distance_px) & (x < x1 + distance_px)
    kept &= (y > y0 - distance_px) & (y < y1 + distance_px)
    return points[kept]
