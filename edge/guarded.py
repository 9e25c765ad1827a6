"""All guards of a live run behind one seam: what may be believed, and what to say about it."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

from edge.analysis.stamp import boot_id
from edge.errors import InputError
from edge.frame import Frame
from edge.guards.age import AgeAlarm
from edge.guards.card_check import CardCheck, card_file, check_card, load_check, save_check
from edge.guards.colour import ColourGuard
from edge.guards.colour_profile import ColourProfile
from edge.guards.live import LiveGuard, is_black
from edge.guards.quality import QualityGuard
from edge.overlay.notices import Notice
from edge.result import Result
from edge.tracking.motion import ViewMotion
from edge.wall_clock import is_trusted, iso_utc, now_s

SAID_FOR_S = 6.0
"""How long the outcome of a card check stays on the screen."""

_log = logging.getLogger("dermedge.guards")


class Guards:
    """The guards of one camera under one colour profile; see docs/guards.md.

    Args:
        profile: In force on the source; ``None`` where the camera is left on automatic.
        folder: Where card checks are kept; made with the first one.
        has_noise: False for a source known to send equal bytes while nothing moves.
    """

    def __init__(
        self, profile: ColourProfile | None, folder: Path, *, has_noise: bool = True
    ) -> None:
        self._profile = profile or ColourProfile(name="none")
        self._has_profile = profile is not None
        self._folder = folder
        self._live = LiveGuard(has_noise=has_noise)
        self._age = AgeAlarm()
        self._quality = QualityGuard()
        self._motion = ViewMotion()
        self._lock = threading.Lock()  # of the colour guard: one thread observes, another accepts
        self._colour: ColourGuard | None = None
        self._check: CardCheck | None = None
        self._words: Notice | None = None
        self._words_until_s = 0.0

    def receive(self, frame: Frame) -> Frame:
        """See a frame first; gives it with what is known of its colours among its settings."""
        now_ns = time.monotonic_ns()
        self._live.observe(frame, now_ns)
        with self._lock:
            guard = self._colour = self._colour or self._guard_of(frame.source)
            # Only a check of another boot is dated by the wall clock.
            guard.observe(frame, now_ns, now_s() if is_trusted() else None)
        return self._with_settings(frame)

    def receive_still(self, frame: Frame) -> Frame:
        """See a still: its exposure and gain are its own, and say nothing about the stream's."""
        return self._with_settings(frame)

    def _with_settings(self, frame: Frame) -> Frame:
        with self._lock:
            settings = self._colour.settings_with(frame) if self._colour else frame.settings
        if settings is None or settings is frame.settings:
            return frame
        if not self._has_profile:
            settings = {**settings, "colour_profile": None}
        return replace(frame, settings=settings)

    def lost(self) -> None:
        """The camera is opened again: it settles and locks anew."""
        with self._lock:
            if self._colour is not None:
                self._colour.relocked()

    def frame_words(self, frame: Frame) -> str | None:
        """Why this frame is no live image, or ``None``; by how things stand as it is analyzed."""
        return self.not_live_words(time.monotonic_ns())

    def still_words(self, frame: Frame) -> str | None:
        """Why a still is no picture of now, or ``None``: black, or of a stream that repeats itself.

        That the stream is silent says nothing: it may pause for the still.
        """
        if is_black(frame.pixels):
            return "the still is black"
        state = self._live.verdict(time.monotonic_ns())
        return state.words if state.kind == "repeated" else None

    def analyzed(self, frame: Frame, result: Result) -> None:
        """See a result."""
        self._quality.observe(frame, result, time.monotonic_ns())

    def shown(self, age_ms: float, now_ns: int) -> None:
        """See the age of a picture whose present call has returned."""
        rise = self._age.observe(age_ms, now_ns)
        if rise is not None:
            _log.warning("%s", rise.words)

    def not_live_words(self, now_ns: int) -> str | None:
        """Why what would be shown now is no live image, or ``None``."""
        state = self._live.verdict(now_ns)
        return None if state.live else state.words

    def has_moved(self, result_frame: Frame, newest: Frame) -> bool:
        """Whether outlines of one frame would lie beside their lesions in the other."""
        return self._motion.has_moved(result_frame, newest)

    def notices(self, now_ns: int) -> list[Notice]:
        """What to say now, the most important first."""
        said = [self._words] if self._words and time.monotonic() < self._words_until_s else []
        rise = self._age.rise
        if rise is not None:
            said.append(Notice(rise.words, "alarm"))
        said += [Notice(prompt.words, "prompt") for prompt in self._quality.prompts]
        colour = self._colour.state if self._colour is not None else None
        if colour is not None and not colour.erythema_reliable:
            said.append(Notice(colour.words, "alarm"))
        return said

    def check_card(self, frame: Frame | None) -> None:
        """Check the colours on the card that the newest frame shows, and say how it went."""
        try:
            dead = self.not_live_words(time.monotonic_ns())
            if frame is None or dead is not None:
                raise InputError(
                    "a live picture of the card", got=dead or "none yet", next_step="try again"
                )
            check = check_card(
                frame,
                self._profile.name,
                self._check,
                boot_id=boot_id(),
                wall=iso_utc(now_s()),
                wall_trusted=is_trusted(),
            )
            self._folder.mkdir(parents=True, exist_ok=True)
            save_check(card_file(self._folder, frame.source), check)
        except (InputError, OSError) as error:
            words = error.got if isinstance(error, InputError) else str(error)
            _log.warning("card check: %s", error)
            self._say(Notice(f"Card not checked: {words}", "prompt"))
            return
        with self._lock:
            self._check = check
            if self._colour is not None:
                self._colour.accept(check)
        shift = check.reading.shift_from(check.reference)
        _log.info("card check: %s, %.1f %% from the reference", check.passed, 100.0 * shift)
        words = "Card checked" if check.passed else f"Card check: colours are off by {shift:.0%}"
        self._say(Notice(words, "info" if check.passed else "alarm"))

    def _guard_of(self, source: str) -> ColourGuard:
        try:
            self._check = load_check(card_file(self._folder, source))
        except InputError as error:
            _log.warning("%s", error)
        return ColourGuard(self._profile, self._check, boot_id=boot_id())

    def _say(self, notice: Notice) -> None:
        self._words, self._words_until_s = notice, time.monotonic() + SAID_FOR_S
