"""The notes of a prepared graph are read without onnx, and are the same as with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from convert.cache import prepared_path
from convert.notes import read_notes
from models.errors import ModelRefusedError
from models.manifest import load_pack
from packs_for_tests import segmenter_network


@pytest.fixture(scope="module")
def prepared(tiny_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_path(load_pack(tiny_pack).segmenter, tmp_path_factory.mktemp("cache"))


def test_they_are_those_that_onnx_reads(prepared: Path):
    with_onnx = {entry.key: entry.value for entry in onnx.load(str(prepared)).metadata_props}
    assert read_notes(prepared) == with_onnx
    assert with_onnx["dermedge.precision"] == "fp32"


def test_any_damage_is_refused(prepared: Path, tmp_path: Path):
    content = prepared.read_bytes()
    path = tmp_path / "graph.onnx"
    notes_begin = content.find(b"dermedge.")
    for end in (0, 1, 10, len(content) // 2, notes_begin + 3, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(ModelRefusedError, match="prepared"):
            read_notes(path)
    path.write_bytes(b"\xff" * 1000)
    with pytest.raises(ModelRefusedError, match="prepared"):
        read_notes(path)
    with pytest.raises(ModelRefusedError, match="prepared"):
        read_notes(tmp_path / "missing.onnx")


def test_another_graph_is_refused(tmp_path: Path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(segmenter_network(32))
    with pytest.raises(ModelRefusedError, match="a graph without that note"):
        read_notes(path)


_WITH_A_FULL_CACHE = """
import sys
from edge.compose import open_analyzer
from models.manifest import find_pack
with open_analyzer(find_pack(sys.argv[1])):
    print("onnx" in sys.modules, "torch" in sys.modules)
"""


def test_a_start_with_a_full_cache_does_not_load_onnx(tiny_pack: Path):
    run = [sys.executable, "-c", _WITH_A_FULL_CACHE, str(tiny_pack)]
    subprocess.run(run, check=True, capture_output=True, timeout=120)
    child = subprocess.run(run, check=True, capture_output=True, text=True, timeout=120)
    assert child.stdout.split() == ["False", "False"]
