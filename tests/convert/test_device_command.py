"""``dermedge-convert device``: builds what is missing, at most three times, and says why not."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import built_engines_for_tests
import pytest
from click.testing import CliRunner

from convert.attempts import Attempts
from convert.commands import device as device_module
from convert.commands.device import device
from edge.engine_folder import ModelEngines, chosen_engines, how_to_build, is_being_built
from edge.errors import DermedgeError, RequestError
from models.manifest import find_pack
from packs_for_tests import write_pack


class Device:
    """A pack, a configuration that names it, and a folder for engines."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.pack, self.root, self.config = folder / "pack", folder / "engines", folder / "c.toml"
        self._patch = patch
        write_pack(self.pack)
        patch.setenv("DERMEDGE_ENGINES", str(self.root))
        patch.setenv("DERMEDGE_CACHE", str(folder / "cache"))
        self.configure()

    def configure(self, backend: str = "auto") -> None:
        self.config.write_text(f'[model]\npack = "{self.pack}"\nbackend = "{backend}"\n')

    def build(self) -> tuple[int, str]:
        done = CliRunner().invoke(device, ["--config", str(self.config)])
        error = done.exception
        if isinstance(error, DermedgeError):
            return error.exit_code, f"{done.output}{error}"
        if error is not None:
            raise error
        return done.exit_code, done.output

    def plant(self, **settings: object) -> None:
        for name, value in settings.items():
            self._patch.setenv(f"STANDIN_{name.upper()}", str(value))

    @property
    def attempts(self) -> dict[str, int]:
        path = self.root / ".attempts.json"
        return Attempts(self.root, "")._read() if path.exists() else {}


@pytest.fixture
def a_device(compiler: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    built_engines_for_tests.use_small_frames(monkeypatch)
    return Device(tmp_path, monkeypatch)


def test_what_is_missing_is_built_once(a_device: Device):
    code, said = a_device.build()
    assert code == 0 and "attempt 1 of at most 3" in said
    pack = find_pack(str(a_device.pack))
    for model in (pack.segmenter, pack.classifier):
        engines = ModelEngines(a_device.root, model.manifest.name, model.manifest.onnx.sha256)
        card = engines.chosen()
        assert card is not None and card.passed
    assert len(chosen_engines(a_device.root)) == 2
    assert a_device.attempts == {}
    before = {path: path.stat().st_mtime_ns for path in a_device.root.rglob("*.engine")}
    everything = {path: path.stat().st_mtime_ns for path in a_device.root.rglob("*")}
    code, said = a_device.build()
    assert code == 0 and "nothing to build: the engines of this device are in use" in said
    assert {path: path.stat().st_mtime_ns for path in a_device.root.rglob("*.engine")} == before
    assert {path: path.stat().st_mtime_ns for path in a_device.root.rglob("*")} == everything
    # One that was damaged is built again.
    path = min(before)
    path.write_bytes(path.read_bytes()[:-1])
    code, said = a_device.build()
    assert code == 0 and "built again" in said and path.stat().st_mtime_ns != before[path]


def test_a_configuration_that_changes_meanwhile_is_read_again(a_device: Device, monkeypatch):
    """First one that is refused, then one without a GPU: systemd does not see the change."""
    real, read = device_module.load_config, []

    def load(path: Path):
        read.append(path.read_text())
        if len(read) == 1:
            path.write_text("nonsense = 1\n")
            return real(None)
        if len(read) == 2:
            a_device.configure("onnx")
            raise RequestError("another", got="nonsense", next_step="mend it")
        return real(path)

    monkeypatch.setattr(device_module, "load_config", load)
    monkeypatch.setattr(device_module.importlib.util, "find_spec", lambda _: None)
    code, said = a_device.build()
    assert code == 0 and "nonsense" in read[1] and 'backend = "onnx"' in read[2]
    assert said.count("it is read again") == 2 and "got nonsense" in said
    assert said.endswith("nothing to build: the backend is onnx\n")


def test_after_three_that_fail_it_is_not_tried_again_until_something_changes(a_device: Device):
    a_device.plant(perturb="blank")
    for number in (1, 2, 3):
        code, said = a_device.build()
        assert code == 4 and f"attempt {number} of at most 3" in said
    code, said = a_device.build()
    assert code == 4 and "3 that did not" in said and "attempt" not in said
    a_device.plant(perturb="")
    assert a_device.build()[0] == 4  # nothing has changed that it knows of
    write_pack(a_device.pack, size=64)
    code, said = a_device.build()
    assert code == 0 and "attempt 1" in said


def test_a_build_that_is_killed_counts(tmp_path: Path):
    attempts = Attempts(tmp_path, "key")
    assert attempts.begin() == 1 and Attempts(tmp_path, "key").count == 1
    (tmp_path / ".attempts.json").write_text("no json")
    assert Attempts(tmp_path, "key").count == 0  # told in the log, and counted anew
    assert Attempts(tmp_path, "key").begin() == 1


@pytest.mark.parametrize("end", [SystemExit(0), KeyboardInterrupt()])
def test_a_build_that_somebody_asked_to_end_does_not_count(a_device: Device, monkeypatch, end):
    """A device that is switched off each evening would else have spent its attempts."""

    def keep(*_: object) -> None:
        assert a_device.attempts and set(a_device.attempts.values()) == {1}
        raise end

    monkeypatch.setattr(device_module.EngineBuilder, "keep", keep)
    for _ in range(4):
        result = CliRunner().invoke(device, ["--config", str(a_device.config)])
        assert "attempt 1 of at most 3" in result.output
    assert set(a_device.attempts.values()) == {0}


def test_the_service_is_told_how_it_builds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DERMEDGE_ENGINES", "/var/lib/dermedge/engines")
    assert how_to_build("mine") == "sudo dermedge service build"
    monkeypatch.setenv("DERMEDGE_ENGINES", "/somewhere/else")
    assert how_to_build("mine") == "dermedge-convert build mine"


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_where_another_backend_is_chosen_there_is_nothing_to_build(a_device: Device, backend: str):
    a_device.configure(backend)
    assert a_device.build() == (0, f"nothing to build: the backend is {backend}\n")
    assert not a_device.root.exists()


def test_where_there_is_no_tensorrt_there_is_nothing_to_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here = Device(tmp_path, monkeypatch)
    really = importlib.util.find_spec
    monkeypatch.setattr(
        device_module.importlib.util,
        "find_spec",
        lambda name: None if name == "tensorrt" else really(name),
    )
    assert here.build() == (0, "nothing to build: no TensorRT here, the CPU computes\n")


def test_a_build_under_way_is_seen_from_outside(tmp_path: Path):
    code = (
        "import sys, time; from pathlib import Path; from convert.build_lock import only_builder\n"
        "with only_builder(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)\n"
    )
    assert not is_being_built(tmp_path)
    builder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert builder.stdout is not None and builder.stdout.readline() == b"in\n"
        assert is_being_built(tmp_path)
    finally:
        os.kill(builder.pid, signal.SIGKILL)
        builder.communicate()
    until_s = time.monotonic() + 5.0
    while is_being_built(tmp_path) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not is_being_built(tmp_path)
