"""What is done to a device: install or upgrade, go back, take away. Each may be repeated."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from edge.appliance import versions
from edge.appliance.board import board_of, extras_of
from edge.appliance.files import (
    BOARDS,
    CAMERA_DAEMON,
    ENABLED,
    Choices,
    drop_in_folders,
    guard_config,
    is_config_changed,
    is_config_hidden,
    place,
    place_config,
    placed,
    unit_names,
)
from edge.appliance.layout import Layout
from edge.appliance.package import Package
from edge.appliance.services import Services
from edge.appliance.system import run, works, write
from edge.errors import InputError, RequestError
from edge.pages import page
from models.whole_file import write_whole

COMMANDS = ("dermedge", "dermedge-convert", "dermedge-models")
RECORDED = ("cases", "recordings")
"""Folders of the state that hold what the user recorded: an uninstallation leaves them."""

OWN = (
    *("engines", "telemetry", "screens.json", "reboot-asked"),
    *("running.json", "failure.json", "last-failure.json", "card-*.json", ".*"),
)
"""What the program itself keeps there, and an uninstallation takes away; hidden names are those of
libraries that write to their account's home."""

Say = Callable[[str], None]


def install(
    layout: Layout,
    package: Callable[[Path], Package],
    wishes: Mapping[str, object],
    say: Say,
) -> None:
    """From a package to running units; an installation that is there is upgraded.

    Until the last step the version in use goes on. Configuration, cases, recordings and engines
    are never touched.

    Args:
        layout: Where to.
        package: Given an empty folder, what is to be installed.
        wishes: ``board``, ``kiosk``, ``extras`` as the user gave them; ``None`` keeps what was
            chosen before.
        say: Told each step.

    Raises:
        RequestError: It is not to be done by this user.
        InputError: Something failed; what was in use still is.
    """
    with _alone(layout), tempfile.TemporaryDirectory(prefix="dermedge-install-") as build:
        found = package(Path(build))
        choices = _choices(layout, wishes, found)
        say(f"board: {choices.board}; extras: {', '.join(choices.extras) or 'none'}")
        version, is_new = versions.make(layout, found, choices.extras)
        say(f"{'made' if is_new else 'there already'}: {version}")
        _try_config(layout, version)
        _choose(layout, choices, is_other_version=version != versions.in_use(layout))
        _take_into_use(layout, version, choices, say)
        if gone := versions.prune(layout):
            say(f"taken away: {', '.join(gone)}")


def rollback(layout: Layout, say: Say) -> None:
    """Back to the version before and to what was chosen with it; once more leads forth again.

    Raises:
        RequestError: There is none.
        InputError: Something failed.
    """
    with _alone(layout):
        version = versions.back(layout)
        say(f"going back to: {version.name}")
        try:
            _try_config(layout, version)
        except InputError as error:  # going back must work; the service shows the reason
            say(f"NOTE: {error.got}")
        _choose_as_before(layout)
        _take_into_use(layout, version, _choices(layout, {}), say)


def uninstall(layout: Layout, say: Say) -> None:
    """Stop everything and leave nothing but what the user recorded.

    A changed configuration is kept beside the recordings.

    Raises:
        InputError: Something cannot be taken away.
    """
    if not layout.opt.exists() and not placed(layout):
        say("not installed: nothing to take away")
        return
    with _alone(layout):
        services = Services(layout)
        units = unit_names(layout)
        services.stop_and_disable(units)
        version = versions.in_use(layout)
        _keep_config(layout, version, say)
        for path in placed(layout):
            path.unlink()
        folders = [*drop_in_folders(layout), layout.root / "etc/sysusers.d"]
        for folder in folders:  # an administrator's own drop-ins stay
            with contextlib.suppress(OSError):
                folder.rmdir()
        for name in COMMANDS:
            link = layout.commands / name
            if _is_ours(layout, link):
                link.unlink()
        services.forget(units)
        shutil.rmtree(layout.cache, ignore_errors=True)
        kept = _empty_state(layout)
        _remove_account(layout)
        shutil.rmtree(layout.opt, ignore_errors=True)
    with contextlib.suppress(OSError):
        layout.opt.rmdir()
    say("taken away")
    if kept:
        say(f"left, because it is yours, now owned by root: {layout.state}: {kept}")
    for folder in (*drop_in_folders(layout), layout.config.parent):
        if folder.is_dir():
            names = ", ".join(sorted(path.name for path in folder.iterdir()))
            say(f"left, because it is yours: {folder}: {names}")


def build(layout: Layout, say: Say) -> None:
    """Build the engines that this board lacks, also where three attempts have failed.

    Raises:
        RequestError: It is not installed, or not to be done by this user.
        InputError: The build failed.
    """
    if versions.in_use(layout) is None:
        raise RequestError(
            "an installed service", got="none", next_step=f"install it: {page('service.md')}"
        )
    try:
        layout.attempts.unlink(missing_ok=True)
    except OSError as error:
        raise RequestError(
            f"to write into {layout.state}",
            got=error.strerror or str(error),
            next_step="run it as root (sudo)",
        ) from error
    say("building, which takes minutes; how far it is: journalctl -fu dermedge-convert")
    Services(layout).build()
    say("done: the camera loop takes what was built by itself")


def status(layout: Layout, say: Say) -> bool:
    """Say which version is in use, which one is before it, and how the services stand.

    Returns:
        Whether one is installed.
    """
    now, earlier = versions.in_use(layout), versions.before(layout)
    if now is None:
        say("not installed")
        return False
    say(f"in use: {now.name}")
    say(f"before: {earlier.name if earlier else 'none'}")
    if layout.is_this_system:
        for unit in ENABLED:
            say(Services(layout).state_of(unit))
    return True


# --- the steps ----------------------------------------------------------------------------------


def _take_into_use(layout: Layout, version: Path, choices: Choices, say: Say) -> None:
    source = versions.units_of(version)
    services = Services(layout)
    changed = place(layout, source, choices)
    is_config_new = place_config(layout, source)
    if is_config_new:
        changed.append(layout.config)
    for path in changed:
        say(f"written: {path}" if path.exists() else f"removed: {path}")
    versions.switch(layout, version)
    _link_commands(layout, say)
    _make_account(layout)
    group_id = _groups(layout).get("dermedge", (None, ""))[0]
    if is_config_new:
        guard_config(layout, group_id)
        if (layout.state / layout.config.name).exists():
            say(f"NOTE: {layout.state / layout.config.name} is the configuration of before")
    elif is_config_hidden(layout, group_id):  # as an editor leaves it that replaces files
        guard_config(layout, group_id)
        say(f"for the service to read: {layout.config}")
    _give_back(layout)
    services.reload()
    there = [name for name in unit_names(layout) if (layout.units / name).exists()]
    services.enable([name for name in ENABLED if name in there])
    if CAMERA_DAEMON in there:
        services.enable((CAMERA_DAEMON,), wanted=choices.board == "jetson")
    say(f"in use: {version.name}")
    services.restart(say)


def _try_config(layout: Layout, version: Path) -> None:
    """Let a version read the configuration that is there, before it is taken into use."""
    if not layout.config.exists():
        return
    command = [str(version / "bin/dermedge"), "run", "--check-config"]
    try:
        run([*command, "--config", str(layout.config)], purpose="read the configuration")
    except InputError as error:
        raise InputError(
            f"{version.name} to accept {layout.config}; the version in use goes on",
            got=error.got,
            next_step="mend the configuration and install again",
        ) from error


def _choices(
    layout: Layout, wishes: Mapping[str, object], package: Package | None = None
) -> Choices:
    """What the user wishes now, else what was chosen before, else what fits the board."""
    try:
        known = json.loads(layout.choices.read_bytes())
    except (OSError, ValueError):
        known = {}
    chosen = {**known, **{name: wish for name, wish in wishes.items() if wish is not None}}
    board = chosen.get("board") or board_of(layout.root)
    if board not in BOARDS:
        raise RequestError(
            f"one of the boards {', '.join(BOARDS)}", got=repr(board), next_step="name one of them"
        )
    extras = chosen.get("extras")
    if package is not None and extras is not None:
        package.check_extras(extras)
    return Choices(
        board=board,
        kiosk=bool(chosen.get("kiosk", False)),
        extras=tuple(extras_of(board, package) if extras is None else extras),
        are_extras_chosen=extras is not None,
    )


def _choose(layout: Layout, choices: Choices, *, is_other_version: bool) -> None:
    """Keep what is chosen, and for a way back what was chosen before."""
    text = _choices_text(choices)
    with contextlib.suppress(FileNotFoundError):  # the first installation
        before = layout.choices.read_bytes()
        if is_other_version or before != text:
            write(layout.choices_before, before)
    write(layout.choices, text)


def _choose_as_before(layout: Layout) -> None:
    with contextlib.suppress(FileNotFoundError):  # a version that did not keep them
        before, now = layout.choices_before.read_bytes(), layout.choices.read_bytes()
        write(layout.choices, before)
        write(layout.choices_before, now)


def _choices_text(choices: Choices) -> bytes:
    content: dict[str, object] = {"board": choices.board, "kiosk": choices.kiosk}
    if choices.are_extras_chosen:  # else they follow the board
        content["extras"] = list(choices.extras)
    return (json.dumps(content, indent=1) + "\n").encode()


def _link_commands(layout: Layout, say: Say) -> None:
    for name in COMMANDS:
        link = layout.commands / name
        if _is_ours(layout, link):
            continue
        if link.exists() or link.is_symlink():
            say(f"left as it is, another program's: {link}")
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/opt/dermedge/current/bin/{name}")


def _is_ours(layout: Layout, link: Path) -> bool:
    try:
        return os.readlink(link).startswith("/opt/dermedge/")
    except OSError:
        return False


def _make_account(layout: Layout) -> None:
    before = _groups(layout)
    root = [] if layout.is_this_system else [f"--root={layout.root}"]
    run(["systemd-sysusers", *root, "dermedge.conf"], purpose="make the account dermedge")
    _remember_groups(layout, set(_groups(layout)) - set(before) - {"dermedge"})
    run(
        ["systemd-tmpfiles", *root, "--create", "dermedge.conf"],
        purpose="make the folders of the service",
    )
    if layout.is_this_system and works(["udevadm", "control", "--reload"]):
        works(["udevadm", "trigger", "--subsystem-match=gpio", "--subsystem-match=video4linux"])


def _give_back(layout: Layout) -> None:
    """What an uninstallation left to root is the account's again, who goes on with it."""
    try:
        account = layout.state.stat()
    except OSError:
        return
    for name in RECORDED:
        folder = layout.state / name
        for path in (folder, *folder.rglob("*")) if folder.is_dir() else ():
            with contextlib.suppress(OSError):
                if path.lstat().st_uid == 0:
                    os.chown(path, account.st_uid, account.st_gid, follow_symlinks=False)


def _groups(layout: Layout) -> dict[str, tuple[int, str]]:
    """Number and members of the groups of that system; this one's own may be others."""
    found = {}
    with contextlib.suppress(OSError):
        for line in (layout.root / "etc/group").read_text("utf-8", "replace").splitlines():
            fields = line.split(":")
            if len(fields) == 4 and fields[2].isdigit():
                found[fields[0]] = (int(fields[2]), fields[3])
    return found


def _remember_groups(layout: Layout, made: set[str]) -> None:
    """Those that the account was the first to need, for the day when it goes."""
    known = _made_groups(layout)
    if not made <= known:
        write(layout.groups, (json.dumps(sorted(known | made)) + "\n").encode())


def _made_groups(layout: Layout) -> set[str]:
    try:
        return set(json.loads(layout.groups.read_bytes()))
    except (OSError, ValueError, TypeError):
        return set()


def _remove_account(layout: Layout) -> None:
    """Nothing of the account is left: what it owned is root's now."""
    for path in (layout.state, *layout.state.rglob("*")) if layout.state.exists() else ():
        with contextlib.suppress(OSError):
            os.chown(path, 0, 0, follow_symlinks=False)
    if layout.is_this_system:
        works(["userdel", "dermedge"])
        works(["groupdel", "dermedge"])
        there = _groups(layout)
        for name in sorted(_made_groups(layout) & set(there)):
            if not there[name][1]:  # nobody else has come to need it
                works(["groupdel", name])


def _keep_config(layout: Layout, version: Path | None, say: Say) -> None:
    config = layout.config
    if not config.exists():
        return
    if version is None or is_config_changed(layout, versions.units_of(version)):
        kept = layout.state / config.name
        layout.state.mkdir(parents=True, exist_ok=True)
        # The folder is the service's own: what it has put there under this name is not followed.
        if kept.is_symlink() or not kept.is_file():
            _take_away(kept)
        elif kept.read_bytes() != config.read_bytes():  # of an uninstallation before this one
            os.replace(kept, _free_name(kept))
        write_whole(kept, config.read_bytes())
        kept.chmod(0o600)  # the page's token may be in it
        say(f"the configuration was changed: it is kept as {kept}")
    config.unlink()
    with contextlib.suppress(OSError):  # somebody's own files
        config.parent.rmdir()


def _empty_state(layout: Layout) -> str:
    """Take away what nobody recorded; the names of what is left."""
    if not layout.state.is_dir():
        return ""
    for path in layout.state.iterdir():
        # A link to a disk that is away says nothing of what was recorded there.
        is_empty = path.name in RECORDED and not path.is_symlink() and not any(path.iterdir())
        if is_empty or any(path.match(name) for name in OWN):
            _take_away(path)
    left = sorted(path.name for path in layout.state.iterdir())
    if not left:
        with contextlib.suppress(OSError):  # the same
            layout.state.rmdir()
    return ", ".join(left)


def _free_name(path: Path) -> Path:
    numbers = itertools.count(1)
    return next(free for n in numbers if not (free := path.with_name(f"{path.name}.{n}")).exists())


def _take_away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # a mounted disk cannot be taken away
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Nobody else changes the installation meanwhile."""
    try:
        layout.opt.mkdir(parents=True, exist_ok=True)
        file = open(layout.lock, "w")
    except OSError as error:
        raise RequestError(
            f"to write into {layout.opt}",
            got=error.strerror or str(error),
            next_step="run it as root (sudo)",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                "to change the installation alone",
                got="another installation that is under way",
                next_step="wait for it to end",
            ) from error
        yield
