"""A bundle holds all that the device needs, whichever Python it was made with."""

from __future__ import annotations

import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PIP = "pip-25.0-py3-none-any.whl"
SCRIPT = Path(__file__).parents[3] / ".ci/fill_bundle.py"


class Desk:
    """A folder of wheels that is to be filled, and one that stands for the index."""

    def __init__(self, folder: Path) -> None:
        self.wheels, self.index = folder / "wheels", folder / "index"
        self.wheels.mkdir()
        self.index.mkdir()
        self.constraints = folder / "constraints.txt"
        self.constraints.touch()
        wheel(self.wheels, "pip", "25.0")

    def call(self, *arguments: str, extras: str = "", pip: str = "") -> subprocess.CompletedProcess:
        command = [sys.executable, str(SCRIPT), str(self.wheels), "--extras", extras, *arguments]
        command += ["--constraint", str(self.constraints)]
        command += [f"--pip=--no-index --find-links {self.index} {pip}"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def fill(self, python: str, extras: str = "", machine: str = "aarch64") -> set[str]:
        """The names and versions that lie there afterwards, beside dermedge and pip."""
        done = self.call(*device(python, machine), extras=extras, pip=pip_for(python, machine))
        assert (done.returncode, done.stderr) == (0, "")
        return self.there() - {"dermedge-1.0", "pip-25.0"}

    def refuse(self, python: str = "3.10", extras: str = "") -> str:
        """The one line that says why it failed."""
        done = self.call(*device(python), extras=extras, pip=pip_for(python))
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        return line

    def there(self) -> set[str]:
        return {"-".join(path.name.split("-")[:2]) for path in self.wheels.glob("*.whl")}


def device(python: str, machine: str = "aarch64") -> tuple[str, ...]:
    return ("--python", python, "--machine", machine)


def pip_for(python: str, machine: str = "aarch64") -> str:
    return f"--implementation cp --python-version {python} --platform manylinux2014_{machine}"


def wheel(folder: Path, name: str, version: str, *lines: str) -> Path:
    """A wheel of nothing but what it says of itself; a line without a header is a requirement."""
    said = [line if ": " in line else f"Requires-Dist: {line}" for line in lines]
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *said]
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as content:
        content.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        content.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        content.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def of_three_pythons(desk: Desk) -> None:
    """Requirements of the kinds that dermedge and its own have, one of them through another."""
    wheel(
        desk.wheels,
        "dermedge",
        "1.0",
        "Provides-Extra: web",
        "old>=2; python_version < '3.11'",
        "new; python_version >= '3.11'",
        "arm; platform_machine == 'aarch64'",
        "windows; sys_platform == 'win32'",
        "server[fast]>=1; extra == 'web'",
    )
    wheel(
        desk.index,
        "server",
        "1.5",
        "Provides-Extra: fast",
        "Provides-Extra: slow",
        "loop; extra == 'fast'",
        "idle; extra == 'slow'",
    )
    wheel(desk.index, "loop", "3.0", "group>=1; python_version < '3.11'")
    wheel(desk.index, "group", "1.1", "words; python_full_version < '3.10.2'")
    wheel(desk.index, "old", "2.5")
    for name in ("new", "arm", "windows", "idle", "words"):
        wheel(desk.index, name, "1.0")


def test_what_the_devices_python_needs_is_brought_and_nothing_else(desk: Desk):
    of_three_pythons(desk)
    assert desk.fill("3.10", "web") == {
        "old-2.5",
        "arm-1.0",
        "server-1.5",
        "loop-3.0",
        "group-1.1",
        "words-1.0",
    }


@pytest.mark.parametrize(
    ("python", "extras", "machine", "there"),
    [
        ("3.10", "", "aarch64", {"old-2.5", "arm-1.0"}),
        ("3.10", "", "x86_64", {"old-2.5"}),
        ("3.10.4", "web", "x86_64", {"old-2.5", "server-1.5", "loop-3.0", "group-1.1"}),
        ("3.13", "web", "x86_64", {"new-1.0", "server-1.5", "loop-3.0"}),
    ],
)
def test_what_the_device_does_not_need_is_not_brought(
    desk: Desk, python: str, extras: str, machine: str, there: set[str]
):
    of_three_pythons(desk)
    assert desk.fill(python, extras, machine) == there


def test_the_own_machine_needs_no_options(desk: Desk):
    machine = platform.machine()
    wheel(desk.wheels, "dermedge", "1.0", f"here; platform_machine == '{machine}'")
    wheel(desk.index, "here", "1.0")
    (desk.wheels / PIP).rename(desk.index / PIP)
    done = desk.call()
    assert done.returncode == 0, done.stderr
    assert desk.there() == {"dermedge-1.0", "here-1.0", "pip-25.0"}
    assert done.stdout == (
        f"2 packages beside dermedge for Python {platform.python_version()} on {machine}; "
        "pip had left out: pip 25.0, here 1.0\n"
    )


def test_a_second_time_brings_nothing(desk: Desk):
    wheel(desk.wheels, "dermedge", "1.0", "part")
    brought = wheel(desk.index, "part", "1.0")
    assert desk.fill("3.10") == {"part-1.0"}
    brought.unlink()
    assert desk.fill("3.10") == {"part-1.0"}


def test_a_requirement_that_nothing_meets_is_told(desk: Desk):
    wheel(desk.wheels, "dermedge", "1.0", "a")
    wheel(desk.index, "a", "1.0", "gone>=2; python_version < '3.11'")
    line = desk.refuse()
    assert line.startswith(
        "fill_bundle: expected a wheel of gone>=2 for Python 3.10 on aarch64 (needed by a); "
        "got none in the folder, and from pip: ERROR: "
    )
    assert line.endswith("; look at EXTRAS, PY, ARCH and CONSTRAINTS")


def test_pip_itself_must_be_there(desk: Desk):
    wheel(desk.wheels, "dermedge", "1.0")
    (desk.wheels / PIP).unlink()
    assert "expected a wheel of pip for Python 3.10 on aarch64 (needed by the" in desk.refuse()


def test_a_version_outside_its_specifier_is_told(desk: Desk):
    wheel(desk.wheels, "dermedge", "1.0", "part>=2")
    wheel(desk.wheels, "part", "1.0")
    line = desk.refuse()
    assert "expected a wheel of part>=2 for" in line
    assert "; got 1.0 (Python any) in the folder, and from pip: ERROR: " in line
    assert "part-1.0" in desk.there()


def test_two_that_want_different_versions_are_told(desk: Desk):
    wheel(desk.wheels, "dermedge", "1.0", "part>=2", "other")
    wheel(desk.index, "other", "1.0", "part<2")
    wheel(desk.index, "part", "1.0")
    wheel(desk.index, "part", "2.0")
    assert (
        "expected a wheel of part<2,>=2 for Python 3.10 on aarch64 (needed by dermedge, other)"
        in (desk.refuse())
    )


def test_a_wheel_for_another_python_is_told(desk: Desk):
    wheel(desk.wheels, "dermedge", "1.0", "part")
    wheel(desk.wheels, "part", "1.0", "Requires-Python: >=3.12")
    assert "; got 1.0 (Python >=3.12) in the folder, and from pip: ERROR: " in desk.refuse("3.10")
    assert desk.fill("3.12") == {"part-1.0"}


def test_a_wheel_that_does_not_fit_gives_way_to_one_that_does(desk: Desk):
    wheel(desk.wheels, "dermedge", "1.0", "part>=2")
    wheel(desk.wheels, "part", "1.0", "useless")
    wheel(desk.index, "part", "2.0")
    assert desk.fill("3.10") == {"part-2.0"}


def test_constraints_hold_as_the_device_reads_them(desk: Desk):
    desk.constraints.write_text(
        "# Two releases.\npart==1.0; python_version < '3.11'  # the last for 3.10\n"
        "part==2.0; python_version >= '3.11'\n\nNot_Here<3\n"
    )
    wheel(desk.wheels, "dermedge", "1.0", "part")
    for version in ("1.0", "2.0", "3.0"):
        wheel(desk.index, "part", version)
    assert desk.call(*device("3.10"), "--write-constraints").returncode == 0
    assert (desk.wheels / "constraints.txt").read_text() == "part==1.0\nnot-here<3\n"
    assert desk.there() == {"dermedge-1.0", "pip-25.0"}
    assert desk.fill("3.10") == {"part-1.0"}
    assert desk.fill("3.12") == {"part-2.0"}


def test_extras_that_dermedge_has_not_are_told(desk: Desk):
    wheel(desk.wheels, "dermedge", "1.0", "Provides-Extra: web", "Provides-Extra: pi")
    assert desk.refuse(extras="web,pie") == (
        "fill_bundle: expected extras of dermedge: pi, web; got pie; name some of those"
    )


def test_dermedge_itself_never_comes_from_an_index(desk: Desk):
    wheel(desk.index, "dermedge", "9.0")
    assert "expected exactly one wheel of dermedge in" in desk.refuse()
    assert desk.there() == {"pip-25.0"}
    wheel(desk.wheels, "dermedge", "1.0", "Requires-Python: >=3.10")
    assert desk.refuse("3.9") == (
        "fill_bundle: expected Python >=3.10 for dermedge; got Python 3.9 on aarch64; "
        "name another PY"
    )
