"""What the web page is told beside the picture: everything in words, ready to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.result import DISCLAIMER, STATUS_WORDS, UNVALIDATED, Region, Result, percent
from edge.screens.base import Shown
from edge.status import Snapshot

_VIEW_WORDS = {
    "paired": "live, each picture with its own result",
    "live": "live, the newest picture with the newest result",
    "still": "FROZEN",
}


def page_state(shown: Shown | None, snapshot: Snapshot, silent_s: float | None) -> dict[str, Any]:
    """The state for one answer, JSON-able.

    Args:
        shown: The newest picture, or ``None`` before the first.
        snapshot: How the run stands.
        silent_s: So long no picture has come although some should, or ``None``.
    """
    frozen = snapshot.state == "frozen" and shown is not None and shown.view == "still"
    dead = _dead_words(shown, silent_s, frozen=frozen)
    state: dict[str, Any] = {
        "number": -1 if shown is None else shown.number,
        "dead": dead,
        "frozen": snapshot.state == "frozen",
        "freezing": snapshot.state == "freezing",
        "case": snapshot.case_code,
        # What the shutter says now, then what else stands in the picture.
        "said": list(dict.fromkeys((*snapshot.said, *(shown.said if shown else ())))),
        "health": snapshot.health,
        "words": "NO LIVE IMAGE" if dead is not None else _words(shown, snapshot),
        "regions": [],
        "notes": [],
    }
    if shown is not None and dead is None and shown.hidden:
        state["notes"] = ["Hidden: the view moves", DISCLAIMER]
    elif shown is not None and dead is None:
        regions = sorted(shown.result.regions or (), key=lambda r: (len(r.letter), r.letter))
        state["regions"] = [_region(region, shown.result) for region in regions]
        state["notes"] = _notes(shown.result)
    return state


def _dead_words(shown: Shown | None, silent_s: float | None, *, frozen: bool) -> str | None:
    if shown is None:
        return "waiting for the first picture"
    if shown.result.status == "no_live_image":
        return "; ".join(shown.result.reasons)
    if silent_s is not None and not frozen:
        return f"the device has shown no new picture for {silent_s:.0f} s"
    return None


def _words(shown: Shown | None, snapshot: Snapshot) -> str:
    if snapshot.state == "freezing":
        return "taking a still: hold still"
    words = _VIEW_WORDS[shown.view] if shown is not None else ""
    return f"{words}, case {snapshot.case_code}" if snapshot.case_code else words


def _region(region: Region, result: Result) -> Mapping[str, Any]:
    words, share, doubtful = "not classified", "", True
    if region.classified and region.classes:
        best = region.classes[0]
        name = result.label_text.get(best.label, best.label)
        doubtful = region.abstained
        words = f"uncertain ({name})" if region.abstained else name
        share = percent(best.probability)
    colour = region.colour
    known = colour is not None and colour.delta_ei is not None
    return {
        "letter": region.letter,
        "class": words,
        "share": share,
        "doubtful": doubtful,
        "redness": f"{colour.delta_ei:+.1f}" if known and colour is not None else "unknown",
        "redness_reliable": bool(known and colour is not None and colour.erythema_reliable),
    }


def _notes(result: Result) -> list[str]:
    notes = [] if result.status == "ok" else [STATUS_WORDS[result.status]]
    if result.status == "nothing_found":
        notes.append("Nothing found does not mean healthy skin")
    if result.regions_not_classified:
        notes.append(f"{result.regions_not_classified} regions not classified")
    for reason in result.reasons:
        notes.append("Classes: unvalidated model" if reason == UNVALIDATED else reason)
    return [*notes, DISCLAIMER]
