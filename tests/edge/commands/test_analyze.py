"""``dermedge analyze`` as its users meet it: the command line, its outputs and its exit codes."""

from __future__ import annotations

import json
import os
import resource
import shlex
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from edge.__main__ import main
from edge.analysis.analyzer import Analysis, Analyzer
from edge.commands.batch import Batch
from edge.native_messages import silence_video_libraries
from edge.result import DISCLAIMER, SCHEMA, UNVALIDATED
from packs_for_tests import network_bytes, write_pack

# --- making inputs ------------------------------------------------------------------------------


def skin(width: int = 240, height: int = 180) -> np.ndarray:
    """HxWx3 uint8 RGB: light skin with one brown lesion, left of the middle and above it."""
    picture = np.full((height, width, 3), (214, 168, 148), np.uint8)
    rng = np.random.default_rng(5)
    picture += rng.integers(0, 9, (height, width, 1), np.uint8)
    centre = (width * 3 // 10, height * 4 // 10)
    cv2.ellipse(picture, centre, (width // 8, height // 10), 20, 0, 360, (120, 66, 58), -1)
    return cv2.GaussianBlur(picture, (0, 0), 1.0)


def still(path: Path, pixels: np.ndarray | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(skin() if pixels is None else pixels).save(path, **options)
    return path


def clip(path: Path, frames: int = 5, fourcc: str = "VP80") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    silence_video_libraries()
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), 25.0, (240, 180)
    )
    for index in range(frames):
        writer.write(np.roll(skin(), 6 * index, axis=1)[..., ::-1].copy())
    writer.release()
    return path


def cut(path: Path, share: float) -> Path:
    """The file, cut off."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def closed(path: Path) -> Path:
    """A cut JPEG with the mark of its end put behind it."""
    path.write_bytes(path.read_bytes() + b"\xff\xd9")
    return path


def holed(path: Path, hole_bytes: int = 1024) -> Path:
    """The file with zeros in its middle."""
    data = bytearray(path.read_bytes())
    start = len(data) // 2
    data[start : start + hole_bytes] = bytes(hole_bytes)
    path.write_bytes(data)
    return path


# --- running ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What one run of the command left behind."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def errors(self) -> list[str]:
        """Lines on stderr."""
        return self.err.splitlines()

    def files(self) -> list[str]:
        """All files of the output folder."""
        return sorted(
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if path.is_file()
        )

    def result(self, name: str) -> dict:
        """The Result JSON of one input."""
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


Analyze = Callable[..., Run]


@pytest.fixture
def analyze(tmp_path, tiny_pack, monkeypatch, capfd) -> Analyze:
    """Runs the real command in this process; stderr includes what C libraries write."""
    monkeypatch.chdir(tmp_path)
    silence_video_libraries()

    def run(*arguments: object, out: Path | str | None = None, pack: Path = tiny_pack) -> Run:
        out = tmp_path / "out" if out is None else out
        folder = Path(out)
        words = ["dermedge", "analyze", *map(str, arguments), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", [*words, "--pack", str(pack)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        if folder.is_dir():
            left = [path.name for path in folder.rglob(".*")]
            assert left == [], "temporary files are left"
        return Run(int(ended.value.code or 0), said.out, said.err, folder)

    return run


# --- the table of bad input ---------------------------------------------------------------------


def grey(path: Path) -> Path:
    return still(path / "a.png", cv2.cvtColor(skin(), cv2.COLOR_RGB2GRAY))


def sixteen_bit(path: Path) -> Path:
    cv2.imwrite(str(path / "a.png"), skin()[..., ::-1].astype(np.uint16) * 257)
    return path / "a.png"


def cmyk(path: Path) -> Path:
    Image.fromarray(skin()).convert("CMYK").save(path / "a.jpg", quality=95)
    return path / "a.jpg"


def alpha(path: Path) -> Path:
    image = Image.fromarray(skin())
    image.putalpha(Image.fromarray(np.tile(np.repeat([0, 255], [20, 220]), (180, 1)).astype("u1")))
    image.save(path / "a.png")
    return path / "a.png"


def rotated(orientation: int) -> Callable[[Path], Path]:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }

    def make(path: Path) -> Path:
        exif = Image.Exif()
        exif[274] = orientation
        image = Image.fromarray(skin())
        image = image.transpose(turns[orientation]) if orientation in turns else image
        image.save(path / "a.jpg", exif=exif, quality=95)
        return path / "a.jpg"

    return make


ANALYZED = {
    "grey": (grey, "grey"),
    "16 bit": (sixteen_bit, "16 bit"),
    "CMYK": (cmyk, "CMYK"),
    "alpha": (alpha, "transparent parts"),
    **{f"EXIF {n}": (rotated(n), "upright" if n > 1 else "") for n in range(1, 9)},
}


@pytest.mark.parametrize("name", ANALYZED)
def test_analyzed(analyze, tmp_path, name):
    """Odd pictures are analyzed, exit 0, with a note of what was done to them."""
    make, note = ANALYZED[name]

    run = analyze(make(tmp_path))

    assert (run.code, run.err) == (0, "")
    source = next(tmp_path.glob("a.*")).name
    assert run.files() == [f"{source}{s}" for s in (".json", ".mask.png", ".overlay.png")]
    result = run.result(source)
    assert (result["schema"], result["status"]) == (SCHEMA, "ok")
    assert result["frame"]["size_wh"] == [240, 180]
    assert note in " ".join(result["reasons"])
    x0, y0, x1, y1 = result["regions"][0]["box_xyxy"]  # upright, wherever the camera was
    assert abs((x0 + x1) / 2 - 72) < 6
    assert abs((y0 + y1) / 2 - 72) < 6
    mask = np.asarray(Image.open(run.folder / f"{source}.mask.png"))
    assert mask.shape == (180, 240)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[72, 72] == 255


POOR = {
    "63 px": lambda path: still(path / "a.png", skin(63, 200)),
    "1 px": lambda path: still(path / "a.png", skin(80, 80)[:1, :1]),
    "black": lambda path: still(path / "a.png", np.zeros((100, 100, 3), np.uint8)),
    "white": lambda path: still(path / "a.png", np.full((100, 100, 3), 255, np.uint8)),
}


@pytest.mark.parametrize("name", POOR)
def test_poor_quality(analyze, tmp_path, name):
    """What cannot be judged says so, with exit 0 and no mask: a blank mask looks healthy."""
    run = analyze(POOR[name](tmp_path))

    assert (run.code, run.err) == (0, "")
    assert run.files() == ["a.png.json", "a.png.overlay.png"]
    result = run.result("a.png")
    assert result["status"] == "poor_quality"
    assert result["reasons"]
    assert result["regions"] is None
    assert "1 poor quality" in run.out


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        (path / name).write_bytes(content)
        return path / name

    return make


def link_to_itself(path: Path) -> Path:
    (path / "a.jpg").symlink_to("a.jpg")
    return path / "a.jpg"


def broken_link_in_a_folder(name: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        (path / "in").mkdir()
        (path / "in" / name).symlink_to(path / "gone")
        return path / "in"

    return make


def folder_in_itself(path: Path) -> Path:
    (path / "in").mkdir()
    (path / "in" / "again").symlink_to(path / "in")
    return path / "in"


def long_name(path: Path) -> Path:
    return still(path / ("a" * 246 + ".jpg"))


def no_utf8_clip(path: Path) -> Path:
    named = Path(os.fsdecode(os.fsencode(path) + b"/\xff.webm"))
    clip(path / "a.webm").rename(named)
    return named


def deep_cmyk(path: Path) -> Path:
    """A grey TIFF of 16 bit that says of itself to be CMYK."""
    cv2.imwrite(str(path / "a.tif"), np.repeat(skin()[..., :1], 4, 2).astype(np.uint16) * 257)
    data = (path / "a.tif").read_bytes()
    rgb, cmyk = (struct.pack("<HHIHH", 262, 3, 1, kind, 0) for kind in (2, 5))
    assert rgb in data
    (path / "a.tif").write_bytes(data.replace(rgb, cmyk))
    return path / "a.tif"


def empty_folder(path: Path) -> Path:
    (path / "in").mkdir()
    return path / "in"


REFUSED = {
    "cut JPEG": (lambda p: cut(still(p / "a.jpg"), 0.6), "in the middle of the picture"),
    "cut PNG": (lambda p: cut(still(p / "a.png"), 0.6), "in the middle of the picture"),
    "cut and closed JPEG": (lambda p: closed(cut(still(p / "a.jpg"), 0.9)), "libjpeg says"),
    "JPEG with a hole": (lambda p: holed(still(p / "a.jpg", quality=95)), "a JPEG"),
    "WebP with a hole": (lambda p: holed(still(p / "a.webp", quality=95)), "zeros"),
    "16-bit CMYK TIFF": (deep_cmyk, "got CMYK; convert it to 8 bit"),
    "0 bytes": (written("a.jpg", b""), "0 bytes"),
    "text": (written("a.jpg", b"Dear doctor,\n"), "got text"),
    "missing": (lambda p: p / "none.jpg", "No such file"),
    "link to itself": (link_to_itself, "symbolic links"),
    "a broken link to a picture": (broken_link_in_a_folder("a.jpg"), "in/a.jpg; got a link to"),
    "a broken link to a folder": (broken_link_in_a_folder("2023"), "in/2023; got a link to"),
    "folder in itself": (folder_in_itself, "contain themselves"),
    "empty folder": (empty_folder, "an empty folder"),
    "cut WebM": (lambda p: cut(clip(p / "a.webm"), 0.6), "ends too early"),
    "cut MP4": (lambda p: cut(clip(p / "a.mp4", fourcc="mp4v"), 0.6), "ends too early"),
    "cut AVI": (lambda p: cut(clip(p / "a.avi", fourcc="MJPG"), 0.6), "ends too early"),
    "0 bytes of video": (written("a.mp4", b""), "0 bytes"),
    "text as video": (written("a.mp4", b"Dear doctor,\n"), "a video"),
    "a name too long for its results": (long_name, "name too long"),
    "a video's name that is no UTF-8": (no_utf8_clip, "in UTF-8"),
    "no frames": (lambda p: clip(p / "a.webm", frames=0), "a video"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(analyze, tmp_path, name):
    """Exit 3, one line that says what to do, and nothing written."""
    make, words = REFUSED[name]

    run = analyze(make(tmp_path))

    assert run.code == 3
    assert len(run.errors) == 1
    assert run.err.startswith("error: expected ")
    assert words in run.err
    assert run.err.count(";") >= 2  # expected; got; what to do
    assert run.files() == []
    assert "1 failed" in run.out


def nan_segmenter() -> bytes:
    """The logarithm of a negative number at every pixel."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["mean", "two"], ["negative"]),
        helper.make_node("Log", ["negative"], ["logit"]),
    ]
    constants = {"two": np.array(2.0, np.float32)}
    shapes = {"image": ["N", 9, 96, 96]}, {"logit": ["N", 1, 96, 96]}
    return network_bytes(nodes, constants, *shapes)


def nan_classifier() -> bytes:
    """Not a number for each class."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    constants = {"weights": np.full((3, 6), np.nan, np.float32)}
    return network_bytes(nodes, constants, {"image": ["N", 3, 96, 96]}, {"logits": ["N", 6]})


BAD_PACKS = {
    "another hash": ({"segmenter__onnx__sha256": "0" * 64}, "sha256"),
    "another shape": ({"segmenter__inputs__0__size_wh": [64, 64]}, "64"),
    "another dtype": ({"classifier__inputs__0__dtype": "float16"}, "float16"),
    "five labels for six": ({"classifier__output__labels": list("ABCDE")}, "5"),
    "no ONNX": ({"segmenter_onnx": b"This is no network."}, "ONNX"),
    "an unknown key": ({"segmenter__colour": "red"}, "colour"),
}


@pytest.mark.parametrize("name", BAD_PACKS)
def test_a_pack_that_is_not_what_it_says_is_refused(analyze, tmp_path, name):
    changes, words = BAD_PACKS[name]
    if "classifier__output__labels" in changes:
        changes = {**changes, "classifier__label_text": None}
    pack = write_pack(tmp_path / "pack", **changes)

    run = analyze(still(tmp_path / "a.jpg"), pack=pack)

    assert run.code == 4
    assert len(run.errors) == 1
    assert words in run.err
    assert run.files() == []


@pytest.mark.parametrize("broken", ["segmenter_onnx", "classifier_onnx"])
def test_nan_from_a_model(analyze, tmp_path, broken):
    """The Result says so, no region is invented, and the exit code is 4."""
    network = nan_segmenter() if broken == "segmenter_onnx" else nan_classifier()
    pack = write_pack(tmp_path / "pack", **{broken: network})
    still(tmp_path / "in" / "a.jpg")
    still(tmp_path / "in" / "b.jpg")

    run = analyze(tmp_path / "in", pack=pack)

    assert run.code == 4
    assert len(run.errors) == 2
    assert all("model refused" in line for line in run.errors)
    assert run.files() == [f"{n}.jpg{s}" for n in "ab" for s in (".json", ".overlay.png")]
    result = run.result("a.jpg")
    assert (result["status"], result["regions"]) == ("model_refused", None)
    assert result["reasons"]
    assert "2 model refused" in run.out


def test_an_output_that_is_a_file(analyze, tmp_path):
    (tmp_path / "out").write_bytes(b"precious")

    run = analyze(still(tmp_path / "a.jpg"))

    assert run.code == 3
    assert len(run.errors) == 1
    assert (tmp_path / "out").read_bytes() == b"precious"


def test_an_output_that_is_read_only(analyze, tmp_path):
    folder = tmp_path / "fixed"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=100k", "tmpfs", str(folder)]
    if os.geteuid() == 0:
        if subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("mounting needs more rights than this root has")
    else:
        folder.chmod(0o500)
    try:
        run = analyze(still(tmp_path / "a.jpg"), out=folder)
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(folder)], check=True)

    assert run.code == 3
    assert len(run.errors) == 1


def test_an_output_that_fills_up_ends_the_batch(analyze, tmp_path):
    """Every further file would fail in the same way; what is written stays."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    for name in "abcdefgh":
        still(tmp_path / "in" / f"{name}.jpg", skin(480, 360))
    try:
        run = analyze(tmp_path / "in", out=folder)
        files = run.files()
    finally:
        subprocess.run(["umount", str(folder)], check=True)

    assert run.code == 3
    assert len(run.errors) == 1
    assert "No space left" in run.err
    assert "not started" in run.out
    assert len(files) % 3 == 0
    assert 0 < len(files) < 24


def test_a_file_that_may_not_grow(analyze, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = still(tmp_path / "a.jpg")
    analyze(path)  # the prepared graphs are cached before the limit comes
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        run = analyze(path, out=tmp_path / "other")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert (run.code, len(run.errors), run.files()) == (3, 1, [])
    assert "File too large" in run.err


def test_12000_by_9000_pixels_and_their_memory(tmp_path, tiny_pack):
    """Decoding needs 7 bytes per pixel, 0.76 GB here; the whole program stays below 1.1 GB."""
    path = tmp_path / "large.jpg"
    large = cv2.resize(skin(), (12_000, 9_000), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(path), large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    del large
    program = (
        "import sys; from edge.__main__ import main\n"
        "try: main()\n"
        "finally:\n"
        "    status = open('/proc/self/status').read()\n"
        "    print('kB', status.split('VmHWM:')[1].split()[0])\n"
    )
    command = [sys.executable, "-c", program, "analyze", str(path), "--out", str(tmp_path / "out")]

    done = subprocess.run([*command, "--pack", str(tiny_pack)], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "out" / "large.jpg.json").read_text())
    assert (result["status"], result["frame"]["size_wh"]) == ("ok", [12_000, 9_000])
    peak_mb = int(done.stdout.split("kB ")[1]) / 1024
    assert peak_mb < 1100


# --- a batch ------------------------------------------------------------------------------------


def test_the_rest_of_a_batch_goes_on_and_is_counted(analyze, tmp_path):
    folder = tmp_path / "in"
    still(folder / "a.jpg")
    cut(still(folder / "b.jpg"), 0.5)
    still(folder / "c.png", np.zeros((100, 100, 3), np.uint8))
    still(folder / "d.png", np.full((100, 100, 3), (214, 168, 148), np.uint8))
    (folder / "e.txt").write_text("notes")
    still(folder / "sub" / "größe 皮膚.jpg")

    run = analyze(folder)

    assert run.code == 3
    assert len(run.errors) == 1
    last = run.out.splitlines()[-1]
    assert last.startswith(
        "5 files: 2 with regions, 1 nothing found, 1 poor quality, 1 failed; "
        "1 other file (.txt 1) skipped."
    )
    assert DISCLAIMER in last
    assert run.result("sub/größe 皮膚.jpg")["frame"]["source"] == "file:sub/größe 皮膚.jpg"
    assert run.result("d.png")["status"] == "nothing_found"
    assert not np.asarray(Image.open(run.folder / "d.png.mask.png")).any()


def test_a_broken_link_is_counted_beside_what_was_analyzed(analyze, tmp_path):
    still(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "gone")

    run = analyze(tmp_path / "in")

    assert (run.code, len(run.errors)) == (3, 1)
    assert run.out.splitlines()[-1].startswith("2 files: 1 with regions, 1 failed. ")


def test_the_highest_code_wins(analyze, tmp_path):
    pack = write_pack(tmp_path / "pack", segmenter_onnx=nan_segmenter())

    run = analyze(still(tmp_path / "a.jpg"), tmp_path / "none.jpg", pack=pack)

    assert run.code == 4


def test_an_unforeseen_failure_does_not_cost_the_rest(analyze, tmp_path, monkeypatch):
    def fail(self, job):
        if job.name == "a.jpg":
            raise ZeroDivisionError("a bug")
        original(self, job)

    original = Batch._do_picture
    monkeypatch.setattr(Batch, "_do_picture", fail)
    still(tmp_path / "in" / "a.jpg")
    still(tmp_path / "in" / "b.jpg")

    run = analyze(tmp_path / "in")

    assert run.code == 5
    assert run.errors == [
        "error: a.jpg: unforeseen ZeroDivisionError: a bug; run again with --debug"
    ]
    assert "1 with regions, 1 failed" in run.out


def test_a_single_still_is_summed_up(analyze, tmp_path):
    run = analyze(still(tmp_path / "a.jpg"))

    assert run.out.startswith("a.jpg, 240x180: Regions found\n  A  ")
    assert "(unvalidated)" in run.out
    assert "segment" in run.out
    assert "total" in run.out
    assert DISCLAIMER in run.out
    assert len(run.out.splitlines()) > 8


def test_several_are_listed_and_verbose_sums_up(analyze, tmp_path):
    paths = [still(tmp_path / "a.jpg"), still(tmp_path / "b.jpg")]

    assert len(analyze(*paths).out.splitlines()) == 3
    verbose = analyze(*paths, "--overwrite", "--verbose").out
    assert verbose.count("Regions found") == 2


def test_the_packs_own_limit_of_naming_is_said_once_for_each_picture(analyze, tmp_path):
    pack = write_pack(tmp_path / "pack", classifier__decision__abstain_below=0.97)
    two = np.hstack([skin(), skin()])
    paths = [still(tmp_path / name, two) for name in ("a.png", "b.png")]

    lines = analyze(*paths, pack=pack).out.splitlines()

    for line in lines[:2]:
        assert line.count("uncertain (likeliest ") == 2
        assert line.count("97%") == 1
    assert "97%" not in lines[2]


def test_two_runs_give_the_same(analyze, tmp_path):
    path = still(tmp_path / "a.jpg")
    one, other = analyze(path), analyze(path, out=tmp_path / "other")

    results = one.result("a.jpg"), other.result("a.jpg")
    for result in results:
        assert result.pop("timings_ms")
        result["frame"].pop("wall")
    assert results[0] == results[1]
    assert (one.folder / "a.jpg.mask.png").read_bytes() == (
        other.folder / "a.jpg.mask.png"
    ).read_bytes()


# --- earlier runs -------------------------------------------------------------------------------


def test_results_of_an_earlier_run_are_kept(analyze, tmp_path):
    folder = tmp_path / "in"
    still(folder / "a.jpg")
    clip(folder / "b.webm", frames=2)
    first = analyze(folder)
    before = {name: (first.folder / name).stat().st_mtime_ns for name in first.files()}

    second = analyze(folder)

    assert second.code == 0
    assert second.err == ""
    assert "2 kept from an earlier run (--overwrite does them again)" in second.out
    assert {n: (second.folder / n).stat().st_mtime_ns for n in second.files()} == before


def test_kept_results_of_other_models_are_pointed_out(analyze, tmp_path):
    folder = tmp_path / "in"
    still(folder / "a.jpg")
    clip(folder / "b.webm", frames=2)
    analyze(folder)
    other = write_pack(tmp_path / "other", classifier_onnx=nan_classifier())
    still(folder / "c.jpg", np.zeros((100, 100, 3), np.uint8))

    run = analyze(folder, pack=other)

    assert run.code == 0
    assert run.errors == [
        "warning: 2 kept from an earlier run were not made by this pack's models; "
        "--overwrite does what is kept again"
    ]
    assert analyze(folder / "c.jpg", pack=other).err == ""
    (run.folder / "c.jpg.json").write_text("{}")
    assert "1 kept from an earlier run was not made" in analyze(folder / "c.jpg").err


def test_a_refused_model_is_no_result_to_be_kept(analyze, tmp_path):
    broken = write_pack(tmp_path / "broken", segmenter_onnx=nan_segmenter())
    picture, video = still(tmp_path / "a.png"), clip(tmp_path / "c.webm", frames=2)
    for _ in range(2):
        run = analyze(picture, video, pack=broken)
        assert run.code == 4 and "2 model refused" in run.out and "kept" not in run.out
    assert "c.webm/overlay.webm" not in run.files()
    run = analyze(picture, video)
    assert run.code == 0 and run.result("a.png")["status"] in ("ok", "nothing_found")
    assert "c.webm/overlay.webm" in run.files()


def test_overwrite_replaces_them(analyze, tmp_path):
    path = still(tmp_path / "a.png")
    analyze(path)
    still(path, np.zeros((100, 100, 3), np.uint8))

    run = analyze(path, "--overwrite")

    assert run.result("a.png")["status"] == "poor_quality"
    assert run.files() == ["a.png.json", "a.png.overlay.png"]


def test_a_clip_that_was_not_finished_is_done_again(analyze, tmp_path):
    path = clip(tmp_path / "a.webm", frames=3)
    run = analyze(path)
    (run.folder / "a.webm" / "overlay.webm").unlink()

    again = analyze(path)

    assert "kept" not in again.out
    assert "a.webm/overlay.webm" in again.files()


def test_results_below_an_input_folder_are_not_analyzed(analyze, tmp_path):
    still(tmp_path / "in" / "a.png")
    analyze(tmp_path / "in", out=tmp_path / "in" / "earlier")

    run = analyze(tmp_path / "in")

    assert run.files() == [f"a.png{s}" for s in (".json", ".mask.png", ".overlay.png")]
    assert "3 other files (.json 1, .mask.png 1, .overlay.png 1) skipped" in run.out


def test_overwriting_with_a_shorter_video_leaves_no_later_frames(analyze, tmp_path):
    run = analyze(clip(tmp_path / "a.webm", frames=4), "--png")
    kept = ["notes.json", "0000003.json"]
    for name in kept:
        (run.folder / "a.webm" / name).touch()
    clip(tmp_path / "a.webm", frames=2)

    again = analyze(tmp_path / "a.webm", "--overwrite", "--png")

    numbered = [f"00000{i}{s}" for i in (0, 1) for s in (".json", ".mask.png", ".overlay.png")]
    expected = sorted(["overlay.webm", *kept, *numbered])
    assert again.files() == [f"a.webm/{name}" for name in expected]

    again = analyze(tmp_path / "a.webm", "--overwrite")

    expected = sorted(["overlay.webm", *kept, "000000.json", "000001.json"])
    assert again.files() == [f"a.webm/{name}" for name in expected]


# --- videos -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fourcc"), [("c.webm", "VP80"), ("c.mp4", "mp4v"), ("c.avi", "MJPG")]
)
def test_every_frame_of_a_video(analyze, tmp_path, name, fourcc):
    run = analyze(clip(tmp_path / name, frames=5, fourcc=fourcc))

    assert (run.code, run.err) == (0, "")
    numbered = [f"{name}/{index:06d}.json" for index in range(5)]
    assert run.files() == [*numbered, f"{name}/overlay.webm"]
    for index in range(5):
        frame = run.result(f"{name}/{index:06d}")["frame"]
        assert (frame["id"], frame["captured_ns"]) == (index, 40_000_000 * index)
        assert (frame["captured_clock"], frame["captured_by"]) == ("recording", "file")
    capture = cv2.VideoCapture(str(run.folder / name / "overlay.webm"))
    played = 0
    while capture.read()[0]:
        played += 1
    assert played == 5
    assert "5 frames: 5 regions found" in run.out


def test_png_of_every_frame(analyze, tmp_path):
    run = analyze(clip(tmp_path / "c.webm", frames=2), "--png")

    assert run.files() == [
        *(f"c.webm/00000{i}{s}" for i in (0, 1) for s in (".json", ".mask.png", ".overlay.png")),
        "c.webm/overlay.webm",
    ]


def test_a_refusal_inside_a_video_gives_its_own_reason_alone(analyze, tmp_path, monkeypatch):
    """The frames around it have answers, with reasons to keep in mind that are no failures."""
    whole = Analyzer.analyze

    def refuses_the_second(self, frame):
        analysis = whole(self, frame)
        if frame.frame_id != 1:
            assert analysis.result.reasons == (UNVALIDATED,)
            return analysis
        refused = replace(
            analysis.result, status="model_refused", reasons=("NaN came out",), regions=None
        )
        return Analysis(refused, None)

    monkeypatch.setattr(Analyzer, "analyze", refuses_the_second)
    run = analyze(clip(tmp_path / "c.avi", frames=3, fourcc="MJPG"))

    assert run.code == 4
    assert run.errors == ["error: c.avi: model refused: NaN came out"]


def test_a_video_damaged_inside_keeps_what_was_read(analyze, tmp_path):
    path = clip(tmp_path / "c.avi", frames=6, fourcc="MJPG")
    data = bytearray(path.read_bytes())
    place = data.index(b"movi") + 4
    for _ in range(4):
        place += 8 + (int.from_bytes(data[place + 4 : place + 8], "little") + 1) // 2 * 2
    size = int.from_bytes(data[place + 4 : place + 8], "little")
    data[place + 8 : place + 8 + size] = bytes(size)
    path.write_bytes(data)

    run = analyze(path)

    assert run.code == 3
    assert "damaged after frame 4" in run.err
    assert run.files() == [f"c.avi/00000{index}.json" for index in range(4)]


# --- places -------------------------------------------------------------------------------------


def test_two_inputs_for_the_same_place(analyze, tmp_path):
    one, other = still(tmp_path / "x" / "a.jpg"), still(tmp_path / "y" / "a.jpg")

    run = analyze(one, other)

    assert run.code == 2
    assert len(run.errors) == 1
    assert str(one) in run.err
    assert str(other) in run.err
    assert not run.folder.exists()


def test_the_same_input_twice_is_done_once(analyze, tmp_path):
    path = still(tmp_path / "in" / "a.jpg")

    assert analyze(path, path.parent).code == 0


def test_an_output_among_the_inputs_is_not_analyzed(analyze, tmp_path):
    still(tmp_path / "a.jpg")
    still(tmp_path / "sub" / "b.jpg")

    analyze(tmp_path)
    run = analyze(tmp_path)

    assert "2 files: 2 kept" in run.out


def test_an_output_folder_that_is_the_input_folder(analyze, tmp_path):
    still(tmp_path / "in" / "a.jpg")

    run = analyze(tmp_path / "in", out=tmp_path / "in")

    assert (run.code, run.files()) == (2, ["a.jpg"])


def test_no_output_replaces_an_input(analyze, tmp_path):
    one = still(tmp_path / "a.jpg")
    other = still(tmp_path / "a.jpg.overlay.png")
    video = clip(tmp_path / "c.webm", frames=2)
    before = other.read_bytes(), video.read_bytes()

    assert analyze(one, other, "--overwrite", out=tmp_path).code == 2
    assert analyze(video, "--overwrite", out=tmp_path).code == 2

    assert (other.read_bytes(), video.read_bytes()) == before


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [[], ["a.jpg", "--nonsense"], ["a.jpg", "--threads", "0"], ["a.jpg", "--backend", "tensorrt"]],
)
def test_wrong_requests(analyze, tmp_path, arguments):
    still(tmp_path / "a.jpg")

    run = analyze(*arguments)

    assert run.code == 2
    assert len(run.errors) == 1
    assert run.files() == []


@pytest.mark.parametrize("empty", ["PATH", "--out"])
def test_an_empty_path_is_not_the_current_folder(analyze, tmp_path, empty):
    """As from "$FOLDER" in a script where FOLDER is not set."""
    still(tmp_path / "a.jpg")

    run = analyze("") if empty == "PATH" else analyze("a.jpg", out="")

    assert (run.code, len(run.errors)) == (2, 1)
    assert "an empty one" in run.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


def test_a_pack_that_does_not_exist(analyze, tmp_path):
    run = analyze(still(tmp_path / "a.jpg"), pack=tmp_path / "nopack")

    assert (run.code, len(run.errors)) == (2, 1)


def test_what_a_killed_run_left_is_removed(analyze, tmp_path, caplog):
    still(tmp_path / "in" / "sub" / "a.jpg")
    clip(tmp_path / "in" / "b.webm", frames=2)
    left = ["sub/.dermedge-0123456789ab.partial", "b.webm/.dermedge-0123456789ab.partial.webm"]
    for name in left:
        (tmp_path / "out" / name).parent.mkdir(parents=True)
        (tmp_path / "out" / name).touch()

    run = analyze(tmp_path / "in")  # which sees that nothing hidden is left

    assert run.code == 0
    assert "sub/a.jpg.json" in run.files()
    assert ["unfinished file of a killed run" in line for line in caplog.messages] == [True] * 2


# --- nobody reads --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reader", ["| head -1 >first", "| true", ">/dev/full", ">&-", "2>&-", "2>/dev/full", ">&- 2>&-"]
)
def test_a_batch_outlives_its_reader(tmp_path, tiny_pack, reader):
    """Good pictures were called failed because the line about them could not be printed."""
    for name in "ab":
        still(tmp_path / "in" / f"{name}.jpg")
    (tmp_path / "in" / "c.jpg").touch()  # fails, and is complained of
    arguments = ["analyze", tmp_path / "in", "--out", tmp_path / "out", "--pack", tiny_pack]
    command = shlex.join([sys.executable, "-m", "edge", *map(str, arguments)])

    done = subprocess.run(
        ["bash", "-c", f"cd {tmp_path}; {command} {reader}; echo ${{PIPESTATUS[0]}} >code"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
    )

    assert (tmp_path / "code").read_text() == "3\n"  # that of the empty file alone
    assert len(list((tmp_path / "out").iterdir())) == 6
    complaints = [line for line in done.stderr.splitlines() if "c.jpg" not in line]
    assert complaints == []
    assert ("0 bytes" in done.stderr) == ("2>" not in reader)


# --- being stopped ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "word", "failures"),
    [
        (signal.SIGINT, 130, "Ctrl-C", 0),
        (signal.SIGTERM, 0, "SIGTERM", 0),
        (signal.SIGTERM, 3, "SIGTERM", 1),
    ],
)
def test_stopped_in_the_middle(tmp_path, tiny_pack, number, code, word, failures):
    """What is written is complete, the rest is said to be missing, nothing hidden stays."""
    (tmp_path / "in").mkdir()
    for index in range(failures):
        (tmp_path / "in" / f"a{index}.jpg").touch()
    clip(tmp_path / "in" / "b.avi", frames=400, fourcc="MJPG")
    still(tmp_path / "in" / "c.jpg")
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "analyze", tmp_path / "in", "--out", out]
        + ["--pack", tiny_pack],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + 60
    while not (out / "b.avi" / "000003.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)

    process.send_signal(number)
    said, complained = process.communicate(timeout=60)

    assert process.returncode == code
    assert len(complained.splitlines()) == 1 + failures
    assert word in complained
    assert "1 not started" in said
    files = sorted(path.name for path in out.rglob("*") if path.is_file())
    assert len(files) < 400
    for index, name in enumerate(files):
        assert name == f"{index:06d}.json"
        json.loads((out / "b.avi" / name).read_text())


def test_onnx_is_what_these_tests_say() -> None:
    """The networks made here are valid, so what is refused is refused for its reason."""
    for content in (nan_segmenter(), nan_classifier()):
        onnx.checker.check_model(onnx.load_from_string(content))
