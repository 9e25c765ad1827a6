"""Writes Results as JSON lines: one line for each frame, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge.errors import RequestError
from edge.result import SCHEMA
from edge.sinks.base import Shot
from edge.sinks.stills import json_line
from edge.sinks.whole_file import output_error
from edge.sources.integrity import printable

_OURS = b'{"schema": "' + SCHEMA.encode() + b'"'
_BLOCK_BYTES = 65536


class JsonlSink:
    """Appends one ``dermedge.result/1`` object a line to a file.

    Each line is handed to the kernel in one ``write`` call before :meth:`write` returns, so a
    killed program leaves whole lines only. A line that a full disk cut short is taken back. A file
    that a power cut left with an unfinished last line is continued after its last whole line.

    Args:
        path: File to write; its folder is made where missing. An existing file of Results is
            continued, any other file is refused.
        overwrite: Begin an existing file of Results anew.
    """

    wants_drawn = False

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.name = f"jsonl {printable(path)}"
        self._path = path
        self._overwrite = overwrite
        self._file: int | None = None
        self._regular = True

    def open(self) -> None:
        """Open the file for appending.

        Raises:
            RequestError: The file exists and holds something else than Results.
            InputError: The file or its folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
            self._file = os.open(self._path, flags, 0o644)
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            if self._regular:
                self._continue(self._file)
        except OSError as error:
            raise output_error(self._path, error) from error

    def write(self, shot: Shot) -> bool:
        """Write one line.

        Raises:
            InputError: The disk is full or gone; no part of the line stays in the file.
        """
        if self._file is None:
            raise ValueError("the sink must be opened before it is written")
        line = json_line(shot.result).encode("utf-8")
        try:
            before = os.fstat(self._file).st_size
            written = os.write(self._file, line)
            if written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as error:
            if self._regular:
                os.ftruncate(self._file, before)
            raise output_error(self._path, error) from error
        return True

    def close(self) -> None:
        """Bring the lines to the disk itself and close the file."""
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            if self._regular:
                os.fsync(file)
        except OSError as error:
            raise output_error(self._path, error) from error
        finally:
            os.close(file)

    def _continue(self, file: int) -> None:
        size = os.fstat(file).st_size
        if size == 0:
            return
        head = os.pread(file, len(_OURS), 0)
        if head != _OURS[: len(head)]:
            raise RequestError(
                f"a new file, or one of {SCHEMA} lines to continue",
                got=f"{printable(self._path)} with other content",
                next_step="name another file, or move this one away",
            )
        end = 0 if self._overwrite else _after_last_newline(file, size)
        if end < size:
            os.ftruncate(file, end)


def _after_last_newline(file: int, size: int) -> int:
    """Bytes up to and with the last newline: from the end back, for the file may be long."""
    end = size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
