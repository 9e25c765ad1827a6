"""The memory of all processes of the unit that this one belongs to."""

from __future__ import annotations

from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def unit_memory_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Anonymous memory of the unit: what its screens and encoders take, too, and no cached files.

    Files that were written stay in memory until somebody needs the room; counted with them, a
    recorder looks like a leak.

    Args:
        proc: Where ``/proc`` is.
        cgroups: Where the unified hierarchy of control groups is (Linux's
            ``Documentation/admin-guide/cgroup-v2.rst``).

    Returns:
        Bytes; ``None`` outside a service, and where memory is not accounted for in the unified
        hierarchy.
    """
    try:
        groups = (proc / "self" / "cgroup").read_text().splitlines()
        (own,) = (line.removeprefix("0::") for line in groups if line.startswith("0::"))
        if not own.endswith(".service"):
            return None
        figures = (cgroups / own.lstrip("/") / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in figures if line.startswith("anon "))
    except (OSError, ValueError, StopIteration):
        return None
