"""The colour guard, provoked with frames of the phantom camera and its gains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.analysis.colour import colour_lock
from edge.frame import Frame
from edge.guards.card_check import CardCheck, CardReading
from edge.guards.colour import ColourGuard, ColourState
from edge.guards.colour_profile import ColourProfile
from models import skin
from models.phantom import PhantomCamera, random_spec, render

Uint8 = NDArray[np.uint8]

START_NS = 9_000_000_000_000
STEP_NS = 250_000_000
HOUR_NS = 3600 * 1_000_000_000
BOOT = "boot-1"
SOURCE = "v4l2:usb-1"
HOLD = ColourProfile(name="hold")
DAILY = ColourProfile(name="ring", check_every_h=24.0)
ALL_LOCKED = {"exposure": True, "gain": True, "white_balance": True}
LOCKED: Mapping[str, Any] = {
    "exposure_us": 10_000,
    "analogue_gain": 2.0,
    "awb_gains_rb": [1.9, 1.6],
    "white_balance_k": None,
    "locked": ALL_LOCKED,
    "colour_locked": True,
}
NEUTRAL = CardReading(level=0.5, r_over_g=1.02, b_over_g=0.97, spread=0.01)


@pytest.fixture(scope="module")
def still_view() -> list[Uint8]:
    """Frames of a hand that does not move, each with fresh grain."""
    camera = PhantomCamera(7, (640, 360), fps=1e6)
    return [camera.frame(index).pixels for index in range(12)]


def frame_of(pixels: Uint8, step: int = 0, settings: Mapping[str, Any] | None = LOCKED) -> Frame:
    at_ns = START_NS + step * STEP_NS
    return Frame(pixels, step, SOURCE, at_ns, "monotonic", "driver", settings=settings)


def with_gains(pixels: Uint8, gains_rgb: tuple[float, float, float]) -> Uint8:
    """What the camera gives after its channel gains changed."""
    light = skin.linear_from_srgb(pixels) * np.array(gains_rgb, np.float32)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(encoded * 255.0 + 0.5, 0, 255), np.uint8)


def check_of(**changes: Any) -> CardCheck:
    fields: dict[str, Any] = {
        "source": SOURCE,
        "profile": "ring",
        "boot_id": BOOT,
        "monotonic_ns": START_NS - HOUR_NS,
        "wall": None,
        "wall_trusted": False,
        "reading": NEUTRAL,
        "reference": NEUTRAL,
        "settings": dict(LOCKED),
    }
    return CardCheck(**{**fields, **changes})


def watch(guard: ColourGuard, pictures: list[Uint8], first: int = 0) -> ColourState:
    state = None
    for step, pixels in enumerate(pictures, start=first):
        state = guard.observe(frame_of(pixels, step), START_NS + step * STEP_NS)
    assert state is not None and state == guard.state
    return state


# --- lock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (None, "colour not locked"),
        ({"exposure_us": 10_000}, "colour not locked"),
        (
            {
                "colour_locked": False,
                "locked": {"exposure": True, "gain": None, "white_balance": False},
            },
            "colour not locked: gain, white balance",
        ),
    ],
)
def test_a_camera_on_automatic_is_not_locked(
    still_view: list[Uint8], settings: Mapping[str, Any] | None, words: str
) -> None:
    guard = ColourGuard(DAILY, check_of(), boot_id=BOOT)
    frame = frame_of(still_view[0], settings=settings)
    assert guard.observe(frame, START_NS) == ColourState("not_locked", words, False)
    stamped = replace(frame, settings=guard.settings_with(frame))
    assert colour_lock(stamped) is False


def test_a_locked_and_checked_camera_may_be_believed(still_view: list[Uint8]) -> None:
    guard = ColourGuard(DAILY, check_of(), boot_id=BOOT)
    assert watch(guard, still_view) == ColourState("locked", "colour locked", True)
    frame = frame_of(still_view[0])
    settings = guard.settings_with(frame)
    assert settings is not None and settings["colour_profile"] == "ring"
    assert settings["locked"] == LOCKED["locked"] and frame.settings == LOCKED
    assert colour_lock(replace(frame, settings=settings)) is True


def test_of_recordings_and_stills_nothing_is_said(still_view: list[Uint8]) -> None:
    guard = ColourGuard(DAILY, boot_id=BOOT)
    frame = Frame(still_view[0], 0, "file:x", 0, "recording", "file", settings={"iso": 100})
    assert guard.observe(frame, START_NS) is None
    assert guard.settings_with(frame) == {"iso": 100}
    assert colour_lock(replace(frame, settings=guard.settings_with(frame))) is None


def test_the_synthetic_camera_has_no_automatic(still_view: list[Uint8]) -> None:
    guard = ColourGuard(DAILY, boot_id=BOOT)
    frame = replace(frame_of(still_view[0], settings=None), captured_by="synthetic")
    state = guard.observe(frame, START_NS)
    assert state is not None and state.kind == "locked" and state.erythema_reliable


# --- drift --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"awb_gains_rb": [1.9, 1.75]}, "white balance changed although locked"),
        ({"exposure_us": 12_000}, "exposure changed although locked"),
        ({"analogue_gain": 1.0}, "gain changed although locked"),
    ],
)
def test_values_that_move_under_the_lock_are_a_drift_until_it_locks_anew(
    still_view: list[Uint8], changes: Mapping[str, Any], words: str
) -> None:
    guard = ColourGuard(HOLD, boot_id=BOOT)
    guard.observe(frame_of(still_view[0]), START_NS)
    moved = frame_of(still_view[1], 1, {**LOCKED, **changes})
    state = guard.observe(moved, START_NS + STEP_NS)
    assert state == ColourState("drifted", f"colour drifted: {words}", False)
    assert watch(guard, still_view[2:4], 2).kind == "drifted"  # it is back: a lock that moved
    guard.relocked()
    assert watch(guard, still_view[4:6], 4).kind != "drifted"


def test_steps_of_the_sensor_and_unknown_values_are_no_drift(still_view: list[Uint8]) -> None:
    guard = ColourGuard(HOLD, boot_id=BOOT)
    guard.observe(frame_of(still_view[0]), START_NS)
    near = {**LOCKED, "exposure_us": 10_300, "analogue_gain": None, "awb_gains_rb": [1.91, 1.6]}
    state = guard.observe(frame_of(still_view[1], 1, near), START_NS + STEP_NS)
    assert state is not None and state.kind != "drifted"


@pytest.mark.parametrize("gains_rgb", [(1.1, 1.0, 0.9), (0.92, 1.0, 1.1), (1.0, 1.0, 0.9)])
def test_a_view_that_stands_still_and_changes_colour_has_drifted(
    still_view: list[Uint8], gains_rgb: tuple[float, float, float]
) -> None:
    guard = ColourGuard(HOLD, boot_id=BOOT)
    assert watch(guard, still_view[:6]).kind != "drifted"
    shifted = [with_gains(pixels, gains_rgb) for pixels in still_view[6:]]
    state = watch(guard, shifted, 6)
    assert state == ColourState("drifted", "colour drifted: the light or the camera changed", False)
    assert watch(guard, still_view[:6], 12).kind != "drifted"  # back in the same view


def test_a_moving_hand_does_not_drift() -> None:
    for seed in (3, 4):
        camera = PhantomCamera(seed, (640, 360), fps=4.0)
        guard = ColourGuard(HOLD, boot_id=BOOT)
        for step in range(60):
            state = guard.observe(
                frame_of(camera.frame(step).pixels, step), START_NS + step * STEP_NS
            )
            assert state is not None and state.kind != "drifted"


def test_a_drift_outlasts_the_view_in_which_it_happened(still_view: list[Uint8]) -> None:
    guard = ColourGuard(HOLD, boot_id=BOOT)
    watch(guard, still_view[:4])
    watch(guard, [with_gains(pixels, (1.1, 1.0, 0.9)) for pixels in still_view[4:]], 4)
    other = PhantomCamera(11, (640, 360), fps=1e6)
    elsewhere = [other.frame(index).pixels for index in range(8)]
    assert watch(guard, elsewhere, 12).kind == "drifted"


@pytest.mark.parametrize("tone_deg", [-30.0, 0.0, 30.0, 60.0])
def test_skin_pressed_pale_is_no_drift(tone_deg: float) -> None:
    spec = random_spec(5, (640, 480), ita_deg=tone_deg, domain="dermoscopic")
    calm = replace(spec.artefacts, noise=0.0, glare=0.0)
    spec = replace(spec, artefacts=calm, skin=replace(spec.skin, hemoglobin=0.3, relief=0.04))
    pale = replace(spec, skin=replace(spec.skin, hemoglobin=0.1))
    rng = np.random.default_rng(1)

    def grained(pixels: Uint8) -> Uint8:
        return np.asarray(np.clip(pixels + rng.normal(0, 2, pixels.shape), 0, 255), np.uint8)

    full, pressed = render(spec).pixels, render(pale).pixels
    stream = [grained(full) for _ in range(6)] + [grained(pressed) for _ in range(8)]
    assert watch(ColourGuard(HOLD, boot_id=BOOT), stream).kind != "drifted"


def test_a_white_balance_other_than_that_of_the_card_check_has_drifted(
    still_view: list[Uint8],
) -> None:
    other = check_of(settings={**LOCKED, "awb_gains_rb": [1.7, 1.8]})
    state = watch(ColourGuard(DAILY, other, boot_id=BOOT), still_view[:1])
    assert state.kind == "drifted" and "not that of the card check" in state.words


def test_a_card_that_reads_otherwise_is_a_drift_until_it_passes(still_view: list[Uint8]) -> None:
    guard = ColourGuard(DAILY, check_of(), boot_id=BOOT)
    assert watch(guard, still_view[:1]).kind == "locked"
    guard.accept(check_of(reading=NEUTRAL.model_copy(update={"r_over_g": 1.02 * 1.08})))
    state = watch(guard, still_view[:1])
    assert (state.kind, state.words) == ("drifted", "colour drifted: the card check is off by 8%")
    guard.accept(check_of())
    assert watch(guard, still_view[:1]).kind == "locked"


# --- is the check due? --------------------------------------------------------------------------


WALL = "2026-11-24T10:00:00Z"
WALL_S = 1_795_514_400.0


@pytest.mark.parametrize(
    ("changes", "wall_s", "kind"),
    [
        ({"monotonic_ns": START_NS - 23 * HOUR_NS}, None, "locked"),
        ({"monotonic_ns": START_NS - 25 * HOUR_NS}, None, "check_overdue"),
        # Another run of the machine: only a date that was and is right tells.
        ({"boot_id": "boot-0"}, None, "check_overdue"),
        ({"boot_id": "boot-0", "wall": WALL, "wall_trusted": True}, None, "check_overdue"),
        ({"boot_id": "boot-0", "wall": WALL}, WALL_S + 3600, "check_overdue"),
        ({"boot_id": "boot-0", "wall": WALL, "wall_trusted": True}, WALL_S + 3600, "locked"),
        ({"boot_id": "boot-0", "wall": WALL, "wall_trusted": True}, WALL_S + 9e4, "check_overdue"),
        ({"boot_id": "boot-0", "wall": WALL, "wall_trusted": True}, WALL_S - 60, "check_overdue"),
        ({"boot_id": "boot-0", "wall": "noon", "wall_trusted": True}, WALL_S, "check_overdue"),
        # Within one run the date is not asked.
        ({"wall": WALL, "wall_trusted": True}, WALL_S + 9e6, "locked"),
        ({"source": "v4l2:usb-2"}, None, "never_checked"),
        ({"profile": "other"}, None, "never_checked"),
    ],
)
def test_the_card_is_due(
    still_view: list[Uint8], changes: dict[str, Any], wall_s: float | None, kind: str
) -> None:
    guard = ColourGuard(DAILY, check_of(**changes), boot_id=BOOT)
    state = guard.observe(frame_of(still_view[0]), START_NS, wall_s)
    assert state is not None and state.kind == kind
    assert state.erythema_reliable == (kind == "locked")


def test_a_profile_that_asks_for_no_card_is_believed_by_its_lock(still_view: list[Uint8]) -> None:
    earlier = check_of(profile="hold", boot_id="boot-0")
    for check, words in (
        (None, "colour locked, card never checked"),
        (earlier, "colour locked, card not checked since power-on"),
    ):
        state = watch(ColourGuard(HOLD, check, boot_id=BOOT), still_view[:1])
        assert state == ColourState("never_checked", words, True)
    now = check_of(profile="hold")
    assert watch(ColourGuard(HOLD, now, boot_id=BOOT), still_view[:1]).kind == "locked"


def test_a_machine_without_boot_id_knows_no_age(still_view: list[Uint8]) -> None:
    guard = ColourGuard(DAILY, check_of(boot_id=None), boot_id=None)
    assert watch(guard, still_view[:1]).kind == "check_overdue"
