"""What decoding a USB camera's frames costs: ``python -m benchmarks.camera_decode``.

CPU time of all threads and time by the clock, per frame of 1280x720, for each form that the
``v4l2:`` source reads, apart from everything else: no camera, no analysis. The picture is that of
the synthetic camera; its JPEG has the size that a camera's would have (quality 85, 4:2:2). Of MJPG
the checks for torn pictures are given on their own as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.pixel_pool import PixelPool
from edge.sources.v4l2_formats import BT601_LIMITED, Agreed, YuvCoding
from edge.sources.v4l2_pixels import Decoder, mjpeg_fault
from models.phantom import PhantomCamera

SIZE_WH = (1280, 720)
BT709_FULL = YuvCoding(0.2126, 0.0722, True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    rgb = PhantomCamera(7, SIZE_WH, 30.0).frame(0).pixels
    jpeg = mjpg(rgb)
    print(f"{SIZE_WH[0]}x{SIZE_WH[1]}, {arguments.frames} frames, OpenCV {cv2.__version__}")
    print(f"  {'ms per frame, median':34} {'CPU':>6} {'clock':>6}")
    for name, work in {
        "YUYV, BT.601 limited": decoding("YUYV", yuyv(rgb)),
        "YUYV, any other coding": decoding("YUYV", yuyv(rgb), BT709_FULL),
        f"MJPG of {jpeg.size / 1000:.0f} kB": decoding("MJPG", jpeg),
        "  of which checks": lambda: mjpeg_fault(jpeg.tobytes()),
    }.items():
        cpu_ms, wall_ms = median_ms(work, arguments.frames)
        print(f"  {name:34} {cpu_ms:6.2f} {wall_ms:6.2f}")
    return 0


def decoding(
    name: str, payload: NDArray[np.uint8], coding: YuvCoding = BT601_LIMITED
) -> Callable[[], object]:
    """One call decodes one frame, as the source does."""
    decoder = Decoder(Agreed(name, SIZE_WH, 2 * SIZE_WH[0], 33_333_333, coding), PixelPool())
    return lambda: decoder.decode(payload)


def yuyv(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes as a camera sends them; which coding they are in makes no difference to the time."""
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV)
    packed = np.empty((*rgb.shape[:2], 2), np.uint8)
    packed[..., 0] = yuv[..., 0]
    packed[:, 0::2, 1] = yuv[:, 0::2, 1]
    packed[:, 1::2, 1] = yuv[:, 0::2, 2]
    return packed.reshape(-1)


def mjpg(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same picture as a camera compresses it."""
    how = [cv2.IMWRITE_JPEG_QUALITY, 85]
    factor = getattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR", None)  # OpenCV 4.6 and later
    if factor is not None:
        how += [factor, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
    return cv2.imencode(".jpg", rgb[..., ::-1], how)[1].reshape(-1)


def median_ms(work: Callable[[], object], count: int) -> tuple[float, float]:
    """CPU time of this process and time by the clock."""
    cpus, walls = [], []
    for _ in range(count):
        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        work()
        cpus.append((time.process_time_ns() - cpu_ns) / 1e6)
        walls.append((time.perf_counter_ns() - wall_ns) / 1e6)
    return float(np.median(cpus)), float(np.median(walls))


if __name__ == "__main__":
    raise SystemExit(main())
