"""The stand-in's engine file: one line, a JSON header, and the ONNX that was built."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from . import __version__, settings
from .device import Device

_MAGIC = b"dermedge stand-in plan\n"


@dataclass(frozen=True)
class Plan:
    """What an engine file holds.

    Attributes:
        version: Four parts, of the library that built it.
        device: The device that it was built on.
        precision: ``fp32``, ``fp16`` or ``int8``, read from the graph.
        profiles: For each profile, for each input, its smallest, best and largest shape.
        verbosity: Name of the profiling verbosity.
        onnx: The graph.
    """

    version: str
    device: Device
    precision: str
    profiles: list[dict[str, list[list[int]]]]
    verbosity: str
    onnx: bytes

    def write(self) -> bytes:
        """The file."""
        fields: dict[str, Any] = asdict(self)
        del fields["onnx"]
        fields["sha256"] = hashlib.sha256(self.onnx).hexdigest()
        header = json.dumps(fields, sort_keys=True).encode()
        return _MAGIC + len(header).to_bytes(8, "little") + header + self.onnx

    @classmethod
    def read(cls, data: bytes) -> Plan | None:
        """What was written; ``None`` where the data are something else, or not all of it."""
        if not data.startswith(_MAGIC):
            return None
        start = len(_MAGIC) + 8
        end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
        try:
            fields = json.loads(data[start:end])
        except ValueError:
            return None
        if hashlib.sha256(data[end:]).hexdigest() != fields.pop("sha256"):
            return None
        return cls(**{**fields, "device": Device(**fields["device"])}, onnx=data[end:])


def library_version() -> str:
    """What the library calls itself, in four parts."""
    return settings.text("LIBRARY_VERSION") or __version__
