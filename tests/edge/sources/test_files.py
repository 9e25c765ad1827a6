"""Folders are listed in order; videos are read whole or refused."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.errors import InputError
from edge.sources.containers import check_container
from edge.sources.files import FilesSource, list_media
from edge.sources.recording import FALLBACK_FPS, Recording

SIZE_WH = (96, 64)
FRAMES = 12
FORMS = {"clip.avi": "MJPG", "clip.webm": "VP80", "clip.mkv": "VP80", "clip.mp4": "mp4v"}


def video_frame(index: int) -> np.ndarray:
    """HxWx3 uint8 BGR; its mean rises with ``index``."""
    frame = np.full((SIZE_WH[1], SIZE_WH[0], 3), 30 + 12 * index, np.uint8)
    cv2.circle(frame, (10 + 5 * index, 32), 9, (20, 40, 200), -1)
    return frame


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one short video of each form; read it, do not change it."""
    folder = tmp_path_factory.mktemp("videos")
    for name, fourcc in FORMS.items():
        code = cv2.VideoWriter.fourcc(*fourcc)
        writer = cv2.VideoWriter(str(folder / name), cv2.CAP_FFMPEG, code, 25.0, SIZE_WH)
        for index in range(FRAMES):
            writer.write(video_frame(index))
        writer.release()
    return folder


def read_all(path: Path) -> list:
    recording = Recording(path, "file:clip")
    try:
        recording.open()
        return list(iter(recording.read, None))
    finally:
        recording.close()


# --- videos -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_every_frame_of_a_video(videos, name):
    frames = read_all(videos / name)

    assert [frame.frame_id for frame in frames] == list(range(FRAMES))
    assert [frame.captured_ns // 10**6 for frame in frames] == [40 * i for i in range(FRAMES)]
    assert {frame.captured_clock for frame in frames} == {"recording"}
    for index, frame in enumerate(frames):
        expected = video_frame(index)[..., ::-1]  # the frame is RGB
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 8.0


def test_each_frame_owns_its_pixels(videos):
    frames = read_all(videos / "clip.webm")

    assert not np.shares_memory(frames[0].pixels, frames[1].pixels)


@pytest.mark.parametrize("name", FORMS)
def test_a_cut_video_is_refused_before_any_frame(videos, tmp_path, name):
    """OpenCV shows the upper half of a torn frame, or just fewer frames, and says nothing."""
    whole = (videos / name).read_bytes()
    path = tmp_path / name
    cuts = {1, 20, 300, *(len(whole) * share // 20 for share in range(1, 20))}
    for size in (*cuts, len(whole) - 1, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="ends too early|starts with"):
            Recording(path, "file:clip").open()


@pytest.mark.parametrize("name", FORMS)
def test_a_video_whose_end_was_never_written_is_refused(videos, tmp_path, name):
    whole = (videos / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))

    with pytest.raises(InputError, match="copy the file again"):
        read_all(tmp_path / name)


def test_an_mp4_damaged_inside_is_noticed_at_its_end(videos, tmp_path):
    """Damaged packets are left out by the decoder without a word."""
    data = bytearray((videos / "clip.mp4").read_bytes())
    data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
    (tmp_path / "clip.mp4").write_bytes(data)

    with pytest.raises(InputError, match=r"damaged after frame \d+"):
        read_all(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("clip.mp4", b"", "0 bytes"),
        ("clip.mp4", b"This is no video but a letter.", "starts with"),
        ("clip.webm", b"\x1a\x45\xdf\xa3\x80", "no segment"),
        ("clip.mp4", struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0), "moov"),
    ],
)
def test_no_video(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=message):
        Recording(tmp_path / name, "file:clip").open()


OTHER_FORMS = {"clip.MPG": "PIM1", "clip.ts": "mp2v", "clip.flv": "FLV1", "clip.wmv": "WMV2"}


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_a_video_of_another_form_is_refused_as_a_video(tmp_path, name):
    """Not as a picture that should be converted to JPEG."""
    code = cv2.VideoWriter.fourcc(*OTHER_FORMS[name])
    writer = cv2.VideoWriter(str(tmp_path / name), cv2.CAP_FFMPEG, code, 25.0, SIZE_WH)
    for index in range(FRAMES):
        writer.write(video_frame(index))
    writer.release()

    with (
        FilesSource(tmp_path / name) as source,
        pytest.raises(InputError, match=r"a video \(MP4, MOV, .*ffmpeg"),
    ):
        source.read()


def test_a_folder_of_such_videos_says_which_are_read(tmp_path):
    touch(tmp_path / "clip.mpg")

    with pytest.raises(InputError, match=r"videos \(MP4, .*\.mpg 1"):
        FilesSource(tmp_path).open()


@pytest.mark.parametrize("name", ["clip.avi", "clip.webm"])
def test_a_video_without_frames(tmp_path, name):
    code = cv2.VideoWriter.fourcc(*FORMS[name])
    cv2.VideoWriter(str(tmp_path / name), cv2.CAP_FFMPEG, code, 25.0, SIZE_WH).release()

    with pytest.raises(InputError, match="frames in|can decode"):
        read_all(tmp_path / name)


def test_a_live_webm_without_sizes_and_index_is_whole(videos, tmp_path):
    """Browsers record like this: segment and clusters of unknown length, no cues, no duration."""
    data = bytearray((videos / "clip.webm").read_bytes())
    segment = data.index(b"\x18\x53\x80\x67")
    cluster = data.index(b"\x1f\x43\xb6\x75")
    cues = data.rindex(b"\x1c\x53\xbb\x6b")  # the first one is in the list of contents
    data[segment + 4 : segment + 12] = b"\x01" + b"\xff" * 7  # lengths of eight and two bytes
    data[cluster + 4 : cluster + 6] = b"\x7f\xff"
    path = tmp_path / "live.webm"
    path.write_bytes(data[:cues])

    assert check_container(path).packets == FRAMES
    assert len(read_all(path)) == FRAMES

    path.write_bytes(data[: cues - 5])
    with pytest.raises(InputError, match="ends too early"):
        check_container(path)


def test_an_mp4_with_its_index_in_front_is_whole_or_refused(videos, tmp_path):
    data = (videos / "clip.mp4").read_bytes()
    moov = data.index(b"moov") - 4
    size = int.from_bytes(data[moov : moov + 4], "big")
    ftyp = int.from_bytes(data[:4], "big")
    index = bytearray(data[moov : moov + size])
    offsets = index.index(b"stco") + 12  # the samples move back by the index's length
    for place in range(
        offsets, offsets + 4 * int.from_bytes(index[offsets - 4 : offsets], "big"), 4
    ):
        moved = int.from_bytes(index[place : place + 4], "big") + size
        index[place : place + 4] = moved.to_bytes(4, "big")
    path = tmp_path / "fast.mp4"
    fast = data[:ftyp] + bytes(index) + data[ftyp:moov]
    path.write_bytes(fast)

    assert len(read_all(path)) == FRAMES

    path.write_bytes(fast[:-40])
    with pytest.raises(InputError, match="mdat box"):
        Recording(path, "file:fast").open()


def test_names_that_mean_something_to_ffmpeg(videos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.webm", "img%03d.webm", "größe мир 皮膚.webm"):
        path = Path(name)
        path.write_bytes((videos / "clip.webm").read_bytes())
        assert len(read_all(path)) == FRAMES


def test_a_rate_that_no_camera_has(monkeypatch, videos):
    recording = Recording(videos / "clip.webm", "file:clip")
    monkeypatch.setattr(recording, "_property", lambda number: 1000.0)

    assert recording.fps == FALLBACK_FPS
    assert recording.frame_count is None


@pytest.mark.parametrize("damaged", [2, FRAMES - 3])
def test_a_frame_damaged_in_the_middle_does_not_look_like_the_end(videos, tmp_path, damaged):
    """OpenCV answers a packet that cannot be decoded as it answers the end of the file."""
    data = bytearray((videos / "clip.avi").read_bytes())
    (tmp_path / "a.avi").write_bytes(zero_packets(data, damaged))

    recording = Recording(tmp_path / "a.avi", "file:a")
    recording.open()
    for _ in range(damaged):
        assert recording.read() is not None
    with pytest.raises(InputError, match=f"damaged after frame {damaged}"):
        recording.read()
    recording.close()


def test_a_video_damaged_up_to_its_end(videos, tmp_path):
    data = bytearray((videos / "clip.avi").read_bytes())
    (tmp_path / "a.avi").write_bytes(zero_packets(data, *range(3, FRAMES)))

    with pytest.raises(InputError, match="damaged after frame 3"):
        read_all(tmp_path / "a.avi")


def zero_packets(avi: bytearray, *numbers: int) -> bytearray:
    """The file with the content of these frames made zeros; the container stays whole."""
    place, packets = avi.index(b"movi") + 4, []
    while avi[place : place + 4] == b"00dc":
        size = int.from_bytes(avi[place + 4 : place + 8], "little")
        packets.append((place + 8, size))
        place += 8 + size + size % 2
    assert len(packets) == FRAMES
    for start, size in (packets[number] for number in numbers):
        avi[start : start + size] = bytes(size)
    return avi


def test_the_libraries_say_nothing_on_stderr(videos, tmp_path):
    """In a process of its own: FFmpeg learns how much to say when it is first used."""
    data = bytearray((videos / "clip.avi").read_bytes())
    (tmp_path / "a.avi").write_bytes(zero_packets(data, 5))
    program = (
        "import sys; from pathlib import Path; from edge.sources.recording import Recording\n"
        "r = Recording(Path(sys.argv[1]), 'a'); r.open()\n"
        "print(len([r.read() for _ in range(5)]))\n"
        "try: r.read()\n"
        "except Exception as error: print(type(error).__name__)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.avi"], capture_output=True, text=True
    )

    assert (done.stdout.split(), done.stderr) == (["5", "InputError"], "")


# --- folders ------------------------------------------------------------------------------------


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def relatives(folder: Path, **options: Path) -> list[str]:
    return [media.relative.as_posix() for media in list_media(folder, **options).files]


def test_a_folder_is_listed_in_order_with_its_subfolders(tmp_path):
    touch(tmp_path / "b.JPG", tmp_path / "a" / "z.png", tmp_path / "a" / "clip.mp4")
    touch(tmp_path / "c.txt", tmp_path / "d.heic", tmp_path / "README", tmp_path / "e.txt")
    touch(tmp_path / ".hidden.jpg", tmp_path / ".git" / "x.jpg")

    listing = list_media(tmp_path)

    assert [(m.relative.as_posix(), m.kind) for m in listing.files] == [
        ("a/clip.mp4", "video"),
        ("a/z.png", "picture"),
        ("b.JPG", "picture"),
    ]
    assert listing.skipped == {".txt": 2, ".heic": 1, "without suffix": 1}
    assert listing.failures == []


def test_an_excluded_folder_is_not_searched(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "out" / "a.jpg.overlay.png")

    assert relatives(tmp_path, excluded=tmp_path / "out") == ["a.jpg"]


def test_a_link_to_a_folder_is_followed(tmp_path):
    touch(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")

    assert relatives(tmp_path / "in") == ["link/a.jpg"]


def test_a_link_that_leads_nowhere_is_a_failure_and_no_other_file(tmp_path):
    """A link to a folder on a drive that was not there passed for a file of no interest."""
    touch(tmp_path / "a.txt", tmp_path / "in" / "notes.txt")
    for name, target in {
        "2023": tmp_path / "gone",
        "b.jpg": tmp_path / "gone.jpg",
        "fine.txt": tmp_path / "a.txt",
        "loop": "loop",
        ".hidden": tmp_path / "gone",
    }.items():
        (tmp_path / "in" / name).symlink_to(target)

    listing = list_media(tmp_path / "in")

    assert [media.relative.name for media in listing.files] == ["b.jpg"]
    assert listing.skipped == {".txt": 2}
    first, second = map(str, listing.failures)
    assert first == (
        f"expected a readable file at {tmp_path}/in/2023; got a link to {tmp_path}/gone: No such "
        "file or directory; bring back what it leads to, or remove the link"
    )
    assert "in/loop; got a link to loop: Too many levels of symbolic links; " in second


def test_a_folder_that_contains_itself_is_said_once(tmp_path):
    touch(tmp_path / "sub" / "a.jpg")
    (tmp_path / "sub" / "again").symlink_to(tmp_path)

    listing = list_media(tmp_path)

    assert [m.relative.as_posix() for m in listing.files] == ["sub/a.jpg"]
    assert len(listing.failures) == 1
    assert "do not contain themselves" in str(listing.failures[0])


def test_a_file_that_is_named_is_taken_by_its_content(videos, tmp_path):
    (tmp_path / "upload").write_bytes((videos / "clip.webm").read_bytes())
    touch(tmp_path / "other")

    assert list_media(tmp_path / "upload").files[0].kind == "video"
    assert list_media(tmp_path / "other").files[0].kind == "picture"


def test_a_name_that_is_no_utf8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    Image.new("RGB", (4, 4)).save(path)

    media = list_media(tmp_path).files[0]

    media.source.encode("utf-8")  # fit for JSON
    with FilesSource(tmp_path) as source:
        assert source.read().size_wh == (4, 4)


# --- the source ---------------------------------------------------------------------------------


def test_the_source_numbers_all_frames_and_goes_on_after_a_bad_file(videos, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "c.webm").write_bytes((videos / "clip.webm").read_bytes())
    Image.new("RGB", (8, 8)).save(tmp_path / "d.png")

    seen = []
    with FilesSource(tmp_path) as source:
        assert not source.is_live
        while True:
            try:
                frame = source.read()
            except InputError as error:
                seen.append("refused" if "b.jpg" in str(error) else str(error))
                continue
            if frame is None:
                break
            seen.append((frame.frame_id, frame.source))

    numbered = [(0, "file:a.png"), "refused"]
    numbered += [(1 + i, "file:c.webm") for i in range(FRAMES)] + [(1 + FRAMES, "file:d.png")]
    assert seen == numbered


@pytest.mark.parametrize("name", ["none.jpg", "empty"])
def test_nothing_to_read_is_said_when_opened(tmp_path, name):
    (tmp_path / "empty").mkdir()

    with pytest.raises(InputError):
        FilesSource(tmp_path / name).open()


def test_a_paced_video_takes_its_own_time(videos):
    with FilesSource(videos / "clip.webm", paced=True) as source:
        source.read()
        began = time.monotonic()
        frames = list(iter(source.read, None))

    # Never ahead of the recording; how far behind is the machine's business.
    assert len(frames) == FRAMES - 1
    assert time.monotonic() - began >= (FRAMES - 1) * 0.040 - 0.005


def test_closing_ends_a_wait_for_the_next_still(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    source = FilesSource(tmp_path, paced=True)
    source.open()
    source.read()
    answers: list[object] = []
    reader = threading.Thread(target=lambda: answers.append(source.read()))
    reader.start()

    source.close()
    reader.join(timeout=10)

    assert answers == [None]
    source.close()
    assert source.read() is None


def test_results_of_an_earlier_run_are_no_photographs(tmp_path):
    """A mask of an earlier run was analyzed, and got a class."""
    for name in (
        *("p.png", "p.png.json", "p.png.mask.png", "p.png.overlay.png"),
        *("clip.webm/000000.json", "clip.webm/000000.mask.png", "clip.webm/000001.overlay.png"),
        *("clip.webm/overlay.webm", "clip.webm/0000000.mask.png"),
        *("own/overlay.webm", "own/a.mask.png", "own/000001.overlay.png"),  # without any JSON
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    listing = list_media(tmp_path)

    assert [file.relative.as_posix() for file in listing.files] == [
        "clip.webm/0000000.mask.png",
        *("own/000001.overlay.png", "own/a.mask.png", "own/overlay.webm"),
        "p.png",
    ]
    assert listing.skipped == {".json": 2, ".mask.png": 2, ".overlay.png": 2, "overlay.webm": 1}
    named = list_media(tmp_path / "p.png.mask.png")
    assert [file.relative.name for file in named.files] == ["p.png.mask.png"]
