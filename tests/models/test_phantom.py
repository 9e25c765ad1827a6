"""Phantoms: the same from the same seed, true to their masks, to their tone and to nature."""

import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import skin
from models.phantom import (
    Artefacts,
    CameraCurve,
    Lesion,
    PhantomCamera,
    clean,
    random_spec,
    render,
)
from models.phantom.tissue import basal_melanin, even_skin_ita_deg, grow, reflectance

SEEDS = range(24)


def unit(vector):
    return np.array(vector) / np.linalg.norm(vector)


# --- determinism --------------------------------------------------------------------------------


def test_same_seed_same_picture():
    for seed in (0, 5, 11):
        first, second = render(random_spec(seed)), render(random_spec(seed))
        assert first.spec == second.spec
        np.testing.assert_array_equal(first.pixels, second.pixels)
        np.testing.assert_array_equal(first.labels, second.labels)


def test_same_seed_same_picture_in_another_process():
    here = [zlib.crc32(render(random_spec(seed, (96, 80))).pixels.tobytes()) for seed in range(8)]
    program = (
        "import zlib; from models.phantom import random_spec, render; "
        "print([zlib.crc32(render(random_spec(s, (96, 80))).pixels.tobytes()) for s in range(8)])"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == str(here)


def test_order_of_drawing_does_not_matter():
    alone = render(random_spec(9, (64, 64))).pixels
    for seed in (3, 4):
        render(random_spec(seed, (64, 64)))
    np.testing.assert_array_equal(render(random_spec(9, (64, 64))).pixels, alone)


def test_another_seed_is_another_picture():
    pictures = {render(random_spec(seed, (48, 48))).pixels.tobytes() for seed in SEEDS}
    assert len(pictures) == len(SEEDS)


# --- shapes and truth ---------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**40),
    width=st.integers(16, 200),
    height=st.integers(16, 200),
    domain=st.sampled_from(["clinical", "dermoscopic", None]),
)
def test_any_seed_and_size_gives_a_consistent_phantom(seed, width, height, domain):
    phantom = render(random_spec(seed, (width, height), domain=domain))
    assert phantom.pixels.shape == (height, width, 3) and phantom.pixels.dtype == np.uint8
    assert phantom.mask.shape == phantom.labels.shape == phantom.skin.shape == (height, width)
    np.testing.assert_array_equal(phantom.mask, phantom.labels > 0)
    assert {truth.label for truth in phantom.lesions} == set(np.unique(phantom.labels)) - {0}
    for truth in phantom.lesions:
        rows, columns = np.nonzero(phantom.labels == truth.label)
        assert truth.area_px == rows.size
        assert truth.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_no_lesion_no_mask():
    for seed in SEEDS:
        phantom = render(random_spec(seed, (64, 64), lesion_count=0))
        assert not phantom.mask.any() and phantom.lesions == ()


def test_cloth_hides_lesions():
    covered = 0
    for seed in SEEDS:
        spec = random_spec(seed, (96, 96), cloth=True, lesion_count=4, domain="clinical")
        dressed = render(replace(spec, artefacts=Artefacts()))
        bare = render(replace(spec, artefacts=Artefacts(), edges=()))
        np.testing.assert_array_equal(dressed.labels, np.where(dressed.skin, bare.labels, 0))
        covered += int((bare.mask & ~dressed.mask).sum())
    assert covered > 0


def test_pigments_are_really_raised_inside():
    """Against the same skin without the lesion, pixel by pixel."""
    for seed in SEEDS:
        spec = random_spec(seed, (96, 96), lesion_count=2, cloth=False)
        bare = grow(replace(spec, lesions=()))
        grown = grow(spec)
        for label, lesion in enumerate(spec.lesions, start=1):
            inside = grown.labels == label
            if inside.sum() < 20:
                continue
            more_melanin = (grown.melanin - bare.melanin)[inside]
            more_hemoglobin = (grown.hemoglobin - bare.hemoglobin)[inside]
            if lesion.kind in ("pigmented", "both"):
                assert more_melanin.min() > 0.1 * lesion.melanin
            if lesion.kind in ("red", "both"):
                assert more_hemoglobin.min() > 0.1 * lesion.hemoglobin
        outside = grown.labels == 0
        assert np.abs(grown.melanin - bare.melanin)[outside].mean() < 0.15


def test_truth_reports_the_kind():
    for seed in SEEDS:
        for truth in render(random_spec(seed, (128, 128), lesion_count=3, cloth=False)).lesions:
            if truth.area_px < 50:
                continue
            if truth.kind == "pigmented":
                assert truth.extra_melanin > 3 * truth.extra_hemoglobin
            elif truth.kind == "red":
                assert truth.extra_hemoglobin > truth.extra_melanin


def test_moles_raise_the_erythema_index_too():
    """99 in 100 real nevi do; a phantom whose moles did not would hide that trap."""
    deltas = []
    for seed in range(60):
        spec = random_spec(
            seed, (96, 96), lesion_count=1, kinds=("pigmented",), ita_deg=seed - 10.0
        )
        phantom = render(clean(spec))
        if 100 < phantom.mask.sum() < 6000:
            index = skin.erythema_index(phantom.pixels)
            deltas.append(np.median(index[phantom.mask]) - np.median(index[~phantom.mask]))
    assert len(deltas) > 30
    assert np.mean(np.array(deltas) > 0) >= 0.95


def test_a_ring_has_a_hole_and_a_pale_centre_has_none():
    spec = clean(random_spec(1, (96, 96), lesion_count=0))
    ring = Lesion(
        "red", seed=3, center_xy=(0.5, 0.5), radius=0.3, hemoglobin=0.8, irregularity=0.05
    )
    for clearing, filled in ((1.0, False), (0.3, True)):
        phantom = render(replace(spec, lesions=(replace(ring, clearing=clearing),)))
        assert phantom.mask[48, 48] == filled
        assert phantom.mask.sum() > 500


def test_a_lesion_can_fill_the_frame():
    spec = clean(random_spec(1, (64, 64), lesion_count=0))
    phantom = render(
        replace(spec, lesions=(Lesion("both", 3, (0.5, 0.5), 1.1, melanin=1.0, hemoglobin=0.5),))
    )
    assert phantom.mask.all()


def test_the_draw_covers_what_it_promises():
    """Domains, kinds, empty pictures, rings, frame-filling lesions and satellites all occur."""
    specs = [random_spec(seed) for seed in range(400)]
    lesions = [lesion for spec in specs for lesion in spec.lesions]
    assert {spec.domain for spec in specs} == {"clinical", "dermoscopic"}
    assert {lesion.kind for lesion in lesions} == {"pigmented", "red", "both"}
    assert {lesion.texture for lesion in lesions} == {"plain", "mottled", "reticular", "globular"}
    assert 20 < sum(not spec.lesions for spec in specs) < 100
    assert max(len(spec.lesions) for spec in specs) >= 5
    assert any(lesion.clearing > 0.5 for lesion in lesions)
    assert any(lesion.radius > 0.75 for lesion in lesions)
    assert any(lesion.satellites for lesion in lesions)
    assert any(lesion.scale for lesion in lesions)
    tones = np.array([spec.skin.ita_deg for spec in specs])
    assert tones.min() < -55 and tones.max() > 55
    for name in (
        "hairs",
        "glare",
        "blur",
        "noise",
        "bubbles",
        "ruler",
        "field_radius",
        "pen_marks",
    ):
        assert any(getattr(spec.artefacts, name) for spec in specs), name
    assert any(spec.edges for spec in specs)


# --- tone and optics ----------------------------------------------------------------------------


@pytest.mark.parametrize("ita", range(-60, 61, 20))
def test_ita_asked_is_ita_got(ita):
    for seed in range(5):
        phantom = render(clean(random_spec(seed, (96, 96), ita_deg=float(ita), lesion_count=0)))
        assert phantom.ita_deg == ita
        angle = np.nanmedian(skin.ita_deg(skin.lab_from_srgb(phantom.pixels)))
        assert abs(angle - ita) < 6.0


def test_ita_of_even_skin_is_exact():
    for seed in SEEDS:
        model = random_spec(seed).skin
        assert abs(even_skin_ita_deg(model, basal_melanin(model)) - model.ita_deg) < 0.01


def test_vectors_vary_and_are_not_those_of_the_decomposition():
    """A phantom drawn with the network's own constants would be an oracle."""
    melanin = np.array([random_spec(seed).skin.melanin_vector for seed in range(200)])
    hemoglobin = np.array([random_spec(seed).skin.hemoglobin_vector for seed in range(200)])
    np.testing.assert_allclose(np.linalg.norm(melanin, axis=1), 1.0, atol=1e-6)
    for drawn, own in ((melanin, skin.MELANIN_VECTOR), (hemoglobin, skin.HEMOGLOBIN_VECTOR)):
        degrees = np.degrees(np.arccos(np.clip(drawn @ unit(own), -1.0, 1.0)))
        assert degrees.min() > 0.0
        assert np.median(degrees) > 2.0
        assert degrees.max() > 5.0


def test_light_follows_the_density_model():
    """reflectance() against the formula written out."""
    spec = random_spec(2, (40, 30), lesion_count=1)
    tissue = grow(spec)
    lamp = np.full((30, 40), 0.8, dtype=np.float32)
    light = reflectance(replace(tissue, flakes=np.zeros_like(tissue.flakes)), spec.skin, lamp)
    density = (
        tissue.melanin[..., np.newaxis] * np.array(spec.skin.melanin_vector)
        + tissue.hemoglobin[..., np.newaxis] * np.array(spec.skin.hemoglobin_vector)
        - np.log(np.array(spec.skin.dermis))
    )
    np.testing.assert_allclose(light, 0.8 * np.exp(-density), rtol=2e-4)


def test_plain_camera_is_srgb():
    """Linear light through the default camera comes back as the light it was."""
    spec = clean(random_spec(4, (48, 48)))
    tissue = grow(spec)
    light = reflectance(tissue, spec.skin, np.ones((48, 48), dtype=np.float32))
    back = skin.linear_from_srgb(render(spec).pixels)
    np.testing.assert_allclose(back, np.clip(light, 0, 1), atol=0.006)


def test_a_cast_and_exposure_change_the_colour_but_not_the_truth():
    spec = clean(random_spec(6, (64, 64), lesion_count=2))
    plain = render(spec)
    cast = render(replace(spec, camera=CameraCurve(exposure=0.8, white_balance=(1.2, 1.0, 0.8))))
    np.testing.assert_array_equal(plain.labels, cast.labels)
    assert cast.pixels[..., 2].mean() < plain.pixels[..., 2].mean() - 10


# --- the camera ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size_wh", [(320, 180), (97, 131)])
def test_a_frame_depends_on_its_index_alone(size_wh):
    first, second = PhantomCamera(3, size_wh, 30.0), PhantomCamera(3, size_wh, 30.0)
    for index in range(5):
        first.frame(index)
    for index in (40, 7):
        one, other = first.frame(index), second.frame(index)
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.pixels.shape == (size_wh[1], size_wh[0], 3)


def test_frames_move_slowly_and_belong_to_the_caller():
    camera = PhantomCamera(0, (320, 180), 30.0)
    here = camera.frame(0)
    kept = here.pixels.copy()
    following, later = camera.frame(1), camera.frame(90)
    np.testing.assert_array_equal(here.pixels, kept)
    assert not np.array_equal(here.pixels, following.pixels)
    union = (here.mask | following.mask).sum()
    assert (here.mask & following.mask).sum() > 0.9 * union
    assert (here.mask != later.mask).sum() > (here.mask != following.mask).sum()


@pytest.mark.parametrize("seed", range(4))
def test_the_scene_has_lesions_of_every_kind(seed):
    camera = PhantomCamera(seed, (320, 180), 30.0)
    assert {lesion.kind for lesion in camera.spec.lesions} == {"pigmented", "red", "both"}
    seen = [set(np.unique(camera.frame(index).labels)) - {0} for index in range(0, 600, 60)]
    assert max(len(labels) for labels in seen) >= 3


def test_the_mask_lies_on_the_lesion():
    """Truth and picture move together: lesions stay darker than the skin around them."""
    camera = PhantomCamera(4, (320, 180), 30.0)
    for index in range(0, 300, 75):
        frame = camera.frame(index)
        green = frame.pixels[..., 1].astype(float)
        assert green[frame.mask].mean() < green[~frame.mask].mean() - 5


def neighbours(labels):
    """Pairs of different lesions that touch."""
    pairs = set()
    for first, second in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touching = (first > 0) & (second > 0) & (first != second)
        pairs |= {frozenset(pair) for pair in zip(first[touching], second[touching], strict=True)}
    return pairs


def test_labels_are_moved_not_mixed():
    """Interpolated labels would put rims of lesions 1 and 2 around lesion 3."""
    for seed in range(3):
        camera = PhantomCamera(seed, (320, 180), 30.0)
        scene = neighbours(render(camera.spec).labels)
        for index in range(0, 300, 60):
            assert neighbours(camera.frame(index).labels) <= scene


@pytest.mark.parametrize(("size_wh", "fps"), [((8, 200), 30.0), ((64, 64), 0.0)])
def test_an_impossible_camera_is_refused(size_wh, fps):
    with pytest.raises(ValueError, match="at least 16x16 and a positive rate"):
        PhantomCamera(0, size_wh, fps)
