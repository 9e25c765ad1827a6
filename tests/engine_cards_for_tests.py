"""Engine cards that tests start from."""

from __future__ import annotations

import hashlib
from typing import Any

from edge.engine_card import (
    BuilderSettings,
    BuildFacts,
    CardModel,
    DeviceFacts,
    EngineCard,
    EngineFile,
    GateVerdict,
    engine_key,
)

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
