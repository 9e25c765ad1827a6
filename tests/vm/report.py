"""docs/vm-report.md: what the tests on virtual machines found, written by the run itself."""

from __future__ import annotations

import ast
import datetime
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

UNITS = ("systemd", "edge/appliance")
"""A report that is older than these is no report of them."""


@dataclass
class Row:
    """One test: where it ran, what was checked, what it gave."""

    where: str
    checked: str
    figures: list[str] = field(default_factory=list)
    outcome: str = "not finished"
    took_s: float = 0.0


def figures(seconds: Sequence[float]) -> str:
    """Times of one thing that was done again and again, for a row."""
    return (
        f"{len(seconds)} times, median {statistics.median(seconds):.1f} s, worst "
        f"{max(seconds):.1f} s"
    )


def vm_tests(folder: Path = CHECKOUT / "tests/vm") -> dict[str, set[str]]:
    """Names of the tests by the mark of their file; one with parameters ends with ``[``."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.glob("test_*.py")):
        text = path.read_text("utf-8")
        mark = re.search(r"^pytestmark = pytest\.mark\.(\w+)", text, re.MULTILINE)
        names = found.setdefault(mark[1] if mark else "", set())
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                has_parameters = any("parametrize" in ast.dump(d) for d in node.decorator_list)
                names.add(node.name + "[" * has_parameters)
    return found


class Report:
    """Gathers the rows of one run.

    Args:
        is_test: Whether a row's name is that of a test which still is there.
    """

    def __init__(self, is_test: Callable[[str], bool] | None = None) -> None:
        self._is_test = is_test or _is_test_here
        self.rows: dict[str, Row] = {}
        self.kernels: dict[str, str] = {}
        # Of what is tested: somebody may commit while the machines run.
        self._commit = _git("rev-parse", "--short", "HEAD")

    def write(self, path: Path) -> None:
        """Write it; the last rows of tests that did not run this time stay, with their commit."""
        # The report itself is no change of what was tested.
        status = _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{path}")
        commit = f"{self._commit}{' with changes' if status else ''}"
        kept: list[str] = []
        if path.exists():
            old = path.read_text("utf-8")
            kept = [line for line in old.splitlines() if line.startswith("| test_")]
            kernels = re.findall(r"^- (uml|qemu|nspawn): (.*)$", old, re.MULTILINE)
            self.kernels = {**dict(kernels), **self.kernels}
        path.write_text(self.text(commit, kept), encoding="utf-8")

    def text(self, commit: str, kept: Sequence[str]) -> str:
        now = datetime.datetime.now(datetime.timezone.utc)
        lines = [
            "# The last run of the tests on virtual machines",
            "",
            "Written by `make test-vm`; what the machines are: tests/vm/README.md.",
            "",
            f"- date of the newest rows: {now:%Y-%m-%d %H:%M} UTC",
            f"- host: {platform.machine()}, {_processors()}",
            *(f"- {kind}: {words}" for kind, words in sorted(self.kernels.items())),
            "",
            "| test | where | what was checked | result | figures | s | commit |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            line
            for line in kept
            if line.split()[1] not in self.rows and self._is_test(line.split()[1])
        ]
        for name, row in self.rows.items():
            said = "; ".join(row.figures)
            lines.append(
                f"| {name} | {row.where} | {row.checked} | {row.outcome} | {said} "
                f"| {row.took_s:.0f} | {commit} |"
            )
        return "\n".join(lines) + "\n"


def _is_test_here(name: str) -> bool:
    base, bracket, _ = name.partition("[")
    return any(base + bracket in names for names in vm_tests().values())


def _processors() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(names)} x {names[0]}" if names else "unknown processor"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=CHECKOUT)
    return done.stdout.strip()


def why_old(path: Path, wanted: Collection[str] | None = None) -> str | None:
    """Why the report says nothing about the units that are here; ``None``: it does.

    Args:
        path: Of the report.
        wanted: Tests in containers that it must have; by default all that are here.
    """
    lines = [line for line in path.read_text("utf-8").splitlines() if line.startswith("| test_")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    there = {cells[0] for cells in rows if cells[1] == "nspawn"}
    missing = set(vm_tests()["nspawn"] if wanted is None else wanted) - there
    if missing or not rows:
        return f"{path} has no rows of {', '.join(sorted(missing)) or 'any test'}"
    for cells in rows:
        name, where, result, commit = cells[0], cells[1], cells[3], cells[-1]
        if where != "nspawn":
            continue
        if result != "passed" or not re.fullmatch(r"[0-9a-f]+", commit):
            return f"{path}: {name}: {result} at {commit}"
        for folder in UNITS:
            changed = _git("diff", "--name-only", commit, "HEAD", "--", folder)
            if changed or not _git("cat-file", "-t", commit):
                return f"{path}: {name} ran at {commit}, before {changed or 'a commit not here'}"
    return None


if __name__ == "__main__":
    sys.exit(why_old(CHECKOUT / "docs/vm-report.md"))
