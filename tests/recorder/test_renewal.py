"""A run that is worn makes way for the next one, over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

import engine.wear
from recorder.archive import open_archive
from recorder.collector import Report
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.journal import SegmentReader, segments
from recorder.network import open_network
from recorder.record import _record
from recorder.roll import roll_data
from recorder.universe import resolve
from recorder.verify import verify
from schemas.config import RecordConfig
from schemas.names import Category, RecordKind
from tests.recorder.lines import until


def _runs(data: Path) -> dict[int, int]:
    """Sealed frames by run."""
    runs: dict[int, int] = {}
    for file in segments(data):
        if file.state == "sealed":
            with SegmentReader(file.path) as reader:
                frames = sum(record.kind == RecordKind.FRAME for record in reader.records())
                runs[reader.info.run_start_ns] = runs.get(reader.info.run_start_ns, 0) + frames
    return runs


async def test_it_ends_cleanly_and_the_next_one_goes_on_until_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.wear, "MOST_PLACES", 6)
    options = GatewayOptions(
        simulate=7,
        symbol_count=3,
        category=Category.LINEAR,
        rate=5.0,
        delistings=(("ETHUSDT", 2.0), ("SOLUSDT", 2.0)),
    )
    async with Gateway(options) as gateway:
        config = RecordConfig(
            data=str(tmp_path),
            symbols=["USDT perpetuals"],
            topics=["orderbook.50", "tickers"],
            endpoint=gateway.url,
            refresh_every=0.5,
            segment_seconds=1,
            state_dir=str(tmp_path / "state"),
        )
        network = open_network(config)
        resolved = await resolve(config, network)
        recording: asyncio.Task[Report] = asyncio.create_task(
            _record(config, network, resolved, tmp_path, None, None, False)
        )
        await until(
            lambda: (len(runs := _runs(tmp_path)) > 1 and runs[max(runs)] > 0) or recording.done(),
            "the next run",
        )
        os.kill(os.getpid(), signal.SIGTERM)
        report = await asyncio.wait_for(recording, 60)
    assert report.why == "SIGTERM"
    assert [feed.topic for feed in report.feeds] == ["orderbook.50.BTCUSDT", "tickers.BTCUSDT"]
    assert len(_runs(tmp_path)) == 2
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []
    with open_archive(tmp_path) as archive:
        assert archive.sql("SELECT * FROM gaps").table().to_pylist() == []
        spans = archive.sql("SELECT symbol, count(*) AS n FROM coverage GROUP BY symbol").table().to_pylist()
    assert {span["symbol"]: span["n"] for span in spans}["BTCUSDT"] == 4  # two topics, two runs
