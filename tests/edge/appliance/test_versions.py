"""Versions side by side: nothing half made is ever in use, and there is always a way back."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge.appliance import files, steps, system, versions
from edge.appliance import package as package_module
from edge.appliance import services as services_module
from edge.appliance.board import board_of, extras_of
from edge.appliance.files import Choices
from edge.appliance.layout import Layout
from edge.appliance.package import Package, from_checkout, from_wheels
from edge.engine_folder import ATTEMPTS_FILE
from edge.errors import InputError, RequestError


class Made(Package):
    """A package whose installation writes one file, or fails."""

    fails = False
    count = 0

    def install(self, python: Path, extras) -> None:
        type(self).count += 1
        if self.fails:
            raise InputError("pip to install the package", got="no room", next_step="free some")
        (python.parent / "dermedge").write_text("#!/bin/sh\n")


def wheel(folder: Path, version: str = "1.0", content: str = "x") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"dermedge-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("edge/a.py", content)
    return path


@pytest.fixture
def layout(tmp_path: Path, monkeypatch) -> Layout:
    monkeypatch.setattr(versions, "_prove", lambda *_: None)
    monkeypatch.setattr(versions.sys, "_base_executable", "/usr/bin/python3", raising=False)
    monkeypatch.setattr(Made, "count", 0)
    monkeypatch.setattr(Made, "fails", False)
    made = Layout(tmp_path / "root")
    made.versions.mkdir(parents=True)
    return made


def made(tmp_path: Path, content: str) -> Made:
    folder = tmp_path / content
    (folder / "pip-25-py3-none-any.whl").parent.mkdir(parents=True, exist_ok=True)
    (folder / "pip-25-py3-none-any.whl").write_bytes(b"")
    return Made(wheel(folder, content=content), folder, None)


def test_the_same_content_has_the_same_name(tmp_path: Path):
    one, same = Made(wheel(tmp_path / "a"), None, None), Made(wheel(tmp_path / "b"), None, None)
    other = Made(wheel(tmp_path / "c", content="y"), None, None)
    assert one.version_id(()) == same.version_id(()) != other.version_id(())
    assert one.version_id(["web"]) != one.version_id(())
    assert one.version_id(()).startswith("1.0-")
    (tmp_path / "d").mkdir()
    broken = tmp_path / "d/dermedge-1.0-py3-none-any.whl"
    broken.write_bytes(b"no zip")
    with pytest.raises(InputError, match="a wheel in"):
        Made(broken, None, None).version_id(())


def test_made_once_switched_to_and_back(layout: Layout, tmp_path: Path):
    first, is_new = versions.make(layout, made(tmp_path, "one"), ("web",))
    assert is_new and versions.make(layout, made(tmp_path, "one"), ("web",)) == (first, False)
    assert Made.count == 1
    versions.switch(layout, first)
    assert versions.in_use(layout) == first and versions.before(layout) is None
    with pytest.raises(RequestError, match="a version before this one"):
        versions.back(layout)
    second, _ = versions.make(layout, made(tmp_path, "two"), ("web",))
    third, _ = versions.make(layout, made(tmp_path, "three"), ("web",))
    for version in (second, third):
        versions.switch(layout, version)
    assert (versions.in_use(layout), versions.back(layout)) == (third, second)
    assert versions.prune(layout) == [first.name]
    versions.switch(layout, versions.back(layout))
    assert (versions.in_use(layout), versions.before(layout)) == (second, third)
    assert not os.readlink(layout.current).startswith("/")  # whole when mounted elsewhere


def test_a_version_is_on_the_disk_before_it_is_vouched_for(layout: Layout, tmp_path, monkeypatch):
    seen = []

    def sync() -> None:
        (folder,) = layout.versions.iterdir()
        seen.append(((folder / "bin/dermedge").exists(), (folder / versions._COMPLETE).exists()))

    monkeypatch.setattr(versions.os, "sync", sync)
    versions.make(layout, made(tmp_path, "one"), ())
    assert seen == [(True, False)]


def test_what_an_interruption_leaves_is_made_anew(layout: Layout, tmp_path: Path):
    package = made(tmp_path, "one")
    folder, _ = versions.make(layout, package, ())
    (folder / versions._COMPLETE).unlink()  # as if it had ended before
    (folder / "half").write_text("x")
    layout.current.symlink_to(folder)
    assert versions.in_use(layout) is None
    assert versions.make(layout, package, ()) == (folder, True)
    assert not (folder / "half").exists()


def test_one_that_fails_leaves_nothing_and_the_other_in_use(layout: Layout, tmp_path: Path):
    first, _ = versions.make(layout, made(tmp_path, "one"), ())
    versions.switch(layout, first)
    Made.fails = True
    with pytest.raises(InputError, match="no room"):
        versions.make(layout, made(tmp_path, "two"), ())
    assert versions.in_use(layout) == first and list(layout.versions.iterdir()) == [first]


def test_other_extras_are_another_version_beside(layout: Layout, tmp_path: Path):
    first, _ = versions.make(layout, made(tmp_path, "one"), ())
    versions.switch(layout, first)
    Made.fails = True
    with pytest.raises(InputError):
        versions.make(layout, made(tmp_path, "one"), ("web",))
    assert (first / "bin/dermedge").exists() and versions.in_use(layout) == first
    Made.fails = False
    second, is_new = versions.make(layout, made(tmp_path, "one"), ("web",))
    assert is_new and second != first


def test_a_system_library_that_does_not_load_beside_it_refuses_the_version(tmp_path: Path):
    """As Bookworm's picamera2 beside numpy 2: it is told before anything is in use."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/dermedge").symlink_to("/bin/true")
    python = tmp_path / "bin/python"
    python.write_text(
        "#!/bin/sh\n"
        "case \"$2\" in *picamera2*) echo 'numpy.dtype size changed' >&2; exit 1;; esac\n"
    )
    python.chmod(0o755)
    versions._prove(tmp_path, ("web",))
    with pytest.raises(InputError, match="picamera2 beside this numpy.*numpy.dtype size changed"):
        versions._prove(tmp_path, ("pi", "web"))


def test_what_a_checkout_has_built_before_is_not_in_its_wheel(tmp_path: Path, monkeypatch):
    checkout, build = tmp_path / "checkout", tmp_path / "build"
    for name in package_module._SOURCES:
        path = checkout / name
        (path.parent if "." in name or name == "LICENSE" else path).mkdir(
            parents=True, exist_ok=True
        )
        if "." in name or name == "LICENSE":
            path.write_text(name)
    (checkout / "build/lib/edge").mkdir(parents=True)
    (checkout / "build/lib/edge/gone.py").write_text("")
    build.mkdir()

    def pip(command, **_: object) -> str:
        source = Path(command[-1])
        assert sorted(path.name for path in source.iterdir()) == sorted(package_module._SOURCES)
        wheel(build)
        return ""

    monkeypatch.setattr(package_module, "run", pip)
    assert from_checkout(checkout, build).constraints == checkout / "constraints.txt"
    shutil.rmtree(build / "source")
    assert from_checkout(checkout, build, tmp_path / "mine").constraints == tmp_path / "mine"
    monkeypatch.setattr(package_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="python3-pip"):
        from_checkout(checkout, build)


def test_a_python_in_a_home_folder_is_refused(layout: Layout, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(versions.sys, "_base_executable", "/home/me/.pyenv/bin/python3.11")
    with pytest.raises(RequestError, match="/usr/bin/python3"):
        versions.make(layout, made(tmp_path, "one"), ())


def test_extras_that_are_none_are_refused(layout: Layout, tmp_path: Path):
    package = made(tmp_path, "one")
    with zipfile.ZipFile(package.wheel, "a") as content:
        content.writestr("dermedge-1.0.dist-info/METADATA", "Provides-Extra: web\nx: y\n")
    package.check_extras(["web"])
    with pytest.raises(RequestError, match="extras of dermedge: web; got nonsuch"):
        package.check_extras(["web", "nonsuch"])


def test_extras_follow_the_board_unless_somebody_named_them(tmp_path: Path):
    layout = Layout(tmp_path)
    for wishes, extras in (
        ({"board": "pc"}, ("desktop", "web")),
        ({"board": "pi"}, ("pi", "web")),
        ({"extras": ["web"]}, ("web",)),
        ({"board": "pc"}, ("web",)),
    ):
        choices = steps._choices(layout, wishes)
        assert choices.extras == extras
        system.write(layout.choices, steps._choices_text(choices))


# --- what is to be installed ----------------------------------------------------------------------


def test_a_folder_of_wheels(tmp_path: Path):
    with pytest.raises(RequestError, match="exactly one file.*got none"):
        from_wheels(tmp_path, None)
    path = wheel(tmp_path)
    (tmp_path / "constraints.txt").write_text("numpy==2\n")
    package = from_wheels(tmp_path, None)
    assert package.wheel == path and package.constraints == tmp_path / "constraints.txt"
    assert not package.brings_pip and not package.has("pycuda")
    (tmp_path / "pip-25.0-py3-none-any.whl").write_bytes(b"")
    (tmp_path / "pycuda-2025-cp310-linux_aarch64.whl").write_bytes(b"")
    assert package.brings_pip and package.has("pycuda")
    wheel(tmp_path, "2.0")
    with pytest.raises(RequestError, match="exactly one"):
        from_wheels(tmp_path, None)


@pytest.mark.parametrize(
    ("model", "board"),
    [
        (b"NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0", "jetson"),
        (b"Raspberry Pi 5 Model B Rev 1.0\0", "pi"),
        (b"Some other board\0", "pc"),
        (None, "pc"),
    ],
)
def test_the_board_is_recognised(tmp_path: Path, model: bytes | None, board: str):
    if model is not None:
        (tmp_path / "proc/device-tree").mkdir(parents=True)
        (tmp_path / "proc/device-tree/model").write_bytes(model)
    assert board_of(tmp_path) == board


def test_a_jetson_without_pycuda_in_its_bundle_takes_cuda_python(tmp_path: Path):
    package = from_wheels(wheel(tmp_path).parent, None)
    assert extras_of("jetson", package) == ("cuda", "web")
    (tmp_path / "pycuda-2025-cp310-linux_aarch64.whl").write_bytes(b"")
    assert extras_of("jetson", package) == ("jetson", "web")
    assert extras_of("pi", package) == ("pi", "web")


def test_a_build_that_failed_three_times_is_asked_for_again(
    layout: Layout, tmp_path: Path, monkeypatch
):
    said, ran = [], []
    monkeypatch.setattr(services_module, "run", lambda command, **_: ran.append(command))
    with pytest.raises(RequestError, match="an installed service"):
        steps.build(layout, said.append)
    version, _ = versions.make(layout, made(tmp_path, "one"), ())
    versions.switch(layout, version)
    attempts = layout.state / "engines" / ATTEMPTS_FILE
    assert attempts == layout.attempts
    attempts.parent.mkdir(parents=True)
    attempts.write_text('{"key": 3}')
    steps.build(layout, said.append)
    assert ran == [["systemctl", "start", "dermedge-convert.service"]] and not attempts.exists()
    assert "done" in said[-1]


# --- taking off -----------------------------------------------------------------------------------


def test_only_what_was_recorded_is_left(tmp_path: Path):
    layout = Layout(tmp_path)
    for name in ("cases/K7M2", "recordings", "engines/net", "telemetry"):
        (layout.state / name).mkdir(parents=True)
    (layout.state / "cases/K7M2/case.json").write_text("{}")
    (layout.state / "running.json").write_text("{}")
    assert steps._empty_state(layout) == "cases"
    assert [path.name for path in layout.state.iterdir()] == ["cases"]
    (layout.state / "cases/K7M2/case.json").unlink()
    (layout.state / "cases/K7M2").rmdir()
    assert steps._empty_state(layout) == "" and not layout.state.exists()


def test_what_the_program_did_not_put_there_is_left_and_named(tmp_path: Path):
    layout = Layout(tmp_path)
    for name in ("engines/net", "telemetry", ".cache/x", "mypack", "cases/K7M2"):
        (layout.state / name).mkdir(parents=True)
    for name in ("running.json", "screens.json", "card-usb-1.json", "mine.txt", "reboot-asked"):
        (layout.state / name).write_text("x")
    assert steps._empty_state(layout) == "cases, mine.txt, mypack"


def test_a_kept_configuration_is_never_overwritten(tmp_path: Path):
    layout = Layout(tmp_path)
    layout.state.mkdir(parents=True)
    for text in ("one", "two", "two", "three"):
        layout.config.parent.mkdir(parents=True, exist_ok=True)
        layout.config.write_text(text)
        steps._keep_config(layout, None, lambda _: None)
    kept = {path.name: path.read_text() for path in layout.state.iterdir()}
    assert kept == {"dermedge.toml": "three", "dermedge.toml.1": "one", "dermedge.toml.2": "two"}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another account")
def test_what_was_left_is_given_back_at_the_next_installation(tmp_path: Path):
    layout = Layout(tmp_path)
    for name in ("recordings/000001", "cases/K7M2", "mypack"):
        (layout.state / name).mkdir(parents=True)
        (layout.state / name / "file").write_text("x")
    (layout.state / "recordings/000001/link").symlink_to("/etc/passwd")
    os.chown(layout.state, 12345, 12346)
    os.chown(layout.state / "cases/K7M2/file", 777, 777)  # somebody else's: it stays theirs
    steps._give_back(layout)
    owners = {p.relative_to(layout.state).as_posix(): p.lstat().st_uid
              for p in layout.state.rglob("*")}  # fmt: skip
    assert owners["recordings/000001/file"] == owners["recordings/000001/link"] == 12345
    assert owners["cases/K7M2"] == 12345 and owners["cases/K7M2/file"] == 777
    assert owners["mypack/file"] == 0 and Path("/etc/passwd").stat().st_uid == 0


def test_a_way_back_leads_to_what_was_chosen_before(layout: Layout):
    def choose(kiosk: bool, *, is_other_version: bool = False) -> None:
        choices = Choices("pc", kiosk, ())
        steps._choose(layout, choices, is_other_version=is_other_version)

    def kiosk() -> bool:
        return steps._choices(layout, {}).kiosk

    choose(False)
    assert not layout.choices_before.exists()
    choose(False)  # the same again is no step
    choose(True)
    choose(True)
    assert kiosk()
    steps._choose_as_before(layout)
    assert not kiosk()
    steps._choose_as_before(layout)  # forth again
    assert kiosk()
    choose(True, is_other_version=True)
    steps._choose_as_before(layout)
    assert kiosk()


def test_a_configuration_that_the_service_may_not_read_is_seen(layout: Layout):
    layout.config.parent.mkdir(parents=True)
    layout.config.write_text("")
    group_id = layout.config.stat().st_gid
    for mode, other, is_hidden in ((0o600, 0, True), (0o640, 0, False), (0o640, 1, True),
                                   (0o644, 1, False)):  # fmt: skip
        layout.config.chmod(mode)
        assert files.is_config_hidden(layout, group_id + other) is is_hidden


def test_the_installer_needs_nothing_but_pythons_own_library():
    """It is started by the system's Python, out of a wheel."""
    code = "import edge.appliance.installer, sys; print(*sys.modules)"
    root = Path(__file__).parents[3]
    said = subprocess.run([sys.executable, "-S", "-c", code], cwd=root, capture_output=True,
                          text=True, check=True).stdout  # fmt: skip
    own = {"edge", "models", "convert", "__main__"}
    names = {name.partition(".")[0] for name in said.split()}
    assert names - own <= set(sys.stdlib_module_names) | {"_distutils_hack"}


def test_a_link_of_the_services_account_is_never_followed(tmp_path: Path):
    layout = Layout(tmp_path / "root")
    for folder in (layout.config.parent, layout.state):
        folder.mkdir(parents=True)
    layout.config.write_text("[web]\ntoken = 'secret'\n")
    precious = tmp_path / "shadow"
    precious.write_text("root")
    kept = layout.state / layout.config.name
    kept.symlink_to(precious)
    steps._keep_config(layout, None, print)
    assert precious.read_text() == "root" and "secret" in kept.read_text()
    assert stat.S_IMODE(kept.lstat().st_mode) == 0o600
    (layout.state / "recordings").symlink_to(tmp_path / "a disk that is away")
    assert steps._empty_state(layout) == "dermedge.toml, recordings"


def test_another_programs_command_is_left(tmp_path: Path):
    layout, said = Layout(tmp_path), []
    layout.commands.mkdir(parents=True)
    (layout.commands / "dermedge").write_text("mine")
    steps._link_commands(layout, said.append)
    assert (layout.commands / "dermedge").read_text() == "mine"
    assert any("another program's" in line for line in said)
    assert os.readlink(layout.commands / "dermedge-convert").startswith("/opt/dermedge/current/")
    said.clear()
    steps._link_commands(layout, said.append)
    assert len(said) == 1  # the same again, and nothing else


def test_one_at_a_time(tmp_path: Path):
    with steps._alone(Layout(tmp_path)):
        with pytest.raises(InputError, match="another installation"):
            with steps._alone(Layout(tmp_path)):
                raise AssertionError("both")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_without_rights_it_says_so():
    with pytest.raises(RequestError, match="sudo"):
        steps.uninstall(Layout(Path("/")), print)


# --- programs of the system -----------------------------------------------------------------------


def test_a_program_that_fails_is_told_with_its_last_words():
    with pytest.raises(InputError, match="sh to say it.*got last words"):
        system.run(["sh", "-c", "echo first; echo last words >&2; exit 3"], purpose="say it")
    with pytest.raises(InputError, match="no no-such-program on this system"):
        system.run(["no-such-program"])
    with pytest.raises(InputError, match="got ImportError: libGL.so.1: no such file; apt-get it"):
        code = "raise ImportError('libGL.so.1: no such file')"
        system.run([sys.executable, "-c", code], next_step="apt-get it")
    with pytest.raises(InputError, match="try it by hand: sh -c 'exit 3'"):
        system.run(["sh", "-c", "exit 3"])
    with pytest.raises(InputError, match="no end after 0.1 s"):
        system.run(["sleep", "5"], within_s=0.1)


def test_nothing_of_the_current_folder_is_imported(tmp_path: Path, monkeypatch):
    (tmp_path / "zipfile.py").write_text("raise SystemExit('anybody wrote this')")
    monkeypatch.chdir(tmp_path)
    system.run([sys.executable, "-c", "import zipfile"])
    assert system.works([sys.executable, "-m", "zipfile", "--help"])


def test_a_masked_unit_stays_masked(tmp_path: Path):
    (tmp_path / "dermedge.service").symlink_to("/dev/null")
    assert not system.write(tmp_path / "dermedge.service", b"x")
    assert os.readlink(tmp_path / "dermedge.service") == "/dev/null"
    assert system.write(tmp_path / "other", b"x") and not system.write(tmp_path / "other", b"x")
