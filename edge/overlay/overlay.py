"""The picture that people see: frame, outlines, letters, legend, disclaimer, in one buffer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.overlay.badges import Badge, draw_badge, draw_leaders, place_badges
from edge.overlay.band import Reading, draw_band
from edge.overlay.banner import draw_banner, sentence
from edge.overlay.fonts import Fonts
from edge.overlay.layout import Layout, Placement, Rect, Room, layout_for
from edge.overlay.legend import LegendPainter, note_width, plan_legend
from edge.overlay.notices import Notice, draw_notices
from edge.overlay.numbers import WorstSoFar, duration, milliseconds
from edge.overlay.outline import Shape, draw_outlines, shape_of
from edge.overlay.paint import Painter, shade
from edge.overlay.placing import LesionMap
from edge.overlay.rows import Facts, Row
from edge.overlay.text import Typesetter
from edge.pixel_pool import PixelPool
from edge.result import ANSWERED, UNVALIDATED, Result, Stage

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawn:
    """Where the last picture's parts are, in pixels of the drawn picture.

    Attributes:
        layout: The fixed parts.
        rows: The legend's lines with their places.
        badges: Letter and place of each badge.
        banner: The words about a missing answer, or ``None``.
        notices: The short words over the lower edge.
    """

    layout: Layout
    rows: tuple[tuple[Row, Rect], ...]
    badges: tuple[tuple[str, Rect], ...]
    banner: Rect | None
    notices: tuple[Rect, ...] = ()


class Overlay:
    """Draws results over frames. One thread at a time; buffers and text are kept between calls.

    Args:
        validated: Whether the classifier's manifest says ``validated``. Where it does not, every
            legend with classes says so.
        placement: Where the legend goes; by default decided by the frame's shape, see
            :func:`edge.overlay.layout.layout_for`.
        fonts: Faces to write with, by default the system's.
        clock: Monotonic seconds, for numbers that are held long enough to be read.
    """

    def __init__(
        self,
        *,
        validated: bool = False,
        placement: Placement | None = None,
        fonts: Fonts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._validated = validated
        self._placement = placement
        self._typesetter = Typesetter(fonts)
        self._painter = Painter()
        self._legend = LegendPainter(self._painter, self._typesetter)
        self._times = WorstSoFar(clock)
        self._stage_times = WorstSoFar(clock)
        self._canvases = PixelPool()
        self._badge_places: dict[str, int] = {}
        self._notice_anchor = 0
        self._drawn: Drawn | None = None

    @property
    def drawn(self) -> Drawn | None:
        """The parts of the last picture, or ``None`` before the first."""
        return self._drawn

    def size_for(self, frame_wh: tuple[int, int], room: Room | None = None) -> tuple[int, int]:
        """Width and height of the drawn picture for frames of ``frame_wh`` shown in ``room``."""
        return layout_for(frame_wh, self._placement, room).canvas_wh

    def draw(
        self,
        pixels: Pixels,
        result: Result,
        *,
        age_ms: float | None = None,
        view: str | None = None,
        result_age_ms: float | None = None,
        hidden: bool = False,
        notices: Sequence[Notice] = (),
        durations_ms: Mapping[Stage, float] | None = None,
        room: Room | None = None,
        out: Pixels | None = None,
    ) -> Pixels:
        """Draw ``result`` over ``pixels``.

        The drawn picture is larger than the frame by the disclaimer's strip, and by the legend
        beside or below; see :meth:`size_for`. In a room that is too small for this, the frame is
        drawn reduced: the text stays readable.

        Args:
            pixels: HxWx3 uint8 RGB; read only.
            result: What was found, with coordinates of a frame of this size.
            age_ms: Time since the picture was taken; ``None`` for a still. Shown as a lower bound
                where only the frame's arrival is known.
            view: ``paired``, ``live`` or ``frozen``, shown by name; ``None`` for a still.
            result_age_ms: In the ``live`` view, where ``result`` is of an earlier frame than
                ``pixels``: time since that one was taken.
            hidden: The view has moved since the frame of ``result``: its regions are not shown.
            notices: Short words over the lower edge of the picture, the most important first.
            durations_ms: Stages measured outside the analysis (draw, present: of the picture
                before), shown beside it.
            room: Where it is shown; ``None`` where that does not matter, as in a file.
            out: Buffer of the drawn size to draw into.

        Returns:
            HxWx3 uint8 RGB: ``out``, or a buffer that is not overwritten while anybody refers to
            it.

        Raises:
            ValueError: ``pixels`` or ``out`` has another shape or dtype than said here, or the
                result's regions belong to a frame of another size.
        """
        if hidden and result.regions:
            result = replace(result, regions=())
        frame_wh = _checked_size(pixels, result)
        layout = layout_for(frame_wh, self._placement, room)
        canvas = self._canvas_for(layout, out)
        picture = _cut(canvas, layout.picture)
        self._painter.allow(layout.em_px)
        _put_frame(pixels, canvas, picture, layout, in_time=room is not None)
        shapes = [
            shape_of(region, layout.scale, _size_wh(picture), layout.em_px)
            for region in result.regions or ()
        ]
        lesions = LesionMap(shapes, _size_wh(picture), layout.em_px)
        stream = age_ms is not None or view is not None
        ages = {"age": age_ms, "result age": result_age_ms}
        left_out = self._draw_band(canvas, layout, result, ages, view)
        facts = self._facts(result, layout, left_out, durations_ms, stream)
        facts = replace(facts, hidden=hidden)
        plan = plan_legend(result, facts, layout)
        badges = self._place_badges(picture, layout, result, shapes, lesions, stream)
        draw_outlines(picture, shapes, layout.em_px)
        draw_leaders(picture, badges, layout.em_px)
        rows = self._legend.draw(canvas, plan, layout.em_px)
        banner = None
        if not hidden or result.status not in ANSWERED:
            banner = draw_banner(picture, result, layout.em_px, self._painter, self._typesetter)
        for badge in badges:
            draw_badge(picture, badge, layout.em_px, self._painter, self._typesetter)
        said, self._notice_anchor = draw_notices(
            picture,
            notices,
            layout.em_px,
            self._painter,
            self._typesetter,
            lesions,
            self._notice_anchor,
        )
        self._drawn = Drawn(
            layout,
            tuple(rows),
            tuple((b.shape.region.letter, _moved(b.rect, layout.picture)) for b in badges),
            None if banner is None else _moved(banner, layout.picture),
            tuple(_moved(rect, layout.picture) for rect in said),
        )
        return canvas

    def _canvas_for(self, layout: Layout, out: Pixels | None) -> Pixels:
        width, height = layout.canvas_wh
        shape = (height, width, 3)
        if out is not None:
            if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
                raise ValueError(
                    f"out must be {shape} uint8 and contiguous, but got {out.shape} {out.dtype}"
                )
            return out
        return self._canvases.take(shape)

    def _draw_band(
        self,
        canvas: Pixels,
        layout: Layout,
        result: Result,
        ages_ms: Mapping[str, float | None],
        view: str | None,
    ) -> list[Reading]:
        values = dict(ages_ms)
        if result.status != "no_live_image":  # an old answer's latency would look alive
            values["analysis"] = result.timings_ms.get(Stage.TOTAL)
        known = {name: value for name, value in values.items() if value is not None}
        if ages_ms["age"] is not None:
            known = self._times.update(known)
        at_least = result.frame.captured_by == "arrival"
        readings = [
            Reading(name, duration(value), at_least and name != "analysis")
            for name, value in known.items()
        ]
        if view is not None:
            readings.append(Reading("view", view))
        return draw_band(
            canvas, layout.band, readings, layout.em_px, self._painter, self._typesetter
        )

    def _facts(
        self,
        result: Result,
        layout: Layout,
        left_out: Sequence[Reading],
        durations_ms: Mapping[Stage, float] | None,
        stream: bool,
    ) -> Facts:
        lines = [
            patch.text
            for reason in result.reasons
            if reason != UNVALIDATED  # the legend has its own words for it
            for patch in self._typesetter.wrap(
                sentence(reason), layout.em_px, note_width(layout), 4
            )
        ]
        lines += [
            f"{reading.name} {'at least ' if reading.lower_bound else ''}{reading.value}"
            for reading in left_out
        ]
        stages = {**result.timings_ms, **(durations_ms or {})}
        if result.status == "no_live_image":
            stages.clear()
        named = {stage.value: ms for stage, ms in stages.items() if stage is not Stage.TOTAL}
        if stream:
            named = self._stage_times.update(named)
        table = tuple((name, milliseconds(ms)) for name, ms in named.items())
        return Facts(self._validated and UNVALIDATED not in result.reasons, tuple(lines), table)

    def _place_badges(
        self,
        picture: Pixels,
        layout: Layout,
        result: Result,
        shapes: Sequence[Shape],
        lesions: LesionMap,
        stream: bool,
    ) -> list[Badge]:
        badges = place_badges(
            shapes,
            _size_wh(picture),
            layout.em_px,
            label_text=result.label_text,
            typesetter=self._typesetter,
            lesions=lesions,
            previous=self._badge_places if stream else {},
        )
        self._badge_places = {badge.shape.region.letter: badge.place for badge in badges}
        return badges


def _checked_size(pixels: Pixels, result: Result) -> tuple[int, int]:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"pixels must be HxWx3 uint8 RGB, but got {pixels.shape} {pixels.dtype}")
    frame_wh = pixels.shape[1], pixels.shape[0]
    if result.regions and tuple(result.frame.size_wh) != frame_wh:
        raise ValueError(
            f"the result must be of a frame of {frame_wh}, but it is of {result.frame.size_wh}"
        )
    return frame_wh


def _put_frame(
    pixels: Pixels, canvas: Pixels, picture: Pixels, layout: Layout, *, in_time: bool
) -> None:
    """Fill the picture's part with the frame, and what is beside it with black.

    A reduced frame is averaged over its pixels' exact areas, or nearly so where somebody waits
    ``in_time`` to see it: that would take longer than all else that is drawn.
    """
    x0, y0, x1, y1 = layout.picture
    canvas_w, body = layout.canvas_wh[0], layout.band[1]
    size_wh = (x1 - x0, y1 - y0)
    if picture.shape == pixels.shape:
        np.copyto(picture, pixels)
    elif layout.scale >= 1.0:
        cv2.resize(pixels, size_wh, dst=picture, interpolation=cv2.INTER_CUBIC)
    elif in_time:
        halved = _halved(pixels, size_wh)
        cv2.resize(halved, size_wh, dst=picture, interpolation=cv2.INTER_LINEAR)
    else:
        cv2.resize(pixels, size_wh, dst=picture, interpolation=cv2.INTER_AREA)
    margins = ((0, 0, x0, body), (x0, 0, x1, y0), (x0, y1, x1, body), (x1, 0, canvas_w, body))
    for margin in margins:
        shade(canvas, margin, opacity=1.0, level=0)


def _halved(pixels: Pixels, target_wh: tuple[int, int]) -> Pixels:
    """Means of 2x2 pixels, which OpenCV makes fast, while that leaves at least what is wanted."""
    height, width = pixels.shape[:2]
    while width >= 2 * target_wh[0] and height >= 2 * target_wh[1] and not (width | height) % 2:
        width, height = width // 2, height // 2
        half = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        pixels = np.asarray(half, np.uint8)
    return pixels


def _size_wh(picture: Pixels) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _cut(canvas: Pixels, rect: Rect) -> Pixels:
    x0, y0, x1, y1 = rect
    return canvas[y0:y1, x0:x1]


def _moved(rect: Rect, origin: Rect) -> Rect:
    x, y = origin[0], origin[1]
    return rect[0] + x, rect[1] + y, rect[2] + x, rect[3] + y
