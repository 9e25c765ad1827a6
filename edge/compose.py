"""The composition root: from a pack's name to engines, and to an analyzer that uses them.

The only place of ``edge`` that knows ``convert``: a network is prepared once, and the prepared
graph is kept in a cache (:mod:`convert.cache`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from convert.cache import prepared_path
from convert.notes import read_notes
from edge.analysis.analyzer import Analyzer
from edge.engines.base import Engine, EngineIdentity
from edge.engines.onnx import OnnxEngine
from edge.errors import RequestError
from models.manifest import Model, Pack

CPU_BATCH = 2
"""Crops at once on the CPU. Per crop 1, 2 and 4 take the same time there (EfficientNet-B0, one and
two cores), 4 takes 30 MB more than 2."""

BACKENDS = ("auto", "onnx", "openvino")


@contextmanager
def open_engines(
    pack: Pack, backend: str = "auto", threads: int | None = None
) -> Iterator[tuple[Engine, Engine]]:
    """Segmenter and classifier of a pack, ready to run; closed at the end of the ``with``.

    Args:
        pack: From ``models.manifest.find_pack``.
        backend: ``auto`` is ``openvino`` where that extra is installed, and ``onnx`` elsewhere.
        threads: CPU threads of each engine; ``None`` lets the engine choose.

    Raises:
        RequestError: There is no such backend here.
        ModelRefusedError: A model of the pack cannot be prepared or loaded.
    """
    check_backend(backend)
    if backend == "auto":
        backend = "openvino" if _has_openvino() else "onnx"
    with ExitStack() as stack:
        segmenter = stack.enter_context(_open_engine(pack.segmenter, backend, threads))
        classifier = stack.enter_context(_open_engine(pack.classifier, backend, threads))
        yield segmenter, classifier


@contextmanager
def open_analyzer(
    pack: Pack, backend: str = "auto", threads: int | None = None
) -> Iterator[Analyzer]:
    """An analyzer with the engines of a pack; arguments and errors as :func:`open_engines`."""
    with open_engines(pack, backend, threads) as (segmenter, classifier):
        yield Analyzer(segmenter, classifier, pack)


def check_backend(backend: str) -> None:
    """Refuse a backend that is not part of this version, or not installed.

    Raises:
        RequestError: With the command that helps.
    """
    if backend == "openvino" and not _has_openvino():
        raise RequestError(
            "the module openvino for --backend openvino",
            got="none",
            next_step="pip install 'dermedge[openvino]'",
        )
    if backend in BACKENDS:
        return
    if backend == "tensorrt":
        got = "tensorrt, which is not part of this version"
    else:
        got = repr(backend)
    raise RequestError(
        f"a backend out of {', '.join(BACKENDS)}", got=got, next_step="use --backend onnx"
    )


def _has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


def _open_engine(model: Model, backend: str, threads: int | None) -> Engine:
    path = prepared_path(model, for_cpu=True)
    manifest = model.manifest
    identity = EngineIdentity(
        name=manifest.name,
        version=manifest.version,
        backend=backend,
        precision=read_notes(path)["dermedge.precision"],
        model_sha256=manifest.onnx.sha256,
    )
    # An engine takes no more than its graph: a fixed batch of one stays one.
    max_batch = min(CPU_BATCH, manifest.max_batch)
    if backend == "openvino":
        # Imported where it is wanted: it is an extra.
        from edge.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(path, identity, threads=threads, max_batch=max_batch)
    return OnnxEngine(path, identity, threads=threads, max_batch=max_batch)
