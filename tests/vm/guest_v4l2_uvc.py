"""The ``v4l2:`` source on uvcvideo, with a USB camera in software: run as root inside a guest.

Identity by VID, PID and serial through the real sysfs, unplugging and coming back, MJPG and YUYV,
instants compared with those at which the camera really exposed, and a colour lock with everything
that a camera can have. Needs dummy_hcd, raw_gadget and uvcvideo; see uvc_camera.py.
"""

from __future__ import annotations

import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as copied into the guest

from edge.errors import InputError
from edge.frame import Frame
from edge.sources.lost import SourceLost
from edge.sources.v4l2 import V4l2Source
from edge.sources.v4l2_colour import MATTERS, ColourProfile
from edge.sources.v4l2_formats import Wish
from tests.vm.uvc_camera import drawn_ms

CAMERA = Path(__file__).with_name("uvc_camera.py")
IDS = "0ac8:0345"
SERIAL = "DM 0042"
NAME = "v4l2:usb-0ac8:0345:DM_0042"
MJPG = Wish((640, 480), 15.0, "MJPG")
YUYV = Wish((320, 240), 15.0, "YUYV")


class Plugged:
    """The camera, plugged in."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CAMERA), IDS, SERIAL],
            stdin=subprocess.PIPE,
            text=True,
        )
        self.wait(lambda: bool(self.nodes()))

    def nodes(self) -> list[Path]:
        return sorted(
            path
            for path in Path("/sys/class/video4linux").glob("video*")
            if "Software Camera" in (path / "name").read_text()
        )

    def wait(self, ready: Callable[[], bool]) -> None:
        until_s = time.monotonic() + 20
        while not ready():
            assert time.monotonic() < until_s, "the camera does not come or go"
            time.sleep(0.1)
        subprocess.run(["udevadm", "settle"], check=True)

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def unplug(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def plugged() -> Iterator[Plugged]:
    camera = Plugged()
    try:
        yield camera
    finally:
        camera.unplug()
        camera.wait(lambda: not camera.nodes())


def raises(kind: type[Exception], words: str, do: Callable[[], object]) -> None:
    try:
        do()
    except kind as error:
        assert words in str(error), error
        return
    raise AssertionError(f"no {kind.__name__} about {words!r}")


def whole(source: V4l2Source) -> Frame:
    """The next whole frame: the first of a stream may be the rest of an old one."""
    for _ in range(5):
        try:
            frame = source.read()
        except SourceLost:
            raise
        except InputError as error:
            print("  refused:", error.got, flush=True)
            continue
        assert frame is not None
        return frame
    raise AssertionError("no whole frame in five")


def really_began_ns(frame: Frame) -> int:
    """When the camera says in the picture that it began to expose, to a millisecond."""
    return drawn_ms(frame.pixels) * 1_000_000


def brightness(frame: Frame) -> int:
    return int(frame.pixels[frame.pixels.shape[0] // 2, frame.pixels.shape[1] // 2, 1])


def check_identity_and_formats() -> None:
    with plugged():
        for place in ("", "usb-0ac8:0345", NAME.removeprefix("v4l2:"), "usb-0ac8:0345@1-1"):
            with V4l2Source(place, wish=MJPG) as source:
                assert source.name == NAME, source.name
                frame = whole(source)
                assert frame.source == NAME and frame.captured_by == "driver"
                assert frame.settings["pixel_format"] == "MJPG"
        with V4l2Source(wish=YUYV) as source:
            frame = whole(source)
            assert frame.settings["pixel_format"] == "YUYV"
            exposure_us = frame.settings["exposure_us"]
            assert abs(brightness(frame) - exposure_us / 400) < 30, (brightness(frame), exposure_us)
        raises(InputError, "a camera at v4l2:usb-0ac8:0346", V4l2Source("usb-0ac8:0346").open)


def check_what_is_claimed_of_the_exposure_is_true() -> None:
    with plugged():
        for wish in (MJPG, YUYV):
            with V4l2Source(wish=wish) as source:
                last_id = -1
                for _ in range(30):
                    frame = whole(source)
                    assert frame.frame_id > last_id
                    last_id = frame.frame_id
                    assert frame.exposure_began_ns is not None
                    early_ms = (really_began_ns(frame) - frame.exposure_began_ns) / 1e6
                    assert -1 <= early_ms < 1000, early_ms  # drawn to a millisecond


def check_stills_are_exposed_after_the_press() -> None:
    with plugged(), V4l2Source(wish=MJPG, still_settle_frames=3) as source:
        for _ in range(3):
            before = whole(source)
            pressed_ns = time.monotonic_ns()
            still = source.take_still(pressed_ns)
            assert still.size_wh == (1280, 960)
            assert really_began_ns(still) >= pressed_ns - 1_000_000
            assert still.frame_id == before.frame_id + 1
            after = whole(source)
            assert after.size_wh == (640, 480) and after.frame_id > still.frame_id


def check_torn_and_flagged_frames() -> None:
    with plugged() as camera, V4l2Source(wish=MJPG) as source:
        whole(source)
        camera.tell("torn")
        refused = source.refused
        raises(
            InputError, "in the middle of the picture", lambda: [source.read() for _ in range(9)]
        )
        assert source.refused == refused + 1
        last = whole(source).frame_id
        camera.tell("error")  # uvcvideo keeps it to itself
        ids = [whole(source).frame_id for _ in range(9)]
        assert ids[-1] - last == 10, ids
        camera.tell("silent")
        raises(SourceLost, "no frame for", lambda: [source.read() for _ in range(9)])
        camera.tell("go")
        source.close()
        source.open()
        whole(source)


def check_unplugged_and_back_under_another_number() -> None:
    camera = Plugged()
    with V4l2Source(wish=MJPG, profile=ColourProfile("hold", settle_s=0.5)) as source:
        last = whole(source)
        settled = until_locked(source)
        camera.unplug()
        raises(SourceLost, "unplugged", lambda: [source.read() for _ in range(9)])
        camera.wait(lambda: not camera.nodes())
        # Somebody else takes the number meanwhile.
        subprocess.run(["modprobe", "vivid", "n_devs=1", "node_types=0x1"], check=True)
        try:
            source.close()
            raises(InputError, f"a camera at {NAME}", source.open)
            source.close()
            again = Plugged()
            try:
                assert "video0" not in [node.name for node in again.nodes()]
                source.open()
                frame = whole(source)
                assert frame.source == NAME and frame.frame_id > last.frame_id
                frame = until_locked(source, frames=10)
                # The camera has forgotten; the lock has not.
                assert frame.settings["controls"] == settled.settings["controls"]
            finally:
                source.close()
                again.unplug()
                again.wait(lambda: not again.nodes())
        finally:
            subprocess.run(["modprobe", "-r", "vivid"], check=True)


def until_locked(source: V4l2Source, frames: int = 100) -> Frame:
    for _ in range(frames):
        frame = whole(source)
        if frame.settings["colour_locked"]:
            return frame
    raise AssertionError(f"never locked: {frame.settings}")


def check_a_held_profile_holds_everything() -> None:
    with plugged(), V4l2Source(wish=MJPG, profile=ColourProfile("hold", settle_s=0.5)) as source:
        first = whole(source)
        assert first.settings["colour_locked"] is False
        assert first.settings["locked"] == dict.fromkeys(MATTERS, False)
        held = until_locked(source)
        assert held.settings["locked"] == dict.fromkeys(MATTERS, True)
        controls = held.settings["controls"]
        assert controls["auto_exposure"] == 1 and controls["white_balance_automatic"] == 0
        assert held.settings["exposure_us"] == 100 * controls["exposure_time_absolute"]
        assert 20_000 <= held.settings["exposure_us"] <= 25_000
        assert 4000 <= held.settings["white_balance_k"] <= 4500
        still = source.take_still(time.monotonic_ns())
        # The camera forgot when the still's format began, and uvcvideo did not notice.
        assert still.settings["colour_locked"] is True
        assert still.settings["controls"] == controls
        wanted = controls["exposure_time_absolute"] // 4
        assert abs(brightness(still) - wanted) <= 2, (brightness(still), wanted)
        frame = whole(source)
        for _ in range(20):
            locked = frame.settings["colour_locked"]
            assert not locked or abs(brightness(frame) - wanted) <= 2, (brightness(frame), wanted)
            frame = whole(source)
        assert locked


def check_a_profile_with_values() -> None:
    values = {"exposure_absolute": 150, "white_balance_temperature": 5000, "gain": 7}
    profile = ColourProfile("ring", {**values, "power_line_frequency": 2}, settle_s=0.0)
    with plugged(), V4l2Source(wish=MJPG, profile=profile) as source:
        settings = until_locked(source, frames=10).settings
        assert settings["colour_profile"] == "ring"
        assert settings["exposure_us"] == 15_000 and settings["white_balance_k"] == 5000
        assert settings["controls"]["gain"] == 7
        assert settings["controls"]["power_line_frequency"] == 2
    too_much = ColourProfile("glare", {"gain": 101}, settle_s=0.0)
    with plugged(), V4l2Source(wish=MJPG, profile=too_much) as source:
        settings = whole(source).settings
        assert settings["locked"]["gain"] is False and settings["colour_locked"] is False


def main() -> int:
    for module in ("dummy_hcd", "raw_gadget", "uvcvideo"):
        subprocess.run(["modprobe", module], check=True)
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
        print(f"{words:6} {name} ({time.monotonic() - began_s:.1f} s)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
