"""What is exported is what was there, read back from where it went."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases_for_tests import PRESS, frozen
from click.testing import CliRunner
from shots_for_tests import shot

from edge.cases import export as export_module
from edge.cases.writer import CaseWriter
from edge.commands.export import export
from edge.errors import InputError, RequestError
from edge.recording.segment import list_segments
from edge.recording.sink import RecordSink


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Two cases, logs and a recording."""
    writer = CaseWriter(tmp_path / "cases")
    writer.open()
    for number in range(2):
        writer.keep(frozen(number), PRESS)
    (tmp_path / "logs" / "old").mkdir(parents=True)
    (tmp_path / "logs" / "run 10:30.jsonl").write_text("{}\n")
    (tmp_path / "logs" / "old" / "a.log").write_text("a\n")
    (tmp_path / "logs" / ".new-x").write_text("unfinished")
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "0001.mkv").write_bytes(os.urandom(100_000))
    return tmp_path


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(export, [str(a) for a in arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.return_value or 0, done.output


def everything(device: Path, target: Path) -> tuple[int, str]:
    return run(
        *("--to", target, "--cases", device / "cases", "--logs", device / "logs"),
        *("--recordings", device / "video"),
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_everything_arrives_and_verifies(device: Path, tmp_path: Path):
    code, said = everything(device, tmp_path / "stick")
    assert code == 0 and "17 files copied and read back" in said
    there = files(tmp_path / "stick")
    assert there["logs/logs/run 10_30.jsonl"] == b"{}\n" and there["logs/logs/old/a.log"] == b"a\n"
    assert there["recordings/video/0001.mkv"] == (device / "video" / "0001.mkv").read_bytes()
    for name, data in files(device / "cases").items():
        assert there[f"cases/{name}"] == data
    assert not any("unfinished" in str(data[:20]) for data in there.values())
    code, said = run("--verify", tmp_path / "stick")
    assert code == 0 and said == "17 of 17 files are as they were exported\n"


def test_it_verifies_anywhere_and_finds_what_changed(device: Path, tmp_path: Path):
    everything(device, tmp_path / "stick")
    (tmp_path / "stick").rename(tmp_path / "elsewhere")
    target = tmp_path / "elsewhere"
    (target / "logs" / "logs" / "old" / "a.log").write_text("b\n")
    (target / "recordings" / "video" / "0001.mkv").unlink()
    code, said = run("--verify", target)
    assert code == 3
    assert "logs/logs/old/a.log: changed" in said
    assert "recordings/video/0001.mkv: No such file" in said
    assert "15 of 17" in said


def test_a_second_time_copies_only_what_is_new(device: Path, tmp_path: Path):
    everything(device, tmp_path / "stick")
    CaseWriter(device / "cases").keep(frozen(9), PRESS)
    (tmp_path / "stick" / "logs" / "logs" / "old" / "a.log").write_text("b\n")
    code, said = everything(device, tmp_path / "stick")
    assert code == 0 and said.startswith("8 files copied and read back")
    assert "16 were there and the same" in said
    assert run("--verify", tmp_path / "stick")[0] == 0


def test_another_case_of_the_same_code_is_kept_beside(device: Path, tmp_path: Path):
    everything(device, tmp_path / "stick")
    (case, _) = sorted((device / "cases").iterdir())
    there = tmp_path / "stick" / "cases" / case.name / "case.json"
    there.write_text(json.dumps({"another": "case"}))
    code, said = run("--to", tmp_path / "stick", "--cases", device / "cases")
    assert code == 0 and f"case {case.name}: the stick has another one" in said
    assert json.loads(there.read_text()) == {"another": "case"}
    assert (tmp_path / "stick" / "cases" / f"{case.name}-2" / "case.json").is_file()
    code, said = run("--to", tmp_path / "stick", "--cases", device / "cases")
    assert "0 files copied" in said  # and not once more under a third name


def test_a_damaged_case_is_copied_and_told(device: Path, tmp_path: Path):
    (case, _) = sorted((device / "cases").iterdir())
    (case / "mask.png").write_bytes(b"x")
    code, said = run("--to", tmp_path / "stick", "--cases", device / "cases")
    assert code == 3 and f"case {case.name}: mask.png: 1 bytes instead of" in said
    assert (tmp_path / "stick" / "cases" / case.name / "mask.png").read_bytes() == b"x"


@pytest.mark.parametrize("inside", [True, False])
def test_the_target_may_not_lie_in_what_is_exported(device: Path, inside: bool):
    target = device / "cases" / "stick" if inside else device
    with pytest.raises(RequestError, match="a target apart from"):
        run("--to", target, "--cases", device / "cases")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--to DIR or --verify DIR"),
        (["--to", "a", "--verify", "b"], "--to DIR or --verify DIR"),
        (["--to", "a"], "something to export"),
        (["--to", "a", "--cases", "/no/such"], "a file or folder to export"),
    ],
)
def test_wrong_requests_are_one_line(arguments: list[str], words: str):
    with pytest.raises(RequestError, match=words):
        run(*arguments)


def test_what_is_no_export_is_told(tmp_path: Path):
    with pytest.raises(InputError, match="an export in"):
        run("--verify", tmp_path)
    (tmp_path / export_module.MANIFEST).write_text("[1]")
    with pytest.raises(InputError, match="a list of files"):
        run("--verify", tmp_path)


def test_too_small_a_stick_is_told_before_anything_is_copied(device: Path, tmp_path: Path):
    monkey = export_module.shutil.disk_usage
    export_module.shutil.disk_usage = lambda _: type("U", (), {"free": 1000})()  # type: ignore
    try:
        with pytest.raises(InputError, match="MB free in"):
            everything(device, tmp_path / "stick")
    finally:
        export_module.shutil.disk_usage = monkey
    assert files(tmp_path / "stick") == {}


def test_what_is_read_back_wrong_is_no_copy(device: Path, tmp_path: Path, monkeypatch):
    """A stick that says it has written and has not: most cheap ones."""
    real = export_module._digest
    monkeypatch.setattr(
        export_module, "_digest", lambda p: "0" * 64 if p.name.endswith("-part") else real(p)
    )
    with pytest.raises(InputError, match="what was read back is not what was written"):
        everything(device, tmp_path / "stick")
    assert files(tmp_path / "stick") == {}


def test_a_stick_that_fills_up_keeps_what_is_whole_and_goes_on_later(device: Path, tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    stick = tmp_path / "stick"
    stick.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(stick)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        monkey = export_module._check_room
        export_module._check_room = lambda *_: None
        try:
            with pytest.raises(InputError, match="No space left on device .* goes on where"):
                everything(device, stick)
        finally:
            export_module._check_room = monkey
        there = files(stick)
        assert there and not any(name.endswith("-part") for name in there)
        grow = ["mount", "-o", "remount,size=64m", str(stick)]
        subprocess.run(grow, check=True)
        code, said = everything(device, stick)
        assert code == 0 and f"{len(there)} were there and the same" in said
        assert run("--verify", stick)[0] == 0
    finally:
        subprocess.run(["umount", stick], check=True)


def test_on_a_fat_stick(device: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(export_module, "_file_system", lambda _: "vfat")
    monkeypatch.setattr(export_module, "FAT_FILE_BYTES", 50_000)
    code, said = everything(device, tmp_path / "stick")
    assert code == 3 and "recordings/video/0001.mkv: larger than FAT can hold" in said
    assert run("--verify", tmp_path / "stick")[0] == 0


def test_a_folder_one_level_too_high_is_refused(device: Path, tmp_path: Path):
    state, stick = tmp_path / "state", tmp_path / "stick"
    state.mkdir()
    (device / "cases").rename(state / "cases")
    with pytest.raises(RequestError, match=f"name {state / 'cases'}"):
        run("--to", stick, "--cases", state)
    code, said = run("--to", stick, "--cases", device / "logs")
    assert code == 0 and f"{device / 'logs'}: no case in it" in said


def test_recordings_get_videos_and_what_is_being_written_stays(device: Path, tmp_path: Path):
    sink = RecordSink(tmp_path / "rec", reserve_bytes=0)
    sink.open()
    for number in range(8):
        sink.write(shot(number, (128, 96)))
    sink.close()
    (tmp_path / "rec" / "000002.open").mkdir()
    (tmp_path / "rec" / "000002.open" / "video.mjpeg").write_bytes(b"x")
    for copied in (4, 0):
        code, said = run("--to", tmp_path / "stick", "--recordings", tmp_path / "rec", "--playable")
        assert code == 0 and f"\n{copied} files copied" in said
        assert said.startswith("making a video of each recording (1): this may take minutes\n")
        assert "000002.open: it is not closed, and not copied" in said
    names = sorted(files(tmp_path / "stick"))
    assert [name for name in names if ".open" in name] == []
    assert any(name.startswith("recordings/rec/000001/video.") for name in names)
    code, said = run("--verify", tmp_path / "stick")
    assert code == 0 and said.startswith("4 of 4")


def test_the_kind_of_a_file_system_is_found():
    assert export_module._file_system(Path("/proc/self")) == "proc"
    assert export_module._file_system(Path("/")) is not None


def test_as_a_command(device: Path, tmp_path: Path):
    code = "from edge.__main__ import main; main()"
    arguments = ["export", "--to", str(tmp_path / "s"), "--cases", str(device / "cases")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "14 files copied and read back" in done.stdout


# --- while the device goes on ---------------------------------------------------------------------


def test_a_log_that_grows_meanwhile_is_copied_as_far_as_it_was(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    log = device / "logs" / "old" / "a.log"
    copy = export_module._copy_and_digest

    def grow(source, target, size):
        with log.open("a") as file:
            file.write("later\n")
        return copy(source, target, size)

    monkeypatch.setattr(export_module, "_copy_and_digest", grow)
    code, _ = everything(device, tmp_path / "stick")
    assert code == 0
    assert (tmp_path / "stick" / "logs" / "logs" / "old" / "a.log").read_text() == "a\n"
    assert run("--verify", tmp_path / "stick")[0] == 0


def test_a_file_that_became_shorter_is_one_failure(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    items, report = export_module.plan_export(tmp_path / "stick", None, [device / "logs"], None)
    (device / "logs" / "run 10:30.jsonl").write_text("")
    export_module.run_export(tmp_path / "stick", items, report, lambda _: None)
    assert len(report.failures) == 1 and "became shorter" in report.failures[0]
    assert run("--verify", tmp_path / "stick")[0] == 0


def test_a_segment_that_made_room_meanwhile_is_played_from_its_copy(tmp_path: Path):
    sink = RecordSink(tmp_path / "rec", reserve_bytes=0)
    sink.open()
    for number in range(12):
        sink.write(shot(number, (320, 240)))
    sink.close()
    (segment,) = list_segments(tmp_path / "rec")
    target = tmp_path / "stick"
    items, report = export_module.plan_export(target, None, [], tmp_path / "rec")
    export_module.run_export(target, items, report, lambda _: None)
    shutil.rmtree(segment)
    export_module.run_export(target, [], report, lambda _: None, playable=[segment])
    assert report.failures == []
    assert list((target / "recordings" / "rec" / segment.name).glob("video.*"))


def test_a_segment_without_a_copy_is_told_and_the_rest_is_listed(tmp_path: Path):
    target, report = tmp_path / "stick", export_module.Report()
    export_module.run_export(target, [], report, lambda _: None, playable=[tmp_path / "rec" / "x"])
    assert len(report.failures) == 1
    assert run("--verify", target)[0] == 0
