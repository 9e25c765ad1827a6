"""The units say what systemd 249 knows, hold together, and are explained on their page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.appliance.files import (
    BOARDS,
    CAMERA_DAEMON,
    ENABLED,
    Choices,
    guard_config,
    place,
    placed,
)
from edge.appliance.layout import Layout
from edge.config import load_config
from edge.errors import InputError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "systemd"
FILES = sorted(
    path
    for pattern in ("*.service", "*.path", "*.target", "drop-ins/*.conf")
    for path in FOLDER.glob(pattern)
)
OLDEST_SYSTEMD = 249


def directives(path: Path) -> Iterator[tuple[str, str, str]]:
    """Section, name and value of every line."""
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield section, name, value


def known() -> dict[tuple[str, str], int]:
    lines = (FOLDER / "directives.txt").read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return {(section, name): int(version) for section, name, version in words}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_directive_is_one_that_the_oldest_systemd_knows(path: Path):
    versions = known()
    for section, name, _ in directives(path):
        assert versions[section, name] <= OLDEST_SYSTEMD, f"[{section}] {name}"


def test_the_list_has_no_directive_that_nobody_uses():
    used = {(section, name) for path in FILES for section, name, _ in directives(path)}
    assert set(known()) == used


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_waits_for_network_or_time(path: Path):
    text = " ".join(f"{name}={value}" for _, name, value in directives(path))
    assert not re.search(r"network|time-sync|nss-|online", text.replace("PrivateNetwork", ""))


def test_every_directive_of_the_sandbox_is_explained():
    page = (ROOT / "docs/service.md").read_text(encoding="utf-8")
    for path in FILES:
        is_sandbox = path.parent.name == "drop-ins"
        for line in path.read_text(encoding="utf-8").splitlines():
            is_sandbox = (is_sandbox or line == "# --- sandbox ---") and line != "[Install]"
            name = line.partition("=")[0]
            if is_sandbox and re.match(r"[A-Z]\w+=", line):
                assert f"`{name}" in page, f"{path.name}: {name}"


def test_the_configuration_of_the_device_is_accepted():
    config = load_config(FOLDER / "dermedge.toml")
    assert config.source.uri == "v4l2:" and config.cases.folder == "/var/lib/dermedge/cases"
    assert config.telemetry.listen == "127.0.0.1:9155"
    # What it names, the unit may write to.
    unit = {name: value for _, name, value in directives(FOLDER / "dermedge.service")}
    for folder in (config.cases.folder, config.telemetry.folder):
        assert folder.removeprefix("/var/lib/") in unit["StateDirectory"].split()
    assert config.recovery.requests == f"/run/{unit['RuntimeDirectory']}"


def test_requests_are_the_files_that_units_wait_for():
    from edge.recovery import DAEMON_REQUEST, REBOOT_REQUEST

    waited = {
        value for path in FOLDER.glob("*.path") for _, name, value in directives(path)
        if name == "PathExists"
    }  # fmt: skip
    assert waited == {f"/run/dermedge/{name}" for name in (DAEMON_REQUEST, REBOOT_REQUEST)}


def test_everything_in_the_folder_is_installed(tmp_path: Path):
    layout = Layout(tmp_path)
    place(layout, FOLDER, Choices("pc", False, ()))
    names = {path.name for path in FILES if path.parent == FOLDER}
    assert {path.name for path in layout.units.iterdir()} == names
    assert {*ENABLED, CAMERA_DAEMON} <= names


def test_the_configuration_is_for_root_and_the_service(tmp_path: Path):
    layout = Layout(tmp_path)
    layout.config.parent.mkdir(parents=True)
    layout.config.write_text("secret")
    guard_config(layout, None)  # an account that is not known: nothing is locked out
    assert layout.config.stat().st_mode & 0o777 == 0o644
    guard_config(layout, os.getgid())
    assert layout.config.stat().st_mode & 0o777 == 0o640
    assert layout.config.stat().st_gid == os.getgid()


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("kiosk", [True, False])
def test_each_board_gets_its_drop_ins_and_loses_those_of_another(
    tmp_path: Path, board, kiosk: bool
):
    layout = Layout(tmp_path)
    for before in BOARDS:
        place(layout, FOLDER, Choices(before, True, ()))
    place(layout, FOLDER, Choices(board, kiosk, ()))
    there = {str(path.relative_to(layout.units)) for path in layout.units.rglob("*.conf")}
    services = ("dermedge.service", "dermedge-convert.service")
    wanted = {f"{unit}.d/10-{board}.conf" for unit in services if board != "pc"}
    wanted |= {"dermedge.service.d/20-kiosk.conf"} if kiosk else set()
    assert there == wanted
    assert place(layout, FOLDER, Choices(board, kiosk, ())) == []  # once more: nothing


def test_a_version_without_some_units_can_be_gone_back_to(tmp_path: Path):
    layout = Layout(tmp_path / "root")
    now, earlier = (
        layout.versions / name / "share/dermedge/systemd" for name in ("now", "earlier")
    )
    for folder in (now, earlier):
        shutil.copytree(FOLDER, folder)
    (now / "dermedge-new.timer").write_text("[Timer]\n")
    place(layout, now, Choices("jetson", True, ()))
    assert layout.units / "dermedge-new.timer" in placed(layout)
    for name in ("dermedge-reboot.path", "dermedge-reboot.service", "udev.rules"):
        (earlier / name).unlink()
    shutil.rmtree(earlier / "drop-ins")
    place(layout, earlier, Choices("jetson", True, ()))
    assert not (layout.units / "dermedge-reboot.path").exists()
    assert not (layout.units / "dermedge-new.timer").exists()
    assert not list(layout.units.rglob("*.conf"))
    assert (layout.units / "dermedge.service").exists()
    (earlier / "dermedge.service").unlink()
    with pytest.raises(InputError, match="dermedge.service of dermedge's installation"):
        place(layout, earlier, Choices("jetson", True, ()))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("board", BOARDS)
def test_the_sandbox_is_as_tight_as_stated(tmp_path: Path, board):
    """The base unit at most 2.5; a board's drop-ins open only what they name."""
    layout = Layout(tmp_path)
    place(layout, FOLDER, Choices(board, False, ()))
    for unit in ("dermedge.service", "dermedge-convert.service"):
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", f"--root={tmp_path}", unit],
            capture_output=True,
            text=True,
        )
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
        if found is None:
            pytest.skip("a systemd-analyze that cannot look at files")
        assert float(found[1]) <= (2.5 if board in ("pc", "pi") else 3.5), (unit, found[0])
