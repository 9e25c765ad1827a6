"""Sums up what a device wrote of itself over hours: ``python -m benchmarks.soak FOLDER``.

FOLDER holds ``telemetry-*.jsonl`` (or ``.jsonl.gz``), as ``[telemetry] folder`` and
``dermedge export --logs`` give them. Each life of the service is a table of its own, a row for each
ten minutes: analyses per second, mean age of the picture when it was shown and when it was
replaced, share of the ages above half a second, memory of the process and of the whole unit, open
files, what the health answer said. Then the slopes after the first ten minutes, with standard
errors. ``--check`` ends with 1 where memory or age grow, or the picture was not live.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.slope import slope_of_blocks

ROW_MIN = 10.0
"""Minutes of a row, of the warm-up that no slope counts, and of a block of the errors."""

OLD_S = 0.5
GROWN_MAX = 0.005
"""What counts as flat: within three standard errors of no slope, or this share of it an hour."""

FIGURES = {
    "age ms": "dermedge_frame_age_seconds",
    "replaced ms": "dermedge_frame_age_when_replaced_seconds",
}
MEMORY = {
    "process MB": "dermedge_process_resident_memory_bytes",
    "unit MB": "dermedge_unit_memory_bytes",
}


@dataclass(frozen=True)
class Life:
    """One process of the service, from its first line to its last."""

    lines: Sequence[dict[str, Any]]

    def minutes(self) -> np.ndarray:
        """Since the first line, shape ``(n,)``."""
        at_ns = np.array([line["monotonic_ns"] for line in self.lines], float)
        return (at_ns - at_ns[0]) / 60e9

    def level(self, name: str) -> np.ndarray:
        """A figure at each line, NaN where it is missing, shape ``(n,)``."""
        return np.array([line["figures"].get(name, np.nan) for line in self.lines], float)

    def mean(self, name: str) -> np.ndarray:
        """Mean of a distribution between two lines, shape ``(n - 1,)``."""
        sums, counts = np.diff(self.level(f"{name}_sum")), np.diff(self.level(f"{name}_count"))
        return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)

    def analyses(self) -> np.ndarray:
        """Analyzed frames so far, at each line, shape ``(n,)``."""
        return np.array(
            [
                sum(v for k, v in line["figures"].items() if k.startswith("dermedge_analyses_t"))
                for line in self.lines
            ],
            float,
        )


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a folder, in the order of its files."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            for text in file:
                try:
                    yield json.loads(text)
                except ValueError:
                    print(f"{path}: a line that was not finished is left out")


def lives(folder: Path) -> list[Life]:
    """The lines by process: a new one begins where the boot or the start is another."""
    found: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for line in read_lines(folder):
        began_s = line["figures"].get("dermedge_process_start_time_seconds", 0.0)
        found.setdefault((line["boot_id"], began_s), []).append(line)
    return [Life(lines) for lines in found.values() if len(lines) > 1]


def print_table(life: Life) -> None:
    """A row for each ten minutes."""
    minutes, between = life.minutes(), life.minutes()[1:]
    print(
        f"{'minutes':>9}{'per s':>7}{'age ms':>9}{'replaced':>10}{f'> {OLD_S:g} s':>9}"
        f"{'process MB':>12}{'unit MB':>9}{'files':>7}  health"
    )
    analyses, ages = life.analyses(), FIGURES["age ms"]
    shown = life.level(f"{ages}_count")
    old = np.diff(shown - life.level(f'{ages}_bucket{{le="{OLD_S}"}}'))
    for begin in np.arange(0.0, between[-1], ROW_MIN):
        at = (minutes >= begin) & (minutes < begin + ROW_MIN)
        part = (between >= begin) & (between < begin + ROW_MIN)
        if part.sum() < 2:
            continue
        said = Counter(line["health"] for line, is_in in zip(life.lines, at, strict=True) if is_in)
        print(
            f"{begin:>4.0f} -{begin + ROW_MIN:>3.0f}"
            f"{np.ptp(analyses[at]) / np.ptp(minutes[at]) / 60.0:>7.2f}"
            f"{1e3 * np.nanmean(life.mean(ages)[part]):>9.0f}"
            f"{1e3 * np.nanmean(life.mean(FIGURES['replaced ms'])[part]):>10.0f}"
            f"{old[part].sum() / max(1.0, np.diff(shown)[part].sum()):>9.2%}"
            f"{np.median(life.level(MEMORY['process MB'])[at]) / 1e6:>12.1f}"
            f"{np.median(life.level(MEMORY['unit MB'])[at]) / 1e6:>9.1f}"
            f"{np.median(life.level('dermedge_process_open_fds')[at]):>7.0f}"
            f"  {', '.join(f'{words}: {count}' for words, count in said.items())}"
        )


def hold_slopes(life: Life) -> bool:
    """Print the slope of each figure after the warm-up; whether all are flat."""
    at, flat = life.minutes(), True
    series = {name: (at, life.level(key) / 1e6) for name, key in MEMORY.items()}
    series |= {name: (at[1:], life.mean(key) * 1e3) for name, key in FIGURES.items()}
    for name, (minutes, values) in series.items():
        counted = (minutes >= ROW_MIN) & np.isfinite(values)
        if counted.sum() < 5:
            print(f"{name:<12} too few lines after {ROW_MIN:g} minutes to tell a slope")
            flat = False
            continue
        hours, values = minutes[counted] / 60.0, values[counted]
        slope, error = slope_of_blocks(hours, values, ROW_MIN / 60.0)
        level = float(np.median(values))
        is_flat = slope <= 3.0 * error or slope <= GROWN_MAX * level
        flat &= is_flat
        print(
            f"{name:<12} median {level:.1f}, {slope:+.2f} ± {error:.2f} an hour "
            f"({slope / level:+.2%}): {'flat' if is_flat else 'GROWS'}"
        )
    return flat


def main() -> int:
    """Print the tables; 1 with ``--check`` where something grows or was not live."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    found = lives(arguments.folder)
    if not found:
        parser.error(f"expected telemetry-*.jsonl in {arguments.folder}; got none with two lines")
    good = len(found) == 1
    for number, life in enumerate(found, start=1):
        bad = sum(line["health"] != "ok" for line in life.lines)
        print(
            f"process {number} of {len(found)}: {len(life.lines)} lines over "
            f"{life.minutes()[-1]:.0f} minutes, {bad} not ok"
        )
        print_table(life)
        good &= hold_slopes(life) and bad == 0
    return int(arguments.check and not good)


if __name__ == "__main__":
    sys.exit(main())
