"""Calibrations with a progress line, kept so that the same pictures are not measured twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import onnx
from rich.console import Console
from rich.status import Status

from convert.cache import prepared_path
from convert.calibrate import (
    Calibration,
    CalibrationPicture,
    calibrate,
    calibration_pictures,
    graph_hash,
    preprocessing_hash,
    read_calibration,
)
from convert.candidates import reference_engines
from convert.ranges import Method
from edge.engine_card import Part
from edge.engine_folder import ModelEngines
from edge.sinks.whole_file import whole_files
from models.errors import ModelRefusedError
from models.manifest import Model, Pack

PARTS: tuple[Part, ...] = ("segmenter", "classifier")
METHOD: Method = "percentile"
"""By measurement: on the released pack entropy cut too much off (``python -m benchmarks.int8``,
docs/figures.md)."""


def calibrated(
    pack: Pack, folder: Path, parts: Sequence[Part] = PARTS, root: Path | None = None
) -> dict[Part, Calibration]:
    """Calibrate parts of a pack on the pictures of a folder.

    Args:
        pack: Both networks.
        folder: Pictures like those that the device will see.
        parts: Which networks.
        root: The folder of all engines: what was measured before on the same pictures is taken
            from there, and what is measured now is kept there.

    Raises:
        InputError: As of ``convert.calibrate``; also where ``root`` cannot be written.
        ModelRefusedError: As of ``convert.calibrate``.
    """
    pictures = calibration_pictures(folder)
    prepared = {part: onnx.load(str(prepared_path(_model(pack, part)))) for part in parts}
    found: dict[Part, Calibration] = {}
    records = {part: _record(root, pack, part, prepared[part], pictures) for part in parts if root}
    for part, path in records.items():
        known = _known(path, pack, prepared[part], pictures)
        if known is not None:
            found[part] = known
    missing = {part: graph for part, graph in prepared.items() if part not in found}
    if missing:
        with (
            reference_engines(pack) as (segmenter, _),
            Status("calibrating", console=Console(stderr=True)) as status,
        ):
            found.update(calibrate(pack, missing, segmenter, folder, METHOD, status.update))
    for part in missing:
        if part in records:
            with whole_files([records[part]]) as (file,):
                file.write(found[part].to_json())
    return found


def _known(
    path: Path, pack: Pack, prepared: onnx.ModelProto, pictures: tuple[CalibrationPicture, ...]
) -> Calibration | None:
    """The record, if it was made from the very same; a damaged one is made again."""
    if not path.exists():
        return None
    try:
        record = read_calibration(path)
        record.check_fits(prepared, pack)
    except ModelRefusedError:
        return None
    return record if record.pictures == pictures and record.method == METHOD else None


def _record(
    root: Path,
    pack: Pack,
    part: Part,
    prepared: onnx.ModelProto,
    pictures: tuple[CalibrationPicture, ...],
) -> Path:
    manifest = _model(pack, part).manifest
    facts = [
        graph_hash(prepared),
        preprocessing_hash(pack, part),
        METHOD,
        *((picture.name, picture.sha256) for picture in pictures),
    ]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    engines = ModelEngines(root, manifest.name, manifest.onnx.sha256)
    return engines.folder / f"calibration-{key}.json"


def _model(pack: Pack, part: Part) -> Model:
    return pack.segmenter if part == "segmenter" else pack.classifier
