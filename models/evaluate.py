"""``dermedge-models evaluate``: what a pack does on one side of the data, through the product.

Each picture is read, analysed and cut into regions by the very code that ``dermedge analyze``
runs. That is why this one module of ``models`` uses ``edge``.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from edge.analysis.analyzer import Analysis, Analyzer
from edge.analysis.crops import CropBatch
from edge.analysis.networks import Classifier
from edge.compose import open_engines
from edge.frame import Frame
from edge.sources.pictures import frame_from_picture
from models.data_folder import Picture, read_mask
from models.errors import InputError
from models.manifest import Pack, find_pack
from models.measures import balanced_accuracy, bootstrap_interval, sensitivity_specificity
from models.phantom import random_spec, render
from models.splits import Side, load_splits, pictures_of_side
from models.whole_file import write_whole

LEAST_CASES = 5
"""A class or skin type with fewer cases gets no figure of its own."""

PHANTOM_SEED, PHANTOMS = 9_000_000, 100
"""Phantoms that no training has seen; tones drawn evenly from ITA -60 to +60 degrees."""

TEST_NOTE = "Test figures are for the record. Choose nothing by them: thresholds, models, stopping."

Report = dict[str, Any]


def evaluate(pack: Pack, data: Path, side: Side, threads: int | None = None) -> Report:
    """Measure a pack.

    Args:
        pack: Complete, with its ONNX files.
        data: The data folder (``models/data_folder.py``).
        side: Which side of ``models/splits.csv``.
        threads: CPU threads of each engine.

    Returns:
        A tree of plain values, as the command writes it: ``None`` where nothing can be said.

    Raises:
        InputError: The data folder is incomplete.
        ModelRefusedError: The pack cannot be run.
    """
    pictures = pictures_of_side(data, side)
    groups = {(row.folder, row.name): row.group for row in load_splits()}
    report: Report = {
        "pack": pack.name,
        "version": pack.version,
        "side": side,
        "segmenter_sha256": pack.segmenter.manifest.onnx.sha256,
        "classifier_sha256": pack.classifier.manifest.onnx.sha256,
    }
    with open_engines(pack, threads=threads) as (segmenter, classifier):
        analyzer = Analyzer(segmenter, classifier, pack)
        for folder in ("dermoscopy", "dermoscopy_full"):
            chosen = [p for p in pictures if p.folder == folder]
            if chosen:
                names = [groups[p.folder, p.name] for p in chosen]
                report[folder] = _masks(analyzer, chosen, names)
        report["phantoms"] = _phantoms(analyzer)
        report["normal_skin"] = _normal(
            analyzer, [p for p in pictures if p.folder == "normal_skin"]
        )
        clinical = [p for p in pictures if p.folder == "clinical"]
        whole = Classifier(classifier, pack.classifier.manifest)
        report["clinical"] = _clinical(analyzer, whole, pack, clinical)
    return report


# --- segmentation -------------------------------------------------------------------------------


def _masks(analyzer: Analyzer, pictures: Sequence[Picture], groups: Sequence[str]) -> Report:
    rows = []
    for picture in _progress(pictures, "masks"):
        if picture.mask_path is None:
            raise InputError(
                f"a mask for {picture.path}", got="none", next_step="fetch the data again"
            )
        marked = _marked(analyzer.analyze(_frame(picture)))
        rows.append(_overlap(marked, read_mask(picture.mask_path)))
    report: Report = {"pictures": len(rows), "unanswered": sum(row is None for row in rows)}
    # A picture without an answer has found nothing of its lesion.
    values = [row or {"dice": 0.0, "sensitivity": 0.0, "specificity": None} for row in rows]
    for name in ("dice", "sensitivity", "specificity"):
        report[name] = _mean_and_interval([value[name] for value in values], groups)
    report["dice"]["median"] = float(np.median([value["dice"] for value in values]))
    report["dice_below_half"] = float(np.mean([(value["dice"] or 0.0) < 0.5 for value in values]))
    report["no_region"] = float(np.mean([value["sensitivity"] == 0.0 for value in values]))
    return report


def _phantoms(analyzer: Analyzer) -> Report:
    """Dice on phantoms with lesions by skin tone, and the share marked where there is none."""
    by_tone: dict[str, list[float]] = defaultdict(list)
    marked_clean = []
    unanswered = 0
    for index in range(PHANTOMS):
        phantom = render(random_spec(PHANTOM_SEED + index))
        frame = Frame(phantom.pixels, index, "phantom", None, None, "synthetic")
        marked = _marked(analyzer.analyze(frame))
        if marked is None:
            unanswered += 1
        elif phantom.mask.any():
            overlap = _overlap(marked, phantom.mask)
            if overlap is not None and overlap["dice"] is not None:
                by_tone[_tone(phantom.ita_deg)].append(overlap["dice"])
        else:
            marked_clean.append(float(marked.mean()))
    return {
        "unanswered": unanswered,
        "dice_by_ita": {
            tone: {"pictures": len(by_tone[tone]), "mean": float(np.mean(by_tone[tone]))}
            for tone in sorted(by_tone)
        },
        "lesion_free": {
            "pictures": len(marked_clean),
            "marked_share": float(np.mean(marked_clean)) if marked_clean else None,
        },
    }


def _normal(analyzer: Analyzer, pictures: Sequence[Picture]) -> Report:
    """Share of lesion-free skin that is marked, in all and per Fitzpatrick type."""
    shares: dict[str, list[float]] = defaultdict(list)
    unanswered = 0
    for picture in pictures:
        marked = _marked(analyzer.analyze(_frame(picture)))
        if marked is None:
            unanswered += 1
            continue
        for key in ("all", _fitzpatrick(picture)):
            shares[key].append(float(marked.mean()))
    return {
        "unanswered": unanswered,
        "marked": {
            key: {
                "patches": len(shares[key]),
                "share": float(np.mean(shares[key])),
                "patches_with_a_mark": int(np.count_nonzero(shares[key])),
            }
            for key in sorted(shares)
        },
    }


def _overlap(
    marked: NDArray[np.bool_] | None, truth: NDArray[np.bool_]
) -> dict[str, float | None] | None:
    if marked is None:
        return None
    both, sizes = float((marked & truth).sum()), float(marked.sum() + truth.sum())
    sensitivity, specificity = sensitivity_specificity(marked, truth)
    dice = 2 * both / sizes if sizes else 1.0
    return {"dice": dice, "sensitivity": sensitivity, "specificity": specificity}


def _tone(ita_deg: float) -> str:
    if ita_deg < -30:
        return "1 below -30"
    if ita_deg < 10:
        return "2 from -30 to 10"
    return "3 from 10 to 41" if ita_deg < 41 else "4 above 41"


# --- classification -----------------------------------------------------------------------------


def _clinical(
    analyzer: Analyzer, classifier: Classifier, pack: Pack, pictures: Sequence[Picture]
) -> Report:
    """Two ways: the whole close-up given to the classifier, and the largest region found in it."""
    labels = pack.classifier.manifest.output.labels
    if not {picture.label for picture in pictures} <= set(labels):
        return {"skipped": f"the pack's labels are {', '.join(labels)}"}
    crops = CropBatch(pack.classifier.manifest)
    truth, whole, region = [], [], []
    abstained = 0
    for picture in _progress(pictures, "classes"):
        frame = _frame(picture)
        truth.append(labels.index(picture.label))
        batch = crops.fit(frame.pixels, [(0, 0, *frame.size_wh)])
        whole.append(int(classifier.run(batch)[0].argmax()))
        regions = analyzer.analyze(frame).result.regions or ()
        first = regions[0] if regions else None
        # -1, which is never right, where no region was found.
        region.append(labels.index(first.classes[0].label) if first and first.classes else -1)
        abstained += bool(first and first.abstained)
    report: Report = {
        "pictures": len(pictures),
        "no_region": float(np.mean([guess == -1 for guess in region])),
        "abstained": abstained / max(1, len(pictures)),
    }
    for name, guess in (("whole_picture", whole), ("largest_region", region)):
        report[name] = _accuracy(np.array(truth), np.array(guess), pictures, labels)
    return report


def _accuracy(
    truth: NDArray[np.int_],
    guess: NDArray[np.int_],
    pictures: Sequence[Picture],
    labels: Sequence[str],
) -> Report:
    patients = [picture.patient for picture in pictures]
    low, high = bootstrap_interval(lambda i: balanced_accuracy(truth[i], guess[i]), patients)
    types = np.array([_fitzpatrick(picture) for picture in pictures])
    return {
        "balanced_accuracy": balanced_accuracy(truth, guess),
        "interval_95": [low, high],
        "right_by_class": _right_by(np.array([labels[i] for i in truth]), truth == guess),
        "right_by_fitzpatrick": _right_by(types, truth == guess),
    }


def _right_by(keys: NDArray[Any], right: NDArray[np.bool_]) -> Report:
    """Cases and share right for each key; no share below :data:`LEAST_CASES`."""
    report: Report = {}
    for key in sorted(set(keys.tolist())):
        cases = int((keys == key).sum())
        share = float(right[keys == key].mean()) if cases >= LEAST_CASES else None
        report[key] = {"cases": cases, "right": share}
    return report


# --- shared -------------------------------------------------------------------------------------


def _frame(picture: Picture) -> Frame:
    return frame_from_picture(picture.path, f"file:{picture.path.name}")


def _marked(analysis: Analysis) -> NDArray[np.bool_] | None:
    return None if analysis.mask is None else analysis.mask > 0


def _fitzpatrick(picture: Picture) -> str:
    return f"type {picture.fitzpatrick}" if picture.fitzpatrick else "type unknown"


def _mean_and_interval(values: Sequence[float | None], groups: Sequence[str]) -> Report:
    known = [(v, g) for v, g in zip(values, groups, strict=True) if v is not None]
    if not known:
        return {"mean": None, "interval_95": None}
    numbers = np.array([value for value, _ in known])
    names = [group for _, group in known]
    interval = bootstrap_interval(lambda i: float(numbers[i].mean()), names)
    return {"mean": float(numbers.mean()), "interval_95": list(interval)}


def _progress(pictures: Sequence[Picture], label: str) -> Iterator[Picture]:
    """The pictures one by one, with a bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    yield from track(pictures, label, console=console, disable=not console.is_terminal)


def table(report: Report) -> str:
    """The report for a person: one figure per line, indented by place."""
    lines: list[str] = []

    def add(key: str, value: Any, depth: int) -> None:
        indent = "  " * depth
        if isinstance(value, dict):
            lines.append(f"{indent}{key}")
            for inner, item in value.items():
                add(inner, item, depth + 1)
        else:
            lines.append(f"{indent}{key:<28} {_text(value)}")

    for key, value in report.items():
        add(key, value, 0)
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " to ".join(_text(item) for item in value)
    return str(value)


@click.command("evaluate")
@click.argument("pack")
@click.argument("data", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--split",
    "side",
    type=click.Choice(["tune", "test"]),
    default="tune",
    show_default=True,
    help="Side of models/splits.csv.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the figures to this file.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of each engine.")
def command(pack: str, data: Path, side: Side, json_path: Path | None, threads: int | None) -> None:
    """Measure the pack PACK (a name or folder) on the data folder DATA.

    Dice, sensitivity and specificity on dermoscopy, the share of lesion-free skin that is marked,
    balanced accuracy on close-ups, each with a 95 % bootstrap interval by patient or group of
    near-duplicates.
    """
    report = evaluate(find_pack(pack), data, side, threads)
    if json_path is not None:
        try:
            write_whole(json_path, (json.dumps(report, indent=1) + "\n").encode("utf-8"))
        except OSError as error:
            raise InputError(
                f"{json_path} to be writable",
                got=error.strerror or str(error),
                next_step="give another file with --json",
            ) from error
    click.echo(table(report))
    if side == "test":
        click.echo(TEST_NOTE)
