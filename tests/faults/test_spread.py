"""Spread combinations, over real sockets: symbols with slashes, prices below zero, sides that nobody quotes."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.core.feeds import Engine
from recorder.archive import open_archive
from recorder.journal import segments
from recorder.verify import verify
from schemas.names import Category, FeedState, Table
from schemas.time import NS_PER_MS, format_ns
from tests.processes import Tally, gateway, recording, tapebook
from tests.recorded import Recorded

SYMBOLS = ("BTCUSDT_BTC/USDT", "SOLUSDT_SOL/USDT", "XRPUSDT_XRP/USDT")
PREFIXES = ("orderbook.25", "publicTrade", "tickers")
TOPICS = [f"{prefix}.{symbol}" for prefix in PREFIXES for symbol in SYMBOLS]

# as in the protocol sheet, section 3.12
SAMPLES = (
    rb'{"topic":"orderbook.25.SOLUSDT_SOL/USDT","ts":1744165512200,"type":"snapshot","data":{"s":"SOLUSDT_SOL/USDT","b":[["-0.5","2"],["-1.25","1"]],"a":[["22.3755","4.7"]],"u":64891,"seq":299083},"cts":1744165512190}',
    rb'{"topic":"orderbook.25.SOLUSDT_SOL/USDT","ts":1744165512257,"type":"delta","data":{"s":"SOLUSDT_SOL/USDT","b":[],"a":[["22.3755","4.9"]],"u":64892,"seq":299084},"cts":1744165512234}',
    rb'{"topic":"publicTrade.SOLUSDT_SOL/USDT","ts":1744170142723,"type":"snapshot","data":[{"T":1744170142720,"s":"SOLUSDT_SOL/USDT","S":"Sell","v":"2.5","p":"-19.3928","L":"MinusTick","i":"31d0fc58-933b-57b3-8378-f73da06da843","seq":1783284617}]}',
    rb'{"topic":"tickers.SOLUSDT_SOL/USDT","ts":1744168585009,"type":"snapshot","data":{"symbol":"SOLUSDT_SOL/USDT","bidPrice":"20.3359","bidSize":"1.7","askPrice":"","askSize":"","lastPrice":"21.8182","highPrice24h":"24.2356","lowPrice24h":"-3","prevPrice24h":"22.1468","volume24h":"23309.9"}}',
)  # fmt: skip


def test_the_samples_of_the_protocol() -> None:
    engine = Engine(Category.SPREAD, columns=True)
    topics = [f"{prefix}.SOLUSDT_SOL/USDT" for prefix in PREFIXES]
    for topic in topics:
        engine.add_feed(topic)
        engine.subscribed(topic, 0, 0)
    for i, sample in enumerate(SAMPLES):
        assert engine.apply(sample, i, i) >= 0
    assert [engine.state(feed) for feed in range(3)] == [FeedState.LIVE] * 3
    assert engine.levels(0) == ([(-5_000, 20), (-12_500, 10)], [(223_755, 49)])
    tables = {key[0]: table for key, table in engine.take_rows("c").items()}
    assert tables[Table.TRADES].column("price_mantissa").to_pylist() == [-193_928]
    (ticker,) = tables[Table.TICKERS].select(["bid_price", "ask_price", "low_price_24h"]).to_pylist()
    assert ticker == {"bid_price": Decimal("20.3359"), "ask_price": None, "low_price_24h": Decimal(-3)}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    scratch = tmp_path_factory.mktemp("spread")
    ledger = scratch / "ledger.jsonl"
    simulated = ("--simulate", 11, "--category", "spread", "--speed", 30, "--ledger", ledger)
    with gateway(scratch / "gateway", *simulated) as served:
        options = ("--category", "spread", "--symbols", ",".join(SYMBOLS), "--topics", ",".join(PREFIXES))
        sent = [Tally(ledger, f'"{topic}"', '"frame"') for topic in TOPICS]
        with recording(
            scratch / "recorder", served.url, scratch / "data", *options, "--segment-seconds", 2
        ) as recorder:
            recorder.until(lambda: min(tally() for tally in sent) >= 5, "some of every topic")
            recorder.until(
                lambda: any(file.state == "sealed" for file in segments(scratch / "data")),
                "a segment was sealed",
            )
            done = recorder.stop()
    assert done.code == 0, done.err
    assert "refused" not in done.out
    return Recorded(scratch / "data", "spread")


def test_everything_is_recorded_and_right(recorded: Recorded) -> None:
    found = verify(recorded.data)
    assert found.findings == []
    assert found.segments > 1
    assert found.live_digests > len(
        SYMBOLS
    )  # of the first snapshots, and of books that went on in another segment
    assert recorded.gaps == []
    assert {row["topic"] for row in recorded.rows(Table.COVERAGE)} == set(TOPICS)
    frames = [json.loads(record.payload) for record in recorded.frames]
    assert {frame["topic"] for frame in frames} == set(TOPICS)
    trades = [
        trade for frame in frames if frame["topic"].startswith("publicTrade") for trade in frame["data"]
    ]
    rows = list(recorded.rows(Table.TRADES))
    assert sorted(row["trade_id"] for row in rows) == sorted(trade["i"] for trade in trades)
    prices = {trade["i"]: Decimal(trade["p"]) for trade in trades}
    for row in rows:
        assert Decimal(row["price_mantissa"]).scaleb(row["price_exponent"]) == prices[row["trade_id"]]
    assert min(prices.values()) < 0


def test_files_of_symbols_with_slashes(recorded: Recorded) -> None:
    path = recorded.data / "archive" / "trades" / "category=spread" / "symbol=BTCUSDT_BTC%2FUSDT"
    assert path.is_dir()
    assert not list(Path(recorded.data / "archive").rglob("symbol=BTCUSDT_BTC"))


def test_what_the_views_and_the_book_show(recorded: Recorded) -> None:
    def ask(sql: str) -> list[dict[str, Any]]:
        with open_archive(recorded.data) as archive:
            return archive.sql(sql).table().to_pylist()  # type: ignore[no-any-return]

    (books,) = ask(
        "SELECT min(list_min(bid_price)) AS lowest, "
        "count(*) FILTER (WHERE symbol LIKE 'XRP%' AND len(bid_price) > 0) AS bids FROM book_updates"
    )
    assert books["lowest"] < 0
    assert books["bids"] == 0  # nobody buys that one
    (tickers,) = ask(
        "SELECT count(bid_price) AS bids, count(ask_price) AS asks FROM tickers WHERE symbol LIKE 'XRP%'"
    )
    assert tickers["bids"] == 0 < tickers["asks"]
    (last,) = ask("SELECT epoch_ms(max(match_time)) AS at FROM book_updates WHERE symbol LIKE 'BTC%'")
    moment = format_ns(last["at"] * NS_PER_MS)
    done = tapebook(
        "book", "BTCUSDT_BTC/USDT", "--category", "spread", "--topic", "orderbook.25", "--at", moment,
        "--data", recorded.data, "--format", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    book = json.loads(done.out)
    assert book["bids"]
    assert Decimal(book["bids"][0][0]) < Decimal(book["asks"][0][0])
    instruments = ask("SELECT symbol, status FROM instruments_now WHERE category = 'spread'")
    assert {row["symbol"] for row in instruments} >= set(SYMBOLS)


def test_what_the_category_does_not_have(tmp_path: Path) -> None:
    done = tapebook(
        "record", "--category", "spread", "--symbols", "BTCUSDT_BTC/USDT", "--data", tmp_path / "data"
    )
    assert done.code == 2
    assert (
        "topic 'orderbook.50' does not exist on spread; the nearest valid one on spread is orderbook.25.SYMBOL"
        in done.err
    )
