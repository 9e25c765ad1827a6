"""What is printed about Results, without any analysis."""

from __future__ import annotations

from dataclasses import replace

from shots_for_tests import frame, result

from edge.commands.batch_report import one_line, summary
from edge.result import UNVALIDATED, ClassProbability, RegionColour, Result


def answer(*classes: ClassProbability, reasons: tuple[str, ...] = ()) -> Result:
    whole = result(frame())
    region = replace(whole.regions[0], classes=classes)  # type: ignore[index]
    return replace(whole, regions=(region,), reasons=reasons)


def test_no_class_is_certain_or_impossible():
    found = answer(ClassProbability("NEV", 0.9991), ClassProbability("MEL", 0.0009))
    assert "A NEV >99%" in one_line(found)
    text = summary("a.jpg", found, validated=True)
    assert "  >99%  NEV" in text and "   <1%  MEL" in text
    assert "100" not in text and " 0 %" not in text and " 0%" not in text


def test_an_unvalidated_model_is_a_mark_on_the_classes_and_no_reason_of_a_failure():
    found = answer(ClassProbability("NEV", 0.6), reasons=(UNVALIDATED, "CMYK converted to sRGB"))
    assert UNVALIDATED not in one_line(found)
    text = summary("a.jpg", found, validated=False)
    assert UNVALIDATED not in text and "NEV (unvalidated)" in text
    assert "\n  CMYK converted to sRGB\n" in text


def test_a_redness_that_could_not_be_measured_is_unknown_with_its_reason():
    found = answer(ClassProbability("NEV", 0.6))
    glare = "most of the region is glare or clipped"
    colour = RegionColour(None, None, None, None, None, None, None, None, 0, False, glare)
    region = replace(found.regions[0], colour=colour)  # type: ignore[index]
    text = summary("a.jpg", replace(found, regions=(region,)), validated=True)
    assert f"erythema index against the skin around it unknown ({glare})" in text
