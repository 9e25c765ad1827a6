"""Cases and recordings under power cuts: written in one life of a guest, checked in the next.

python3 guest_power.py write FOLDER [WIDTHxHEIGHT [CODEC]]   until the power is cut; says what is
                                            finished
python3 guest_power.py check FOLDER NAMES   every name in the file NAMES must be there, and open

Beside them it writes files that nobody flushes ("loose"): a disk that loses none of those after a
cut does not lose anything, and proves nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as copied into the guest
sys.path.insert(0, str(Path(__file__).parents[2]))

from cases_for_tests import PRESS, frozen
from shots_for_tests import shot

from edge.cases.listing import list_cases, verify_case
from edge.cases.writer import CaseWriter
from edge.recording.segment import list_segments, read_frames
from edge.recording.sink import RecordSink

LOOSE = b"never flushed" * 100


def write(folder: Path, size_wh: tuple[int, int], codec: str) -> None:
    """Record in short segments, and save cases beside it."""
    sink = RecordSink(folder / "recordings", codec=codec, reserve_bytes=0, segment_s=1.0)
    sink.open()
    writer = CaseWriter(folder / "cases", reserve_bytes=0)
    writer.open()
    threading.Thread(target=_cases, args=(writer, size_wh), daemon=True).start()
    (folder / "loose").mkdir(exist_ok=True)
    said = {path.name for path in list_segments(folder / "recordings")}
    shots = [shot(number, size_wh) for number in range(10)]
    number = 0
    while True:
        sink.write(shots[number % len(shots)])
        number += 1
        for path in list_segments(folder / "recordings"):
            if path.name not in said:
                said.add(path.name)
                print("done", path.name, flush=True)
        name = f"loose-{time.time_ns()}"
        (folder / "loose" / name).write_bytes(LOOSE)
        print("done", name, flush=True)
        time.sleep(0.02)


def _cases(writer: CaseWriter, size_wh: tuple[int, int]) -> None:
    held = frozen(1, size_wh)
    while True:
        print("done", writer.keep(held, PRESS), flush=True)


def check(folder: Path, names: list[str]) -> int:
    """0 where everything that was finished is there and whole, and everything else opens."""
    RecordSink(folder / "recordings", reserve_bytes=0).open()
    CaseWriter(folder / "cases", reserve_bytes=0).open()
    segments = {path.name: path for path in list_segments(folder / "recordings")}
    cases = {path.name: path for path in list_cases(folder / "cases")}
    loose = [name for name in names if name.startswith("loose-")]
    names = [name for name in names if name not in loose]
    lost = sum(1 for name in loose if not _is_whole(folder / "loose" / name))
    missing = [name for name in names if name not in segments and name not in cases]
    broken = [name for name, path in cases.items() if verify_case(path)]
    pictures = {name: sum(1 for _ in read_frames(path)) for name, path in segments.items()}
    broken += [name for name in names if name in pictures and not pictures[name]]
    left = [p.name for p in folder.rglob("*") if p.name.endswith((".partial", ".open", ".going"))]
    print(
        f"{len(names)} finished, {len(cases)} cases, {len(segments)} segments with "
        f"{sum(pictures.values())} pictures; missing {missing}, broken {broken}, left {left}; "
        f"{lost} of {len(loose)} loose files lost"
    )
    return int(bool(missing or broken or left))


def _is_whole(path: Path) -> bool:
    return path.exists() and path.read_bytes() == LOOSE


if __name__ == "__main__":
    if sys.argv[1] == "write":
        width, _, height = (sys.argv[3:] or ["640x480"])[0].partition("x")
        write(Path(sys.argv[2]), (int(width), int(height)), (sys.argv[4:] or ["auto"])[0])
    sys.exit(check(Path(sys.argv[2]), Path(sys.argv[3]).read_text().split()))
