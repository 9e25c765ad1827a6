"""Finds the system's fonts and chooses one that can really draw a text.

Folders are walked at the first text, never at import, and a file's tables are read only when a
text asks for a character that no better font has. Fonts are looked for in the known folders: a
device image often has no ``fc-list``.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

from edge.overlay.glyph_coverage import (
    FontFileError,
    GlyphCoverage,
    count_faces,
    read_coverage,
)

DEBIAN_PACKAGES = "fonts-noto-core fonts-noto-cjk libfribidi0"
"""What a Debian system needs for Latin, Korean and Hindi, and for shaping them."""

_log = logging.getLogger(__name__)

_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")
_MAX_FILES = 4000
_PREFERRED = (
    "NotoSans-",
    "NotoSansDevanagari-",
    "NotoSansArabic-",
    "NotoSansCJK-",
    "NotoSans",
    "DejaVuSans",
    "NanumGothic",
    "Lohit-Devanagari",
)
"""Beginnings of file names, best first: plain sans-serif faces that stay clear at 16 pixels."""

_UNSUITABLE = ("Emoji", "Italic", "Oblique", "Condensed", "ExtraLight", "Mono", "Display", "Math")
_REGULAR = ("-Regular", "-Book", "-Medium")
_BOLD = ("-Bold", "-SemiBold")

_SHAPED_SCRIPTS: tuple[tuple[int, int, frozenset[str]], ...] = (
    (0x0600, 0x06FF, frozenset({"arab"})),
    (0x0700, 0x074F, frozenset({"syrc"})),
    (0x0750, 0x077F, frozenset({"arab"})),
    (0x0780, 0x07BF, frozenset({"thaa"})),
    (0x08A0, 0x08FF, frozenset({"arab"})),
    (0x0900, 0x097F, frozenset({"dev3", "dev2", "deva"})),
    (0x0980, 0x09FF, frozenset({"bng3", "bng2", "beng"})),
    (0x0A00, 0x0A7F, frozenset({"gur3", "gur2", "guru"})),
    (0x0A80, 0x0AFF, frozenset({"gjr3", "gjr2", "gujr"})),
    (0x0B00, 0x0B7F, frozenset({"ory3", "ory2", "orya"})),
    (0x0B80, 0x0BFF, frozenset({"tml3", "tml2", "taml"})),
    (0x0C00, 0x0C7F, frozenset({"tel3", "tel2", "telu"})),
    (0x0C80, 0x0CFF, frozenset({"knd3", "knd2", "knda"})),
    (0x0D00, 0x0D7F, frozenset({"mlm3", "mlm2", "mlym"})),
    (0x0D80, 0x0DFF, frozenset({"sinh"})),
    (0x0F00, 0x0FFF, frozenset({"tibt"})),
    (0x1000, 0x109F, frozenset({"mym2", "mymr"})),
    (0x1780, 0x17FF, frozenset({"khmr"})),
)
"""Blocks whose letters join or change order, and the OpenType scripts of which a font must know
one; a font with bare glyphs and no rules would draw them wrong (OpenType script tag registry)."""

_SHAPED_WITHOUT_RULES = ((0x0E00, 0x0EFF), (0x1100, 0x11FF), (0x1F1E6, 0x1F1FF))
"""Thai, Lao and conjoining jamo: the shaper's own knowledge suffices, but the shaper is needed."""

_REPLACEMENT = "\ufffd"
"""Stands for a character that was lost before the text came here; fonts draw a question mark."""

_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI"})


@dataclass(frozen=True)
class Face:
    """One face of one font file; ``path`` ``None`` is Pillow's built-in ASCII font."""

    path: Path | None
    index: int = 0


BUILT_IN = Face(None)


def can_shape() -> bool:
    """True where Pillow has libraqm, HarfBuzz and FriBiDi (a system library on Linux)."""
    return bool(features.check("raqm"))


def is_invisible(character: str) -> bool:
    """True for joiners, direction marks and variation selectors: they need no glyph."""
    return unicodedata.category(character) == "Cf" or 0xFE00 <= ord(character) <= 0xFE0F


def is_right_to_left(text: str) -> bool:
    """True where any character asks for right-to-left layout."""
    return any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text)


def needs_shaping(text: str) -> bool:
    """True where drawing one glyph per character, left to right, would be wrong."""
    return any(
        unicodedata.category(c)[0] == "M"
        or unicodedata.category(c) == "Cf"
        or unicodedata.bidirectional(c) in _RIGHT_TO_LEFT
        or _script_tags_for(ord(c)) is not None
        or any(low <= ord(c) <= high for low, high in _SHAPED_WITHOUT_RULES)
        for c in text
    )


def font_folders() -> tuple[Path, ...]:
    """Where fonts are looked for: the system's, the administrator's and the user's folders."""
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return (
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        Path(data_home).expanduser() / "fonts",
        Path("~/.fonts").expanduser(),
    )


class Fonts:
    """The faces of one machine. Not for use by several threads at once.

    Args:
        folders: Where to look, by default :func:`font_folders`.
        shaping: Whether complex scripts can be laid out, by default :func:`can_shape`.
    """

    def __init__(
        self, folders: Sequence[Path] | None = None, *, shaping: bool | None = None
    ) -> None:
        self._folders = tuple(folders) if folders is not None else None
        self._shaping = shaping
        self._files: dict[bool, tuple[Path, ...]] | None = None
        self._coverage: dict[Face, GlyphCoverage | None] = {}
        self._chosen: dict[tuple[str, bool], Face | None] = {}

    @property
    def shaping(self) -> bool:
        """True where complex scripts can be laid out."""
        if self._shaping is None:
            self._shaping = can_shape()
            if not self._shaping:
                _log.warning(
                    "text shaping is not available: labels in scripts that need it are shown as "
                    "their codes; on Debian type: apt-get install libfribidi0"
                )
        return self._shaping

    def face_for(self, text: str, *, bold: bool = False) -> Face | None:
        """The best face that has every character of ``text`` and knows its scripts.

        Returns:
            ``None`` where no single face can draw the whole text.
        """
        key = (text, bold)
        if key not in self._chosen:
            if len(self._chosen) >= 2048:
                self._chosen.clear()
            self._chosen[key] = self._search(text, bold)
        return self._chosen[key]

    def _search(self, text: str, bold: bool) -> Face | None:
        if _REPLACEMENT in text:
            return None
        if any(unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs", "Zl", "Zp") for c in text):
            return None
        if needs_shaping(text) and not self.shaping:
            return None
        for path in self._files_best_first(bold):
            for face in self._faces(path, text):
                if self._draws(face, text):
                    return face
        return BUILT_IN if text.isascii() else None

    def _files_best_first(self, bold: bool) -> tuple[Path, ...]:
        if self._files is None:
            folders = self._folders if self._folders is not None else font_folders()
            found = tuple(_walk(folders))
            self._files = {
                weight: tuple(sorted(found, key=lambda path: _rank(path, weight)))
                for weight in (False, True)
            }
            if not found:
                _log.warning(
                    "no fonts in %s: labels are shown as ASCII codes; on Debian type: "
                    "apt-get install %s",
                    ", ".join(str(folder) for folder in folders),
                    DEBIAN_PACKAGES,
                )
        return self._files[bold]

    def _faces(self, path: Path, text: str) -> Iterator[Face]:
        if path.suffix.lower() not in (".ttc", ".otc"):
            yield Face(path)
            return
        try:
            count = count_faces(path)
        except (FontFileError, OSError) as error:
            _log.debug("font skipped: %s", error)
            return
        region = _east_asian_region(text)
        faces = [Face(path, index) for index in range(count)]
        yield from sorted(faces, key=lambda face: not _family_name(face).endswith(region))

    def _draws(self, face: Face, text: str) -> bool:
        coverage = self._coverage_of(face)
        if coverage is None:
            return False
        for character in text:
            if is_invisible(character):
                continue
            if not coverage.has(ord(character)):
                return False
            tags = _script_tags_for(ord(character))
            if tags is not None and not (tags & coverage.script_tags):
                return False
        return True

    def _coverage_of(self, face: Face) -> GlyphCoverage | None:
        if face.path is None:
            return None
        if face not in self._coverage:
            try:
                self._coverage[face] = read_coverage(face.path, face.index)
            except (FontFileError, OSError) as error:
                _log.debug("font skipped: %s", error)
                self._coverage[face] = None
        return self._coverage[face]


def load_face(face: Face, size_px: int, *, shaping: bool) -> ImageFont.FreeTypeFont:
    """Open a face at ``size_px`` pixels per em. FreeType maps the file; it is not read whole."""
    engine = ImageFont.Layout.RAQM if shaping else ImageFont.Layout.BASIC
    if face.path is None:
        font = ImageFont.load_default(size_px)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise OSError("Pillow was built without FreeType: no text can be drawn")
        return font
    return ImageFont.truetype(str(face.path), size_px, index=face.index, layout_engine=engine)


def _walk(folders: Sequence[Path]) -> Iterator[Path]:
    found = 0
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                if name.lower().endswith(_SUFFIXES):
                    yield Path(place) / name
                    found += 1
                    if found >= _MAX_FILES:
                        return


def _rank(path: Path, bold: bool) -> tuple[bool, int, int, str]:
    """Family before weight: a regular Noto Sans is better than some other font's bold."""
    name, stem = path.name, path.stem
    unsuitable = any(word in name for word in _UNSUITABLE)
    family = next((i for i, start in enumerate(_PREFERRED) if name.startswith(start)), 99)
    is_bold, is_regular = stem.endswith(_BOLD), stem.endswith(_REGULAR) or "-" not in stem
    wanted, other = (is_bold, is_regular) if bold else (is_regular, is_bold)
    return unsuitable, family, 0 if wanted else 1 if other else 2, str(path)


@lru_cache(maxsize=64)
def _family_name(face: Face) -> str:
    font = ImageFont.truetype(str(face.path), 16, index=face.index)
    return font.getname()[0] or ""


def _east_asian_region(text: str) -> str:
    """Which drawing of shared ideographs a text wants: the end of Noto CJK's family names."""
    if any(0x1100 <= ord(c) <= 0x11FF or 0x3130 <= ord(c) <= 0x318F for c in text):
        return "KR"
    if any(0xAC00 <= ord(c) <= 0xD7AF for c in text):
        return "KR"
    return "JP" if any(0x3040 <= ord(c) <= 0x30FF for c in text) else "SC"


def _script_tags_for(code_point: int) -> frozenset[str] | None:
    for low, high, tags in _SHAPED_SCRIPTS:
        if low <= code_point <= high:
            return tags
    return None
