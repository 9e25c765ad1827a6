"""Lines of Results: whole or not at all, continued after a crash, mixed with nothing else."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from shots_for_tests import shot

from edge.errors import InputError, RequestError
from edge.health import Health
from edge.sinks import jsonl, video
from edge.sinks.group import SinkGroup
from edge.sinks.jsonl import JsonlSink

IMPORTS = [str(Path(__file__).parents[3]), str(Path(__file__).parents[2])]
"""Where a child finds the package, and then the modules that tests share."""


def write(path: Path, *numbers: int, overwrite: bool = False) -> None:
    sink = JsonlSink(path, overwrite=overwrite)
    sink.open()
    for number in numbers:
        assert sink.write(shot(number))
    sink.close()


def ids(path: Path) -> list[int]:
    return [json.loads(line)["frame"]["id"] for line in path.read_text("utf-8").splitlines()]


def test_a_line_for_each_frame(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "run.jsonl"
    write(path, 3, 5, 9)
    assert ids(path) == [3, 5, 9]
    line = json.loads(path.read_text("utf-8").splitlines()[0])
    assert line == shot(3).result.to_json_dict() | {"frame": line["frame"]}
    assert line["schema"] == "dermedge.result/1"


def test_lines_are_in_the_file_when_write_returns(tmp_path: Path):
    path = tmp_path / "run.jsonl"
    sink = JsonlSink(path)
    sink.open()
    sink.write(shot(1))
    assert ids(path) == [1]  # still open: a kill now loses nothing
    sink.close()
    sink.close()


def test_a_pulled_plug_costs_the_lines_of_one_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ten lines a second by a clock of this test; then one that comes after a long pause."""
    path, clock, on_disk = tmp_path / "run.jsonl", [100.0], [0]
    written, calls = [], []

    def fsync(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            on_disk[0] = len(ids(path))
            calls.append(clock[0])

    monkeypatch.setattr(jsonl, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(os, "fsync", fsync)
    sink = JsonlSink(path)
    sink.open()
    for number in range(40):
        clock[0] += 0.1 if number < 39 else 60.0
        sink.write(shot(number))
        written.append(clock[0])
        lost = written[on_disk[0] :]
        assert not lost or lost[-1] - lost[0] < 1.0
    assert 3 <= len(calls) <= 5, "not every line is brought to the disk by itself"
    assert on_disk == [40]
    sink.close()


def test_a_disk_that_does_not_take_the_lines_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(jsonl, "SYNC_EVERY_S", 0.0)
    sink = JsonlSink(tmp_path / "run.jsonl")
    sink.open()
    monkeypatch.setattr(os, "fsync", fsync)
    for call in (lambda: sink.write(shot(1)), sink.close):
        with pytest.raises(InputError, match="Input/output error"):
            call()


def test_an_earlier_run_is_continued(tmp_path: Path):
    path = tmp_path / "run.jsonl"
    write(path, 1, 2)
    write(path, 3)
    assert ids(path) == [1, 2, 3]
    write(path, 4, overwrite=True)
    assert ids(path) == [4]


@pytest.mark.parametrize("lines", [0, 1, 300])
def test_an_unfinished_last_line_is_dropped(tmp_path: Path, lines: int):
    """After a power cut a file may end in half a line; the next run begins after the last whole."""
    path = tmp_path / "run.jsonl"
    write(path, *range(lines + 1))
    whole = path.read_bytes()
    half = whole[: whole.rstrip(b"\n").rfind(b"\n") + 1 + 40]
    path.write_bytes(half)
    write(path, 1000)
    assert ids(path) == [*range(lines), 1000]


def test_another_file_is_refused_and_untouched(tmp_path: Path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear Dr. Kim,\nno newline at the end", encoding="utf-8")
    with pytest.raises(RequestError, match=r"letter\.txt with other content"):
        JsonlSink(path, overwrite=True).open()
    assert path.read_text("utf-8") == "Dear Dr. Kim,\nno newline at the end"


def test_an_earlier_run_stays_until_the_first_line(tmp_path: Path):
    """--overwrite with a source that does not work must not cost the earlier results."""
    path = tmp_path / "run.jsonl"
    write(path, 1, 2)
    write(path, overwrite=True)
    assert ids(path) == [1, 2]
    write(path, 3, 4, overwrite=True)
    assert ids(path) == [3, 4]


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    sink = JsonlSink(tmp_path / "pipe")
    with pytest.raises(InputError, match="a program that reads .*pipe; got none"):
        sink.open()
    sink.close()


def test_lines_go_through_a_pipe_until_its_reader_leaves(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonlSink(tmp_path / "pipe")
    sink.open()
    assert sink.write(shot(5))
    assert json.loads(os.read(reader, 65536))["frame"]["id"] == 5
    os.close(reader)
    with pytest.raises(InputError, match="one that has gone"):
        sink.write(shot(6))
    sink.close()


def test_a_reader_that_takes_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jsonl, "PIPE_PATIENCE_S", 0.01)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonlSink(tmp_path / "pipe")
    sink.open()
    with pytest.raises(InputError, match="took nothing"):
        for number in range(1000):
            sink.write(shot(number))
    sink.close()
    os.close(reader)


def test_a_full_device_is_an_input_error():
    if not stat.S_ISCHR(os.stat("/dev/full").st_mode):
        pytest.skip("no /dev/full on this system")
    sink = JsonlSink(Path("/dev/full"))
    sink.open()
    with pytest.raises(InputError, match="No space left"):
        sink.write(shot(1))
    sink.close()


_FILL = """
import resource, signal, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from shots_for_tests import shot
from edge.errors import InputError
from edge.sinks.jsonl import JsonlSink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
sink = JsonlSink(Path(sys.argv[1]))
sink.open()
try:
    for number in range(100):
        sink.write(shot(number))
except InputError as error:
    sink.close()
    print(number, error)
"""


def test_a_line_cut_short_by_a_full_disk_is_taken_back(tmp_path: Path):
    """A limit on the file's size fills up in the middle of a line, as a full disk does."""
    path = tmp_path / "run.jsonl"
    child = subprocess.run(
        [sys.executable, "-c", _FILL, str(path), *IMPORTS],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    written, message = child.stdout.split(" ", 1)
    assert "File too large" in message
    assert ids(path) == list(range(int(written)))
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("place", ["file.txt/run.jsonl", "folder"])
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str):
    (tmp_path / "file.txt").touch()
    (tmp_path / "folder").mkdir()
    sink = JsonlSink(tmp_path / place)
    with pytest.raises(InputError):
        sink.open()
    sink.close()


def test_a_file_that_never_got_a_line_is_removed_and_an_older_one_is_not(tmp_path: Path):
    path, older, link = (tmp_path / name for name in ("new.jsonl", "older.jsonl", "link.jsonl"))
    older.touch()
    link.symlink_to("other.jsonl")
    for one in (path, older, link):
        sink = JsonlSink(one)
        sink.open()
        sink.close()
    assert not path.exists() and older.exists() and link.is_symlink()


def test_a_run_that_another_sink_ends_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a disk with no room for a video, which is found out after the lines are opened."""
    monkeypatch.setattr(video, "RESERVE_BYTES", 1 << 62)
    sinks = [JsonlSink(tmp_path / "a.jsonl"), video.VideoSink(tmp_path / "a.webm", 10.0)]
    with pytest.raises(InputError, match="MB free"), SinkGroup(sinks, Health(1.0)):
        pass
    assert list(tmp_path.iterdir()) == []
