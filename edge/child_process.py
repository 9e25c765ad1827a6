"""A vendor's library in a process of its own: what aborts or hangs there takes nobody with it.

Qt ends the whole process when its display goes away, and a driver or a camera daemon may never come
back from a call; only a process can be ended then. Messages go through a socket as JSON, one object
each, with descriptors of shared memory beside them. :mod:`edge.child_link` is the other side.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from edge.errors import DermedgeError, InputError, RequestError

END_WITHIN_S = 1.0
"""How long a child may take to end by itself, unless it is given longer, and once it was killed."""

LONGEST_MESSAGE_BYTES = 65536

_LINES_KEPT = 20
_DESCRIPTORS_AT_ONCE = 1


class ChildEndedError(Exception):
    """The child can be talked to no longer; the text says why, with its last words."""


class ChildProcess:
    """One child, running from the moment this is made.

    Used from one thread; :meth:`interrupt` may be called from any.

    Args:
        name: What messages and the log call it.
        arguments: What Python runs; the number of the socket takes the place of ``"SOCKET"``.
        log: Gets what the child writes to its standard error.
        end_within_s: How long it may take to give back what it holds before it is killed.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: logging.Logger,
        end_within_s: float = END_WITHIN_S,
    ) -> None:
        self.name = name
        self._end_within_s = end_within_s
        self._log = log
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        number = str(theirs.fileno())
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, *(number if part == "SOCKET" else part for part in arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is the parent's
            )
        self._listener = threading.Thread(target=self._listen, name=f"{name}-stderr", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """``None`` as long as it runs."""
        return self._child.poll()

    @property
    def said(self) -> tuple[str, ...]:
        """The last lines of its standard error."""
        return tuple(self._said)

    def send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Give the child one message, with descriptors of which it gets its own copies.

        Raises:
            ChildEndedError: It has ended.
        """
        try:
            socket.send_fds(self._link, [json.dumps(message).encode()], descriptors)
        except OSError as error:
            raise ChildEndedError(error.strerror or str(error)) from error

    def receive(self, timeout_s: float) -> tuple[dict[str, Any], list[int]] | None:
        """The next message and its descriptors, which are the taker's to close.

        Returns:
            ``None`` where none comes in time.

        Raises:
            ChildEndedError: The child has ended, or :meth:`interrupt` was called.
        """
        try:
            self._link.settimeout(timeout_s)
            data, descriptors, _, _ = socket.recv_fds(
                self._link, LONGEST_MESSAGE_BYTES, _DESCRIPTORS_AT_ONCE
            )
        except (TimeoutError, BlockingIOError):
            return None
        except OSError as error:
            raise ChildEndedError(error.strerror or str(error)) from error
        if not data:
            raise ChildEndedError(self._last_words())
        return json.loads(data), descriptors

    def interrupt(self) -> None:
        """Make a :meth:`receive` that waits, and every later one, say that the child has ended."""
        try:
            self._link.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already

    def end(self) -> None:
        """End the child, by force where it does not end; calling it twice is harmless."""
        self._link.close()  # the child reads the end of it and gives back what it holds
        if not self._waited(self._end_within_s):
            self._child.kill()
            if not self._waited():
                # Inside a driver that never returns; the kernel ends it when that does.
                self._log.error("%s: process %d cannot be ended", self.name, self._child.pid)
        self._listener.join(END_WITHIN_S)

    def _waited(self, within_s: float = END_WITHIN_S) -> bool:
        try:
            self._child.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _listen(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._said.append(text)
                    self._log.debug("%s: %s", self.name, text)

    def _last_words(self) -> str:
        """Why a child has ended without a message: what it said last."""
        if not self._waited():
            self._child.kill()
        self._listener.join(END_WITHIN_S)
        said = self._said[0] if self._said else "no word"
        if said.startswith("Traceback"):
            said = self._said[-1]
        return f"its process ended ({self._child.poll()}): {said}"


def child_error(message: Mapping[str, Any]) -> DermedgeError:
    """The error that a child could not raise here, as it sent it."""
    kind = RequestError if message["kind"] == "RequestError" else InputError
    return kind(message["expected"], got=message["got"], next_step=message["next_step"])


def shared_memory(name: str, size_bytes: int) -> int:
    """A descriptor of memory that both processes may map; gone with the last that holds it."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size_bytes)
    return descriptor
