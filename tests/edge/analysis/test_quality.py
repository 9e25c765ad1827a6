"""Which pictures are not worth an answer, and what is measured of the others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge.analysis.light import LightMeter, overview
from edge.analysis.quality import light_problem, measure_quality, size_problem
from edge.result import Quality
from models import skin
from models.phantom import random_spec, render


def problem_of(pixels):
    return light_problem(overview(LightMeter().reduce(pixels)))


def quality_of(pixels) -> Quality:
    light = LightMeter().reduce(pixels)
    return measure_quality(light, overview(light))


def noise_around(level: int, spread: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-spread, spread + 1, (200, 300, 3))
    return np.clip(level + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size_wh", "accepted"),
    [((63, 640), False), ((640, 63), False), ((1, 1), False), ((64, 64), True)],
)
def test_pictures_below_64_pixels_are_named_with_their_size(size_wh, accepted):
    problem = size_problem(size_wh)
    assert (problem is None) is accepted
    if problem:
        assert f"{size_wh[0]}x{size_wh[1]}" in problem and "64" in problem


@pytest.mark.parametrize(
    ("size_wh", "accepted"),
    [((2048, 64), True), ((64, 2048), True), ((2049, 64), False), ((64, 50000), False)],
)
def test_strips_longer_than_32_times_their_width_are_named_with_their_size(size_wh, accepted):
    problem = size_problem(size_wh)
    assert (problem is None) is accepted
    if problem:
        assert f"{size_wh[0]}x{size_wh[1]}" in problem and "at most 32 times" in problem


@pytest.mark.parametrize(
    ("pixels", "word"),
    [
        (np.zeros((100, 100, 3), np.uint8), "black"),
        (noise_around(6, 6), "black"),
        (np.full((100, 100, 3), 255, np.uint8), "white"),
        (noise_around(254, 3), "white"),
        (np.full((100, 100, 3), 128, np.uint8), None),
        (noise_around(24, 6), None),
        (render(random_spec(2, (128, 128), ita_deg=-60)).pixels, None),
        (render(random_spec(2, (128, 128), ita_deg=60)).pixels, None),
    ],
)
def test_black_and_white_pictures_are_told(pixels, word):
    problem = problem_of(pixels)
    assert (problem is None) if word is None else (problem is not None and word in problem)


def test_a_dark_picture_with_something_lit_is_analysed():
    pixels = np.zeros((480, 640, 3), np.uint8)
    pixels[200:260, 300:360] = (180, 130, 110)
    assert problem_of(pixels) is None


def test_blur_lowers_sharpness_and_exposure_does_not():
    pixels = render(random_spec(5, (640, 480), ita_deg=35, domain="clinical")).pixels
    sharp = quality_of(pixels).sharpness
    blurred = quality_of(np.asarray(cv2.GaussianBlur(pixels, (0, 0), 2))).sharpness
    darker = skin.linear_from_srgb(pixels) * 0.6
    dark = quality_of(np.rint(255 * np.asarray(darker) ** (1 / 2.4)).astype(np.uint8)).sharpness
    assert blurred < 0.7 * sharp
    assert dark == pytest.approx(sharp, rel=0.25)


def test_fractions_and_exposure_of_a_drawn_picture():
    pixels = np.empty((400, 600, 3), np.uint8)
    pixels[:] = (40, 90, 180)
    pixels[:, :300] = (200, 150, 120)
    pixels[:100, :300] = (252, 252, 252)
    quality = quality_of(pixels)
    assert quality.skin_fraction == pytest.approx(0.375, abs=0.01)
    assert quality.glare_fraction == pytest.approx(0.125, abs=0.01)
    luminance = skin.linear_from_srgb(pixels) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    assert quality.exposure == pytest.approx(float(luminance.mean()), abs=0.005)


def test_a_black_picture_has_no_sharpness():
    assert quality_of(np.zeros((100, 100, 3), np.uint8)).sharpness is None
