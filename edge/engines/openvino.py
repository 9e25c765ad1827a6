"""Prepared graphs on the CPU, by OpenVINO: faster than ONNX Runtime on the paper's U-Net.

Comes with the extra `dermedge[openvino]`; when it pays is measured in
`docs/decisions/2026-11-23-cpu-engine.md` (`benchmarks/cpu_engines.py`).
"""

from __future__ import annotations

import sys
import threading
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

_DTYPES = {"u8": "uint8", "f32": "float32"}

# On a processor with AMX the CPU plugin gives the thread that loads it a stack for signals, and
# frees that stack when the last Core goes, from whichever thread: the next signal, Ctrl-C or
# SIGTERM, would then end the process with a segmentation fault. So there is one, kept to the end.
_core: Any = None
_core_lock = threading.Lock()


class OpenVinoEngine(EngineShell):
    """One prepared graph, compiled for one picture at a time.

    A batch is run picture by picture: compiled for any batch, the classifier takes a quarter more
    time, and the memory of the largest. Every call of :meth:`infer` returns a new array that
    belongs to the caller. One thread at a time may call it.

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
        model = _read(prepared, identity.name)
        interface = prepared_interface(
            identity.name,
            [_facts(port) for port in model.inputs],
            [_facts(port) for port in model.outputs],
            max_batch=max_batch,
        )
        request = _compiled(model, interface.size_wh, identity.name, threads)
        super().__init__(identity, interface, request)

    def _run(self, session: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        name = self._interface.output_name
        return np.concatenate(
            [
                session.infer({INPUT_NAME: pixels[i : i + 1]}, share_inputs=True)[name]
                for i in range(len(pixels))
            ]
        )


def import_openvino() -> Any:
    """The module ``openvino``, kept from reporting its use over the network.

    Importing it sends an event to a web service by default, through its dependency
    ``openvino_telemetry``; where that one cannot be imported, it does without.

    Raises:
        ImportError: The extra is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino
    import openvino.frontend

    return openvino


def device_properties(threads: int) -> dict[str, Any]:
    """Compile for one picture at a time on a few cores that others use too.

    * float32 by name: on a CPU with AVX512-BF16 the default is bfloat16, which moves the paper's
      U-Net by up to 0.13 in probability; on ARM it is float16 where the CPU has it.
    * Threads are not pinned to cores: a pinned one waits for whoever has its core.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }


def _read(prepared: Path, name: str) -> Any:
    openvino = import_openvino()
    try:
        # By name, because guessing the format loads every front end and logs each refusal.
        reader = openvino.frontend.FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(str(prepared)))
    # OpenVINO's exceptions have no common base class but Exception.
    except Exception as error:
        raise cannot_load(name, error) from error


def _compiled(model: Any, size_wh: tuple[int, int], name: str, threads: int | None) -> Any:
    width, height = size_wh
    properties = device_properties(threads or default_threads())
    try:
        model.reshape({INPUT_NAME: [1, height, width, 3]})
        return _the_core().compile_model(model, "CPU", properties).create_infer_request()
    # As in _read().
    except Exception as error:
        raise cannot_load(name, error) from error


def _the_core() -> Any:
    global _core
    with _core_lock:
        if _core is None:
            _core = import_openvino().Core()
        return _core


def _facts(port: Any) -> TensorFacts:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        axes: tuple[int | None, ...] = ()
    else:
        axes = tuple(None if axis.is_dynamic else axis.get_length() for axis in shape)
    element = port.element_type.get_type_name()
    return TensorFacts(port.any_name, _DTYPES.get(element, element), axes)
