"""Colour profiles: what may be said, and in which words the rest is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edge.guards.colour_profile as module
from edge.errors import RequestError
from edge.guards.colour_profile import SCHEMA, load_profile

HEAD = f'schema = "{SCHEMA}"\nname = "ring"\n'


def write(folder: Path, text: str) -> str:
    path = folder / "profile.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_built_in_profile_holds_everything_and_asks_for_no_card() -> None:
    profile = load_profile("hold")
    assert (profile.name, profile.v4l2, profile.check_every_h) == ("hold", {}, None)
    assert (profile.argus.gainrange, profile.argus.awblock) == ("hold", True)
    assert profile.picamera2.ColourGains == "hold"


def test_the_documented_profile_is_read(tmp_path: Path) -> None:
    """The example stands indented in the module's head."""
    text = re.search(r"file::\n\n(.*?)\n\n``", module.__doc__ or "", re.DOTALL)
    assert text is not None
    profile = load_profile(write(tmp_path, re.sub(r"^    ", "", text[1], flags=re.MULTILINE)))
    assert profile.v4l2["exposure_time_absolute"] == 100
    assert profile.v4l2["white_balance_temperature"] == "hold"
    assert profile.argus.exposuretimerange == (10_000_000, 10_000_000)
    assert profile.picamera2.ColourGains == (1.9, 1.6)
    assert profile.check_every_h == 24.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "schema = "),
        ('schema = "dermedge.colour_profile/2"\nname = "x"', "schema = "),
        (HEAD + "name = 3", "TOML in UTF-8"),
        (f'schema = "{SCHEMA}"', "name: to be there"),
        (f'schema = "{SCHEMA}"\nname = "hold"', "a name of its own"),
        (f'schema = "{SCHEMA}"\nname = "a/b"', "name: a name of letters"),
        (f'schema = "{SCHEMA}"\nname = 3', "name: text in quotes"),
        (HEAD + "settle = 2.0", "settle: not to be there"),
        (HEAD + "settle_s = 61.0", "settle_s: a number of at most 60"),
        (HEAD + "settle_s = nan", "settle_s: a "),
        (HEAD + 'check_every_h = "daily"', "check_every_h: a number"),
        (HEAD + "check_every_h = 0.0", "check_every_h: a number of at least 0.1"),
        (HEAD + "v4l2 = 3", "v4l2: a table"),
        (HEAD + "argus = 3", "argus: a table"),
        (HEAD + "[v4l2]\nGain = 3", "v4l2.Gain: a name of"),
        (HEAD + "[v4l2]\ngain = true", "v4l2.gain: a whole number"),
        (HEAD + '[v4l2]\ngain = "held"', "v4l2.gain: a whole number from -2.14748e+09"),
        (HEAD + "[argus]\nwbmode = 12", 'argus.wbmode: a whole number from 0 to 9, or "hold"'),
        (HEAD + "[argus]\naelock = 1", "argus.aelock: true or false"),
        (HEAD + "[argus]\ngainrange = [1.0, 8.0]", "argus.gainrange: two equal numbers"),
        (HEAD + "[argus]\nexposuretimerange = [1.5, 1.5]", "two equal whole numbers"),
        (HEAD + "[picamera2]\nColourGains = [1.0]", "picamera2.ColourGains: two numbers"),
        (HEAD + "[picamera2]\nColourGains = [0, 1]", "picamera2.ColourGains: two numbers"),
        (HEAD + "[picamera2]\nExposureTime = 1e4", "picamera2.ExposureTime: a whole number"),
        (HEAD + "[picamera2]\nAnalogueGain = inf", "picamera2.AnalogueGain: a number"),
    ],
)
def test_what_it_may_not_say_is_refused_by_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        load_profile(write(tmp_path, text))
    assert words in caught.value.expected
    assert caught.value.got and "docs/guards.md" in caught.value.next_step


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the name hold"):
        load_profile(str(tmp_path / "none.toml"))
