"""May the colours be believed? Locked, not drifted, and checked against a card in time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from edge.analysis.colour import colour_lock
from edge.frame import Frame
from edge.guards.card_check import CardCheck
from edge.guards.colour_profile import ColourProfile
from edge.guards.still_view import StillViewWatch

ColourKind = Literal["locked", "not_locked", "drifted", "check_overdue", "never_checked"]

WHITE_BALANCE_TOLERANCE = 0.03
"""Relative change of a white balance, as the camera reads it back, that is a drift."""

LEVEL_TOLERANCE = 0.05
"""Likewise of exposure and gains, which round to steps of the sensor."""

_WHITE_BALANCE = ("awb_gains_rb", "white_balance_k")
_LEVELS = ("exposure_us", "analogue_gain", "digital_gain", "iso")
_NAMES = {
    "awb_gains_rb": "white balance",
    "white_balance_k": "white balance",
    "exposure_us": "exposure",
    "analogue_gain": "gain",
    "digital_gain": "gain",
    "iso": "gain",
}


@dataclass(frozen=True)
class ColourState:
    """How the colours stand.

    Attributes:
        kind: The most serious thing first: ``not_locked``, ``drifted``, ``check_overdue``,
            ``never_checked``, ``locked``.
        words: One line for the screen.
        erythema_reliable: Whether redness may be called reliable, as far as the camera goes.
    """

    kind: ColourKind
    words: str
    erythema_reliable: bool


class ColourGuard:
    """Judges a camera's colours from its settings, its pictures and the last card check.

    - ``not_locked``: the settings do not say that exposure, gain and white balance are held.
    - ``drifted``: they say so, but values read back moved since the lock, or white balance is not
      that of the card check; or the picture changed colour while the view stood still
      (:class:`StillViewWatch`); or the last card check missed its reference.
    - ``check_overdue``: the profile asks for a card every so many hours, and the last is older, or
      how old it is cannot be known. ``never_checked`` where it asks for one and there is none.
      Neither may be called reliable.
    - A profile that asks for no card, such as ``hold``, is believed by its lock:
      ``never_checked`` only says that no card was seen since the lock settled.

    The age of a check is by the monotonic clock within one run of the machine. Of an earlier run
    it is by the date, and only if the clock was known to be right then and is now; else it is
    unknown, and the check is due. A device without a clock is so checked after every power-on.

    A drift stays until the source locks anew or a card check is passed: a lock that moved is none.
    That of the picture also ends where it changes back in the very view in which it changed.

    Stills that a camera takes with settings of their own are not observed.

    :meth:`observe` is the capture thread's; :attr:`state` may be read from any thread.

    Args:
        profile: In force.
        check: The last card check kept for this camera, if any.
        boot_id: Of the running machine; ``None`` where it has none.
    """

    def __init__(
        self, profile: ColourProfile, check: CardCheck | None = None, *, boot_id: str | None
    ) -> None:
        self._profile = profile
        self._check = check
        self._boot_id = boot_id
        self._watch = StillViewWatch()
        self._at_lock: Mapping[str, Any] | None = None
        self._moved: str | None = None
        self._state: ColourState | None = None

    @property
    def state(self) -> ColourState | None:
        """The newest state; ``None`` before the first live frame and for recordings."""
        return self._state

    def accept(self, check: CardCheck) -> None:
        """Take over a card check that was just made; one that passed ends a drift."""
        self._check = check
        if check.passed:
            self._forget_drift()

    def relocked(self) -> None:
        """The source has let the automatic settle and locked anew, as after it was opened."""
        self._forget_drift()

    def observe(self, frame: Frame, now_ns: int, wall_s: float | None = None) -> ColourState | None:
        """Judge a captured frame.

        Args:
            frame: The newest one; its pixels are read during the call only.
            now_ns: Monotonic.
            wall_s: POSIX time where the machine's clock is known to be right, else ``None``.

        Returns:
            The state; ``None`` for stills and recordings, of whose camera nothing is known.
        """
        if frame.captured_clock != "monotonic":
            self._state = None
        elif frame.captured_by == "synthetic":
            self._state = ColourState("locked", "colour locked", True)
        elif not colour_lock(frame):
            self._forget_drift()
            self._state = ColourState("not_locked", _not_locked_words(frame.settings), False)
        else:
            self._watch.observe(frame.pixels, now_ns)
            self._state = self._locked_state(frame, now_ns, wall_s)
        return self._state

    def _forget_drift(self) -> None:
        self._watch.forget()
        self._at_lock = self._moved = None

    def _locked_state(self, frame: Frame, now_ns: int, wall_s: float | None) -> ColourState:
        settings = frame.settings or {}
        if self._at_lock is None:
            self._at_lock = dict(settings)
        check = self._check
        if check is not None and not check.is_of(frame.source, self._profile.name):
            check = None
        cause = self._drift(settings, check)
        if cause is not None:
            return ColourState("drifted", f"colour drifted: {cause}", False)
        return self._checked_state(check, now_ns, wall_s)

    def _drift(self, settings: Mapping[str, Any], check: CardCheck | None) -> str | None:
        """What changed, in words."""
        if self._moved is None:
            self._moved = _moved(self._at_lock or {}, settings, (*_WHITE_BALANCE, *_LEVELS))
        if self._moved is not None:
            return f"{self._moved} changed although locked"
        if self._watch.drifted:
            return "the light or the camera changed"
        if check is not None and not check.passed:
            shift = check.reading.shift_from(check.reference)
            return f"the card check is off by {math.expm1(shift):.0%}"
        if check is not None and _moved(check.settings or {}, settings, _WHITE_BALANCE) is not None:
            return "white balance is not that of the card check"
        return None

    def _checked_state(
        self, check: CardCheck | None, now_ns: int, wall_s: float | None
    ) -> ColourState:
        every_h = self._profile.check_every_h
        if check is None:
            words = "card check never done" if every_h else "colour locked, card never checked"
            return ColourState("never_checked", words, every_h is None)
        age_s = self._age_s(check, now_ns, wall_s)
        if every_h is None:
            # What was held then settled anew since, unless it is the same run of the machine.
            if check.boot_id == self._boot_id and age_s is not None:
                return ColourState("locked", "colour locked", True)
            words = "colour locked, card not checked since power-on"
            return ColourState("never_checked", words, True)
        if age_s is None:
            return ColourState("check_overdue", "card check due: age of the last unknown", False)
        if age_s > every_h * 3600.0:
            words = f"card check due: last {age_s / 3600.0:.0f} h ago"
            return ColourState("check_overdue", words, False)
        return ColourState("locked", "colour locked", True)

    def _age_s(self, check: CardCheck, now_ns: int, wall_s: float | None) -> float | None:
        """Seconds since a check, as far as they can be known."""
        if self._boot_id is not None and check.boot_id == self._boot_id:
            return (now_ns - check.monotonic_ns) / 1e9
        if wall_s is None or not check.wall_trusted or check.wall is None:
            return None
        try:
            then = datetime.fromisoformat(check.wall.replace("Z", "+00:00"))
        except ValueError:
            return None
        if then.tzinfo is None:
            then = then.replace(tzinfo=timezone.utc)
        age_s = wall_s - then.timestamp()
        return age_s if age_s >= 0.0 else None  # a check of the future: a clock was wrong

    def settings_with(self, frame: Frame) -> Mapping[str, Any] | None:
        """The frame's settings and what this guard found; a new mapping.

        ``colour_profile``; ``colour_state`` and ``colour_words`` of :attr:`state`; and
        ``colour_locked``, which the analyzer reads: true only where erythema may be called
        reliable. What the camera itself says of its lock stays under ``locked``. Settings of a
        recording, of whose camera nothing is known, are returned as they are.
        """
        state = self._state
        if state is None:
            return frame.settings
        return {
            **(frame.settings or {}),
            "colour_profile": self._profile.name,
            "colour_locked": state.erythema_reliable,
            "colour_state": state.kind,
            "colour_words": state.words,
        }


def _not_locked_words(settings: Mapping[str, Any] | None) -> str:
    locked = (settings or {}).get("locked")
    if not isinstance(locked, Mapping):
        return "colour not locked"
    loose = [str(name).replace("_", " ") for name, held in locked.items() if held is not True]
    return "colour not locked" + (f": {', '.join(loose)}" if loose else "")


def _moved(before: Mapping[str, Any], now: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    """The first setting that changed, in words; one that is unknown then or now has not."""
    for key in keys:
        tolerance = WHITE_BALANCE_TOLERANCE if key in _WHITE_BALANCE else LEVEL_TOLERANCE
        for old, new in zip(_numbers(before.get(key)), _numbers(now.get(key)), strict=False):
            if abs(new - old) > tolerance * abs(old):
                return _NAMES[key]
    return None


def _numbers(value: object) -> list[float]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
