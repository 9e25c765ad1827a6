"""Stills of every kind decode to upright RGB, and damaged ones are refused."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from edge.errors import InputError
from edge.sources import pictures
from edge.sources.pictures import decode_picture, frame_from_picture


def scene(width: int = 60, height: int = 40) -> np.ndarray:
    """HxWx3 uint8 RGB in which every corner and side differs, smooth enough for JPEG."""
    y, x = np.mgrid[0:height, 0:width]
    red = 40 + 180 * x / width
    green = 30 + 200 * y / height
    blue = 220 - 150 * (x + y) / (width + height)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


# --- what is read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.jpg", {"quality": 95}, 2.0),
        ("a.jpg", {"quality": 95, "progressive": True}, 2.0),
        ("a.png", {}, 0.0),
        ("a.webp", {"lossless": True}, 0.0),
        ("a.webp", {"quality": 90}, 4.0),
        ("a.tiff", {}, 0.0),
        ("a.tif", {"compression": "tiff_lzw"}, 0.0),
        ("a.tif", {"compression": "tiff_adobe_deflate"}, 0.0),
        ("a.bmp", {}, 0.0),
    ],
)
def test_formats(tmp_path, name, options, tolerance):
    picture = decode_picture(saved(tmp_path / name, Image.fromarray(scene()), **options))

    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert difference(picture.pixels, scene()) <= tolerance
    assert picture.notes == ()


def test_the_suffix_does_not_decide(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    Image.fromarray(scene()).save(path, "PNG")

    assert difference(decode_picture(path).pixels, scene()) == 0.0


def test_a_picture_taller_than_one_strip(tmp_path):
    tall = scene(8, 3 * 256 + 5)

    assert np.array_equal(
        decode_picture(saved(tmp_path / "a.png", Image.fromarray(tall))).pixels, tall
    )


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores for each orientation: the inverse of what a viewer must do."""
    swapped = upright.swapaxes(0, 1)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: swapped,
        6: swapped[::-1],
        7: swapped[::-1, ::-1],
        8: swapped[:, ::-1],
    }
    return np.ascontiguousarray(stored[orientation])


def note_of(orientation: int) -> tuple[str, ...]:
    return (f"turned upright (EXIF orientation {orientation})",) if orientation > 1 else ()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_exif_orientation_is_turned_upright(tmp_path, name, orientation):
    stored = Image.fromarray(as_stored(scene(), orientation))
    exif = Image.Exif()
    exif[274] = orientation

    picture = decode_picture(saved(tmp_path / name, stored, exif=exif, quality=95))

    assert picture.pixels.shape == scene().shape
    assert difference(picture.pixels, scene()) < 4.0
    assert picture.notes == note_of(orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_is_turned_once_and_says_so(tmp_path, dtype, orientation):
    deep = scene().astype(dtype) * (257 if dtype == np.uint16 else 1)
    content = tiff(as_stored(deep, orientation), photometric=2, orientation=orientation)

    picture = decode_picture(_written(tmp_path, content))

    assert np.array_equal(picture.pixels, scene())
    assert tuple(note for note in picture.notes if "upright" in note) == note_of(orientation)
    assert (dtype == np.uint16) == ("16 bit per channel scaled to 8" in picture.notes)


def test_an_orientation_that_does_not_exist_is_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 77

    picture = decode_picture(saved(tmp_path / "a.png", Image.fromarray(scene()), exif=exif))

    assert np.array_equal(picture.pixels, scene())


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_grey(tmp_path, name):
    grey = Image.fromarray(scene()).convert("L")

    picture = decode_picture(saved(tmp_path / name, grey, quality=95))

    assert difference(picture.pixels[..., 0], np.asarray(grey)) < 2.0
    assert np.array_equal(picture.pixels[..., 0], picture.pixels[..., 2])
    assert picture.notes == ()  # the analysis sees for itself that there is no colour


def test_black_and_white(tmp_path):
    picture = decode_picture(saved(tmp_path / "a.png", Image.fromarray(scene()).convert("1")))

    assert set(np.unique(picture.pixels)) == {0, 255}


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_scaled_not_cut(tmp_path, name, channels):
    values = np.linspace(0, 65535, 60 * 40 * channels).reshape(40, 60, channels)
    deep = np.rint(values).astype(np.uint16)
    if channels == 4:
        deep[..., 3] = 65535
    cv2.imwrite(str(tmp_path / name), deep[..., 0] if channels == 1 else deep)

    picture = decode_picture(tmp_path / name)

    expected = np.rint(deep[..., :3] / 257.0)[..., ::-1]  # OpenCV stores BGR
    assert difference(picture.pixels, np.broadcast_to(expected, (40, 60, 3))) == 0.0
    assert picture.notes[0] == "16 bit per channel scaled to 8"


def tiff(pixels: np.ndarray, photometric: int, orientation: int = 1) -> bytes:
    """A plain TIFF 6.0 of HxW or HxWxC uint8 or uint16: one strip, nothing compressed."""
    height, width = pixels.shape[:2]
    channels, bits = pixels.size // (height * width), 8 * pixels.itemsize
    strip = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    depths = struct.pack(f"<{channels}H", *[bits] * channels)
    depths_at = 8 + len(strip)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits if channels == 1 else depths_at),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8),
        (274, 3, 1, orientation),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(strip)),
    ]
    header = b"II*\0" + struct.pack("<I", depths_at + len(depths))
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return header + strip + depths + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_white_is_zero_is_no_negative(tmp_path, dtype):
    grey = np.asarray(Image.fromarray(scene()).convert("L"))
    stored = np.iinfo(dtype).max - grey.astype(dtype) * (257 if dtype == np.uint16 else 1)

    picture = decode_picture(_written(tmp_path, tiff(stored, photometric=0)))

    assert np.array_equal(picture.pixels[..., 0], grey)


@pytest.mark.parametrize(
    ("photometric", "channels", "got"),
    [(5, 4, "CMYK"), (8, 3, "of another kind"), (1, 2, "of another kind")],
    ids=["CMYK", "CIELab", "grey and alpha"],
)
def test_sixteen_bits_of_another_kind_are_to_be_converted(
    tmp_path, photometric, channels, got, capfd
):
    deep = np.full((40, 60, channels), 20000, np.uint16)

    with pytest.raises(InputError, match=f"got .*{got}; .*convert it to"):
        decode_picture(_written(tmp_path, tiff(deep, photometric)))
    assert capfd.readouterr().err == ""


def test_sixteen_bits_that_end_too_early_are_refused(tmp_path, capfd):
    cv2.imwrite(str(tmp_path / "a.tif"), scene().astype(np.uint16) * 257)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[8 : len(data) // 2] = bytes(len(data) // 2 - 8)  # LZW; the directory is at the end

    with pytest.raises(InputError, match="16 bit.*copy the file again"):
        decode_picture(_written(tmp_path, bytes(data)))
    assert capfd.readouterr().err == ""


def test_sixteen_bits_with_an_orientation(tmp_path):
    deep = scene().astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "a.png"), deep[..., ::-1])
    data = bytearray((tmp_path / "a.png").read_bytes())
    exif = Image.Exif()
    exif[274] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])

    picture = decode_picture(tmp_path / "a.png")

    assert np.array_equal(picture.pixels, np.rot90(scene(), -1))
    assert picture.notes[-1:] == note_of(6)


def test_palette(tmp_path):
    palette = Image.fromarray(scene()).quantize(32)

    picture = decode_picture(saved(tmp_path / "a.png", palette))

    assert np.array_equal(picture.pixels, np.asarray(palette.convert("RGB")))


def test_cmyk_is_converted_and_noted(tmp_path):
    cmyk = Image.fromarray(scene()).convert("CMYK")

    picture = decode_picture(saved(tmp_path / "a.jpg", cmyk, quality=95))

    assert difference(picture.pixels, scene()) < 4.0
    assert picture.notes == ("CMYK converted to RGB",)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_lie_on_white(tmp_path, mode):
    image = Image.fromarray(scene()).convert("RGBA")
    alpha = np.full((40, 60), 255, np.uint8)
    alpha[:20] = 0
    image.putalpha(Image.fromarray(alpha))
    image = image.convert("LA") if mode == "LA" else image
    image = image.quantize(16) if mode == "P" else image

    picture = decode_picture(saved(tmp_path / "a.png", image))

    assert (picture.pixels[:20] == 255).all()
    if mode == "RGBA":
        assert np.array_equal(picture.pixels[20:], scene()[20:])
    assert "transparent parts laid over white" in picture.notes


def test_half_transparent_is_mixed(tmp_path):
    image = Image.new("RGBA", (4, 4), (100, 0, 50, 51))  # 20 % of the colour

    picture = decode_picture(saved(tmp_path / "a.png", image))

    assert picture.pixels[0, 0].tolist() == [224, 204, 214]


def test_an_opaque_alpha_channel_is_dropped(tmp_path):
    image = Image.fromarray(scene()).convert("RGBA")

    picture = decode_picture(saved(tmp_path / "a.webp", image, lossless=True))

    assert np.array_equal(picture.pixels, scene())
    # Pillow's WebP encoder may leave such a channel out itself.
    assert picture.notes in ((), ("alpha channel without effect dropped",))


def test_another_colour_space_is_converted_to_srgb(tmp_path):
    """A profile with red and green exchanged shows that it is obeyed, not just read."""
    profile = _profile_with_red_and_green_exchanged()
    image = Image.fromarray(scene())

    picture = decode_picture(saved(tmp_path / "a.png", image, icc_profile=profile))

    assert difference(picture.pixels, scene()[..., [1, 0, 2]]) < 2.0
    assert any("converted to sRGB" in note for note in picture.notes)


def test_an_srgb_profile_changes_nothing(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    picture = decode_picture(
        saved(tmp_path / "a.png", Image.fromarray(scene()), icc_profile=profile)
    )

    assert np.array_equal(picture.pixels, scene())
    assert picture.notes == ()


def test_a_broken_profile_is_noted_and_ignored(tmp_path):
    picture = decode_picture(
        saved(tmp_path / "a.png", Image.fromarray(scene()), icc_profile=b"no profile")
    )

    assert np.array_equal(picture.pixels, scene())
    assert any("taken as sRGB" in note for note in picture.notes)


def test_the_first_page_of_several(tmp_path):
    other = Image.fromarray(255 - scene())

    picture = decode_picture(
        saved(tmp_path / "a.tif", Image.fromarray(scene()), save_all=True, append_images=[other])
    )

    assert np.array_equal(picture.pixels, scene())
    assert picture.notes == ("the first of 2 pages",)


def test_frame(tmp_path):
    frame = frame_from_picture(saved(tmp_path / "a.png", Image.fromarray(scene())), "file:a.png")

    assert (frame.size_wh, frame.frame_id, frame.source) == ((60, 40), 0, "file:a.png")
    assert (frame.captured_ns, frame.captured_clock, frame.captured_by) == (None, None, "file")


def test_one_pixel(tmp_path):
    assert decode_picture(saved(tmp_path / "a.png", Image.new("RGB", (1, 1)))).pixels.shape == (
        1,
        1,
        3,
    )


# --- what is refused ----------------------------------------------------------------------------


def encoded(kind: str) -> bytes:
    name, _, option = kind.partition("-")
    options = {"progressive": {"progressive": True}, "lzw": {"compression": "tiff_lzw"}}
    image = Image.fromarray(scene(300, 200))
    data = io.BytesIO()
    image.save(data, name, **options.get(option, {}))
    return data.getvalue()


KINDS = ["JPEG", "JPEG-progressive", "PNG", "WEBP", "TIFF", "TIFF-lzw", "BMP"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path, kind, capfd):
    whole = encoded(kind)
    path = tmp_path / "a.jpg"
    for share in (0.002, 0.05, 0.3, 0.6, 0.9, 0.97):
        path.write_bytes(whole[: max(1, int(len(whole) * share))])
        with pytest.raises(InputError, match="a whole file|a picture"):
            decode_picture(path)
    for missing in (1, 2, 4, 12):
        if kind == "WEBP" and missing == 1:
            continue  # the padding byte of an odd length
        path.write_bytes(whole[:-missing])
        with pytest.raises(InputError, match="a whole file|a picture"):
            decode_picture(path)
    assert capfd.readouterr().err == ""  # libtiff is kept quiet


@pytest.mark.parametrize("kind", ["JPEG", "JPEG-progressive", "PNG", "WEBP", "TIFF-lzw"])
def test_a_file_whose_end_was_never_written_is_refused(tmp_path, kind):
    """A power cut leaves files of full length that end in zeros; Pillow shows half a picture."""
    whole = encoded(kind)
    lost = max(600, len(whole) // 3)
    (tmp_path / "a.jpg").write_bytes(whole[:-lost] + bytes(lost))

    with pytest.raises(InputError, match="copy the file again"):
        decode_picture(tmp_path / "a.jpg")


def lively(kind: str) -> bytes:
    """A picture whose every byte counts: noise, as skin and sensors have it."""
    name, _, option = kind.partition("-")
    options = {
        "progressive": {"progressive": True},
        "optimized": {"optimize": True},
        "restarts": {"restart_marker_rows": 2},
        "lossless": {"lossless": True},
    }
    noise = np.random.default_rng(1).normal(0, 12, (400, 600, 3))
    pixels = np.clip(scene(600, 400) + noise, 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, name, quality=90, **options.get(option, {}))
    return data.getvalue()


JPEG_KINDS = ["JPEG", "JPEG-progressive", "JPEG-optimized", "JPEG-restarts"]
PLACES = (0.05, 0.3, 0.5, 0.7, 0.9)


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_cut_jpeg_with_an_end_put_behind_it_is_refused(tmp_path, kind, capfd):
    whole = lively(kind)
    decode_picture(_written(tmp_path, whole))
    for place in (*PLACES, 0.99):
        cut = whole[: int(place * len(whole))] + b"\xff\xd9"
        with pytest.raises(InputError, match="a whole file.*copy the file again"):
            decode_picture(_written(tmp_path, cut))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("hole_bytes", [512, 4096])
@pytest.mark.parametrize("kind", [*JPEG_KINDS, "WEBP", "WEBP-lossless"])
def test_a_hole_of_zeros_is_refused_wherever_it_is(tmp_path, kind, hole_bytes):
    whole = lively(kind)
    decode_picture(_written(tmp_path, whole))
    for place in PLACES:
        start = int(place * len(whole))
        holed = whole[:start] + bytes(hole_bytes) + whole[start + hole_bytes :]
        with pytest.raises(InputError, match="a whole file.*copy the file again"):
            decode_picture(_written(tmp_path, holed))


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("JPEG", 2000, {"optimize": True}),
        ("JPEG", 2000, {"progressive": True}),
        ("WEBP", 2500, {"quality": 80}),
    ],
)
def test_zeros_that_stand_for_an_even_area_are_no_hole(tmp_path, name, size, options):
    """A small picture on black: hundreds of zero bytes, and nothing is missing."""
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[900:940, 900:960] = scene()
    saved(tmp_path / "a.jpg", Image.fromarray(pixels), format=name, **options)
    assert bytes(300 if name == "WEBP" else 512) in (tmp_path / "a.jpg").read_bytes()

    assert difference(decode_picture(tmp_path / "a.jpg").pixels, pixels) < 1.0


@pytest.mark.parametrize(("bytes_before_end", "whole"), [(8, True), (40, False), (300, False)])
def test_padding_before_the_end_of_a_jpeg(tmp_path, bytes_before_end, whole):
    data = lively("JPEG")
    path = _written(tmp_path, data[:-2] + b"\x55" * bytes_before_end + data[-2:])
    if whole:
        assert decode_picture(path).pixels.shape == (400, 600, 3)
    else:
        with pytest.raises(InputError, match="extraneous bytes before"):
            decode_picture(path)


def test_zeros_in_metadata_are_no_hole(tmp_path):
    """Cameras reserve room there."""
    exif = b"Exif\0\0II*\0\x08" + bytes(4000) + b"maker"
    for name in ("a.jpg", "a.webp"):
        path = saved(tmp_path / name, Image.fromarray(scene()), exif=exif)
        assert bytes(2000) in path.read_bytes()
        assert decode_picture(path).pixels.shape == (40, 60, 3)


def test_a_flipped_bit_in_a_png_is_found(tmp_path):
    data = bytearray(encoded("PNG"))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)

    with pytest.raises(InputError, match="wrong checksum"):
        decode_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "a file of 0 bytes"),
        (b"Dear doctor,\nthis is my skin.\n", "text"),
        (bytes(100), "starts with 00 00"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"GIF89a" + bytes(50), "starts with 47 49"),
    ],
)
def test_no_picture(tmp_path, content, got):
    (tmp_path / "skin.jpg").write_bytes(content)

    with pytest.raises(InputError, match=got) as refused:
        decode_picture(tmp_path / "skin.jpg")
    assert "\n" not in str(refused.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        decode_picture(tmp_path / "none.jpg")


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="got a folder"):
        decode_picture(tmp_path)


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")

    with pytest.raises(InputError, match="pipe"):
        decode_picture(tmp_path / "a.jpg")


def test_a_link_to_itself(tmp_path):
    (tmp_path / "a.jpg").symlink_to("a.jpg")

    with pytest.raises(InputError, match="Too many levels"):
        decode_picture(tmp_path / "a.jpg")


def test_too_many_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 2399)

    with pytest.raises(InputError, match="60 x 40"):
        decode_picture(saved(tmp_path / "a.png", Image.fromarray(scene())))


def test_float_pixels_are_refused(tmp_path):
    path = saved(tmp_path / "a.tif", Image.fromarray(np.ones((8, 8), np.float32)))

    with pytest.raises(InputError, match="mode F"):
        decode_picture(path)


def test_names_in_messages_are_one_printable_line(tmp_path):
    path = tmp_path / "a\nb\x1b[31m.jpg"
    path.write_bytes(b"")

    with pytest.raises(InputError) as refused:
        decode_picture(path)
    assert "a?b?[31m.jpg" in str(refused.value)


@pytest.mark.parametrize("folder", ["erythema", "normal_skin"])
def test_real_pictures(folder):
    data = os.environ.get("DERMEDGE_DATA")
    if not data:
        pytest.skip("DERMEDGE_DATA names no folder of real pictures")
    paths = sorted((Path(data) / folder).glob("*.[jp][pn]g"))[:20]
    assert paths

    for path in paths:
        expected = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
        assert difference(decode_picture(path).pixels, expected) < 1.0


def _written(folder: Path, content: bytes) -> Path:
    (folder / "a.jpg").write_bytes(content)
    return folder / "a.jpg"


def _profile_with_red_and_green_exchanged() -> bytes:
    """sRGB's own profile with the columns of red and green swapped in its tag table."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for offset in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12):
        name = bytes(data[offset : offset + 4])
        if name in (b"rXYZ", b"gXYZ"):
            data[offset : offset + 4] = b"gXYZ" if name == b"rXYZ" else b"rXYZ"
    return bytes(data).replace(b"s\0R\0G\0B", b"o\0t\0h\0r").replace(b"sRGB", b"othr")
