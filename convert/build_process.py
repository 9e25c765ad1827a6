"""The parent of a build: memory looked at first, a child that compiles, and what became of it.

A child that was killed for lack of memory, or to which TensorRT gave none, is tried again with half
of the limits, three times in all. Ctrl-C and SIGTERM ask the child to stop, which it does at the
next step of TensorRT's, and kill it where that takes too long. Nothing that a child leaves has a
name: its order comes on its command line, the graph and the engine through open files.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO

from convert.build_memory import MIB, KernelKills, Limits, Memory, limits_for, read_memory
from convert.build_progress import BuildProgress
from convert.compiler_link import STOP, Downlink, Event, Order
from convert.timing_cache import read_timing_cache, write_timing_cache
from edge.commands.printing import complain
from edge.engine_card import BuilderSettings, DeviceFacts
from edge.errors import DermedgeError, InputError, ModelRefusedError, RequestError
from edge.stop import EXIT_CTRL_C, Stop, stop_on_signals

ATTEMPTS = 3
GRACE_S = 10.0
"""How long a child may take to stop when asked; the trial of one tactic goes on that long."""

_LOOK_EVERY_S = 0.2
_SAID_BYTES = 4096

# The child sees the modules that this process sees, and no others: with -m it would look into the
# working folder first, which may hold anything.
_CHILD = (
    "import sys; sys.path[:] = filter(None, sys.path); import json, runpy; "
    "sys.path[:] = json.loads(sys.argv.pop(1)); "
    "runpy.run_module('convert.build', run_name='__main__', alter_sys=True)"
)


@dataclass(frozen=True)
class Compiled:
    """An engine that was written.

    Attributes:
        sha256: Of its content.
        size_bytes: Of its file.
        seconds: Of the compiler alone, in the attempt that succeeded.
        attempts: How many there were.
        limits: Of the attempt that succeeded.
    """

    sha256: str
    size_bytes: int
    seconds: float
    attempts: int
    limits: Limits


def compile_engine(
    graph: bytes,
    engine: BinaryIO,
    settings: BuilderSettings,
    *,
    timing_cache: Path,
    title: str,
    memory: Memory | None = None,
) -> Compiled:
    """Compile a graph in a child process.

    Args:
        graph: An ONNX file in its precision.
        engine: An open file that the engine is written into.
        settings: Batches, level, workspace.
        timing_cache: Read before and written after; it need not exist.
        title: Of the progress, such as ``segmenter tiny-unet, fp16``.
        memory: What the board has; looked at now unless given.

    Raises:
        RequestError: TensorRT is not installed, or does not load.
        ModelRefusedError: TensorRT refuses the graph, or does not compile it.
        DermedgeError: There is too little memory; TensorRT finds no device; the compiler crashed.
        OSError: The engine cannot be written.
        KeyboardInterrupt: It was stopped by Ctrl-C.
        SystemExit: It was stopped by SIGTERM; with code 0.
    """
    limits = limits_for(memory or read_memory(), settings.workspace_mib)
    with _nameless(graph) as file, BuildProgress(title) as progress:
        order = Order(
            work="build",
            parent_pid=os.getpid(),
            events_fd=-1,
            graph_fd=file.fileno(),
            engine_fd=engine.fileno(),
            max_batch=settings.max_batch,
            opt_batch=settings.opt_batch,
            optimization_level=settings.optimization_level,
            detailed=settings.detailed,
        )
        return _with_less_each_time(order, limits, timing_cache, progress, title)


def _nameless(content: bytes) -> IO[bytes]:
    """A file that is gone with its last reader, however that ends."""
    file = None
    try:
        file = tempfile.TemporaryFile()
        file.write(content)
        file.flush()
        return file
    except OSError as error:
        if file is not None:
            file.close()
        raise InputError(
            f"{len(content)} bytes of room in a folder for temporary files",
            got=error.strerror or str(error),
            next_step="free some space, or set TMPDIR to a folder that can be written",
        ) from error


def _with_less_each_time(
    order: Order, limits: Limits, timing_cache: Path, progress: BuildProgress, title: str
) -> Compiled:
    reasons = []
    for attempt in range(1, ATTEMPTS + 1):
        progress.begin()
        limited = replace(
            order, workspace_bytes=limits.workspace_bytes, tactic_bytes=limits.tactic_bytes
        )
        ending = _run_timed(limited, timing_cache, progress)
        built = ending.answers.get("built")
        if built is not None:
            return Compiled(built["sha256"], built["size_bytes"], built["seconds"], attempt, limits)
        reason = ending.lack_of_memory()
        if reason is None:
            raise ending.error(title, limits)
        reasons.append(reason)
        if attempt < ATTEMPTS:
            limits = limits.halved()
            complain(
                f"{title}: {reason}; trying again with half of the memory, "
                f"{limits.workspace_bytes // MIB} MiB of workspace"
            )
    raise DermedgeError(
        f"enough memory to compile {title}",
        got=f"{reasons[-1]}, after {ATTEMPTS} attempts, the last one with "
        f"{limits.workspace_bytes // MIB} MiB of workspace",
        next_step="stop other programs, or add swap on a file, and build again",
    )


def _run_timed(order: Order, timing_cache: Path, progress: BuildProgress) -> _Ending:
    """Run a build with what is known of this device's timing, and keep what it adds."""
    known, wrong = read_timing_cache(timing_cache)
    if wrong:
        complain(f"warning: the timing cache {timing_cache} is dropped: {wrong}")
    with _nameless(known) as file:
        ending = _run(replace(order, timing_fd=file.fileno()), progress)
        file.seek(0)
        content = file.read()
    if "built" in ending.answers and content != known:
        wrong = write_timing_cache(timing_cache, content)
        if wrong:
            complain(f"warning: the timing cache {timing_cache} is not kept: {wrong}")
    return ending


def device_at_hand() -> DeviceFacts:
    """The device that engines would be built for.

    A process of its own asks TensorRT and CUDA: neither then takes memory from the build, and what
    they take here is given back.

    Raises:
        RequestError: TensorRT or a binding to CUDA is not installed.
        DermedgeError: There is no device.
    """
    ending = _run(Order(work="device", parent_pid=os.getpid(), events_fd=-1))
    found = ending.answers.get("device")
    if found is None:
        raise ending.error("nothing", None)
    return DeviceFacts.model_validate(found["device"])


def engine_layers(engine: Path) -> list[dict[str, Any]]:
    """The layers of an engine as TensorRT's inspector tells them.

    Raises:
        InputError: The file cannot be read.
        RequestError: TensorRT is not installed.
        ModelRefusedError: It is no engine of this device and this TensorRT.
    """
    try:
        with engine.open("rb") as file:
            order = Order(
                work="layers", parent_pid=os.getpid(), events_fd=-1, graph_fd=file.fileno()
            )
            ending = _run(order)
    except OSError as error:
        raise InputError(
            f"to read {engine}", got=error.strerror or str(error), next_step="check that file"
        ) from error
    answer = ending.answers.get("layers")
    if answer is None:
        raise ending.error(str(engine), None)
    try:
        layers = json.loads(answer["layers"])["Layers"]
    except (ValueError, KeyError) as error:
        raise ModelRefusedError(
            f"TensorRT's inspector to tell the layers of {engine} as JSON",
            got=str(error),
            next_step="build the engine again with --force",
        ) from error
    # Without details a layer is only its name.
    return [layer if isinstance(layer, dict) else {"Name": layer} for layer in layers]


# --- one child ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ending:
    """What became of a child.

    Attributes:
        answers: Its events that are no progress, by name.
        returncode: Negative where a signal ended it.
        said: The last line on its stderr.
        lowest: The board's memory when it was lowest.
        kernel_killed: Whether the kernel killed for lack of memory meanwhile.
    """

    answers: dict[str, Event]
    returncode: int
    said: str
    lowest: Memory
    kernel_killed: bool

    def lack_of_memory(self) -> str | None:
        """That memory ran out, in words, or ``None`` where it was something else."""
        failed = self.answers.get("failed")
        if failed is not None:
            return (
                f"TensorRT had no memory ({failed['text']})" if failed["kind"] == "memory" else None
            )
        if self.returncode != -signal.SIGKILL:
            return None
        if self.kernel_killed:
            return "out of memory: the kernel killed the compiler"
        left = f"{self.lowest.available_bytes // MIB} of {self.lowest.total_bytes // MIB} MiB"
        if self.lowest.is_low:
            return f"out of memory, most likely: the compiler was killed with {left} left"
        return f"the compiler was killed, as the kernel does for lack of memory, with {left} left"

    def error(self, title: str, limits: Limits | None) -> Exception:
        """Why there is no answer."""
        if "refused" in self.answers:
            return _raised_again(self.answers["refused"])
        failed = self.answers.get("failed")
        if failed is not None:
            return _explained(failed, title, limits)
        if self.returncode < 0:
            got = f"signal {signal.Signals(-self.returncode).name}"
        else:
            got = f"exit code {self.returncode}"
        if "ImportError" in self.said or "ModuleNotFoundError" in self.said:
            return RequestError(
                "a TensorRT that loads",
                got=self.said,
                next_step="see what is wrong: dermedge doctor",
            )
        return DermedgeError(
            "the compiler to end by itself",
            got=f"{got} ({self.said})" if self.said else got,
            next_step="build again; if it ends like that again, delete the timing cache "
            "(timing-*.cache in the engine folder) and report it",
        )


def _explained(failed: Event, title: str, limits: Limits | None) -> Exception:
    kind, text = failed["kind"], failed["text"]
    if kind == "output":
        return OSError(failed["errno"], text)
    if kind == "start":
        return DermedgeError(
            "a GPU that TensorRT can use", got=text, next_step="see what is wrong: dermedge doctor"
        )
    if kind == "workspace" and limits is not None:
        return DermedgeError(
            f"{limits.workspace_bytes // MIB} MiB of workspace to be enough for {title}",
            got=text,
            next_step="give more with --workspace-mib, or free memory and build again",
        )
    if kind == "graph" and limits is None:
        return ModelRefusedError(
            f"an engine of this device in {title}",
            got=text,
            next_step="build it here: dermedge-convert build PACK",
        )
    return ModelRefusedError(
        f"TensorRT to compile {title}",
        got=text,
        next_step="see what the target reads: dermedge-convert check PACK",
    )


def _raised_again(refused: Event) -> DermedgeError:
    kinds = (DermedgeError, RequestError, InputError, ModelRefusedError)
    kind = {kind.exit_code: kind for kind in kinds}[refused["exit_code"]]
    return kind(refused["expected"], got=refused["got"], next_step=refused["next_step"])


def _run(order: Order, progress: BuildProgress | None = None) -> _Ending:
    """Run a child to its end.

    Raises:
        RequestError: TensorRT is not installed.
        KeyboardInterrupt: It was stopped by Ctrl-C.
        SystemExit: It was stopped by SIGTERM.
    """
    if importlib.util.find_spec("tensorrt") is None:
        raise RequestError(
            "the module tensorrt",
            got="none",
            next_step="on a Jetson: sudo apt-get install python3-libnvinfer, and a venv made by "
            "/usr/bin/python3 -m venv --system-site-packages",
        )
    stop = Stop()
    with stop_on_signals(stop), _child(order) as (child, link, said):
        watch = _Watch(child, link, stop, progress)
        ending = watch.to_the_end(said)
    reason = stop.reason
    if reason is not None:
        if reason.exit_code == EXIT_CTRL_C:
            raise KeyboardInterrupt
        complain("stopped by SIGTERM; the engines in use stay as they are")
        raise SystemExit(reason.exit_code)
    return ending


@contextmanager
def _child(order: Order) -> Iterator[tuple[subprocess.Popen[bytes], Downlink, IO[bytes]]]:
    """A child at work; whatever happens, it is gone at the end of the ``with``."""
    ours, theirs = os.pipe()
    link = Downlink(ours)
    fds = (order.graph_fd, order.engine_fd, order.timing_fd, theirs)
    files = [fd for fd in fds if fd >= 0]
    try:
        with _nameless(b"") as said:
            try:
                child = _start(replace(order, events_fd=theirs), files, said)
            finally:
                os.close(theirs)
            try:
                yield child, link, said
            finally:
                if child.poll() is None:
                    child.kill()
                child.wait()
                with suppress(OSError):  # what was not yet written to it
                    child.communicate()
    finally:
        link.close()


def _start(order: Order, files: Sequence[int], said: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _CHILD, json.dumps(sys.path), order.to_json()],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            pass_fds=files,
            # Ctrl-C in a terminal goes to the parent alone, which asks the child.
            start_new_session=True,
        )
    except OSError as error:
        raise DermedgeError(
            "to start a process for the compiler",
            got=error.strerror or str(error),
            next_step="stop other programs, and build again",
        ) from error


class _Watch:
    """Follows a child: its events, the board's memory, and the request to stop."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        link: Downlink,
        stop: Stop,
        progress: BuildProgress | None,
    ) -> None:
        self._child, self._link, self._stop, self._progress = child, link, stop, progress
        self._kills = KernelKills()
        self._lowest = read_memory()
        self._answers: dict[str, Event] = {}
        self._kill_at_s: float | None = None

    def to_the_end(self, said: IO[bytes]) -> _Ending:
        while not self._link.ended:
            select.select([self._link.fd], [], [], _LOOK_EVERY_S)
            for event in self._link.events():
                self._take(event)
            if self._progress is not None:
                self._progress.tick()
            self._lowest = min(self._lowest, read_memory(), key=_available)
            self._stop_if_asked()
        # The pipe is closed: the child has ended, or is about to.
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(GRACE_S)
        if self._child.poll() is None:
            self._child.kill()
        returncode = self._child.wait()
        return _Ending(
            self._answers, returncode, _last_line(said), self._lowest, self._kills.happened()
        )

    def _take(self, event: Event) -> None:
        if event["event"] in ("phase", "step", "finish"):
            if self._progress is not None:
                self._progress.add(event)
        elif event["event"] == "warning":
            complain(f"warning: {event['text']}")
        else:
            self._answers[event["event"]] = event

    def _stop_if_asked(self) -> None:
        now_s = time.monotonic()
        if self._kill_at_s is not None:
            if now_s >= self._kill_at_s:
                self._child.kill()
        elif self._stop.is_set:
            self._kill_at_s = now_s + GRACE_S
            assert self._child.stdin is not None  # it was asked for
            with suppress(OSError):  # it has ended meanwhile
                self._child.stdin.write(STOP)
                self._child.stdin.flush()


def _available(memory: Memory) -> int:
    return memory.available_bytes


def _last_line(said: IO[bytes]) -> str:
    end = said.seek(0, os.SEEK_END)
    said.seek(max(0, end - _SAID_BYTES))
    lines = said.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
