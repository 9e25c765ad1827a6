"""The optics reference against published numbers, against every colour, and on skin and cloth."""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cloths_for_tests import CLOTHS
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from PIL import Image

from models import skin
from models.phantom import CameraCurve, clean, random_spec, render

# Computed once from the published constants. Grey has no angle; a bare atan2 would say 90.
REFERENCE = """
R G B | L* a* b* | ITA | EI encoded | EI linear | q_mel q_hem | melanin RGB | hemoglobin RGB
234 192 170 | 80.79 11.80 16.73 | 61.5 | 8.59 | 19.34 | 1.956 0.305 | 243 240 236 | 254 249 250
200 150 120 | 66.10 14.85 23.13 | 34.8 | 12.49 | 27.73 | 8.667 1.072 | 206 194 181 | 250 235 237
205 120 105 | 59.38 31.59 22.59 | 22.5 | 23.26 | 51.19 | 3.621 6.110 | 233 227 221 | 227 161 170
190 70 60 | 46.52 47.61 31.61 | -6.3 | 43.37 | 92.47 | 1.892 14.571 | 243 240 237 | 192 85 97
141 85 36 | 41.67 18.91 37.24 | -12.6 | 21.98 | 46.72 | 29.895 2.346 | 122 99 79 | 244 214 218
80 50 35 | 24.03 11.67 15.10 | -59.8 | 20.41 | 40.05 | 44.279 -0.130 | 86 63 45 | 255 255 255
128 128 128 | 53.59 0.0 0.0 | nan | 0.0 | 0.0 | 25.519 -6.173 | 136 114 93 | 255 255 255
255 255 255 | 100.0 0.0 0.0 | nan | 0.0 | 0.0 | -1.160 -2.835 | 255 255 255 | 255 255 255
"""


ROWS = pytest.mark.parametrize(
    ("rgb", "lab", "ita", "ei_encoded", "ei_linear", "quantities", "melanin", "hemoglobin"),
    [
        pytest.param(
            *(tuple(float(number) for number in cell.split()) for cell in line.split("|")),
            id=line.split("|")[0].strip().replace(" ", "-"),
        )
        for line in REFERENCE.strip().splitlines()[1:]
    ],
)
ANY_PICTURE = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=1, max_dims=2, max_side=9).map(lambda s: (*s, 3))
)


def pixel(rgb):
    return np.array([rgb], dtype=np.uint8)


def with_gains(rgb, gains):
    """An encoded colour after gains on its linear light."""
    light = np.clip(skin.linear_from_srgb(np.array(rgb, dtype=np.uint8)) * gains, 0.0, 1.0)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)


# --- the reference table ------------------------------------------------------------------------


@ROWS
def test_reference_colour(rgb, lab, ita, ei_encoded, ei_linear, quantities, melanin, hemoglobin):
    """Every entry to half a unit of its last printed digit."""
    here = pixel(rgb)
    measured_lab = skin.lab_from_srgb(here)
    np.testing.assert_allclose(measured_lab[0], lab, atol=0.005 + 1e-4)
    angle = float(skin.ita_deg(measured_lab)[0])
    np.testing.assert_allclose(angle, ita[0], atol=0.05 + 1e-4)
    assert skin.erythema_index(here, linearised=False)[0] == pytest.approx(ei_encoded[0], abs=0.005)
    assert skin.erythema_index(here)[0] == pytest.approx(ei_linear[0], abs=0.005)
    np.testing.assert_allclose(skin.decompose(here)[0], quantities, atol=0.0005 + 1e-5)
    hemoglobin_image, melanin_image = skin.pigment_images(here)
    np.testing.assert_allclose(melanin_image[0] * 255, melanin, atol=0.5)
    np.testing.assert_allclose(hemoglobin_image[0] * 255, hemoglobin, atol=0.5)


@ROWS
def test_rounded_images_are_the_8_bit_ones(
    rgb, lab, ita, ei_encoded, ei_linear, quantities, melanin, hemoglobin
):
    hemoglobin_image, melanin_image = skin.pigment_images(pixel(rgb), rounded=True)
    np.testing.assert_array_equal(np.rint(melanin_image[0] * 255), melanin)
    np.testing.assert_array_equal(np.rint(hemoglobin_image[0] * 255), hemoglobin)
    assert np.abs(melanin_image * 255 - np.rint(melanin_image * 255)).max() < 1e-4


def test_unmixing_matrix_is_the_published_one():
    """The pseudo-inverse that the authors' program carries as literals."""
    published = [
        (49.498073, -26.59762992, 15.80793166),
        (-23.99799413, 21.06695593, -1.91282112),
    ]
    np.testing.assert_allclose(skin.unmixing_matrix(), published, atol=5e-7)


def test_shadow_reads_as_melanin():
    """The known weakness: light x 0.7 moves q by (+13.81, -1.73) whatever the colour."""
    bright = np.array([200.0, 150.0, 120.0])
    density = -np.log(np.stack((bright, 0.7 * bright)) / 255)
    quantities = density @ skin.unmixing_matrix().T
    np.testing.assert_allclose(quantities[1] - quantities[0], (13.81, -1.73), atol=0.005)


@pytest.mark.parametrize(("level", "lightness"), [(0, 0.0), (1, 0.2742), (5, 1.3710), (25, 8.7570)])
def test_lightness_is_straight_near_black(level, lightness):
    """Below Y = 216/24389, L* is 24389/27 times Y (CIE 15:2004); level 25 lies just above it."""
    lab = skin.lab_from_srgb(pixel((level, level, level)))
    np.testing.assert_allclose(lab[0], (lightness, 0.0, 0.0), atol=2e-3)


# --- every picture ------------------------------------------------------------------------------


@settings(deadline=None)
@given(pixels=ANY_PICTURE)
def test_no_picture_gives_nan_or_infinity(pixels):
    everything = [
        skin.optical_density(pixels),
        skin.decompose(pixels),
        *skin.pigment_images(pixels),
        skin.lab_from_srgb(pixels),
        skin.erythema_index(pixels),
        skin.erythema_index(pixels, linearised=False),
    ]
    assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in everything)


def test_every_extreme_colour_is_finite():
    levels = np.array([0, 1, 2, 127, 254, 255], dtype=np.uint8)
    pixels = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    for image in skin.pigment_images(pixels):
        assert image.min() >= 0.0 and image.max() <= 1.0
    assert np.isfinite(skin.decompose(pixels)).all()
    assert np.isfinite(skin.lab_from_srgb(pixels)).all()


@settings(deadline=None)
@given(pixels=ANY_PICTURE)
def test_shape_follows_the_picture_and_each_pixel_stands_alone(pixels):
    """Blocks are an inner matter: a pixel's value does not depend on its neighbours."""
    lab, quantities = skin.lab_from_srgb(pixels), skin.decompose(pixels)
    assert lab.shape == pixels.shape
    assert quantities.shape == (*pixels.shape[:-1], 2)
    assert skin.erythema_index(pixels).shape == pixels.shape[:-1]
    assert skin.skin_mask(pixels).shape == pixels.shape[:-1]
    last = pixels.reshape(-1, 3)[-1:]
    np.testing.assert_allclose(skin.lab_from_srgb(last)[0], lab.reshape(-1, 3)[-1], atol=1e-3)
    np.testing.assert_allclose(skin.decompose(last)[0], quantities.reshape(-1, 2)[-1], atol=1e-3)


def test_large_pictures_agree_with_small_ones():
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 256, (301, 307, 3), dtype=np.uint8)
    rows = np.concatenate([skin.lab_from_srgb(row) for row in pixels])
    np.testing.assert_allclose(skin.lab_from_srgb(pixels).reshape(-1, 3), rows, atol=1e-3)
    rule = np.concatenate([skin.skin_mask(row) for row in pixels])
    np.testing.assert_array_equal(skin.skin_mask(pixels).ravel(), rule)


def test_a_cropped_view_gives_the_same_numbers():
    pixels = np.random.default_rng(8).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    view = pixels[3:31, 5:44]
    assert not view.flags.c_contiguous
    np.testing.assert_array_equal(skin.skin_mask(view), skin.skin_mask(view.copy()))
    np.testing.assert_array_equal(skin.decompose(view), skin.decompose(view.copy()))


def test_constants_of_a_manifest_are_used():
    other = skin.PublishedPigments(
        melanin_vector=(0.4143, 0.3570, 0.8372),
        hemoglobin_vector=(0.2988, 0.6838, 0.6657),
        offset=(0.0, 0.0),
        floor=4.0,
    )
    made = np.exp(-(0.6 * np.array(other.melanin_vector) + 0.3 * np.array(other.hemoglobin_vector)))
    quantities = skin.decompose(pixel(np.rint(made * 255)), other)[0]
    np.testing.assert_allclose(quantities, (0.6, 0.3), atol=0.03)
    black = skin.optical_density(pixel((0, 3, 4)), other.floor)
    np.testing.assert_allclose(black, -math.log(4 / 255), rtol=1e-6)


@pytest.mark.parametrize("floor", [0.0, -1.0, 256.0])
def test_a_useless_floor_is_refused(floor):
    with pytest.raises(ValueError, match="floor must be above 0"):
        skin.optical_density(pixel((1, 2, 3)), floor)


def test_float_pixels_are_refused():
    """0..1 floats would index the tables and come out as plausible nonsense."""
    with pytest.raises(ValueError, match="must be uint8, got float32"):
        skin.decompose(np.ones((2, 2, 3), dtype=np.float32))


# --- tone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("angle", "group"),
    [
        (90.0, "very light"),
        (55.1, "very light"),
        (55.0, "light"),
        (41.0, "intermediate"),
        (28.0, "tan"),
        (10.0, "brown"),
        (-29.9, "brown"),
        (-30.0, "dark"),
        (-90.0, "dark"),
        (math.nan, None),
    ],
)
def test_tone_groups(angle, group):
    assert skin.tone_group(angle) == group


def test_a_bluish_cast_keeps_the_order_of_tones():
    """A bare arctan of the ratio turns light skin with b* below 0 into the darkest of all."""
    lab = np.array([[80.0, 8.0, 2.0], [80.0, 8.0, -2.0], [30.0, 8.0, 2.0]], dtype=np.float32)
    light, bluish, dark = skin.ita_deg(lab)
    assert light > 80 and bluish > 90 and dark < -80


# --- the skin rule ------------------------------------------------------------------------------


@pytest.mark.parametrize("ita", range(-60, 61, 15))
def test_phantom_skin_of_every_tone_is_skin(ita):
    """Clean skin, and skin under a moderate cast: gains of 8 percent on red and on blue."""
    for seed in range(6):
        spec = clean(random_spec(seed, (64, 64), ita_deg=float(ita), lesion_count=0))
        for warmth in (0.92, 1.0, 1.08):
            cast = CameraCurve(white_balance=(warmth, 1.0, 1.0 / warmth))
            picture = render(replace(spec, camera=cast))
            assert skin.skin_mask(picture.pixels).mean() > 0.85


@pytest.mark.parametrize("name", CLOTHS)
def test_cloth_is_not_skin(name):
    for gains in ((1.0, 1.0, 1.0), (1.08, 1.0, 0.92), (0.92, 1.0, 1.08)):
        assert not skin.skin_mask(pixel(with_gains(CLOTHS[name], gains))).any()


def test_cloth_of_phantoms_is_mostly_rejected():
    """Over all casts that the phantom draws; grey under warm light does pass for pale skin."""
    accepted, total = 0, 0
    for seed in range(40):
        picture = render(random_spec(seed, (64, 64), domain="clinical", cloth=True))
        plausible = skin.skin_mask(picture.pixels)
        accepted += int(plausible[~picture.skin].sum())
        total += int((~picture.skin).sum())
    assert accepted / total < 0.12


def test_skin_coloured_cloth_passes():
    """The stated limit: colour alone cannot tell."""
    assert skin.skin_mask(pixel((225, 185, 160))).all()


def test_clipped_and_black_pixels_are_not_skin():
    assert not skin.skin_mask(
        np.array([[255, 255, 255], [255, 252, 240], [20, 8, 5]], np.uint8)
    ).any()


@pytest.mark.skipif(
    "DERMEDGE_DATA" not in os.environ, reason="DERMEDGE_DATA does not name the folder of pictures"
)
def test_real_normal_skin_is_skin():
    paths = sorted((Path(os.environ["DERMEDGE_DATA"]) / "normal_skin").glob("*.png"))
    assert len(paths) >= 80
    shares = [skin.skin_mask(np.asarray(Image.open(path).convert("RGB"))).mean() for path in paths]
    assert np.mean(shares) > 0.95
    assert min(shares) > 0.4
