"""Structures, numbers and flags of linux/videodev2.h that the ``v4l2:`` source speaks.

The 64-bit layout only, which x86-64 and aarch64 share: 32-bit programs see other sizes of
``struct timeval`` and of pointers. tests/edge/sources/test_v4l2_abi.py compares every size, offset
and number below with what the C compiler says.
"""

from __future__ import annotations

import ctypes

_U8, _U32, _S32, _U64, _S64 = (
    ctypes.c_uint8,
    ctypes.c_uint32,
    ctypes.c_int32,
    ctypes.c_uint64,
    ctypes.c_int64,
)


class Capability(ctypes.Structure):
    """``struct v4l2_capability``."""

    _fields_ = [
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", _U32),
        ("capabilities", _U32),
        ("device_caps", _U32),
        ("reserved", _U32 * 3),
    ]


class FormatDescription(ctypes.Structure):
    """``struct v4l2_fmtdesc``."""

    _fields_ = [
        ("index", _U32),
        ("type", _U32),
        ("flags", _U32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", _U32),
        ("mbus_code", _U32),
        ("reserved", _U32 * 3),
    ]


class SizeStepwise(ctypes.Structure):
    """``struct v4l2_frmsize_stepwise``; its first two fields are the discrete width and height."""

    _fields_ = [
        ("min_width", _U32),
        ("max_width", _U32),
        ("step_width", _U32),
        ("min_height", _U32),
        ("max_height", _U32),
        ("step_height", _U32),
    ]


class SizeDiscrete(ctypes.Structure):
    """``struct v4l2_frmsize_discrete``."""

    _fields_ = [("width", _U32), ("height", _U32)]


class _SizeUnion(ctypes.Union):
    _fields_ = [("discrete", SizeDiscrete), ("stepwise", SizeStepwise)]


class FrameSize(ctypes.Structure):
    """``struct v4l2_frmsizeenum``."""

    _anonymous_ = ("u",)
    _fields_ = [
        ("index", _U32),
        ("pixel_format", _U32),
        ("type", _U32),
        ("u", _SizeUnion),
        ("reserved", _U32 * 2),
    ]


class Fraction(ctypes.Structure):
    """``struct v4l2_fract``."""

    _fields_ = [("numerator", _U32), ("denominator", _U32)]


class IntervalStepwise(ctypes.Structure):
    """``struct v4l2_frmival_stepwise``."""

    _fields_ = [("min", Fraction), ("max", Fraction), ("step", Fraction)]


class _IntervalUnion(ctypes.Union):
    _fields_ = [("discrete", Fraction), ("stepwise", IntervalStepwise)]


class FrameInterval(ctypes.Structure):
    """``struct v4l2_frmivalenum``."""

    _anonymous_ = ("u",)
    _fields_ = [
        ("index", _U32),
        ("pixel_format", _U32),
        ("width", _U32),
        ("height", _U32),
        ("type", _U32),
        ("u", _IntervalUnion),
        ("reserved", _U32 * 2),
    ]


class PixelFormat(ctypes.Structure):
    """``struct v4l2_pix_format``."""

    _fields_ = [
        ("width", _U32),
        ("height", _U32),
        ("pixelformat", _U32),
        ("field", _U32),
        ("bytesperline", _U32),
        ("sizeimage", _U32),
        ("colorspace", _U32),
        ("priv", _U32),
        ("flags", _U32),
        ("ycbcr_enc", _U32),
        ("quantization", _U32),
        ("xfer_func", _U32),
    ]


class _FormatUnion(ctypes.Union):
    # struct v4l2_window among the others holds pointers, hence the alignment of 8.
    _fields_ = [("pix", PixelFormat), ("raw_data", _U8 * 200), ("_align", _U64)]


class Format(ctypes.Structure):
    """``struct v4l2_format``."""

    _fields_ = [("type", _U32), ("fmt", _FormatUnion)]


class CaptureParameters(ctypes.Structure):
    """``struct v4l2_captureparm``."""

    _fields_ = [
        ("capability", _U32),
        ("capturemode", _U32),
        ("timeperframe", Fraction),
        ("extendedmode", _U32),
        ("readbuffers", _U32),
        ("reserved", _U32 * 4),
    ]


class _ParametersUnion(ctypes.Union):
    _fields_ = [("capture", CaptureParameters), ("raw_data", _U8 * 200)]


class StreamParameters(ctypes.Structure):
    """``struct v4l2_streamparm``."""

    _fields_ = [("type", _U32), ("parm", _ParametersUnion)]


class RequestBuffers(ctypes.Structure):
    """``struct v4l2_requestbuffers``; the last four bytes were reserved before Linux 6.1."""

    _fields_ = [
        ("count", _U32),
        ("type", _U32),
        ("memory", _U32),
        ("capabilities", _U32),
        ("flags", _U8),
        ("reserved", _U8 * 3),
    ]


class Timeval(ctypes.Structure):
    """``struct timeval`` of a 64-bit program."""

    _fields_ = [("tv_sec", _S64), ("tv_usec", _S64)]


class _BufferPlace(ctypes.Union):
    _fields_ = [("offset", _U32), ("userptr", _U64), ("fd", _S32)]


class Buffer(ctypes.Structure):
    """``struct v4l2_buffer``."""

    _fields_ = [
        ("index", _U32),
        ("type", _U32),
        ("bytesused", _U32),
        ("flags", _U32),
        ("field", _U32),
        ("timestamp", Timeval),
        ("timecode", _U32 * 4),
        ("sequence", _U32),
        ("memory", _U32),
        ("m", _BufferPlace),
        ("length", _U32),
        ("reserved2", _U32),
        ("request_fd", _S32),
    ]


class _ControlValue(ctypes.Union):
    _pack_ = 1
    _fields_ = [("value", _S32), ("value64", _S64), ("ptr", ctypes.c_void_p)]


class ExtControl(ctypes.Structure):
    """``struct v4l2_ext_control``, packed."""

    _pack_ = 1
    _anonymous_ = ("u",)
    _fields_ = [
        ("id", _U32),
        ("size", _U32),
        ("reserved2", _U32 * 1),
        ("u", _ControlValue),
    ]


class ExtControls(ctypes.Structure):
    """``struct v4l2_ext_controls``."""

    _fields_ = [
        ("which", _U32),
        ("count", _U32),
        ("error_idx", _U32),
        ("request_fd", _S32),
        ("reserved", _U32 * 1),
        ("controls", ctypes.POINTER(ExtControl)),
    ]


class QueryExtControl(ctypes.Structure):
    """``struct v4l2_query_ext_ctrl``."""

    _fields_ = [
        ("id", _U32),
        ("type", _U32),
        ("name", ctypes.c_char * 32),
        ("minimum", _S64),
        ("maximum", _S64),
        ("step", _U64),
        ("default_value", _S64),
        ("flags", _U32),
        ("elem_size", _U32),
        ("elems", _U32),
        ("nr_of_dims", _U32),
        ("dims", _U32 * 4),
        ("reserved", _U32 * 32),
    ]


def _request(direction: int, number: int, size: int) -> int:
    """``_IOC`` of asm-generic/ioctl.h, as x86-64 and aarch64 have it; 1 writes, 2 reads."""
    return direction << 30 | size << 16 | ord("V") << 8 | number


def _reads(number: int, structure: type[ctypes.Structure]) -> int:
    return _request(2, number, ctypes.sizeof(structure))


def _both(number: int, structure: type[ctypes.Structure]) -> int:
    return _request(3, number, ctypes.sizeof(structure))


VIDIOC_QUERYCAP = _reads(0, Capability)
VIDIOC_ENUM_FMT = _both(2, FormatDescription)
VIDIOC_G_FMT = _both(4, Format)
VIDIOC_S_FMT = _both(5, Format)
VIDIOC_REQBUFS = _both(8, RequestBuffers)
VIDIOC_QUERYBUF = _both(9, Buffer)
VIDIOC_QBUF = _both(15, Buffer)
VIDIOC_DQBUF = _both(17, Buffer)
VIDIOC_STREAMON = _request(1, 18, ctypes.sizeof(ctypes.c_int))
VIDIOC_STREAMOFF = _request(1, 19, ctypes.sizeof(ctypes.c_int))
VIDIOC_S_PARM = _both(22, StreamParameters)
VIDIOC_G_EXT_CTRLS = _both(71, ExtControls)
VIDIOC_S_EXT_CTRLS = _both(72, ExtControls)
VIDIOC_ENUM_FRAMESIZES = _both(74, FrameSize)
VIDIOC_ENUM_FRAMEINTERVALS = _both(75, FrameInterval)
VIDIOC_QUERY_EXT_CTRL = _both(103, QueryExtControl)


def fourcc(name: str) -> int:
    """The number of a pixel format named by four letters."""
    return int.from_bytes(name.encode("ascii"), "little")


V4L2_PIX_FMT_MJPEG = fourcc("MJPG")
V4L2_PIX_FMT_YUYV = fourcc("YUYV")
V4L2_PIX_FMT_PRIV_MAGIC = 0xFEEDCAFE

V4L2_BUF_TYPE_VIDEO_CAPTURE = 1
V4L2_MEMORY_MMAP = 1
V4L2_FIELD_NONE = 1

V4L2_CAP_VIDEO_CAPTURE = 0x00000001
V4L2_CAP_VIDEO_CAPTURE_MPLANE = 0x00001000
V4L2_CAP_STREAMING = 0x04000000
V4L2_CAP_DEVICE_CAPS = 0x80000000
V4L2_CAP_TIMEPERFRAME = 0x1000

V4L2_FRMSIZE_TYPE_DISCRETE = 1
V4L2_FRMIVAL_TYPE_DISCRETE = 1

V4L2_BUF_FLAG_ERROR = 0x00000040
V4L2_BUF_FLAG_TIMESTAMP_MASK = 0x0000E000
V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC = 0x00002000
V4L2_BUF_FLAG_TSTAMP_SRC_MASK = 0x00070000
V4L2_BUF_FLAG_TSTAMP_SRC_SOE = 0x00010000

V4L2_COLORSPACE_SMPTE170M = 1
V4L2_COLORSPACE_SMPTE240M = 2
V4L2_COLORSPACE_REC709 = 3
V4L2_COLORSPACE_JPEG = 7
V4L2_COLORSPACE_SRGB = 8
V4L2_COLORSPACE_BT2020 = 10
V4L2_COLORSPACE_DCI_P3 = 12
V4L2_YCBCR_ENC_DEFAULT = 0
V4L2_YCBCR_ENC_601 = 1
V4L2_YCBCR_ENC_709 = 2
V4L2_YCBCR_ENC_XV601 = 3
V4L2_YCBCR_ENC_XV709 = 4
V4L2_YCBCR_ENC_SYCC = 5
V4L2_YCBCR_ENC_BT2020 = 6
V4L2_YCBCR_ENC_SMPTE240M = 8
V4L2_QUANTIZATION_DEFAULT = 0
V4L2_QUANTIZATION_FULL_RANGE = 1
V4L2_QUANTIZATION_LIM_RANGE = 2

V4L2_CTRL_WHICH_CUR_VAL = 0
V4L2_CTRL_TYPE_INTEGER = 1
V4L2_CTRL_TYPE_BOOLEAN = 2
V4L2_CTRL_TYPE_MENU = 3
V4L2_CTRL_TYPE_INTEGER_MENU = 9
V4L2_CTRL_FLAG_DISABLED = 0x0001
V4L2_CTRL_FLAG_READ_ONLY = 0x0004
V4L2_CTRL_FLAG_INACTIVE = 0x0010
V4L2_CTRL_FLAG_WRITE_ONLY = 0x0040
V4L2_CTRL_FLAG_NEXT_CTRL = 0x80000000

V4L2_EXPOSURE_MANUAL = 1

V4L2_CID_BRIGHTNESS = 0x00980900
V4L2_CID_CONTRAST = 0x00980901
V4L2_CID_SATURATION = 0x00980902
V4L2_CID_HUE = 0x00980903
V4L2_CID_AUTO_WHITE_BALANCE = 0x0098090C
V4L2_CID_RED_BALANCE = 0x0098090E
V4L2_CID_BLUE_BALANCE = 0x0098090F
V4L2_CID_GAMMA = 0x00980910
V4L2_CID_EXPOSURE = 0x00980911
V4L2_CID_AUTOGAIN = 0x00980912
V4L2_CID_GAIN = 0x00980913
V4L2_CID_POWER_LINE_FREQUENCY = 0x00980918
V4L2_CID_HUE_AUTO = 0x00980919
V4L2_CID_WHITE_BALANCE_TEMPERATURE = 0x0098091A
V4L2_CID_SHARPNESS = 0x0098091B
V4L2_CID_BACKLIGHT_COMPENSATION = 0x0098091C
V4L2_CID_EXPOSURE_AUTO = 0x009A0901
V4L2_CID_EXPOSURE_ABSOLUTE = 0x009A0902
V4L2_CID_EXPOSURE_AUTO_PRIORITY = 0x009A0903
V4L2_CID_ISO_SENSITIVITY = 0x009A0917
V4L2_CID_ISO_SENSITIVITY_AUTO = 0x009A0918
V4L2_CID_ANALOGUE_GAIN = 0x009E0903
V4L2_CID_DIGITAL_GAIN = 0x009F0905
