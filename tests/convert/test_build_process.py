"""A build in its own process: limits, retries, progress, words; on the stand-in of TensorRT."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from prepared_graphs_for_tests import write_segmenter

from convert.build_memory import MIB, Memory
from convert.build_process import Compiled, compile_engine
from edge.engine_card import BuilderSettings

SETTINGS = BuilderSettings(max_batch=4, opt_batch=4, workspace_mib=64)
ROOMY = Memory(total_bytes=8192 * MIB, available_bytes=6000 * MIB)

pytestmark = pytest.mark.usefixtures("compiler")


@pytest.fixture
def graph(tmp_path: Path) -> bytes:
    return write_segmenter(tmp_path / "graph.onnx").read_bytes()


@pytest.fixture
def file(tmp_path: Path) -> Any:
    with (tmp_path / "made.engine").open("wb") as opened:
        yield opened


def compile_it(graph: bytes, file: BinaryIO, settings: BuilderSettings = SETTINGS) -> Compiled:
    folder = Path(file.name).parent
    return compile_engine(
        graph,
        file,
        settings,
        timing_cache=folder / "timing.cache",
        title="segmenter tiny",
        memory=ROOMY,
    )


def test_an_engine_is_written_and_told(graph: bytes, file: BinaryIO) -> None:
    compiled = compile_it(graph, file)
    content = Path(file.name).read_bytes()
    assert compiled.sha256 == hashlib.sha256(content).hexdigest()
    assert compiled.size_bytes == len(content) > len(graph)
    assert (compiled.attempts, compiled.limits.workspace_bytes) == (1, 64 * MIB)
    assert compiled.seconds > 0
