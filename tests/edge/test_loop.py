"""The loop ends, finishes its outputs and tells the truth, whatever its source and sinks do."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shots_for_tests import frame, result

from edge import intake as intake_module
from edge.analysis.analyzer import Analysis
from edge.errors import InputError, ModelRefusedError, RequestError
from edge.frame import Frame
from edge.health import Health
from edge.loop import run_loop
from edge.sinks.base import Shot
from edge.stop import Stop

PATIENCE_S = 20.0


class FakeSource:
    """Gives what ``read_one(number)`` gives, and remembers what was done to it."""

    def __init__(self, read_one: Callable[[int], Frame | None], *, live: bool = True) -> None:
        self.name = "fake:0"
        self.is_live = live
        self.reads = 0
        self.closed = threading.Event()
        self._read_one = read_one

    def open(self) -> None: ...

    def read(self) -> Frame | None:
        self.reads += 1
        return self._read_one(self.reads - 1)

    def close(self) -> None:
        self.closed.set()


class FakeSink:
    """Keeps ids; ``on_write(number)`` may raise or say False."""

    def __init__(self, name: str = "fake", on_write: Callable[[int], bool] | None = None) -> None:
        self.name = name
        self.wants_drawn = True
        self.ids: list[int] = []
        self.drawn: list[float] = []
        self.opened = self.closed = 0
        self._on_write = on_write or (lambda _: True)

    def open(self) -> None:
        self.opened += 1

    def write(self, shot: Shot) -> bool:
        go_on = self._on_write(len(self.ids))
        self.ids.append(shot.frame.frame_id)
        assert shot.drawn is not None
        self.drawn.append(float(shot.drawn.mean()))
        return go_on

    def close(self) -> None:
        self.closed += 1


def camera(pause_s: float = 0.005) -> Callable[[int], Frame]:
    def read_one(number: int) -> Frame:
        time.sleep(pause_s)
        return frame(number)

    return read_one


def recording(count: int) -> Callable[[int], Frame | None]:
    return lambda number: frame(number, live=False) if number < count else None


def analyze(of: Frame) -> Analysis:
    return Analysis(result(of), None)


class Run:
    """One run of the loop with fakes, and everything that can be known about it."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.health = Health()
        self.summary = ""

    def __call__(self, source, *sinks, analyze=analyze, seconds=PATIENCE_S, **more) -> Run:
        self.stop.request_after(seconds)
        began_s = time.monotonic()
        self.summary = run_loop(
            source,
            analyze,
            lambda f, _: np.full_like(f.pixels, f.frame_id % 256),
            sinks,
            stop=self.stop,
            health=self.health,
            **more,
        )
        assert time.monotonic() - began_s < PATIENCE_S or seconds == PATIENCE_S
        return self

    @property
    def exit_code(self) -> int:
        return max(
            self.health.worst_exit_code, self.stop.reason.exit_code if self.stop.reason else 0
        )


def test_a_recording_is_analyzed_frame_by_frame():
    source, sink = FakeSource(recording(25), live=False), FakeSink()
    run = Run()(source, sink)
    assert sink.ids == list(range(25))
    assert sink.drawn == list(range(25))
    assert (sink.opened, sink.closed, source.closed.is_set()) == (1, 1, True)
    assert run.exit_code == 0
    assert "ended by the source's end" in run.summary
    assert "25 captured, 25 analyzed" in run.summary
    assert "0 dropped" in run.summary
    assert "NEV 25" in run.summary
    assert "unknown (no capture time" in run.summary


def test_a_slow_analysis_of_a_camera_drops_frames_and_counts_them():
    def slowly(of: Frame) -> Analysis:
        time.sleep(0.05)
        return analyze(of)

    sink = FakeSink(on_write=lambda number: number < 5)
    run = Run()(FakeSource(camera()), sink, analyze=slowly)
    assert sink.ids == sorted(set(sink.ids))
    missing = sink.ids[-1] - sink.ids[0] + 1 - len(sink.ids)
    assert missing > 0
    words = re.search(
        r"(\d+) captured, (\d+) analyzed .*? (\d+) dropped .*?; (\d+) of them", run.summary
    )
    assert words is not None
    captured, analyzed, dropped, by_source = map(int, words.groups())
    assert analyzed == len(sink.ids)
    assert dropped == captured + by_source - analyzed >= missing
    assert run.health.total.age_ms.count == len(sink.ids) - 1  # the first stands for itself
    assert run.health.total.age_ms.median >= 50.0


def test_a_closed_window_ends_the_loop_with_0():
    source, sink = FakeSource(camera()), FakeSink(on_write=lambda number: number < 3)
    run = Run()(source, sink)
    assert len(sink.ids) == 4
    assert source.closed.is_set()
    assert run.exit_code == 0
    assert "ended by the user" in run.summary


def test_the_time_given_ends_the_loop():
    run = Run()(FakeSource(camera()), FakeSink(), seconds=0.3)
    assert "ended by the time given" in run.summary
    assert run.exit_code == 0


def test_a_request_from_another_thread_ends_the_loop():
    run = Run()
    threading.Timer(0.1, run.stop.request, ("Ctrl-C", 130)).start()
    run(FakeSource(camera()), FakeSink())
    assert run.exit_code == 130


# --- sinks that fail ----------------------------------------------------------------------------


def test_a_failing_sink_is_reported_once_and_the_others_go_on(caplog: pytest.LogCaptureFixture):
    def fail(number: int) -> bool:
        if number == 2:
            raise InputError("to write x", got="No space left", next_step="free some")
        return True

    bad, good = FakeSink("bad", fail), FakeSink("good")
    run = Run()(FakeSource(recording(10), live=False), bad, good)
    assert bad.ids == [0, 1]
    assert bad.closed == 1
    assert good.ids == list(range(10))
    assert run.exit_code == 3
    assert [r.message for r in caplog.records if "bad" in r.message] == [
        "sink bad failed and is closed: expected to write x; got No space left; free some"
    ]
    assert "sink bad: expected to write x" in run.summary


def test_an_unforeseen_failure_of_the_only_sink_does_not_stop_the_loop():
    def fail(number: int) -> bool:
        raise ZeroDivisionError("oh")

    run = Run()(FakeSource(recording(10), live=False), FakeSink("bad", fail))
    assert "10 analyzed" in run.summary
    assert run.exit_code == 5


def test_a_sink_that_fails_while_closing_is_reported():
    class Late(FakeSink):
        def close(self) -> None:
            raise InputError("to finish x", got="No space left", next_step="free some")

    late, good = Late("late"), FakeSink("good")
    run = Run()(FakeSource(recording(2), live=False), good, late)
    assert good.closed == 1
    assert run.exit_code == 3


def test_a_sink_that_cannot_open_is_refused_at_the_start():
    class Broken(FakeSink):
        def open(self) -> None:
            raise RequestError("a display", got="none", next_step="use --sink headless")

    source, first, last = FakeSource(camera()), FakeSink("first"), FakeSink("last")
    with pytest.raises(RequestError, match="a display"):
        Run()(source, first, Broken("broken"), last)
    assert (first.closed, last.opened, source.reads) == (1, 0, 0)


def test_nothing_is_drawn_for_sinks_that_do_not_want_it():
    sink = FakeSink()
    sink.wants_drawn = False
    sink.write = lambda shot: shot.drawn is None or pytest.fail("drawn for nobody")  # type: ignore
    run = Run()(FakeSource(recording(3), live=False), sink)
    assert run.exit_code == 0
    assert "draw" not in run.summary


# --- sources that fail --------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience with failing sources, cut down."""
    monkeypatch.setattr(intake_module, "RETRY_S", 0.01)
    monkeypatch.setattr(intake_module, "READ_GRACE_S", 0.05)
    monkeypatch.setattr(intake_module, "CLOSE_GRACE_S", 0.3)


def no_frame(number: int) -> InputError:
    return InputError(f"frame {number}", got="a torn one", next_step="look at the cable")


def test_a_camera_that_recovers_is_forgiven(quick: None):
    def read_one(number: int) -> Frame:
        if number in (3, 4):
            raise no_frame(number)
        return camera()(number)

    run = Run()(FakeSource(read_one), FakeSink(on_write=lambda number: number < 20))
    assert run.health.read_failures == 2
    assert "2 failed reads" in run.summary
    assert "got a torn one" in run.summary
    assert run.exit_code == 0


def test_a_camera_that_never_recovers_is_given_up(quick: None):
    def read_one(number: int) -> Frame:
        if number >= 3:
            raise no_frame(3)
        return camera()(number)

    run = Run()(FakeSource(read_one), FakeSink(), give_up_after_s=0.3)
    assert run.exit_code == 3
    assert "got a torn one" in run.summary
    assert run.health.read_failures > 3


def test_a_camera_that_ends_is_a_failure(quick: None):
    run = Run()(FakeSource(lambda number: frame(number) if number < 3 else None), FakeSink())
    assert run.exit_code == 3
    assert "frames from fake:0" in run.summary


def test_a_recording_with_a_torn_frame_goes_on_and_ends_with_3():
    def read_one(number: int) -> Frame | None:
        if number == 2:
            raise no_frame(number)
        return recording(6)(number)

    sink = FakeSink()
    run = Run()(FakeSource(read_one, live=False), sink)
    assert sink.ids == [0, 1, 3, 4, 5]
    assert run.exit_code == 3


def test_a_recording_that_is_stuck_in_one_failure_ends():
    def read_one(number: int) -> Frame:
        raise no_frame(0)

    run = Run()(FakeSource(read_one, live=False), FakeSink())
    assert run.exit_code == 3


def test_an_unforeseen_failure_of_a_source_ends_the_loop_with_5():
    def read_one(number: int) -> Frame:
        if number == 2:
            raise ZeroDivisionError("oh")
        return frame(number, live=False)

    sink = FakeSink()
    run = Run()(FakeSource(read_one, live=False), sink)
    assert sink.ids == [0, 1]
    assert run.exit_code == 5


def test_a_source_that_cannot_open_is_raised():
    source, sink = FakeSource(camera()), FakeSink()

    def fail() -> None:
        raise no_frame(0)

    source.open = fail  # type: ignore[method-assign]
    with pytest.raises(InputError, match="torn"):
        Run()(source, sink)
    assert sink.closed == 1


@pytest.mark.parametrize("wakes_up_at_close", [True, False])
def test_a_source_that_hangs_in_read_is_left_behind(
    quick: None, caplog: pytest.LogCaptureFixture, wakes_up_at_close: bool
):
    never = threading.Event()

    def read_one(number: int) -> Frame | None:
        if number == 3:
            (source.closed if wakes_up_at_close else never).wait(60.0)
            return None
        return frame(number)

    source = FakeSource(read_one)
    sink = FakeSink()
    with caplog.at_level(logging.ERROR):
        run = Run()(source, sink, give_up_after_s=0.3)
    assert run.exit_code == 3
    assert "no frame for 0.3 s" in run.summary
    assert sink.closed == 1
    assert source.closed.is_set()
    assert ("hangs in read" in caplog.text) != wakes_up_at_close
    never.set()


def test_a_source_that_hangs_in_close_too_is_left_behind(quick: None):
    never = threading.Event()
    source = FakeSource(lambda _: never.wait(60.0) and None)
    source.close = lambda: never.wait(60.0)  # type: ignore[assignment,method-assign]
    run = Run()(source, FakeSink(), seconds=0.2)
    assert "ended by the time given" in run.summary
    never.set()


# --- models that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("oh"), ModelRefusedError("a", got="b", next_step="c")]
)
def test_an_analysis_that_raises_ends_everything_in_order(error: Exception):
    def fail(of: Frame) -> Analysis:
        if of.frame_id == 3:
            raise error
        return analyze(of)

    source, sink = FakeSource(recording(10), live=False), FakeSink()
    with pytest.raises(type(error)):
        Run()(source, sink, analyze=fail)
    assert sink.ids == [0, 1, 2]
    assert sink.closed == 1
    assert source.closed.wait(PATIENCE_S)


def test_a_refused_answer_goes_to_the_sinks_and_sets_the_exit_code():
    def refuse(of: Frame) -> Analysis:
        answer = result(of)
        if of.frame_id == 3:
            answer = dataclasses.replace(
                answer, status="model_refused", reasons=("NaN came out",), regions=None
            )
        return Analysis(answer, None)

    sink = FakeSink()
    run = Run()(FakeSource(recording(6), live=False), sink, analyze=refuse)
    assert sink.ids == list(range(6))
    assert run.exit_code == 4
    assert "Model refused: NaN came out" in run.summary
    assert "model_refused 1" in run.summary


# --- signals, in a process of its own -----------------------------------------------------------

_CHILD = """
import sys, time
sys.path[:0] = sys.argv[2:]
import numpy as np
from pathlib import Path
from shots_for_tests import frame, result
from edge.analysis.analyzer import Analysis
from edge.health import Health
from edge.loop import run_loop
from edge.sinks.jsonl import JsonlSink
from edge.stop import Stop, stop_on_signals

class Source:
    name, is_live, number = "fake:0", True, -1
    def open(self): pass
    def close(self): pass
    def read(self):
        time.sleep(0.01)
        self.number += 1
        if self.number == 5:
            print("ready", flush=True)
        return frame(self.number)

stop = Stop()
with stop_on_signals(stop):
    health = Health()
    summary = run_loop(Source(), lambda f: Analysis(result(f), None), lambda f, r: f.pixels,
                       [JsonlSink(Path(sys.argv[1]))], stop=stop, health=health)
print(summary)
sys.exit(max(health.worst_exit_code, stop.reason.exit_code))
"""


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGTERM, 0, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")],
)
def test_signals_end_the_loop_in_order(tmp_path: Path, number: int, code: int, words: str):
    tests = Path(__file__).parents[1]
    path = tmp_path / "run.jsonl"
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path), str(tests.parent), str(tests)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == code, err
    assert f"ended by {words}" in out
    assert "Traceback" not in err
    assert path.read_text("utf-8").endswith("\n")
