"""The thread behind a button: it waits for presses, and for a button that is away to come back."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from edge.controls import Controls, Wish
from edge.errors import InputError
from edge.stop import SLICE_S, Stop

RETRY_S = 2.0
"""Pause before a button that is away is looked for again, and between looks at what is there."""

APART_NS = 250_000_000
"""Presses closer together than this are one: contacts bounce, fingers tremble."""

_log = logging.getLogger("dermedge.input")


def _the_same() -> object:
    """Nothing ever comes or goes."""
    return None


class Button:
    """One input that asks for one thing; use it in a ``with`` statement.

    Args:
        origin: What commands and messages call it.
        open_all: Opens the devices that belong to it; raises InputError where there is none.
        read: Instants of the presses that wait at one, monotonic nanoseconds; raises OSError once
            the device is gone.
        wish: What a press asks for.
        controls: Told about it.
        stop: Ends the thread.
        what_is_there: Differs from what it was before once a device comes or goes: all are opened
            anew then, for the one that was meant may be back while another one has its key.
    """

    def __init__(
        self,
        origin: str,
        open_all: Callable[[], list[int]],
        read: Callable[[int], Sequence[int]],
        wish: Wish,
        controls: Controls,
        stop: Stop,
        what_is_there: Callable[[], object] = _the_same,
    ) -> None:
        self._origin = origin
        self._open_all = open_all
        self._read = read
        self._wish = wish
        self._controls = controls
        self._stop = stop
        self._what_is_there = what_is_there
        self._closed = threading.Event()
        self._said: str | None = None
        self._last_ns = -APART_NS
        self._thread = threading.Thread(target=self._work, name=origin, daemon=True)

    def __enter__(self) -> Button:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._thread.join(10 * SLICE_S)

    def _is_over(self) -> bool:
        return self._closed.is_set() or self._stop.is_set

    def _work(self) -> None:
        while not self._is_over():
            there = self._what_is_there()
            try:
                descriptors = self._open_all()
            except (InputError, OSError) as error:
                self._away(str(error))
                self._closed.wait(RETRY_S if not self._stop.is_set else 0.0)
                continue
            if self._said is not None:
                _log.info("input %s: back", self._origin)
            self._said = None
            try:
                self._listen(descriptors, there)
            except OSError as error:
                self._away(error.strerror or str(error))
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _listen(self, descriptors: Sequence[int], there: object) -> None:
        """Ask for what is pressed until something else is there."""
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        look_s = time.monotonic() + RETRY_S
        while not self._is_over():
            if time.monotonic() >= look_s:
                look_s += RETRY_S
                if self._what_is_there() != there:
                    return
            for descriptor, _ in poll.poll(1000 * SLICE_S):
                for pressed_ns in self._read(descriptor):
                    self._pressed(pressed_ns)

    def _pressed(self, pressed_ns: int) -> None:
        if pressed_ns - self._last_ns >= APART_NS:
            self._controls.ask(self._wish, self._origin, pressed_ns)
            self._last_ns = pressed_ns

    def _away(self, words: str) -> None:
        if words != self._said:
            self._said = words
            _log.warning("input %s: %s; it is looked for again", self._origin, words)
