"""What a long work prints, to a reader who may be gone: the work goes on, and in silence."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TextIO


def say(text: str) -> None:
    """Print to stdout at once, whatever characters its encoding lacks."""
    _print(text, sys.stdout)


def complain(text: str) -> None:
    """Print to stderr at once, as one line."""
    _print(" ".join(text.split()), sys.stderr)


class ComplainingHandler(logging.Handler):
    """Lines of a log, each as :func:`complain` prints it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        complain(record.getMessage())


def trace(text: str) -> None:
    """Print a traceback to stderr."""
    _print(text.rstrip("\n"), sys.stderr)


def _print(text: str, stream: TextIO | None) -> None:
    """``stream`` is ``None`` where the program was started without it."""
    if stream is None or stream.closed:
        return
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
    except OSError:
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Let the rest go nowhere: what is held back would fail again when the program ends."""
    with contextlib.suppress(OSError):  # a stream without a descriptor holds nothing back
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
        stream.flush()
