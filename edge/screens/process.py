"""A screen in a process of its own: a display library that aborts or hangs takes nobody with it.

Qt ends the whole process when its display goes away, and a driver may never come back from a call.
Messages go through a socket as JSON, one object each; pixels through shared memory that only the
two processes have. One picture at a time is with the child; while it is busy the newest one waits.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.controls import Controls
from edge.errors import DermedgeError, InputError, RequestError
from edge.overlay.layout import Room
from edge.screens.base import Presented, Shown
from edge.stop import Stop

OPEN_WITHIN_S = 20.0
"""A display that is not open after this long is away; a first start loads libraries from a card."""

ANSWER_WITHIN_S = 3.0
"""A child that has not shown its picture after this long hangs, and is killed."""

END_WITHIN_S = 1.0
"""How long a child may take to give the display back before it is killed."""

_LINES_KEPT = 20

_log = logging.getLogger("dermedge.screen")


class ScreenProcess:
    """The parent's side.

    Args:
        name: ``window`` or ``screen``: what :mod:`edge.screens.child` makes, and messages call it.
        options: For the child's side, JSON-able.
        controls: Told about the shutter's keys.
        stop: Asked to stop when the user closes the window.
        module: What Python runs in the child.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        controls: Controls,
        stop: Stop,
        module: Sequence[str] = ("-m", "edge.screens.child"),
    ) -> None:
        self.name = name
        self._module = module
        self._options = options
        self._controls = controls
        self._stop = stop
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._listener: threading.Thread | None = None
        self._room: Room | None = None
        self._pixels: _Pixels | None = None
        self._busy_since_s: float | None = None
        self._waiting: Shown | None = None
        self._presented: Presented | None = None

    @property
    def room(self) -> Room | None:
        """Where the drawn picture is shown; ``None`` until it is open."""
        return self._room

    def open(self) -> None:
        """Start the child and wait until it has the display.

        Raises:
            RequestError: There is no display, or what shows on it is not installed.
            InputError: The display cannot be taken.
        """
        self._start()
        until_s = time.monotonic() + OPEN_WITHIN_S
        while self._room is None:
            left_s = until_s - time.monotonic()
            if left_s <= 0.0:
                raise self._failure(f"no answer in {OPEN_WITHIN_S:g} s")
            self._receive(min(left_s, 0.5))

    def show(self, shown: Shown) -> Presented | None:
        """Give a picture to the child, or keep it until the child has shown the one before.

        Raises:
            InputError: The child has ended, or hangs.
        """
        self._waiting = shown
        return self.poll()

    def poll(self) -> Presented | None:
        """Hear what the user does, and give the child the picture that waits.

        Raises:
            InputError: As of :meth:`show`.
        """
        while self._receive(0.0):
            pass
        if self._busy_since_s is not None:
            if time.monotonic() - self._busy_since_s > ANSWER_WITHIN_S:
                raise self._failure(f"it has not answered for {ANSWER_WITHIN_S:g} s")
        elif self._waiting is not None:
            self._give(self._waiting)
            self._waiting = None
        return self._presented

    def close(self) -> None:
        """End the child, by force where it does not end; calling it twice is harmless."""
        child, link = self._child, self._socket
        self._child = self._socket = self._room = None
        self._waiting = self._presented = self._busy_since_s = None
        if link is not None:
            link.close()  # the child reads the end of it and gives the display back
        if child is not None:
            try:
                child.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._listener is not None:
            self._listener.join(END_WITHIN_S)
            self._listener = None
        if self._pixels is not None:
            self._pixels.close()
            self._pixels = None

    def _start(self) -> None:
        self._said.clear()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    *self._module,
                    self.name,
                    str(theirs.fileno()),
                    json.dumps(dict(self._options)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is the parent's
            )
        self._listener = threading.Thread(
            target=self._listen, args=(self._child,), name=f"{self.name}-stderr", daemon=True
        )
        self._listener.start()

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None
        with child.stderr as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._said.append(text)
                    _log.debug("%s: %s", self.name, text)

    def _give(self, shown: Shown) -> None:
        link = self._socket
        if link is None:
            raise self._failure("it is not open")
        message: dict[str, Any] = {"number": shown.number, "shape": shown.picture.shape}
        descriptors = []
        if self._pixels is None or self._pixels.size != shown.picture.size:
            if self._pixels is not None:
                self._pixels.close()
            self._pixels = _Pixels(shown.picture.size)
            descriptors = [self._pixels.descriptor]
        self._pixels.fill(shown.picture)
        try:
            socket.send_fds(link, [json.dumps(message).encode()], descriptors)
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error
        self._busy_since_s = time.monotonic()

    def _receive(self, timeout_s: float) -> bool:
        """Take one message, if one comes in time."""
        link = self._socket
        if link is None:
            return False
        try:
            link.settimeout(timeout_s)
            data = link.recv(65536)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError as error:
            raise self._failure(error.strerror or str(error)) from error
        if not data:
            raise self._failure(self._last_words())
        self._take(json.loads(data))
        return True

    def _take(self, message: Mapping[str, Any]) -> None:
        what = message["what"]
        if what == "open":
            self._room = Room(tuple(message["size_wh"]), filled=message["filled"])
        elif what == "shown":
            self._busy_since_s = None
            self._presented = Presented(message["number"], message["at_ns"])
        elif what == "shutter":
            self._controls.ask("shutter", self.name, message["at_ns"])
        elif what == "closed":
            self._stop.request("the user")
        elif what == "log":
            _log.warning("%s", message["words"])
        elif what == "failed":
            kind = RequestError if message["kind"] == "RequestError" else InputError
            raise kind(message["expected"], got=message["got"], next_step=message["next_step"])

    def _failure(self, words: str) -> DermedgeError:
        return InputError(
            f"the {self.name} to show pictures",
            got=words,
            next_step="it is tried again; see docs/cameras-and-screens.md",
        )

    def _last_words(self) -> str:
        """Why a child has ended without a message: what it said last."""
        child = self._child
        code: int | None = None
        if child is not None:
            try:
                code = child.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._listener is not None:
            self._listener.join(END_WITHIN_S)
        said = self._said[0] if self._said else "no word"
        return f"its process ended ({code}): {said}"


class _Pixels:
    """Memory of one picture's size that a child may map too; gone with the last of both."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.descriptor = os.memfd_create("dermedge-picture", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, size)
        self._map = mmap.mmap(self.descriptor, size)
        self._array = np.frombuffer(self._map, np.uint8)

    def fill(self, picture: NDArray[np.uint8]) -> None:
        """Copy a picture of this size in; nobody may be reading it."""
        np.copyto(self._array.reshape(picture.shape), picture)

    def close(self) -> None:
        """Let go of it."""
        del self._array
        self._map.close()
        os.close(self.descriptor)
