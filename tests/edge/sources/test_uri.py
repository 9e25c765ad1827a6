"""Sources are made from the way a user names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import InputError, RequestError
from edge.sources.files import FilesSource
from edge.sources.synthetic import SyntheticSource
from edge.sources.uri import source_from_uri


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


@pytest.mark.parametrize(
    "text", ["v4l2:/dev/video0", "argus:0", "picamera2:0", "rtsp:x", "synthetic:-1", "", "files:"]
)
def test_what_there_is_not_names_what_there_is(text: str):
    with pytest.raises(RequestError, match=r"synthetic:"):
        source_from_uri(text)
