"""How far redness and skin tone can be believed: ``python -m benchmarks.colour [--nevi-to FILE]``.

Three tables. Red phantoms by tone, each as its own phone camera shows it: how many the rule of
``edge.analysis.colour`` calls red, and why the others are not. The same pictures: how far the skin
tone lies from the truth. With ``DERMEDGE_DATA`` naming the folder of real pictures: how many nevi
of each side of ``models/splits.csv`` the rule calls red.

Everything is computed with the drawn or true mask, so that the figures are those of the colour
measurement alone and not of a network.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from edge.analysis.colour import measure_colour
from edge.analysis.light import LightMeter, overview
from edge.analysis.regions import find_regions
from edge.analysis.tone import measure_tone
from edge.result import RegionColour, SkinTone
from models import skin
from models.manifest import RegionRules, ResizeRule
from models.phantom import clean, random_spec, render
from models.resize import place

TONES_DEG = (-60, -45, -30, 0, 30, 60)
SEEDS = 47
PHANTOM_WH = (128, 128)

_ROOT = Path(__file__).parents[1]
_NEVUS_LABELS = {"nevus", "NEV"}
_RULES = RegionRules(min_area_fraction=0.0005)


@click.command()
@click.option("--nevi-to", type=click.Path(path_type=Path), help="CSV of the tune side to write.")
def main(nevi_to: Path | None) -> None:
    """Measure and print the tables."""
    _print_phantoms()
    folder = os.environ.get("DERMEDGE_DATA")
    if not folder:
        print("nevi: DERMEDGE_DATA names no folder of real pictures")
        return
    for side in ("tune", "test"):
        rows = list(nevi(Path(folder), side))
        _print_nevi(side, [colour for _, colour in rows])
        if nevi_to is not None and side == "tune":
            write_nevi(nevi_to, rows)


def measured(
    pixels: NDArray[np.uint8], drawn: NDArray[np.bool_], colour_locked: bool | None = None
) -> tuple[RegionColour | None, SkinTone]:
    """Colour of the largest drawn region, if any is large enough, and the tone around all.

    Args:
        pixels: HxWx3 uint8 RGB.
        drawn: HxW, the regions.
        colour_locked: As ``edge.analysis.colour.measure_colour`` takes it.
    """
    height, width = drawn.shape
    mask = np.empty(drawn.shape, np.uint8)
    placement = place((width, height), (width, height), ResizeRule(fit="stretch"))
    regions = find_regions(drawn.astype(np.float32), placement, 0.5, _RULES, mask)
    light = LightMeter().reduce(pixels)
    colours = [measure_colour(light, region, mask, colour_locked) for region in regions[:1]]
    return (colours[0] if colours else None), measure_tone(overview(light), regions, mask)


def called_red(colour: RegionColour) -> bool:
    """Whether a reader of the Result may take this region for erythema."""
    return colour.erythema_reliable and (colour.delta_ei or 0.0) > 0.0


# --- phantoms -----------------------------------------------------------------------------------


def red_phantoms(
    ita_deg: float, *, without_camera: bool = False
) -> Iterator[tuple[RegionColour, SkinTone]]:
    """Colour and tone of phantoms with one red lesion, one per seed; those without are left out.

    Args:
        ita_deg: True tone.
        without_camera: Even light, no artefacts, plain sRGB.
    """
    for seed in range(SEEDS):
        spec = random_spec(
            seed, PHANTOM_WH, ita_deg=ita_deg, lesion_count=1, kinds=("red",), domain="clinical"
        )
        phantom = render(clean(spec) if without_camera else spec)
        colour, tone = measured(phantom.pixels, phantom.mask, colour_locked=True)
        if colour is not None:
            yield colour, tone


def _print_phantoms() -> None:
    for title, without in (("through their own camera", False), ("without a camera", True)):
        print(f"\nred phantoms {title}, {SEEDS} seeds a tone, {PHANTOM_WH[0]} px")
        print(
            "true ITA  called red  of all  of compared  ITA error: 10 %, median, 90 %  "
            "bins too light  why not"
        )
        every: list[tuple[RegionColour, SkinTone]] = []
        for tone_deg in TONES_DEG:
            found = list(red_phantoms(tone_deg, without_camera=without))
            errors = [tone.ita_deg - tone_deg for _, tone in found if tone.ita_deg is not None]
            low, middle, high = np.percentile(errors, (10, 50, 90))
            spread = f"{low:+13.0f} {middle:+7.0f} {high:+5.0f}"
            bins = _bins_too_light(found, tone_deg)
            print(f"{tone_deg:+8d}  {_shares(found)}  {spread}  {bins}  {_why_not(found)}")
            every += found
        print(f"     all  {_shares(every)}")


def _shares(found: list[tuple[RegionColour, SkinTone]]) -> str:
    """How many are called red, of all and of those with enough clear skin to compare with."""
    red = sum(called_red(colour) for colour, _ in found)
    compared = sum(colour.delta_ei is not None for colour, _ in found)
    parts = (f"{red:10d}", f"{red / len(found):4.0%} of {len(found):3d}")
    return "  ".join((*parts, f"{red / compared:4.0%} of {compared:3d}"))


def _bins_too_light(found: list[tuple[RegionColour, SkinTone]], true_deg: float) -> str:
    """How many groups are right and how many are off by how many bins; below 0 is too dark."""
    names: list[str | None] = [name for _, name in skin.TONE_GROUPS]  # lightest first
    true = names.index(skin.tone_group(true_deg))
    off = Counter(true - names.index(tone.group) for _, tone in found if tone.group is not None)
    return " ".join(f"{bins:+d}:{count}" for bins, count in sorted(off.items()))


def _why_not(found: list[tuple[RegionColour, SkinTone]]) -> str:
    reasons = Counter(
        reason for colour, _ in found if not called_red(colour) for reason in _first_words(colour)
    )
    return ", ".join(f"{words} {count}" for words, count in reasons.most_common())


def _first_words(colour: RegionColour) -> list[str]:
    if colour.reason is None:
        return ["no redder than its ring"]
    return [
        "clipped" if "are clipped" in reason else " ".join(reason.split(":")[0].split()[:4])
        for reason in colour.reason.split("; ")
    ]


# --- real nevi ----------------------------------------------------------------------------------


def nevi(data: Path, side: str) -> Iterator[tuple[str, RegionColour]]:
    """Name and colour of each nevus of a side of the split that can be measured.

    Args:
        data: Folder of real pictures, with ``dermoscopy`` (and its drawn masks) and ``clinical``.
        side: Of ``models/splits.csv``.
    """
    for folder in ("dermoscopy", "clinical"):
        for name in _nevus_names(folder, side):
            (path,) = (data / folder / "images").glob(f"{name}.*")
            pixels = _rgb(path)
            if folder == "dermoscopy":
                mask = cv2.imread(str(data / folder / "masks" / f"{name}.png"), 0)
                drawn = np.asarray(mask) > 0
            else:
                drawn = middle_by_brightness(pixels)
                if not 0.01 < drawn.mean() < 0.5:
                    continue
            colour, _ = measured(pixels, drawn)
            if colour is not None and colour.delta_ei is not None:
                yield name, colour


def middle_by_brightness(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A stand-in for a drawn mask: what is darker and redder, split by Otsu, nearest the middle.

    Args:
        pixels: HxWx3 uint8 RGB.

    Returns:
        HxW bool; nothing where nothing stands out.
    """
    side = pixels.shape[0]
    smooth = cv2.GaussianBlur(pixels, (0, 0), side / 80)
    lab = skin.lab_from_srgb(np.asarray(smooth, np.uint8))
    shade = np.clip(255 - 2.55 * lab[..., 0] + 1.5 * lab[..., 1], 0, 255).astype(np.uint8)
    _, drawn = cv2.threshold(shade, 0, 255, cv2.THRESH_OTSU)
    count, labels, stats, centers = cv2.connectedComponentsWithStats(drawn)
    middle = np.array([pixels.shape[1], side]) / 2
    apart = np.linalg.norm(centers - middle, axis=1) / (0.25 * side)
    weight = stats[:, cv2.CC_STAT_AREA] * np.exp(-(apart**2))
    weight[0] = 0.0
    return np.asarray(labels == int(weight.argmax())) & (count > 1)


def write_nevi(path: Path, rows: list[tuple[str, RegionColour]]) -> None:
    """Write the differences of each nevus as CSV, without names: the numbers are enough."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["delta_ei", "delta_q_hem", "delta_q_mel"])
        for _, colour in rows:
            deltas = (colour.delta_ei, colour.delta_q_hem, colour.delta_q_mel)
            writer.writerow([f"{delta:.3f}" for delta in deltas])


def _nevus_names(folder: str, side: str) -> list[str]:
    with (_ROOT / "models" / "splits.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["folder"] == folder]
    return [r["name"] for r in rows if r["side"] == side and r["label"] in _NEVUS_LABELS]


def _rgb(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(f"{path} cannot be read as a picture")
    return np.ascontiguousarray(picture[:, :, ::-1])


def _print_nevi(side: str, colours: list[RegionColour]) -> None:
    positive = sum((colour.delta_ei or 0.0) > 0.0 for colour in colours)
    red = sum(called_red(colour) for colour in colours)
    print(
        f"\nnevi, {side} side: {len(colours)} measured, delta EI positive in {positive}, "
        f"called red {red} ({red / max(1, len(colours)):.0%})"
    )


if __name__ == "__main__":
    main()
