"""Puts small coloured patches onto the picture, with soft edges and without full-frame work.

A patch that was used before is kept with its colour multiplied in, so that drawing it again is one
multiplication and one addition over its own few pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.overlay.byte_cache import ByteCache
from edge.overlay.layout import Rect
from edge.overlay.palette import PANEL_LEVEL, Colour
from edge.overlay.text import TextPatch

Pixels = NDArray[np.uint8]
Draw = Callable[[Pixels], None]

_SPRITE_BYTES = 6 << 20
_SUPERSAMPLING = 4


@dataclass(frozen=True, eq=False)
class Sprite:
    """``drawn = colour + keep * picture / 255``, both HxWx3 uint8."""

    colour: Pixels
    keep: Pixels


class Painter:
    """Draws onto a canvas (HxWx3 uint8 RGB) that each call is given; keeps sprites in between."""

    def __init__(self) -> None:
        self._sprites: ByteCache[Sprite] = ByteCache(_SPRITE_BYTES)

    def allow(self, em_px: int) -> None:
        """Size the cache for texts of ``em_px``: what one frame shows must fit into it."""
        self._sprites.limit_bytes = int(_SPRITE_BYTES * max(1.0, (em_px / 24) ** 2))

    def text(
        self, canvas: Pixels, patch: TextPatch, x: int, baseline_y: int, colour: Colour
    ) -> None:
        """Draw a line of text with its pen at ``x`` on ``baseline_y``."""
        key = (patch, colour)
        sprite = self._sprites.get(key)
        if sprite is None:
            sprite = self._kept(key, patch.alpha, colour)
        self._blit(canvas, sprite, x + patch.left, baseline_y + patch.top)

    def plate(
        self, canvas: Pixels, rect: Rect, colour: Colour, *, opacity: float, radius_px: int
    ) -> None:
        """Draw a filled rectangle with round corners."""
        x0, y0, x1, y1 = rect
        key = ("plate", x1 - x0, y1 - y0, colour, opacity, radius_px)
        sprite = self._sprites.get(key)
        if sprite is None:
            alpha = _round_rectangle(x1 - x0, y1 - y0, radius_px)
            faint = (alpha * opacity + 0.5).astype(np.uint8)
            sprite = self._kept(key, faint, colour)
        self._blit(canvas, sprite, x0, y0)

    def stack(
        self, canvas: Pixels, key: Hashable, size_wh: tuple[int, int], x: int, y: int, draw: Draw
    ) -> None:
        """Draw several things that always come together as one sprite.

        Args:
            canvas: What to draw on.
            key: Stands for everything that ``draw`` depends on.
            size_wh: Size of the sprite in pixels.
            x: Left edge on the canvas.
            y: Upper edge on the canvas.
            draw: Called once per key with a small canvas, first a black, then a white one.
        """
        sprite = self._sprites.get(key)
        if sprite is None:
            shape = (size_wh[1], size_wh[0], 3)
            black, white = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
            draw(black)
            draw(white)
            sprite = Sprite(black, np.maximum(white, black) - black)
            self._sprites.put(key, sprite, black.nbytes * 2)
        self._blit(canvas, sprite, x, y)

    def _kept(self, key: Hashable, alpha: Pixels, colour: Colour) -> Sprite:
        wide = alpha[:, :, None]
        toned = (wide * (np.array(colour, np.float32) / 255.0) + 0.5).astype(np.uint8)
        sprite = Sprite(toned, np.repeat(255 - wide, 3, axis=2))
        self._sprites.put(key, sprite, toned.nbytes * 2)
        return sprite

    @staticmethod
    def _blit(canvas: Pixels, sprite: Sprite, x: int, y: int) -> None:
        height, width = sprite.keep.shape[:2]
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + width, canvas.shape[1]), min(y + height, canvas.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        spot = canvas[y0:y1, x0:x1]
        part = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
        cv2.multiply(spot, sprite.keep[part], dst=spot, scale=1 / 255)
        cv2.add(spot, sprite.colour[part], dst=spot)


def shade(canvas: Pixels, rect: Rect, *, opacity: float, level: int = PANEL_LEVEL) -> None:
    """Mix a rectangle of the canvas with grey, in place."""
    if opacity >= 1.0:
        fill(canvas, rect, (level, level, level))
        return
    x0, y0, x1, y1 = rect
    spot = canvas[y0:y1, x0:x1]
    if spot.size:
        cv2.convertScaleAbs(spot, dst=spot, alpha=1.0 - opacity, beta=opacity * level)


def fill(canvas: Pixels, rect: Rect, colour: Colour) -> None:
    """Fill a rectangle of the canvas, in place."""
    x0, y0, x1, y1 = rect
    if x1 > x0 and y1 > y0:
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, cv2.FILLED)


def _round_rectangle(width: int, height: int, radius_px: int) -> Pixels:
    """Coverage of a rectangle with round corners: HxW uint8."""
    alpha = np.full((height, width), 255, np.uint8)
    radius = min(radius_px, width // 2, height // 2)
    if radius < 1:
        return alpha
    fine = radius * _SUPERSAMPLING
    disc = np.zeros((fine, fine), np.uint8)
    cv2.circle(disc, (fine, fine), fine, 255, cv2.FILLED)
    corner = cv2.resize(disc, (radius, radius), interpolation=cv2.INTER_AREA)
    alpha[:radius, :radius] = corner
    alpha[:radius, -radius:] = corner[:, ::-1]
    alpha[-radius:, :radius] = corner[::-1]
    alpha[-radius:, -radius:] = corner[::-1, ::-1]
    return alpha
