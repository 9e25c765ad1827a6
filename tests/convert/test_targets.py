"""Targets: the names that a user may type, and what the TensorRT behind each of them reads."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import convert.targets
from convert.targets import DEFAULT_TARGET, find_target
from models.errors import RequestError

DATA = Path(convert.targets.__file__).parent / "data"


@pytest.mark.parametrize(
    ("name", "shown", "tensorrt"),
    [
        ("jetpack-6.1", "JetPack 6.1", "10.3.0.30"),
        ("jetpack-6.2", "JetPack 6.2", "10.3.0.30"),
        ("jetpack-6.2.1", "JetPack 6.2.1", "10.3.0.30"),
        ("jetpack-6.2.2", "JetPack 6.2.2", "10.3.0.30"),
        ("jetpack-7.0", "JetPack 7.0", "10.13.3.9"),
        ("jetpack-7.1", "JetPack 7.1", "10.13.3.9"),
        ("jetpack-7.2", "JetPack 7.2", "10.16.2.10"),
        ("JetPack-7.2.2", "JetPack 7.2.2", "11.4.1"),
        ("tensorrt-10.3", "TensorRT 10.3", "10.3"),
        ("10.3", "TensorRT 10.3", "10.3"),
        ("10.3.0.30", "TensorRT 10.3.0.30", "10.3.0.30"),
        ("TensorRT-11.4.1", "TensorRT 11.4.1", "11.4.1"),
    ],
)
def test_names(name: str, shown: str, tensorrt: str) -> None:
    found = find_target(name)
    assert (found.name, found.tensorrt) == (shown, tensorrt)


def test_the_default_is_jetpack_6_2() -> None:
    assert find_target(DEFAULT_TARGET) == find_target("jetpack-6.2")


def test_every_jetpack_of_the_data_is_a_target_or_too_old() -> None:
    for version, tensorrt in json.loads((DATA / "jetpack.json").read_text())["tensorrt"].items():
        if int(tensorrt.split(".")[0]) >= 10:
            assert find_target(f"jetpack-{version}").tensorrt == tensorrt
        else:
            with pytest.raises(RequestError, match="dermedge needs TensorRT 10.3 or later"):
                find_target(f"jetpack-{version}")


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("jetpack-4.6", "got JetPack 4.6 with TensorRT 8.0.1;"),
        ("jetpack-5.1.3", "got JetPack 5.1.3;"),
        ("jetpack-6.0", "got JetPack 6.0 with TensorRT 8.6.2.3;"),
        ("tensorrt-8.6", "got TensorRT 8.6;"),
        ("10.0.1", "got TensorRT 10.0.1;"),
        ("10.2", "got TensorRT 10.2;"),
    ],
)
def test_too_old(name: str, got: str) -> None:
    with pytest.raises(RequestError) as caught:
        find_target(name)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(
        "expected JetPack 6.1 or later, because dermedge needs TensorRT 10.3 or later; "
    )
    assert got in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("jetpack-7.3", "got JetPack 7.3; name its TensorRT instead"),
        ("12.0", "expected TensorRT 10.3 to 11.x; got TensorRT 12.0;"),
        ("6.2", "for JetPack 6.2 write jetpack-6.2"),
        ("orin", "got 'orin'; use one of jetpack-6.1, jetpack-6.2,"),
        ("jetpack-6", "got 'jetpack-6';"),
        ("tensorrt-10", "got 'tensorrt-10';"),
        ("10.3.0.30.1", "got '10.3.0.30.1';"),
        ("", "got '';"),
    ],
)
def test_no_target(name: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        find_target(name)
    assert says in str(caught.value)


def test_operators_come_with_releases() -> None:
    for release, name in (("10.4", "HannWindow"), ("10.5", "STFT"), ("11.0", "Swish")):
        assert find_target(release).operators[name].types
        before = find_target("10.3")
        assert name not in before.operators
        assert before.later[name] == release
    assert find_target("10.11").operators["Pow"].types == {"FP32", "FP16", "BF16"}
    assert "INT64" in find_target("10.12").operators["Pow"].types
    assert "FP4" in find_target("10.8").element_types - find_target("10.7").element_types
    assert find_target("10.3").operators["Pad"].constant_inputs == (3,)
    assert find_target("10.4").operators["Pad"].constant_inputs == ()


def test_newer_releases_read_all_that_older_ones_read() -> None:
    releases = [find_target(f"10.{minor}") for minor in range(3, 17)]
    releases += [find_target(f"11.{minor}") for minor in range(5)]
    for older, newer in zip(releases, releases[1:], strict=False):
        assert older.opset_max <= newer.opset_max
        assert older.element_types <= newer.element_types
        for name, operator in older.operators.items():
            assert operator.types <= newer.operators[name].types
            assert not older.later.keys() & older.operators.keys()


@pytest.mark.parametrize(
    ("release", "says"),
    [
        (
            "10.3.0.30",
            "TensorRT 10.1's ONNX parser, with its changes up to 10.3 (known up to 11.1)",
        ),
        ("11.1", "TensorRT 10.1's ONNX parser, with its changes up to 11.1 (known up to 11.1)"),
        ("11.4.1", "with its changes up to 11.1; later ones are not known"),
    ],
)
def test_the_table_says_how_far_it_is_known(release: str, says: str) -> None:
    assert says in find_target(release).table


def test_the_table_speaks_of_real_operators_and_types() -> None:
    """A name that ONNX never had would be a typing error that no graph shows."""
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    # Of ONNX's experimental operators, which newer packages of it have forgotten.
    forgotten = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}
    newest = find_target("11.4")
    # Operators that came after the oldest onnx package that dermedge runs with.
    young = {"Attention", "RMSNormalization", "RotaryEmbedding", "Swish", "TensorScatter"}
    assert set(newest.operators) - known - forgotten - young == set()
    for operator in newest.operators.values():
        assert operator.types | operator.exponent_types <= newest.element_types
        assert operator.types


def test_the_data_names_its_sources() -> None:
    for path in DATA.glob("*.json"):
        assert json.loads(path.read_text(encoding="utf-8"))["source"]
