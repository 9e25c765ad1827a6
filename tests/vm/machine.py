"""A machine for tests that boots, runs commands, loses its power and boots again.

Three kinds behind one class: :class:`UmlMachine` (a kernel of its own at the host's speed, cameras,
disks), :class:`QemuMachine` (Debian's stock kernel, a screen, a disk that forgets what was not
flushed) and :class:`~tests.vm.nspawn.NspawnMachine` (systemd alone, up in a second). None of them
writes to what :mod:`tests.vm.build` made, and each ends with the test that began it.
"""

from __future__ import annotations

import abc
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.vm.build import Pieces

NUDGE_EVERY_S = 3.0
"""A guest of User-Mode Linux may lose a timer on a busy host, and then stands still until something
interrupts it: an empty line does."""

SEND_WITHIN_S = 30.0

SHARE = "/mnt/host"
"""Where the guest sees :attr:`Machine.share`."""


class NoAnswerError(Exception):
    """The guest did not do in time what it was asked."""


@dataclass(frozen=True)
class Said:
    """What a command gave.

    Attributes:
        code: Exit code of the shell; 124: ended by the limit; ``None``: the power was cut before.
        text: Both outputs.
    """

    code: int | None
    text: str


class Machine(abc.ABC):
    """A guest with a root disk of its own, which keeps what was written from boot to boot."""

    kind: str
    up_within_s = 60.0

    def __init__(
        self, pieces: Pieces, *, memory_mib: int = 1536, disks: Sequence[Path] = ()
    ) -> None:
        self.pieces = pieces
        self.memory_mib = memory_mib
        self.disks = tuple(disks)
        self.folder = Path(tempfile.mkdtemp(prefix=f"vm-{self.kind}-"))
        self.share = self.folder / "share"
        """A folder of the host; the guest has it as ``SHARE``."""
        self.share.mkdir()
        self.boots = 0

    @abc.abstractmethod
    def boot(self) -> float:
        """Start the machine; returns the seconds until it did the first command."""

    @property
    @abc.abstractmethod
    def is_running(self) -> bool:
        """Whether it was booted, and neither cut nor off."""

    @abc.abstractmethod
    def disk(self, number: int) -> str:
        """The device of the disk ``number`` in the guest."""

    @abc.abstractmethod
    def run(
        self,
        command: str,
        *,
        limit_s: float = 120.0,
        cut_after_s: float | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> Said:
        """Run a shell command as root.

        Args:
            command: For ``/bin/sh``.
            limit_s: The guest ends the command after this time.
            cut_after_s: Cut the power at this time, unless the command has ended.
            hear: Called with each piece of output when it comes.

        Raises:
            NoAnswerError: the guest does not answer at all.
        """

    @abc.abstractmethod
    def cut(self) -> None:
        """Pull the plug: nothing in the guest runs any more."""

    @abc.abstractmethod
    def power_off(self) -> None:
        """Shut down in order.

        Raises:
            NoAnswerError: it was not off within a minute; its power was cut.
        """

    def check(self, command: str, *, limit_s: float = 120.0) -> str:
        """Run a command that must end with 0; returns what it said."""
        said = self.run(command, limit_s=limit_s)
        assert said.code == 0, f"{command}: exit code {said.code}\n{said.text}"
        return said.text

    def wait_for(self, command: str, *, within_s: float = 60.0, every_s: float = 0.2) -> float:
        """Run a command until it ends with 0; returns the seconds that it took."""
        began_s = time.monotonic()
        script = f"while ! ( {command} ) >/run/waited 2>&1; do sleep {every_s}; done"
        said = self.run(script, limit_s=within_s)
        if said.code != 0:
            last = self.run("cat /run/waited").text
            raise NoAnswerError(f"not within {within_s:g} s: {command}\n{last}")
        return time.monotonic() - began_s

    def copy_in(self, path: Path, target: str) -> None:
        """Copy a file, or what is in a folder, to the absolute path ``target`` of the guest."""
        box = self.share / "in"
        shutil.rmtree(box, ignore_errors=True)
        box.mkdir()
        if path.is_dir():
            shutil.copytree(path, box / "it", ignore=shutil.ignore_patterns("__pycache__"))
            self.check(f"mkdir -p {target} && cp -r {SHARE}/in/it/. {target}")
        else:
            shutil.copy2(path, box / path.name)
            self.check(f"mkdir -p $(dirname {target}) && cp -r {SHARE}/in/{path.name} {target}")
        shutil.rmtree(box)

    def copy_out(self, source: str, target: Path) -> None:
        """Copy a file or a folder of the guest to the path ``target`` of the host."""
        box = self.share / "out"
        shutil.rmtree(box, ignore_errors=True)
        self.check(f"rm -rf {SHARE}/out && cp -r {source} {SHARE}/out")
        target.parent.mkdir(parents=True, exist_ok=True)
        if box.is_dir():
            shutil.copytree(box, target, dirs_exist_ok=True)
            shutil.rmtree(box)
        else:
            shutil.move(box, target)

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.cut()
        if kind is not None and (console := self.folder / "console.log").exists():
            print(f"the last words on the console of {self.kind}:")
            print(console.read_text(errors="replace")[-3000:])
        shutil.rmtree(self.folder, ignore_errors=True)


class LineMachine(Machine):
    """A machine whose commands travel over a serial line, to ``guest/agent.py``."""

    def __init__(
        self, pieces: Pieces, *, memory_mib: int = 1536, disks: Sequence[Path] = ()
    ) -> None:
        super().__init__(pieces, memory_mib=memory_mib, disks=disks)
        self._process: subprocess.Popen[bytes] | None = None
        self._line: JsonLine | None = None
        self._number = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @abc.abstractmethod
    def _start(self) -> JsonLine:
        """Start the process, keep it in ``self._process``, return the line to the agent."""

    def boot(self) -> float:
        assert self._process is None, "it runs already"
        began_s = time.monotonic()
        self._line = self._start()
        self.boots += 1
        self._until_it_answers(began_s + self.up_within_s)
        up_s = time.monotonic() - began_s
        self._mount_share()
        return up_s

    @abc.abstractmethod
    def _mount_share(self) -> None: ...

    def _until_it_answers(self, end_s: float) -> None:
        """A request sent before the agent holds the line is lost, so ask again."""
        while time.monotonic() < end_s:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                self._ask("true", limit_s=5.0, wait_s=1.0)
                return
            except NoAnswerError:
                continue
        self.cut()
        words = (self.folder / "console.log").read_text(errors="replace")[-2000:]
        raise NoAnswerError(f"{self.kind} is not up after {self.up_within_s:g} s\n{words}")

    def run(
        self,
        command: str,
        *,
        limit_s: float = 120.0,
        cut_after_s: float | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> Said:
        limit_s = max(limit_s, (cut_after_s or 0.0) + 10)
        return self._ask(
            command, limit_s=limit_s, wait_s=limit_s + 20, cut_after_s=cut_after_s, hear=hear
        )

    def _ask(
        self,
        command: str,
        *,
        limit_s: float,
        wait_s: float,
        cut_after_s: float | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> Said:
        assert self._line is not None, "it is not running"
        self._number += 1
        self._line.send({"number": self._number, "command": command, "limit_s": limit_s})
        began_s = time.monotonic()
        end_s = began_s + wait_s
        cut_s = None if cut_after_s is None else began_s + cut_after_s
        text = ""
        while True:
            slice_s = time.monotonic() + NUDGE_EVERY_S
            answer = self._line.receive(min(end_s, cut_s or end_s, slice_s))
            now_s = time.monotonic()
            if cut_s is not None and now_s >= cut_s:
                self.cut()
                return Said(None, text)
            if answer is None:
                if now_s < end_s:
                    self._line.nudge()
                    continue
                raise NoAnswerError(f"no end of {command!r}\n{text[-2000:]}")
            if answer.get("number") != self._number or "command" in answer:
                continue  # late, or the echo of a line that nobody held yet
            if "code" in answer:
                return Said(int(str(answer["code"])), text)
            text += str(answer["said"])
            if hear is not None:
                hear(str(answer["said"]))

    def cut(self) -> None:
        if self._process is not None:
            # The kernel and what it started for its guest are one group.
            with suppress(ProcessLookupError):  # it went off by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._line is not None:
            self._line.close()
            self._line = None

    def power_off(self) -> None:
        assert self._line is not None and self._process is not None
        self._line.send({"number": 0, "command": "systemctl poweroff", "limit_s": 60})
        end_s = time.monotonic() + 60.0
        try:
            while self._process.poll() is None:
                if time.monotonic() > end_s:
                    raise NoAnswerError("not off within 60 s")
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(NUDGE_EVERY_S)
                with suppress(NoAnswerError):  # the line is closed before the end
                    self._line.nudge()
        finally:
            self.cut()

    def _launch(self, command: Sequence[str], **options: object) -> None:
        console = (self.folder / "console.log").open("ab")
        with console:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],  # it ends with the tests
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,  # type: ignore[call-overload]
            )


class JsonLine:
    """A socket that carries one JSON object per line."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._rest = b""

    def send(self, message: dict[str, object]) -> None:
        self._send_all(json.dumps(message).encode() + b"\n")

    def nudge(self) -> None:
        """Send an empty line, which the agent leaves out."""
        self._send_all(b"\n")

    def _send_all(self, data: bytes) -> None:
        # What receive() leaves is the rest of its own time, which may be a nanosecond.
        self._socket.settimeout(SEND_WITHIN_S)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise NoAnswerError(f"the line to the guest is closed: {error}") from error

    def receive(self, end_s: float) -> dict[str, object] | None:
        """The next object, or ``None`` at the instant ``end_s`` of the monotonic clock."""
        while b"\n" not in self._rest:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return None
            self._socket.settimeout(left_s)
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError as error:
                raise NoAnswerError(f"the line to the guest broke: {error}") from error
            if not more:
                raise NoAnswerError("the guest is gone")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        return message if isinstance(message, dict) else {}  # a word of the terminal

    def close(self) -> None:
        self._socket.close()


@contextmanager
def ext4_disk(folder: Path, name: str, size_mib: int) -> Iterator[Path]:
    """An empty ext4 disk as a raw file."""
    path = folder / f"{name}.raw"
    with path.open("wb") as file:
        file.truncate(size_mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-L", name, str(path)], check=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
