"""One segment: JPEG pictures one after another, and a line for each with its place and its Result.

```
000007/             closed: never changed again
  video.mjpeg       whole JPEG pictures, nothing between them
  frames.jsonl      {"offset": 0, "bytes": 61234, "result": {...}} for each picture
  segment.json      written last: schema, counts, first and last instant
000008.open/        being written, or left by a power cut
000007/locked       kept whatever happens, because somebody made this file
```

A JPEG picture needs nothing of the one before, so that what a power cut leaves can be played to its
last whole picture. Both files are brought to the disk once a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.analysis.stamp import boot_id
from edge.result import DISCLAIMER
from models.whole_file import sync_folder, write_whole

SCHEMA = "dermedge.segment/1"
VIDEO, FRAMES, SUMMARY, LOCK = "video.mjpeg", "frames.jsonl", "segment.json", "locked"
OPEN_SUFFIX = ".open"

SYNC_EVERY_S = 1.0
"""A pulled plug costs the pictures of this time, not more."""

_NAME = re.compile(r"(\d{6,9})(\.open)?")
_JPEG_BEGIN, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True)
class FrameLine:
    """Where one picture lies, and what was found in it."""

    offset: int
    size: int
    result: Mapping[str, Any]


class SegmentWriter:
    """Writes one segment; one thread.

    Args:
        folder: Of all segments; there.
        number: Of this one; higher than every other.
        facts: What is recorded, JSON-able.
    """

    def __init__(self, folder: Path, number: int, facts: Mapping[str, Any]) -> None:
        self.path = folder / f"{number:06d}"
        self._open_path = self.path.with_name(self.path.name + OPEN_SUFFIX)
        self._facts = facts
        self._open_path.mkdir()
        self._video = open(self._open_path / VIDEO, "xb")
        self._frames = open(self._open_path / FRAMES, "xb")
        self._synced_s = self.began_s = time.monotonic()
        self.count = 0
        self.bytes = 0
        sync_folder(self._open_path)
        sync_folder(folder)

    def add(self, jpeg: bytes, result: Mapping[str, Any]) -> None:
        """Append one picture; OSError where the disk does not take it."""
        line = {"offset": self.bytes, "bytes": len(jpeg), "result": result}
        self._video.write(jpeg)
        self._frames.write(json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")
        self.bytes += len(jpeg)
        self.count += 1
        if time.monotonic() - self._synced_s >= SYNC_EVERY_S:
            self._sync()

    def close(self) -> None:
        """Finish the segment and give it its name."""
        try:
            self._sync()
        finally:
            self._video.close()
            self._frames.close()
        _close_folder(self._open_path, self.path, self.count, self.bytes, self._facts)

    def abandon(self) -> None:
        """Let go of the files after a failure; what is whole is found by :func:`recover`."""
        for file in (self._video, self._frames):
            with contextlib.suppress(OSError):  # what it had buffered is lost with the disk
                file.close()

    def _sync(self) -> None:
        # Pictures first: a line must never tell of a picture that is not there.
        for file in (self._video, self._frames):
            file.flush()
            os.fsync(file.fileno())
        self._synced_s = time.monotonic()


def list_segments(folder: Path) -> list[Path]:
    """Closed segments, the oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _is_closed(path)]
    return sorted(found, key=lambda path: int(path.name))


def next_number(folder: Path) -> int:
    """A number above those of all segments, closed or not."""
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return max((int(match[1]) for match in matches if match), default=0) + 1


def is_locked(segment: Path) -> bool:
    """Whether somebody wants it kept."""
    return (segment / LOCK).exists()


def read_frames(segment: Path) -> Iterator[tuple[FrameLine, bytes]]:
    """Every whole picture with its line, in order; ends at the first one that is not whole."""
    with open(segment / VIDEO, "rb") as video, open(segment / FRAMES, "rb") as frames:
        for text in frames:
            line = _line(text)
            if line is None:
                return
            video.seek(line.offset)
            jpeg = video.read(line.size)
            if not _is_whole(jpeg, line.size):
                return
            yield line, jpeg


def recover(folder: Path) -> list[Path]:
    """Close what a power cut or a kill left open, at its last whole picture; gives those closed.

    Raises:
        OSError: The disk cannot be written.
    """
    closed = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or match[2] is None or not path.is_dir() or path.is_symlink():
            continue
        target = path.with_name(match[1])
        if not (path / VIDEO).is_file() or not (path / FRAMES).is_file() or target.exists():
            continue
        count, size, lines_size = _whole_part(path)
        for name, end in ((VIDEO, size), (FRAMES, lines_size)):
            with open(path / name, "r+b") as file:
                file.truncate(end)
                os.fsync(file.fileno())
        _close_folder(path, target, count, size, {"recovered": True})
        closed.append(target)
    return closed


def _whole_part(path: Path) -> tuple[int, int, int]:
    """Pictures that are whole, and the bytes that they and their lines take."""
    count = size = lines_size = 0
    with open(path / VIDEO, "rb") as video, open(path / FRAMES, "rb") as frames:
        for text in frames:
            line = _line(text)
            if line is None or line.offset != size:
                break
            if not _is_whole(video.read(line.size), line.size):
                break
            count, size, lines_size = count + 1, size + line.size, lines_size + len(text)
    return count, size, lines_size


def _line(text: bytes) -> FrameLine | None:
    if not text.endswith(b"\n"):
        return None
    try:
        line = json.loads(text)
        return FrameLine(int(line["offset"]), int(line["bytes"]), dict(line["result"]))
    except (ValueError, KeyError, TypeError):
        return None


def _is_whole(jpeg: bytes, size: int) -> bool:
    """Between begin and end a power cut may leave zeros: those are told by their length."""
    return (
        len(jpeg) == size > 4
        and jpeg.startswith(_JPEG_BEGIN)
        and jpeg.endswith(_JPEG_END)
        and bytes(512) not in jpeg
    )


def _close_folder(
    path: Path, target: Path, count: int, size: int, facts: Mapping[str, Any]
) -> None:
    summary = {
        "schema": SCHEMA,
        "disclaimer": DISCLAIMER,
        "frames": count,
        "bytes": size,
        "boot_id": boot_id(),
        "closed_ns": time.monotonic_ns(),
        **facts,
    }
    text = json.dumps(summary, ensure_ascii=False, indent=1) + "\n"
    write_whole(path / SUMMARY, text.encode("utf-8"))
    os.rename(path, target)
    sync_folder(target.parent)


def _is_closed(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    return match is not None and match[2] is None and (path / SUMMARY).is_file()
