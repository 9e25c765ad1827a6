"""Memory is looked at before a build, and again when one was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.build_memory import MIB, KernelKills, Limits, Memory, limits_for, read_memory
from edge.errors import DermedgeError

MEMINFO = """MemTotal:        7800000 kB
MemFree:          100000 kB
MemAvailable:    5000000 kB
SwapTotal:             0 kB
"""


def test_what_linux_calls_available_is_read(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    assert read_memory(tmp_path) == Memory(7_800_000 * 1024, 5_000_000 * 1024)
    here = read_memory()
    assert 0 < here.available_bytes < here.total_bytes


@pytest.mark.parametrize("text", ["", MEMINFO[:20], "MemAvailable: lots\n"])
def test_a_kernel_that_does_not_say(tmp_path: Path, text: str) -> None:
    (tmp_path / "meminfo").write_text(text)
    with pytest.raises(DermedgeError, match="MemTotal and MemAvailable in"):
        read_memory(tmp_path)


@pytest.mark.parametrize(
    ("available_mib", "workspace_mib", "tactic_mib"),
    [(768, 128, 576), (1512, 500, 1134), (4608, 2048, 3456), (60000, 2048, 45000)],
)
def test_limits_follow_from_what_is_available(
    available_mib: int, workspace_mib: int, tactic_mib: int
) -> None:
    limits = limits_for(Memory(64000 * MIB, available_mib * MIB))
    assert limits == Limits(workspace_mib * MIB, tactic_mib * MIB)


def test_a_user_knows_better(tmp_path: Path) -> None:
    limits = limits_for(Memory(8000 * MIB, 1000 * MIB), workspace_mib=900)
    assert limits == Limits(900 * MIB, 900 * MIB)


def test_less_has_an_end() -> None:
    limits = Limits(100 * MIB, 40 * MIB)
    assert limits.halved() == Limits(50 * MIB, 20 * MIB)
    assert limits.halved().halved().halved() == Limits(16 * MIB, 16 * MIB)


def test_low_is_a_twentieth() -> None:
    assert Memory(8000, 399).is_low and not Memory(8000, 400).is_low


@pytest.mark.parametrize("where", ["vmstat", "memory.events"])
def test_the_kernel_counts_its_kills(tmp_path: Path, where: str) -> None:
    proc, group = tmp_path / "proc", tmp_path / "cgroup" / "a" / "b"
    (proc / "self").mkdir(parents=True)
    group.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    counters = {"vmstat": proc / "vmstat", "memory.events": group / "memory.events"}
    for path in counters.values():
        path.write_text("nr_free_pages 12\noom 3\noom_kill 2\n")
    kills = KernelKills(proc, tmp_path / "cgroup")
    assert not kills.happened()
    counters[where].write_text("nr_free_pages 12\noom 4\noom_kill 3\n")
    assert kills.happened()


def test_a_kernel_without_counters_kills_nobody(tmp_path: Path) -> None:
    assert not KernelKills(tmp_path, tmp_path).happened()
