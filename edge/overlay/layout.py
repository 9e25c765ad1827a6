"""Where things go: how large the drawn picture is and which part of it each thing gets.

The layout depends on the frame's size alone, so that a video has one size from its first frame.
All lengths follow one measure, ``em_px``: 1/30 of the drawn height, at least 16 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
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

_DISCLAIMER_WIDTH_EM = 24
_BAND_EM = 1.7
_WIDE, _STRIP = 1.55, 2.4


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
def layout_for(frame_wh: tuple[int, int], placement: Placement | None = None) -> Layout:
    """The layout for frames of one size.

    Args:
        frame_wh: Width and height of the frame, in pixels.
        placement: Where the legend goes. By default beside pictures up to 3:2, and below wider
            ones: either way it hides no skin, whatever is found, and the picture stays larger on
            a screen of its own shape than with the legend at the other side. ``beside`` means
            below for a panorama, too.

    Raises:
        ValueError: A side is smaller than one pixel.
    """
    width, height = frame_wh
    if width < 1 or height < 1:
        raise ValueError(f"frame_wh must be at least 1x1, but got {width}x{height}")
    aspect = width / height
    if placement is None:
        placement = "beside" if aspect < _WIDE else "below"
    if aspect > _STRIP:
        placement = "below"
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
