"""Which picture trains, which tunes, which tests: ``splits.csv``, one table for every folder.

70 % train, 10 % tune, 20 % test. No group crosses sides:

* PAD-UFES-20 (`clinical`, `normal_skin`): one group per patient.
* ISIC 2017 (`dermoscopy`): one group per set of near-duplicates (see :func:`near_duplicates`).
* ISIC UDA-1 (`dermoscopy_full`): in the group of its own 256-pixel twin, and that group is in
  test.
* Wikimedia Commons (`erythema`): in test, each its own group; it has no masks to learn from.

Within a folder the sides are stratified by label; a patient counts as the rarest label that he or
she has. Columns: `folder`, `name` (file without suffix), `label` (as the folder writes it), `group`
(rows with the same group stay together), `side` (`train`, `tune`, `test`).

Make it again with ``python -m models.splits DATA``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from models.data_folder import Picture, list_pictures
from models.errors import InputError
from models.whole_file import write_whole

Side = Literal["train", "tune", "test"]
SHARES: dict[Side, float] = {"train": 0.70, "tune": 0.10, "test": 0.20}
COLUMNS = ("folder", "name", "label", "group", "side")

HASH_GRID = 16
"""The difference hash compares neighbours in a 17x17 thumbnail, across and down: 512 bits."""

HASH_BITS_ALONE = 76
"""Pictures whose hashes differ in at most this many of 512 bits (15 %) are near-duplicates."""

HASH_BITS_ALIKE = 128
"""So are those that differ in at most this many (25 %), if their thumbnails are also alike."""

CORRELATION_ALIKE = 0.95
"""Correlation of grey 24x24 thumbnails from which they count as alike."""


@dataclass(frozen=True)
class SplitRow:
    """One line of ``splits.csv``; the module's docstring explains the columns."""

    folder: str
    name: str
    label: str
    group: str
    side: Side


def splits_path() -> Path:
    """The committed table."""
    return Path(__file__).parent / "splits.csv"


def load_splits(path: Path | None = None) -> list[SplitRow]:
    """Read the table (the committed one by default).

    Raises:
        InputError: The file is missing or is not such a table.
    """
    path = path or splits_path()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_row(line, path) for line in csv.DictReader(file)]
    except OSError as error:
        raise InputError(
            f"the table {path}",
            got=error.strerror or str(error),
            next_step="make it with: python -m models.splits DATA",
        ) from error


def pictures_of_side(data: Path, side: Side) -> list[Picture]:
    """The data folder's pictures that the committed table puts on ``side``.

    Raises:
        InputError: The data folder is incomplete, or holds a picture that the table lacks.
    """
    sides = {(row.folder, row.name): row.side for row in load_splits()}
    chosen = []
    for picture in list_pictures(data):
        found = sides.get((picture.folder, picture.name))
        if found is None:
            raise InputError(
                f"{picture.path} to stand in models/splits.csv",
                got="no such row",
                next_step="use the data that the table was made from",
            )
        if found == side:
            chosen.append(picture)
    return chosen


def make_splits(data: Path) -> list[SplitRow]:
    """The table for a data folder; the same folder always gives the same table.

    Raises:
        InputError: The data folder is incomplete.
    """
    pictures = list_pictures(data)
    groups = _groups(pictures)
    forced = {groups[_key(p)] for p in pictures if p.folder in ("dermoscopy_full", "erythema")}
    sides = _assign(pictures, groups, forced)
    return [
        SplitRow(p.folder, p.name, p.label, groups[_key(p)], sides[groups[_key(p)]])
        for p in pictures
    ]


def write_splits(rows: Sequence[SplitRow], path: Path) -> None:
    """Write the table with Unix line ends."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow((row.folder, row.name, row.label, row.group, row.side))
    write_whole(path, text.getvalue().encode("utf-8"))


def near_duplicates(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Pairs of pictures that show almost the same.

    The difference hash says whether each cell of a thumbnail is brighter than its right and lower
    neighbour. On ISIC 2017 the rule errs towards joining, which costs nothing: of its 22 pairs 13
    show the same lesion, by eye; the others, a group of 8 and a chain of 26 only look alike.
    Mirrored and turned copies were searched for with a correlation of 0.98 and none was found, so
    they are not looked for. The same lesion at another magnification goes unnoticed.

    Args:
        paths: Readable pictures.

    Returns:
        Index pairs ``(i, j)``, ``i < j``.
    """
    greys = [_read_grey(path) for path in paths]
    bits = np.stack([_difference_hash(grey) for grey in greys]).astype(np.float32)
    distance = bits @ (1 - bits).T + (1 - bits) @ bits.T
    thumbs = np.stack([_thumbnail(grey) for grey in greys])
    alike = (distance <= HASH_BITS_ALIKE) & (thumbs @ thumbs.T >= CORRELATION_ALIKE)
    joined = np.triu((distance <= HASH_BITS_ALONE) | alike, k=1)
    return [(int(i), int(j)) for i, j in np.argwhere(joined)]


def _row(line: dict[str, str], path: Path) -> SplitRow:
    side = line.get("side")
    if side not in SHARES or any(line.get(column) is None for column in COLUMNS):
        raise InputError(
            f"{path} with the columns {', '.join(COLUMNS)}",
            got=f"the row {line}",
            next_step="make it again with: python -m models.splits DATA",
        )
    return SplitRow(line["folder"], line["name"], line["label"], line["group"], side)


def _key(picture: Picture) -> tuple[str, str]:
    return picture.folder, picture.name


def _groups(pictures: Sequence[Picture]) -> dict[tuple[str, str], str]:
    """Group name of each picture, by folder and name."""
    dermoscopy = [p for p in pictures if p.folder == "dermoscopy"]
    first = list(range(len(dermoscopy)))  # union by the smallest index

    def root(index: int) -> int:
        while first[index] != index:
            index = first[index]
        return index

    for i, j in near_duplicates([p.path for p in dermoscopy]):
        a, b = sorted((root(i), root(j)))
        first[b] = a
    groups = {_key(p): dermoscopy[root(i)].name for i, p in enumerate(dermoscopy)}
    for p in pictures:
        if p.folder == "dermoscopy_full":
            groups[_key(p)] = groups.get(("dermoscopy", p.name), p.name)
        elif p.folder != "dermoscopy":
            groups[_key(p)] = p.patient or f"{p.folder}-{p.name}"
    return groups


def _assign(
    pictures: Sequence[Picture], groups: dict[tuple[str, str], str], forced: set[str]
) -> dict[str, Side]:
    """A side for each group: forced ones in test, the rest where most is lacking.

    Groups are taken stratum by stratum, the largest first, equals in the order of a hash of their
    name, which is as good as drawn and needs no random generator.
    """
    members: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        if picture.folder != "dermoscopy_full":
            members[groups[_key(picture)]].append(picture)
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    label_counts = Counter((p.folder, p.label) for p in pictures)
    for group, inside in members.items():
        strata[min((label_counts[p.folder, p.label], (p.folder, p.label)) for p in inside)[1]] += [
            group
        ]
    sides: dict[str, Side] = {}
    for stratum in sorted(strata):
        counts: dict[Side, int] = dict.fromkeys(SHARES, 0)
        order = sorted(strata[stratum], key=lambda g: (g not in forced, -len(members[g]), _draw(g)))
        for group in order:
            side: Side = "test" if group in forced else _most_lacking(counts, len(members[group]))
            sides[group] = side
            counts[side] += len(members[group])
    return sides


def _most_lacking(counts: dict[Side, int], size: int) -> Side:
    total = sum(counts.values()) + size
    return max(SHARES, key=lambda side: SHARES[side] * total - counts[side])


def _draw(group: str) -> str:
    return hashlib.sha256(f"dermedge splits 1 {group}".encode()).hexdigest()


def _read_grey(path: Path) -> NDArray[np.uint8]:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise InputError(
            f"{path} to be a picture",
            got="a file that cannot be decoded",
            next_step="fetch the data again",
        )
    return np.asarray(grey, np.uint8)


def _difference_hash(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    size = (HASH_GRID + 1, HASH_GRID + 1)
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.int16)
    across = small[:-1, 1:] > small[:-1, :-1]
    down = small[1:, :-1] > small[:-1, :-1]
    return np.concatenate((across.ravel(), down.ravel()))


def _thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    small = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA)
    values = np.asarray(small, np.float32).ravel()
    values -= values.mean()
    norm = np.sqrt(np.square(values).sum(dtype=np.float32))
    unit: NDArray[np.float32] = values / (norm + np.float32(1e-6))
    return unit


def _summary(rows: Sequence[SplitRow]) -> str:
    lines = []
    for folder in dict.fromkeys(row.folder for row in rows):
        sides = Counter(row.side for row in rows if row.folder == folder)
        groups = Counter(row.group for row in rows if row.folder == folder)
        sizes = Counter(groups.values())
        lines.append(
            f"{folder}: "
            + ", ".join(f"{side} {sides[side]}" for side in SHARES)
            + f"; {len(groups)} groups, sizes "
            + ", ".join(f"{size}x{count}" for size, count in sorted(sizes.items()))
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """``python -m models.splits DATA``: write the table and print how it came out."""
    if len(arguments) != 1:
        print("usage: python -m models.splits DATA", file=sys.stderr)
        return 2
    try:
        rows = make_splits(Path(arguments[0]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    write_splits(rows, splits_path())
    print(_summary(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
