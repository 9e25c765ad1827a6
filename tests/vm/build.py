"""Builds what the virtual machines of the tests are made of, from Debian's packages and wheels.

    python -m tests.vm.build           everything, into DERMEDGE_VM or ~/.cache/dermedge-vm
    python -m tests.vm.build small     only the tree for systemd-nspawn

Each piece keeps a stamp of what it was made from and is made again only when that changes. Needs
root on Debian 12, its package sources, and an index of Python packages.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
GUEST = HERE / "guest"
SUITE = "bookworm"
GUEST_PYTHON = "3.11"

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "systemd-nspawn": "systemd-container",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "depmod": "kmod",
    "gcc": "gcc",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "xz": "xz-utils",
}
SMALL_TOOLS = ("mmdebstrap", "systemd-nspawn")
FILES = {
    "/usr/include/libelf.h": "libelf-dev",
    "/usr/src/linux-source-6.1.tar.xz": "linux-source-6.1",
}

# A plain Debian, as somebody installs dermedge on it.
SMALL = """systemd systemd-sysv udev dbus kmod libpam-systemd procps python3 python3-venv
    libgl1 libglib2.0-0 libfribidi0""".split()
# And what cameras, screens and recordings of the tests need.
WHOLE = [
    *SMALL,
    *"""initramfs-tools linux-image-amd64 e2fsprogs iproute2 curl v4l-utils
    python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-tools
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly ffmpeg libdrm2 xvfb openbox xdotool imagemagick x11-utils
    fonts-noto-core fonts-dejavu-core""".split(),
]
IMAGE_MIB = 5120


class CannotBuildError(Exception):
    """One line for whoever called: what was expected, what is there, what to do."""


@dataclass(frozen=True)
class Pieces:
    """Where the built pieces are.

    Attributes:
        folder: All of them.
    """

    folder: Path

    @property
    def wheels(self) -> Path:
        """Wheels of everything that dermedge depends on, for an installation without a network."""
        return self.folder / "wheels"

    @property
    def small_root(self) -> Path:
        """Root folder of a plain Debian, for systemd-nspawn."""
        return self.folder / "small"

    @property
    def image(self) -> Path:
        """Raw ext4 image of the whole guest; never written to."""
        return self.folder / "base.raw"

    @property
    def uml_kernel(self) -> Path:
        return self.folder / "linux-uml"

    @property
    def kernel(self) -> Path:
        """Debian's own, for QEMU."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"


def default_pieces() -> Pieces:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Pieces(Path(os.environ.get("DERMEDGE_VM") or Path(cache) / "dermedge-vm"))


def build(pieces: Pieces, *, small: bool = False) -> None:
    """Make what is missing or out of date.

    Raises:
        CannotBuildError: a tool is missing, or a step failed.
    """
    _need_tools(SMALL_TOOLS if small else tuple(TOOLS), {} if small else FILES)
    pieces.folder.mkdir(parents=True, exist_ok=True)
    # What dermedge depends on, not how it is checked.
    project = (CHECKOUT / "pyproject.toml").read_text().partition("[tool.")[0]
    texts = [(CHECKOUT / "constraints.txt").read_text(), project]
    wheels = _piece(pieces, "wheels", [*texts, "with pip"], _wheels)
    _piece(pieces, "small", SMALL, lambda p: _debian(p.small_root, SMALL))
    if small:
        return
    config = (GUEST / "uml.config").read_text()
    uml = _piece(pieces, "uml", [config, _version_of("linux-source-6.1")], _uml_kernel)
    guest = [(GUEST / name).read_text() for name in ("agent.py", "agent.service")]
    _piece(pieces, "image", [wheels, uml, *guest, *WHOLE, str(IMAGE_MIB)], _image)


def _piece(
    pieces: Pieces, name: str, made_from: Sequence[str], make: Callable[[Pieces], None]
) -> str:
    """Make one piece unless its stamp says that it is there; returns the stamp."""
    text = "\0".join(made_from)
    stamp = hashlib.sha256(text.encode()).hexdigest()
    path = pieces.folder / f"{name}.stamp"
    if path.exists() and path.read_text() == stamp:
        return stamp
    path.unlink(missing_ok=True)
    print(f"building {name} in {pieces.folder}", flush=True)
    began_s = time.monotonic()
    make(pieces)
    path.write_text(stamp)
    print(f"built {name} in {time.monotonic() - began_s:.0f} s", flush=True)
    return stamp


# --- the pieces ---------------------------------------------------------------------------------


def _wheels(pieces: Pieces) -> None:
    shutil.rmtree(pieces.wheels, ignore_errors=True)
    own = built_wheel(pieces.folder / "own")
    _pip(
        "download", "--dest", str(pieces.wheels), "-c", str(CHECKOUT / "constraints.txt"),
        "--only-binary=:all:", "--python-version", GUEST_PYTHON, "--implementation", "cp",
        "--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64",
        "--platform", "manylinux_2_17_x86_64", "--platform", "manylinux_2_27_x86_64",
        "pip", f"{own}[desktop,web]",
    )  # fmt: skip
    (pieces.wheels / own.name).unlink()  # each run brings its own


def built_wheel(folder: Path) -> Path:
    """dermedge's wheel from this checkout, the only one in ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(CHECKOUT / "build", ignore_errors=True)  # files that are gone would go into it
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(CHECKOUT))
    (wheel,) = folder.glob("dermedge-*.whl")
    return wheel


def _debian(root: Path, packages: Sequence[str]) -> None:
    """A Debian tree with these packages, from where this machine takes its own."""
    shutil.rmtree(root, ignore_errors=True)
    lines = _run(
        "apt-get", "indextargets", "--format", "deb $(REPO_URI) $(CODENAME) $(COMPONENT)",
        "Created-By: Packages",
    )  # fmt: skip
    suites = tuple(f" {SUITE}{kind} main" for kind in ("", "-security", "-updates"))
    sources = sorted({line for line in lines.splitlines() if line.endswith(suites)})
    if not sources:
        raise CannotBuildError(f"expected package sources of Debian {SUITE}; got none")
    brief = "COMPRESS=lz4\\nMODULES=list\\n"
    _run(
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
        f"--include={','.join(packages)}",
        "--aptopt=APT::Install-Recommends false",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")),
        "--setup-hook=mkdir -p $1/etc/initramfs-tools/conf.d",
        f"--setup-hook=printf '{brief}' > $1/etc/initramfs-tools/conf.d/tests",
        SUITE, str(root), "-",
        given="\n".join(sources) + "\n",
    )  # fmt: skip
    _settle(root)


def _settle(root: Path) -> None:
    """A system of its own that does nothing by itself."""
    late = ("apt-daily", "apt-daily-upgrade", "e2scrub_all", "dpkg-db-backup", "fstrim")
    _run(
        "systemctl", "--quiet", f"--root={root}", "mask", *(f"{name}.timer" for name in late),
        "e2scrub_reap.service", "systemd-firstboot.service",
    )  # fmt: skip
    _run("systemctl", "--quiet", f"--root={root}", "set-default", "multi-user.target")
    (root / "etc/hostname").write_text("device\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost device\n")
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "mnt/host").mkdir()
    (root / "var/log/journal").mkdir(exist_ok=True)


def _uml_kernel(pieces: Pieces) -> None:
    source = pieces.folder / "uml-source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    archive = "/usr/src/linux-source-6.1.tar.xz"
    _run("tar", "-xf", archive, "-C", str(source), "--strip-components=1")
    # Linux 6.1 keeps 2696 bytes for the state of the floating-point unit; a processor with AMX
    # has more than 11 kB, and the first process dies of it.
    offsets = source / "arch/x86/um/user-offsets.c"
    text = offsets.read_text()
    if "2696" not in text:
        raise CannotBuildError(f"expected 2696 in {offsets}; got another kernel source")
    offsets.write_text(text.replace("2696", "12288"))
    make = ("nice", "make", "-s", "-C", str(source), "ARCH=um")
    _run(*make, "defconfig")
    wanted = GUEST / "uml.config"
    merge = source / "scripts/kconfig/merge_config.sh"
    _run(str(merge), "-m", "-O", str(source), str(source / ".config"), str(wanted), cwd=source)
    _run(*make, "olddefconfig")
    _hold_config((source / ".config").read_text(), wanted.read_text())
    _run(*make, f"-j{os.cpu_count()}", "linux", "modules")
    tree = pieces.folder / "uml-modules"
    shutil.rmtree(tree, ignore_errors=True)
    into = (f"INSTALL_MOD_PATH={tree}", "INSTALL_MOD_STRIP=1", "DEPMOD=true")
    _run(*make, *into, "modules_install")
    version = _run(*make, "kernelrelease").strip()
    _loopback(pieces.folder / "v4l2loopback", make, tree / "lib/modules" / version)
    shutil.copy2(source / "linux", pieces.uml_kernel)
    shutil.rmtree(source)


def _hold_config(got: str, wanted: str) -> None:
    has = set(got.splitlines())
    missed = []
    for line in wanted.splitlines():
        if line.endswith(" is not set"):  # an option that is gone is as good
            option = line.removeprefix("# ").removesuffix(" is not set")
            missed += [line] if has & {f"{option}=y", f"{option}=m"} else []
        elif line.startswith("CONFIG_") and line not in has:
            missed.append(line)
    if missed:
        raise CannotBuildError(f"expected the kernel to have {', '.join(missed)}; it has not")


def _loopback(folder: Path, make: Sequence[str], modules: Path) -> None:
    """v4l2loopback: Debian has its source only."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _run("apt-get", "-qq", "download", "v4l2loopback-dkms", cwd=folder)
    (package,) = folder.glob("*.deb")
    _run("dpkg", "-x", str(package), str(folder))
    (source,) = (folder / "usr/src").glob("v4l2loopback-*")
    _run(*make, f"M={source}", "modules")
    (modules / "updates").mkdir()
    shutil.copy2(source / "v4l2loopback.ko", modules / "updates")
    for link in ("build", "source"):
        (modules / link).unlink(missing_ok=True)


def _image(pieces: Pieces) -> None:
    root = pieces.folder / "whole"
    _debian(root, WHOLE)
    shutil.copytree(pieces.folder / "uml-modules/lib", root / "lib", dirs_exist_ok=True)
    for modules in (root / "lib/modules").iterdir():
        _run("chroot", str(root), "depmod", modules.name)
    shutil.copy2(GUEST / "agent.py", root / "usr/local/sbin/agent")
    (root / "usr/local/sbin/agent").chmod(0o755)
    shutil.copy2(GUEST / "agent.service", root / "etc/systemd/system/agent.service")
    _run("systemctl", "--quiet", f"--root={root}", "enable", "agent.service")
    (root / "etc/fstab").write_text("LABEL=root / ext4 defaults 0 1\n")
    _dependencies(pieces, root)
    with (root / "etc/initramfs-tools/modules").open("a") as list_of_modules:
        list_of_modules.write("virtio_pci\nvirtio_blk\next4\ncrc32c_generic\n")
    _run("chroot", str(root), "update-initramfs", "-u")
    (root / "etc/machine-id").write_text("")
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (initrd,) = (root / "boot").glob("initrd.img-*")
    shutil.copy2(kernel, pieces.kernel)
    shutil.copy2(initrd, pieces.initrd)
    pieces.image.unlink(missing_ok=True)
    _run("mkfs.ext4", "-q", "-L", "root", "-d", str(root), str(pieces.image), f"{IMAGE_MIB}M")
    shutil.rmtree(root)


def _dependencies(pieces: Pieces, root: Path) -> None:
    """The dependencies in an environment of their own; dermedge itself comes with each test."""
    shutil.copytree(pieces.wheels, root / "opt/wheels")
    inside = ("chroot", str(root))
    _run(*inside, "python3", "-m", "venv", "--system-site-packages", "/opt/dermedge")
    names = [str(path.relative_to(root)) for path in sorted((root / "opt/wheels").glob("*.whl"))]
    _run(
        *inside, "/opt/dermedge/bin/pip", "--quiet", "--isolated", "install", "--no-index",
        "--no-deps", *(f"/{name}" for name in names),
    )  # fmt: skip


# --- tools --------------------------------------------------------------------------------------


def _need_tools(tools: Sequence[str], files: dict[str, str]) -> None:
    if os.geteuid() != 0:
        raise CannotBuildError("expected root, for file owners and chroot; run it as root (sudo)")
    missing = [TOOLS[name] for name in tools if shutil.which(name) is None]
    missing += [package for path, package in files.items() if not Path(path).exists()]
    if missing:
        raise CannotBuildError(
            f"expected these Debian packages: {' '.join(missing)}; "
            f"type: apt-get install -y --no-install-recommends {' '.join(missing)}"
        )


def _version_of(package: str) -> str:
    return _run("dpkg-query", "-W", "-f", "${Version}", package)


def _pip(*arguments: str) -> None:
    _run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str, given: str | None = None, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, cwd=cwd)
    except OSError as error:
        raise CannotBuildError(f"expected {command[0]} to run; got {error}") from error
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise CannotBuildError(f"{' '.join(command)[:300]}: exit code {done.returncode}\n{said}")
    return done.stdout


if __name__ == "__main__":
    try:
        build(default_pieces(), small=sys.argv[1:] == ["small"])
    except CannotBuildError as error:
        sys.exit(str(error))
