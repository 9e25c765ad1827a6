"""The live loop in real time: age of what is shown, memory, CPU: ``python -m benchmarks.live``.

    python -m benchmarks.live [--minutes M] [--config NAME ...] [--view paired|live] [--check]

A camera of 30 pictures per second at 1280x720 (a phantom on which the released pack finds three
regions, as in the larger case of benchmarks.pipeline; drawn before the clock starts), the pack,
tracking and guards as `dermedge run` has them, and one configuration after another:

headless     results are counted, nothing is drawn
jsonl        every Result is written as a JSON line
screen       a screen in this process that takes each picture and shows it nowhere
window       a window (needs a display, such as that of xvfb-run)
web          the web page with one viewer, who takes every picture
record       every analyzed picture is recorded as H.264 where something here encodes it
record-jpeg  every analyzed picture is recorded as JPEG

The CPU "outside the models" is that of Python's own threads (source, analysis, presentation) less
what the analysis thread spends inside the two inference calls; the threads that ONNX Runtime starts
are not counted. Drawing the phantoms is not part of it. "Apart" are the window's own process and
the encoding for the web page and the recording, wherever it is done. ``--check`` holds each
configuration to its budget of both together.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import struct
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.slope import slope_of_blocks
from edge.analysis.analyzer import Analyzer
from edge.compose import open_engines
from edge.controls import Controls
from edge.engines.base import Engine
from edge.frame import Frame
from edge.guarded import Guards
from edge.health import Health
from edge.loop import Parts, run_loop
from edge.recording.h264 import H264Encoder
from edge.recording.sink import RecordSink
from edge.result import Stage
from edge.screens.base import Presented, Shown
from edge.screens.process import ScreenProcess
from edge.screens.web import WebScreen
from edge.sinks.background import BackgroundSink
from edge.sinks.base import Shot, Sink
from edge.sinks.jsonl import JsonlSink
from edge.status import Status
from edge.stop import Stop
from edge.tracking.followed import followed
from edge.tracking.tracker import Tracker
from models.manifest import Pack, find_pack
from models.phantom import PhantomCamera

SIZE_WH, FPS, PICTURES, SEED = (1280, 720), 30.0, 45, 8
CONFIGS = ("headless", "jsonl", "screen", "window", "web", "record", "record-jpeg")

CORE_MAX = {
    "headless": 0.15,
    "jsonl": 0.17,
    "screen": 0.25,
    "window": 0.30,
    "web": 0.30,
    "record": 0.30,
    "record-jpeg": 0.20,
}
"""Budgets: of one core, outside the models, what goes apart included, at up to :data:`CORE_AT`
analyses per second. More of them may cost more in proportion: faster networks on the same machine
leave the rest of each analysis what it is."""

CORE_AT = 12.0

CHECK_MINUTES_MIN = 1.0
"""Below this there are too few blocks to tell a slope from noise."""

PAIRED_ANALYSES = 1.15
"""The p99 of the age may be a capture interval and this many p99 of the analysis."""

WARM_UP_S = 5.0


class Apart(NamedTuple):
    """CPU seconds of what is told apart: in this process's Python threads, and in another."""

    here_s: float = 0.0
    elsewhere_s: float = 0.0


class Used(NamedTuple):
    """An instant, and the CPU seconds used until then, outside the models and apart."""

    at_s: float
    core_s: float
    apart_s: float


class Playback:
    """A live camera that plays drawn pictures to and fro; a frame is never copied."""

    name, is_live = "playback:30", True

    def __init__(self, pictures: list[NDArray[np.uint8]]) -> None:
        self._pictures = pictures + pictures[-2:0:-1]
        self._closed = threading.Event()
        self._index = -1
        self._first_ns = 0

    def open(self) -> None:
        """Start the clock."""
        self._first_ns = time.monotonic_ns()

    def read(self) -> Frame | None:
        """The newest exposure."""
        now_index = int((time.monotonic_ns() - self._first_ns) * FPS / 1e9)
        self._index = max(now_index, self._index + 1)
        captured_ns = self._first_ns + round(self._index * 1e9 / FPS)
        if self._closed.wait(max(0.0, (captured_ns - time.monotonic_ns()) / 1e9)):
            return None
        pixels = self._pictures[self._index % len(self._pictures)]
        # As from a driver: the guards look at pictures of programs less closely.
        return Frame(
            pixels, self._index, self.name, captured_ns, "monotonic", "driver",
            exposure_began_ns=captured_ns,
        )  # fmt: skip

    def close(self) -> None:
        """End a waiting read."""
        self._closed.set()


class TimedEngine:
    """An engine whose calls are measured on the thread that makes them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.identity, self.input_size_wh = engine.identity, engine.input_size_wh
        self.max_batch = engine.max_batch
        self.cpu_s = 0.0

    def infer(self, inputs):  # type: ignore[no-untyped-def]
        """As the engine."""
        began_s = time.thread_time()
        try:
            return self._engine.infer(inputs)
        finally:
            self.cpu_s += time.thread_time() - began_s


class NullScreen:
    """Shows every picture at once, nowhere."""

    name, room = "null", None

    def open(self) -> None:
        """Nothing to do."""

    def show(self, shown: Shown) -> Presented:
        """Shown, they say."""
        return Presented(shown.number, time.monotonic_ns())

    def poll(self) -> None:
        """Nobody does anything."""

    def close(self) -> None:
        """Nothing to do."""


class TimedWeb(WebScreen):
    """The web page, with what its encoder takes."""

    encode_cpu_s = 0.0

    def _encoded(self, shown: Shown) -> bytes:
        began_s = time.thread_time()
        try:
            return super()._encoded(shown)
        finally:
            self.encode_cpu_s += time.thread_time() - began_s


def view_page(port: int) -> None:
    """Take every picture of the page, as a browser does; in a process of its own."""
    number = -1
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/live?after={number}") as answer:
            body = answer.read()
        (length,) = struct.unpack("<I", body[:4])
        number = json.loads(body[4 : 4 + length])["number"]


class TimedRecord(RecordSink):
    """The recorder, with what its encoding takes: here and in the encoder's own process."""

    here_cpu_s = 0.0

    def write(self, shot: Shot) -> bool:
        """As the recorder."""
        began_s = time.thread_time()
        try:
            return super().write(shot)
        finally:
            self.here_cpu_s += time.thread_time() - began_s

    def child_cpu_s(self) -> float:
        """CPU of encoders, those that have ended too."""
        ended = os.times()
        running = self._encoder._child.pid if isinstance(self._encoder, H264Encoder) else None
        return ended.children_user + ended.children_system + cpu_s_of(running)


class Measured(Guards):
    """The guards; they keep ages, with the instant of each, and memory now and then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(None, folder)
        self.ages: list[tuple[float, float]] = []
        self.rss_mb: list[float] = []

    def shown(self, age_ms: float, now_ns: int) -> None:
        """Keep an age."""
        super().shown(age_ms, now_ns)
        if not self.ages or now_ns / 1e9 - self.ages[-1][0] > 0.0:
            self.ages.append((now_ns / 1e9, age_ms))
        if len(self.ages) % 100 == 0:
            self.rss_mb.append(resident_mb())


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def python_threads_cpu_s() -> float:
    """CPU of the threads that Python knows, in seconds."""
    total = 0.0
    for thread in threading.enumerate():
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
            total += int(stat.split()[0]) / 1e9
    return total


def sinks_of(config: str, folder: Path, stop: Stop) -> tuple[list[Sink], Callable[[], Apart]]:
    """The sinks of a configuration, and what goes apart."""
    if config == "jsonl":
        return [BackgroundSink(JsonlSink(folder / "run.jsonl"), stop, lossless=False)], Apart
    if config in ("record", "record-jpeg"):
        codec: Literal["auto", "mjpeg"] = "auto" if config == "record" else "mjpeg"
        recorder = TimedRecord(folder, codec=codec, reserve_bytes=0)
        sink = BackgroundSink(recorder, stop, lossless=False)
        return [sink], lambda: Apart(recorder.here_cpu_s, recorder.child_cpu_s())
    return [], Apart


def measure(
    config: str, pack: Pack, pictures: list[NDArray[np.uint8]], view: str, seconds: float
) -> bool:
    """Run one configuration and print its line; false where a limit is passed."""
    health, stop = Health(3600.0), Stop()
    with tempfile.TemporaryDirectory() as folder, open_engines(pack) as engines:
        trust = Measured(Path(folder) / "state")
        sinks, sinks_apart = sinks_of(config, Path(folder) / "sink", stop)
        timed = [TimedEngine(engine) for engine in engines]
        analyzer = Analyzer(*timed, pack)  # type: ignore[arg-type]
        screens, screens_apart, viewer = screens_of(config, stop)
        used: list[Used] = []
        threading.Thread(
            target=_watch,
            args=(stop, timed, (sinks_apart, screens_apart), used, seconds),
            name="watch",
            daemon=True,
        ).start()
        run_loop(
            Playback(pictures),
            followed(analyzer, Tracker(pack.classifier.manifest)),
            Parts(sinks=sinks, screens=screens, view=view, trust=trust),  # type: ignore[arg-type]
            stop=stop,
            health=health,
        )
        if viewer is not None:
            viewer.kill()
    return _report(config, health, trust, used)


def screens_of(
    config: str, stop: Stop
) -> tuple[list[Any], Callable[[], Apart], multiprocessing.Process | None]:
    """The screens of a configuration, what goes apart, and who looks."""
    if config == "screen":
        return [NullScreen()], Apart, None
    if config == "window":
        window = ScreenProcess("window", {}, Controls(), stop)
        return [window], lambda: Apart(0.0, cpu_s_of(window._child and window._child.pid)), None
    if config == "web":
        page = TimedWeb(Controls(), Status(), port=0)
        page.open()
        port = page.port
        page.close()
        page = TimedWeb(Controls(), Status(), port=port)
        viewer = multiprocessing.get_context("spawn").Process(target=_looks, args=(port,))
        viewer.start()
        return [page], lambda: Apart(page.encode_cpu_s), viewer
    return [], Apart, None


def _looks(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            view_page(port)
        time.sleep(0.1)


def cpu_s_of(pid: int | None) -> float:
    """CPU of another process so far; 0 where there is none, or no more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _watch(
    stop: Stop,
    engines: list[TimedEngine],
    apart: Sequence[Callable[[], Apart]],
    used: list[Used],
    seconds: float,
) -> None:
    """Take the CPU between the end of the warm-up and the end, then ask everybody to stop."""
    stop.wait(WARM_UP_S)
    for wait_s in (0.0, seconds):
        stop.wait(wait_s)
        inside_s = sum(engine.cpu_s for engine in engines)
        each = [one() for one in apart]
        here_s, elsewhere_s = sum(one.here_s for one in each), sum(one.elsewhere_s for one in each)
        core_s = python_threads_cpu_s() - inside_s - here_s
        used.append(Used(time.monotonic(), core_s, here_s + elsewhere_s))
    stop.request("the time given")


def _report(config: str, health: Health, trust: Measured, used: list[Used]) -> bool:
    begin, end = used
    seconds = end.at_s - begin.at_s
    core, apart = (end.core_s - begin.core_s) / seconds, (end.apart_s - begin.apart_s) / seconds
    ages = np.array([age for age in trust.ages if age[0] >= begin.at_s])
    slope, error = slope_of_blocks((ages[:, 0] - ages[0, 0]) / 60.0, ages[:, 1], 1.0 / 6.0)
    p99_ms = float(np.percentile(ages[:, 1], 99))
    analysis = health.total.stages[Stage.TOTAL]
    limit_ms = 1000.0 / FPS + PAIRED_ANALYSES * float(np.percentile(list(analysis._values), 99))
    rss = trust.rss_mb[len(trust.rss_mb) // 4 :] or [resident_mb()]
    print(
        f"{config:<10}{health.total.per_second:>7.1f}{np.median(ages[:, 1]):>9.0f}{p99_ms:>8.0f}"
        f"{limit_ms:>8.0f}{slope:>9.2f} ± {error:<5.2f}{core:>8.1%}"
        f"{apart:>8.1%}{rss[0]:>8.0f} ->{rss[-1]:>5.0f}",
        flush=True,
    )
    flat = abs(slope) <= 3.0 * error or abs(slope) < 0.5
    return (
        flat
        and p99_ms <= limit_ms
        and core + apart <= CORE_MAX[config] * max(1.0, health.total.per_second / CORE_AT)
    )


def main() -> int:
    """Print a line for each configuration; 1 with ``--check`` where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="reference")
    parser.add_argument("--minutes", type=float, default=0.5)
    usual = [name for name in CONFIGS if name != "window" or os.environ.get("DISPLAY")]
    parser.add_argument("--config", nargs="+", choices=CONFIGS, default=usual)
    parser.add_argument("--view", choices=("paired", "live"), default="paired")
    parser.add_argument("--seed", type=int, default=SEED, help="of the phantom; 7 has five regions")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.check and arguments.minutes < CHECK_MINUTES_MIN:
        parser.error(f"--check needs at least --minutes {CHECK_MINUTES_MIN:g} to tell a slope")
    cv2.setNumThreads(1)
    camera = PhantomCamera(arguments.seed, SIZE_WH, FPS)
    pictures = [camera.frame(index).pixels for index in range(PICTURES)]
    print(
        f"{SIZE_WH[0]}x{SIZE_WH[1]} at {FPS:g} fps, phantom {arguments.seed}, "
        f"view {arguments.view}, "
        f"{arguments.minutes:g} min"
    )
    print(
        f"{'':<10}{'per s':>7}{'age ms':>9}{'p99':>8}{'limit':>8}{'ms/min':>9}{'':8}"
        f"{'core':>8}{'apart':>8}{'MB':>8}"
    )
    kept = [
        measure(config, find_pack(arguments.pack), pictures, arguments.view, 60 * arguments.minutes)
        for config in arguments.config
    ]
    return int(arguments.check and not all(kept))


if __name__ == "__main__":
    sys.exit(main())
