"""A camera library that hangs, aborts or raises takes nobody with it, and no pixel is mixed up."""

from __future__ import annotations

import gc
import os
import signal
import textwrap
import threading
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from edge.errors import InputError, RequestError
from edge.sources import camera_process
from edge.sources.base import TakesStills
from edge.sources.camera_process import CameraProcess
from edge.sources.lost import SourceLost

ROOT = Path(__file__).parents[3]

_CHILD = """
import os, signal, sys, time
import numpy as np
from edge.errors import InputError, RequestError
from edge.sources import camera_child
from edge.sources.camera_child import FrameFacts, Opened
from edge.sources.lost import SourceLost

class Camera:
    count = -1
    def __init__(self, **options): self.options = options
    def open(self): return Opened("mine", (64, 48))
    def facts(self, **more):
        now = time.monotonic_ns()
        return FrameFacts(self.count, now, "sensor", now - 1000, dict(self.options), **more)
    def frame(self, out):
        self.count += 1
        out[:] = self.count
        return self.facts()
    def still(self, pressed_ns):
        return np.full((96, 128, 3), 200, np.uint8), self.facts()
    def close(self): pass

camera_child.camera_of = lambda kind, options: Mine(**options)
"""


@pytest.fixture
def camera_of(tmp_path: Path, monkeypatch):
    """Sources whose child runs a camera of the test's own; all are closed in the end."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made: list[CameraProcess] = []

    def make(body: str = "pass", **options) -> CameraProcess:
        script = tmp_path / f"child{len(made)}.py"
        text = _CHILD + "class Mine(Camera):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        script.write_text(text + "\ncamera_child.main()\n")
        known = {"silent_after_s": 20.0, "still_within_s": 20.0, **options}
        made.append(CameraProcess("argus", {"size": 3}, "0", module=[str(script)], **known))
        return made[-1]

    yield make
    for source in made:
        source.close()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_frames_come_with_what_the_camera_knows_of_them(camera_of):
    source = camera_of()
    source.open()
    assert source.name == "argus:mine" and source.is_live and isinstance(source, TakesStills)
    frames = [source.read() for _ in range(3)]
    assert [f.frame_id for f in frames] == [0, 1, 2]
    assert [int(f.pixels.max()) for f in frames] == [0, 1, 2]
    assert frames[0].size_wh == (64, 48) and frames[0].captured_clock == "monotonic"
    assert frames[0].captured_by == "sensor" and frames[0].settings == {"size": 3}
    assert frames[0].captured_ns - frames[0].exposure_began_ns == 1000


def test_a_frame_that_is_held_is_not_written_into_and_others_are_used_again(camera_of):
    source = camera_of()
    source.open()
    held = source.read()
    seen = set()
    for number in range(1, 30):
        frame = source.read()
        seen.add(frame.pixels.ctypes.data)
        assert int(frame.pixels[0, 0, 0]) == number
        assert not np.shares_memory(frame.pixels, held.pixels)
    assert int(held.pixels.max()) == 0 and len(seen) <= 2


def mapped(pid: int) -> int:
    """Buffers of the parent that a child has mapped."""
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:dermedge-frame")


def test_a_slow_recorder_makes_neither_side_grow(camera_of):
    """It holds more frames than buffers are kept: the others are gone with their frames."""
    source = camera_of()
    source.open()
    held: deque = deque(maxlen=13)
    for number in range(60):
        held.append(source.read())
        assert [int(f.pixels[0, 0, 0]) for f in held] == list(range(number + 1))[-13:]
    assert mapped(source._child.pid) <= 9


def test_opening_again_leaves_nothing_behind(camera_of):
    """Without the garbage collector's help: at 4K its next visit may be a gigabyte away."""
    source = camera_of()
    source.open()
    source.read()
    source.close()
    before = len(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        for _ in range(3):
            source.open()
            source.read()
            source.close()
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


def test_a_camera_is_closed_in_order_although_everybody_is_told_to_end(camera_of, tmp_path):
    """A service manager may tell every process at once; a sensor needs its time."""
    closed = tmp_path / "closed"
    source = camera_of(f"""
    def close(self):
        time.sleep(1.5)
        open({str(closed)!r}, "w").close()
    """)
    source.open()
    os.kill(source._child.pid, signal.SIGTERM)
    assert source.read() is not None
    source.close()
    assert closed.exists()


def test_frames_outlive_the_source(camera_of):
    source = camera_of()
    source.open()
    frame = source.read()
    frame = source.read()
    source.close()
    assert frame.pixels.min() == frame.pixels.max() == 1


def test_frames_that_the_camera_lost_are_gaps(camera_of):
    source = camera_of("""
    def frame(self, out):
        self.count += 3
        return self.facts()
    """)
    source.open()
    assert [source.read().frame_id for _ in range(3)] == [0, 3, 6]


def test_a_still_has_its_own_size_and_leaves_no_gap(camera_of):
    source = camera_of()
    source.open()
    source.read()
    still = source.take_still(time.monotonic_ns())
    assert still.size_wh == (128, 96) and (still.pixels == 200).all()
    assert [still.frame_id, source.read().frame_id, source.read().frame_id] == [1, 2, 3]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("def frame(self, out): os.abort()", "its process ended (-6): no word"),
        ("def frame(self, out): sys.exit('the sensor is on fire')", "(1): the sensor is on fire"),
        ("def frame(self, out): os.kill(os.getpid(), signal.SIGSEGV)", "its process ended (-11)"),
        ("def frame(self, out): raise SourceLost('x', got='no light', next_step='z')", "no light"),
    ],
)
def test_a_camera_that_breaks_is_lost_with_its_last_words(camera_of, body, words):
    source = camera_of(body)
    source.open()
    with pytest.raises(SourceLost) as caught:
        source.read()
    assert words in caught.value.got
    with pytest.raises(SourceLost, match="not open"):
        source.read()


@pytest.mark.parametrize("ask", ["read", "take_still"])
def test_a_camera_that_hangs_is_ended(camera_of, ask):
    body = """
    def frame(self, out):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: time.sleep(1)
    still = frame
    """
    source = camera_of(body, silent_after_s=0.3, still_within_s=0.3)
    source.open()
    pid = source._child.pid
    with pytest.raises(SourceLost, match="no answer for 0.3 s: it hangs"):
        source.read() if ask == "read" else source.take_still(0)
    assert gone(pid)


def test_a_camera_that_is_stopped_is_ended(camera_of):
    source = camera_of(silent_after_s=0.3)
    source.open()
    pid = source._child.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(SourceLost, match="it hangs"):
        source.read()
    assert gone(pid)


def test_a_camera_that_hangs_while_opening_is_ended(camera_of, monkeypatch):
    monkeypatch.setattr(camera_process, "OPEN_WITHIN_S", 0.5)
    source = camera_of("def open(self): time.sleep(99)")
    with pytest.raises(SourceLost, match="no answer for 0.5 s"):
        source.open()
    assert source._child is None


def test_a_library_that_is_missing_is_one_line(camera_of):
    source = camera_of("""
    def open(self): raise RequestError("gi", got="no gi", next_step="install gi")
    """)
    with pytest.raises(RequestError, match="expected gi; got no gi; install gi"):
        source.open()
    assert source._child is None


def test_a_frame_that_cannot_be_had_ends_nothing(camera_of):
    source = camera_of("""
    def frame(self, out):
        self.count += 1
        if self.count == 1:
            raise InputError("a frame", got="half of one", next_step="wait")
        return self.facts()
    """)
    source.open()
    source.read()
    with pytest.raises(InputError, match="half of one") as caught:
        source.read()
    assert not isinstance(caught.value, SourceLost)
    assert source.read().frame_id == 2


def test_a_camera_that_is_opened_again_counts_on_and_gets_what_it_held(camera_of):
    source = camera_of("""
    def frame(self, out):
        self.count += 1
        return self.facts(held={"gain": 2.0})
    """)
    source.open()
    assert source.read().settings == {"size": 3}
    source.close()
    source.open()
    frame = source.read()
    assert frame.frame_id == 1 and frame.settings == {"size": 3, "held": {"gain": 2.0}}


def test_close_from_another_thread_ends_a_read_that_waits(camera_of):
    source = camera_of("def frame(self, out): time.sleep(99)")
    source.open()
    pid = source._child.pid
    got = []
    reader = threading.Thread(target=lambda: got.append(source.read()))
    reader.start()
    time.sleep(0.2)
    source.close()
    reader.join(10.0)
    assert got == [None] and gone(pid)
    assert source.read() is None
    source.close()
