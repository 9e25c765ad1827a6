"""Decodes one still picture into upright RGB pixels, or says why not.

What a file may hold, and what becomes of it (each with a note that travels in the Result):

===================  ===========================================================================
grey, black/white    the same value in R, G and B; the analysis notes that there is no colour
palette              its colours
16 bit per channel   divided by 257 and rounded, so that 65535 becomes 255; grey and RGB only
CMYK                 converted by its colour profile, else by plain subtraction
alpha                transparent parts laid over white
colour profile       converted to sRGB, the space in which all colour is measured here
EXIF orientation     turned upright; all coordinates are those of the upright picture
several pages        the first one
===================  ===========================================================================

A picture is turned into pixels in strips, so that at most two whole copies exist: Pillow's own
(4 bytes per RGB pixel) and the result (3 bytes per pixel).
"""

from __future__ import annotations

import mmap
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from edge.errors import InputError
from edge.frame import Frame
from edge.native_messages import native_messages_dropped
from edge.sources import rgb_strips
from edge.sources.containers import OTHER_SUFFIXES, no_container
from edge.sources.integrity import check_readable, check_whole, cut_off, printable

MAX_PIXELS = 200_000_000
"""Larger pictures are refused: decoding takes about 7 bytes per pixel, here 1.4 GB."""

_READERS = (
    JpegImagePlugin.JpegImageFile,  # also opens MPO, a JPEG with further pictures behind it
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    TiffImagePlugin.TiffImageFile,
    BmpImagePlugin.BmpImageFile,
)
_FORMATS = tuple(reader.format for reader in _READERS)

FORMS = "JPEG, PNG, WebP, TIFF or BMP"
"""What is read, in words."""

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib"}
)

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM")
_TIFF_MAGIC = (b"II*\0", b"MM\0*")
"""How files of these formats begin, to tell a damaged picture from none."""

_STRIP_ROWS = 256
_Strips = Iterator[tuple[int, Image.Image]]
_ORIENTATION, _TIFF_BITS, _TIFF_PHOTOMETRIC = 274, 258, 262

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5  # photometric interpretations, TIFF 6.0

# A view of the upright picture that has the stored picture's shape: writing the stored rows into
# it turns them upright on the way. Keys are EXIF 2.3 orientations.
_STORED_VIEWS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


@dataclass(frozen=True)
class Picture:
    """A decoded still: ``pixels`` HxWx3 uint8 RGB, upright, C-contiguous, and what was done."""

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


def frame_from_picture(path: Path, source: str, frame_id: int = 0) -> Frame:
    """Decode ``path`` into a frame; the caller owns its pixels.

    Raises:
        InputError: See :func:`decode_picture`.
    """
    picture = decode_picture(path)
    return Frame(
        pixels=picture.pixels,
        frame_id=frame_id,
        source=source,
        captured_ns=None,
        captured_clock=None,
        captured_by="file",
        notes=picture.notes,
    )


def decode_picture(path: Path) -> Picture:
    """Read one picture file.

    Raises:
        InputError: The file cannot be opened, is empty, cut off, damaged, not JPEG, PNG,
            WebP, TIFF or BMP, or has more than :data:`MAX_PIXELS`.
    """
    check_readable(path)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with _opened(path) as image:
                check_whole(path, image.format or "")
                picture = _decode(path, image)
    except UnidentifiedImageError as error:
        raise _no_picture(path) from error
    except MemoryError as error:
        raise InputError(
            f"memory to decode {printable(path)}",
            got="too little",
            next_step="reduce the picture or cut it into parts",
        ) from error
    except InputError:
        raise
    except Exception as error:  # fuzzed, Pillow raised SyntaxError, TypeError, struct.error, ...
        fault = f"data that cannot be decoded ({type(error).__name__}: {error})"
        raise cut_off(path, fault) from error
    remarks = dict.fromkeys(printable(str(warning.message)) for warning in caught)
    return Picture(picture.pixels, (*picture.notes, *remarks))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture, its header read, within this module's own limit of size."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit is below the 12,000x9,000 we promise
    try:
        with Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(
                    f"at most {MAX_PIXELS:,} pixels in {printable(path)}",
                    got=f"{width:,} x {height:,}",
                    next_step="reduce the picture or cut it into parts",
                )
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _library_messages(picture_format: str | None) -> AbstractContextManager[None]:
    """Around decoding: only libtiff is known to talk, so only its messages are dropped."""
    return native_messages_dropped() if picture_format == "TIFF" else nullcontext()


def _no_picture(path: Path) -> InputError:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_TIFF_MAGIC):
        return InputError(
            f"a whole TIFF of 8 or 16 bit grey, RGB, palette or CMYK in {printable(path)}",
            got="a picture whose beginning is damaged, or of another kind",
            next_step="copy the file again, or convert it to an 8-bit RGB JPEG or PNG",
        )
    if start.startswith(_MAGIC):
        return cut_off(path, "a picture whose beginning is damaged")
    if path.suffix.lower() in OTHER_SUFFIXES:
        return no_container(path, start)
    is_text = not set(start) - set(range(32, 127)) - set(b"\t\r\n")
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"heim", b"avif"):
        got, remedy = "a HEIC or AVIF picture", "export it as JPEG"
    elif is_text:
        got, remedy = "text", "give the picture itself"
    else:
        got, remedy = f"a file that starts with {start[:8].hex(' ')}", "convert it to JPEG or PNG"
    return InputError(f"a picture ({FORMS}) in {printable(path)}", got=got, next_step=remedy)


def _decode(path: Path, image: Image.Image) -> Picture:
    notes: list[str] = []
    stored = _stored(path, image, notes)
    to_rgb = rgb_strips.RgbConverter(image, notes)
    width, height = stored.size_wh
    turned = stored.orientation >= 5
    upright = np.empty((width, height, 3) if turned else (height, width, 3), np.uint8)
    view = _STORED_VIEWS[stored.orientation](upright)
    for row, strip in stored.strips:
        view[row : row + strip.height] = np.asarray(to_rgb(strip))
    to_rgb.finish()
    if stored.told_orientation != 1:
        notes.append(f"turned upright (EXIF orientation {stored.told_orientation})")
    return Picture(upright, tuple(notes))


@dataclass(frozen=True)
class _Stored:
    """The picture as its decoder gives it.

    Attributes:
        size_wh: Width and height in pixels.
        orientation: How it lies (EXIF 2.3), 1 is upright.
        told_orientation: How it lies in the file; decoders of TIFF turn it themselves.
        strips: Yields (first row, at most 256 rows).
    """

    size_wh: tuple[int, int]
    orientation: int
    told_orientation: int
    strips: _Strips


def _stored(path: Path, image: Image.Image, notes: list[str]) -> _Stored:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        notes.append(f"the first of {image.n_frames} pages")  # type: ignore[attr-defined]
    # Before it is loaded: both decoders turn a TIFF upright, and Pillow forgets that it did.
    told = _turns(image.tag_v2.get(_ORIENTATION)) if image.format == "TIFF" else None  # type: ignore[attr-defined]
    if _bits_per_channel(path, image) == 16:
        size_wh, strips = _sixteen_bit(path, image)
        notes.append("16 bit per channel scaled to 8")
    else:
        _check_mode(path, image)
        with _library_messages(image.format):
            image.load()
        size_wh, strips = image.size, _image_strips(image)
    if told is not None:
        return _Stored(size_wh, 1, told, strips)
    # Only now: a PNG may tell its orientation after its pixels.
    orientation = _orientation(image, notes)
    return _Stored(size_wh, orientation, orientation, strips)


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        return _turns(image.getexif().get(_ORIENTATION))
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        notes.append(f"EXIF not readable, taken as upright ({error})")
        return 1


def _turns(orientation: object) -> int:
    """A value of the tag, where it is one that exists; 1 is upright."""
    return orientation if isinstance(orientation, int) and orientation in _STORED_VIEWS else 1


def _bits_per_channel(path: Path, image: Image.Image) -> int:
    """Bits of the file, which Pillow's mode does not tell: it opens 16-bit RGB as 8-bit."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return int(file.read(25)[24])  # IHDR: length, type, width, height, then the depth
    if image.format == "TIFF":
        bits: tuple[int, ...] = image.tag_v2.get(_TIFF_BITS, (8,))  # type: ignore[attr-defined]
        return max(bits)
    return 8


def _check_mode(path: Path, image: Image.Image) -> None:
    if image.mode not in rgb_strips.MODES:
        raise InputError(
            f"8 or 16 bit grey, RGB, palette or CMYK in {printable(path)}",
            got=f"a picture of mode {image.mode}",
            next_step="convert it to an 8-bit RGB JPEG or PNG",
        )


def _sixteen_bit(path: Path, image: Image.Image) -> tuple[tuple[int, int], _Strips]:
    """Size and strips of a picture of 16 bit per channel, by OpenCV: Pillow cuts the lower byte."""
    photometric = _BLACK_IS_ZERO
    if image.format == "TIFF":
        photometric = image.tag_v2.get(_TIFF_PHOTOMETRIC, _BLACK_IS_ZERO)  # type: ignore[attr-defined]
    if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        raise InputError(
            f"grey or RGB with 16 bit per channel in {printable(path)}",
            got="CMYK" if photometric == _CMYK else f"photometric interpretation {photometric}",
            next_step="convert it to 8 bit per channel",
        )
    with _library_messages(image.format):
        values = _values(path)
    if photometric == _WHITE_IS_ZERO:  # OpenCV gives the negative
        np.invert(values, out=values)
    return (values.shape[1], values.shape[0]), _array_strips(values)


def _values(path: Path) -> NDArray[np.uint16]:
    """HxW or HxWx3/4 uint16 (BGR order), a new array."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        raise InputError(
            f"a whole picture of 16 bit per channel in {printable(path)}",
            got="data that OpenCV cannot read",
            next_step="copy the file again, or convert it to 8 bit per channel",
        )
    return stored.astype(np.uint16, copy=False)


def _image_strips(image: Image.Image) -> _Strips:
    for row in range(0, image.height, _STRIP_ROWS):
        yield row, image.crop((0, row, image.width, min(row + _STRIP_ROWS, image.height)))


def _array_strips(stored: NDArray[np.uint16]) -> _Strips:
    to_rgb_order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    for row in range(0, stored.shape[0], _STRIP_ROWS):
        strip = cv2.convertScaleAbs(stored[row : row + _STRIP_ROWS], alpha=1.0 / 257.0)
        if strip.ndim == 3 and strip.shape[2] in to_rgb_order:
            strip = cv2.cvtColor(strip, to_rgb_order[strip.shape[2]])
        yield row, Image.fromarray(strip)
