"""The live guard, provoked with frames of the phantom camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.frame import Frame
from edge.guards.live import GOOD_FRAMES, LiveGuard, LiveKind
from models.phantom import PhantomCamera

MS = 1_000_000
START_NS = 5_000_000_000_000
INTERVAL_NS = 33 * MS
Uint8 = NDArray[np.uint8]


@pytest.fixture(scope="module")
def pictures() -> list[Uint8]:
    camera = PhantomCamera(7, (320, 240), 30.0)
    return [camera.frame(index).pixels for index in range(40)]


class Camera:
    """Gives frames to a guard at 30 per second of its own time."""

    def __init__(self, guard: LiveGuard, pictures: list[Uint8]) -> None:
        self.guard, self.pictures = guard, pictures
        self.now_ns, self.number = START_NS, 0

    def frame(self, **changes: object) -> Frame:
        frame = Frame(
            pixels=self.pictures[self.number % len(self.pictures)],
            frame_id=self.number,
            source="v4l2:test",
            captured_ns=self.now_ns - 20 * MS,
            captured_clock="monotonic",
            captured_by="driver",
        )
        return replace(frame, **changes)  # type: ignore[arg-type]

    def give(self, count: int, **changes: object) -> None:
        for _ in range(count):
            self.now_ns += INTERVAL_NS
            self.number += 1
            self.guard.observe(self.frame(**changes), self.now_ns)

    def wait(self, ms: int) -> None:
        self.now_ns += ms * MS

    @property
    def kind(self) -> LiveKind:
        verdict = self.guard.verdict(self.now_ns)
        assert verdict.live == (verdict.kind == "live")
        assert bool(verdict.words) != verdict.live
        return verdict.kind


@pytest.fixture
def camera(pictures: list[Uint8]) -> Iterator[Camera]:
    camera = Camera(LiveGuard(), pictures)
    assert camera.kind == "never"
    camera.give(1)
    assert camera.kind == "live"  # at the start one is enough
    camera.give(19)
    assert camera.kind == "live"
    yield camera


def assert_recovers(camera: Camera) -> None:
    """Not before so many good frames in a row."""
    camera.give(GOOD_FRAMES - 1)
    assert camera.kind != "live"
    camera.give(1)
    assert camera.kind == "live"


def test_a_camera_that_stops_is_stale_after_half_a_second(camera: Camera) -> None:
    last_ns = camera.now_ns
    camera.wait(500)
    assert camera.kind == "live"
    camera.wait(1)
    assert camera.kind == "stale"
    camera.wait(2999)
    verdict = camera.guard.verdict(camera.now_ns)
    assert (verdict.words, verdict.since_ns) == ("no new picture for 3 s", last_ns)
    assert_recovers(camera)


def test_a_slow_camera_is_given_four_of_its_intervals(pictures: list[Uint8]) -> None:
    camera = Camera(LiveGuard(), pictures)
    for _ in range(8):
        camera.wait(967)
        camera.give(1)
        assert camera.kind == "live"
    camera.wait(4000)
    assert camera.kind == "live"
    camera.wait(1)
    assert camera.kind == "stale"


def test_a_driver_that_returns_the_last_frame_for_ever_is_found(camera: Camera) -> None:
    frozen = camera.frame().pixels
    camera.give(17, pixels=frozen)  # its numbers and times go on
    assert camera.kind == "repeated"
    camera.give(40, pixels=frozen.copy())
    assert "same picture for 1 s" in camera.guard.verdict(camera.now_ns).words
    assert_recovers(camera)


def test_a_repetition_is_found_in_a_file_like_buffer_that_is_reused(camera: Camera) -> None:
    buffer = np.empty_like(camera.pictures[0])
    for picture in camera.pictures:
        np.copyto(buffer, picture)  # one buffer, new content: live
        camera.give(1, pixels=buffer)
    assert camera.kind == "live"
    camera.give(17, pixels=buffer)
    assert camera.kind == "repeated"


def test_a_driver_that_doubles_every_frame_is_live(camera: Camera) -> None:
    for _ in range(60):
        camera.give(1)
        camera.give(1, pixels=camera.frame().pixels)
        assert camera.kind == "live"


@pytest.mark.parametrize("captured_ns", [None, START_NS], ids=["arrival", "driver"])
def test_numbers_that_stand_still_are_a_repetition(camera: Camera, captured_ns: int | None) -> None:
    number = camera.number
    for _ in range(20):
        stamp = camera.now_ns if captured_ns is None else captured_ns
        camera.give(1, frame_id=number, captured_ns=stamp)
    assert camera.kind == "repeated"


def test_a_ring_of_old_buffers_is_a_repetition_although_its_numbers_rise(camera: Camera) -> None:
    first = camera.number - 3
    for turn in range(40):
        camera.give(
            1, frame_id=first + turn % 4, pixels=camera.pictures[turn % 4], captured_by="arrival"
        )
    assert camera.kind == "repeated"


def test_a_camera_that_starts_again_at_zero_is_live_again(camera: Camera) -> None:
    camera.wait(3000)
    camera.number = -1
    camera.give(16 + GOOD_FRAMES)
    assert camera.kind == "live"


def test_pictures_that_come_on_time_but_late_are_stale(camera: Camera) -> None:
    for _ in range(20):
        camera.give(1, captured_ns=camera.now_ns - 2_300 * MS)
    verdict = camera.guard.verdict(camera.now_ns)
    assert (verdict.kind, verdict.words) == ("stale", "pictures arrive 2.3 s late")
    assert_recovers(camera)


def test_pictures_of_the_future_are_stale_and_do_not_block_the_present(camera: Camera) -> None:
    for _ in range(20):
        camera.give(1, captured_ns=camera.now_ns + 3_600_000 * MS)
    verdict = camera.guard.verdict(camera.now_ns)
    assert verdict.kind == "stale" and "ahead" in verdict.words
    assert_recovers(camera)


def test_a_covered_lens_is_black_and_its_noise_is_not_a_repetition(camera: Camera) -> None:
    rng = np.random.default_rng(1)
    for count in range(30):
        covered = np.clip(rng.normal(6.0, 3.0, (240, 320, 3)), 0, 255).astype(np.uint8)
        camera.give(1, pixels=covered)
        assert camera.kind == ("live" if count < GOOD_FRAMES - 1 else "black")
    assert "lens cap" in camera.guard.verdict(camera.now_ns).words
    assert_recovers(camera)


def test_one_black_frame_changes_nothing(camera: Camera) -> None:
    for _ in range(10):
        camera.give(2, pixels=np.zeros((240, 320, 3), np.uint8))
        assert camera.kind == "live"
        camera.give(1)
        assert camera.kind == "live"


def test_a_picture_at_the_edge_of_black_does_not_flicker(camera: Camera) -> None:
    kinds = []
    for count in range(100):
        pixels = np.full((240, 320, 3), count % 5, np.uint8)
        pixels[: (13, 65)[count % 2], :16] = 60 + count % 7  # 0.5 % or 1.5 % of the blocks
        camera.give(1, pixels=pixels)
        kinds.append(camera.kind)
    assert set(kinds) == {"live"}
    camera.give(GOOD_FRAMES, pixels=np.zeros((240, 320, 3), np.uint8))
    for count in range(100):
        pixels = np.full((240, 320, 3), count % 5, np.uint8)
        pixels[: (13, 65)[count % 2], :16] = 60 + count % 7
        camera.give(1, pixels=pixels)
        assert camera.kind == "black"


def test_black_bytes_that_never_change_are_black_before_they_are_a_repetition(
    camera: Camera,
) -> None:
    camera.give(60, pixels=np.zeros((240, 320, 3), np.uint8))
    assert camera.kind == "black"


def test_a_sensor_burnt_out_to_white_is_not_called_a_repetition(camera: Camera) -> None:
    camera.give(60, pixels=np.full((240, 320, 3), 255, np.uint8))
    assert camera.kind == "live"


def test_the_same_bytes_of_a_program_are_no_repetition(pictures: list[Uint8]) -> None:
    still = pictures[0]
    for guard, captured_by in ((LiveGuard(), "synthetic"), (LiveGuard(has_noise=False), "driver")):
        camera = Camera(guard, pictures)
        camera.give(60, pixels=still, captured_by=captured_by)
        assert camera.kind == "live"
        number = camera.number
        camera.give(20, pixels=still, captured_by=captured_by, frame_id=number)
        assert camera.kind == "repeated"  # its numbers are judged all the same


def test_recordings_and_stills_are_not_judged(pictures: list[Uint8]) -> None:
    for clock, captured_ns in (("recording", 0), (None, None)):
        guard = LiveGuard()
        assert guard.verdict(START_NS).kind == "never"
        frame = Frame(np.zeros_like(pictures[0]), 0, "file:x", captured_ns, clock, "file")  # type: ignore[arg-type]
        for _ in range(50):
            guard.observe(frame, START_NS)
        assert guard.verdict(START_NS + 3600_000 * MS).live


def test_another_size_in_mid_stream_is_a_new_picture(camera: Camera) -> None:
    camera.give(5, pixels=camera.pictures[0][:200, :300].copy())
    assert camera.kind == "live"


def test_the_first_pictures_are_black(pictures: list[Uint8]) -> None:
    camera = Camera(LiveGuard(), pictures)
    camera.give(1, pixels=np.zeros((240, 320, 3), np.uint8))
    assert camera.kind == "never"
    camera.give(GOOD_FRAMES, pixels=np.zeros((240, 320, 3), np.uint8))
    assert camera.kind == "black"
    assert_recovers(camera)
