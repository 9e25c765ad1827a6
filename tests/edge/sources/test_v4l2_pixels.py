"""What is decoded is right, and what is torn is refused."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.pixel_pool import PixelPool
from edge.sources.v4l2_formats import BT601_LIMITED, Agreed, YuvCoding
from edge.sources.v4l2_pixels import Decoder, FrameFault, mjpeg_fault

WIDTH, HEIGHT = 96, 64
CODINGS = [
    BT601_LIMITED,
    YuvCoding(0.299, 0.114, True),
    YuvCoding(0.2126, 0.0722, False),
    YuvCoding(0.2126, 0.0722, True),
    YuvCoding(0.2627, 0.0593, False),
]


def agreed(name: str, coding: YuvCoding = BT601_LIMITED, stride: int = 2 * WIDTH) -> Agreed:
    return Agreed(name, (WIDTH, HEIGHT), stride, 33_333_333, coding)


def picture() -> NDArray[np.uint8]:
    """Colours all over the cube, each two pixels wide so that 4:2:2 loses nothing, and noise."""
    random = np.random.default_rng(5)
    colours = random.integers(0, 256, (HEIGHT, WIDTH // 2, 3), np.uint8)
    colours[0, :8] = list(itertools.product((0, 255), repeat=3))
    return np.repeat(colours, 2, axis=1)


def yuyv_bytes(rgb: NDArray[np.uint8], coding: YuvCoding, stride: int) -> NDArray[np.uint8]:
    """By the definition (ITU-T H.273, 8.3), in float64."""
    r, g, b = (rgb[..., i].astype(np.float64) / 255 for i in range(3))
    y = coding.kr * r + (1 - coding.kr - coding.kb) * g + coding.kb * b
    cb, cr = (b - y) / (2 * (1 - coding.kb)), (r - y) / (2 * (1 - coding.kr))
    y_scale, c_scale, zero = (255, 255, 0) if coding.full_range else (219, 224, 16)
    lines = np.full((HEIGHT, stride), 77, np.uint8)
    lines[:, 0 : 2 * WIDTH : 2] = np.rint(y_scale * y + zero)
    lines[:, 1 : 2 * WIDTH : 4] = np.clip(np.rint(c_scale * cb[:, ::2] + 128), 0, 255)
    lines[:, 3 : 2 * WIDTH : 4] = np.clip(np.rint(c_scale * cr[:, ::2] + 128), 0, 255)
    return lines.reshape(-1)


@pytest.mark.parametrize("stride", [2 * WIDTH, 2 * WIDTH + 64])
@pytest.mark.parametrize("coding", CODINGS)
def test_yuyv_of_every_coding_gives_its_colours_back(coding: YuvCoding, stride: int):
    wanted = picture()
    decoder = Decoder(agreed("YUYV", coding, stride), PixelPool())
    pixels = decoder.decode(yuyv_bytes(wanted, coding, stride))
    assert pixels.flags.c_contiguous
    # Rounding three codes costs up to two steps.
    assert np.abs(pixels.astype(int) - wanted).max() <= 3


@pytest.mark.parametrize("coding", CODINGS[:2])
def test_a_stream_of_yuyv_allocates_nothing(coding: YuvCoding):
    pool = PixelPool()
    decoder = Decoder(agreed("YUYV", coding), pool)
    payload = yuyv_bytes(picture(), coding, 2 * WIDTH)
    held = [decoder.decode(payload) for _ in range(3)]
    first = held[0].copy()
    for turn in range(20):
        payload[turn] ^= 255
        held[turn % 2] = decoder.decode(payload)
    assert pool.made == 4
    assert not np.array_equal(held[0], first)


def test_the_last_line_may_lack_its_padding_and_nothing_else():
    payload = yuyv_bytes(picture(), BT601_LIMITED, 2 * WIDTH + 64)
    decoder = Decoder(agreed("YUYV", stride=2 * WIDTH + 64), PixelPool())
    decoder.decode(payload[:-64])
    with pytest.raises(FrameFault, match=r"16319 bytes instead of 16320"):
        decoder.decode(payload[:-65])
    with pytest.raises(FrameFault, match="0 bytes"):
        decoder.decode(payload[:0])


def jpeg(*extra: int) -> bytes:
    smooth = cv2.GaussianBlur(picture()[..., ::-1], (0, 0), 3)
    return cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, 95, *extra])[1].tobytes()


def decode(data: bytes) -> NDArray[np.uint8]:
    return Decoder(agreed("MJPG"), PixelPool()).decode(np.frombuffer(data, np.uint8))


def test_mjpg_is_rgb_and_may_be_filled_up_with_zeros():
    wanted = cv2.GaussianBlur(picture(), (0, 0), 3)
    for data in (jpeg(), jpeg() + bytes(1000)):
        assert np.abs(decode(data).astype(int) - wanted).mean() < 4


def test_mjpg_without_huffman_tables_is_read_with_the_usual_ones():
    # Cameras may leave them out (as AVI does): libjpeg-turbo knows the default ones.
    data = jpeg()
    position, kept = 2, [data[:2]]
    while data[position + 1] != 0xDA:
        length = 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] != 0xC4:
            kept.append(data[position : position + length])
        position += length
    bare = b"".join((*kept, data[position:]))
    assert len(bare) < len(data) - 400
    assert np.array_equal(decode(bare), decode(data))


def scan_begin(data: bytes) -> int:
    return data.index(b"\xff\xda") + 14


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: b"", "without its beginning"),
        (lambda d: d[100:], "without its beginning"),
        (lambda d: d[: len(d) // 2], "ends after"),
        (lambda d: d[:-2], "ends after"),
        (lambda d: d[: len(d) // 2] + bytes(len(d) // 2), "ends after"),
        (lambda d: d + d[:-2], "ends after"),
        (lambda d: d[:2] + b"\x00" + d[3:], "damaged"),
        (lambda d: d[: scan_begin(d) + 99] + bytes(2048) + d[-2:], "zeros from byte"),
    ],
)
def test_a_torn_jpeg_is_refused(spoil, words: str):
    with pytest.raises(FrameFault, match=words):
        decode(spoil(jpeg()))


def test_a_lost_packet_is_seen_by_the_restart_markers():
    data = jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    assert mjpeg_fault(data) is None
    begin = scan_begin(data)
    markers = [i for i in range(begin, len(data)) if data[i] == 255 and 0xD0 <= data[i + 1] < 0xD8]
    assert len(markers) == WIDTH // 16 * HEIGHT // 16 // 2 - 1
    for first, last in ((1, 2), (0, 4), (0, 8), (2, 10)):
        torn = data[: markers[first]] + data[markers[last] :]
        assert "restart markers" in str(mjpeg_fault(torn))


def test_a_jpeg_of_another_size_is_refused():
    other = cv2.imencode(".jpg", np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8))[1]
    with pytest.raises(FrameFault, match="a JPEG of 192x64 instead of 96x64"):
        decode(other.tobytes())


def test_random_damage_never_raises_anything_else():
    random = np.random.default_rng(11)
    data = np.frombuffer(jpeg(), np.uint8)
    decoder = Decoder(agreed("MJPG"), PixelPool())
    refused = 0
    for _ in range(300):
        spoiled = data.copy()
        where = random.integers(2, 700 if random.random() < 0.7 else len(data), 4)
        spoiled[where] = random.integers(0, 256, 4)
        try:
            assert decoder.decode(spoiled).shape == (HEIGHT, WIDTH, 3)
        except FrameFault:
            refused += 1
    assert refused > 50
