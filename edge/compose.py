"""The composition root: from a pack's name to engines, and to an analyzer that uses them.

The only place of ``edge`` that knows ``convert``: a network is prepared once, and the prepared
graph is kept in a cache (:mod:`convert.cache`).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from convert.cache import cache_folder, prepared_hash, prepared_path
from convert.notes import manifest_key, read_notes
from edge.engine_card import EngineCard, judged_under
from edge.engine_folder import ModelEngines, engines_root, how_to_build
from edge.engines.base import Engine, EngineIdentity
from edge.engines.cuda import has_binding
from edge.engines.gpu_thread import GpuThread
from edge.engines.onnx import OnnxEngine
from edge.errors import ModelRefusedError, RequestError
from edge.pages import page
from models.manifest import Model, Pack

if TYPE_CHECKING:
    from edge.analysis.analyzer import Analyzer
    from edge.engines.tensorrt import TensorRtEngine

CPU_BATCH = 2
"""Crops at once on the CPU. Per crop 1, 2 and 4 take the same time there (EfficientNet-B0, one and
two cores), 4 takes 30 MB more than 2."""

__all__ = [
    "BACKENDS",
    "cache_folder",
    "check_backend",
    "chosen_engine",
    "open_analyzer",
    "open_engines",
    "tensorrt_engine",
]

BACKENDS = ("auto", "onnx", "openvino", "tensorrt")

_log = logging.getLogger("dermedge.backend")


@contextmanager
def open_engines(
    pack: Pack, backend: str = "auto", threads: int | None = None
) -> Iterator[tuple[Engine, Engine]]:
    """Segmenter and classifier of a pack, ready to run; closed at the end of the ``with``.

    Args:
        pack: From ``models.manifest.find_pack``.
        backend: ``auto`` is ``tensorrt`` where engines of both networks have passed the gate for
            this very device, else ``openvino`` where that extra is installed, else ``onnx``; the
            log says which and why in one line.
        threads: CPU threads of each engine; ``None`` lets the engine choose.

    Raises:
        RequestError: There is no such backend here.
        ModelRefusedError: A model of the pack cannot be prepared or loaded, or, for ``tensorrt``,
            its engine is not trusted.
    """
    check_backend(backend)
    with ExitStack() as stack:
        if backend == "tensorrt":
            yield stack.enter_context(_tensorrt_engines(pack))
            return
        if backend == "auto":
            reason = why_no_tensorrt()
            if not reason:
                try:
                    engines = stack.enter_context(_tensorrt_engines(pack))
                except (ModelRefusedError, RequestError) as error:
                    reason = error.got
                else:
                    _log.info("backend: tensorrt, both engines have passed on this device")
                    yield engines
                    return
            backend = "openvino" if _has_openvino() else "onnx"
            _log.info("backend: %s, because %s", backend, reason)
        segmenter = stack.enter_context(_open_engine(pack.segmenter, backend, threads))
        classifier = stack.enter_context(_open_engine(pack.classifier, backend, threads))
        yield segmenter, classifier


@contextmanager
def open_analyzer(
    pack: Pack, backend: str = "auto", threads: int | None = None
) -> Iterator[Analyzer]:
    """An analyzer with the engines of a pack; arguments and errors as :func:`open_engines`."""
    # Imported here: it brings OpenCV, and `dermedge doctor` must start where that is broken.
    from edge.analysis.analyzer import Analyzer

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
            next_step="in dermedge's folder: pip install '.[openvino]'",
        )
    if backend == "tensorrt" and (reason := why_no_tensorrt()):
        raise RequestError(
            "TensorRT and a binding to CUDA for --backend tensorrt",
            got=reason,
            next_step=f"see what is missing: dermedge doctor; {page('jetson.md')}",
        )
    if backend not in BACKENDS:
        raise RequestError(
            f"a backend out of {', '.join(BACKENDS)}",
            got=repr(backend),
            next_step="use --backend onnx",
        )


def why_no_tensorrt() -> str:
    """What is not installed for TensorRT, or an empty text; nothing is imported."""
    if importlib.util.find_spec("tensorrt") is None:
        return "TensorRT is not installed for this Python"
    return "" if has_binding() else "neither pycuda nor cuda-python is installed"


@contextmanager
def _tensorrt_engines(pack: Pack) -> Iterator[tuple[Engine, Engine]]:
    """Both networks as the engines that were chosen for them, on one thread of the GPU."""
    # The cards first: they need no GPU, and say what to build.
    rules = judged_under(pack)
    cards = [(model, *chosen_engine(model, rules)) for model in (pack.segmenter, pack.classifier)]
    open_engine = tensorrt_engine()
    with ExitStack() as stack:
        gpu = stack.enter_context(GpuThread())
        opened: list[Engine] = []
        for model, engines, card in cards:
            identity = EngineIdentity(
                name=model.manifest.name,
                version=model.manifest.version,
                backend="tensorrt",
                precision=card.precision,
                model_sha256=model.manifest.onnx.sha256,
                engine_sha256=card.engine.sha256,
            )
            path = engines.engine_path(card.precision, card.key)
            opened.append(stack.enter_context(open_engine(path, card, identity, gpu=gpu)))
        yield opened[0], opened[1]


def tensorrt_engine() -> type[TensorRtEngine]:
    """The class of TensorRT's engines, imported where it is wanted: it brings TensorRT.

    Raises:
        RequestError: TensorRT is installed and does not load, or is too old.
    """
    try:
        from edge.engines.tensorrt import TensorRtEngine
    # What a module raises that is linked to other libraries than those that are here.
    except (ImportError, OSError, AttributeError) as error:
        raise RequestError(
            "TensorRT 10.3 or later that loads",
            got=f"TensorRT does not load: {' '.join(str(error).split())[:160]}",
            next_step=f"see what is wrong with it: dermedge doctor; {page('jetson.md')}",
        ) from error
    return TensorRtEngine


def chosen_engine(model: Model, rules: str) -> tuple[ModelEngines, EngineCard]:
    """The engine in use for a model, if it was built from this model and judged under these rules.

    Whether it has passed, and for which device, is the engine's own affair when it opens.

    Args:
        model: One of a pack.
        rules: ``edge.engine_card.judged_under`` of that pack.

    Returns:
        Where it lies, and its card.

    Raises:
        ModelRefusedError: There is none, or it was built or judged for something else.
    """
    manifest = model.manifest
    engines = ModelEngines(engines_root(), manifest.name, manifest.onnx.sha256)
    card = engines.chosen()
    if card is None:
        reason = f"no engine was built for {manifest.name}"
    elif card.model.onnx_sha256 != manifest.onnx.sha256:
        reason = f"the engine of {manifest.name} was built from another ONNX file"
    elif card.model.graph_key != manifest_key(manifest):
        reason = f"the engine of {manifest.name} was built from another manifest"
    elif card.model.plain_sha256 != prepared_hash(prepared_path(model)):
        reason = f"the engine of {manifest.name} was built by another version of dermedge"
    elif card.gate is not None and card.gate.judged_under != rules:
        reason = f"the engine of {manifest.name} was judged under other rules of the manifests"
    else:
        return engines, card
    raise ModelRefusedError(
        f"an engine of {manifest.name} in {engines.folder}",
        got=reason,
        next_step=f"build it: {how_to_build()}",
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
