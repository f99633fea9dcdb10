"""The metrics port of a recorder at work, over real sockets."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

from prometheus_client.parser import text_string_to_metric_families

from tests.processes import gateway, recording, tapebook

MARKET = ["--simulate", 5, "--category", "linear", "--symbol-count", 2, "--rate", 3]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def frames(url: str) -> float:
    text = get(f"{url}/metrics")[1]
    samples = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
    return samples.get("tapebook_frames_total", 0)


def test_a_recorder_is_scraped_while_it_records(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        gateway(tmp_path / "gateway", *MARKET) as served,
        recording(tmp_path / "run", served.url, data, "--symbols", "BTCUSDT", "--metrics", "0") as recorder,
    ):
        recorder.until(lambda: "metrics at http" in recorder.err, "the port was told")
        found = re.search(r"metrics at (http://127\.0\.0\.1:\d+)/metrics", recorder.err)
        assert found is not None
        url = found[1]
        recorder.until(lambda: frames(url) > 50, "frames were counted")
        told = json.loads(get(f"{url}/status")[1])["collectors"][0]
        assert told["collector"] == "linear"
        assert told["lateness"]["classes"]["orderbook.50"]["push"]["count"] > 0
        assert told["lateness"]["journaled"]["count"] > 0
        recorder.until(lambda: get(f"{url}/healthz") == (200, "ok\n"), "it is well")
        # the same port again is a mistake that is told before anything is recorded
        port = url.rpartition(":")[2]
        again = tapebook(
            "record", "--endpoint", served.url, "--data", tmp_path / "other", "--symbols", "BTCUSDT",
            "--metrics", port,
        )  # fmt: skip
        assert again.code == 2
        assert f"--metrics: cannot listen on 127.0.0.1:{port}" in again.err
        done = recorder.stop()
    assert done.code == 0, done.err
    assert "ended by SIGTERM" in done.out
