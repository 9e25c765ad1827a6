"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: ``problem`` where dermedge cannot work as asked, ``note`` where something is missing
            that not everybody needs.
        found: In words.
        next_step: What to type or do; empty where nothing is to be done.
    """

    name: str
    state: State
    found: str
    next_step: str = ""

    def __str__(self) -> str:
        text = f"{self.state:<8}{self.name:<13}{self.found}"
        return f"{text}; {self.next_step}" if self.next_step else text

    def to_json_dict(self) -> dict[str, str]:
        """Everything, JSON-able."""
        return asdict(self)
