"""The seam to whatever takes results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.frame import Frame
from edge.result import Result


@dataclass(frozen=True)
class Shot:
    """One analysed frame, as every sink gets it.

    No array of it is overwritten while anybody refers to it (:mod:`edge.pixel_pool`), so a sink may
    keep what it needs, and should let go of it soon. Nobody writes into them.

    Attributes:
        frame: The frame that was analysed.
        result: What was found in exactly that frame.
        mask: HxW uint8 0/255 in frame size, or ``None`` where there is no answer.
        drawn: HxWx3 uint8 RGB picture with the overlay, or ``None`` where no sink asked for one
            (see :attr:`Sink.wants_drawn`).
    """

    frame: Frame
    result: Result
    mask: NDArray[np.uint8] | None
    drawn: NDArray[np.uint8] | None


class Sink(Protocol):
    """Takes analysed frames. A sink that fails is reported and closed; it never stops the loop."""

    @property
    def name(self) -> str:
        """What messages call it, e.g. ``jsonl out/results.jsonl``."""
        ...

    @property
    def wants_drawn(self) -> bool:
        """True where the picture with its overlay is needed."""
        ...

    @property
    def goes_on(self) -> bool:
        """True where it can be opened again after a failure, and goes on where it ended."""
        ...

    def open(self) -> None:
        """Get ready to write.

        Raises:
            InputError: The place cannot be written, with what to do about it.
        """
        ...

    def write(self, shot: Shot) -> bool:
        """Take one analysed frame.

        Returns:
            True to go on; False when the user asked to stop here (closed the window).

        Raises:
            InputError: The frame could not be written.
        """
        ...

    def close(self) -> None:
        """Finish what is being written; calling it twice is harmless."""
        ...
