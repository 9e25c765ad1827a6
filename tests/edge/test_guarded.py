"""The guards of a run behind one seam, on real frames of the phantom camera."""

from __future__ import annotations

import dataclasses
import json
import time

import numpy as np
import pytest
from shots_for_tests import frame, result

from edge.analysis.analyzer import Analysis
from edge.controls import Controls
from edge.frame import Frame
from edge.guarded import Guards
from edge.guards.colour_profile import ColourProfile
from edge.health import Health
from edge.intake import Captured
from edge.loop import Parts, run_loop
from edge.screens.base import Presented, Shown
from edge.stop import Stop
from edge.wall_clock import is_trusted

LOCKED = {"exposure": True, "gain": True, "white_balance": True}


def camera_frame(number: int, pixels=None, **settings) -> Frame:
    new = frame(number, (320, 240))
    return dataclasses.replace(
        new, pixels=new.pixels if pixels is None else pixels, settings=settings or None
    )


def card(level: tuple[int, int, int]) -> np.ndarray:
    rng = np.random.default_rng(3)
    noise = rng.integers(-2, 3, (240, 320, 3))
    return np.clip(np.array(level) + noise, 0, 255).astype(np.uint8)


def test_a_camera_without_a_profile_is_not_locked_and_says_so(tmp_path):
    guards = Guards(None, tmp_path)
    seen = guards.receive(camera_frame(1, gain=3, locked={"gain": False, "exposure": None}))
    assert seen.settings is not None
    assert seen.settings["colour_locked"] is False and seen.settings["colour_profile"] is None
    assert seen.settings["gain"] == 3
    (notice,) = guards.notices(time.monotonic_ns())
    assert notice.text.startswith("colour not locked") and notice.level == "alarm"


def test_a_locked_camera_is_believed(tmp_path):
    guards = Guards(ColourProfile(name="ring"), tmp_path)
    seen = guards.receive(camera_frame(1, colour_locked=True, locked=LOCKED))
    assert seen.settings is not None and seen.settings["colour_locked"] is True
    assert seen.settings["colour_profile"] == "ring"
    assert guards.notices(time.monotonic_ns()) == []


def test_a_card_check_is_kept_and_the_next_one_is_held_against_it(tmp_path):
    settings = {"colour_locked": True, "locked": LOCKED}
    guards = Guards(ColourProfile(name="ring"), tmp_path / "state")
    shown = guards.receive(camera_frame(1, card((150, 150, 150)), **settings))
    guards.check_card(shown)
    assert [notice.text for notice in guards.notices(0)][0] == "Card checked"
    (kept,) = (tmp_path / "state").glob("card-*.json")
    assert json.loads(kept.read_text())["profile"] == "ring"
    again = Guards(ColourProfile(name="ring"), tmp_path / "state")
    reddish = again.receive(camera_frame(2, card((162, 150, 150)), **settings))
    again.check_card(reddish)
    texts = [notice.text for notice in again.notices(0)]
    assert texts[0].startswith("Card check: colours are off by")
    seen = again.receive(camera_frame(3, card((162, 150, 150)), **settings))
    assert seen.settings is not None and seen.settings["colour_locked"] is False
    assert seen.settings["colour_state"] == "drifted"


def test_a_card_check_is_dated(tmp_path):
    guards = Guards(ColourProfile(name="ring"), tmp_path)
    settings = {"colour_locked": True, "locked": LOCKED}
    guards.check_card(guards.receive(camera_frame(1, card((150, 150, 150)), **settings)))
    (kept,) = tmp_path.glob("card-*.json")
    check = json.loads(kept.read_text())
    assert check["wall"].endswith("Z") and check["wall_trusted"] == is_trusted()


def test_a_dead_picture_of_a_card_is_no_check(tmp_path):
    guards = Guards(ColourProfile(name="ring"), tmp_path)
    settings = {"colour_locked": True, "locked": LOCKED}
    shown = guards.receive(camera_frame(1, card((150, 150, 150)), **settings))
    time.sleep(2.1)
    guards.check_card(shown)
    assert guards.notices(0)[0].text.startswith("Card not checked: no new picture")
    assert list(tmp_path.glob("card-*.json")) == []


def test_a_black_still_is_none(tmp_path):
    guards = Guards(None, tmp_path)
    guards.receive(camera_frame(1))
    assert guards.still_words(camera_frame(2)) is None
    assert guards.still_words(camera_frame(3, np.zeros((240, 320, 3), np.uint8))) is not None


def test_a_press_on_a_repeated_picture_makes_no_still(tmp_path):
    """A camera that hangs may stamp its pictures anew and send the same bytes."""
    pixels = frame(1, (320, 240)).pixels
    saved, screen = [], Screen()
    controls, stop = Controls(), Stop()

    class Hung:
        name, is_live = "fake:0", True

        def __init__(self) -> None:
            self.number = 0

        def open(self) -> None: ...

        def close(self) -> None: ...

        def read(self) -> Frame:
            time.sleep(0.02)
            self.number += 1
            if self.number == 90:
                controls.ask("shutter", "test")
            new = dataclasses.replace(
                frame(self.number, (320, 240)), exposure_began_ns=time.monotonic_ns()
            )
            return new if self.number < 10 else dataclasses.replace(new, pixels=pixels)

    stop.request_after(4.0)
    parts = Parts(
        screens=[screen],
        trust=Guards(None, tmp_path),
        controls=controls,
        keep_case=lambda *_: saved.append(1) or "CODE",
    )
    run_loop(Hung(), lambda c: Analysis(result(c.frame), None), parts, stop=stop, health=Health())
    assert saved == [] and all(shown.view != "still" for shown in screen.shown)
    assert any("No still: the camera has sent the same" in w for s in screen.shown for w in s.said)


@pytest.mark.parametrize("pixels", [None, "skin"])
def test_what_is_no_card_is_said_and_nothing_is_kept(tmp_path, pixels):
    guards = Guards(None, tmp_path / "state")
    if pixels is None:
        guards.check_card(None)
    else:
        guards.check_card(guards.receive(camera_frame(1, card((180, 120, 90)))))
    assert guards.notices(0)[0].text.startswith("Card not checked: ")
    assert not (tmp_path / "state").exists()


def test_a_broken_file_of_an_earlier_check_is_told_and_does_not_stop_the_camera(tmp_path, caplog):
    (tmp_path / "card-test_0.json").write_text("{")
    guards = Guards(None, tmp_path)
    assert guards.receive(camera_frame(1)).settings is not None
    assert "a card check in" in caplog.text


class Camera:
    """Gives what ``pixels_of(number)`` gives, 100 times a second."""

    name, is_live = "test:0", True

    def __init__(self, pixels_of) -> None:
        self._pixels_of = pixels_of
        self._number = -1

    def open(self) -> None: ...

    def read(self) -> Frame:
        time.sleep(0.01)
        self._number += 1
        return camera_frame(self._number, self._pixels_of(self._number))

    def close(self) -> None: ...


class Screen:
    name, room = "screen", None

    def __init__(self) -> None:
        self.shown: list[Shown] = []

    def open(self) -> None: ...

    def show(self, shown: Shown) -> Presented:
        self.shown.append(shown)
        return Presented(shown.number, time.monotonic_ns())

    def poll(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("view", ["paired", "live"])
@pytest.mark.parametrize("fault", ["frozen", "black"])
def test_a_camera_that_freezes_or_goes_black_loses_its_labels(tmp_path, view: str, fault: str):
    rng = np.random.default_rng(5)
    still = rng.integers(60, 200, (240, 320, 3), np.uint8)

    def pixels_of(number: int) -> np.ndarray:
        if 40 <= number < 240:
            return still if fault == "frozen" else np.zeros((240, 320, 3), np.uint8)
        return rng.integers(60, 200, (240, 320, 3), np.uint8)

    def analyze(captured: Captured) -> Analysis:
        return Analysis(result(captured.frame), None)

    class Watched(Screen):
        def show(self, shown: Shown) -> Presented:
            if shown.frame.frame_id > 260 and shown.result.status == "ok":
                stop.request("it came back")
            return super().show(shown)

    screen, stop = Watched(), Stop()
    stop.request_after(60.0)  # far longer than it takes, also where the machine is busy
    parts = Parts(screens=[screen], trust=Guards(None, tmp_path), view=view, controls=Controls())
    run_loop(Camera(pixels_of), analyze, parts, stop=stop, health=Health())
    words = [shown.result.reasons for shown in screen.shown if shown.result.status != "ok"]
    assert words, "nothing was said"
    expected = "the same picture" if fault == "frozen" else "the picture is black"
    assert any(expected in reason for reasons in words for reason in reasons), words
    assert screen.shown[-1].result.status == "ok", "it did not come back"
