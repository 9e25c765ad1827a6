"""Where things go: how large the drawn picture is and which part of it each thing gets.

The layout depends on two sizes alone, the frame's and that of the room where it is shown, so that a
video has one size from its first frame. All lengths follow one measure, ``em_px``: at least 16
pixels, and else about 1/30 of the drawn height with the legend beside the picture, about 1/39 of
that of a 16:9 frame with the legend below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

Placement = Literal["beside", "below"]
Rect = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the drawn picture, half-open."""

LONG_SIDE_MAX_PX = 3840
"""Longest side of a drawn picture: larger frames are drawn reduced."""

EM_MIN_PX = 16
_PICTURE_MIN_WH = (800, 454)
"""Smaller pictures are enlarged until they reach one of the two."""

BESIDE_WIDTH_EM = 19
"""As a letter, ``squamous cell carcinoma`` in bold (12.6 em in Noto Sans) and ``>99%`` need."""

BELOW_WIDTH_EM, _BELOW_HEIGHT_EM = 50, 8.1
"""Two such columns and a narrower one of notes, each for four regions."""

SMALLEST_ROOM_WH = (800, 480)
"""A 5-inch screen: in less room than this, text is smaller than :data:`EM_MIN_PX`."""

_DISCLAIMER_WIDTH_EM = 24
_BAND_EM = 1.7
_WIDE, _STRIP = 1.55, 2.4
_PLACEMENTS: tuple[Placement, ...] = ("beside", "below")


@dataclass(frozen=True)
class Room:
    """Where a drawn picture is shown.

    Attributes:
        size_wh: Pixels that there are for it.
        filled: The drawn picture takes all of it, as on a whole screen, so that nobody scales it.
    """

    size_wh: tuple[int, int]
    filled: bool


@dataclass(frozen=True)
class Layout:
    """The parts of one drawn picture.

    Attributes:
        frame_wh: Size of the frames that it is for.
        canvas_wh: Size of the drawn picture; both even, as video wants it.
        scale: Drawn pixels per frame pixel.
        em_px: Text size, pixels per em.
        placement: Where the legend is: ``beside`` the picture or ``below`` it, never over it.
        picture: The part with the frame's pixels.
        legend: The legend's part.
        band: The strip with the disclaimer; nothing else is drawn over it.
    """

    frame_wh: tuple[int, int]
    canvas_wh: tuple[int, int]
    scale: float
    em_px: int
    placement: Placement
    picture: Rect
    legend: Rect
    band: Rect


@lru_cache(maxsize=64)
def layout_for(
    frame_wh: tuple[int, int], placement: Placement | None = None, room: Room | None = None
) -> Layout:
    """The layout for frames of one size.

    Args:
        frame_wh: Width and height of the frame, in pixels.
        placement: Where the legend goes. By default beside pictures up to 3:2, and below wider
            ones: either way it hides no skin, whatever is found, and the picture stays larger on
            a screen of its own shape than with the legend at the other side. ``beside`` means
            below for a panorama, too. In a room with little space the default is whatever leaves
            the larger picture.
        room: Where the drawn picture is shown. One that would not fit there is made to fit, with
            the picture as large as readable text allows.

    Raises:
        ValueError: A side is smaller than one pixel.
    """
    if min(frame_wh) < 1:
        raise ValueError(f"frame_wh must be at least 1x1, but got {frame_wh[0]}x{frame_wh[1]}")
    aspect = frame_wh[0] / frame_wh[1]
    if placement is not None and aspect > _STRIP:
        placement = "below"
    layout = _unbounded(frame_wh, placement or ("beside" if aspect < _WIDE else "below"))
    if room is None or (not room.filled and _fits(layout, room.size_wh)):
        return layout
    return _in_room(frame_wh, (placement,) if placement else _PLACEMENTS, room)


def _unbounded(frame_wh: tuple[int, int], placement: Placement) -> Layout:
    """The frame at its own size, or larger where it is small; text and legend as that asks."""
    width, height = frame_wh
    scale = max(1.0, min(_PICTURE_MIN_WH[0] / width, _PICTURE_MIN_WH[1] / height))
    if placement == "below":
        scale = max(1.0, BELOW_WIDTH_EM * EM_MIN_PX / width)
    for _ in range(40):
        layout = _arranged(frame_wh, scale, placement)
        too_long = max(layout.canvas_wh) / LONG_SIDE_MAX_PX
        if too_long <= 1.0:
            break
        scale /= max(too_long, 1.0005)
    return layout


def _in_room(frame_wh: tuple[int, int], placements: tuple[Placement, ...], room: Room) -> Layout:
    """The layout with the largest picture that fits into the room.

    A room that is too small for readable text gets a canvas of its shape that is not: whoever shows
    it makes it smaller, and at least nothing is cut off.
    """
    (room_w, room_h), (least_w, least_h) = room.size_wh, SMALLEST_ROOM_WH
    larger = max(1.0, least_w / room_w, least_h / room_h)
    width, height = (min(LONG_SIDE_MAX_PX, int(side * larger)) & ~1 for side in room.size_wh)
    canvas_wh = (max(least_w, width), max(least_h, height))
    layouts = (_largest(frame_wh, placement, canvas_wh) for placement in placements)
    layout = max(layouts, key=lambda layout: layout.scale)
    return _spread(layout, canvas_wh) if room.filled else layout


def _largest(frame_wh: tuple[int, int], placement: Placement, canvas_wh: tuple[int, int]) -> Layout:
    """By bisection: the canvas grows with the picture."""
    best = _arranged(frame_wh, 1.0 / max(frame_wh), placement)
    low, high = 1, max(canvas_wh)  # of the picture's long side, in pixels
    while low <= high:
        middle = (low + high) // 2
        trial = _arranged(frame_wh, middle / max(frame_wh), placement)
        if _fits(trial, canvas_wh):
            best, low = trial, middle + 1
        else:
            high = middle - 1
    return best


def _fits(layout: Layout, room_wh: tuple[int, int]) -> bool:
    return layout.canvas_wh[0] <= room_wh[0] and layout.canvas_wh[1] <= room_wh[1]


def _spread(layout: Layout, canvas_wh: tuple[int, int]) -> Layout:
    """The same on a larger canvas: the picture in the middle of what the other parts leave."""
    canvas_w, canvas_h = canvas_wh
    x0, y0, x1, y1 = layout.picture
    width, height = x1 - x0, y1 - y0
    body_px = canvas_h - (layout.band[3] - layout.band[1])
    if layout.placement == "beside":
        legend_x = canvas_w - (layout.legend[2] - layout.legend[0])
        left, top = (legend_x - width) // 2, (body_px - height) // 2
        legend = (legend_x, 0, canvas_w, body_px)
    else:
        left, top = (canvas_w - width) // 2, 0
        legend = (0, height, canvas_w, body_px)
    return replace(
        layout,
        canvas_wh=canvas_wh,
        picture=(left, top, left + width, top + height),
        legend=legend,
        band=(0, body_px, canvas_w, canvas_h),
    )


def _arranged(frame_wh: tuple[int, int], scale: float, placement: Placement) -> Layout:
    width, height = (max(1, round(side * scale)) for side in frame_wh)
    if placement == "beside":
        em = max(EM_MIN_PX, round(min(height / (30 - _BAND_EM), width / (50 - BESIDE_WIDTH_EM))))
        canvas_w = _even(max(width + BESIDE_WIDTH_EM * em, _DISCLAIMER_WIDTH_EM * em))
        body_px = max(height, EM_MIN_PX * 28)
        legend = (width, 0, canvas_w, body_px)
    else:
        em = max(EM_MIN_PX, width // BELOW_WIDTH_EM)
        canvas_w = _even(max(width, BELOW_WIDTH_EM * em))
        body_px = height + round(_BELOW_HEIGHT_EM * em)
        legend = (0, height, canvas_w, body_px)
    canvas_h = _even(body_px + round(_BAND_EM * em))
    top = (body_px - height) // 2 if placement == "beside" else 0
    return Layout(
        frame_wh=frame_wh,
        canvas_wh=(canvas_w, canvas_h),
        scale=scale,
        em_px=em,
        placement=placement,
        picture=(0, top, width, top + height),
        legend=legend,
        band=(0, body_px, canvas_w, canvas_h),
    )


def _even(pixels: int) -> int:
    return pixels + (pixels & 1)
