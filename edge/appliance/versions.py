"""Installed versions side by side: made, tried, switched to, taken away."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from edge.appliance.layout import Layout
from edge.appliance.package import Package
from edge.appliance.system import run
from edge.errors import InputError, RequestError
from models.whole_file import sync_folder, write_whole

_COMPLETE = ".complete"

# Not by its own name alone: that would begin to report over the network, as root.
_LIBRARIES = "import cv2, numpy; from models.offline import onnx_runtime; onnx_runtime()"

# Compiled against the system's numpy; a Pi with a USB camera may do without it.
_PICAMERA = "import importlib.util as u; u.find_spec('picamera2') and __import__('picamera2')"


def make(layout: Layout, package: Package, extras: tuple[str, ...]) -> tuple[Path, bool]:
    """An environment with the package in it.

    One that is whole already is taken as it is; one that an interruption left is made anew.

    Returns:
        Its folder, and whether it was made now.

    Raises:
        InputError: It cannot be made, or does not start; it is taken away again.
    """
    folder = layout.versions / package.version_id(extras)
    if _is_whole(folder):
        return folder, False
    _refuse_python_at_home()
    _remove(folder)
    try:
        _make_environment(folder, with_pip=not package.brings_pip)
        package.install(folder / "bin/python", extras)
        _prove(folder, extras)
    except BaseException:
        _remove(folder)
        raise
    # pip leaves that to the system, half a minute later: a pulled plug must not leave a version
    # that is vouched for and has empty files.
    os.sync()
    write_whole(folder / _COMPLETE, b"")
    return folder, True


def _refuse_python_at_home() -> None:
    """The service may not look into home folders, and would not find its Python there."""
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    if python.startswith(("/root/", "/home/")):
        raise RequestError(
            "a Python that a service may use",
            got=python,
            next_step="start the installer with the system's: sudo /usr/bin/python3 ...",
        )


def _make_environment(folder: Path, *, with_pip: bool) -> None:
    try:
        # The system's packages are seen: TensorRT, gi and picamera2 come with the board.
        venv.create(folder, system_site_packages=True, with_pip=with_pip, symlinks=True)
    except OSError as error:
        raise InputError(
            f"to make {folder}",
            got=error.strerror or str(error),
            next_step="run it as root (sudo), and check the room on the disk",
        ) from error
    except subprocess.CalledProcessError as error:
        raise InputError(
            "Python to make an environment with pip",
            got="no ensurepip",
            next_step="install Debian's python3-venv, or use a bundle, which brings pip",
        ) from error


def _prove(folder: Path, extras: tuple[str, ...]) -> None:
    """The new version starts, and finds the libraries of the system that it needs."""
    run([str(folder / "bin/dermedge"), "--version"], purpose="start")
    run(
        [str(folder / "bin/python"), "-c", _LIBRARIES],
        purpose="load OpenCV and ONNX Runtime",
        next_step="apt-get install libgl1 libglib2.0-0 (on a Jetson python3-opencv), and again",
    )
    if "pi" in extras:
        run(
            [str(folder / "bin/python"), "-c", _PICAMERA],
            purpose="load the system's picamera2 beside this numpy",
            next_step="on Raspberry Pi OS Bookworm use a bundle that was made with "
            "CONSTRAINTS=docs/constraints/pi-bookworm.txt",
        )


def units_of(version: Path) -> Path:
    """The folder ``systemd`` of an installed version."""
    return version / "share/dermedge/systemd"


def in_use(layout: Layout) -> Path | None:
    """The version in use, or ``None``."""
    return _whole_target(layout.current)


def before(layout: Layout) -> Path | None:
    """The version before, or ``None``."""
    return _whole_target(layout.previous)


def switch(layout: Layout, version: Path) -> None:
    """Take a version into use, and remember the one before; each link changes at once."""
    now = in_use(layout)
    if now == version:
        return
    if now is not None:
        _link(layout.previous, now)
    _link(layout.current, version)


def back(layout: Layout) -> Path:
    """The version to go back to.

    Raises:
        RequestError: There is none.
    """
    version = before(layout)
    if version is None:
        raise RequestError(
            "a version before this one", got="none", next_step="install the version you want"
        )
    return version


def prune(layout: Layout) -> list[str]:
    """Take away every version but the one in use and the one before it; their names."""
    kept = {in_use(layout), before(layout)}
    gone = []
    for folder in sorted(layout.versions.iterdir()) if layout.versions.is_dir() else []:
        if folder not in kept:
            _remove(folder)
            gone.append(folder.name)
    return gone


def _is_whole(folder: Path) -> bool:
    return (folder / _COMPLETE).is_file()


def _target(link: Path) -> Path | None:
    with contextlib.suppress(OSError):
        return link.parent / os.readlink(link)
    return None


def _whole_target(link: Path) -> Path | None:
    folder = _target(link)
    return folder if folder is not None and _is_whole(folder) else None


def _link(link: Path, version: Path) -> None:
    """Relative, so that a root folder that is mounted elsewhere is whole, too."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    os.symlink(os.path.relpath(version, link.parent), fresh)
    os.replace(fresh, link)
    sync_folder(link.parent)


def _remove(folder: Path) -> None:
    # What vouches for it goes first: half a folder is never taken for a whole one.
    (folder / _COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
