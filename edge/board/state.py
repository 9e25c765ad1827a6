"""One look at the board, from files of the kernel alone: no tool is run, nobody need be root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge.board import jetson, raspberry_pi
from edge.board.files import read_int, read_text

Kind = Literal["jetson", "raspberry pi", "other"]


@dataclass(frozen=True)
class BoardState:
    """What could be read; what could not is ``None`` or missing, never zero.

    Attributes:
        kind: Which files were looked for besides those of every Linux.
        model: The board's own name.
        temperatures_c: Degrees Celsius by thermal zone.
        clocks_hz: Of every processor that is on, and of the GPU, by name.
        power_w: Watts by rail.
        power_mode: Jetson's ``nvpmodel``, in words.
        throttled: Why it is held back now, in words; empty: it is not; ``None``: it cannot tell.
        events: How often it was, by cause, since it started, where the board counts.
        of_late: Whether it was, by cause, not long ago, where the board only says that.
        memory_total_bytes: Of the machine.
        memory_available_bytes: That programs can have without swapping.
    """

    kind: Kind
    model: str | None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    clocks_hz: Mapping[str, int] = field(default_factory=dict)
    power_w: Mapping[str, float] = field(default_factory=dict)
    power_mode: str | None = None
    throttled: tuple[str, ...] | None = None
    events: Mapping[str, int] = field(default_factory=dict)
    of_late: Mapping[str, bool] = field(default_factory=dict)
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None

    def to_json_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return asdict(self)


def read_board(root: Path = Path("/")) -> BoardState:
    """Look at the board; takes a few milliseconds.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    model = read_text(root / "proc/device-tree/model") or read_text(
        root / "sys/class/dmi/id/product_name"
    )
    memory = _memory(root)
    shared: dict[str, Any] = {
        "model": model,
        "temperatures_c": _temperatures(root),
        "clocks_hz": _clocks(root),
        "memory_total_bytes": memory.get("MemTotal"),
        "memory_available_bytes": memory.get("MemAvailable"),
    }
    if (root / "etc/nv_tegra_release").exists() or "jetson" in (model or "").lower():
        shared["clocks_hz"] = {**shared["clocks_hz"], **jetson.gpu_clock(root)}
        events = jetson.over_current_events(root)
        return BoardState(
            kind="jetson",
            power_w=jetson.power(root),
            power_mode=jetson.power_mode(root),
            throttled=jetson.throttled(root),
            events=events,
            **shared,
        )
    if "raspberry pi" in (model or "").lower():
        throttled, of_late = raspberry_pi.throttling(root)
        return BoardState(kind="raspberry pi", throttled=throttled, of_late=of_late, **shared)
    return BoardState(kind="other", events=_core_throttles(root), **shared)


def _temperatures(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        millidegrees = read_int(zone / "temp")  # a zone that is off cannot be read
        if millidegrees is not None:
            name = read_text(zone / "type") or zone.name
            found[name if name not in found else f"{name} {zone.name[12:]}"] = millidegrees / 1000.0
    return found


def _clocks(root: Path) -> dict[str, int]:
    found = {}
    for policy in sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*")):
        kilohertz = read_int(policy / "scaling_cur_freq")
        if kilohertz is not None:
            found[f"cpu{policy.name[6:]}"] = kilohertz * 1000
    return found


def _memory(root: Path) -> dict[str, int]:
    found = {}
    for line in (read_text(root / "proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def _core_throttles(root: Path) -> dict[str, int]:
    """How often a processor was slowed down for heat, as Intel's count."""
    counts = [
        read_int(path)
        for path in (root / "sys/devices/system/cpu").glob(
            "cpu[0-9]*/thermal_throttle/package_throttle_count"
        )
    ]
    known = [count for count in counts if count is not None]
    return {"thermal": max(known)} if known else {}
