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
    assert "A NEV >99%" in one_line(found, abstain_below=0.5)
    text = summary("a.jpg", found, validated=True, abstain_below=0.5)
    assert "  >99%  NEV" in text and "   <1%  MEL" in text
    assert "100" not in text and " 0 %" not in text and " 0%" not in text


def test_an_unvalidated_model_is_a_mark_on_the_classes_and_no_reason_of_a_failure():
    found = answer(ClassProbability("NEV", 0.6), reasons=(UNVALIDATED, "CMYK converted to sRGB"))
    assert UNVALIDATED not in one_line(found, abstain_below=0.5)
    text = summary("a.jpg", found, validated=False, abstain_below=0.5)
    assert UNVALIDATED not in text and "NEV (unvalidated)" in text
    assert "\n  CMYK converted to sRGB\n" in text


def test_a_redness_that_could_not_be_measured_is_unknown_with_its_reason():
    found = answer(ClassProbability("NEV", 0.6))
    glare = "most of the region is glare or clipped"
    colour = RegionColour(None, None, None, None, None, None, None, None, 0, False, glare)
    region = replace(found.regions[0], colour=colour)  # type: ignore[index]
    text = summary("a.jpg", replace(found, regions=(region,)), validated=True, abstain_below=0.5)
    assert f"erythema index against the skin around it unknown ({glare})" in text


def test_the_limit_of_naming_is_said_once_however_many_regions_abstain():
    found = result(frame(), regions=4)  # B and D abstain
    line = "A NEV 60%, B uncertain (likeliest 60%), C NEV 60%, D uncertain (likeliest 60%)"
    assert one_line(found, abstain_below=0.65) == f"{line}; 65% are needed to name a class  5 ms"
    text = summary("a.jpg", found, validated=True, abstain_below=0.65)
    assert "\n  B  uncertain (likeliest 60%)  0.3 % of the picture" in text
    assert text.count("65%") == 1


def test_no_limit_is_said_where_every_class_is_named():
    found = answer(ClassProbability("NEV", 0.6))
    assert one_line(found, abstain_below=0.5) == "A NEV 60%  5 ms"
    assert "needed" not in summary("a.jpg", found, validated=True, abstain_below=0.5)


def test_an_answer_just_under_the_limit_looks_under_it():
    found = result(frame(), regions=2)
    close = replace(found.regions[1], classes=(ClassProbability("NEV", 0.5196),))  # type: ignore[index]
    text = one_line(replace(found, regions=(close,)), abstain_below=0.52)
    assert text.startswith("B uncertain (likeliest 51.96%); 52% are needed")
