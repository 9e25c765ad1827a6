"""The figures of a service, as Prometheus reads them; what they mean: docs/telemetry.md.

Distributions are filled while the loop runs; everything else is looked up when somebody asks.
Counts go on from one run inside a process to the next.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client import Counter as PromCounter
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edge import __version__
from edge.board.state import BoardState, read_board
from edge.engines.base import EngineIdentity
from edge.result import Result, Stage
from edge.status import Counts, Status
from edge.telemetry.unit_memory import unit_memory_bytes

STAGE_BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0),
)
AGE_BUCKETS_S = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)

BOARD_EVERY_S = 2.0
"""The board's files are read at most this often, however many ask."""


@dataclass
class _Kept:
    """Counts of runs that have ended."""

    counts: Counter[str] = field(default_factory=Counter)
    recovery: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


class Meter(Collector):
    """Everything that is measured in one process. Safe to use from any thread.

    Args:
        look_at_board: How the board is read.
    """

    def __init__(self, look_at_board: Callable[[], BoardState] = read_board) -> None:
        self.registry = CollectorRegistry()
        self._look_at_board = look_at_board
        self._lock = threading.Lock()
        self._kept = _Kept()
        self._status: Status | None = None
        self._not_running = "starting"
        self._engines: Mapping[str, EngineIdentity] = {}
        self._board: tuple[float, BoardState] | None = None
        self._events: Counter[str] = Counter()
        self._started_s = time.monotonic()
        self._stages = Histogram(
            "dermedge_stage_seconds",
            "Time that a stage of one frame took",
            ("stage",),
            registry=self.registry,
            buckets=STAGE_BUCKETS_S,
        )
        self._age = Histogram(
            "dermedge_frame_age_seconds",
            "From the exposure to the return of the present call, of every picture shown",
            registry=self.registry,
            buckets=AGE_BUCKETS_S,
        )
        self._worst_age = Histogram(
            "dermedge_frame_age_when_replaced_seconds",
            "The same when the next picture came: the oldest that an eye saw",
            registry=self.registry,
            buckets=AGE_BUCKETS_S,
        )
        self._answers = PromCounter(
            "dermedge_analyses",
            "Analyzed frames by their answer",
            ("status",),
            registry=self.registry,
        )
        self._regions = PromCounter(
            "dermedge_regions", "Regions that were found", registry=self.registry
        )
        ProcessCollector(namespace="dermedge", registry=self.registry)
        self.registry.register(self)

    # --- told by the loop -----------------------------------------------------------------------

    def analyzed(self, result: Result) -> None:
        """Account for one analyzed frame."""
        for stage, value_ms in result.timings_ms.items():
            self.took(stage, value_ms)
        self._engines = result.engines
        self._answers.labels(result.status).inc()
        self._regions.inc(len(result.regions or ()))

    def took(self, stage: Stage, value_ms: float) -> None:
        """Account for the time of one stage."""
        self._stages.labels(stage.value).observe(value_ms / 1e3)

    def presented(self, age_ms: float) -> None:
        """Account for a picture that people see."""
        self._age.observe(age_ms / 1e3)

    def replaced(self, age_ms: float) -> None:
        """Account for a picture that people no longer see."""
        self._worst_age.observe(age_ms / 1e3)

    # --- told by the service ----------------------------------------------------------------------

    def runs(self, status: Status) -> None:
        """A run has begun."""
        with self._lock:
            self._status, self._not_running = status, ""

    def ended(self, words: str) -> None:
        """The run has ended, or could not begin; its counts are kept."""
        with self._lock:
            counts = self._status.counts() if self._status is not None else None
            self._status, self._not_running = None, words
            if counts is not None:
                self._kept.counts.update(_plain(counts))
                self._kept.recovery.update(counts.recovery)
                self._kept.left_out.update(counts.left_out)

    def health(self) -> str:
        """Empty where the picture is live and nothing is away, else why not, in words."""
        with self._lock:
            status, words = self._status, self._not_running
        if status is None:
            return f"not running: {words}"
        return status.not_well_words()

    def board(self) -> BoardState:
        """The board as it was a moment ago."""
        now_s = time.monotonic()
        with self._lock:
            if self._board is not None and now_s - self._board[0] < BOARD_EVERY_S:
                return self._board[1]
        state = self._look_at_board()
        with self._lock:
            before = self._board[1].of_late if self._board is not None else {}
            # A board that only says that it was held back of late: each time it comes to say so.
            for cause, was in state.of_late.items():
                self._events[cause] += was and not before.get(cause, False)
            self._board = (now_s, state)
        return state

    # --- asked by Prometheus ----------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Everything that is looked up; see :class:`prometheus_client.registry.Collector`."""
        with self._lock:
            status = self._status
            counts = status.counts() if status is not None else Counts()
            totals = _sum(self._kept.counts, _plain(counts))
            recovery = _sum(self._kept.recovery, counts.recovery)
            left_out = _sum(self._kept.left_out, counts.left_out)
        yield _info("dermedge_build", "This program", {"version": __version__})
        yield _gauge("dermedge_up_seconds", "Of this process", time.monotonic() - self._started_s)
        yield _gauge("dermedge_running", "1 while the camera loop runs", status is not None)
        yield _gauge("dermedge_healthy", "1 while the picture is live", not self.health())
        yield from _frames(totals)
        yield from _camera(counts, recovery)
        yield _by("dermedge_output_left_out", "Results that an output was too slow for",
                  "output", left_out)  # fmt: skip
        yield _gauges("dermedge_output_away", "1 for an output that cannot be written",
                      "output", counts.outputs_away)  # fmt: skip
        engines = GaugeMetricFamily(
            "dermedge_engine_info",
            "1 for each network in use",
            labels=("part", "name", "version", "backend", "precision", "sha256"),
        )
        for part, engine in (self._engines if status is not None else {}).items():
            labels = (engine.name, engine.version, engine.backend, engine.precision)
            engines.add_metric((part, *labels, engine.engine_sha256 or engine.model_sha256), 1.0)
        yield engines
        memory_bytes = unit_memory_bytes()
        if memory_bytes is not None:
            yield _gauge(
                "dermedge_unit_memory_bytes",
                "Anonymous memory of all processes of the service",
                memory_bytes,
            )
        board = self.board()
        yield from _board(board, {**board.events, **self._events})


def _sum(kept: Counter[str], now: Mapping[str, int]) -> Counter[str]:
    """Both together; a count of 0 stays: a monitoring cannot see a rise from nothing."""
    total = Counter(kept)
    total.update(now)
    return total


def _plain(counts: Counts) -> dict[str, int]:
    return {
        "captured": counts.captured,
        "lost": counts.lost_by_source,
        "passed_over": counts.passed_over,
        "read_failures": counts.read_failures,
    }


def _frames(totals: Counter[str]) -> Iterator[Metric]:
    yield _count("dermedge_frames_captured", "Frames that the source gave", totals["captured"])
    dropped = CounterMetricFamily(
        "dermedge_frames_dropped", "Frames that were not analyzed, by cause", labels=("cause",)
    )
    dropped.add_metric(("lost by the source",), totals["lost"])
    dropped.add_metric(("a newer one came first",), totals["passed_over"])
    dropped.add_metric(("failed read",), totals["read_failures"])
    yield dropped


def _camera(counts: Counts, recovery: Counter[str]) -> Iterator[Metric]:
    yield _gauge("dermedge_camera_away", "1 while the camera is away", counts.is_away)
    yield _by("dermedge_camera_recovery_steps", "Steps to get the camera back", "step", recovery)
    if counts.last_recovery_s is not None:
        yield _gauge(
            "dermedge_camera_last_recovery_seconds",
            "How long the camera was away the last time",
            counts.last_recovery_s,
        )


def _board(board: BoardState, events: Mapping[str, int]) -> Iterator[Metric]:
    yield _info("dermedge_board", "The board", {
        "kind": board.kind,
        "model": board.model or "unknown",
        "power_mode": board.power_mode or "unknown",
    })  # fmt: skip
    yield _gauges("dermedge_board_temperature_celsius", "By thermal zone",
                  "zone", board.temperatures_c)  # fmt: skip
    yield _gauges("dermedge_board_clock_hertz", "Of processors and GPU", "unit", board.clocks_hz)
    yield _gauges("dermedge_board_power_watts", "By rail", "rail", board.power_w)
    if board.throttled is not None:
        yield _gauge("dermedge_board_throttled", "1 while it is held back", bool(board.throttled))
        yield _gauges("dermedge_board_throttled_by", "1 for each cause that holds it back now",
                      "cause", dict.fromkeys(board.throttled, 1))  # fmt: skip
    yield _by("dermedge_board_throttle_events", "How often it was held back, by cause",
              "cause", events)  # fmt: skip
    for name, value in (
        ("total", board.memory_total_bytes),
        ("available", board.memory_available_bytes),
    ):
        if value is not None:
            yield _gauge(f"dermedge_board_memory_{name}_bytes", "Of the machine", value)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=float(value))


def _count(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=float(value))


def _by(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, words, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), float(value))
    return family


def _gauges(name: str, words: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), float(value))
    return family


def _info(name: str, words: str, values: dict[str, str]) -> Metric:
    return InfoMetricFamily(name, words, value=values)
