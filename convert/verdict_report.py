"""A verdict as a person reads it: figures beside their limits, and what refused the engine."""

from __future__ import annotations

from edge.engine_card import GateVerdict

_ROWS = (
    ("dice_mean", "Dice, mean", ("dice_mean_min", "at least")),
    ("dice_min", "Dice, smallest of the large masks", ("dice_min", "at least")),
    ("small_agreement", "small masks whose boxes agree", ("small_agreement_min", "at least")),
    ("blank_rate", "frames without a region", ("blank_rate_max", "at most")),
    ("mask_area_ratio", "marked area against the reference", None),
    ("dice_truth", "Dice against the phantoms' truth", None),
    ("dice_truth_reference", "  the reference's", None),
    ("crops", "crops", None),
    ("top1_agreement", "same class where the margin is clear", ("top1_agreement_min", "at least")),
    ("top1_agreement_all", "same class, all crops", None),
    (
        "probability_change_p99",
        "change of probability, 99 %",
        ("probability_change_p99_max", "at most"),
    ),
    ("probability_change_max", "change of probability, largest", None),
    ("not_finite", "values that are NaN or infinite", None),
    ("latency_ms_median", "latency, median (ms)", None),
    ("latency_ms_p95", "latency, 95 % (ms)", None),
    ("reference_latency_ms_median", "  the reference's, median (ms)", None),
    ("batch", "crops in a full batch", None),
    ("batch_ms_median", "latency of a full batch, median (ms)", None),
)


def report_verdict(title: str, verdict: GateVerdict) -> str:
    """Lines of a table, the last one the verdict.

    Args:
        title: What was judged.
        verdict: What the gate found.
    """
    lines = [f"{title}: {verdict.frames} golden frames against {verdict.reference}"]
    for name, words, limit in _ROWS:
        if name in verdict.figures:
            row = f"  {words:<38}{_number(verdict.figures[name]):>10}"
            if limit is not None and limit[0] in verdict.limits:
                row += f"   {limit[1]} {_number(verdict.limits[limit[0]])}"
            lines.append(row)
    lines += [f"  refused: {reason}" for reason in verdict.reasons]
    lines.append("  passed" if verdict.passed else "  NOT PASSED")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if value == int(value) and value != 1:
        return str(int(value))
    return f"{value:.4f}"
