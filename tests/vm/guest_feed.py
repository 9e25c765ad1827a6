"""Plays the phantom camera into v4l2loopback as YUYV: for a guest, as root.

    python guest_feed.py SEED FILE [NODE [WIDTHxHEIGHT@FPS]]

FILE holds one word: ``live``, ``freeze`` (the last picture again and again), ``black`` or ``stop``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as copied into the guest

import cv2
import numpy as np

from edge.sources import v4l2_abi as abi
from edge.sources.v4l2_device import Device
from models.phantom import PhantomCamera

NODE = "/dev/video0"
HOW = "1280x720@30"
PICTURES = 60
BUF_TYPE_VIDEO_OUTPUT = 2


def yuyv(rgb: np.ndarray) -> bytes:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUY2).tobytes()


def opened(node: str, size_wh: tuple[int, int]) -> Device:
    width, height = size_wh
    device = Device(node)
    form = abi.Format(type=BUF_TYPE_VIDEO_OUTPUT)
    form.fmt.pix = abi.PixelFormat(
        width=width,
        height=height,
        pixelformat=abi.V4L2_PIX_FMT_YUYV,
        field=abi.V4L2_FIELD_NONE,
        bytesperline=2 * width,
        sizeimage=2 * width * height,
        colorspace=abi.V4L2_COLORSPACE_SRGB,
    )
    device.call(abi.VIDIOC_S_FMT, form)
    return device


def drawn(seed: int, size_wh: tuple[int, int], fps: float) -> list[bytes]:
    """The stream to and fro; kept, so that the next boot need not draw it again."""
    kept = Path(f"/root/feed-{seed}-{size_wh[0]}.npy")
    if not kept.exists():
        camera = PhantomCamera(seed, size_wh, fps)
        forth = [yuyv(camera.frame(number).pixels) for number in range(PICTURES)]
        part = kept.with_suffix(".part.npy")
        np.save(part, np.frombuffer(b"".join(forth), np.uint8).reshape(PICTURES, -1))
        part.rename(kept)
    forth = [picture.tobytes() for picture in np.load(kept)]
    return forth + forth[-2:0:-1]


def main(seed: int, wish: Path, node: str, how: str) -> None:
    size, _, fps_text = how.partition("@")
    width, _, height = size.partition("x")
    size_wh, fps = (int(width), int(height)), float(fps_text)
    pictures = drawn(seed, size_wh, fps)
    black = yuyv(np.zeros((size_wh[1], size_wh[0], 3), np.uint8))
    device = opened(node, size_wh)
    print("feeding", flush=True)
    number, due_s = 0, time.monotonic()
    while True:
        word = wish.read_text().strip()
        number += word == "live"
        if word != "stop":
            os.write(
                device.fileno(), black if word == "black" else pictures[number % len(pictures)]
            )
        due_s = max(due_s + 1 / fps, time.monotonic() - 1.0)
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    given = sys.argv[3:]
    main(
        int(sys.argv[1]),
        Path(sys.argv[2]),
        given[0] if given else NODE,
        given[1] if len(given) > 1 else HOW,
    )
