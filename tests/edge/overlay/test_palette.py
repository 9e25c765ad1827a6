from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from overlay_for_tests import contrast, luminance, skin_rgb

from edge.overlay.palette import REGION_COLOURS, STATUS_COLOURS, region_colour
from edge.result import STATUS_WORDS

# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(rgb: tuple[int, int, int], sight: NDArray[np.float64]) -> NDArray[np.float64]:
    part = np.array(rgb) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(sight) @ linear, 0, 1)
    ratio = (XYZ @ seen) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_region_colours_differ_for_every_kind_of_sight() -> None:
    for name, sight in SIGHTS.items():
        for one, other in combinations(REGION_COLOURS, 2):
            distance = np.linalg.norm(lab(one, sight) - lab(other, sight))
            assert distance > 20, (name, one, other, distance)


def test_region_colours_stand_out_from_the_dark_line_beside_them() -> None:
    for colour in REGION_COLOURS:
        assert contrast(luminance(colour), np.array(0.0)) > 7


def test_one_of_bright_and_dark_stands_out_on_any_skin() -> None:
    """2.7 is the least for the worst skin between them; they themselves differ by 7 and more."""
    for ita_deg in range(-60, 61, 5):
        skin = luminance(skin_rgb(ita_deg))
        for colour in REGION_COLOURS:
            assert max(contrast(luminance(colour), skin), contrast(np.array(0.0), skin)) > 2.7


def test_colours_follow_letters() -> None:
    assert region_colour("A") == REGION_COLOURS[0]
    assert region_colour("H") == REGION_COLOURS[7]
    assert region_colour("I") == REGION_COLOURS[0]
    assert region_colour("AA") == REGION_COLOURS[26 % 8]


def test_every_status_has_its_own_colour() -> None:
    assert STATUS_COLOURS.keys() == STATUS_WORDS.keys()
    assert len(set(STATUS_COLOURS.values())) == len(STATUS_COLOURS)
