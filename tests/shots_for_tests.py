"""Frames and results made by hand, for sinks and the loop."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import EngineIdentity
from edge.frame import Frame
from edge.result import (
    ClassProbability,
    Contour,
    FrameStamp,
    Quality,
    Region,
    Result,
    Stage,
)
from edge.screens.base import Shown
from edge.sinks.base import Shot


def frame(number: int = 0, size_wh: tuple[int, int] = (64, 48), *, live: bool = True) -> Frame:
    """A frame of plain noise; ``live`` frames were taken now, others at 10 per second."""
    pixels = np.random.default_rng(number).integers(0, 256, (size_wh[1], size_wh[0], 3), np.uint8)
    return Frame(
        pixels=pixels,
        frame_id=number,
        source="test:0",
        captured_ns=time.monotonic_ns() if live else number * 100_000_000,
        captured_clock="monotonic" if live else "recording",
        captured_by="arrival" if live else "file",
    )


def result(of: Frame, regions: int = 1) -> Result:
    """A Result with ``regions`` small squares; every second one abstains."""
    engine = EngineIdentity("net", "1.0", "onnx", "fp32", "0" * 64)
    return Result(
        software="dermedge test",
        status="ok" if regions else "nothing_found",
        reasons=(),
        frame=FrameStamp(
            source=of.source,
            id=of.frame_id,
            size_wh=of.size_wh,
            captured_ns=of.captured_ns,
            captured_clock=of.captured_clock,
            captured_by=of.captured_by,
            boot_id=None,
            wall=None,
            wall_trusted=False,
        ),
        threshold=0.5,
        regions=tuple(_region(index) for index in range(regions)),
        regions_not_classified=0,
        skin_tone=None,
        quality=Quality(),
        timings_ms={Stage.SEGMENT: 3.0, Stage.TOTAL: 5.0},
        engines={"segmenter": engine, "classifier": engine},
    )


def shot(
    number: int = 0, size_wh: tuple[int, int] = (64, 48), regions: int = 1, *, live: bool = True
) -> Shot:
    """An analyzed frame whose drawn picture is the frame's negative."""
    picture = frame(number, size_wh, live=live)
    mask = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    return Shot(picture, result(picture, regions), mask, 255 - picture.pixels)


def shown(number: int = 0, picture: NDArray[np.uint8] | None = None) -> Shown:
    """A picture for a screen; by default the negative of a small frame."""
    some = shot(number)
    drawn = some.drawn if picture is None else picture
    assert drawn is not None
    return Shown(number, drawn, some.frame, some.result, "paired")


def _region(index: int) -> Region:
    x = 4 * index
    return Region(
        letter=chr(ord("A") + index),
        track_id=None,
        box_xyxy=(x, 0, x + 3, 3),
        contours=(Contour(((x, 0), (x + 2, 0), (x + 2, 2), (x, 2))),),
        area_px=9,
        area_fraction=0.003,
        score=0.9,
        classified=True,
        abstained=index % 2 == 1,
        abstain_reason="no class is probable enough" if index % 2 == 1 else None,
        classes=(ClassProbability("NEV", 0.6), ClassProbability("MEL", 0.4)),
        colour=None,
    )
