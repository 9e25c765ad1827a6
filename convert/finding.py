"""What the check of a graph has to say: one finding, one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that stands between a graph and an engine.

    Attributes:
        severity: An ``error`` would fail on the device or give wrong numbers; a ``warning`` may.
        node: Name of the node, or of the tensor or file where there is no node.
        found: What was found there.
        way_out: What the owner of the model can do about it.
    """

    severity: Severity
    node: str
    found: str
    way_out: str

    def __str__(self) -> str:
        line = f"{self.severity}: {self.node}: {self.found}; {self.way_out}"
        # Names in a graph may hold anything, and this must stay one line.
        return " ".join(line.split())


def error(node: str, found: str, way_out: str) -> Finding:
    """A finding that refuses the graph."""
    return Finding("error", node, found, way_out)


def warning(node: str, found: str, way_out: str) -> Finding:
    """A finding that only has to be read."""
    return Finding("warning", node, found, way_out)
