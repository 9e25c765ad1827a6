"""Text as small patches of coverage: shaped, measured, shortened, and kept for the next frame.

A label is drawn whole in a font that has all its characters, or it is replaced by its ASCII code:
a box or a question mark would look like an answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edge.overlay.byte_cache import ByteCache
from edge.overlay.fonts import Face, Fonts, is_invisible, is_right_to_left, load_face

_VIRAMA_CLASS = 9
"""Canonical combining class of the sign that joins two consonants (Unicode Standard, 4.3)."""

_NUMBER_CHARACTERS = frozenset("0123456789.%<>+- ms")
"""Texts of only these change with every frame, so they are put together from single glyphs: to
shape a new number costs about 0.4 ms, to compose it a few microseconds."""

_PATCH_BYTES = 4 << 20
_MAX_CHARACTERS = 200
"""A longer text would not fit into any place; it is cut before it is measured."""


@dataclass(frozen=True, eq=False)
class TextPatch:
    """One line of text, ready to be coloured.

    Attributes:
        text: What is really shown: the text, its shortened form, or its fallback.
        alpha: HxW uint8 coverage, 0..255; never written to after it is made.
        left: Where the patch starts, in pixels right of the pen; may be negative.
        top: Where the patch starts, in pixels below the baseline; mostly negative.
        advance: How far the pen moves, in whole pixels.
    """

    text: str
    alpha: NDArray[np.uint8]
    left: int
    top: int
    advance: int


@dataclass(frozen=True)
class _Run:
    text: str
    face: Face


class Typesetter:
    """Turns texts into patches. Not for use by several threads at once.

    Args:
        fonts: The faces to draw with.
    """

    def __init__(self, fonts: Fonts | None = None) -> None:
        self._fonts = fonts if fonts is not None else Fonts()
        self._patches: ByteCache[TextPatch] = ByteCache(_PATCH_BYTES)
        self._glyphs: ByteCache[TextPatch] = ByteCache(_PATCH_BYTES // 4)
        self._open: dict[tuple[Face, int], ImageFont.FreeTypeFont] = {}

    def line(
        self,
        text: str,
        size_px: int,
        *,
        bold: bool = False,
        fallback: str | None = None,
        max_width: int | None = None,
    ) -> TextPatch:
        """Set one line.

        Args:
            text: Any Unicode text; composed (NFC) and stripped first.
            size_px: Pixels per em.
            bold: Heavier face, where the family has one.
            fallback: ASCII text shown instead if ``text`` cannot be drawn properly.
            max_width: Longest advance in pixels; a longer text ends in an ellipsis.
        """
        key = (text, size_px, bold, fallback, max_width)
        patch = self._patches.get(key)
        if patch is None:
            patch = self._set(text, fallback, size_px, bold, max_width)
            self._patches.put(key, patch, patch.alpha.nbytes)
        return patch

    def wrap(
        self, text: str, size_px: int, max_width: int, max_lines: int, *, bold: bool = False
    ) -> list[TextPatch]:
        """Set a text in lines of at most ``max_width`` pixels, broken at spaces.

        What does not fit into ``max_lines`` ends in an ellipsis.
        """
        words, lines = text.split(), list[str]()
        while words and len(lines) < max_lines - 1:
            taken = 1
            while taken < len(words) and self._fits(words[: taken + 1], size_px, bold, max_width):
                taken += 1
            lines.append(" ".join(words[:taken]))
            words = words[taken:]
        if words:
            lines.append(" ".join(words))
        return [self.line(one, size_px, bold=bold, max_width=max_width) for one in lines]

    def _fits(self, words: Sequence[str], size_px: int, bold: bool, max_width: int) -> bool:
        return self.line(" ".join(words), size_px, bold=bold).advance <= max_width

    def _drawable(self, text: str, fallback: str | None, bold: bool) -> str:
        for candidate in (text, fallback):
            composed = unicodedata.normalize("NFC", (candidate or "")[:_MAX_CHARACTERS]).strip()
            visible = not all(c.isspace() or is_invisible(c) for c in composed)
            if visible and self._runs(composed, bold) is not None:
                return composed
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
        return "".join(c for c in plain if c.isprintable()).strip() or "-"

    def _runs(self, text: str, bold: bool) -> list[_Run] | None:
        """Pieces of one face each, or ``None`` where some character has no face."""
        whole = self._fonts.face_for(text, bold=bold)
        if whole is not None:
            return [_Run(text, whole)]
        if is_right_to_left(text):
            return None  # pieces would have to change places; a code is safer than a wrong order
        runs: list[_Run] = []
        for cluster in clusters(text):
            face = self._fonts.face_for(cluster, bold=bold)
            if face is None:
                return None
            if runs and (runs[-1].face == face or cluster.isspace()):
                runs[-1] = _Run(runs[-1].text + cluster, runs[-1].face)
            else:
                runs.append(_Run(cluster, face))
        return runs

    def _set(
        self, text: str, fallback: str | None, size_px: int, bold: bool, max_width: int | None
    ) -> TextPatch:
        shown = self._drawable(text, fallback, bold)
        patch = self._compose(shown, size_px, bold)
        if max_width is None or patch.advance <= max_width:
            return patch
        if self._runs(shown + self._ellipsis(bold), bold) is None:
            shown = self._drawable(fallback or "", None, bold)
        return self._shortened(shown, size_px, bold, max_width)

    def _shortened(self, text: str, size_px: int, bold: bool, max_width: int) -> TextPatch:
        best = self._compose(text, size_px, bold)
        if best.advance <= max_width:
            return best
        pieces = clusters(text)
        few, many = 0, len(pieces) - 1
        shortest = self._compose(self._ellipsis(bold), size_px, bold)
        best = shortest
        while few <= many:
            middle = (few + many) // 2
            start = "".join(pieces[:middle]).rstrip()
            trial = self._compose(start + shortest.text, size_px, bold)
            if trial.advance <= max_width:
                best, few = trial, middle + 1
            else:
                many = middle - 1
        return best

    def _ellipsis(self, bold: bool) -> str:
        return "…" if self._runs("…", bold) is not None else "..."

    def _compose(self, text: str, size_px: int, bold: bool) -> TextPatch:
        if _NUMBER_CHARACTERS.issuperset(text):
            parts = [self._glyph(character, size_px, bold) for character in text]
        else:
            parts = [self._shaped(run, size_px) for run in self._runs(text, bold) or ()]
        return _side_by_side(text, parts)

    def _glyph(self, character: str, size_px: int, bold: bool) -> TextPatch:
        key = (character, size_px, bold)
        patch = self._glyphs.get(key)
        if patch is None:
            runs = self._runs(character, bold) or ()
            patch = _side_by_side(character, [self._shaped(run, size_px) for run in runs])
            self._glyphs.put(key, patch, patch.alpha.nbytes)
        return patch

    def _shaped(self, run: _Run, size_px: int) -> TextPatch:
        font = self._font(run.face, size_px)
        left, top, right, bottom = (round(edge) for edge in font.getbbox(run.text, anchor="ls"))
        picture = Image.new("L", (max(1, right - left), max(1, bottom - top)))
        drawing = ImageDraw.Draw(picture)
        drawing.text((-left, -top), run.text, fill=255, font=font, anchor="ls")
        advance = round(font.getlength(run.text))
        return TextPatch(run.text, np.asarray(picture), left, top, advance)

    def _font(self, face: Face, size_px: int) -> ImageFont.FreeTypeFont:
        key = (face, size_px)
        if key not in self._open:
            if len(self._open) >= 48:
                self._open.clear()
            self._open[key] = load_face(face, size_px, shaping=self._fonts.shaping)
        return self._open[key]


def clusters(text: str) -> list[str]:
    """Pieces that must not be torn apart: a letter with its marks, joined consonants."""
    found: list[str] = []
    for character in text:
        mark = unicodedata.category(character)[0] == "M" or is_invisible(character)
        if found and (mark or _joins_next(found[-1])):
            found[-1] += character
        else:
            found.append(character)
    return found


def _joins_next(cluster: str) -> bool:
    visible = cluster.rstrip("\u200c\u200d")
    if len(visible) < len(cluster):
        return True
    return bool(visible) and unicodedata.combining(visible[-1]) == _VIRAMA_CLASS


def _side_by_side(text: str, parts: Sequence[TextPatch]) -> TextPatch:
    """Parts one after another on one baseline."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return TextPatch(text, np.zeros((1, 1), np.uint8), 0, 0, 0)
    pens = np.concatenate(([0], np.cumsum([part.advance for part in parts])))
    places = [(int(pen) + part.left, part.top) for pen, part in zip(pens, parts, strict=False)]
    left, top = min(x for x, _ in places), min(y for _, y in places)
    shapes = [part.alpha.shape for part in parts]
    right = max(x + shape[1] for (x, _), shape in zip(places, shapes, strict=True))
    bottom = max(y + shape[0] for (_, y), shape in zip(places, shapes, strict=True))
    alpha = np.zeros((bottom - top, right - left), np.uint8)
    for part, (x, y) in zip(parts, places, strict=True):
        height, width = part.alpha.shape
        spot = alpha[y - top : y - top + height, x - left : x - left + width]
        np.maximum(spot, part.alpha, out=spot)
    return TextPatch(text, alpha, left, top, int(pens[-1]))
