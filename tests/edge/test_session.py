"""The shutter's states, without a camera: what a press does, and what it must not."""

from __future__ import annotations

import threading
import time

import pytest
from cases_for_tests import frozen

from edge.controls import Command, Controls
from edge.errors import InputError
from edge.session import Frozen, Session


class Bench:
    """A session whose source and case folder the test plays."""

    def __init__(self, keep_case=None) -> None:
        self.controls = Controls()
        self.asked: list[tuple[Command, object]] = []
        self.gone_on = 0
        self.dead: str | None = None
        self.session = Session(
            self.controls,
            lambda press, no_still: self.asked.append((press, no_still)),
            self._go_on,
            keep_case,
            threading.Event(),
            not_live_words=lambda: self.dead,
        )

    def _go_on(self) -> None:
        self.gone_on += 1

    def press(self, wish="shutter") -> None:
        self.controls.ask(wish, "test")
        self.session.turn()

    def still(self, number: int = -1) -> Frozen:
        """The still that comes for a press."""
        held = frozen()
        press = self.asked[number][0]
        return Frozen(
            type(held.outcome)(held.outcome.frame, held.outcome.analysis, press), held.picture
        )

    def texts(self) -> list[str]:
        return [notice.text for notice in self.session.notices()]


def test_a_press_freezes_and_the_next_goes_on():
    bench = Bench()
    bench.press()
    assert bench.session.state == "freezing" and len(bench.asked) == 1
    bench.session.froze(bench.still())
    assert bench.session.state == "frozen"
    bench.press()
    assert bench.session.state == "live" and bench.gone_on == 1


def test_a_dead_picture_is_not_frozen():
    bench = Bench()
    bench.dead = "the camera has sent the same picture for 4 s"
    bench.press()
    assert bench.session.state == "live" and bench.asked == []
    assert bench.texts() == [f"No still: {bench.dead}"]


def test_a_still_that_is_none_is_told_and_the_analysis_goes_on():
    bench = Bench()
    bench.press()
    bench.session.missed(bench.asked[0][0], "the still is black")
    assert bench.session.state == "live" and bench.gone_on == 1
    assert bench.texts() == ["No still: the still is black"]


def test_a_source_that_refuses_on_its_own_thread():
    bench = Bench()
    bench.press()
    refuse = bench.asked[0][1]
    thread = threading.Thread(target=refuse, args=("the lens is gone",))
    thread.start()
    thread.join()
    assert bench.session.state == "freezing"  # decided on the presentation's own thread
    bench.session.turn()
    assert bench.session.state == "live" and bench.texts() == ["No still: the lens is gone"]


def test_the_still_of_an_earlier_press_is_not_that_of_a_later_one():
    bench = Bench()
    bench.press()
    first = bench.still()
    bench.session.refuse(bench.asked[0][0], "too slow")
    bench.session.turn()
    bench.press()
    bench.session.froze(first)
    assert bench.session.state == "freezing" and bench.gone_on == 1
    bench.session.refuse(bench.asked[0][0], "late words of the first press")
    bench.session.turn()
    assert bench.session.state == "freezing"
    bench.session.froze(bench.still())
    assert bench.session.state == "frozen"


def test_the_code_of_a_case_is_that_of_the_still_that_is_held():
    bench = Bench(lambda *_: "K7M-QXT")
    bench.press()
    bench.session.froze(bench.still())
    assert bench.session.close()
    assert bench.session.case_code == "K7M-QXT"
    bench.press()
    assert bench.session.case_code is None  # the next patient is in the picture


def test_a_case_that_is_saved_late_is_not_the_next_patients():
    hold = threading.Event()

    def slowly(*_):
        hold.wait(5.0)
        return "OLD-ONE"

    bench = Bench(slowly)
    bench.press()
    bench.session.froze(bench.still())
    bench.press("release")
    hold.set()
    assert bench.session.close()
    assert bench.session.case_code is None
    assert bench.texts() == ["Saved as case OLD-ONE"]


@pytest.mark.parametrize("error", [InputError("room", got="none", next_step="x"), OSError("none")])
def test_a_case_that_cannot_be_saved_is_told(error):
    def fail(*_):
        raise error

    bench = Bench(fail)
    bench.press()
    bench.session.froze(bench.still())
    bench.session.close()
    assert bench.texts()[1] == "NOT SAVED: none"


def test_no_answer_is_given_up(monkeypatch):
    bench = Bench()
    bench.press()
    later_ns = time.monotonic_ns() + 16_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: later_ns)
    bench.session.turn()
    assert bench.session.state == "live"
