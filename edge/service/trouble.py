"""Shows on the device's screens why nothing runs, until something changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from edge.controls import Controls
from edge.errors import DermedgeError
from edge.frame import Frame
from edge.health import Health
from edge.liveness import Deadline
from edge.no_live_image import no_live_result
from edge.overlay.notices import Notice
from edge.overlay.overlay import Overlay
from edge.screens.base import Screen, Shown
from edge.screens.group import ScreenGroup
from edge.stop import Stop

SHOWN_EVERY_S = 1.0
TURN_WITHIN_S = 30.0

_log = logging.getLogger("dermedge.service")


class Trouble:
    """What is wrong, and what to do, in the place of the live picture.

    Args:
        error: What keeps the run from running.
        notices: What else is to be said.
    """

    def __init__(self, error: DermedgeError, notices: Callable[[], Sequence[Notice]]) -> None:
        self._error = error
        self._notices = notices
        self.deadline = Deadline("the screens")

    def show(self, screens: Sequence[Screen], is_over: Callable[[], bool], stop: Stop) -> None:
        """Show it on the screens that can be opened, until ``is_over`` or asked to stop.

        Args:
            screens: Not yet open; each may stay away.
            is_over: Asked about once a second.
            stop: Ends it.
        """
        overlay = Overlay(validated=True)  # there is no answer to warn of
        number = 0
        try:
            with ScreenGroup(screens, Health(), wait_s=0.0) as group:
                while not stop.is_set and not is_over():
                    self.deadline.begin("showing what is wrong", TURN_WITHIN_S)
                    group.poll()
                    if group.are_there:
                        group.show(self._shown(overlay, group, number))
                        number += 1
                    stop.wait(SHOWN_EVERY_S)
        finally:
            self.deadline.rest()

    def _shown(self, overlay: Overlay, group: ScreenGroup, number: int) -> Shown:
        wide, high = (1280, 720)
        frame = Frame(
            pixels=np.zeros((high, wide, 3), np.uint8),
            frame_id=number,
            source="none",
            captured_ns=None,
            captured_clock=None,
            captured_by="arrival",
        )
        result = no_live_result(frame, f"{self._error.expected}; found: {self._error.got}")
        notices = [Notice(self._error.next_step, "prompt"), *self._notices()]
        picture = overlay.draw(
            frame.pixels, result, notices=notices, durations_ms={}, room=group.room
        )
        said = tuple(notice.text for notice in notices)
        return Shown(number, picture, frame, result, "live", said=said)


def screens_of(sinks: Sequence[str], controls: Controls, stop: Stop, token: str) -> list[Screen]:
    """The screens among these sinks; those that are none, or cannot be made, are left out."""
    from edge.sinks.uri import outputs_from_uris

    found: list[Screen] = []
    for text in sinks:
        if text.partition(":")[0] not in ("window", "screen", "web"):
            continue
        try:
            outputs = outputs_from_uris(
                [text],
                overwrite=False,
                lossless=False,
                controls=controls,
                stop=stop,
                web_token=token,
            )
        except DermedgeError as error:
            _log.warning("no screen to say it on: %s", error)
            continue
        found += outputs.screens
    return found
