"""Bytes a frame: figures that add up, of frames that are generated."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks import __main__ as command


def test_sizes_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["size", "--frames", "3000"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["benchmark"], found["frames"]) == ("size", 3000)
    rolled, compacted = found["figures"]["roll"], found["figures"]["compact"]
    for figures in (rolled, compacted):
        assert figures["archive"] == pytest.approx(sum(figures["tables"].values()), abs=0.02)
        assert set(figures["tables"]) == {"book_updates", "coverage", "raw_records", "tickers", "trades"}
    assert compacted["archive"] < rolled["archive"] < found["raw"]
    assert found["topic"].startswith("orderbook.50.")
    times = found["queries_ms"]
    assert times["frames"] == 3000
    assert set(times["roll"]) == set(times["compact"])
    # all columns, and a share of the footer on top
    columns = compacted["topic_columns"]
    assert set(columns) >= {"sequence", "bid_price_mantissa", "digest"}
    assert sum(columns.values()) < compacted["topic"] < found["raw"]


def test_a_topic_that_is_no_book_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["size", "--frames", "500", "--topic", "publicTrade"]) == 2
    assert "expected an order-book feed" in capsys.readouterr().err
