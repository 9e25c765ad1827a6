"""The power goes while cases are saved and video is recorded."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.vm.conftest import CHECKOUT, CODE, PYTHON, cuts, put_code
from tests.vm.lost_writes import disk_after_cut, read_log
from tests.vm.machine import SHARE, ext4_disk

pytestmark = pytest.mark.vm

SCRIPT = f"{PYTHON} {CODE}/tests/vm/guest_power.py"
FOLDER = "/mnt/disk"
SEED = 4


def test_power_cuts(uml, wheel, row, tmp_path):
    """Cases and recordings at random cuts: what was finished is there and opens."""
    chance, number, lost = random.Random(SEED), cuts(6), 0
    names: list[str] = []
    with ext4_disk(tmp_path, "cases", 200 * (number + 4)) as disk:  # each writes some 120 MB
        machine = uml(disks=[disk])
        put_code(machine, wheel)
        mount = f"mkdir -p {FOLDER} && mount {machine.disk(0)} {FOLDER}"
        for _ in range(number):
            machine.check(mount)
            said = machine.run(f"{SCRIPT} write {FOLDER}", cut_after_s=chance.uniform(14.0, 24.0))
            assert said.code is None, said.text
            names += _done(said.text)
            machine.boot()
            machine.check(mount)
            (machine.share / "names").write_text("\n".join(names))
            said = machine.run(f"{SCRIPT} check {FOLDER} {SHARE}/names", limit_s=300)
            lost = _hold(said.text)
            machine.check(f"umount {FOLDER}")
    row.figures.append(
        f"{number} cuts, {_solid(names)} finished cases and segments, none lost "
        f"({lost} files that nobody flushed were)"
    )
    assert _solid(names) >= number and lost > 0


def test_lost_and_torn_writes(qemu, wheel, row, tmp_path):
    """The same on a disk that forgets half of what was not flushed, torn between sectors."""
    chance, number = random.Random(SEED), cuts(12)
    heard: list[tuple[str, int]] = []
    with ext4_disk(tmp_path, "cases", 300) as disk:
        before, log = tmp_path / "before.raw", tmp_path / "writes.log"
        shutil.copy(disk, before)
        machine = qemu(disks=[disk], write_log=log)
        put_code(machine, wheel)
        machine.check(f"mkdir -p {FOLDER} && mount {machine.disk(0)} {FOLDER}")
        machine.run(
            f"{SCRIPT} write {FOLDER} 160x120 mjpeg",
            cut_after_s=150,
            hear=lambda text: heard.extend((name, log.stat().st_size) for name in _done(text)),
        )
    writes = read_log(log)
    lost_files = 0
    # The end, where most has been said, and instants before it.
    for cut in [
        len(writes),
        *(chance.randint(len(writes) // 3, len(writes)) for _ in range(number)),
    ]:
        logged = writes[cut - 1].end_at
        names = [name for name, size in heard if size <= logged]
        lost_files += _check_on_host(tmp_path, before, log, writes[:cut], names, seed=cut)
    row.figures.append(
        f"{number + 1} cuts, {_solid([name for name, _ in heard])} finished cases and segments, "
        f"none lost ({lost_files} files that nobody flushed were)"
    )
    assert _solid([name for name, _ in heard]) > 5 and lost_files > 0


def _check_on_host(folder: Path, before: Path, log: Path, writes, names, *, seed: int) -> int:
    """Mount what the cut leaves and look at it as the next start would."""
    out, mounted, said = folder / "cut.raw", folder / "cut", folder / "names"
    disk_after_cut(before, log, writes, out, seed=seed)
    mounted.mkdir(exist_ok=True)
    said.write_text("\n".join(names))
    subprocess.run(["mount", "-o", "loop", str(out), str(mounted)], check=True)
    try:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("guest_power.py"))]
            + ["check", str(mounted), str(said)],
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
        )
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    assert done.returncode == 0, f"cut after {len(writes)} writes: {done.stdout}{done.stderr}"
    return _hold(done.stdout)


def _done(text: str) -> list[str]:
    return re.findall(r"^done (\S+)$", text, re.MULTILINE)


def _solid(names: list[str]) -> int:
    return sum(1 for name in names if not name.startswith("loose-"))


def _hold(text: str) -> int:
    """Hold what ``guest_power.py check`` printed; returns the number of loose files lost."""
    assert "missing [], broken [], left []" in text, text
    found = re.search(r"(\d+) of \d+ loose files lost", text)
    assert found, text
    return int(found[1])
