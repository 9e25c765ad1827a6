"""The packs that come with the program say what they must, and their commands need no torch."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from models.errors import ManifestError
from models.manifest import find_pack, load_pack, released_packs_folder
from models.show import list_command, show_command

PACKS = released_packs_folder()


@pytest.mark.parametrize("name", ["reference", "son2021"])
def test_pack_loads(name: str) -> None:
    pack = load_pack(PACKS / name)
    assert pack.name == name
    for model in (pack.segmenter, pack.classifier):
        assert not model.manifest.validated
        assert "not for diagnosis" in model.manifest.card.intended_use


# --- reference ----------------------------------------------------------------------------------


def test_reference_files_have_their_hashes_and_fit_the_limit() -> None:
    pack = find_pack("reference")
    contents = [model.read_onnx() for model in (pack.segmenter, pack.classifier)]
    assert sum(map(len, contents)) < 25_000_000


def test_reference_graphs_are_old_enough_for_every_device() -> None:
    pack = find_pack("reference")
    for model in (pack.segmenter, pack.classifier):
        graph = onnx.load_from_string(model.read_onnx())
        assert graph.ir_version <= 10
        assert max(entry.version for entry in graph.opset_import) <= 19


def test_reference_says_how_it_feeds_its_networks() -> None:
    pack = find_pack("reference")
    segmenter, classifier = pack.segmenter.manifest, pack.classifier.manifest
    assert segmenter.inputs[0].roles == ("rgb", "hemoglobin", "melanin")
    assert segmenter.size_wh == (304, 304)
    assert classifier.size_wh == (224, 224)
    assert classifier.output.labels == ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")
    assert set(classifier.label_text) == set(classifier.output.labels)
    assert segmenter.resize.fit == classifier.resize.fit == "letterbox"


def test_reference_card_states_what_a_person_must_know() -> None:
    card = " ".join((PACKS / "reference" / "CARD.md").read_text(encoding="utf-8").split())
    for words in (
        "not for diagnosis",
        "CC BY 4.0",
        "10.17632/zr7vgbcyr2.1",
        "types V and VI are nearly absent",
        "No photograph of dermatitis",
        "Marked share of lesion-free skin",
        "dermedge-models train DATA",
        "unvalidated",
    ):
        assert words in card


# --- template of the authors' networks ----------------------------------------------------------


def test_son2021_segmenter_is_the_apps() -> None:
    manifest = load_pack(PACKS / "son2021").segmenter.manifest
    assert [tensor.roles for tensor in manifest.inputs] == [("rgb",), ("hemoglobin",), ("melanin",)]
    for tensor in manifest.inputs:
        assert (tensor.layout, tensor.dtype, tensor.size_wh) == ("NHWC", "float32", (304, 304))
        assert tensor.scale == pytest.approx(1 / 255)
    assert [tensor.round_pigments for tensor in manifest.inputs] == [False, True, True]
    output = manifest.output
    assert (output.layout, output.activation, output.threshold) == ("NHWC", "sigmoid", 0.02)
    assert (manifest.resize.fit, manifest.resize.antialias) == ("stretch", False)
    assert manifest.max_batch == 1


def test_son2021_classifier_is_the_apps() -> None:
    manifest = load_pack(PACKS / "son2021").classifier.manifest
    tensor = manifest.inputs[0]
    assert (tensor.layout, tensor.size_wh, tensor.scale) == ("NHWC", (224, 224), 1.0)
    assert manifest.output.activation == "softmax"
    assert len(manifest.output.labels) == 18
    assert manifest.output.labels[0] == "ACNE" and manifest.output.labels[17] == "WARTS"
    assert manifest.decision is not None
    assert (manifest.decision.temperature, manifest.decision.abstain_below) == (1.0, 0.0)
    assert (manifest.resize.fit, manifest.resize.antialias) == ("stretch", False)


def test_son2021_has_no_weights_and_says_so() -> None:
    pack = load_pack(PACKS / "son2021")
    with pytest.raises(ManifestError, match="the ONNX file .*segmenter.onnx"):
        pack.segmenter.read_onnx()
    assert not list((PACKS / "son2021").glob("*.onnx"))


# --- commands -----------------------------------------------------------------------------------


def test_list_tells_complete_packs_from_templates() -> None:
    lines = CliRunner().invoke(list_command).output.splitlines()
    states = {line.split("  ")[0]: line.split("  ")[2] for line in lines}
    assert states["reference"] == "complete"
    assert states["son2021"] == "template, without segmenter.onnx and classifier.onnx"


def test_show_says_unvalidated_at_every_label() -> None:
    output = CliRunner().invoke(show_command, ["reference"]).output
    assert output.count("(unvalidated)") == 2 + 6
    assert "hash as written" in output


def test_show_tells_a_changed_file(tiny_pack: Path, tmp_path: Path) -> None:
    for path in tiny_pack.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "segmenter.onnx").write_bytes(b"changed")
    found = hashlib.sha256(b"changed").hexdigest()
    output = CliRunner().invoke(show_command, [str(tmp_path)]).output
    assert f"refused: expected {tmp_path}/segmenter.onnx with sha256" in output
    assert found in output


@pytest.mark.parametrize(
    "arguments", [["train", "data", "--out", "out"], ["export", "run", "--out", "out"]]
)
def test_without_torch_one_line_names_the_extra(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from models.__main__ import main\n"
        f"sys.argv = ['dermedge-models', *{arguments!r}]\n"
        "main()\n"
    )
    path = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": path},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "pip install '.[train]'" in done.stderr


def test_list_and_show_load_neither_torch_nor_opencv() -> None:
    code = (
        "import sys\n"
        "import models.__main__, models.show\n"
        "print(sorted({'torch', 'cv2', 'onnxruntime'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
