"""What ``dermedge analyze`` says: a line for each input, a summary, and the count at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

from edge.result import (
    DISCLAIMER,
    STATUS_WORDS,
    UNVALIDATED,
    Region,
    RegionColour,
    Result,
    Stage,
    percent,
    percent_below,
)
from edge.sources.files import skipped_in_words

_CLASSES_SHOWN = 3


class Outcome(str, Enum):
    """How an input ended; the values are the words of the count."""

    FOUND = "with regions"
    NOTHING = "nothing found"
    POOR = "poor quality"
    REFUSED = "model refused"
    KEPT = "kept from an earlier run (--overwrite does them again)"
    FAILED = "failed"


OUTCOME_OF_STATUS = {
    "ok": Outcome.FOUND,
    "nothing_found": Outcome.NOTHING,
    "poor_quality": Outcome.POOR,
    "no_live_image": Outcome.POOR,
    "model_refused": Outcome.REFUSED,
    "analysis_failed": Outcome.FAILED,
}


def one_line(result: Result, *, abstain_below: float) -> str:
    """Status, regions with their first class, and the time: for a list of many.

    Args:
        result: What was found.
        abstain_below: Probability below which no class is named.
    """
    words = STATUS_WORDS[result.status].lower()
    if result.regions:
        words = ", ".join(
            f"{region.letter} {_answer(region, abstain_below)}" for region in result.regions
        )
        if any(region.abstained for region in result.regions):
            words += f"; {_naming_needs(abstain_below)}"
    elif result.reasons:
        words += f" ({'; '.join(result.reasons)})"
    total = result.timings_ms.get(Stage.TOTAL)
    return words if total is None else f"{words}  {total:.0f} ms"


def summary(name: str, result: Result, *, validated: bool, abstain_below: float) -> str:
    """Everything a person wants to read about one picture, in a few lines.

    Args:
        name: What the picture is called.
        result: What was found.
        validated: Whether the classifier's manifest says so; else every class is marked.
        abstain_below: Probability below which no class is named.
    """
    width, height = result.frame.size_wh
    lines = [f"{name}, {width}x{height}: {STATUS_WORDS[result.status]}"]
    # Each class says for itself that it is unvalidated.
    lines += [f"  {reason}" for reason in result.reasons if reason != UNVALIDATED]
    for region in result.regions or ():
        answer = _answer(region, abstain_below)
        lines += _region_lines(region, answer, result, "" if validated else " (unvalidated)")
    if any(region.abstained for region in result.regions or ()):
        lines.append(f"  {_naming_needs(abstain_below)}")
    if result.regions_not_classified:
        lines.append(f"  {result.regions_not_classified} smaller regions are not classified")
    tone = result.skin_tone
    if tone is not None and tone.ita_deg is not None:
        lines.append(
            f"  skin tone: ITA {tone.ita_deg:.0f} degrees, {tone.group} ({tone.binning}"
            f"{'' if tone.calibrated else ', camera not calibrated'})"
        )
    lines.append("  time: " + _timings(result))
    for role, engine in result.engines.items():
        lines.append(
            f"  {role}: {engine.name} {engine.version}, {engine.backend} {engine.precision}"
        )
    return "\n".join([*lines, f"  {DISCLAIMER}"])


def is_of_models(result_path: Path, sha256_of_role: Mapping[str, str]) -> bool:
    """Whether a kept Result was made by these models; False where it cannot be read.

    Args:
        result_path: A ``dermedge.result/1`` file.
        sha256_of_role: Hash of the ONNX file of ``segmenter`` and ``classifier``.
    """
    try:
        engines = json.loads(result_path.read_text(encoding="utf-8"))["engines"]
        return {role: engines[role]["model_sha256"] for role in sha256_of_role} == sha256_of_role
    except (OSError, ValueError, LookupError, TypeError):
        return False


def kept_of_others(count: int) -> str:
    """A warning that results of other models stand among those of this run."""
    return (
        f"warning: {count} kept from an earlier run {'was' if count == 1 else 'were'} not made by "
        "this pack's models; --overwrite does what is kept again"
    )


def final_count(
    outcomes: Counter[Outcome], skipped: Counter[str], not_started: int, *, validated: bool
) -> str:
    """``5 files: 2 with regions, 3 poor quality; 1 other file (.txt 1) skipped``."""
    total = sum(outcomes.values())
    parts = [f"{outcomes[outcome]} {outcome.value}" for outcome in Outcome if outcomes[outcome]]
    text = f"{total} file{'' if total == 1 else 's'}"
    text += f": {', '.join(parts)}" if parts else ""
    if not_started:
        text += f"; {not_started} not started"
    if skipped:
        text += f"; {skipped_in_words(skipped)} skipped"
    return f"{text}. {DISCLAIMER}" + ("" if validated else " Classes are unvalidated.")


def _region_lines(region: Region, answer: str, result: Result, mark: str) -> Iterator[str]:
    share = 100.0 * region.area_fraction
    x0, y0, x1, y1 = region.box_xyxy
    yield (
        f"  {region.letter}  {answer}  {share:.1f} % of the picture, "
        f"{x1 - x0}x{y1 - y0} px at ({x0}, {y0})"
    )
    for entry in (region.classes or ())[:_CLASSES_SHOWN]:
        text = result.label_text.get(entry.label, entry.label)
        yield f"       {percent(entry.probability):>4}  {entry.label}  {text}{mark}"
    if region.classified:
        yield f"       erythema index against the skin around it {_redness(region.colour)}"


def _redness(colour: RegionColour | None) -> str:
    if colour is None or colour.delta_ei is None:
        return f"unknown ({colour.reason})" if colour is not None and colour.reason else "unknown"
    reliable = "" if colour.erythema_reliable else f" (not reliable: {colour.reason})"
    return f"{colour.delta_ei:+.1f}{reliable}"


def _answer(region: Region, abstain_below: float) -> str:
    if not region.classified or not region.classes:
        return "not classified"
    first = region.classes[0]
    if region.abstained:
        return f"uncertain (likeliest {percent_below(first.probability, abstain_below)})"
    return f"{first.label} {percent(first.probability)}"


def _naming_needs(abstain_below: float) -> str:
    """What the likeliest class fell short of: the same for every region, so said once."""
    return f"{100.0 * abstain_below:g}% are needed to name a class"


def _timings(result: Result) -> str:
    parts = [
        f"{stage.value} {ms:.1f}" for stage, ms in result.timings_ms.items() if stage != Stage.TOTAL
    ]
    total = result.timings_ms.get(Stage.TOTAL)
    text = ", ".join(parts)
    return f"{text}{' ms' if parts else ''}" + ("" if total is None else f"; total {total:.1f} ms")
