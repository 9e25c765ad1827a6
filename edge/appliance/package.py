"""The package that is to be installed: a folder of wheels, or a checkout."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.appliance.system import run
from edge.errors import InputError, RequestError

INSTALL_WITHIN_S = 3600.0

_SOURCES = (
    *("pyproject.toml", "README.md", "LICENSE"),
    *("edge", "convert", "models", "systemd", "docs"),
)
"""Of a checkout, what its wheel is made of."""


@dataclass(frozen=True)
class Package:
    """One wheel of dermedge, and where the others come from.

    Attributes:
        wheel: Of dermedge.
        wheels: Folder in which all it needs lies; ``None``: the network is asked.
        constraints: Exact versions, or ``None``.
    """

    wheel: Path
    wheels: Path | None
    constraints: Path | None

    def version_id(self, extras: Sequence[str]) -> str:
        """The version, and a hash of the wheel's content, the extras and what comes beside it.

        The same content has the same name, and other content another one: nothing that is in use
        is ever changed. Of the other wheels the names count, which carry their versions.
        """
        version = self.wheel.name.split("-")[1]
        digest = hashlib.sha256(",".join(sorted(extras)).encode())
        if self.wheels is not None:
            others = sorted(path.name for path in self.wheels.glob("*.whl") if path != self.wheel)
            digest.update("\n".join(others).encode())
        try:
            if self.constraints is not None:
                digest.update(self.constraints.read_bytes())
            with zipfile.ZipFile(self.wheel) as content:
                for member in sorted(content.infolist(), key=lambda member: member.filename):
                    digest.update(f"{member.filename}:{member.CRC:08x}\n".encode())
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(
                f"a wheel in {self.wheel}", got=str(error), next_step="copy it again"
            ) from error
        return f"{version}-{digest.hexdigest()[:10]}"

    def check_extras(self, extras: Sequence[str]) -> None:
        """Refuse extras that the package does not have.

        Raises:
            RequestError: One of them is none.
        """
        with zipfile.ZipFile(self.wheel) as content:
            name = next(n for n in content.namelist() if n.endswith(".dist-info/METADATA"))
            said = content.read(name).decode("utf-8")
        known = re.findall(r"^Provides-Extra: (\S+)$", said, re.MULTILINE)
        wrong = sorted(set(extras) - set(known))
        if wrong:
            raise RequestError(
                f"extras of dermedge: {', '.join(sorted(known))}",
                got=", ".join(wrong),
                next_step="name some of those",
            )

    def has(self, name: str) -> bool:
        """Whether a wheel of this name lies beside, or the network may bring one."""
        return self.wheels is None or any(self.wheels.glob(f"{name.replace('-', '_')}-*.whl"))

    def install(self, python: Path, extras: Sequence[str]) -> None:
        """Install into the environment of ``python``.

        Raises:
            InputError: It failed; pip's last words are in it.
        """
        names = ",".join(sorted(extras))
        command = [*self._pip(python), "install", "--no-input", "--disable-pip-version-check"]
        command += ["--no-warn-script-location", "--no-cache-dir"]
        if self.wheels is not None:
            command += ["--no-index", "--find-links", str(self.wheels)]
        if self.constraints is not None:
            command += ["--constraint", str(self.constraints)]
        target = f"{self.wheel}[{names}]" if names else str(self.wheel)
        try:
            run([*command, target], within_s=INSTALL_WITHIN_S, purpose="install the package")
        except InputError as error:
            raise InputError(
                f"pip to install what the extras need ({names or 'none'})",
                got=error.got,
                next_step="make the bundle with these EXTRAS for this Python, or choose --extras",
            ) from error

    @property
    def brings_pip(self) -> bool:
        """Whether pip lies beside the wheels: the system may have none."""
        return self._pip_wheel() is not None

    def _pip(self, python: Path) -> list[str]:
        wheel = self._pip_wheel()
        return [str(python), "-m", "pip"] if wheel is None else [str(python), f"{wheel}/pip"]

    def _pip_wheel(self) -> Path | None:
        found = sorted(self.wheels.glob("pip-*.whl")) if self.wheels is not None else []
        return found[-1] if found else None


def from_wheels(folder: Path, constraints: Path | None) -> Package:
    """The newest wheel of dermedge in a folder that holds everything it needs.

    Raises:
        RequestError: There is none, or several versions.
    """
    if (folder / "wheels").is_dir():  # the bundle that holds it
        folder /= "wheels"
    try:
        found = sorted(path for path in folder.iterdir() if path.match("dermedge-*.whl"))
    except OSError as error:
        raise RequestError(
            f"a folder of wheels {folder}",
            got=error.strerror or str(error),
            next_step="name the folder of a bundle: --wheels FOLDER, as root (sudo)",
        ) from error
    if len(found) != 1:
        raise RequestError(
            f"exactly one file dermedge-*.whl in {folder}",
            got=", ".join(path.name for path in found) or "none",
            next_step="name the folder of a bundle: --wheels FOLDER",
        )
    if constraints is None and (folder / "constraints.txt").is_file():
        constraints = folder / "constraints.txt"
    return Package(
        found[0].resolve(), folder.resolve(), None if constraints is None else constraints.resolve()
    )


def from_checkout(checkout: Path, build: Path, constraints: Path | None = None) -> Package:
    """A wheel built from a checkout, whose dependencies the network brings.

    Args:
        checkout: Has a ``pyproject.toml``.
        build: An empty folder for the wheel.
        constraints: Exact versions; by default the checkout's.

    Raises:
        InputError: It cannot be built.
    """
    if importlib.util.find_spec("pip") is None:
        raise InputError(
            f"pip in {sys.executable}, to build a wheel of this checkout",
            got="none",
            next_step="install Debian's python3-pip, or use a bundle, which brings pip",
        )
    # Of a copy: what an earlier build left in the checkout would go into the wheel.
    source = build / "source"
    source.mkdir()
    for name in _SOURCES:
        path = checkout / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, source / name)
    run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps"),
            *("--wheel-dir", str(build), str(source)),
        ],
        within_s=INSTALL_WITHIN_S,
        purpose="build a wheel of this checkout",
    )
    (wheel,) = build.glob("dermedge-*.whl")
    return Package(wheel, None, (constraints or checkout / "constraints.txt").resolve())
