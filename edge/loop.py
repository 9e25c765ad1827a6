"""The camera loop: read, analyze, draw, send, account."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.analysis.analyzer import Analysis
from edge.frame import Frame
from edge.health import Health
from edge.intake import Intake
from edge.result import Result
from edge.sinks.base import Shot, Sink
from edge.sinks.group import SinkGroup
from edge.sources.base import Source
from edge.stop import Stop
from edge.view import frame_age_ms

Analyze = Callable[[Frame], Analysis]
View = Callable[[Frame, Result], NDArray[np.uint8]]
"""Presentation is a function of its own: another view replaces it without touching the loop."""

_log = logging.getLogger("dermedge.loop")


def run_loop(
    source: Source,
    analyze: Analyze,
    view: View,
    sinks: Sequence[Sink],
    *,
    stop: Stop,
    health: Health,
    give_up_after_s: float = 10.0,
) -> str:
    """Analyze frames until the source ends or somebody asks to stop, and close everything.

    Args:
        source: Not yet open; read on a thread of its own.
        analyze: Called on this thread, one frame at a time.
        view: Draws frame and result; called only while a sink wants the picture.
        sinks: Not yet open; served on this thread in this order. One that fails is reported and
            closed, and the loop goes on.
        stop: Ends the loop from anywhere; the closed window asks it too.
        health: Accounts; afterwards it holds the exit code that failures ask for.
        give_up_after_s: A live source without a frame for this long has failed.

    Returns:
        The summary.

    Raises:
        DermedgeError: The source or a sink cannot start, or the model is refused. What was
            written until then is finished and kept.
    """
    with (
        SinkGroup(sinks, health) as outputs,
        Intake(source, stop, health, give_up_after_s) as intake,
    ):
        while (frame := intake.next_frame()) is not None:
            analysis = analyze(frame)
            drawing_ns = time.monotonic_ns()
            drawn = view(frame, analysis.result) if outputs.want_drawn else None
            sending_ns = time.monotonic_ns()
            go_on, presented_ns = outputs.write(Shot(frame, analysis.result, analysis.mask, drawn))
            health.frame_done(
                analysis.result,
                draw_ms=None if drawn is None else (sending_ns - drawing_ns) / 1e6,
                present_ms=(time.monotonic_ns() - sending_ns) / 1e6,
                age_ms=frame_age_ms(frame, presented_ns),
            )
            _log_health(health, intake)
            if not go_on:
                stop.request("the user")
    reason = stop.reason
    ended = reason.words if reason else "the time given" if stop.is_set else "the source's end"
    mailbox = intake.mailbox
    return health.summary(source.name, mailbox.put_ids, mailbox.taken_ids, ended)


def _log_health(health: Health, intake: Intake) -> None:
    line = health.line_when_due(intake.mailbox.put_ids, intake.mailbox.taken_ids)
    if line is not None:
        _log.info(line)
