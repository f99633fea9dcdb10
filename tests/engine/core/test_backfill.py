"""Trades that were fetched back: rows once, marked, and nothing else about the feed changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.feeds import Engine
from schemas.names import Category, FeedState, Table

TRADES = "publicTrade.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"
RING = 1024
REACH = 1000
"""Trades that one answer of the exchange holds (protocol section 6.1); fewer than the core remembers."""


def frame(ids: list[int], *, topic: str = TRADES, symbol: str = "BTCUSDT", price: str = "100.5") -> bytes:
    rows = [{"T": 1000 + i, "s": symbol, "S": "Buy", "v": "1", "p": price, "i": f"id-{i}"} for i in ids]
    return json.dumps({"topic": topic, "type": "snapshot", "ts": 2000, "data": rows}).encode()


class Driven:
    """An engine with columns, and the trades that it made rows of."""

    def __init__(self, category: Category = Category.LINEAR, topic: str = TRADES) -> None:
        self.engine = Engine(category, columns=True)
        self.engine.add_feed(topic)
        self.engine.subscribed(topic, 1, 0)
        self.sequence = 0

    def stream(self, ids: list[int], **how: Any) -> None:
        self.sequence += 1
        assert self.engine.apply(frame(ids, **how), self.sequence, self.sequence) == 0

    def backfill(self, ids: list[int], **how: Any) -> str:
        self.sequence += 1
        return self.engine.backfill(frame(ids, **how), self.sequence, self.sequence)

    def rows(self) -> list[tuple[str, str, int]]:
        tables = self.engine.take_rows("linear")
        return [
            (row["trade_id"], row["source"], row["sequence"])
            for (table, _, _), rows in tables.items()
            if table is Table.TRADES
            for row in rows.select(["trade_id", "source", "sequence"]).to_pylist()
        ]


def test_a_trade_of_stream_and_backfill_is_one_row_of_whichever_came_first() -> None:
    driven = Driven()
    driven.stream([1, 2])
    assert driven.backfill([2, 3, 4]) == "ok"
    driven.stream([4, 5])
    assert driven.rows() == [
        ("id-1", "stream", 1),
        ("id-2", "stream", 1),
        ("id-3", "backfill", 2),
        ("id-4", "backfill", 2),
        ("id-5", "stream", 3),
    ]


def test_a_backfill_says_nothing_about_the_stream() -> None:
    driven = Driven()
    driven.stream([1])
    before = (driven.engine.messages(0), driven.engine.last_good(0), driven.engine.last_receive_ns(0))
    driven.engine.stale(TRADES, "silence", 5, 5)
    gap = driven.engine.open_gap(0)
    assert driven.backfill([2, 3]) == "ok"
    assert driven.engine.state(0) is FeedState.STALE
    assert driven.engine.open_gap(0) == gap
    assert (
        driven.engine.messages(0),
        driven.engine.last_good(0),
        driven.engine.last_receive_ns(0),
    ) == before


def test_wider_decimals_of_a_backfill_widen_the_pair() -> None:
    driven = Driven()
    driven.stream([1])
    driven.engine.take_events()
    driven.backfill([2], price="100.125")
    assert driven.engine.exponents("BTCUSDT")[0] == -3
    (event,) = driven.engine.take_events()
    assert event.price_decimals == 3


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (frame([1])[:-3], "not_json"),
        (frame([1], price="1e400"), "bad_number"),
        (frame([1], symbol="ETHUSDT"), "wrong_symbol"),
        (frame([1], topic="publicTrade.ETHUSDT"), "bad_value"),
        (b'{"op":"pong"}', "bad_value"),
        (frame(list(range(RING + 1))), "bad_value"),
        (json.dumps({"topic": BOOK, "type": "snapshot", "ts": 1, "cts": 1,
                     "data": {"s": "BTCUSDT", "b": [], "a": [], "u": 1, "seq": 1}}).encode(), "bad_value"),
    ],
)  # fmt: skip
def test_what_is_no_frame_of_trades_is_refused_whole(bad: bytes, why: str) -> None:
    driven = Driven()
    driven.engine.add_feed(BOOK)
    assert driven.engine.backfill(bad, 1, 1) == why
    assert driven.rows() == []
    assert driven.engine.pending == 0
    driven.stream([1])
    assert driven.rows() == [("id-1", "stream", 1)]


def test_options_rows_go_by_their_contract() -> None:
    driven = Driven(Category.OPTION, "publicTrade.BTC")
    driven.backfill([1], topic="publicTrade.BTC", symbol="BTC-1JAN27-100-C")
    ((key, rows),) = driven.engine.take_rows("option").items()
    assert key[:2] == (Table.TRADES, "BTC-1JAN27-100-C")
    assert rows.column("source").to_pylist() == ["backfill"]


def test_ids_that_can_come_again_are_not_the_first_to_be_forgotten() -> None:
    """Two backfills, the first of so many trades that the ids of the stream would have left the ring."""
    driven = Driven()
    driven.stream([0])
    streamed, lost = list(range(800, 1000)), list(range(1, 800))
    driven.stream(streamed)
    driven.backfill(lost + streamed)
    driven.stream(list(range(1100, 1300)))  # 1000 to 1099 are lost
    driven.backfill(list(range(1300 - REACH, 1300)))
    found = [int(name.removeprefix("id-")) for name, _, _ in driven.rows()]
    assert len(found) == len(set(found))
    assert sorted(found) == list(range(1300))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["stream", "lose", "backfill"]), st.integers(1, 400)), max_size=30))
def test_every_trade_is_one_row_whatever_is_lost_and_fetched_back(steps: list[tuple[str, int]]) -> None:
    driven = Driven()
    made, expected, unknown = 0, {}, set()
    for what, count in steps:
        if what == "backfill":
            within = range(max(0, made - REACH), made)
            assert driven.backfill(list(within)) == "ok"
            for i in within:
                expected.setdefault(i, "backfill")
                unknown.discard(i)
            continue
        ids = list(range(made, made + count))
        made += count
        if what == "stream":
            driven.stream(ids)
            expected |= dict.fromkeys(ids, "stream")
        else:
            unknown.update(ids)
    found = [(int(name.removeprefix("id-")), source) for name, source, _ in driven.rows()]
    assert len(found) == len(expected)
    assert dict(found) == expected
