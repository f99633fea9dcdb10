"""A universe that is followed while it is recorded: over real sockets, and by hand where answers have to be odd."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from engine.bybit import rest as shapes
from engine.bybit.topics import SYSTEM_STATUS
from engine.sharding import parse_shard
from engine.timing import Timing
from recorder.archive import open_archive
from recorder.collector import Collector, Report
from recorder.crashes import crashed_feeds
from recorder.follow import Follower
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.journal import recover
from recorder.live_books import live_feeds, open_control
from recorder.roll import roll_data
from recorder.universe import Resolved, resolve, selection_of, topics_of
from recorder.verify import verify
from schemas.config import RecordConfig
from schemas.errors import ExchangeError
from schemas.names import Category
from schemas.notes import Crashed
from tests.recorder.lines import until
from tests.recorder.market_gateway import Answer, MarketGateway
from tests.recorder.recordings import BOOK, START_NS, TICKER, Tape, book

CATEGORY = Category.LINEAR


class Following:
    """A collector that follows a gateway's market."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.task = asyncio.create_task(collector.run())

    def messages(self, topic: str) -> int:
        engine = self.collector.engine
        feed = engine.feed_index(topic)
        return engine.messages(feed) if feed >= 0 else 0

    async def stop(self) -> Report:
        self.collector.stop("the test")
        return await asyncio.wait_for(self.task, 60)


class Hanging(MarketGateway):
    """A gateway whose market endpoints answer once they may."""

    def __init__(self, options: GatewayOptions) -> None:
        super().__init__(options)
        self.answers = asyncio.Event()

    async def market(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        await self.answers.wait()
        return await answer(request)


@asynccontextmanager
async def following(
    data: Path, symbols: str, *, topics: list[str], crashed: list[Crashed] | None = None, **options: Any
) -> AsyncIterator[Following]:
    options = {"symbol_count": 2} | options
    category = options.get("category", CATEGORY)
    async with Gateway(GatewayOptions(simulate=7, **{"category": category} | options)) as gateway:
        config = RecordConfig(
            category=category,
            data=str(data),
            symbols=[symbols],
            topics=topics,
            endpoint=gateway.url,
            refresh_every=0.5,
            state_dir=str(data / "state"),
        )
        resolved = await resolve(config, gateway.url)
        collector = Collector(config, gateway.url, resolved.topics, crashed=crashed or [], resolved=resolved)
        follower = Following(collector)
        try:
            await until(lambda: collector.is_recording, "its beginning")
            yield follower
        finally:
            if not follower.task.done():
                await follower.stop()


def _rows(data: Path, sql: str) -> list[dict[str, Any]]:
    with open_archive(data) as archive:
        return archive.sql(sql).table().to_pylist()


async def test_listings_and_delistings_are_followed_without_a_restart(tmp_path: Path) -> None:
    topics = ["orderbook.50", "publicTrade", "tickers"]
    schedule: dict[str, Any] = {
        "listings": (("SOLUSDT", 1.0),),
        "delistings": (("ETHUSDT", 4.0),),
        "rate": 5.0,
    }
    async with following(tmp_path, "USDT perpetuals", topics=topics, **schedule) as recording:

        def lines() -> list[str]:
            return recording.collector.lines.topics

        await until(lambda: recording.messages("orderbook.50.SOLUSDT") > 5, "frames of the new symbol")
        await until(lambda: "orderbook.50.ETHUSDT" not in lines(), "the end of the delisted symbol")
        assert sorted(lines()) == sorted(f"{t}.{s}" for t in topics for s in ("BTCUSDT", "SOLUSDT"))
        # it goes on as if nothing had been, over a rotation too
        recording.collector.capture.rotate()
        before = recording.messages("orderbook.50.SOLUSDT")
        await until(lambda: recording.messages("orderbook.50.SOLUSDT") > before + 5, "more frames")
        told = {feed["topic"] for feed in recording.collector.status()["feeds"]}
        assert told == set(lines())
        report = await recording.stop()
    assert {feed.topic: feed.state for feed in report.feeds}["tickers.ETHUSDT"] == "ended"
    assert len(report.feeds) == 9
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []
    assert _rows(tmp_path, "SELECT * FROM gaps") == []
    spans = _rows(
        tmp_path,
        "SELECT symbol, count(*) AS spans, min(messages) > 0 AS heard, max(epoch_ns(end_time)) AS end_ns "
        "FROM coverage WHERE topic LIKE 'orderbook%' GROUP BY symbol ORDER BY symbol",
    )
    assert [(row["symbol"], row["spans"], row["heard"]) for row in spans] == [
        ("BTCUSDT", 1, True),
        ("ETHUSDT", 1, True),
        ("SOLUSDT", 1, True),
    ]
    assert spans[1]["end_ns"] < spans[0]["end_ns"] == spans[2]["end_ns"]
    instruments = _rows(tmp_path, "SELECT symbol, kind FROM instruments ORDER BY sequence, symbol")
    assert [(row["symbol"], row["kind"]) for row in instruments] == [
        ("BTCUSDT", "listed"),
        ("ETHUSDT", "listed"),
        ("SOLUSDT", "listed"),
        ("ETHUSDT", "gone"),
    ]


async def test_a_named_symbol_that_is_listed_later_begins_then(tmp_path: Path) -> None:
    async with following(
        tmp_path, "BTCUSDT, SOLUSDT", topics=["orderbook.50"], listings=(("SOLUSDT", 2.0),)
    ) as recording:
        lines = recording.collector.lines
        await until(
            lambda: bool(lines.refused) or recording.messages("orderbook.50.SOLUSDT") > 0, "a refusal"
        )
        await until(lambda: recording.messages("orderbook.50.SOLUSDT") > 0, "frames of the new symbol")
        assert not lines.refused
        await recording.stop()
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []


async def test_a_symbol_that_was_delisted_while_we_were_down_ends_its_gap(tmp_path: Path) -> None:
    """It is asked for by name all the same, and refused; it may be listed again."""
    gone = "orderbook.50.GONEUSDT"
    tape = Tape(tmp_path, [BOOK, gone])
    tape.frames([book("snapshot", 5, [("1", "1")], [("2", "1")], START_NS // 1_000_000, gone)])
    tape.crash()
    recover(tmp_path)
    crashed = crashed_feeds(tmp_path, "linear")
    assert [note.topic for note in crashed] == [gone]
    async with following(
        tmp_path, "BTCUSDT, GONEUSDT", topics=["orderbook.50"], crashed=crashed
    ) as recording:
        engine = recording.collector.engine
        await until(lambda: engine.open_gap(engine.feed_index(gone)) is None, "the end of the gap")
        assert not engine.ended(engine.feed_index(gone))
        await until(lambda: gone in recording.collector.lines.topics, "its topic to be asked for")
        await recording.stop()
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []
    assert _rows(tmp_path, "SELECT topic, cause, healed_by, end_time IS NULL AS open FROM gaps") == [
        {"topic": gone, "cause": "crash", "healed_by": "end", "open": False}
    ]


@pytest.mark.parametrize("answers", [True, False])
async def test_a_recording_does_not_wait_for_an_exchange_whose_rest_hangs(
    *, answers: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tapebook")
    options = GatewayOptions(simulate=7, symbol_count=2, category=CATEGORY)
    async with Hanging(options) as gateway:
        config = RecordConfig(
            data=str(tmp_path),
            symbols=["BTCUSDT"],
            topics=["orderbook.50"],
            endpoint=gateway.url,
            state_dir=str(tmp_path / "state"),
        )
        collector = Collector(
            config,
            gateway.url,
            (await resolve(config, gateway.url)).topics,
            crashed=[],
            timing=Timing(listing_ns=50_000_000),
        )
        recording = Following(collector)
        await until(lambda: collector.is_recording, "its beginning")
        await until(lambda: recording.messages("orderbook.50.BTCUSDT") > 0, "frames")
        assert "instruments-info has not answered for 0.05 s: recording begins without it" in caplog.text
        assert collector.follower.refreshes == 0
        if answers:
            gateway.answers.set()
            await until(lambda: collector.follower.refreshes == 1, "the listing")
        await recording.stop()
        gateway.answers.set()
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []
    listed = _rows(tmp_path, "SELECT symbol, kind FROM instruments ORDER BY symbol")
    assert [row["symbol"] for row in listed] == (["BTCUSDT", "ETHUSDT"] if answers else [])


async def test_who_waits_for_a_listing_is_alive(tmp_path: Path) -> None:
    async with Hanging(GatewayOptions(simulate=7, symbol_count=2, category=CATEGORY)) as gateway:
        config = RecordConfig(
            data=str(tmp_path),
            symbols=["BTCUSDT"],
            topics=["orderbook.50"],
            endpoint=gateway.url,
            state_dir=str(tmp_path / "state"),
        )
        topics = (await resolve(config, gateway.url)).topics
        collector = Collector(
            config, gateway.url, topics, crashed=[], timing=Timing(listing_ns=600_000_000_000)
        )
        recording = Following(collector)
        await until(lambda: collector.is_recording, "its beginning")
        await until(lambda: bool(live_feeds(tmp_path)), "its books")
        control = open_control(tmp_path, config.collector)
        begun = control.heartbeat_ns
        await until(lambda: control.heartbeat_ns > begun, "a sign of life")
        assert collector.follower.refreshes == 0
        await recording.stop()
        gateway.answers.set()


async def test_trades_of_options_end_with_the_last_contract_of_their_coin(tmp_path: Path) -> None:
    async with Gateway(GatewayOptions(simulate=7, category=Category.OPTION, symbol_count=4)) as gateway:
        config = RecordConfig(category=Category.OPTION, symbols=["all"], topics=["tickers"])
        listed = (await resolve(config, gateway.url)).choice
    assert listed is not None
    coins = {symbol.partition("-")[0] for symbol in listed.symbols}
    ends = [symbol for symbol in listed.symbols if symbol.startswith("BTC-")]
    async with following(
        tmp_path,
        "all",
        topics=["publicTrade", "orderbook.25"],
        category=Category.OPTION,
        symbol_count=4,
        delistings=tuple((symbol, 1.0) for symbol in ends),
    ) as recording:
        assert "publicTrade.BTC" in recording.collector.topics
        if len(coins) == 1:  # nothing is left then: all the same the trades go last
            await until(lambda: not recording.collector.lines.topics, "the end of all")
        else:
            await until(
                lambda: "publicTrade.BTC" not in recording.collector.lines.topics, "the end of the trades"
            )


async def test_answers_that_fail_or_cannot_be_true_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "tapebook")
    async with following(tmp_path, "all", topics=["tickers"]) as recording:
        await until(lambda: recording.collector.follower.refreshes > 1, "a refresh")
        real = shapes.parse_instruments

        def broken(body: bytes, subject: str = "") -> shapes.InstrumentPage:
            raise shapes.ExchangeError("not what is documented")

        monkeypatch.setattr(shapes, "parse_instruments", broken)
        await until(lambda: "could not be refreshed" in caplog.text, "a warning")
        assert sorted(recording.collector.lines.topics) == ["tickers.BTCUSDT", "tickers.ETHUSDT"]
        monkeypatch.setattr(shapes, "parse_instruments", real)
        assert not recording.task.done()
        await until(lambda: recording.collector.status()["universe"]["failures"] == 0, "the next refresh")
        told = recording.collector.status()["universe"]
        assert told["listed"] == 2
        assert told["refreshes"] > 2
        assert told["refreshed_ns"] > 0


class Odd:
    """A REST client whose pages and answers by name are set by the test."""

    def __init__(self) -> None:
        self.listed: dict[str, dict[str, Any]] = {}
        self.by_name: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    async def instrument_pages(self, category: Category, *, status: str | None = None) -> list[Any]:
        body = _answer(list(self.listed.values()))
        return [("/v5/market/instruments-info?category=linear", body, shapes.parse_instruments(body))]

    async def fetch(self, request: shapes.Request) -> bytes:
        symbol = dict(request.query)["symbol"]
        self.asked.append(symbol)
        return (
            _answer([self.by_name[symbol]]) if symbol in self.by_name else b'{"retCode":10001,"retMsg":"no"}'
        )

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Lines:
    """What a follower needs of a line set."""

    def __init__(self, topics: list[str]) -> None:
        self.topics = topics
        self.refused: dict[str, str] = {}

    def remove_topics(self, topics: list[str]) -> None:
        self.topics = [topic for topic in self.topics if topic not in topics]

    def add_topics(self, topics: list[str]) -> None:
        self.topics += topics


def _answer(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"retCode": 0, "retMsg": "", "result": {"list": rows, "nextPageCursor": ""}}).encode()


def _row(symbol: str, *, tick: str = "0.1", status: str = "Trading", delivery_ms: int = 0) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "status": status,
        "deliveryTime": str(delivery_ms),
        "priceFilter": {"tickSize": tick},
        "lotSizeFilter": {"qtyStep": "0.001"},
    }


class ByHand:
    def __init__(self, data: Path, *symbols: str) -> None:
        self.tape = Tape(data, [BOOK, TICKER])
        self.rest: Any = Odd()
        self.rest.listed = {symbol: _row(symbol) for symbol in ("BTCUSDT", "ETHUSDT")}
        config = RecordConfig(symbols=list(symbols), topics=["orderbook.50"])
        self.lines: Any = Lines([f"orderbook.50.{symbol}" for symbol in ("BTCUSDT", "ETHUSDT")])
        resolved = Resolved(list(self.lines.topics), selection_of(config))
        self.follower = Follower(
            config, resolved, self.tape.capture, lambda: self.rest, clock=lambda: self.tape.now_ns
        )

    async def refresh(self) -> None:
        await self.follower.refresh(self.rest, self.lines)


async def test_trades_of_options_stay_while_another_shard_has_contracts_of_their_coin(tmp_path: Path) -> None:
    ours, theirs, other = "BTC-25DEC26-100000-C", "BTC-25DEC26-90000-P", "ETH-25DEC26-3000-C"
    config = RecordConfig(
        category=Category.OPTION,
        symbols=["all"],
        topics=["publicTrade", "orderbook.25"],
        shard="1/2",
        pins=["BTC=1", f"{ours}=1", f"{theirs}=2", "ETH=1", f"{other}=2"],
    )
    tape = Tape(tmp_path, [], category=Category.OPTION)
    rest: Any = Odd()
    rest.listed = {symbol: _row(symbol) for symbol in (ours, theirs, other)}
    topics = topics_of(config, tuple(rest.listed))
    assert topics == ["publicTrade.BTC", "publicTrade.ETH", f"orderbook.25.{ours}"]
    lines: Any = Lines(topics)
    resolved = Resolved(list(topics), selection_of(config))
    follower = Follower(config, resolved, tape.capture, lambda: rest, clock=lambda: tape.now_ns)
    await follower.begin()
    del rest.listed[ours]
    await follower.refresh(rest, lines)
    assert lines.topics == ["publicTrade.BTC", "publicTrade.ETH"]
    del rest.listed[other]  # though this shard had none of its contracts
    await follower.refresh(rest, lines)
    assert lines.topics == ["publicTrade.BTC"]
    more = "BTC-26MAR27-90000-P"
    rest.listed[more] = _row(more)
    del rest.listed[theirs]  # the last one that was there at the beginning
    await follower.refresh(rest, lines)
    assert lines.topics[0] == "publicTrade.BTC"
    del rest.listed[more]
    await follower.refresh(rest, lines)
    assert lines.topics == []


async def test_finer_steps_widen_the_exponents(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    await by_hand.follower.begin()
    engine = by_hand.tape.engine
    assert engine.exponents("BTCUSDT") == (-1, -3)
    by_hand.rest.listed["BTCUSDT"] = _row("BTCUSDT", tick="0.01")
    await by_hand.refresh()
    assert engine.exponents("BTCUSDT") == (-2, -3)
    by_hand.rest.listed["BTCUSDT"] = _row("BTCUSDT", tick="1")
    await by_hand.refresh()
    assert engine.exponents("BTCUSDT") == (-2, -3)


async def test_a_symbol_that_a_listing_lacks_is_asked_for_by_name(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    await by_hand.follower.begin()
    by_hand.rest.by_name["ETHUSDT"] = by_hand.rest.listed.pop("ETHUSDT")
    await by_hand.refresh()
    assert by_hand.rest.asked == ["ETHUSDT"]
    assert by_hand.lines.topics == ["orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT"]
    by_hand.rest.by_name["ETHUSDT"] = _row("ETHUSDT", status="Closed")
    await by_hand.refresh()
    assert by_hand.lines.topics == ["orderbook.50.BTCUSDT"]
    assert "ETHUSDT" not in (by_hand.tape.capture.instruments.known or {})


async def test_a_contract_ends_at_its_delivery_time(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    by_hand.rest.listed["ETHUSDT"] = _row("ETHUSDT", delivery_ms=START_NS // 1_000_000 + 60_000)
    await by_hand.follower.begin()
    await by_hand.refresh()
    assert "orderbook.50.ETHUSDT" in by_hand.lines.topics
    assert not by_hand.follower._is_due(0, by_hand.lines)
    by_hand.tape.now_ns = START_NS + 61_000_000_000
    assert by_hand.follower._is_due(0, by_hand.lines)
    await by_hand.refresh()
    assert by_hand.lines.topics == ["orderbook.50.BTCUSDT"]


async def test_a_word_about_the_exchange_or_a_new_refusal_is_a_reason_to_look(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    await by_hand.follower.begin()
    assert not by_hand.follower._is_due(0, by_hand.lines)
    by_hand.tape.capture.add_feeds([SYSTEM_STATUS])
    assert not by_hand.follower._is_due(0, by_hand.lines)
    status = {"id": "1", "title": "t", "state": "completed", "begin": "1751596902000", "end": "1751597011000"}
    frame = {"topic": SYSTEM_STATUS, "ts": 1751858399649, "data": [status]}
    by_hand.tape.frames([json.dumps(frame, separators=(",", ":")).encode()])
    assert by_hand.follower._is_due(0, by_hand.lines)
    by_hand.follower._status_messages = 1
    by_hand.lines.refused = {"orderbook.50.ETHUSDT": "error:handler not found"}
    assert by_hand.follower._is_due(0, by_hand.lines)
    by_hand.follower._failures = 1  # what failed is not asked again at once, whatever there is to know
    assert not by_hand.follower._is_due(0, by_hand.lines)
    assert by_hand.follower._is_due(10, by_hand.lines)


async def test_a_listing_that_lacks_nearly_everything_is_not_believed(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    many = {f"C{number}USDT": _row(f"C{number}USDT") for number in range(120)}
    by_hand.rest.listed = many
    await by_hand.follower.begin()
    by_hand.lines.topics = [f"orderbook.50.{symbol}" for symbol in many]
    by_hand.rest.listed = dict(list(many.items())[:20])
    with pytest.raises(ExchangeError, match="100 of 120 recorded symbols are missing among 20 listed"):
        await by_hand.refresh()
    assert len(by_hand.lines.topics) == 120


async def test_what_was_to_be_delivered_goes_all_at_once_without_a_question(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    delivery_ms = START_NS // 1_000_000 + 60_000
    many = {f"C{number}USDT": _row(f"C{number}USDT", delivery_ms=delivery_ms) for number in range(120)}
    by_hand.rest.listed |= many
    await by_hand.follower.begin()
    by_hand.lines.topics += [f"orderbook.50.{symbol}" for symbol in many]
    by_hand.rest.listed = {symbol: by_hand.rest.listed[symbol] for symbol in ("BTCUSDT", "ETHUSDT")}
    by_hand.tape.now_ns = START_NS + 61_000_000_000
    await by_hand.refresh()
    assert by_hand.rest.asked == []
    assert by_hand.lines.topics == ["orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT"]
    assert set(by_hand.tape.capture.instruments.known or {}) == {"BTCUSDT", "ETHUSDT"}


async def test_what_there_is_no_time_to_ask_for_stays_until_the_next_refresh(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    many = {f"C{number:03}USDT": _row(f"C{number:03}USDT") for number in range(160)}
    by_hand.rest.listed = dict(many)
    await by_hand.follower.begin()
    by_hand.lines.topics = [f"orderbook.50.{symbol}" for symbol in many]
    by_hand.rest.asked.clear()
    by_hand.rest.listed = dict(list(many.items())[:90])  # 70 are missing, and nobody knows them by name
    await by_hand.refresh()
    assert len(by_hand.rest.asked) == 50
    assert len(by_hand.lines.topics) == 110
    await by_hand.refresh()
    assert len(by_hand.lines.topics) == 90


async def test_what_no_rule_describes_stays_while_it_trades(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all except ETHUSDT")  # a full topic asked for it
    await by_hand.follower.begin()
    await by_hand.refresh()
    assert "orderbook.50.ETHUSDT" in by_hand.lines.topics


async def test_a_full_topic_of_a_symbol_that_has_gone_does_not_come_back_with_others(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    config = by_hand.follower._config
    by_hand.follower._config = msgspec.structs.replace(config, topics=["orderbook.50", "tickers.ETHUSDT"])
    await by_hand.follower.begin()
    del by_hand.rest.listed["ETHUSDT"]
    await by_hand.refresh()
    by_hand.rest.listed["SOLUSDT"] = _row("SOLUSDT")
    await by_hand.refresh()
    assert by_hand.lines.topics == ["orderbook.50.BTCUSDT", "orderbook.50.SOLUSDT"]


async def test_a_shard_adds_its_own_symbols_only(tmp_path: Path) -> None:
    by_hand = ByHand(tmp_path, "all")
    await by_hand.follower.begin()
    by_hand.follower._config = msgspec.structs.replace(by_hand.follower._config, shard="1/2")
    for number in range(40):
        by_hand.rest.listed[f"C{number}USDT"] = _row(f"C{number}USDT")
    await by_hand.refresh()
    added = {topic.removeprefix("orderbook.50.") for topic in by_hand.lines.topics[2:]}
    shard = parse_shard("1/2")
    assert added == {f"C{number}USDT" for number in range(40) if shard.takes(f"C{number}USDT")}
    assert 0 < len(added) < 40
    await by_hand.refresh()
    assert len(by_hand.lines.topics) == 2 + len(added)
