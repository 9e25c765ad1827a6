"""Nothing reports over the network, and nothing is left in the user's folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from models.offline import TELEMETRY_OFF

ANALYZE = """
import sys
import numpy as np
from edge.compose import open_engines
from models.manifest import find_pack
with open_engines(find_pack(sys.argv[1]), "onnx", threads=1) as (segmenter, _):
    width, height = segmenter.input_size_wh
    segmenter.infer({"rgb": np.zeros((1, height, width, 3), np.uint8)})
"""


def test_a_session_leaves_nothing_behind(tiny_pack: Path, tmp_path: Path) -> None:
    """ONNX Runtime 1.32 left a device id and a database in HOME, and asked for a collector."""
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for place in places.values():
        place.mkdir()
    kept = {key: value for key, value in os.environ.items() if key not in TELEMETRY_OFF}
    environment = {**kept, **{name: str(place) for name, place in places.items()}}

    done = subprocess.run(
        [sys.executable, "-c", ANALYZE, str(tiny_pack)],
        env={**environment, "DERMEDGE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert [str(path) for place in places.values() for path in place.rglob("*")] == []
