"""Small files of the kernel, any of which may be missing or refuse to be read."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str | None:
    """What a file says, without the end of its line or its zero byte; ``None`` where it cannot."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\n\0 ")
    except OSError:
        return None


def read_int(path: Path, base: int = 10) -> int | None:
    """The number in a file, or ``None``."""
    try:
        return int(read_text(path) or "", base)
    except ValueError:
        return None
