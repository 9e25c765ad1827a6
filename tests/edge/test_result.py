"""The Result's own rules and its JSON, without any analysis."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from shots_for_tests import frame, result

from edge.result import ANSWERED, STATUS_WORDS, RegionColour, SkinTone, letters, percent


def test_letters_go_on_after_z():
    assert [letters(i) for i in (0, 1, 25, 26, 27, 51, 52, 701, 702)] == [
        "A", "B", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA",
    ]  # fmt: skip


def test_only_an_answer_carries_regions():
    answer = result(frame())
    with pytest.raises(ValueError, match="must not carry regions"):
        replace(answer, status="model_refused")
    with pytest.raises(ValueError, match="must carry regions"):
        replace(answer, regions=None)
    assert replace(answer, status="poor_quality", regions=None).to_json_dict()["regions"] is None


def test_every_status_has_words_for_the_screen():
    assert set(ANSWERED) < set(STATUS_WORDS)
    assert len(set(STATUS_WORDS.values())) == len(STATUS_WORDS)


def test_json_never_holds_what_json_cannot_say():
    answer = result(frame())
    nan = float("nan")
    colour = RegionColour(nan, 1.23456, nan, nan, None, None, None, None, 0, False, "glare")
    region = replace(answer.regions[0], colour=colour)
    document = replace(answer, regions=(region,)).to_json_dict()
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    assert document["regions"][0]["colour"]["ei"] is None
    assert document["regions"][0]["colour"]["a_star"] == 1.23


def test_nothing_is_minus_zero():
    answer = result(frame())
    colour = RegionColour(*[-0.0004] * 8, 0, False, "grey")
    region = replace(answer.regions[0], colour=colour)
    tone = SkinTone(ita_deg=-0.04, group="brown", skin_px=9)
    text = json.dumps(replace(answer, regions=(region,), skin_tone=tone).to_json_dict())
    assert '"ei": 0.0' in text and "-0.0" not in text


def test_labels_text_stays_out_of_the_json():
    document = replace(result(frame()), label_text={"NEV": "nevus"}).to_json_dict()
    assert "label_text" not in document and "nevus" not in json.dumps(document)


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "<1%"),
        (0.004, "<1%"),
        (0.005, "<1%"),
        (0.006, "1%"),
        (0.414, "41%"),
        (0.994, "99%"),
        (1.0, ">99%"),
    ],
)
def test_percentages_never_claim_certainty(probability: float, text: str) -> None:
    assert percent(probability) == text
