"""One engine that is wanted: a network in a precision on a device, found or compiled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import onnx

from convert.build_process import Compiled, compile_engine
from convert.cache import prepared_hash, prepared_path
from convert.calibrate import Calibration
from convert.check import check_graph
from convert.description import describe
from convert.finding import Finding
from convert.notes import manifest_key
from convert.precision import graph_for
from convert.targets import find_target
from convert.timing_cache import timing_cache_path
from edge.engine_card import (
    BuilderSettings,
    BuildFacts,
    CardModel,
    DeviceFacts,
    EngineCard,
    EngineFile,
    Part,
    Precision,
    engine_key,
)
from edge.engine_folder import ModelEngines
from edge.errors import ModelRefusedError
from edge.sinks.whole_file import check_writable
from models.manifest import Model

OPT_BATCH = 4
"""The batch that engines are tuned for, where the model takes that many."""


@dataclass(frozen=True)
class Choices:
    """What the user may choose for every engine.

    Attributes:
        root: The folder of all engines.
        optimization_level: TensorRT's, 0 to 5.
        workspace_mib: Scratch memory that a layer may use; ``None`` lets the free memory decide.
    """

    root: Path
    optimization_level: int = 3
    workspace_mib: int | None = None


class EngineJob:
    """A network in one precision on one device.

    Args:
        part: Which one of its pack.
        model: The network; its prepared graph comes from the cache, or is made now.
        precision: Of the graph that is compiled.
        device: Where the engine will run: this device.
        choices: Of the user.
        calibration: For ``int8``.

    Raises:
        ModelRefusedError: The network cannot be prepared, or not be had in that precision.
    """

    def __init__(
        self,
        part: Part,
        model: Model,
        precision: Precision,
        device: DeviceFacts,
        choices: Choices,
        calibration: Calibration | None = None,
    ) -> None:
        self.part, self.model, self.precision, self.device = part, model, precision, device
        manifest = model.manifest
        self.title = f"{part} {manifest.name} {manifest.version}, {precision}"
        self.engines = ModelEngines(choices.root, manifest.name, manifest.onnx.sha256)
        self._timing_cache = timing_cache_path(choices.root, device)
        ranges = None if calibration is None else calibration.ranges
        graph = graph_for(model, onnx.load(prepared_path(model)), precision, ranges)
        self.graph: bytes = graph.SerializeToString(deterministic=True)
        self.card_model = CardModel(
            name=manifest.name,
            version=manifest.version,
            onnx_sha256=manifest.onnx.sha256,
            graph_key=manifest_key(manifest),
            plain_sha256=prepared_hash(prepared_path(model)),
            prepared_sha256=hashlib.sha256(self.graph).hexdigest(),
        )
        max_batch = 1 if describe(graph).batch == 1 else manifest.max_batch
        self.settings = BuilderSettings(
            max_batch=max_batch,
            opt_batch=min(OPT_BATCH, max_batch),
            optimization_level=choices.optimization_level,
            workspace_mib=choices.workspace_mib,
        )
        self._calibration_sha256 = None if calibration is None else calibration.sha256

    def found(self) -> EngineCard | None:
        """The card of this engine where it was built before with nothing changed since.

        Of several the one in use, or else one that has passed the gate.
        """
        return max(
            self._fitting(), key=lambda card: (self.is_chosen(card), card.passed), default=None
        )

    def findings(self) -> list[Finding]:
        """What this device's TensorRT would refuse or get wrong in the graph."""
        return check_graph(
            onnx.load_model_from_string(self.graph),
            find_target(self.device.tensorrt),
            exclude=self.model.manifest.quantize.exclude,
        )

    def compile(self) -> EngineCard:
        """Compile the engine, and write it with a card that the gate has yet to judge.

        An engine that is in use is not touched: the new one lies beside it.

        Raises:
            RequestError: TensorRT is not installed.
            OutputError: The folder cannot be written, or is full.
            ModelRefusedError: TensorRT does not compile the graph.
            DermedgeError: There is too little memory, or the compiler failed.
            KeyboardInterrupt: It was stopped by Ctrl-C.
            SystemExit: It was stopped by SIGTERM.
        """
        check_writable(self.engines.folder)
        settings = self._settings_beside_the_one_in_use()
        key = engine_key(
            model=self.card_model,
            device=self.device,
            precision=self.precision,
            settings=settings,
            calibration_sha256=self._calibration_sha256,
        )
        with self.engines.new_engine(self.precision, key) as file:
            compiled = compile_engine(
                self.graph, file, settings, timing_cache=self._timing_cache, title=self.title
            )
        card = self._card(key, settings, compiled)
        self.engines.write_card(card)
        return card

    def is_chosen(self, card: EngineCard) -> bool:
        """Whether that engine is the one in use."""
        try:
            chosen = self.engines.chosen()
        except ModelRefusedError:
            return False
        return chosen is not None and chosen.key == card.key

    def _fitting(self) -> list[EngineCard]:
        """Cards that differ from what is wanted in nothing but how often they were built."""
        return [
            card
            for _, card in self.engines.cards()
            if isinstance(card, EngineCard)
            and card.model == self.card_model
            and card.device == self.device
            and card.precision == self.precision
            and card.calibration_sha256 == self._calibration_sha256
            and card.settings.model_copy(update={"rebuild": 0}) == self.settings
        ]

    def _settings_beside_the_one_in_use(self) -> BuilderSettings:
        in_use = any(self.is_chosen(card) for card in self._fitting() if not card.settings.rebuild)
        return self.settings.model_copy(update={"rebuild": int(in_use)})

    def _card(self, key: str, settings: BuilderSettings, compiled: Compiled) -> EngineCard:
        return EngineCard(
            software=f"dermedge {metadata.version('dermedge')}",
            part=self.part,
            key=key,
            model=self.card_model,
            device=self.device,
            precision=self.precision,
            tf32=False,
            settings=settings,
            calibration_sha256=self._calibration_sha256,
            engine=EngineFile(
                file=self.engines.engine_path(self.precision, key).name,
                sha256=compiled.sha256,
                size_bytes=compiled.size_bytes,
            ),
            build=BuildFacts(
                seconds=round(compiled.seconds, 3),
                attempts=compiled.attempts,
                workspace_bytes=compiled.limits.workspace_bytes,
                tactic_bytes=compiled.limits.tactic_bytes,
                wall=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            ),
        )
