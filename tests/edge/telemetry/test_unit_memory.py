"""Memory of the unit, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.telemetry.unit_memory import unit_memory_bytes

GROUP = "system.slice/dermedge.service"


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text(f"0::/{GROUP}\n")
    (tmp_path / GROUP).mkdir(parents=True)
    (tmp_path / GROUP / "memory.stat").write_text("anon 73400320\nfile 9\nanon_thp 5\n")
    return tmp_path


def test_anonymous_memory_of_the_unit(kernel):
    assert unit_memory_bytes(kernel, kernel) == 73400320


@pytest.mark.parametrize(
    "groups",
    [
        "0::/user.slice/user-1000.slice/session-2.scope\n",  # a terminal: everything in it
        "0::/\n",  # the whole machine
        "4:memory:/system.slice/dermedge.service\n1:name=systemd:/x\n",  # not the unified one
        "",
    ],
)
def test_nothing_where_it_would_be_another_figure(kernel, groups):
    (kernel / "self/cgroup").write_text(groups)
    assert unit_memory_bytes(kernel, kernel) is None


@pytest.mark.parametrize("stat", [None, "file 9\n", "anon x\n"])
def test_nothing_where_memory_is_not_accounted_for(kernel, stat):
    path = kernel / GROUP / "memory.stat"
    path.unlink()
    if stat is not None:
        path.write_text(stat)
    assert unit_memory_bytes(kernel, kernel) is None
