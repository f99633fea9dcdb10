"""The simulated full and RPI streams say what the exchange's say, and REST agrees with them."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from engine.market import MAX_LAG, Market
from schemas.errors import ConfigError
from schemas.names import Category

START_NS = 1_780_000_000_000_000_000
SECOND = 1_000_000_000
FULL, RPI = "orderbook.full.BTCUSDT", "orderbook.rpi.BTCUSDT"


def market(category: Category = Category.SPOT) -> Market:
    return Market(5, category, ["BTCUSDT"], start_ns=START_NS)


def apply(book: dict[str, dict[str, Any]], data: dict[str, Any]) -> None:
    for side in "ba":
        for price, *sizes in data[side]:
            book[side].pop(price, None)
            if any(float(size) for size in sizes):
                book[side][price] = sizes


def loaded(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    book: dict[str, dict[str, Any]] = {"b": {}, "a": {}}
    apply(book, data)
    return book


def view(bids: Any, asks: Any) -> dict[str, dict[str, Any]]:
    return loaded({"b": bids, "a": asks})


@pytest.mark.parametrize("category", [Category.SPOT, Category.LINEAR])
def test_the_full_stream_has_deltas_only_and_rest_fits_between_them(category: Category) -> None:
    exchange = market(category)
    assert exchange.follow(FULL) is None
    first = exchange.full_book("BTCUSDT")
    assert first is not None
    book, u, sequence = view(first.bids, first.asks), first.update_id, first.cross_sequence or 0
    assert min(len(first.bids), len(first.asks)) > 1_000
    states = {u: book}
    for frame in exchange.advance(START_NS + 5 * SECOND):
        message = json.loads(frame.payload)
        assert (message["topic"], message["type"], frame.kind) == (FULL, "delta", "delta")
        data = message["data"]
        assert (data["u"], data["u"] == frame.update_id) == (u + 1, True)
        assert data["seq"] >= sequence
        assert message["ts"] % 200 == 0
        u, sequence = data["u"], data["seq"]
        book = {side: dict(levels) for side, levels in book.items()}
        apply(book, data)
        states[u] = book
    assert len(states) > 15
    for lag in (0, 1, 5, MAX_LAG):
        answer = exchange.full_book("BTCUSDT", lag)
        assert answer is not None
        assert answer.update_id == u - lag
        assert view(answer.bids, answer.asks) == states[answer.update_id]


def test_a_restart_sends_an_empty_packet_with_update_id_1() -> None:
    exchange = market()
    exchange.follow(FULL)
    exchange.follow(RPI)
    exchange.advance(START_NS + SECOND)
    packets = {frame.topic: json.loads(frame.payload) for frame in exchange.restart()}
    assert packets[FULL]["type"] == "delta"
    assert (packets[FULL]["data"]["u"], packets[FULL]["data"]["b"], packets[FULL]["data"]["a"]) == (1, [], [])
    assert (packets[RPI]["type"], packets[RPI]["data"]["u"]) == ("snapshot", 1)
    answer = exchange.full_book("BTCUSDT", MAX_LAG)  # nothing of before the restart is left
    assert answer is not None
    assert answer.update_id == 1
    assert json.loads(exchange.advance(START_NS + 2 * SECOND)[0].payload)["data"]["u"] == 2


def test_the_rpi_stream_is_its_snapshot_and_its_deltas() -> None:
    exchange = market()
    first = exchange.follow(RPI)
    assert first is not None
    snapshot = json.loads(first.payload)
    assert snapshot["type"] == "snapshot"
    book, u = loaded(snapshot["data"]), snapshot["data"]["u"]
    kinds: Counter[str] = Counter()
    for frame in exchange.advance(START_NS + 20 * SECOND):
        message = json.loads(frame.payload)
        data = message["data"]
        assert (message["type"], data["u"]) == ("delta", u + 1)
        assert message["ts"] % 100 == 0
        u += 1
        apply(book, data)
        assert max(map(len, book.values())) <= 50
        best = {side: [float(p) for p, sizes in book[side].items() if float(sizes[0])] for side in "ba"}
        bid, ask = max(best["b"]), min(best["a"])
        assert bid < ask
        for side in "ba":
            for price, (size, rpi) in book[side].items():
                # RPI interest that would reach the opposite best price is hidden
                assert float(price) < ask if side == "b" else float(price) > bid
                kinds["both" if float(size) and float(rpi) else "rpi" if float(rpi) else "plain"] += 1
    assert min(kinds["both"], kinds["rpi"], kinds["plain"]) > 100
    answer = exchange.rpi_book("BTCUSDT")
    assert answer is not None
    assert (answer.update_id, view(answer.bids, answer.asks)) == (u, book)
    prices = [float(level[0]) for level in answer.bids]
    assert prices == sorted(prices, reverse=True)


def test_options_have_neither() -> None:
    exchange = Market(5, Category.OPTION, start_ns=START_NS)
    symbol = exchange.instruments[0].symbol
    assert not exchange.has_topic(f"orderbook.full.{symbol}")
    assert exchange.full_book(symbol) is None
    assert exchange.rpi_book(symbol) is None
    assert market().full_book("NOBODY") is None


def test_a_book_of_two_sizes_is_no_plain_view() -> None:
    with pytest.raises(ConfigError, match="rpi_book"):
        market().book("BTCUSDT", RPI)


def test_a_delisting_ends_the_full_stream_with_an_empty_packet() -> None:
    exchange = Market(
        5, Category.SPOT, ["BTCUSDT", "ETHUSDT"], start_ns=START_NS, delistings=[("BTCUSDT", 1.0)]
    )
    exchange.follow(FULL)
    frames = exchange.advance(START_NS + 3 * SECOND)
    last = json.loads(frames[-1].payload)
    assert (last["topic"], last["data"]["u"], last["data"]["b"], last["data"]["a"]) == (FULL, 1, [], [])
    assert exchange.full_book("BTCUSDT") is None
