from __future__ import annotations

from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from overlay_for_tests import write_font

from edge.overlay.glyph_coverage import FontFileError, count_faces, read_coverage


def covered(path: Path, face: int = 0) -> set[int]:
    coverage = read_coverage(path, face)
    return {
        code
        for first, last in zip(coverage.first, coverage.last, strict=True)
        for code in range(int(first), int(last) + 1)
    }


@pytest.mark.parametrize(
    "characters",
    [
        [0x41],
        [0x41, 0x42, 0x44, 0x100, 0x915, 0xAC00, 0xFFFD],
        [0x20, *range(0x900, 0x980), 0x1F600, 0x20000, 0x20002],
    ],
    ids=["one", "basic plane: format 4", "beyond it: format 12"],
)
def test_coverage_is_the_character_map(tmp_path: Path, characters: list[int]) -> None:
    font = write_font(tmp_path / "made.ttf", characters)
    assert covered(font) == set(characters)
    coverage = read_coverage(font)
    assert all(coverage.has(code) for code in characters)
    assert not coverage.has(0x43)
    assert not coverage.has(max(characters) + 1)
    assert not coverage.has(0)


def test_script_tags_come_from_the_substitution_rules(tmp_path: Path) -> None:
    rules = "languagesystem dev2 dflt; feature half { sub g00915 by g00916; } half;"
    with_rules = write_font(tmp_path / "with.ttf", [0x915, 0x916], rules)
    without = write_font(tmp_path / "without.ttf", [0x915, 0x916])
    assert read_coverage(with_rules).script_tags == {"dev2"}
    assert read_coverage(without).script_tags == frozenset()


def test_installed_fonts_are_read_as_font_tools_reads_them() -> None:
    """A sample of real fonts, whose maps have ranges, deltas and glyph arrays of all kinds."""
    folder = Path("/usr/share/fonts")
    files = sorted(path for path in folder.rglob("*.tt?") if "CJK" not in path.name)[::17]
    if not files:
        pytest.skip("no fonts are installed: apt-get install fonts-noto-core")
    for path in files:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            expected = {code for code, name in font.getBestCmap().items() if name != ".notdef"}
        assert covered(path) == expected, path


def test_collection_faces_are_counted() -> None:
    collections = sorted(Path("/usr/share/fonts").rglob("NotoSansCJK-Regular.ttc"))
    if not collections:
        pytest.skip("no font collection is installed: apt-get install fonts-noto-cjk")
    assert count_faces(collections[0]) > 4
    assert read_coverage(collections[0], 1).has(ord("흑"))


@pytest.mark.parametrize("content", [b"", b"not a font", b"\x00\x01\x00\x00" + bytes(40)])
def test_what_is_no_font_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.ttf"
    path.write_bytes(content)
    with pytest.raises(FontFileError):
        read_coverage(path)


def test_a_font_cut_short_anywhere_is_refused_or_read_but_never_crashes(tmp_path: Path) -> None:
    whole = write_font(tmp_path / "whole.ttf", [0x41, 0x42, 0x915]).read_bytes()
    cut = tmp_path / "cut.ttf"
    refused = 0
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        try:
            assert covered(cut) <= {0x41, 0x42, 0x915}
        except FontFileError:
            refused += 1
    assert refused > 10
