"""Aim, freeze, read, keep, go on: what a press does, and where the device is in it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge.analysis_thread import Outcome
from edge.controls import Command, Controls
from edge.errors import DermedgeError
from edge.intake import STILL_PATIENCE_S
from edge.overlay.notices import Notice

SessionState = Literal["live", "freezing", "frozen"]

SAID_FOR_S = 6.0
"""How long words about a still that could not be had stay on the screen."""

_ANALYSIS_PATIENCE_S = 10.0
"""A still that is neither there nor given up after this beyond its own patience never comes."""

AskStill = Callable[[Command, Callable[[str], None]], None]

_log = logging.getLogger("dermedge.shutter")


@dataclass(frozen=True)
class Frozen:
    """The still that is held, and the picture of it with its overlay."""

    outcome: Outcome
    picture: NDArray[np.uint8]


KeepCase = Callable[[Frozen, Command], str]
"""Saves a frozen still and gives its case code; called on a thread of its own.

Raises:
    DermedgeError: It could not be saved; nothing half is left.
"""


def _no_card() -> None:
    """Nobody checks colours."""


def _live() -> str | None:
    """Nothing speaks against what is shown."""
    return None


class Session:
    """The shutter's three states. All but the saving happens on the presentation thread.

    Args:
        controls: Where wishes come from.
        ask_still: Asks the source for a still, as :meth:`edge.intake.Intake.ask_still`.
        go_on: Lets the analysis go on once a still is released.
        keep_case: Saves stills; ``None`` where no folder is configured.
        wake: Set when something has changed on another thread.
        check_card: Checks the colours on a card that the camera sees.
        not_live_words: Why there is no live picture to be frozen, or ``None``.
    """

    def __init__(
        self,
        controls: Controls,
        ask_still: AskStill,
        go_on: Callable[[], None],
        keep_case: KeepCase | None,
        wake: threading.Event,
        check_card: Callable[[], None] = _no_card,
        not_live_words: Callable[[], str | None] = _live,
    ) -> None:
        self._check_card = check_card
        self._not_live_words = not_live_words
        self.state: SessionState = "live"
        self.frozen: Frozen | None = None
        self._controls = controls
        self._ask_still = ask_still
        self._go_on = go_on
        self._keep_case = keep_case
        self._wake = wake
        self._press: Command | None = None
        self._saved: tuple[Frozen, str] | None = None
        self._refused: deque[tuple[Command, str]] = deque()  # by other threads; append is atomic
        self._saving: threading.Thread | None = None
        self._words: Notice | None = None
        self._words_until_s = 0.0

    def turn(self) -> bool:
        """Follow the wishes that have come; True where the state has changed."""
        before = self.state
        while (command := self._controls.next()) is not None:
            if self.state == "live" and command.wish in ("shutter", "freeze"):
                self._freeze(command)
            elif self.state == "frozen" and command.wish in ("shutter", "release"):
                self._release()
            elif self.state == "live" and command.wish == "card":
                self._check_card()
        while self._refused:
            press, words = self._refused.popleft()
            if press is self._press:
                self._no_still(words)
        if self.state == "freezing" and self._press is not None:
            waited_s = (time.monotonic_ns() - self._press.pressed_ns) / 1e9
            if waited_s > STILL_PATIENCE_S + _ANALYSIS_PATIENCE_S:
                self._no_still("the camera or the analysis does not answer")
        return self.state != before

    @property
    def case_code(self) -> str | None:
        """Of the still that is held, once it is saved."""
        saved = self._saved
        return saved[1] if saved is not None and saved[0] is self.frozen else None

    def refuse(self, press: Command, words: str) -> None:
        """Say why there is no still for a press; from any thread."""
        self._refused.append((press, words))
        self._wake.set()

    def missed(self, press: Command, words: str) -> None:
        """Go on without a still: the one that was taken for a press is none."""
        if press is self._press:
            self._no_still(words)
        self._go_on()

    def froze(self, frozen: Frozen) -> None:
        """Hold an analyzed still, and save it."""
        press = frozen.outcome.press
        if press is None or press is not self._press:  # given up in the meantime
            self._go_on()
            return
        self.state, self.frozen, self._words = "frozen", frozen, None
        if self._keep_case is not None:
            self._saving = threading.Thread(
                target=self._save, args=(self._keep_case, frozen, press), name="case", daemon=True
            )
            self._saving.start()

    def close(self, patience_s: float = 10.0) -> bool:
        """Wait for a case that is being saved; False where it did not end in time."""
        if self._saving is None:
            return True
        self._saving.join(patience_s)
        return not self._saving.is_alive()

    def notices(self) -> list[Notice]:
        """What to say about the shutter now."""
        if self.state == "freezing":
            return [Notice("Taking a still: hold still", "prompt")]
        words = self._words
        if self.state == "frozen":
            held = Notice("FROZEN: press again to go on", "info")
            if words is None:
                text = "Saving ..." if self._keep_case else "Not saved: no case folder is set"
                words = Notice(text, "info")
            return [held, words]
        if words is not None and time.monotonic() < self._words_until_s:
            return [words]
        return []

    def _freeze(self, command: Command) -> None:
        if self._saving is not None and self._saving.is_alive():
            self._say("Still saving the last one", "prompt")
            return
        dead = self._not_live_words()
        if dead is not None:
            _log.warning("shutter: no still (%s): %s", command.origin, dead)
            self._say(f"No still: {dead}", "alarm")
            return
        self.state, self._press, self._words = "freezing", command, None
        self._ask_still(command, partial(self.refuse, command))
        _log.info("shutter: pressed (%s)", command.origin)

    def _release(self) -> None:
        self.state, self.frozen, self._press = "live", None, None
        if self._words is not None:  # saved as, or why not: somebody may not have read it yet
            self._words_until_s = time.monotonic() + SAID_FOR_S
        self._go_on()

    def _no_still(self, words: str) -> None:
        self.state, self._press = "live", None
        self._say(f"No still: {words}", "alarm")

    def _save(self, keep_case: KeepCase, frozen: Frozen, press: Command) -> None:
        try:
            code = keep_case(frozen, press)
        except DermedgeError as error:
            _log.error("case: not saved: %s", error)
            self._say(f"NOT SAVED: {error.got}", "alarm")
        except Exception as error:
            _log.exception("case: not saved")
            self._say(f"NOT SAVED: {error}", "alarm")
        else:
            self._saved = (frozen, code)
            _log.info("case: saved as %s", code)
            self._say(f"Saved as case {code}", "info")
        self._wake.set()

    def _say(self, text: str, level: Literal["info", "prompt", "alarm"]) -> None:
        self._words = Notice(text, level)
        self._words_until_s = time.monotonic() + SAID_FOR_S
