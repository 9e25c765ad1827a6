"""The timing cache is trusted only as it was written, and on the device that it is of."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_cards_for_tests import ORIN

from convert.timing_cache import read_timing_cache, timing_cache_path, write_timing_cache


@pytest.mark.parametrize("cache", [b"what was timed", b"x"])
def test_it_comes_back(tmp_path: Path, cache: bytes) -> None:
    path = tmp_path / "new" / "timing.cache"
    assert read_timing_cache(path) == (b"", "")
    assert write_timing_cache(path, memoryview(cache)) == ""
    assert read_timing_cache(path) == (cache, "")


def test_any_damage_shows(tmp_path: Path) -> None:
    path = tmp_path / "timing.cache"
    write_timing_cache(path, b"what was timed")
    content = path.read_bytes()
    flipped = [
        content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in range(len(content))
    ]
    for damaged in (*flipped, *(content[:length] for length in range(len(content)))):
        path.write_bytes(damaged)
        assert read_timing_cache(path) == (b"", "it is damaged")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert write_timing_cache(tmp_path / "file" / "timing.cache", b"x") != ""
    assert read_timing_cache(tmp_path / "file" / "timing.cache")[0] == b""


def test_every_device_and_version_has_its_own(tmp_path: Path) -> None:
    others = [
        ORIN,
        ORIN.model_copy(update={"tensorrt": "10.3.0.31"}),
        ORIN.model_copy(update={"sm_count": 16}),
    ]
    assert len({timing_cache_path(tmp_path, device) for device in others}) == 3
