"""What a service keeps: prints JSON; 1 where something is broken.

python3 guest_state.py FOLDER [LOOKED]    what the file LOOKED names was opened before and is not
                                         again; it is written anew
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as copied into the guest

from edge.cases.listing import list_cases, verify_case
from edge.recording.segment import list_segments, read_frames


def main(folder: Path, looked: Path | None) -> int:
    """Look at every case and every closed segment."""
    cases, segments = list_cases(folder / "cases"), list_segments(folder / "recordings")
    names = [path.name for path in (*cases, *segments)]
    before = set(looked.read_text().split()) if looked is not None and looked.exists() else set()
    broken = [path.name for path in cases if path.name not in before and verify_case(path)]
    pictures = 0
    for path in segments:
        if path.name in before:
            continue
        count = sum(1 for _ in read_frames(path))
        said = json.loads((path / "segment.json").read_text())["frames"]
        pictures += count
        if count != said:
            broken.append(f"{path.name}: {count} of {said}")
    if looked is not None and not broken:
        looked.write_text("\n".join(names))
    # One segment is being written; a case may be, too.
    left = [p.name for p in folder.rglob("*") if p.name.endswith((".partial", ".going"))]
    left = [] if len(left) <= 1 else left
    print(json.dumps({"names": names, "pictures": pictures, "broken": broken, "left": left}))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))
