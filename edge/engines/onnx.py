"""Prepared graphs on the CPU, by ONNX Runtime: the engine that is always there.

The options were chosen by measurement on the paper's U-Net
(`docs/decisions/2026-11-23-cpu-engine.md`, `benchmarks/cpu_engines.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.base import EngineIdentity
from edge.engines.prepared import (
    INPUT_NAME,
    TensorFacts,
    cannot_load,
    default_threads,
    prepared_interface,
)
from edge.engines.shell import EngineShell
from models.offline import onnx_runtime

_FATAL_ONLY = 4  # every failure comes back as an exception; the log would say it twice
_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxEngine(EngineShell):
    """One prepared graph in one ONNX Runtime session.

    Every call of :meth:`infer` returns a new array that belongs to the caller. Calls from several
    threads are safe and run at the same time.

    Args:
        prepared: File written by ``convert.prepare``.
        identity: What the pack says of this network.
        max_batch: Largest batch to accept, at least 1.
        threads: Cores to compute on; ``None`` for all usable ones up to four.

    Raises:
        ModelRefusedError: The file is missing, is no ONNX, or is no prepared graph.
    """

    def __init__(
        self,
        prepared: Path,
        identity: EngineIdentity,
        *,
        max_batch: int = 1,
        threads: int | None = None,
    ) -> None:
        session = _open_session(prepared, identity.name, threads or default_threads())
        interface = prepared_interface(
            identity.name,
            [_facts(value) for value in session.get_inputs()],
            [_facts(value) for value in session.get_outputs()],
            max_batch=max_batch,
        )
        super().__init__(identity, interface, session)
        self._run_options = onnx_runtime().RunOptions()
        self._run_options.log_severity_level = _FATAL_ONLY

    def _run(self, session: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        answer: NDArray[np.float32]
        (answer,) = session.run(
            [self._interface.output_name], {INPUT_NAME: pixels}, self._run_options
        )
        return answer


def session_options(threads: int, *, spinning: bool = False) -> Any:
    """The options that measured best for one small network at a time on a few cores.

    * All graph optimisations, the blocked NCHWc layout among them.
    * The arena stays: the peak is about ten megabytes lower with it, the time is the same.
    * No memory pattern: it plans one more block per input shape, 40 to 70 MB for a model pair,
      and saves no time.
    * No spinning: threads that wait for work at full speed make a run a tenth faster on idle
      cores, and take them from the camera and the screen.
    """
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return options


def _open_session(prepared: Path, model: str, threads: int) -> Any:
    try:
        return onnx_runtime().InferenceSession(
            str(prepared), session_options(threads), providers=["CPUExecutionProvider"]
        )
    # ONNX Runtime's exceptions have no common base class but Exception.
    except Exception as error:
        raise cannot_load(model, error) from error


def _facts(value: Any) -> TensorFacts:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorFacts(value.name, _DTYPES.get(value.type, value.type), shape)
