"""Overlay pictures: every Nth analyzed frame, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from shots_for_tests import shot

from edge.errors import InputError
from edge.sinks.png import PngSink


def test_every_second_frame(tmp_path: Path):
    sink = PngSink(tmp_path / "out", every=2)
    sink.open()
    for number in (3, 4, 9, 12, 13):
        assert sink.write(shot(number))
    sink.close()
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00000003.overlay.png", "00000009.overlay.png", "00000013.overlay.png"]
    picture = cv2.imread(str(tmp_path / "out" / names[1]))
    np.testing.assert_array_equal(picture[:, :, ::-1], shot(9).drawn)


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError):
        PngSink(tmp_path / "file").open()


def test_a_folder_that_vanished_is_made_again(tmp_path: Path):
    sink = PngSink(tmp_path / "out")
    sink.open()
    (tmp_path / "out").rmdir()
    assert sink.write(shot(1))
    assert (tmp_path / "out" / "00000001.overlay.png").exists()
