"""Nodes that a display and buttons need: there, open, or why not and what lets them in."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edge.config import Config
from edge.doctor import basis, nodes
from edge.doctor.line import Line
from edge.inputs import evdev


@pytest.fixture(autouse=True)
def an_account_in_no_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    monkeypatch.setattr(nodes, "account", lambda: "alice")
    monkeypatch.setattr(nodes, "_is_group", lambda name: True)


def made(dev: Path, *names: str) -> None:
    for name in names:
        (dev / name).parent.mkdir(parents=True, exist_ok=True)
        (dev / name).touch()


def closed(monkeypatch: pytest.MonkeyPatch, number: int, *names: str) -> None:
    """Make nodes of these names refuse, as a kernel does; tests may run as root."""
    genuine = os.open

    def refuse(path: object, *rest: int, **more: int) -> int:
        if Path(str(path)).name in names:
            raise OSError(number, os.strerror(number), str(path))
        return genuine(str(path), *rest, **more)

    monkeypatch.setattr(os, "open", refuse)


def lines(dev: Path, sinks: tuple[str, ...] = (), inputs: tuple[str, ...] = ()) -> list[Line]:
    content = {"output": {"sinks": sinks}, "controls": {"inputs": inputs}}
    return list(nodes.examine(Config.model_validate(content), dev))


def test_nothing_is_looked_at_that_is_not_configured(tmp_path: Path):
    made(tmp_path, "dri/card0", "input/event0", "gpiochip0")
    assert lines(tmp_path, sinks=("headless", "window")) == []


@pytest.mark.parametrize(
    ("there", "sink", "state", "words"),
    [
        (("dri/card0", "dri/card1"), "screen:", "ok", "DEV/dri/card0, DEV/dri/card1"),
        (("dri/card0", "fb0"), "screen:HDMI-A-1", "ok", "DEV/dri/card0"),
        (("dri/renderD128", "fb0"), "screen:", "ok", "DEV/fb0"),
        (("dri/card0", "fb0"), "screen:fb0", "ok", "DEV/fb0"),
        ((), "screen:", "note", "no DEV/dri/card* and no DEV/fb*"),
        (("dri/card0",), "screen:fb0", "note", "no DEV/fb*"),
    ],
)
def test_a_display(tmp_path: Path, there: tuple[str, ...], sink: str, state: str, words: str):
    made(tmp_path, *there)
    (line,) = lines(tmp_path, sinks=(sink,))
    assert (line.name, line.state) == ("graphics", state)
    assert line.found == words.replace("DEV", str(tmp_path))
    assert bool(line.next_step) == (state != "ok")


def test_a_chip_is_looked_at_by_its_name_and_all_by_a_label(tmp_path: Path, monkeypatch):
    made(tmp_path, "gpiochip0", "gpiochip1")
    closed(monkeypatch, errno.EACCES, "gpiochip1")
    (line,) = lines(tmp_path, inputs=("gpio:gpiochip0/17",))
    assert line == Line("GPIO", "ok", f"{tmp_path}/gpiochip0")
    (line,) = lines(tmp_path, inputs=("gpio:tegra234-gpio/17",))
    assert line.state == "problem" and line.found == f"no permission for {tmp_path}/gpiochip1"
    assert line.next_step == "sudo usermod -aG gpio alice, then log in again"


def test_a_chip_that_is_not_there_is_a_problem(tmp_path: Path):
    (line,) = lines(tmp_path, inputs=("gpio:tegra234-gpio/17",))
    assert line.state == "problem"
    assert line.found == f"no chip tegra234-gpio in {tmp_path}; there: none"
    made(tmp_path, "gpiochip0")
    (line,) = lines(tmp_path, inputs=("gpio:gpiochip4/17",))
    assert line.found == f"no chip gpiochip4 in {tmp_path}; there: gpiochip0" and line.next_step


def test_a_device_of_input_that_is_there(tmp_path: Path, monkeypatch):
    def opened(wanted: evdev.Wanted, root: Path) -> list[int]:
        assert wanted == evdev.Wanted("", 57) and root == tmp_path / "input"
        return [os.open(tmp_path, os.O_RDONLY)]

    monkeypatch.setattr(evdev, "open_devices", opened)
    made(tmp_path, "input/event0", "input/event1")
    before = os.listdir("/proc/self/fd")
    (line,) = lines(tmp_path, inputs=("evdev:?key=KEY_SPACE",))
    assert line == Line("input", "ok", "evdev:?key=KEY_SPACE is there")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_device_of_input_that_is_not_there(tmp_path: Path, monkeypatch):
    (line,) = lines(tmp_path, inputs=("evdev:",))
    assert (
        line.state == "problem" and line.found == f"no device for evdev: (none in {tmp_path}/input)"
    )
    made(tmp_path, "input/event0")  # a plain file: it has no key
    (line,) = lines(tmp_path, inputs=("evdev:Foot switch",))
    assert line.found == "no device for evdev:Foot switch (event0: without a name)"
    assert line.next_step == "plug it in, or name another device or key"

    def gone(*_: object) -> list[int]:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(evdev, "open_devices", gone)
    (line,) = lines(tmp_path, inputs=("evdev:",))
    assert line.state == "problem" and "No such device" in line.found


def test_devices_of_input_that_do_not_open_are_told_once(tmp_path: Path, monkeypatch):
    names = [f"event{number}" for number in range(5)]
    made(tmp_path, *(f"input/{name}" for name in names))
    closed(monkeypatch, errno.EACCES, *names)
    (line,) = lines(tmp_path, inputs=("evdev:", "evdev:?key=KEY_SPACE&wish=card"))
    root = tmp_path / "input"
    listed = f"{root}/event0, {root}/event1, {root}/event2 and 2 more"
    assert line == Line(
        "input",
        "problem",
        f"no permission for {listed}",
        "sudo usermod -aG input alice, then log in again",
    )


def test_the_services_account_comes_into_its_groups_by_the_installation(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "account", lambda: "dermedge")
    made(tmp_path, "dri/card0")
    closed(monkeypatch, errno.EACCES, "card0")
    (line,) = lines(tmp_path, sinks=("screen:",))
    assert line.next_step == (
        "sudo dermedge service install, with the wheels it came from, "
        "puts this account into the group video"
    )


def test_nobody_is_sent_into_a_group_that_is_not_there(tmp_path: Path, monkeypatch):
    """Debian has no group gpio."""
    monkeypatch.setattr(nodes, "_is_group", lambda name: name != "gpio")
    made(tmp_path, "gpiochip0")
    closed(monkeypatch, errno.EACCES, "gpiochip0")
    (line,) = lines(tmp_path, inputs=("gpio:gpiochip0/1",))
    assert "usermod" not in line.next_step and "makes the group gpio" in line.next_step


def test_what_the_units_list_keeps_out_is_no_matter_of_groups(tmp_path: Path, monkeypatch):
    made(tmp_path, "gpiochip0", "gpiochip1", "gpiochip2")
    closed(monkeypatch, errno.EPERM, "gpiochip0", "gpiochip1")
    (line,) = lines(tmp_path, inputs=("gpio:label/1",))
    assert line.found == f"no permission for {tmp_path}/gpiochip0, {tmp_path}/gpiochip1"
    assert line.next_step == "a container or a sandbox keeps it out: let it have the device"
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    (line,) = lines(tmp_path, inputs=("gpio:label/1",))
    assert line.found == (
        f"the unit's DeviceAllow keeps out {tmp_path}/gpiochip0, {tmp_path}/gpiochip1"
    )
    assert line.next_step == (
        "sudo systemctl restart dermedge reads the list of devices anew; "
        "if that does not help, add a DeviceAllow: docs/service.md"
    )


def test_one_line_for_each_cause(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    made(tmp_path, "dri/card0", "dri/card1", "dri/card2")
    closed(monkeypatch, errno.EACCES, "card0")
    closed(monkeypatch, errno.EPERM, "card1")
    closed(monkeypatch, errno.ENODEV, "card2")
    found = [line.found for line in lines(tmp_path, sinks=("screen:",))]
    assert found == [
        f"no permission for {tmp_path}/dri/card0",
        f"the unit's DeviceAllow keeps out {tmp_path}/dri/card1",
        f"{tmp_path}/dri/card2: No such device",
    ]


def test_a_node_in_use_is_one_that_may_be_opened(tmp_path: Path, monkeypatch):
    made(tmp_path, "dri/card0")
    closed(monkeypatch, errno.EBUSY, "card0")
    (line,) = lines(tmp_path, sinks=("screen:",))
    assert line.state == "ok"


def test_nodes_are_opened_as_the_program_opens_them(tmp_path: Path, monkeypatch):
    """The unit lets devices of input be read only."""
    made(tmp_path, "dri/card0", "input/event0", "gpiochip0")
    seen: dict[str, set[int]] = {}
    genuine = os.open

    def watched(path: object, flags: int, *rest: int, **more: int) -> int:
        seen.setdefault(Path(str(path)).name, set()).add(flags & os.O_ACCMODE)
        return genuine(str(path), flags, *rest, **more)

    monkeypatch.setattr(os, "open", watched)
    lines(tmp_path, sinks=("screen:",), inputs=("evdev:", "gpio:gpiochip0/1"))
    assert seen["event0"] == {os.O_RDONLY}
    assert seen["card0"] == seen["gpiochip0"] == {os.O_RDWR}


def test_every_run_looks_at_cameras_and_gpus_in_the_same_way(tmp_path: Path, monkeypatch):
    made(tmp_path, "dev/video0", "dev/dri/renderD128")
    closed(monkeypatch, errno.EACCES, "renderD128")
    monkeypatch.setattr(basis, "DEV", tmp_path / "dev")
    found = {line.name: line for line in basis._groups()}
    assert found["video"] == Line("video", "ok", f"{tmp_path}/dev/video0")
    assert found["render"].next_step == "sudo usermod -aG render alice, then log in again"


def test_an_account_without_a_name_has_its_number(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert nodes.account() == "4000000"
    assert not nodes._is_group("a group that nobody has")
