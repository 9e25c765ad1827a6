"""What pybind11 writes into docstrings, read back: parameters, types, and what may be None."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Collection
from dataclasses import dataclass

SEQUENCE_TOO = {"Dims"}
"""Classes for which the bindings also take a sequence of int (``test_contract.py`` proves it)."""

_PLAIN = {
    "int": "int",
    "float": "float",
    "str": "str",
    "bytes": "bytes",
    "bool": "bool",
    "slice": "slice",
    "None": "None",
    # Callbacks get true numbers from the library, and so does the library from us.
    "SupportsInt": "int",
    "SupportsFloat": "float",
    "buffer": "Buffer",
    "Buffer": "Buffer",
    "capsule": "Any",
    "CapsuleType": "Any",
    "handle": "Any",
    "list": "list[Any]",
    "tuple": "tuple[Any, ...]",
    "dict": "dict[Any, Any]",
    "ndarray": "NDArray[Any]",
    "Callable": "Callable[..., Any]",
}


@dataclass(frozen=True)
class Parameter:
    """One parameter. ``type`` is Python source; ``default`` says whether it may be left out."""

    name: str
    type: str
    default: bool


@dataclass(frozen=True)
class Signature:
    """One overload of a function; ``self`` is the first parameter of a method."""

    parameters: tuple[Parameter, ...]
    returns: str


def overloads(doc: str | None, classes: Collection[str]) -> list[Signature]:
    """All signatures in the docstring of a pybind11 function, or of a property's accessor.

    Args:
        doc: The docstring; its first word is the function's name, or one that it had before.
        classes: Qualified names of the classes of the module; a type that is none is ``Any``.

    Returns:
        Nothing where the docstring does not begin with a signature.

    Raises:
        ValueError: A signature that this reader does not understand.
    """
    named = re.match(r"\w*(?=\()", doc or "")
    if doc is None or named is None:
        return []
    name = named.group()
    pieces = re.split(rf"^(?:\d+\. )?(?={name}\()", doc, flags=re.MULTILINE)
    found = [piece for piece in pieces if re.match(rf"{name}\((?!\*args, \*\*)", piece)]
    return [_signature(piece, classes) for piece in found]


def _signature(piece: str, classes: Collection[str]) -> Signature:
    line, _, text = piece.partition("\n")
    source = re.sub(r"= <[^<>]*>", "= ...", line)
    source = re.sub(r"\w+::\w+<[^ ]*>", "object", source)
    source = re.sub(r"\b(?:nvinfer1|nvonnxparser)::(?:\w+::)*", "", source)
    source = re.sub(r"\btensorrt_bindings\.(?:tensorrt\.)?", "", source)
    shape = re.fullmatch(r"\w*\((.*)\) -> (.*)", source)
    if shape is None:
        raise ValueError(f"expected the signature of a function, got {line!r}")
    types = _Types(classes)
    parameters = []
    for part in _split(shape.group(1)):
        name, _, rest = part.partition(": ")
        kind, _, default = rest.partition(" = ")
        none = default == "None" or _may_be_none(f":arg {name}:", text)
        safe = f"{name}_" if keyword.iskeyword(name) else name
        parameters.append(Parameter(safe, _optional(types.argument(kind), none), bool(default)))
    result = _optional(types.result(shape.group(2)), _may_be_none(":returns:", text))
    return Signature(tuple(parameters), result)


def _split(text: str) -> list[str]:
    """The parts between commas that are in no brackets; a lone slash is left out."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip() not in ("", "/")]


def _may_be_none(field: str, text: str) -> bool:
    """Does the docstring's field speak of None? The signature itself never does."""
    # References such as :class:`None` would otherwise end the field.
    plain = re.sub(r":(?:class|const|func):", "", text)
    described = re.search(rf"{field}(.*?)(?=\n\s*:|\n\s*\n|\Z)", plain, re.DOTALL)
    return described is not None and re.search(r"\bNone\b", described.group(1)) is not None


def _optional(kind: str, none: bool) -> str:
    return f"{kind} | None" if none and kind not in ("Any", "object", "None") else kind


def _expression(kind: str) -> ast.expr:
    try:
        return ast.parse(kind, mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"expected a type, got {kind!r}") from error


class _Types:
    """Turns the types of signatures into those of a stub."""

    def __init__(self, classes: Collection[str]) -> None:
        self._classes = classes

    def argument(self, kind: str) -> str:
        """Type of what callers pass: wide."""
        return self._text(_expression(kind), sequence="Sequence", anything="object", wide=True)

    def result(self, kind: str) -> str:
        """Type of what callers get: narrow."""
        return self._text(_expression(kind), sequence="list", anything="Any", wide=False)

    def _text(self, node: ast.expr, *, sequence: str, anything: str, wide: bool) -> str:
        if isinstance(node, ast.Subscript):
            container = ast.unparse(node.value).rpartition(".")[2].lower()
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            inner = ", ".join(
                self._text(part, sequence=sequence, anything=anything, wide=wide) for part in parts
            )
            outer = {"list": sequence, "sequence": sequence, "iterator": "Iterator"}
            return f"{outer.get(container, container)}[{inner}]"
        name = ast.unparse(node)
        if name == "object":
            return anything
        known = self._class(name)
        if known is not None:
            return f"{known} | Sequence[int]" if wide and known in SEQUENCE_TOO else known
        return _PLAIN.get(name.rpartition(".")[2], "Any")

    def _class(self, name: str) -> str | None:
        """C++ names have an I where the Python names of the same classes have none."""
        candidates = (name, name.removeprefix("I"))
        return next((n for n in candidates if n in self._classes), None)
