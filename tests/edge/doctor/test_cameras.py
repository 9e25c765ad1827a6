"""What stands between a configured camera and the program: nodes, a daemon, a library."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.doctor import cameras, nodes
from edge.doctor.line import Line
from edge.sources import v4l2_identity
from edge.sources.v4l2_identity import Listing
from edge.system_packages import how_to_install

STANDIN = Path(__file__).parents[2] / "standin" / "pi"


def lines(uri: str) -> list[Line]:
    return list(cameras.examine(uri))


@pytest.fixture(autouse=True)
def in_no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOCATION_ID", raising=False)


# --- v4l2 -----------------------------------------------------------------------------------------


def refusing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    error = OSError(number, os.strerror(number))
    listing = Listing([], {"/dev/video0": error}, [], [])
    monkeypatch.setattr(v4l2_identity, "list_cameras", lambda host: listing)
    monkeypatch.setattr(nodes, "account", lambda: "dermedge")


@pytest.mark.parametrize("uri", ["v4l2:", "v4l2:/dev/video0?fps=30", "v4l2:usb-1234:5678"])
def test_a_camera_that_does_not_open_is_told_once(monkeypatch, uri: str):
    refusing(monkeypatch, errno.EACCES)
    (line,) = lines(uri)
    assert (line.name, line.state) == ("camera", "problem")
    assert line.found == "no permission for /dev/video0"
    assert "usermod" not in line.next_step
    assert "sudo dermedge service install" in line.next_step


@pytest.mark.parametrize(
    ("number", "found", "step"),
    [
        (errno.EPERM, "the unit's DeviceAllow keeps out /dev/video0", "restart dermedge reads"),
        (errno.EBUSY, "/dev/video0: Device or resource busy", "end what else uses it"),
        (errno.EIO, "/dev/video0: Input/output error", "sudo dmesg"),
    ],
)
def test_only_what_is_a_matter_of_groups_is_said_to_be(monkeypatch, number, found, step):
    refusing(monkeypatch, number)
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    (line,) = lines("v4l2:")
    assert line.found == found and step in line.next_step


def test_a_camera_that_is_not_there(monkeypatch):
    monkeypatch.setattr(v4l2_identity, "list_cameras", lambda host: Listing([], {}, [], []))
    (line,) = lines("v4l2:usb-1234:5678")
    assert line.state == "problem" and line.next_step == "plug it in, or name another source"


# --- argus ----------------------------------------------------------------------------------------


@pytest.fixture
def argus_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the daemon's socket would be; tests bind it."""
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    path = Path("argus_socket")
    monkeypatch.setattr(cameras, "ARGUS_SOCKET", path)
    yield path


def systemd_says(monkeypatch: pytest.MonkeyPatch, folder: Path, load: str, active: str) -> None:
    program = folder / "systemctl"
    program.write_text(
        '#!/bin/sh\ntest "$4" = nvargus-daemon.service || exit 1\n'
        f"echo LoadState={load}\necho ActiveState={active}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


RESTART = "sudo systemctl restart nvargus-daemon"


@pytest.mark.parametrize(
    ("load", "active", "is_bound", "state", "found", "step"),
    [
        ("loaded", "active", True, "ok", "active, argus_socket", ""),
        ("loaded", "active", False, "problem", "active, no argus_socket", RESTART),
        ("loaded", "failed", True, "problem", "failed, argus_socket", RESTART),
        ("loaded", "inactive", False, "problem", "inactive, no argus_socket", RESTART),
        ("loaded", "activating", True, "ok", "activating, argus_socket", ""),
        ("not-found", "inactive", True, "ok", "not-found, argus_socket", ""),
        (
            *("not-found", "inactive", False, "problem", "not-found, no argus_socket"),
            "apt-get install nvidia-l4t-camera (Jetson only)",
        ),
    ],
)
def test_the_daemon_of_argus(
    monkeypatch, tmp_path, argus_socket, load, active, is_bound, state, found, step
):
    systemd_says(monkeypatch, tmp_path, load, active)
    with socket.socket(socket.AF_UNIX) as bound:
        if is_bound:
            bound.bind(str(argus_socket))
        line = lines("argus:0?fps=30")[-1]
    assert line == Line("Argus", state, f"nvargus-daemon.service is {found}", step)


def test_a_unit_with_a_tmp_of_its_own_does_not_see_the_socket(
    monkeypatch, tmp_path: Path, argus_socket: Path
):
    systemd_says(monkeypatch, tmp_path, "loaded", "active")
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    line = lines("argus:0")[-1]
    assert line.state == "problem" and line.next_step == (
        f"{RESTART}; if that does not help, the unit has a /tmp of its own: "
        "sudo dermedge service install --board jetson, with the wheels it came from"
    )


def test_the_daemon_where_systemd_does_not_tell(monkeypatch, argus_socket: Path):
    monkeypatch.setenv("PATH", "")
    argus_socket.touch()  # a plain file is no socket
    line = lines("argus:0")[-1]
    assert line == Line(
        "Argus",
        "problem",
        "nvargus-daemon.service is unknown, no argus_socket",
        "start nvargus-daemon; a container needs its socket: -v argus_socket:argus_socket",
    )
    argus_socket.unlink()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(argus_socket))
        assert lines("argus:0")[-1].state == "ok"


# --- picamera2 ------------------------------------------------------------------------------------


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(STANDIN))


def test_a_camera_of_libcamera_is_named(standin: None):
    line = lines("picamera2:imx708?size=320x240")[-1]
    assert line == Line(
        "camera",
        "ok",
        "picamera2:imx708?size=320x240 is /base/soc/i2c0mux/i2c@1/imx708@1a",
    )


def test_libcamera_without_a_camera(standin: None, monkeypatch):
    monkeypatch.setenv("PICAMERA2_FAULT", "none")
    line = lines("picamera2:")[-1]
    assert line == Line(
        "camera", "problem", "no camera that libcamera knows, for picamera2:", "check its cable"
    )


def test_another_camera_than_the_configured_one(standin: None):
    line = lines("picamera2:imx219")[-1]
    assert line.state == "problem" and "imx708" in line.found
    assert line.next_step == "name one by its model or a part of its id"


@pytest.mark.parametrize(
    ("code", "words", "step"),
    [
        ("raise ImportError('no libcamera')", "ImportError: no libcamera", "apt-get install"),
        ("raise ValueError('numpy.dtype size changed')", "numpy.dtype size", "apt-get install"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended (Killed): no word", "try it:"),
        ("Picamera2 = None", "its process ended (1): AttributeError", "try it:"),
    ],
)
def test_a_picamera2_that_breaks_takes_nobody_with_it(monkeypatch, tmp_path, code, words, step):
    (tmp_path / "picamera2.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    line = lines("picamera2:")[-1]
    assert (line.name, line.state) == ("camera", "problem")
    assert words in line.found and line.next_step.startswith(step)


def test_without_picamera2_it_is_named(monkeypatch, tmp_path: Path):
    words = "No module named 'picamera2'"
    (tmp_path / "picamera2.py").write_text(f"raise ModuleNotFoundError({words!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert lines("picamera2:imx708")[-1] == Line(
        "camera",
        "problem",
        f"ModuleNotFoundError: {words}, for picamera2:imx708",
        how_to_install("python3-picamera2"),
    )
