"""From a driver's buffer to RGB; OpenCV decodes, we decide what may be decoded.

What can be told of a torn frame at a camera's pace is told: length, both ends of a JPEG, its
segments, its restart markers, sectors of zeros, its size. Damage inside the codes that leaves all
those whole is not; it would need libjpeg's remarks, which only stderr carries (edge/sources/jpeg.py
reads them: for stills, and never while other threads write there thirty times a second). The
driver flags most of what is lost on the bus.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.pixel_pool import PixelPool
from edge.sources.jpeg import segments_fault
from edge.sources.v4l2_formats import BT601_LIMITED, Agreed, YuvCoding

_RGB_LATER = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # BGR: RGB is new in OpenCV 4.11
_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_SOF, _DRI, _SOS = frozenset({0xC0, 0xC1}), 0xDD, 0xDA


class FrameFault(ValueError):
    """A buffer that holds no whole picture; the text says what is wrong with it."""


class Decoder:
    """Decodes the buffers of one stream.

    YUYV is converted from the driver's memory into pooled arrays and allocates nothing in the
    steady state. For MJPG OpenCV allocates one BGR picture per frame, as it has no way to be given
    one; the copy of the compressed bytes is small.

    Args:
        agreed: What the driver set.
        pool: Where pictures come from.
    """

    def __init__(self, agreed: Agreed, pool: PixelPool) -> None:
        self._agreed = agreed
        self._pool = pool
        self._scratch: list[NDArray[np.uint8]] = []

    def decode(self, payload: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One frame.

        Args:
            payload: The bytes that the driver filled; not read after the return.

        Returns:
            HxWx3 uint8 RGB, C-contiguous, the taker's as long as it is referred to.

        Raises:
            FrameFault: They are no whole picture of the agreed size.
        """
        width, height = self._agreed.size_wh
        if self._agreed.pixel_format == "YUYV":
            return self._from_yuyv(payload)
        data = payload.tobytes()  # a loopback's writer may write on: what is checked is decoded
        fault = mjpeg_fault(data)
        if fault is not None:
            raise FrameFault(fault)
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), _RGB_LATER)
        except cv2.error:  # a size beyond OpenCV's limits, for one
            picture = None
        if picture is None:
            raise FrameFault("a JPEG that cannot be decoded")
        if picture.shape != (height, width, 3):
            got = f"{picture.shape[1]}x{picture.shape[0]}"
            raise FrameFault(f"a JPEG of {got} instead of {width}x{height}")
        out = self._pool.take((height, width, 3))
        cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=out)
        return out

    def _from_yuyv(self, payload: NDArray[np.uint8]) -> NDArray[np.uint8]:
        width, height = self._agreed.size_wh
        stride = self._agreed.bytes_per_line
        needed = stride * (height - 1) + 2 * width
        if payload.size < needed:
            raise FrameFault(f"{payload.size} bytes instead of {needed}")
        yuyv = np.ndarray((height, width, 2), np.uint8, payload, strides=(stride, 2, 1))
        out = self._pool.take((height, width, 3))
        if self._agreed.colours == BT601_LIMITED:
            cv2.cvtColor(yuyv, cv2.COLOR_YUV2RGB_YUYV, dst=out)
        else:
            self._by_matrix(yuyv, out)
        return out

    def _by_matrix(self, yuyv: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """What OpenCV has no code for: its only YUYV is BT.601 of limited range."""
        height, width = yuyv.shape[:2]
        if not self._scratch:
            half, whole = (height, width // 2), (height, width)
            self._scratch = [np.empty(shape, np.uint8) for shape in (half, whole, whole, whole)]
            self._scratch.append(np.empty((height, width, 3), np.uint8))
        part, y, u, v, yuv = self._scratch
        pairs = yuyv.reshape(height, width // 2, 4)  # a view: each line is contiguous
        cv2.extractChannel(yuyv, 0, dst=y)
        for channel, plane in ((1, u), (3, v)):
            cv2.extractChannel(pairs, channel, dst=part)
            cv2.resize(part, (width, height), dst=plane, interpolation=cv2.INTER_NEAREST)
        cv2.merge((y, u, v), dst=yuv)
        cv2.transform(yuv, rgb_matrix(self._agreed.colours), dst=out)


def rgb_matrix(coding: YuvCoding) -> NDArray[np.float32]:
    """3x4: codes of Y, Cb, Cr and a 1 to R, G, B from 0 to 255 (ITU-T H.273, 8.3)."""
    kr, kb = coding.kr, coding.kb
    kg = 1.0 - kr - kb
    luma, chroma = (1.0, 1.0) if coding.full_range else (255.0 / 219.0, 255.0 / 224.0)
    red, blue = 2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma
    matrix = np.array(
        [
            [luma, 0.0, red],
            [luma, -blue * kb / kg, -red * kr / kg],
            [luma, blue, 0.0],
        ]
    )
    zero = np.array([0.0 if coding.full_range else 16.0, 128.0, 128.0])
    return np.column_stack((matrix, -matrix @ zero)).astype(np.float32)


def mjpeg_fault(data: bytes) -> str | None:
    """What is wrong with a camera's JPEG, in words, or ``None``."""
    if not data.startswith(_SOI):
        return "a JPEG without its beginning"
    # Some cameras fill the buffer up with zeros.
    if not data.rstrip(b"\0").endswith(_EOI):
        return f"a JPEG that ends after {len(data)} bytes, in the middle of the picture"
    return segments_fault(data) or _restart_fault(data)


def _restart_fault(data: bytes) -> str | None:
    """Whether restart markers (ITU-T T.81, B.2.1 and E.1.4) are missing, where there are any.

    Only where one scan holds all components, as cameras write it.
    """
    position, interval, frame, scan = 2, 0, b"", b""
    while position + 4 <= len(data) and not scan:
        marker = data[position + 1]
        begin, end = position + 4, position + 2 + _number(data[position + 2 : position + 4])
        if marker == _DRI:
            interval = _number(data[begin : begin + 2])
        elif marker in _SOF:
            frame = data[begin:end]
        elif marker == _SOS:
            scan = data[begin:end]
        position = end
    if interval == 0 or len(frame) < 6 or not scan or scan[0] != frame[5]:
        return None
    found = [match[1][0] & 7 for match in _RESTART.finditer(data, position)]
    expected = -(-_units(frame) // interval) - 1
    if len(found) != expected or any(number != i & 7 for i, number in enumerate(found)):
        return "a JPEG with a piece missing (its restart markers)"
    return None


def _units(frame: bytes) -> int:
    """Minimum coded units of a scan with all components; frame: the SOF segment (T.81, B.2.2)."""
    height, width = _number(frame[1:3]), _number(frame[3:5])
    samplings = frame[7 : 6 + 3 * frame[5] : 3]
    across = max((s >> 4 for s in samplings), default=1)
    down = max((s & 15 for s in samplings), default=1)
    if len(samplings) == 1:
        across = down = 1  # T.81, A.2.2: one component is not interleaved
    return -(-width // (8 * max(1, across))) * -(-height // (8 * max(1, down)))


def _number(two: bytes) -> int:
    return int.from_bytes(two, "big")
