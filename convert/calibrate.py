"""Calibration: what a model's tensors hold when it sees real pictures, as INT8 needs to know it.

The pictures take the product's own way: decoded, fitted as the manifest says, and, for the
classifier, cut where the float32 segmenter finds regions. The pigment images are made inside the
prepared graph, so all inputs of a network come from one picture. Calibration with random numbers
does not exist.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convert.half import to_half
from convert.notes import manifest_key
from convert.quantize import quantizable
from convert.ranges import Method, RangeCollector
from edge.analysis import crops
from edge.analysis.crops import CropBatch, padded_box
from edge.analysis.networks import Segmenter
from edge.analysis.regions import find_regions
from edge.engine_card import Part, Sha256
from edge.engines.base import Engine
from edge.errors import InputError, ModelRefusedError
from edge.sources.files import list_media, no_media
from edge.sources.pictures import decode_picture
from models import resize
from models.manifest import Manifest, Pack
from models.resize import fit_image

CALIBRATION_SCHEMA = "dermedge.calibration/1"

PICTURES_MIN = 32
"""With fewer, one picture alone moves the cut at 99.999 % of a tensor's values."""

CROPS_MIN = 32
"""Likewise, of the regions that a classifier sees."""

SEEN_MAX = 512
"""At most so many pictures and crops are used, evenly chosen: more change no range."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CalibrationPicture(_Table):
    """One file of the calibration folder: its name below it, and its hash."""

    name: str
    sha256: Sha256


class Calibration(_Table):
    """The ranges of one model, and everything that they depend on.

    Attributes:
        schema_: ``dermedge.calibration/1``.
        part: The model's part in its pack.
        onnx_sha256: The ONNX file that was calibrated.
        prepared_sha256: Its prepared graph.
        preprocessing_sha256: How pictures become its input; see :func:`preprocessing_hash`.
        method: How the cut was chosen.
        pictures: The files, in the order of their names.
        seen: Pictures, or for a classifier crops, that the ranges rest on.
        ranges: Largest magnitude worth telling, by tensor.
    """

    schema_: Literal["dermedge.calibration/1"] = Field(
        default="dermedge.calibration/1", alias="schema"
    )
    part: Part
    onnx_sha256: Sha256
    prepared_sha256: Sha256
    preprocessing_sha256: Sha256
    method: Method
    pictures: tuple[CalibrationPicture, ...]
    seen: Annotated[int, Field(ge=1)]
    ranges: dict[str, Annotated[float, Field(ge=0.0)]]

    def to_json(self) -> bytes:
        """The record's file."""
        content = self.model_dump(mode="json", by_alias=True)
        return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()

    @property
    def sha256(self) -> str:
        """Hash of the whole record, for the engine's card."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def check_fits(self, prepared: onnx.ModelProto, pack: Pack) -> None:
        """Refuse a record that was made for something else.

        Raises:
            ModelRefusedError: Model, prepared graph or preprocessing differ.
        """
        model = pack.segmenter if self.part == "segmenter" else pack.classifier
        wanted = {
            "ONNX file": (self.onnx_sha256, model.manifest.onnx.sha256),
            "prepared graph": (self.prepared_sha256, graph_hash(prepared)),
            "preprocessing": (self.preprocessing_sha256, preprocessing_hash(pack, self.part)),
        }
        for name, (made_for, found) in wanted.items():
            if made_for != found:
                raise ModelRefusedError(
                    f"a calibration of the {self.part}'s {name} {found[:12]}",
                    got=f"one of {made_for[:12]}",
                    next_step="calibrate again: dermedge-convert build PACK --calibration FOLDER",
                )


def read_calibration(path: Path) -> Calibration:
    """Read a record.

    Raises:
        ModelRefusedError: It is missing or no calibration.
    """
    try:
        return Calibration.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, ValidationError) as error:
        got = error.strerror if isinstance(error, OSError) else "a file that is none"
        raise ModelRefusedError(
            f"a calibration ({CALIBRATION_SCHEMA}) in {path}",
            got=got or str(error),
            next_step="calibrate again: dermedge-convert build PACK --calibration FOLDER",
        ) from error


def calibrate(
    pack: Pack,
    prepared: Mapping[Part, onnx.ModelProto],
    segmenter: Engine,
    folder: Path,
    method: Method = "percentile",
    on_step: Callable[[str], None] = lambda what: None,
) -> dict[Part, Calibration]:
    """Calibrate models of a pack on the pictures of a folder.

    Args:
        pack: Manifests of both networks.
        prepared: The prepared graphs of the parts to be calibrated.
        segmenter: The segmenter in float32; it says where the classifier's crops are.
        folder: Pictures like those that the device will see; subfolders count.
        method: How the ranges are cut.
        on_step: Told what is being done, picture by picture.

    Raises:
        InputError: The folder has fewer than 32 pictures, or one cannot be read; it is named.
        ModelRefusedError: There are fewer than 32 regions for the classifier, or a graph gives no
            numbers.
    """
    files = _files(folder)
    seen = _Seen(pack, Segmenter(segmenter, pack.segmenter.manifest), "classifier" in prepared)
    pictures = []
    for name, path in files:
        on_step(f"reading {name}")
        pictures.append(CalibrationPicture(name=name, sha256=_sha256(path)))
        seen.add(decode_picture(path).pixels)
    made: dict[Part, Calibration] = {}
    for part, graph in prepared.items():
        inputs = _thinned(seen.inputs[part])
        if part == "classifier" and len(inputs) < CROPS_MIN:
            raise ModelRefusedError(
                f"at least {CROPS_MIN} regions in the pictures of {folder}, for the classifier",
                got=f"{len(inputs)} in {len(files)} pictures",
                next_step="add pictures with lesions",
            )
        on_step(f"measuring the {part}")
        made[part] = Calibration(
            part=part,
            onnx_sha256=_manifest(pack, part).onnx.sha256,
            prepared_sha256=graph_hash(graph),
            preprocessing_sha256=preprocessing_hash(pack, part),
            method=method,
            pictures=tuple(pictures),
            seen=len(inputs),
            ranges=_ranges(graph, inputs, method),
        )
    return made


def calibration_pictures(folder: Path) -> tuple[CalibrationPicture, ...]:
    """The pictures of a folder that a calibration would use, read for their hashes.

    Raises:
        InputError: The folder has fewer than 32 pictures, or one cannot be read; it is named.
    """
    return tuple(CalibrationPicture(name=n, sha256=_sha256(path)) for n, path in _files(folder))


def preprocessing_hash(pack: Pack, part: Part) -> str:
    """Hash of all that decides how a picture becomes a network's input.

    The graph itself holds scaling and pigments; outside it are the resizing and, for the
    classifier, the segmenter that says where to cut, and with how much context.
    """
    manifest = _manifest(pack, part)
    facts: dict[str, Any] = {
        "resize": manifest.resize.model_dump(mode="json"),
        "size_wh": manifest.size_wh,
        "code": [inspect.getsource(resize)],
    }
    if part == "classifier":
        source = pack.segmenter.manifest
        rules = source.regions
        facts["segmenter"] = [source.onnx.sha256, manifest_key(source), source.output.threshold]
        facts["regions"] = None if rules is None else rules.model_dump(mode="json")
        facts["code"].append(inspect.getsource(crops))
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def graph_hash(graph: onnx.ModelProto) -> str:
    """SHA-256 of a graph's bytes, as they are written to a file."""
    return hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()


def watched_tensors(prepared: onnx.ModelProto) -> list[str]:
    """Names of the activations whose ranges INT8 needs, as the prepared graph calls them."""
    known = {name for node in prepared.graph.node for name in node.output}
    half = to_half(prepared)
    makers = {name: node for node in half.graph.node for name in node.output}
    found: dict[str, None] = {}
    for node in quantizable(half):
        name = node.input[0]
        while name not in known and name in makers and makers[name].op_type == "Cast":
            name = makers[name].input[0]
        if name in known:
            found[name] = None
    return list(found)


@dataclass
class _Seen:
    """What both networks see of each picture."""

    pack: Pack
    segmenter: Segmenter
    with_crops: bool

    def __post_init__(self) -> None:
        self.inputs: dict[Part, list[NDArray[np.uint8]]] = {"segmenter": [], "classifier": []}
        self._crops = CropBatch(self.pack.classifier.manifest)

    def add(self, pixels: NDArray[np.uint8]) -> None:
        manifest = self.pack.segmenter.manifest
        picture, placement = fit_image(pixels, manifest.size_wh, manifest.resize)
        self.inputs["segmenter"].append(picture)
        if not self.with_crops:
            return
        rules, threshold = manifest.regions, manifest.output.threshold
        assert rules is not None and threshold is not None  # the manifest checks it
        mask = np.empty(pixels.shape[:2], np.uint8)
        probability = self.segmenter.run(picture)
        regions = find_regions(probability, placement, threshold, rules, mask)
        size_wh = (pixels.shape[1], pixels.shape[0])
        boxes = [
            padded_box(region.box_xyxy, size_wh, rules.padding_fraction)
            for region in regions[: rules.max_regions]
        ]
        self.inputs["classifier"] += list(self._crops.fit(pixels, boxes).copy())


def _ranges(
    graph: onnx.ModelProto, inputs: Sequence[NDArray[np.uint8]], method: Method
) -> dict[str, float]:
    collector = RangeCollector(graph, watched_tensors(graph))
    collector.measure(inputs)
    collector.count(inputs)
    return collector.ranges(method)


def _files(folder: Path) -> list[tuple[str, Path]]:
    listing = list_media(folder)
    if listing.failures:
        raise listing.failures[0]
    found = [media for media in listing.files if media.kind == "picture"]
    if not found:
        raise no_media(folder, listing)
    if len(found) < PICTURES_MIN:
        raise InputError(
            f"at least {PICTURES_MIN} pictures in {folder} to calibrate INT8",
            got=str(len(found)),
            next_step="add pictures like those that the device will see; a hundred are better",
        )
    return [(media.relative.as_posix(), media.path) for media in _thinned(found)]


def _thinned(values: Sequence[Any]) -> list[Any]:
    step = max(1.0, len(values) / SEEN_MAX)
    return [values[int(index * step)] for index in range(min(SEEN_MAX, len(values)))]


def _manifest(pack: Pack, part: Part) -> Manifest:
    return (pack.segmenter if part == "segmenter" else pack.classifier).manifest


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"a readable picture {path}",
            got=error.strerror or str(error),
            next_step="check its permissions, or take it out of the folder",
        ) from error
