"""``dermedge-models phantom``: writes one phantom, and its true mask, as PNG."""

from __future__ import annotations

import io
import re
from pathlib import Path

import click
import numpy as np
from PIL import Image

from models.errors import InputError, RequestError
from models.whole_file import write_whole


def parse_size(text: str) -> tuple[int, int]:
    """``1280x960`` as (1280, 960).

    Raises:
        RequestError: It is no such size, or a side is outside 64..8192 pixels.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is not None:
        width, height = int(match[1]), int(match[2])
        if 64 <= width <= 8192 and 64 <= height <= 8192:
            return width, height
    raise RequestError(
        "a size as WIDTHxHEIGHT, each 64 to 8192 pixels",
        got=repr(text),
        next_step="type for example --size 1280x960",
    )


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="PNG to write.")
@click.option("--seed", default=0, type=click.IntRange(0), show_default=True, help="Decides all.")
@click.option("--size", default="1280x960", show_default=True, help="WIDTHxHEIGHT in pixels.")
@click.option("--lesions", type=click.IntRange(0, 12), help="How many; drawn where not given.")
@click.option("--ita", "ita_deg", type=click.FloatRange(-60, 60), help="Skin tone in degrees.")
@click.option(
    "--domain", type=click.Choice(["clinical", "dermoscopic"]), help="Phone or dermatoscope."
)
@click.option("--mask", type=click.Path(path_type=Path), help="PNG of the true mask to write.")
def phantom(
    out: Path,
    seed: int,
    size: str,
    lesions: int | None,
    ita_deg: float | None,
    domain: str | None,
    mask: Path | None,
) -> None:
    """Write a synthetic picture of skin with lesions whose truth is known."""
    for path in (out, mask):
        if path is not None and path.suffix.lower() != ".png":
            raise RequestError(
                "a path that ends in .png",
                got=repr(str(path)),
                next_step="name it, for example, phantom.png",
            )
    from models.phantom import random_spec, render

    spec = random_spec(
        seed,
        parse_size(size),
        ita_deg=ita_deg,
        lesion_count=lesions,
        domain=domain,  # type: ignore[arg-type]  # click has checked the choice
    )
    drawn = render(spec)
    _write_png(out, drawn.pixels)
    if mask is not None:
        _write_png(mask, drawn.mask.astype(np.uint8) * 255)
    kinds = ", ".join(lesion.kind for lesion in drawn.lesions) or "none"
    click.echo(f"{out}: ITA {drawn.ita_deg:.0f} degrees, lesions: {kinds}")


def _write_png(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    try:
        write_whole(path, encoded.getvalue())
    except OSError as error:
        raise InputError(
            f"{path} to be writable",
            got=error.strerror or str(error),
            next_step="choose another --out",
        ) from error
