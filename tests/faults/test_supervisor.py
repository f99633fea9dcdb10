"""The supervisor over real processes and sockets: what dies comes back, others don't notice, and it ends clean."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recorder.archive import open_archive
from recorder.journal import segments
from recorder.manifest import read_manifest
from tests.processes import Running, alive, children_of, gateway, json_lines, tapebook, wait_until
from tests.recorded import assert_verified

CONFIG = """\
data = "{data}"
endpoint = "{url}"
state_dir = "{data}/state"
metrics = "0"
symbols = ["BTCUSDT", "ETHUSDT"]
topics = ["orderbook.50", "publicTrade"]

[[collector]]
category = "linear"
shards = 2
"""


class Fleet:
    """A supervisor over two collectors, and the market they record."""

    def __init__(self, tmp_path: Path, url: str) -> None:
        self.tmp_path = tmp_path
        self.data = tmp_path / "data"
        self.path = tmp_path / "fleet.toml"
        self.path.write_text(CONFIG.format(data=self.data, url=url))
        self.running: Running

    def start(self, name: str = "supervisor") -> Running:
        self.running = Running(["supervise", self.path, "--deadline", 60], self.tmp_path / name)
        return self.running

    @property
    def url(self) -> str:
        found = re.search(r"metrics at (http://\S+)/metrics", self.running.err)
        return "" if found is None else found[1]

    def statuses(self) -> dict[str, dict[str, Any]]:
        if not self.url:
            return {}
        with urllib.request.urlopen(f"{self.url}/status", timeout=60) as answer:
            return {told["collector"]: told for told in json.load(answer)["collectors"]}

    def frames(self, name: str) -> int:
        told = self.statuses().get(name, {})
        return int(told.get("frames", 0)) if told.get("running") else 0

    def until_recording(self, least: int = 30) -> None:
        self.running.until(
            lambda: all(self.frames(name) >= least for name in ("linear-1", "linear-2")), "both record"
        )


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    options = ["--simulate", 5, "--category", "linear", "--symbol-count", 2, "--rate", 3]
    with gateway(tmp_path / "gateway", *options) as served:
        yield Fleet(tmp_path, served.url)


def assert_all_rolled(data: Path) -> None:
    found = segments(data)
    assert {file.state for file in found} <= {"sealed", "torn"}
    assert {(f.collector, f.start_ns) for f in found if f.state == "sealed"} == set(
        read_manifest(data / "archive").segments
    )


def rows(data: Path, query: str) -> list[dict[str, Any]]:
    with open_archive(data) as archive:
        found: list[dict[str, Any]] = archive.sql(query).table().to_pylist()
        return found


def test_a_killed_collector_comes_back_and_the_other_does_not_notice(fleet: Fleet) -> None:
    with fleet.start() as running:
        fleet.until_recording()
        before = fleet.statuses()
        os.kill(before["linear-1"]["pid"], signal.SIGKILL)
        fleet.running.until(
            lambda: fleet.statuses()["linear-1"].get("pid") not in (None, before["linear-1"]["pid"]),
            "it came back",
        )
        fleet.until_recording()
        after = fleet.statuses()
        assert after["linear-1"]["restarts"] == 1
        assert after["linear-2"]["pid"] == before["linear-2"]["pid"]
        assert after["linear-2"]["restarts"] == 0
        with urllib.request.urlopen(f"{fleet.url}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        up = {
            sample.labels["collector"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "tapebook_up"
        }
        assert up == {"linear-1": 1, "linear-2": 1}
        assert 'tapebook_restarts_total{collector="linear-1"} 1.0' in text
        seen = json_lines(tapebook("status", "--data", fleet.data, "--format", "json").out)
        assert {each["collector"]: each["supervised"]["restarts"] for each in seen} == {
            "linear-1": 1,
            "linear-2": 0,
        }
        done = running.stop()
    assert done.code == 0, done.err
    assert "linear-1 was killed by SIGKILL" in done.err
    assert "linear-1: ended with 0, started again 1 times" in done.out
    assert "2 collectors; ended by SIGTERM" in done.out.splitlines()[-1]
    assert_all_rolled(fleet.data)
    gaps = rows(fleet.data, "SELECT collector, topic, cause FROM gaps")
    assert gaps
    assert {(gap["collector"], gap["cause"]) for gap in gaps} == {("linear-1", "crash")}
    # each symbol was recorded by one of them
    taken = rows(fleet.data, "SELECT DISTINCT collector, symbol FROM book_updates ORDER BY symbol")
    assert sorted(row["symbol"] for row in taken) == ["BTCUSDT", "ETHUSDT"]
    assert {row["collector"] for row in taken} == {"linear-1", "linear-2"}
    assert_verified(fleet.data)


@pytest.mark.slow
def test_no_collector_outlives_its_supervisor_and_a_new_one_takes_over(fleet: Fleet) -> None:
    with fleet.start() as first:
        fleet.until_recording()
        collectors = [told["pid"] for told in fleet.statuses().values()]
        others = children_of(first.process.pid)
        first.kill()
    with fleet.start("second") as second:
        fleet.until_recording()
        assert not any(alive(pid) for pid in [*collectors, *others])
        # one supervisor for a directory
        third = tapebook("supervise", fleet.path)
        assert third.code == 2
        assert "another supervisor runs this directory" in third.err
        done = second.stop(signal.SIGINT)
    assert done.code == 0, done.err
    assert_all_rolled(fleet.data)
    # they were told to end, and ended well: nothing crashed
    assert rows(fleet.data, "SELECT * FROM gaps WHERE cause = 'crash'") == []
    assert_verified(fleet.data)


def test_a_wrong_collector_is_not_started_again_and_the_others_go_on(fleet: Fleet) -> None:
    text = fleet.path.read_text().replace("shards = 2", 'name = "good"')
    fleet.path.write_text(text + f'\n[[collector]]\nname = "bad"\nca_file = "{fleet.tmp_path}/none.pem"\n')
    with fleet.start() as second:
        second.until(lambda: fleet.frames("good") > 20, "the good one records")
        second.until(lambda: "is not started again" in second.err, "the wrong one gave up")
        told = fleet.statuses()["bad"]
        assert told["running"] is False
        assert told["restarts"] == 0
        assert "ended with 2 (usage or configuration)" in told["troubles"][0]
        done = second.stop()
    assert done.code == 2
    assert "good: ended with 0" in done.out
    assert_all_rolled(fleet.data)


def test_a_stop_before_anything_has_begun(fleet: Fleet) -> None:
    with fleet.start() as running:
        running.until(lambda: "process" in running.err, "the first process")
        done = running.stop()
    assert done.code == 0, done.err
    wait_until(lambda: children_of(fleet.running.process.pid) == [], "nobody is left")
    assert "ended by SIGTERM" in done.out


@pytest.mark.slow
def test_an_end_on_its_own_ends_the_supervisor(tmp_path: Path) -> None:
    options = ["--simulate", 5, "--category", "linear", "--symbol-count", 2, "--rate", 3]
    with gateway(tmp_path / "gateway", *options) as served:
        path = tmp_path / "fleet.toml"
        path.write_text("duration = 1.0\n" + CONFIG.format(data=tmp_path / "data", url=served.url))
        started = time.monotonic()
        done = tapebook("supervise", path)
        assert time.monotonic() - started >= 1
    assert done.code == 0, done.err
    assert "2 collectors; ended by the end of every collector" in done.out
    assert "[linear-1]" in done.err
    assert_all_rolled(tmp_path / "data")
