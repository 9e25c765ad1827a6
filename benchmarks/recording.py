"""What recording costs, for each picture of 1280x720: ``python -m benchmarks.recording``."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.analyzer import SOFTWARE
from edge.analysis.stamp import stamp_of
from edge.frame import Frame
from edge.recording.encoders import Codec
from edge.recording.h264 import decode, proven_program
from edge.recording.segment import SUMMARY, codec_of, list_segments, read_frames, video_of
from edge.recording.sink import RecordSink
from edge.result import Quality, Result
from edge.sinks.base import Shot
from models.phantom import PhantomCamera

SIZE_WH, PICTURES = (1280, 720), 120


def shots() -> list[Shot]:
    """Frames of the phantom camera with an empty Result each."""
    camera = PhantomCamera(7, SIZE_WH)
    made = []
    for index in range(30):
        frame = Frame(camera.frame(index).pixels, index, "bench", index, "recording", "file")
        result = Result(
            SOFTWARE, "nothing_found", (), stamp_of(frame), 0.5, (), 0, None, Quality(), {}, {}
        )
        made.append(Shot(frame, result, None, None))
    return made


def measure(made: list[Shot], codec: Codec) -> str:
    """One row: CPU of this process and of the encoder's, room, likeness."""
    with tempfile.TemporaryDirectory() as folder:
        sink = RecordSink(Path(folder), codec=codec, reserve_bytes=0)
        sink.open()
        before_s = _cpu_s()
        for number in range(PICTURES):
            sink.write(made[number % len(made)])
        sink.close()
        own_ms, child_ms = (
            (after - before) / PICTURES * 1e3
            for after, before in zip(_cpu_s(), before_s, strict=True)
        )
        (segment,) = list_segments(Path(folder))
        size = video_of(segment).stat().st_size
        worst_db = min(
            cv2.PSNR(shot.frame.pixels, seen)
            for shot, seen in zip(made, _decoded(segment), strict=False)
        )
        by = json.loads((segment / SUMMARY).read_text())["encoder"]
    kb = size / PICTURES / 1e3
    return (
        f"| {codec} ({by}) | {own_ms:.1f} ms | {child_ms:.1f} ms | {kb:.0f} kB | "
        f"{kb * 600 / 1e3:.0f} MB | {worst_db:.1f} dB |"
    )


def _cpu_s() -> tuple[float, float]:
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system


def _decoded(segment: Path) -> Iterator[NDArray[np.uint8]]:
    if codec_of(segment) == "h264":
        yield from decode(data for _, data in read_frames(segment))
        return
    for _, data in read_frames(segment):
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def main() -> int:
    """Print a table."""
    cv2.setNumThreads(1)
    made = shots()
    program, why_not = proven_program()
    print(f"{SIZE_WH[0]}x{SIZE_WH[1]}, {PICTURES} phantoms; {why_not}\n")
    print(
        "| codec | CPU here | CPU of the encoder | room | a minute at 10 per second | worst PSNR |"
    )
    print("|---|---|---|---|---|---|")
    codecs: tuple[Codec, ...] = ("mjpeg", "h264") if program else ("mjpeg",)
    for codec in codecs:
        print(measure(made, codec))
    return 0


if __name__ == "__main__":
    sys.exit(main())
