"""``dermedge run --service``: one run after another, and what is shown between them.

A bad configuration, pack, engine, camera or display never ends the process: the reason is shown
and looked at again when a file changes, or after a while. What nobody foresaw, and a thread that
cannot be got rid of, do end it: the service manager starts a new one, later each time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge.config import Config, told_telemetry
from edge.controls import Controls
from edge.engine_folder import chosen_engines, engines_root
from edge.engines.base import EngineFailedError
from edge.errors import DermedgeError, InputError
from edge.free_memory import give_back
from edge.service.changes import signature
from edge.service.heart import NEXT_WITHIN_S, Heart
from edge.service.hosting import Hosting
from edge.service.last_end import LastEnd
from edge.service.manager import Manager
from edge.service.remembered import remember, screens_told
from edge.service.starts import count_start, uncount_start
from edge.service.trouble import Trouble, screens_of
from edge.state_folder import state_folder
from edge.stop import Stop, stop_on_signals
from edge.telemetry.telemetry import THREADS, Telemetry

LOOK_AGAIN_S = 30.0
"""What keeps it from running is looked at again after this long, or when a file changes."""

UNFORESEEN_EXIT = 5

_log = logging.getLogger("dermedge.service")

Run = Callable[[Config, Telemetry, Hosting, Stop], int]
"""One run of the camera loop; returns its exit code, raises what keeps it from starting."""


def serve(load: Callable[[], Config], config_path: Path | None, run: Run) -> int:
    """Serve until asked to stop.

    Args:
        load: Reads the configuration anew.
        config_path: Where it is read from.
        run: Runs the camera loop once.

    Returns:
        The exit code: 0 where somebody asked to stop.
    """
    state = _state()
    runtime = _runtime()
    manager, last_end, stop = Manager(), LastEnd(state, runtime), Stop()
    before = last_end.begin()
    if before is not None:
        _log.warning("the run before did not end in order: %s", before.words)
    with (
        stop_on_signals(stop),
        Telemetry() as telemetry,
        Heart(manager, last_end.failed, last_end.goes_on) as heart,
    ):
        heart.expect("beginning", NEXT_WITHIN_S)
        _wait_for_turn(manager, heart, stop, runtime)
        hosting = Hosting(
            manager, heart, before=before, leave=lambda: _leave(manager, last_end, runtime)
        )
        host = _Host(telemetry, hosting, stop, state, config_path)
        code = 0
        while not stop.is_set and code == 0:
            code = host.turn(load, run)
        manager.stopping()
        manager.status("ends")
    if code == 0:
        _end_in_order(last_end, runtime)
    else:
        last_end.failed(host.words)
    return code


class _Host:
    """Runs, shows what is wrong, and runs again."""

    def __init__(
        self,
        telemetry: Telemetry,
        hosting: Hosting,
        stop: Stop,
        state: Path,
        config_path: Path | None,
    ) -> None:
        self.words = ""
        self._telemetry = telemetry
        self._hosting = hosting
        hosting.depends_on = self._files
        self._stop = stop
        self._state = state
        self._config_path = config_path
        self._config = Config()

    def turn(self, load: Callable[[], Config], run: Run) -> int:
        """One run, and what is to be shown after it; an exit code other than 0 ends the process."""
        try:
            return self._turn(load, run)
        except Exception as error:  # nobody foresaw it: a new process may do better
            _log.exception("the run broke")
            self.words = f"{type(error).__name__}: {error}"
            return UNFORESEEN_EXIT

    def _turn(self, load: Callable[[], Config], run: Run) -> int:
        seen = self._seen()
        threads = set(threading.enumerate())
        try:
            config_file = self._config_file()
            self._config = self._load(load)
            self._hosting.begins(_engines_of(self._config), (config_file, self._pack()))
            remember(self._state, self._config.output.sinks)
            code = run(self._config, self._telemetry, self._hosting, self._stop)
            if self._config.loop.seconds > 0.0 and code == 0:
                self._stop.request("the time given")
            reason: DermedgeError = InputError(
                "a source that goes on",
                got=f"its end (exit code {code})",
                next_step=f"it is started again within {LOOK_AGAIN_S:g} s",
            )
        except DermedgeError as error:
            reason = error
            if isinstance(error, EngineFailedError) and self._hosting.has_run:
                _log.error("the engine failed in the middle of a run: %s", error)
                self.words = f"the engine failed: {error.got}"
                return UNFORESEEN_EXIT
        finally:
            if self._stop.is_set:
                self._hosting.manager.stopping()
            self._hosting.ended()
            give_back()
        if self._stop.is_set:
            return 0
        left = [
            thread.name
            for thread in set(threading.enumerate()) - threads
            if thread.is_alive() and not thread.name.startswith(THREADS)
        ]
        if left:
            self.words = f"threads that hang were left behind: {', '.join(sorted(left))}"
            _log.error("%s", self.words)
            return UNFORESEEN_EXIT
        if self._seen() == seen:  # else somebody has already mended something
            self._show(reason, seen)
        return 0

    def _load(self, load: Callable[[], Config]) -> Config:
        """The configuration; whoever watches is told even where it is wrong."""
        try:
            config = load()
        except DermedgeError:
            if self._config_path is not None:
                self._telemetry.follow(told_telemetry(self._config_path))
            raise
        self._telemetry.follow(config.telemetry)
        return config

    def _show(self, error: DermedgeError, seen: object) -> None:
        _log.error("not running: %s", error)
        self._telemetry.meter.ended(str(error))
        manager = self._hosting.manager
        manager.ready()
        manager.status(f"not running: {error}")
        trouble = Trouble(error, self._hosting.notices)
        self._hosting.heart.watch([trouble.deadline])
        self._hosting.heart.rest()
        until_s = time.monotonic() + LOOK_AGAIN_S
        sinks = self._config.output.sinks or screens_told(self._config_path, self._state)
        screens = screens_of(sinks, Controls(), self._stop, self._config.web.token)
        trouble.show(
            screens,
            lambda: time.monotonic() >= until_s or self._seen() != seen,
            self._stop,
        )
        self._hosting.heart.expect("going from one run to the next", NEXT_WITHIN_S)

    def _seen(self) -> object:
        """Of what is a reason to look again once it differs."""
        engines: object = None
        with contextlib.suppress(DermedgeError, OSError):  # no home: the run says so
            engines = chosen_engines(engines_root())
        return self._files(), engines

    def _files(self) -> object:
        """Of the configuration and the pack, as they lie on the disk."""
        return self._config_file(), self._pack()

    def _config_file(self) -> object:
        return signature([] if self._config_path is None else [self._config_path])

    def _pack(self) -> object:
        pack = Path(self._config.model.pack)
        with contextlib.suppress(OSError):  # not for this account, or a dying disk: the run says so
            if pack.is_dir():
                return signature([pack])
        return None


def _end_in_order(last_end: LastEnd, runtime: Path | None) -> None:
    last_end.ended()
    if runtime is not None:
        uncount_start(runtime)


def _leave(manager: Manager, last_end: LastEnd, runtime: Path | None) -> None:
    """End in order without waiting for what the main thread does: nothing is lost by it."""
    manager.stopping()
    _end_in_order(last_end, runtime)
    sys.stderr.flush()
    os._exit(0)


def _engines_of(config: Config) -> Path | None:
    """The folder of the engines, where one would be used."""
    if config.model.backend not in ("auto", "tensorrt"):
        return None
    with contextlib.suppress(DermedgeError):
        return engines_root()
    return None


def _wait_for_turn(manager: Manager, heart: Heart, stop: Stop, runtime: Path | None) -> None:
    """Let a process that ends again and again wait before it loads anything."""
    if runtime is None:
        return
    starts, wait_s = count_start(runtime)
    if wait_s <= 0.0:
        return
    words = f"start {starts} within ten minutes: waits {wait_s:g} s"
    _log.warning("%s", words)
    with heart.step(words, wait_s + 10.0):
        stop.wait(wait_s)


def _runtime() -> Path | None:
    """systemd's ``RUNTIME_DIRECTORY``."""
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else None


def _state() -> Path:
    """systemd's ``STATE_DIRECTORY``, else the user's state folder."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else state_folder()
