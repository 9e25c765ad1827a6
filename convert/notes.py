"""The notes in a prepared graph's file, and the key of a manifest: without the onnx package.

A device's program that finds its graphs in the cache needs nothing else of :mod:`convert`, and
loading onnx would cost it a third of a second and 10 MB for good.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from pathlib import Path

from models.errors import ModelRefusedError
from models.manifest import Manifest

SCHEMA = "dermedge.prepared/1"

# Protocol buffers' wire format (https://protobuf.dev/programming-guides/encoding/) and the field
# numbers of onnx.proto: ModelProto.metadata_props, StringStringEntryProto.key and .value.
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
_VARINT, _BYTES_8, _LENGTH, _BYTES_4 = 0, 1, 2, 5


def read_notes(path: Path) -> dict[str, str]:
    """The ``dermedge.*`` notes of a prepared graph.

    Raises:
        ModelRefusedError: It is no graph that ``convert.prepare`` wrote.
    """
    notes: dict[str, str] = {}
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            for number, (start, end) in _fields(content, 0, len(content)):
                if number == _METADATA_PROPS:
                    pair = {n: content[a:b] for n, (a, b) in _fields(content, start, end)}
                    notes[pair[_KEY].decode()] = pair[_VALUE].decode()
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise _not_prepared("a file that cannot be read as one") from error
    if notes.get("dermedge.schema") != SCHEMA:
        raise _not_prepared(notes.get("dermedge.schema", "a graph without that note"))
    return notes


def manifest_key(manifest: Manifest) -> str:
    """The parts of a manifest that change its prepared graph, as canonical JSON."""
    parts = manifest.model_dump(mode="json", include={"task", "inputs", "output", "pigments"})
    parts["output"].pop("threshold")
    parts["temperature"] = None if manifest.decision is None else manifest.decision.temperature
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def _not_prepared(got: str) -> ModelRefusedError:
    return ModelRefusedError(
        f"a graph prepared as {SCHEMA}",
        got=got,
        next_step="prepare it: dermedge-convert prepare PACK",
    )


def _fields(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Field numbers of a message and the span of each one's content."""
    while at < end:
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == _LENGTH:
            length, at = _varint(content, at)
        elif kind == _VARINT:
            length = _varint(content, at)[1] - at
        elif kind in (_BYTES_8, _BYTES_4):
            length = 8 if kind == _BYTES_8 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + length > end:
            raise ValueError("a field that is longer than its message")
        yield tag >> 3, (at, at + length)
        at += length


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    """The number at ``at``, seven bits a byte, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
