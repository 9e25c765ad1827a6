"""What is asked of a camera, and how its colour codes are read."""

from __future__ import annotations

import pytest

from edge.sources import v4l2_abi as abi
from edge.sources.v4l2_formats import Mode, Wish, YuvCoding, nearest_mode, yuv_coding

S = 1_000_000_000
USB2_CAMERA = [
    Mode("YUYV", (640, 480), S // 30),
    Mode("YUYV", (1280, 720), S // 10),
    Mode("YUYV", (1280, 720), S // 5),
    Mode("MJPG", (640, 480), S // 30),
    Mode("MJPG", (1280, 720), S // 30),
    Mode("MJPG", (1280, 720), S // 60),
    Mode("MJPG", (2592, 1944), S // 15),
]


@pytest.mark.parametrize(
    ("wish", "mode"),
    [
        (Wish(), Mode("MJPG", (1280, 720), S // 30)),  # the rate before the format
        (Wish(fps=60), Mode("MJPG", (1280, 720), S // 60)),
        (Wish(fps=10), Mode("YUYV", (1280, 720), S // 10)),  # no loss where the bus carries it
        (Wish((640, 480)), Mode("YUYV", (640, 480), S // 30)),
        (Wish((800, 600)), Mode("YUYV", (640, 480), S // 30)),
        (Wish((1920, 1080)), Mode("MJPG", (1280, 720), S // 30)),
        (Wish(pixel_format="YUYV"), Mode("YUYV", (1280, 720), S // 10)),
        (Wish(None), Mode("MJPG", (2592, 1944), S // 15)),  # the largest
    ],
)
def test_the_nearest_mode(wish: Wish, mode: Mode):
    offered = [m for m in USB2_CAMERA if wish.pixel_format in (None, m.pixel_format)]
    assert nearest_mode(offered, wish) == mode


def test_the_same_rate_written_otherwise_is_the_same():
    modes = [Mode("YUYV", (640, 480), 33_333_300), Mode("MJPG", (640, 480), 33_333_333)]
    assert nearest_mode(modes, Wish((640, 480))).pixel_format == "YUYV"


def test_a_mode_of_unknown_rate_is_taken_where_there_is_no_other():
    assert nearest_mode([Mode("YUYV", (640, 480), None)], Wish()).interval_ns is None


@pytest.mark.parametrize(
    ("fields", "coding"),
    [
        # Most USB cameras: sRGB, the rest by default.
        ((abi.V4L2_COLORSPACE_SRGB, 0, 0), YuvCoding(0.299, 0.114, False)),
        ((0, 0, 0), YuvCoding(0.299, 0.114, False)),
        ((abi.V4L2_COLORSPACE_JPEG, 0, 0), YuvCoding(0.299, 0.114, True)),
        ((abi.V4L2_COLORSPACE_REC709, 0, 0), YuvCoding(0.2126, 0.0722, False)),
        (
            (abi.V4L2_COLORSPACE_SRGB, abi.V4L2_YCBCR_ENC_709, abi.V4L2_QUANTIZATION_FULL_RANGE),
            YuvCoding(0.2126, 0.0722, True),
        ),
        (
            (abi.V4L2_COLORSPACE_JPEG, 0, abi.V4L2_QUANTIZATION_LIM_RANGE),
            YuvCoding(0.299, 0.114, False),
        ),
        (
            (abi.V4L2_COLORSPACE_SRGB, abi.V4L2_YCBCR_ENC_XV709, abi.V4L2_QUANTIZATION_FULL_RANGE),
            YuvCoding(0.2126, 0.0722, False),
        ),
        ((abi.V4L2_COLORSPACE_SRGB, 7, 0), None),  # constant luminance is no matrix
    ],
)
def test_colour_fields_say_matrix_and_range(fields: tuple[int, int, int], coding):
    assert yuv_coding(*fields) == coding
