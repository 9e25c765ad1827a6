"""Debian's Prometheus reads the figures, and holds the example rules against them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from shots_for_tests import frame, result

from edge.telemetry.endpoint import Endpoint
from edge.telemetry.meter import Meter

EXAMPLES = Path(__file__).parents[3] / "docs/prometheus"

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus (Debian: prometheus)"
)


def ask(port: int, path: str, **query: str) -> dict[str, object]:
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=5) as got:
        return json.load(got)["data"]


def wait_for(found, within_s: float = 60.0):
    until_s = time.monotonic() + within_s
    while True:
        try:
            if value := found():
                return value
        except OSError:  # not up yet
            pass
        assert time.monotonic() < until_s
        time.sleep(0.2)


@pytest.fixture
def scraped(tmp_path: Path):
    """A meter, and the port of a Prometheus that looks at it every second."""
    meter = Meter()
    endpoint = Endpoint("127.0.0.1", 0, meter)
    shutil.copy2(EXAMPLES / "alerts.yml", tmp_path)
    config = (EXAMPLES / "prometheus.yml").read_text()
    assert "127.0.0.1:9155" in config and "scrape_interval: 15s" in config
    config = config.replace("127.0.0.1:9155", f"127.0.0.1:{endpoint.port}")
    config = config.replace(
        "scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s"
    )
    (tmp_path / "prometheus.yml").write_text(config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        prometheus = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    yield meter, port
    prometheus.terminate()
    prometheus.wait(20)
    endpoint.close()


def test_it_is_scraped_and_the_rules_hold(scraped):
    meter, port = scraped

    def up():
        targets = ask(port, "targets")["activeTargets"]
        return targets and targets[0]["health"] == "up" and targets[0]

    assert wait_for(up)["lastError"] == ""
    for number in range(30):
        meter.analyzed(result(frame(number), regions=1))
        meter.presented(120.0)
    wait_for(
        lambda: [
            one
            for one in ask(port, "query", query="dermedge_frame_age_seconds_count")["result"]
            if one["value"][1] == "30"
        ]
    )
    rules = [rule for group in ask(port, "rules")["groups"] for rule in group["rules"]]
    assert len(rules) == 9
    wait_for(
        lambda: all(rule["health"] == "ok" for rule in ask(port, "rules")["groups"][0]["rules"])
    )
    # The loop does not run: its rule waits for its two minutes, no other one does.
    pending = wait_for(
        lambda: [
            (alert["labels"]["alertname"], alert["state"])
            for alert in ask(port, "alerts")["alerts"]
        ]
    )
    assert pending == [("DermedgeNotRunning", "pending")]
    # Every figure that a rule names is one that there is.
    names = set(ask(port, "label/__name__/values"))
    text = (EXAMPLES / "alerts.yml").read_text()
    used = {
        word
        for line in text.splitlines()
        if "expr:" in line or "histogram_quantile" in line
        for word in re.findall(r"dermedge_\w+", line)
    }
    # Only of boards that can tell, only in a service.
    optional = {"dermedge_board_throttled", "dermedge_unit_memory_bytes"}
    assert used - optional - names <= {"dermedge_camera_recovery_steps_total"}
