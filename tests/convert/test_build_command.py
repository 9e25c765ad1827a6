"""``dermedge-convert build`` and ``inspect`` on the stand-in of TensorRT: what is kept.

The stand-in's engines run in ONNX Runtime; what is wrong with them, tests plant.
"""

from __future__ import annotations

import fcntl
import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import built_engines_for_tests
import cv2
import pytest
from click.testing import CliRunner

from convert import kept_calibration
from convert.calibrate import read_calibration
from convert.commands.build import build
from convert.commands.inspect import inspect
from edge.compose import open_engines
from edge.engine_card import EngineCard
from edge.engine_folder import ModelEngines
from edge.errors import DermedgeError, InputError, ModelRefusedError, RequestError
from models.manifest import find_pack
from models.phantom import random_spec, render
from packs_for_tests import write_pack


@dataclass
class Done:
    """What a command said, and the error that it ended with."""

    out: str
    error: DermedgeError | None

    def __str__(self) -> str:
        return f"{self.out}{self.error}"


class Bench:
    """A pack, an engine folder, and the commands on them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.pack, self.root = folder / "pack", folder / "engines"
        self._patch = patch
        write_pack(self.pack)

    def build(self, *arguments: str, part: str | None = "segmenter") -> Done:
        only = [] if part is None else ["--part", part]
        return _run(build, str(self.pack), "--engines", str(self.root), *only, *arguments)

    def inspect(self, *arguments: str) -> Done:
        return _run(inspect, *arguments, "--engines", str(self.root))

    def plant(self, **settings: object) -> None:
        for name, value in settings.items():
            self._patch.setenv(f"STANDIN_{name.upper()}", str(value))

    def engines(self, part: str = "segmenter") -> ModelEngines:
        model = getattr(find_pack(str(self.pack)), part)
        return ModelEngines(self.root, model.manifest.name, model.manifest.onnx.sha256)

    def chosen(self, part: str = "segmenter") -> EngineCard:
        """The card in use; its engine is whole."""
        card = self.engines(part).chosen()
        assert card is not None
        self.engines(part).check_content(card)
        return card


def _run(command: Any, *arguments: str) -> Done:
    done = CliRunner().invoke(command, arguments)
    if done.exception is not None and not isinstance(done.exception, DermedgeError):
        raise done.exception
    return Done(done.stdout, done.exception)


@pytest.fixture
def bench(compiler: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("DERMEDGE_CACHE", str(tmp_path / "cache"))
    built_engines_for_tests.use_small_frames(monkeypatch)
    return Bench(tmp_path, monkeypatch)


# --- what is built, kept and chosen ---------------------------------------------------------------


def test_both_parts_are_built_judged_and_used(bench: Bench) -> None:
    done = bench.build(part=None)
    assert done.error is None
    for part in ("segmenter", "classifier"):
        card = bench.chosen(part)
        assert (card.part, card.precision, card.tf32, card.passed) == (part, "fp16", False, True)
        assert card.build.attempts == 1 and card.settings.max_batch == 4
        assert f"{card.engine.file} is in use" in done.out
    assert "24 frames against float32: Dice" in done.out
    assert "crops against float32: same class" in done.out
    assert done.out.count("200 golden frames against ONNX Runtime, float32") == 2


def test_what_was_built_is_what_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMEDGE_ENGINES", str(bench.root))
    bench.build(part=None)
    with open_engines(find_pack(str(bench.pack))) as engines:
        ran = [engine.identity for engine in engines]
    cards = [bench.chosen(part) for part in ("segmenter", "classifier")]
    assert [identity.backend for identity in ran] == ["tensorrt"] * 2
    assert [identity.engine_sha256 for identity in ran] == [card.engine.sha256 for card in cards]
    assert all(card.transfer.keys() > {"rgb"} for card in cards)


def test_a_second_build_with_nothing_changed_does_nothing(bench: Bench) -> None:
    bench.build()
    files = {p: p.stat().st_mtime_ns for p in bench.root.rglob("*") if p.name != ".build.lock"}
    bench.plant(build_fails="it was compiled again", perturb="blank")
    done = bench.build()
    assert done.error is None and "nothing has changed since" in done.out
    after = {p: p.stat().st_mtime_ns for p in bench.root.rglob("*") if p.name != ".build.lock"}
    assert after == files


@pytest.mark.parametrize(
    ("setting", "value"),
    [("library_version", "10.3.0.31"), ("gpu_sms", 16), ("gpu_name", "Thor")],
)
def test_another_device_needs_another_engine(bench: Bench, setting: str, value: object) -> None:
    bench.build()
    before = bench.chosen()
    bench.plant(**{setting: value})
    assert bench.build().error is None
    after = bench.chosen()
    assert after.key != before.key and after.device != before.device
    assert len(list(bench.engines().cards())) == 2


def test_other_settings_and_another_manifest_need_another_engine(bench: Bench) -> None:
    keys = []
    bench.build("--precision", "fp32")
    keys.append(bench.chosen().key)
    bench.build("--precision", "fp32", "--optimization-level", "1")
    keys.append(bench.chosen().key)
    bench.build("--precision", "fp32", "--workspace-mib", "40")
    keys.append(bench.chosen().key)
    assert bench.chosen().build.workspace_bytes == 40 << 20
    write_pack(bench.pack, segmenter__max_batch=2)
    bench.build("--precision", "fp32")
    keys.append(bench.chosen().key)
    assert bench.chosen().settings.max_batch == 2
    assert len(set(keys)) == 4
    assert "nothing has changed" in bench.build("--precision", "fp32").out


def test_fp32_loses_nothing_and_says_nothing(bench: Bench) -> None:
    assert "24 frames against float32" not in bench.build("--precision", "fp32").out
    assert bench.chosen().precision == "fp32" and not bench.chosen().tf32


def test_attempts_are_in_the_card(bench: Bench) -> None:
    bench.plant(build_kill_above=40 << 20)
    bench.build("--workspace-mib", "64")
    card = bench.chosen()
    assert (card.build.attempts, card.build.workspace_bytes) == (2, 32 << 20)


# --- the gate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("perturbation", "words"), [("blank", "blank"), ("nan", "NaN")])
def test_a_refused_engine_leaves_the_one_in_use(
    bench: Bench, perturbation: str, words: str
) -> None:
    bench.build("--precision", "fp32")
    before = bench.chosen()
    bench.plant(perturb=f"{perturbation}@fp16")
    done = bench.build("--precision", "fp16")
    assert isinstance(done.error, ModelRefusedError) and words in str(done.error)
    assert "NOT PASSED" in done.out
    assert bench.chosen() == before
    (refused,) = (c for _, c in bench.engines().cards() if c.key != before.key)
    assert isinstance(refused, EngineCard) and refused.gate is not None
    assert words in " ".join(refused.gate.reasons)


def test_a_refused_engine_is_not_built_again_unless_forced(bench: Bench) -> None:
    bench.plant(perturb="blank")
    bench.build()
    bench.plant(perturb="", build_fails="it was compiled again")
    done = bench.build()
    assert isinstance(done.error, ModelRefusedError) and "blank" in str(done.error)
    assert "--force builds it again" in done.out
    bench.plant(build_fails="")
    assert bench.build("--force").error is None
    # It was not in use, so nothing had to be kept.
    assert bench.chosen().settings.rebuild == 0


def test_one_part_that_is_refused_does_not_hold_the_other_back(bench: Bench) -> None:
    bench.plant(perturb="nan@probability")
    done = bench.build(part=None)
    assert isinstance(done.error, ModelRefusedError) and "segmenter: " in str(done.error)
    assert "classifier: " not in str(done.error)
    assert bench.engines().chosen() is None and bench.chosen("classifier").passed


def test_a_forced_build_that_fails_leaves_the_same_engine_in_use(bench: Bench) -> None:
    bench.build()
    before = bench.chosen()
    bench.plant(perturb="blank")
    assert isinstance(bench.build("--force").error, ModelRefusedError)
    assert bench.chosen() == before
    bench.plant(perturb="")
    assert "nothing has changed" in bench.build().out
    assert bench.build("--force").error is None
    assert bench.chosen().key != before.key
    assert bench.chosen().settings.rebuild == 1
    assert bench.build("--force").error is None
    assert bench.chosen().key == before.key
    assert len(list(bench.engines().cards())) == 2


def test_an_engine_that_nobody_judged_is_judged_now(bench: Bench) -> None:
    bench.build()
    card = bench.chosen()
    bench.engines().write_card(card.model_copy(update={"gate": None}))
    bench.plant(build_fails="it was compiled again")
    done = bench.build()
    assert done.error is None and "200 golden frames" in done.out
    assert bench.chosen().passed


def test_an_engine_whose_card_was_never_written_is_built_again(bench: Bench) -> None:
    bench.build()
    card = bench.chosen()
    bench.engines().card_path(card.precision, card.key).unlink()
    done = bench.build()
    assert done.error is None and "built in" in done.out
    assert bench.chosen().key == card.key


# --- the best -------------------------------------------------------------------------------------


def test_the_fastest_that_passes_is_kept(bench: Bench) -> None:
    bench.plant(run_ms="fp32=1,fp16=8")
    done = bench.build("--precision", "best")
    assert done.error is None and bench.chosen().precision == "fp32"
    assert "int8        not tried: it needs pictures (--calibration DIR)" in done.out
    assert "segmenter   fp16: Dice" in done.out and "segmenter   fp32: Dice" in done.out


def test_the_fastest_is_not_kept_where_it_fails(bench: Bench) -> None:
    bench.plant(run_ms="fp32=8,fp16=1", perturb="blank@fp16")
    done = bench.build("--precision", "best")
    assert done.error is None and bench.chosen().precision == "fp32"
    assert "segmenter   fp16: refused: " in done.out


def test_none_of_the_best_passes(bench: Bench) -> None:
    bench.plant(perturb="nan")
    done = bench.build("--precision", "best")
    assert isinstance(done.error, ModelRefusedError)
    assert str(done.error).count("refused: ") == 2
    assert bench.engines().chosen() is None


def test_a_precision_that_cannot_be_compiled_is_passed_over(bench: Bench) -> None:
    bench.build("--precision", "fp32")
    bench.plant(build_fails="Error Code 9: of a test")
    done = bench.build("--precision", "best")
    assert done.error is None and bench.chosen().precision == "fp32"
    assert "segmenter   fp16: none: expected TensorRT to compile" in done.out


# --- int8 -----------------------------------------------------------------------------------------


def photographs(folder: Path, count: int) -> Path:
    folder.mkdir()
    for seed in range(count):
        made = render(random_spec(seed, (120, 96), lesion_count=2, domain="clinical"))
        cv2.imwrite(str(folder / f"{seed:03}.png"), made.pixels[..., ::-1])
    return folder


def test_int8_is_calibrated_once_for_the_same_pictures(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photographs(tmp_path / "photographs", 32)
    options = ("--precision", "int8", "--calibration", str(folder))
    bench.build(*options)
    (first,) = int8_cards(bench)
    record = bench.engines().folder / "calibration.json"
    assert first.calibration_sha256 == read_calibration(record).sha256
    assert "24 frames against float32: Dice" in bench.build(*options, "--force").out

    def again(*_: object) -> None:
        raise AssertionError("it was calibrated again")

    with monkeypatch.context() as patch:
        patch.setattr(kept_calibration, "calibrated", again)
        assert "nothing has changed since" in bench.build(*options).out
        shutil.copy(folder / "001.png", folder / "000.png")
        with pytest.raises(AssertionError, match="calibrated again"):
            bench.build(*options)
    bench.build(*options)
    assert len({card.calibration_sha256 for card in int8_cards(bench)}) == 2


def test_a_damaged_calibration_is_measured_again(bench: Bench, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photographs", 32)
    options = ("--precision", "int8", "--calibration", str(folder))
    bench.build(*options)
    record = bench.engines().folder / "calibration.json"
    content = record.read_bytes()
    record.write_bytes(content[:100])
    assert "nothing has changed since" in bench.build(*options).out
    assert record.read_bytes() == content


@pytest.mark.parametrize(("limit", "kept"), [(1.0, "int8"), (0.002, "fp16")])
def test_the_best_tries_int8_first(bench: Bench, tmp_path: Path, limit: float, kept: str) -> None:
    """INT8 is the fastest here, and moves probabilities by more than two thousandths."""
    gate = {"top1_agreement_min": 0.0, "probability_change_p99_max": limit}
    write_pack(bench.pack, classifier__gate=gate)
    bench.plant(run_ms="int8=1,fp16=8,fp32=16", perturb="blank@fp32")
    folder = photographs(tmp_path / "photographs", 40)
    options = ("--precision", "best", "--calibration", str(folder))
    done = bench.build(*options, part="classifier")
    lines = [line for line in done.out.splitlines() if line.startswith("classifier  ")]
    outcomes = [line.split()[1] for line in lines if line.split()[1].endswith(":")]
    assert outcomes == ["int8:", "fp16:", "fp32:"]
    assert [card.passed for card in int8_cards(bench, "classifier")] == [kept == "int8"]
    assert bench.chosen("classifier").precision == kept


def int8_cards(bench: Bench, part: str = "segmenter") -> list[EngineCard]:
    cards = [card for _, card in bench.engines(part).cards() if isinstance(card, EngineCard)]
    return [card for card in cards if card.precision == "int8"]


@pytest.mark.parametrize(
    ("count", "words"), [(0, "an empty folder"), (3, "expected at least 32 pictures")]
)
def test_a_calibration_folder_with_too_little(
    bench: Bench, tmp_path: Path, count: int, words: str
) -> None:
    folder = photographs(tmp_path / "photographs", count)
    for precision in ("int8", "best"):
        done = bench.build("--precision", precision, "--calibration", str(folder))
        assert isinstance(done.error, InputError) and words in str(done.error)


def test_a_picture_for_calibration_that_cannot_be_read(bench: Bench, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "photographs", 32)
    (folder / "007.png").write_bytes(b"no picture")
    done = bench.build("--precision", "int8", "--calibration", str(folder))
    assert isinstance(done.error, InputError) and "007.png" in str(done.error)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "value"), [("fail_init", 100), ("gpu_count", 0)])
def test_no_gpu(bench: Bench, setting: str, value: int) -> None:
    bench.plant(**{setting: value})
    done = bench.build()
    assert isinstance(done.error, ModelRefusedError)
    assert "expected an NVIDIA GPU and its driver; got no device" in str(done.error)


def test_int8_needs_pictures(bench: Bench) -> None:
    done = bench.build("--precision", "int8")
    assert isinstance(done.error, RequestError) and "--calibration" in str(done.error)


@pytest.mark.parametrize("cut", [0, 100])
def test_an_engine_that_was_cut_off_is_built_again(bench: Bench, cut: int) -> None:
    bench.build()
    card = bench.chosen()
    path = bench.engines().engine_path(card.precision, card.key)
    path.write_bytes(path.read_bytes()[:cut])
    done = bench.build()
    assert done.error is None and "built again: expected" in done.out
    assert bench.chosen().passed


def test_a_card_that_was_edited_counts_for_nothing(bench: Bench) -> None:
    bench.build()
    card = bench.chosen()
    path = bench.engines().card_path(card.precision, card.key)
    path.write_text(path.read_text().replace('"attempts": 1', '"attempts": 2'))
    assert "checksum disagrees" in bench.inspect(str(bench.pack)).out
    assert bench.build().error is None
    assert bench.chosen().build.attempts == 1


def test_an_onnx_file_that_is_missing_or_another(bench: Bench) -> None:
    (bench.pack / "segmenter.onnx").write_bytes(b"another")
    done = bench.build()
    assert isinstance(done.error, ModelRefusedError) and "sha256" in str(done.error)
    (bench.pack / "segmenter.onnx").unlink()
    assert isinstance(bench.build().error, ModelRefusedError)


def test_two_builds_at_once(bench: Bench) -> None:
    bench.root.mkdir()
    with (bench.root / ".build.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711\n")
        file.flush()
        done = bench.build()
    assert isinstance(done.error, InputError)
    assert "got another one, process 4711; wait for it" in str(done.error)
    assert bench.build().error is None


def test_an_engine_folder_that_cannot_be(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bench.root = tmp_path / "file" / "engines"
    done = bench.build()
    assert isinstance(done.error, InputError)
    assert f"to write {bench.root}" in str(done.error) and "Not a directory" in str(done.error)


# --- inspect --------------------------------------------------------------------------------------


def test_inspect_lists_every_engine_and_shows_the_one_in_use(bench: Bench) -> None:
    assert "none; build one" in bench.inspect(str(bench.pack)).out
    bench.build("--precision", "fp32")
    bench.plant(perturb="nan@fp16")
    bench.build()
    done = bench.inspect(str(bench.pack), "--layers")
    card = bench.chosen()
    assert f"  * {card.engine.file}: passed, built {card.build.wall}" in done.out
    assert "    fp16-" in done.out and ": refused: " in done.out
    assert "TF32 off" in done.out and card.engine.sha256 in done.out
    assert " on the GPU\n" in done.out and "dermedge/pixels  Cast" in done.out


def test_inspect_one_engine(bench: Bench) -> None:
    bench.build()
    card = bench.chosen()
    path = bench.engines().engine_path(card.precision, card.key)
    assert card.key in bench.inspect(str(path)).out
    assert card.key in bench.inspect(str(bench.engines().card_path(card.precision, card.key))).out
    copy = path.with_name("fp32-0123456789abcdef.engine")
    shutil.copy(path, copy)
    done = bench.inspect(str(copy))
    assert isinstance(done.error, ModelRefusedError) and "No such file" in str(done.error)
    shutil.copy(bench.engines().card_path(card.precision, card.key), str(copy)[:-7] + ".card.json")
    done = bench.inspect(str(copy))
    assert isinstance(done.error, ModelRefusedError) and card.engine.file in str(done.error)


def test_inspect_layers_of_an_engine_of_another_version(bench: Bench) -> None:
    bench.build()
    bench.plant(library_version="10.3.0.31")
    done = bench.inspect(str(bench.pack), "--layers")
    assert isinstance(done.error, ModelRefusedError)
    assert "expecting library version 10.3.0.31 got 10.3.0.30" in str(done.error)


def test_inspect_a_choice_that_is_damaged(bench: Bench) -> None:
    bench.build()
    (bench.engines().folder / "chosen").write_text("../../etc/passwd")
    assert "the choice: damaged" in bench.inspect(str(bench.pack)).out
    assert bench.build().error is None
    assert bench.chosen().passed


# --- what a verdict holds for ---------------------------------------------------------------------


def _changed(bench: Bench, old: str, new: str) -> None:
    path = bench.pack / "segmenter.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_other_rules_of_the_manifest_are_judged_anew_and_not_trusted_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMEDGE_ENGINES", str(bench.root))
    bench.build(part=None)
    built = bench.chosen().build
    _changed(bench, "threshold = 0.5", "threshold = 0.4")
    with pytest.raises(ModelRefusedError, match="judged under other rules"):
        open_engines(find_pack(str(bench.pack)), "tensorrt").__enter__()
    done = bench.build(part=None)
    assert done.error is None and "200 golden frames" in done.out
    assert bench.chosen().build == built  # judged again, not built again
    with open_engines(find_pack(str(bench.pack)), "tensorrt") as engines:
        assert engines[0].identity.backend == "tensorrt"


def test_other_golden_frames_are_judged(bench: Bench, tmp_path: Path) -> None:
    bench.build()
    (tmp_path / "mine").mkdir()
    picture = render(random_spec(1, (96, 96))).pixels
    cv2.imwrite(str(tmp_path / "mine" / "a.png"), picture[..., ::-1])
    done = bench.build("--frames", str(tmp_path / "mine"))
    assert done.error is None and "201 golden frames" in done.out
    assert bench.chosen().gate.frames == 201  # type: ignore[union-attr]
    assert "201 frames" in bench.build("--frames", str(tmp_path / "mine")).out


def test_an_engine_that_does_not_open_is_a_verdict_and_the_next_precision_is_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = importlib.import_module("edge.engines.tensorrt")
    opened = runtime.TensorRtEngine.__init__

    def only_fp32(self: Any, path: Path, card: EngineCard, *rest: Any, **options: Any) -> None:
        if card.precision != "fp32":
            raise ModelRefusedError("an engine", got="no memory left", next_step="none")
        opened(self, path, card, *rest, **options)

    monkeypatch.setattr(runtime.TensorRtEngine, "__init__", only_fp32)
    done = bench.build("--precision", "best")
    assert done.error is None and bench.chosen().precision == "fp32"
    assert "it does not run here: no memory left" in done.out


@pytest.mark.slow
def test_the_released_pack_in_its_best_precision(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything but the compiler is the real thing: preparation, precisions, gate, runtime."""
    bench.pack = Path("reference")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(40):
        made = render(random_spec(seed, (256, 192), lesion_count=2, domain="dermoscopic"))
        cv2.imwrite(str(pictures / f"{seed}.png"), made.pixels[..., ::-1])
    done = _run(
        build,
        "reference",
        *("--engines", str(bench.root), "--precision", "best", "--calibration", str(pictures)),
    )
    assert done.error is None, done
    for part in ("segmenter", "classifier"):
        for precision in ("int8", "fp16", "fp32"):
            assert f"{part:<12}{precision}: " in done.out
        assert bench.chosen(part).passed
    monkeypatch.setenv("DERMEDGE_ENGINES", str(bench.root))
    with open_engines(find_pack("reference")) as engines:
        assert [engine.identity.backend for engine in engines] == ["tensorrt"] * 2
