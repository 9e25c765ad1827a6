"""The ``v4l2:`` source on v4l2loopback, fed by this program: run as root inside a guest.

MJPG as a camera would send it, whole and torn; a driver whose time stamps are not used; a writer
that stops. Needs the module v4l2loopback.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as copied into the guest

import cv2
import numpy as np

from edge.errors import InputError
from edge.sources import v4l2_abi as abi
from edge.sources.lost import SourceLost
from edge.sources.v4l2 import V4l2Source
from edge.sources.v4l2_device import Device
from edge.sources.v4l2_formats import Wish

NODE = "/dev/video0"
SIZE_WH = (1280, 720)
BUF_TYPE_VIDEO_OUTPUT = 2


class Writer(threading.Thread):
    """Writes frames into the loopback at 20 per second; each is as grey as its number."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.spoil = ""
        self.stopped = threading.Event()
        self.written_s: dict[int, float] = {}
        self._device = Device(NODE)
        form = abi.Format(type=BUF_TYPE_VIDEO_OUTPUT)
        form.fmt.pix = abi.PixelFormat(
            width=SIZE_WH[0],
            height=SIZE_WH[1],
            pixelformat=abi.V4L2_PIX_FMT_MJPEG,
            field=abi.V4L2_FIELD_NONE,
            sizeimage=2 * SIZE_WH[0] * SIZE_WH[1],
            colorspace=abi.V4L2_COLORSPACE_SRGB,
        )
        self._device.call(abi.VIDIOC_S_FMT, form)

    def run(self) -> None:
        number = 0
        while not self.stopped.wait(0.05):
            number = (number + 1) % 200
            grey = np.full((SIZE_WH[1], SIZE_WH[0], 3), 20 + number, np.uint8)
            data = cv2.imencode(".jpg", grey)[1].tobytes()
            if self.spoil == "torn":
                data = data[: len(data) // 2]
            if self.spoil == "filled up":
                data += bytes(5000)
            if self.spoil != "silent":
                self.written_s[20 + number] = time.monotonic()
                os.write(self._device.fileno(), data)
        self._device.close()


def begin(source: V4l2Source) -> None:
    """Pass over the first frames: v4l2loopback gives what its ring held before, or nothing yet."""
    for _ in range(5):
        try:
            source.read()
        except SourceLost:
            raise
        except InputError as error:
            print("  refused:", error.got)


def check_mjpg_by_arrival(writer: Writer) -> None:
    with V4l2Source(wish=Wish(SIZE_WH, 20.0)) as source:
        assert source.name.startswith("v4l2:platform:v4l2loopback"), source.name
        begin(source)
        for pause_s in (0.0,) * 20 + (0.7,) * 3:
            time.sleep(pause_s)
            frame = source.read()
            grey = round(float(frame.pixels[300:310, 300:310].mean()))
            assert frame.size_wh == SIZE_WH and frame.captured_by == "arrival"
            written_ns = writer.written_s[grey] * 1e9
            # Nothing that had waited in a full queue during the pause.
            assert (frame.captured_ns - written_ns) / 1e6 < 400
            assert frame.exposure_began_ns < written_ns


def check_padding_and_torn_pictures(writer: Writer) -> None:
    with V4l2Source(NODE, wish=Wish(SIZE_WH, 20.0)) as source:
        begin(source)
        writer.spoil = "filled up"
        for _ in range(5):
            assert source.read() is not None
        writer.spoil = "torn"
        refused = 0
        for _ in range(10):
            try:
                source.read()
            except InputError as error:
                assert "in the middle of the picture" in str(error), error
                refused += 1
        writer.spoil = ""
        assert refused >= 5 and source.refused >= refused, (refused, source.refused)
        time.sleep(0.2)
        assert source.read() is not None


def check_a_writer_that_stops(writer: Writer) -> None:
    with V4l2Source(wish=Wish(SIZE_WH, 20.0), silent_after_s=1.0) as source:
        begin(source)
        writer.spoil = "silent"
        try:
            for _ in range(20):
                source.read()
            raise AssertionError("no end of frames")
        except SourceLost as error:
            print("  ", error)
        writer.spoil = ""
        source.close()
        source.open()
        begin(source)
        assert source.read() is not None


def main() -> int:
    subprocess.run(
        ["modprobe", "v4l2loopback", "devices=1", "video_nr=0", "exclusive_caps=1"], check=True
    )
    subprocess.run(["udevadm", "settle"], check=True)
    writer = Writer()
    writer.start()
    time.sleep(0.5)
    checks = {name: check for name, check in globals().items() if name.startswith("check_")}
    failed = 0
    for name, check in checks.items():
        try:
            check(writer)
            words = "ok"
        except Exception:
            traceback.print_exc(file=sys.stdout)
            words, failed = "FAILED", failed + 1
        print(f"{words:6} {name}", flush=True)
    writer.stopped.set()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
