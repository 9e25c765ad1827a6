"""Does a video file end where its container says it should?

Decoders answer a torn file with half a picture, or simply with fewer frames, and say nothing
(OpenCV shows the upper half of a torn Motion JPEG frame). Counting frames afterwards is too late
and not reliable: a WebM states no count, a variable frame rate makes any estimate wrong. So the
container's own boxes are walked first, without decoding: each must end inside the file.

Read are AVI (Microsoft RIFF), WebM/Matroska (RFC 9559) and MP4/MOV (ISO/IEC 14496-12).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.errors import InputError
from edge.sources.integrity import cut_off, ends_blank, printable

FORMS = "MP4, MOV, 3GP, WebM, Matroska or AVI"
"""What is read, in words."""

SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv"})

OTHER_SUFFIXES = frozenset(
    {".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".flv", ".wmv", ".asf", ".ogv"}
)
"""Names of videos whose ends are not checked here: refused as videos, not as pictures."""

_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_MP4_FIRST_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"})

# Matroska element ids.
_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_SIMPLE_BLOCK, _BLOCK_GROUP = 0xA3, 0xA0
_SEGMENT_CHILDREN = frozenset(
    {
        0x114D9B74,  # SeekHead
        0x1549A966,  # Info
        0x1654AE6B,  # Tracks
        0x1C53BB6B,  # Cues
        0x1043A770,  # Chapters
        0x1254C367,  # Tags
        0x1941A469,  # Attachments
        _CLUSTER,
    }
)


@dataclass(frozen=True)
class Container:
    """A video file that is whole.

    Attributes:
        kind: ``AVI``, ``Matroska`` (WebM, too) or ``MP4`` (MOV, too).
        packets: Compressed packets of all tracks (AVI: of video), or ``None`` for MP4, whose index
            is not read here. Some packets show no frame.
        trimmed: True where an edit list of an MP4 skips the beginning, so that fewer frames are
            shown than are stored.
    """

    kind: Literal["AVI", "Matroska", "MP4"]
    packets: int | None
    trimmed: bool = False


def check_container(path: Path) -> Container:
    """Walk a video file's structure.

    Args:
        path: A regular file of at least one byte.

    Raises:
        InputError: The file ends too early, has blank parts, or is no container known here.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk = _walk_for(data)
        if walk is None:
            raise no_container(path, data[:8])
        try:
            return walk(data)
        except _TornError as torn:
            raise cut_off(path, f"a video that ends too early ({torn})") from torn


def no_container(path: Path, start: bytes) -> InputError:
    """The error for a file that begins with ``start``, as no video known here does."""
    return InputError(
        f"a video ({FORMS}) in {printable(path)}",
        got=f"a file that starts with {start[:8].hex(' ')}",
        next_step="convert it, for example: ffmpeg -i IN -c:v libvpx OUT.webm",
    )


def is_container(path: Path) -> bool:
    """True where the first bytes are those of a container known here.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return _walk_for(file.read(16)) is not None


class _TornError(Exception):
    """Where and how a file stops making sense."""


def _walk_for(start: bytes | mmap.mmap) -> Callable[[mmap.mmap], Container] | None:
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return _walk_avi
    if start[:4] == _EBML_MAGIC:
        return _walk_matroska
    if start[4:8] in _MP4_FIRST_BOXES:
        return _walk_mp4
    return None


# --- AVI ----------------------------------------------------------------------------------------


def _walk_avi(data: mmap.mmap) -> Container:
    packets = 0
    for name, start, end in _riff_chunks(data, 0, len(data)):
        if name != b"RIFF":
            continue  # recorders append their own remarks
        for inner, inner_start, inner_end in _riff_chunks(data, start + 4, end):
            if inner == b"LIST" and data[inner_start : inner_start + 4] == b"movi":
                packets += _count_avi_packets(data, inner_start + 4, inner_end)
    return Container("AVI", packets)


def _count_avi_packets(data: mmap.mmap, start: int, end: int) -> int:
    """Frames in a ``movi`` list: chunks ``00dc``/``00db``; ``rec `` lists hold more of them."""
    packets = 0
    for name, inner_start, inner_end in _riff_chunks(data, start, end):
        if name == b"LIST":
            packets += _count_avi_packets(data, inner_start + 4, inner_end)
        elif name[2:] in (b"dc", b"db") and inner_end > inner_start:
            packets += 1
    return packets


def _riff_chunks(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, end) of each chunk in a list; chunks are padded to even lengths."""
    while start + 8 <= end:
        name = data[start : start + 4]
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        if not all(32 <= byte < 127 for byte in name):
            raise _TornError(f"no chunk at byte {start}")
        if name in (b"RIFF", b"LIST") and size < 4:
            raise _TornError("the recording was never finished")
        if start + 8 + size > end:
            raise _TornError(f"{name.decode()} chunk at byte {start} needs {size} bytes")
        yield name, start + 8, start + 8 + size
        start += 8 + size + size % 2


# --- WebM and Matroska --------------------------------------------------------------------------


def _walk_matroska(data: mmap.mmap) -> Container:
    position, packets, segments = 0, 0, 0
    while position < len(data):
        element, start, size = _element(data, position)
        end = len(data) if size is None else start + size
        if end > len(data):
            raise _TornError(f"{size} bytes announced, {len(data) - start} there")
        if element == _SEGMENT:
            segments += 1
            packets += _count_blocks(data, start, end)
        position = end
    if segments == 0:
        raise _TornError("no segment")
    return Container("Matroska", packets)


def _count_blocks(data: mmap.mmap, start: int, end: int) -> int:
    """Blocks in a segment. A cluster of unknown length ends where the next level begins."""
    packets, position, limit = 0, start, end
    while position < end:
        element, inside, size = _element(data, position)
        if element == _CLUSTER:
            limit = end if size is None else inside + size
            if limit > end:
                raise _TornError(f"cluster at byte {position} needs {size} bytes")
            position = inside
            continue
        if element in _SEGMENT_CHILDREN:
            limit = end
        if size is None or inside + size > limit:
            raise _TornError(f"element at byte {position} does not end in the file")
        packets += element in (_SIMPLE_BLOCK, _BLOCK_GROUP)
        position = inside + size
    return packets


def _element(data: mmap.mmap, position: int) -> tuple[int, int, int | None]:
    """(id, first byte of its content, size or ``None`` for unknown) of an EBML element."""
    id_length = _vint_length(data, position, 4)
    size_at = position + id_length
    size_length = _vint_length(data, size_at, 8)
    content = size_at + size_length
    if content > len(data):
        raise _TornError(f"an element begins at byte {position} and does not end")
    element = int.from_bytes(data[position:size_at], "big")
    mask = (1 << 7 * size_length) - 1
    size = int.from_bytes(data[size_at:content], "big") & mask
    return element, content, None if size == mask else size


def _vint_length(data: mmap.mmap, position: int, longest: int) -> int:
    first = data[position] if position < len(data) else 0
    length = 9 - first.bit_length()
    if first == 0 or length > longest:
        raise _TornError(f"no element at byte {position}")
    return length


# --- MP4 and MOV --------------------------------------------------------------------------------


def _walk_mp4(data: mmap.mmap) -> Container:
    names, position, trimmed = [], 0, False
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8]
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        elif size == 0:  # the last box: up to the end of the file
            size = len(data) - position
        if size < 8 or not all(32 <= byte < 127 or byte == 0xA9 for byte in name):
            raise _TornError(f"no box at byte {position}")
        if position + size > len(data):
            raise _TornError(f"{name.decode('latin-1')} box at byte {position} needs {size} bytes")
        if name == b"moov":
            trimmed = _skips_beginning(data, position, position + size)
        names.append(name)
        position += size
    if b"moov" not in names:
        raise _TornError("its index, the moov box, is missing")
    if names[-1] not in (b"free", b"skip") and ends_blank(data):
        raise _TornError("its end holds only zeros")
    return Container("MP4", None, trimmed)


def _skips_beginning(data: mmap.mmap, start: int, end: int) -> bool:
    """True where an edit list (8.6.6) starts later than the media's first instant."""
    found = data.find(b"elst", start, end)
    while found != -1:
        is_long = data[found + 4] == 1
        entry, duration_bytes = found + 12, 8 if is_long else 4
        media_time = data[entry + duration_bytes : entry + 2 * duration_bytes]
        if int.from_bytes(media_time, "big", signed=True) > 0:
            return True
        found = data.find(b"elst", found + 4, end)
    return False
