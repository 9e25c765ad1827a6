"""Where everything of an installation lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The places of an installation on one system.

    Attributes:
        root: The system's root folder: ``/``, or where another system is mounted.
    """

    root: Path

    @property
    def is_this_system(self) -> bool:
        """Whether it is the one that runs."""
        return self.root == Path("/")

    @property
    def opt(self) -> Path:
        """Everything of the program."""
        return self.root / "opt/dermedge"

    @property
    def versions(self) -> Path:
        """A folder for each installed version."""
        return self.opt / "versions"

    @property
    def current(self) -> Path:
        """Link to the version in use."""
        return self.opt / "current"

    @property
    def previous(self) -> Path:
        """Link to the one before it."""
        return self.opt / "previous"

    @property
    def choices(self) -> Path:
        """What was chosen at the installation, kept for upgrades."""
        return self.opt / "choices.json"

    @property
    def choices_before(self) -> Path:
        """What was chosen with the version before, for the way back."""
        return self.opt / "choices-before.json"

    @property
    def groups(self) -> Path:
        """Names of groups that the installation made, for the uninstallation."""
        return self.opt / "groups.json"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the installation."""
        return self.opt / ".lock"

    @property
    def units(self) -> Path:
        """Units of the administrator."""
        return self.root / "etc/systemd/system"

    @property
    def config(self) -> Path:
        """The device's configuration."""
        return self.root / "etc/dermedge/dermedge.toml"

    @property
    def state(self) -> Path:
        """What the device records and remembers."""
        return self.root / "var/lib/dermedge"

    @property
    def attempts(self) -> Path:
        """Counts builds of engines that failed; :mod:`edge.engine_folder` wants more than Python's
        own library."""
        return self.state / "engines/.attempts.json"

    @property
    def cache(self) -> Path:
        """What is made again where it is missing."""
        return self.root / "var/cache/dermedge"

    @property
    def commands(self) -> Path:
        """Links to the commands."""
        return self.root / "usr/local/bin"
