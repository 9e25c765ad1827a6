"""The thread that analyzes: newest frame in, result out, whatever the screens are doing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from edge.analysis.analyzer import Analysis
from edge.controls import Command
from edge.frame import Frame
from edge.health import Health
from edge.intake import Captured, Intake
from edge.liveness import Deadline
from edge.mailbox import Mailbox
from edge.sinks.base import Shot
from edge.sinks.group import SinkGroup
from edge.stop import Stop

Analyze = Callable[[Captured], Analysis]

HANG_GRACE_S = 5.0
"""How long a running analysis may take at shutdown before its thread is left behind."""

ANALYZE_WITHIN_S = 60.0
"""A slow board's first one included; a service whose analysis takes longer hangs, and is ended."""

_log = logging.getLogger("dermedge.analysis")


@dataclass(frozen=True)
class Outcome:
    """An analyzed frame; with ``press`` it is the still that was asked for."""

    frame: Frame
    analysis: Analysis
    press: Command | None = None

    @property
    def frame_id(self) -> int:
        """The frame's own number."""
        return self.frame.frame_id

    def shot(self) -> Shot:
        """What sinks get of it."""
        return Shot(self.frame, self.analysis.result, self.analysis.mask, None)


class AnalysisThread:
    """Analyzes what the intake gives, one frame at a time; use it in a ``with`` statement.

    Args:
        intake: Gives the frames.
        analyze: Called on this thread only.
        records: Sinks that take results and need no drawn picture; served on this thread.
        stop: Ends it.
        health: Accounts.
        wake: Set with each outcome.
    """

    def __init__(
        self,
        intake: Intake,
        analyze: Analyze,
        records: SinkGroup,
        *,
        stop: Stop,
        health: Health,
        wake: threading.Event,
    ) -> None:
        self.outcomes: Mailbox[Outcome] = Mailbox(stop, keep_all=not intake.is_live, wake=wake)
        self.error: BaseException | None = None
        """What the analysis raised, for the main thread to raise again once all is finished."""
        self.busy_since_ns: int | None = None
        """Monotonic instant at which it got the frame that it is analyzing; ``None`` at rest."""
        self.deadline = Deadline("analysis")
        """What it is doing, and until when it should be done."""
        self._intake = intake
        self._analyze = analyze
        self._records = records
        self._stop = stop
        self._health = health
        self._wake = wake
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._thread = threading.Thread(target=self._work, name="analysis", daemon=True)

    def __enter__(self) -> AnalysisThread:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.outcomes.close()
        self._may_go_on.set()
        self._thread.join(HANG_GRACE_S)
        if self._thread.is_alive():
            _log.error("the analysis hangs; its thread is left behind")
            self._health.note("analysis", f"it did not end within {HANG_GRACE_S:g} s")
            self._health.exit_at_least(5)

    def go_on(self) -> None:
        """Take frames again: after a still the analysis rests until somebody has looked at it."""
        self._may_go_on.set()

    def _work(self) -> None:
        try:
            while (captured := self._intake.next_frame()) is not None:
                self.busy_since_ns = time.monotonic_ns()
                with self.deadline.doing("one frame", ANALYZE_WITHIN_S):
                    analysis = self._analyze(captured)
                self.busy_since_ns = None
                outcome = Outcome(captured.frame, analysis, captured.press)
                self._health.analyzed(analysis.result)
                if not self._records.write(outcome.shot())[0]:
                    self._stop.request("the user")
                keep = captured.press is not None and self._intake.is_live
                if captured.press is not None:
                    self._may_go_on.clear()
                if not self.outcomes.put(outcome, keep=keep):
                    return
                while not self._may_go_on.wait(0.1) and not self._stop.is_set:
                    pass
        except BaseException as error:  # raised again on the main thread
            self.error = error
        finally:
            self.outcomes.close()
            self._wake.set()
