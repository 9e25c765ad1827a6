"""Engine cards that tests start from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from convert.cache import prepared_hash, prepared_path
from convert.notes import manifest_key
from edge.engine_card import (
    BuilderSettings,
    BuildFacts,
    CardModel,
    DeviceFacts,
    EngineCard,
    EngineFile,
    GateVerdict,
    Part,
    engine_key,
    judged_under,
)
from edge.engine_folder import ModelEngines
from models.manifest import Model, Pack

ENGINE = b"an engine"
ORIN = DeviceFacts(
    gpu_name="Orin", compute_capability="8.7", sm_count=8, l4t="36.4.3", tensorrt="10.3.0.30"
)
MODEL = CardModel(
    name="tiny-unet",
    version="1",
    onnx_sha256="1" * 64,
    graph_key="{}",
    plain_sha256="8" * 64,
    prepared_sha256="2" * 64,
)
SETTINGS = BuilderSettings(max_batch=4, opt_batch=4)
PASSED = GateVerdict(
    passed=True,
    reasons=(),
    frames=200,
    golden_sha256="3" * 64,
    reference="ONNX Runtime fp32",
    limits={"dice_mean_min": 0.99},
    figures={"dice_mean": 0.999, "top1_agreement": None},
)


def card_of(pack: Pack, part: Part, content: bytes, device: DeviceFacts) -> EngineCard:
    """The card of an engine with that content: built from that pack for that device, and passed."""
    model: Model = getattr(pack, part)
    manifest = model.manifest
    return card(
        part=part,
        model=CardModel(
            name=manifest.name,
            version=manifest.version,
            onnx_sha256=manifest.onnx.sha256,
            graph_key=manifest_key(manifest),
            plain_sha256=prepared_hash(prepared_path(model)),
            prepared_sha256="2" * 64,
        ),
        device=device,
        engine=EngineFile(
            file="e.engine", sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
        ),
        gate=PASSED.model_copy(update={"judged_under": judged_under(pack)}),
    )


def use(engines: ModelEngines, its_card: EngineCard, content: bytes) -> Path:
    """Write an engine with its card and choose it; its file."""
    with engines.new_engine(its_card.precision, its_card.key) as file:
        file.write(content)
    engines.write_card(its_card)
    engines.choose(its_card)
    return engines.engine_path(its_card.precision, its_card.key)


def card(**changes: Any) -> EngineCard:
    """A card of an engine that passed, with some fields changed; its key fits."""
    parts: dict[str, Any] = {
        "model": MODEL,
        "device": ORIN,
        "precision": "fp16",
        "settings": SETTINGS,
        "calibration_sha256": None,
    }
    parts.update((name, changes.pop(name)) for name in tuple(changes) if name in parts)
    facts: dict[str, Any] = {
        "software": "dermedge test",
        "part": "segmenter",
        "key": engine_key(**parts),
        "tf32": False,
        "engine": EngineFile(
            file="fp16.engine",
            sha256=hashlib.sha256(ENGINE).hexdigest(),
            size_bytes=len(ENGINE),
        ),
        "build": BuildFacts(
            seconds=12.5,
            attempts=1,
            workspace_bytes=1 << 28,
            tactic_bytes=1 << 28,
            wall="2026-01-01T00:00:00Z",
        ),
        "gate": PASSED,
    }
    return EngineCard(**parts, **{**facts, **changes})
