"""Makes a video that a browser plays from a recorded segment."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.frame import Frame
from edge.recording.h264 import decode
from edge.recording.segment import FrameLine, codec_of, read_frames
from edge.sinks.base import Shot
from edge.sinks.video import VideoSink
from edge.sources.integrity import printable

FPS_MOST, FPS_LEAST = 30.0, 1.0
ENCODE_WITHIN_S = 3600.0
PART_SUFFIX = ".part"

# The stream itself says 30 per second, whatever -framerate says: hence the last filter.
_TAKEN = ("-f", "h264", "-i", "-", "-c:v", "copy", "-bsf:v", "setts=ts=N/({fps}*TB)")
_ENCODED = (
    *("-f", "image2pipe", "-c:v", "mjpeg", "-framerate", "{fps}", "-i", "-"),
    *("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"),
    *("-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2"),
)


def make_playable(segment: Path, out: Path) -> Path:
    """Write ``out.mp4`` (H.264) where an ``ffmpeg`` that can is installed, else ``out.webm`` (VP8).

    What was recorded as H.264 is taken as it is; JPEG needs an ffmpeg with libx264. The video has
    one rate, the recording's mean; the true instants stay in ``frames.jsonl``.

    Args:
        segment: A closed one.
        out: Path without a suffix; its folder is made where missing.

    Returns:
        The video that was written.

    Raises:
        InputError: There is no whole picture in it, or it cannot be written.
    """
    lines = [line for line, _ in read_frames(segment)]
    if not lines:
        raise InputError(
            f"a recording with pictures in {printable(segment)}",
            got="none that is whole",
            next_step="leave it out",
        )
    fps = mean_fps(lines)
    out.parent.mkdir(parents=True, exist_ok=True)
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is not None and (codec_of(segment) == "h264" or _has_x264(ffmpeg)):
        return _with_ffmpeg(ffmpeg, segment, out.with_suffix(".mp4"), fps)
    return _with_opencv(segment, out.with_suffix(".webm"), fps)


def mean_fps(lines: list[FrameLine]) -> float:
    """Pictures per second from the first to the last capture, within bounds."""
    instants = [line.result["frame"]["captured_ns"] for line in lines]
    known = [instant for instant in instants if isinstance(instant, int)]
    span_s = (known[-1] - known[0]) / 1e9 if len(known) > 1 else 0.0
    return min(FPS_MOST, max(FPS_LEAST, (len(known) - 1) / span_s)) if span_s > 0.0 else 10.0


def _has_x264(ffmpeg: str) -> bool:
    said = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, text=True)
    return "libx264" in said.stdout


def _with_ffmpeg(ffmpeg: str, segment: Path, out: Path, fps: float) -> Path:
    part = out.with_name(out.name + PART_SUFFIX)
    how = _TAKEN if codec_of(segment) == "h264" else _ENCODED
    command = [
        *(ffmpeg, "-hide_banner", "-loglevel", "error", "-y"),
        *(word.format(fps=f"{fps:.4f}") for word in how),
        *("-movflags", "+faststart", "-f", "mp4", str(part)),
    ]
    try:
        code, words = _feed(command, segment)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if code != 0:
        part.unlink(missing_ok=True)
        raise InputError(
            f"ffmpeg to write {printable(out)}",
            got=" ".join(words.split())[:200] or f"exit code {code}",
            next_step="check the room on the disk",
        )
    os.replace(part, out)
    return out


def _feed(command: list[str], segment: Path) -> tuple[int, str]:
    """Give a program all pictures of a segment; its exit code, and what it said."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None and encoder.stderr is not None
        try:
            for _, picture in read_frames(segment):
                encoder.stdin.write(picture)
            encoder.stdin.close()
            encoder.wait(ENCODE_WITHIN_S)
        except BrokenPipeError:
            encoder.wait()
        finally:
            encoder.kill()
        return encoder.returncode, encoder.stderr.read().decode("utf-8", "replace")


def _with_opencv(segment: Path, out: Path, fps: float) -> Path:
    # Closed, it is a whole video of what came so far: it takes its name only at the end.
    part = out.with_name(f".{out.name}")
    part.unlink(missing_ok=True)
    video = VideoSink(part, fps, own_thread=False)
    video.open()
    try:
        try:
            for line, rgb in _pictures(segment, out.parent):
                video.write(_shot(rgb, line))
        finally:
            video.close()
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    os.replace(part, out)
    return out


def _pictures(segment: Path, folder: Path) -> Iterator[tuple[FrameLine, NDArray[np.uint8]]]:
    if codec_of(segment) == "h264":
        lines = (line for line, _ in read_frames(segment))
        pictures = decode((unit for _, unit in read_frames(segment)), folder)
        yield from zip(lines, pictures, strict=False)  # a damaged picture may be left out
        return
    for line, jpeg in read_frames(segment):
        bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if bgr is not None:
            yield line, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _shot(rgb: NDArray[np.uint8], line: FrameLine) -> Shot:
    frame = Frame(rgb, int(line.result["frame"]["id"]), "recording", None, None, "file")
    return Shot(frame, None, None, None)  # type: ignore[arg-type]  # a video looks at pixels alone
