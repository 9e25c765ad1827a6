"""The reduced frame against plain numpy, and the fast skin rule against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from edge.analysis.light import FULL_SCALE, LightMeter, kinds_of, linear_of, overview, upper_median
from models import skin
from models.phantom import random_spec, render


@pytest.mark.parametrize(
    ("size_wh", "factor"),
    [((640, 480), 1), ((641, 480), 2), ((1280, 720), 2), ((1281, 700), 3), ((65, 1300), 3)],
)
def test_each_pixel_is_the_mean_linear_light_of_its_block(size_wh, factor):
    width, height = size_wh
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    light = LightMeter().reduce(pixels)
    small_w, small_h = width // factor, height // factor
    assert light.factor == factor and light.size_wh == (small_w, small_h)
    assert max(small_w, small_h) <= 640
    used = skin.linear_from_srgb(pixels)[: small_h * factor, : small_w * factor]
    blocks = used.reshape(small_h, factor, small_w, factor, 3).mean(axis=(1, 3))
    assert light.step == (2 if max(small_w, small_h) > 320 else 1)
    sampled = blocks[:: light.step, :: light.step]
    assert np.abs(light.samples / FULL_SCALE - sampled).max() < 2.0 / FULL_SCALE
    whole = light.window((0, 0, small_w, small_h), 1)
    assert np.abs(whole / FULL_SCALE - blocks).max() < 2.0 / FULL_SCALE
    assert np.array_equal(light.green((2, 4, 9, 8)), whole[4:8, 2:9, 1])


@pytest.mark.parametrize("size_wh", [(1280, 720), (300, 200), (641, 1001)])
@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_window_is_every_so_manieth_reduced_pixel(size_wh, step):
    pixels = np.random.default_rng(1).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    light = LightMeter().reduce(pixels)
    width, height = light.size_wh
    whole = light.window((0, 0, width, height), 1)
    for x0, y0, x1, y1 in ((0, 0, width, height), (4, 8, 51, 62), (8, 4, width, height - 1)):
        window = light.window((x0, y0, x1, y1), step)
        assert np.array_equal(window, whole[y0:y1:step, x0:x1:step])


@pytest.mark.parametrize("size_wh", [(640 * 16, 16), (16, 640 * 16)])
def test_a_strip_narrower_than_one_reduced_pixel_is_refused(size_wh):
    width, height = size_wh
    pixels = np.full((height, width, 3), 128, np.uint8)
    assert min(LightMeter().reduce(pixels).size_wh) == 1
    longer = np.full((height + (height > width), width + (width > height), 3), 128, np.uint8)
    with pytest.raises(ValueError, match="strip"):
        LightMeter().reduce(longer)


def test_a_fine_check_of_black_and_white_is_half_the_light_not_half_the_value():
    pixels = np.zeros((700, 1280, 3), np.uint8)
    pixels[::2, ::2] = pixels[1::2, 1::2] = 255
    light = LightMeter().reduce(pixels)
    assert np.abs(light.samples / FULL_SCALE - 0.5).max() < 1e-4


def test_the_buffer_is_reused_and_follows_the_size_of_the_frame():
    meter = LightMeter()
    first = meter.reduce(np.full((100, 120, 3), 255, np.uint8))
    again = meter.reduce(np.zeros((100, 120, 3), np.uint8))
    assert again.samples is first.samples and not again.samples.any()
    assert meter.reduce(np.zeros((80, 700, 3), np.uint8)).samples.shape == (20, 175, 3)


@pytest.mark.parametrize("seed", range(6))
def test_the_skin_rule_is_that_of_the_reference(seed):
    pixels = render(random_spec(seed, (200, 150))).pixels
    if seed == 0:
        pixels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    linear = LightMeter().reduce(pixels).samples.astype(np.float32) / np.float32(FULL_SCALE)
    fast = kinds_of(linear[..., 0], linear[..., 1], linear[..., 2]).skin
    assert np.mean(fast != skin.skin_mask(pixels)) < 2e-4


def test_clipping_and_glare_have_the_documented_limits():
    values = np.arange(256, dtype=np.uint8)
    linear = skin.linear_from_srgb(values)
    kinds = kinds_of(linear, linear, linear)
    assert np.array_equal(np.flatnonzero(kinds.clipped), [*range(5), *range(251, 256)])
    assert np.array_equal(np.flatnonzero(kinds.glare), range(231, 256))
    assert not kinds.skin.any()


def test_linear_of_is_the_table_between_whole_values():
    table = skin.linear_from_srgb(np.arange(256, dtype=np.uint8))
    assert [linear_of(v) for v in range(256)] == pytest.approx(table.tolist(), abs=1e-7)
    assert table[10] < linear_of(10.5) < table[11]


def test_the_overview_samples_the_reduced_frame():
    pixels = np.random.default_rng(2).integers(0, 256, (721, 1283, 3), np.uint8)
    light = LightMeter().reduce(pixels)
    seen = overview(light)
    assert max(seen.red.shape) <= 160 and seen.pitch_px == 2 * light.step * light.factor == 12
    expected = light.samples[::2, ::2, 1] / np.float32(FULL_SCALE)
    assert np.allclose(seen.green, expected, atol=1e-6)
    rows, columns = seen.red.shape
    assert (rows - 1) * seen.pitch_px + seen.middle_px < 721
    assert (columns - 1) * seen.pitch_px + seen.middle_px < 1283


def test_the_upper_median_is_the_median_of_an_odd_count():
    values = np.random.default_rng(3).normal(size=101).astype(np.float32)
    assert upper_median(values.copy()) == np.median(values)
    assert upper_median(np.array([1.0, 2.0, 3.0, 4.0], np.float32)) == 3.0
