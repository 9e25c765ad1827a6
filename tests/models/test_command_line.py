"""How the console commands begin and end: help, closed streams, stop signals, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("edge", "convert", "models")


def run(module: str, *arguments: str, redirect: str = "") -> subprocess.CompletedProcess[str]:
    """``python -m module arguments`` in a shell; ``PIPESTATUS[0]`` is its exit code."""
    return subprocess.run(
        [
            "bash",
            "-c",
            f'"$0" -m "$@" {redirect}; exit "${{PIPESTATUS[0]}}"',
            sys.executable,
            module,
            *arguments,
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("module", COMMANDS)
def test_without_arguments_the_help_is_printed_as_it_is(module: str):
    child = run(module)
    assert child.returncode == 2
    assert child.stdout == ""
    assert child.stderr.startswith("Usage: dermedge")
    assert "\nCommands:\n" in child.stderr
    assert "error:" not in child.stderr


def test_a_reader_that_has_gone_is_no_drama():
    child = run("edge", "--help", redirect="| (exec <&-; sleep 0.01)")
    assert (child.returncode, child.stderr) == (3, "")
    assert run("edge", "--no-such", redirect="2>&1 >/dev/null | (exec <&-)").returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_output_is_told_and_a_full_stderr_is_not():
    child = run("edge", "--help", redirect=">/dev/full")
    assert child.returncode == 3
    assert child.stderr.count("\n") == 1
    assert "No space left" in child.stderr
    child = run("edge", "--no-such", redirect="2>/dev/full")
    assert (child.returncode, child.stdout, child.stderr) == (2, "", "")


@pytest.mark.parametrize(
    ("redirect", "code"), [(">&-", 0), (">&- 2>&-", 0), ("<&- >&- 2>&-", 0), ("2>&-", 0)]
)
def test_a_closed_stream_takes_everything(redirect: str, code: int):
    child = run("edge", "--help", redirect=redirect)
    assert (child.returncode, child.stderr) == (code, "")


_CLOSED = """
import os, sys
import click
from models.command_line import run
@click.group("test")
def group(): pass
@group.command("open")
def opens():
    number = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
    os.write(1, b"printed by a library")
    os.write(number, b"a result")
group.get_command(None, "open").params.append(click.Argument(["path"], expose_value=False))
sys.exit(run(group, "1"))
"""


def test_a_file_never_gets_the_number_of_a_closed_stdout(tmp_path: Path):
    """Else what a library prints would go into the results."""
    path = tmp_path / "results"
    subprocess.run(
        ["bash", "-c", '"$@" >&-', "bash", sys.executable, "-c", _CLOSED, "open", str(path)],
        check=True,
        timeout=120,
    )
    assert path.read_bytes() == b"a result"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["click", "pydantic", "onnxruntime", "edge.loop"])
def test_a_signal_while_modules_are_imported(number: signal.Signals, module: str):
    """It comes at the moment at which that module is looked for."""
    script = f"""
import os, signal, sys
# The tests may run as a background job, whose children ignore Ctrl-C from birth.
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Finder())
sys.argv = ["dermedge", "run", "--sink", "headless", "--seconds", "5"]
from edge.__main__ import main
main()
"""
    child = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    told = ("preparing ", "backend: ")
    said = [line for line in child.stderr.splitlines() if not any(t in line for t in told)]
    if number == signal.SIGTERM:
        assert (child.returncode, said) == (0, [])
    else:
        assert (child.returncode, said) == (130, ["error: stopped by Ctrl-C"])
    assert child.stdout == ""


@pytest.mark.parametrize("package", COMMANDS)
def test_every_command_handles_signals_before_click_is_there(package: str):
    script = f"import sys, {package}.__main__; print('click' in sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert child.stdout == "False\n"


def test_a_library_that_does_not_load_is_one_line(tmp_path, monkeypatch):
    words = "numpy.core.multiarray failed to import"
    (tmp_path / "cv2.py").write_text(f"raise ImportError({words!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = run("edge", "analyze", "none.jpg", "--out", str(tmp_path / "out"))
    assert (child.returncode, child.stdout) == (2, "")
    assert child.stderr == (
        f"error: expected libraries that load; got {words}; see which does not: dermedge doctor\n"
    )
