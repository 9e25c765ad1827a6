from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edge.overlay.fonts import Fonts, load_face
from edge.overlay.text import Typesetter, clusters

SIZE = 32


@pytest.fixture(scope="module")
def typesetter(noto: Fonts) -> Typesetter:
    return Typesetter(noto)


def test_devanagari_conjuncts_are_joined(typesetter: Typesetter) -> None:
    parts = sum(typesetter.line(letter, SIZE).advance for letter in "कष")
    assert typesetter.line("क्ष", SIZE).advance < 0.7 * parts


def test_the_devanagari_vowel_i_stands_before_its_consonant(
    noto: Fonts, typesetter: Typesetter
) -> None:
    """Typed after the consonant, drawn before it: the left edges of all these look the same."""
    syllables = ["कि", "पि", "गि", "नि"]
    shaped = [typesetter.line(text, SIZE).alpha for text in syllables]
    as_typed = [_without_shaping(noto, text) for text in syllables]
    assert min(_left_edges_alike(shaped)) > 0.95
    assert max(_left_edges_alike(as_typed)) < 0.9


def test_arabic_letters_join(typesetter: Typesetter, noto: Fonts) -> None:
    if noto.face_for("سل") is None:
        pytest.skip("no Arabic font is installed")
    alone = sum(typesetter.line(letter, SIZE).advance for letter in "سل")
    assert typesetter.line("سل", SIZE).advance < 0.9 * alone


def test_marks_stand_on_their_letter(typesetter: Typesetter) -> None:
    """q with a tilde has no code point of its own."""
    plain, marked = typesetter.line("q", SIZE), typesetter.line("q\u0303", SIZE)
    assert marked.advance == plain.advance
    assert marked.top < plain.top
    assert marked.text == "q\u0303"


@pytest.mark.parametrize("text", ["흑색종", "Kératose séborrhéique", "Ắ"])
def test_composed_and_decomposed_text_look_the_same(typesetter: Typesetter, text: str) -> None:
    one = typesetter.line(text, SIZE)
    other = typesetter.line(unicodedata.normalize("NFD", text), SIZE)
    assert one.text == other.text == text
    np.testing.assert_array_equal(one.alpha, other.alpha)


def test_hangul_syllables_are_whole(typesetter: Typesetter) -> None:
    patch = typesetter.line("흑색종", SIZE)
    assert patch.advance == pytest.approx(3 * 0.92 * SIZE, rel=0.05)


def test_a_text_in_two_fonts_stays_on_one_baseline(typesetter: Typesetter) -> None:
    both = typesetter.line("मेलेनोमा (MEL)", SIZE)
    hindi, latin = typesetter.line("मेलेनोमा", SIZE), typesetter.line("(MEL)", SIZE)
    assert both.text == "मेलेनोमा (MEL)"
    assert hindi.advance + latin.advance < both.advance < hindi.advance + latin.advance + SIZE
    assert both.top == min(hindi.top, latin.top)


@pytest.mark.parametrize("text", ["\ue000 nevus", "a\nb", "\U0001d173", "\u00ad", "\ud800", ""])
def test_what_cannot_be_drawn_becomes_its_code(typesetter: Typesetter, text: str) -> None:
    assert typesetter.line(text, SIZE, fallback="NEV").text == "NEV"


def test_without_shaping_hindi_becomes_its_code_and_korean_stays(noto: Fonts) -> None:
    plain = Typesetter(Fonts(shaping=False))
    assert plain.line("मेलेनोमा", SIZE, fallback="MEL").text == "MEL"
    assert plain.line("흑색종", SIZE, fallback="MEL").text == "흑색종"
    assert plain.line("é", SIZE, fallback="E").text == "é"


def test_without_fonts_ascii_is_drawn_all_the_same(tmp_path: Path) -> None:
    bare = Typesetter(Fonts([tmp_path]))
    patch = bare.line("흑색종", SIZE, fallback="MEL")
    assert patch.text == "MEL"
    assert (patch.alpha > 128).sum() > 100
    assert bare.line("Müller", SIZE).text == "Muller"


def test_no_box_is_ever_drawn_for_a_missing_glyph(tmp_path: Path) -> None:
    """The drawing of a fallback is the drawing of the code and nothing else."""
    bare = Typesetter(Fonts([tmp_path]))
    np.testing.assert_array_equal(
        bare.line("黑色素瘤", SIZE, fallback="MEL").alpha, bare.line("MEL", SIZE).alpha
    )


@pytest.mark.parametrize(
    "text",
    ["Seborrhoeic keratosis of the very long kind", "सेबोरहाइक केराटोसिस क्षि", "지루각화증의 이름"],
)
def test_long_texts_end_in_an_ellipsis(typesetter: Typesetter, text: str) -> None:
    whole = typesetter.line(text, SIZE).advance
    for width in (whole - 1, whole // 2, 3 * SIZE):
        short = typesetter.line(text, SIZE, max_width=width)
        assert short.advance <= width
        assert short.text.endswith("…")
        start = short.text[:-1]
        assert text.startswith(start)
        assert [*clusters(start)] == clusters(text)[: len(clusters(start))]
    assert typesetter.line(text, SIZE, max_width=whole).text == text


def test_a_long_right_to_left_text_becomes_its_code(typesetter: Typesetter, noto: Fonts) -> None:
    """Where its font has no ellipsis; a text cut without one would read as a whole."""
    text = "سرطان الجلد الذي لا ينتهي"
    if noto.face_for(text) is None:
        pytest.skip("no Arabic font is installed")
    short = typesetter.line(text, SIZE, fallback="SCC", max_width=3 * SIZE).text
    in_one_font = short.endswith("…") and noto.face_for(short) is not None
    assert short == "SCC" or in_one_font


def test_clusters_keep_joined_letters_together() -> None:
    assert clusters("क्षि त्वचा") == ["क्षि", " ", "त्व", "चा"]
    assert clusters("q\u0303a") == ["q\u0303", "a"]
    assert clusters("") == []


def test_numbers_are_as_wide_as_each_other(typesetter: Typesetter) -> None:
    """A number that changes must not make the text beside it jump."""
    assert len({typesetter.line(f"{n}{n} ms", SIZE).advance for n in range(10)}) == 1


def test_composed_numbers_look_like_set_ones(noto: Fonts, typesetter: Typesetter) -> None:
    composed = typesetter.line("12.3 ms", SIZE)
    face = noto.face_for("12.3 ms")
    assert face is not None
    font = load_face(face, SIZE, shaping=True)
    assert composed.advance == pytest.approx(font.getlength("12.3 ms"), abs=3)
    assert composed.alpha.sum() == pytest.approx(
        _drawn(font, "12.3 ms").astype(int).sum(), rel=0.05
    )


def test_wrapping_keeps_every_word_and_the_width(typesetter: Typesetter) -> None:
    text = "the picture is too dark: mean luminance 0.004, at least 0.02 is needed"
    lines = typesetter.wrap(text, SIZE, 12 * SIZE, 6)
    assert " ".join(line.text for line in lines) == text
    assert all(line.advance <= 12 * SIZE for line in lines)
    cut = typesetter.wrap(text, SIZE, 12 * SIZE, 2)
    assert len(cut) == 2
    assert cut[-1].text.endswith("…")


def test_a_lost_character_is_not_drawn_as_a_question_mark() -> None:
    """U+FFFD has a glyph in Noto Sans: a question mark in a box."""
    assert ANY.line("na\ufffdvus", 16, fallback="NEV").text == "NEV"
    assert ANY.line("na\ufffdvus", 16).text == "navus"
    assert ANY.line("\ufffd", 16, fallback="\ufffd").text == "-"


@settings(deadline=None, max_examples=30)
@given(text=st.text(max_size=12), width=st.integers(10, 200))
def test_any_text_gives_a_patch_in_its_width(text: str, width: int) -> None:
    patch = ANY.line(text, 16, fallback="CODE", max_width=width)
    assert patch.alpha.dtype == np.uint8
    assert patch.alpha.ndim == 2
    assert patch.text
    assert patch.advance <= max(width, ANY.line("…", 16).advance, ANY.line("...", 16).advance)


ANY = Typesetter()


def _without_shaping(noto: Fonts, text: str) -> NDArray[np.uint8]:
    face = noto.face_for(text)
    assert face is not None
    return _drawn(load_face(face, SIZE, shaping=False), text)


def _drawn(font: object, text: str) -> NDArray[np.uint8]:
    left, top, right, bottom = (round(e) for e in font.getbbox(text, anchor="ls"))
    picture = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(picture).text((-left, -top), text, fill=255, font=font, anchor="ls")
    return np.asarray(picture)


def _left_edges_alike(pictures: list[NDArray[np.uint8]]) -> list[float]:
    """Correlation of the left quarter em of each pair."""
    height = min(len(picture) for picture in pictures)
    edges = [picture[:height, : SIZE // 4].astype(float).ravel() for picture in pictures]
    return [
        float(np.corrcoef(one, other)[0, 1])
        for index, one in enumerate(edges)
        for other in edges[:index]
    ]
