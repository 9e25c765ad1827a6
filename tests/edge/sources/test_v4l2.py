"""The source where there is no camera; with cameras it is tested in tests/vm."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.sources.lost import SourceLost
from edge.sources.v4l2 import V4l2Source
from edge.sources.v4l2_controls import plain_name
from edge.sources.v4l2_identity import Host


@pytest.fixture
def source(tmp_path: Path) -> V4l2Source:
    return V4l2Source("usb-0ac8:0345", host=Host(sysfs=tmp_path, dev=tmp_path, proc=tmp_path))


def test_a_camera_that_is_not_there_can_be_looked_for_again(source: V4l2Source):
    assert source.name == "v4l2:usb-0ac8:0345"
    for _ in range(3):
        with pytest.raises(InputError, match="a camera at v4l2:usb-0ac8:0345; got no camera"):
            source.open()
        with pytest.raises(SourceLost, match="open it again"):
            source.read()
        with pytest.raises(SourceLost):
            source.take_still(0)
        source.close()
        assert source.read() is None
    with pytest.raises(InputError, match="a camera that was closed"):
        source.take_still(0)


def test_closing_twice_and_from_elsewhere_is_harmless(source: V4l2Source):
    source.close()
    with pytest.raises(InputError):
        source.open()
    closers = [threading.Thread(target=source.close) for _ in range(4)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join(10)
        assert not closer.is_alive()


def test_reading_comes_after_opening(source: V4l2Source):
    with pytest.raises(ValueError, match="opened before"):
        source.read()


@pytest.mark.parametrize("count", [1, 5])
def test_two_to_four_buffers(count: int):
    with pytest.raises(ValueError, match="2 to 4"):
        V4l2Source(buffer_count=count)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Exposure Time, Absolute", "exposure_time_absolute"),
        ("Exposure (Absolute)", "exposure_time_absolute"),  # older kernels
        ("White Balance Temperature, Auto", "white_balance_automatic"),
        ("Gain", "gain"),
    ],
)
def test_control_names_are_those_of_v4l2_ctl(written: str, name: str):
    assert plain_name(written) == name
