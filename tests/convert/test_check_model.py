"""The check of a model with its manifest, and ``dermedge-convert check`` as a user types it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs_for_tests import only
from onnx import helper

from convert.__main__ import main
from convert.check import Finding, check_model
from convert.precision import Precision
from convert.targets import find_target
from models.errors import ManifestError
from models.manifest import find_pack
from packs_for_tests import network_bytes, segmenter_network, write_pack

SIZE = 96
JETPACK = find_target("jetpack-6.2")


def findings(folder: Path, part: str = "segmenter") -> list[Finding]:
    return check_model(getattr(find_pack(str(folder)), part), JETPACK)


def changed(change: Callable[[onnx.ModelProto], object], *, opset: int = 17) -> bytes:
    """The tiny segmenter's network with a change."""
    model = onnx.load_model_from_string(segmenter_network(SIZE))
    model.opset_import[0].version = opset
    change(model)
    content: bytes = model.SerializeToString()
    return content


def behind_the_network(*nodes: onnx.NodeProto, **weights: np.ndarray) -> Callable[..., None]:
    """Adds nodes that read ``inner`` and give ``logit``."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "inner"
        model.graph.node.extend(nodes)
        for name, array in weights.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))

    return change


# --- the released packs -------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["segmenter", "classifier"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "target",
    ["jetpack-6.1", "jetpack-6.2", "jetpack-6.2.1", "jetpack-6.2.2", "jetpack-7.0", "jetpack-7.1",
     "jetpack-7.2", "jetpack-7.2.2", "10.3", "11.4.1"],
)  # fmt: skip
def test_the_released_pack_has_no_findings(target: str, precision: Precision, part: str) -> None:
    model = getattr(find_pack("reference"), part)
    assert check_model(model, find_target(target), precision) == []


@pytest.mark.parametrize("part", ["segmenter", "classifier"])
def test_the_template_has_no_weights(part: str) -> None:
    with pytest.raises(ManifestError, match="expected the ONNX file .*son2021"):
        check_model(getattr(find_pack("son2021"), part), JETPACK)


def test_another_hash(tmp_path: Path) -> None:
    folder = write_pack(tmp_path, segmenter__onnx__sha256="0" * 64)
    with pytest.raises(ManifestError, match="with sha256 0000"):
        findings(folder)


# --- the network as exported --------------------------------------------------------------------


def test_no_network(tmp_path: Path) -> None:
    found = only(findings(write_pack(tmp_path, segmenter_onnx=b"not a network")))
    assert (found.severity, found.node) == ("error", "segmenter.onnx")
    assert "an ONNX model; got 13 bytes" in found.found


def test_an_invalid_network(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[2].name = "middle"
        model.graph.node[2].input.append("smooth")

    found = only(findings(write_pack(tmp_path, segmenter_onnx=changed(change))))
    assert found.node == "middle"
    assert "a valid ONNX model" in found.found


def test_weights_in_another_file(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        onnx.external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")
        model.graph.initializer[0].ClearField("raw_data")

    found = only(findings(write_pack(tmp_path, segmenter_onnx=changed(change))))
    assert "weights in another file (weights.bin)" in found.found
    assert "without external data" in found.way_out


def test_every_disagreement_with_the_manifest_at_once(tmp_path: Path) -> None:
    folder = write_pack(
        tmp_path, segmenter__inputs__0__name="picture", segmenter__output__name="mask"
    )
    found = findings(folder)
    assert [f.node for f in found] == ["segmenter.onnx"] * 2
    assert "an input named 'picture'; got inputs 'image'" in found[0].found
    assert found[0].way_out == "correct inputs.name in the manifest"
    assert "an output named 'mask'; got outputs 'logit'" in found[1].found


def test_a_disagreement_that_only_a_run_shows(tmp_path: Path) -> None:
    found = only(findings(write_pack(tmp_path, segmenter__output__activation="sigmoid")))
    assert found.way_out == "correct output.activation in the manifest"


def test_a_network_that_does_not_run(tmp_path: Path) -> None:
    """Its operators are checked all the same."""
    name = "com.microsoft"

    def change(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid(name, 1))
        node = helper.make_node("NoSuch", ["inner"], ["logit"], name="strange", domain=name)
        behind_the_network(node)(model)

    first, second = findings(write_pack(tmp_path, segmenter_onnx=changed(change)))
    assert "a graph that ONNX Runtime can run" in first.found
    assert second.node == "strange"
    assert second.found.startswith("NoSuch of the domain com.microsoft")


# --- the prepared graph -------------------------------------------------------------------------


def crop(model: onnx.ModelProto) -> None:
    node = helper.make_node("CenterCropPad", ["inner", "size"], ["logit"], name="crop", axes=[2, 3])
    behind_the_network(node, size=np.array([SIZE, SIZE]))(model)


def test_an_operator_that_the_device_does_not_read(tmp_path: Path) -> None:
    found = only(findings(write_pack(tmp_path, segmenter_onnx=changed(crop, opset=18))))
    assert (found.severity, found.node) == ("error", "crop")
    assert found.found == "CenterCropPad is no operator that TensorRT 10.3.0.30 reads"


def test_fp64_in_the_network(tmp_path: Path) -> None:
    change = behind_the_network(
        helper.make_node("Cast", ["inner"], ["wide"], name="widen", to=onnx.TensorProto.DOUBLE),
        helper.make_node("Cast", ["wide"], ["logit"], name="narrow", to=onnx.TensorProto.FLOAT),
    )
    found = only(findings(write_pack(tmp_path, segmenter_onnx=changed(change))))
    assert (found.node, found.found) == ("widen", "Cast makes FP64")


def test_an_exclusion_of_a_node_that_is_not_there(tmp_path: Path) -> None:
    found = only(findings(write_pack(tmp_path, segmenter__quantize__exclude=["conv_9"])))
    assert (found.severity, found.node) == ("error", "conv_9")
    assert found.way_out == "correct quantize.exclude in the manifest"


def test_a_batch_that_stays_one(tmp_path: Path) -> None:
    """Three nodes that forget the batch: the graph is prepared for one picture at a time."""
    nodes = [
        helper.make_node("Tile", ["image", "once"], ["copy"]),
        helper.make_node("Slice", ["copy", "zero", "one", "zero"], ["first"]),
        helper.make_node("ReduceMean", ["first"], ["logit"], axes=[1]),
    ]
    content = network_bytes(
        nodes,
        {"once": np.ones(4, np.int64), "zero": np.array([0]), "one": np.array([1])},
        {"image": [1, 9, SIZE, SIZE]},
        {"logit": [1, 1, SIZE, SIZE]},
    )
    found = only(findings(write_pack(tmp_path / "four", segmenter_onnx=content)))
    assert (found.severity, found.node) == ("warning", "segmenter.onnx")
    assert found.found.startswith("max_batch is 4, but the graph takes one picture at a time (")
    single = write_pack(tmp_path / "one", segmenter_onnx=content, segmenter__max_batch=1)
    assert findings(single) == []


def test_weights_beyond_float16(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        pick = onnx.numpy_helper.to_array(model.graph.initializer[0]) * np.float32(1e6)
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(pick, "pick"))

    model = find_pack(str(write_pack(tmp_path, segmenter_onnx=changed(change)))).segmenter
    assert check_model(model, JETPACK) == []
    found = only(check_model(model, JETPACK, "fp16"))
    assert (found.severity, found.node) == ("error", "segmenter.onnx")
    assert "got 1e+06 in 'pick'" in found.found
    assert "--precision fp32" in found.way_out


# --- the command --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int | str | None
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """``dermedge-convert check`` in this process, with the arguments that a user types."""

    def typed(*arguments: Any) -> Done:
        monkeypatch.setattr(sys, "argv", ["dermedge-convert", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return Done(stop.value.code, out, err)

    return typed


def test_a_pack_without_findings(run: Callable[..., Done], tiny_pack: Path) -> None:
    done = run(tiny_pack)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "target     JetPack 6.2, TensorRT 10.3.0.30 (the default; another one: --target NAME)",
        "operators  those of TensorRT 10.1's ONNX parser, with its changes up to 10.3 "
        "(known up to 11.1)",
        "segmenter  tiny-segmenter 1.0, fp32",
        "classifier tiny-classifier 1.0, fp32",
        "0 errors, 0 warnings",
    ]


def test_a_chosen_target(run: Callable[..., Done], tiny_pack: Path) -> None:
    done = run(tiny_pack, "--target", "tensorrt-11.4.1")
    assert done.returncode == 0
    assert "target     TensorRT 11.4.1\noperators  those of TensorRT 10.1" in done.stdout
    assert "up to 11.1; later ones are not known\n" in done.stdout


def test_a_chosen_precision(run: Callable[..., Done], tiny_pack: Path) -> None:
    done = run(tiny_pack, "--precision", "fp16")
    assert done.returncode == 0
    assert "segmenter  tiny-segmenter 1.0, fp16\n" in done.stdout
    assert run(tiny_pack, "--precision", "fp8").returncode == 2


def test_errors_give_exit_code_4(run: Callable[..., Done], tmp_path: Path) -> None:
    folder = write_pack(tmp_path, segmenter_onnx=changed(crop, opset=18))
    done = run(folder)
    assert (done.returncode, done.stderr) == (4, "")
    lines = done.stdout.splitlines()
    assert lines[3] == (
        "  error: crop: CenterCropPad is no operator that TensorRT 10.3.0.30 reads; "
        "export the network without it"
    )
    assert lines[-1] == "1 error, 0 warnings"


def test_warnings_alone_give_exit_code_0(run: Callable[..., Done], tmp_path: Path) -> None:
    change = behind_the_network(
        helper.make_node("Cast", ["inner"], ["whole"], name="round", to=onnx.TensorProto.INT64),
        helper.make_node("Cast", ["whole"], ["logit"], to=onnx.TensorProto.FLOAT),
    )
    done = run(write_pack(tmp_path, segmenter_onnx=changed(change)))
    assert done.returncode == 0
    assert "\n  warning: round: Cast makes INT64 of the picture's values; " in done.stdout
    assert done.stdout.endswith("\n0 errors, 1 warning\n")


def test_an_old_jetpack(run: Callable[..., Done], tiny_pack: Path) -> None:
    done = run(tiny_pack, "--target", "jetpack-5.1.2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: expected JetPack 6.1 or later, because dermedge needs TensorRT 10.3 or later; "
        "got JetPack 5.1.2 with TensorRT 8.5.2; install JetPack 6.1 or later on the device "
        "(Jetson Orin and newer)\n"
    )


def test_the_template_gives_its_error(run: Callable[..., Done]) -> None:
    done = run("son2021")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: expected the ONNX file ")


def test_no_such_pack(run: Callable[..., Done]) -> None:
    assert run("no-such-pack").returncode == 2
