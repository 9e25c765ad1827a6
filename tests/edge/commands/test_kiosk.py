"""The screen is taken by one flag and given back by another; a real boot is in tests/vm."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.commands.kiosk import CONFIG, UNIT, kiosk
from edge.config import load_config
from edge.errors import RequestError

needs_systemctl = pytest.mark.skipif(
    shutil.which("systemctl") is None, reason="needs systemctl: apt-get install systemd"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path


def run(root: Path, flag: str) -> str:
    done = CliRunner().invoke(kiosk, [flag, "--root", str(root)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


@needs_systemctl
def test_installed_twice_and_removed_leaves_nothing(root: Path):
    run(root, "--install")
    first = files(root)
    assert f"etc/systemd/system/{UNIT}" in first and f"etc/dermedge/{CONFIG}" in first
    assert any("multi-user.target.wants" in name for name in first)
    run(root, "--install")
    assert files(root) == first
    run(root, "--remove")
    assert files(root) == []
    assert "nothing to remove" in run(root, "--remove")


@needs_systemctl
def test_a_configuration_that_was_changed_stays(root: Path):
    run(root, "--install")
    config = root / "etc" / "dermedge" / CONFIG
    config.write_text('[source]\nuri = "synthetic:7"\n')
    assert "left as it is" in run(root, "--install")
    assert "left, because it was changed" in run(root, "--remove")
    assert files(root) == [f"etc/dermedge/{CONFIG}"]


@needs_systemctl
def test_the_unit_runs_this_very_installation(root: Path):
    run(root, "--install")
    unit = (root / "etc" / "systemd" / "system" / UNIT).read_text()
    assert f"ExecStart={sys.executable} -m edge run --config /etc/dermedge/kiosk.toml" in unit
    assert "@" not in unit.replace("getty@tty1", "").replace("`", "").split("[Unit]")[1]


@needs_systemctl
def test_systemd_finds_no_fault_in_it(root: Path):
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    run(root, "--install")
    unit = root / "etc" / "systemd" / "system" / UNIT
    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if UNIT in line and "man page" not in line]
    assert ours == []


def test_the_configuration_that_comes_with_it_is_one(root: Path):
    source = Path(__file__).parents[3] / "systemd" / CONFIG
    config = load_config(source)
    assert config.source.uri == "v4l2:" and config.output.sinks == ("screen:",)


@pytest.mark.parametrize("arguments", [[], ["--install", "--root", "/nowhere"]])
def test_what_cannot_be_done_is_one_line(arguments: list[str]):
    done = CliRunner().invoke(kiosk, arguments, standalone_mode=False)
    assert isinstance(done.exception, RequestError)
