"""The prompts, provoked with spoiled pictures; dark skin in good light asks for nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.analysis.light import LightMeter, is_grey, overview
from edge.analysis.quality import measure_quality
from edge.analysis.stamp import stamp_of
from edge.frame import Frame
from edge.guards.measures import detail_of, movement
from edge.guards.quality import PROMPT_WORDS, Prompt, QualityGuard
from edge.result import Region, Result
from models import skin
from models.data_folder import read_rgb
from models.phantom import Edge, PhantomCamera, clean, random_spec, render

Uint8 = NDArray[np.uint8]
STEP_S = 0.2
TONES_DEG = (-60.0, -45.0, -30.0, 0.0, 30.0, 60.0)


class Stream:
    """Shows pictures to a guard, five per second of its own time."""

    def __init__(self) -> None:
        self.guard = QualityGuard()
        self.step = 0

    def show(
        self, pixels: Uint8, steps: int = 1, sides_px: Iterable[int] = ()
    ) -> tuple[Prompt, ...]:
        for _ in range(steps):
            self.step += 1
            now_ns = round((1000.0 + self.step * STEP_S) * 1e9)
            frame = Frame(pixels, self.step, "v4l2:x", now_ns, "monotonic", "driver")
            self.guard.observe(frame, result_of(frame, sides_px), now_ns)
        return self.guard.prompts

    def kinds(self, pixels: Uint8, steps: int = 8) -> list[str]:
        return [prompt.kind for prompt in self.show(pixels, steps)]


def result_of(frame: Frame, sides_px: Iterable[int] = ()) -> Result:
    light = LightMeter().reduce(frame.pixels)
    quality = measure_quality(light, overview(light), grey=is_grey(frame.pixels))
    regions = tuple(
        Region("A", None, (9, 9, 9 + side, 12), (), side, 0.01, 0.9, True, False, None, (), None)
        for side in sides_px
    )
    status = "ok" if regions else "nothing_found"
    stamp = stamp_of(frame)
    return Result("test", status, (), stamp, 0.5, regions, 0, None, quality, {}, {})


def phantom(tone_deg: float, seed: int, **artefacts: float) -> Uint8:
    """Skin as a phone sees it, without cloth, blur and glare unless they are asked for."""
    spec = random_spec(seed, (320, 240), ita_deg=tone_deg, domain="clinical", cloth=False)
    calm = replace(spec.artefacts, **{"blur": 0.0, "motion": 0.0, "glare": 0.0, **artefacts})
    return render(replace(spec, artefacts=calm)).pixels


def exposed(pixels: Uint8, factor: float) -> Uint8:
    light = skin.linear_from_srgb(pixels) * np.float32(factor)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(encoded * 255.0 + 0.5, 0, 255), np.uint8)


def blurred(pixels: Uint8, share: float, seed: int = 1) -> Uint8:
    soft = cv2.GaussianBlur(pixels, (0, 0), share * min(pixels.shape[:2]))
    noise = np.random.default_rng(seed).normal(0.0, 2.0, pixels.shape)
    return np.asarray(np.clip(np.rint(soft + noise), 0, 255), np.uint8)


# --- what must not be said ----------------------------------------------------------------------


@pytest.mark.parametrize("tone_deg", TONES_DEG)
def test_no_tone_of_skin_is_too_dark_too_bright_or_no_skin(tone_deg: float) -> None:
    for seed in range(10):
        told = set(Stream().kinds(phantom(tone_deg, seed)))
        assert not told & {"too_dark", "too_bright", "not_skin", "come_closer"}, seed


def test_real_skin_is_neither_too_dark_nor_no_skin() -> None:
    folder = os.environ.get("DERMEDGE_DATA")
    if not folder:
        pytest.skip("DERMEDGE_DATA names no folder of real pictures")
    paths = sorted((Path(folder) / "normal_skin").glob("*.png"))
    assert len(paths) > 50
    for path in paths:
        told = set(Stream().kinds(read_rgb(path)))
        assert not told & {"too_dark", "not_skin", "focus", "hold_still"}, path.name


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_a_calm_hand_is_asked_for_nothing(seed: int) -> None:
    camera = PhantomCamera(seed, (640, 360), fps=1.0 / STEP_S)
    stream = Stream()
    for step in range(50):
        assert stream.show(camera.frame(step).pixels) == ()


# --- what must be said --------------------------------------------------------------------------


@pytest.mark.parametrize("tone_deg", TONES_DEG)
@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda pixels: exposed(pixels, 1 / 64), "too_dark"),
        (lambda pixels: np.full_like(pixels, 255), "too_bright"),
    ],
    ids=["dark", "white"],
)
def test_bad_light_is_told_alone(
    tone_deg: float, spoil: Callable[[Uint8], Uint8], kind: str
) -> None:
    assert Stream().kinds(spoil(phantom(tone_deg, 3))) == [kind]


def test_light_skin_burnt_out_is_too_bright() -> None:
    told = Stream().kinds(exposed(phantom(60.0, 3), 4.0))
    assert told[0] == "too_bright" and set(told) <= {"too_bright", "glare"}


@pytest.mark.parametrize("tone_deg", TONES_DEG)
def test_highlights_are_glare(tone_deg: float) -> None:
    pixels = phantom(tone_deg, 3)
    rng = np.random.default_rng(1)
    for x, y in zip(rng.integers(20, 300, 12), rng.integers(20, 220, 12), strict=True):
        cv2.ellipse(pixels, (int(x), int(y)), (8, 4), 30.0, 0.0, 360.0, (250, 250, 250), -1)
    assert "glare" in Stream().kinds(pixels)


@pytest.mark.parametrize(
    "color", [(0.30, 0.31, 0.33), (0.02, 0.04, 0.12), (0.30, 0.55, 0.72), (0.06, 0.30, 0.22)]
)
def test_cloth_is_not_skin(color: tuple[float, float, float]) -> None:
    spec = clean(random_spec(1, (320, 240), lesion_count=0))
    cloth = Edge(angle_deg=0.0, distance=-2.0, waviness=0.0, color=color)
    noisy = replace(spec.artefacts, noise=0.01)
    told = Stream().kinds(render(replace(spec, edges=(cloth,), artefacts=noisy)).pixels)
    assert told[0] == "not_skin"


def test_a_grey_picture_is_not_judged_for_skin() -> None:
    grey = cv2.cvtColor(cv2.cvtColor(phantom(30.0, 3), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert "not_skin" not in Stream().kinds(np.asarray(grey, np.uint8))


@pytest.mark.parametrize("seed", [1, 2, 4, 5])
def test_a_view_that_goes_out_of_focus_is_told_to_focus(seed: int) -> None:
    camera = PhantomCamera(seed, (1280, 720), fps=1e6)  # it stands still
    stream = Stream()
    for step in range(5):
        assert stream.show(camera.frame(step).pixels) == ()
    for step in range(5, 12):
        stream.show(blurred(camera.frame(step).pixels, 0.01, step))
    assert [prompt.kind for prompt in stream.guard.prompts] == ["focus"]
    assert stream.guard.prompts[0].words == "Blurred: focus"
    for step in range(12, 28):
        stream.show(camera.frame(step).pixels)
    assert stream.guard.prompts == ()


def test_a_view_that_is_smeared_by_the_hand_is_told_to_hold_still() -> None:
    camera = PhantomCamera(5, (640, 360), fps=1e6)
    wide = PhantomCamera(5, (1280, 720), fps=1e6).frame(0).pixels
    stream = Stream()
    stream.show(camera.frame(0).pixels, 5)
    smear = np.zeros((1, 41), np.float32)
    smear[:] = 1.0 / 41.0
    for step in range(8):  # a tenth of the width every fifth of a second
        left = 60 * step
        window = np.ascontiguousarray(wide[180:540, left : left + 640])
        stream.show(np.asarray(cv2.filter2D(window, -1, smear), np.uint8))
    assert "hold_still" in [prompt.kind for prompt in stream.guard.prompts]


def test_a_small_region_asks_to_come_closer_and_a_second_larger_one_does_not() -> None:
    pixels = phantom(30.0, 3)
    stream = Stream()
    assert [p.kind for p in stream.show(pixels, 8, [20, 28])] == ["come_closer"]
    assert stream.show(pixels, 16, [20, 60]) == ()


# --- how it is shown ----------------------------------------------------------------------------


def test_at_most_two_the_most_important_first() -> None:
    pixels = exposed(phantom(60.0, 3), 4.0)
    pixels[60:90, 60:200] = 255
    assert Stream().kinds(pixels) == ["too_bright", "glare"]
    assert list(PROMPT_WORDS)[:2] == ["too_dark", "too_bright"]


def test_one_bad_picture_is_not_told_and_a_prompt_does_not_flicker() -> None:
    good, bad = phantom(30.0, 3), exposed(phantom(30.0, 3), 1 / 64)
    stream = Stream()
    stream.show(good, 5)
    assert stream.show(bad) == ()
    assert stream.show(good) == ()
    changes, before = 0, False
    for step in range(100):
        now = bool(stream.show(bad if step % 3 else good))
        changes, before = changes + (now != before), now
    assert changes <= 1
    assert stream.show(bad, 8) != ()
    assert stream.show(good, 4) != ()  # it stays for a while
    assert stream.show(good, 8) == ()


def test_the_edge_of_a_limit_does_not_flicker() -> None:
    dark = exposed(phantom(30.0, 3), 1 / 64)
    stream = Stream()
    stream.show(dark, 8)
    edge = np.maximum(dark, 43)  # between the limit and where it is left
    assert [p.kind for p in stream.show(edge, 20)] == ["too_dark"]


def test_after_a_pause_nothing_of_before_is_compared() -> None:
    stream = Stream()
    stream.show(exposed(phantom(30.0, 3), 1 / 64), 8)
    stream.step += 60
    assert stream.show(phantom(30.0, 3)) == ()


# --- measures -----------------------------------------------------------------------------------


def test_blur_lowers_crispness_and_contrast_does_not() -> None:
    sharp = PhantomCamera(5, (1280, 720)).frame(0).pixels
    crisp = [detail_of(blurred(sharp, share)).crispness for share in (0.002, 0.005, 0.01)]
    assert None not in crisp and crisp == sorted(crisp, reverse=True)  # type: ignore[type-var]
    flat = np.asarray(128 + (sharp.astype(np.float32) - 128) * 0.6, np.uint8)
    of_sharp, of_flat = detail_of(sharp).crispness, detail_of(flat).crispness
    assert of_sharp is not None and of_flat == pytest.approx(of_sharp, rel=0.1)


def test_noise_alone_has_no_crispness() -> None:
    noise = np.random.default_rng(1).normal(120.0, 5.0, (720, 1280, 3))
    assert detail_of(np.asarray(np.clip(noise, 0, 255), np.uint8)).crispness is None


def test_movement_is_measured_against_the_short_side() -> None:
    wide = PhantomCamera(5, (1280, 720)).frame(0).pixels
    first, second = wide[100:460, 100:740], wide[118:478, 100:740]
    moved = movement(detail_of(first.copy()), detail_of(second.copy()))
    assert moved == pytest.approx(18 / 360, rel=0.1)
    other = PhantomCamera(6, (640, 360)).frame(0).pixels
    assert movement(detail_of(first.copy()), detail_of(other)) is None


@pytest.mark.parametrize("size_wh", [(64, 64), (64, 1024), (2000, 70), (33, 20)])
def test_any_size_is_measured(size_wh: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (size_wh[1], size_wh[0], 3), np.uint8)
    detail = detail_of(pixels)
    movement(detail, detail)
    assert detail.structure >= 0.0
