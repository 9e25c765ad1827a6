"""Makes a class of the stand-in show what the genuine class of the running release shows.

Members that the release lacks are taken away, so that ``hasattr`` answers as it does there.
Members that the stand-in does not have are added: properties that keep what is put into them,
methods and setters that say that they are not done here.
"""

from __future__ import annotations

import re
from typing import Any

from . import genuine


def give_genuine_members(standin: type, original: type) -> None:
    """Change ``standin`` in place."""
    for name in [n for n in vars(standin) if not n.startswith("_")]:
        if not hasattr(original, name):
            delattr(standin, name)
    for name, value in vars(original).items():
        if name.startswith("_"):
            continue
        mine = vars(standin).get(name)
        if isinstance(mine, property) and isinstance(value, property):
            setattr(standin, name, _as_settable(mine, value, name))
        elif mine is not None:
            continue
        elif isinstance(value, property):
            setattr(standin, name, _kept(name, value))
        else:
            setattr(standin, name, _not_done(f"{original.__name__}.{name}"))


def _as_settable(mine: property, original: property, name: str) -> property:
    """The stand-in's property with a setter where the genuine one has one, and only there."""
    if original.fset is None:
        return mine.setter(None)
    return mine if mine.fset else mine.setter(_not_done(f"setting {name}"))


def _kept(name: str, original: property) -> property:
    """A property without effect: what was put in comes out, and something of its type before."""
    place = f"_kept_{name}"
    start = _start(original.fget.__doc__ or "") if original.fget else None

    def getter(self: Any) -> Any:
        return self.__dict__.get(place, start)

    def setter(self: Any, value: Any) -> None:
        self.__dict__[place] = value

    return property(getter, setter if original.fset else None)


def _start(signature: str) -> Any:
    found = re.search(r"-> (?:tensorrt_bindings\.tensorrt\.|nvinfer1::)?([\w.]+)", signature)
    kind = found.group(1) if found else ""
    plain: dict[str, Any] = {"int": 0, "float": 0.0, "bool": False, "str": ""}
    if kind in plain:
        return plain[kind]
    members = getattr(getattr(genuine, kind, None), "__members__", None)
    return next(iter(members.values())) if members else None


def _not_done(name: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"the stand-in of tensorrt does not do {name}")

    return method
