"""The folder of pictures that training, tests and evaluation take as their argument.

    DATA/
      dermoscopy/labels.csv          id,diagnosis          (ISIC 2017 training set)
      dermoscopy/images/ID.jpg       256x256
      dermoscopy/masks/ID.png        same size, 255 = lesion
      dermoscopy_full/images/ID.jpg  up to 1280 px         (ISIC UDA-1; ids also in dermoscopy/)
      dermoscopy_full/masks/ID.png
      clinical/labels.csv            id,patient,diagnosis,fitzpatrick,...   (PAD-UFES-20)
      clinical/images/ID.jpg
      normal_skin/patches.csv        file,fitzpatrick,...  (cut from PAD-UFES-20)
      normal_skin/fstT_PAT_P_L_X.png lesion-free; patient PAT_P
      erythema/CREDITS.csv           file,...              (Wikimedia Commons)
      erythema/FILE

Pictures are known by their folder and the name of their file without suffix.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

FOLDERS = ("dermoscopy", "dermoscopy_full", "clinical", "normal_skin", "erythema")


@dataclass(frozen=True)
class Picture:
    """One picture of the data folder.

    Attributes:
        folder: One of :data:`FOLDERS`.
        name: Name of the file without suffix.
        path: The picture.
        mask_path: Its lesion mask, ``None`` where there is none.
        label: Diagnosis as the folder writes it, empty where there is none.
        patient: ``PAT_...`` for pictures of PAD-UFES-20, empty elsewhere.
        fitzpatrick: Skin type 1 to 6, ``None`` where unknown.
    """

    folder: str
    name: str
    path: Path
    mask_path: Path | None
    label: str
    patient: str
    fitzpatrick: int | None


def list_pictures(data: Path) -> list[Picture]:
    """Every picture that the folder's tables name, sorted by folder and name.

    Raises:
        InputError: A table is missing or lacks a column, or a picture that it names is missing.
    """
    dermoscopy = _dermoscopy(data)
    diagnoses = {picture.name: picture.label for picture in dermoscopy}
    pictures = [
        *dermoscopy,
        *_dermoscopy_full(data, diagnoses),
        *_clinical(data),
        *_normal_skin(data),
        *_erythema(data),
    ]
    for picture in pictures:
        for path in (picture.path, picture.mask_path):
            if path is not None and not path.is_file():
                raise _missing(path)
    return sorted(pictures, key=lambda picture: (FOLDERS.index(picture.folder), picture.name))


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A picture as HxWx3 uint8 RGB.

    Raises:
        InputError: The file is missing or is no picture.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise _missing(path)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A lesion mask as HxW bool.

    Raises:
        InputError: The file is missing or is no picture.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise _missing(path)
    return np.asarray(pixels) > 127


def _dermoscopy(data: Path) -> list[Picture]:
    folder = data / "dermoscopy"
    return [
        Picture(
            "dermoscopy",
            row["id"],
            folder / "images" / f"{row['id']}.jpg",
            folder / "masks" / f"{row['id']}.png",
            row["diagnosis"],
            "",
            None,
        )
        for row in _rows(folder / "labels.csv", ("id", "diagnosis"))
    ]


def _dermoscopy_full(data: Path, diagnoses: dict[str, str]) -> list[Picture]:
    folder = data / "dermoscopy_full"
    paths = sorted((folder / "images").glob("*.jpg"))
    if not paths:
        raise _missing(folder / "images" / "*.jpg")
    return [
        Picture(
            "dermoscopy_full",
            path.stem,
            path,
            folder / "masks" / f"{path.stem}.png",
            diagnoses.get(path.stem, ""),
            "",
            None,
        )
        for path in paths
    ]


def _clinical(data: Path) -> list[Picture]:
    folder = data / "clinical"
    columns = ("id", "patient", "diagnosis", "fitzpatrick")
    return [
        Picture(
            "clinical",
            row["id"],
            folder / "images" / f"{row['id']}.jpg",
            None,
            row["diagnosis"],
            row["patient"],
            _fitzpatrick(row["fitzpatrick"]),
        )
        for row in _rows(folder / "labels.csv", columns)
    ]


def _normal_skin(data: Path) -> list[Picture]:
    folder = data / "normal_skin"
    pictures = []
    for row in _rows(folder / "patches.csv", ("file", "fitzpatrick")):
        name = Path(row["file"]).stem
        patient = "_".join(name.split("_")[1:3])
        pictures.append(
            Picture(
                "normal_skin",
                name,
                folder / row["file"],
                None,
                "",
                patient,
                _fitzpatrick(row["fitzpatrick"]),
            )
        )
    return pictures


def _erythema(data: Path) -> list[Picture]:
    folder = data / "erythema"
    return [
        Picture("erythema", Path(row["file"]).stem, folder / row["file"], None, "", "", None)
        for row in _rows(folder / "CREDITS.csv", ("file",))
    ]


def _fitzpatrick(text: str) -> int | None:
    return int(float(text)) if text.strip() not in ("", "NA") else None


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            absent = [name for name in columns if name not in (reader.fieldnames or ())]
            if absent:
                raise InputError(
                    f"{path} with the columns {', '.join(columns)}",
                    got=f"no column {', '.join(absent)}",
                    next_step="see the layout in models/data_folder.py",
                )
            return list(reader)
    except OSError as error:
        raise _missing(path) from error


def _missing(path: Path) -> InputError:
    return InputError(
        f"{path}",
        got="no readable file there",
        next_step="give the data folder whose layout models/data_folder.py describes",
    )
