"""Who sees what apt installs: asked of real environments, made by the system's own Python."""

import subprocess
from pathlib import Path

import pytest

SYSTEM_PYTHON = Path("/usr/bin/python3")
ASK = "from edge.system_packages import how_to_install; print(how_to_install('python3-one'))"
ROOT = Path(__file__).resolve().parents[2]


def said_by(python: Path) -> str:
    done = subprocess.run(
        [python, "-c", ASK], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture
def environment(tmp_path: Path):
    if not SYSTEM_PYTHON.exists():
        pytest.skip(f"no {SYSTEM_PYTHON} here")

    def make(*flags: str) -> Path:
        command = [SYSTEM_PYTHON, "-m", "venv", "--without-pip", *flags, tmp_path / "venv"]
        subprocess.run(command, check=True, timeout=60)
        return tmp_path / "venv/bin/python"

    return make


def test_the_systems_own_python_needs_the_package_only():
    if not SYSTEM_PYTHON.exists():
        pytest.skip(f"no {SYSTEM_PYTHON} here")
    assert said_by(SYSTEM_PYTHON) == "apt-get install python3-one"


def test_an_environment_that_sees_the_systems_modules_needs_the_package_only(environment):
    assert said_by(environment("--system-site-packages")) == "apt-get install python3-one"


def test_one_that_does_not_see_them_is_to_be_made_anew(environment):
    assert said_by(environment()) == (
        "apt-get install python3-one, and make the environment anew: "
        "/usr/bin/python3 -m venv --system-site-packages .venv"
    )
