"""All screens of a run as one: one that fails is closed and opened again later."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType

from edge.health import Health
from edge.overlay.layout import Room
from edge.screens.base import Presented, Screen, Shown
from edge.stop import Stop

RETRY_S, RETRY_AT_MOST_S = 5.0, 60.0
"""Pause before a screen that could not be opened, or failed, is tried again; it doubles each time
that this fails."""

OPEN_WITHIN_S = 20.0
"""How long the start waits for screens that must open; the others come when they come."""

OPENING_GRACE_S = 1.0
"""How long the end of the program waits for a screen that is just being opened."""

_log = logging.getLogger("dermedge.screen")


class ScreenGroup:
    """Opens, feeds and closes screens; use it in a ``with`` statement.

    A display is optional: it may come later, go, and come back. One that is away is tried again now
    and then, on a thread of its own, and the first failure of each kind of words is logged.

    Args:
        screens: Not yet open. The first one that says when a picture was seen gives the frame age.
        health: Told about screens that fail while running.
        must_open: Fail where none can be opened at the start, instead of trying again.
        wait_s: How long the start waits for them where none must open: a recording would be over
            before a screen is there, a camera goes on.
        stop: Ends that wait.
    """

    def __init__(
        self,
        screens: Sequence[Screen],
        health: Health,
        *,
        must_open: bool = False,
        wait_s: float = OPEN_WITHIN_S,
        stop: Stop | None = None,
    ) -> None:
        self._screens = [_Slot(screen) for screen in screens]
        self._health = health
        self._must_open = must_open
        self._wait_s = OPEN_WITHIN_S if must_open else wait_s
        self._stop = stop or Stop()

    def __enter__(self) -> ScreenGroup:
        """Open all screens, each on a thread of its own.

        Raises:
            DermedgeError: With ``must_open``, none can start.
        """
        for slot in self._screens:
            self._begin_opening(slot)
        end_s = time.monotonic() + self._wait_s
        while any(slot.is_opening for slot in self._screens) and time.monotonic() < end_s:
            if self._stop.wait(0.01):
                break
        done = [slot for slot in self._screens if not slot.is_opening]
        errors = [slot.error for slot in done if slot.error is not None]
        if self._must_open and errors and len(errors) == len(self._screens):
            self.close()
            raise errors[0]
        for slot in done:
            self._finish_opening(slot)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def are_there(self) -> bool:
        """True where at least one screen is open."""
        return any(slot.is_open for slot in self._screens)

    @property
    def room(self) -> Room | None:
        """What the first screen wants that wants a size; ``None`` where none does."""
        rooms = (slot.screen.room for slot in self._screens if slot.is_open)
        return next((room for room in rooms if room is not None), None)

    def poll(self) -> Presented | None:
        """Hear what users do at open screens, and try those that are away where it is time to.

        Returns:
            As :meth:`show`.
        """
        first: Presented | None = None
        for slot in self._screens:
            if slot.opening is not None:
                self._finish_opening(slot)
            elif not slot.is_open and time.monotonic() >= slot.retry_s:
                self._begin_opening(slot)
            elif slot.is_open:
                first = self._asked(slot, slot.screen.poll, first)
        return first

    def show(self, shown: Shown) -> Presented | None:
        """Show a picture on every open screen.

        Returns:
            What the first screen that knows says it has shown last.
        """
        first: Presented | None = None
        for slot in self._screens:
            if slot.is_open:
                first = self._asked(slot, partial(slot.screen.show, shown), first)
        return first

    def close(self) -> None:
        """Close all; twice is harmless."""
        for slot in reversed(self._screens):
            if slot.opening is not None:
                slot.opening.join(OPENING_GRACE_S)
            self._close(slot)

    def _asked(
        self, slot: _Slot, ask: Callable[[], Presented | None], first: Presented | None
    ) -> Presented | None:
        try:
            presented = ask()
        except Exception as error:  # reported; a display never stops the camera
            self._away(slot, error)
            return first
        return first or presented

    def _begin_opening(self, slot: _Slot) -> None:
        slot.opening = threading.Thread(
            target=self._try, args=(slot,), name=f"open-{slot.screen.name}", daemon=True
        )
        slot.opening.start()

    def _try(self, slot: _Slot) -> None:
        slot.error = None
        try:
            slot.screen.open()
        except Exception as error:  # a broken display library is a display that is away
            slot.error = error

    def _finish_opening(self, slot: _Slot) -> None:
        if slot.is_opening:
            return
        slot.opening = None
        if slot.error is not None:
            self._away(slot, slot.error)
            return
        if slot.said is not None:
            _log.info("screen %s: open again", slot.screen.name)
        slot.is_open, slot.said, slot.pause_s = True, None, RETRY_S

    def _away(self, slot: _Slot, error: Exception) -> None:
        was_open, words = slot.is_open, str(error)
        self._close(slot)
        slot.retry_s = time.monotonic() + slot.pause_s
        slot.pause_s = min(RETRY_AT_MOST_S, 2.0 * slot.pause_s)
        if was_open:
            self._health.note(f"screen {slot.screen.name}", error)
        if words != slot.said:
            slot.said = words
            _log.warning("screen %s: %s; it is tried again now and then", slot.screen.name, words)

    def _close(self, slot: _Slot) -> None:
        slot.is_open = False
        try:
            slot.screen.close()
        except Exception as error:  # nothing is lost by it: pictures are not kept there
            _log.debug("closing screen %s: %s", slot.screen.name, error)


class _Slot:
    """A screen, whether it is open, when to try it again, and what was last said about it."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.is_open = False
        self.retry_s = 0.0
        self.pause_s = RETRY_S
        self.opening: threading.Thread | None = None
        self.error: Exception | None = None
        self.said: str | None = None

    @property
    def is_opening(self) -> bool:
        """Whether its opening has begun and not ended."""
        return self.opening is not None and self.opening.is_alive()
