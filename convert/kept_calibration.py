"""Calibrations beside the engines: measured once, and again when what they rest on changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from convert.cache import prepared_path
from convert.calibrate import (
    Calibration,
    CalibrationPicture,
    calibration_pictures,
    read_calibration,
)
from convert.commands.calibrating import calibrated
from edge.engine_card import Part
from edge.engine_folder import ModelEngines
from edge.errors import ModelRefusedError
from edge.sinks.whole_file import whole_files
from models.manifest import Pack

_FILE = "calibration.json"


def calibrations(
    pack: Pack, parts: Sequence[Part], folder: Path, root: Path
) -> dict[Part, Calibration]:
    """Ranges of parts of a pack, from the engine folder or measured now and kept there.

    Args:
        pack: Manifests of both networks.
        parts: Which of them.
        folder: Pictures; every one is read, since their hashes decide.
        root: The folder of all engines.

    Raises:
        InputError: As of ``convert.calibrate``; or the engine folder cannot be written.
        ModelRefusedError: As of ``convert.calibrate``.
    """
    pictures = calibration_pictures(folder)
    paths = {part: _path(pack, part, root) for part in parts}
    found = {part: _kept(pack, part, path, pictures) for part, path in paths.items()}
    kept = {part: record for part, record in found.items() if record is not None}
    missing = tuple(part for part in parts if part not in kept)
    if not missing:
        return kept
    measured = calibrated(pack, folder, missing)
    for part, record in measured.items():
        with whole_files([paths[part]]) as (file,):
            file.write(record.to_json())
    return {**kept, **measured}


def _kept(
    pack: Pack, part: Part, path: Path, pictures: tuple[CalibrationPicture, ...]
) -> Calibration | None:
    """What was kept, if it was measured on these pictures and fits this model."""
    model = pack.segmenter if part == "segmenter" else pack.classifier
    prepared = onnx.load(str(prepared_path(model)))
    try:
        record = read_calibration(path)
        record.check_fits(prepared, pack)
    except ModelRefusedError:
        return None  # none yet, damaged, or of something else
    return record if record.part == part and record.pictures == pictures else None


def _path(pack: Pack, part: Part, root: Path) -> Path:
    manifest = (pack.segmenter if part == "segmenter" else pack.classifier).manifest
    return ModelEngines(root, manifest.name, manifest.onnx.sha256).folder / _FILE
