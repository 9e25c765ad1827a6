"""Is a JPEG whole? Its segments, the zeros among its codes, and what libjpeg thinks of it.

libjpeg, and with it Pillow, shows something for any data: what is missing becomes grey, what is
wrong becomes coloured stripes. It only murmurs about it, and Pillow keeps that to itself.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field

import cv2
import numpy as np

from edge.native_messages import native_messages_caught

ZEROS_MIN = 512
"""So many zero bytes in a row, a disk sector, were never written, unless they can be codes."""

PADDING_MAX = 8
"""Bytes before the end of the picture that say nothing: some cameras fill up with them."""

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RST0..7: no length follows
_EOI, _SOS, _DHT = 0xD9, 0xDA, 0xC4

# In entropy-coded data FF is followed by 00 (a stuffed FF), RST0..7, or another FF (padding).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# Those warnings of libjpeg (jerror.h) that speak of the picture's data and not of its metadata.
_WARNINGS = re.compile(
    rb"Corrupt JPEG data: (?!bad ICC).*|Premature end of JPEG file"
    rb"|Inconsistent progression sequence.*|Invalid SOS parameters.*"
)
_PADDING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")


def jpeg_fault(data: mmap.mmap | bytes) -> str | None:
    """What is wrong with the first picture of a JPEG file, in words, or ``None``."""
    return segments_fault(data) or _decoding_fault(data)


def segments_fault(data: mmap.mmap | bytes) -> str | None:
    """Walk the segments (ITU-T T.81, annex B) up to the end-of-image marker."""
    position, tables = 2, _FirstSymbols()
    while position + 2 <= len(data):
        marker = data[position + 1]
        if data[position] != 0xFF:
            return f"damaged data at byte {position} of {len(data)}"
        position += 1 if marker == 0xFF else 2
        if marker == _EOI:
            return None
        if marker in _STANDALONE or marker == 0xFF:
            continue
        segment = data[
            position + 2 : position + int.from_bytes(data[position : position + 2], "big")
        ]
        position += 2 + len(segment)
        if marker == _DHT:
            tables.define(segment)
        elif marker == _SOS:
            found = _NEXT_MARKER.search(data, position)
            if found is None:
                break
            zeros = data.find(bytes(ZEROS_MIN), position, found.start())
            if zeros >= 0 and not tables.zeros_can_be_codes(segment):
                return f"a JPEG with zeros from byte {zeros} on, in the middle of the picture"
            position = found.start()
    return f"a JPEG that ends after {len(data)} bytes, in the middle of the picture"


@dataclass
class _FirstSymbols:
    """What a row of zero bits stands for in each Huffman table: the first symbol of its list.

    Attributes:
        of_table: By class (0 is DC, 1 is AC) and number, as one byte of the file has both.
    """

    of_table: dict[int, int] = field(default_factory=dict)

    def define(self, segment: bytes) -> None:
        """Take the tables of a DHT segment (T.81, B.2.4.2)."""
        position = 0
        while position + 17 < len(segment):
            self.of_table[segment[position]] = segment[position + 17]
            position += 17 + sum(segment[position + 1 : position + 17])

    def zeros_can_be_codes(self, scan: bytes) -> bool:
        """Whether many zero bytes may stand in a scan: where they say "as the block before".

        A large even area is written so: "no difference" for DC, "end of block" for AC. With any
        other meaning hundreds of zero bytes would be thousands of equal waves, or a brightness
        beyond all limits. Bits that refine DC have no table and can be anything.

        Args:
            scan: The SOS segment (T.81, B.2.3).
        """
        if not scan or len(scan) < 4 + 2 * scan[0]:
            return True  # no scan header at all: let the decoder say so
        first, last, approximation = scan[-3:]
        numbers = scan[2 : 2 + 2 * scan[0] : 2]
        dc = [number >> 4 for number in numbers if first == 0 and approximation >> 4 == 0]
        ac = [0x10 | (number & 15) for number in numbers if last > 0]
        ends_block = {0x10 * run for run in range(15)}
        return all(self.of_table.get(table, 0) == 0 for table in dc) and all(
            self.of_table.get(table, 0) in ends_block for table in ac
        )


def _decoding_fault(data: mmap.mmap | bytes) -> str | None:
    """What libjpeg remarks while it reads every code of the picture.

    By OpenCV, which lets libjpeg speak, and at an eighth of the size, which skips most of the
    arithmetic: a tenth to a half of the time of Pillow's decoding.
    """
    flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION
    with native_messages_caught(_WARNINGS) as said:
        cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    for words in said:
        padding = _PADDING.fullmatch(words)
        if padding is None or int(padding[1]) > PADDING_MAX:
            return f"a JPEG of which libjpeg says: {words}"
    return None
