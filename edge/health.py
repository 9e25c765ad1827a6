"""How the camera loop is doing: rolling figures, one line of them, and the summary at the end."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from edge.errors import DermedgeError
from edge.mailbox import IdGaps
from edge.result import DISCLAIMER, STATUS_WORDS, UNVALIDATED, Result, Stage, Status

ROLLING = 2000
"""Medians and percentiles are of at most this many newest values: a service runs for weeks."""

_MESSAGES_KEPT = 5
"""Different problems that the summary repeats in words; all are counted."""

_UNFORESEEN_EXIT = 5
_EXIT_CODES: Mapping[Status, int] = {"model_refused": 4, "analysis_failed": _UNFORESEEN_EXIT}
"""What frames with these answers make of the program's exit code."""


class Samples:
    """The newest values of one measure; count and maximum are over all of them."""

    def __init__(self, keep: int = ROLLING) -> None:
        self._values: deque[float] = deque(maxlen=keep)
        self.count = 0
        self.maximum = math.nan

    def add(self, value: float) -> None:
        """Take in one value."""
        self._values.append(value)
        self.maximum = value if self.count == 0 else max(self.maximum, value)
        self.count += 1

    @property
    def median(self) -> float:
        """Median of the kept values; NaN where there is none."""
        return float(np.median(list(self._values))) if self._values else math.nan

    @property
    def p95(self) -> float:
        """95th percentile of the kept values (linear interpolation); NaN where there is none."""
        return float(np.percentile(list(self._values), 95)) if self._values else math.nan


class Tally:
    """What one stretch of time contained: answers, regions, latencies, ages."""

    def __init__(self) -> None:
        self.stages: dict[Stage, Samples] = {}
        self.age_ms = Samples()
        """From the capture to the return of the present call, of every picture shown."""
        self.worst_age_ms = Samples()
        """The same when the next picture took its place: the oldest that an eye saw."""
        self.statuses: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.unvalidated = False
        self.regions = 0
        self.most_regions = 0
        self.not_classified = 0
        self._first_s = self._last_s = math.nan

    def add(self, result: Result, now_s: float) -> None:
        """Account for one analyzed frame."""
        for stage, value_ms in result.timings_ms.items():
            self.took(stage, value_ms)
        self._first_s = now_s if not self.statuses else self._first_s
        self._last_s = now_s
        self.statuses[result.status] += 1
        regions = result.regions or ()
        self.regions += len(regions)
        self.most_regions = max(self.most_regions, len(regions))
        self.not_classified += result.regions_not_classified
        self.unvalidated |= UNVALIDATED in result.reasons
        for region in regions:
            if region.abstained:
                self.classes["uncertain"] += 1
            elif region.classes:
                self.classes[region.classes[0].label] += 1

    def took(self, stage: Stage, value_ms: float) -> None:
        """Account for the time of one stage."""
        self.stages.setdefault(stage, Samples()).add(value_ms)

    @property
    def analyses(self) -> int:
        """Analyzed frames."""
        return self.statuses.total()

    @property
    def per_second(self) -> float:
        """Analyses per second; n of them make n-1 intervals, so NaN below two."""
        span_s = self._last_s - self._first_s
        return (self.analyses - 1) / span_s if span_s > 0.0 else math.nan


class Observer(Protocol):
    """Sees every single value; on the thread that has it, and must be quick."""

    def analyzed(self, result: Result) -> None:
        """One analyzed frame."""
        ...

    def took(self, stage: Stage, value_ms: float) -> None:
        """The time of a stage behind the analysis."""
        ...

    def presented(self, age_ms: float) -> None:
        """The age of a picture that people see."""
        ...

    def replaced(self, age_ms: float) -> None:
        """The age of a picture that people no longer see."""
        ...


class Health:
    """Counts and times everything the loop does. Safe to use from any thread.

    Args:
        line_every_s: Time between two health lines.
        observer: Sees every value besides.
    """

    def __init__(self, line_every_s: float = 10.0, observer: Observer | None = None) -> None:
        self._observer = observer
        self.total = Tally()
        self.recent = Tally()
        self.worst_exit_code = 0
        self.read_failures = 0
        self._line_every_s = line_every_s
        self._next_line_s = math.inf  # until the first frame: loading is nobody's bad health
        self._lock = threading.Lock()
        self._problems: dict[str, int] = {}
        # Of the first frame, which waits for fonts and first runs: it stands for itself.
        self._first_age_ms: float | None = None
        self._ages_seen = 0
        self._size_wh: tuple[int, int] | None = None
        self._newest_loop_ms: dict[Stage, float] = {}

    def newest_loop_ms(self) -> Mapping[Stage, float]:
        """Milliseconds of drawing and presenting the last frame; empty before the first."""
        with self._lock:
            return dict(self._newest_loop_ms)

    def analyzed(self, result: Result) -> None:
        """Account for one analyzed frame."""
        if self._observer is not None:
            self._observer.analyzed(result)
        now_s = time.monotonic()
        with self._lock:
            if math.isinf(self._next_line_s):
                self._next_line_s = now_s + self._line_every_s
            for tally in (self.total, self.recent):
                tally.add(result, now_s)
            self._size_wh = result.frame.size_wh
        if result.status in _EXIT_CODES:
            self.exit_at_least(_EXIT_CODES[result.status])
            self.note(STATUS_WORDS[result.status], "; ".join(result.reasons))

    def took(self, stage: Stage, value_ms: float) -> None:
        """Account for the time of a stage behind the analysis: drawing, presenting."""
        if self._observer is not None:
            self._observer.took(stage, value_ms)
        with self._lock:
            self._newest_loop_ms[stage] = value_ms
            for tally in (self.total, self.recent):
                tally.took(stage, value_ms)

    def presented(self, age_ms: float) -> None:
        """Account for a picture that people see: its age when its present call returned."""
        if self._observer is not None:
            self._observer.presented(age_ms)
        with self._lock:
            self._ages_seen += 1
            if self._ages_seen == 1:
                self._first_age_ms = age_ms
                return
            for tally in (self.total, self.recent):
                tally.age_ms.add(age_ms)

    def replaced(self, age_ms: float) -> None:
        """Account for a picture that people no longer see: its age when the next one came."""
        if self._observer is not None:
            self._observer.replaced(age_ms)
        with self._lock:
            if self._ages_seen > 2:  # the first one's was replaced by the second
                for tally in (self.total, self.recent):
                    tally.worst_age_ms.add(age_ms)

    def read_failed(self, what: str, error: Exception) -> None:
        """Count a frame that the source could not give; it may still recover."""
        self.read_failures += 1
        self.note(what, error)

    def failed(self, what: str, error: Exception) -> None:
        """Note a failure that makes the program's exit code that of ``error``, at least."""
        self.exit_at_least(exit_code_of(error))
        self.note(what, error)

    def exit_at_least(self, code: int) -> None:
        """Make this the program's exit code, unless a higher one was set."""
        self.worst_exit_code = max(self.worst_exit_code, code)

    def note(self, what: str, problem: Exception | str) -> None:
        """Keep a problem's words for the summary; the same words again are counted."""
        words = f"{what}: {problem}"
        with self._lock:
            if words in self._problems or len(self._problems) < _MESSAGES_KEPT:
                self._problems[words] = self._problems.get(words, 0) + 1

    # --- words ----------------------------------------------------------------------------------

    def figures(self, put_ids: IdGaps, taken_ids: IdGaps) -> dict[str, str]:
        """The figures of now for a person, by name."""
        with self._lock:
            recent = self.recent if self.recent.analyses > 1 else self.total
            return {
                "analyses per second": _number(recent.per_second, ".1f"),
                "analysis": f"{_number(recent.stages.get(Stage.TOTAL, Samples()).median)} ms",
                "frame age": f"{_number(recent.age_ms.median)} ms "
                f"(95 %: {_number(recent.age_ms.p95)} ms)",
                "captured": str(put_ids.seen),
                "analyzed": str(taken_ids.seen),
                "dropped": str(taken_ids.missing),
            }

    def line_when_due(self, put_ids: IdGaps, taken_ids: IdGaps) -> str | None:
        """The health line of the time since the last one, or ``None`` where it is not time yet."""
        if time.monotonic() < self._next_line_s:
            return None
        with self._lock:
            self._next_line_s = time.monotonic() + self._line_every_s
            recent, self.recent = self.recent, Tally()
        analyze = recent.stages.get(Stage.TOTAL, Samples())
        parts = [
            f"{_number(recent.per_second, '.1f')} analyses/s",
            f"analysis {_number(analyze.median)} ms (p95 {_number(analyze.p95)})",
            f"frame age {_number(recent.age_ms.median)} ms (p95 {_number(recent.age_ms.p95)}, "
            f"max {_number(recent.age_ms.maximum)})",
            f"{recent.regions / max(1, recent.analyses):.1f} regions/frame",
            f"in all {put_ids.seen} captured, {taken_ids.seen} analyzed, "
            f"{taken_ids.missing} dropped, {self.read_failures} failed reads",
        ]
        return "health: " + ", ".join(parts)

    def summary(self, source: str, put_ids: IdGaps, taken_ids: IdGaps, ended: str) -> str:
        """Several readable lines for the end of a run of ``source``, ended by ``ended``.

        The last one is the disclaimer; classes of a model that nobody validated are marked so.
        """
        total = self.total
        size = "" if self._size_wh is None else f", {self._size_wh[0]}x{self._size_wh[1]}"
        rows = [("Source", f"{source}{size}; ended by {ended}")]
        rows.append(("Frames", self._frames_words(put_ids, taken_ids)))
        rows.append(("Answers", _counts(total.statuses) or "none"))
        rows.append(("Regions", _regions_words(total)))
        rows.append(("Classes", _classes_words(total)))
        rows.append(("Frame age", _age_words(total, self._first_age_ms)))
        lines = [f"{name:<11}{words}" for name, words in rows]
        lines += _latency_table(total.stages)
        for words, count in self._problems.items():
            lines.append(f"{'Problem':<11}{words}" + (f" ({count} times)" if count > 1 else ""))
        return "\n".join([*lines, DISCLAIMER])

    def _frames_words(self, put_ids: IdGaps, taken_ids: IdGaps) -> str:
        offered = put_ids.seen + put_ids.missing
        # Also what came after the last analyzed frame, so that the numbers add up.
        dropped = offered - taken_ids.seen
        share = dropped / offered if offered else 0.0
        words = (
            f"{put_ids.seen} captured and {put_ids.missing} lost by the source, "
            f"{taken_ids.seen} analyzed "
            f"({_number(self.total.per_second, '.1f')} per second), {dropped} dropped ({share:.0%})"
        )
        failures = self.read_failures
        return words + (f", {failures} failed read{'s'[: failures > 1]}" if failures else "")


def exit_code_of(error: Exception) -> int:
    """Exit code that an error asks for: its own, or 5 for one nobody foresaw."""
    return error.exit_code if isinstance(error, DermedgeError) else _UNFORESEEN_EXIT


def _number(value: float, spec: str = ".0f") -> str:
    return "-" if math.isnan(value) else format(value, spec)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


def _regions_words(tally: Tally) -> str:
    per_frame = tally.regions / max(1, tally.analyses)
    words = f"{tally.regions}, {per_frame:.1f} per frame, at most {tally.most_regions}"
    return words + (f"; {tally.not_classified} not classified" if tally.not_classified else "")


def _classes_words(tally: Tally) -> str:
    mark = f" ({UNVALIDATED})" if tally.unvalidated else ""
    return (_counts(tally.classes) or "none") + mark


def _age_words(total: Tally, first_ms: float | None) -> str:
    if first_ms is None:
        return "unknown (no capture time on this machine's clock)"
    age_ms, worst_ms = total.age_ms, total.worst_age_ms
    return (
        f"median {_number(age_ms.median)} ms, p95 {_number(age_ms.p95)} ms, "
        f"max {_number(age_ms.maximum)} ms (and {first_ms:.0f} ms for the first frame); "
        f"when replaced p95 {_number(worst_ms.p95)} ms, max {_number(worst_ms.maximum)} ms"
    )


def _latency_table(stages: dict[Stage, Samples]) -> Sequence[str]:
    if not stages:
        return []
    lines = [f"{'Latency':<11}{'stage':<10}{'median':>10}{'p95':>10}"]
    for stage in Stage:
        if stage in stages:
            median, p95 = stages[stage].median, stages[stage].p95
            lines.append(f"{'':<11}{stage.value:<10}{median:>7.1f} ms{p95:>7.1f} ms")
    return lines
