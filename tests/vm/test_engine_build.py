"""Builds of engines that are killed: on this machine, with NVIDIA's bindings on the stand-in."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.vm.build import CHECKOUT

pytestmark = pytest.mark.vm

FILES = ("tests/convert/test_build_interrupted.py", "tests/convert/test_device_command.py")


def test_build_killed_at_many_points(row):
    """A build is killed wherever it may be: the engine in use stays, the next one is whole."""
    row.where = "host"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", *FILES],
        capture_output=True, text=True, cwd=CHECKOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = re.search(r"(\d+) passed", done.stdout)
    assert found and "skipped" not in done.stdout, done.stdout
    row.figures.append(f"{found[1]} tests of it")
