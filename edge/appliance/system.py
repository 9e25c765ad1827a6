"""The system's own programs, and files that are written whole."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edge.errors import InputError
from models.whole_file import write_whole

NOBODYS = "/"
"""Where programs are started: Python looks for libraries in the current folder first, and root's
may be /tmp, where anybody may leave one."""


def run(
    command: Sequence[str], *, within_s: float = 120.0, purpose: str = "", next_step: str = ""
) -> str:
    """Run a program; what it printed.

    Args:
        command: Program and arguments.
        within_s: How long it may take.
        purpose: What it is for, in messages.
        next_step: What to do where it fails; by default it is to be tried by hand.

    Raises:
        InputError: It is not there, failed, or took too long.
    """
    try:
        done = subprocess.run(
            command,
            cwd=NOBODYS,
            capture_output=True,
            text=True,
            timeout=within_s,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise _failed(command, f"no {command[0]} on this system", purpose, next_step) from error
    except subprocess.TimeoutExpired as error:
        raise _failed(command, f"no end after {within_s:g} s", purpose, next_step) from error
    except OSError as error:
        raise _failed(command, error.strerror or str(error), purpose, next_step) from error
    if done.returncode != 0:
        words = _last_words(done.stderr or done.stdout) or f"exit code {done.returncode}"
        raise _failed(command, words, purpose, next_step)
    return done.stdout


def _last_words(text: str) -> str:
    """The last three lines, or of a traceback the last one, which has the reason."""
    said = [line for line in text.splitlines() if line.strip()]
    is_traceback = any(line.startswith("Traceback (most recent") for line in said)
    return " ".join(said[-1:] if is_traceback else said[-3:])[:500]


def _failed(command: Sequence[str], words: str, purpose: str, next_step: str) -> InputError:
    return InputError(
        f"{command[0]} to {purpose or 'work'}",
        got=words,
        next_step=next_step or f"try it by hand: {shlex.join(command)}",
    )


def works(command: Sequence[str], within_s: float = 60.0) -> bool:
    """Whether a program runs and ends with 0."""
    try:
        done = subprocess.run(
            command,
            cwd=NOBODYS,
            capture_output=True,
            timeout=within_s,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def write(path: Path, content: bytes) -> bool:
    """Write a file where it is not there already; whether something changed.

    Raises:
        InputError: It cannot be written.
    """
    try:
        if path.is_file() and not path.is_symlink() and path.read_bytes() == content:
            return False
        if path.is_symlink():  # of an administrator who masked a unit: it is theirs
            return False
        write_whole(path, content)
    except OSError as error:
        raise InputError(
            f"to write {path}", got=error.strerror or str(error), next_step="run it as root (sudo)"
        ) from error
    return True
