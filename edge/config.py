"""The configuration of ``dermedge run``: read once, at start, into frozen objects.

Every field has a unit, bounds and a default; flags of the command line override the file. The
documented example is ``docs/config.toml``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from edge.errors import RequestError
from edge.sinks.uri import parse_sink
from edge.sources.uri import parse_source

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Backend = Literal["auto", "onnx", "openvino", "tensorrt"]


def _source_uri(text: str) -> str:
    return _checked(text, parse_source)


def _sink_uri(text: str) -> str:
    return _checked(text, parse_sink)


def _checked(text: str, parse: Callable[[str], object]) -> str:
    """The text itself, or what is wrong with it in the form that pydantic reports."""
    try:
        parse(text)
    except RequestError as error:
        raise ValueError(f"{error.expected}, but got {error.got}") from None
    return text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceSection(_Section):
    """Where frames come from."""

    uri: Annotated[
        str,
        AfterValidator(_source_uri),
        Field(description="synthetic:SEED?size=WxH&fps=N&regions=N or files:PATH"),
    ] = "synthetic:7"
    paced: Annotated[
        bool,
        Field(
            strict=True,
            description="Show recordings at their own pace instead of as fast as they are analyzed",
        ),
    ] = False
    give_up_after_s: Annotated[
        float,
        Field(
            strict=True,
            ge=1.0,
            le=3600.0,
            description="Seconds without a frame after which a live source has failed (exit 3)",
        ),
    ] = 10.0


class ModelSection(_Section):
    """What analyzes them."""

    pack: Annotated[
        str, Field(min_length=1, description="Name of a released pack, or the folder of another")
    ] = "reference"
    backend: Annotated[
        Backend, Field(description="What runs the networks; auto takes the best one here")
    ] = "auto"
    threads: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=64,
            description="CPU threads of the networks; 0 takes all usable cores up to four",
        ),
    ] = 0


class OutputSection(_Section):
    """Where results go."""

    sinks: Annotated[
        tuple[Annotated[str, AfterValidator(_sink_uri)], ...],
        Field(
            description="window, headless, video:PATH?fps=N, png:DIR?every=N, jsonl:PATH; "
            "empty: a window where there is a display"
        ),
    ] = ()
    overwrite: Annotated[
        bool, Field(strict=True, description="Replace files of an earlier run")
    ] = False


class LoopSection(_Section):
    """How long, and how often it says how it is doing."""

    seconds: Annotated[
        float,
        Field(strict=True, ge=0.0, le=1e7, description="Seconds to run; 0 runs until stopped"),
    ] = 0.0
    health_every_s: Annotated[
        float,
        Field(strict=True, ge=1.0, le=3600.0, description="Seconds between two health lines"),
    ] = 10.0


class Config(_Section):
    """Everything that ``dermedge run`` can be told."""

    source: SourceSection = SourceSection()
    model: ModelSection = ModelSection()
    output: OutputSection = OutputSection()
    loop: LoopSection = LoopSection()


def load_config(
    path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> Config:
    """Read the configuration file and lay the flags of the command line over it.

    Args:
        path: TOML file, or ``None`` for the defaults.
        overrides: Section name to field name to value; ``None`` values are skipped.

    Raises:
        RequestError: The file cannot be read, or a key or value in it, or a flag, is not allowed;
            the message names file, key and value.
    """
    table = {} if path is None else _read_toml(path)
    _validated(table, f"config file {path}")
    for section, values in (overrides or {}).items():
        given = {key: value for key, value in values.items() if value is not None}
        table[section] = {**table.get(section, {}), **given}
    return _validated(table, "command line")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_bytes().decode("utf-8"))
        return table
    except OSError as error:
        got, next_step = error.strerror or str(error), "check the path after --config"
    except UnicodeDecodeError as error:
        got, next_step = f"byte {error.start} that is not UTF-8", "save the file as UTF-8"
    except tomllib.TOMLDecodeError as error:
        got, next_step = str(error), "see docs/config.toml for the form"
    raise RequestError(f"a TOML file {path}", got=got, next_step=next_step)


def _validated(table: Mapping[str, Any], where: str) -> Config:
    try:
        return Config.model_validate(table)
    except ValidationError as errors:
        error = errors.errors()[0]
        key = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            expected, value = f"only known keys in {where}", f"{key} = {error['input']!r}"
        else:
            words = error["msg"].removeprefix("Value error, ")
            words = words[0].lower() + words[1:]
            expected, value = f"in {where} the key {key}: {words}", f"{error['input']!r}"
        raise RequestError(
            expected, got=value, next_step="see docs/config.toml for every key and its bounds"
        ) from None
