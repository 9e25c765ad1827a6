"""Variation of training pictures: the mask goes where the picture goes, colours stay colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.augment import (
    Donor,
    View,
    donor_from_picture,
    paste,
    random_colour,
    random_damage,
    random_view,
)

SKIN, MOLE = (220, 170, 140), (90, 50, 40)


def _picture(size: int = 160) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.full((size, size, 3), SKIN, np.uint8)
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, (size // 2, size // 2), (size // 4, size // 6), 20, 0, 360, 255, -1)
    pixels[mask > 0] = MOLE
    return pixels, mask


@pytest.mark.parametrize("seed", range(12))
def test_mask_follows_the_picture(seed: int) -> None:
    pixels, mask = _picture()
    seen, truth = random_view(np.random.default_rng(seed), pixels, mask, 96, View())
    assert seen.shape == (96, 96, 3) and truth.shape == (96, 96)
    dark = (np.abs(seen.astype(int) - MOLE).max(axis=2) < 30).astype(np.uint8)
    wrong = (dark > 0) != (truth > 0)
    edge = cv2.dilate(truth, np.ones((5, 5))) != cv2.erode(truth, np.ones((5, 5)))
    assert not (wrong & ~edge).any()


def test_letterboxed_views_have_the_fill_and_no_mask_there() -> None:
    pixels, _ = _picture()
    full = np.full(pixels.shape[:2], 255, np.uint8)
    view = View(letterbox=1.0, fill=(1, 2, 3))
    seen, truth = random_view(np.random.default_rng(1), pixels, full, 96, view)
    filled = (seen == (1, 2, 3)).all(axis=2)
    assert 0.1 < filled.mean() < 0.6
    np.testing.assert_array_equal(truth > 0, ~filled)


def test_the_same_seed_gives_the_same_picture() -> None:
    pixels, mask = _picture()

    def varied(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        seen, _ = random_view(rng, pixels, mask, 64, View())
        return random_damage(rng, random_colour(rng, seen))

    for seed in range(8):
        np.testing.assert_array_equal(varied(seed), varied(seed))
    assert (varied(1) != varied(2)).any()


def test_colours_change_but_order_of_light_stays() -> None:
    grey = np.repeat(np.arange(0, 256, 5, np.uint8)[None, :, None], 3, axis=2)
    for seed in range(20):
        changed = random_colour(np.random.default_rng(seed), grey).astype(int)
        assert (np.diff(changed.sum(axis=2)) >= -2).all()


def test_donor_is_relative_to_its_own_skin() -> None:
    donor = donor_from_picture(*_picture())
    assert donor is not None
    inside = donor.ratio[donor.mask > 0]
    np.testing.assert_allclose(inside.mean(axis=0), np.divide(MOLE, SKIN), atol=0.02)
    np.testing.assert_allclose(donor.ratio[0, 0], 1.0, atol=0.01)


def test_no_donor_from_a_lesion_that_fills_the_picture() -> None:
    pixels, mask = _picture()
    assert donor_from_picture(pixels, np.full_like(mask, 255)) is None


def test_pasted_lesions_darken_skin_inside_their_mask_only() -> None:
    donor = donor_from_picture(*_picture())
    assert isinstance(donor, Donor)
    dark_skin = np.full((200, 200, 3), (90, 60, 45), np.uint8)
    found = 0
    for seed in range(6):
        pixels, mask = paste(np.random.default_rng(seed), dark_skin, [donor, donor])
        found += bool(mask.any())
        core = cv2.erode(mask, np.ones((9, 9), np.uint8)) > 0
        far = cv2.dilate(mask, np.ones((31, 31), np.uint8)) == 0
        assert (pixels[far] == dark_skin[far]).all()
        assert (pixels[core].sum(axis=1) < dark_skin[core].sum(axis=1)).all()
    assert found == 6
