"""Screens that are slow, late or away hold up nobody."""

from __future__ import annotations

import threading
import time

import pytest

from edge.errors import RequestError
from edge.health import Health
from edge.screens.group import ScreenGroup
from edge.stop import Stop


class Screen:
    room = None

    def __init__(self, name: str, opens=None) -> None:
        self.name = name
        self._opens = opens or (lambda: None)

    def open(self) -> None:
        self._opens()

    def poll(self):
        return None

    def show(self, shown):
        return None

    def close(self) -> None: ...


def never() -> None:
    raise RequestError("a display", got="none", next_step="plug it in")


@pytest.fixture
def hangs():
    """Opening that hangs until the test is over."""
    over = threading.Event()
    yield lambda: over.wait(60.0)
    over.set()


def test_a_display_that_hangs_while_opening_holds_up_nobody(hangs):
    began_s = time.monotonic()
    with ScreenGroup([Screen("a", hangs), Screen("b")], Health(), wait_s=0.0) as screens:
        while not screens.are_there and time.monotonic() - began_s < 5.0:
            screens.poll()
        assert screens.are_there
    assert time.monotonic() - began_s < 5.0


def test_a_stop_ends_the_wait_for_a_display(hangs):
    stop = Stop()
    stop.request_after(0.1)
    began_s = time.monotonic()
    with ScreenGroup([Screen("a", hangs)], Health(), must_open=True, stop=stop) as screens:
        assert not screens.are_there
    assert time.monotonic() - began_s < 5.0


def test_one_screen_is_enough():
    with ScreenGroup([Screen("a", never), Screen("b")], Health(), must_open=True) as screens:
        assert screens.are_there


def test_none_is_not():
    screens = [Screen("a", never), Screen("b", never)]
    with pytest.raises(RequestError, match="a display"):
        ScreenGroup(screens, Health(), must_open=True).__enter__()
