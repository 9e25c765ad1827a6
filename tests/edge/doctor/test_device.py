"""One line for each cause, with the way out, for what a configuration needs on this device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from edge.board.state import BoardState
from edge.commands.doctor import doctor
from edge.config import Config
from edge.doctor import cameras, device, inside
from edge.doctor.line import Line
from edge.doctor.question import Answer
from edge.errors import RequestError


def lines(config: dict[str, object]) -> dict[str, Line]:
    return {line.name: line for line in device.examine(Config.model_validate(config))}


def test_json_says_the_same_as_the_lines(tiny_pack: Path, tmp_path: Path):
    config = tmp_path / "c.toml"
    config.write_text(f'[model]\npack = "{tiny_pack}"\n[cases]\nfolder = "{tmp_path}/cases"\n')
    arguments = ["--config", str(config)]
    text = CliRunner().invoke(doctor, arguments).output
    content = json.loads(CliRunner().invoke(doctor, [*arguments, "--json"]).output)
    assert content["schema"] == "dermedge.doctor/1" and content["problems"] == 0
    assert [line["name"] for line in content["lines"]] == [
        line[8:21].strip() for line in text.splitlines()[:-1]
    ]
    assert "cases" in {line["name"] for line in content["lines"]}


def test_a_wrong_configuration_is_a_line(tmp_path: Path, tiny_pack: Path):
    config = tmp_path / "c.toml"
    config.write_text("[cases]\nfoldr = 1\n")
    done = CliRunner().invoke(
        doctor, ["--config", str(config), "--pack", str(tiny_pack)], standalone_mode=False
    )
    assert done.return_value == 2
    assert "problem config" in done.output and "foldr" in done.output


def test_no_camera_is_a_problem_where_one_is_configured():
    found = lines({"source": {"uri": "v4l2:usb-1234:5678"}})["camera"]
    assert found.state == "problem" and found.next_step


def test_room_and_rights(tmp_path: Path):
    config = {
        "cases": {"folder": str(tmp_path / "cases"), "reserve_mb": 1},
        "record": {"reserve_mb": 10_000_000},
        "output": {"sinks": [f"record:{tmp_path}/rec?what=drawn"]},
    }
    found = lines(config)
    assert found["cases"].state == "ok"
    assert found["recordings"].state == "problem" and "are to be left" in found["recordings"].found
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        assert lines(config)["cases"].state == "problem"
        tmp_path.chmod(0o700)


def test_gstreamer_is_asked_where_it_is_needed():
    assert "GStreamer" not in lines({"output": {"sinks": ["headless"]}})
    found = lines({"output": {"sinks": ["screen:"]}})
    assert found["GStreamer"].state in ("ok", "problem")
    if found["GStreamer"].state == "problem":
        assert "apt-get install" in found["GStreamer"].next_step
    argus = lines({"source": {"uri": "argus:0"}})["GStreamer"]
    assert argus.state == "problem" and argus.found.startswith("nvarguscamerasrc: ")
    assert "nvidia-l4t-gstreamer" in argus.next_step


def test_every_element_of_the_argus_pipeline_is_asked_for(monkeypatch):
    asked: list[tuple[str, ...]] = []

    def answer(*words: str) -> Answer:
        asked.append(words)
        return Answer(", ".join(words[1::2]))

    monkeypatch.setattr(device, "ask", answer)
    found = lines({"source": {"uri": "argus:0"}})["GStreamer"]
    assert found == Line("GStreamer", "ok", "nvarguscamerasrc, nvvidconv, appsink, for argus:")
    monkeypatch.setattr(device, "ask", lambda *words: Answer(None, "no answer within 30 s"))
    found = lines({"source": {"uri": "argus:0"}})["GStreamer"]
    assert found.found == "no answer within 30 s, for argus:"
    assert found.next_step == "try it: gst-inspect-1.0 nvarguscamerasrc"


VIDEO_LIBRARIES = (
    ([cv2.CAP_V4L2], "problem", "OpenCV has neither FFmpeg nor GStreamer, for "),
    ([cv2.CAP_GSTREAMER], "ok", "OpenCV has GStreamer, for "),
    ([cv2.CAP_GSTREAMER, cv2.CAP_FFMPEG], "ok", "OpenCV has FFmpeg and GStreamer, for "),
)


@pytest.mark.parametrize(("backends", "state", "words"), VIDEO_LIBRARIES)
def test_videos_need_a_library_behind_opencv(tmp_path: Path, monkeypatch, backends, state, words):
    monkeypatch.setattr(cv2.videoio_registry, "getBackends", lambda: backends)
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "skin.png").touch()
    sink = "video:out/run.webm"
    for uri, sinks, wanted in (
        ("v4l2:", [sink], sink),
        (f"files:{tmp_path}/clip.mp4", [], f"files:{tmp_path}/clip.mp4"),
        (str(tmp_path), [sink], f"{sink}, {tmp_path}"),
    ):
        found = lines({"source": {"uri": uri}, "output": {"sinks": sinks}})["videos"]
        assert (found.state, found.found) == (state, words + wanted)
        assert ("apt-get install python3-opencv" in found.next_step) == (state == "problem")


@pytest.mark.parametrize("uri", ["v4l2:", "argus:0", "picamera2:", "synthetic:7", "PICTURE"])
def test_cameras_and_pictures_need_no_such_library(tmp_path: Path, monkeypatch, uri: str):
    monkeypatch.setattr(cv2.videoio_registry, "getBackends", list)
    picture = tmp_path / "skin.png"
    picture.touch()
    config = {"source": {"uri": uri.replace("PICTURE", str(picture))}}
    assert "videos" not in lines({**config, "output": {"sinks": ["screen:", "jsonl:a"]}})


def test_cameras_nodes_and_daemon_are_in_the_json(tiny_pack: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(cameras, "ARGUS_SOCKET", tmp_path / "argus_socket")
    config = tmp_path / "c.toml"
    config.write_text(
        f'[model]\npack = "{tiny_pack}"\n[source]\nuri = "argus:0"\n'
        '[output]\nsinks = ["screen:"]\n'
        '[controls]\ninputs = ["gpio:gpiochip999/1", "evdev:no such device"]\n'
    )
    done = CliRunner().invoke(doctor, ["--config", str(config), "--json"], standalone_mode=False)
    states = {line["name"]: line["state"] for line in json.loads(done.output)["lines"]}
    assert done.return_value == 2
    assert states["GPIO"] == states["input"] == states["Argus"] == "problem"
    assert states["graphics"] in ("ok", "note", "problem")


@pytest.mark.parametrize(
    ("board", "state", "words"),
    [
        (BoardState("other", None), "ok", "an unknown board"),
        (BoardState("jetson", "x", {"gpu": 91.0}), "problem", "hot: x; 91 °C (gpu)"),
        (BoardState("jetson", "x", throttled=("over-current",)), "problem", "held back: over-c"),
        (BoardState("jetson", "x", events={"over-current": 2}), "ok", "over-current 2 times"),
    ],
)
def test_the_board(monkeypatch, board: BoardState, state: str, words: str):
    monkeypatch.setattr(device, "read_board", lambda: board)
    found = lines({})["board"]
    assert found.state == state and words in found.found


UNIT = """# /etc/systemd/system/dermedge.service
[Unit]
Description=x
[Service]
Type=notify
ExecStart=/bin/x
WatchdogSec=20
User=dermedge
RuntimeDirectory=dermedge
Environment=A=b
Environment=C=d e
StandardInput=tty
# /etc/systemd/system/dermedge.service.d/10-jetson.conf
[Service]
PrivateTmp=no
; a comment=1
[Install]
WantedBy=x
"""


def test_surroundings_are_those_of_the_unit_with_its_drop_ins():
    assert list(inside._properties(UNIT)) == [
        ("User", "dermedge"),
        ("Environment", "A=b"),
        ("Environment", "C=d e"),
        ("PrivateTmp", "no"),
    ]


def test_from_inside_only_as_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RequestError, match="sudo"):
        inside.look_inside([])


def test_a_broken_opencv_is_a_line_of_the_encoder_too(tmp_path: Path):
    (tmp_path / "cv2.py").write_text(
        "import sys\nsys.stderr.write('advice')\nraise ImportError('numpy does not fit')\n"
    )
    config = tmp_path / "c.toml"
    config.write_text(f'[output]\nsinks = ["record:{tmp_path}/rec"]\n')
    done = subprocess.run(
        [sys.executable, "-m", "edge", "doctor", "--config", str(config)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"},
        timeout=120,
    )
    assert done.returncode == 2 and done.stderr == "", done.stderr
    assert "problem encoder      OpenCV does not load: numpy does not fit" in done.stdout


def test_nothing_but_the_lines_is_said(tmp_path: Path, tiny_pack: Path):
    """A machine without fonts warns where it draws; here it is a line."""
    code = (
        "from edge.overlay import fonts; fonts.font_folders = lambda: ();"
        "fonts.can_shape = lambda: False; from edge.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "doctor", "--pack", str(tiny_pack), "--json"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=120,
    )
    assert done.stderr == "" and done.returncode == 0
    (fonts,) = [line for line in json.loads(done.stdout)["lines"] if line["name"] == "fonts"]
    assert fonts["state"] == "note" and "Korean" in fonts["found"]


def test_without_systemd_it_says_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RequestError, match="no systemctl on this system"):
        inside.look_inside([])
