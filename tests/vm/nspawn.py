"""systemd in a container: up in a second, on the host's kernel, for units and installations."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.vm.build import default_pieces
from tests.vm.machine import SHARE, Machine, NoAnswerError, Said

CGROUPS = Path("/sys/fs/cgroup")


def why_not() -> str | None:
    """What keeps containers from booting here; ``None``: they can."""
    if os.geteuid() != 0:
        return "not root"
    if shutil.which("systemd-nspawn") is None:
        return "no systemd-nspawn (Debian: systemd-container)"
    try:
        subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/mnt"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", None) or str(error)
        return f"no namespaces of its own: {words.strip()}"
    for tree in _trees():
        probe = tree / f"probe-{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            return f"no writable control group: {tree}: {error.strerror}"
    return None


def _trees() -> list[Path]:
    """The hierarchies that systemd uses: one, or two on a machine that mixes both versions."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [CGROUPS / name for name in ("systemd", "unified") if (CGROUPS / name).is_dir()]


class NspawnMachine(Machine):
    """A plain Debian under systemd-nspawn; its root is an overlay in memory that lives on."""

    kind = "nspawn"
    up_within_s = 30.0

    def boot(self) -> float:
        assert self._process is None, "it runs already"
        began_s = time.monotonic()
        self._mount_root()
        self._boot_container()
        self.boots += 1
        end_s = began_s + self.up_within_s
        while time.monotonic() < end_s:
            if self._process is None or self._process.poll() is not None:
                break
            if (leader := self._find_leader()) is not None:
                self._leader = leader
                # "degraded" is up too: a unit of the test may have failed.
                said = self.run("systemctl is-system-running", limit_s=10)
                if said.text.strip() in ("running", "degraded"):
                    return time.monotonic() - began_s
            time.sleep(0.1)
        words = (self.folder / "console.log").read_text(errors="replace")[-2000:]
        self.cut()
        raise NoAnswerError(f"nspawn is not up after {self.up_within_s:g} s\n{words}")

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self._process: subprocess.Popen[bytes] | None = None
        self._leader: int | None = None
        self._groups = [tree / self.folder.name for tree in _trees()]
        self._root = self.folder / "root"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def disk(self, number: int) -> str:
        raise AssertionError("a container has no disks")

    def _mount_root(self) -> None:
        if self._root.exists():
            return
        memory = self.folder / "memory"
        for folder in (self._root, memory):
            folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3G", "none", str(memory)], check=True)
        for name in ("upper", "work"):
            (memory / name).mkdir()
        layers = f"lowerdir={self.pieces.small_root},upperdir={memory}/upper,workdir={memory}/work"
        subprocess.run(
            ["mount", "-t", "overlay", "none", str(self._root), "-o", layers], check=True
        )

    def _boot_container(self) -> None:
        for group in self._groups:
            group.mkdir(exist_ok=True)
        enter = "; ".join(f'echo "$$" > {group}/cgroup.procs' for group in self._groups)
        command = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot",
            f"--directory={self._root}", "--machine=device", "--private-network",
            f"--bind={self.share}:{SHARE}", "--console=read-only", "--link-journal=no",
        ]  # fmt: skip
        script = f'{enter}; exec setpriv --pdeathsig KILL "$@"'
        with (self.folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", script, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _find_leader(self) -> int | None:
        """Process 1 of the container: below systemd-nspawn, which the shell and setpriv became."""
        assert self._process is not None
        return _child_named(self._process.pid, "systemd")

    def run(
        self,
        command: str,
        *,
        limit_s: float = 120.0,
        cut_after_s: float | None = None,
        hear: Callable[[str], None] | None = None,
    ) -> Said:
        assert hear is None, "a container's output comes at the end"
        assert self._leader is not None, "it is not running"
        inside = ["nsenter", "-t", str(self._leader), "-a", "/usr/bin/env", "-i"]
        inside += [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        ]
        inside += ["timeout", "--signal=KILL", f"{limit_s:g}", "/bin/sh", "-c", command]
        job = subprocess.Popen(
            inside, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            out, _ = job.communicate(timeout=cut_after_s or limit_s + 20)
        except subprocess.TimeoutExpired as error:
            if cut_after_s is None:
                job.kill()
                raise NoAnswerError(f"no end of {command!r}") from error
            self.cut()
            out, _ = job.communicate()
            return Said(None, out.decode("utf-8", "replace"))
        code = 124 if job.returncode in (124, 137, -9) else job.returncode
        return Said(code, out.decode("utf-8", "replace"))

    def power_off(self) -> None:
        assert self._process is not None
        self.run("systemctl poweroff", limit_s=20)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            raise NoAnswerError("not off within 60 s") from None
        finally:
            self.cut()

    def ended_by_itself(self, within_s: float = 60.0) -> int:
        """Wait until the container ends because somebody in it asked for that; its exit code."""
        assert self._process is not None
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise NoAnswerError(f"it has not ended within {within_s:g} s") from None
        finally:
            self.cut()

    def cut(self) -> None:
        if self._process is not None:
            for pid in self._inside():
                _kill(pid)
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process, self._leader = None, None
        end_s = time.monotonic() + 10
        while self._inside() and time.monotonic() < end_s:
            time.sleep(0.05)
        for group in self._groups:
            for folder in sorted(group.rglob("*"), reverse=True) if group.exists() else ():
                if folder.is_dir():
                    folder.rmdir()
            if group.exists():
                group.rmdir()

    def _inside(self) -> set[int]:
        pids: set[int] = set()
        for group in self._groups:
            for procs in group.rglob("cgroup.procs") if group.exists() else ():
                pids |= {int(line) for line in procs.read_text().split() if int(line)}
        return pids

    def __exit__(self, *error: object) -> None:
        self.cut()
        for mounted in (self._root, self.folder / "memory"):
            if mounted.is_mount():
                subprocess.run(["umount", "--lazy", str(mounted)], check=True)
        super().__exit__(*error)  # type: ignore[arg-type]


def _child_named(pid: int, name: str) -> int | None:
    """A process below ``pid`` of this command name."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    for child in map(int, children):
        try:
            if Path(f"/proc/{child}/comm").read_text().strip() == name:
                return child
        except OSError:
            continue
        if (found := _child_named(child, name)) is not None:
            return found
    return None


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main() -> int:
    """Say what keeps containers from booting here; 0 where nothing does, and one has booted."""
    reason = why_not()
    if reason is None:
        try:
            with NspawnMachine(default_pieces()) as machine:
                machine.boot()
        except (NoAnswerError, OSError, subprocess.SubprocessError) as error:
            reason = f"none boots: {' '.join(str(error).split())[:300]}"
    if reason is not None:
        print(reason)
    return int(reason is not None)


if __name__ == "__main__":
    sys.exit(main())
