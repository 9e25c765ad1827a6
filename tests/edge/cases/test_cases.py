"""A case is there whole or not at all, and says what became of it since."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from cases_for_tests import PRESS, frozen
from shots_for_tests import result

from edge.analysis.analyzer import Analysis
from edge.cases.code import ALPHABET, is_code, new_code
from edge.cases.listing import list_cases, verify_case
from edge.cases.writer import CaseWriter
from edge.errors import InputError
from edge.session import Frozen
from models import skin


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return picture[..., ::-1] if picture.ndim == 3 else picture


def test_a_case_holds_everything_and_verifies(tmp_path: Path):
    writer = CaseWriter(tmp_path / "cases", lambda: {"configuration": {"a": 1}, "device": None})
    writer.open()
    held = frozen()
    code = writer.keep(held, PRESS)
    folder = tmp_path / "cases" / code
    assert list_cases(tmp_path / "cases") == [folder]
    assert verify_case(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == [
        "case.json",
        "hemoglobin.png",
        "mask.png",
        "melanin.png",
        "overlay.png",
        "result.json",
        "still.png",
    ]
    pixels = held.outcome.frame.pixels
    np.testing.assert_array_equal(read(folder / "still.png"), pixels)
    np.testing.assert_array_equal(read(folder / "mask.png"), held.outcome.analysis.mask)
    np.testing.assert_array_equal(read(folder / "overlay.png"), held.picture)
    hemoglobin, melanin = skin.pigment_images(pixels)
    np.testing.assert_array_equal(read(folder / "hemoglobin.png"), np.rint(255 * hemoglobin))
    np.testing.assert_array_equal(read(folder / "melanin.png"), np.rint(255 * melanin))
    case = json.loads((folder / "case.json").read_text("utf-8"))
    assert case["code"] == code and case["schema"] == "dermedge.case/1"
    assert case["press"] == {"origin": "test", "pressed_ns": 123}
    assert case["exposure_began_ns"] == held.outcome.frame.exposure_began_ns
    assert case["settings"] == {"gain": 3} and case["configuration"] == {"a": 1}
    assert case["boot_id"] and case["disclaimer"] == "Research prototype. Not for diagnosis."
    answer = json.loads((folder / "result.json").read_text("utf-8"))
    assert answer["schema"] == "dermedge.result/1"


def test_without_an_answer_there_is_no_mask(tmp_path: Path):
    writer = CaseWriter(tmp_path)
    held = frozen()
    poor = dataclasses.replace(
        result(held.outcome.frame, 0), status="poor_quality", regions=None, reasons=("dark",)
    )
    held = Frozen(dataclasses.replace(held.outcome, analysis=Analysis(poor, None)), held.picture)
    code = writer.keep(held, PRESS)
    assert not (tmp_path / code / "mask.png").exists()
    assert verify_case(tmp_path / code) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: (p / "still.png").unlink(), "still.png: No such file"),
        (lambda p: (p / "result.json").write_text("{}"), "result.json: 2 bytes instead of"),
        (lambda p: (p / "note.txt").write_text("x"), "note.txt: not of this case"),
        (lambda p: (p / "case.json").write_text("{"), "case.json: no JSON"),
        (lambda p: (p / "case.json").write_text("{}"), "not of the schema"),
        (lambda p: (p / "case.json").unlink(), "case.json: No such file"),
    ],
)
def test_what_became_of_a_case_is_told(tmp_path: Path, spoil, words: str):
    code = CaseWriter(tmp_path).keep(frozen(), PRESS)
    spoil(tmp_path / code)
    (wrong,) = verify_case(tmp_path / code)
    assert words in wrong


def test_a_flipped_bit_is_found(tmp_path: Path):
    code = CaseWriter(tmp_path).keep(frozen(), PRESS)
    path = tmp_path / code / "still.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert verify_case(tmp_path / code) == ["still.png: changed"]


def test_codes_are_speakable_and_new():
    codes = {new_code() for _ in range(2000)}
    assert len(codes) == 2000 and all(is_code(code) for code in codes)
    assert not set("0O1IL2Z5S8BAEU") & set(ALPHABET)
    assert not is_code("K7M-QX") and not is_code("k7m-qxt") and not is_code("../-abc")


def test_a_code_in_use_is_not_given_again(tmp_path: Path, monkeypatch):
    codes = iter(["CCC-CCC", "CCC-CCC", "DDD-DDD"])
    monkeypatch.setattr("edge.cases.writer.new_code", lambda: next(codes))
    writer = CaseWriter(tmp_path)
    assert [writer.keep(frozen(), PRESS), writer.keep(frozen(), PRESS)] == ["CCC-CCC", "DDD-DDD"]


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path):
    writer = CaseWriter(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(InputError, match="MB free for a case"):
        writer.keep(frozen(), PRESS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_told(tmp_path: Path):
    writer = CaseWriter(tmp_path / "stick")
    with pytest.raises(InputError, match="stick"):
        writer.keep(frozen(), PRESS)


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path, monkeypatch):
    def full(file, pixels):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.cases.writer.write_png", full)
    with pytest.raises(InputError, match="No space left on device; free some space"):
        CaseWriter(tmp_path).keep(frozen(), PRESS)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_and_what_was_there_stays(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        writer = CaseWriter(disk, reserve_bytes=0)
        writer._check_room = lambda needed: None  # type: ignore[method-assign]
        kept = []
        with pytest.raises(InputError, match="No space left on device"):
            for number in range(20):
                kept.append(writer.keep(frozen(number), PRESS))
        assert kept and [path.name for path in list_cases(disk)] == sorted(kept)
        assert all(verify_case(path) == [] for path in list_cases(disk))
        assert len(list(disk.iterdir())) == len(kept)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_only_what_is_surely_ours_is_tidied_up(tmp_path: Path):
    unfinished = tmp_path / ".CCC-CCC.partial"
    unfinished.mkdir()
    (unfinished / "still.png").write_bytes(b"x")
    others = [tmp_path / ".hidden.partial", tmp_path / "CCC-CCC.partial", tmp_path / "notes"]
    for path in others:
        path.mkdir()
    (tmp_path / ".DDD-DDD.partial").symlink_to(tmp_path / "notes")
    CaseWriter(tmp_path).open()
    assert not unfinished.exists()
    assert all(path.is_dir() for path in others) and (tmp_path / ".DDD-DDD.partial").is_symlink()


_WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from edge.cases.writer import CaseWriter
from cases_for_tests import PRESS, frozen
writer = CaseWriter(Path(sys.argv[1]))
writer.open()
print("ready", flush=True)
held = frozen()
while True:
    print(writer.keep(held, PRESS), flush=True)
"""


def test_killed_at_any_moment_there_are_whole_cases_only(tmp_path: Path):
    rng = np.random.default_rng(1)
    told: list[str] = []
    roots = [
        str(Path(__file__).parents[3]),
        str(Path(__file__).parents[2]),
        str(Path(__file__).parent),
    ]
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), *roots],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(float(rng.uniform(0.02, 0.4)))
        child.send_signal(signal.SIGKILL)
        told += child.communicate()[0].split()
    cases = {path.name for path in list_cases(tmp_path)}
    assert set(told) <= cases and len(cases) <= len(told) + 8
    assert all(verify_case(tmp_path / name) == [] for name in cases)
    CaseWriter(tmp_path).open()
    assert {path.name for path in tmp_path.iterdir()} == cases
