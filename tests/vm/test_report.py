"""The report keeps what ran before, and is not taken for one of units that have changed since."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.vm import report as report_module
from tests.vm.report import CHECKOUT, Report, Row, _is_test_here, vm_tests, why_old


def ran(path: Path, name: str, outcome: str = "passed", where: str = "nspawn") -> None:
    report = Report(lambda name: "gone" not in name)
    report.rows[name] = Row(where, "something", outcome=outcome)
    report.write(path)


def test_rows_stay_until_their_test_runs_again(tmp_path: Path):
    path = tmp_path / "report.md"
    ran(path, "test_one", "FAILED")
    ran(path, "test_gone")
    ran(path, "test_two")
    ran(path, "test_one")
    rows = [line for line in path.read_text().splitlines() if line.startswith("| test_")]
    assert [line.split()[1] for line in rows] == ["test_two", "test_one"]
    assert "FAILED" not in path.read_text()


def test_a_report_of_units_that_have_changed_since_is_old(tmp_path: Path, monkeypatch):
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@x", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, check=True
        ).stdout.strip()

    monkeypatch.setattr(report_module, "CHECKOUT", tmp_path)
    git("init", "-q")
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd/a.service").write_text("1")
    git("add", "-A")
    git("commit", "-qm", "one")
    path = tmp_path / "report.md"
    ran(path, "test_one")
    assert why_old(path, {"test_one"}) is None
    (tmp_path / "other").write_text("x")
    git("add", "-A")
    git("commit", "-qm", "two")
    assert why_old(path, {"test_one"}) is None
    (tmp_path / "systemd/a.service").write_text("2")
    git("commit", "-qam", "three")
    assert "before systemd/a.service" in (why_old(path, {"test_one"}) or "")
    ran(path, "test_one")
    assert why_old(path, {"test_one"}) is None
    ran(path, "test_one", "FAILED")
    assert "FAILED" in (why_old(path, {"test_one"}) or "")
    assert "no rows of test_two" in (why_old(path, {"test_one", "test_two"}) or "")
    path.write_text("nothing")
    assert "no rows" in (why_old(path, {"test_one"}) or "")


def test_rows_of_tests_that_are_no_more_are_none():
    here = vm_tests()
    assert "test_units_are_clean" in here["nspawn"] and "test_read_only_root[" in here["vm"]
    rows = {row[0] for row in table(CHECKOUT / "docs/vm-report.md", "test")}
    assert [row for row in sorted(rows) if not _is_test_here(row)] == []
    assert here["nspawn"] <= rows


def table(path: Path, first: str) -> list[list[str]]:
    """Cells of the rows of the table whose head begins so."""
    lines = iter(path.read_text("utf-8").splitlines())
    next(line for line in lines if line.startswith(f"| {first} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_times_on_the_field_engineers_page_are_those_of_the_last_run():
    figures = {row[0]: row[4] for row in table(CHECKOUT / "docs/vm-report.md", "test")}
    provoked = table(CHECKOUT / "docs/field.md", "fault")
    assert len(provoked) > 12
    for fault, _, back, _, tests in provoked:
        names = re.findall(r"`(test_\w+(?:\[[\w-]+\])?)`", tests)
        assert names and set(names) <= figures.keys(), (fault, names)
        if back != "-":
            assert any(back in figures[name] for name in names), (fault, back)
