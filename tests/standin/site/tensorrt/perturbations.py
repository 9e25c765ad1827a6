"""What tests let go wrong in a run: ``STANDIN_PERTURB``, a list between commas.

Each entry is ``what[:amount][@where]...``; ``where`` is a precision or the name of an output, and
all of them must fit: ``blank@int8``, ``shift:6@probability@fp16``.

``float16``      results are rounded to half precision, as a correct FP16 engine might: harmless
``bad_tactic``   one kernel is wrong: a quarter of the mask is inverted, two classes are exchanged
``blank``        an empty mask, or all classes alike
``swap``         red and blue are exchanged on the way in
``nan``          one number in fifty is not a number
``shift:8``      the mask lies some pixels to the right
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import settings

Array = NDArray[Any]


def _wanted(precision: str, outputs: list[str]) -> dict[str, int]:
    wanted = {}
    for entry in filter(None, (settings.text("PERTURB") or "").split(",")):
        what, *where = entry.strip().split("@")
        name, _, amount = what.partition(":")
        if name not in _NAMES:
            raise ValueError(f"STANDIN_PERTURB: expected some of {', '.join(_NAMES)}, got {name!r}")
        if all(place in (precision, *outputs) for place in where):
            wanted[name] = int(amount or 8)
    return wanted


def of_inputs(inputs: dict[str, Array], precision: str, outputs: list[str]) -> dict[str, Array]:
    """What the network gets instead of ``inputs``, uint8 [N,H,W,3] each."""
    if "swap" in _wanted(precision, outputs):
        return {n: np.ascontiguousarray(a[..., ::-1]) for n, a in inputs.items()}
    return inputs


def of_output(name: str, output: Array, precision: str) -> Array:
    """What comes out instead of ``output``, [N,H,W] or [N,C] float32."""
    changed = output.copy()
    for what, amount in _wanted(precision, [name]).items():
        changed = _CHANGES[what](changed, amount) if what in _CHANGES else changed
    return changed


def _bad_tactic(output: Array, _: int) -> Array:
    if output.ndim == 2:
        return output[:, ::-1].copy()
    height, width = output.shape[1:3]
    part = output[:, : height // 2, : width // 2]
    output[:, : height // 2, : width // 2] = 1 - part
    return output


def _blank(output: Array, _: int) -> Array:
    return np.full_like(output, 1 / output.shape[1] if output.ndim == 2 else 0)


def _nan(output: Array, _: int) -> Array:
    output.reshape(-1)[::50] = np.nan
    return output


def _shift(output: Array, pixels: int) -> Array:
    return np.roll(output, pixels, axis=-1)


_CHANGES = {
    "float16": lambda output, _: output.astype(np.float16).astype(output.dtype),
    "bad_tactic": _bad_tactic,
    "blank": _blank,
    "nan": _nan,
    "shift": _shift,
}
_NAMES = (*_CHANGES, "swap")
