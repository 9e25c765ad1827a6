"""One segment: pictures one after another, and a line for each with its place and its Result.

```
000007/             closed: never changed again
  video.h264        whole access units, nothing between them; or video.mjpeg, whole JPEG pictures
  frames.jsonl      {"offset": 0, "bytes": 61234, "result": {...}} for each picture
  segment.json      written last: schema, codec, counts, first and last instant
000008.open/        being written, or left by a power cut
000007/locked       kept whatever happens, because somebody made this file
```

A segment begins with a picture that needs none before it, so that what a power cut leaves can be
played to its last whole picture. Both files are brought to the disk once a second.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.analysis.stamp import boot_id
from edge.recording.encoders import Codec
from edge.recording.h264 import is_whole_unit
from edge.result import DISCLAIMER
from models.whole_file import sync_folder, write_whole

SCHEMA = "dermedge.segment/1"
VIDEOS: Mapping[Codec, str] = {"mjpeg": "video.mjpeg", "h264": "video.h264"}
FRAMES, SUMMARY, LOCK = "frames.jsonl", "segment.json", "locked"
OPEN_SUFFIX = ".open"

SYNC_EVERY_S = 1.0
"""A pulled plug costs the pictures of this time, not more."""

_NAME = re.compile(r"(\d{6,9})(\.open)?")


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
        codec: Of its pictures.
        facts: What is recorded, JSON-able.
    """

    def __init__(self, folder: Path, number: int, codec: Codec, facts: Mapping[str, Any]) -> None:
        self.path = folder / f"{number:06d}"
        self._open_path = self.path.with_name(self.path.name + OPEN_SUFFIX)
        self._codec = codec
        self._facts = facts
        self._open_path.mkdir()
        self._video = open(self._open_path / VIDEOS[codec], "xb")
        self._frames = open(self._open_path / FRAMES, "xb")
        self._synced_s = self.began_s = time.monotonic()
        self.count = 0
        self.bytes = 0
        sync_folder(self._open_path)
        sync_folder(folder)

    def add(self, picture: bytes, result: Mapping[str, Any]) -> None:
        """Append one encoded picture; OSError where the disk does not take it."""
        line = {"offset": self.bytes, "bytes": len(picture), "result": result}
        self._video.write(picture)
        self._frames.write(json.dumps(line, ensure_ascii=False).encode("utf-8") + b"\n")
        self.bytes += len(picture)
        self.count += 1
        if time.monotonic() - self._synced_s >= SYNC_EVERY_S:
            self._sync()

    def close(self, *, lost: int = 0) -> None:
        """Finish the segment and give it its name.

        Args:
            lost: Pictures that an encoder kept for itself.
        """
        try:
            self._sync()
        finally:
            self._video.close()
            self._frames.close()
        facts = {"codec": self._codec, "lost": lost, **self._facts}
        _close_folder(self._open_path, self.path, self.count, self.bytes, facts)

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


def codec_of(segment: Path) -> Codec | None:
    """Of its pictures, by the file that is there; ``None`` where there is none."""
    return next((codec for codec, name in VIDEOS.items() if (segment / name).is_file()), None)


def video_of(segment: Path) -> Path:
    """The file with a segment's pictures.

    Raises:
        FileNotFoundError: There is none.
    """
    codec = codec_of(segment)
    if codec is None:
        raise FileNotFoundError(errno.ENOENT, "a segment without pictures", str(segment))
    return segment / VIDEOS[codec]


def read_frames(segment: Path) -> Iterator[tuple[FrameLine, bytes]]:
    """Every whole picture with its line, in order; ends at the first one that is not whole."""
    path = video_of(segment)
    with open(path, "rb") as video, open(segment / FRAMES, "rb") as frames:
        for text in frames:
            line = _line(text)
            if line is None:
                return
            video.seek(line.offset)
            picture = video.read(line.size)
            if not _is_whole(picture, line.size, path.name):
                return
            yield line, picture


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
        codec = codec_of(path)
        if codec is None or not (path / FRAMES).is_file() or target.exists():
            continue
        count, size, lines_size = _whole_part(path)
        for name, end in ((VIDEOS[codec], size), (FRAMES, lines_size)):
            with open(path / name, "r+b") as file:
                file.truncate(end)
                os.fsync(file.fileno())
        _close_folder(path, target, count, size, {"codec": codec, "recovered": True})
        closed.append(target)
    return closed


def _whole_part(path: Path) -> tuple[int, int, int]:
    """Pictures that are whole, and the bytes that they and their lines take."""
    count = size = lines_size = 0
    video_path = video_of(path)
    with open(video_path, "rb") as video, open(path / FRAMES, "rb") as frames:
        for text in frames:
            line = _line(text)
            if line is None or line.offset != size:
                break
            if not _is_whole(video.read(line.size), line.size, video_path.name):
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


def _is_whole(picture: bytes, size: int, name: str) -> bool:
    return len(picture) == size > 4 and _IS_WHOLE[name](picture)


def _is_whole_jpeg(picture: bytes) -> bool:
    """Between begin and end a power cut may leave zeros: those are told by their length.

    A JPEG with the standard tables ends each block of brightness with the bits 1010.
    """
    return (
        picture.startswith(b"\xff\xd8")
        and picture.endswith(b"\xff\xd9")
        and bytes(512) not in picture
    )


_IS_WHOLE: Mapping[str, Callable[[bytes], bool]] = {
    VIDEOS["mjpeg"]: _is_whole_jpeg,
    VIDEOS["h264"]: is_whole_unit,
}


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
