"""The presentation: decides what the screens show now, and measures how old it is."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.analysis_thread import Outcome
from edge.frame import Frame
from edge.health import Health
from edge.no_live_image import no_live_result
from edge.overlay.notices import Notice
from edge.overlay.overlay import Overlay
from edge.result import Result, Stage
from edge.screens.base import Presented, Shown, ViewName
from edge.screens.group import ScreenGroup
from edge.session import Frozen, Session
from edge.sinks.base import Shot
from edge.sinks.group import SinkGroup
from edge.trust import Trust
from edge.view import ViewChoice, frame_age_ms

NOT_LIVE_EVERY_S = 0.5
"""How often a picture that is not live is shown anew, with its growing age."""

BLANK_WH = (1280, 720)
"""Size of the picture that stands for a camera of which no frame has come yet."""

ANSWER_OVERDUE_S, ANSWER_OVERDUE_TIMES, FIRST_ANSWER_WITHIN_S = 1.5, 5.0, 10.0
"""An analysis that has had a frame for longer than both the first and so many times its usual time
does not answer: what it said last is no longer shown over a live picture. The third is for the time
before its usual time is known: a GPU may warm up."""

_REMEMBERED = 64

Pixels = NDArray[np.uint8]


def _no() -> bool:
    """Pictures never stay away for a reason."""
    return False


def _never() -> int | None:
    """Nothing is ever being analyzed."""
    return None


class Presenter:
    """Draws and shows on the thread that calls it; one call of :meth:`outcome`, :meth:`frame` or
    :meth:`idle` for each thing that happens.

    Args:
        screens: Open.
        drawn_sinks: Open; get every analyzed frame with its own result drawn.
        session: Whether a still is held.
        choice: Which frame is shown with which result.
        trust: What may be believed.
        health: Accounts.
        pauses: Whether the source may be silent now, because it takes a still.
        busy_since_ns: Since when the analysis has had a frame; ``None`` where it has none, or where
            no picture is live.
        more_notices: What else is to be said, as by outputs.
        validated: Whether the classifier's manifest says so.
    """

    def __init__(
        self,
        screens: ScreenGroup,
        drawn_sinks: SinkGroup,
        session: Session,
        choice: ViewChoice,
        trust: Trust,
        health: Health,
        *,
        pauses: Callable[[], bool] = _no,
        busy_since_ns: Callable[[], int | None] = _never,
        more_notices: Callable[[], Sequence[Notice]] = tuple,
        validated: bool,
    ) -> None:
        self._pauses = pauses
        self._busy_since_ns = busy_since_ns
        self._more_notices = more_notices
        self._screens = screens
        self._sinks = drawn_sinks
        self._session = session
        self._choice = choice
        self._trust = trust
        self._health = health
        self._overlay = Overlay(validated=validated)
        # In the live view what is recorded is not what is shown, so that each has its own places.
        self._record_overlay = Overlay(validated=validated)
        self._latest: Outcome | None = None
        self._answers = _Answers()
        self._shown: Shown | None = None
        self._shown_notices: Sequence[Notice] = ()
        self._said: tuple[str, ...] = ()  # in the picture that was drawn last for the screens
        self._not_live_s = 0.0
        self._ages = _Ages(trust, health)

    def outcome(self, outcome: Outcome) -> None:
        """Show an analyzed frame, hand it to the sinks, or freeze it."""
        frame, result = outcome.frame, outcome.analysis.result
        if outcome.press is not None:
            if result.status == "no_live_image":
                self._session.missed(outcome.press, "; ".join(result.reasons))
            else:
                self._freeze(outcome)
            self._answers.pause()
            return
        now_ns = time.monotonic_ns()
        self._choice.outcome(now_ns / 1e9)
        self._answers.came(now_ns)
        if self._screens.are_there:  # what to do is said to people who look
            self._trust.analyzed(frame, result)
        self._latest = outcome
        screens = self._is_shown_live(now_ns) and not self._choice.is_live
        picture = None
        if screens or (self._sinks.want_drawn and not self._choice.is_live):
            picture = self._draw(frame, result, "paired")
        elif self._sinks.want_drawn:
            picture = self._draw_record(outcome)
        if screens and picture is not None:
            self._show(picture, frame, result, "paired")
        self._sinks.write(Shot(frame, result, outcome.analysis.mask, picture))
        if not self._screens.are_there:
            self._ages.seen_without_screen(frame)

    def frame(self, newest: Frame | None) -> None:
        """Show the newest frame with the newest result, in the live view."""
        latest = self._latest
        if newest is None or latest is None or not self._choice.is_live:
            return
        if self._shown is not None and self._shown.frame is newest:
            return
        if not self._is_shown_live(time.monotonic_ns()):
            return
        result = latest.analysis.result
        hidden = self._trust.has_moved(latest.frame, newest)
        if result.frame.size_wh != newest.size_wh:
            hidden = True
        picture = self._draw(newest, result, "live", latest.frame, hidden=hidden)
        self._show(picture, newest, result, "live", hidden=hidden)

    def idle(self, newest: Frame | None) -> None:
        """Keep the screens honest while nothing comes: old pictures lose their labels."""
        presented = self._screens.poll()
        if presented is not None:
            self._ages.presented(presented)
        if not self._screens.are_there:
            return
        if self._session.state == "frozen":
            self._refresh_frozen()
            return
        words = self._not_live_words(time.monotonic_ns())
        now_s = time.monotonic()
        if words is None or now_s - self._not_live_s < NOT_LIVE_EVERY_S:
            return
        self._not_live_s = now_s
        frame = newest or _blank_frame()
        result = no_live_result(frame, words)
        # Without an age: that of the newest frame is small where the same picture comes again.
        said = [*self._session.notices(), *self._more_notices()]
        picture = self._draw(frame, result, "live", age=False, notices=said)
        self._show(picture, frame, result, "live", counts=False)

    def _is_shown_live(self, now_ns: int) -> bool:
        return (
            self._screens.are_there
            and self._session.state != "frozen"
            and self._not_live_words(now_ns) is None
        )

    def _not_live_words(self, now_ns: int) -> str | None:
        words = None if self._pauses() else self._trust.not_live_words(now_ns)
        return words or self._answers.overdue_words(self._busy_since_ns(), now_ns)

    def _freeze(self, outcome: Outcome) -> None:
        frame, result = outcome.frame, outcome.analysis.result
        picture = self._draw(frame, result, "still")
        self._session.froze(Frozen(outcome, picture))
        self._sinks.write(Shot(frame, result, outcome.analysis.mask, picture))
        self._refresh_frozen()

    def _refresh_frozen(self) -> None:
        """The still with what is to be said about it now, where that has changed."""
        frozen = self._session.frozen
        if frozen is None or not self._screens.are_there:
            return
        frame, result = frozen.outcome.frame, frozen.outcome.analysis.result
        notices = self._session.notices()
        held = self._shown is not None and self._shown.view == "still"
        if held and notices == self._shown_notices:
            return
        picture = self._draw(frame, result, "still", notices=notices)
        self._shown_notices = notices
        self._show(picture, frame, result, "still", counts=False)

    def _draw(
        self,
        frame: Frame,
        result: Result,
        view: ViewName,
        result_frame: Frame | None = None,
        *,
        hidden: bool = False,
        age: bool = True,
        notices: Sequence[Notice] | None = None,
    ) -> Pixels:
        began_ns = time.monotonic_ns()
        if notices is None and view != "still":
            notices = [
                *self._session.notices(),
                *self._more_notices(),
                *self._trust.notices(began_ns),
            ]
        self._said = tuple(notice.text for notice in notices or ())
        picture = self._overlay.draw(
            frame.pixels,
            result,
            age_ms=frame_age_ms(frame, began_ns) if age and view != "still" else None,
            view=_view_words(view) if age and frame.captured_ns is not None else None,
            result_age_ms=frame_age_ms(result_frame, began_ns) if result_frame else None,
            hidden=hidden,
            notices=notices or (),
            durations_ms=self._health.newest_loop_ms(),
            room=self._screens.room,
        )
        self._health.took(Stage.DRAW, (time.monotonic_ns() - began_ns) / 1e6)
        return picture

    def _draw_record(self, outcome: Outcome) -> Pixels:
        frame = outcome.frame
        return self._record_overlay.draw(
            frame.pixels,
            outcome.analysis.result,
            age_ms=frame_age_ms(frame, time.monotonic_ns()),
            view="paired",
            durations_ms=self._health.newest_loop_ms(),
            room=self._screens.room,
        )

    def _show(
        self,
        picture: Pixels,
        frame: Frame,
        result: Result,
        view: ViewName,
        *,
        hidden: bool = False,
        counts: bool = True,
    ) -> None:
        number = 0 if self._shown is None else self._shown.number + 1
        self._shown = Shown(number, picture, frame, result, view, hidden, self._said)
        began_ns = time.monotonic_ns()
        if counts:
            self._ages.handed_over(number, frame)
        else:
            self._ages.interrupted()
        presented = self._screens.show(self._shown)
        self._health.took(Stage.PRESENT, (time.monotonic_ns() - began_ns) / 1e6)
        if presented is not None:
            self._ages.presented(presented)


class _Answers:
    """What the analysis usually takes, and whether it takes too long."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._intervals_s: deque[float] = deque(maxlen=15)

    def came(self, now_ns: int) -> None:
        """Note an answer."""
        if self._last_ns is not None:
            self._intervals_s.append((now_ns - self._last_ns) / 1e9)
        self._last_ns = now_ns

    def pause(self) -> None:
        """Nothing is asked of the analysis until further notice."""
        self._last_ns = None

    def overdue_words(self, busy_since_ns: int | None, now_ns: int) -> str | None:
        """Why the last answer is too old to be shown, or ``None``."""
        if busy_since_ns is None:
            return None
        within_s = FIRST_ANSWER_WITHIN_S
        if self._intervals_s:
            usual_s = float(np.median(self._intervals_s))
            within_s = max(ANSWER_OVERDUE_S, ANSWER_OVERDUE_TIMES * usual_s)
        waited_s = (now_ns - busy_since_ns) / 1e9
        if waited_s <= within_s:
            return None
        return f"the analysis has not answered for {waited_s:.0f} s"


class _Ages:
    """How old pictures are when their present call returns, and when the next one replaces them."""

    def __init__(self, trust: Trust, health: Health) -> None:
        self._trust = trust
        self._health = health
        self._captured_ns: OrderedDict[int, int | None] = OrderedDict()  # not the frames: large
        self._seen_number = -1
        self._seen_ns: int | None = None

    def handed_over(self, number: int, frame: Frame) -> None:
        """Remember when a picture's frame was taken."""
        self._captured_ns[number] = _captured_ns(frame)
        while len(self._captured_ns) > _REMEMBERED:
            self._captured_ns.popitem(last=False)

    def presented(self, presented: Presented) -> None:
        """Account for the newest picture that is really seen, once."""
        if presented.number == self._seen_number or presented.number not in self._captured_ns:
            return
        self._seen_number = presented.number
        self._account(self._captured_ns[presented.number], presented.at_ns)
        for number in [number for number in self._captured_ns if number <= presented.number]:
            del self._captured_ns[number]

    def interrupted(self) -> None:
        """Something is shown that is not live, and says so: no live picture is seen any more."""
        self._captured_ns.clear()
        self._seen_ns = None

    def seen_without_screen(self, frame: Frame) -> None:
        """Account for a frame that only sinks get."""
        self._account(_captured_ns(frame), time.monotonic_ns())

    def _account(self, captured_ns: int | None, at_ns: int) -> None:
        if captured_ns is not None:
            if self._seen_ns is not None:
                self._health.replaced((at_ns - self._seen_ns) / 1e6)
            age_ms = (at_ns - captured_ns) / 1e6
            self._health.presented(age_ms)
            self._trust.shown(age_ms, at_ns)
        self._seen_ns = captured_ns


def _captured_ns(frame: Frame) -> int | None:
    """Capture on this machine's clock, or ``None``."""
    return frame.captured_ns if frame.captured_clock == "monotonic" else None


def _view_words(view: ViewName) -> str:
    return "frozen" if view == "still" else view


def _blank_frame() -> Frame:
    return Frame(
        pixels=np.zeros((BLANK_WH[1], BLANK_WH[0], 3), np.uint8),
        frame_id=0,
        source="none",
        captured_ns=None,
        captured_clock=None,
        captured_by="arrival",
    )
