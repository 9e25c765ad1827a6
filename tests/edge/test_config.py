"""The configuration is read once, every key is known, and whatever is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from edge.config import Config, load_config
from edge.errors import RequestError

EXAMPLE = Path(__file__).parents[2] / "docs" / "config.toml"


def refusal(tmp_path: Path, text: str, **overrides) -> str:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError) as caught:
        load_config(path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_example_is_the_defaults():
    assert load_config(EXAMPLE) == Config() == load_config(None)


def test_the_example_names_every_field():
    def fields(model: type[BaseModel], prefix: str = "") -> set[str]:
        names: set[str] = set()
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                names |= fields(inner, f"{prefix}{name}.")
            else:
                names.add(prefix + name)
        return names

    written, section = set(), ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            written.add(f"{section}.{line.partition('=')[0].strip()}")
    assert written == fields(Config)


def test_every_field_is_described():
    for section in Config.model_fields.values():
        assert isinstance(section.annotation, type)
        for name, field in section.annotation.model_fields.items():
            assert field.description, name


def test_flags_override_the_file(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text('[loop]\nseconds = 5\n[model]\nthreads = 2\npack = "a"\n', encoding="utf-8")
    config = load_config(path, {"model": {"pack": "b", "threads": None}, "loop": {}})
    assert (config.loop.seconds, config.model.threads, config.model.pack) == (5.0, 2, "b")


def test_config_is_frozen():
    config = load_config(None)
    with pytest.raises(ValidationError):
        config.loop.seconds = 3.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[loop]\nsecond = 5\n", "loop.second = 5"),
        ("[lop]\nseconds = 5\n", "lop"),
        ("[loop]\nseconds = -1\n", "loop.seconds"),
        ('[loop]\nseconds = "5"\n', "loop.seconds"),
        ("[loop]\nseconds = inf\n", "loop.seconds"),
        ("[model]\nthreads = 1.5\n", "model.threads"),
        ("[model]\nthreads = true\n", "model.threads"),
        ('[model]\nbackend = "cuda"\n', "'cuda'"),
        ('[output]\nsinks = "window"\n', "output.sinks"),
        ('[output]\nsinks = ["png"]\n', "png:DIR"),
        ('[output]\nsinks = ["tv:1"]\n', "'tv:1'"),
        ('[output]\nsinks = ["png:x?every=0"]\n', "from 1 to 1000000"),
        ('[output]\nsinks = ["png:x?each=2"]\n', "'each'"),
        ('[output]\noverwrite = "yes"\n', "output.overwrite"),
        ('[source]\nuri = "argus:front"\n', "'front'"),
        ('[source]\nuri = "v4l2:?size=1280"\n', "WIDTHxHEIGHT"),
        ('[source]\nuri = "synthetic:x"\n', "'x'"),
        ('[source]\nuri = "synthetic:1?size=10x10"\n', "WIDTHxHEIGHT"),
        ('[source]\nuri = "synthetic:1?fps=0"\n', "fps"),
        ('[source]\nuri = "synthetic:1?colour=red"\n', "'colour'"),
        ("loop = 5\n", "loop"),
        ("[loop\n", "line 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str):
    message = refusal(tmp_path, text)
    assert words in message
    assert "run.toml" in message
    assert "\n" not in message


def test_a_wrong_flag_is_not_blamed_on_the_file(tmp_path: Path):
    message = refusal(tmp_path, "[loop]\nseconds = 5\n", loop={"seconds": -3.0})
    assert message == (
        "expected for --seconds a number of at least 0; got -3.0; see dermedge run --help"
    )


def test_a_wrong_flag_keeps_its_next_step():
    with pytest.raises(RequestError) as caught:
        load_config(None, {"source": {"uri": "argus:x"}})
    assert str(caught.value) == (
        "expected for --source a number of a camera that must be a whole number from 0 to 99 in "
        "argus:NUMBER; got 'x'; argus:0 is the first"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[output]\nsinks = "window"\n', 'for output.sinks a list, e.g. sinks = ["window"]; got'),
        ("[output]\nsinks = [1]\n", "for output.sinks text in quotes; got 1;"),
        ("source = 5\n", "for source a table [source]; got 5;"),
        ("[model]\nthreads = 1.5\n", "for model.threads a whole number; got 1.5;"),
        ("[model]\nthreads = 65\n", "for model.threads a number of at most 64; got 65;"),
        ('[model]\npack = ""\n', "for model.pack text that is not empty; got '';"),
        ('[model]\nbackend = "x"\n', "one of 'auto', 'onnx', 'openvino' or 'tensorrt'; got 'x'"),
        ('[loop]\nseconds = "5"\n', "for loop.seconds a number; got '5';"),
        ("[loop]\nseconds = nan\n", "for loop.seconds a finite number; got nan;"),
        ('[source]\npaced = "yes"\n', "for source.paced true or false; got 'yes';"),
        ("[source]\ngive_up_after_s = -0.5\n", "a number of at least 0; got -0.5;"),
    ],
)
def test_errors_are_in_words_of_the_file(tmp_path: Path, text: str, words: str):
    assert words in refusal(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(RequestError, match=r"missing\.toml.*No such file"):
        load_config(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b'[model]\npack = "\xe9"\n')
    with pytest.raises(RequestError, match="not UTF-8"):
        load_config(tmp_path / "latin.toml")


def test_the_end_of_a_line_is_called_so(tmp_path: Path):
    assert r"\n" not in refusal(tmp_path, '[model]\npack = "one\n')
    assert "the end of the line" in refusal(tmp_path, '[model]\npack = "one\n')
