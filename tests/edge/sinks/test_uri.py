"""Sinks are made from the way a user names them, and never on top of an earlier run."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.controls import Controls
from edge.errors import RequestError
from edge.sinks.uri import Outputs, outputs_from_uris
from edge.stop import Stop


def outputs(texts, *, overwrite=True, lossless=True, source_path=None) -> Outputs:
    return outputs_from_uris(
        texts,
        overwrite=overwrite,
        lossless=lossless,
        controls=Controls(),
        stop=Stop(),
        source_path=source_path,
    )


def made(*texts: str, overwrite: bool = False) -> list[str]:
    there = outputs(texts, overwrite=overwrite, lossless=False)
    return [output.name for output in (*there.screens, *there.sinks)]


def test_screens_are_apart_because_they_may_come_and_go():
    assert made("headless", "jsonl:a/b.jsonl", "window", "png:c?every=3", "video:d.webm") == [
        "window",
        "headless",
        "jsonl a/b.jsonl",
        "png c",
        "video d.webm",
    ]


def test_a_window_takes_the_size_of_its_screen():
    assert made("window:?screen=800x480") == ["window"]


def test_without_a_wish_a_window_that_may_come_later():
    there = outputs(())
    assert [screen.name for screen in there.screens] == ["window"]
    assert there.sinks == () and not there.screens_must_open


def test_a_screen_alone_must_open_and_beside_a_sink_may_come_later():
    assert outputs(["window"]).screens_must_open
    assert outputs(["screen:HDMI-A-1"]).screens_must_open
    assert not outputs(["window", "headless"]).screens_must_open


@pytest.mark.parametrize(
    "texts",
    [
        ("tv",),
        ("window:1",),
        ("window:?screen=5inch",),
        ("window:?size=800x480",),
        ("window", "window:?screen=800x480"),
        ("headless:x",),
        ("png",),
        ("png:",),
        ("video:?fps=3",),
        ("jsonl:",),
        ("png:a?every=x",),
        ("png:a?every=0",),
        ("png:a?size=3",),
        ("video:a.webm?fps=1000",),
        ("jsonl:a", "jsonl:./a"),
        ("window", "window"),
        ("video:run.mp4",),
        ("video:a.webm", "jsonl:a.webm"),
        ("jsonl:b/../a", "png:a"),
    ],
)
def test_what_cannot_be_meant_is_refused(texts: tuple[str, ...]):
    with pytest.raises(RequestError):
        made(*texts)


def test_an_earlier_run_is_kept(tmp_path: Path):
    (tmp_path / "a.webm").touch()
    (tmp_path / "00000000.overlay.png").touch()
    for text in (f"video:{tmp_path}/a.webm", f"png:{tmp_path}"):
        with pytest.raises(RequestError, match="--overwrite"):
            made(text)
        assert made(text, overwrite=True)
    assert made(f"jsonl:{tmp_path}/new.jsonl", f"png:{tmp_path}/new")


@pytest.mark.parametrize(
    "text", ["video:{0}/in/clip.webm", "jsonl:{0}/in/clip.webm", "png:{0}/in", "png:{0}/in/../"]
)
def test_no_sink_writes_over_the_source_or_around_it(tmp_path: Path, text: str):
    source = tmp_path / "in" / "clip.webm"
    with pytest.raises(RequestError, match="apart from the source"):
        outputs([text.format(tmp_path)], source_path=source)
    (tmp_path / "in").mkdir()
    source.touch()
    with pytest.raises(RequestError, match="apart from the source"):
        folder = source.parent
        outputs([f"video:{source}"], source_path=folder)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(RequestError, match="apart from the source"):
        outputs([f"jsonl:{tmp_path}/link"], source_path=folder)
    beside = [f"jsonl:{tmp_path}/in/clip.jsonl", f"png:{tmp_path}/in/seen"]
    assert outputs(beside, source_path=source)


def test_overlays_that_the_source_reads_are_not_replaced(tmp_path: Path):
    """Those of an earlier run have no JSON beside them, so that a folder's search finds them."""
    (tmp_path / "in" / "seen").mkdir(parents=True)
    (tmp_path / "in" / "seen" / "00000000.overlay.png").touch()

    def sinks(text: str) -> object:
        return outputs([text], source_path=tmp_path / "in").sinks

    with pytest.raises(RequestError, match="apart from the source"):
        sinks(f"png:{tmp_path}/in/seen")
    assert sinks(f"png:{tmp_path}/in/seen/again")


def test_a_link_to_itself_is_no_place_and_stops_no_other(tmp_path: Path):
    (tmp_path / "loop.webm").symlink_to("loop.webm")
    (tmp_path / "a.jpg").touch()
    for text in (f"jsonl:{tmp_path}/run.jsonl", f"jsonl:{tmp_path.parent}/loop"):
        assert outputs([text], source_path=tmp_path)
    with pytest.raises(RequestError, match="apart from the source"):
        outputs([f"video:{tmp_path}/loop.webm"], source_path=tmp_path)
