"""The card check: a card is read, anything else is refused, and a check is kept whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import InputError
from edge.frame import Frame
from edge.guards.card_check import (
    CardCheck,
    card_file,
    check_card,
    load_check,
    measure_card,
    save_check,
)
from models.data_folder import read_rgb
from models.phantom import random_spec, render

Uint8 = NDArray[np.uint8]


def card(color_rgb: tuple[int, int, int], *, fall_off: float = 0.1, grain: float = 3.0) -> Uint8:
    """A card in front of the camera, its light falling off across the picture."""
    rng = np.random.default_rng(1)
    light = np.linspace(1.0, 1.0 - fall_off, 320)[None, :, None] * np.array(color_rgb, np.float64)
    noisy = light + rng.normal(0.0, grain, (240, 320, 3))
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


LOCKED = {"exposure": True, "gain": True, "white_balance": True}


def frame_of(pixels: Uint8, locked: object = LOCKED) -> Frame:
    settings = {"awb_gains_rb": [2, 1], "locked": locked, "colour_locked": False}  # one is due
    return Frame(pixels, 3, "v4l2:usb-1", 5_000, "monotonic", "driver", settings=settings)


def test_a_card_reads_the_ratios_of_linear_light() -> None:
    reading = measure_card(card((200, 190, 180)))
    linear = [((v * 0.95 / 255 + 0.055) / 1.055) ** 2.4 for v in (200, 190, 180)]
    assert reading.level == pytest.approx(linear[1], rel=0.02)
    assert reading.r_over_g == pytest.approx(linear[0] / linear[1], rel=0.005)
    assert reading.b_over_g == pytest.approx(linear[2] / linear[1], rel=0.005)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (card((255, 255, 250)), "burnt out"),
        (card((45, 45, 45)), "too dark"),
        (card((230, 190, 160)), "a colour"),
        (card((190, 190, 190), fall_off=0.9), "varies"),
    ],
)
def test_what_cannot_be_read_is_refused(pixels: Uint8, words: str) -> None:
    with pytest.raises(InputError) as caught:
        measure_card(pixels)
    assert words in caught.value.got and caught.value.next_step


def test_printed_paper_is_no_card() -> None:
    pixels = card((200, 200, 200))
    pixels[100:140:8, 100:220] = 60
    with pytest.raises(InputError, match="varies"):
        measure_card(pixels)


@pytest.mark.parametrize("tone_deg", [-60.0, -30.0, 0.0, 30.0, 60.0])
def test_skin_is_no_card(tone_deg: float) -> None:
    for seed in range(12):
        with pytest.raises(InputError):
            measure_card(
                render(random_spec(seed, (160, 120), ita_deg=tone_deg, cloth=False)).pixels
            )


def test_real_skin_is_no_card() -> None:
    folder = os.environ.get("DERMEDGE_DATA")
    if not folder:
        pytest.skip("DERMEDGE_DATA names no folder of real pictures")
    paths = sorted((Path(folder) / "normal_skin").glob("*.png"))
    assert len(paths) > 50
    for path in paths:
        with pytest.raises(InputError):
            measure_card(read_rgb(path))


def test_the_first_check_is_the_reference_of_the_next() -> None:
    first = check_card(frame_of(card((195, 190, 185))), "ring", None, boot_id="b")
    assert first.passed and first.reference == first.reading
    same = check_card(frame_of(card((156, 152, 148))), "ring", first, boot_id="b")
    assert same.passed and same.reference == first.reading  # less light, the same colour
    warm = check_card(frame_of(card((203, 190, 180))), "ring", same, boot_id="b")
    assert not warm.passed and warm.reference == first.reading
    other = check_card(frame_of(card((203, 190, 180))), "other", same, boot_id="b")
    assert other.passed and other.reference == other.reading


def test_a_recording_cannot_be_checked() -> None:
    frame = Frame(card((200, 190, 180)), 0, "file:card.png", None, None, "file")
    with pytest.raises(InputError, match="live camera"):
        check_card(frame, "ring", None, boot_id=None)


@pytest.mark.parametrize("locked", [None, {}, {**LOCKED, "gain": None}, {**LOCKED, "gain": False}])
def test_a_camera_on_automatic_cannot_be_checked(locked: object) -> None:
    with pytest.raises(InputError, match="name a colour profile"):
        check_card(frame_of(card((195, 190, 185)), locked), "ring", None, boot_id="b")


def test_a_check_is_kept_and_read_back(tmp_path: Path) -> None:
    path = card_file(tmp_path / "state", "v4l2:usb-0ac8:0345/1")
    assert path.name == "card-v4l2_usb-0ac8_0345_1.json"
    assert load_check(path) is None
    check = check_card(
        frame_of(card((200, 190, 180))), "ring", None, boot_id="b", wall="2026-11-24T10:00:00Z"
    )
    save_check(path, check)
    assert load_check(path) == check
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": "dermedge.card_check/2"}'])
def test_a_file_that_is_no_check_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="check the card"):
        load_check(path)


def test_a_check_from_a_later_version_is_read(tmp_path: Path) -> None:
    check = check_card(frame_of(card((200, 190, 180))), "ring", None, boot_id="b")
    path = tmp_path / "card.json"
    save_check(path, check)
    path.write_text(path.read_text().replace('"source"', '"more": 1, "source"', 1))
    assert load_check(path) == check
    assert isinstance(check, CardCheck)
