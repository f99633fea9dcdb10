"""The rebuilt state: protocol section 4, and the example feed's own check sums."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from recorder.gateway.books import Feeds, topic_of
from schemas.names import Category

# A capture file beside its check sums: one row per book frame, with the crc32 of the whole window after it.
EXAMPLE = Path(
    os.environ.get("TAPEBOOK_FEED")
    or Path(__file__).resolve().parents[4] / "shared/data/bybit_linear_btc_eth.jsonl.gz"
)
CHECKS = EXAMPLE.with_name(EXAMPLE.name.replace(".jsonl.gz", ".check.tsv.gz"))
BOOK = "orderbook.50.BTCUSDT"


def book(
    kind: str,
    update_id: int,
    bids: list[list[str]] = [],  # noqa: B006 - never changed
    asks: list[list[str]] = [],  # noqa: B006
    topic: str = BOOK,
    ts: int = 1_000,
) -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": update_id * 10}
    return json.dumps({"topic": topic, "type": kind, "ts": ts, "data": data, "cts": ts - 2}).encode()


def feeds_after(*frames: bytes, category: Category = Category.LINEAR) -> Feeds:
    feeds = Feeds(category)
    for frame in frames:
        topic = topic_of(frame)
        assert topic is not None
        feeds.apply(topic, frame)
    return feeds


def rebuilt(feeds: Feeds, topic: str = BOOK) -> Any:
    found = feeds.snapshot(topic, 9_999)
    return None if found is None else json.loads(found[1])


SNAPSHOT = book("snapshot", 7, [["100.50", "1.000"], ["100.00", "2.000"]], [["101.00", "3.000"]])


def test_a_delta_changes_adds_and_removes() -> None:
    delta = book("delta", 8, [["100.50", "0"], ["100.20", "4.000"]], [["101.00", "3.500"], ["102.00", "0"]])
    feeds = feeds_after(SNAPSHOT, delta)
    assert feeds.snapshot(BOOK, 9_999) == (
        8,
        b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1001,"data":{"s":"BTCUSDT",'
        b'"b":[["100.20","4.000"],["100.00","2.000"]],"a":[["101.00","3.500"]],"u":8,"seq":80},"cts":998}',
    )


def test_prices_are_numbers_and_keep_the_latest_text() -> None:
    feeds = feeds_after(SNAPSHOT, book("delta", 8, [["100.5", "9.000"], ["100", "0.00"]]))
    assert rebuilt(feeds)["data"]["b"] == [["100.5", "9.000"]]


def test_nothing_is_built_from_deltas_alone() -> None:
    feeds = feeds_after(book("delta", 8, [["100.20", "4.000"]]))
    assert rebuilt(feeds) is None
    assert feeds.book("BTCUSDT", (50,)) is None


def test_a_missing_delta_ends_the_state_until_the_next_snapshot() -> None:
    feeds = feeds_after(SNAPSHOT, book("delta", 9, [["100.20", "4.000"]]))
    assert rebuilt(feeds) is None
    feeds.apply(BOOK, book("delta", 10, [["100.20", "4.000"]]))
    assert rebuilt(feeds) is None
    feeds.apply(BOOK, book("snapshot", 1, [["5", "1"]]))
    assert rebuilt(feeds)["data"]["u"] == 1


def test_a_repeated_delta_changes_nothing() -> None:
    delta = book("delta", 8, [["100.20", "4.000"]])
    feeds = feeds_after(SNAPSHOT, delta, book("delta", 9, [["100.20", "0"]]), delta)
    assert [price for price, _ in rebuilt(feeds)["data"]["b"]] == ["100.50", "100.00"]


def test_the_window_is_cut_to_the_depth_and_bounded_beyond() -> None:
    topic = "orderbook.1.BTCUSDT"
    levels = [[f"{price}", "1"] for price in range(100, 90, -1)]
    feeds = feeds_after(book("snapshot", 1, levels, topic=topic))
    assert rebuilt(feeds, topic)["data"]["b"] == [["100", "1"]]
    feeds.apply(topic, book("delta", 2, [["100", "0"]], topic=topic))
    assert rebuilt(feeds, topic)["data"]["b"] == [["99", "1"]]
    feeds.apply(topic, book("delta", 3, [["99", "0"]], topic=topic))
    assert rebuilt(feeds, topic)["data"]["b"] == []


def test_one_sided_and_empty_books() -> None:
    feeds = feeds_after(book("snapshot", 3, [], [["5", "1"]]))
    assert (rebuilt(feeds)["data"]["b"], rebuilt(feeds)["data"]["a"]) == ([], [["5", "1"]])
    feeds.apply(BOOK, book("snapshot", 4))
    assert rebuilt(feeds)["data"]["a"] == []


@pytest.mark.parametrize(
    ("category", "topic", "keys"),
    [
        (Category.LINEAR, BOOK, ["topic", "type", "ts", "data", "cts"]),
        (Category.LINEAR, "orderbook.1.BTCUSDT", ["topic", "ts", "type", "data", "cts"]),
        (Category.SPOT, "orderbook.200.BTCUSDT", ["topic", "ts", "type", "data", "cts"]),
        (Category.OPTION, "orderbook.25.BTC-1JAN30-1-C", ["topic", "ts", "type", "id", "data", "cts"]),
    ],
)
def test_key_order_of_a_rebuilt_book(category: Category, topic: str, keys: list[str]) -> None:
    feeds = feeds_after(book("snapshot", 3, [["1", "1"]], topic=topic), category=category)
    assert list(rebuilt(feeds, topic)) == keys


def ticker(kind: str, data: dict[str, Any], sequence: int = 5) -> bytes:
    frame = {"topic": "tickers.BTCUSDT", "type": kind, "data": data, "cs": sequence, "ts": 1}
    return json.dumps(frame, separators=(",", ":")).encode()


def test_tickers_merge() -> None:
    feeds = feeds_after(
        ticker("delta", {"symbol": "BTCUSDT", "markPrice": "1"}),
        ticker(
            "snapshot",
            {"symbol": "BTCUSDT", "lastPrice": "1.10", "preQty": "x", "odd": {"k": [1.0, "\u00e9"]}},
        ),
        ticker("delta", {"symbol": "BTCUSDT", "preQty": "", "new": "n"}, 6),
    )
    assert feeds.snapshot("tickers.BTCUSDT", 77) == (
        None,
        b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","lastPrice":"1.10","preQty":"",'
        b'"odd":{"k":[1.0,"\\u00e9"]},"new":"n"},"cs":6,"ts":2}',
    )
    assert feeds.ticker("BTCUSDT") == {"symbol": "BTCUSDT", "lastPrice": "1.10", "preQty": "", "new": "n"}


def test_a_ticker_delta_before_any_snapshot_is_no_state() -> None:
    feeds = feeds_after(ticker("delta", {"symbol": "BTCUSDT"}))
    assert feeds.snapshot("tickers.BTCUSDT", 1) is None
    assert feeds.ticker("BTCUSDT") is None


def test_option_tickers_keep_the_sequence_of_their_id() -> None:
    topic = "tickers.BTC-6JAN23-17500-C"
    head = f'"id":"{topic}-2480334983-1672917511074","topic":"{topic}"'
    frame = f'{{{head},"ts":2,"data":{{"symbol":"S"}},"type":"snapshot"}}'
    feeds = feeds_after(frame.encode(), category=Category.OPTION)
    found = rebuilt(feeds, topic)
    assert list(found) == ["id", "topic", "ts", "data", "type"]
    assert found["id"] == f"{topic}-2480334983-3"


def test_a_rebuilt_snapshot_is_never_newer_than_the_next_message() -> None:
    """A recording's messages were pushed before they were received, which is what its clock tells."""
    feeds = feeds_after(SNAPSHOT)
    for now_ms, pushed_ms in ((1_000, 1_000), (1_001, 1_001), (1_009, 1_001)):
        found = feeds.snapshot(BOOK, now_ms)
        assert found is not None
        assert json.loads(found[1])["ts"] == pushed_ms
        (restarted,) = feeds_after(SNAPSHOT).restart(now_ms)
        assert json.loads(restarted[3])["ts"] == pushed_ms


def test_recent_trades_are_newest_first_and_bounded() -> None:
    feeds = Feeds(Category.LINEAR)
    for first in range(0, 1_500, 500):
        rows = [{"T": number, "s": "BTCUSDT", "i": str(number)} for number in range(first, first + 500)]
        frame = json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "data": rows}).encode()
        assert feeds.apply("publicTrade.BTCUSDT", frame) == ("publicTrade.BTCUSDT", None, "snapshot")
    recent = feeds.recent_trades("BTCUSDT")
    assert [recent[0]["T"], recent[-1]["T"], len(recent)] == [1_499, 500, 1_000]
    assert feeds.recent_trades("ETHUSDT") == []


@pytest.mark.parametrize(
    ("topic", "damage"),
    [
        (BOOK, b'{"topic":"orderbook.50.BTCUSDT","type":"delta"'),
        (BOOK, b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1,"data":{"s":"B","u":8,"b":[["1"]]}}'),
        (
            BOOK,
            b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1,"data":{"s":"B","u":8,"b":[["1","\\""]]}}',
        ),
        (BOOK, b'{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1,"data":' + b"[" * 50_000),
        ("tickers.BTCUSDT", b'{"topic":"tickers.BTCUSDT","type":"snapshot","ts":1,"data":[]}'),
        ("publicTrade.BTCUSDT", b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","data":{}}'),
        ("kline.1.BTCUSDT", b'{"topic":"kline.1.BTCUSDT","type":'),
    ],
)
def test_damage_is_counted_and_changes_nothing(topic: str, damage: bytes) -> None:
    feeds = feeds_after(ticker("snapshot", {"symbol": "BTCUSDT"}))
    before = rebuilt(feeds, "tickers.BTCUSDT")
    assert topic_of(damage) == topic
    info = feeds.apply(topic, damage)
    assert (info.topic, info.update_id, info.kind) == (topic, None, None)
    assert feeds.undecodable == 1
    assert rebuilt(feeds, "tickers.BTCUSDT") == before


@pytest.mark.parametrize("price", ["Infinity", "NaN", "sNaN", "", "1.2.3", "-"])
def test_a_book_with_a_damaged_price_is_not_served(price: str) -> None:
    feeds = feeds_after(SNAPSHOT, book("delta", 8, [["100.50", "0"], [price, "1"]]))
    assert rebuilt(feeds) is None
    assert feeds.undecodable == 1
    feeds.apply(BOOK, SNAPSHOT)
    assert rebuilt(feeds)["data"]["u"] == 7


def test_other_topics_are_known_by_their_header() -> None:
    feeds = Feeds(Category.SPOT)
    full = b'{"topic":"orderbook.full.BTCUSDT","type":"delta","ts":1,"data":{"u":4,"b":[["1","2","3"]]}}'
    assert feeds.apply("orderbook.full.BTCUSDT", full) == ("orderbook.full.BTCUSDT", 4, "delta")
    assert feeds.snapshot("orderbook.full.BTCUSDT", 1) is None
    kline = b'{"topic":"kline.1.BTCUSDT","type":"snapshot","ts":1,"data":[{"start":1}]}'
    assert feeds.apply("kline.1.BTCUSDT", kline) == ("kline.1.BTCUSDT", None, "snapshot")
    limit = b'{"topic":"priceLimit.BTCUSDT","data":{"symbol":"BTCUSDT"},"ts":1}'
    assert feeds.apply("priceLimit.BTCUSDT", limit) == ("priceLimit.BTCUSDT", None, None)


@pytest.mark.parametrize(
    ("frame", "topic"),
    [
        (b'{"id":"i","topic":"tickers.X","ts":1}', "tickers.X"),
        (b'{ "topic" : "tickers.X" }', "tickers.X"),
        (b'{"success":true,"ret_msg":"","op":"subscribe"}', None),
        (b'{"data":{"failTopics":[],"successTopics":["tickers.X"]},"type":"COMMAND_RESP"}', None),
        (b'{"topic":"a\\"b"}', None),
        (b'{"topic":"\xff"}', None),
        (b'{"topic":""}', None),
        (b"", None),
    ],
)
def test_topic_of(frame: bytes, topic: str | None) -> None:
    assert topic_of(frame) == topic


@pytest.mark.skipif(not EXAMPLE.exists(), reason="no captured feed; TAPEBOOK_FEED may say where it is")
def test_the_example_feed_adds_up() -> None:
    feeds = Feeds(Category.LINEAR)
    lines = gzip.decompress(EXAMPLE.read_bytes()).splitlines()
    checks = gzip.decompress(CHECKS.read_bytes()).decode()
    position = compared = 0
    for check in checks.splitlines()[:10_000]:
        number, topic, update_id, crc, _, _ = check.split("\t")
        while position <= int(number):
            payload = lines[position].partition(b" ")[2]
            feeds.apply(topic_of(payload) or "", payload)
            position += 1
        depth = int(topic.split(".")[1])
        view = feeds.book(topic.rpartition(".")[2], (depth,))
        assert view is not None
        assert view.update_id == int(update_id)
        sides = [
            ";".join(f"{_bare(price)}:{_bare(size)}" for price, size in side)
            for side in (view.bids, view.asks)
        ]
        assert f"{zlib.crc32('|'.join(sides).encode()):08x}" == crc
        compared += 1
    assert compared > 5_000
    assert feeds.undecodable == 0


def _bare(text: str) -> int:
    return int(text.replace(".", ""))
