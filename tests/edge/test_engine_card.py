"""Cards survive the disk, notice accidents, and tell one device from another."""

from __future__ import annotations

import json

import pytest
from engine_cards_for_tests import ENGINE, MODEL, ORIN, PASSED, SETTINGS, card

from edge.engine_card import difference, engine_key, read_card
from edge.engine_folder import ModelEngines, engines_root
from edge.errors import InputError, ModelRefusedError


def test_a_card_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "a.card.json"
    for written in (card(), card(gate=None), card(calibration_sha256="4" * 64, precision="int8")):
        path.write_bytes(written.to_json())
        assert read_card(path) == written


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda text: text.replace('"passed": true', '"passed": false'), "checksum disagrees"),
        (lambda text: text.replace("10.3.0.30", "10.3.0.31"), "checksum disagrees"),
        (lambda text: text[: len(text) // 2], "no JSON"),
        (lambda text: "", "no JSON"),
        (lambda text: "[]", "no card"),
        (lambda text: text.replace("dermedge.engine/1", "dermedge.engine/2"), "engine/2"),
    ],
)
def test_a_card_that_was_changed_by_accident_is_refused(tmp_path, edit, words):
    path = tmp_path / "a.card.json"
    path.write_text(edit(card().to_json().decode()), "utf-8")
    with pytest.raises(ModelRefusedError, match=words):
        read_card(path)


def test_a_card_with_an_unknown_field_is_refused_even_with_a_checksum(tmp_path):
    from edge.engine_card import _checksum

    content = json.loads(card().to_json())
    del content["checksum"]
    content["extra"] = 1
    content["checksum"] = _checksum(content)
    path = tmp_path / "a.card.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(ModelRefusedError, match="extra"):
        read_card(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tensorrt": "10.7.0.23"}, "TensorRT 10.3.0.30, this device has 10.7.0.23"),
        ({"gpu_name": "Thor"}, "GPU Orin"),
        ({"compute_capability": "11.0"}, "compute capability 8.7"),
        ({"sm_count": 16}, "multiprocessors 8, this device has 16"),
        ({"l4t": None}, "Jetson Linux 36.4.3, this device has None"),
    ],
)
def test_any_difference_of_the_device_is_named_and_changes_the_key(change, words):
    other = ORIN.model_copy(update=change)
    assert words in (difference(card(), other) or "")
    assert card(device=other).key != card().key
    assert difference(card(), ORIN) is None


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "fp32"},
        {"calibration_sha256": "5" * 64},
        {"settings": SETTINGS.model_copy(update={"optimization_level": 5})},
        {"model": MODEL.model_copy(update={"prepared_sha256": "6" * 64})},
        {"model": MODEL.model_copy(update={"graph_key": "{1}"})},
        {"model": MODEL.model_copy(update={"onnx_sha256": "7" * 64})},
    ],
)
def test_the_key_covers_all_that_makes_an_engine(change):
    assert card(**change).key != card().key


def test_the_key_is_the_same_for_the_same_engine():
    again = engine_key(
        model=MODEL, device=ORIN, precision="fp16", settings=SETTINGS, calibration_sha256=None
    )
    assert again == card().key == card(gate=None, software="other").key


def test_only_a_passed_verdict_passes():
    failed = PASSED.model_copy(update={"passed": False, "reasons": ("blank",)})
    assert card().passed and not card(gate=None).passed and not card(gate=failed).passed


def test_an_engine_is_written_and_chosen_and_found_again(tmp_path):
    engines = ModelEngines(tmp_path, MODEL.name, MODEL.onnx_sha256)
    assert engines.chosen() is None and list(engines.cards()) == []
    mine = card()
    with engines.new_engine(mine.precision, mine.key) as file:
        file.write(ENGINE)
    engines.write_card(mine)
    assert engines.chosen() is None
    engines.choose(mine)
    assert engines.chosen() == mine
    assert engines.check_content(mine).read_bytes() == ENGINE
    assert [found for _, found in engines.cards()] == [mine]
    assert engines.folder.name == "tiny-unet-111111111111"


def test_an_engine_that_is_given_up_leaves_nothing(tmp_path):
    engines = ModelEngines(tmp_path, MODEL.name, MODEL.onnx_sha256)
    mine = card()
    with pytest.raises(KeyboardInterrupt), engines.new_engine(mine.precision, mine.key) as file:
        file.write(ENGINE)
        raise KeyboardInterrupt
    assert list(engines.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(ENGINE[:4]), "4 bytes"),
        (lambda path: path.write_bytes(b"another one"), "sha256"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
    ],
)
def test_an_engine_with_another_content_is_refused(tmp_path, damage, words):
    engines = ModelEngines(tmp_path, MODEL.name, MODEL.onnx_sha256)
    mine = card()
    with engines.new_engine(mine.precision, mine.key) as file:
        file.write(ENGINE)
    damage(engines.engine_path(mine.precision, mine.key))
    with pytest.raises(ModelRefusedError, match=words):
        engines.check_content(mine)


@pytest.mark.parametrize(
    "content", [b"", b"../../etc/passwd", b"\xff\xff", b"fp16-0123456789abcdef"]
)
def test_a_choice_that_names_no_card_is_refused(tmp_path, content):
    engines = ModelEngines(tmp_path, MODEL.name, MODEL.onnx_sha256)
    engines.folder.mkdir(parents=True)
    (engines.folder / "chosen").write_bytes(content)
    with pytest.raises(ModelRefusedError, match="build"):
        engines.chosen()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    engines = ModelEngines(tmp_path / "file", MODEL.name, MODEL.onnx_sha256)
    with pytest.raises(InputError, match="file"):
        engines.choose(card())


def test_the_root_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DERMEDGE_ENGINES", str(tmp_path / "e"))
    assert engines_root() == tmp_path / "e"
    monkeypatch.delenv("DERMEDGE_ENGINES")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert engines_root() == tmp_path / "dermedge" / "engines"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert engines_root() == tmp_path / "home" / ".local" / "share" / "dermedge" / "engines"
