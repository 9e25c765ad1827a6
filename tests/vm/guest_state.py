"""What a service keeps: python3 guest_state.py FOLDER prints JSON; 1 where something is broken."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # as copied into the guest

from edge.cases.listing import list_cases, verify_case
from edge.recording.segment import list_segments, read_frames


def main(folder: Path) -> int:
    """Look at every case and every closed segment."""
    cases = list_cases(folder / "cases")
    broken = [path.name for path in cases if verify_case(path)]
    pictures = 0
    segments = list_segments(folder / "recordings")
    for path in segments:
        count = sum(1 for _ in read_frames(path))
        said = json.loads((path / "segment.json").read_text())["frames"]
        pictures += count
        if count != said:
            broken.append(f"{path.name}: {count} of {said}")
    # One segment is being written; a case may be, too.
    left = [p.name for p in folder.rglob("*") if p.name.endswith((".partial", ".going"))]
    left = [] if len(left) <= 1 else left
    names = [path.name for path in (*cases, *segments)]
    print(json.dumps({"names": names, "pictures": pictures, "broken": broken, "left": left}))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
