"""Records the pictures with their overlays as one video: VP8 in WebM, which needs no licence."""

from __future__ import annotations

import logging
import math
import os
import queue
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError, RequestError
from edge.native_messages import native_messages_dropped, silence_video_libraries
from edge.sinks.base import Shot
from edge.sinks.partial import VIDEO_SUFFIX, open_partial
from edge.sinks.whole_file import OutputError, check_writable, output_error
from edge.sources.containers import check_container
from edge.sources.integrity import path_for_opencv, printable

RESERVE_BYTES = 16 << 20
"""With less than this left on the disk a recording is finished while it still can be."""

_CHECK_SPACE_EVERY = 25  # frames
_MIN_SIDE = 16  # pixels: a smaller VP8 picture has no macroblock
_BUFFERS = 2
_FINISH_TIMEOUT_S = 30.0

_log = logging.getLogger("dermedge.sink")

LONGEST_REPEAT_S = 2.0
"""A video that keeps the capture's pace shows a picture at most this long."""


class VideoSink:
    """Writes a constant-rate VP8 WebM file that appears when it is complete.

    All frames get the size of the first one, made even; others are fitted into it. The file is
    checked (every frame in it, none torn) before it takes its name.

    With ``own_thread`` :meth:`write` copies the picture into one of two reused buffers and
    returns; while both are in use the frame is left out and counted in ``dropped_frames``.
    Encoding then never holds up the caller. Without it every frame is recorded, and ``write``
    takes as long as the encoder does.

    Args:
        path: Ends in ``.webm``; replaced where it exists.
        fps: Frames per second at which it is played, whatever the pace of :meth:`write`.
        own_thread: Encode on a thread of this sink.
        keep_pace: Repeat or leave out pictures so that it plays as long as the capture took;
            pictures without a time of capture are recorded once.
        long_side_px: Larger pictures are recorded smaller than they are, with this long side.
    """

    wants_drawn = True
    goes_on = False

    def __init__(
        self,
        path: Path,
        fps: float,
        *,
        own_thread: bool = True,
        keep_pace: bool = False,
        long_side_px: int | None = None,
    ) -> None:
        self.name = f"video {printable(path)}"
        self.dropped_frames = 0
        self._path = path
        self._fps = fps
        self._own_thread = own_thread
        self._pace = _Pace(fps) if keep_pace else None
        self._long_side_px = long_side_px
        self._encoder: _Encoder | None = None
        self._thread: _EncoderThread | None = None

    def open(self) -> None:
        """Make the folder and see that there is room.

        Raises:
            RequestError: The name does not end in ``.webm``.
            InputError: The folder cannot be written, or is nearly full.
        """
        if self._path.suffix.lower() != VIDEO_SUFFIX:
            raise RequestError(
                "a video path that ends in .webm",
                got=printable(self._path),
                next_step="name it, for example, out/run.webm",
            )
        check_writable(self._path.parent)
        _check_space(self._path)
        _log.info("%s appears when it is complete; if the program is killed it is lost", self.name)

    def write(self, shot: Shot) -> bool:
        """Record one picture; always True.

        Raises:
            InputError: No encoder, or the disk is full. What was recorded before is finished by
                :meth:`close`.
        """
        picture = shot.frame.pixels if shot.drawn is None else shot.drawn
        if self._encoder is None:
            size_wh = _video_size(picture.shape[1], picture.shape[0], self._long_side_px)
            self._encoder = _Encoder(self._path, self._fps, size_wh)
            if self._own_thread:
                self._thread = _EncoderThread(self._encoder)
        copies = 1 if self._pace is None else self._pace.copies_due(shot.frame.captured_ns)
        if copies > 0 and self._record(self._encoder, picture, copies) and self._pace is not None:
            self._pace.recorded += copies
        return True

    def _record(self, encoder: _Encoder, picture: NDArray[np.uint8], copies: int) -> bool:
        if self._thread is not None:
            taken = self._thread.offer(picture, copies)
            self.dropped_frames += not taken
            return taken
        bgr = encoder.prepare(picture)
        for _ in range(copies):
            encoder.write(bgr)
        return True

    def close(self) -> None:
        """Finish the file and give it its name; calling it twice is harmless.

        Raises:
            InputError: The file could not be completed; nothing is left under its name.
        """
        encoder, thread = self._encoder, self._thread
        self._encoder = self._thread = None
        if encoder is None:
            return
        failed = thread.finish() if thread is not None else None
        encoder.finish()
        if failed is not None:
            raise failed

    def discard(self) -> None:
        """Give up the recording and leave no file.

        Raises:
            InputError: The encoder hangs.
        """
        encoder, thread = self._encoder, self._thread
        self._encoder = self._thread = None
        if thread is not None:
            thread.finish()
        if encoder is not None:
            encoder.discard()


class _Pace:
    """How often a picture must be repeated for the video to keep the time of the capture.

    Args:
        fps: Of the video.
    """

    def __init__(self, fps: float) -> None:
        self.recorded = 0
        self._fps = fps
        self._began_ns: int | None = None

    def copies_due(self, captured_ns: int | None) -> int:
        """Copies of a picture captured at ``captured_ns`` that bring the video up to it.

        A gap longer than :data:`LONGEST_REPEAT_S`, or a clock that begins anew, is left out.
        """
        if captured_ns is None:
            return 1
        if self._began_ns is None:
            self._began_ns = captured_ns
        due = round((captured_ns - self._began_ns) / 1e9 * self._fps) + 1 - self.recorded
        longest = max(1, round(LONGEST_REPEAT_S * self._fps))
        if -longest <= due <= longest:
            return max(0, due)
        self._began_ns = captured_ns - round(self.recorded / self._fps * 1e9)
        return 1


class _Encoder:
    """One file being written, under a hidden name."""

    def __init__(self, path: Path, fps: float, size_wh: tuple[int, int]) -> None:
        self._path = path
        try:
            self._partial, self._lock = open_partial(path, VIDEO_SUFFIX)
        except OSError as error:
            raise output_error(path, error) from error
        self._frames = 0
        self.size_wh = width, height = size_wh
        silence_video_libraries()
        writer = None
        try:
            with native_messages_dropped():  # it greets every VP8 file with a remark on its tag
                writer = _open_writer(self._partial, fps, self.size_wh)
        finally:
            if writer is None:
                self._let_go()
        if writer is None:
            raise InputError(
                f"an OpenCV that can write {width}x{height} VP8 into {printable(path)}",
                got="one that cannot, or a path it cannot open",
                next_step="install opencv-python, whose FFmpeg can, or record without video",
            )
        self._writer = writer

    def prepare(
        self, picture: NDArray[np.uint8], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """``picture`` (RGB) as BGR in this file's size, in ``out`` where given."""
        width, height = self.size_wh
        scale = min(width / picture.shape[1], height / picture.shape[0])
        if picture.shape[0] - height in (0, 1) and picture.shape[1] - width in (0, 1):
            fitted = picture[:height, :width]
        else:
            size = (
                min(width, max(1, round(picture.shape[1] * scale))),
                min(height, max(1, round(picture.shape[0] * scale))),
            )
            fitted = np.zeros((height, width, 3), np.uint8)
            fitted[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(fitted, cv2.COLOR_RGB2BGR, dst=out), np.uint8)

    def write(self, bgr: NDArray[np.uint8]) -> None:
        if self._frames % _CHECK_SPACE_EVERY == 0:
            _check_space(self._path)
        self._writer.write(bgr)
        self._frames += 1

    def finish(self) -> None:
        """Complete the file, make sure that it is, and give it its name."""
        try:
            self._writer.release()
            if self._frames == 0:
                return
            self._check_whole()
            with self._partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(self._partial, self._path)
        except OSError as error:
            raise output_error(self._path, error) from error
        finally:
            self._let_go()

    def _check_whole(self) -> None:
        """The library does not say when the system refuses its bytes, so the file is asked."""
        try:
            packets = check_container(self._partial).packets or 0
        except InputError:
            packets = 0
        if packets < self._frames:
            raise InputError(
                f"{self._frames} frames in {printable(self._path)}",
                got="fewer: the disk is full or was taken away",
                next_step="free some space and record again",
            )

    def discard(self) -> None:
        self._writer.release()
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            self._partial.unlink(missing_ok=True)


class _EncoderThread:
    """Encodes on its own thread, out of two buffers that go back and forth."""

    def __init__(self, encoder: _Encoder) -> None:
        width, height = encoder.size_wh
        self._encoder = encoder
        self._failed: Exception | None = None
        self._told = False
        self._empty: queue.SimpleQueue[NDArray[np.uint8]] = queue.SimpleQueue()
        self._filled: queue.SimpleQueue[tuple[NDArray[np.uint8], int] | None] = queue.SimpleQueue()
        for _ in range(_BUFFERS):
            self._empty.put(np.empty((height, width, 3), np.uint8))
        self._thread = threading.Thread(target=self._encode, name="video", daemon=True)
        self._thread.start()

    def offer(self, picture: NDArray[np.uint8], copies: int = 1) -> bool:
        """Hand over a picture to record ``copies`` times; False where both buffers are in use.

        Raises:
            Exception: What the encoder raised before, once.
        """
        if self._failed is not None and not self._told:
            self._told = True
            raise self._failed
        try:
            buffer = self._empty.get_nowait()
        except queue.Empty:
            return False
        self._filled.put((self._encoder.prepare(picture, out=buffer), copies))
        return True

    def finish(self) -> Exception | None:
        """Wait for the frames handed over; what the encoder raised, if nobody was told yet.

        Raises:
            InputError: The encoder hangs, and must be left alone.
        """
        self._filled.put(None)
        self._thread.join(_FINISH_TIMEOUT_S)
        if self._thread.is_alive():
            raise InputError(
                "the last frames of the video to be written",
                got=f"no answer from the disk for {_FINISH_TIMEOUT_S:g} s",
                next_step="check the disk; the recording may be lost",
            )
        return None if self._told else self._failed

    def _encode(self) -> None:
        while (filled := self._filled.get()) is not None:
            buffer, copies = filled
            try:
                for _ in range(copies if self._failed is None else 0):
                    self._encoder.write(buffer)
            except Exception as error:  # raised again by the next offer, or returned by finish
                self._failed = error
            self._empty.put(buffer)


def _video_size(width: int, height: int, long_side_px: int | None) -> tuple[int, int]:
    """Even, as VP8 wants it, and with a long side of at most ``long_side_px``."""
    scale = min(1.0, (long_side_px or math.inf) / max(width, height))
    sides = (round(width * scale), round(height * scale))
    return max(_MIN_SIDE, sides[0] - sides[0] % 2), max(_MIN_SIDE, sides[1] - sides[1] % 2)


def _open_writer(path: Path, fps: float, size_wh: tuple[int, int]) -> cv2.VideoWriter | None:
    fourcc = cv2.VideoWriter.fourcc(*"VP80")
    text = path_for_opencv(path)
    try:
        for backend in (cv2.CAP_FFMPEG, cv2.CAP_GSTREAMER):
            if backend in cv2.videoio_registry.getWriterBackends():
                writer = cv2.VideoWriter(text, backend, fourcc, fps, size_wh)
                if writer.isOpened():
                    return writer
    except cv2.error:
        return None  # the caller says what could not be opened
    return None


def _check_space(path: Path) -> None:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise output_error(path, error) from error
    if free < RESERVE_BYTES:
        refused = OutputError(
            f"at least {RESERVE_BYTES >> 20} MB free for {printable(path)}",
            got=f"{free / (1 << 20):.0f} MB",
            next_step="free some space or choose another folder",
        )
        refused.place_is_full = True
        raise refused
