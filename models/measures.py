"""Figures of merit, in numpy: the same functions choose on the tuning side and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def dice_per_picture(
    probability: NDArray[np.float32], truth: NDArray[np.bool_], threshold: float
) -> Float64:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of each picture; 1 where both are empty.

    Args:
        probability: float [N, H, W].
        truth: bool [N, H, W].
        threshold: A pixel counts as marked from here on.

    Returns:
        float64 [N].
    """
    marked = probability >= threshold
    both = (marked & truth).sum(axis=(1, 2)).astype(np.float64)
    sizes = (marked.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))).astype(np.float64)
    return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0)


def sensitivity_specificity(
    marked: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    """Share of lesion pixels marked, and of other pixels left alone, in one picture.

    ``None`` where there is no such pixel.
    """
    lesion, other = int(truth.sum()), int((~truth).sum())
    sensitivity = float((marked & truth).sum()) / lesion if lesion else None
    specificity = float((~marked & ~truth).sum()) / other if other else None
    return sensitivity, specificity


def balanced_accuracy(
    truth: Sequence[int] | NDArray[np.int_], guess: Sequence[int] | NDArray[np.int_]
) -> float:
    """Mean over the classes that occur in ``truth`` of the share that is guessed right."""
    true, guessed = np.asarray(truth), np.asarray(guess)
    return float(np.mean([(guessed[true == label] == label).mean() for label in np.unique(true)]))


def bootstrap_interval(
    measure: Callable[[NDArray[np.intp]], float],
    groups: Sequence[str],
    *,
    draws: int = 2000,
    seed: int = 1,
) -> tuple[float, float]:
    """95 % percentile interval of a measure, drawing whole groups with replacement.

    Args:
        measure: Takes the indices that were drawn (with repeats).
        groups: Group of each item: its patient, or set of near-duplicates.
        draws: Number of resamples.
        seed: Of the random numbers.

    Returns:
        Lower and upper end.
    """
    rng = np.random.default_rng(seed)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(index == i) for i in range(len(names))]
    values = []
    for _ in range(draws):
        drawn = rng.integers(len(names), size=len(names))
        values.append(measure(np.concatenate([members[i] for i in drawn])))
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def softmax(logits: Float64, temperature: float = 1.0) -> Float64:
    """Probabilities [N, C] of logits [N, C] divided by a temperature."""
    scaled = logits / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_temperature(logits: Float64, labels: NDArray[np.int64]) -> float:
    """Temperature with the least negative log likelihood (Guo et al., ICML 2017), 0.2 to 10.

    Args:
        logits: float [N, C].
        labels: int [N].

    Returns:
        The best of 400 values spaced evenly in the logarithm.
    """
    candidates = np.exp(np.linspace(np.log(0.2), np.log(10.0), 400))
    rows = np.arange(len(labels))
    losses = [-np.log(softmax(logits, t)[rows, labels] + 1e-12).mean() for t in candidates]
    return float(candidates[int(np.argmin(losses))])


def choose_abstention(
    probabilities: Float64, labels: NDArray[np.int64], *, right: float = 0.6, kept: float = 0.3
) -> float:
    """Top probability below which no class is named.

    The lowest threshold (in steps of 0.01) at which at least a share ``right`` of the named ones
    is right while at least a share ``kept`` is still named; where there is none, the highest that
    keeps ``kept``.
    """
    top, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    last = 0.0
    for threshold in np.arange(0.0, 1.0, 0.01):
        named = top >= threshold
        if named.mean() < kept:
            break
        last = float(threshold)
        if hit[named].mean() >= right:
            break
    return round(last, 2)
