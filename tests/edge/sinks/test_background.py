"""A sink that is slow, blocks, raises or never ends costs records, and nothing else."""

from __future__ import annotations

import threading
import time

import pytest
from shots_for_tests import shot

from edge.errors import InputError
from edge.sinks import background
from edge.sinks.background import BackgroundSink
from edge.stop import Stop


class Inner:
    name, wants_drawn, goes_on = "inner", True, False

    def __init__(self, on_write=lambda number: True, on_close=lambda: None) -> None:
        self.ids: list[int] = []
        self.threads: set[str] = set()
        self.opened = self.closed = 0
        self._on_write, self._on_close = on_write, on_close

    def open(self) -> None:
        self.opened += 1

    def write(self, shot) -> bool:
        goes_on = self._on_write(len(self.ids))
        self.ids.append(shot.frame.frame_id)
        self.threads.add(threading.current_thread().name)
        return goes_on

    def close(self) -> None:
        self.closed += 1
        self._on_close()


def full() -> InputError:
    return InputError("to write x", got="No space left", next_step="free some")


def fail_at(number: int):
    def write(at: int) -> bool:
        if at == number:
            raise full()
        return True

    return write


def test_everything_arrives_in_order_on_another_thread():
    inner = Inner()
    sink = BackgroundSink(inner, Stop(), lossless=True)
    sink.open()
    for number in range(50):
        assert sink.write(shot(number))
    sink.close()
    sink.close()
    assert inner.ids == list(range(50))
    assert (inner.opened, inner.closed) == (1, 1)
    assert inner.threads == {"sink inner"}


def test_a_slow_sink_of_a_camera_loses_the_oldest_and_holds_nobody_up():
    inner = Inner(lambda _: time.sleep(0.05) is None)
    sink = BackgroundSink(inner, Stop(), lossless=False, capacity=3)
    sink.open()
    began_s = time.monotonic()
    for number in range(30):
        sink.write(shot(number))
    assert time.monotonic() - began_s < 0.5
    sink.close()
    assert inner.ids[-3:] == [27, 28, 29]
    assert sink.dropped == 30 - len(inner.ids) > 20


def test_a_recording_waits_for_a_slow_sink():
    inner = Inner(lambda _: time.sleep(0.01) is None)
    sink = BackgroundSink(inner, Stop(), lossless=True, capacity=2)
    sink.open()
    for number in range(30):
        sink.write(shot(number))
    sink.close()
    assert inner.ids == list(range(30)) and sink.dropped == 0


def test_a_wait_for_a_blocked_sink_ends_with_the_run(monkeypatch):
    monkeypatch.setattr(background, "CLOSE_WITHIN_S", 0.3)
    never, stop = threading.Event(), Stop()
    sink = BackgroundSink(Inner(lambda _: never.wait(60.0)), stop, lossless=True, capacity=1)
    sink.open()
    stop.request_after(0.4)
    began_s = time.monotonic()
    for number in range(5):
        sink.write(shot(number))
    with pytest.raises(InputError, match=r"to finish in 0\.3 s; got it hangs"):
        sink.close()
    assert time.monotonic() - began_s < 3.0
    never.set()


def test_what_the_sink_raises_is_raised_once_and_it_is_closed():
    inner = Inner(fail_at(2))
    sink = BackgroundSink(inner, Stop(), lossless=True)
    sink.open()
    with pytest.raises(InputError, match="No space left"):
        for number in range(1000):
            sink.write(shot(number))
            time.sleep(0.001)
    sink.close()
    assert inner.ids == [0, 1] and inner.closed == 1


def test_what_the_last_shot_or_the_end_raises_is_raised_by_close():
    def fail() -> None:
        raise full()

    for inner in (Inner(fail_at(0)), Inner(on_close=fail)):
        sink = BackgroundSink(inner, Stop(), lossless=True)
        sink.open()
        sink.write(shot(0))
        with pytest.raises(InputError, match="No space left"):
            sink.close()


def test_a_sink_that_asks_to_stop_is_heard():
    sink = BackgroundSink(Inner(lambda number: number < 2), Stop(), lossless=True)
    sink.open()
    end_s = time.monotonic() + 10.0
    while sink.write(shot(0)):
        assert time.monotonic() < end_s
        time.sleep(0.005)
    sink.close()


def test_a_sink_that_cannot_open_has_no_thread():
    class Broken(Inner):
        def open(self) -> None:
            raise full()

    sink = BackgroundSink(Broken(), Stop(), lossless=True)
    with pytest.raises(InputError):
        sink.open()
    sink.close()
