"""Reads ``kind:place?key=value&key=value``, the form in which sources and sinks are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.errors import RequestError


@dataclass(frozen=True)
class Kind:
    """One kind of source or sink.

    Attributes:
        form: How to write it, for messages: ``png:DIR?every=N``.
        options: Option name to the reader of its value, which raises ``ValueError`` with words
            like "must be 1 to 240". A kind without options takes ``?`` as part of the place.
    """

    form: str
    options: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Uri:
    """A parsed name: ``options`` holds only what was given, already read."""

    kind: str
    place: str
    options: Mapping[str, Any]


def split_kind(text: str) -> tuple[str, str]:
    """``("png", "DIR")`` of ``png:DIR``; an empty kind where the text does not begin with one."""
    match = re.match(r"([a-z][a-z0-9]+):(.*)\Z", text, re.DOTALL)
    return (match[1], match[2]) if match else ("", text)


def parse_uri(text: str, kinds: Mapping[str, Kind], what: str) -> Uri:
    """Read a name whose kind is one of ``kinds``.

    Args:
        text: As the user wrote it.
        kinds: What there is.
        what: ``source`` or ``sink``, for messages.

    Raises:
        RequestError: The kind or an option is unknown, or a value is out of its bounds.
    """
    kind, rest = split_kind(text)
    if not kind and text in kinds:
        kind, rest = text, ""
    if kind not in kinds:
        article = "an" if what[0] in "aeiou" else "a"
        raise RequestError(
            f"{article} {what} of the kind {', '.join(k.form for k in kinds.values())}",
            got=repr(text),
            next_step="see dermedge run --help",
        )
    options = kinds[kind].options
    place, _, query = rest.partition("?") if options else (rest, "", "")
    given = {}
    for pair in query.split("&") if query else ():
        key, _, value = pair.partition("=")
        try:
            given[key] = options[key](value)
        except KeyError:
            raise RequestError(
                f"the options {', '.join(options)} in {kinds[kind].form}",
                got=repr(key),
                next_step=f"leave it out of {text!r}",
            ) from None
        except ValueError as error:
            raise RequestError(
                f"{what} option {key} that {error}",
                got=repr(value),
                next_step=f"write it as in {kinds[kind].form}",
            ) from None
    return Uri(kind, place, given)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers within bounds, both included."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """A reader of numbers within bounds, both included."""

    def read(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        if not low <= float(text) <= high:
            raise ValueError(f"must be from {low:g} to {high:g}")
        return float(text)

    return read


def size_wh(low: int, high: int) -> Callable[[str], tuple[int, int]]:
    """A reader of ``WIDTHxHEIGHT`` in pixels, each within bounds, both included."""

    def read(text: str) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text, re.ASCII)
        if match is None or not all(low <= int(side) <= high for side in match.groups()):
            raise ValueError(f"must be WIDTHxHEIGHT, each from {low} to {high} pixels")
        return int(match[1]), int(match[2])

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """A reader of one of a few words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be {' or '.join(words)}")
        return text

    return read


@dataclass(frozen=True)
class Place:
    """What listens, for the words of an error.

    Attributes:
        expected: How it is written.
        examples: Of it.
        port: Where none is given.
    """

    expected: str
    examples: str
    port: int


def host_and_port(text: str, place: Place) -> tuple[str, int]:
    """``HOST:PORT``, either of which may be missing; an IPv6 address stands in brackets.

    Raises:
        RequestError: It is written in another way.
    """
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]*)(?::(\d{1,5}))?", text)
    if match is None or not 0 <= int(match[2] or 0) <= 65535:
        raise RequestError(
            place.expected, got=repr(text), next_step=f"write, for example, {place.examples}"
        )
    host = match[1].strip("[]") or "127.0.0.1"
    return host, int(match[2]) if match[2] else place.port
