"""Makes inputs from the way a user names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from edge.controls import Controls, Wish
from edge.errors import RequestError
from edge.inputs import evdev, gpio
from edge.inputs.button import Button
from edge.stop import Stop
from edge.uri import Kind, Uri, one_of, parse_uri, whole_number


def _key(text: str) -> int:
    if text in evdev.KEYS:
        return evdev.KEYS[text]
    try:
        return whole_number(1, 767)(text)
    except ValueError:
        names = ", ".join(evdev.KEYS)
        raise ValueError(f"must be one of {names}, or a number from 1 to 767") from None


_WISH = {"wish": one_of(*get_args(Wish))}
KINDS: Mapping[str, Kind] = {
    "evdev": Kind("evdev:DEVICE?key=KEY&wish=WISH", {"key": _key, **_WISH}),
    "gpio": Kind(
        "gpio:CHIP/LINE?bias=BIAS&edge=EDGE&debounce_ms=N&wish=WISH",
        {
            "bias": one_of(*get_args(gpio.Bias)),
            "edge": one_of(*get_args(gpio.Edge)),
            "debounce_ms": whole_number(0, 1000),
            **_WISH,
        },
    ),
}


def parse_input(text: str) -> Uri:
    """Read one input's name, without making it.

    Raises:
        RequestError: No such kind or option, or no line.
    """
    uri = parse_uri(text, KINDS, "input")
    if uri.kind == "gpio":
        chip, _, line = uri.place.rpartition("/")
        if not chip or not line.isdecimal() or int(line) > 65535:
            raise RequestError(
                "an input written as gpio:CHIP/LINE",
                got=repr(text),
                next_step="write, for example, gpio:gpiochip0/17",
            )
    return uri


def buttons_from_uris(texts: Sequence[str], controls: Controls, stop: Stop) -> list[Button]:
    """The named inputs, each with a thread that is not started yet.

    Args:
        texts: ``evdev:DEVICE?key=KEY_CAMERA`` or ``gpio:CHIP/LINE``.
        controls: Told about presses.
        stop: Ends the threads.

    Raises:
        RequestError: A name is wrong.
    """
    return [_button(parse_input(text), controls, stop) for text in texts]


def _button(uri: Uri, controls: Controls, stop: Stop) -> Button:
    options = dict(uri.options)
    wish: Wish = options.pop("wish", "shutter")
    open_all: Callable[[], list[int]]
    read: Callable[[int], Sequence[int]]
    wanted: Any
    if uri.kind == "evdev":
        wanted = evdev.Wanted(uri.place, options.get("key", evdev.KEYS["KEY_CAMERA"]))
        open_all = partial(evdev.open_devices, wanted)
        read = partial(_swapped, evdev.read_presses, wanted)
    else:
        chip, _, line = uri.place.rpartition("/")
        wanted = gpio.Wanted(chip, int(line), **options)
        open_all = partial(_one, wanted)
        read = partial(_swapped, gpio.read_presses, wanted)
    if uri.kind == "evdev":
        return Button(
            wanted.origin, open_all, read, wish, controls, stop, what_is_there=evdev.what_is_there
        )
    return Button(wanted.origin, open_all, read, wish, controls, stop)


def _one(wanted: gpio.Wanted) -> list[int]:
    return [gpio.open_line(wanted)]


def _swapped(read: Callable[[int, Any], Sequence[int]], wanted: Any, number: int) -> Sequence[int]:
    return read(number, wanted)
