"""What a prepared graph feeds to the network equals models.skin and normalisation by hand.

Tolerance, as a fraction of a channel's span (what 0..255 spans after scaling and std): 1e-5 for
float32 (the graph folds constants in float64, the reference rounds each step to float32; the
unmixing matrix amplifies a rounding of the density about fiftyfold, the vectors shrink it again),
and half a unit in the last place more for float16. Where pigment images are rounded to 8 bit, a
value that lies on a rounding boundary may fall to the other side: one step of 1/255, for at most
one value in a thousand.
"""

from __future__ import annotations

from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import onnx
import pytest
from networks_for_tests import (
    hard_pictures,
    input_table,
    run_onnx,
    seeing_network,
    segmentation,
)

from convert.prepare import prepare_model
from models import skin
from models.manifest import InputTensor, Manifest

ROLES = ("rgb", "hemoglobin", "melanin")
NORMALISATIONS: dict[str, dict[str, Any]] = {
    "0..255": {"scale": 1.0},
    "0..1": {"scale": 1 / 255},
    "-1..1": {"scale": 1 / 127.5, "mean": [1.0]},
    "imagenet": {
        "scale": 1 / 255,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
TENSORRT_FRIENDLY = {
    "Cast", "Transpose", "Gather", "Mul", "Add", "Max", "Log", "Conv", "MatMul", "Clip", "Exp",
    "Round", "Concat", "Reshape", "Sigmoid",
}  # fmt: skip


def arrangements() -> list[tuple[tuple[str, ...], ...]]:
    """Every way to feed one, two or three roles, in any order, stacked in any tensors."""
    found = []
    for count in (1, 2, 3):
        for order in permutations(ROLES, count):
            for cuts in range(count):
                for places in combinations(range(1, count), cuts):
                    edges = [0, *places, count]
                    found.append(tuple(order[a:b] for a, b in zip(edges, edges[1:], strict=False)))
    return found


def test_every_arrangement_is_in_the_table() -> None:
    assert len(arrangements()) == len(set(arrangements())) == 3 + 12 + 24


@pytest.mark.parametrize("layouts", ["NCHW", "NHWC", "mixed"])
@pytest.mark.parametrize("tensors", arrangements(), ids=lambda t: "|".join("+".join(r) for r in t))
def test_every_arrangement_of_roles(tensors: tuple[tuple[str, ...], ...], layouts: str) -> None:
    # The other choices vary along the table; the test below combines all of them.
    number = arrangements().index(tensors)
    inputs = []
    for index, roles in enumerate(tensors):
        layout = ("NCHW", "NHWC")[index % 2] if layouts == "mixed" else layouts
        inputs.append(
            input_table(
                f"tensor_{index}",
                list(roles),
                layout=layout,
                colour_order=("RGB", "BGR")[(number + index) % 2],
                round_pigments=bool((number // 2 + index) % 2),
                **list(NORMALISATIONS.values())[(number + index) % 4],
            )
        )
    check_inputs(segmentation(inputs))


@pytest.mark.parametrize(
    ("layout", "colour", "dtype", "rounded", "normalisation"),
    list(
        product(
            ("NCHW", "NHWC"),
            ("RGB", "BGR"),
            ("float32", "float16"),
            (False, True),
            NORMALISATIONS,
        )
    ),
)
def test_every_way_to_write_a_tensor(
    layout: str, colour: str, dtype: str, rounded: bool, normalisation: str
) -> None:
    tensor = input_table(
        "image",
        list(ROLES),
        layout=layout,
        colour_order=colour,
        dtype=dtype,
        round_pigments=rounded,
        **NORMALISATIONS[normalisation],
    )
    check_inputs(segmentation([tensor]))


@pytest.mark.parametrize("channels", [3, 6, 9])
def test_mean_and_std_for_each_channel_of_a_stack(channels: int) -> None:
    roles = list(ROLES[: channels // 3])
    mean = np.linspace(0.1, 0.9, channels).tolist()
    std = np.linspace(0.2, 0.4, channels).tolist()
    check_inputs(segmentation([input_table("image", roles, mean=mean, std=std)]))


def test_mean_and_std_are_in_the_order_of_the_tensor() -> None:
    """The three numbers of a BGR tensor belong to B, G, R: as OpenCV's users write them."""
    tensor = input_table("image", ["rgb"], colour_order="BGR", mean=[0.1, 0.2, 0.3])
    manifest = segmentation([tensor])
    (seen,) = seen_tensors(manifest, hard_pictures())
    blue = hard_pictures()[..., 2] / 255 - 0.1
    np.testing.assert_allclose(seen[:, 0], blue, atol=1e-5)


@pytest.mark.parametrize(("layout", "colour"), list(product(("NCHW", "NHWC"), ("RGB", "BGR"))))
def test_uint8_network_input(layout: str, colour: str) -> None:
    tensor = input_table(
        "image", ["rgb"], layout=layout, colour_order=colour, dtype="uint8", scale=1.0
    )
    check_inputs(segmentation([tensor]))


def test_other_pigment_constants() -> None:
    inputs = [input_table("image", ["melanin", "rgb", "hemoglobin"])]
    check_inputs(
        segmentation(
            inputs,
            pigments={
                "melanin_vector": [0.4143, 0.3570, 0.8372],
                "hemoglobin_vector": [0.2988, 0.6838, 0.6657],
                "offset": [0.1, -0.2],
                "floor": 2.5,
            },
        )
    )


@pytest.mark.parametrize("grey", [0, 1, 128, 255])
def test_uniform_pictures(grey: int) -> None:
    manifest = segmentation([input_table("image", list(ROLES))])
    width, height = manifest.size_wh
    pictures = np.full((1, height, width, 3), grey, np.uint8)
    (seen,) = seen_tensors(manifest, pictures)
    assert np.isfinite(seen).all()
    assert seen.min() >= 0.0
    assert seen.max() <= 1.0


def check_inputs(manifest: Manifest) -> None:
    """Every tensor that reaches the network is what the manifest says, within the tolerance."""
    pictures = hard_pictures()
    prepared = prepare_model(seeing_network(manifest), manifest)
    check_contract(prepared, manifest)
    names = [f"seen_{tensor.name}" for tensor in manifest.inputs]
    for tensor, seen in zip(
        manifest.inputs, run_onnx(prepared, {"rgb": pictures}, *names), strict=True
    ):
        check_tensor(tensor, seen, pictures, manifest)


def seen_tensors(manifest: Manifest, pictures: np.ndarray) -> list[np.ndarray]:
    prepared = prepare_model(seeing_network(manifest), manifest)
    return run_onnx(prepared, {"rgb": pictures}, *(f"seen_{t.name}" for t in manifest.inputs))


def check_tensor(
    tensor: InputTensor, seen: np.ndarray, pictures: np.ndarray, manifest: Manifest
) -> None:
    assert seen.dtype == np.dtype(tensor.dtype)
    if tensor.layout == "NCHW":
        seen = seen.transpose(0, 2, 3, 1)
    expected = expected_tensor(tensor, pictures, manifest)
    assert seen.shape == expected.shape
    assert np.isfinite(seen).all()
    span = 255.0 * tensor.scale / np.resize(tensor.std, tensor.channels)
    tolerance = np.broadcast_to(1e-5 * span, expected.shape)
    if tensor.dtype == "float16":
        tolerance = tolerance + np.abs(expected) * 2.0**-11
    difference = np.abs(seen.astype(np.float64) - expected)
    wrong = difference > tolerance
    if tensor.round_pigments:
        flipped = wrong & (difference <= span / 255.0 * 1.001 + tolerance)
        assert flipped.mean() <= 1e-3
        wrong &= ~flipped
    assert not wrong.any(), f"{wrong.mean():.2%} differ by up to {(difference / span).max():.2g}"


def expected_tensor(tensor: InputTensor, pictures: np.ndarray, manifest: Manifest) -> np.ndarray:
    """By hand: models.skin, then scale, mean and std, channels last, float64."""
    hemoglobin, melanin = skin.pigment_images(
        pictures, manifest.pigments, rounded=tensor.round_pigments
    )
    by_role = {
        "rgb": pictures.astype(np.float64),
        "hemoglobin": hemoglobin.astype(np.float64) * 255.0,
        "melanin": melanin.astype(np.float64) * 255.0,
    }
    parts = [by_role[role] for role in tensor.roles]
    if tensor.colour_order == "BGR":
        parts = [part[..., ::-1] for part in parts]
    values = np.concatenate(parts, axis=-1)
    mean = np.resize(tensor.mean, tensor.channels)
    std = np.resize(tensor.std, tensor.channels)
    return (values * tensor.scale - mean) / std


def check_contract(prepared: onnx.ModelProto, manifest: Manifest) -> None:
    """One uint8 NHWC input that is read by one Cast; opset, IR, operators; nothing else."""
    graph = prepared.graph
    assert [value.name for value in graph.input] == ["rgb"]
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    width, height = manifest.size_wh
    dims = [dim.dim_value or dim.dim_param for dim in graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["N", height, width, 3]
    readers = [node for node in graph.node if "rgb" in node.input]
    assert [node.op_type for node in readers] == ["Cast"]
    assert [(e.domain, e.version) for e in prepared.opset_import] == [("", 17)]
    assert prepared.ir_version <= 10
    added = {node.op_type for node in graph.node if node.name.startswith("dermedge/")}
    assert added <= TENSORRT_FRIENDLY
    names = [node.name for node in graph.node if node.name]
    assert len(names) == len(set(names))
