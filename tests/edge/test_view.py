from __future__ import annotations

import numpy as np
from overlay_for_tests import make_result

from edge.frame import Frame
from edge.health import Health
from edge.overlay.layout import Room
from edge.overlay.overlay import Overlay
from edge.result import Stage
from edge.view import PairedView

SIZE_WH = (640, 480)


def test_drawing_and_presenting_the_last_frame_are_among_the_stages() -> None:
    """A latency that leaves them out looks better than what people see."""
    health, overlay = Health(), Overlay()
    view = PairedView(overlay, health.newest_loop_ms)
    frame = Frame(np.full((480, 640, 3), 150, np.uint8), 0, "test:0", None, None, "file")
    result = make_result(SIZE_WH, ())
    shown = []
    for _ in range(2):
        view(frame, result)
        assert overlay.drawn is not None
        shown.append(dict(pair for row, _ in overlay.drawn.rows for pair in row.pairs))
        health.frame_done(result, draw_ms=2.5, present_ms=8.2, age_ms=None)
    assert "draw" not in shown[0] and "present" not in shown[0]
    assert (shown[1]["draw"], shown[1]["present"]) == ("2.5", "8.2")
    assert health.newest_loop_ms() == {Stage.DRAW: 2.5, Stage.PRESENT: 8.2}


def test_the_picture_is_drawn_for_the_room_that_its_sink_found() -> None:
    """Which is not known when the view is made: the window is not open yet."""
    rooms: list[Room] = []
    view = PairedView(Overlay(), room=lambda: rooms[-1] if rooms else None)
    frame = Frame(np.full((480, 640, 3), 150, np.uint8), 0, "test:0", None, None, "file")
    assert view(frame, make_result(SIZE_WH, ())).shape != (480, 800, 3)
    rooms.append(Room((800, 480), filled=True))
    assert view(frame, make_result(SIZE_WH, ())).shape == (480, 800, 3)
