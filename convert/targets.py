"""The devices that a graph can be built for: JetPacks, TensorRT releases, and what each one reads.

Operators and types come from ``data/tensorrt_operators.json``, the TensorRT of each JetPack from
``data/jetpack.json``; both files name their sources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models.errors import RequestError

DEFAULT_TARGET = "jetpack-6.2"

STANDARD_DOMAINS = ("", "ai.onnx")
"""Both names of the domain of ONNX's own operators."""

Version = tuple[int, ...]

_TENSORRT_MIN: Version = (10, 3)
_MAJOR_MAX = 11
_DATA = Path(__file__).parent / "data"
_SHAPE_OF_NAMES = "a target such as jetpack-6.2 or tensorrt-10.3"


@dataclass(frozen=True)
class Operator:
    """What TensorRT's parser takes of one operator.

    Attributes:
        types: Element types of its data, in TensorRT's words (``FP32``).
        exponent_types: Of a Pow's exponent.
        constant_inputs: Indices of inputs that must be initializers or Constant nodes.
        limit: A restriction that cannot be read from a graph, or an empty string.
    """

    types: frozenset[str]
    exponent_types: frozenset[str]
    constant_inputs: tuple[int, ...]
    limit: str


@dataclass(frozen=True)
class Target:
    """One TensorRT release, as the owner of a device names it.

    Attributes:
        name: For messages: ``JetPack 6.2`` or ``TensorRT 10.3``.
        tensorrt: As far as it is known: ``10.3.0.30`` or ``10.3``.
        opset_min: The oldest standard operator set that it reads.
        opset_max: The newest.
        element_types: Those that a tensor may have, in TensorRT's words.
        operators: Those that it reads.
        later: Operators that only a later release reads, and the first such release.
        table: Where ``operators`` comes from and how far it is known, in words.
    """

    name: str
    tensorrt: str
    opset_min: int
    opset_max: int
    element_types: frozenset[str]
    operators: Mapping[str, Operator]
    later: Mapping[str, str]
    table: str

    def reads(self, operator: str, domain: str) -> bool:
        """Whether it has an operator of this name; other domains than the standard are plugins."""
        return domain in STANDARD_DOMAINS and operator in self.operators

    def is_at_least(self, release: str) -> bool:
        """Whether its TensorRT is this release (``10.9``) or a later one."""
        return _release(self.tensorrt) >= _release(release)


def find_target(name: str) -> Target:
    """The target that a user named.

    Args:
        name: ``jetpack-6.2``, ``tensorrt-10.3``, ``10.3`` or ``10.3.0.30``.

    Raises:
        RequestError: It is no such name, is older than TensorRT 10.3, or is not known yet.
    """
    jetpack = re.fullmatch(r"jetpack-(\d+(?:\.\d+){1,2})", name.lower())
    if jetpack:
        return _target_of_jetpack(jetpack[1])
    tensorrt = re.fullmatch(r"(?:tensorrt-)?(\d+(?:\.\d+){1,3})", name.lower())
    if tensorrt is None:
        raise RequestError(
            _SHAPE_OF_NAMES,
            got=repr(name),
            next_step=f"use one of {_known_jetpacks()}, or tensorrt- and its version",
        )
    version = tensorrt[1]
    if version == name and version in _jetpacks():
        raise RequestError(
            _SHAPE_OF_NAMES,
            got=repr(name),
            next_step=f"for JetPack {version} write jetpack-{version}",
        )
    if _release(version) < _TENSORRT_MIN:
        raise _too_old(f"TensorRT {version}")
    if _release(version)[0] > _MAJOR_MAX:
        raise RequestError(
            f"TensorRT 10.3 to {_MAJOR_MAX}.x",
            got=f"TensorRT {version}",
            next_step=f"check for tensorrt-{_MAJOR_MAX}.0, the newest kind that dermedge knows",
        )
    return _target(f"TensorRT {version}", version)


def _target_of_jetpack(version: str) -> Target:
    releases = _jetpacks()
    found = releases.get(version)
    oldest = next(v for v, tensorrt in releases.items() if _release(tensorrt) >= _TENSORRT_MIN)
    if _numbers(version) < _numbers(oldest):
        raise _too_old(f"JetPack {version}" + (f" with TensorRT {found}" if found else ""))
    if found is None:
        raise RequestError(
            f"a JetPack that dermedge knows: {_known_jetpacks()}",
            got=f"JetPack {version}",
            next_step="name its TensorRT instead, for example tensorrt-10.16 "
            "(on the device: dpkg -s libnvinfer-bin)",
        )
    return _target(f"JetPack {version}", found)


def _too_old(got: str) -> RequestError:
    return RequestError(
        "JetPack 6.1 or later, because dermedge needs TensorRT 10.3 or later",
        got=got,
        next_step="install JetPack 6.1 or later on the device (Jetson Orin and newer)",
    )


def _target(name: str, tensorrt: str) -> Target:
    table = _json("tensorrt_operators.json")
    operators: dict[str, Any] = dict(table["operators"])
    element_types = set(table["element_types"])
    opset_max = table["opset_max"]
    later: dict[str, str] = {}
    for release, change in table["changes"].items():
        if _release(release) > _release(tensorrt):
            for operator in change["operators"]:
                if operator not in operators:
                    later.setdefault(operator, release)
            continue
        operators.update(change["operators"])
        element_types.update(change.get("element_types", ()))
        opset_max = change.get("opset_max", opset_max)
    return Target(
        name=name,
        tensorrt=tensorrt,
        opset_min=table["opset_min"],
        opset_max=opset_max,
        element_types=frozenset(element_types),
        operators={key: _operator(row) for key, row in operators.items()},
        later=later,
        table=_table_in_words(table["table"], table["known_to"], tensorrt),
    )


def _operator(row: Mapping[str, Any]) -> Operator:
    return Operator(
        types=frozenset(row["types"]),
        exponent_types=frozenset(row.get("exponent_types", row["types"])),
        constant_inputs=tuple(row.get("constant_inputs", ())),
        limit=row.get("limit", ""),
    )


def _table_in_words(table: str, known_to: str, tensorrt: str) -> str:
    words = f"those of TensorRT {table}'s ONNX parser, with its changes up to "
    if _release(tensorrt) > _release(known_to):
        return f"{words}{known_to}; later ones are not known"
    release = ".".join(str(number) for number in _release(tensorrt))
    return f"{words}{release} (known up to {known_to})"


def _known_jetpacks() -> str:
    known = [v for v, tensorrt in _jetpacks().items() if _release(tensorrt) >= _TENSORRT_MIN]
    return ", ".join(f"jetpack-{version}" for version in known)


def _jetpacks() -> dict[str, str]:
    """TensorRT version of each JetPack, oldest first."""
    found: dict[str, str] = _json("jetpack.json")["tensorrt"]
    return dict(sorted(found.items(), key=lambda item: _numbers(item[0])))


def _numbers(version: str) -> Version:
    return tuple(int(number) for number in version.split("."))


def _release(version: str) -> Version:
    """Major and minor number; the parser does not change within them."""
    return _numbers(version)[:2]


@cache
def _json(name: str) -> Any:
    return json.loads((_DATA / name).read_text(encoding="utf-8"))
