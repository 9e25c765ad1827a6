"""Plays the phantom camera into v4l2loopback as YUYV at 30 frames per second: for a guest, as root.

    python guest_feed.py SEED FILE [NODE]

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
SIZE_WH = (1280, 720)
FPS = 30.0
PICTURES = 120
BUF_TYPE_VIDEO_OUTPUT = 2


def yuyv(rgb: np.ndarray) -> bytes:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUY2).tobytes()


def opened(node: str) -> Device:
    width, height = SIZE_WH
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


def main(seed: int, wish: Path, node: str) -> None:
    camera = PhantomCamera(seed, SIZE_WH, FPS)
    forth = [yuyv(camera.frame(number).pixels) for number in range(PICTURES)]
    pictures = forth + forth[-2:0:-1]
    black = yuyv(np.zeros((SIZE_WH[1], SIZE_WH[0], 3), np.uint8))
    device = opened(node)
    print("feeding", flush=True)
    number, due_s = 0, time.monotonic()
    while True:
        word = wish.read_text().strip()
        number += word == "live"
        if word != "stop":
            os.write(
                device.fileno(), black if word == "black" else pictures[number % len(pictures)]
            )
        due_s = max(due_s + 1 / FPS, time.monotonic() - 1.0)
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), (sys.argv[3:] or [NODE])[0])
