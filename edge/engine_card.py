"""The card of a compiled engine: what it was made from, on which device, and whether it was proven.

An engine file says nothing of itself until a runtime has opened it, and a wrong one may open. So
the card beside it is read first, and any difference from the device at hand means: not loaded,
said why, with the command that builds it again.

The checksum guards against accident: a card that was cut off or edited by hand. It is no signature.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.errors import ModelRefusedError
from models.manifest import Pack

CARD_SCHEMA = "dermedge.engine/1"

Precision = Literal["fp32", "fp16", "int8"]
Part = Literal["segmenter", "classifier"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DeviceFacts(_Table):
    """The device that an engine runs on; any difference makes another engine.

    Attributes:
        gpu_name: As the driver gives it.
        compute_capability: Such as ``8.7``.
        sm_count: Number of streaming multiprocessors; two boards with one GPU name may differ.
        l4t: Release of Jetson Linux, such as ``36.4.3``; ``None`` where it is none.
        tensorrt: Version of the library, as many parts as it gives, such as ``10.3.0.30``.
    """

    gpu_name: str
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    sm_count: Annotated[int, Field(ge=1)]
    l4t: str | None
    tensorrt: str


class CardModel(_Table):
    """The network inside an engine.

    Attributes:
        name: From its manifest.
        version: From its manifest.
        onnx_sha256: The ONNX file that the manifest names.
        graph_key: What the manifest said about its graph when it was prepared
            (``convert.notes.manifest_key``).
        plain_sha256: The prepared graph in the network's own precision: it changes with the
            program that prepares, too.
        prepared_sha256: The graph that the compiler was given: prepared, in its precision.
    """

    name: str
    version: str
    onnx_sha256: Sha256
    graph_key: str
    plain_sha256: Sha256
    prepared_sha256: Sha256


class EngineFile(_Table):
    """The compiled file beside the card."""

    file: str
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=1)]


class BuilderSettings(_Table):
    """What the compiler was asked for.

    Attributes:
        max_batch: Largest batch of the one profile; the smallest is 1.
        opt_batch: The batch that it is tuned for.
        optimization_level: TensorRT's, 0 to 5.
        workspace_mib: Scratch memory that a layer may use; ``None`` where the free memory of the
            board decided.
        detailed: Whether the engine can tell its layers (``dermedge-convert inspect``).
        rebuild: Tells engines apart that were built again with nothing changed, each of which is
            another one (NVIDIA/TensorRT#4798); so the one in use stays until the next is proven.
    """

    max_batch: Annotated[int, Field(ge=1, le=64)]
    opt_batch: Annotated[int, Field(ge=1, le=64)]
    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3
    workspace_mib: Annotated[int, Field(ge=1)] | None = None
    detailed: bool = True
    rebuild: Annotated[int, Field(ge=0)] = 0


class BuildFacts(_Table):
    """How the build went.

    Attributes:
        seconds: Of the compiler alone.
        attempts: 2 and more where memory ran out and it was tried again with less.
        workspace_bytes: Limit of the attempt that succeeded.
        tactic_bytes: Limit of the memory for trying tactics in that attempt.
        wall: When, by the clock of the device (ISO 8601, UTC); a label, the clock may be wrong.
    """

    seconds: Annotated[float, Field(ge=0.0)]
    attempts: Annotated[int, Field(ge=1)]
    workspace_bytes: Annotated[int, Field(ge=1)]
    tactic_bytes: Annotated[int, Field(ge=1)]
    wall: str


class GateVerdict(_Table):
    """What the gate found when it held the engine against the reference.

    Attributes:
        passed: Whether ``edge`` may use the engine.
        reasons: Each limit that was not held, in words; empty where all were.
        frames: Number of golden frames.
        golden_sha256: Hash over all golden frames.
        reference: What the engine was held against.
        limits: Limits in force, by name.
        figures: What was measured, by name; ``None`` where nothing could be measured.
        judged_under: Of the manifests, what decides what was judged; see :func:`judged_under`.
        golden_key: Which golden frames were asked for (``convert.golden``).
    """

    passed: bool
    reasons: tuple[str, ...]
    frames: Annotated[int, Field(ge=0)]
    golden_sha256: Sha256
    reference: str
    limits: dict[str, float]
    figures: dict[str, float | None]
    judged_under: Sha256 | None = None
    golden_key: Sha256 | None = None


class EngineCard(_Table):
    """Everything about one compiled engine; ``KEY.card.json`` beside ``KEY.engine``.

    Attributes:
        schema_: ``dermedge.engine/1``.
        software: Which dermedge wrote it.
        part: The engine's part in a pack.
        key: Hash of all that makes the engine what it is; see :func:`engine_key`.
        model: The network inside.
        device: Where it was compiled.
        precision: ``fp32``, ``fp16`` or ``int8``.
        tf32: Whether FP32 layers may round to TF32; dermedge clears it.
        settings: What the compiler was asked for.
        calibration_sha256: Of the calibration behind an INT8 engine, else ``None``.
        engine: The compiled file.
        build: How the build went.
        transfer: Each tensor's way between host and device, by measurement: ``mapped`` memory or
            ``staged`` through pinned memory. Empty before the gate has measured.
        gate: The verdict, or ``None`` before the gate has run.
    """

    schema_: Literal["dermedge.engine/1"] = Field(default="dermedge.engine/1", alias="schema")
    software: str
    part: Part
    key: Sha256
    model: CardModel
    device: DeviceFacts
    precision: Precision
    tf32: bool
    settings: BuilderSettings
    calibration_sha256: Sha256 | None
    engine: EngineFile
    build: BuildFacts
    transfer: dict[str, Literal["mapped", "staged"]] = {}
    gate: GateVerdict | None = None

    @property
    def passed(self) -> bool:
        """Whether the gate has let it through."""
        return self.gate is not None and self.gate.passed

    def to_json(self) -> bytes:
        """The card's file, with its checksum."""
        content = self.model_dump(mode="json", by_alias=True)
        content["checksum"] = _checksum(content)
        return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def engine_key(
    *,
    model: CardModel,
    device: DeviceFacts,
    precision: Precision,
    settings: BuilderSettings,
    calibration_sha256: str | None,
) -> str:
    """Hash of all that makes an engine what it is: with an equal key nothing need be built."""
    parts = {
        "model": model.model_dump(mode="json"),
        "device": device.model_dump(mode="json"),
        "precision": precision,
        "settings": settings.model_dump(mode="json"),
        "calibration": calibration_sha256,
    }
    return hashlib.sha256(_canonical(parts)).hexdigest()


def judged_under(pack: Pack) -> str:
    """Hash of what a pack's manifests say outside the graphs that a verdict depends on.

    Threshold, resizing, region rules and limits of both networks: the classifier is judged on the
    regions of the segmenter.
    """
    parts = [
        model.manifest.model_dump(
            mode="json",
            include={
                "output": {"threshold"},
                "resize": True,
                "regions": True,
                "gate": True,
                "max_batch": True,
            },
        )
        for model in (pack.segmenter, pack.classifier)
    ]
    return hashlib.sha256(_canonical(parts)).hexdigest()


def read_card(path: Path) -> EngineCard:
    """Read a card and check its checksum.

    Raises:
        ModelRefusedError: It is missing, no card, of another schema, or was changed by accident.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise _refused(path, "a file that is no JSON") from error
    if not isinstance(content, dict):
        raise _refused(path, "a file that is no card")
    if content.get("schema") != CARD_SCHEMA:
        raise _refused(path, f"schema {content.get('schema')!r}")
    stated = content.pop("checksum", None)
    if stated != _checksum(content):
        raise _refused(path, "a card whose checksum disagrees: cut off or edited by hand")
    try:
        return EngineCard.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _refused(path, f"{where}: {first['msg']}") from error


def difference(card: EngineCard, device: DeviceFacts) -> str | None:
    """How the device at hand differs from the card's, in words, or ``None``."""
    here, there = device.model_dump(), card.device.model_dump()
    names = {
        "tensorrt": "TensorRT",
        "gpu_name": "GPU",
        "compute_capability": "compute capability",
        "sm_count": "number of multiprocessors",
        "l4t": "Jetson Linux",
    }
    for field, name in names.items():
        if here[field] != there[field]:
            return f"built for {name} {there[field]}, this device has {here[field]}"
    return None


def _refused(path: Path, got: str) -> ModelRefusedError:
    return ModelRefusedError(
        f"an engine card ({CARD_SCHEMA}) in {path}",
        got=got,
        next_step="build the engine again: dermedge-convert build PACK",
    )


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()
