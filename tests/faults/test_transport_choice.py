"""Recordings that picows reads, on a bad network: held against the gateway's ledger, and verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.names import Category, RecordKind
from schemas.notes import Disconnected, decode_session
from tests.recorded import assert_verified, hold, market_feed, record_replay

pytest.importorskip("picows", reason="picows isn't installed: pip install 'tapebook[picows]'")

TOPICS = [
    f"{prefix}.{symbol}"
    for prefix in ("orderbook.50", "orderbook.200", "publicTrade", "tickers")
    for symbol in ("BTCUSDT", "ETHUSDT")
]


@pytest.mark.parametrize("faults", ["", "cut=0.002,corrupt=0.006,drop=0.004,seed=3"], ids=["fine", "bad"])
def test_what_picows_reads_is_what_was_sent(faults: str, tmp_path: Path) -> None:
    feed = market_feed(tmp_path / "feed.txt", Category.LINEAR, TOPICS, 12)
    options = ("--fault", faults) if faults else ()
    recorded, expected = record_replay(
        tmp_path, feed, Category.LINEAR, TOPICS, "--speed", 12, *options, record=("--transport", "picows")
    )
    hold(recorded, expected)
    lost = [
        record
        for record in recorded.records
        if record.kind == RecordKind.SESSION
        and isinstance(event := decode_session(record.payload), Disconnected)
        and not event.clean
    ]
    if faults:
        assert len(lost) == expected.faults["cut"] > 0
        assert expected.undecodable == expected.faults["corrupt"] > 0
    else:
        assert lost == []
        assert expected.faults == {}
    assert_verified(recorded.data)
