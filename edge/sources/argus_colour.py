"""Holding the colours of a Jetson's CSI camera by the properties of ``nvarguscamerasrc``.

What a property says is what was asked for; Argus does not tell GStreamer what it did. A change of
the picture is what shows a lock that does not hold (``edge/guards``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Matter = Literal["exposure", "gain", "white_balance"]
MATTERS: tuple[Matter, ...] = ("exposure", "gain", "white_balance")

_AUTO_WHITE_BALANCE = 1
"""``wbmode`` auto; every other one is a preset, which does not move."""

_RANGES = ("exposuretimerange", "gainrange", "ispdigitalgainrange")
_LOCKS = ("aelock", "awblock")
_WATCHED = ("wbmode", *_RANGES, *_LOCKS)


class ArgusColour:
    """Brings the camera's element into a profile, and says what of it holds.

    Values that the profile states are set before the camera starts. ``aelock`` and ``awblock`` are
    set once the automatics had their time: set at the start they hold whatever they began with.

    Args:
        gst: The module ``Gst``.
        element: ``nvarguscamerasrc``, or any other, which then has nothing to hold.
        profile: ``name``, ``settle_s``, ``fixed`` and the values of the section ``argus``;
            ``None`` leaves the camera as it is.
    """

    def __init__(self, gst: Any, element: Any, profile: Mapping[str, Any] | None) -> None:
        self._gst = gst
        self._element = element
        self._profile = profile
        self._wanted: dict[str, str] = {}
        self._settled = False
        self.since_ns = 0
        """Monotonic instant of the last change; frames exposed before it have other colours."""

    @property
    def profile_name(self) -> str | None:
        """Recorded with each frame."""
        return None if self._profile is None else str(self._profile["name"])

    def start(self) -> None:
        """Set the values that are known before the camera starts."""
        for name, value in (self._profile or {}).items():
            if name in ("wbmode", *_RANGES) and value != "hold":
                self._set(name, _text(value))

    def lock_when_settled(self, now_ns: int, first_frame_ns: int) -> None:
        """Set the locks once the automatics had their time; both instants are monotonic."""
        profile = self._profile
        if profile is None or self._settled:
            return
        if now_ns - first_frame_ns < profile["settle_s"] * 1e9:
            return
        self._settled = True
        for name in _LOCKS:
            if profile[name]:
                self._set(name, "true")
                self.since_ns = now_ns

    def locked(self) -> dict[str, bool | None]:
        """By matter: held, not held, or ``None`` where this camera has nothing to hold."""
        exposure = self._has("exposuretimerange", "aelock")
        gain = self._has("gainrange", "ispdigitalgainrange", "aelock")
        balance = self._has("wbmode", "awblock")
        held = self._holds
        return {
            "exposure": held("exposuretimerange") or held("aelock") if exposure else None,
            "gain": (
                (held("gainrange") and held("ispdigitalgainrange")) or held("aelock")
                if gain
                else None
            ),
            "white_balance": self._preset_holds() or held("awblock") if balance else None,
        }

    def colour_locked(self) -> bool:
        """True only where all that is not known to be fixed is held."""
        if self._profile is None:
            return False
        locked = self.locked()
        return all(locked[m] is True for m in MATTERS if m not in self._profile["fixed"])

    def controls(self) -> dict[str, Any]:
        """The properties that matter to colours, as they are read back."""
        return {name: self._get(name) for name in _WATCHED if self._has(name)}

    def stated(self, name: str, scale: float = 1.0) -> float | None:
        """The value of a range without room, times ``scale``; ``None`` where it has room."""
        if not self._holds(name):
            return None
        return float(self._wanted[name].split()[0]) * scale

    def _preset_holds(self) -> bool:
        return self._holds("wbmode") and int(self._wanted["wbmode"]) != _AUTO_WHITE_BALANCE

    def _holds(self, name: str) -> bool:
        return name in self._wanted and _text(self._get(name)) == self._wanted[name]

    def _has(self, *names: str) -> bool:
        return all(self._element.find_property(name) is not None for name in names)

    def _set(self, name: str, text: str) -> None:
        if self._has(name):
            self._gst.util_set_object_arg(self._element, name, text)
            self._wanted[name] = text

    def _get(self, name: str) -> Any:
        value = self._element.get_property(name)
        return value if isinstance(value, (str, bool, type(None))) else int(value)


def _text(value: Any) -> str:
    """A value as GStreamer reads it: ranges are two numbers with a space between."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return " ".join(str(part) for part in value)
    return str(value)
