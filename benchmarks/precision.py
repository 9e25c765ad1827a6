"""What float16 costs a pack: ``python -m benchmarks.precision [PICTURES...] [--data DATA]``.

Both networks in float16 (`convert.half`), every tensor rounded (`convert.half_reference`), against
float32 in ONNX Runtime: on phantoms, on the pictures and folders given, and, with ``--data``, on
each folder of the tuning side of that data folder. At most ``--most`` pictures of a set are taken,
evenly. The classifier sees the regions that the float32 segmenter finds, cut as the product cuts
them, and the whole picture where there is none. Last come the largest values against float16's
65,504. Exit code 1 where a figure misses its limit.

    python -m benchmarks.precision photographs/ [--pack reference] [--phantoms 100]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from convert.agreement import ClassifierAgreement, SegmenterAgreement
from convert.half_reference import HalfReference
from convert.losses import Candidate, classifier_losses, float32_reference, segmenter_losses
from convert.precision import graph_for
from convert.prepare import prepare_model
from edge.analysis.crops import CropBatch, padded_box
from edge.analysis.regions import find_regions
from edge.sources.pictures import SUFFIXES, frame_from_picture
from models.errors import DermedgeError
from models.manifest import Manifest, Model, Pack, find_pack
from models.phantom import random_spec, render
from models.resize import fit_image
from models.splits import pictures_of_side

DICE_MIN, TOP1_MIN = 0.995, 0.99
PHANTOM_SEED = 9_100_000
ACTIVATIONS_SHOWN = 10

Pictures = Iterator[NDArray[np.uint8]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURES")
    parser.add_argument("--pack", default="reference")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--phantoms", type=int, default=100)
    arguments = parser.parse_args()
    try:
        return compare(find_pack(arguments.pack), picture_sets(arguments))
    except DermedgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def compare(pack: Pack, sets: dict[str, list[Path | int]]) -> int:
    """Print all tables; 1 where a limit is missed, else 0."""
    segmenter, segmenter_half = both_precisions(pack.segmenter)
    classifier, classifier_half = both_precisions(pack.classifier)
    masks, classes = [], []
    for name, entries in sets.items():
        frames, crops = fitted(pack, segmenter, entries, name)
        found = segmenter_losses(segmenter, segmenter_half, frames, pack.segmenter.manifest)
        masks.append((name, found))
        classes.append((name, classifier_losses(classifier, classifier_half, crops)))
    print_masks(pack.segmenter.manifest, masks)
    print_activations(segmenter_half)
    print_classes(pack.classifier.manifest, classes)
    print_activations(classifier_half)
    # Also where there was no picture at all.
    segmenter_half.refuse_overflow()
    classifier_half.refuse_overflow()
    missed = any(found.dice_mean < DICE_MIN for _, found in masks)
    missed |= any(found.top1 < TOP1_MIN for _, found in classes)
    limits = f"mean Dice at least {DICE_MIN}, top-1 agreement at least {TOP1_MIN}, in every set"
    print(f"\n{limits}: {'MISSED' if missed else 'held'}")
    return int(missed)


def both_precisions(model: Model) -> tuple[Candidate, HalfReference]:
    prepared = prepare_model(model.read_onnx(), model.manifest)
    return float32_reference(prepared), HalfReference(graph_for(model, prepared, "fp16"))


# --- pictures -----------------------------------------------------------------------------------


def picture_sets(arguments: argparse.Namespace) -> dict[str, list[Path | int]]:
    """Files, or seeds of phantoms, by the name of their set; empty sets are left out."""
    files: list[Path | int] = []
    for path in arguments.pictures:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [p for p in inside if p == path or p.suffix.lower() in SUFFIXES]
    sets = {
        "phantoms": [PHANTOM_SEED + index for index in range(arguments.phantoms)],
        "pictures": files,
    }
    if arguments.data is not None:
        for picture in pictures_of_side(arguments.data, "tune"):
            sets.setdefault(f"{picture.folder}, tuning side", []).append(picture.path)
    return {name: thinned(entries, arguments.most) for name, entries in sets.items() if entries}


def thinned(entries: list[Path | int], most: int) -> list[Path | int]:
    step = max(1.0, len(entries) / most)
    return [entries[int(index * step)] for index in range(min(most, len(entries)))]


def fitted(
    pack: Pack, segmenter: Candidate, entries: list[Path | int], name: str
) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
    """What the two networks see of each picture, in their input sizes."""
    manifest = pack.segmenter.manifest
    batch = CropBatch(pack.classifier.manifest)
    frames, crops = [], []
    for entry in track(entries, name, console=Console(stderr=True), transient=True):
        pixels = (
            render(random_spec(entry)).pixels
            if isinstance(entry, int)
            else frame_from_picture(entry, f"file:{entry.name}").pixels
        )
        frame, placement = fit_image(pixels, manifest.size_wh, manifest.resize)
        frames.append(frame)
        probability = segmenter(frame[np.newaxis])[0]
        mask = np.empty(pixels.shape[:2], np.uint8)
        size_wh = (pixels.shape[1], pixels.shape[0])
        found = find_regions(
            probability, placement, manifest.output.threshold, manifest.regions, mask
        )
        padding = manifest.regions.padding_fraction
        boxes = [padded_box(r.box_xyxy, size_wh, padding) for r in found]
        boxes = boxes[: manifest.regions.max_regions] or [(0, 0, *size_wh)]
        crops += list(batch.fit(pixels, boxes).copy())
    return frames, crops


# --- tables -------------------------------------------------------------------------------------


def print_masks(manifest: Manifest, rows: list[tuple[str, SegmenterAgreement]]) -> None:
    print(f"\n{manifest.name}, against float32, threshold {manifest.output.threshold}")
    print(
        f"  {'':26} {'frames':>6} {'Dice mean':>9} {'min (large)':>15} {'IoU min (small)':>15} "
        f"{'blank':>11} {'area':>7} {'p99':>8} {'max':>8} {'NaN/inf':>8}"
    )
    for name, a in rows:
        print(
            f"  {name:26} {a.frames:6} {a.dice_mean:9.5f} "
            f"{figure(a.dice_min, 5):>9} ({a.large_frames:3}) "
            f"{figure(a.small_iou_min, 3):>9} ({a.small_frames:3}) "
            f"{a.blank_reference:4} -> {a.blank_candidate:3} {figure(a.area_ratio, 4):>7} "
            f"{a.change_p99:8.5f} {a.change_max:8.5f} {a.nan_values:4}/{a.infinite_values}"
        )


def print_classes(manifest: Manifest, rows: list[tuple[str, ClassifierAgreement]]) -> None:
    print(f"\n{manifest.name}, against float32")
    print(
        f"  {'':26} {'crops':>6} {'top-1':>9} {'top-1 (clear)':>15} {'p99':>8} {'max':>8} "
        f"{'NaN/inf':>8}"
    )
    for name, a in rows:
        print(
            f"  {name:26} {a.frames:6} {a.top1:9.5f} "
            f"{figure(a.top1_clear, 5):>9} ({a.clear_frames:3}) "
            f"{a.change_p99:8.5f} {a.change_max:8.5f} {a.nan_values:4}/{a.infinite_values}"
        )


def print_activations(reference: HalfReference) -> None:
    print("\n  largest values before rounding, over all sets; float16 ends at 65,504")
    for found in reference.activations[:ACTIVATIONS_SHOWN]:
        print(f"  {found.largest:10.1f} {found.share:7.2%}  {found.operator:18} {found.node}")


def figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    raise SystemExit(main())
