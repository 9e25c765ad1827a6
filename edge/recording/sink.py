"""The sink ``record:``: continuous recording, bounded by the room on the disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import RequestError
from edge.recording.encoders import Codec, Encoder, EncoderFailedError, JpegEncoder
from edge.recording.h264 import H264Encoder, Program, proven_program
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

_log = logging.getLogger("dermedge.recording")


class RecordSink:
    """Records every analyzed frame with its Result, in segments of a minute.

    It is meant to run behind :class:`edge.sinks.background.BackgroundSink`: where the disk or the
    encoder is too slow, recorded frames are left out and counted, never analyzed ones.

    Args:
        folder: Of all segments; made where missing.
        what: ``clean`` pictures as the camera gave them, or ``drawn`` ones with the overlay.
        codec: ``h264``, ``mjpeg``, or ``auto``: H.264 where a program that encodes it works here.
        reserve_bytes: Room that must be left on the disk; the oldest segments are removed for it.
        segment_s: Length of a segment.
    """

    def __init__(
        self,
        folder: Path,
        what: What = "clean",
        *,
        codec: Codec | Literal["auto"] = "auto",
        reserve_bytes: int = 2 << 30,
        segment_s: float = SEGMENT_S,
    ) -> None:
        self.name = f"record {printable(folder)}"
        self.wants_drawn = what == "drawn"
        self.goes_on = True
        self._folder = folder
        self._what = what
        self._codec = codec
        self._program: Program | None = None
        self._is_chosen = codec == "mjpeg"
        self._reserve_bytes = reserve_bytes
        self._segment_s = segment_s
        self._segment: SegmentWriter | None = None
        self._encoder: Encoder = JpegEncoder()
        self._size_wh: tuple[int, int] | None = None
        self._next_look_s = 0.0

    def open(self) -> None:
        """Make the folder, close what a power cut left open, and make room.

        Raises:
            InputError: It cannot be written, or there is no room.
            RequestError: H.264 is asked for, and nothing here encodes it.
        """
        check_writable(self._folder)
        try:
            tidy(self._folder)
            recover(self._folder)
            self._look_at_room()
        except OSError as error:
            raise output_error(self._folder, error) from error
        if self._codec == "h264":
            self._choose()

    def write(self, shot: Shot) -> bool:
        """Record one frame; always True.

        Raises:
            InputError: There is no room, or the disk does not take it. Closed segments stay.
        """
        picture = shot.frame.pixels if shot.drawn is None or self._what == "clean" else shot.drawn
        try:
            self._add(picture, shot.result.to_json_dict())
        except EncoderFailedError as error:
            _log.warning(
                "recording: %s is left (%s), it goes on as JPEG pictures", self._encoder.name, error
            )
            self._program = None
            self.close()
            self._add(picture, shot.result.to_json_dict())
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
            for data, result in self._encoder.finish():
                segment.add(data, result)
            segment.close(lost=self._encoder.lost)
        except OSError as error:
            segment.abandon()
            raise output_error(self._folder, error) from error
        if self._encoder.lost:
            _log.warning(
                "recording: %d pictures were lost in %s", self._encoder.lost, self._encoder.name
            )

    def _add(self, picture: NDArray[np.uint8], result: Mapping[str, Any]) -> None:
        self._choose()  # here, on the sink's own thread: the proof takes a while
        try:
            segment = self._segment_for((picture.shape[1], picture.shape[0]))
            for data, its_result in self._encoder.encode(picture, result):
                segment.add(data, its_result)
        except OSError as error:
            self._abandon()
            raise output_error(self._folder, error) from error

    def _choose(self) -> None:
        """Find out once what encodes H.264 here.

        Raises:
            RequestError: It is asked for, and nothing does.
        """
        if self._is_chosen:
            return
        self._program, why_not = proven_program()
        if self._program is None and self._codec == "h264":
            raise RequestError(
                "a program that encodes H.264 (Debian: ffmpeg)",
                got=why_not,
                next_step="install it, or record with codec=auto",
            )
        self._is_chosen = True
        chosen = self._program.name if self._program else JpegEncoder.name
        _log.info("recording with %s%s", chosen, f" ({why_not})" if why_not else "")

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
            self._begin(size_wh)
        assert self._segment is not None
        return self._segment

    def _begin(self, size_wh: tuple[int, int]) -> None:
        """A segment with an encoder of its own, so that it can be played by itself."""
        encoder = H264Encoder(self._program, size_wh) if self._program else JpegEncoder()
        facts = {"what": self._what, "size_wh": list(size_wh), "encoder": encoder.name}
        try:
            self._segment = SegmentWriter(
                self._folder, next_number(self._folder), encoder.codec, facts
            )
        except BaseException:
            encoder.finish()
            raise
        self._encoder = encoder
        self._size_wh = size_wh

    def _look_at_room(self) -> None:
        self._next_look_s = time.monotonic() + LOOK_AT_ROOM_EVERY_S
        if free_bytes(self._folder) < self._reserve_bytes:
            make_room(self._folder, self._reserve_bytes, ROOM_MARGIN_BYTES)

    def _abandon(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            self._encoder.finish()
            segment.abandon()
