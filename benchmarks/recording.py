"""What recording costs, for each picture of 1280x720: ``python -m benchmarks.recording``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from edge.analysis.analyzer import SOFTWARE
from edge.analysis.stamp import stamp_of
from edge.frame import Frame
from edge.recording import sink as recording
from edge.recording.segment import VIDEO, list_segments
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


def main() -> int:
    """Print CPU and room."""
    cv2.setNumThreads(1)
    made, spent_ms = shots(), []
    with tempfile.TemporaryDirectory() as folder:
        sink = RecordSink(Path(folder), reserve_bytes=0)
        sink.open()
        for number in range(PICTURES):
            began = time.thread_time()
            sink.write(made[number % len(made)])
            spent_ms.append((time.thread_time() - began) * 1e3)
        sink.close()
        size = sum((segment / VIDEO).stat().st_size for segment in list_segments(Path(folder)))
    encode_ms = []
    for shot in made:
        began = time.thread_time()
        bgr = cv2.cvtColor(shot.frame.pixels, cv2.COLOR_RGB2BGR)
        cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, recording.JPEG_QUALITY])
        encode_ms.append((time.thread_time() - began) * 1e3)
    kb = size / PICTURES / 1e3
    print(f"{SIZE_WH[0]}x{SIZE_WH[1]}, JPEG quality {recording.JPEG_QUALITY}, {PICTURES} phantoms")
    print(f"CPU for each picture: {np.median(spent_ms):.2f} ms, of which encoding "
          f"{np.median(encode_ms):.2f} ms")  # fmt: skip
    print(f"room: {kb:.0f} kB for each picture, {kb * 600 / 1e3:.0f} MB a minute at 10 per second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
