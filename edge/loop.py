"""The camera loop: one thread reads, one analyzes, and this one presents and keeps account.

```
source -> Intake (own thread) -> mailbox -> AnalysisThread -> outcomes -> Presenter -> screens
                                                 |                           |
                                                 +-> sinks of results        +-> sinks of pictures
```
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from edge.analysis.analyzer import Analysis
from edge.analysis_thread import AnalysisThread, Analyze
from edge.controls import Controls
from edge.health import Health
from edge.intake import Captured, Intake
from edge.liveness import Deadline, Probe
from edge.no_live_image import no_live_result
from edge.overlay.notices import Notice
from edge.presenter import Presenter
from edge.recovery import RecoveryPlan
from edge.screens.base import Screen
from edge.screens.group import OPEN_WITHIN_S, ScreenGroup
from edge.session import KeepCase, Session
from edge.sinks.base import Sink
from edge.sinks.group import SinkGroup
from edge.sources.base import Source
from edge.status import Status
from edge.stop import Stop
from edge.trust import NoTrust, Trust
from edge.view import ViewChoice, ViewMode

TURN_S = 0.05
"""Longest time between two looks at what has changed: keys, stale pictures, screens that come."""

TURN_WITHIN_S = 20.0
"""Screens answer or are given up well before this."""

END_WITHIN_S = 90.0
"""Every part is left behind after its own time; several sinks may take theirs one by one."""

DRAWN_WAIT_S = 5.0
"""How long the start of a camera waits for screens where files are drawn in their size."""

_log = logging.getLogger("dermedge.loop")


def _nobody(_: Sequence[Probe]) -> None:
    """Nobody watches."""


@dataclass
class Parts:
    """What a run is made of besides source and analysis.

    Attributes:
        sinks: Not yet open. One that fails is reported and closed, and the loop goes on.
        screens: Not yet open. One that fails is tried again.
        screens_must_open: Fail at the start where a screen cannot be opened.
        view: Which frame is shown with which result.
        validated: Whether the classifier's manifest says so; every picture says where it does not.
        trust: Watches over what is shown.
        controls: Wishes of the person at the device.
        keep_case: Saves frozen stills, where a folder for them is configured.
        status: Told about the parts of the run, for screens that tell of them.
        may_wait: A live source, or a place to write to, that is not there at the start is waited
            for.
        recovery: What is done for a source that is away, besides opening it again.
        watch: Told, once the threads run, how to see whether each is inside its time.
        notices: What else the person should know.
        give_up_after_s: A live source without a frame for this long has failed; 0: never.
    """

    sinks: Sequence[Sink] = ()
    screens: Sequence[Screen] = ()
    screens_must_open: bool = False
    view: ViewMode = "auto"
    validated: bool = False
    trust: Trust = field(default_factory=NoTrust)
    controls: Controls = field(default_factory=Controls)
    keep_case: KeepCase | None = None
    status: Status = field(default_factory=Status)
    may_wait: bool = False
    recovery: RecoveryPlan = RecoveryPlan()
    watch: Callable[[Sequence[Probe]], None] = _nobody
    notices: Callable[[], Sequence[Notice]] = tuple
    give_up_after_s: float = 0.0


def run_loop(source: Source, analyze: Analyze, parts: Parts, *, stop: Stop, health: Health) -> str:
    """Analyze frames until the source ends or somebody asks to stop, and close everything.

    Args:
        source: Not yet open; read on a thread of its own.
        analyze: Called on a thread of its own, one frame at a time.
        parts: Everything else.
        stop: Ends the loop from anywhere; a closed window asks it too.
        health: Accounts; afterwards it holds the exit code that failures ask for.

    Returns:
        The summary.

    Raises:
        DermedgeError: The source or a sink cannot start, or the model is refused. What was
            written until then is finished and kept.
    """
    wake = parts.controls.changed
    drawn = [sink for sink in parts.sinks if sink.wants_drawn]
    records = [sink for sink in parts.sinks if not sink.wants_drawn]
    with ExitStack() as stack:
        record_sinks = stack.enter_context(SinkGroup(records, health, may_wait=parts.may_wait))
        drawn_sinks = stack.enter_context(SinkGroup(drawn, health, may_wait=parts.may_wait))
        screens = stack.enter_context(
            ScreenGroup(
                parts.screens,
                health,
                must_open=parts.screens_must_open,
                wait_s=_wait_for_screens_s(source, drawn),
                stop=stop,
            )
        )
        intake = stack.enter_context(
            Intake(
                source,
                stop,
                health,
                parts.give_up_after_s,
                receive=parts.trust.receive,
                receive_still=parts.trust.receive_still,
                lost=parts.trust.lost,
                wake=wake,
                may_wait=parts.may_wait,
                plan=parts.recovery,
            )
        )
        worker = stack.enter_context(
            AnalysisThread(
                intake,
                _guarded(analyze, parts.trust),
                record_sinks,
                stop=stop,
                health=health,
                wake=wake,
            )
        )
        session = Session(
            parts.controls,
            intake.ask_still,
            worker.go_on,
            parts.keep_case,
            wake,
            check_card=lambda: parts.trust.check_card(intake.newest),
            not_live_words=lambda: parts.trust.not_live_words(time.monotonic_ns()),
        )
        parts.status.bind(
            session,
            health,
            intake,
            (record_sinks, drawn_sinks),
            lambda: parts.trust.not_live_words(time.monotonic_ns()),
        )
        presenter = Presenter(
            screens,
            drawn_sinks,
            session,
            ViewChoice(parts.view, is_live=source.is_live),
            parts.trust,
            health,
            pauses=lambda: intake.is_taking_still,
            busy_since_ns=lambda: worker.busy_since_ns if source.is_live else None,
            more_notices=lambda: [
                *record_sinks.notices(),
                *drawn_sinks.notices(),
                *parts.notices(),
                *intake.recovery.notices(),
            ],
            validated=parts.validated,
        )
        turn = Deadline("presentation")
        parts.watch([intake.deadline, worker.deadline, turn])
        try:
            _present(presenter, session, worker, intake, health, stop, wake, turn)
        except BaseException:
            stop.request("a failure", 5)  # the threads must not wait for what never comes
            raise
        finally:
            turn.begin("taking the run apart", END_WITHIN_S)
        if not session.close():
            health.failed("case", TimeoutError("a case was still being saved at the end"))
    if worker.error is not None:
        raise worker.error
    reason = stop.reason
    ended = reason.words if reason else "the time given" if stop.is_set else "the source's end"
    mailbox = intake.mailbox
    return health.summary(source.name, mailbox.put_ids, mailbox.taken_ids, ended)


def _wait_for_screens_s(source: Source, drawn: Sequence[Sink]) -> float:
    """A recording would be over before a screen is there; drawn files take the screen's size."""
    if not source.is_live:
        return OPEN_WITHIN_S
    return DRAWN_WAIT_S if drawn else 0.0


def _present(
    presenter: Presenter,
    session: Session,
    worker: AnalysisThread,
    intake: Intake,
    health: Health,
    stop: Stop,
    wake: threading.Event,
    deadline: Deadline,
) -> None:
    """Turn after turn until nothing more comes: what was analyzed is shown to its last frame."""
    while not stop.is_set and not worker.outcomes.is_finished:
        deadline.begin("one turn", TURN_WITHIN_S)
        wake.wait(TURN_S)
        wake.clear()
        session.turn()
        outcome = worker.outcomes.poll()
        if outcome is not None:
            presenter.outcome(outcome)
        presenter.frame(intake.newest)
        presenter.idle(intake.newest)
        line = health.line_when_due(intake.mailbox.put_ids, intake.mailbox.taken_ids)
        if line is not None:
            _log.info(line)
    deadline.rest()


def _guarded(analyze: Analyze, trust: Trust) -> Analyze:
    """Analyzes only what is a live image, or a still of now."""

    def guarded(captured: Captured) -> Analysis:
        judge = trust.frame_words if captured.press is None else trust.still_words
        words = judge(captured.frame)
        if words is not None:
            return Analysis(no_live_result(captured.frame, words), None)
        return analyze(captured)

    return guarded
