"""Tone of the skin outside lesions, against phantoms whose tone is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.analysis.light import LightMeter, overview
from edge.analysis.regions import RegionShape, find_regions
from edge.analysis.tone import measure_tone
from edge.result import SkinTone
from models.manifest import RegionRules, ResizeRule
from models.phantom import clean, random_spec, render
from models.resize import place
from models.skin import tone_group


def tone_of(pixels: NDArray[np.uint8], drawn: NDArray[np.bool_]) -> SkinTone:
    height, width = drawn.shape
    mask = np.empty(drawn.shape, np.uint8)
    placement = place((width, height), (width, height), ResizeRule(fit="stretch"))
    found: tuple[RegionShape, ...] = find_regions(
        drawn.astype(np.float32), placement, 0.5, RegionRules(), mask
    )
    return measure_tone(overview(LightMeter().reduce(pixels)), found, mask)


@pytest.mark.parametrize("ita_deg", range(-60, 61, 15))
@pytest.mark.parametrize("size", ["small", "large"])
def test_the_tone_of_every_phantom_is_found_within_4_degrees(ita_deg, size):
    for seed in range(3):
        spec = clean(random_spec(seed, (300, 300), ita_deg=ita_deg, lesion_count=1 + seed))
        # Natural variation of the skin is no error of the measurement.
        spec = replace(spec, skin=replace(spec.skin, mottling=0.02))
        if size == "large":
            grown = (replace(lesion, radius=0.38, center_xy=(0.5, 0.5)) for lesion in spec.lesions)
            spec = replace(spec, lesions=tuple(grown))
        phantom = render(spec)
        tone = tone_of(phantom.pixels, phantom.mask)
        assert tone.ita_deg == pytest.approx(ita_deg, abs=4.0)
        assert tone.group == tone_group(tone.ita_deg)
        assert not tone.calibrated and tone.binning == "Del Bino"
        clear = int(np.count_nonzero(~phantom.mask))
        # Counted on a sample of the frame.
        assert 0 < tone.skin_px <= 1.01 * clear


def test_a_lesion_and_its_halo_do_not_move_the_tone():
    pixels = np.empty((480, 640, 3), np.uint8)
    pixels[:] = (200, 150, 120)
    drawn = np.zeros((480, 640), np.bool_)
    drawn[180:300, 260:380] = True
    plain = tone_of(pixels, drawn)
    pixels[drawn] = (150, 40, 40)
    halo = np.zeros_like(drawn)
    halo[155:325, 235:405] = True
    pixels[halo & ~drawn] = (205, 120, 105)
    assert tone_of(pixels, drawn).ita_deg == plain.ita_deg == pytest.approx(34.8, abs=0.1)


def test_skin_is_counted_in_pixels_of_the_frame():
    pixels = np.empty((960, 1280, 3), np.uint8)
    pixels[:] = (200, 150, 120)
    pixels[:, :640] = (60, 90, 160)  # cloth
    tone = tone_of(pixels, np.zeros((960, 1280), np.bool_))
    assert tone.skin_px == pytest.approx(640 * 960, rel=0.02)


def test_where_hardly_any_skin_is_seen_the_tone_is_unknown():
    pixels = np.empty((480, 640, 3), np.uint8)
    pixels[:] = (60, 90, 160)
    pixels[:40, :40] = (200, 150, 120)
    tone = tone_of(pixels, np.zeros((480, 640), np.bool_))
    assert tone.ita_deg is None and tone.group is None and 0 < tone.skin_px < 3072
    whole = tone_of(np.full((480, 640, 3), (200, 120, 105), np.uint8), np.ones((480, 640), bool))
    assert whole.ita_deg is None and whole.skin_px == 0


@pytest.mark.parametrize(
    ("colour", "ita_deg"),
    [
        ((234, 192, 170), 61.5),  # the palest colour of the reference table
        ((238, 205, 186), 68.4),
        ((240, 210, 195), None),  # 73 degrees
        ((214, 188, 190), None),  # 85 degrees
        ((214, 188, 196), None),  # b* is negative: 91 degrees
        ((160, 130, 130), None),  # 59 degrees, but b* is 4.3
        ((66, 42, 30), -67.8),
        ((50, 30, 20), None),  # -74 degrees
    ],
)
def test_an_angle_that_no_skin_has_is_no_tone(colour, ita_deg):
    """Cold lamps gave 65 to 89 degrees on real pictures, "very light" whatever the skin."""
    pixels = np.full((480, 640, 3), colour, np.uint8)
    tone = tone_of(pixels, np.zeros((480, 640), np.bool_))
    assert tone.skin_px > 0
    assert tone.ita_deg == (None if ita_deg is None else pytest.approx(ita_deg, abs=0.1))
    assert (tone.group is None) is (ita_deg is None)
