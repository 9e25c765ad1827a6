"""The ``v4l2:`` source on the kernel's own test driver, vivid: run as root inside a guest.

vivid gives real frames through the real interface, and real faults on request: flagged and dropped
buffers, fatal errors, a disconnect, wrapped counters, every colour coding. Prints a line for each
check and ends with exit code 1 where one failed. Needs modprobe and v4l2-ctl.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.errors import InputError
from edge.frame import Frame
from edge.sources.lost import SourceLost
from edge.sources.uri import source_from_uri
from edge.sources.v4l2 import V4l2Source
from edge.sources.v4l2_colour import ColourProfile
from edge.sources.v4l2_formats import Wish

NODE = "/dev/video0"
SMALL = Wish((640, 480), 25.0)
WEBCAM = ("node_types=0x1", "num_inputs=1", "input_types=0")


def sh(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def load(*options: str, number: str = "0") -> None:
    """Load vivid anew; fails while anybody has a node open or mapped."""
    sh("modprobe", "-r", "vivid")
    given = options or ("n_devs=1", *WEBCAM, f"vid_cap_nr={number}")
    sh("modprobe", "vivid", *given)
    sh("udevadm", "settle")


def control(*pairs: str, node: str = NODE) -> None:
    sh("v4l2-ctl", "-d", node, "-c", ",".join(pairs))


@contextmanager
def opened(place: str = "", **options: object) -> Iterator[V4l2Source]:
    options.setdefault("wish", SMALL)
    with V4l2Source(place, **options) as source:  # type: ignore[arg-type]
        yield source


def frames(source: V4l2Source, count: int) -> list[Frame]:
    taken = [source.read() for _ in range(count)]
    assert all(taken)
    return taken  # type: ignore[return-value]


def age_ms(frame: Frame) -> float:
    assert frame.captured_ns is not None
    return (time.monotonic_ns() - frame.captured_ns) / 1e6


def raises(kind: type[Exception], words: str, do: Callable[[], object]) -> Exception:
    try:
        do()
    except kind as error:
        assert words in str(error), error
        return error
    raise AssertionError(f"no {kind.__name__} about {words!r}")


def check_stream() -> None:
    with source_from_uri("v4l2:?size=640x480&fps=25") as source:
        assert source.name == "v4l2:platform:vivid-000", source.name
        taken = []
        for _ in range(40):
            taken.append(source.read())
            assert 0 < age_ms(taken[-1]) < 1000, age_ms(taken[-1])
        ids = [frame.frame_id for frame in taken]
        assert ids[0] == 0 and all(b > a for a, b in zip(ids, ids[1:], strict=False)), ids
        times = np.diff([frame.captured_ns for frame in taken]) / np.diff(ids) / 1e6
        assert abs(np.median(times) - 40) < 2, times
        for frame in taken:
            assert frame.size_wh == (640, 480) and frame.captured_by == "driver"
            assert frame.exposure_began_ns <= frame.captured_ns - 80_000_000
            assert frame.settings["colour_locked"] is False
            assert frame.settings["frame_interval_us"] == 40_000


def check_nearest_mode_is_noted() -> None:
    with opened(wish=Wish((700, 500), 33.0)) as source:
        (frame,) = frames(source, 1)
        assert frame.size_wh == (640, 480), frame.size_wh
        assert any("640x480 instead of 700x500" in note for note in frame.notes), frame.notes
        assert any("25 frames/s instead of 33" in note for note in frame.notes), frame.notes
    raises(InputError, "got YUYV, ", lambda: opened(wish=Wish(pixel_format="MJPG")).__enter__())


BARS = [
    (255, 255, 255),
    (255, 255, 0),
    (0, 255, 255),
    (0, 255, 0),
    (255, 0, 255),
    (255, 0, 0),
    (0, 0, 255),
    (0, 0, 0),
]


def check_colours_of_every_coding() -> None:
    try:
        for encoding in (0, 1, 2, 3, 4, 6, 8):
            for quantization in (0, 1, 2):
                control(
                    "test_pattern=1",  # 100 % colour bars
                    f"y_cbcr_encoding={encoding}",
                    f"quantization={quantization}",
                )
                with opened() as source:
                    frame = frames(source, 2)[1]
                bars = frame.pixels[400:470].reshape(70, 8, 80, 3)[:, :, 30:50].mean((0, 2))
                worst = np.abs(bars - BARS).max()
                assert worst <= 4, (encoding, quantization, bars.round())
        control("y_cbcr_encoding=7")
        raises(InputError, "a colour coding", lambda: opened().__enter__())
    finally:
        control("test_pattern=0", "y_cbcr_encoding=0", "quantization=0")


def check_dropped_buffers_are_gaps() -> None:
    with opened() as source:
        frames(source, 5)
        control("percentage_of_dropped_buffers=50")
        ids = [frame.frame_id for frame in frames(source, 20)]
        control("percentage_of_dropped_buffers=0")
        assert ids[-1] - ids[0] > 25, ids
        assert source.refused == 0


def check_a_flagged_buffer_is_refused_and_the_stream_goes_on() -> None:
    with opened() as source:
        before = frames(source, 3)[-1].frame_id
        control("inject_v4l2_buf_flag_error=1")
        refused = 0
        for _ in range(5):
            try:
                source.read()
            except SourceLost:
                raise
            except InputError as error:
                assert "flags as damaged" in str(error), error
                refused += 1
        assert source.refused == 1 and refused <= 1, (source.refused, refused)
        assert source.read().frame_id > before + 4


def check_start_of_exposure_is_believed() -> None:
    control("timestamp_source=1")
    try:
        with opened() as source:
            for frame in frames(source, 3):
                assert frame.exposure_began_ns == frame.captured_ns
    finally:
        control("timestamp_source=0")


def check_wrapped_counters() -> None:
    control("wrap_sequence_number=1")
    try:
        with opened() as source:
            ids = [frame.frame_id for frame in frames(source, 200)]
            assert all(0 < b - a < 10 for a, b in zip(ids, ids[1:], strict=False)), ids
            assert source._numbers.counted
    finally:
        control("wrap_sequence_number=0")
    for wrap in (1, 2):
        control(f"wrap_timestamp={wrap}")
        try:
            with opened() as source:
                for frame in frames(source, 5):
                    assert 0 <= age_ms(frame) < 1000, age_ms(frame)
                    assert frame.captured_by == "arrival"
                    assert any("another clock" in note for note in frame.notes)
        finally:
            control("wrap_timestamp=0")


def check_a_slow_reader_gets_the_newest() -> None:
    with opened() as source:
        for pause_s in (0.01, 0.13, 0.5, 1.5):
            for _ in range(3):
                time.sleep(pause_s)
                frame = source.read()
                # What had waited in the driver would be as old as the pause.
                assert age_ms(frame) < max(1000 * pause_s, 300) / 2, (pause_s, age_ms(frame))


def check_still() -> None:
    with opened(still_size_wh=(1280, 720)) as source:
        last = frames(source, 5)[-1]
        pressed_ns = time.monotonic_ns()
        still = source.take_still(pressed_ns)
        assert still.size_wh == (1280, 720)
        assert still.exposure_began_ns > pressed_ns
        assert still.frame_id == last.frame_id + 1
        after = frames(source, 5)
        assert after[0].frame_id == still.frame_id + 1 and after[0].size_wh == (640, 480)
    with opened(still_size_wh=(640, 480)) as source:  # no change of format
        frames(source, 2)
        for _ in range(3):
            pressed_ns = time.monotonic_ns()
            still = source.take_still(pressed_ns)
            assert still.exposure_began_ns > pressed_ns
        assert source.read().frame_id > still.frame_id


def check_a_still_that_fails_leaves_the_stream() -> None:
    with opened(still_size_wh=(1280, 720), still_within_s=1.0) as source:
        frames(source, 2)
        for fault in ("inject_vidioc_streamon_error", "inject_vidioc_reqbufs_error"):
            control(f"{fault}=1")
            raises(InputError, "a still from", lambda: source.take_still(time.monotonic_ns()))
            assert all(frame.size_wh == (640, 480) for frame in frames(source, 3))
        in_future_ns = time.monotonic_ns() + 60_000_000_000
        raises(InputError, "exposed after the press", lambda: source.take_still(in_future_ns))
        frames(source, 3)


def check_silence_and_close_from_outside() -> None:
    with opened(silent_after_s=1.0) as source:
        frames(source, 2)
        control("percentage_of_dropped_buffers=100")
        raises(SourceLost, "no frame for 1 s", lambda: frames(source, 5))
        raises(SourceLost, "no frame for 1 s", source.read)  # until it is opened again
        source.close()
        source.open()
        threading.Timer(0.3, source.close).start()
        assert source.read() is None
        assert source.read() is None
        control("percentage_of_dropped_buffers=0")
        source.open()
        frames(source, 2)


def check_close_during_a_still() -> None:
    with opened(still_size_wh=(1280, 720)) as source:
        frames(source, 2)
        control("percentage_of_dropped_buffers=100")
        threading.Timer(0.5, source.close).start()
        raises(InputError, "was closed", lambda: source.take_still(time.monotonic_ns()))
        assert source.read() is None
        control("percentage_of_dropped_buffers=0")
        source.close()
        source.open()
        assert frames(source, 2)[1].size_wh == (640, 480)


def check_a_fatal_error_is_a_loss_and_can_be_opened_again() -> None:
    with opened() as source:
        last = frames(source, 3)[-1].frame_id
        control("inject_fatal_streaming_error=1")
        raises(SourceLost, "has failed", lambda: frames(source, 5))
        source.close()
        source.open()
        assert frames(source, 3)[0].frame_id == last + 1


def check_unplugged_and_back_under_another_number() -> None:
    with opened() as source:
        last = frames(source, 3)[-1].frame_id
        control("disconnect=1")
        raises(SourceLost, "unplugged", lambda: frames(source, 5))
        source.close()
        load(number="1")  # only possible because nothing of the old one is open or mapped
        assert not os.path.exists("/dev/video0")
        source.open()
        first = frames(source, 3)[0]
        assert first.frame_id == last + 1
        assert first.source == "v4l2:platform:vivid-000"
        sh("v4l2-ctl", "-d", "/dev/video1", "-c", "disconnect=1")
        raises(SourceLost, "unplugged", lambda: source.take_still(time.monotonic_ns()))
        sh("modprobe", "-r", "vivid")
        source.close()
        raises(InputError, "a camera at v4l2:platform:vivid-000", source.open)
        raises(SourceLost, "not open", source.read)
        source.close()
    load()


def check_a_held_profile() -> None:
    profile = ColourProfile("desk", settle_s=1.0, matters=("gain",))
    with opened(profile=profile) as source:
        first = source.read()
        assert first.settings["colour_locked"] is False
        time.sleep(1.0)
        deadline_s = time.monotonic() + 5
        frame = first
        while not frame.settings["colour_locked"] and time.monotonic() < deadline_s:
            frame = source.read()
        # vivid has gain, and neither exposure nor white balance.
        locked = {"exposure": None, "gain": True, "white_balance": None}
        assert frame.settings["locked"] == locked, frame.settings
        assert frame.settings["colour_locked"] is True
        assert frame.settings["colour_profile"] == "desk"
        gain = frame.settings["controls"]["gain"]
        time.sleep(2.5)  # its automatic changes the gain every second
        assert f"gain: {gain}\n" in sh("v4l2-ctl", "-d", NODE, "-C", "gain")
        assert "gain_automatic: 0" in sh("v4l2-ctl", "-d", NODE, "-C", "gain_automatic")
        control(f"gain={gain ^ 1}")  # another program meddles
        time.sleep(1.1)
        settings = frames(source, 2)[-1].settings
        assert settings["colour_locked"] is False and settings["locked"]["gain"] is False
        source.close()
        control("gain_automatic=1")
        source.open()  # comes back to the same values, at once
        settings = frames(source, 5)[-1].settings
        assert settings["colour_locked"] is True and settings["controls"]["gain"] == gain
    with opened(profile=ColourProfile("hold", settle_s=0.1)) as source:
        settings = frames(source, 40)[-1].settings
        assert settings["locked"]["gain"] is True
        assert settings["colour_locked"] is False  # exposure cannot be held
    control("gain_automatic=1")


def check_memory_is_flat() -> None:
    with opened() as source:
        frames(source, 3)
        resident = resident_kb()
        last = source.read()
        for _ in range(100):
            last = source.read()
        assert source._pool.made == 3, source._pool.made
        assert resident_kb() < resident + 2000, (resident, resident_kb())
        assert last is not None


def resident_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def check_opening_and_closing_leaves_nothing() -> None:
    def open_once() -> None:
        with opened() as source:
            source.read()

    open_once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        open_once()
    assert len(os.listdir("/proc/self/fd")) == before


def check_no_permission() -> None:
    os.seteuid(65534)
    try:
        raises(InputError, "group video", lambda: opened().__enter__())
    finally:
        os.seteuid(0)


def check_busy_names_the_other_program() -> None:
    other = subprocess.Popen(
        ["v4l2-ctl", "-d", NODE, "--stream-mmap"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1.0)
        words = f"in use by v4l2-ctl (process {other.pid})"
        raises(InputError, words, lambda: opened().__enter__())
    finally:
        other.terminate()
        other.wait()
    with opened() as source:
        source.read()


def check_several_cameras() -> None:
    load("n_devs=2", "node_types=0x1,0x1", "num_inputs=1,1", "input_types=0,0", "vid_cap_nr=0,1")
    error = raises(InputError, "expected one camera; got 2: ", lambda: opened().__enter__())
    for name in ("v4l2:platform:vivid-000 (", "v4l2:platform:vivid-001 ("):
        assert name in str(error), error
    for place in ("platform:vivid-001", "/dev/video1"):
        with opened(place) as source:
            assert source.read().source == "v4l2:platform:vivid-001"
    raises(InputError, "a camera at v4l2:usb-0ac8:0345", opened("usb-0ac8:0345").__enter__)
    load("n_devs=1", *WEBCAM, "multiplanar=2", "vid_cap_nr=0")
    raises(InputError, "multi-planar", opened(NODE).__enter__)
    load()


def main() -> int:
    load()
    checks = {name: check for name, check in globals().items() if name.startswith("check_")}
    failed = 0
    for name, check in checks.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        began_s = time.monotonic()
        try:
            check()
            words = "ok"
        except Exception:
            traceback.print_exc(file=sys.stdout)
            words, failed = "FAILED", failed + 1
            load()
        print(f"{words:6} {name} ({time.monotonic() - began_s:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
