"""Builds that end early, however: the engine in use stays, nothing half-written has a name.

Each build is a process of its own on the stand-in of TensorRT.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prepared_graphs_for_tests import write_segmenter

from convert import build_process
from convert.build_memory import MIB, Memory
from edge.engine_card import BuilderSettings, EngineCard
from edge.engine_folder import ModelEngines
from models.manifest import find_pack
from packs_for_tests import write_pack
from standin_for_tests import Standin

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0


class Builds:
    """A pack, an engine folder with an engine in use, and builds beside it."""

    def __init__(self, folder: Path, standin: Standin) -> None:
        self.root, self._cache, self._standin = folder / "engines", folder / "cache", standin
        self.pack = write_pack(folder / "pack")
        manifest = find_pack(str(self.pack)).segmenter.manifest
        self.engines = ModelEngines(self.root, manifest.name, manifest.onnx.sha256)

    def start(
        self, *arguments: str, root: Path | None = None, preexec_fn: Any = None, **settings: object
    ) -> subprocess.Popen[str]:
        # With a timing cache the stand-in would take no time.
        for cache in self.root.glob("timing-*.cache"):
            cache.unlink()
        variables = self._standin.variables(**settings)
        variables["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'tests'}{os.pathsep}{ROOT}"
        variables["DERMEDGE_CACHE"] = str(self._cache)
        command = [sys.executable, str(ROOT / "tests" / "built_engines_for_tests.py"), "build"]
        options = ["--part", "segmenter", "--engines", str(root or self.root), *arguments]
        return subprocess.Popen(
            [*command, str(self.pack), *options],
            env={**os.environ, **variables},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec_fn,
        )

    def run(self, *arguments: str, **settings: Any) -> tuple[int, str]:
        """Exit code and stderr of a build; a traceback there fails the test."""
        with self.start(*arguments, **settings) as process:
            return ended(process)

    def in_use(self) -> EngineCard:
        card = self.engines.chosen()
        assert card is not None and card.passed
        self.engines.check_content(card)
        return card

    def unfinished(self) -> list[Path]:
        return list(self.root.rglob(".dermedge-*"))


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=WAIT_S)
    assert "Traceback" not in said, said
    return process.returncode, said


def compiler_of(builds: Builds, process: subprocess.Popen[str]) -> int:
    """The child of a build that compiles, once there is one.

    A child before it asks for the device, and the folder is tried before it; at no other time are
    there both a child and an unfinished file.
    """
    return until(lambda: next(iter(children(process.pid)), None) if builds.unfinished() else None)


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def until(found: Any) -> Any:
    end_s = time.monotonic() + WAIT_S
    while time.monotonic() < end_s:
        value = found()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def is_gone(pid: int) -> bool:
    """Ended; nobody in a container may collect it, so that its name stays."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory, standin: Standin) -> Builds:
    made = Builds(tmp_path_factory.mktemp("builds"), standin)
    assert made.run("--precision", "fp32")[0] == 0
    return made


@pytest.fixture(autouse=True)
def _still_in_use(builds: Builds) -> Iterator[None]:
    """Whatever a test did, the engine in use is the one that was, and whole."""
    before = builds.in_use()
    yield
    assert builds.in_use() == before
    assert not builds.unfinished()


# --- stopped --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "error: stopped by Ctrl-C"),
        (signal.SIGTERM, 0, "stopped by SIGTERM; the engines in use stay as they are"),
    ],
)
def test_a_signal_stops_the_compiler(
    builds: Builds, number: signal.Signals, code: int, words: str
) -> None:
    with builds.start("--optimization-level", "1", build_seconds=20) as process:
        compiler = compiler_of(builds, process)
        process.send_signal(number)
        assert ended(process) == (code, f"{words}\n")
    assert is_gone(compiler)


def test_a_compiler_that_does_not_stop_is_killed(
    compiler: object, builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, whose patience can be shortened."""
    monkeypatch.setattr(build_process, "GRACE_S", 0.5)
    monkeypatch.setenv("STANDIN_BUILD_SECONDS", "3000")
    graph = write_segmenter(tmp_path / "graph.onnx").read_bytes()
    found: list[int] = []

    def interrupt() -> None:
        found.extend(until(lambda: children(os.getpid())))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with (tmp_path / "engine").open("wb") as file, pytest.raises(KeyboardInterrupt):
        thread.start()
        build_process.compile_engine(
            graph,
            file,
            BuilderSettings(max_batch=4, opt_batch=4),
            timing_cache=tmp_path / "timing.cache",
            title="t",
            memory=Memory(8192 * MIB, 4096 * MIB),
        )
    thread.join()
    assert all(map(is_gone, found))


# --- killed ---------------------------------------------------------------------------------------


def test_a_build_may_be_killed_at_any_moment(builds: Builds) -> None:
    """As when the plug is pulled: at many points, also between its files."""
    with builds.start("--optimization-level", "2", build_seconds=1) as process:
        started_s = time.monotonic()
        assert ended(process)[0] == 0
    # That one passed, and is in use now; the builds that are killed want another one.
    assert builds.run("--precision", "fp32")[0] == 0
    whole_s = time.monotonic() - started_s
    before = builds.in_use()
    for point in range(8):
        level = ("--optimization-level", "4", "--force")
        with builds.start(*level, build_seconds=1) as process:
            time.sleep(whole_s * point / 10)
            compiler = next(iter(children(process.pid)), None)
            process.kill()
            process.communicate(timeout=WAIT_S)
        until(lambda pid=compiler: pid is None or is_gone(pid))
        chosen = builds.in_use()
        # Either it came to its end before, or nothing is different.
        assert chosen == before or chosen.settings.optimization_level == 4
        for _, card in builds.engines.cards():
            assert isinstance(card, EngineCard)
            builds.engines.check_content(card)
    assert builds.run("--precision", "fp32")[0] == 0


def test_the_compiler_ends_with_its_parent(builds: Builds) -> None:
    with builds.start("--optimization-level", "1", build_seconds=1000) as process:
        compiler = compiler_of(builds, process)
        process.kill()
        process.communicate(timeout=WAIT_S)
    until(lambda: is_gone(compiler))
    # The next build cleans up after it.
    assert builds.run("--precision", "fp32", "--force", build_fails="of a test")[0] == 4


# --- others ---------------------------------------------------------------------------------------


def test_of_two_builds_the_second_says_who_is_first(builds: Builds) -> None:
    with builds.start("--optimization-level", "1", build_seconds=20) as first:
        compiler_of(builds, first)
        code, said = builds.run("--optimization-level", "1")
        assert code == 3 and said.startswith("error: expected to be the only build in ")
        assert f"process {first.pid}" in said
        first.send_signal(signal.SIGTERM)
        assert ended(first)[0] == 0


def test_a_full_disk(builds: Builds, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "dermedge-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can make a small disk, and not everywhere")
    try:
        assert builds.run("--precision", "fp32", root=place)[0] == 0
        manifest = find_pack(str(builds.pack)).segmenter.manifest
        engines = ModelEngines(place, manifest.name, manifest.onnx.sha256)
        before = engines.chosen()
        assert before is not None
        fill(place / "filler")
        code, said = builds.run("--precision", "fp16", root=place)
        assert code == 3 and "No space left on device; free some space" in said
        assert len(said.splitlines()) == 1
        assert engines.chosen() == before
        engines.check_content(before)
        (place / "filler").unlink()
        assert builds.run("--precision", "fp16", root=place)[0] == 0
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_no_permission(builds: Builds) -> None:
    folder = builds.root.parent / "locked"
    folder.mkdir(mode=0o555)
    code, said = builds.run(root=folder / "engines", preexec_fn=obey_permissions)
    assert code == 3 and "to write " in said and "Permission denied" in said
    assert len(said.splitlines()) == 1


def obey_permissions() -> None:
    """Without this right root is held to permissions like anybody; others never had it."""
    pr_capbset_drop, cap_dac_override = 24, 1  # linux/prctl.h, linux/capability.h
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override)
