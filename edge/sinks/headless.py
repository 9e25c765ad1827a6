"""The null member of the family: nothing is shown and nothing is written, only counted."""

from __future__ import annotations

from edge.sinks.base import Shot


class HeadlessSink:
    """Takes every frame and keeps none."""

    name = "headless"
    wants_drawn = False
    goes_on = True

    def __init__(self) -> None:
        self.frames = 0

    def open(self) -> None:
        """Start counting."""
        self.frames = 0

    def write(self, shot: Shot) -> bool:
        """Count one frame."""
        self.frames += 1
        return True

    def close(self) -> None:
        """Nothing to finish."""
