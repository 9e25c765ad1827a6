"""From class probabilities to what a region is called, or why it is not called anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.result import ClassProbability, percent_below
from models.manifest import Manifest

CLASSES_MAX = 5
"""Most classes that a region carries."""


@dataclass(frozen=True)
class Verdict:
    """The likeliest classes of one region, descending, and whether one of them may be named."""

    classes: tuple[ClassProbability, ...]
    abstained: bool
    abstain_reason: str | None


def verdict(probabilities: NDArray[np.float32], classifier: Manifest) -> Verdict:
    """What the classifier says about one region.

    Args:
        probabilities: C values, 0..1, temperature applied, in the order of the labels.
        classifier: Labels and the probability below which no class is named.
    """
    # Stable, so that equal probabilities keep the order of the labels.
    order = np.argsort(-probabilities, kind="stable")[:CLASSES_MAX]
    labels = classifier.output.labels
    classes = tuple(ClassProbability(labels[i], float(probabilities[i])) for i in order)
    limit = classifier.decision.abstain_below if classifier.decision else 0.0
    top = classes[0]
    if top.probability >= limit:
        return Verdict(classes, abstained=False, abstain_reason=None)
    reason = (
        f"the likeliest class has {percent_below(top.probability, limit)}; "
        f"{100.0 * limit:g}% are needed to name it"
    )
    return Verdict(classes, abstained=True, abstain_reason=reason)
