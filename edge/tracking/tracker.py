"""Follows regions from frame to frame, so that letters and classes stay with their lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.analyzer import Analysis
from edge.frame import Frame
from edge.result import ANSWERED, Region, letters
from edge.tracking.motion import Movement, SmallView, movement_between, small_view
from edge.tracking.track import Box, Track
from models.manifest import Manifest

ASLEEP_S = 10.0
"""A lesion that is not seen, because it is out of sight or was missed, keeps its letter so long."""

GAP_S = 3.0
"""A stream that pauses for longer starts anew: nobody knows what the camera was moved to."""

CONFIRM_S = 0.6
"""A region that is new beside others is announced with its second sighting within this time: a
patch that shows in one analysis alone would only flicker."""

IOU_MIN = 0.1
NEAR_DIAMETERS = 0.6
AREA_RATIO_MAX = 3.0
"""A region is taken for a track if their boxes overlap by the first, or their centres lie closer
than so many diameters and their areas differ by no more than the last."""


@dataclass
class _Scene:
    """What is known of the skin in view.

    Attributes:
        view: As it was seen last.
        seen_s: When that was.
        tracks: Lesions of it, with boxes as of that view.
        next_letter: Number of the next letter.
    """

    view: SmallView
    seen_s: float
    tracks: list[Track] = field(default_factory=list)
    next_letter: int = 0

    def move(self, movement: Movement, view: SmallView, now_s: float) -> None:
        """Go along with the view."""
        for track in self.tracks:
            track.move(movement)
        self.view, self.seen_s = view, now_s

    def new_letter(self) -> str:
        """The next one of the alphabet."""
        letter = letters(self.next_letter)
        self.next_letter += 1
        return letter


class Tracker:
    """Gives every region of a stream the letter and the averaged classes of its lesion.

    Tracks move, turn and grow with the view (see :mod:`edge.tracking.motion`), so that a moved
    camera changes no letter. Regions are matched to tracks greedily, the best pair first: with
    boxes moved along, lesions of one picture hardly compete. Of two regions that a lesion has split
    into, the better match keeps the letter; of two lesions that have merged, the better match gives
    it.

    A letter is not given again until everything starts anew: with another source or size, after a
    pause of :data:`GAP_S`, or when the view shows other skin. The letters then begin at A, in order
    of size. Until then new lesions take the next letter of the alphabet. Where other skin was in
    view for less than :data:`ASLEEP_S`, as after a torn frame or a look aside, and the skin before
    comes back, its letters come back with it.

    Regions are those of the frame itself, and so are their colours; nothing is drawn that was not
    found in it. A region beyond ``max_regions`` is not classified and carries no classes, whatever
    its lesion was called before. One thread; memory is bounded by what is found in
    :data:`ASLEEP_S`.

    Args:
        classifier: Says when a class may be named.
    """

    def __init__(self, classifier: Manifest) -> None:
        self._classifier = classifier
        self._next_id = 0
        self._scene: _Scene | None = None
        self._aside: _Scene | None = None
        self._source: str | None = None

    def reset(self) -> None:
        """Forget everything: the next lesion is A."""
        self._scene = self._aside = None

    def follow(self, frame: Frame, analysis: Analysis) -> Analysis:
        """The same analysis with letters, track ids and classes that keep still.

        Args:
            frame: The frame that was analyzed; its pixels are read during the call only.
            analysis: Its analysis. Its mask may be changed: what is not announced is taken out.
        """
        if analysis.result.status not in ANSWERED or frame.captured_ns is None:
            return analysis
        now_s = frame.captured_ns / 1e9
        scene = self._scene_of(frame, now_s)
        regions = analysis.result.regions or ()
        tracks = self._tracks_of(scene, regions, now_s)
        # A region alone is announced at once: "nothing found" would be false.
        alone = not any(track.is_confirmed for track in tracks)
        kept: list[Region] = []
        withheld: list[Region] = []
        for index, (region, track) in enumerate(zip(regions, tracks, strict=True)):
            if alone or track.is_confirmed:
                track.letter = track.letter or scene.new_letter()
                kept.append(self._followed(region, index, track, analysis, now_s))
            else:
                withheld.append(region)
        scene.tracks = [track for track in scene.tracks if not _is_forgotten(track, now_s)]
        return self._with_regions(analysis, kept, withheld)

    def _scene_of(self, frame: Frame, now_s: float) -> _Scene:
        """The scene that a frame shows: the one before, the one before that, or a new one."""
        view = small_view(frame.pixels)
        scene = self._scene
        if (
            scene is None
            or frame.source != self._source
            or scene.view.size_wh != view.size_wh
            or not 0.0 <= now_s - scene.seen_s <= GAP_S
        ):
            self._source = frame.source
            self._aside = None
            self._scene = _Scene(view, now_s)
            return self._scene
        movement = movement_between(scene.view, view)
        if movement.is_known or movement.is_blind:
            # The view before a blank picture tells whether the skin after it is the same.
            scene.move(movement, scene.view if view.is_blank else view, now_s)
            return scene
        aside = self._aside
        self._aside, self._scene = scene, _Scene(view, now_s)
        if aside is not None and now_s - aside.seen_s <= ASLEEP_S:
            movement = movement_between(aside.view, view)
            if movement.is_known:
                aside.move(movement, view, now_s)
                self._scene = aside
        return self._scene

    # --- regions and tracks -----------------------------------------------------------------------

    def _tracks_of(self, scene: _Scene, regions: Sequence[Region], now_s: float) -> list[Track]:
        """The track of each region, which has seen it."""
        matched = _matches(regions, scene.tracks)
        for index, region in enumerate(regions):
            if index in matched:
                matched[index].see(region, now_s)
                continue
            box = np.array(region.box_xyxy, np.float64)
            matched[index] = Track(self._next_id, "", box, float(region.area_px), now_s)
            scene.tracks.append(matched[index])
            self._next_id += 1
        return [matched[index] for index in range(len(regions))]

    def _followed(
        self, region: Region, index: int, track: Track, analysis: Analysis, now_s: float
    ) -> Region:
        region = replace(region, letter=track.letter, track_id=track.track_id)
        probabilities = analysis.probabilities
        if probabilities is None or index >= len(probabilities):
            return region
        said = track.verdict(probabilities[index], now_s, self._classifier)
        return replace(
            region,
            classes=said.classes,
            abstained=said.abstained,
            abstain_reason=said.abstain_reason,
        )

    def _with_regions(
        self, analysis: Analysis, kept: Sequence[Region], withheld: Sequence[Region]
    ) -> Analysis:
        if analysis.mask is not None:
            for region in withheld:
                _erase(region, analysis.mask)
        result = replace(
            analysis.result,
            regions=tuple(kept),
            regions_not_classified=sum(not region.classified for region in kept),
        )
        return replace(analysis, result=result)


def _matches(regions: Sequence[Region], tracks: Sequence[Track]) -> dict[int, Track]:
    """Which region is which track, the best pairs first."""
    pairs = []
    for index, region in enumerate(regions):
        box = np.array(region.box_xyxy, np.float64)
        for number, track in enumerate(tracks):
            likeness = _likeness(box, region.area_px, track)
            if likeness > 0.0:
                pairs.append((-likeness, number, index))
    taken: dict[int, Track] = {}
    used: set[int] = set()
    for _, number, index in sorted(pairs):
        if index not in taken and number not in used:
            taken[index] = tracks[number]
            used.add(number)
    return taken


def _is_forgotten(track: Track, now_s: float) -> bool:
    return now_s - track.seen_s > (ASLEEP_S if track.letter else CONFIRM_S)


def _likeness(box: Box, area_px: float, track: Track) -> float:
    """0 for strangers; up to 1 for near neighbours, 1 and more for boxes that overlap."""
    overlap = _iou(box, track.box)
    if overlap >= IOU_MIN:
        return 1.0 + overlap
    larger = max(area_px, track.area_px)
    if larger > AREA_RATIO_MAX * min(area_px, track.area_px):
        return 0.0
    diameter = float(np.sqrt(4.0 * larger / np.pi))
    centres = (box[:2] + box[2:] - track.box[:2] - track.box[2:]) / 2.0
    distance = float(np.hypot(*centres)) / diameter
    return 1.0 - distance / NEAR_DIAMETERS if distance < NEAR_DIAMETERS else 0.0


def _iou(one: Box, other: Box) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if sides.min() <= 0.0:
        return 0.0
    both = float(sides.prod())
    areas = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod())
    return both / (areas - both)


def _erase(region: Region, mask: NDArray[np.uint8]) -> None:
    outlines = [np.array(contour.points, np.int32) for contour in region.contours]
    cv2.drawContours(mask, outlines, -1, 0, cv2.FILLED)
