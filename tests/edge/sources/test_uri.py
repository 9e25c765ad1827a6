"""Sources are made from the way a user names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import InputError, RequestError
from edge.guards.colour_profile import ColourProfile
from edge.sources.base import TakesStills
from edge.sources.files import FilesSource
from edge.sources.synthetic import SyntheticSource
from edge.sources.uri import source_from_uri
from edge.sources.v4l2 import V4l2Source


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("synthetic", "synthetic:7"),
        ("synthetic:", "synthetic:7"),
        ("synthetic:0", "synthetic:0"),
        ("synthetic:12?size=640x480&fps=15&regions=8", "synthetic:12"),
    ],
)
def test_synthetic(text: str, name: str):
    source = source_from_uri(text)
    assert isinstance(source, SyntheticSource)
    assert source.name == name
    assert source.is_live


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("v4l2", "v4l2:"),
        ("v4l2:", "v4l2:"),
        ("v4l2:/dev/video0", "v4l2:/dev/video0"),
        ("v4l2:usb-0ac8:0345:SN1@1-1.2:1.0?size=1280x720", "v4l2:usb-0ac8:0345:SN1@1-1.2:1.0"),
        ("v4l2:?size=640x480&fps=25&format=YUYV&still=2592x1944", "v4l2:"),
    ],
)
def test_v4l2(text: str, name: str):
    source = source_from_uri(text)
    assert isinstance(source, V4l2Source)
    assert isinstance(source, TakesStills)
    assert source.name == name
    assert source.is_live


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v4l2:?format=H264", "option format that must be MJPG or YUYV"),
        ("v4l2:?size=1280", "WIDTHxHEIGHT"),
        ("v4l2:?fps=0", "fps"),
        ("v4l2:?zoom=2", "'zoom'"),
    ],
)
def test_options_of_v4l2(text: str, words: str):
    with pytest.raises(RequestError, match=words):
        source_from_uri(text)


def test_v4l2_is_for_linux(monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(RequestError, match=r"64-bit Linux .*win32"):
        source_from_uri("v4l2:")


def test_a_colour_profile_says_what_a_camera_holds():
    profile = ColourProfile(name="ring", settle_s=1.0, fixed=("gain",), v4l2={"gamma": 10})
    held = source_from_uri("v4l2:", profile=profile)._lock.profile
    assert (held.name, held.settle_s, held.controls) == ("ring", 1.0, {"gamma": 10})
    assert held.matters == ("exposure", "white_balance")
    assert source_from_uri("v4l2:")._lock.profile is None


@pytest.mark.parametrize("prefix", ["", "files:"])
@pytest.mark.parametrize("name", ["plain.png", "synth?x=1.png", "ab:cd.png", "Bilder ä"])
def test_any_path_that_exists_is_files(tmp_path: Path, monkeypatch, prefix: str, name: str):
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    source = source_from_uri(prefix + name)
    assert isinstance(source, FilesSource)
    assert not source.is_live


@pytest.mark.parametrize("text", ["nothing/here.jpg", "files:nothing/here.jpg"])
def test_a_path_that_is_not_there_is_an_input_error(text: str):
    with pytest.raises(InputError, match="path of a picture"):
        source_from_uri(text)


@pytest.mark.parametrize("text", ["rtsp:x", "synthetic:-1", "", "files:"])
def test_what_there_is_not_names_what_there_is(text: str):
    with pytest.raises(RequestError, match=r"synthetic:"):
        source_from_uri(text)


@pytest.mark.parametrize("text", ["argus:", "argus:1?mode=2&size=1920x1080&still=3840x2160&fps=60"])
def test_a_csi_camera_is_named_by_its_number(text: str):
    source = source_from_uri(text)
    assert source.is_live and source.name == ("argus:1" if "1" in text else "argus:0")


@pytest.mark.parametrize("text", ["argus:front", "argus:100", "argus:-1"])
def test_a_csi_camera_has_a_number(text: str):
    with pytest.raises(RequestError, match="argus:NUMBER"):
        source_from_uri(text)


@pytest.mark.parametrize("text", ["picamera2:", "picamera2:0", "picamera2:imx708?size=1280x720"])
def test_a_raspberry_pis_camera_is_named_by_number_or_model(text: str):
    source = source_from_uri(text)
    assert source.is_live and source.name == text.partition("?")[0]
