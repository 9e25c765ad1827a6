"""What only a Jetson has: power rails, the power mode, over-current events.

Names of files: NVIDIA's Jetson Linux Developer Guide, "Platform Power and Performance".
"""

from __future__ import annotations

import re
from pathlib import Path

from edge.board.files import read_int, read_text

_HARMLESS = re.compile(r"fan|hot-surface-alert")


def power(root: Path) -> dict[str, float]:
    """Watts by rail, from the INA3221 monitors: volts times amperes of each channel."""
    found = {}
    for monitor in _hwmon(root, "ina3221"):
        for label in sorted(monitor.glob("in[1-3]_label")):
            channel = label.name[2]
            millivolts = read_int(monitor / f"in{channel}_input")
            milliamperes = read_int(monitor / f"curr{channel}_input")
            if millivolts is not None and milliamperes is not None:
                found[read_text(label) or channel] = millivolts * milliamperes / 1e6
    return found


def over_current_events(root: Path) -> dict[str, int]:
    """How often each over-current alarm has throttled the board since it started."""
    found = {}
    for alarm in _hwmon(root, "soctherm_oc"):
        for path in sorted(alarm.glob("oc*_event_cnt")):
            count = read_int(path)
            if count is not None:
                found[path.name.partition("_")[0]] = count
    return found


def throttled(root: Path) -> tuple[str, ...] | None:
    """Cooling devices that are holding something back now; ``None`` where there are none.

    Fans hold nothing back, and an Orin's ``hot-surface-alert``, by its name, only says that its
    case is too warm to be touched (docs/unverified.md).
    """
    devices = sorted((root / "sys/class/thermal").glob("cooling_device*"))
    states = [(read_text(d / "type") or d.name, read_int(d / "cur_state")) for d in devices]
    known = [(n, state) for n, state in states if state is not None and not _HARMLESS.search(n)]
    return tuple(name for name, state in known if state > 0) if known else None


def power_mode(root: Path) -> str | None:
    """Name of the mode in force, e.g. ``15W``; its number where its name is not known."""
    status = re.search(r"pmode:(\d+)", read_text(root / "var/lib/nvpmodel/status") or "")
    if status is None:
        return None
    number = int(status[1])
    named = re.search(
        rf"<\s*POWER_MODEL\s+ID={number}\s+NAME=(\S+)\s*>",
        read_text(root / "etc/nvpmodel.conf") or "",
    )
    return named[1] if named else f"mode {number}"


def gpu_clock(root: Path) -> dict[str, int]:
    """Hertz of the GPU's clock."""
    for device in sorted((root / "sys/class/devfreq").glob("*gpu*")):
        hertz = read_int(device / "cur_freq")
        if hertz is not None:
            return {"gpu": hertz}
    return {}


def _hwmon(root: Path, name: str) -> list[Path]:
    return [
        path
        for path in sorted((root / "sys/class/hwmon").glob("hwmon*"))
        if read_text(path / "name") == name
    ]
