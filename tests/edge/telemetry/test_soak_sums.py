"""benchmarks.soak tells a leak from none, and one process from two."""

from __future__ import annotations

import gzip
import json
import random
import sys
from pathlib import Path

import pytest

from benchmarks import soak

AGE = "dermedge_frame_age_seconds"
REPLACED = "dermedge_frame_age_when_replaced_seconds"


def lines(
    *, leak_mb_h: float = 0.0, older_ms_h: float = 0.0, health: str = "ok", start_s: float = 1.0
) -> list[str]:
    """Two hours, a line each half minute, 150 pictures in each."""
    chance, age_sum_s, texts = random.Random(3), 0.0, []
    for number in range(240):
        hours = number / 120
        age_sum_s += 150 * (0.12 + older_ms_h * hours / 1e3 + chance.gauss(0, 0.01))
        pictures = 150 * (number + 1)
        figures = {
            "dermedge_process_start_time_seconds": start_s,
            f"{AGE}_sum": age_sum_s,
            f"{AGE}_count": pictures,
            f'{AGE}_bucket{{le="0.5"}}': pictures - number,
            f"{REPLACED}_sum": 2 * age_sum_s,
            f"{REPLACED}_count": pictures,
            'dermedge_analyses_total{status="ok"}': pictures,
            "dermedge_process_resident_memory_bytes": 4e8 + 1e6 * chance.gauss(0, 1),
            "dermedge_unit_memory_bytes": 5e8 + leak_mb_h * hours * 1e6 + 1e6 * chance.gauss(0, 1),
            "dermedge_process_open_fds": 33,
        }
        texts.append(
            json.dumps({"boot_id": "b", "monotonic_ns": int(3e10 * number), "health": health,
                        "figures": figures})
        )  # fmt: skip
    return texts


def summed(folder: Path, texts: list[str], monkeypatch, capsys) -> tuple[int, str]:
    with gzip.open(folder / "telemetry-000001.jsonl.gz", "wt") as file:
        file.write("\n".join(texts))
    monkeypatch.setattr(sys, "argv", ["soak", str(folder), "--check"])
    return soak.main(), capsys.readouterr().out


def test_two_hours_of_nothing(tmp_path, monkeypatch, capsys):
    code, text = summed(tmp_path, lines(), monkeypatch, capsys)
    assert code == 0, text
    row = text.splitlines()[5].split()
    assert row[:3] == ["30", "-", "40"] and row[3] == "5.00"
    assert 105 < float(row[4]) < 135 and 210 < float(row[5]) < 270 and row[6] == "0.67%"
    assert row[-2:] == ["ok:", "20"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"leak_mb_h": 4.0}, "unit MB"),
        ({"older_ms_h": 10.0}, "age ms"),
    ],
)
def test_what_grows_is_named(tmp_path, monkeypatch, capsys, changed, named):
    code, text = summed(tmp_path, lines(**changed), monkeypatch, capsys)
    assert code == 1
    assert [line for line in text.splitlines() if "GROWS" in line and line.startswith(named)]


def test_a_picture_that_was_not_live_is_told(tmp_path, monkeypatch, capsys):
    code, text = summed(tmp_path, lines(health="Camera away"), monkeypatch, capsys)
    assert code == 1 and "240 not ok" in text and "Camera away: 20" in text


def test_two_processes_are_two_tables(tmp_path, monkeypatch, capsys):
    texts = [*lines(), *lines(start_s=2.0)]
    code, text = summed(tmp_path, [*texts, texts[-1][:40]], monkeypatch, capsys)
    assert code == 1 and "process 2 of 2" in text and "was not finished is left out" in text
