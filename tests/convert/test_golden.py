"""Golden frames are the same everywhere, cover every tone, and name what cannot be read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from convert import golden
from convert.golden import PHANTOMS, FrameHash, GoldenFrames, phantom
from convert.verdict import FRAMES_MIN
from edge.errors import InputError
from models.phantom import random_spec


def test_a_phantom_is_what_its_number_says() -> None:
    first, again = phantom(3), phantom(3)
    assert np.array_equal(first.pixels, again.pixels) and first.name == again.name
    assert not np.array_equal(first.pixels[:300, :300], phantom(9).pixels[:300, :300])
    assert first.truth is not None and first.truth.shape == first.pixels.shape[:2]


def test_boxes_hold_the_truth() -> None:
    for index in range(12):
        frame = phantom(index)
        assert frame.truth is not None
        drawn = np.zeros_like(frame.truth)
        for x0, y0, x1, y1 in frame.truth_boxes:
            assert frame.truth[y0:y1, x0:x1].any()
            drawn[y0:y1, x0:x1] = True
        assert not (frame.truth & ~drawn).any()


def test_enough_phantoms_of_every_tone_some_without_a_lesion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tones = []

    def noted(seed: int, size_wh: tuple[int, int], *, ita_deg: float):  # type: ignore[no-untyped-def]
        tones.append(ita_deg)
        return random_spec(seed, (64, 64), ita_deg=ita_deg)

    monkeypatch.setattr(golden, "random_spec", noted)
    frames = list(GoldenFrames())
    assert len(frames) == len(GoldenFrames()) == PHANTOMS >= FRAMES_MIN
    counts, _ = np.histogram(tones, bins=6, range=(-60, 60))
    assert counts.min() >= 30
    bare = sum(not frame.truth_boxes for frame in frames)
    assert 0.05 * PHANTOMS < bare < 0.3 * PHANTOMS


def test_the_users_pictures_come_after_the_phantoms(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture = np.full((70, 90, 3), (30, 60, 200), np.uint8)
    cv2.imwrite(str(tmp_path / "in" / "b.png"), picture[..., ::-1])
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    frames = list(GoldenFrames(tmp_path, phantoms=1))
    assert [frame.name for frame in frames[1:]] == ["a.png", "in/b.png"]
    assert np.array_equal(frames[2].pixels, picture) and frames[2].truth is None


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an empty folder"):
        GoldenFrames(tmp_path)
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"torn\.jpg"):
        list(GoldenFrames(tmp_path, phantoms=0))
    with pytest.raises(InputError, match="nowhere"):
        list(GoldenFrames(tmp_path / "nowhere", phantoms=0))
    (tmp_path / "torn.jpg").rename(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="only videos"):
        GoldenFrames(tmp_path)


def test_the_hash_covers_name_size_and_pixels() -> None:
    frame = phantom(0)

    def of(*frames: golden.GoldenFrame) -> str:
        digest = FrameHash()
        for one in frames:
            digest.add(one)
        return digest.hexdigest()

    height, width, _ = frame.pixels.shape
    lying = golden.GoldenFrame(frame.name, frame.pixels.reshape(width, height, 3))
    renamed = golden.GoldenFrame("x", frame.pixels)
    assert of(frame) == of(phantom(0))
    assert len({of(frame), of(lying), of(renamed), of(), of(frame, frame)}) == 5
