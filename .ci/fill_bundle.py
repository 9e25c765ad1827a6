"""Brings into a folder of wheels what the device needs beside dermedge, and proves it is all there.

pip evaluates markers (``python_version < '3.11'``, ``platform_machine`` ...) for the Python that
runs it, not for the one it is asked to download for. So that a bundle made on Python 3.11 lacked
what 3.10 needs, and the installation on the device, which has no network, failed. Here the markers
of requirements and of constraints are evaluated for the device.

    fill_bundle.py WHEELS --python 3.10 --machine aarch64 --extras cuda,web \
        --constraint FILE --pip="OPTIONS OF pip download"

``--python`` and ``--machine`` are for markers, and this machine's own where they are not given;
which wheels pip takes is for ``--pip`` to say. ``--write-constraints`` comes before everything: it
writes WHEELS/constraints.txt, where only what holds for the device is left, and nothing else.
"""

from __future__ import annotations

import argparse
import email
import platform
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

PRODUCT = "dermedge"


def fail(expected: str, got: str, next_step: str) -> NoReturn:
    """End with the one line that says why."""
    raise SystemExit(f"fill_bundle: expected {expected}; got {got}; {next_step}")


@dataclass(frozen=True)
class Target:
    """The device's Python.

    Attributes:
        python: Its version. Of "3.10" the patch is not known and taken for 0: what only the first
            releases need does no harm to later ones.
        machine: As ``uname -m`` says it.
    """

    python: Version
    machine: str

    def __str__(self) -> str:
        return f"Python {self.python} on {self.machine}"

    def needs(self, requirement: Requirement, extras: Iterable[str] = ()) -> bool:
        """Whether a requirement holds here, with any of these extras or with none."""
        marker = requirement.marker
        return marker is None or any(
            marker.evaluate(self._environment() | {"extra": extra}) for extra in ("", *extras)
        )

    def _environment(self) -> dict[str, str]:
        major, minor, patch = (*self.python.release, 0, 0)[:3]
        full = f"{major}.{minor}.{patch}"
        return {
            "python_version": f"{major}.{minor}",
            "python_full_version": full,
            "implementation_version": full,
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
        }


@dataclass(frozen=True)
class Wheel:
    """What a wheel says of itself."""

    path: Path
    name: str
    version: Version
    python: SpecifierSet
    extras: frozenset[str]
    requires: tuple[Requirement, ...]


@dataclass
class Wanted:
    """What everybody together wants of one package."""

    specifier: SpecifierSet
    extras: set[str] = field(default_factory=set)
    by: list[str] = field(default_factory=list)

    def is_met_by(self, wheel: Wheel, target: Target) -> bool:
        """Whether pip on the device would take this wheel."""
        return self.specifier.contains(wheel.version, prereleases=True) and (
            wheel.python.contains(target.python, prereleases=True)
        )


def read_wheel(path: Path) -> Wheel:
    """Read the METADATA of a wheel."""
    with zipfile.ZipFile(path) as content:
        # The wheel's own folder stands at the top; a wheel may carry others further down.
        (name,) = (
            name
            for name in content.namelist()
            if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
        )
        said = email.message_from_bytes(content.read(name))
    return Wheel(
        path,
        canonicalize_name(said["Name"]),
        Version(said["Version"]),
        SpecifierSet(said.get("Requires-Python", "")),
        frozenset(canonicalize_name(extra) for extra in said.get_all("Provides-Extra", ())),
        tuple(Requirement(text) for text in said.get_all("Requires-Dist", ())),
    )


def read_wheels(folder: Path) -> dict[str, list[Wheel]]:
    """The wheels of a folder by name, the newest first, as pip takes them."""
    found: dict[str, list[Wheel]] = {}
    for path in sorted(folder.glob("*.whl")):
        wheel = read_wheel(path)
        found.setdefault(wheel.name, []).append(wheel)
    for wheels in found.values():
        wheels.sort(key=lambda wheel: wheel.version, reverse=True)
    return found


def read_constraints(path: Path, target: Target) -> dict[str, SpecifierSet]:
    """Of a file of constraints what holds for the target."""
    held: dict[str, SpecifierSet] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.split("#")[0].strip()
        if text and target.needs(requirement := Requirement(text)):
            name = canonicalize_name(requirement.name)
            held[name] = held.get(name, SpecifierSet()) & requirement.specifier
    return held


def product_in(folder: Path, extras: set[str], target: Target) -> Wheel:
    """The wheel of dermedge, which no index may bring."""
    found = read_wheels(folder).get(PRODUCT, [])
    if len(found) != 1:
        names = ", ".join(wheel.path.name for wheel in found) or "none"
        fail(f"exactly one wheel of {PRODUCT} in {folder}", names, "build it there")
    (product,) = found
    if extras - product.extras:
        wrong = ", ".join(sorted(extras - product.extras))
        known = ", ".join(sorted(product.extras))
        fail(f"extras of {PRODUCT}: {known}", wrong, "name some of those")
    if not product.python.contains(target.python):
        fail(f"Python {product.python} for {PRODUCT}", str(target), "name another PY")
    return product


def closure(
    product: Wheel,
    extras: set[str],
    wheels: dict[str, list[Wheel]],
    constraints: dict[str, SpecifierSet],
    target: Target,
) -> dict[str, Wanted]:
    """What the product needs on the target, as far as the wheels of the folder tell."""
    wanted: dict[str, Wanted] = {}
    walked: dict[str, Wheel] = {}
    # The installer starts pip from its wheel: the device may have none.
    todo = [("the installer", Requirement("pip"))]
    todo += needs_of(product, extras, target)
    while todo:
        by, requirement = todo.pop(0)
        name = canonicalize_name(requirement.name)
        want = wanted.setdefault(name, Wanted(constraints.get(name, SpecifierSet())))
        want.specifier &= requirement.specifier
        if by not in want.by:
            want.by.append(by)
        more = {canonicalize_name(extra) for extra in requirement.extras} - want.extras
        want.extras |= more
        wheel = fitting(want, wheels.get(name, []), target)
        if wheel is not None and (more or walked.get(name) != wheel):
            walked[name] = wheel
            todo += needs_of(wheel, want.extras, target)
    return wanted


def needs_of(wheel: Wheel, extras: set[str], target: Target) -> list[tuple[str, Requirement]]:
    """The requirements of a wheel that hold on the target, each with the wheel's name."""
    return [(wheel.name, each) for each in wheel.requires if target.needs(each, extras)]


def fitting(want: Wanted, wheels: list[Wheel], target: Target) -> Wheel | None:
    """The newest wheel that does what is wanted."""
    return next((wheel for wheel in wheels if want.is_met_by(wheel, target)), None)


def download(requirement: str, folder: Path, options: list[str]) -> str:
    """Ask pip for one wheel; its last words where it found none."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-qq"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), *options, requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines() or ["nothing said"]
    return "" if done.returncode == 0 else said[-1]


def bring(name: str, want: Wanted, folder: Path, options: list[str], target: Target) -> Wheel:
    """Download one package, in place of what does not fit; ends the program where that fails."""
    before = read_wheels(folder).get(name, [])
    error = download(f"{name}{want.specifier}", folder, options)
    found = fitting(want, read_wheels(folder).get(name, []), target)
    if error or found is None:
        there = [f"{wheel.version} (Python {wheel.python or 'any'})" for wheel in before]
        fail(
            f"a wheel of {name}{want.specifier} for {target} (needed by {', '.join(want.by)})",
            f"{', '.join(there) or 'none'} in the folder, and from pip: {error or 'another one'}",
            "look at EXTRAS, PY, ARCH and CONSTRAINTS",
        )
    # One version of each: what is proved here is what the device's pip finds.
    for wheel in before:
        if wheel.path != found.path:
            wheel.path.unlink()
    return found


def fill(
    folder: Path,
    extras: set[str],
    constraints: dict[str, SpecifierSet],
    target: Target,
    options: list[str],
) -> tuple[list[Wheel], int]:
    """Bring what is missing, and what that needs, until nothing is.

    Returns:
        The wheels that were brought, and how many packages the device needs beside dermedge, each
        of which then lies there in a version that everybody who needs it takes.
    """
    product = product_in(folder, extras, target)
    brought: list[Wheel] = []
    asked: set[str] = set()
    while True:
        wheels = read_wheels(folder)
        wanted = closure(product, extras, wheels, constraints, target)
        missing = [n for n, want in wanted.items() if not fitting(want, wheels.get(n, []), target)]
        if not missing:
            return brought, len(wanted)
        name = missing[0]
        wish = f"{name}{wanted[name].specifier}"
        if wish in asked:
            fail("versions that agree", f"{wish} for the second time", "pin it in CONSTRAINTS")
        asked.add(wish)
        brought.append(bring(name, wanted[name], folder, options, target))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheels", type=Path)
    parser.add_argument("--python", type=Version, default=Version(platform.python_version()))
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--extras", default="", help="names with commas between them")
    parser.add_argument("--constraint", type=Path)
    parser.add_argument("--write-constraints", action="store_true")
    parser.add_argument("--pip", type=shlex.split, default=[], help="options of pip download")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Fill a folder and print one line, or write its constraints."""
    chosen = parse(arguments)
    target = Target(chosen.python, chosen.machine)
    extras: set[str] = {
        canonicalize_name(name) for name in chosen.extras.split(",") if name.strip()
    }
    constraints = read_constraints(chosen.constraint, target) if chosen.constraint else {}
    if chosen.write_constraints:
        lines = "".join(f"{name}{specifier}\n" for name, specifier in constraints.items())
        (chosen.wheels / "constraints.txt").write_text(lines, encoding="utf-8")
        return
    brought, count = fill(chosen.wheels, extras, constraints, target, chosen.pip)
    names = ", ".join(f"{wheel.name} {wheel.version}" for wheel in brought) or "none"
    print(f"{count} packages beside {PRODUCT} for {target}; pip had left out: {names}")


if __name__ == "__main__":
    main()
