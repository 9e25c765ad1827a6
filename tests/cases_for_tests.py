"""Frozen stills made by hand, for cases and their export."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
from shots_for_tests import frame, result

from edge.analysis.analyzer import Analysis
from edge.analysis_thread import Outcome
from edge.controls import Command
from edge.session import Frozen

SIZE_WH = (320, 240)


def frozen(number: int = 1, size_wh: tuple[int, int] = SIZE_WH) -> Frozen:
    still = dataclasses.replace(
        frame(number, size_wh), settings={"gain": 3}, exposure_began_ns=time.monotonic_ns()
    )
    mask = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    mask[5:9, 5:9] = 255
    press = Command("freeze", "test", time.monotonic_ns())
    return Frozen(Outcome(still, Analysis(result(still), mask), press), 255 - still.pixels)


PRESS = Command("freeze", "test", 123)
