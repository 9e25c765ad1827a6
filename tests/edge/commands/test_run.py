"""`dermedge run` as a user starts it: a real process, a real pack, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.__main__ import main
from edge.sources.containers import check_container
from packs_for_tests import write_pack

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120.0
SMALL = "synthetic:7?size=320x240&fps=30"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edge", "run", *map(str, arguments)]


def environment() -> dict[str, str]:
    without_display = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": "xcb"}
    return {**os.environ, **without_display, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs the command in this process, which saves loading everything again."""

    def call(*arguments: object) -> Ended:
        monkeypatch.chdir(tmp_path)
        for key in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
            monkeypatch.setenv(key, environment()[key])
        monkeypatch.setattr(sys, "argv", ["dermedge", "run", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Ended(int(caught.value.code or 0), captured.out, captured.err)

    return call


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    child = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "Traceback" not in child.stderr
    return child


def lines(path: Path) -> list[dict]:
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def played_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def recording(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 10, (160, 120))
    for index in range(frames):
        picture = np.full((120, 160, 3), (150, 170, 210), np.uint8)
        cv2.circle(picture, (40 + 4 * index, 60), 15, (60, 70, 120), -1)
        writer.write(picture)
    writer.release()


def test_the_phantom_camera_into_every_kind_of_file(tiny_pack: Path, tmp_path: Path):
    child = run(
        tmp_path,
        *("--pack", tiny_pack, "--source", SMALL, "--seconds", 3),
        *("--sink", "jsonl:out/run.jsonl", "--sink", "video:out/run.webm"),
        *("--sink", "png:out/pictures?every=3", "--sink", "headless"),
    )
    assert child.returncode == 0, child.stderr
    results = lines(tmp_path / "out/run.jsonl")
    ids = [result["frame"]["id"] for result in results]
    assert ids == sorted(set(ids)) and len(ids) > 1
    assert {result["schema"] for result in results} == {"dermedge.result/1"}
    assert {result["frame"]["captured_by"] for result in results} == {"synthetic"}
    assert played_frames(tmp_path / "out/run.webm") >= 1
    pictures = sorted(path.name for path in (tmp_path / "out/pictures").iterdir())
    # Where drawing is slower than the analysis, the newest analyzed frame is drawn.
    drawn = [int(name.partition(".")[0]) for name in pictures]
    assert drawn and set(drawn) <= set(ids) and len(drawn) <= 1 + len(ids) // 3
    for words in ("ended by the time given", "Frame age  median", "segment", f"ok {len(ids)}"):
        assert words in child.stdout
    regions = sum(len(result["regions"]) for result in results)
    assert f"Regions    {regions}," in child.stdout
    assert f"{len(ids)} analyzed" in child.stdout


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGTERM, 0, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")],
)
def test_a_signal_leaves_valid_files(
    tiny_pack: Path, tmp_path: Path, number: int, code: int, words: str
):
    results = tmp_path / "run.jsonl"
    child = subprocess.Popen(
        command(
            *("--pack", tiny_pack, "--source", SMALL, "--sink", f"jsonl:{results}"),
            *("--sink", f"video:{tmp_path / 'run.webm'}"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    until_s = time.monotonic() + PATIENCE_S
    while not (results.exists() and results.read_text("utf-8").count("\n") >= 3):
        assert child.poll() is None and time.monotonic() < until_s
        time.sleep(0.05)
    child.send_signal(number)
    out, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == code, err
    assert f"ended by {words}" in out
    assert "Traceback" not in err
    assert len(lines(results)) >= 3
    check_container(tmp_path / "run.webm")
    assert played_frames(tmp_path / "run.webm") >= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.jsonl", "run.webm"]


def test_a_killed_run_leaves_whole_lines(tiny_pack: Path, tmp_path: Path):
    results = tmp_path / "run.jsonl"
    child = subprocess.Popen(
        command("--pack", tiny_pack, "--source", SMALL, "--sink", f"jsonl:{results}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    until_s = time.monotonic() + PATIENCE_S
    while not (results.exists() and results.read_text("utf-8").count("\n") >= 3):
        assert child.poll() is None and time.monotonic() < until_s
        time.sleep(0.05)
    child.kill()
    child.wait(PATIENCE_S)
    assert len(lines(results)) >= 3


def test_a_recording_is_analyzed_frame_by_frame(here, tiny_pack: Path, tmp_path: Path):
    recording(tmp_path / "clip.webm", 12)
    child = here(
        *("--pack", tiny_pack, "--source", "clip.webm"),
        *("--sink", "jsonl:run.jsonl", "--sink", "video:out.webm"),
    )
    assert child.returncode == 0, child.stderr
    assert [result["frame"]["id"] for result in lines(tmp_path / "run.jsonl")] == list(range(12))
    assert played_frames(tmp_path / "out.webm") == 12
    assert "12 captured and 0 lost by the source, 12 analyzed" in child.stdout
    assert "0 dropped" in child.stdout
    assert "ended by the source's end" in child.stdout


def test_a_folder_with_a_damaged_picture_goes_on_and_ends_with_3(
    here, caplog, tiny_pack: Path, tmp_path: Path
):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(folder / name), np.full((120, 160, 3), (150, 170, 210), np.uint8))
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:60])
    child = here("--pack", tiny_pack, "--source", f"files:{folder}", "--sink", "jsonl:run.jsonl")
    assert child.returncode == 3
    assert len(lines(tmp_path / "run.jsonl")) == 2
    assert "b.png" in child.stdout and "b.png" in caplog.text
    assert "1 failed read" in child.stdout


def test_a_full_disk_closes_the_sink_and_the_loop_goes_on(here, tiny_pack: Path, tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    child = here(
        *("--pack", tiny_pack, "--source", SMALL, "--seconds", 2),
        *("--sink", "jsonl:/dev/full", "--sink", "jsonl:good.jsonl"),
    )
    assert child.returncode == 3
    assert "No space left" in child.stdout
    assert len(lines(tmp_path / "good.jsonl")) > 1


def test_a_model_that_gives_nan_is_refused_on_every_frame(here, tmp_path: Path):
    pack = write_pack(tmp_path / "nan", segmenter_onnx=nan_network())
    child = here(
        *("--pack", pack, "--source", SMALL, "--seconds", 1, "--sink", "jsonl:run.jsonl"),
        *("--sink", "png:pictures"),
    )
    assert child.returncode == 4
    assert {result["status"] for result in lines(tmp_path / "run.jsonl")} == {"model_refused"}
    assert "Model refused: " in child.stdout


def nan_network() -> bytes:
    """The segmenter's interface with 0/0 inside."""
    from onnx import helper

    from packs_for_tests import network_bytes

    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["mean", "mean"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["logit"]),
    ]
    return network_bytes(nodes, {}, {"image": ["N", 9, 96, 96]}, {"logit": ["N", 1, 96, 96]})


_HANGING_CAMERA = """
import sys, time
from edge import intake
from edge.__main__ import main
from edge.sources.synthetic import SyntheticSource
intake.READ_GRACE_S = intake.CLOSE_GRACE_S = 0.1
read = SyntheticSource.read
def hang_after_a_while(self):
    frame = read(self)
    if frame.frame_id > 20:
        time.sleep(600)
    return frame
SyntheticSource.read = hang_after_a_while
main()
"""


def test_a_camera_that_hangs_for_ever_delays_the_end_by_seconds_at_most(
    tiny_pack: Path, tmp_path: Path
):
    arguments = ["run", "--pack", tiny_pack, "--source", SMALL, "--sink", "jsonl:run.jsonl"]
    (tmp_path / "run.toml").write_text("[source]\ngive_up_after_s = 1.0\n", encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-c", _HANGING_CAMERA, *map(str, arguments), "--config", "run.toml"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert child.returncode == 3, child.stderr
    assert "hangs in read" in child.stderr
    assert "no frame for 1 s" in child.stdout
    assert lines(tmp_path / "run.jsonl")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--source", "nothing.jpg"), 3, "does not exist"),
        (("--source", ""), 2, "for --source the path of a picture"),
        (("--source", "files:"), 2, "for --source the path of a picture"),
        (("--source", "argus:front"), 2, "argus:0 is the first"),
        (("--source", "picamera2:"), 2, "apt-get install python3-picamera2"),
        (("--source", "v4l2:?format=H264"), 2, "must be MJPG or YUYV"),
        (("--source", "v4l2:/dev/no-camera"), 3, "a camera at v4l2:/dev/no-camera"),
        (("--source", "synthetic:7", "--check-config", "--backend", "tensorrt"), 2, "tensorrt"),
        (("--check-config", "--pack", "nope"), 2, "'nope'"),
        (("--check-config", "--sink", "video:run.mp4"), 2, "ends in .webm"),
        (("--sink", "window"), 2, "a display to open a window on"),
        (("--sink", "video:run.mp4"), 2, "ends in .webm"),
        (("--sink", "jsonl:/proc/nothing/run.jsonl"), 3, "/proc/nothing"),
        (("--backend", "cuda"), 2, "cuda"),
        (("--seconds", "-1"), 2, "--seconds"),
        (("--pack", "no-such-pack"), 2, "no-such-pack"),
        (("--config", "missing.toml"), 2, "missing.toml"),
        (("--colour", "red"), 2, "--colour"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    here, tiny_pack: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
):
    with_pack = () if "--pack" in arguments else ("--pack", tiny_pack)
    child = here(*with_pack, *arguments)
    assert child.returncode == code, child.stderr
    errors = [line for line in child.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0]
    assert child.stdout == ""


def test_results_on_stdout_are_nothing_but_results(tiny_pack: Path, tmp_path: Path):
    """As in ``dermedge run --sink jsonl:/dev/stdout | jq``."""
    recording(tmp_path / "clip.webm", 4)
    child = run(
        tmp_path, "--pack", tiny_pack, "--source", "clip.webm", "--sink", "jsonl:/dev/stdout"
    )
    assert child.returncode == 0, child.stderr
    assert [json.loads(line)["frame"]["id"] for line in child.stdout.splitlines()] == [0, 1, 2, 3]
    assert "4 analyzed" in child.stderr


def test_what_takes_long_at_the_first_start_is_told(
    here, caplog, tiny_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DERMEDGE_CACHE", str(tmp_path / "empty"))
    caplog.set_level("INFO")
    recording(tmp_path / "clip.webm", 1)
    arguments = ("--pack", tiny_pack, "--source", "clip.webm", "--sink", "headless")
    here(*arguments)
    assert caplog.text.count("preparing tiny-") == 2
    caplog.clear()
    here(*arguments)
    assert "preparing" not in caplog.text


def test_check_config(here, tmp_path: Path):
    child = here("--config", ROOT / "docs/config.toml", "--check-config")
    assert (child.returncode, child.stdout.split()[0]) == (0, "OK:")
    child = here("--check-config", "--pack", "son2021")
    assert child.returncode == 4 and "ONNX file" in child.stderr
    pack = write_pack(tmp_path / "wrong", classifier__onnx__sha256="0" * 64)
    child = here("--check-config", "--pack", pack)
    assert child.returncode == 4 and "sha256" in child.stderr
    (tmp_path / "bad.toml").write_text("[loop]\nsecond = 5\n", encoding="utf-8")
    child = here("--config", "bad.toml", "--check-config")
    assert child.returncode == 2
    assert "bad.toml" in child.stderr and "loop.second = 5" in child.stderr


def test_an_input_is_never_written_over(here, tmp_path: Path):
    """The folder has one video, and the sink its name."""
    (tmp_path / "vs").mkdir()
    (tmp_path / "vs" / "a.webm").write_bytes(b"the only copy")
    child = here("--source", "files:vs", "--sink", "video:vs/a.webm", "--overwrite")
    assert child.returncode == 2 and "apart from the source" in child.stderr
    assert (tmp_path / "vs" / "a.webm").read_bytes() == b"the only copy"


def test_the_config_file_is_used(here, tiny_pack: Path, tmp_path: Path):
    (tmp_path / "run.toml").write_text(
        f'[source]\nuri = "{SMALL}"\n[model]\npack = "{tiny_pack}"\n'
        '[output]\nsinks = ["jsonl:run.jsonl"]\n[loop]\nseconds = 60\n',
        encoding="utf-8",
    )
    child = here("--config", "run.toml", "--seconds", 1)
    assert child.returncode == 0, child.stderr
    assert lines(tmp_path / "run.jsonl")
