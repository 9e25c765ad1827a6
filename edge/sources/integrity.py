"""Is a picture file whole? Decoders are too kind to say.

A copy that was interrupted, or a power cut, leaves a file that is too short, or one of full length
with zeros at its end or inside. Pillow decodes several of these without a word: a PNG's checksums
are not compared, a WebP carries none, and a JPEG's faults are only sometimes noticed. What is not
noticed here either: wrong bytes, other than zeros, in a WebP, and in a TIFF or BMP wherever its
compression, if any, does not stumble over them.
"""

from __future__ import annotations

import mmap
import os
import stat
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from edge.errors import InputError

BLANK_TAIL_BYTES = 512
"""A compressed file that ends in this many zeros was never fully written: one disk sector."""

_CRC_PIECE_BYTES = 1 << 20

WEBP_PX_PER_ZERO = 8192
"""Pixels that one zero byte of a lossy WebP can stand for at least: an even area of them all was
seen to take one in 10,000 of libwebp 1.6."""

WEBP_ZEROS_MIN = {b"VP8 ": 64, b"VP8L": 512}
"""Zero bytes in a row, beyond those of even areas, that are damage. Lossless ones were seen up to
61, but for the fastest method: its large even areas are taken for damage, too."""


def check_readable(path: Path) -> None:
    """Refuse what is no regular file with content: opening a pipe, for one, would wait for ever.

    Raises:
        InputError: The path is missing, not readable, not a file, or has 0 bytes.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(
                f"a file at {printable(path)}",
                got="a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device",
                next_step="give a picture, a video or a folder of them",
            )
        with path.open("rb"):
            pass
    except OSError as error:
        raise unreadable(path, error) from error
    if status.st_size == 0:
        raise cut_off(path, "a file of 0 bytes")


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a path that does not open; a link says where it leads."""
    reason = error.strerror or str(error)
    try:
        link = os.readlink(path)
    except OSError:  # it is none
        return InputError(
            f"a readable file at {printable(path)}",
            got=reason,
            next_step="check the path and its permissions",
        )
    return InputError(
        f"a readable file at {printable(path)}",
        got=f"a link to {printable(link)}: {reason}",
        next_step="bring back what it leads to, or remove the link",
    )


def check_whole(path: Path, picture_format: str) -> None:
    """Refuse a picture file that ends too early.

    Args:
        path: A regular file of at least one byte.
        picture_format: Pillow's name of its format; those without a check here pass.

    Raises:
        InputError: The file is cut off, damaged, or ends in zeros.
    """
    check = _CHECKS.get(picture_format)
    if check is None:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        fault = check(data)
    if fault is not None:
        raise cut_off(path, fault)


def cut_off(path: Path, fault: str) -> InputError:
    """The error for a file that is not whole."""
    return InputError(
        f"a whole file in {printable(path)}",
        got=fault,
        next_step="copy the file again from where it came from",
    )


def printable(path: Path | str) -> str:
    """A file name for messages: bytes that are no UTF-8 and control characters become ``?``."""
    text = str(path).encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else "?" for c in text)


def path_for_opencv(path: Path) -> str:
    """The absolute path as text; absolute because FFmpeg takes ``a:b.mp4`` for an address.

    Raises:
        InputError: The name is not UTF-8. OpenCV's Python binding was seen to crash on such names.
    """
    text = str(path.absolute())
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            "a video path in UTF-8",
            got=printable(path),
            next_step="rename the file or folder",
        ) from error
    return text


def ends_blank(data: mmap.mmap) -> bool:
    """True where the last sector of ``data`` holds nothing but zeros."""
    tail = data[-BLANK_TAIL_BYTES:]
    return len(tail) == BLANK_TAIL_BYTES and not any(tail)


def _png_fault(data: mmap.mmap) -> str | None:
    """Walk the chunks (W3C PNG, section 5) up to IEND, comparing each checksum."""
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            break
        crc = 0
        for start in range(position + 4, end, _CRC_PIECE_BYTES):
            crc = zlib.crc32(data[start : min(end, start + _CRC_PIECE_BYTES)], crc)
        if crc != int.from_bytes(data[end : end + 4], "big"):
            return f"a PNG whose part at byte {position} has a wrong checksum"
        if kind == b"IEND":
            return None
        position = end + 4
    return f"a PNG that ends after {len(data)} bytes, in the middle of the picture"


def _webp_fault(data: mmap.mmap) -> str | None:
    """Walk the RIFF chunks; in those of the picture look for zeros that cannot be code."""
    if ends_blank(data):
        return "a file whose end holds only zeros"
    position = 12
    while position + 8 <= len(data):
        kind = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8
        if kind in WEBP_ZEROS_MIN:
            few = WEBP_ZEROS_MIN[kind]
            if kind == b"VP8 ":  # RFC 6386, 9.1: width and height are 14 bits each
                sides = (data[position + at : position + at + 2] for at in (6, 8))
                width, height = (int.from_bytes(side, "little") & 0x3FFF for side in sides)
                few += width * height // WEBP_PX_PER_ZERO
            zeros = data.find(bytes(few), position, position + length)
            if zeros >= 0:
                return f"a WebP with zeros from byte {zeros} on, in the middle of the picture"
        position += length + length % 2
    return None


def _jpeg_fault(data: mmap.mmap) -> str | None:
    # Imported here: it brings OpenCV, and `dermedge doctor` must start where that is broken.
    from edge.sources.jpeg import jpeg_fault

    return jpeg_fault(data)


_CHECKS: Mapping[str, Callable[[mmap.mmap], str | None]] = {
    "JPEG": _jpeg_fault,
    "MPO": _jpeg_fault,
    "PNG": _png_fault,
    "WEBP": _webp_fault,
}
