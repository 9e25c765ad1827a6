"""The seam to whatever shows pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.frame import Frame
from edge.overlay.layout import Room
from edge.result import Result

ViewName = Literal["paired", "live", "still"]
"""``paired``: frame and result of one id; ``live``: the newest frame with the newest result;
``still``: a frozen picture, always paired."""


@dataclass(frozen=True)
class Shown:
    """One picture for the screens.

    Attributes:
        number: Rising by one with each picture that is shown.
        picture: HxWx3 uint8 RGB with everything drawn. Not overwritten while anybody refers to it.
        frame: Whose pixels are seen.
        result: What is drawn over it; ``frame.frame_id`` is its own in ``paired`` and ``still``.
        view: How the two belong together.
        hidden: The view has moved since the result's frame: its regions are not to be told.
        said: The short words that are drawn over it, the most important first.
    """

    number: int
    picture: NDArray[np.uint8]
    frame: Frame
    result: Result
    view: ViewName
    hidden: bool = False
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Presented:
    """Which picture a screen has really shown last, and since when (monotonic nanoseconds)."""

    number: int
    at_ns: int


class Screen(Protocol):
    """Shows pictures to people. A screen that fails is reported, closed and opened again later; it
    never stops the analysis.

    No two calls come at once; ``open`` may come from another thread than the others. What the user
    does at the screen goes to the :class:`edge.controls.Controls` and the :class:`edge.stop.Stop`
    that it was made with.
    """

    @property
    def name(self) -> str:
        """What messages call it, e.g. ``window``."""
        ...

    @property
    def room(self) -> Room | None:
        """How large a picture it wants; ``None`` where any will do. Valid once open."""
        ...

    def open(self) -> None:
        """Get ready to show.

        Raises:
            DermedgeError: There is nothing to show on, with what to do about it; it may appear
                later.
        """
        ...

    def show(self, shown: Shown) -> Presented | None:
        """Show one picture, or take it to be shown soon. Never waits longer than a picture takes.

        Returns:
            The newest picture that was really shown, and when its present call had returned; it may
            be an earlier one than this. ``None`` where that is not known (nobody looks).

        Raises:
            InputError: The picture could not be shown.
        """
        ...

    def poll(self) -> Presented | None:
        """Look at what the user does at the screen; called many times a second.

        Returns:
            As :meth:`show`.

        Raises:
            InputError: The screen is away.
        """
        ...

    def close(self) -> None:
        """Let go of the display; calling it twice is harmless."""
        ...
