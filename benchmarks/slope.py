"""How fast a figure grows, and how sure that is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def slope_of_blocks(
    at: NDArray[np.float64], values: NDArray[np.float64], block: float
) -> tuple[float, float]:
    """Least squares slope, and its standard error from the means of blocks.

    Values one after another are not independent, so the error is that of means of blocks.

    Args:
        at: Instants, rising, shape ``(n,)``.
        values: Shape ``(n,)``.
        block: Length of a block in the unit of ``at``.

    Returns:
        Both in units of ``values`` per unit of ``at``; the error is infinite below four blocks.
    """
    blocks = np.floor((at - at[0]) / block).astype(int)
    means = np.array([(at[blocks == b].mean(), values[blocks == b].mean()) for b in set(blocks)])
    if len(means) < 4:
        return float(np.polyfit(at, values, 1)[0]), float("inf")
    (slope, _), covariance = np.polyfit(means[:, 0], means[:, 1], 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))
