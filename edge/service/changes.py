"""Whether a file has changed that a run depends on."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MOST_FILES = 2000


def signature(paths: Iterable[Path]) -> frozenset[tuple[str, int, int, int]]:
    """Name, size, time of change and inode of every file at and below these paths."""
    found = set()
    for path in paths:
        for number, file in enumerate((path, *_below(path))):
            if number >= MOST_FILES:
                break
            with suppress(OSError):  # gone, or not for us: that it is not in here says so
                facts = file.stat()
                found.add((str(file), facts.st_size, facts.st_mtime_ns, facts.st_ino))
    return frozenset(found)


def _below(path: Path) -> Iterable[Path]:
    with suppress(OSError):
        if path.is_dir():
            yield from path.rglob("*")
