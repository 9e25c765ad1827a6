"""A training that is killed leaves no process behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra [train]")

pytestmark = pytest.mark.train

PARENT = """
import multiprocessing, os, time
from models.train import end_with_parent

def child(path):
    end_with_parent()
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(120)

if __name__ == "__main__":
    import sys
    process = multiprocessing.get_context("spawn").Process(target=child, args=(sys.argv[1],))
    process.start()
    process.join()
"""


def _wait(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_children_end_with_a_killed_parent(tmp_path: Path) -> None:
    """A stopped command once left two processes training for the rest of their time."""
    script, pid_file = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), str(pid_file)]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        assert _wait(lambda: pid_file.exists() and pid_file.read_text() != "", 60)
        pid = int(pid_file.read_text())
        assert _runs(pid)
    finally:
        parent.kill()
        parent.wait()
    assert _wait(lambda: not _runs(pid), 20)
