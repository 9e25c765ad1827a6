"""The committed tiny exports of both architectures, prepared as packs are."""

from __future__ import annotations

from pathlib import Path

import onnx

from convert.prepare import prepare_model
from models.manifest import Manifest
from packs_for_tests import changed, classifier_manifest, segmenter_manifest

SIDE = 32
DATA = Path(__file__).parent / "models" / "data"


def tiny_manifest(name: str) -> Manifest:
    """Describes ``tiny_unet`` or ``tiny_efficientnet``."""
    if name == "tiny_unet":
        table = changed(segmenter_manifest(SIDE), output__name="logits")
    else:
        table = classifier_manifest(SIDE, 6)
    return Manifest.model_validate(table)


def prepared_tiny(name: str) -> onnx.ModelProto:
    """The prepared graph of ``tiny_unet`` or ``tiny_efficientnet``, 32x32 pixels."""
    return prepare_model((DATA / f"{name}.onnx").read_bytes(), tiny_manifest(name))
