"""What makes a recording's pictures small: JPEG at once, or H.264 in a child (:mod:`.h264`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError

Codec = Literal["mjpeg", "h264"]

JPEG_QUALITY = 85

Encoded = tuple[bytes, Mapping[str, Any]]
"""One picture as it goes into the file, and the Result that belongs to it."""


class Encoder(Protocol):
    """Takes pictures of one size and gives them back encoded, in order, some later than others.

    Attributes:
        codec: Of what it gives.
        name: What does it, for the log and the segment's summary.
        lost: Pictures that it took and never gave; final after :meth:`finish`.
    """

    codec: Codec
    name: str
    lost: int

    def encode(self, rgb: NDArray[np.uint8], result: Mapping[str, Any]) -> list[Encoded]:
        """Take one picture, HxWx3 uint8; gives what is ready.

        Raises:
            EncoderFailedError: It takes nothing more, and did not take this picture.
        """
        ...

    def finish(self) -> list[Encoded]:
        """Give the rest that is whole; it takes no more. Never raises, never waits for long."""
        ...


class EncoderFailedError(Exception):
    """An encoder hangs, or has ended; the text says how."""


class JpegEncoder:
    """Each picture by itself, at once."""

    codec: Codec = "mjpeg"
    name = f"JPEG, quality {JPEG_QUALITY}"
    lost = 0

    def encode(self, rgb: NDArray[np.uint8], result: Mapping[str, Any]) -> list[Encoded]:
        """See :class:`Encoder`."""
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not done:
            raise InputError("a picture that can be recorded", got="none", next_step="see the log")
        return [(np.asarray(data, np.uint8).tobytes(), result)]

    def finish(self) -> list[Encoded]:
        """Nothing is ever left."""
        return []
