"""What kind of fault an engine has that does not agree: in words, for whoever has to mend it.

A verdict needs none of this: the limits decide. But "Dice 0.31" sends nobody to the right place,
and "as if red and blue were swapped" does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convert.agreement import dice

Float32 = NDArray[np.float32]

SHIFT_MAX_PX = 32
"""Larger shifts than this, in pixels of the network's input, are not looked for."""

_ALIKE = 0.85
"""Mean Dice from which another explanation is believed."""

_TILES = 4
_LOCAL_TIMES = 8.0
"""A fault is local where the worst tile changes this many times more than the tile in the middle of
all sixteen."""


@dataclass(frozen=True)
class Sample:
    """One frame in which the reference marks something.

    Attributes:
        picture: uint8 [H,W,3], as the network takes it.
        expected: float32 [H,W], the reference's probabilities.
        found: The candidate's.
    """

    picture: NDArray[np.uint8]
    expected: Float32
    found: Float32


def segmenter_fault(
    samples: Sequence[Sample], threshold: float, reference: Callable[[NDArray[np.uint8]], Float32]
) -> str:
    """The likeliest fault of a segmenter that failed, or an empty text.

    Args:
        samples: Some frames, all finite.
        threshold: A pixel is marked from here on.
        reference: Gives the reference's probabilities for another picture.
    """
    if not samples:
        return ""
    limit = np.float32(threshold)
    masks = [(s.expected >= limit, s.found >= limit) for s in samples]
    if not any(found.any() for _, found in masks):
        return f"it is blank: nothing is marked in any of {len(samples)} frames with a lesion"
    if all(found.all() for _, found in masks):
        return "it marks every pixel of every frame"
    plain = _mean_dice(masks)
    swapped = [
        (reference(np.ascontiguousarray(s.picture[..., ::-1])) >= limit, found)
        for s, (_, found) in zip(samples, masks, strict=True)
    ]
    if _explains(_mean_dice(swapped), plain):
        return "as if red and blue were swapped on the way in"
    shift_xy = best_shift(samples)
    moved = [(_moved(expected, shift_xy), found) for expected, found in masks]
    if shift_xy != (0, 0) and _explains(_mean_dice(moved), plain):
        return f"as if the mask were shifted by {shift_xy[0]}, {shift_xy[1]} pixels (right, down)"
    return local_fault(samples) or "the answers differ all over the picture"


def best_shift(samples: Sequence[Sample]) -> tuple[int, int]:
    """Pixels (right, down) by which the candidate's maps fit the reference's best.

    The peak of their cross-correlation, summed over all samples.
    """
    total = np.zeros(samples[0].expected.shape)
    for sample in samples:
        expected = np.fft.rfft2(sample.expected - sample.expected.mean())
        found = np.fft.rfft2(sample.found - sample.found.mean())
        total += np.fft.irfft2(np.conj(expected) * found, sample.expected.shape)
    height, width = samples[0].expected.shape
    reach_y, reach_x = min(SHIFT_MAX_PX, height // 4), min(SHIFT_MAX_PX, width // 4)
    rolled = np.roll(total, (reach_y, reach_x), axis=(0, 1))
    near = rolled[: 2 * reach_y + 1, : 2 * reach_x + 1]
    y, x = np.unravel_index(int(near.argmax()), near.shape)
    return int(x) - reach_x, int(y) - reach_y


def local_fault(samples: Sequence[Sample]) -> str:
    """Where the answers differ, if that is in one part of the picture only, else an empty text."""
    change = np.mean([np.abs(s.expected - s.found) for s in samples], axis=0)
    height, width = change.shape
    rows, columns = height // _TILES, width // _TILES
    if not rows or not columns:
        return ""
    used = change[: rows * _TILES, : columns * _TILES]
    tiles = used.reshape(_TILES, rows, _TILES, columns).mean(axis=(1, 3))
    if tiles.max() < _LOCAL_TIMES * max(float(np.median(tiles)), 1e-6):
        return ""
    bad = np.argwhere(tiles >= tiles.max() / 4)
    (top, left), (bottom, right) = bad.min(axis=0).tolist(), (bad.max(axis=0) + 1).tolist()
    return (
        "the answers differ in one part of the picture only, as from one bad kernel: "
        f"columns {left * columns} to {right * columns}, rows {top * rows} to {bottom * rows} "
        f"of {width}x{height}"
    )


def classifier_fault(
    expected: Float32, found: Float32, swapped: Float32, batches: NDArray[np.intp]
) -> str:
    """The likeliest fault of a classifier that failed, or an empty text.

    Args:
        expected: float32 [N,C], the reference's probabilities.
        found: The candidate's, all finite.
        swapped: float32 [M,C], M at most N: the reference's for the first M crops with red and blue
            swapped.
        batches: Size of the batch in which the candidate saw each crop.
    """
    if not len(expected):
        return ""
    if float(np.ptp(found, axis=0).max()) < 1e-3 < float(np.ptp(expected, axis=0).max()):
        return "it gives the same answer whatever it sees"
    wrong = np.abs(expected - found).max(axis=1) > 0.02
    alone = batches == 1
    if alone.any() and not wrong[alone].any() and wrong[~alone].mean() > 0.1:
        return "it is right alone and wrong in batches of more than one crop"
    first = slice(len(swapped))
    if np.abs(swapped - found[first]).mean() < 0.25 * np.abs(expected - found)[first].mean():
        return "as if red and blue were swapped on the way in"
    return "the answers differ on many crops" if wrong.mean() > 0.1 else "the answers drift"


def _mean_dice(masks: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> float:
    return float(np.mean([dice(a, b) for a, b in masks]))


def _explains(other: float, plain: float) -> bool:
    return other >= _ALIKE and other > plain + 0.02


def _moved(mask: NDArray[np.bool_], shift_xy: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask shifted, with nothing coming in at the border."""
    x, y = shift_xy
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(0, y) : height + min(0, y), max(0, x) : width + min(0, x)] = mask[
        max(0, -y) : height - max(0, y), max(0, -x) : width - max(0, x)
    ]
    return moved
