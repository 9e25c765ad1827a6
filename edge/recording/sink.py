"""The sink ``record:``: continuous recording, bounded by the room on the disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge.errors import InputError
from edge.recording.retention import free_bytes, make_room, tidy
from edge.recording.segment import SegmentWriter, next_number, recover
from edge.sinks.base import Shot
from edge.sinks.whole_file import check_writable, output_error
from edge.sources.integrity import printable

What = Literal["clean", "drawn"]

SEGMENT_S = 60.0
LOOK_AT_ROOM_EVERY_S = 5.0
ROOM_MARGIN_BYTES = 64 << 20
"""So much more than the floor is made free, so that not every look removes a segment."""

JPEG_QUALITY = 85


class RecordSink:
    """Records every analyzed frame as JPEG with its Result, in segments of a minute.

    It is meant to run behind :class:`edge.sinks.background.BackgroundSink`: where the disk is too
    slow, recorded frames are left out and counted, never analyzed ones.

    Args:
        folder: Of all segments; made where missing.
        what: ``clean`` pictures as the camera gave them, or ``drawn`` ones with the overlay.
        reserve_bytes: Room that must be left on the disk; the oldest segments are removed for it.
        segment_s: Length of a segment.
    """

    def __init__(
        self,
        folder: Path,
        what: What = "clean",
        *,
        reserve_bytes: int = 2 << 30,
        segment_s: float = SEGMENT_S,
    ) -> None:
        self.name = f"record {printable(folder)}"
        self.wants_drawn = what == "drawn"
        self.goes_on = True
        self._folder = folder
        self._what = what
        self._reserve_bytes = reserve_bytes
        self._segment_s = segment_s
        self._segment: SegmentWriter | None = None
        self._size_wh: tuple[int, int] | None = None
        self._next_look_s = 0.0

    def open(self) -> None:
        """Make the folder, close what a power cut left open, and make room.

        Raises:
            InputError: It cannot be written, or there is no room.
        """
        check_writable(self._folder)
        try:
            tidy(self._folder)
            recover(self._folder)
        except OSError as error:
            raise output_error(self._folder, error) from error
        self._look_at_room()

    def write(self, shot: Shot) -> bool:
        """Record one frame; always True.

        Raises:
            InputError: There is no room, or the disk does not take it. Closed segments stay.
        """
        picture = shot.frame.pixels if shot.drawn is None or self._what == "clean" else shot.drawn
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise InputError("a picture that can be recorded", got="none", next_step="see the log")
        try:
            segment = self._segment_for((picture.shape[1], picture.shape[0]))
            segment.add(np.asarray(data, np.uint8).tobytes(), shot.result.to_json_dict())
        except OSError as error:
            self._abandon()
            raise output_error(self._folder, error) from error
        return True

    def close(self) -> None:
        """Close the segment; calling it twice is harmless.

        Raises:
            InputError: The disk does not take it; what is whole is found at the next start.
        """
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            segment.close()
        except OSError as error:
            segment.abandon()
            raise output_error(self._folder, error) from error

    def _segment_for(self, size_wh: tuple[int, int]) -> SegmentWriter:
        now_s = time.monotonic()
        if self._segment is not None:
            is_over = now_s - self._segment.began_s >= self._segment_s or size_wh != self._size_wh
            if now_s >= self._next_look_s:
                self._next_look_s = now_s + LOOK_AT_ROOM_EVERY_S
                is_over = is_over or free_bytes(self._folder) < self._reserve_bytes
            if is_over:
                self.close()
        if self._segment is None:
            self._look_at_room()
            facts = {"what": self._what, "size_wh": list(size_wh)}
            self._segment = SegmentWriter(self._folder, next_number(self._folder), facts)
            self._size_wh = size_wh
        return self._segment

    def _look_at_room(self) -> None:
        self._next_look_s = time.monotonic() + LOOK_AT_ROOM_EVERY_S
        if free_bytes(self._folder) < self._reserve_bytes:
            make_room(self._folder, self._reserve_bytes + ROOM_MARGIN_BYTES)

    def _abandon(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.abandon()
