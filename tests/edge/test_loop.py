"""The loop ends, finishes its outputs and tells the truth, whatever its source and sinks do."""

from __future__ import annotations

import dataclasses
import itertools
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

import pytest
from shots_for_tests import frame, result

from edge import analysis_thread as analysis_module
from edge import intake as intake_module
from edge import presenter as presenter_module
from edge import recovery as recovery_module
from edge.analysis.analyzer import Analysis
from edge.controls import Command, Controls
from edge.errors import InputError, ModelRefusedError, RequestError
from edge.frame import Frame
from edge.health import Health
from edge.intake import Intake
from edge.loop import Parts, run_loop
from edge.recovery import DAEMON_REQUEST, RecoveryPlan
from edge.result import Result
from edge.screens import group as group_module
from edge.screens.base import Presented, Shown
from edge.session import Frozen
from edge.sinks.base import Shot
from edge.sources.lost import SourceLost
from edge.stop import Stop
from edge.trust import NoTrust

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


class FakeScreen:
    """Keeps what it is shown; ``on_show(number)`` may raise or ask to stop."""

    room = None

    def __init__(self, name: str = "screen", on_show: Callable[[int], object] | None = None):
        self.name = name
        self.shown: list[Shown] = []
        self.opened = self.closed = 0
        self._on_show = on_show or (lambda _: None)

    def open(self) -> None:
        self.opened += 1

    def show(self, shown: Shown) -> Presented:
        self._on_show(len(self.shown))
        self.shown.append(shown)
        return Presented(shown.number, time.monotonic_ns())

    def poll(self) -> Presented | None:
        return None

    def close(self) -> None:
        self.closed += 1


class FakeSink:
    """Keeps ids; ``on_write(number)`` may raise or say False."""

    def __init__(self, name: str = "fake", on_write: Callable[[int], bool] | None = None) -> None:
        self.name = name
        self.wants_drawn = True
        self.goes_on = False
        self.ids: list[int] = []
        self.opened = self.closed = 0
        self._on_write = on_write or (lambda _: True)

    def open(self) -> None:
        self.opened += 1

    def write(self, shot: Shot) -> bool:
        go_on = self._on_write(len(self.ids))
        self.ids.append(shot.frame.frame_id)
        assert shot.drawn is not None and shot.result.frame.id == shot.frame.frame_id
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

    def __call__(self, source, *outputs, analyze=analyze, seconds=PATIENCE_S, **more) -> Run:
        self.stop.request_after(seconds)
        began_s = time.monotonic()
        parts = Parts(
            sinks=[output for output in outputs if isinstance(output, FakeSink)],
            screens=[output for output in outputs if isinstance(output, FakeScreen)],
            **more,
        )
        self.summary = run_loop(
            source,
            lambda captured: analyze(captured.frame),
            parts,
            stop=self.stop,
            health=self.health,
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
    assert (sink.opened, sink.closed, source.closed.is_set()) == (1, 1, True)
    assert run.exit_code == 0
    assert "ended by the source's end" in run.summary
    assert "25 captured and 0 lost by the source, 25 analyzed" in run.summary
    assert "0 dropped" in run.summary
    assert "NEV 25" in run.summary
    assert "unknown (no capture time" in run.summary


def test_a_slow_analysis_of_a_camera_drops_frames_and_counts_them():
    finished: list[Analysis] = []
    slow_s = 0.2  # also beside the presentation on a machine that is busy otherwise

    def slowly(of: Frame) -> Analysis:
        time.sleep(slow_s)
        finished.append(analyze(of))
        return finished[-1]

    sink, run = FakeSink(), Run()
    sink._on_write = lambda number: number < 5 or run.stop.request("the user") or True
    run(FakeSource(camera()), sink, analyze=slowly)
    assert sink.ids == sorted(set(sink.ids))
    missing = sink.ids[-1] - sink.ids[0] + 1 - len(sink.ids)
    assert missing > 0
    words = re.search(
        r"(\d+) captured and (\d+) lost by the source, (\d+) analyzed .*? (\d+) dropped",
        run.summary,
    )
    assert words is not None
    captured, by_source, analyzed, dropped = map(int, words.groups())
    assert analyzed == len(finished)
    assert len(sink.ids) <= analyzed <= len(sink.ids) + 1  # one was underway at the end
    assert dropped == captured + by_source - analyzed
    assert captured + by_source >= missing + analyzed
    assert run.health.total.age_ms.count == len(sink.ids) - 1  # the first stands for itself
    assert run.health.total.age_ms.median >= 1e3 * slow_s


def test_a_closed_window_ends_the_loop_with_0():
    run = Run()
    source, screen = FakeSource(camera()), FakeScreen()
    screen._on_show = lambda number: run.stop.request("the user") if number == 3 else None
    run(source, screen)
    assert len(screen.shown) == 4
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


# --- screens that come and go -------------------------------------------------------------------


def test_a_screen_that_fails_is_opened_again_and_the_analysis_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(group_module, "RETRY_S", 0.05)

    def fail(number: int) -> None:
        if number == 2 and screen.opened == 1:
            raise InputError("a display", got="none", next_step="plug it in")

    screen, sink, run = FakeScreen(on_show=fail), FakeSink(), Run()
    run(FakeSource(camera()), screen, sink, seconds=1.0)
    assert screen.opened == 2 and screen.closed == 2
    assert len(screen.shown) > 5
    assert len(sink.ids) > 20
    assert run.exit_code == 0  # a display is optional
    assert "screen screen: expected a display" in run.summary
    assert len([r for r in caplog.records if "tried again" in r.message]) == 1


def test_a_screen_may_come_later(monkeypatch):
    monkeypatch.setattr(group_module, "RETRY_S", 0.05)

    class Late(FakeScreen):
        def open(self) -> None:
            super().open()
            if self.opened < 3:
                raise RequestError("a display", got="none", next_step="plug it in")

    late, sink = Late(), FakeSink()

    def read_one(number: int) -> Frame:
        until_s = time.monotonic() + 10.0  # on a busy machine the next frame would take its place
        while number == 1 and not sink.ids and time.monotonic() < until_s:
            time.sleep(0.005)
        return camera()(number)

    Run()(FakeSource(read_one), late, sink, seconds=4.0)
    assert late.shown and late.opened == 3
    assert sink.ids[0] == 0 < late.shown[0].frame.frame_id  # nothing has waited for the screen


def test_a_screen_without_which_nobody_would_get_anything_must_open():
    class Never(FakeScreen):
        def open(self) -> None:
            raise RequestError("a display", got="none", next_step="plug it in")

    with pytest.raises(RequestError, match="a display"):
        Run()(FakeSource(camera()), Never(), Never(), screens_must_open=True)
    first = FakeScreen()
    Run()(FakeSource(camera()), Never(), first, screens_must_open=True, seconds=0.3)
    assert first.shown and first.closed == 1


# --- the live view ------------------------------------------------------------------------------


def test_live_shows_newer_frames_than_the_analysis_gives():
    def slowly(of: Frame) -> Analysis:
        time.sleep(0.1)
        return analyze(of)

    screen = FakeScreen()
    run = Run()(FakeSource(camera()), screen, analyze=slowly, view="live", seconds=1.0)
    newer = [s for s in screen.shown if s.frame.frame_id > s.result.frame.id]
    assert len(newer) > 3 * run.health.total.analyses
    assert {shown.view for shown in screen.shown} == {"live"}
    ids = [shown.frame.frame_id for shown in screen.shown]
    assert ids == sorted(set(ids))
    assert run.health.total.age_ms.median < 50.0


def test_paired_shows_only_frames_with_their_own_results():
    def slowly(of: Frame) -> Analysis:
        time.sleep(0.03)
        return analyze(of)

    screen = FakeScreen()
    run = Run()(FakeSource(camera()), screen, analyze=slowly, view="paired", seconds=1.0)
    assert screen.shown
    assert all(shown.frame.frame_id == shown.result.frame.id for shown in screen.shown)
    worst = run.health.total.worst_age_ms
    assert worst.median >= run.health.total.age_ms.median


# --- the shutter --------------------------------------------------------------------------------


class Camera(FakeSource):
    """A live source whose frames say when their exposure began."""

    def __init__(self, late_ns: int = 0) -> None:
        super().__init__(self._frame)
        self._late_ns = late_ns

    def _frame(self, number: int) -> Frame:
        time.sleep(0.005)
        new = frame(number)
        return dataclasses.replace(new, exposure_began_ns=new.captured_ns - self._late_ns)


def press_when(controls: Controls, wish: str, condition: Callable[[], bool]) -> threading.Thread:
    def wait() -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < until_s:
            time.sleep(0.005)
        controls.ask(wish, "test")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_press_freezes_a_frame_exposed_after_it_until_it_is_released():
    controls, screen, kept = Controls(), FakeScreen(), []

    def keep(frozen: Frozen, press: Command) -> str:
        kept.append((frozen, press))
        return "K7M2"

    def stills() -> list[Shown]:
        return [shown for shown in screen.shown if shown.view == "still"]

    press_when(controls, "shutter", lambda: len(screen.shown) > 5)
    press_when(controls, "shutter", lambda: len(stills()) >= 1)
    Run()(Camera(late_ns=20_000_000), screen, controls=controls, keep_case=keep, seconds=4.0)
    ((frozen, press),) = kept
    began_ns = frozen.outcome.frame.exposure_began_ns
    assert began_ns is not None and began_ns >= press.pressed_ns
    assert {shown.frame.frame_id for shown in stills()} == {frozen.outcome.frame.frame_id}
    last = screen.shown[-1]
    assert last.view != "still" and last.frame.frame_id > frozen.outcome.frame.frame_id
    kinds = [shown.view == "still" for shown in screen.shown]
    assert kinds.index(True) + kinds.count(True) == len(kinds) - kinds[::-1].index(True)  # in a row


def test_a_camera_that_does_not_tell_the_exposure_gives_no_still():
    controls, screen, kept = Controls(), FakeScreen(), []
    press_when(controls, "freeze", lambda: len(screen.shown) > 5)
    source = FakeSource(camera())
    Run()(source, screen, controls=controls, keep_case=lambda *a: kept.append(a) or "", seconds=2.5)
    assert kept == []
    assert {shown.view for shown in screen.shown} == {"paired"}


def test_a_source_that_can_takes_a_better_still():
    class Better(Camera):
        def take_still(self, pressed_ns: int) -> Frame:
            large = frame(self.reads, (128, 96))
            return dataclasses.replace(large, exposure_began_ns=time.monotonic_ns())

    controls, screen, kept = Controls(), FakeScreen(), []
    press_when(controls, "freeze", lambda: len(screen.shown) > 3)
    keep = lambda frozen, press: kept.append(frozen) or "K7M2"  # noqa: E731
    Run()(Better(), screen, controls=controls, keep_case=keep, seconds=2.5)
    (frozen,) = kept
    assert frozen.outcome.frame.size_wh == (128, 96)
    assert screen.shown[-1].view == "still"  # nobody released it


def test_a_still_that_cannot_be_had_leaves_the_live_picture():
    class Refusing(Camera):
        def take_still(self, pressed_ns: int) -> Frame:
            raise no_frame(0)

    controls, screen = Controls(), FakeScreen()
    press_when(controls, "freeze", lambda: len(screen.shown) > 3)
    Run()(Refusing(), screen, controls=controls, seconds=0.6)
    assert {shown.view for shown in screen.shown} == {"paired"}
    assert screen.shown[-1].frame.frame_id > 20


def test_a_case_that_cannot_be_saved_keeps_the_still_on_the_screen(caplog):
    def keep(frozen: Frozen, press: Command) -> str:
        raise InputError("to write a case", got="No space left on device", next_step="export")

    controls, screen = Controls(), FakeScreen()
    press_when(controls, "freeze", lambda: len(screen.shown) > 3)
    run = Run()(Camera(), screen, controls=controls, keep_case=keep, seconds=2.5)
    assert screen.shown[-1].view == "still"
    assert "No space left" in caplog.text
    assert run.exit_code == 0


def test_a_case_that_is_being_saved_at_the_end_is_finished():
    done = threading.Event()

    def keep(frozen: Frozen, press: Command) -> str:
        run.stop.request("the user")
        time.sleep(0.3)
        done.set()
        return "K7M2"

    controls, screen, run = Controls(), FakeScreen(), Run()
    press_when(controls, "freeze", lambda: len(screen.shown) > 3)
    run(Camera(), screen, controls=controls, keep_case=keep)
    assert done.is_set()


# --- pictures that are not live -----------------------------------------------------------------


class Doubt(NoTrust):
    """Finds frames dead from a number on, up to another."""

    def __init__(self, since: int, until: int) -> None:
        self._since, self._until = since, until
        self._newest = 0

    def receive(self, frame: Frame) -> Frame:
        self._newest = frame.frame_id
        return frame

    def frame_words(self, frame: Frame) -> str | None:
        return "repeated" if self._since <= frame.frame_id < self._until else None

    def not_live_words(self, now_ns: int) -> str | None:
        return "repeated" if self._since <= self._newest < self._until else None


@pytest.mark.parametrize("view", ["paired", "live"])
def test_a_dead_picture_has_no_labels_on_screens_nor_in_results(monkeypatch, view: str):
    monkeypatch.setattr(presenter_module, "NOT_LIVE_EVERY_S", 0.05)
    seen: list[Result] = []
    sink, screen = FakeSink(), FakeScreen()
    sink.write = lambda shot: seen.append(shot.result) is None  # type: ignore[method-assign]
    trust = Doubt(20, 100)
    Run()(FakeSource(camera()), sink, screen, trust=trust, view=view, seconds=4.0)
    dead = [shown for shown in screen.shown if shown.result.status == "no_live_image"]
    assert dead and all(shown.result.regions is None for shown in dead)
    assert dead[0].result.reasons == ("repeated",)
    assert screen.shown[0].result.status == "ok" and screen.shown[-1].result.status == "ok"
    assert {r.status for r in seen if 20 <= r.frame.id < 100} == {"no_live_image"}
    assert {r.status for r in seen if not 20 <= r.frame.id < 100} == {"ok"}


def test_before_the_first_frame_the_screen_says_that_there_is_none(monkeypatch):
    monkeypatch.setattr(presenter_module, "NOT_LIVE_EVERY_S", 0.05)

    class Nothing(NoTrust):
        def not_live_words(self, now_ns: int) -> str | None:
            return "no picture from the camera yet"

    screen = FakeScreen()
    never = threading.Event()
    source = FakeSource(lambda _: never.wait(0.4) and None or frame(0))
    Run()(source, screen, trust=Nothing(), seconds=0.3)
    assert screen.shown and screen.shown[0].frame.source == "none"
    assert screen.shown[0].result.status == "no_live_image"


@pytest.mark.parametrize("view", ["paired", "live"])
def test_an_analysis_that_stops_answering_takes_its_labels_off_the_picture(monkeypatch, view: str):
    monkeypatch.setattr(presenter_module, "NOT_LIVE_EVERY_S", 0.05)
    monkeypatch.setattr(presenter_module, "ANSWER_OVERDUE_S", 0.2)
    monkeypatch.setattr(analysis_module, "HANG_GRACE_S", 0.2)
    never = threading.Event()

    def hang(of: Frame) -> Analysis:
        if of.frame_id > 20:
            never.wait(60.0)
        return analyze(of)

    screen = FakeScreen()
    run = Run()(FakeSource(camera()), screen, analyze=hang, view=view, seconds=4.0)
    assert screen.shown[0].result.status == "ok"
    assert screen.shown[-1].result.status == "no_live_image"
    assert "has not answered" in screen.shown[-1].result.reasons[0]
    assert run.exit_code == 5 and "did not end" in run.summary
    never.set()


def test_a_failing_presentation_ends_everything_with_its_error():
    class Broken(NoTrust):
        def notices(self, now_ns: int) -> list:
            raise ZeroDivisionError("oh")

    source = FakeSource(camera())
    with pytest.raises(ZeroDivisionError):
        Run()(source, FakeScreen(), trust=Broken())
    assert source.closed.is_set()


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
    monkeypatch.setattr(recovery_module, "QUICK_S", 0.01)
    monkeypatch.setattr(intake_module, "READ_GRACE_S", 0.05)
    monkeypatch.setattr(intake_module, "CLOSE_GRACE_S", 0.3)


def no_frame(number: int) -> InputError:
    return InputError(f"frame {number}", got="a torn one", next_step="look at the cable")


def test_a_camera_that_recovers_is_forgiven(quick: None):
    def read_one(number: int) -> Frame:
        if number in (3, 4):
            raise no_frame(number)
        return camera()(number)

    run = Run()
    run(FakeSource(read_one), FakeSink(on_write=lambda n: n < 20 or run.stop.request("x") or True))
    assert run.health.read_failures == 2
    assert "2 failed reads" in run.summary
    assert "got a torn one" in run.summary
    assert run.exit_code == 0


def test_a_camera_that_is_lost_is_opened_again_until_it_comes_back(quick: None):
    opened: list[int] = []

    class Lost(FakeSource):
        def open(self) -> None:
            opened.append(self.reads)
            if 1 < len(opened) < 4:
                raise no_frame(0)

    def read_one(number: int) -> Frame:
        if number == 5:
            raise SourceLost("a camera", got="it was unplugged", next_step="plug it in")
        return camera()(number)

    sink, run = FakeSink(), Run()
    sink._on_write = lambda number: number < 20 or run.stop.request("x") or True
    told: list[bool] = []
    trust = NoTrust()
    trust.lost = lambda: told.append(True)  # type: ignore[method-assign]
    run(Lost(read_one), sink, trust=trust)
    assert len(opened) == 4 and told == [True]
    assert len(sink.ids) > 15
    assert run.exit_code == 0 and "it was unplugged" in run.summary


def test_a_camera_that_opens_and_gives_nothing_is_away_all_the_same(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Argus and V4L2 open a camera that is stuck: the ladder must go on until a picture comes."""
    monkeypatch.setattr(recovery_module, "DAEMON_AFTER_S", 0.3)
    monkeypatch.setattr(recovery_module, "SLOWEST_S", 0.02)
    said: set[str] = set()
    was_asked: list[bool] = []

    def read_one(number: int) -> Frame:
        if 3 <= number < 50:
            time.sleep(0.02)
            if (tmp_path / DAEMON_REQUEST).exists() and not was_asked:
                was_asked.append(True)
            said.update(step for step, count in intake.recovery.counts.items() if count)
            assert intake.recovery.is_away or number == 3
            raise SourceLost("a camera", got="no frame for 3 s", next_step="plug it in")
        return camera()(number)

    stop = Stop()
    intake = Intake(
        FakeSource(read_one), stop, Health(), plan=RecoveryPlan(tmp_path, has_daemon=True)
    )
    with intake:
        while (captured := intake.next_frame()) is not None and captured.frame.frame_id < 60:
            pass
        stop.request("x")
    counts = intake.recovery.counts
    assert counts["lost"] == counts["recovered"] == 1 and counts["reopen"] == 47
    assert "recovered" not in said and counts["daemon"] == 1
    assert was_asked == [True] and not (tmp_path / DAEMON_REQUEST).exists()  # withdrawn
    assert intake.recovery.last_s is not None and intake.recovery.last_s > 1.0


def test_a_camera_that_gives_only_damaged_frames_is_opened_again(
    quick: None, monkeypatch: pytest.MonkeyPatch
):
    """A worn cable, a driver that flags every buffer: a frame now and then is forgiven, no more."""
    monkeypatch.setattr(intake_module, "BAD_FOR_S", 0.3)
    opened: list[float] = []

    class Worn(FakeSource):
        def open(self) -> None:
            opened.append(time.monotonic())

    def read_one(number: int) -> Frame:
        if number < 5 or len(opened) == 4:
            return camera()(number)
        raise no_frame(number)

    stop = Stop()
    intake = Intake(Worn(read_one), stop, Health())
    seen = 0
    with intake:
        while intake.next_frame() is not None and seen < 20:
            seen += 1
        stop.request("x")
    assert len(opened) == 4 and all(b - a > 0.3 for a, b in itertools.pairwise(opened))
    counts = intake.recovery.counts
    assert (counts["lost"], counts["reopen"], counts["recovered"]) == (1, 3, 1)


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
from pathlib import Path
from shots_for_tests import frame, result
from edge.analysis.analyzer import Analysis
from edge.health import Health
from edge.loop import Parts, run_loop
from edge.sinks.jsonl import JsonlSink
from edge.stop import Stop, stop_on_signals

class Source:
    name, is_live, number = "fake:0", True, -1
    def open(self): pass
    def close(self): pass
    def read(self):
        time.sleep(0.01)
        self.number += 1
        return frame(self.number)

analyzed = []
def analyze(captured):
    analyzed.append(captured)
    if len(analyzed) == 5:  # those before are with the sink
        print("ready", flush=True)
    return Analysis(result(captured.frame), None)

stop = Stop()
with stop_on_signals(stop):
    health = Health()
    parts = Parts(sinks=[JsonlSink(Path(sys.argv[1]))])
    summary = run_loop(Source(), analyze, parts, stop=stop, health=health)
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
