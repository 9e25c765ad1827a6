"""What a model is, in two small TOML files: the manifest of each network and the pack of a pair.

Light on purpose (standard library, numpy, pydantic, tomli): every stage reads these files.
A field that is not described here is refused, so that a typing error cannot change a result.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models import skin
from models.errors import ManifestError, RequestError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODEL_SCHEMA = "dermedge.model/1"
PACK_SCHEMA = "dermedge.pack/1"
_PACK_FILE = "pack.toml"

Role = Literal["rgb", "hemoglobin", "melanin"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Size = Annotated[int, Field(ge=16, le=4096)]
Vector3 = skin.Vector3


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OnnxFile(_Table):
    """The network's file, beside the manifest, and the hash that it must have."""

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _stays_beside_the_manifest(self) -> OnnxFile:
        if Path(self.file).name != self.file or self.file in ("", "..") or "\0" in self.file:
            raise ValueError(f"file must be a name beside the manifest, but got {self.file!r}")
        return self


class InputTensor(_Table):
    """One input of the network, and how it is made from the picture.

    The picture's 0..255 values (and, for pigment roles, the pigment image times 255) become
    ``(value * scale - mean) / std``. ``roles`` with more than one entry are stacked along the
    channel axis in that order, three channels each; ``colour_order`` is the order of those three.
    ``mean`` and ``std`` hold one number for all channels, three for every role, or one for each
    channel, in the order of the tensor's own channels (so B, G, R where that is the order).
    """

    name: str
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=3)]
    layout: Literal["NCHW", "NHWC"]
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    size_wh: tuple[Size, Size]
    scale: Annotated[float, Field(gt=0.0)]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[Annotated[float, Field(gt=0.0)], ...] = (1.0,)
    colour_order: Literal["RGB", "BGR"] = "RGB"
    round_pigments: bool = False

    @property
    def channels(self) -> int:
        """Channels of the tensor: three for each role."""
        return 3 * len(self.roles)

    @model_validator(mode="after")
    def _consistent(self) -> InputTensor:
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, 3, self.channels):
                raise ValueError(
                    f"{key} must have 1, 3 or {self.channels} numbers, but got {len(values)}"
                )
        if len(set(self.roles)) != len(self.roles):
            raise ValueError(f"roles must differ from each other, but got {list(self.roles)}")
        plain = self.scale == 1.0 and set(self.mean) == {0.0} and set(self.std) == {1.0}
        if self.dtype == "uint8" and not (plain and (self.roles == ("rgb",))):
            raise ValueError("dtype uint8 must have roles ['rgb'], scale 1, mean 0 and std 1")
        return self


class Pigments(_Table):
    """Constants of the melanin/hemoglobin decomposition; defaults: :mod:`models.skin`.

    Vectors are optical densities per unit pigment in R, G, B (natural logarithm); ``offset`` is
    subtracted from (q_mel, q_hem); ``floor`` is the smallest 8-bit value taken into the logarithm.
    """

    melanin_vector: Vector3 = skin.MELANIN_VECTOR
    hemoglobin_vector: Vector3 = skin.HEMOGLOBIN_VECTOR
    offset: tuple[float, float] = skin.PIGMENT_OFFSET
    floor: Annotated[float, Field(gt=0.0, le=16.0)] = skin.DENSITY_FLOOR

    @model_validator(mode="after")
    def _independent(self) -> Pigments:
        m, h = self.melanin_vector, self.hemoglobin_vector
        cross = (
            m[1] * h[2] - m[2] * h[1],
            m[2] * h[0] - m[0] * h[2],
            m[0] * h[1] - m[1] * h[0],
        )
        norms = sum(v * v for v in m) * sum(v * v for v in h)
        if norms == 0.0 or sum(c * c for c in cross) < 1e-6 * norms:
            raise ValueError("melanin_vector and hemoglobin_vector must not be parallel or zero")
        return self


class OutputTensor(_Table):
    """The output that is used.

    ``activation`` is what the network's graph has already applied: ``none`` means that the
    preparation adds the sigmoid or softmax. A segmenter has one channel, or two with softmax, of
    which the second is the lesion. ``labels`` are short ASCII codes in the network's order.
    """

    name: str
    layout: Literal["NCHW", "NHWC", "NC"]
    activation: Literal["none", "sigmoid", "softmax"]
    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    labels: tuple[Annotated[str, Field(pattern=r"^[ -~]{1,32}$")], ...] = ()


class RegionRules(_Table):
    """How a mask becomes regions; lengths are fractions, so that they hold at any resolution.

    Attributes:
        min_area_fraction: Smaller pieces are dropped; fraction of the frame's area.
        padding_fraction: Context around a region's box, as a fraction of the box's longer side,
            on each side.
        fill_holes: Holes belong to the region (its area, its crop) and are not outlined.
        merge_distance_fraction: Pieces nearer than this belong together; fraction of the
            frame's longer side.
        max_regions: At most this many are classified, the largest first.
    """

    min_area_fraction: Fraction = 0.001
    padding_fraction: Annotated[float, Field(ge=0.0, le=2.0)] = 0.15
    fill_holes: bool = True
    merge_distance_fraction: Annotated[float, Field(ge=0.0, le=0.2)] = 0.0
    max_regions: Annotated[int, Field(ge=1, le=64)] = 8


class ResizeRule(_Table):
    """How a picture of any shape becomes the network's input size.

    ``antialias`` averages over the area that an output pixel covers when shrinking; without it
    ``interpolation`` samples points, as the authors' app did. ``fill`` is the RGB value (0..255)
    around a letterboxed picture.
    """

    fit: Literal["stretch", "letterbox", "crop"]
    interpolation: Literal["nearest", "linear", "cubic"] = "linear"
    antialias: bool = True
    fill: tuple[
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
    ] = (0, 0, 0)


class Decision(_Table):
    """Temperature of the softmax, and the top probability below which no class is named."""

    temperature: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    abstain_below: Fraction = 0.0


class Quantize(_Table):
    """Nodes that stay out of INT8."""

    exclude: tuple[str, ...] = ()


class Gate(_Table):
    """Limits that an engine must hold against the reference before it is used."""

    dice_mean_min: Fraction = 0.99
    dice_min: Fraction = 0.95
    top1_agreement_min: Fraction = 0.98
    probability_change_p99_max: Fraction = 0.05


class Card(_Table):
    """What a person must know before using the model; shown by ``dermedge-models show``."""

    summary: str
    data: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    intended_use: str
    limits: tuple[str, ...] = ()


class Manifest(_Table):
    """One network: ``manifest.toml``, schema ``dermedge.model/1``."""

    schema_: Literal["dermedge.model/1"] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$")]
    task: Literal["segmentation", "classification"]
    domain: Annotated[tuple[Literal["clinical", "dermoscopic"], ...], Field(min_length=1)]
    lesions: Literal["pigmented", "red", "both"]
    validated: bool
    onnx: OnnxFile
    inputs: Annotated[tuple[InputTensor, ...], Field(min_length=1, max_length=3)]
    output: OutputTensor
    label_text: dict[str, str] = {}
    pigments: Pigments = Pigments()
    resize: ResizeRule
    regions: RegionRules | None = None
    decision: Decision | None = None
    max_batch: Annotated[int, Field(ge=1, le=64)] = 4
    quantize: Quantize = Quantize()
    gate: Gate = Gate()
    card: Card

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height that every input has, in pixels."""
        return self.inputs[0].size_wh

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if len({tensor.size_wh for tensor in self.inputs}) != 1:
            raise ValueError("inputs must all have the same size_wh")
        if len({tensor.name for tensor in self.inputs}) != len(self.inputs):
            raise ValueError("inputs must have different names")
        roles = [role for tensor in self.inputs for role in tensor.roles]
        if len(set(roles)) != len(roles):
            raise ValueError(f"each role must be fed once, but got {roles}")
        if self.task == "segmentation":
            self._check_segmentation()
        else:
            self._check_classification()
        return self

    def _check_segmentation(self) -> None:
        if self.output.threshold is None or self.regions is None:
            raise ValueError("a segmentation model must have output.threshold and [regions]")
        if self.output.labels or self.label_text or self.decision is not None:
            raise ValueError("a segmentation model must have no labels, label_text or [decision]")
        if self.output.layout == "NC":
            raise ValueError("a segmentation model's output.layout must be NCHW or NHWC")

    def _check_classification(self) -> None:
        labels = self.output.labels
        if len(labels) < 2 or len(set(labels)) != len(labels):
            raise ValueError("a classification model must have at least two different labels")
        if self.output.threshold is not None or self.regions is not None:
            raise ValueError("a classification model must have no output.threshold or [regions]")
        if self.decision is None:
            raise ValueError("a classification model must have [decision]")
        if self.output.layout != "NC":
            raise ValueError("a classification model's output.layout must be NC")
        if self.output.activation == "sigmoid":
            raise ValueError("a classification model's output.activation must be none or softmax")
        unknown = sorted(set(self.label_text) - set(labels))
        if unknown:
            raise ValueError(f"label_text must name labels of the output, but got {unknown}")


class _PackFile(_Table):
    schema_: Literal["dermedge.pack/1"] = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: str
    segmenter: str
    classifier: str
    summary: str

    @model_validator(mode="after")
    def _stays_in_its_folder(self) -> _PackFile:
        for key, text in (("segmenter", self.segmenter), ("classifier", self.classifier)):
            path = Path(text)
            if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in text:
                raise ValueError(f"{key} must be a path inside the pack's folder, but got {text!r}")
        return self


@dataclass(frozen=True)
class Model:
    """A manifest with the folder that its files lie in."""

    manifest: Manifest
    folder: Path

    @property
    def onnx_path(self) -> Path:
        """Where the manifest's ONNX file should be; it may be missing (a template)."""
        return self.folder / self.manifest.onnx.file

    def read_onnx(self) -> bytes:
        """The ONNX file's bytes, if they are the ones that the manifest names.

        Raises:
            ManifestError: The file is missing, unreadable, or has another hash.
        """
        path = self.onnx_path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ManifestError(
                f"the ONNX file {path}",
                got=error.strerror or str(error),
                next_step=f"put the file there, or correct [onnx] file in {self.folder}",
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.manifest.onnx.sha256:
            raise ManifestError(
                f"{path} with sha256 {self.manifest.onnx.sha256}",
                got=f"sha256 {found}",
                next_step="use the file that the manifest was written for, or, if the new file "
                "is meant, put its hash into [onnx] sha256",
            )
        return content


@dataclass(frozen=True)
class Pack:
    """A segmenter and a classifier that belong together."""

    name: str
    version: str
    summary: str
    folder: Path
    segmenter: Model
    classifier: Model


def load_manifest(path: Path) -> Model:
    """Read one ``manifest.toml``.

    Raises:
        ManifestError: The file is missing, is not TOML, or says what it may not; the message
            names file, key and value.
    """
    manifest = _validated(Manifest, _read_toml(path), path)
    return Model(manifest, path.parent)


def load_pack(folder: Path) -> Pack:
    """Read ``pack.toml`` in ``folder`` and the two manifests that it names.

    Raises:
        ManifestError: As :func:`load_manifest`, or a manifest has the other one's task.
    """
    path = folder / _PACK_FILE
    pack = _validated(_PackFile, _read_toml(path), path)
    segmenter = load_manifest(folder / pack.segmenter)
    classifier = load_manifest(folder / pack.classifier)
    for key, model, task in (
        ("segmenter", segmenter, "segmentation"),
        ("classifier", classifier, "classification"),
    ):
        if model.manifest.task != task:
            raise ManifestError(
                f"{path}: {key} with task {task!r}",
                got=f"{model.manifest.task!r}",
                next_step="name the right manifest in pack.toml",
            )
    return Pack(pack.name, pack.version, pack.summary, folder, segmenter, classifier)


def released_packs_folder() -> Path:
    """The folder of packs that come with the program."""
    return Path(__file__).parent / "packs"


def find_pack(name_or_folder: str) -> Pack:
    """A released pack by name, or any pack by its folder.

    Raises:
        RequestError: There is no such pack; the message lists the released ones.
        ManifestError: The folder exists but holds no ``pack.toml``, or as :func:`load_pack`.
    """
    released = released_packs_folder() / name_or_folder
    is_name = name_or_folder != "" and os.path.basename(name_or_folder) == name_or_folder
    if name_or_folder and os.path.isfile(os.path.join(name_or_folder, _PACK_FILE)):
        return load_pack(Path(name_or_folder))
    if is_name and os.path.isfile(released / _PACK_FILE):
        return load_pack(released)
    if name_or_folder and os.path.isdir(name_or_folder):
        raise ManifestError(
            "the folder of a pack",
            got=f"{_PACK_FILE} is missing in {name_or_folder}",
            next_step="give the folder that holds it",
        )
    names = sorted(path.parent.name for path in released_packs_folder().glob(f"*/{_PACK_FILE}"))
    raise RequestError(
        f"a pack's name or a folder with {_PACK_FILE}",
        got=repr(name_or_folder),
        next_step=f"use one of {', '.join(names)}, or give the folder of your own pack"
        + (
            "; a service sees nothing below /home: put it into /var/lib/dermedge"
            if name_or_folder.startswith("/home/")
            else ""
        ),
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return content
    except OSError as error:
        raise ManifestError(
            f"the file {path}",
            got=error.strerror or str(error),
            next_step="check the path of the pack",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{path} to be TOML in UTF-8", got=str(error), next_step="correct that line"
        ) from error


_T = TypeVar("_T", bound=BaseModel)


def _validated(kind: type[_T], content: dict[str, Any], path: Path) -> _T:
    # As JSON, because pydantic's strict mode then still takes a list for a tuple and 1 for 1.0,
    # but no "4" for 4, no 1 for true.
    text = json.dumps(content, default=str)
    try:
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        expected, got = _expected_and_got(first)
        # A list whose entry is wrong is reported as too short as well: not another error.
        more = sum(e["loc"] != first["loc"][: len(e["loc"])] for e in error.errors()[1:])
        raise ManifestError(
            f"{path}: {key}: {expected}",
            got=got,
            next_step="correct that key" + (f" ({more} more after it)" if more else ""),
        ) from error


def _expected_and_got(error: Any) -> tuple[str, str]:
    """What one of pydantic's errors, or one of the validators above, says in our words."""
    if error["type"] == "extra_forbidden":
        return "no such key", _short(error["input"])
    if error["type"] == "missing":
        return "this key", "a table without it"
    text = str(error["msg"])
    if error["type"] == "value_error":
        expected, found, got = text.removeprefix("Value error, ").partition(", but got ")
        return expected, got if found else "a table where it is not so"
    return text.removeprefix("Input should be "), _short(error["input"])


def _short(value: Any) -> str:
    text = "a table" if isinstance(value, dict) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
