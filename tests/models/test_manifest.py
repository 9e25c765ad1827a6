"""Manifests and packs: what is taken, and the exact words for what is not."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from models.errors import ManifestError, RequestError
from models.manifest import Model, find_pack, load_manifest, load_pack
from packs_for_tests import (
    changed,
    classifier_manifest,
    segmenter_manifest,
    toml_text,
    write_pack,
)

RGB = {"name": "image", "roles": ["rgb"], "layout": "NCHW", "size_wh": [96, 96], "scale": 1.0}


def written(folder: Path, table: dict[str, Any], **changes: Any) -> Path:
    path = folder / "manifest.toml"
    path.write_text(toml_text(changed(table, **changes)), encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    """The message without the path that it begins with."""
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert caught.value.exit_code == 4
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"expected {path}", "expected FILE")


def test_the_smallest_segmenter_and_its_defaults(tmp_path: Path) -> None:
    model = load_manifest(written(tmp_path, segmenter_manifest(96)))
    manifest = model.manifest
    assert model.folder == tmp_path
    assert model.onnx_path == tmp_path / "segmenter.onnx"
    assert manifest.size_wh == (96, 96)
    assert manifest.inputs[0].roles == ("rgb", "hemoglobin", "melanin")
    assert manifest.inputs[0].channels == 9
    assert manifest.inputs[0].dtype == "float32"
    assert manifest.pigments.melanin_vector == (0.0246, 0.0316, 0.0394)
    assert manifest.pigments.hemoglobin_vector == (0.0193, 0.0755, 0.0666)
    assert manifest.pigments.offset == (1.1601, 2.8347)
    assert manifest.pigments.floor == 1.0
    assert manifest.regions is not None
    assert manifest.regions.max_regions == 8
    assert manifest.max_batch == 4


def test_the_smallest_classifier(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path, classifier_manifest(64, 3))).manifest
    assert manifest.output.labels == ("ACK", "BCC", "MEL")
    assert manifest.label_text["MEL"] == "melanoma"
    assert manifest.decision is not None
    assert manifest.decision.temperature == 1.0


def test_whole_numbers_stand_for_floats(tmp_path: Path) -> None:
    manifest = load_manifest(written(tmp_path, segmenter_manifest(96), inputs__0__scale=1)).manifest
    assert manifest.inputs[0].scale == 1.0


SEGMENTER: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": (
        {"treshold": 0.5},
        "expected FILE: treshold: no such key; got 0.5; correct that key",
    ),
    "unknown key in a table": (
        {"output__treshold": 0.5},
        "expected FILE: output.treshold: no such key; got 0.5; correct that key",
    ),
    "unknown table": (
        {"extra": {"a": 1}},
        "expected FILE: extra: no such key; got a table; correct that key",
    ),
    "missing key": (
        {"task": None},
        "expected FILE: task: this key; got a table without it; correct that key",
    ),
    "missing key of an input": (
        {"inputs__0__scale": None},
        "expected FILE: inputs.0.scale: this key; got a table without it; correct that key",
    ),
    "two errors": (
        {"inputs__0__scale": None, "max_batch": 0},
        "expected FILE: inputs.0.scale: this key; got a table without it; "
        "correct that key (1 more after it)",
    ),
    "text for a number": (
        {"max_batch": "4"},
        "expected FILE: max_batch: a valid integer; got '4'; correct that key",
    ),
    "number for a truth value": (
        {"validated": 1},
        "expected FILE: validated: a valid boolean; got 1; correct that key",
    ),
    "truth value for a number": (
        {"inputs__0__scale": True},
        "expected FILE: inputs.0.scale: a valid number; got True; correct that key",
    ),
    "number for text": (
        {"version": 1.0},
        "expected FILE: version: a valid string; got 1.0; correct that key",
    ),
    "table for text": (
        {"name": {"a": 1}},
        "expected FILE: name: a valid string; got a table; correct that key",
    ),
    "text for a list": (
        {"inputs__0__roles": "rgb"},
        "expected FILE: inputs.0.roles: a valid array; got 'rgb'; correct that key",
    ),
    "other schema version": (
        {"schema": "dermedge.model/2"},
        "expected FILE: schema: 'dermedge.model/1'; got 'dermedge.model/2'; correct that key",
    ),
    "other task": (
        {"task": "detection"},
        "expected FILE: task: 'segmentation' or 'classification'; got 'detection'; "
        "correct that key",
    ),
    "name with a space": (
        {"name": "My Model"},
        "expected FILE: name: String should match pattern '^[a-z0-9][a-z0-9._-]{0,63}$'; "
        "got 'My Model'; correct that key",
    ),
    "hash that is none": (
        {"onnx__sha256": "ABC"},
        "expected FILE: onnx.sha256: String should match pattern '^[0-9a-f]{64}$'; got 'ABC'; "
        "correct that key",
    ),
    "file in another folder": (
        {"onnx__file": "../elsewhere/net.onnx"},
        "expected FILE: onnx: file must be a name beside the manifest; "
        "got '../elsewhere/net.onnx'; correct that key",
    ),
    "file by its whole path": (
        {"onnx__file": "/etc/passwd"},
        "expected FILE: onnx: file must be a name beside the manifest; got '/etc/passwd'; "
        "correct that key",
    ),
    "file that is the folder above": (
        {"onnx__file": ".."},
        "expected FILE: onnx: file must be a name beside the manifest; got '..'; correct that key",
    ),
    "file without a name": (
        {"onnx__file": ""},
        "expected FILE: onnx: file must be a name beside the manifest; got ''; correct that key",
    ),
    "file with a zero byte": (
        {"onnx__file": "a\0b"},
        "expected FILE: onnx: file must be a name beside the manifest; got 'a\\x00b'; "
        "correct that key",
    ),
    "unknown role": (
        {"inputs__0__roles": ["rgb", "depth"]},
        "expected FILE: inputs.0.roles.1: 'rgb', 'hemoglobin' or 'melanin'; got 'depth'; "
        "correct that key",
    ),
    "no role": (
        {"inputs__0__roles": []},
        "expected FILE: inputs.0.roles: Tuple should have at least 1 item after validation, not 0; "
        "got []; correct that key",
    ),
    "role twice in a tensor": (
        {"inputs__0__roles": ["rgb", "rgb"]},
        "expected FILE: inputs.0: roles must differ from each other; got ['rgb', 'rgb']; "
        "correct that key",
    ),
    "role in two tensors": (
        {"inputs": [RGB, {**RGB, "name": "again"}]},
        "expected FILE: the file: each role must be fed once; got ['rgb', 'rgb']; correct that key",
    ),
    "two tensors of one name": (
        {"inputs": [RGB, {**RGB, "roles": ["melanin"]}]},
        "expected FILE: the file: inputs must have different names; got a table where it is not "
        "so; correct that key",
    ),
    "two sizes": (
        {"inputs": [RGB, {**RGB, "name": "b", "roles": ["melanin"], "size_wh": [96, 64]}]},
        "expected FILE: the file: inputs must all have the same size_wh; got a table where it is "
        "not so; correct that key",
    ),
    "size too small": (
        {"inputs__0__size_wh": [8, 96]},
        "expected FILE: inputs.0.size_wh.0: greater than or equal to 16; got 8; correct that key",
    ),
    "std of zero": (
        {"inputs__0__std": [0.0]},
        "expected FILE: inputs.0.std.0: greater than 0; got 0.0; correct that key",
    ),
    "means for two channels": (
        {"inputs__0__mean": [0.1, 0.2]},
        "expected FILE: inputs.0: mean must have 1, 3 or 9 numbers; got 2; correct that key",
    ),
    "uint8 that is scaled": (
        {"inputs": [{**RGB, "dtype": "uint8", "scale": 0.5}]},
        "expected FILE: inputs.0: dtype uint8 must have roles ['rgb'], scale 1, mean 0 and std 1; "
        "got a table where it is not so; correct that key",
    ),
    "parallel pigment vectors": (
        {"pigments": {"melanin_vector": [1.0, 2.0, 3.0], "hemoglobin_vector": [2.0, 4.0, 6.0]}},
        "expected FILE: pigments: melanin_vector and hemoglobin_vector must not be parallel or "
        "zero; got a table where it is not so; correct that key",
    ),
    "pigment vector of zeros": (
        {"pigments": {"melanin_vector": [0.0, 0.0, 0.0]}},
        "expected FILE: pigments: melanin_vector and hemoglobin_vector must not be parallel or "
        "zero; got a table where it is not so; correct that key",
    ),
    "threshold of one": (
        {"output__threshold": 1.0},
        "expected FILE: output.threshold: less than 1; got 1.0; correct that key",
    ),
    "segmenter without a threshold": (
        {"output__threshold": None},
        "expected FILE: the file: a segmentation model must have output.threshold and [regions]; "
        "got a table where it is not so; correct that key",
    ),
    "segmenter with labels": (
        {"output__labels": ["A", "B"]},
        "expected FILE: the file: a segmentation model must have no labels, label_text or "
        "[decision]; got a table where it is not so; correct that key",
    ),
    "segmenter with a row of scores": (
        {"output__layout": "NC"},
        "expected FILE: the file: a segmentation model's output.layout must be NCHW or NHWC; "
        "got a table where it is not so; correct that key",
    ),
}

CLASSIFIER: dict[str, tuple[dict[str, Any], str]] = {
    "one label": (
        {"output__labels": ["ONLY"], "label_text": None},
        "a classification model must have at least two different labels",
    ),
    "a label twice": (
        {"output__labels": ["A", "B", "A"], "label_text": None},
        "a classification model must have at least two different labels",
    ),
    "text for no label": (
        {"label_text__XYZ": "unknown"},
        "label_text must name labels of the output; got ['XYZ']",
    ),
    "no decision": ({"decision": None}, "a classification model must have [decision]"),
    "a threshold": (
        {"output__threshold": 0.5},
        "a classification model must have no output.threshold or [regions]",
    ),
    "regions": (
        {"regions": {"max_regions": 4}},
        "a classification model must have no output.threshold or [regions]",
    ),
    "a sigmoid": (
        {"output__activation": "sigmoid"},
        "a classification model's output.activation must be none or softmax",
    ),
    "a map": ({"output__layout": "NCHW"}, "a classification model's output.layout must be NC"),
}


@pytest.mark.parametrize("case", SEGMENTER)
def test_a_segmenter_is_refused(tmp_path: Path, case: str) -> None:
    changes, message = SEGMENTER[case]
    assert refusal(written(tmp_path, segmenter_manifest(96), **changes)) == message


@pytest.mark.parametrize("case", CLASSIFIER)
def test_a_classifier_is_refused(tmp_path: Path, case: str) -> None:
    changes, message = CLASSIFIER[case]
    found = refusal(written(tmp_path, classifier_manifest(96, 6), **changes))
    assert found.startswith(f"expected FILE: the file: {message}")


@pytest.mark.parametrize("label", ["한국어", "", "x" * 33, "tab\there"])
def test_labels_are_short_ascii(tmp_path: Path, label: str) -> None:
    """Any font can write them; the text for people goes into label_text."""
    path = written(
        tmp_path, classifier_manifest(96, 2), output__labels=["A", label], label_text=None
    )
    assert "output.labels.1: String should match pattern" in refusal(path)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_numbers_are_finite(tmp_path: Path, number: str) -> None:
    path = written(tmp_path, segmenter_manifest(96), inputs__0__scale=0.123456)
    path.write_text(path.read_text().replace("0.123456", number))
    assert "inputs.0.scale: a finite number" in refusal(path)


def test_a_date_is_no_text(tmp_path: Path) -> None:
    """TOML knows more types than a manifest does."""
    path = written(tmp_path, segmenter_manifest(96), max_batch=77)
    path.write_text(path.read_text().replace("max_batch = 77", "max_batch = 2026-01-01"))
    assert "max_batch: a valid integer; got '2026-01-01'" in refusal(path)


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"name = ", "got Invalid value (at end of document)"),
        (b"name = 'a'\nname = 'b'\n", "got Cannot overwrite a value (at line 2, column 11)"),
        (b"\xff\xfe\x00", "got 'utf-8' codec can't decode byte 0xff"),
        (b"\x89PNG\r\n\x1a\n", "got 'utf-8' codec can't decode byte 0x89"),
    ],
)
def test_no_toml(tmp_path: Path, content: bytes, got: str) -> None:
    path = tmp_path / "manifest.toml"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith("expected FILE to be TOML in UTF-8; got ")
    assert got in message


def test_no_manifest_at_all(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path / "manifest.toml")
    assert str(caught.value) == (
        f"expected the file {tmp_path / 'manifest.toml'}; got No such file or directory; "
        "check the path of the pack"
    )


# --- packs --------------------------------------------------------------------------------------


def test_a_pack_and_its_files(tiny_pack: Path) -> None:
    pack = load_pack(tiny_pack)
    assert (pack.name, pack.version, pack.folder) == ("tiny", "1.0", tiny_pack)
    for model in (pack.segmenter, pack.classifier):
        digest = hashlib.sha256(model.read_onnx()).hexdigest()
        assert digest == model.manifest.onnx.sha256


def test_a_file_with_another_hash(tmp_path: Path) -> None:
    model = load_pack(write_pack(tmp_path)).segmenter
    model.onnx_path.write_bytes(b"something else")
    digest = hashlib.sha256(b"something else").hexdigest()
    assert onnx_refusal(model) == (
        f"expected {model.onnx_path} with sha256 {model.manifest.onnx.sha256}; "
        f"got sha256 {digest}; use the file that the manifest was written for, or, if the new "
        "file is meant, put its hash into [onnx] sha256"
    )


def test_a_missing_file(tmp_path: Path) -> None:
    model = load_pack(write_pack(tmp_path)).segmenter
    model.onnx_path.unlink()
    assert onnx_refusal(model) == (
        f"expected the ONNX file {model.onnx_path}; got No such file or directory; put the file "
        f"there, or correct [onnx] file in {tmp_path}"
    )


def onnx_refusal(model: Model) -> str:
    with pytest.raises(ManifestError) as caught:
        model.read_onnx()
    return str(caught.value)


def test_manifests_in_folders_of_their_own(tmp_path: Path) -> None:
    write_pack(tmp_path, pack__segmenter="seg/manifest.toml")
    (tmp_path / "seg").mkdir()
    (tmp_path / "segmenter.toml").rename(tmp_path / "seg" / "manifest.toml")
    (tmp_path / "segmenter.onnx").rename(tmp_path / "seg" / "segmenter.onnx")
    assert load_pack(tmp_path).segmenter.folder == tmp_path / "seg"


PACKS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": (
        {"pack__extra": 1},
        "expected FILE: extra: no such key; got 1; correct that key",
    ),
    "other schema version": (
        {"pack__schema": "dermedge.pack/9"},
        "expected FILE: schema: 'dermedge.pack/1'; got 'dermedge.pack/9'; correct that key",
    ),
    "manifest outside": (
        {"pack__segmenter": "../segmenter.toml"},
        "expected FILE: the file: segmenter must be a path inside the pack's folder; "
        "got '../segmenter.toml'; correct that key",
    ),
    "manifest by its whole path": (
        {"pack__classifier": "/tmp/classifier.toml"},
        "expected FILE: the file: classifier must be a path inside the pack's folder; "
        "got '/tmp/classifier.toml'; correct that key",
    ),
    "swapped": (
        {"pack__segmenter": "classifier.toml", "pack__classifier": "segmenter.toml"},
        "expected FILE: segmenter with task 'segmentation'; got 'classification'; "
        "name the right manifest in pack.toml",
    ),
}


@pytest.mark.parametrize("case", PACKS)
def test_a_pack_is_refused(tmp_path: Path, case: str) -> None:
    changes, message = PACKS[case]
    folder = write_pack(tmp_path, **changes)
    with pytest.raises(ManifestError) as caught:
        load_pack(folder)
    assert str(caught.value).replace(f"{folder / 'pack.toml'}", "FILE") == message


def test_find_pack_by_folder(tiny_pack: Path) -> None:
    assert find_pack(str(tiny_pack)).name == "tiny"


@pytest.mark.parametrize("name", ["no-such-pack", "", "/nowhere", "x" * 5000, "a\0b"])
def test_a_name_that_is_no_pack_is_a_wrong_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (write_pack(tmp_path / "here") / "pack.toml").rename(tmp_path / "pack.toml")
    monkeypatch.chdir(tmp_path)  # "" must not mean this folder
    with pytest.raises(RequestError) as caught:
        find_pack(name)
    message = str(caught.value)
    assert message.startswith(f"expected a pack's name or a folder with pack.toml; got {name!r}; ")
    assert message.endswith("give the folder of your own pack")


def test_a_folder_that_is_no_pack_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ManifestError, match=f"got pack.toml is missing in {tmp_path}; give"):
        find_pack(str(tmp_path))

    (tmp_path / "reference").mkdir()  # the user's own folder, which only has that name
    monkeypatch.chdir(tmp_path)
    assert find_pack("reference").name == "reference"
