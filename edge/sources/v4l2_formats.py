"""What a V4L2 camera offers, what we ask of it, and what it really set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge.errors import InputError
from edge.sources import v4l2_abi as abi
from edge.sources.v4l2_device import Device, nanoseconds

FORMATS = {"YUYV": abi.V4L2_PIX_FMT_YUYV, "MJPG": abi.V4L2_PIX_FMT_MJPEG}
"""Formats that can be read, the better one first: YUYV loses nothing to compression."""

_NAMES = {number: name for name, number in FORMATS.items()}
_NS_PER_S = 1_000_000_000
_FIELD_ANY = 0


@dataclass(frozen=True)
class Wish:
    """What is asked of the camera.

    Attributes:
        size_wh: Size in pixels, or ``None`` for the largest that there is.
        fps: Frames per second.
        pixel_format: ``MJPG`` or ``YUYV``, or ``None`` for whichever comes nearest.
    """

    size_wh: tuple[int, int] | None = (1280, 720)
    fps: float = 30.0
    pixel_format: str | None = None

    @property
    def interval_ns(self) -> int:
        """Time per frame in nanoseconds."""
        return round(_NS_PER_S / self.fps)


@dataclass(frozen=True)
class Mode:
    """Something that a camera offers; ``interval_ns`` is ``None`` where it does not say."""

    pixel_format: str
    size_wh: tuple[int, int]
    interval_ns: int | None


@dataclass(frozen=True)
class Agreed:
    """What the driver set.

    Attributes:
        pixel_format: ``MJPG`` or ``YUYV``.
        size_wh: Size of a frame in pixels.
        bytes_per_line: Of YUYV; at least twice the width.
        interval_ns: Time per frame, or ``None`` where the driver does not say.
        colours: How YUYV codes colour. libjpeg knows that of MJPG: full range, ITU-R BT.601.
        notes: Where size or format are not what was asked, in words.
        rate_notes: The same of the rate, which means nothing for a still.
    """

    pixel_format: str
    size_wh: tuple[int, int]
    bytes_per_line: int
    interval_ns: int | None
    colours: YuvCoding
    notes: tuple[str, ...] = ()
    rate_notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class YuvCoding:
    """How luma and chroma are made of R'G'B'.

    Attributes:
        kr: Weight of red in luma.
        kb: Weight of blue in luma.
        full_range: Codes 0 to 255; otherwise 16 to 235 (luma) and 16 to 240 (chroma).
    """

    kr: float
    kb: float
    full_range: bool


BT601_LIMITED = YuvCoding(0.299, 0.114, False)

_WEIGHTS = {
    abi.V4L2_YCBCR_ENC_601: (0.299, 0.114),
    abi.V4L2_YCBCR_ENC_SYCC: (0.299, 0.114),
    abi.V4L2_YCBCR_ENC_XV601: (0.299, 0.114),
    abi.V4L2_YCBCR_ENC_709: (0.2126, 0.0722),
    abi.V4L2_YCBCR_ENC_XV709: (0.2126, 0.0722),
    abi.V4L2_YCBCR_ENC_BT2020: (0.2627, 0.0593),
    abi.V4L2_YCBCR_ENC_SMPTE240M: (0.212, 0.087),
}
_ALWAYS_LIMITED = (abi.V4L2_YCBCR_ENC_XV601, abi.V4L2_YCBCR_ENC_XV709)
"""xvYCC knows one range only, whatever the field says."""

_DEFAULT_ENCODINGS = {
    abi.V4L2_COLORSPACE_REC709: abi.V4L2_YCBCR_ENC_709,
    abi.V4L2_COLORSPACE_DCI_P3: abi.V4L2_YCBCR_ENC_709,
    abi.V4L2_COLORSPACE_BT2020: abi.V4L2_YCBCR_ENC_BT2020,
    abi.V4L2_COLORSPACE_SMPTE240M: abi.V4L2_YCBCR_ENC_SMPTE240M,
}


def yuv_coding(colorspace: int, ycbcr_enc: int, quantization: int) -> YuvCoding | None:
    """The coding that three fields of ``v4l2_pix_format`` mean, or ``None`` for one we cannot read.

    Defaults are those of V4L2_MAP_YCBCR_ENC_DEFAULT and V4L2_MAP_QUANTIZATION_DEFAULT in
    linux/videodev2.h.
    """
    if ycbcr_enc == abi.V4L2_YCBCR_ENC_DEFAULT:
        ycbcr_enc = _DEFAULT_ENCODINGS.get(colorspace, abi.V4L2_YCBCR_ENC_601)
    if ycbcr_enc not in _WEIGHTS:
        return None
    if ycbcr_enc in _ALWAYS_LIMITED:
        full_range = False
    elif quantization == abi.V4L2_QUANTIZATION_DEFAULT:
        full_range = colorspace == abi.V4L2_COLORSPACE_JPEG
    else:
        full_range = quantization == abi.V4L2_QUANTIZATION_FULL_RANGE
    return YuvCoding(*_WEIGHTS[ycbcr_enc], full_range)


def offered_modes(device: Device, wish: Wish) -> list[Mode]:
    """What the camera offers in formats that can be read; of a range, what is nearest to the wish.

    Raises:
        OSError: The camera is gone.
        InputError: None of its formats can be read.
    """
    offered = list(device.pixel_formats())
    wanted = [wish.pixel_format] if wish.pixel_format else list(FORMATS)
    readable = [name for name in wanted if FORMATS[name] in offered]
    if not readable:
        raise InputError(
            f"a camera that gives {' or '.join(wanted)}",
            got=", ".join(_fourcc_name(number) for number in offered) or "no format at all",
            next_step="leave out format=" if wish.pixel_format else "use another camera",
        )
    return [
        Mode(name, size_wh, interval_ns)
        for name in readable
        for size_wh in _sizes(device, FORMATS[name], wish)
        for interval_ns in _intervals(device, FORMATS[name], size_wh, wish)
    ]


def _sizes(device: Device, pixel_format: int, wish: Wish) -> Iterator[tuple[int, int]]:
    found = False
    for size in device.frame_sizes(pixel_format):
        found = True
        if size.type == abi.V4L2_FRMSIZE_TYPE_DISCRETE:
            yield size.discrete.width, size.discrete.height
            continue
        r = size.stepwise
        width, height = wish.size_wh or (r.max_width, r.max_height)
        yield (
            _in_range(width, r.min_width, r.max_width, r.step_width),
            _in_range(height, r.min_height, r.max_height, r.step_height),
        )
        return
    if not found:  # an old driver that cannot say: S_FMT will tell
        now = device.format()
        yield wish.size_wh or (now.width, now.height)


def _in_range(wanted: int, low: int, high: int, step: int) -> int:
    steps = round((min(max(wanted, low), high) - low) / max(1, step))
    return min(low + steps * max(1, step), high)


def _intervals(
    device: Device, pixel_format: int, size_wh: tuple[int, int], wish: Wish
) -> Iterator[int | None]:
    found = False
    for interval in device.frame_intervals(pixel_format, size_wh):
        if interval.type == abi.V4L2_FRMIVAL_TYPE_DISCRETE:
            one = nanoseconds(interval.discrete)
            if one is not None:
                found = True
                yield one
            continue
        low, high = nanoseconds(interval.stepwise.min), nanoseconds(interval.stepwise.max)
        yield min(max(wish.interval_ns, low or 0), high or wish.interval_ns)
        return
    if not found:
        yield None


def nearest_mode(modes: Sequence[Mode], wish: Wish) -> Mode:
    """The mode nearest to the wish: first its size, then its rate, then the better format."""

    def distance(mode: Mode) -> tuple[int, int, int]:
        width, height = mode.size_wh
        if wish.size_wh is None:
            size = -width * height
        else:
            size = abs(width - wish.size_wh[0]) + abs(height - wish.size_wh[1])
        interval_ns = 2 * wish.interval_ns if mode.interval_ns is None else mode.interval_ns
        # A nanosecond more or less is how 1/30 s is written, not another rate.
        rate = abs(interval_ns - wish.interval_ns) // 10_000
        return size, rate, list(FORMATS).index(mode.pixel_format)

    return min(modes, key=distance)


def agree(device: Device, wish: Wish) -> Agreed:
    """Set the mode nearest to the wish, and check what the driver made of it.

    Raises:
        OSError: As the kernel says.
        InputError: The camera gives nothing that can be read.
    """
    mode = nearest_mode(offered_modes(device, wish), wish)
    pix = device.set_format(FORMATS[mode.pixel_format], mode.size_wh)
    interval_ns = device.set_interval(mode.interval_ns or wish.interval_ns)
    name = _NAMES.get(pix.pixelformat)
    size_wh = (int(pix.width), int(pix.height))
    if name is None or min(size_wh) < 2 or pix.field not in (_FIELD_ANY, abi.V4L2_FIELD_NONE):
        raise InputError(
            f"whole pictures as {' or '.join(FORMATS)} from {device.node}",
            got=f"{_fourcc_name(pix.pixelformat)} {size_wh[0]}x{size_wh[1]}, field {pix.field}",
            next_step="use another camera",
        )
    colours = BT601_LIMITED if name == "MJPG" else _readable_coding(device, pix)
    bytes_per_line = max(int(pix.bytesperline), 2 * size_wh[0])
    if name == "YUYV" and size_wh[0] % 2:
        raise InputError(
            "YUYV of an even width", got=f"{size_wh[0]} pixels", next_step="ask for another size="
        )
    return Agreed(
        name,
        size_wh,
        bytes_per_line,
        interval_ns,
        colours,
        tuple(_differences(wish, name, size_wh)),
        tuple(_rate_differences(wish, interval_ns)),
    )


def _readable_coding(device: Device, pix: abi.PixelFormat) -> YuvCoding:
    colours = yuv_coding(pix.colorspace, pix.ycbcr_enc, pix.quantization)
    if colours is None:
        raise InputError(
            f"a colour coding of {device.node} that can be read",
            got=f"V4L2 encoding {pix.ycbcr_enc}",
            next_step="try format=MJPG",
        )
    return colours


def _differences(wish: Wish, name: str, size_wh: tuple[int, int]) -> Iterator[str]:
    if wish.size_wh is not None and size_wh != wish.size_wh:
        asked, got = ("x".join(map(str, wh)) for wh in (wish.size_wh, size_wh))
        yield f"{got} instead of {asked}, which the camera does not give"
    if wish.pixel_format is not None and name != wish.pixel_format:
        yield f"{name} instead of {wish.pixel_format}, which the camera does not give"


def _rate_differences(wish: Wish, interval_ns: int | None) -> Iterator[str]:
    if interval_ns is not None and abs(interval_ns - wish.interval_ns) > 0.02 * wish.interval_ns:
        rate = _NS_PER_S / interval_ns
        yield f"{rate:.3g} frames/s instead of {wish.fps:g}, which the camera does not give"


def _fourcc_name(number: int) -> str:
    letters = int(number).to_bytes(4, "little").decode("ascii", "replace")
    return letters.strip() if letters.isprintable() else f"{number:#x}"
