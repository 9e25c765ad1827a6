"""How much memory a build may take, and whether it was memory that ended one.

On a Jetson CPU and GPU share one memory, so what Linux calls available is what a build has, and a
build that takes more is killed by the kernel without a word. The limits leave room for what
TensorRT and CUDA take beside them; where they were too high still, the build is tried again with
half.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DermedgeError

MIB = 1 << 20

NEEDED_BYTES = 768 * MIB
"""With less available no build is begun."""

RESERVE_BYTES = 512 * MIB
"""For the libraries' code, CUDA's context, the network's weights and this program."""

WORKSPACE_MAX_BYTES = 2048 * MIB
WORKSPACE_MIN_BYTES = 16 * MIB

_LOW_SHARE = 0.05
"""Less than that part of all memory left, and a kill was most likely the kernel's."""

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """What ``/proc/meminfo`` says.

    Attributes:
        total_bytes: All memory of the board.
        available_bytes: What a new program can have without swapping.
    """

    total_bytes: int
    available_bytes: int

    @property
    def is_low(self) -> bool:
        """Whether the kernel may be about to kill."""
        return self.available_bytes < _LOW_SHARE * self.total_bytes


@dataclass(frozen=True)
class Limits:
    """What a build may take.

    Attributes:
        workspace_bytes: Scratch memory that one layer may use.
        tactic_bytes: Memory that the trial of one tactic may use; on a board with shared memory
            TensorRT counts in it what the build holds already.
    """

    workspace_bytes: int
    tactic_bytes: int

    def halved(self) -> Limits:
        """For the next attempt."""
        return Limits(
            max(self.workspace_bytes // 2, WORKSPACE_MIN_BYTES),
            max(self.tactic_bytes // 2, WORKSPACE_MIN_BYTES),
        )


def read_memory(proc: Path = _PROC) -> Memory:
    """The board's memory now.

    Args:
        proc: Where the kernel's files are.

    Raises:
        DermedgeError: It does not say.
    """
    sizes = {}
    try:
        for line in (proc / "meminfo").read_text("ascii").splitlines():
            name, _, value = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                sizes[name] = int(value.split()[0]) * 1024
        return Memory(sizes["MemTotal"], sizes["MemAvailable"])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DermedgeError(
            f"MemTotal and MemAvailable in {proc / 'meminfo'}",
            got=str(error),
            next_step="build on Linux, with /proc mounted",
        ) from error


def limits_for(memory: Memory, workspace_mib: int | None = None) -> Limits:
    """Limits of the first attempt.

    A layer may use half of what is available beyond the reserve, at most 2 GiB; the trial of a
    tactic three quarters of what is available.

    Args:
        memory: What the board has now.
        workspace_mib: The user's own limit for the workspace.

    Raises:
        DermedgeError: There is too little to begin with.
    """
    if memory.available_bytes < NEEDED_BYTES:
        raise DermedgeError(
            f"{NEEDED_BYTES // MIB} MiB of free memory for a build",
            got=f"{memory.available_bytes // MIB} of {memory.total_bytes // MIB} MiB",
            next_step="stop the desktop (sudo systemctl isolate multi-user.target) and other "
            "programs, or add swap on a file, and build again",
        )
    if workspace_mib is None:
        half = (memory.available_bytes - RESERVE_BYTES) // 2
        workspace = min(max(half, WORKSPACE_MIN_BYTES), WORKSPACE_MAX_BYTES)
    else:
        workspace = workspace_mib * MIB
    return Limits(workspace, max(memory.available_bytes // 4 * 3, workspace))


class KernelKills:
    """Whether the kernel killed for lack of memory since this was made.

    Args:
        proc: Where the kernel's files are.
        cgroups: Where those of control groups are.
    """

    def __init__(self, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        self._files = [proc / "vmstat"]
        with contextlib.suppress(OSError):
            # Version 2 has one line, "0::/path".
            own = (proc / "self" / "cgroup").read_text().strip().rpartition(":")[2]
            self._files.append(cgroups / own.lstrip("/") / "memory.events")
        self._before = self._count()

    def happened(self) -> bool:
        """Whether the count of kills is higher than it was."""
        return self._count() > self._before

    def _count(self) -> int:
        kills = 0
        for path in self._files:
            with contextlib.suppress(OSError, ValueError):  # an older kernel, or no control group
                fields = [line.split() for line in path.read_text().splitlines()]
                kills += sum(int(value) for name, value in fields if name == "oom_kill")
        return kills
