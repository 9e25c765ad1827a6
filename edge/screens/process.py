"""A screen in a process of its own.

Pixels go through shared memory that only the two processes have. One picture at a time is with the
child; while it is busy the newest one waits.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.child_process import ChildEndedError, ChildProcess, child_error, shared_memory
from edge.controls import Controls
from edge.errors import DermedgeError, InputError
from edge.overlay.layout import Room
from edge.own_module import own_module
from edge.pages import page
from edge.screens.base import Presented, Shown
from edge.stop import Stop

OPEN_WITHIN_S, OPEN_WITHIN_AT_MOST_S = 20.0, 160.0
"""A display that is not open after this long is away. It doubles with each attempt that takes
longer: a first start loads libraries from a card and looks through all of GStreamer's plugins,
and would begin from the start again whenever it is ended before its end."""

ANSWER_WITHIN_S = 3.0
"""A child that has not shown its picture after this long hangs, and is killed."""

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
        module: Sequence[str] = own_module("edge.screens.child"),
    ) -> None:
        self.name = name
        self._module = module
        self._options = options
        self._controls = controls
        self._stop = stop
        self._child: ChildProcess | None = None
        self._open_within_s = OPEN_WITHIN_S
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
        options = json.dumps(dict(self._options))
        self._child = ChildProcess(self.name, [*self._module, self.name, "SOCKET", options], _log)
        within_s = self._open_within_s
        until_s = time.monotonic() + within_s
        while self._room is None:
            left_s = until_s - time.monotonic()
            if left_s <= 0.0:
                self._open_within_s = min(OPEN_WITHIN_AT_MOST_S, 2.0 * within_s)
                raise self._failure(f"no answer in {within_s:g} s")
            self._receive(min(left_s, 0.5))
            if self._child is None:  # closed meanwhile from another thread: the program ends
                self._room = None
                raise self._failure("it was closed while it was opened")
        self._open_within_s = OPEN_WITHIN_S

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
        child, self._child, self._room = self._child, None, None
        self._waiting = self._presented = self._busy_since_s = None
        if child is not None:
            child.end()
        if self._pixels is not None:
            self._pixels.close()
            self._pixels = None

    def _give(self, shown: Shown) -> None:
        child = self._child
        if child is None:
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
            child.send(message, descriptors)
        except ChildEndedError as error:
            raise self._failure(str(error)) from error
        self._busy_since_s = time.monotonic()

    def _receive(self, timeout_s: float) -> bool:
        """Take one message, if one comes in time."""
        child = self._child  # close() may come from another thread
        if child is None:
            return False
        try:
            received = child.receive(timeout_s)
        except ChildEndedError as error:
            raise self._failure(str(error)) from error
        if received is None:
            return False
        self._take(received[0])
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
            raise child_error(message)

    def _failure(self, words: str) -> DermedgeError:
        return InputError(
            f"the {self.name} to show pictures",
            got=words,
            next_step=f"it is tried again; see {page('cameras-and-screens.md')}",
        )


class _Pixels:
    """Memory of one picture's size that a child may map too; gone with the last of both."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.descriptor = shared_memory("dermedge-picture", size)
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
