"""A model pair with another framework's habits runs through manifests alone.

The pair is built like the published one (Son et al. 2021): a segmenter with three NHWC inputs of
304x304 (RGB, hemoglobin, melanin, each divided by 255, pigment images stored as 8 bit) and its
sigmoid inside; a classifier with one NHWC input of 0..255, 18 softmax outputs and a batch fixed at
1; both fed by plain bilinear stretching. It runs once through manifests of this test and once
through the committed template ``models/packs/son2021``, into which only names and hashes are put.
The reference is the raw ONNX, run by hand: OpenCV's resize and the formulas of the paper in
float64.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from networks_for_tests import model_of, run_onnx, sha256
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convert.cache import prepared_path
from edge.compose import open_analyzer, open_engines
from edge.frame import Frame
from models.manifest import Pack, find_pack
from models.phantom import random_spec, render
from models.resize import fit_image
from packs_for_tests import write_pack

TEMPLATE = Path(__file__).parents[2] / "models" / "packs" / "son2021"
SIDE, CROP_SIDE, CLASSES = 304, 224, 18
UNET_INPUTS = ("serving_default_rgb:0", "serving_default_hem:0", "serving_default_mel:0")
UNET_OUTPUT = "StatefulPartitionedCall:0"
CLASSIFIER_INPUT, CLASSIFIER_OUTPUT = "efficientnetb0_input", "Identity:0"


def segmenter() -> bytes:
    """Concat in NHWC, Transpose, down by a strided convolution, up, Transpose, Sigmoid in NHWC."""
    rng = np.random.default_rng(11)
    weights = {
        "down_w": rng.normal(0, 0.25, (8, 9, 3, 3)).astype(np.float32),
        "down_b": rng.normal(0, 0.1, 8).astype(np.float32),
        "up_w": rng.normal(0, 0.3, (8, 8, 2, 2)).astype(np.float32),
        "head_w": rng.normal(0, 0.5, (1, 17, 1, 1)).astype(np.float32),
        # As converters write a Keras Reshape: the batch is a number.
        "plane": np.array([1, SIDE, SIDE, 1], np.int64),
    }
    nodes = [
        helper.make_node("Concat", list(UNET_INPUTS), ["planes_nhwc"], name="concat", axis=3),
        transpose("planes_nhwc", "planes", [0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "down_w", "down_b"], ["deep"], strides=[2, 2],
                         pads=[0, 0, 1, 1]),
        helper.make_node("Elu", ["deep"], ["deep_elu"]),
        helper.make_node("ConvTranspose", ["deep_elu", "up_w"], ["up"], strides=[2, 2]),
        helper.make_node("Concat", ["up", "planes"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "head_w"], ["head"]),
        transpose("head", "head_nhwc", [0, 2, 3, 1]),
        helper.make_node("Reshape", ["head_nhwc", "plane"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], [UNET_OUTPUT], name="sigmoid"),
    ]  # fmt: skip
    info = helper.make_tensor_value_info
    return model_of(
        nodes,
        [info(name, TensorProto.FLOAT, [1, SIDE, SIDE, 3]) for name in UNET_INPUTS],
        [info(UNET_OUTPUT, TensorProto.FLOAT, [1, SIDE, SIDE, 1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
        opset=13,
    )


def classifier() -> bytes:
    """Rescaling inside, one convolution, mean, a Reshape with a fixed batch, softmax."""
    rng = np.random.default_rng(12)
    weights = {
        "rescale": np.float32(1 / 255),
        "stem": rng.normal(0, 0.3, (12, 3, 3, 3)).astype(np.float32),
        "row": np.array([1, 12], np.int64),
        "dense": rng.normal(0, 2.0, (12, CLASSES)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Mul", [CLASSIFIER_INPUT, "rescale"], ["rescaled"]),
        transpose("rescaled", "nchw", [0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "stem"], ["features"], strides=[2, 2]),
        helper.make_node("Sigmoid", ["features"], ["gate"]),
        helper.make_node("Mul", ["features", "gate"], ["swish"]),
        helper.make_node("GlobalAveragePool", ["swish"], ["mean"]),
        helper.make_node("Reshape", ["mean", "row"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [CLASSIFIER_OUTPUT], axis=-1),
    ]
    info = helper.make_tensor_value_info
    return model_of(
        nodes,
        [info(CLASSIFIER_INPUT, TensorProto.FLOAT, [1, CROP_SIDE, CROP_SIDE, 3])],
        [info(CLASSIFIER_OUTPUT, TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
        opset=13,
    )


def transpose(source: str, target: str, perm: list[int]) -> NodeProto:
    return helper.make_node("Transpose", [source], [target], perm=perm)


@pytest.fixture(scope="module", params=["written here", "template"])
def pack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Two ONNX files and three TOML files; no code knows this pair."""
    folder = tmp_path_factory.mktemp("packs") / "published"
    return from_template(folder) if request.param == "template" else written_here(folder)


def from_template(folder: Path) -> Pack:
    """The steps of the template's README: copy, put the files in, write names and hashes."""
    names = {
        "segmenter": dict(
            zip(("rgb", "hemoglobin", "melanin"), UNET_INPUTS, strict=True), probability=UNET_OUTPUT
        ),
        "classifier": {"image": CLASSIFIER_INPUT, "probabilities": CLASSIFIER_OUTPUT},
    }
    folder.mkdir()
    (folder / "pack.toml").write_bytes((TEMPLATE / "pack.toml").read_bytes())
    for part, content in (("segmenter", segmenter()), ("classifier", classifier())):
        (folder / f"{part}.onnx").write_bytes(content)
        text = (TEMPLATE / f"{part}.toml").read_text(encoding="utf-8")
        changes = {f'name = "{name}"': f'name = "{new}"' for name, new in names[part].items()}
        changes[f'sha256 = "{"0" * 64}"'] = f'sha256 = "{sha256(content)}"'
        for line, new in changes.items():
            text, count = re.subn(rf"^{re.escape(line)}$", new, text, flags=re.MULTILINE)
            assert count == 1, line
        (folder / f"{part}.toml").write_text(text, encoding="utf-8")
    return find_pack(str(folder))


def written_here(folder: Path) -> Pack:
    stretch = {"fit": "stretch", "interpolation": "linear", "antialias": False}
    roles = ("rgb", "hemoglobin", "melanin")
    folder = write_pack(
        folder,
        segmenter_onnx=segmenter(),
        classifier_onnx=classifier(),
        segmenter__inputs=[
            {
                "name": name,
                "roles": [role],
                "layout": "NHWC",
                "size_wh": [SIDE, SIDE],
                "scale": 1 / 255,
                "round_pigments": True,
            }
            for name, role in zip(UNET_INPUTS, roles, strict=True)
        ],
        segmenter__output={
            "name": UNET_OUTPUT,
            "layout": "NHWC",
            "activation": "sigmoid",
            "threshold": 0.02,
        },
        segmenter__resize=stretch,
        classifier__inputs=[
            {
                "name": CLASSIFIER_INPUT,
                "roles": ["rgb"],
                "layout": "NHWC",
                "size_wh": [CROP_SIDE, CROP_SIDE],
                "scale": 1.0,
            }
        ],
        classifier__output={
            "name": CLASSIFIER_OUTPUT,
            "layout": "NC",
            "activation": "softmax",
            "labels": [f"CLASS {index}" for index in range(CLASSES)],
        },
        classifier__label_text=None,
        classifier__resize=stretch,
    )
    return find_pack(str(folder))


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Three phantoms of different tones, not square, and none in the size of a network."""
    return [
        render(random_spec(seed, (400, 300), ita_deg=ita)).pixels
        for seed, ita in ((1, 50.0), (2, 20.0), (3, -40.0))
    ]


def pigment_images_by_hand(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Son 2021, as its authors compute it, with a floor of 1; float64, stored as 8 bit."""
    melanin, hemoglobin = np.array([0.0246, 0.0316, 0.0394]), np.array([0.0193, 0.0755, 0.0666])
    density = -np.log(np.maximum(pixels, 1) / 255.0)
    quantity = density @ np.linalg.pinv(np.stack([melanin, hemoglobin], axis=1)).T
    quantity -= (1.1601, 2.8347)
    images = [
        np.rint(255 * np.clip(np.exp(-quantity[..., i, np.newaxis] * vector), 0, 1)) / 255
        for i, vector in ((1, hemoglobin), (0, melanin))
    ]
    return images[0], images[1]


def test_the_segmenter_equals_the_raw_network(pack: Pack, frames: list[np.ndarray]) -> None:
    content = pack.segmenter.read_onnx()
    with open_engines(pack, "onnx", threads=1) as (engine, _):
        for frame in frames:
            fitted, _ = fit_image(frame, engine.input_size_wh, pack.segmenter.manifest.resize)
            found = engine.infer({"rgb": fitted[np.newaxis]})["probability"]
            by_hand = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            hemoglobin, melanin = pigment_images_by_hand(by_hand)
            tensors = (by_hand / 255, hemoglobin, melanin)
            feeds = {
                name: tensor[np.newaxis].astype(np.float32)
                for name, tensor in zip(UNET_INPUTS, tensors, strict=True)
            }
            (expected,) = run_onnx(content, feeds)
            difference = np.abs(found[0] - expected[0, ..., 0])
            # A pigment value on the edge between two steps of 8 bit may round the other way in
            # float32: a few pixels then differ by what one step is worth to this network.
            assert np.quantile(difference, 0.99) < 1e-5
            assert difference.max() < 5e-3
            assert expected.std() > 0.01, "the reference must not be flat"


def test_the_classifier_equals_the_raw_network(pack: Pack, frames: list[np.ndarray]) -> None:
    """In batches where the manifest allows, although the network was exported for one picture."""
    content = pack.classifier.read_onnx()
    expected = []
    for frame in frames:
        by_hand = cv2.resize(frame, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_LINEAR)
        feeds = {CLASSIFIER_INPUT: by_hand[np.newaxis].astype(np.float32)}
        expected.append(run_onnx(content, feeds)[0][0])
    with open_engines(pack, "onnx", threads=1) as (_, engine):
        assert (engine.max_batch > 1) == (pack.classifier.manifest.max_batch > 1)
        rule = pack.classifier.manifest.resize
        crops = [fit_image(frame, engine.input_size_wh, rule)[0] for frame in frames]
        found = np.concatenate(
            [
                engine.infer({"rgb": np.stack(crops[start : start + engine.max_batch])})[
                    "probabilities"
                ].copy()
                for start in range(0, len(crops), engine.max_batch)
            ]
        )
    assert found.shape == (len(frames), CLASSES)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.01, "the pictures must get different answers"


def test_a_picture_goes_the_whole_way(pack: Pack, frames: list[np.ndarray]) -> None:
    """Regions in the manifest's terms, each with the network's own labels."""
    labels = pack.classifier.manifest.output.labels
    with open_analyzer(pack, "onnx", threads=1) as analyzer:
        result = analyzer.analyze(Frame(frames[0], 0, "file:a", None, None, "file")).result
    assert result.status == "ok" and result.regions
    for region in result.regions:
        assert region.classes is not None and not region.abstained
        assert {entry.label for entry in region.classes} <= set(labels)
        assert sum(entry.probability for entry in region.classes) <= 1.0 + 1e-6


def test_no_needless_transposes(pack: Pack, tmp_path: Path) -> None:
    """NHWC into a network that turns to NCHW itself: only its own Transposes are left."""
    import onnx

    for model, own in ((pack.segmenter, 2), (pack.classifier, 1)):
        graph = onnx.load(str(prepared_path(model, tmp_path))).graph
        assert [node.op_type for node in graph.node].count("Transpose") <= own


def test_the_published_unmixing(pack: Pack) -> None:
    """The hand-written reference uses the matrix that the authors' app has as numbers."""
    columns = np.array([[0.0246, 0.0316, 0.0394], [0.0193, 0.0755, 0.0666]]).T
    published = [[49.498073, -26.59762992, 15.80793166], [-23.99799413, 21.06695593, -1.91282112]]
    np.testing.assert_allclose(np.linalg.pinv(columns), published, atol=1e-6)
    assert math.isclose(pack.segmenter.manifest.pigments.offset[1], 2.8347)
