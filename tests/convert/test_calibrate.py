"""Calibration on real pictures: bound to what it was made from, refused where it is thin."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from convert.cache import prepared_path
from convert.calibrate import (
    PICTURES_MIN,
    Calibration,
    calibrate,
    read_calibration,
    watched_tensors,
)
from convert.candidates import reference_engines
from convert.precision import graph_for
from edge.errors import InputError
from models.errors import ModelRefusedError
from models.manifest import Pack, find_pack
from models.phantom import random_spec, render
from packs_for_tests import write_pack


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DERMEDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return find_pack(str(write_pack(tmp_path / "pack")))


def photographs(folder: Path, count: int, lesions: int = 2) -> Path:
    folder.mkdir()
    for seed in range(count):
        made = render(random_spec(seed, (120, 96), lesion_count=lesions, domain="clinical"))
        cv2.imwrite(str(folder / f"{seed:03}.png"), made.pixels[..., ::-1])
    return folder


def calibrated(pack: Pack, folder: Path, **options: object) -> dict[str, Calibration]:
    graphs = prepared(pack)
    with reference_engines(pack) as (segmenter, _):
        return calibrate(pack, graphs, segmenter, folder, **options)  # type: ignore[arg-type]


def prepared(pack: Pack) -> dict[str, onnx.ModelProto]:
    models = {"segmenter": pack.segmenter, "classifier": pack.classifier}
    return {part: onnx.load(str(prepared_path(model))) for part, model in models.items()}


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_ranges_of_every_product_from_real_pictures(
    pack: Pack, tmp_path: Path, method: str
) -> None:
    made = calibrated(pack, photographs(tmp_path / "in", 40), method=method)
    graphs = prepared(pack)
    for part, calibration in made.items():
        assert calibration.part == part and calibration.method == method
        assert list(calibration.ranges) == watched_tensors(graphs[part]) != []
        assert all(value > 0.0 for value in calibration.ranges.values())
        assert [p.name for p in calibration.pictures] == [f"{i:03}.png" for i in range(40)]
    assert made["segmenter"].seen == 40 and made["classifier"].seen >= 32
    graph = graph_for(pack.segmenter, graphs["segmenter"], "int8", made["segmenter"].ranges)
    assert any(node.op_type == "QuantizeLinear" for node in graph.graph.node)


def test_the_same_pictures_give_the_same_record(pack: Pack, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "in", 40)
    first, second = (calibrated(pack, folder)["segmenter"] for _ in range(2))
    assert first == second and first.sha256 == second.sha256
    path = tmp_path / "record.json"
    path.write_bytes(first.to_json())
    assert read_calibration(path) == first
    picture = folder / "000.png"
    pixels = cv2.imread(str(picture))
    pixels[0, 0] ^= 1
    cv2.imwrite(str(picture), pixels)
    assert calibrated(pack, folder)["segmenter"].sha256 != first.sha256


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"segmenter__inputs__0__mean": [0.5]}, "prepared graph"),
        ({"segmenter__resize__fit": "stretch"}, "preprocessing"),
        ({"segmenter__regions__padding_fraction": 0.3}, None),  # the segmenter does not care
    ],
)
def test_a_record_fits_only_what_it_was_made_for(
    pack: Pack, tmp_path: Path, changes: dict[str, object], words: str | None
) -> None:
    made = calibrated(pack, photographs(tmp_path / "in", 40))
    other = find_pack(str(write_pack(tmp_path / "other", **changes)))
    graphs = prepared(other)
    if words is None:
        made["segmenter"].check_fits(graphs["segmenter"], other)
    else:
        with pytest.raises(ModelRefusedError, match=words):
            made["segmenter"].check_fits(graphs["segmenter"], other)
    if "segmenter__regions__padding_fraction" in changes:
        with pytest.raises(ModelRefusedError, match="preprocessing"):
            made["classifier"].check_fits(graphs["classifier"], other)


def test_too_few_pictures_are_refused(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        calibrated(pack, tmp_path / "empty")
    with pytest.raises(InputError, match=f"at least {PICTURES_MIN} pictures .*got 3"):
        calibrated(pack, photographs(tmp_path / "three", 3))


def test_a_picture_that_cannot_be_read_is_named(pack: Pack, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "in", 40)
    (folder / "020.png").write_bytes((folder / "020.png").read_bytes()[:200])
    with pytest.raises(InputError, match=r"020\.png"):
        calibrated(pack, folder)


def test_skin_without_regions_cannot_calibrate_a_classifier(pack: Pack, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    skin = np.full((96, 96, 3), (120, 150, 200), np.uint8)
    for index in range(40):
        cv2.imwrite(str(folder / f"{index}.png"), skin)
    with pytest.raises(ModelRefusedError, match="32 regions .* got 0 in 40 pictures"):
        calibrated(pack, folder)


def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    for name, content in (("a", b"{}"), ("b", b"no json"), ("c", None)):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelRefusedError, match="calibration"):
            read_calibration(path)


def test_int8_without_a_calibration_is_refused(pack: Pack) -> None:
    with pytest.raises(ModelRefusedError, match="--calibration FOLDER"):
        graph_for(pack.segmenter, prepared(pack)["segmenter"], "int8")
