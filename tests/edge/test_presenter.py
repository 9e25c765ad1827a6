"""What a picture says about itself: stages, ages, and words over its lower edge."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
from shots_for_tests import frame, result

from edge.analysis.analyzer import Analysis
from edge.analysis_thread import Outcome
from edge.controls import Command, Controls
from edge.health import Health
from edge.overlay.layout import Room
from edge.overlay.notices import Notice
from edge.presenter import Presenter
from edge.result import Stage
from edge.screens.base import Presented, Shown
from edge.screens.group import ScreenGroup
from edge.session import Session
from edge.sinks.group import SinkGroup
from edge.trust import NoTrust
from edge.view import ViewChoice


class Screen:
    """Shows a picture only when it is given the next one, like a process of its own."""

    name = "slow"

    def __init__(self, room: Room | None = None) -> None:
        self.room = room
        self.pictures: list[np.ndarray] = []
        self.shown: list[Shown] = []
        self.number: int | None = None
        self.at_ns = 0
        self.busy_since_ns: int | None = None

    def open(self) -> None: ...

    def show(self, shown: Shown) -> Presented | None:
        before, self.number = self.number, shown.number
        self.pictures.append(shown.picture)
        self.shown.append(shown)
        return None if before is None else Presented(before, self.at_ns)

    def poll(self) -> Presented | None:
        return None

    def close(self) -> None: ...


class Speaking(NoTrust):
    def __init__(self) -> None:
        self.words: list[Notice] = []
        self.ages: list[float] = []

    def notices(self, now_ns: int) -> list[Notice]:
        return self.words

    def shown(self, age_ms: float, now_ns: int) -> None:
        self.ages.append(age_ms)


@pytest.fixture
def bench():
    health, screen, trust = Health(), Screen(), Speaking()
    session = Session(Controls(), lambda *_: None, lambda: None, None, threading.Event())
    with ScreenGroup([screen], health) as screens, SinkGroup([], health) as sinks:
        choice = ViewChoice("paired", is_live=True)
        presenter = Presenter(
            screens,
            sinks,
            session,
            choice,
            trust,
            health,
            busy_since_ns=lambda: screen.busy_since_ns,
            validated=True,
        )
        yield presenter, screen, health, trust


def outcome(number: int, size_wh: tuple[int, int] = (640, 480)) -> Outcome:
    new = frame(number, size_wh)
    return Outcome(new, Analysis(result(new), None))


def test_ages_are_of_the_pictures_that_were_really_shown(bench):
    presenter, screen, health, trust = bench
    first, second, third = outcome(0), outcome(1), outcome(2)
    presenter.outcome(first)
    assert trust.ages == []  # handed over, not seen yet
    screen.at_ns = first.frame.captured_ns + 70_000_000
    presenter.outcome(second)
    assert trust.ages == [pytest.approx(70.0)]
    screen.at_ns = second.frame.captured_ns + 90_000_000
    presenter.outcome(third)
    assert trust.ages[1:] == [pytest.approx(90.0)]
    assert health.total.age_ms.count == 1  # the first stands for itself


def test_drawing_and_presenting_are_among_the_stages(bench):
    """A latency that leaves them out looks better than what people see."""
    presenter, _, health, _ = bench
    presenter.outcome(outcome(0))
    assert set(health.newest_loop_ms()) == {Stage.DRAW, Stage.PRESENT}


def test_the_picture_is_drawn_for_the_room_that_its_screen_found(bench):
    """Which is not known when the presenter is made: the window is not open yet."""
    presenter, screen, _, _ = bench
    presenter.outcome(outcome(0))
    screen.room = Room((800, 480), filled=True)
    presenter.outcome(outcome(1))
    assert screen.pictures[0].shape != (480, 800, 3)
    assert screen.pictures[1].shape == (480, 800, 3)


def test_words_are_over_the_lower_edge_of_the_picture(bench):
    presenter, screen, _, trust = bench
    presenter.outcome(outcome(0))
    trust.words = [Notice("Hold still", "prompt"), Notice("colour not locked", "alarm")]
    same = outcome(0)
    presenter.outcome(same)
    drawn = presenter._overlay.drawn
    x0, y0, x1, y1 = drawn.layout.picture
    before, after = (picture[y0:y1, x0:x1] for picture in screen.pictures)
    rows = np.flatnonzero((before != after).any(axis=(1, 2)))
    tops = [rect[1] - y0 for rect in drawn.notices]
    assert len(tops) == 2 and rows.min() >= min(tops) > (y1 - y0) // 2


def later(monkeypatch, seconds: float) -> None:
    later_ns = time.monotonic_ns() + int(seconds * 1e9)
    monkeypatch.setattr(time, "monotonic_ns", lambda: later_ns)


@pytest.mark.parametrize(("answers", "after_s"), [(1, 10.5), (3, 1.6)])
def test_an_analysis_that_hangs_takes_its_last_answer_off(bench, monkeypatch, answers, after_s):
    """However few answers it has given: the first picture must not stay for ever."""
    presenter, screen, _, _ = bench
    for number in range(answers):
        presenter.outcome(outcome(number))
    screen.busy_since_ns = time.monotonic_ns()
    presenter.idle(None)
    assert screen.shown[-1].result.status != "no_live_image"
    later(monkeypatch, after_s)
    presenter.idle(frame(9))
    assert screen.shown[-1].result.status == "no_live_image"
    assert "has not answered" in screen.shown[-1].result.reasons[0]


def test_an_analysis_that_hangs_after_a_release_takes_the_still_off(bench, monkeypatch):
    presenter, screen, _, _ = bench
    press = Command("shutter", "test", time.monotonic_ns())
    for number in range(3):
        presenter.outcome(outcome(number))
    presenter._session._press = press
    presenter._session.state = "freezing"
    presenter.outcome(dataclasses.replace(outcome(3), press=press))
    assert screen.shown[-1].view == "still"
    presenter._session._controls.ask("release", "test")
    presenter._session.turn()
    screen.busy_since_ns = time.monotonic_ns()
    later(monkeypatch, 2.0)
    presenter.idle(frame(9))
    assert screen.shown[-1].result.status == "no_live_image"


def test_words_over_the_picture_go_to_its_screen_with_it(bench):
    """A page has no eyes: what stands in its picture must be had as text too."""
    presenter, screen, _, trust = bench
    presenter.outcome(outcome(0))
    trust.words = [Notice("Hold still", "prompt")]
    presenter.outcome(outcome(1))
    assert [shown.said for shown in screen.shown] == [(), ("Hold still",)]


def test_memory_does_not_grow_with_a_screen_that_never_says_what_it_shows(bench):
    presenter, screen, _, _ = bench
    screen.show = lambda shown: None  # type: ignore[method-assign]
    for number in range(200):
        presenter.outcome(outcome(number, (64, 48)))
    assert len(presenter._ages._captured_ns) <= 64
