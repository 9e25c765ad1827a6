"""Room for what comes: the oldest recordings go first, locked ones never."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from edge.errors import InputError
from edge.recording.segment import is_locked, list_segments
from edge.sources.integrity import printable
from models.whole_file import sync_folder

_log = logging.getLogger("dermedge.recording")

_GOING = ".going"


def free_bytes(folder: Path) -> int:
    """Room that is left where a folder is."""
    return shutil.disk_usage(folder).free


def make_room(folder: Path, floor_bytes: int, margin_bytes: int = 0) -> int:
    """Remove the oldest segments until the floor is kept; gives how many went.

    Args:
        folder: Of all segments.
        floor_bytes: Room that must be left.
        margin_bytes: So much more is made free where it can be, for what comes next.

    Raises:
        InputError: All that may go would not be enough, since somebody else fills the disk, say:
            then nothing goes.
    """
    gone = 0
    removable = [segment for segment in list_segments(folder) if not is_locked(segment)]
    free = free_bytes(folder)
    if free + sum(map(_size, removable)) < floor_bytes:
        removable = []
    for segment in removable:
        if free_bytes(folder) >= floor_bytes + margin_bytes:
            return gone
        _remove(segment)
        gone += 1
        _log.info("recording: %s removed to make room", segment.name)
    free = free_bytes(folder)
    if free < floor_bytes:
        raise InputError(
            f"{floor_bytes >> 20} MB free for recordings in {printable(folder)}",
            got=f"{free >> 20} MB, and no recordings that may be removed would make enough",
            next_step="see what fills the disk; export recordings and remove them",
        )
    return gone


def tidy(folder: Path) -> None:
    """Finish removals that a power cut interrupted."""
    for path in folder.glob(f"*{_GOING}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def _size(segment: Path) -> int:
    """Bytes that a segment takes on its disk; 0 where that cannot be said."""
    try:
        return sum(path.stat().st_blocks * 512 for path in segment.iterdir())
    except OSError:
        return 0


def _remove(segment: Path) -> None:
    """Under another name first: half a segment must not pass for one."""
    going = segment.with_name(segment.name + _GOING)
    os.rename(segment, going)
    sync_folder(segment.parent)
    shutil.rmtree(going, ignore_errors=True)
