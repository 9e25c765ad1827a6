"""QEMU without virtualization: Debian's stock kernel, a screen, a disk whose writes are kept."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.vm.build import Pieces
from tests.vm.machine import SHARE, JsonLine, LineMachine, NoAnswerError


class QemuMachine(LineMachine):
    """Slow (floating point by a factor of hundreds), with a display that can be photographed.

    Args:
        pieces: What was built.
        memory_mib: The guest's memory.
        disks: Raw files.
        screen_wh: Size of the display.
        write_log: Keeps every write and flush of the first disk, for :mod:`tests.vm.lost_writes`.
    """

    kind = "qemu"
    up_within_s = 240.0

    def __init__(
        self,
        pieces: Pieces,
        *,
        memory_mib: int = 1536,
        disks: Sequence[Path] = (),
        screen_wh: tuple[int, int] = (1280, 720),
        write_log: Path | None = None,
    ) -> None:
        super().__init__(pieces, memory_mib=memory_mib, disks=disks)
        self._screen_wh = screen_wh
        self._write_log = write_log
        self._monitor: JsonLine | None = None

    def _start(self) -> JsonLine:
        root = self.folder / "root.qcow2"
        if not root.exists():
            subprocess.run(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw"]
                + ["-b", str(self.pieces.image), str(root)],
                check=True,
            )
        (self.folder / "agent").unlink(missing_ok=True)
        (self.folder / "monitor").unlink(missing_ok=True)
        self._launch(self._command(root), stdin=subprocess.DEVNULL)
        self._monitor = self._connect("monitor")
        self._monitor.receive(time.monotonic() + 20)  # its greeting
        self.query("qmp_capabilities")
        return self._connect("agent")

    def _command(self, root: Path) -> list[str]:
        width, height = self._screen_wh
        command = [
            "qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "Nehalem",
            "-smp", "2", "-m", str(self.memory_mib), "-display", "none", "-nic", "none",
            "-kernel", str(self.pieces.kernel), "-initrd", str(self.pieces.initrd),
            "-append", "root=LABEL=root console=tty0 console=ttyS0 panic=-1 rootwait",
            "-no-reboot", "-serial", "stdio",
            "-vga", "none",
            "-device", f"VGA,edid=on,xres={width},yres={height},vgamem_mb=64",
            "-device", "virtio-rng-pci",
            "-device", "i6300esb", "-action", "watchdog=reset",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self.folder}/agent,server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=dermedge",
            "-qmp", f"unix:{self.folder}/monitor,server=on,wait=off",
            "-drive", f"file={root},format=qcow2,if=none,id=root,cache=writeback",
            "-device", "virtio-blk-pci,drive=root",
            "-virtfs",
            f"local,path={self.share},mount_tag=host,security_model=none,multidevs=remap",
        ]  # fmt: skip
        for number, disk in enumerate(self.disks):
            command += self._disk(number, disk)
        return command

    def _disk(self, number: int, path: Path) -> list[str]:
        name = f"disk{number}"
        device = ["-device", f"virtio-blk-pci,drive={name},serial={name}"]
        if number or self._write_log is None:
            return ["-drive", f"file={path},format=raw,if=none,id={name},cache=writeback", *device]
        self._write_log.write_bytes(b"")
        return [
            "-blockdev", f"driver=file,filename={path},node-name=file0",
            "-blockdev", f"driver=file,filename={self._write_log},node-name=log0",
            "-blockdev", "driver=raw,file=file0,node-name=raw0",
            "-blockdev", f"driver=blklogwrites,file=raw0,log=log0,log-append=off,node-name={name}",
            *device,
        ]  # fmt: skip

    def _connect(self, name: str) -> JsonLine:
        end_s = time.monotonic() + 20
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self.folder / name))
                return JsonLine(connection)
            except OSError as error:
                connection.close()
                if time.monotonic() > end_s:
                    words = (self.folder / "console.log").read_text(errors="replace")
                    raise NoAnswerError(f"QEMU does not start: {error}\n{words}") from error
                time.sleep(0.05)

    def _mount_share(self) -> None:
        self.check(f"mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host {SHARE}")

    def disk(self, number: int) -> str:
        return f"/dev/disk/by-id/virtio-disk{number}"

    def query(self, command: str, **arguments: object) -> object:
        """Ask QEMU's monitor (its QMP); returns what it returns."""
        assert self._monitor is not None
        self._monitor.send({"execute": command, "arguments": arguments})
        end_s = time.monotonic() + 60
        while True:
            answer = self._monitor.receive(end_s)
            if answer is None:
                raise NoAnswerError(f"QEMU's monitor does not answer {command}")
            if "error" in answer:
                raise NoAnswerError(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def photograph(self, path: Path) -> None:
        """What the display shows, as a PNG."""
        self.query("screendump", filename=str(path.resolve()), format="png")

    def press(self, *keys: str) -> None:
        """Press keys together, by QEMU's names."""
        self.query("send-key", keys=[{"type": "qcode", "data": key} for key in keys])

    def cut(self) -> None:
        super().cut()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
