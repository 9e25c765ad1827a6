"""Encodes a PNG strip by strip, so that a very large picture needs no second copy in memory.

The settings are those of OpenCV's encoder (filter "sub", run-length deflate), and so are size and
speed; unlike it, errors of the disk arrive as exceptions, and RGB needs no swapping.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {1: 0, 3: 2}  # channels to W3C PNG, table 11.1: greyscale, truecolour
_FILTER_SUB = 1
_DEFLATE_LEVEL = 3
_STRIP_BYTES = 1 << 20


def write_png(file: BinaryIO, pixels: NDArray[np.uint8]) -> None:
    """Write an 8-bit PNG.

    Args:
        file: Open for writing.
        pixels: HxW (grey) or HxWx3 (RGB) uint8; only read.

    Raises:
        OSError: The file cannot be written.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    file.write(_SIGNATURE)
    _write_chunk(file, b"IHDR", header)
    deflate = zlib.compressobj(_DEFLATE_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    for lines in _filtered_strips(pixels.reshape(height, width * channels), channels):
        _write_chunk(file, b"IDAT", deflate.compress(lines.data))
    _write_chunk(file, b"IDAT", deflate.flush())
    _write_chunk(file, b"IEND", b"")


def _filtered_strips(rows: NDArray[np.uint8], channels: int) -> Iterator[NDArray[np.uint8]]:
    """Strips of lines, each a filter byte and the differences to the pixel on the left."""
    strip_rows = max(1, _STRIP_BYTES // rows.shape[1])
    for first in range(0, len(rows), strip_rows):
        strip = rows[first : first + strip_rows]
        lines = np.empty((len(strip), 1 + strip.shape[1]), np.uint8)
        lines[:, 0] = _FILTER_SUB
        lines[:, 1 : 1 + channels] = strip[:, :channels]
        np.subtract(strip[:, channels:], strip[:, :-channels], out=lines[:, 1 + channels :])
        yield lines


def _write_chunk(file: BinaryIO, kind: bytes, content: bytes) -> None:
    if kind == b"IDAT" and not content:
        return
    file.write(struct.pack(">I", len(content)) + kind)
    file.write(content)
    file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))
