"""Hidden files in which an output grows until it is whole and takes its name.

Whoever writes one holds a lock on it, which the system lets go when the process ends, however it
ends. So a lock that can be taken means that nobody will ever complete the file. Its age would not:
a long recording is as old.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import secrets
from pathlib import Path
from typing import BinaryIO

from edge.sources.integrity import printable

VIDEO_SUFFIX = ".webm"

_NAME = re.compile(r"\.dermedge-[0-9a-f]{12}\.partial(\.webm)?")

_log = logging.getLogger("dermedge.sink")


def open_partial(path: Path, suffix: str = "") -> tuple[Path, BinaryIO]:
    """Make a hidden file beside ``path``, locked until the returned file is closed.

    Its name is short, so that it is never too long.

    Args:
        path: What it is going to be called; the file must be renamed, or removed, before the lock
            is let go.
        suffix: Empty, or :data:`VIDEO_SUFFIX` for a library that goes by it.

    Raises:
        OSError: It cannot be made.
    """
    while True:
        partial = path.with_name(f".dermedge-{secrets.token_hex(6)}.partial{suffix}")
        file = partial.open("xb")
        if _is_ours(file, partial):
            return partial, file
        file.close()


def _is_ours(file: BinaryIO, partial: Path) -> bool:
    """False where another process took the new file for a dead one before it was locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return True  # a file system without locks, where nobody can take one and remove the file
    try:
        return os.path.samestat(os.fstat(file.fileno()), partial.stat())
    except FileNotFoundError:
        return False


def remove_dead_partials(folder: Path) -> None:
    """Remove what killed runs left unfinished in ``folder``, and log it in one line."""
    try:
        names = [name for name in os.listdir(folder) if _NAME.fullmatch(name)]
    except OSError:
        return  # there is nothing yet, or writing there will say what is wrong
    removed = [name for name in names if _remove_if_dead(folder / name)]
    if removed:
        recordings = sum(name.endswith(VIDEO_SUFFIX) for name in removed)
        _log.warning(
            "removed %d unfinished file%s of a killed run from %s%s",
            len(removed),
            "" if len(removed) == 1 else "s",
            printable(folder),
            "; a recording that is killed before its end is lost" if recordings else "",
        )


def _remove_if_dead(partial: Path) -> bool:
    try:
        with partial.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()  # while locked: an owner that has just begun notices
    except OSError:
        return False  # its owner lives, another one has removed it, or there are no locks here
    return True
