"""The benchmark of the sink to NATS: a short run of both ways."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks.feed import feed_of
from benchmarks.market import generated_feed
from benchmarks.nats_sink import MODES, nats_sink
from schemas.errors import ConfigError
from tests.brokers import needs_nats


@needs_nats
def test_a_short_run() -> None:
    pytest.importorskip("nats", reason="needs the client of NATS (the nats extra)")
    result = nats_sink(feed_of(*generated_feed(500)), 1_000, 0.3, 3_000)
    assert json.dumps(result)
    for name in MODES:
        backlog, live = result[name]["backlog"], result[name]["live"]
        assert backlog["messages"] == 3_000
        assert backlog["messages_per_second"] > 0
        assert live["messages"] == 301
        assert live["in_order_and_once"]
        assert 0 < live["commit_to_listener_ms"]["p50"] <= live["commit_to_listener_ms"]["max"]


def test_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="apt-get install nats-server"):
        nats_sink(feed_of(*generated_feed(10)), 1_000, 0.3)
