"""``dermedge run``: the camera loop."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from edge.config import Config, load_config
from edge.state_folder import state_folder
from edge.stop import Stop, stop_on_signals

if TYPE_CHECKING:
    from edge.cases.keeper import CaseKeeper
    from edge.guards.colour_profile import ColourProfile
    from edge.service.hosting import Hosting
    from edge.status import Status
    from edge.telemetry.telemetry import Telemetry
    from edge.trust import Trust
    from models.manifest import Pack

LOAD_WITHIN_S = 600.0
"""Preparing networks for the first time takes minutes on a slow board."""

_log = logging.getLogger("dermedge.run")


@click.command("run")
@click.option(
    "--config",
    "config_path",
    # One that cannot be read is told by load_config: a service must show it, not end.
    type=click.Path(path_type=Path, readable=False),
    help="TOML file; flags override it.",
)
@click.option(
    "--check-config", is_flag=True, help="Check the configuration and the pack, say OK, and end."
)
@click.option(
    "--source",
    help="v4l2:CAMERA?size=WxH&fps=N (a USB camera; empty: the only one), argus:NUMBER (a Jetson's "
    "camera port), picamera2:CAMERA (a Raspberry Pi's), "
    "synthetic:SEED?size=WxH&fps=N&regions=N (the built-in phantom camera, the default), "
    "or the path of a picture, a folder or a video.",
)
@click.option(
    "--paced/--unpaced",
    default=None,
    help="Show recordings at their own pace, or as fast as they are analyzed (the default).",
)
@click.option(
    "--sink",
    "sinks",
    multiple=True,
    help="window (window:?screen=WxH for another screen than the display says), screen:CONNECTOR "
    "(a whole display without a desktop), web:HOST:PORT (a page for a browser), headless, "
    "video:PATH.webm, png:DIR?every=N, jsonl:PATH or record:DIR (continuous, bounded by the room "
    "on the disk; options what=clean|drawn, codec=auto|h264|mjpeg); may be repeated. video and png "
    "hold what a window beside them shows. Default: a window where there is a display.",
)
@click.option(
    "--view",
    help="auto (the default), paired (each picture with its own result) or live (the newest "
    "picture with the newest result).",
)
@click.option(
    "--colour-profile",
    help="hold, or the path of a colour profile: what is held of the camera's colours.",
)
@click.option(
    "--tracking/--no-tracking",
    default=None,
    help="Follow regions from picture to picture (the default), or judge each by itself.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    help="A button: evdev:DEVICE?key=KEY or gpio:CHIP/LINE; may be repeated.",
)
@click.option("--cases", help="Folder in which frozen stills are kept, each as a case.")
@click.option("--overwrite", is_flag=True, default=None, help="Replace files of an earlier run.")
@click.option(
    "--service",
    is_flag=True,
    help="Run under a service manager: never end for what can be mended, show the reason and look "
    "again when a file changes.",
)
@click.option("--seconds", type=float, help="Stop after this long.")
@click.option("--pack", help="Name or folder of the model pack.")
@click.option("--backend", help="auto, onnx, openvino or tensorrt.")
@click.option("--threads", type=int, help="CPU threads of the networks; 0 takes the default.")
@click.pass_context
def run(
    context: click.Context,
    config_path: Path | None,
    check_config: bool,
    source: str | None,
    paced: bool | None,
    sinks: tuple[str, ...],
    view: str | None,
    colour_profile: str | None,
    tracking: bool | None,
    inputs: tuple[str, ...],
    cases: str | None,
    overwrite: bool | None,
    service: bool,
    seconds: float | None,
    pack: str | None,
    backend: str | None,
    threads: int | None,
) -> int:
    """Run the camera loop until the source ends, --seconds are over, the window is closed, or
    Ctrl-C.

    Every analyzed frame goes to every sink; a health line is logged to stderr now and then, and a
    summary is printed at the end. Research prototype. Not for diagnosis.
    """
    flags: dict[str, dict[str, Any]] = {
        "source": {"uri": source, "paced": paced},
        "model": {"pack": pack, "backend": backend, "threads": threads},
        "output": {"sinks": sinks or None, "overwrite": overwrite},
        "view": {"mode": view},
        "colour": {"profile": colour_profile},
        "tracking": {"on": tracking},
        "controls": {"inputs": inputs or None},
        "cases": {"folder": cases},
        "loop": {"seconds": seconds},
    }
    debug = (context.obj or {}).get("debug", False)
    threads_before = set(threading.enumerate())
    if service and not check_config:
        code = _serve(config_path, flags, debug=debug)
        return _ended(code, threads_before)
    config = load_config(config_path, flags)
    if check_config:
        checked = _checked_pack(config)
        for model in (checked.segmenter, checked.classifier):
            model.read_onnx()  # as a run would: the files are there, and are those of the manifest
        click.echo(f"OK: {config_path or 'the defaults and flags'}")
        return 0
    _log_to_stderr(debug=debug)
    return _ended(_run_alone(config), threads_before)


def _ended(code: int, threads_before: set[threading.Thread]) -> int:
    if any(thread.daemon for thread in set(threading.enumerate()) - threads_before):
        _leave_at_once(code)
    return code


def _checked_pack(config: Config) -> Pack:
    """The pack, where it and the backend are there; no network is loaded.

    Raises:
        RequestError: There is no such pack, or no such backend here.
        ManifestError: The pack says something it may not say.
    """
    # Imported here: a wrong flag is told before anything is loaded.
    from models.manifest import find_pack

    pack = find_pack(config.model.pack)

    from edge.compose import check_backend

    check_backend(config.model.backend)
    return pack


def _serve(config_path: Path | None, flags: dict[str, dict[str, Any]], *, debug: bool) -> int:
    """Run as a service; see :mod:`edge.service.service`."""
    from edge.service.journal import log_to_journal
    from edge.service.service import serve

    log_to_journal(debug=debug)
    faulthandler.enable()
    return serve(lambda: load_config(config_path, flags), config_path, _run)


def _run_alone(config: Config) -> int:
    """One run in a terminal, with its figures."""
    from edge.telemetry.telemetry import Telemetry

    with Telemetry() as telemetry:
        telemetry.follow(config.telemetry)
        return _run(config, telemetry)


def _run(
    config: Config,
    telemetry: Telemetry,
    hosting: Hosting | None = None,
    service_stop: Stop | None = None,
) -> int:
    """Compose everything, run the loop, and give the exit code: the highest one wins."""
    pack = _checked_pack(config)

    # Imported here, and what fails quickly first: a wrong name is told before OpenCV is loaded.
    from edge.controls import Controls
    from edge.free_memory import give_back
    from edge.guards.colour_profile import load_profile
    from edge.sinks.uri import outputs_from_uris
    from edge.sources.uri import path_of, source_from_uri
    from edge.status import Status

    profile = load_profile(config.colour.profile) if config.colour.profile else None
    source = source_from_uri(config.source.uri, paced=config.source.paced, profile=profile)
    controls, stop, status = Controls(), Stop(service_stop), Status()
    outputs = outputs_from_uris(
        config.output.sinks,
        overwrite=config.output.overwrite,
        lossless=not source.is_live,
        controls=controls,
        stop=stop,
        status=status,
        web_token=config.web.token,
        record_reserve_bytes=config.record.reserve_mb << 20,
        source_path=path_of(config.source.uri),
    )

    cases = _case_keeper(config, pack.name, status)
    if cases is not None:
        cases.open(may_wait=hosting is not None)
        status.cases_away = cases.away

    from edge.compose import open_analyzer, why_no_tensorrt
    from edge.health import Health
    from edge.inputs.uri import buttons_from_uris
    from edge.loop import Parts, run_loop
    from edge.recovery import RecoveryPlan
    from edge.tracking.followed import followed
    from edge.tracking.tracker import Tracker

    health = Health(config.loop.health_every_s, telemetry.meter)
    # Until the engines are open there is nothing to finish: a stop signal ends the program there.
    with contextlib.ExitStack() as stack:
        loading = hosting.loading("loading the models", LOAD_WITHIN_S, stop) if hosting else None
        with loading or contextlib.nullcontext():
            analyzer = stack.enter_context(
                open_analyzer(pack, config.model.backend, config.model.threads or None)
            )
        give_back()  # what loading took
        if hosting is not None:
            is_there = config.model.backend == "auto" and not why_no_tensorrt()
            hosting.lacks_gpu = is_there and analyzer.backend != "tensorrt"
        else:  # a service handles them itself
            stack.enter_context(stop_on_signals(stop))
        for button in buttons_from_uris(config.controls.inputs, controls, stop):
            stack.enter_context(button)
        how_to_stop = "" if hosting else "; Ctrl-C stops"
        _log.info("running %s with the pack %s%s", source.name, pack.name, how_to_stop)
        if config.loop.seconds > 0.0:
            stop.request_after(config.loop.seconds)
        parts = Parts(
            sinks=outputs.sinks,
            screens=outputs.screens,
            # Without a screen a button still makes cases.
            screens_must_open=outputs.screens_must_open
            and not (hosting or config.cases.folder or config.controls.inputs),
            view=config.view.mode,
            validated=pack.classifier.manifest.validated,
            trust=_trust(config, profile, is_live=source.is_live),
            controls=controls,
            keep_case=cases.keep if cases else None,
            status=status,
            give_up_after_s=config.source.give_up_after_s,
            recovery=RecoveryPlan(
                requests=Path(config.recovery.requests) if config.recovery.requests else None,
                has_daemon=config.source.uri.startswith("argus:"),
                reboot_after_s=config.recovery.reboot_after_s,
                state=state_folder() if config.recovery.requests else None,
            ),
        )
        if hosting is not None:
            parts.may_wait = True
            parts.watch = lambda probes: hosting.started(probes, status, stop)
            parts.notices = lambda: [*(cases.notices() if cases else ()), *hosting.notices()]
        telemetry.meter.runs(status)
        try:
            summary = run_loop(
                source,
                followed(
                    analyzer, Tracker(pack.classifier.manifest) if config.tracking.on else None
                ),
                parts,
                stop=stop,
                health=health,
            )
        finally:
            telemetry.meter.ended("the run is over")
    click.echo(summary, err=_are_results_on_stdout(config))
    reason = stop.reason
    return max(health.worst_exit_code, reason.exit_code if reason else 0)


def _case_keeper(config: Config, pack_name: str, status: Status) -> CaseKeeper | None:
    """What saves frozen stills, where a folder is configured; not yet open."""
    if not config.cases.folder:
        return None
    from edge.board.state import read_board
    from edge.cases.keeper import CaseKeeper
    from edge.cases.writer import CaseWriter

    settings = config.model_dump(mode="json", exclude={"web": {"token"}})
    writer = CaseWriter(
        Path(config.cases.folder),
        lambda: {
            "pack": pack_name,
            "configuration": settings,
            "device": {
                "board": read_board().to_json_dict(),
                "figures": status.snapshot().health,
            },
        },
        reserve_bytes=config.cases.reserve_mb << 20,
    )
    return CaseKeeper(writer, Path(config.cases.folder))


def _trust(config: Config, profile: ColourProfile | None, *, is_live: bool) -> Trust:
    """What watches over the picture: guards of a camera; of a recording nothing is live."""
    from edge.trust import NoTrust

    if not is_live:
        return NoTrust()
    from edge.guarded import Guards

    folder = Path(config.colour.folder) if config.colour.folder else state_folder()
    return Guards(profile, folder, has_noise=config.source.has_noise)


def _are_results_on_stdout(config: Config) -> bool:
    """True where a sink writes what stdout is, such as ``jsonl:/dev/stdout | jq``."""
    from edge.sinks.uri import parse_sink

    with contextlib.suppress(OSError, ValueError):  # a stdout that is not a file of the system
        stdout = os.fstat(sys.stdout.fileno())
        for place in (parse_sink(text).place for text in config.output.sinks):
            if place and os.path.exists(place) and os.path.samestat(os.stat(place), stdout):
                return True
    return False


def _leave_at_once(code: int) -> NoReturn:
    """End the process without taking it apart.

    A thread that was left behind in a driver still uses libraries that the ordinary end would
    unload under it: the process would abort, and its exit code be lost. All files are closed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _log_to_stderr(*, debug: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
