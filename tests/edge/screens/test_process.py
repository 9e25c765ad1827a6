"""A display library that aborts, hangs or talks nonsense takes nobody with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from shots_for_tests import shown

from edge.controls import Controls
from edge.errors import DermedgeError, InputError, RequestError
from edge.screens import process as process_module
from edge.screens.process import ScreenProcess
from edge.stop import Stop

PATIENCE_S = 20.0

_CHILD = """
import sys, time
from edge.errors import InputError, RequestError
from edge.screens import child

class Display:
    size_wh, is_filled = (800, 480), True
    shows = 0
    wishes = []
    def open(self): pass
    def show(self, picture):
        self.shows += 1
        return time.monotonic_ns()
    def poll(self):
        wishes, self.wishes = self.wishes, []
        return wishes
    def close(self): pass

child.display_of = lambda kind, options: Mine()
"""


@pytest.fixture
def screen_of(tmp_path: Path):
    """Screens whose child runs a display of the test's own; all are closed in the end."""
    made = []

    def make(body: str) -> tuple[ScreenProcess, Controls, Stop]:
        script = tmp_path / f"child{len(made)}.py"
        text = _CHILD + "class Mine(Display):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        script.write_text(text + "\nchild.main()\n")
        controls, stop = Controls(), Stop()
        made.append(ScreenProcess("window", {}, controls, stop, [str(script)]))
        return made[-1], controls, stop

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])
    yield make
    for screen in made:
        screen.close()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def until(condition, screen: ScreenProcess):
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        presented = screen.poll()
        if (found := condition(presented)) is not None and found is not False:
            return found
        time.sleep(0.005)
    raise AssertionError("nothing came")


def test_the_newest_picture_is_shown_and_its_instant_is_the_childs(screen_of):
    screen, _, _ = screen_of("""
    def show(self, picture):
        time.sleep(0.1)
        return time.monotonic_ns()
    """)
    screen.open()
    assert screen.room is not None and screen.room.size_wh == (800, 480)
    before_ns = time.monotonic_ns()
    for number in range(10):
        screen.show(shown(number))
    last = until(lambda p: p if p is not None and p.number == 9 else None, screen)
    assert before_ns + 2e8 <= last.at_ns <= time.monotonic_ns()
    assert last.at_ns - before_ns < 1e9  # those in between were left out


def test_the_child_sees_the_very_pixels_of_any_size(screen_of):
    screen, _, _ = screen_of("""
    def show(self, picture):
        print(picture.shape, int(picture.astype("int64").sum()), file=sys.stderr, flush=True)
        return time.monotonic_ns()
    """)
    screen.open()
    rng = np.random.default_rng(1)
    sizes = [(48, 64), (48, 64), (96, 128), (480, 800), (64, 48), (2160, 3840)]
    expected = []
    for number, (height, width) in enumerate(sizes):
        picture = rng.integers(0, 256, (height, width, 3), np.uint8)
        expected.append(f"{picture.shape} {int(picture.astype('int64').sum())}")
        screen.show(shown(number, picture))
        until(lambda p, n=number: p is not None and p.number == n, screen)
    until(lambda _: len(screen._child.said) == len(sizes), screen)
    assert list(screen._child.said) == expected


def test_what_the_user_does_comes_through_with_its_instant(screen_of):
    screen, controls, stop = screen_of("""
    wishes = ["shutter", "closed"]
    """)
    before_ns = time.monotonic_ns()
    screen.open()
    until(lambda _: stop.is_set, screen)
    command = controls.next()
    assert command is not None and command.wish == "shutter" and command.origin == "window"
    assert before_ns < command.pressed_ns < time.monotonic_ns()
    assert stop.reason is not None and stop.reason.exit_code == 0


def test_what_cannot_be_opened_is_told_in_its_own_words(screen_of):
    screen, _, _ = screen_of("""
    def open(self):
        raise RequestError("a display", got="none", next_step="plug one in")
    """)
    with pytest.raises(RequestError, match="expected a display; got none; plug one in"):
        screen.open()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def open(self): import os; sys.stderr.write('xcb: no display'); os.abort()", "xcb"),
        ("def open(self): raise ZeroDivisionError('oh')", "ZeroDivisionError: oh"),
        ("def open(self): sys.exit(3)", "no word"),
    ],
)
def test_a_child_that_dies_while_opening_is_one_line(screen_of, body: str, words: str):
    screen, _, _ = screen_of(body)
    with pytest.raises(InputError, match=words) as caught:
        screen.open()
    assert "\n" not in str(caught.value)


def test_a_child_that_hangs_while_opening_is_given_up(screen_of, monkeypatch):
    monkeypatch.setattr(process_module, "OPEN_WITHIN_S", 1.0)
    screen, _, _ = screen_of("def open(self): time.sleep(600)")
    with pytest.raises(InputError, match="no answer in 1 s"):
        screen.open()
    child = screen._child
    screen.close()
    assert child is not None and child.exit_code is not None


def test_each_attempt_that_takes_too_long_is_followed_by_one_that_may_take_longer(
    screen_of, tmp_path, monkeypatch
):
    monkeypatch.setattr(process_module, "OPEN_WITHIN_S", 0.5)
    monkeypatch.setattr(process_module, "OPEN_WITHIN_AT_MOST_S", 1.0)
    slow = tmp_path / "slow"
    slow.touch()
    screen, _, _ = screen_of(f"""
    def open(self):
        import os
        while os.path.exists({str(slow)!r}):
            time.sleep(0.01)
    """)
    for words in ("0.5 s", "1 s", "1 s", "2 s", "4 s"):
        with pytest.raises(InputError, match=f"no answer in {words};"):
            screen.open()
        screen.close()
        if words == "1 s":  # the bound has held: the rest has room to grow
            monkeypatch.setattr(process_module, "OPEN_WITHIN_AT_MOST_S", PATIENCE_S)
    slow.unlink()
    screen.open()
    screen.close()
    slow.touch()
    with pytest.raises(InputError, match=r"no answer in 0\.5 s"):
        screen.open()


def test_one_that_is_closed_while_it_opens_is_not_waited_for(screen_of):
    screen, _, _ = screen_of("def open(self): time.sleep(600)")
    threading.Timer(0.5, screen.close).start()
    began_s = time.monotonic()
    with pytest.raises(InputError):
        screen.open()
    assert time.monotonic() - began_s < PATIENCE_S / 2


def test_a_child_that_hangs_while_showing_is_killed_and_a_new_one_shows(screen_of, monkeypatch):
    monkeypatch.setattr(process_module, "ANSWER_WITHIN_S", 0.5)
    screen, _, _ = screen_of("""
    def show(self, picture):
        if picture[0, 0, 0] == 7:
            time.sleep(600)
        return time.monotonic_ns()
    """)
    screen.open()
    bad = np.full((48, 64, 3), 7, np.uint8)
    began_s = time.monotonic()
    with pytest.raises(InputError, match="has not answered"):
        screen.show(shown(1, bad))
        until(lambda _: None, screen)
    assert time.monotonic() - began_s < 3.0
    screen.close()
    screen.open()
    screen.show(shown(2))
    until(lambda p: p is not None and p.number == 2, screen)


def test_a_display_that_goes_away_is_told(screen_of):
    screen, _, _ = screen_of("""
    def poll(self):
        if self.shows:
            raise InputError("the display HDMI-A-1", got="it was unplugged", next_step="plug it in")
        return ()
    """)
    screen.open()
    with pytest.raises(InputError, match="unplugged"):
        screen.show(shown(1))
        until(lambda _: None, screen)


def test_a_child_that_is_killed_is_told(screen_of):
    screen, _, _ = screen_of("pass")
    screen.open()
    assert screen._child is not None
    os.kill(screen._child.pid, signal.SIGKILL)
    with pytest.raises(DermedgeError, match="-9|Broken pipe"):
        until(lambda _: None, screen)


def test_twenty_starts_leave_nothing_behind(screen_of):
    screen, _, _ = screen_of("pass")
    screen.open()
    screen.show(shown(0))
    screen.close()
    files = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        screen.open()
        screen.show(shown(number))
        until(lambda p: p is not None, screen)
        screen.close()
        screen.close()
    assert len(os.listdir("/proc/self/fd")) == files
    assert "defunct" not in subprocess.run(["ps", "--ppid", str(os.getpid())],
                                           capture_output=True, text=True).stdout  # fmt: skip


def test_a_screen_that_another_thread_has_opened_lives_on(screen_of):
    """As screens are that come back: the thread is gone by the time of the first picture."""
    screen, _, _ = screen_of("pass")
    opener = threading.Thread(target=screen.open)
    opener.start()
    opener.join()
    time.sleep(1.0)
    screen.show(shown(1))
    until(lambda p: p is not None and p.number == 1, screen)


_PARENT = """
import sys, time
from edge.controls import Controls
from edge.screens.process import ScreenProcess
from edge.stop import Stop
screen = ScreenProcess("window", {}, Controls(), Stop(), [sys.argv[1]])
screen.open()
print(screen._child.pid, flush=True)
time.sleep(600)
"""


def test_a_child_dies_with_its_parent(screen_of, tmp_path: Path):
    screen_of("def poll(self): time.sleep(600)")
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "child0.py")], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    until_s = time.monotonic() + 5.0
    while Path(f"/proc/{child}").exists() and time.monotonic() < until_s:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text()
