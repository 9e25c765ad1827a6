"""The configuration of ``dermedge run``: read once, at start, into frozen objects.

Every field has a unit, bounds and a default; flags of the command line override the file. The
documented example is ``docs/config.toml``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from edge.errors import RequestError
from edge.inputs.uri import parse_input
from edge.pages import page
from edge.sinks.uri import parse_sink
from edge.sources.uri import parse_source
from edge.uri import Place, host_and_port

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Backend = Literal["auto", "onnx", "openvino", "tensorrt"]
ViewMode = Literal["auto", "paired", "live"]

_FLAGS = {
    "source.uri": "--source",
    "source.paced": "--paced",
    "model.pack": "--pack",
    "model.backend": "--backend",
    "model.threads": "--threads",
    "output.sinks": "--sink",
    "output.overwrite": "--overwrite",
    "view.mode": "--view",
    "tracking.on": "--tracking",
    "cases.folder": "--cases",
    "controls.inputs": "--input",
    "colour.profile": "--colour-profile",
    "loop.seconds": "--seconds",
}

_WORDS = {
    "tuple_type": 'a list, e.g. {field} = ["window"]',
    "model_type": "a table [{field}]",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "string_too_short": "text that is not empty",
    "string_too_long": "text of at most {max_length} characters",
    "bool_type": "true or false",
    "literal_error": "one of {expected}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than_equal": "a number of at most {le:g}",
}
"""Every kind of error that pydantic reports for these fields, in the words of a TOML file."""


def _source_uri(text: str) -> str:
    return _checked(text, parse_source)


def _sink_uri(text: str) -> str:
    return _checked(text, parse_sink)


def _input_uri(text: str) -> str:
    return _checked(text, parse_input)


def _listen(text: str) -> str:
    return _checked(text, parse_listen) if text else text


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of the figures for a monitoring.

    Raises:
        RequestError: It is no ``HOST:PORT``.
    """
    return host_and_port(text, Place("a place written as HOST:PORT", "127.0.0.1:9155", 9155))


class _Refused(ValueError):
    """Takes what is wrong with a name through pydantic, which lets only ``ValueError`` pass."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(str(error))
        self.error = error


def _checked(text: str, parse: Callable[[str], object]) -> str:
    try:
        parse(text)
    except RequestError as error:
        raise _Refused(error) from None
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
    has_noise: Annotated[
        bool,
        Field(
            strict=True,
            description="false for a source that sends equal bytes while nothing moves, such as a "
            "test pattern: equal pictures are then not taken for a camera that hangs",
        ),
    ] = True
    give_up_after_s: Annotated[
        float,
        Field(
            strict=True,
            ge=0.0,
            le=3600.0,
            description="Seconds without a frame after which a live source has failed (exit 3); "
            "0 waits for ever, with NO LIVE IMAGE on the screen",
        ),
    ] = 0.0


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
            description="window:?screen=WxH, screen:CONNECTOR, web:HOST:PORT, headless, "
            "video:PATH?fps=N, png:DIR?every=N, jsonl:PATH, record:DIR?what=WHAT; empty: a window"
        ),
    ] = ()
    overwrite: Annotated[
        bool, Field(strict=True, description="Replace files of an earlier run")
    ] = False


class ColourSection(_Section):
    """What is held of a camera's colours."""

    profile: Annotated[
        str,
        Field(
            description="hold (settle, then hold exposure, gain and white balance), or the path of "
            "a colour profile; empty leaves the camera on automatic"
        ),
    ] = ""
    folder: Annotated[
        str, Field(description="Folder for card checks; empty: in the state folder of the user")
    ] = ""


class ControlsSection(_Section):
    """Buttons and keys of the device."""

    inputs: Annotated[
        tuple[Annotated[str, AfterValidator(_input_uri)], ...],
        Field(description="evdev:DEVICE?key=KEY&wish=WISH, gpio:CHIP/LINE?bias=BIAS&edge=EDGE"),
    ] = ()


class CasesSection(_Section):
    """Where frozen stills are kept."""

    folder: Annotated[
        str, Field(description="Folder for cases; empty: frozen stills are shown and not kept")
    ] = ""
    reserve_mb: Annotated[
        int,
        Field(strict=True, ge=0, le=10_000_000, description="Room in MB that cases must leave"),
    ] = 256


class RecordSection(_Section):
    """Continuous recording, by the sink record:DIR."""

    reserve_mb: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=10_000_000,
            description="Room in MB that recordings must leave; the oldest are removed for it",
        ),
    ] = 2048


class WebSection(_Section):
    """The web page."""

    token: Annotated[
        str,
        Field(
            max_length=200,
            description="Needed to open the web page from elsewhere; at least 16 characters; "
            "empty: a new one at each start, written into the log",
        ),
    ] = ""


class TrackingSection(_Section):
    """Whether regions are followed from frame to frame."""

    on: Annotated[
        bool,
        Field(
            strict=True,
            description="Letters stay with their lesions and classes are averaged over time",
        ),
    ] = True


class RecoverySection(_Section):
    """What may be done for a camera that is away, besides opening it again."""

    requests: Annotated[
        str,
        Field(
            description="Folder in which a unit with more rights looks for requests; empty: nobody "
            "is asked"
        ),
    ] = ""
    reboot_after_s: Annotated[
        float,
        Field(
            strict=True,
            ge=0.0,
            le=1e6,
            description="Ask for a restart of the machine after the camera has been away so long; "
            "0: never",
        ),
    ] = 0.0


class TelemetrySection(_Section):
    """Who is told how the device does."""

    listen: Annotated[
        str,
        AfterValidator(_listen),
        Field(description="HOST:PORT of /metrics and /healthz for a monitoring; empty: nowhere"),
    ] = ""
    folder: Annotated[
        str, Field(description="Folder for the same figures as JSON lines; empty: none")
    ] = ""
    every_s: Annotated[
        float, Field(strict=True, ge=1.0, le=3600.0, description="Seconds between two lines")
    ] = 30.0
    keep_mb: Annotated[
        int,
        Field(strict=True, ge=8, le=100_000, description="Room in MB that all lines may take"),
    ] = 64


class ViewSection(_Section):
    """Which picture is shown with which result."""

    mode: Annotated[
        ViewMode,
        Field(
            description="paired: each picture with its own result; live: the newest picture with "
            "the newest result; auto: live below 10 analyses per second"
        ),
    ] = "auto"


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
    colour: ColourSection = ColourSection()
    controls: ControlsSection = ControlsSection()
    cases: CasesSection = CasesSection()
    record: RecordSection = RecordSection()
    web: WebSection = WebSection()
    tracking: TrackingSection = TrackingSection()
    view: ViewSection = ViewSection()
    recovery: RecoverySection = RecoverySection()
    telemetry: TelemetrySection = TelemetrySection()
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
    _validated(table, path)
    for section, values in (overrides or {}).items():
        given = {key: value for key, value in values.items() if value is not None}
        table[section] = {**table.get(section, {}), **given}
    return _validated(table, None)


def told_sinks(path: Path) -> list[str]:
    """The sinks of a file that may be wrong elsewhere: those that can be understood."""
    try:
        sinks = _read_toml(path)["output"]["sinks"]
        return [text for text in sinks if parse_sink(text)]
    except (RequestError, LookupError, TypeError, AttributeError):
        return []


def told_telemetry(path: Path) -> TelemetrySection:
    """Who is to be told, by a file that may be wrong elsewhere; nobody where that is wrong, too."""
    try:
        return TelemetrySection.model_validate(_read_toml(path).get("telemetry", {}))
    except (RequestError, ValidationError):
        return TelemetrySection()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_bytes().decode("utf-8"))
        return table
    except PermissionError as error:
        got = error.strerror or str(error)
        next_step = f"let this account read it (a service: chown root:dermedge {path}, chmod 640)"
    except OSError as error:
        got, next_step = error.strerror or str(error), "check the path of the configuration"
    except UnicodeDecodeError as error:
        got, next_step = f"byte {error.start} that is not UTF-8", "save the file as UTF-8"
    except tomllib.TOMLDecodeError as error:
        got = str(error).replace(r"'\n'", "the end of the line")
        next_step = f"see {page('config.toml')} for the form"
    raise RequestError(f"a TOML file {path}", got=got, next_step=next_step)


def _validated(table: Mapping[str, Any], path: Path | None) -> Config:
    """The configuration; what is wrong with it came from the file, or without one from a flag."""
    try:
        return Config.model_validate(table)
    except ValidationError as errors:
        raise _refusal(errors.errors()[0], path) from None


def _refusal(error: ErrorDetails, path: Path | None) -> RequestError:
    key = ".".join(part for part in error["loc"] if isinstance(part, str))
    got = repr(error["input"])
    if path is None:
        where = f"for {_FLAGS.get(key, key)}"
        next_step = "see dermedge run --help"
    else:
        where = f"in config file {path} for {key}"
        next_step = f"see {page('config.toml')} for every key and its bounds"
    if error["type"] == "extra_forbidden":
        return RequestError(
            f"only known keys in config file {path}", got=f"{key} = {got}", next_step=next_step
        )
    context = error.get("ctx", {})
    refused = context.get("error")
    if isinstance(refused, _Refused):
        cause = refused.error
        return RequestError(f"{where} {cause.expected}", got=cause.got, next_step=cause.next_step)
    words = _WORDS[error["type"]].format(field=key.rpartition(".")[2], **context)
    return RequestError(f"{where} {words}", got=got, next_step=next_step)
