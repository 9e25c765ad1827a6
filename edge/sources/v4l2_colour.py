"""Holding a V4L2 camera's colours by a named profile, and saying what of it holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edge.sources import v4l2_abi as abi
from edge.sources.v4l2_controls import OLD_NAMES, Controls

Matter = Literal["exposure", "gain", "white_balance"]
MATTERS: tuple[Matter, ...] = ("exposure", "gain", "white_balance")

_MANUAL: Mapping[str, tuple[str, int]] = {
    "exposure_time_absolute": ("auto_exposure", abi.V4L2_EXPOSURE_MANUAL),
    "exposure": ("auto_exposure", abi.V4L2_EXPOSURE_MANUAL),
    "gain": ("gain_automatic", 0),
    "analogue_gain": ("gain_automatic", 0),
    "iso_sensitivity": ("iso_sensitivity_auto", 0),
    "white_balance_temperature": ("white_balance_automatic", 0),
    "red_balance": ("white_balance_automatic", 0),
    "blue_balance": ("white_balance_automatic", 0),
    "hue": ("hue_auto", 0),
}
"""Which automatic must be off, and how, for a control to stay where it is set."""

_OF_MATTER: Mapping[Matter, tuple[str, ...]] = {
    "exposure": ("exposure_time_absolute", "exposure"),
    "gain": ("gain", "analogue_gain", "digital_gain", "iso_sensitivity"),
    "white_balance": ("white_balance_temperature", "red_balance", "blue_balance"),
}

_COLOURS = (
    "auto_exposure",
    "gain_automatic",
    "digital_gain",
    "white_balance_automatic",
    "power_line_frequency",
)

_HELD: Mapping[str, int | Literal["hold"]] = {
    "exposure_dynamic_framerate": 0,
    **{name: "hold" for names in _OF_MATTER.values() for name in names},
}
"""What is held where a profile says nothing else."""


@dataclass(frozen=True)
class ColourProfile:
    """What is to be held, under a name that every frame carries.

    Attributes:
        name: Recorded with each frame.
        controls: Control name to its value in the driver's units, or ``"hold"``: the value that the
            camera's automatic has come to. Exposure, gain and white balance are held whether named
            or not, and what moves them by itself is switched off. Controls that a camera lacks are
            passed over.
        settle_s: So long the automatics may work before ``"hold"`` takes their values.
        matters: What must be held for colours to be comparable. A camera that has, say, no gain to
            set counts as not locked, unless its profile leaves ``gain`` out because somebody knows
            that it is fixed.
    """

    name: str
    controls: Mapping[str, int | Literal["hold"]] = field(default_factory=dict)
    settle_s: float = 2.0
    matters: tuple[Matter, ...] = MATTERS


class ColourLock:
    """Brings a camera into a profile, and says what of it holds.

    What ``hold`` found is remembered: a camera that was unplugged comes back to the same values,
    not to new ones.

    Reading back asks the driver, and some answer from memory. A camera that does something else
    than it says cannot be seen through here; the judgement of drift by the picture can.

    Args:
        profile: What to hold, or ``None``: nothing is set, and nothing counts as held.
    """

    def __init__(self, profile: ColourProfile | None) -> None:
        self.profile = profile
        self.applied = False
        self.since_ns = 0
        """Monotonic instant of the last change: frames exposed before it have other colours."""
        self._wanted: dict[str, int] = {}  # what is to stay, automatics included
        self._held: dict[str, bool] = {}  # which of it did when last looked at

    @property
    def watched(self) -> tuple[str, ...]:
        """Names of the controls that matter to colours, and of those that the profile names."""
        return tuple(dict.fromkeys((*_MANUAL, *_COLOURS, *self._wanted)))

    @property
    def settle_s(self) -> float:
        """Seconds that the automatics are to work before the lock; 0 where values are known."""
        return 0.0 if self.profile is None or self._wanted else self.profile.settle_s

    def lost(self) -> None:
        """The camera is gone; what it comes back with is unknown."""
        self.applied = False
        self._held = {}

    def apply(self, controls: Controls) -> None:
        """Read what is to be held, switch the automatics off, set, and read back.

        Raises:
            OSError: The camera is gone.
        """
        if self.profile is None:
            return
        self._wanted = self._wanted or _resolve(self.profile, controls)
        for name, value in self._wanted.items():
            controls.set(name, value)
        self.since_ns = time.monotonic_ns()
        self.applied = True
        self.check(controls)

    def check(self, controls: Controls) -> None:
        """See whether everything is still as it was set; any program may change it.

        Raises:
            OSError: The camera is gone.
        """
        wanted = self._wanted if self.applied else {}
        self._held = {name: controls.get(name) == value for name, value in wanted.items()}

    def locked(self, controls: Controls) -> dict[str, bool | None]:
        """By matter: held, not held, or ``None`` where the camera has nothing to hold."""
        found: dict[str, bool | None] = {}
        for matter, names in _OF_MATTER.items():
            present = [name for name in names if name in controls]
            automatics = {_MANUAL[name] for name in names if name in _MANUAL}
            off = all(
                self._wanted.get(name) == value for name, value in automatics if name in controls
            )
            needed = [*present, *(name for name, _ in automatics if name in controls)]
            held = off and all(self._held.get(name, False) for name in needed)
            # An automatic alone can be neither set nor known.
            found[matter] = held if present else None
        return found

    def colour_locked(self, controls: Controls) -> bool:
        """True only where all that matters to the profile, and all that it names, is held."""
        if self.profile is None or not self.applied:
            return False
        locked = self.locked(controls)
        named = (OLD_NAMES.get(name, name) for name in self.profile.controls)
        return all(self._held.get(name, True) for name in named) and all(
            locked[matter] is True for matter in self.profile.matters
        )


def _resolve(profile: ColourProfile, controls: Controls) -> dict[str, int]:
    """The values to set, "hold" read from the camera, automatics switched off."""
    named = {OLD_NAMES.get(name, name): value for name, value in profile.controls.items()}
    automatics = {name for name, _ in _MANUAL.values()}
    wanted: dict[str, int] = {}
    for name, value in {**_HELD, **named}.items():
        now = controls.get(name)
        if now is None or (value == "hold" and name in automatics):
            continue
        wanted[name] = now if value == "hold" else value
    # First, as what they move cannot be set while they are on.
    off = {name: value for name, value in _MANUAL.values() if name in controls}
    return {**off, **wanted}
