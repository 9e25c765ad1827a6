"""What a monitoring reads is what the loop did; a stick gets the same."""

from __future__ import annotations

import dataclasses
import json
import logging
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from shots_for_tests import frame, result

from edge.board.state import BoardState
from edge.config import Config, TelemetrySection, load_config, parse_listen
from edge.errors import RequestError
from edge.result import Stage
from edge.status import Counts
from edge.telemetry import lines as lines_module
from edge.telemetry import meter as meter_module
from edge.telemetry.endpoint import Endpoint
from edge.telemetry.lines import Lines
from edge.telemetry.meter import Meter
from edge.telemetry.telemetry import Telemetry

BOARD = BoardState(
    kind="jetson",
    model="a board",
    temperatures_c={"gpu-thermal": 51.5},
    clocks_hz={"gpu": 624_750_000},
    power_w={"VDD_IN": 7.25},
    power_mode="15W",
    throttled=("over-current",),
    events={"over-current": 3},
    memory_total_bytes=8 << 30,
    memory_available_bytes=3 << 30,
)


class FakeRun:
    """A run with these counts."""

    def __init__(self, words: str = "", **counts: object) -> None:
        self._words, self._counts = words, Counts(**counts)  # type: ignore[arg-type]

    def counts(self) -> Counts:
        return self._counts

    def not_well_words(self) -> str:
        return self._words


@pytest.fixture
def meter() -> Meter:
    return Meter(lambda: BOARD)


def samples(text: str) -> dict[str, float]:
    """By name and labels, as a monitoring reads the text."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def endpoint(meter: Meter):
    made = Endpoint("127.0.0.1", 0, meter)
    yield made
    made.close()


def test_everything_is_there_in_base_units(meter: Meter, endpoint: Endpoint):
    meter.runs(
        FakeRun(
            captured=90,
            lost_by_source=2,
            passed_over=30,
            read_failures=1,
            recovery={"reopen": 4},
            last_recovery_s=7.5,
            left_out={"record /r": 5},
            outputs_away={"jsonl /x": 1},
        )
    )
    meter.analyzed(result(frame(1), regions=2))  # total 5 ms, segmenter 3 ms
    meter.presented(130.0)
    meter.replaced(250.0)
    meter.took(Stage.DRAW, 2.5)
    code, text = ask(endpoint.port, "/metrics")
    assert code == 200
    got = samples(text)
    assert got["dermedge_stage_seconds_sum{stage=total}"] == pytest.approx(0.005)
    assert got["dermedge_stage_seconds_sum{stage=draw}"] == pytest.approx(0.0025)
    assert got["dermedge_stage_seconds_bucket{le=0.005,stage=segment}"] == 1
    assert got["dermedge_stage_seconds_bucket{le=0.002,stage=segment}"] == 0
    assert got["dermedge_frame_age_seconds_sum"] == pytest.approx(0.13)
    assert got["dermedge_frame_age_when_replaced_seconds_sum"] == pytest.approx(0.25)
    assert got["dermedge_analyses_total{status=ok}"] == 1 and got["dermedge_regions_total"] == 2
    assert got["dermedge_frames_captured_total"] == 90
    assert got["dermedge_frames_dropped_total{cause=lost by the source}"] == 2
    assert got["dermedge_frames_dropped_total{cause=a newer one came first}"] == 30
    assert got["dermedge_frames_dropped_total{cause=failed read}"] == 1
    assert got["dermedge_camera_recovery_steps_total{step=reopen}"] == 4
    assert got["dermedge_camera_last_recovery_seconds"] == 7.5
    assert got["dermedge_output_left_out_total{output=record /r}"] == 5
    assert got["dermedge_output_away{output=jsonl /x}"] == 1
    assert got["dermedge_board_temperature_celsius{zone=gpu-thermal}"] == 51.5
    assert got["dermedge_board_clock_hertz{unit=gpu}"] == 624_750_000
    assert got["dermedge_board_power_watts{rail=VDD_IN}"] == 7.25
    assert got["dermedge_board_throttled"] == 1
    assert got["dermedge_board_throttle_events_total{cause=over-current}"] == 3
    assert got["dermedge_board_memory_available_bytes"] == 3 << 30
    assert got["dermedge_running"] == 1 and got["dermedge_healthy"] == 1
    (engine,) = [name for name in got if "engine_info" in name and "part=segmenter" in name]
    assert "backend=onnx" in engine and "precision=fp32" in engine
    assert got["dermedge_process_resident_memory_bytes"] > 1 << 20
    (build,) = [name for name in got if name.startswith("dermedge_build_info")]
    assert "version=0" in build


def test_a_board_that_only_says_of_late_is_counted_each_time_it_comes_to_say_so(monkeypatch):
    monkeypatch.setattr(meter_module, "BOARD_EVERY_S", 0.0)
    said = iter([False, True, True, False, False, True])
    meter = Meter(lambda: dataclasses.replace(
        BOARD, events={}, of_late={"under-voltage": next(said), "throttled": False}
    ))  # fmt: skip
    name = "dermedge_board_throttle_events_total"
    seen = []
    for _ in range(6):
        got = samples(generate_latest(meter.registry).decode())
        seen.append(got[f"{name}{{cause=under-voltage}}"])
        assert got[f"{name}{{cause=throttled}}"] == 0
    assert seen == [0, 1, 1, 1, 1, 2]  # a counter: it never falls


def test_it_listens_without_asking_the_network_for_a_name(meter: Meter, monkeypatch):
    def nobody(*_: object) -> str:
        raise AssertionError("the device is offline: a name server that is away takes its time")

    for name in ("getfqdn", "gethostbyaddr", "getnameinfo"):
        monkeypatch.setattr(socket, name, nobody)
    endpoint = Endpoint("127.0.0.1", 0, meter)
    try:
        assert ask(endpoint.port, "/metrics")[0] == 200
    finally:
        endpoint.close()


def test_counts_go_on_from_one_run_to_the_next(meter: Meter, endpoint: Endpoint):
    meter.runs(FakeRun(captured=10, recovery={"lost": 1}))
    meter.ended("the camera is gone")
    got = samples(ask(endpoint.port, "/metrics")[1])
    assert got["dermedge_frames_captured_total"] == 10 and got["dermedge_running"] == 0
    meter.ended("still")  # told twice, counted once
    meter.runs(FakeRun(captured=5, recovery={"lost": 2}))
    got = samples(ask(endpoint.port, "/metrics")[1])
    assert got["dermedge_frames_captured_total"] == 15
    assert got["dermedge_camera_recovery_steps_total{step=lost}"] == 3


def test_what_has_not_happened_yet_is_a_zero(meter: Meter, endpoint: Endpoint):
    meter.runs(FakeRun(recovery={"lost": 0}, left_out={"record /r": 0}))
    got = samples(ask(endpoint.port, "/metrics")[1])
    assert got["dermedge_camera_recovery_steps_total{step=lost}"] == 0
    assert got["dermedge_output_left_out_total{output=record /r}"] == 0


def test_health_in_words(meter: Meter, endpoint: Endpoint):
    assert ask(endpoint.port, "/healthz") == (503, "not running: starting")
    meter.runs(FakeRun())
    assert ask(endpoint.port, "/healthz") == (200, "ok")
    meter.runs(FakeRun("no new picture for 3 s"))
    assert ask(endpoint.port, "/healthz") == (503, "no new picture for 3 s")
    assert samples(ask(endpoint.port, "/metrics")[1])["dermedge_healthy"] == 0
    assert ask(endpoint.port, "/other")[0] == 404


def test_an_asker_that_says_nothing_keeps_nobody_waiting(meter: Meter, endpoint: Endpoint):
    idle = [socket.create_connection(("127.0.0.1", endpoint.port)) for _ in range(20)]
    began_s = time.monotonic()
    assert ask(endpoint.port, "/metrics")[0] == 200
    assert time.monotonic() - began_s < 3.0
    for one in idle:
        one.close()


def test_a_board_is_not_read_for_every_question():
    looks = []
    meter = Meter(lambda: looks.append(1) or BOARD)  # type: ignore[func-returns-value]
    for _ in range(20):
        meter.board()
    assert len(looks) == 1


# --- lines ----------------------------------------------------------------------------------------


def read(folder: Path) -> list[dict[str, object]]:
    texts = [path.read_text() for path in sorted(folder.glob("telemetry-*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def wait_for(done) -> None:
    until_s = time.monotonic() + 20.0
    while not done():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_lines_say_the_same(meter: Meter, tmp_path: Path):
    meter.runs(FakeRun(captured=7))
    meter.presented(130.0)
    lines = Lines(tmp_path / "t", meter, 0.05, 64 << 20)
    wait_for(lambda: (tmp_path / "t").is_dir() and len(read(tmp_path / "t")) >= 2)
    lines.close()
    line = read(tmp_path / "t")[-1]
    assert line["schema"] == "dermedge.telemetry/1" and line["health"] == "ok"
    figures = line["figures"]
    assert figures["dermedge_frames_captured_total"] == 7  # type: ignore[index]
    assert figures["dermedge_frame_age_seconds_sum"] == pytest.approx(0.13)  # type: ignore[index]
    assert figures['dermedge_board_power_watts{rail="VDD_IN"}'] == 7.25  # type: ignore[index]
    assert figures['dermedge_frame_age_seconds_bucket{le="0.1"}'] == 0  # type: ignore[index]
    assert figures['dermedge_frame_age_seconds_bucket{le="0.15"}'] == 1  # type: ignore[index]
    assert not [name for name in figures if "stage_seconds_bucket" in name]  # type: ignore[union-attr]


def test_old_files_make_room_and_others_stay(meter: Meter, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(lines_module, "FILE_BYTES", 20_000)
    (tmp_path / "notes.txt").write_text("mine")
    lines = Lines(tmp_path, meter, 0.002, 60_000)
    wait_for(lambda: any("000009" in path.name for path in tmp_path.iterdir()))
    lines.close()
    files = sorted(tmp_path.glob("telemetry-*.jsonl"))
    assert sum(path.stat().st_size for path in files) <= 60_000 + 8_000
    assert len(files) >= 2 and "000001" not in files[0].name
    assert (tmp_path / "notes.txt").read_text() == "mine"
    numbers = [line["monotonic_ns"] for line in read(tmp_path)]
    assert numbers == sorted(numbers)  # type: ignore[type-var]


def test_a_disk_that_takes_nothing_is_told_once_and_tried_again(
    meter: Meter, tmp_path: Path, monkeypatch, caplog
):
    monkeypatch.setattr(lines_module, "_RETRY_S", 0.02)
    (tmp_path / "t").write_text("a file in the way")
    lines = Lines(tmp_path / "t", meter, 0.01, 64 << 20)
    wait_for(lambda: "telemetry is not written" in caplog.text)
    time.sleep(0.2)
    (tmp_path / "t").unlink()
    wait_for(lambda: (tmp_path / "t").is_dir() and read(tmp_path / "t"))
    lines.close()
    assert caplog.text.count("telemetry is not written") == 1


def test_a_full_disk_leaves_one_file_that_goes_on(meter: Meter, tmp_path: Path, monkeypatch):
    """A short write, as a full disk gives: nothing of it stays, and no other file is begun."""
    monkeypatch.setattr(lines_module, "_RETRY_S", 0.01)
    room, real = [3], open

    class Full:
        def __init__(self, file) -> None:
            self._file = file

        def write(self, data: bytes) -> int:
            room[0] -= 1
            return self._file.write(data if room[0] >= 0 else data[:100])

        def __getattr__(self, name: str):
            return getattr(self._file, name)

    monkeypatch.setattr(lines_module, "open", lambda *a, **k: Full(real(*a, **k)), raising=False)
    lines = Lines(tmp_path, meter, 0.01, 64 << 20)
    wait_for(lambda: room[0] < -20)
    (path,) = tmp_path.iterdir()
    assert len(read_whole(path)) == 3
    room[0] = 1000
    wait_for(lambda: len(read_whole(path)) > 5)
    lines.close()
    assert list(tmp_path.iterdir()) == [path]


def read_whole(path: Path) -> list[object]:
    """Every line that has its end."""
    return [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]


# --- the configuration ----------------------------------------------------------------------------


def test_it_follows_the_configuration(tmp_path: Path, caplog):
    caplog.set_level(logging.INFO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with Telemetry() as telemetry:
            section = TelemetrySection(listen=f"127.0.0.1:{port}", folder=str(tmp_path / "t"))
            telemetry.follow(section)  # taken, not listening: told, and nothing else stops
            assert "no figures for a monitoring" in caplog.text
            free.close()
            telemetry.follow(section)
            assert ask(port, "/healthz")[0] == 503
            telemetry.follow(section)
            assert ask(port, "/healthz")[0] == 503
            telemetry.follow(TelemetrySection())
            with pytest.raises(urllib.error.URLError):
                ask(port, "/healthz")
    assert len(read(tmp_path / "t")) >= 1  # the last line, at the end


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:9155", ("127.0.0.1", 9155)),
        (":9000", ("127.0.0.1", 9000)),
        ("0.0.0.0", ("0.0.0.0", 9155)),
        ("[::1]:9155", ("::1", 9155)),
    ],
)
def test_where_it_listens(text: str, place: tuple[str, int]):
    assert parse_listen(text) == place


def test_a_wrong_place_is_refused_by_name(tmp_path: Path):
    (tmp_path / "c.toml").write_text('[telemetry]\nlisten = "no place"\n')
    with pytest.raises(RequestError, match="telemetry.listen.*'no place'"):
        load_config(tmp_path / "c.toml")
    assert Config().telemetry.listen == ""
