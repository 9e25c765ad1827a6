"""Writes Results as JSON lines: one line for each frame, whole or not at all."""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

from edge.errors import InputError, RequestError
from edge.result import SCHEMA
from edge.sinks.base import Shot
from edge.sinks.stills import json_line
from edge.sinks.whole_file import output_error
from edge.sources.integrity import printable
from models.whole_file import sync_folder

_OURS = b'{"schema": "' + SCHEMA.encode() + b'"'
_BLOCK_BYTES = 65536

SYNC_EVERY_S = 1.0
"""A pulled plug costs the lines that were written within this time, not more."""

PIPE_PATIENCE_S = 1.0
"""Longest time that a line waits for the reader of a full pipe."""

_NO_READER = {
    errno.ENXIO: "none",
    errno.EPIPE: "one that has gone",
    errno.EAGAIN: f"one that took nothing for {PIPE_PATIENCE_S:g} s",
}


class JsonlSink:
    """Appends one ``dermedge.result/1`` object a line to a file, or writes them into a pipe.

    Each line of a file is handed to the kernel in one ``write`` call before :meth:`write` returns,
    so a killed program leaves whole lines only. Lines are brought to the disk itself with the first
    one that is written :data:`SYNC_EVERY_S` or more after they last were, and at the end. A line
    that a full disk cut short is taken back. A file that a power cut left with an unfinished last
    line is continued after its last whole line.

    A pipe or device (``/dev/stdout``, a FIFO) is never waited for longer than
    :data:`PIPE_PATIENCE_S`: the sink fails where nobody reads.

    Args:
        path: File to write; its folder is made where missing. An existing file of Results is
            continued, any other file is refused.
        overwrite: Begin an existing file of Results anew, at the first line: a run that never
            comes to a line leaves it as it was.
    """

    wants_drawn = False

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        self.name = f"jsonl {printable(path)}"
        self.goes_on = not overwrite  # opened again, it would begin anew
        self._path = path
        self._overwrite = overwrite
        self._file: int | None = None
        self._regular = True
        self._is_new = False
        self._synced_s = 0.0

    def open(self) -> None:
        """Open the file for appending.

        Raises:
            RequestError: The file exists and holds something else than Results.
            InputError: The file or its folder cannot be written, or nobody reads the pipe.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._regular = _is_regular_or_new(self._path)
            if self._regular:
                self._is_new = not os.path.lexists(self._path)
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                self._continue(self._file)
                self._synced_s = time.monotonic()
                if self._is_new:
                    sync_folder(self._path.parent)
            else:
                # Without O_RDWR, which would make this program a reader of its own pipe.
                self._file = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, shot: Shot) -> bool:
        """Write one line.

        Raises:
            InputError: The disk is full, and no part of the line stays in the file; or the disk,
                or the reader of the pipe, is gone.
        """
        if self._file is None:
            raise ValueError("the sink must be opened before it is written")
        line = json_line(shot.result).encode("utf-8")
        try:
            if not self._regular:
                _write_to_reader(self._file, line)
                return True
            if self._overwrite:
                os.ftruncate(self._file, 0)
                self._overwrite = False
            _append_whole(self._file, line)
            if time.monotonic() - self._synced_s >= SYNC_EVERY_S:
                os.fsync(self._file)
                self._synced_s = time.monotonic()
        except OSError as error:
            raise self._failed(error) from error
        return True

    def close(self) -> None:
        """Bring the lines to the disk itself and close the file.

        A file that this run made and never came to write is removed again.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            if self._regular:
                os.fsync(file)
                if self._is_new and os.fstat(file).st_size == 0:
                    self._path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error
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
        end = _after_last_newline(file, size)
        if end < size and not self._overwrite:
            os.ftruncate(file, end)

    def _failed(self, error: OSError) -> InputError:
        if self._regular or error.errno not in _NO_READER:
            return output_error(self._path, error)
        return InputError(
            f"a program that reads {printable(self._path)}",
            got=_NO_READER[error.errno],
            next_step="start the reader first and keep it running, or name a file",
        )


def _is_regular_or_new(path: Path) -> bool:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)  # a folder is told by opening it


def _append_whole(file: int, line: bytes) -> None:
    before = os.fstat(file).st_size
    try:
        written = os.write(file, line)
        if written < len(line):
            written += os.write(file, line[written:])
    except OSError:
        os.ftruncate(file, before)
        raise


def _write_to_reader(pipe: int, line: bytes) -> None:
    """Write to a pipe that does not block.

    Raises:
        OSError: ``EPIPE`` where the reader is gone, ``EAGAIN`` where it takes nothing.
    """
    room = select.poll()
    room.register(pipe, select.POLLOUT)
    while line:
        try:
            line = line[os.write(pipe, line) :]
        except BlockingIOError:
            if not room.poll(PIPE_PATIENCE_S * 1000.0):
                raise


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
