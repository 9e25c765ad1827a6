"""``dermedge run --service`` as a process of its own, told by a service manager's socket."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATIENCE_S = 40.0
SMALL = "synthetic:7?size=96x64&fps=20&regions=3"


class Service:
    """One life of the service, and what its manager heard."""

    def __init__(self, folder: Path, pack: Path, *, watchdog_s: float = 20.0) -> None:
        self.folder, self.pack = folder, pack
        for name in ("run", "state"):
            (folder / name).mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (folder / "notify").unlink(missing_ok=True)
        self.ear.bind(str(folder / "notify"))
        self.ear.setblocking(False)
        self.heard: list[str] = []
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(round(watchdog_s * 1e6)),
            "RUNTIME_DIRECTORY": str(folder / "run"),
            "STATE_DIRECTORY": str(folder / "state"),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / "dermedge.toml"

    def configure(self, source: str = SMALL, more: str = "") -> None:
        self.config.write_text(
            f'[source]\nuri = "{source}"\n[model]\npack = "{self.pack}"\nthreads = 1\n'
            f'[output]\nsinks = ["web:127.0.0.1:{self.port}"]\n{more}'
        )

    def start(self, code: str = "") -> None:
        command = ["-m", "edge"] if not code else ["-c", code + "\nfrom edge.__main__ import main"]
        if code:
            command[1] += "\nmain()"
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, "run", "--service", "--config", str(self.config)],
                env=self.environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def wait(self, done, what: str) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not done():
            try:
                self.heard.append(self.ear.recv(4096).decode())
                continue
            except BlockingIOError:
                time.sleep(0.02)
            assert time.monotonic() < end_s, f"{what}\n{self.heard[-10:]}\n{self.log()[-3000:]}"

    def wait_for_words(self, words: str) -> None:
        self.wait(lambda: any(words in line for line in self.heard), words)

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as got:
                return got.status, got.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.ear.close()


@pytest.fixture
def service(tiny_pack: Path, tmp_path: Path):
    made = Service(tmp_path, tiny_pack)
    yield made
    made.close()


def test_it_runs_and_ends_when_asked(service):
    service.configure()
    service.start()
    service.wait(lambda: service.page("/healthz") == (200, "ok"), "a live picture")
    service.wait_for_words("STATUS=live; ")
    assert "READY=1" in service.heard
    assert service.stop() == 0
    service.wait_for_words("STOPPING=1")
    assert not (service.folder / "state" / "running.json").exists()


def test_a_refused_configuration_is_shown_and_mended_without_a_new_process(service):
    service.configure("nonsense:")
    service.start()
    service.wait(lambda: "a source of the kind" in service.page("/healthz")[1], "its reason")
    assert service.page("/healthz")[0] == 503
    pid = service.process.pid
    service.configure()
    service.wait(lambda: service.page("/healthz")[0] == 200, "a live picture")
    assert service.process.pid == pid and service.process.poll() is None
    assert service.stop() == 0


@pytest.mark.parametrize("broken", ["pack", "toml"])
def test_what_breaks_between_two_starts_is_told(service, broken):
    service.configure()
    service.start()
    service.wait(lambda: service.page("/healthz")[0] == 200, "a live picture")
    assert service.stop() == 0
    if broken == "pack":
        service.pack = service.folder / "no-pack"
        service.configure()
    else:
        service.config.write_text("[output\n")  # its screens are those of the last time
    service.start()
    service.wait(lambda: service.page("/healthz")[0] == 503, "its reason")
    service.wait_for_words("STATUS=not running: ")
    assert service.stop() == 0


def test_a_camera_that_is_not_there_is_waited_for_and_another_one_may_be_named(service):
    service.configure("v4l2:/dev/video-none")
    service.start()
    service.wait_for_words("STATUS=camera away: Camera away for")
    service.configure()
    service.wait(lambda: service.page("/healthz")[0] == 200, "a live picture")
    assert service.stop() == 0


def test_a_killed_run_is_told_at_the_next_start(service):
    service.configure()
    service.start()
    service.wait(lambda: service.page("/healthz")[0] == 200, "a live picture")
    service.process.kill()
    service.process.wait()
    service.start()
    service.wait(lambda: service.page("/healthz")[0] == 200, "a live picture")
    _, body = service.page("/live?after=-1")
    assert "Started again: it was killed, or ran out of memory" in body
    assert service.stop() == 0


HANGS = """
import time
from edge.sources import synthetic
from edge import intake
intake.READ_WITHIN_S = 1.0
read, count = synthetic.SyntheticSource.read, [0]
def hang(self):
    count[0] += 1
    if count[0] > 20:
        time.sleep(600)
    return read(self)
synthetic.SyntheticSource.read = hang
"""


def test_a_source_that_hangs_for_ever_is_told_with_stacks_and_at_the_next_start(service):
    service.environment["WATCHDOG_USEC"] = "2000000"
    service.configure()
    service.start(HANGS)
    service.wait_for_words("STATUS=HANGS: source synthetic")
    service.heard.clear()
    time.sleep(2.5)
    service.wait(lambda: True, "")
    assert "WATCHDOG=1" not in service.heard[2:]
    assert "in hang" in service.log()  # its stack
    service.process.send_signal(signal.SIGABRT)  # as systemd does then
    assert service.process.wait(PATIENCE_S) == -signal.SIGABRT
    noted = json.loads((service.folder / "state" / "failure.json").read_text())
    assert "it hung: source synthetic" in noted["words"]
    service.start()
    service.wait(lambda: service.page("/healthz")[0] == 200, "a live picture")
    assert "Started again: it hung: source synthetic" in service.page("/live?after=-1")[1]
    assert service.stop() == 0


def test_starts_that_follow_each_other_wait_and_say_so(service):
    times = [time.monotonic()] * 5
    (service.folder / "run" / "starts.json").write_text(json.dumps({"monotonic_s": times}))
    service.configure()
    service.start()
    service.wait_for_words("start 6 within ten minutes: waits 8 s")
    began_s = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began_s < 5.0


def test_engines_that_are_built_meanwhile_are_said_and_then_taken(service):
    engines = service.folder / "engines"
    (engines / "net-0123").mkdir(parents=True)
    service.environment["DERMEDGE_ENGINES"] = str(engines)
    service.configure()
    with (engines / ".build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        service.start()
        service.wait(
            lambda: "BUILDING engines" in service.page("/live?after=-1")[1],
            "the word that they are built",
        )
        (engines / "net-0123" / "chosen").write_text("fp16-0123456789abcdef\n")
        time.sleep(5.5)  # more than a beat: while it goes on nothing is taken
        assert "taken into use" not in service.log()
    service.wait(
        lambda: "an engine was built: it is taken into use" in service.log(), "the new run"
    )
    service.wait(lambda: service.log().count("running synthetic") == 2, "a second run")
    assert service.stop() == 0


def test_with_telemetry_a_fault_ends_nothing_and_is_told_there(service):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    telemetry = (
        f'[telemetry]\nlisten = "127.0.0.1:{port}"\nfolder = "{service.folder}/t"\nevery_s = 1.0\n'
    )

    def asked(path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as got:
                return got.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
        except OSError:
            return ""

    # Wrong from the start, wrong in another section, a pack that is none, and mended.
    service.configure(more=f"nonsense = 1\n{telemetry}")
    service.start()
    service.wait_for_words("not running")
    service.wait(lambda: "nonsense" in asked("/healthz"), "the reason")
    good_pack, service.pack = service.pack, service.folder / "nosuch"
    service.configure(more=telemetry)
    service.wait(lambda: "nosuch" in asked("/healthz"), "the next reason")
    assert "dermedge_running 0.0" in asked("/metrics")
    service.pack = good_pack
    service.configure(more=telemetry)
    service.wait(lambda: asked("/healthz") == "ok", "a live picture")
    assert "dermedge_running 1.0" in asked("/metrics")
    service.configure(more=telemetry + "# changed\n")
    service.wait(lambda: "taken at the next start" in service.log(), "the word of a change")
    assert service.stop() == 0 and "left behind" not in service.log()
    assert list((service.folder / "t").glob("*.jsonl"))


def test_a_given_time_ends_a_service_too(service):
    service.configure(more="[loop]\nseconds = 2.0\n")
    service.start()
    assert service.process.wait(PATIENCE_S) == 0


def test_a_closed_terminal_ends_it_in_order(service):
    service.configure()
    service.start()
    service.wait(lambda: service.page("/healthz") == (200, "ok"), "a live picture")
    service.process.send_signal(signal.SIGHUP)
    assert service.process.wait(PATIENCE_S) == 0
    assert not (service.folder / "state" / "running.json").exists()


NOT_FOR_IT = """
import os
from pathlib import Path
forbidden = FORBIDDEN
access, is_dir, read_bytes = os.access, Path.is_dir, Path.read_bytes
def refuse(path):
    if str(path).startswith(forbidden):
        raise PermissionError(13, "Permission denied", str(path))
def checked(real):
    def call(self, *more, **named):
        refuse(self)
        return real(self, *more, **named)
    return call
Path.is_dir, Path.read_bytes = checked(is_dir), checked(read_bytes)
os.access = lambda path, *more, **named: (
    not str(path).startswith(forbidden) and access(path, *more, **named))
"""


def test_a_configuration_that_it_may_not_read_is_shown(service):
    service.configure()
    service.start(NOT_FOR_IT.replace("FORBIDDEN", repr(str(service.config))))
    service.wait_for_words("STATUS=not running: expected a TOML file")
    assert "Permission denied" in service.log() and service.process.poll() is None
    assert service.stop() == 0


def test_a_pack_in_a_folder_that_it_may_not_enter_is_shown(service):
    service.pack = Path("/home/nurse/pack")
    service.configure()
    service.start(NOT_FOR_IT.replace("FORBIDDEN", repr("/home/nurse")))
    service.wait_for_words("STATUS=not running: ")
    service.wait(lambda: service.page("/healthz")[0] == 503, "its reason")
    assert service.stop() == 0


LOADS_FOR_LONG = """
import time
from edge import compose
def load(*_, **__):
    time.sleep(600)
compose.open_analyzer = load
"""


def test_a_stop_while_the_models_load_is_an_end_in_order(service):
    service.configure()
    service.start(LOADS_FOR_LONG)
    service.wait_for_words("STATUS=loading the models")
    began_s = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began_s < 5.0
    assert not (service.folder / "state" / "running.json").exists()
    starts = json.loads((service.folder / "run" / "starts.json").read_text())
    assert starts == {"monotonic_s": []}


HANGS_BETWEEN_RUNS = """
import time
from edge.service import heart, hosting
from edge.service import service
hosting.NEXT_WITHIN_S = service.NEXT_WITHIN_S = heart.NEXT_WITHIN_S = 1.0
service.remember = lambda *_: time.sleep(600)
"""


def test_a_main_thread_that_hangs_between_two_runs_is_told(service):
    service.environment["WATCHDOG_USEC"] = "2000000"
    service.configure()
    service.start(HANGS_BETWEEN_RUNS)
    service.wait_for_words("STATUS=HANGS: service: ")
    service.heard.clear()
    time.sleep(1.5)
    service.wait(lambda: True, "")
    assert "WATCHDOG=1" not in service.heard[1:]
    assert 'File "<string>"' in service.log()  # its stack


def test_files_that_a_build_leaves_are_no_change(service):
    engines = service.folder / "engines"
    engines.mkdir()
    service.environment["DERMEDGE_ENGINES"] = str(engines)
    service.configure("v4l2:/dev/video-none")
    service.start()
    service.wait_for_words("STATUS=camera away: ")
    for name in (".build.lock", ".attempts.json"):
        (engines / name).write_text("{}")
    time.sleep(11.0)  # two beats
    assert "the configuration has changed" not in service.log()
    assert service.log().count("running v4l2") == 1
    assert service.stop() == 0


ENGINE_FAILS = """
from edge.engines import onnx
from edge.engines.cuda import CudaError
run, count = onnx.OnnxEngine._run, [0]
def failing(self, session, pixels):
    count[0] += 1
    if count[0] > 9:
        raise CudaError("an answer", got="CUDA error 700", next_step="start it again")
    return run(self, session, pixels)
onnx.OnnxEngine._run = failing
"""


def test_an_engine_that_fails_in_the_middle_of_a_run_wants_a_new_process(service):
    service.configure()
    service.start(ENGINE_FAILS)
    assert service.process.wait(PATIENCE_S) == 5
    assert "the engine failed in the middle of a run: expected an answer" in service.log()
    service.start()
    service.wait(lambda: service.page("/healthz")[0] == 200, "a live picture")
    assert "Started again: the engine failed: CUDA error 700" in service.page("/live?after=-1")[1]
    assert service.stop() == 0


SHOWING_FAILS = """
from edge.service import trouble
def broken(*_):
    raise ZeroDivisionError("nobody foresaw it")
trouble.Trouble.show = broken
"""


def test_what_breaks_while_the_reason_is_shown_is_noted(service):
    service.configure("nonsense:")
    service.start(SHOWING_FAILS)
    assert service.process.wait(PATIENCE_S) == 5
    noted = json.loads((service.folder / "state" / "failure.json").read_text())
    assert noted["words"] == "ZeroDivisionError: nobody foresaw it"


CHANGES_WHILE_IT_LOADS = """
import sys
from pathlib import Path
from edge import compose
real = compose.open_analyzer
def load(*given, **named):
    config = Path(sys.argv[sys.argv.index("--config") + 1])
    if "v4l2" in config.read_text():
        config.write_text(config.read_text().replace("v4l2:/dev/video-none", SMALL))
    return real(*given, **named)
compose.open_analyzer = load
"""


def test_a_configuration_that_is_mended_while_the_models_load_is_taken(service):
    service.configure("v4l2:/dev/video-none")
    service.start(CHANGES_WHILE_IT_LOADS.replace("SMALL", repr(SMALL)))
    service.wait(lambda: service.page("/healthz")[0] == 200, "a live picture")
    assert "the configuration has changed: it is read again" in service.log()
    assert service.stop() == 0


BLACK = """
from edge.trust import NoTrust
from edge.commands import run
class Black(NoTrust):
    def not_live_words(self, now_ns):
        return "the picture is black"
run._trust = lambda *_, **__: Black()
"""


def test_a_picture_that_is_not_live_is_not_called_so(service):
    service.configure()
    service.start(BLACK)
    service.wait_for_words("STATUS=NOT WELL: the picture is black; ")
    assert not any("STATUS=live" in line for line in service.heard)
    assert service.stop() == 0


LACKS_THE_GPU = """
import importlib.util
from edge import compose
compose.why_no_tensorrt = lambda: ""
"""


def test_a_board_whose_gpu_does_not_compute_says_so(service):
    service.environment["DERMEDGE_ENGINES"] = str(service.folder / "engines")
    service.configure()
    service.start(LACKS_THE_GPU)
    service.wait(
        lambda: "ON THE CPU, slower (why: dermedge doctor)" in service.page("/live?after=-1")[1],
        "the word",
    )
    assert service.stop() == 0


QUICK = "from edge import away\naway.RETRY_S = 0.2\n"


def test_places_that_cannot_be_written_at_the_start_cost_no_picture(service):
    folders = [service.folder / name for name in ("recordings", "cases")]
    for folder in folders:
        folder.write_text("in the way: as root nothing else is refused")
    sinks = f'["web:127.0.0.1:{service.port}", "record:{folders[0]}?codec=mjpeg"]'
    service.configure(more=f'[cases]\nfolder = "{folders[1]}"\n')
    text = service.config.read_text()
    service.config.write_text(
        text.replace(f'["web:127.0.0.1:{service.port}"]', sinks) + "[record]\nreserve_mb = 1\n"
    )
    service.start(QUICK)
    service.wait(lambda: service.page("/healthz") == (200, "ok"), "a live picture")
    said = service.page("/live?after=-1")[1]
    assert f"NOT WRITTEN: record {folders[0]}: " in said
    assert f"NOT WRITTEN: cases {folders[1]}: " in said
    for folder in folders:
        folder.unlink()
    service.wait(lambda: "sink record" in service.log() and "writes again" in service.log(), "it")
    service.wait(lambda: "case: the folder can be written again" in service.log(), "cases")
    service.wait(lambda: list(folders[0].rglob("*.json*")), "a recording")
    service.wait(lambda: "NOT WRITTEN" not in service.page("/live?after=-1")[1], "no word of it")
    assert service.stop() == 0
