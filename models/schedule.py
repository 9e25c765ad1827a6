"""What both trainings share: a time box cut into phases, averaged weights, log and checkpoint.

A training here is limited by wall time and not by epochs, so the learning rate follows the share
of the time that has passed. That makes a run repeatable in its method and its seeds but not bit
by bit: a faster machine takes more steps in the same time.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.whole_file import write_whole


@dataclass(frozen=True)
class Phase:
    """A part of the training.

    Attributes:
        share: Of the training's time.
        size: Side of the network's input in pixels.
        batch: Pictures in a step.
    """

    share: float
    size: int
    batch: int


class TimeBox:
    """How much of a training's time has passed.

    Args:
        seconds: Wall time of all phases together.
        phases: Their shares must add up to 1.
    """

    def __init__(self, seconds: float, phases: tuple[Phase, ...]) -> None:
        if abs(sum(phase.share for phase in phases) - 1.0) > 1e-6:
            raise ValueError(f"the phases' shares must add up to 1, but got {phases}")
        self._seconds = seconds
        self._phases = phases
        self._start_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start_s

    @property
    def progress(self) -> float:
        """Share of the time that has passed, 0 to 1."""
        return min(1.0, self.elapsed_s / self._seconds)

    @property
    def phase(self) -> Phase:
        """The phase that is due now."""
        passed, end = self.progress, 0.0
        for phase in self._phases:
            end += phase.share
            if passed < end:
                return phase
        return self._phases[-1]


def learning_rate(progress: float, peak: float, *, warm_up: float = 0.04) -> float:
    """Linear warm-up, then a cosine down to a hundredth of the peak.

    Args:
        progress: Share of the training that has passed, 0 to 1.
        peak: Highest rate.
        warm_up: Share of the training in which the rate rises.
    """
    if progress < warm_up:
        return peak * (0.05 + 0.95 * progress / warm_up)
    passed = (progress - warm_up) / (1.0 - warm_up)
    return peak * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * passed)))


class AveragedWeights:
    """Exponential moving average of a network's weights and normalisation statistics.

    The average is what is tuned and released: in a short training it is worth several points.

    Args:
        net: The network that learns.
        average: Another one of the same shape, which takes the average.
        decay: Share of the average that each step keeps, once enough steps have been seen.
    """

    def __init__(self, net: Any, average: Any, decay: float = 0.995) -> None:
        self.net, self.average, self._decay = net, average.eval(), decay
        self.average.load_state_dict(net.state_dict())
        self._steps = 0

    def update(self) -> None:
        """Take in the network's present weights."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            for mine, theirs in zip(
                self.average.state_dict().values(), self.net.state_dict().values(), strict=True
            ):
                if mine.dtype.is_floating_point:
                    mine.lerp_(theirs, 1.0 - decay)
                else:
                    mine.copy_(theirs)


class Log:
    """One JSON object per line, on disk at once, and in words on the terminal.

    Args:
        path: File to write; an existing one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._start_s = time.monotonic()

    def write(self, event: str, **values: Any) -> None:
        """Add a line; floats are rounded to five digits."""
        entry = {"event": event, "seconds": round(time.monotonic() - self._start_s, 1)}
        entry.update({key: _rounded(value) for key, value in values.items()})
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        words = " ".join(f"{key} {value}" for key, value in entry.items() if key != "event")
        print(f"{event}: {words}", flush=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def save_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write what ``dermedge-models export`` reads, whole or not at all."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    write_whole(path, content.getvalue())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_rounded(item) for item in value]
    return value
