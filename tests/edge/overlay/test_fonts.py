from __future__ import annotations

import logging
from pathlib import Path

import pytest
from overlay_for_tests import write_font

from edge.overlay.fonts import BUILT_IN, Fonts, needs_shaping

HINDI = [0x20, *range(0x900, 0x980)]
HINDI_RULES = "languagesystem dev2 dflt; feature half { sub g00915 by g00916; } half;"


def chosen(fonts: Fonts, text: str, *, bold: bool = False) -> str | None:
    face = fonts.face_for(text, bold=bold)
    return None if face is None else "built in" if face.path is None else face.path.name


def test_nothing_is_looked_for_before_the_first_text(tmp_path: Path) -> None:
    folder = tmp_path / "fonts"
    fonts = Fonts([folder])
    folder.mkdir()
    write_font(folder / "Late-Regular.ttf", [0x416])
    assert chosen(fonts, "Ж") == "Late-Regular.ttf"


def test_plain_sans_comes_before_others_and_weight_after_family(tmp_path: Path) -> None:
    for name in ("Aaa-Bold", "NotoSans-Regular", "NotoSansMono-Regular", "DejaVuSans-Bold"):
        write_font(tmp_path / f"{name}.ttf", [0x41])
    fonts = Fonts([tmp_path])
    assert chosen(fonts, "A") == "NotoSans-Regular.ttf"
    assert chosen(fonts, "A", bold=True) == "NotoSans-Regular.ttf"
    write_font(tmp_path / "NotoSans-Bold.ttf", [0x41])
    assert chosen(Fonts([tmp_path]), "A", bold=True) == "NotoSans-Bold.ttf"
    assert chosen(Fonts([tmp_path]), "A") == "NotoSans-Regular.ttf"


def test_a_font_without_rules_for_a_script_does_not_draw_it(tmp_path: Path) -> None:
    """Some fonts have all Devanagari letters and no rules: they would set them in typing order."""
    write_font(tmp_path / "NotoSans-Regular.ttf", HINDI)
    assert chosen(Fonts([tmp_path], shaping=True), "कि") is None
    write_font(tmp_path / "Zzz-Regular.ttf", HINDI, HINDI_RULES)
    assert chosen(Fonts([tmp_path], shaping=True), "कि") == "Zzz-Regular.ttf"


def test_without_shaping_complex_scripts_have_no_face_and_others_do(tmp_path: Path) -> None:
    write_font(tmp_path / "All-Regular.ttf", [*HINDI, 0xE9, 0x301, 0x41, 0xD751], HINDI_RULES)
    fonts = Fonts([tmp_path], shaping=False)
    assert chosen(fonts, "क") is None
    assert chosen(fonts, "A\u0301") is None
    assert chosen(fonts, "é") == "All-Regular.ttf"
    assert chosen(fonts, "흑") == "All-Regular.ttf"


@pytest.mark.parametrize(
    ("text", "needed"),
    [("Grüße", False), ("흑색종", False), ("黑色素瘤", False), ("Ж", False)]
    + [("क", True), ("سر", True), ("q\u0303", True), ("ก", True), ("a\u200db", True)],
)
def test_which_texts_need_shaping(text: str, needed: bool) -> None:
    assert needs_shaping(text) is needed


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "\ue000", "\U0010ffff", "\ud800"])
def test_what_cannot_be_text_has_no_face(tmp_path: Path, text: str) -> None:
    write_font(tmp_path / "Any-Regular.ttf", [0x41, 0x61, 0x62, 0x0A, 0xE000])
    assert Fonts([tmp_path], shaping=True).face_for(text) is None


def test_damaged_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "NotoSans-Regular.ttf").write_bytes(b"not a font")
    (tmp_path / "NotoSansCJK-Regular.ttc").write_bytes(b"ttcf")
    write_font(tmp_path / "Other-Regular.ttf", [0x416])
    assert chosen(Fonts([tmp_path]), "Ж") == "Other-Regular.ttf"


def test_without_any_font_ascii_stays_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fonts = Fonts([tmp_path / "missing"])
    with caplog.at_level(logging.WARNING):
        assert fonts.face_for("MEL 41%") == BUILT_IN
        assert fonts.face_for("흑색종") is None
        assert fonts.face_for("é") is None
    said = [record.getMessage() for record in caplog.records if "no fonts" in record.message]
    assert len(said) == 1
    assert "apt-get install" in said[0]


def test_korean_and_japanese_get_their_own_drawing_of_a_collection(noto: Fonts) -> None:
    korean, japanese = noto.face_for("흑색종"), noto.face_for("メラノーマ")
    assert korean is not None and japanese is not None
    assert korean.path == japanese.path
    assert korean.index != japanese.index
