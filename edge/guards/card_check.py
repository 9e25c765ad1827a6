"""The dated white or grey card check: is it a card, what did it read, and where is that kept?

A card reflects all light alike, so what a camera makes of it is lamp and camera alone. Its ratios
R/G and B/G are compared with those of the reference, the first check of this camera and profile.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.analysis.light import CLIPPED_ABOVE, FULL_SCALE, linear_of, linear_table
from edge.errors import InputError
from edge.frame import Frame
from edge.sinks.whole_file import whole_files

PATCH_SHARE = 0.25
"""Of width and height: the middle of the picture, which the card must fill."""

GRID = 12
"""The patch is judged by the means of 12 x 12 blocks, so that noise does not count."""

SPREAD_MAX = 0.05
"""Standard deviation of the blocks' light over their mean. A lamp's fall-off across a quarter of
the picture stays below; skin lines, hair, print and edges do not."""

CAST_MAX = 0.25
"""How far from neutral a card may be: the distance from (0, 0) to (ln R/G, ln B/G) of linear light,
a cast of about a quarter. The palest skin measured has 0.44 in ln R/G alone; with the other limits
no picture of skin passes for a card (docs/guards.md)."""

LEVEL_MIN = linear_of(60.0)
CLIPPED_SHARE_MAX = 0.01

DRIFT_MAX = 0.05
"""Change of ln R/G or of ln B/G against the reference from which on the colours have drifted: 5 %,
about what a difference of 2 in the erythema index (100 log10 R/G) is."""

_CARD_WORDS = "a white or grey card that fills the middle of the picture"


class CardReading(BaseModel):
    """What the camera made of the card, in linear light.

    Attributes:
        level: Mean of green, 0..1.
        r_over_g: Mean red over mean green.
        b_over_g: Mean blue over mean green.
        spread: Standard deviation of the blocks over their mean.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    level: float = Field(gt=0.0, le=1.0)
    r_over_g: float = Field(gt=0.0)
    b_over_g: float = Field(gt=0.0)
    spread: float = Field(ge=0.0)

    def shift_from(self, other: CardReading) -> float:
        """Largest change of ln R/G and ln B/G; the sign is dropped."""
        return max(
            abs(math.log(self.r_over_g / other.r_over_g)),
            abs(math.log(self.b_over_g / other.b_over_g)),
        )


def measure_card(pixels: NDArray[np.uint8]) -> CardReading:
    """Read the card in the middle of a picture.

    Args:
        pixels: HxWx3 uint8 RGB.

    Raises:
        InputError: What is there is no card, or not lit so that it can be read.
    """
    height, width = pixels.shape[:2]
    y, x = (int(side * (1.0 - PATCH_SHARE) / 2.0) for side in (height, width))
    patch = np.ascontiguousarray(pixels[y : height - y, x : width - x])
    clipped = np.count_nonzero(patch.max(axis=2) > CLIPPED_ABOVE) / (patch.size // 3)
    if clipped > CLIPPED_SHARE_MAX:
        raise _no_card(f"{clipped:.0%} of it burnt out", "take away light and check again")
    linear = cv2.LUT(patch, linear_table()).astype(np.float32) / np.float32(FULL_SCALE)
    blocks = cv2.resize(linear, (GRID, GRID), interpolation=cv2.INTER_AREA)
    red, green, blue = (float(blocks[..., channel].mean()) for channel in range(3))
    if min(red, green, blue) < LEVEL_MIN / 2.0 or green < LEVEL_MIN:
        raise _no_card("a picture too dark to tell", "give more light and check again")
    cast = math.hypot(math.log(red / green), math.log(blue / green))
    if cast > CAST_MAX:
        got = f"a colour (R/G {red / green:.2f}, B/G {blue / green:.2f})"
        raise _no_card(got, "show the card, or let the white balance settle on it, and check again")
    spread = max(float(blocks[..., c].std() / blocks[..., c].mean()) for c in range(3))
    if spread > SPREAD_MAX:
        raise _no_card(
            f"a surface that varies by {spread:.0%}", "fill the middle with the card, evenly lit"
        )
    return CardReading(level=green, r_over_g=red / green, b_over_g=blue / green, spread=spread)


def _no_card(got: str, next_step: str) -> InputError:
    return InputError(_CARD_WORDS, got=got, next_step=next_step)


class CardCheck(BaseModel):
    """One check, as it is kept on the disk.

    Attributes:
        source: Identity of the camera, as in the Result.
        profile: Name of its colour profile.
        boot_id: Which run of the machine ``monotonic_ns`` belongs to; ``None`` where unknown.
        monotonic_ns: Instant of capture of the picture.
        wall: UTC by the machine's clock, a label; ``None`` where there is none.
        wall_trusted: Whether that clock was known to be right.
        reading: What was read.
        reference: What the first check of this camera and profile read.
        settings: The camera's settings in that frame.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["dermedge.card_check/1"] = Field(
        default="dermedge.card_check/1", alias="schema"
    )
    source: str
    profile: str
    boot_id: str | None
    monotonic_ns: int
    wall: str | None
    wall_trusted: bool
    reading: CardReading
    reference: CardReading
    settings: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether the colours are those of the reference."""
        return self.reading.shift_from(self.reference) <= DRIFT_MAX

    def is_of(self, source: str, profile: str) -> bool:
        """Whether it says something about this camera under this profile."""
        return (self.source, self.profile) == (source, profile)


def check_card(
    frame: Frame,
    profile: str,
    before: CardCheck | None,
    *,
    boot_id: str | None,
    wall: str | None = None,
    wall_trusted: bool = False,
) -> CardCheck:
    """Make a check from a frame that shows the card.

    Args:
        frame: From a live camera.
        profile: Name of the colour profile in force.
        before: The last check, whose reference is kept where it is of this camera and profile;
            ``None`` makes this one the reference.
        boot_id: Of the running machine.
        wall: UTC now, ISO 8601, as a label.
        wall_trusted: Whether that is known to be right.

    Raises:
        InputError: The frame shows no card, or is not of a live camera that holds its colours:
            what an automatic makes of a card says nothing about the next picture.
    """
    if frame.captured_ns is None or frame.captured_clock != "monotonic":
        raise InputError(
            "a card check on a live camera",
            got=f"a recording, {frame.source}",
            next_step="run it with the camera as the source",
        )
    if not _holds(frame):
        raise InputError(
            "a card check under a colour lock",
            got="a camera on automatic",
            next_step="name a colour profile, wait until it has settled, and check again",
        )
    reading = measure_card(frame.pixels)
    kept = before is not None and before.is_of(frame.source, profile)
    return CardCheck(
        source=frame.source,
        profile=profile,
        boot_id=boot_id,
        monotonic_ns=frame.captured_ns,
        wall=wall,
        wall_trusted=wall_trusted,
        reading=reading,
        reference=before.reference if before is not None and kept else reading,
        settings=_plain(frame.settings),
    )


def _holds(frame: Frame) -> bool:
    """By what the source itself read back; ``colour_locked`` is false where a check is due, too."""
    locked = (frame.settings or {}).get("locked")
    held = isinstance(locked, Mapping) and bool(locked) and all(v is True for v in locked.values())
    return held or frame.captured_by == "synthetic"


def _plain(settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if settings is None else dict(settings)


# --- on the disk --------------------------------------------------------------------------------


def card_file(folder: Path, source: str) -> Path:
    """Where the last check of a camera is kept."""
    return folder / f"card-{re.sub(r'[^A-Za-z0-9._-]+', '_', source)}.json"


def save_check(path: Path, check: CardCheck) -> None:
    """Write a check whole or not at all, in place of the one before.

    Raises:
        OutputError: It cannot be written; the one before is still there.
    """
    with whole_files([path]) as (file,):
        file.write(check.model_dump_json(by_alias=True, indent=1).encode() + b"\n")


def load_check(path: Path) -> CardCheck | None:
    """The last check, ``None`` where there was none.

    Raises:
        InputError: The file is there and is no check.
    """
    try:
        return CardCheck.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        got = error.strerror or str(error)
    except ValidationError as errors:
        first = errors.errors()[0]
        got = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    raise InputError(f"a card check in {path}", got=got, next_step="remove it and check the card")
