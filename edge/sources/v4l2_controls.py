"""The controls of a V4L2 camera: what there is, reading and setting them by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.sources import v4l2_abi as abi
from edge.sources.v4l2_device import Device, is_gone

_IDS = {
    "brightness": abi.V4L2_CID_BRIGHTNESS,
    "contrast": abi.V4L2_CID_CONTRAST,
    "saturation": abi.V4L2_CID_SATURATION,
    "hue": abi.V4L2_CID_HUE,
    "hue_auto": abi.V4L2_CID_HUE_AUTO,
    "gamma": abi.V4L2_CID_GAMMA,
    "sharpness": abi.V4L2_CID_SHARPNESS,
    "backlight_compensation": abi.V4L2_CID_BACKLIGHT_COMPENSATION,
    "power_line_frequency": abi.V4L2_CID_POWER_LINE_FREQUENCY,
    "auto_exposure": abi.V4L2_CID_EXPOSURE_AUTO,
    "exposure_time_absolute": abi.V4L2_CID_EXPOSURE_ABSOLUTE,
    "exposure_dynamic_framerate": abi.V4L2_CID_EXPOSURE_AUTO_PRIORITY,
    "exposure": abi.V4L2_CID_EXPOSURE,
    "gain_automatic": abi.V4L2_CID_AUTOGAIN,
    "gain": abi.V4L2_CID_GAIN,
    "analogue_gain": abi.V4L2_CID_ANALOGUE_GAIN,
    "digital_gain": abi.V4L2_CID_DIGITAL_GAIN,
    "iso_sensitivity_auto": abi.V4L2_CID_ISO_SENSITIVITY_AUTO,
    "iso_sensitivity": abi.V4L2_CID_ISO_SENSITIVITY,
    "white_balance_automatic": abi.V4L2_CID_AUTO_WHITE_BALANCE,
    "white_balance_temperature": abi.V4L2_CID_WHITE_BALANCE_TEMPERATURE,
    "red_balance": abi.V4L2_CID_RED_BALANCE,
    "blue_balance": abi.V4L2_CID_BLUE_BALANCE,
}
"""Our names, those of Linux 6 and ``v4l2-ctl``, whatever an older driver calls the control."""

OLD_NAMES = {
    "exposure_auto": "auto_exposure",
    "exposure_absolute": "exposure_time_absolute",
    "exposure_auto_priority": "exposure_dynamic_framerate",
    "autogain": "gain_automatic",
    "white_balance_temperature_auto": "white_balance_automatic",
}
"""What older kernels, and so ``v4l2-ctl``, call some of them."""

_NUMBERS = frozenset(
    {
        abi.V4L2_CTRL_TYPE_INTEGER,
        abi.V4L2_CTRL_TYPE_BOOLEAN,
        abi.V4L2_CTRL_TYPE_MENU,
        abi.V4L2_CTRL_TYPE_INTEGER_MENU,
    }
)


@dataclass(frozen=True)
class Control:
    """A control that a camera has: its number, bounds and V4L2_CTRL_FLAG_*."""

    number: int
    minimum: int
    maximum: int
    flags: int


class Controls:
    """The numeric controls of an open camera by name.

    Args:
        device: An open node; it is asked at once.

    Raises:
        OSError: The camera is gone.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._controls = dict(_enumerate(device))

    def __contains__(self, name: str) -> bool:
        return name in self._controls

    def get(self, name: str) -> int | None:
        """The value of a control, or ``None`` where there is none or it cannot be read.

        Raises:
            OSError: The camera is gone.
        """
        control = self._controls.get(name)
        if control is None or control.flags & abi.V4L2_CTRL_FLAG_WRITE_ONLY:
            return None
        try:
            return self._exchange(abi.VIDIOC_G_EXT_CTRLS, control, 0)
        except OSError as error:
            if is_gone(error):
                raise
            return None

    def set(self, name: str, value: int) -> bool:
        """Set a control and read it back.

        Returns:
            True where the camera has it and now says the same value.

        Raises:
            OSError: The camera is gone.
        """
        control = self._controls.get(name)
        if control is None or not control.minimum <= value <= control.maximum:
            return False
        try:
            self._exchange(abi.VIDIOC_S_EXT_CTRLS, control, value)
        except OSError as error:
            if is_gone(error):
                raise
            return False  # read-only, grabbed or refused by the camera
        return self.get(name) == value

    def _exchange(self, request: int, control: Control, value: int) -> int:
        one = (abi.ExtControl * 1)()
        one[0].id, one[0].value = control.number, value
        controls = abi.ExtControls(which=abi.V4L2_CTRL_WHICH_CUR_VAL, count=1, controls=one)
        self._device.call(request, controls)
        return int(one[0].value)


def _enumerate(device: Device) -> list[tuple[str, Control]]:
    found: list[tuple[str, Control]] = []
    known = {number: name for name, number in _IDS.items()}
    query = abi.QueryExtControl(id=abi.V4L2_CTRL_FLAG_NEXT_CTRL)
    while True:
        try:
            device.call(abi.VIDIOC_QUERY_EXT_CTRL, query)
        except OSError as error:
            if is_gone(error):
                raise
            return found
        number = int(query.id)
        if query.type in _NUMBERS and not query.flags & abi.V4L2_CTRL_FLAG_DISABLED:
            name = known.get(number) or plain_name(query.name.decode("utf-8", "replace"))
            control = Control(number, int(query.minimum), int(query.maximum), int(query.flags))
            found.append((name, control))
        query = abi.QueryExtControl(id=number | abi.V4L2_CTRL_FLAG_NEXT_CTRL)


def plain_name(text: str) -> str:
    """``exposure_time_absolute`` of "Exposure Time, Absolute", as ``v4l2-ctl`` writes names."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return OLD_NAMES.get(name, name)
