"""What the person at the device asks for: keys, buttons and the web page all end here."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Literal

Wish = Literal["shutter", "freeze", "release", "card"]
"""``shutter`` freezes a live picture and releases a frozen one, as a single button does; ``freeze``
and ``release`` do only that; ``card`` checks the colours on a white or grey card."""

_WAITING_MOST = 8


@dataclass(frozen=True)
class Command:
    """One wish.

    Attributes:
        wish: What is asked for.
        origin: Which key, button or page it came from, e.g. ``window`` or ``gpio:17``.
        pressed_ns: When, on the monotonic clock: a still must be exposed after this instant.
    """

    wish: Wish
    origin: str
    pressed_ns: int


class Controls:
    """A short queue of commands. Safe to use from any thread; never waits."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque(maxlen=_WAITING_MOST)
        self.changed = threading.Event()
        """Set by every command; whoever waits for commands clears it."""

    def ask(self, wish: Wish, origin: str, pressed_ns: int | None = None) -> None:
        """Ask for something.

        Args:
            wish: What.
            origin: Where the wish comes from.
            pressed_ns: Monotonic instant of the press, by default now. A kernel that stamps its
                events (evdev, GPIO) knows it better.
        """
        at_ns = time.monotonic_ns() if pressed_ns is None else pressed_ns
        self._commands.append(Command(wish, origin, at_ns))
        self.changed.set()

    def next(self) -> Command | None:
        """The oldest command that nobody has taken, or ``None``."""
        try:
            return self._commands.popleft()
        except IndexError:
            return None
