"""One lesion over time: where it is, what it is called, and what it was classified as."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.analysis.classify import Verdict, verdict
from edge.result import Region
from edge.tracking.motion import Movement
from models.manifest import Manifest

AVERAGE_S = 1.0
"""Time constant of the running mean of class probabilities."""

SWITCH_MARGIN = 0.10
"""A named class gives way to another one only where that is likelier by so much."""

NAME_MARGIN = 0.03
"""A region that is uncertain is named again only so far above the abstention limit."""

Box = NDArray[np.float64]
"""x0, y0, x1, y1 in pixels of the frame."""


@dataclass
class Track:
    """What is remembered of one lesion.

    Attributes:
        track_id: Its number, never given again.
        letter: Its letter.
        box: Where it was seen last, moved along with the view since.
        area_px: Its pixels when it was seen last.
        seen_s: Instant of the frame in which it was seen last.
        sightings: Frames in which it was seen, in a row or not.
    """

    track_id: int
    letter: str
    box: Box
    area_px: float
    seen_s: float
    sightings: int = 1
    probabilities: NDArray[np.float64] | None = None
    _classified_s: float = 0.0
    _named: int | None = None
    _was_uncertain: bool = False

    @property
    def is_confirmed(self) -> bool:
        """It was announced before, or is seen for the second time."""
        return bool(self.letter) or self.sightings > 1

    def move(self, movement: Movement) -> None:
        """Go along with the view; the box stays upright."""
        (centre,) = movement.of((self.box[np.newaxis, :2] + self.box[np.newaxis, 2:]) / 2.0)
        half = movement.zoom * (self.box[2:] - self.box[:2]) / 2.0
        self.box = np.concatenate((centre - half, centre + half))
        self.area_px *= movement.zoom**2

    def see(self, region: Region, now_s: float) -> None:
        """Take over where it is now."""
        self.box = np.array(region.box_xyxy, np.float64)
        self.area_px = float(region.area_px)
        self.seen_s = now_s
        self.sightings += 1

    def verdict(
        self, probabilities: NDArray[np.float32], now_s: float, classifier: Manifest
    ) -> Verdict:
        """What it is called, from the running mean of what it was classified as.

        ``p += (1 - exp(-dt / AVERAGE_S)) * (new - p)``: a mean whose weights fall with age, so that
        it does not matter how many analyses a second there are.
        """
        new = probabilities.astype(np.float64)
        if self.probabilities is None:
            self.probabilities = new
        else:
            weight = 1.0 - math.exp(-max(0.0, now_s - self._classified_s) / AVERAGE_S)
            self.probabilities = self.probabilities + weight * (new - self.probabilities)
        self._classified_s = now_s
        said = verdict(self.probabilities.astype(np.float32), classifier)
        return self._steady(said, classifier)

    def _steady(self, said: Verdict, classifier: Manifest) -> Verdict:
        """Rather uncertain than flipping between two."""
        assert self.probabilities is not None
        best = int(np.argmax(self.probabilities))
        limit = classifier.decision.abstain_below if classifier.decision else 0.0
        reason = said.abstain_reason
        if reason is None and self._was_uncertain:
            if self.probabilities[best] < min(1.0, limit + NAME_MARGIN):
                reason = "the likeliest class is barely likely enough to name it"
        if reason is None and self._named is not None and best != self._named:
            if self.probabilities[best] - self.probabilities[self._named] < SWITCH_MARGIN:
                reason = "two classes are about equally likely over time"
        self._was_uncertain = reason is not None
        if reason is not None:
            return Verdict(said.classes, abstained=True, abstain_reason=reason)
        self._named = best
        return said
