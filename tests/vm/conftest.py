"""Machines for the tests of this folder, and their report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm import nspawn
from tests.vm.build import CHECKOUT, Pieces, built_wheel, default_pieces
from tests.vm.machine import Machine
from tests.vm.nspawn import NspawnMachine
from tests.vm.qemu import QemuMachine
from tests.vm.report import Report, Row
from tests.vm.uml import UmlMachine

REPORT = Report()
CODE = "/root/checkout"
PYTHON = "/opt/dermedge/bin/python"


@pytest.fixture(scope="session")
def pieces() -> Pieces:
    return default_pieces()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dermedge from this checkout."""
    return built_wheel(tmp_path_factory.mktemp("wheel") / "own")


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """The test's own row in the report; its words come from its docstring's first line."""
    words = (request.function.__doc__ or "").strip().splitlines()[0].rstrip(".")
    where = "nspawn" if request.node.get_closest_marker("nspawn") else ""
    row = REPORT.rows[request.node.name] = Row(where, words)
    yield row


@pytest.fixture
def uml(pieces: Pieces, row: Row) -> Iterator[Callable[..., UmlMachine]]:
    yield from _makes(UmlMachine, pieces, pieces.uml_kernel, row)


@pytest.fixture
def qemu(pieces: Pieces, row: Row) -> Iterator[Callable[..., QemuMachine]]:
    yield from _makes(QemuMachine, pieces, pieces.kernel, row)


@pytest.fixture
def container(pieces: Pieces, row: Row) -> Iterator[Callable[..., NspawnMachine]]:
    if (reason := nspawn.why_not()) is not None:
        pytest.skip(reason)
    yield from _makes(NspawnMachine, pieces, pieces.small_root, row)


def _makes(kind, pieces: Pieces, needed: Path, row: Row):
    if not needed.exists():
        pytest.skip(f"no {needed}: make test-vm builds it")
    machines: list[Machine] = []

    def make(**options: object) -> Machine:
        machine = kind(pieces, **options)
        machines.append(machine)
        seconds = machine.boot()
        row.where = machine.kind
        REPORT.kernels[machine.kind] = machine.check("uname -sr").strip()
        row.figures.append(f"up after {seconds:.1f} s")
        return machine

    yield make
    for machine in machines:
        if row.outcome == "FAILED" and machine.is_running:
            print(machine.run("journalctl -b --no-pager -n 60 -o short-monotonic").text)
        machine.__exit__(None, None, None)


def put_code(machine: Machine, wheel: Path) -> None:
    """Install dermedge in its environment, and put the scripts of the tests beside it."""
    machine.copy_in(wheel, f"/root/{wheel.name}")
    machine.check(
        "/opt/dermedge/bin/pip --quiet --isolated install --no-index --no-deps "
        f"--force-reinstall --no-compile /root/{wheel.name}",
        limit_s=300,
    )
    box = machine.folder / "tests"
    (box / "tests" / "vm").mkdir(parents=True)
    for path in (*CHECKOUT.glob("tests/*.py"), *CHECKOUT.glob("tests/vm/*.py")):
        shutil.copy2(path, box / path.relative_to(CHECKOUT))
    machine.copy_in(box, CODE)
    machine.check("sync")  # a test may cut the power at once


def cuts(usual: int) -> int:
    """How often the power is cut: DERMEDGE_VM_CUTS, or the usual number."""
    return int(os.environ.get("DERMEDGE_VM_CUTS") or usual)


def pictures() -> Path:
    """Where screenshots go."""
    folder = Path(os.environ.get("DERMEDGE_VM_PICTURES") or CHECKOUT / "out" / "vm")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if (row := REPORT.rows.get(item.name)) is not None:
        row.took_s += call.duration
        if report.failed:
            row.outcome = "FAILED"
        elif report.when == "call":
            row.outcome = report.outcome
    return report


def pytest_sessionfinish() -> None:
    path = os.environ.get("DERMEDGE_VM_REPORT")
    if path and REPORT.rows:
        REPORT.write(Path(path))
