"""Calibrates a pack with a progress line, for the commands that need it."""

from __future__ import annotations

from pathlib import Path

import onnx
from rich.console import Console
from rich.status import Status

from convert.cache import prepared_path
from convert.calibrate import Calibration, calibrate
from convert.candidates import reference_engines
from convert.ranges import Method
from edge.engine_card import Part
from models.manifest import Pack


def calibrated(
    pack: Pack,
    folder: Path,
    parts: tuple[Part, ...] = ("segmenter", "classifier"),
    method: Method = "percentile",
) -> dict[Part, Calibration]:
    """Calibrate parts of a pack on the pictures of a folder; errors as ``convert.calibrate``.

    Percentiles are the default by measurement: on the released pack entropy cut too much off
    (``python -m benchmarks.int8``, docs/figures.md).
    """
    models = {"segmenter": pack.segmenter, "classifier": pack.classifier}
    prepared = {part: onnx.load(str(prepared_path(models[part]))) for part in parts}
    with (
        reference_engines(pack) as (segmenter, _),
        Status("calibrating", console=Console(stderr=True)) as status,
    ):
        return calibrate(pack, prepared, segmenter, folder, method, status.update)
