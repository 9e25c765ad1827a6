"""Named colour profiles: what is held still on a camera, so that its colours can be compared.

A profile is a TOML file::

    schema = "dermedge.colour_profile/1"
    name = "clinic-ring-light"
    settle_s = 2.0          # the automatic may work for so long, then everything is held
    check_every_h = 24.0    # hours after which the white or grey card is due; absent: never
    fixed = ["gain"]        # what this camera cannot set because it never moves; absent: nothing

    [v4l2]                  # controls by the names of v4l2-ctl; a value, or "hold"
    auto_exposure = 1
    exposure_time_absolute = 100
    white_balance_automatic = 0
    white_balance_temperature = "hold"

    [argus]                 # properties of nvarguscamerasrc; ranges have two equal ends
    wbmode = 5
    exposuretimerange = [10000000, 10000000]
    gainrange = [2.0, 2.0]
    ispdigitalgainrange = [1.0, 1.0]
    aelock = true
    awblock = true

    [picamera2]             # controls of libcamera
    ColourGains = [1.9, 1.6]
    ExposureTime = 10000
    AnalogueGain = "hold"

``"hold"`` means: let the automatic find a value, then keep that. What a section does not name, and
every camera without a section, is held likewise: the built-in profile ``hold`` names nothing. This
file says what shall be held; each source applies its section and reads back what became of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from edge.errors import RequestError
from edge.pages import page

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMA = "dermedge.colour_profile/1"
HOLD = "hold"

Hold = Literal["hold"]


def _number(value: object, lowest: float, highest: float, *, whole: bool) -> bool:
    kinds = (int,) if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and lowest <= value <= highest


def _one(lowest: float, highest: float, *, whole: bool) -> PlainValidator:
    """A number within bounds, or ``"hold"``."""

    def check(value: object) -> object:
        if value == HOLD or _number(value, lowest, highest, whole=whole):
            return value
        kind = "a whole number" if whole else "a number"
        raise ValueError(f'{kind} from {lowest:g} to {highest:g}, or "{HOLD}"')

    return PlainValidator(check)


def _two(lowest: float, highest: float, *, whole: bool, equal: bool) -> PlainValidator:
    """Two numbers within bounds, or ``"hold"``; a range is single-valued: its ends are equal."""

    def check(value: object) -> object:
        if value == HOLD:
            return value
        if isinstance(value, (list, tuple)) and len(value) == 2:
            fit = all(_number(part, lowest, highest, whole=whole) for part in value)
            if fit and (not equal or value[0] == value[1]):
                return tuple(value)
        kind = "whole numbers" if whole else "numbers"
        ends = "equal " if equal else ""
        raise ValueError(f'two {ends}{kind} from {lowest:g} to {highest:g}, or "{HOLD}"')

    return PlainValidator(check)


_INT32 = _one(-(2**31), 2**31 - 1, whole=True)
_GAIN_MIN, _GAIN_MAX = 0.01, 1024.0
_GAIN_RANGE = _two(_GAIN_MIN, _GAIN_MAX, whole=False, equal=True)
_ControlName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ArgusLock(_Section):
    """Properties of ``nvarguscamerasrc`` that hold colour still.

    Attributes:
        wbmode: White balance preset, 0 (off) to 9 (manual).
        exposuretimerange: Exposure in nanoseconds, twice: a range without room.
        gainrange: Analogue gain, twice.
        ispdigitalgainrange: Digital gain, twice.
        aelock: Whether exposure is locked after settling.
        awblock: Whether white balance is.
    """

    wbmode: Annotated[int | Hold, _one(0, 9, whole=True)] = "hold"
    exposuretimerange: Annotated[
        tuple[int, int] | Hold, _two(1_000, 10_000_000_000, whole=True, equal=True)
    ] = "hold"
    gainrange: Annotated[tuple[float, float] | Hold, _GAIN_RANGE] = "hold"
    ispdigitalgainrange: Annotated[tuple[float, float] | Hold, _GAIN_RANGE] = "hold"
    aelock: Annotated[bool, Field(strict=True)] = True
    awblock: Annotated[bool, Field(strict=True)] = True


class Picamera2Lock(_Section):
    """Controls of libcamera that hold colour still.

    Attributes:
        ColourGains: Gains of red and of blue.
        ExposureTime: In microseconds.
        AnalogueGain: As a factor.
    """

    ColourGains: Annotated[
        tuple[float, float] | Hold, _two(_GAIN_MIN, _GAIN_MAX, whole=False, equal=False)
    ] = "hold"
    ExposureTime: Annotated[int | Hold, _one(1, 10_000_000, whole=True)] = "hold"
    AnalogueGain: Annotated[float | Hold, _one(_GAIN_MIN, _GAIN_MAX, whole=False)] = "hold"


class ColourProfile(_Section):
    """What is held still on a camera; see the head of this file.

    Attributes:
        name: Recorded with each frame.
        settle_s: Seconds that the automatic may work before everything is held.
        fixed: What this camera has no control for because it never moves, as somebody knows; it
            counts as held.
        check_every_h: Hours after which the card is due again; ``None`` asks for no card.
        v4l2: Control name to value or ``"hold"``.
        argus: For ``argus:`` sources.
        picamera2: For ``picamera2:`` sources.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    settle_s: Annotated[float, Field(strict=True, ge=0.0, le=60.0)] = 2.0
    check_every_h: Annotated[float, Field(strict=True, ge=0.1, le=8760.0)] | None = None
    fixed: tuple[Literal["exposure", "gain", "white_balance"], ...] = ()
    v4l2: dict[_ControlName, Annotated[int | Hold, _INT32]] = Field(default_factory=dict)
    argus: ArgusLock = ArgusLock()
    picamera2: Picamera2Lock = Picamera2Lock()


def load_profile(name_or_path: str) -> ColourProfile:
    """The built-in profile ``hold``, or the one of a TOML file.

    Args:
        name_or_path: ``hold``, or a path.

    Raises:
        RequestError: The file cannot be read, or says what it may not; the message names the key.
    """
    if name_or_path == HOLD:
        return ColourProfile(name=HOLD)
    path = Path(name_or_path)
    table = _read(path)
    stated = table.pop("schema", None)
    if stated != SCHEMA:
        raise _refused(path, f'schema = "{SCHEMA}"', repr(stated))
    if table.get("name") == HOLD:
        raise _refused(path, "a name of its own", f"{HOLD!r}, which is the built-in profile")
    try:
        return ColourProfile.model_validate(table)
    except ValidationError as errors:
        raise _refusal(errors.errors()[0], path) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_bytes().decode("utf-8"))
        return table
    except OSError as error:
        got = error.strerror or str(error)
        raise RequestError(
            f"a colour profile {path}", got=got, next_step=f"give a TOML file or the name {HOLD}"
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _refused(path, "TOML in UTF-8", str(error)) from None


_WORDS = {
    "missing": "to be there",
    "extra_forbidden": "not to be there: only known keys",
    "model_type": "a table",
    "dict_type": "a table",
    "string_type": "text in quotes",
    "string_pattern_mismatch": "a name of letters, digits, '_', '-' and '.'",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than_equal": "a number of at most {le:g}",
    "value_error": "{error}",
}
"""Every kind of error that pydantic reports for these fields, in the words of a TOML file."""


def _refusal(error: ErrorDetails, path: Path) -> RequestError:
    # Of a table whose key is wrong, the location ends with "[key]".
    key = ".".join(str(part) for part in error["loc"] if part != "[key]")
    words = _WORDS[error["type"]].format(**error.get("ctx", {}))
    return _refused(path, f"{key}: {words}", repr(error["input"]))


def _refused(path: Path, expected: str, got: str) -> RequestError:
    next_step = f"see {page('guards.md')} for the form of a colour profile"
    return RequestError(f"in colour profile {path} {expected}", got=got, next_step=next_step)
