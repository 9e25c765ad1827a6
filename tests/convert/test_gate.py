"""Planted faults are refused by name, rounding passes, and too little evidence decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convert.cache import prepared_path
from convert.gate import run_gate
from convert.golden import GoldenFrame
from convert.verdict import FRAMES_MIN
from edge.engine_card import GateVerdict
from edge.engines.base import EngineIdentity
from edge.engines.onnx import OnnxEngine
from edge.errors import ModelRefusedError
from models.manifest import Pack, find_pack
from models.phantom import random_spec, render
from packs_for_tests import write_pack

SIZE_WH = (160, 120)
Outputs = dict[str, NDArray[Any]]


@lru_cache(maxsize=1)
def golden() -> tuple[GoldenFrame, ...]:
    """Two hundred small phantoms: as many as the gate wants, and quick."""
    return tuple(_small_phantom(seed) for seed in range(FRAMES_MIN))


def _small_phantom(seed: int) -> GoldenFrame:
    made = render(random_spec(seed, SIZE_WH))
    boxes = []
    for label in range(1, int(made.labels.max()) + 1):
        rows, columns = np.nonzero(made.labels == label)
        if len(rows):
            boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    plain = tuple(tuple(int(edge) for edge in box) for box in boxes)
    return GoldenFrame(f"phantom {seed}", made.pixels, made.labels > 0, plain)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    folder = write_pack(tmp_path_factory.mktemp("gate") / "pack")
    return find_pack(str(folder))


@pytest.fixture(scope="module")
def engines(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    cache = tmp_path_factory.mktemp("cache")
    opened = {}
    for part, model in (("segmenter", pack.segmenter), ("classifier", pack.classifier)):
        manifest = model.manifest
        identity = EngineIdentity(manifest.name, "1", "onnx", "fp32", manifest.onnx.sha256)
        path = prepared_path(model, cache)
        opened[part] = OnnxEngine(path, identity, max_batch=manifest.max_batch)
    yield opened
    for engine in opened.values():
        engine.close()


class Planted:
    """An engine with a fault: the real one, with its pictures or its answers changed."""

    def __init__(
        self,
        engine: OnnxEngine,
        answers: Callable[[NDArray[Any]], NDArray[Any]] = lambda values: values,
        pictures: Callable[[NDArray[Any]], NDArray[Any]] = lambda pixels: pixels,
    ) -> None:
        self._engine, self._answers, self._pictures = engine, answers, pictures
        self.identity, self.input_size_wh = engine.identity, engine.input_size_wh
        self.max_batch = engine.max_batch

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        changed = np.ascontiguousarray(self._pictures(inputs["rgb"]))
        outputs = self._engine.infer({"rgb": changed})
        return {name: self._answers(np.array(values)) for name, values in outputs.items()}

    def close(self) -> None: ...
    def __enter__(self) -> Planted:
        return self

    def __exit__(self, *_: object) -> None: ...


def judge(pack: Pack, engines: dict[str, Any], part: str, engine: Any, frames: Any = None) -> Any:
    references = engines["segmenter"], engines["classifier"]
    verdicts = run_gate(pack, {part: engine}, references, golden() if frames is None else frames)
    assert set(verdicts) == {part}
    verdict = verdicts[part]
    assert isinstance(verdict, GateVerdict) and verdict.passed == (not verdict.reasons)
    return verdict


def test_an_engine_agrees_with_itself(pack: Pack, engines: dict[str, Any]) -> None:
    segmenter = judge(pack, engines, "segmenter", engines["segmenter"])
    assert segmenter.passed and segmenter.frames == FRAMES_MIN
    assert segmenter.figures["dice_mean"] == segmenter.figures["dice_min"] == 1.0
    assert segmenter.figures["probability_change_max"] == 0.0
    assert segmenter.figures["mask_area_ratio"] == 1.0
    assert segmenter.figures["blank_rate"] == segmenter.limits["blank_rate_max"] > 0.0
    assert segmenter.figures["dice_truth"] == segmenter.figures["dice_truth_reference"]
    assert segmenter.figures["large_frames"] > 50 and segmenter.figures["latency_ms_median"] > 0
    classifier = judge(pack, engines, "classifier", engines["classifier"])
    assert classifier.passed and classifier.figures["top1_agreement"] == 1.0
    assert classifier.figures["crops"] > 200 and classifier.figures["batch"] == 4
    assert classifier.golden_sha256 == segmenter.golden_sha256


def test_rounding_to_float16_passes(pack: Pack, engines: dict[str, Any]) -> None:
    def rounded(values: NDArray[Any]) -> NDArray[Any]:
        return values.astype(np.float16).astype(np.float32)

    for part in ("segmenter", "classifier"):
        verdict = judge(pack, engines, part, Planted(engines[part], rounded))
        assert verdict.passed, verdict.reasons
        assert 0.0 < verdict.figures["probability_change_max"] < 1e-3


def bad_tactic(values: NDArray[Any]) -> NDArray[Any]:
    height, width = values.shape[1:]
    values[:, : height // 4, : width // 4] = 1.0 - values[:, : height // 4, : width // 4]
    return values


def some_nan(values: NDArray[Any]) -> NDArray[Any]:
    values.reshape(len(values), -1)[:, 3] = np.nan
    return values


def some_infinity(values: NDArray[Any]) -> NDArray[Any]:
    values.reshape(len(values), -1)[:, 3] = np.inf
    return values


def swapped(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels[..., ::-1]


def shifted(values: NDArray[Any]) -> NDArray[Any]:
    moved = np.zeros_like(values)
    moved[:, 6:, :-9] = values[:, :-6, 9:]
    return moved


SEGMENTER_FAULTS = {
    "blank": (lambda v: np.zeros_like(v), None, "it is blank"),
    "full": (lambda v: np.ones_like(v), None, "marks every pixel"),
    "NaN": (some_nan, None, "200 values are NaN"),
    "infinity": (some_infinity, None, "200 values are infinite"),
    "swapped": (None, swapped, "red and blue were swapped"),
    "shifted": (shifted, None, "shifted by -9, 6 pixels"),
    "one bad tactic": (bad_tactic, None, "one part of the picture only"),
    "drift": (
        lambda v: np.clip(v * 0.7, 0, 1),
        None,
        "one probability in a hundred changes by 0.3",
    ),
}


@pytest.mark.parametrize("fault", SEGMENTER_FAULTS)
def test_a_segmenter_with_a_fault_is_refused_by_name(
    pack: Pack, engines: dict[str, Any], fault: str
) -> None:
    answers, pictures, words = SEGMENTER_FAULTS[fault]
    unchanged = lambda values: values  # noqa: E731
    planted = Planted(engines["segmenter"], answers or unchanged, pictures or unchanged)
    verdict = judge(pack, engines, "segmenter", planted)
    assert not verdict.passed
    assert words in "; ".join(verdict.reasons), verdict.reasons


def mixed(values: NDArray[Any]) -> NDArray[Any]:
    return np.roll(values, 1, axis=0)


CLASSIFIER_FAULTS = {
    "constant": (lambda v: np.full_like(v, 1 / v.shape[1]), None, "same answer whatever it sees"),
    "NaN": (some_nan, None, "values are NaN"),
    "swapped": (None, swapped, "red and blue were swapped"),
    "batches mixed up": (mixed, None, "wrong in batches of more than one"),
    "other class": (lambda v: v[:, ::-1].copy(), None, "same likeliest class in"),
}


@pytest.mark.parametrize("fault", CLASSIFIER_FAULTS)
def test_a_classifier_with_a_fault_is_refused_by_name(
    pack: Pack, engines: dict[str, Any], fault: str
) -> None:
    answers, pictures, words = CLASSIFIER_FAULTS[fault]
    unchanged = lambda values: values  # noqa: E731
    planted = Planted(engines["classifier"], answers or unchanged, pictures or unchanged)
    verdict = judge(pack, engines, "classifier", planted)
    assert not verdict.passed
    assert words in "; ".join(verdict.reasons), verdict.reasons


def test_an_engine_that_fails_on_a_picture_is_refused(pack: Pack, engines: dict[str, Any]) -> None:
    def fails(_: NDArray[Any]) -> NDArray[Any]:
        raise ModelRefusedError("an answer", got="a launch failure", next_step="none")

    for part, words in (("segmenter", "fails on phantom 0"), ("classifier", "fails on a batch")):
        verdict = judge(pack, engines, part, Planted(engines[part], fails))
        assert not verdict.passed and verdict.figures == {}
        assert words in verdict.reasons[0] and "a launch failure" in verdict.reasons[0]


def test_too_few_frames_decide_nothing(pack: Pack, engines: dict[str, Any]) -> None:
    for part in ("segmenter", "classifier"):
        verdict = judge(pack, engines, part, engines[part], golden()[: FRAMES_MIN - 1])
        assert not verdict.passed and "199 golden frames decide nothing" in verdict.reasons[-1]
    empty = judge(pack, engines, "segmenter", engines["segmenter"], [])
    assert not empty.passed and "there was no frame" in empty.reasons[0]


def test_skin_without_lesions_says_nothing_about_a_classifier(
    pack: Pack, engines: dict[str, Any]
) -> None:
    bare = GoldenFrame("skin", np.full((120, 160, 3), (200, 150, 120), np.uint8))
    verdict = judge(pack, engines, "classifier", engines["classifier"], [bare] * FRAMES_MIN)
    assert not verdict.passed and "0 crops, and 50 are needed" in verdict.reasons[0]


def test_the_limits_are_those_of_the_manifest(engines: dict[str, Any], tmp_path: Path) -> None:
    """A fault that the default limits refuse, under limits that allow it, and the other way."""

    def slightly(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.clip(values * 0.9, 0.0, 1.0), np.float32)

    loose = {"dice_mean_min": 0.0, "dice_min": 0.0, "probability_change_p99_max": 0.2}
    strict = {"probability_change_p99_max": 0.0}
    planted = Planted(engines["segmenter"], slightly)
    for name, gate, passes in (("loose", loose, True), ("strict", strict, False)):
        other = find_pack(str(write_pack(tmp_path / name, segmenter__gate=gate)))
        verdict = judge(other, engines, "segmenter", planted)
        drift = [reason for reason in verdict.reasons if "one probability" in reason]
        assert bool(drift) != passes
        assert verdict.limits["probability_change_p99_max"] == gate["probability_change_p99_max"]


def test_other_pictures_give_another_hash(pack: Pack, engines: dict[str, Any]) -> None:
    frames = list(golden())
    one = judge(pack, engines, "segmenter", engines["segmenter"], frames)
    changed = frames[5].pixels.copy()
    changed[0, 0, 0] ^= 1
    frames[5] = GoldenFrame(frames[5].name, changed)
    other = judge(pack, engines, "segmenter", engines["segmenter"], frames)
    assert one.golden_sha256 != other.golden_sha256


def test_what_the_product_would_refuse_is_refused(pack: Pack, engines: dict[str, Any]) -> None:
    def beyond(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(values * np.float32(1.02), np.float32)

    verdict = judge(pack, engines, "segmenter", Planted(engines["segmenter"], beyond))
    assert not verdict.passed and "not between 0 and 1" in verdict.reasons[0]

    def too_much(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(values + np.float32(0.02), np.float32)

    verdict = judge(pack, engines, "classifier", Planted(engines["classifier"], too_much))
    assert not verdict.passed and "do not add up to 1" in verdict.reasons[0]


def test_frames_in_which_there_is_nothing_to_find_decide_nothing(
    pack: Pack, engines: dict[str, Any]
) -> None:
    bare = GoldenFrame("skin", np.full((120, 120, 3), (200, 150, 120), np.uint8))
    verdict = judge(pack, engines, "segmenter", engines["segmenter"], [bare] * FRAMES_MIN)
    assert not verdict.passed and "decides nothing" in verdict.reasons[0]
