"""The ``v4l2:`` source: USB cameras and whatever else Linux shows as a video capture device.

All through the kernel's own interface, because nothing else gives sequence numbers, time stamps
and their flags, and an error when the camera is unplugged. OpenCV only decodes.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from edge.errors import InputError
from edge.frame import Frame
from edge.pixel_pool import PixelPool
from edge.sources.frame_numbers import FrameNumbers
from edge.sources.jpeg import jpeg_fault
from edge.sources.lost import SourceLost
from edge.sources.v4l2_capture import Capture, SilenceError, Taken
from edge.sources.v4l2_colour import ColourLock, ColourProfile
from edge.sources.v4l2_controls import Controls
from edge.sources.v4l2_device import Device, is_gone
from edge.sources.v4l2_formats import Wish, agree, nearest_mode, offered_modes
from edge.sources.v4l2_identity import Camera, Host, cannot_open, find_camera
from edge.sources.v4l2_pixels import FrameFault

SETTINGS_EVERY_S = 1.0
"""Controls are read so often: each reading is a round trip over the bus."""

SETTLE_FRAMES_MIN = 15
"""Frames that a camera's automatics get before their values are held."""

LOCKED_STILL_FRAMES = 2
"""Frames passed over in a new format where nothing is automatic: the first ones may be dark."""


class V4l2Source:
    """A camera behind ``/dev/videoN``, found by what it is and not by its number.

    Every frame's pixels come from a pool: whoever refers to them has them, and nobody writes into
    them meanwhile. Ids are the driver's sequence numbers made to rise for good, so gaps are frames
    that were dropped, refused or replaced by newer ones.

    A read waits in ``poll`` and ends at once when ``close`` is called from another thread. It
    cannot be interrupted inside a driver's call; those of USB cameras give up after some seconds.

    After a :class:`SourceLost` the camera is let go; ``close`` and ``open`` look for it again,
    whatever its number has become. What a colour profile held is then set again.

    Args:
        place: Identity, bus path, path of a node or of a link to it; empty for the only USB
            camera, or the only other one.
        wish: Size, rate and format of the stream.
        still_size_wh: Size of stills in pixels; ``None`` is the largest.
        profile: What to hold of the colours; ``None`` leaves the camera as it is.
        buffer_count: Buffers of the driver, 2 to 4. Two lose frames while one is decoded.
        silent_after_s: A stream without a frame for so long is lost.
        still_within_s: A still must be had within this time.
        still_settle_frames: Frames that the automatics get in a still's format, if any are on.
        host: Where cameras are looked for.
    """

    is_live = True

    def __init__(
        self,
        place: str = "",
        *,
        wish: Wish | None = None,
        still_size_wh: tuple[int, int] | None = None,
        profile: ColourProfile | None = None,
        buffer_count: int = 3,
        silent_after_s: float = 4.0,
        still_within_s: float = 8.0,
        still_settle_frames: int = 8,
        host: Host | None = None,
    ) -> None:
        if not 2 <= buffer_count <= 4:
            raise ValueError(f"buffer_count must be 2 to 4, but got {buffer_count}")
        self._place = place
        self._wish = wish or Wish()
        self._still_size_wh = still_size_wh
        self._lock = ColourLock(profile)
        self._buffer_count = buffer_count
        self._silent_after_s = silent_after_s
        self._still_within_s = still_within_s
        self._still_settle_frames = still_settle_frames
        self._host = host or Host()
        self._numbers = FrameNumbers()
        self._pool = PixelPool()
        self._refused_before = 0  # by streams that have ended

        self._name = place
        self._reading = threading.Lock()  # close() from another thread waits for a running read
        self._waking = threading.Lock()
        self._wake = -1
        self._opened = False
        self._closed = threading.Event()
        self._lost: SourceLost | None = None
        self._camera: Camera | None = None
        self._device: Device | None = None
        self._controls: Controls | None = None
        self._capture: Capture | None = None
        self._settings: dict[str, Any] = {}
        self._settings_due_s = 0.0
        self._in_force = False
        self._frames_seen = 0
        self._hold_due_s = 0.0

    @property
    def name(self) -> str:
        """``v4l2:`` and what was asked for; once open, the stable identity of the camera."""
        return f"v4l2:{self._name}"

    @property
    def refused(self) -> int:
        """Frames that were damaged, by the driver's word or by their own look."""
        return self._refused_before + (self._capture.refused if self._capture else 0)

    def open(self) -> None:
        """Find the camera, set it up and start its stream.

        Raises:
            InputError: There is no such camera, or it cannot be used.
        """
        with self._reading:
            if self._device is not None:
                raise ValueError("the source is open already")
            self._closed.clear()
            self._lost = None
            self._opened = True
            with self._waking:
                if self._wake < 0:
                    self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            camera, name = find_camera(self._place, self._host)
            try:
                self._open_camera(camera, name)
            except OSError as error:
                self._release()
                raise cannot_open(camera.node, error, self._host) from None
            except InputError:
                self._release()
                raise

    def _open_camera(self, camera: Camera, name: str) -> None:
        self._device = Device(camera.node)
        if self._camera is not None and name != self._name:
            self._lock = ColourLock(self._lock.profile)  # another camera: its values are its own
        self._camera, self._name = camera, name
        if not self._place or (self._place.startswith("/") and not os.path.islink(self._place)):
            # From now on this very camera, wherever it comes back.
            self._place = name
        self._controls = Controls(self._device)
        self._start(self._wish, self._pool, self._numbers)
        self._frames_seen = 0
        self._hold_due_s = time.monotonic() + self._lock.settle_s

    def _start(self, wish: Wish, pool: PixelPool, numbers: FrameNumbers) -> None:
        assert self._device is not None and self._camera is not None
        agreed = agree(self._device, wish)
        if wish is not self._wish:
            agreed = replace(agreed, rate_notes=())  # a still has no rate
        self._capture = Capture(
            self._device,
            self._camera.driver,
            agreed,
            self._buffer_count,
            numbers,
            pool,
            self._wake,
        )
        if self._lock.settle_s == 0.0:
            # Now and not before: some cameras forget what was set when a stream begins, and
            # uvcvideo answers from memory that it is still so.
            self._lock.apply(self._known_controls)
        self._settings_due_s = 0.0

    def read(self) -> Frame | None:
        """The newest frame that nobody has read, or ``None`` once closed.

        Raises:
            SourceLost: The camera is gone, silent or broken; close and open to have it again.
            InputError: This frame is damaged; the next one can be had at once.
        """
        with self._reading:
            capture = self._usable()
            if capture is None:
                return None
            fault = ""
            try:
                taken = self._next(capture, time.monotonic() + self._silent_after_s)
                if taken is None:
                    return None
                self._hold_when_settled()
                return self._frame(capture, taken)
            except FrameFault as error:
                fault = str(error)
            except SilenceError:
                raise self._lose(f"no frame for {self._silent_after_s:g} s") from None
            except OSError as error:
                raise self._lose(_words(error)) from None
            raise InputError(
                f"a whole frame from {self.name}",
                got=fault,
                next_step="wait for the next one; if this goes on, use a shorter or better cable",
            )

    def take_still(self, pressed_ns: int) -> Frame:
        """One frame of the still's size, exposed after ``pressed_ns`` (monotonic).

        Where that is not the stream's own size the stream stops, the camera changes over, its
        automatics get some frames, and the stream comes back.

        Raises:
            InputError: No such picture can be had; the stream goes on.
            SourceLost: The camera is gone.
        """
        with self._reading:
            capture = self._usable()
            if capture is None or self._device is None:
                raise self._no_still("a camera that was closed")
            wish = Wish(self._still_size_wh, self._wish.fps, self._wish.pixel_format)
            try:
                mode = nearest_mode(offered_modes(self._device, wish), wish)
                here = (mode.pixel_format, mode.size_wh)
                if here == (capture.agreed.pixel_format, capture.agreed.size_wh):
                    return self._still(capture, pressed_ns, 0)
                return self._still_in_other_format(wish, pressed_ns)
            except OSError as error:
                raise self._lose(_words(error)) from None

    def _still_in_other_format(self, wish: Wish, pressed_ns: int) -> Frame:
        self._stop_stream()
        try:
            # A still is kept by whoever wants it: no pool of pictures as large as that. What is
            # passed over before it is no loss: it has numbers of its own.
            self._start(wish, PixelPool(keep=0), FrameNumbers())
            assert self._capture is not None
            locked = self._lock.colour_locked(self._known_controls)
            settle = LOCKED_STILL_FRAMES if locked else self._still_settle_frames
            still = self._still(self._capture, pressed_ns, settle)
            return replace(still, frame_id=self._numbers.between())
        except OSError as error:
            if is_gone(error):
                raise
            raise self._no_still(_words(error)) from None
        finally:
            self._return_to_stream()

    def _return_to_stream(self) -> None:
        """Back to the stream's format; where that fails the next read says so."""
        self._stop_stream()
        if self._lost is not None or self._device is None:
            return
        try:
            self._start(self._wish, self._pool, self._numbers)
        except OSError as error:
            self._lose(_words(error))
        except InputError as error:
            self._lose(error.got)

    def _still(self, capture: Capture, pressed_ns: int, settle: int) -> Frame:
        until_s = time.monotonic() + self._still_within_s
        seen, fault = 0, "no frame exposed after the press"
        while time.monotonic() < until_s:
            try:
                taken = self._next(capture, until_s)
                if taken is None:
                    raise self._no_still("a camera that was closed")
                seen += 1
                after_ns = max(pressed_ns, self._lock.since_ns)
                if seen <= settle or taken.stamp.exposure_began_ns <= after_ns:
                    capture.give_back(taken)
                    continue
                self._settings_due_s = 0.0  # those of this very picture
                return self._checked_still(capture, taken)
            except FrameFault as error:
                fault = str(error)
            except SilenceError:
                break
        raise self._no_still(f"{fault} for {self._still_within_s:g} s")

    def _checked_still(self, capture: Capture, taken: Taken) -> Frame:
        if capture.agreed.pixel_format == "MJPG":
            data = capture.payload(taken)
            frame = self._frame(capture, taken)  # gives the buffer back; says what is wrong itself
            fault = jpeg_fault(data)
            if fault is not None:
                raise FrameFault(fault)
            return frame
        return self._frame(capture, taken)

    def _no_still(self, got: str) -> InputError:
        return InputError(
            f"a still from {self.name}", got=got, next_step="hold the camera still and press again"
        )

    def close(self) -> None:
        """Let go of the camera; calling it twice, or from another thread, is harmless."""
        self._closed.set()
        with self._waking:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)
        with self._reading:
            self._release()
            with self._waking:
                wake, self._wake = self._wake, -1
                if wake >= 0:
                    os.close(wake)

    def __enter__(self) -> V4l2Source:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _usable(self) -> Capture | None:
        """The running stream, or ``None`` once closed."""
        if not self._opened:
            raise ValueError("the source must be opened before it is read")
        if self._closed.is_set():
            return None
        if self._lost is not None:
            lost = self._lost
            raise SourceLost(lost.expected, got=lost.got, next_step=lost.next_step)
        if self._capture is None:  # open() failed
            raise SourceLost(
                f"the camera {self.name}", got="one that is not open", next_step="open it again"
            )
        return self._capture

    def _next(self, capture: Capture, until_s: float) -> Taken | None:
        exposure_us = self._settings.get("exposure_us")
        taken = capture.newest(until_s, exposure_us)
        self._frames_seen += 1
        return taken

    def _frame(self, capture: Capture, taken: Taken) -> Frame:
        pixels = capture.decode(taken)
        in_force = taken.stamp.exposure_began_ns > self._lock.since_ns
        if in_force != self._in_force or time.monotonic() >= self._settings_due_s:
            self._read_settings(capture, in_force)
        return Frame(
            pixels=pixels,
            frame_id=taken.frame_id,
            source=self.name,
            captured_ns=taken.stamp.captured_ns,
            captured_clock="monotonic",
            captured_by=taken.stamp.captured_by,
            settings=self._settings,
            notes=self._notes(capture),
            exposure_began_ns=taken.stamp.exposure_began_ns,
        )

    def _notes(self, capture: Capture) -> tuple[str, ...]:
        notes = capture.agreed.notes + capture.agreed.rate_notes
        if not self._numbers.counted:
            notes += ("the driver does not count its frames: drops are unknown",)
        if not capture.clock.believed:
            notes += ("the driver's time stamps are of another clock: arrival is used",)
        return notes

    @property
    def _known_controls(self) -> Controls:
        assert self._controls is not None
        return self._controls

    def _hold_when_settled(self) -> None:
        """Lock the colours once the automatics had their time and some frames."""
        if self._lock.applied or self._lock.profile is None:
            return
        if self._frames_seen >= SETTLE_FRAMES_MIN and time.monotonic() >= self._hold_due_s:
            self._lock.apply(self._known_controls)
            self._settings_due_s = 0.0

    def _read_settings(self, capture: Capture, in_force: bool) -> None:
        self._lock.check(self._known_controls)
        self._settings = _settings(self._known_controls, self._lock, capture)
        if not in_force:  # this frame was exposed before the controls were set
            locked = self._settings["locked"].items()
            self._settings["locked"] = {k: None if held is None else False for k, held in locked}
            self._settings["colour_locked"] = False
        self._in_force = in_force
        self._settings_due_s = time.monotonic() + SETTINGS_EVERY_S

    def _lose(self, got: str) -> SourceLost:
        """Let go of the camera, so that its number is free again, and remember why."""
        lost = SourceLost(
            f"frames from the camera {self.name}",
            got=got,
            next_step="check the camera and its cable; it is looked for again",
        )
        self._lost = lost
        self._release()
        return lost

    def _stop_stream(self) -> None:
        if self._capture is not None:
            self._refused_before += self._capture.refused
            self._capture.stop()
            self._capture = None

    def _release(self) -> None:
        self._stop_stream()
        self._lock.lost()
        self._controls = None
        if self._device is not None:
            self._device.close()
            self._device = None


def _settings(controls: Controls, lock: ColourLock, capture: Capture) -> dict[str, Any]:
    """What is known of the camera's settings, as ``Frame.settings``; unknown is ``None``."""
    exposure = controls.get("exposure_time_absolute")  # in units of 100 us
    interval_ns = capture.agreed.interval_ns
    names: Mapping[str, int | None] = {name: controls.get(name) for name in lock.watched}
    return {
        "pixel_format": capture.agreed.pixel_format,
        "frame_interval_us": None if interval_ns is None else interval_ns / 1000.0,
        "exposure_us": None if exposure is None else exposure * 100.0,
        "analogue_gain": None,  # V4L2 gives gains in units of the driver's own: see controls
        "digital_gain": None,
        "iso": None,
        "white_balance_k": controls.get("white_balance_temperature"),
        "awb_gains_rb": None,
        "controls": {name: value for name, value in names.items() if value is not None},
        "colour_profile": None if lock.profile is None else lock.profile.name,
        "locked": lock.locked(controls),
        "colour_locked": lock.colour_locked(controls),
    }


def _words(error: OSError) -> str:
    """What the kernel says, as a person at the device would say it."""
    if is_gone(error):
        return "a camera that was unplugged"
    if error.errno == errno.EIO:
        return "an I/O error: the camera or its bus has failed"
    return error.strerror or str(error)
