"""The engine, by hand and by force: exponents, gaps, keyframes' neighbours, and a hundred thousand damaged frames."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import numpy as np
import pytest

from engine.core.feeds import CONTROL, UNDECODABLE, UNKNOWN_TOPIC, Engine
from engine.events import Event, EventKind
from schemas.errors import ConfigError
from schemas.names import Category, FeedState, Table

SHALLOW = "orderbook.50.BTCUSDT"
DEEP = "orderbook.200.BTCUSDT"
OTHER = "orderbook.50.ETHUSDT"
TRADES = "publicTrade.BTCUSDT"
TICKER = "tickers.BTCUSDT"
BIG = "922337203685477580"  # one digit short of int64

Levels = list[tuple[str, str]]


def _book(topic: str, kind: str, update_id: int, bids: Levels, asks: Levels, at_ms: int = 1_000) -> bytes:
    data = {"s": topic.split(".", 2)[2], "b": bids, "a": asks, "u": update_id, "seq": update_id}
    return json.dumps({"topic": topic, "type": kind, "ts": at_ms, "data": data, "cts": at_ms}).encode()


def _trades(*trades: tuple[str, str, str], topic: str = TRADES, symbol: str = "BTCUSDT") -> bytes:
    data = [{"T": 1, "s": symbol, "S": "Sell", "v": v, "p": p, "i": i} for i, p, v in trades]
    return json.dumps({"topic": topic, "type": "snapshot", "ts": 1_000, "data": data}).encode()


class Driven:
    """An engine with a clock and sequences that rise by themselves."""

    def __init__(self, *topics: str, columns: bool = False, category: Category = Category.LINEAR) -> None:
        self.engine = Engine(category, columns)
        self.feeds = [self.engine.add_feed(topic) for topic in topics]
        self.sequence = 0

    def apply(self, frame: bytes, line: int = 0) -> int:
        self.sequence += 1
        return self.engine.apply(frame, 1_000 * self.sequence, self.sequence, line)

    def events(self, kind: EventKind) -> list[Event]:
        return [event for event in self.engine.take_events() if event.kind is kind]

    def sound(self) -> None:
        for feed in self.feeds:
            assert self.engine.digest(feed) == self.engine.recomputed_digest(feed)

    def state(self) -> list[Any]:
        engine = self.engine
        return [
            (engine.levels(feed), engine.update_id(feed), engine.digest(feed), engine.state(feed))
            for feed in self.feeds
        ] + [engine.exponents("BTCUSDT")]


@pytest.fixture
def driven() -> Driven:
    driven = Driven(SHALLOW, DEEP, OTHER, TRADES)
    for topic in (SHALLOW, DEEP, OTHER):
        assert driven.apply(_book(topic, "snapshot", 5, [("99.5", "1")], [("100.5", "2.5")])) >= 0
    driven.engine.take_events()
    return driven


# ---- exponents ---------------------------------------------------------------------------------------------------


def test_a_trade_widens_the_books_of_its_symbol(driven: Driven) -> None:
    digests = [driven.engine.digest(feed) for feed in driven.feeds[:3]]
    driven.apply(_trades(("a", "100.1234", "0.001")))
    assert driven.engine.exponents("BTCUSDT") == (-4, -3)
    assert driven.engine.exponents("ETHUSDT") == (-1, -1)
    for feed in driven.feeds[:2]:
        assert driven.engine.levels(feed) == ([(995_000, 1_000)], [(1_005_000, 2_500)])
        assert driven.engine.digest(feed) != digests[feed]
    assert driven.engine.digest(2) == digests[2]
    driven.sound()
    (widened,) = driven.events(EventKind.WIDENED)
    assert (widened.symbol, widened.price_decimals, widened.size_decimals) == ("BTCUSDT", 4, 3)
    # and the chain goes on, with numbers as coarse as before
    driven.apply(_book(SHALLOW, "delta", 6, [("99.5", "3")], []))
    assert driven.engine.levels(0)[0] == [(995_000, 3_000)]
    driven.sound()


def test_a_book_widens_the_other_depths(driven: Driven) -> None:
    driven.apply(_book(DEEP, "delta", 6, [("99.25", "1")], []))
    assert driven.engine.levels(0) == ([(9_950, 10)], [(10_050, 25)])
    assert driven.engine.levels(1) == ([(9_950, 10), (9_925, 10)], [(10_050, 25)])
    driven.sound()


def test_zero_sizes_and_trades_of_zero_say_nothing_about_decimals(driven: Driven) -> None:
    driven.apply(_book(SHALLOW, "delta", 6, [("99.5", "0.000000")], []))
    driven.apply(_trades(("a", "1", "0.00000")))
    assert driven.engine.exponents("BTCUSDT") == (-1, -1)


def test_an_announcement_widens_and_never_narrows(driven: Driven) -> None:
    assert driven.engine.widen("BTCUSDT", 2, 0, 1, 1)
    assert driven.engine.exponents("BTCUSDT") == (-2, -1)
    assert driven.engine.levels(0) == ([(9_950, 10)], [(10_050, 25)])
    driven.sound()
    before = driven.state()
    driven.engine.take_events()
    assert driven.engine.widen("BTCUSDT", 0, 0, 1, 1)
    assert driven.state() == before
    assert driven.engine.pending == 0


def test_an_announcement_ahead_of_its_feed(driven: Driven) -> None:
    assert driven.engine.widen("NEWUSDT", 3, 4, 1, 1)
    feed = driven.engine.add_feed("orderbook.50.NEWUSDT")
    driven.apply(_book("orderbook.50.NEWUSDT", "snapshot", 1, [("1.5", "1")], []))
    assert driven.engine.levels(feed) == ([(1_500, 10_000)], [])
    assert driven.engine.digest(feed) == driven.engine.recomputed_digest(feed)


@pytest.mark.parametrize(("price", "size"), [(19, 0), (0, 19), (255, 255)])
def test_nothing_has_nineteen_decimals(driven: Driven, price: int, size: int) -> None:
    before = driven.state()
    assert not driven.engine.widen("BTCUSDT", price, size, 1, 1)
    assert driven.state() == before


@pytest.mark.parametrize(
    "frame",
    [
        _trades(("a", "100.123", "1")),
        _trades(("a", "100", "1"), ("b", "100.123", "1")),
        _book(SHALLOW, "delta", 6, [("99.123", "1")], []),
        _book(SHALLOW, "snapshot", 9, [("99.123", "1")], []),
        _book(DEEP, "delta", 6, [], [("99.123", "1")]),
    ],
)
def test_a_frame_that_a_level_has_no_room_for_is_refused_whole(driven: Driven, frame: bytes) -> None:
    """A level of another depth would leave int64: nothing changes but the feed's own state."""
    driven.apply(_book(DEEP, "delta", 6, [(BIG, "1")], []))
    driven.apply(_book(DEEP, "snapshot", 7, [("1", "1")], [(BIG, "1")]))
    feed = {b"publicTrade": 3, b".200.": 1}.get(
        next(k for k in (b"publicTrade", b".200.", b"") if k in frame), 0
    )
    driven.engine.subscribed(TRADES, 1, 1)
    before = driven.state()
    driven.engine.take_events()
    assert driven.apply(frame) == UNDECODABLE
    after = driven.state()
    assert [held[:3] for held in after[:-1]] == [held[:3] for held in before[:-1]]
    assert after[-1] == before[-1]
    assert after[feed][3] is FeedState.STALE
    assert [event.detail for event in driven.engine.take_events()] == ["decimal", "undecodable"]
    assert driven.engine.counters()["undecodable"] == {"decimal": 1}
    driven.sound()


def test_an_announcement_that_a_level_has_no_room_for(driven: Driven) -> None:
    driven.apply(_book(DEEP, "snapshot", 7, [("1", BIG)], []))
    before = driven.state()
    assert not driven.engine.widen("BTCUSDT", 1, 3, 1, 1)
    assert driven.state() == before
    assert driven.engine.widen("BTCUSDT", 5, 1, 1, 1)
    driven.sound()


# ---- feeds -------------------------------------------------------------------------------------------------------


def test_topics_that_are_none() -> None:
    engine = Engine(Category.LINEAR)
    with pytest.raises(
        ConfigError, match=r"found topic 'orderbook\.50\.', expected orderbook\.DEPTH\.SYMBOL"
    ):
        engine.add_feed("orderbook.50.")
    assert engine.feed_count == 0


def test_names_have_bounds() -> None:
    engine = Engine(Category.LINEAR)
    assert engine.add_feed("tickers." + "X" * 64) == 0
    with pytest.raises(ConfigError, match="no room"):
        engine.add_feed("tickers." + "X" * 65)
    with pytest.raises(ConfigError, match="no room"):
        engine.widen("X" * 65, 1, 1, 1, 1)
    assert engine.feed_count == 1


@pytest.mark.parametrize("category", ["linea", "", "LINEAR", None, 5])
def test_categories_that_are_none(category: Any) -> None:
    with pytest.raises(ConfigError, match="expected one of spot, linear, inverse, option, spread"):
        Engine(category)


def test_only_what_is_there_becomes_stale_and_for_a_known_cause(driven: Driven) -> None:
    with pytest.raises(ConfigError, match="found no such feed in this engine, expected one that was added"):
        driven.engine.stale("orderbook.50.XRPUSDT", "lost", 1, 1)
    assert driven.engine.feed_index("orderbook.50.XRPUSDT") == -1
    with pytest.raises(ConfigError, match="found cause 'foo', expected one of lost, "):
        driven.engine.stale(SHALLOW, "foo", 1, 1)
    assert driven.engine.state(driven.feeds[0]) is FeedState.LIVE
    driven.engine.stale(SHALLOW, "lost", 1, 1)
    assert driven.engine.state(driven.feeds[0]) is FeedState.STALE


def test_feeds_are_found_by_topic_and_counted() -> None:
    engine = Engine("spot")
    assert engine.feed_index(SHALLOW) == -1
    assert [engine.add_feed(topic) for topic in (SHALLOW, DEEP, SHALLOW)] == [0, 1, 0]
    assert engine.topics() == [SHALLOW, DEEP]
    for index in (-1, 2):
        for ask in (engine.state, engine.levels, engine.checkpoint, engine.digest, engine.feed_counters):
            with pytest.raises(IndexError, match=rf"found feed {index}, expected one of 0\.\.1"):
                ask(index)
    assert repr(engine) == "<Engine spot feeds=2 symbols=1>"


def test_many_feeds() -> None:
    engine = Engine(Category.LINEAR)
    topics = [f"orderbook.{depth}.S{number}" for number in range(700) for depth in (1, 50, 200)]
    assert [engine.add_feed(topic) for topic in topics] == list(range(2_100))
    assert [engine.feed_index(topic) for topic in topics] == list(range(2_100))


def test_what_has_no_topic_and_what_is_not_ours(driven: Driven) -> None:
    assert driven.apply(b'{"success":true,"op":"subscribe"}') == CONTROL
    assert driven.apply(b'{"topic":"orderbook.50.NOBODY","data":[1,{}]}') == UNKNOWN_TOPIC
    counters = driven.engine.counters()
    assert (counters["controls"], counters["unknown_topics"], counters["undecodable"]) == (1, 1, {})
    assert driven.engine.pending == 0


def test_best_of_each_side() -> None:
    driven = Driven(SHALLOW)
    assert driven.engine.best(0) == (None, None, None, None)
    driven.apply(_book(SHALLOW, "snapshot", 1, [("1", "2"), ("3", "4")], []))
    assert driven.engine.best(0) == (3, 4, None, None)
    driven.apply(_book(SHALLOW, "snapshot", 2, [], [("8", "1"), ("7", "5")]))
    assert driven.engine.best(0) == (None, None, 7, 5)
    driven.apply(_book(SHALLOW, "delta", 3, [("1", "2")], []))
    assert driven.engine.best(0) == (1, 2, 7, 5)


def test_live_digests_come_at_snapshots_and_every_64_updates() -> None:
    driven = Driven(SHALLOW)
    driven.apply(_book(SHALLOW, "snapshot", 10, [("1", "1")], []))
    for update_id in range(11, 11 + 130):
        driven.apply(_book(SHALLOW, "delta", update_id, [("1", str(update_id))], []))
    digests = driven.events(EventKind.DIGEST)
    assert [event.update_id for event in digests] == [10, 74, 138]
    driven.apply(_book(SHALLOW, "snapshot", 500, [], []))
    (again,) = driven.events(EventKind.DIGEST)
    assert (again.update_id, again.digest) == (500, driven.engine.recomputed_digest(0))


@pytest.mark.parametrize(("extra", "state"), [(0, FeedState.LIVE), (1, FeedState.STALE)])
def test_a_book_holds_up_to_twice_its_depth(extra: int, state: FeedState) -> None:
    driven = Driven(SHALLOW)
    driven.apply(_book(SHALLOW, "snapshot", 1, [(str(price), "1") for price in range(1, 101)], []))
    driven.apply(_book(SHALLOW, "delta", 2, [(str(101 + number), "1") for number in range(extra)], []))
    assert driven.engine.state(0) is state
    driven.sound()
    if extra:
        gap = driven.engine.open_gap(0)
        assert gap is not None
        assert (gap.cause, gap.first_update_id) == ("overflow", 2)


def test_a_crossed_book_is_stale_with_its_second_frame() -> None:
    driven = Driven(SHALLOW)
    driven.apply(_book(SHALLOW, "snapshot", 1, [("10", "1")], [("11", "1")]))
    driven.apply(_book(SHALLOW, "delta", 2, [("12", "1")], []))
    assert driven.engine.state(0) is FeedState.LIVE
    driven.apply(_book(SHALLOW, "delta", 3, [("9", "1")], []))
    assert driven.engine.state(0) is FeedState.STALE
    gap = driven.engine.open_gap(0)
    assert gap is not None
    assert (gap.cause, gap.first_update_id) == ("crossed", 3)


@pytest.mark.parametrize(("healing_id", "last_missed"), [(9, 8), (1, None)])
def test_a_gap_that_a_new_chain_heals_ends_with_no_id(healing_id: int, last_missed: int | None) -> None:
    driven = Driven(SHALLOW)
    driven.apply(_book(SHALLOW, "delta", 5, [("9", "1")], []))
    driven.apply(_book(SHALLOW, "snapshot", healing_id, [("9", "1")], []))
    (closed,) = driven.events(EventKind.GAP_CLOSED)
    assert (closed.first_update_id, closed.last_update_id, closed.healed_by) == (5, last_missed, "snapshot")


@pytest.mark.parametrize(
    ("text", "is_a_day"),
    [("2000-02-29", True), ("2024-02-29", True), ("2025-02-29", False), ("2100-02-28", True), ("2100-02-29", False),
     ("2025-04-31", False), ("2025-12-31", True), ("2025-00-10", False), ("2025-01-00", False)],
)  # fmt: skip
def test_days_of_delivery(text: str, is_a_day: bool) -> None:
    driven = Driven(TICKER, columns=True)
    data = {"symbol": "BTCUSDT", "deliveryTime": f"{text}T08:00:00Z"}
    frame = json.dumps({"topic": TICKER, "type": "snapshot", "ts": 1_000, "cs": 1, "data": data}).encode()
    assert driven.apply(frame) == (0 if is_a_day else UNDECODABLE)
    for rows in driven.engine.take_rows("c").values():
        assert [f"{moment:%Y-%m-%d %H}" for moment in rows["delivery_time"].to_pylist()] == [f"{text} 08"]


def test_batches_stop_at_what_is_no_frame() -> None:
    frames = [_book(SHALLOW, "snapshot", 1, [("1", "1")], []), b'{"note":"x"}', b"{}"]
    payload = np.frombuffer(b"".join(frames), np.uint8)
    offsets = np.cumsum([0, *map(len, frames)], dtype=np.int32)
    columns = (np.arange(3), np.arange(3), np.zeros(3, np.uint16), np.array([0, 3, 0], np.uint8))
    engine = Engine(Category.LINEAR)
    engine.add_feed(SHALLOW)
    assert engine.apply_batch(payload, offsets, *columns) == 1
    assert engine.apply_batch(payload, offsets, *columns, 1) == 1
    assert engine.apply_batch(payload, offsets, *columns, 2) == 3
    assert (engine.messages(0), engine.counters()["controls"]) == (1, 1)
    with pytest.raises(IndexError):
        engine.apply_batch(payload, offsets, *columns, 4)
    with pytest.raises(ValueError, match="different lengths"):
        engine.apply_batch(payload, offsets[:-1], *columns)
    for wrong in ([0, 9, 5, 12], [-1, 2, 3, 4]):
        with pytest.raises(ValueError, match="do not rise"):
            engine.apply_batch(payload, np.array(wrong, np.int32), *columns)
    with pytest.raises(ValueError, match="beyond the payloads"):
        engine.apply_batch(payload[:-1], offsets, *columns)


@pytest.mark.parametrize(
    ("after_ms", "levels_changed", "is_due"),
    [(9_999, 4, False), (10_000, 3, False), (10_000, 4, True), (299_999, 0, False), (300_000, 0, True)],
)
def test_when_a_keyframe_is_due(after_ms: int, levels_changed: int, is_due: bool) -> None:
    """Ten seconds and as many changes as the book holds levels, or five minutes."""
    bids, asks = [("10", "1"), ("9", "1")], [("11", "1"), ("12", "1")]
    changes = [(price, "2") for price, _ in bids + asks][:levels_changed]
    driven = Driven(SHALLOW, columns=True)
    driven.apply(_book(SHALLOW, "snapshot", 1, bids, asks))
    driven.apply(_book(SHALLOW, "delta", 2, changes[:2], changes[2:], 1_000 + after_ms))
    ((_, rows),) = driven.engine.take_rows("c").items()
    assert rows["kind"].to_pylist() == ["snapshot", "delta", "keyframe"][: 3 if is_due else 2]


def test_a_digest_goes_to_the_newest_row_alone() -> None:
    driven = Driven(SHALLOW, TRADES, columns=True)
    driven.apply(_book(SHALLOW, "snapshot", 1, [("1", "1")], []))
    assert not driven.engine.set_digest(SHALLOW, 2, 7)
    assert driven.engine.set_digest(SHALLOW, 1, 2**64 - 1)
    assert not driven.engine.set_digest(TRADES, 1, 7)
    rows = driven.engine.take_rows("c")[Table.BOOK_UPDATES, "BTCUSDT", 0]
    assert rows.column("digest").to_pylist() == [2**64 - 1]
    assert not driven.engine.set_digest(SHALLOW, 1, 7)  # the row has been taken
    assert driven.engine.take_rows("c") == {}
    assert driven.engine.row_bytes == 0


# ---- by force ----------------------------------------------------------------------------------------------------

MUTATIONS = 100_000
NUMBERS = [b"-1", b"0", b"1e5", b"9223372036854775807", b"9223372036854775808", b"0.0000000000000000001", b"NaN",
           b'""', b"null", b"[]", b"{}", b"01", b"99999999999999999999.5", b"1.000000000000000000"]  # fmt: skip


def _mutated(frame: bytes, random: Random) -> bytes:
    """A valid frame with one to three injuries."""
    content = bytearray(frame)
    for _ in range(random.choice((1, 1, 2, 3))):
        if not content:
            return b""
        at = random.randrange(len(content))
        to = min(len(content), at + random.choice((1, 2, 5, 30)))
        how = random.randrange(8)
        if how == 0:
            content[at] = random.randrange(256)
        elif how == 1:
            content[at] ^= 1 << random.randrange(8)
        elif how == 2:
            del content[at:to]
        elif how == 3:
            content[at:at] = content[at:to]
        elif how == 4:
            content[at:at] = random.randbytes(random.randrange(1, 4))
        elif how == 5:
            content[at:to] = random.choice(NUMBERS)
        elif how == 6:
            del content[at:]
        else:  # a digit for a digit: most of these stay valid
            digits = [i for i in range(at, to) if 48 <= content[i] <= 57]
            for i in digits[:1]:
                content[i] = 48 + random.randrange(10)
    return bytes(content)


def _valid(random: Random, update_ids: dict[str, int], number: int) -> bytes:
    topic = random.choice((SHALLOW, SHALLOW, DEEP, TRADES, TICKER))
    if topic is TRADES:
        return _trades((f"i{number}", f"100.{random.randrange(100)}", "1.5"), (f"j{number}", "99", "2"))
    if topic is TICKER:
        data = {
            "symbol": "BTCUSDT",
            "lastPrice": "100.5",
            "tickDirection": "PlusTick",
            "nextFundingTime": "8",
        }
        return json.dumps({"topic": topic, "type": "delta", "data": data, "cs": 1, "ts": 1_000}).encode()
    kind = "delta" if update_ids[topic] else "snapshot"
    update_id = update_ids[topic] + 1
    bids = [(f"{random.randrange(80, 100)}.5", str(random.randrange(3))) for _ in range(2)]
    asks = [(f"{random.randrange(100, 120)}.75", str(random.randrange(3)))]
    return _book(topic, kind, update_id, list(dict(bids).items()), asks)


@pytest.mark.parametrize("columns", [False, True])
def test_damaged_frames_never_apply_by_halves(columns: bool) -> None:
    """A frame is taken whole or not at all, and no bytes bring the digest out of step with the levels."""
    random = Random(20_260 + columns)
    driven = Driven(SHALLOW, DEEP, TRADES, TICKER, columns=columns)
    engine = driven.engine
    books = driven.feeds[:2]
    update_ids = {SHALLOW: 0, DEEP: 0}
    counts: dict[int, int] = {}
    for number in range(MUTATIONS):
        for feed in books:
            topic = (SHALLOW, DEEP)[feed]
            update_id = engine.update_id(feed)
            live = engine.state(feed) is FeedState.LIVE and (update_id or 0) < 2**62
            update_ids[topic] = update_id or 0 if live else 0
        frame = _valid(random, update_ids, number)
        if random.randrange(4):
            frame = _mutated(frame, random)
        before = [(engine.levels(feed), engine.update_id(feed), engine.digest(feed)) for feed in books]
        exponents = engine.exponents("BTCUSDT")
        result = driven.apply(frame)
        counts[result] = counts.get(result, 0) + 1
        if result < 0:
            after = [(engine.levels(feed), engine.update_id(feed), engine.digest(feed)) for feed in books]
            assert after == before, frame
            assert engine.exponents("BTCUSDT") == exponents, frame
        elif exponents == engine.exponents("BTCUSDT"):
            for feed in books:
                assert feed == result or engine.levels(feed) == before[feed][0], frame
        for feed in books:
            assert engine.digest(feed) == engine.recomputed_digest(feed), frame
        if max(-exponent for exponent in engine.exponents("BTCUSDT")) > 6:
            # so much has been widened that little fits any more: begin anew
            driven = Driven(SHALLOW, DEEP, TRADES, TICKER, columns=columns)
            engine = driven.engine
        if number % 1_000 == 0:
            engine.take_events()
            for table in engine.take_rows("c").values():
                table.validate(full=True)
    for table in engine.take_rows("c").values():
        table.validate(full=True)
    # the force was strong enough to break, and not so strong that nothing came through
    assert min(counts[feed] for feed in driven.feeds) > 500
    assert counts[UNDECODABLE] > 10_000
    assert counts[UNKNOWN_TOPIC] > 100


def test_a_refused_message_leaves_no_symbols_behind() -> None:
    """Invented contracts in frames that don't fit must not use up the room for real ones."""
    engine = Engine("option", columns=True)
    engine.add_feed("publicTrade.BTC")

    def message(*trades: tuple[str, str, str]) -> bytes:
        rows = ",".join(
            f'{{"i":"{i}","T":1,"p":"{price}","v":"1","S":"Buy","s":"{symbol}"}}'
            for i, price, symbol in trades
        )
        return f'{{"topic":"publicTrade.BTC","type":"snapshot","ts":1,"data":[{rows}]}}'.encode()

    assert engine.apply(message(("0", "2", "BTC-1-C")), 1, 1) == 0
    known = set(engine.shared().symbols)
    for number in range(100):
        refused = message(("1", "9" * 18 + "0", f"X{number}"), ("2", "1.55", f"X{number}"))
        assert engine.apply(refused, 1, 2) == UNDECODABLE
    assert set(engine.shared().symbols) == known
    assert engine.apply(message(("3", "1.5", "BTC-2-C")), 1, 3) == 0
    assert engine.exponents("BTC-2-C") == (-1, 0)
    assert engine.exponents("BTC-1-C") == (0, 0)
