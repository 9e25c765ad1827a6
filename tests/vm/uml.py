"""User-Mode Linux: the guest's kernel is a process here, so that models run at the host's speed."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

from tests.vm.machine import SHARE, JsonLine, LineMachine, NoAnswerError


class UmlMachine(LineMachine):
    """One processor, real V4L2 cameras, real disks; no screen but vkms."""

    kind = "uml"
    read_only_root = False
    _tries = 3

    def boot(self) -> float:
        """As :meth:`Machine.boot`; a kernel that stands still before it has a root is begun again.

        User-Mode Linux does that once in some dozens of boots on a busy host; nothing of the guest
        has run by then, and no disk was written to.
        """
        console = self.folder / "console.log"
        for left in reversed(range(self._tries)):
            begin = console.stat().st_size if console.exists() else 0
            try:
                return super().boot()
            except NoAnswerError:
                with console.open("rb") as file:
                    file.seek(begin)
                    if left == 0 or b"Welcome to" in file.read():
                        raise
        raise AssertionError("unreachable")

    def _start(self) -> JsonLine:
        ours, theirs = socket.socketpair()
        # The console's input must be something that can be waited for, and stay open.
        silence = os.pipe()
        disks = {"ubd0": f"{self.folder}/root.cow,{self.pieces.image}"}
        disks |= {f"ubd{number}": str(path) for number, path in enumerate(self.disks, start=1)}
        line = theirs.fileno()
        self._launch(
            [
                str(self.pieces.uml_kernel),
                f"mem={self.memory_mib}M",
                f"umid={self.folder.name}-{self.boots}",
                f"uml_dir={self.folder}/",
                *(f"{name}={path}" for name, path in disks.items()),
                "root=/dev/ubda",
                "ro systemd.mask=systemd-remount-fs.service" if self.read_only_root else "rw",
                "con=null",
                "con0=fd:0,fd:1",
                "ssl=null",
                f"ssl0=fd:{line},fd:{line}",
                "panic=-1",
            ],
            stdin=silence[0],
            pass_fds=[line],
            env={**os.environ, "TMPDIR": "/dev/shm"},  # its memory: a file that may be executed
        )
        theirs.close()
        for end in silence:
            os.close(end)
        return JsonLine(ours)

    def cut(self) -> None:
        super().cut()
        # Its other processes die a moment later, and hold the disks until then.
        for path in (self.folder / "root.cow", *self.disks):
            _until_free(path)

    def _mount_share(self) -> None:
        self.check(f"mount -t hostfs -o {self.share} none {SHARE}")

    def disk(self, number: int) -> str:
        return f"/dev/ubd{'bcdefgh'[number]}"


def _until_free(path: Path) -> None:
    """Wait until nobody holds a file's lock."""
    end_s = time.monotonic() + 20.0
    while path.exists():
        try:
            with path.open("r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.05)
