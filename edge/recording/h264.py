"""H.264 while the camera runs: raw pictures into a program's standard input, access units out.

An access unit is one picture. Each begins with a delimiter (ITU-T H.264, 7.3.2.4), so that the
stream can be cut into pictures without being understood, and each picture keeps its own place and
Result in the segment, as a JPEG does. What an encoder holds back it gives at the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import selectors
import shutil
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.recording.encoders import Codec, Encoded, EncoderFailedError

DELIMITER = b"\x00\x00\x00\x01\x09"
KEY_PICTURE_EVERY = 30
"""What is left of a stream can be played from the next of these on."""

QUALITY_CRF = 20
ANSWER_WITHIN_S = 6.0
"""An encoder that takes no picture for this long hangs."""

FINISH_WITHIN_S = 3.0
NICE = "10"
"""The analysis goes first."""

PROOF_PICTURES = 4
PROOF_PSNR_DB = 24.0
"""A decoded proof that is farther than this from what was encoded is no picture of it."""

_ZEROS_OF_NO_START = re.compile(rb"\0\0\0(?!\x01)")
_BLOCK = 1 << 16
_log = logging.getLogger("dermedge.recording")


@dataclass(frozen=True)
class Program:
    """A program that encodes.

    Attributes:
        name: For the log and the segment's summary.
        package: What brings it, in words.
        command: With places for what :func:`_layout` gives; reads I420 pictures.
        needs: What must be listed by GStreamer besides, or empty.
    """

    name: str
    package: str
    command: tuple[str, ...]
    needs: str = ""


def _gstreamer(encoder: str, name: str, package: str, conversion: str = "") -> Program:
    # GStreamer's own rows have room between them: without the strides only some widths are right.
    raw = (
        "rawvideoparse width={width} height={height} format=i420 framerate=30/1 "
        "plane-strides=<{width},{half_width},{half_width}> plane-offsets=<0,{u_begin},{v_begin}>"
    )
    line = (
        f"gst-launch-1.0 -q fdsrc ! {raw} ! {conversion}{encoder} ! "
        "h264parse ! video/x-h264,stream-format=byte-stream,alignment=au ! fdsink sync=false"
    )
    return Program(name, package, tuple(line.split()), encoder.split()[0])


PROGRAMS = (
    _gstreamer(
        f"nvv4l2h264enc insert-aud=true insert-sps-pps=true idrinterval={KEY_PICTURE_EVERY} "
        f"iframeinterval={KEY_PICTURE_EVERY} maxperf-enable=true bitrate=6000000",
        "nvv4l2h264enc",
        "Jetson Linux's GStreamer plug-ins",
        "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! ",
    ),
    Program(
        "ffmpeg's libx264",
        "Debian: ffmpeg",
        (
            *"ffmpeg -hide_banner -loglevel error -f rawvideo -pix_fmt yuv420p".split(),
            *"-s {width}x{height} -framerate 30 -i - -c:v libx264".split(),
            *f"-preset superfast -tune zerolatency -crf {QUALITY_CRF} -bf 0".split(),
            *f"-g {KEY_PICTURE_EVERY} -threads 2 -x264-params aud=1".split(),
            # What the conversion below makes: BT.601, limited range, from sRGB's light.
            *"-color_range tv -colorspace smpte170m -color_primaries bt709".split(),
            *"-color_trc iec61966-2-1 -flush_packets 1 -f h264 -".split(),
        ),
    ),
    _gstreamer(
        f"x264enc aud=true tune=zerolatency speed-preset=superfast key-int-max={KEY_PICTURE_EVERY} "
        f"pass=qual quantizer={QUALITY_CRF} threads=2 byte-stream=true",
        "GStreamer's x264enc",
        "Debian: gstreamer1.0-tools gstreamer1.0-plugins-ugly gstreamer1.0-plugins-bad",
    ),
)
"""In the order in which they are tried: hardware first."""


class H264Encoder:
    """One child for one stream of pictures of one size.

    Odd sizes are made even by repeating the last column or row.

    Args:
        program: Which.
        size_wh: Of every picture.

    Raises:
        EncoderFailedError: It cannot be started.
    """

    codec: Codec = "h264"

    def __init__(self, program: Program, size_wh: tuple[int, int]) -> None:
        self.name = program.name
        command = [part.format(**_layout(size_wh)) for part in program.command]
        try:
            self._child = subprocess.Popen(
                ["nice", "-n", NICE, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is ours
            )
        except OSError as error:
            raise EncoderFailedError(f"it cannot be started: {error.strerror}") from error
        assert self._child.stdin is not None and self._child.stdout is not None
        self._in, self._out = self._child.stdin.fileno(), self._child.stdout.fileno()
        for pipe in (self._in, self._out):
            os.set_blocking(pipe, False)
        self.lost = 0
        self._failed = False
        self._stream = bytearray()
        self._waiting: deque[Mapping[str, Any]] = deque()

    def encode(self, rgb: NDArray[np.uint8], result: Mapping[str, Any]) -> list[Encoded]:
        """See :class:`edge.recording.encoders.Encoder`."""
        try:
            self._give(memoryview(i420(rgb).tobytes()))
        except EncoderFailedError:
            self._failed = True
            raise
        self._waiting.append(result)
        return self._whole_units(at_end=False)

    def finish(self) -> list[Encoded]:
        """See :class:`edge.recording.encoders.Encoder`."""
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # nothing of ours is buffered in it
            self._child.stdin.close()
        has_ended = not self._failed and self._read_to_the_end()
        # Of a child that was killed the last picture may be half a one.
        units = self._whole_units(at_end=has_ended and self._child.wait() == 0)
        self._end_child()
        self.lost += len(self._waiting)
        self._waiting.clear()
        return units

    def _give(self, data: memoryview) -> None:
        """Hand over one raw picture, and take in meanwhile what comes."""
        until_s = time.monotonic() + ANSWER_WITHIN_S
        with selectors.DefaultSelector() as ready:
            ready.register(self._in, selectors.EVENT_WRITE)
            ready.register(self._out, selectors.EVENT_READ)
            while data:
                if time.monotonic() >= until_s:
                    raise EncoderFailedError(f"it takes no picture for {ANSWER_WITHIN_S:g} s")
                for key, _ in ready.select(max(0.0, until_s - time.monotonic())):
                    if key.fd == self._in:
                        data = data[self._write(data) :]
                    elif not self._read():
                        raise EncoderFailedError(f"it has ended{self._how()}")
        self._read()

    def _read_to_the_end(self) -> bool:
        """Whether the child closed its output in time; a process that did so ends at once."""
        until_s = time.monotonic() + FINISH_WITHIN_S
        with selectors.DefaultSelector() as ready:
            ready.register(self._out, selectors.EVENT_READ)
            while (left_s := until_s - time.monotonic()) > 0:
                if ready.select(left_s) and not self._read():
                    return self._ended_within(left_s)
        _log.warning("recording: %s does not end within %g s", self.name, FINISH_WITHIN_S)
        return False

    def _ended_within(self, seconds: float) -> bool:
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _end_child(self) -> None:
        if self._child.poll() is None:
            self._child.kill()  # one that is stopped too
        self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()

    def _how(self) -> str:
        code = self._child.poll()
        return "" if code is None else f" ({code})"

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._in, data[: 16 * _BLOCK])
        except BlockingIOError:
            return 0
        except OSError as error:
            raise EncoderFailedError(f"it has ended{self._how()}") from error

    def _read(self) -> bool:
        """Take in what is there; False at the end."""
        while True:
            try:
                data = os.read(self._out, 16 * _BLOCK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._stream += data

    def _whole_units(self, *, at_end: bool) -> list[Encoded]:
        """Cut off access units; one is whole once the next has begun."""
        units: list[Encoded] = []
        while self._waiting:
            begin = self._stream.find(DELIMITER, len(DELIMITER))
            if begin < 0 and not (at_end and self._stream):
                break
            end = len(self._stream) if begin < 0 else begin
            units.append((bytes(self._stream[:end]), self._waiting.popleft()))
            del self._stream[:end]
        return units


def is_whole_unit(data: bytes) -> bool:
    """Whether an access unit has its begin, and no zeros that a power cut left.

    Inside a NAL unit three zeros never follow each other, and none is its last byte (ITU-T H.264,
    7.4.1); between two of them stands 00 00 00 01.
    """
    return (
        data.startswith(DELIMITER)
        and not data.endswith(b"\0")
        and _ZEROS_OF_NO_START.search(data) is None
    )


def i420(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Planar YUV 4:2:0 of BT.601 in limited range, even in size, from HxWx3 uint8 RGB."""
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        rgb = np.asarray(
            cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8
        )
    return np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)


def _layout(size_wh: tuple[int, int]) -> dict[str, int]:
    """Of what :func:`i420` makes: its size in pixels, and where in bytes its planes begin."""
    width, height = (side + side % 2 for side in size_wh)
    luma = width * height
    places = {"u_begin": luma, "v_begin": luma + luma // 4}
    return {"width": width, "height": height, "half_width": width // 2, **places}


def proven_program(programs: Sequence[Program] = PROGRAMS) -> tuple[Program | None, str]:
    """The first program that has just encoded pictures which OpenCV can read again.

    Returns:
        The program, or ``None``; and for the log why the others are not taken.
    """
    reasons: list[str] = []
    for program in programs:
        reason = _why_not(program)
        if not reason:
            return program, "; ".join(reasons)
        reasons.append(f"{program.name}: {reason}")
    return None, "; ".join(reasons)


def _why_not(program: Program) -> str:
    if shutil.which(program.command[0]) is None:
        return f"no {program.command[0]} ({program.package})"
    if program.needs and not _has_element(program.needs):
        return f"no such element ({program.package})"
    try:
        return _try(program)
    except EncoderFailedError as error:
        return str(error)


def _has_element(name: str) -> bool:
    if shutil.which("gst-inspect-1.0") is None:
        return False
    try:
        asked = subprocess.run(
            ["gst-inspect-1.0", "--exists", name], capture_output=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def _try(program: Program) -> str:
    """Encode a few pictures and read them again; what is wrong, or nothing."""
    ramp = np.linspace(40, 220, 320, dtype=np.uint8)
    rows = [np.roll(ramp, 9 * number) for number in range(PROOF_PICTURES)]
    rgb = [np.ascontiguousarray(np.broadcast_to(row[None, :, None], (240, 320, 3))) for row in rows]
    encoder = H264Encoder(program, (320, 240))
    units: list[Encoded] = []
    try:
        for picture in rgb:
            units += encoder.encode(picture, {})
    finally:
        units += encoder.finish()
    if len(units) != PROOF_PICTURES:
        return f"{len(units)} pictures out of {PROOF_PICTURES}"
    if not all(is_whole_unit(data) for data, _ in units):
        return "its pictures have zeros where H.264 has none"
    decoded = list(decode(data for data, _ in units))
    if len(decoded) != PROOF_PICTURES:
        return f"OpenCV reads {len(decoded)} pictures out of {PROOF_PICTURES}"
    worst = min(cv2.PSNR(one, other) for one, other in zip(rgb, decoded, strict=True))
    return "" if worst >= PROOF_PSNR_DB else f"what is read again differs ({worst:.0f} dB)"


def decode(units: Iterable[bytes], folder: Path | None = None) -> Iterator[NDArray[np.uint8]]:
    """Pictures of whole access units from a key picture on, HxWx3 uint8 RGB.

    Args:
        units: In order.
        folder: For a file that is removed again; the system's own for such files if ``None``.
    """
    with tempfile.NamedTemporaryFile(prefix=".dermedge-", suffix=".h264", dir=folder) as file:
        file.writelines(units)
        file.flush()
        video = cv2.VideoCapture(file.name)
        try:
            while True:
                there, bgr = video.read()
                if not there:
                    return
                yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        finally:
            video.release()
