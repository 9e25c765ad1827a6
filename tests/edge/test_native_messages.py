"""What C libraries write to stderr: dropped, or caught, and never at the cost of other lines."""

from __future__ import annotations

import os
import re
import threading

from edge.native_messages import native_messages_caught, native_messages_dropped

WANTED = re.compile(rb"Corrupt data: .*")


def test_dropped(capfd):
    with native_messages_dropped():
        os.write(2, b"a remark\n")
    os.write(2, b"a line of ours\n")
    assert capfd.readouterr().err == "a line of ours\n"


def test_caught_and_the_rest_passed_on(capfd):
    with native_messages_caught(WANTED) as caught:
        os.write(2, b"Corrupt data: 7\nanother thread's line\nCorrupt data: 8\nno end")
        assert caught == []
    assert caught == ["Corrupt data: 7", "Corrupt data: 8"]
    assert capfd.readouterr().err == "another thread's line\nno end"


def test_a_library_that_never_stops_does_not_stop_us(capfd):
    with native_messages_caught(WANTED) as caught:
        for _ in range(100):
            try:
                os.write(2, b"Corrupt data: all of it\n" * 100)
            except BlockingIOError:
                break
    assert len(caught) > 100


def test_threads_leave_stderr_as_it_was(capfd):
    def work() -> None:
        for _ in range(200):
            with native_messages_caught(WANTED):
                pass
            with native_messages_dropped():
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"
