"""What INT8 costs a pack, and which layers cost most: ``python -m benchmarks.int8 --data DATA``.

Calibrates on pictures of the training side and judges on the tuning side, which no calibration has
seen (`models/splits.csv`), or on two folders of your own:

    python -m benchmarks.int8 --calibrate photographs/a --judge photographs/b [--pack reference]

Every float16 tensor is rounded (`convert.half_reference`); the reference is ONNX Runtime's float32.
First the losses with both methods of cutting ranges, then each product quantized alone: the layers
by the change of probability that they cause, which is where ``[quantize] exclude`` is to begin, and
the losses with the worst of them excluded.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from benchmarks.precision import fitted, print_classes, print_masks, thinned
from convert.cache import prepared_path
from convert.calibrate import Calibration, calibrate
from convert.candidates import reference_engines
from convert.half import to_half
from convert.half_reference import HalfReference
from convert.losses import Candidate, classifier_losses, float32_reference, segmenter_losses
from convert.quantize import quantizable, to_int8
from convert.ranges import Method
from edge.engine_card import Part
from models.errors import DermedgeError
from models.manifest import Model, Pack, find_pack
from models.splits import Side, pictures_of_side

METHODS: tuple[Method, ...] = ("percentile", "entropy")
LAYERS_SHOWN = 12
EXCLUDED = (4, 8, 16, 32)
_ALONE_PICTURES = 16

Pictures = list[NDArray[np.uint8]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="reference")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--calibrate", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--most", type=int, default=100)
    arguments = parser.parse_args()
    if not (arguments.data or (arguments.calibrate and arguments.judge)):
        parser.error("expected --data, or --calibrate and --judge")
    try:
        with tempfile.TemporaryDirectory() as folder:
            pack = find_pack(arguments.pack)
            learn = arguments.calibrate or linked(arguments.data, "train", arguments.most, folder)
            judge = arguments.judge or linked(arguments.data, "tune", arguments.most, folder)
            measure(pack, learn, judge, arguments.most)
    except DermedgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def linked(data: Path, side: Side, most: int, folder: str) -> Path:
    """A folder of links to the pictures with lesions on one side of the data."""
    wanted = ("dermoscopy", "clinical")
    chosen = [p.path for p in pictures_of_side(data, side) if p.folder in wanted]
    target = Path(folder) / side
    target.mkdir()
    for path in thinned(chosen, most):
        os.symlink(path.resolve(), target / path.name)
    return target


def measure(pack: Pack, learn: Path, judge: Path, most: int) -> None:
    models: dict[Part, Model] = {"segmenter": pack.segmenter, "classifier": pack.classifier}
    prepared = {part: onnx.load(prepared_path(model)) for part, model in models.items()}
    references = {part: float32_reference(graph) for part, graph in prepared.items()}
    files = thinned(sorted(p for p in judge.rglob("*") if p.is_file()), most)
    frames, crops = fitted(pack, references["segmenter"], files, "judged")
    seen: dict[Part, Pictures] = {"segmenter": frames, "classifier": crops}
    made = {method: calibrated(pack, prepared, learn, method) for method in METHODS}
    for part, model in models.items():
        half = to_half(prepared[part])
        ranges = {method: made[method][part].ranges for method in METHODS}
        count = made["percentile"][part].seen
        print(f"\n{part}: calibrated on {count} inputs, judged on {len(seen[part])}")
        rows = [("float16", half)]
        rows += [(f"INT8, {method}", to_int8(half, ranges[method], ())) for method in METHODS]
        order = by_sensitivity(half, ranges["percentile"], references[part], seen[part])
        for number in (n for n in EXCLUDED if n < len(order)):
            worst = [name for name, _ in order[:number]]
            graph = to_int8(half, ranges["percentile"], worst)
            rows.append((f"  without the worst {number}", graph))
        excluded = model.manifest.quantize.exclude
        graph = to_int8(half, ranges["percentile"], excluded)
        rows.append((f"  as its manifest ({len(excluded)})", graph))
        report(model, part, references[part], rows, seen[part])
        print(f"  each product alone in INT8, percentile ({len(order)} of them): mean change")
        for name, change in order[:LAYERS_SHOWN]:
            print(f"  {change:10.5f}  {name}")


def calibrated(
    pack: Pack, prepared: dict[Part, onnx.ModelProto], learn: Path, method: Method
) -> dict[Part, Calibration]:
    with reference_engines(pack) as (segmenter, _):
        return calibrate(pack, prepared, segmenter, learn, method)


def by_sensitivity(
    half: onnx.ModelProto,
    ranges: dict[str, float],
    reference: Candidate,
    inputs: Pictures,
) -> list[tuple[str, float]]:
    """Products by the mean change of probability that each causes alone, the largest first."""
    few = np.stack(thinned(inputs, _ALONE_PICTURES))
    expected = np.concatenate([reference(one[np.newaxis]) for one in few])
    names = [node.name for node in quantizable(half)]
    found = []
    console = Console(stderr=True)
    for name in track(names, "products", console=console, transient=True):
        others = [other for other in names if other != name]
        candidate = float32_reference(to_int8(half, ranges, others))
        answers = np.concatenate([candidate(one[np.newaxis]) for one in few])
        found.append((name, float(np.abs(answers - expected).mean())))
    return sorted(found, key=lambda pair: -pair[1])


def report(
    model: Model,
    part: Part,
    reference: Candidate,
    rows: Sequence[tuple[str, onnx.ModelProto]],
    inputs: Pictures,
) -> None:
    if part == "segmenter":
        masks = [
            (name, segmenter_losses(reference, HalfReference(graph), inputs, model.manifest))
            for name, graph in rows
        ]
        print_masks(model.manifest, masks)
    else:
        classes = [
            (name, classifier_losses(reference, HalfReference(graph), inputs))
            for name, graph in rows
        ]
        print_classes(model.manifest, classes)


if __name__ == "__main__":
    raise SystemExit(main())
