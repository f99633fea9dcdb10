"""The reference model against examples worked by hand from the rules, and the example feed's answers."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.reference import Outcome, ReferenceBook, ReferenceFeeds, mantissa_of
from schemas.errors import ConfigError, DecimalError
from schemas.names import Category, FeedState, GapCause, Table
from schemas.tables import SCHEMAS, TICKER_FIELDS

BOOK = "orderbook.50.BTCUSDT"
LEVEL_1 = "orderbook.1.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"
TICKERS = "tickers.BTCUSDT"
ALL = (BOOK, LEVEL_1, TRADES, TICKERS)


class Driver:
    """Feeds under test with a clock: frame n arrives at n seconds with sequence n."""

    def __init__(self, *topics: str, category: str = "linear", subscribe: bool = True) -> None:
        self.feeds = ReferenceFeeds(category)
        self.now = 0
        for topic in topics or ALL:
            self.feeds.add_feed(topic)
        if subscribe:
            self.feeds.on_subscribed(topics or ALL, 0, 0)

    def send(self, frame: bytes | dict[str, Any], line: int = 0) -> Outcome:
        self.now += 1
        raw = frame if isinstance(frame, bytes) else json.dumps(frame).encode()
        return self.feeds.on_frame(raw, self.now * 10**9, self.now, line)

    def books(self) -> list[dict[str, Any]]:
        return self.feeds.rows[Table.BOOK_UPDATES]

    def applied(self) -> list[tuple[int, bool]]:
        return [(row["update_id"], row["applied"]) for row in self.books()]

    def spans(self) -> list[tuple[str, int | None, int | None, str | None]]:
        return [
            (gap["cause"], gap["first_update_id"], gap["last_update_id"], gap["healed_by"])
            for gap in self.feeds.gaps + self.feeds.open_gaps()
        ]


def book(
    kind: str, update_id: int, bids: list[list[str]], asks: list[list[str]], topic: str = BOOK
) -> dict[str, Any]:
    data = {"s": topic.rpartition(".")[2], "b": bids, "a": asks, "u": update_id, "seq": 7}
    return {"topic": topic, "type": kind, "ts": 5_000, "data": data, "cts": 4_000 + update_id % 1_000}


def snapshot(update_id: int, bid: str = "99", ask: str = "101", topic: str = BOOK) -> dict[str, Any]:
    return book("snapshot", update_id, [[bid, "1"]], [[ask, "1"]], topic)


def delta(update_id: int, bid: str = "99", ask: str = "101", topic: str = BOOK) -> dict[str, Any]:
    return book("delta", update_id, [[bid, "1"]], [[ask, "1"]], topic)


def trades(
    *ids: str, price: str = "100", size: str = "1", topic: str = TRADES, **more: Any
) -> dict[str, Any]:
    data = [
        {"T": 4_000, "s": "BTCUSDT", "S": "Buy", "v": size, "p": price, "i": trade_id} | more
        for trade_id in ids
    ]
    return {"topic": topic, "type": "snapshot", "ts": 5_000, "data": data}


def ticker(kind: str, topic: str = TICKERS, **values: Any) -> dict[str, Any]:
    data = {"symbol": topic.partition(".")[2]} | values
    return {"topic": topic, "type": kind, "data": data, "cs": 7, "ts": 5_000}


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "decimals", "mantissa"),
        [
            ("61809.40", 2, 6180940),
            ("-0.5", 1, -5),
            ("1", 18, 10**18),
            ("9223372036854775807", 0, 2**63 - 1),
            ("-9223372036854775807", 0, 1 - 2**63),
        ],
    )
    def test_exact(self, text: str, decimals: int, mantissa: int) -> None:
        assert mantissa_of(Decimal(text), decimals) == mantissa

    @pytest.mark.parametrize(
        ("text", "decimals"),
        [("0.05", 1), ("9223372036854775808", 0), ("-9223372036854775808", 0), ("10", 18), ("NaN", 0)],
    )
    def test_what_does_not_fit(self, text: str, decimals: int) -> None:
        with pytest.raises(DecimalError):
            mantissa_of(Decimal(text), decimals)

    def test_a_number_with_a_million_digits(self) -> None:
        with pytest.raises(DecimalError):
            mantissa_of(Decimal("1" * 1_000_000), 0)


class TestBook:
    def levels(self, *pairs: tuple[str, str]) -> list[tuple[Decimal, Decimal]]:
        return [(Decimal(price), Decimal(size)) for price, size in pairs]

    def test_best_first_and_absolute_sizes(self) -> None:
        model = ReferenceBook()
        model.snapshot(self.levels(("1", "5"), ("3", "6"), ("2", "0")), self.levels(("5", "1"), ("4", "2")))
        model.delta(self.levels(("3", "7"), ("1", "0")), self.levels(("6", "0")))
        assert model.top(5) == (self.levels(("3", "7")), self.levels(("4", "2"), ("5", "1")))
        assert model.top(1)[1] == self.levels(("4", "2"))

    def test_undo(self) -> None:
        model = ReferenceBook()
        model.snapshot(self.levels(("1", "5"), ("2", "6")), self.levels(("4", "2")))
        before = model.top(9)
        undo = model.delta(
            self.levels(("1", "0"), ("2", "9"), ("3", "1")), self.levels(("5", "1"), ("7", "0"))
        )
        assert model.top(9) != before
        model.delta(*undo)
        assert model.top(9) == before

    def test_crossed_means_both_sides_touch(self) -> None:
        model = ReferenceBook()
        model.snapshot(self.levels(("4", "1")), [])
        assert not model.crossed
        model.delta([], self.levels(("4", "1")))
        assert model.crossed

    def test_digest_by_hand(self) -> None:
        # The generator's first output is the finalizer of seed + 0x9E37…: published for seeds 0 and 1234567.
        finalise = _splitmix
        assert finalise(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF
        assert finalise((1234567 + 0x9E3779B97F4A7C15) % 2**64) == 6457827717110365317
        model = ReferenceBook()
        pair = finalise(0xD6E8FEB86659FD93 ^ (2 * 256 + 3))
        assert model.digest(2, 3) == pair
        model.snapshot(self.levels(("-1.25", "0.004")), self.levels(("7", "2")))
        spread = 0x9E3779B97F4A7C15
        bid = finalise((-125 * spread + 4) % 2**64 ^ 0xA0761D6478BD642F)
        ask = finalise((700 * spread + 2_000) % 2**64 ^ 0xC2B2AE3D27D4EB4F)
        assert model.digest(2, 3) == pair ^ bid ^ ask

    def test_digest_forgets_the_road(self) -> None:
        one, other = ReferenceBook(), ReferenceBook()
        one.snapshot(self.levels(("1", "5"), ("2", "6")), [])
        other.snapshot([], self.levels(("9", "1")))
        other.delta(self.levels(("2", "6.0"), ("1.0", "5")), self.levels(("9", "0")))
        assert one.digest(1, 1) == other.digest(1, 1) != one.digest(1, 2)


def _splitmix(word: int) -> int:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        word = (word ^ (word >> shift)) * factor % 2**64
    return word


class TestContinuity:
    def test_consecutive(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(6, bid="98"), delta(7, ask="102")):
            assert run.send(frame) is Outcome.DATA
        assert run.applied() == [(5, True), (6, True), (7, True)]
        assert run.feeds.state(BOOK) is FeedState.LIVE
        assert run.feeds.update_id(BOOK) == 7
        assert run.feeds.top(BOOK, 9) == ([(99, 1), (98, 1)], [(101, 1), (102, 1)])
        assert run.spans() == []

    def test_lost_and_healed(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(8), delta(9), delta(8), snapshot(20)):
            run.send(frame)
        assert run.applied() == [(5, True), (8, False), (9, False), (20, True)]
        assert run.feeds.gaps == [
            {
                "sequence": 5,
                "topic": BOOK,
                "start_time": 1 * 10**9,
                "end_time": 5 * 10**9,
                "start_match_time": 4_005,
                "end_match_time": 4_020,
                "first_update_id": 6,
                "last_update_id": 19,
                "cause": "lost",
                "healed_by": "snapshot",
            }
        ]
        assert run.feeds.repeated_deltas == 1

    def test_delta_before_the_snapshot(self) -> None:
        run = Driver(BOOK)
        run.send(delta(8))
        assert run.feeds.state(BOOK) is FeedState.SYNCING
        run.send(delta(9))
        run.send(snapshot(12))
        assert run.applied() == [(8, False), (9, False), (12, True)]
        assert run.spans() == [("no_snapshot", 8, 11, "snapshot")]
        assert run.feeds.gaps[0]["start_time"] == 10**9

    @pytest.mark.parametrize(("healing", "last"), [(0, None), (1, None), (4, None), (5, 4), (6, 5)])
    def test_end_of_a_gap(self, healing: int, last: int | None) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(9), snapshot(healing)):
            run.send(frame)
        assert run.spans() == [("lost", 6, last, "snapshot")]

    def test_repeats_and_late_ones(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(6), delta(6), delta(5), delta(3), delta(3)):
            run.send(frame)
        assert run.applied() == [(5, True), (6, True), (3, False)]
        assert run.feeds.repeated_deltas == 3
        assert run.feeds.state(BOOK) is FeedState.LIVE

    def test_what_a_snapshot_skips_is_lost_although_nobody_missed_it(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(6), snapshot(7), snapshot(9), snapshot(9), snapshot(3), snapshot(1)):
            run.send(frame)
        assert run.spans() == [("lost", 8, 8, "snapshot")]
        assert all(applied for _, applied in run.applied())

    def test_a_snapshot_begins_a_chain(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(6), snapshot(5), delta(6)):
            run.send(frame)
        assert run.applied() == [(5, True), (6, True), (5, True), (6, True)]

    def test_restart(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(1), delta(1), delta(2), delta(2), snapshot(1), delta(2)):
            run.send(frame)
        assert run.applied() == [(5, True), (1, False), (2, False), (1, True), (2, True)]
        assert run.spans() == [("reset", 6, None, "snapshot")]

    def test_one_after_zero_is_no_restart(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(0), delta(1)):
            run.send(frame)
        assert run.applied() == [(0, True), (1, True)]

    def test_largest_update_id(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(2**63 - 1), delta(1)):
            run.send(frame)
        assert run.spans() == [("reset", None, None, None)]


class TestSanity:
    def test_crossed_once_is_allowed(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(6, bid="101"), book("delta", 7, [["101", "0"]], [])):
            run.send(frame)
        assert run.applied() == [(5, True), (6, True), (7, True)]

    def test_crossed_twice(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(6, bid="101"), delta(7, bid="50")):
            run.send(frame)
        assert run.applied() == [(5, True), (6, True), (7, False)]
        assert run.spans() == [("crossed", 7, None, None)]
        assert run.feeds.state(BOOK) is FeedState.STALE
        assert run.feeds.top(BOOK, 9)[0] == [(101, 1), (99, 1)]

    def test_a_crossed_snapshot_is_judged_afresh(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5, bid="101"), snapshot(6, bid="101"), delta(7)):
            run.send(frame)
        assert run.applied() == [(5, True), (6, True), (7, False)]
        assert run.spans() == [("crossed", 7, None, None)]

    def test_overflow(self) -> None:
        topic = "orderbook.2.BTCUSDT"
        run = Driver(topic)
        bids = [[str(price), "1"] for price in range(10, 14)]
        run.send(book("snapshot", 1, bids, [], topic))
        assert len(run.feeds.top(topic, 9)[0]) == 2
        run.send(book("delta", 2, [["9", "1"]], [], topic))
        run.send(book("snapshot", 8, [*bids, ["9", "1"]], [], topic))
        run.send(book("snapshot", 9, [*bids, ["9", "0"]], [], topic))
        assert run.applied() == [(1, True), (2, False), (8, False), (9, True)]
        assert run.spans() == [("overflow", 2, 8, "snapshot")]

    def test_a_first_snapshot_that_overflows(self) -> None:
        topic = "orderbook.1.BTCUSDT"
        run = Driver(topic)
        run.send(book("snapshot", 4, [["1", "1"], ["2", "1"], ["3", "1"]], [], topic))
        assert run.feeds.state(topic) is FeedState.STALE
        assert run.spans() == [("overflow", None, None, None)]


class TestLevelOne:
    def test_each_message_replaces(self) -> None:
        run = Driver(LEVEL_1)
        for frame in (
            snapshot(5, topic=LEVEL_1),
            snapshot(5, topic=LEVEL_1),
            snapshot(9, bid="90", topic=LEVEL_1),
        ):
            run.send(frame)
        assert run.applied() == [(5, True), (5, True), (9, True)]
        assert run.feeds.top(LEVEL_1, 9)[0] == [(90, 1)]

    def test_heals_with_the_next_message(self) -> None:
        run = Driver(LEVEL_1)
        run.send(snapshot(5, topic=LEVEL_1))
        run.feeds.on_disconnect(0, 10**9)
        assert run.feeds.state(LEVEL_1) is FeedState.STALE
        run.send(snapshot(9, topic=LEVEL_1))
        assert run.spans() == [("disconnect", None, None, "snapshot")]


class TestExponents:
    def test_widening_is_shared_by_the_symbol(self) -> None:
        run = Driver()
        run.send(snapshot(5, bid="99.5"))
        run.send(trades("a", price="99.25", size="0.001"))
        assert run.feeds.top(BOOK, 1) == ([(9950, 1000)], [(10100, 1000)])
        run.send(delta(6, bid="98"))
        rows = run.books()
        assert [(row["price_exponent"], row["size_exponent"]) for row in rows] == [(-1, 0), (-2, -3)]
        assert rows[0]["bid_price_mantissa"] == [995]
        assert rows[1]["bid_price_mantissa"] == [9800]

    def test_deletions_do_not_count(self) -> None:
        run = Driver(BOOK)
        run.send(snapshot(5))
        run.send(book("delta", 6, [["99.00", "0.000"]], []))
        assert run.feeds.decimals("BTCUSDT") == (2, 0)

    def test_what_the_standing_book_cannot_follow(self) -> None:
        run = Driver(BOOK, TRADES)
        run.send(snapshot(5, ask="9000000000000000000"))
        digest = run.feeds.digest(BOOK)
        assert run.send(trades("a", price="1.5")) is Outcome.UNDECODABLE
        assert run.feeds.decimals("BTCUSDT") == (0, 0)
        assert run.feeds.digest(BOOK) == digest
        assert run.spans() == [("undecodable", None, None, None)]
        with pytest.raises(DecimalError):
            run.feeds.announce("BTCUSDT", 1, 0)
        run.feeds.announce("BTCUSDT", 0, 18)
        assert run.feeds.decimals("BTCUSDT") == (0, 18)

    def test_narrower_announcements_change_nothing(self) -> None:
        run = Driver(BOOK)
        run.feeds.announce("BTCUSDT", 2, 3)
        run.feeds.announce("BTCUSDT", 1, 1)
        assert run.feeds.decimals("BTCUSDT") == (2, 3)
        with pytest.raises(DecimalError):
            run.feeds.announce("BTCUSDT", 19, 0)


def alter(path: str, value: Any) -> bytes:
    """A good depth-50 delta with one thing replaced: a key path, or `-path` to take it away."""
    frame: dict[str, Any] = delta(6)
    *parents, last = path.lstrip("-").split(".")
    target: Any = frame
    for key in parents:
        target = target[int(key) if key.isdigit() else key]
    if path.startswith("-"):
        del target[last]
    else:
        target[int(last) if last.isdigit() else last] = value
    return json.dumps(frame, allow_nan=True).encode()


GOOD = json.dumps(delta(6)).encode()
UNDECODABLE_BOOKS = {
    **{
        f"{kind} {text!r}": alter(f"data.b.0.{place}", text)
        for kind, place in (("price", 0), ("size", 1))
        for text in (
            "",
            "01",
            "+1",
            "1.",
            ".5",
            "1e3",
            " 1",
            "1 ",
            "0x1",
            "٣",
            "1\n",
            "1." + "0" * 19,
            None,
            1,
            1.5,
        )
    },
    "negative size": alter("data.b.0.1", "-1"),
    "size beyond int64": alter("data.b.0.1", "9223372036854775808"),
    "long size": alter("data.b.0.1", "1" * 5_000),
    **{
        f"no {key}": alter(f"-{key}", None)
        for key in ("type", "ts", "data", "data.s", "data.b", "data.a", "data.u")
    },
    "u as text": alter("data.u", "6"),
    "u with a fraction": GOOD.replace(b'"u": 6', b'"u": 6.0'),
    "u with an exponent": GOOD.replace(b'"u": 6', b'"u": 6e0'),
    "u beyond int64": alter("data.u", 2**63),
    "u negative": alter("data.u", -1),
    "u endless": GOOD.replace(b'"u": 6', b'"u": 6' + b"0" * 5_000),
    "seq null": alter("data.seq", None),
    "cts true": alter("cts", True),
    "another symbol": alter("data.s", "ETHUSDT"),
    "unknown type": alter("type", "update"),
    "three numbers": alter("data.a.0", ["1", "2", "3"]),
    "level is an object": alter("data.a.0", {"0": "1"}),
    "side is an object": alter("data.a", {}),
    "data is an array": alter("data", []),
    "a price twice": alter("data.b", [["99", "1"], ["99.0", "2"]]),
    "known key twice": GOOD.replace(b'"u": 6', b'"u": 6, "u": 6'),
    "known key twice, escaped": GOOD.replace(b'"u": 6', b'"u": 6, "\\u0075": 6'),
    "topic twice": GOOD[:-1] + b', "topic": "x"}',
    "lone surrogate": alter("data.s", "BTCUSDT\ud800"),
    "NaN": alter("x", float("nan")),
    "cut short": GOOD[:-1],
    "trailing garbage": GOOD + b"x",
    "trailing NUL": GOOD + b"\0",
    "two objects": GOOD + GOOD,
    "trailing comma": GOOD[:-1] + b",}",
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "invalid UTF-8": GOOD[:-1] + b', "x": "\xff"}',
    "invalid UTF-8 behind it": GOOD + b"\xff",
    "65 deep": GOOD[:-1] + b', "x": ' + b"[" * 64 + b"]" * 64 + b"}",
    "very deep": GOOD[:-1] + b', "x": ' + b'{"y":' * 50_000,
    "control character": GOOD[:-1] + b', "x": "\n"}',
    "bad escape": GOOD[:-1] + b', "x": "\\x"}',
    "bad number": GOOD[:-1] + b', "x": 01}',
}


class TestUndecodable:
    @pytest.mark.parametrize("frame", UNDECODABLE_BOOKS.values(), ids=UNDECODABLE_BOOKS.keys())
    def test_nothing_of_it_is_used(self, frame: bytes) -> None:
        run = Driver(BOOK)
        run.send(snapshot(5))
        digest = run.feeds.digest(BOOK)
        # The topic key comes first and with a space: only reading it, not searching for it, can attribute it.
        assert run.send(frame) is Outcome.UNDECODABLE
        assert (run.feeds.digest(BOOK), run.feeds.decimals("BTCUSDT")) == (digest, (0, 0))
        if frame.startswith(b"\xef"):
            assert run.spans() == [("undecodable", None, None, None)]
            assert run.feeds.state(BOOK) is FeedState.LIVE
        else:
            assert run.spans() == [("undecodable", 6, None, None)]
            assert run.feeds.state(BOOK) is FeedState.STALE
        run.send(GOOD)
        run.send(snapshot(9))
        assert run.feeds.state(BOOK) is FeedState.LIVE
        assert run.feeds.open_gaps() == []
        assert run.feeds.undecodable == 1

    @pytest.mark.parametrize(
        "frame",
        [
            alter("x", {"u": 1, "z": [None, 1e999, "\ud800"]}).replace(b"Infinity", b"1e999"),
            alter("data.x", [["99", "1"]] * 2),
            GOOD.replace(b'"u"', b'"\\u0075"'),
            GOOD.replace(b'"99"', b'"\\u0039\\u0039"'),
            b" \t\r\n" + GOOD.replace(b" ", b"\n\t ") + b"\n",
            GOOD[:-1] + b', "x": ' + b"[" * 63 + b"]" * 63 + b"}",
            GOOD[:-1] + b', "x": 1, "x": 2, "\\ud800": 3}',
            alter("-cts", None),
            alter("-data.seq", None),
            alter("data.b", []),
            alter("data.b.0.1", "0.000000000000000000"),
        ],
    )
    def test_what_is_fine(self, frame: bytes) -> None:
        run = Driver(BOOK)
        run.send(snapshot(5))
        assert run.send(frame) is Outcome.DATA
        assert run.applied()[-1] == (6, True)

    def test_attributed_by_its_bytes(self) -> None:
        run = Driver(BOOK)
        run.send(snapshot(5))
        run.send(b'{"type":delta,"topic":"' + BOOK.encode() + b'"}')
        assert run.feeds.state(BOOK) is FeedState.STALE

    def test_not_attributed(self) -> None:
        run = Driver(BOOK, TRADES)
        run.send(snapshot(5))
        for frame in (b'{"type":delta', b"", b"[]", b"5"):
            assert run.send(frame) is Outcome.UNDECODABLE
        assert run.feeds.state(BOOK) is FeedState.LIVE
        assert [gap["start_time"] for gap in run.feeds.open_gaps()] == [10**9]
        run.send(trades("a"), line=1)
        assert run.feeds.gaps == []
        run.send(trades("b"))
        assert [(gap["topic"], gap["end_time"], gap["healed_by"]) for gap in run.feeds.gaps] == [
            ("", 7 * 10**9, "message")
        ]
        run.send(delta(7))
        assert run.feeds.open_gaps()[0]["cause"] == "undecodable"

    def test_a_hole_on_another_line_is_lost(self) -> None:
        run = Driver(BOOK)
        run.send(snapshot(5))
        run.send(b"{", line=1)
        run.send(delta(7))
        assert [gap["cause"] for gap in run.feeds.open_gaps() if gap["topic"]] == ["lost"]

    def test_a_good_frame_since_clears_the_suspicion(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), b"{", delta(6), delta(8)):
            run.send(frame)
        assert [gap["cause"] for gap in run.feeds.open_gaps()] == ["lost"]

    @pytest.mark.parametrize(
        "frame",
        [
            b'{"op":"pong"}',
            b"{}",
            b'{"topic":"orderbook.50.ETHUSDT","data":5}',
            b'{"topic":"kline.1.BTCUSDT"}',
        ],
    )
    def test_what_belongs_to_no_feed(self, frame: bytes) -> None:
        run = Driver(BOOK)
        assert run.send(frame) is Outcome.OTHER
        assert run.feeds.undecodable == 0

    def test_before_the_first_snapshot(self) -> None:
        run = Driver(BOOK)
        run.send(alter("data.u", "6"))
        assert run.feeds.state(BOOK) is FeedState.SYNCING
        run.send(delta(7))
        run.send(snapshot(9))
        assert run.spans() == [("undecodable", None, 8, "snapshot")]
        assert run.feeds.gaps[0]["start_time"] == 10**9


class TestTrades:
    def test_rows(self) -> None:
        run = Driver(TRADES)
        run.send(trades("a", "b", price="100.5", size="0.25", L="PlusTick", BT=False, seq=9))
        row = run.feeds.rows[Table.TRADES][1]
        assert set(row) == set(SCHEMAS[Table.TRADES].names) - {"collector"} | {"topic", "symbol"}
        expected = {
            "sequence": 1,
            "receive_time": 10**9,
            "push_time": 5_000,
            "match_time": 4_000,
            "trade_id": "b",
            "side": "buy",
            "price_mantissa": 1005,
            "price_exponent": -1,
            "size_mantissa": 25,
            "size_exponent": -2,
            "tick_direction": "PlusTick",
            "is_block": False,
            "is_rpi": None,
            "cross_sequence": 9,
            "mark_price": None,
            "source": "stream",
        }
        assert {key: row[key] for key in expected} == expected

    def test_each_trade_once(self) -> None:
        run = Driver(TRADES)
        run.send(trades("a", "b", "a"))
        run.send(trades("b", "c"))
        assert [row["trade_id"] for row in run.feeds.rows[Table.TRADES]] == ["a", "b", "c"]
        assert run.feeds.repeated_trades == 2

    def test_memory_of_1024_ids(self) -> None:
        run = Driver(TRADES)
        run.send(trades(*(str(number) for number in range(1_025))))
        run.send(trades("1", "0"))
        assert run.feeds.repeated_trades == 1
        assert run.feeds.rows[Table.TRADES][-1]["trade_id"] == "0"

    def test_options_have_a_pair_per_contract(self) -> None:
        topic = "publicTrade.BTC"
        run = Driver(topic, category="option")
        frame = trades("a", "b", topic=topic, price="1.5", mP="238.78", iv="")
        frame["data"][0]["s"], frame["data"][1]["s"] = "BTC-1-C", "BTC-2-C"
        frame["data"][1]["p"] = "2"
        run.send(frame)
        rows = run.feeds.rows[Table.TRADES]
        assert [(row["symbol"], row["price_mantissa"], row["price_exponent"]) for row in rows] == [
            ("BTC-1-C", 15, -1),
            ("BTC-2-C", 2, 0),
        ]
        assert (rows[0]["mark_price"], rows[0]["trade_iv"]) == (Decimal("238.78"), None)

    @pytest.mark.parametrize(
        "change",
        [
            {"S": "buy"},
            {"s": "ETHUSDT"},
            {"i": 5},
            {"T": "4000"},
            {"BT": 0},
            {"seq": -1},
            {"mP": "1e3"},
            {"L": None},
        ],
    )
    def test_wrong_types_spoil_the_whole_message(self, change: dict[str, Any]) -> None:
        run = Driver(TRADES)
        frame = trades("a", "b")
        frame["data"][1] |= change
        assert run.send(frame) is Outcome.UNDECODABLE
        assert run.feeds.rows[Table.TRADES] == []
        assert run.feeds.state(TRADES) is FeedState.STALE
        run.send(trades("c"))
        assert run.spans() == [("undecodable", None, None, "message")]

    def test_only_snapshots(self) -> None:
        run = Driver(TRADES)
        assert run.send(trades("a") | {"type": "delta"}) is Outcome.UNDECODABLE

    def test_a_new_subscription_heals(self) -> None:
        run = Driver(TRADES, BOOK)
        run.send(trades("a"))
        run.send(snapshot(5))
        run.feeds.on_disconnect(0, 9 * 10**9)
        run.feeds.on_subscribed([TRADES, BOOK], 11 * 10**9, 7)
        assert run.feeds.state(TRADES) is FeedState.LIVE
        assert run.feeds.state(BOOK) is FeedState.STALE
        gap = run.feeds.gaps[0]
        assert (gap["start_time"], gap["end_time"], gap["sequence"]) == (10**9, 11 * 10**9, 7)
        assert (gap["start_match_time"], gap["end_match_time"], gap["healed_by"]) == (
            4_000,
            None,
            "subscribed",
        )

    def test_a_gap_lies_between_the_nearest_trades(self) -> None:
        run = Driver(TRADES)
        for first in (4_000, 6_000):
            frame = trades("a", "b")
            frame["data"][0]["T"], frame["data"][1]["T"] = first, first + 5
            run.send(frame)
            run.feeds.on_stale(TRADES, "silence", 9 * 10**9)
        assert (run.feeds.gaps[0]["start_match_time"], run.feeds.gaps[0]["end_match_time"]) == (4_005, 6_000)
        assert run.feeds.open_gaps()[0]["start_match_time"] == 6_005


class TestTickers:
    def rows(self, run: Driver) -> list[dict[str, Any]]:
        return run.feeds.rows[Table.TICKERS]

    def test_merge(self) -> None:
        run = Driver(TICKERS)
        run.send(
            ticker("snapshot", lastPrice="1.50", fundingRate="-0.005", tickDirection="PlusTick", preQty="")
        )
        run.send(ticker("delta", fundingRate="", markPrice=2.5, novel={"a": 1}))
        row = self.rows(run)[1]
        assert set(row) == set(SCHEMAS[Table.TICKERS].names) - {"collector"} | {"topic", "symbol"}
        assert row["last_price"] == Decimal("1.5")
        assert (row["funding_rate"], row["mark_price"], row["pre_quantity"]) == (None, Decimal("2.5"), None)
        assert row["tick_direction"] == "PlusTick"
        run.send(ticker("delta", tickDirection=""))
        assert self.rows(run)[-1]["tick_direction"] is None
        names = [TICKER_FIELDS[bit].key for bit in range(64) if row["keys"] >> bit & 1]
        assert sorted(names) == ["fundingRate", "markPrice"]
        run.send(ticker("snapshot", lastPrice="3"))
        assert self.rows(run)[-1]["mark_price"] is None

    def test_delta_without_a_snapshot(self) -> None:
        run = Driver(TICKERS)
        run.send(ticker("delta", markPrice="1"))
        run.send(ticker("delta", lastPrice="2"))
        run.send(ticker("snapshot", lastPrice="3"))
        assert [(row["applied"], row["last_price"], row["mark_price"]) for row in self.rows(run)] == [
            (False, None, 1),
            (False, 2, None),
            (True, 3, None),
        ]
        assert run.spans() == [("no_snapshot", None, None, "snapshot")]

    @pytest.mark.parametrize(
        ("text", "milliseconds"),
        [
            ("1760342400000", 1760342400000),
            ("2025-12-26T08:00:00Z", 1766736000000),
            ("1970-01-01T00:00:00.25Z", 250),
            ("", None),
        ],
    )
    def test_times(self, text: str, milliseconds: int | None) -> None:
        run = Driver(TICKERS)
        run.send(ticker("snapshot", deliveryTime=text))
        assert self.rows(run)[0]["delivery_time"] == milliseconds

    @pytest.mark.parametrize(
        "values",
        [
            {"lastPrice": None},
            {"lastPrice": "1e5"},
            {"lastPrice": True},
            {"lastPrice": "100000000000000000000"},
            {"lastPrice": "0.0000000000000000001"},
            {"tickDirection": 5},
            {"deliveryTime": "2025-13-01T00:00:00Z"},
            {"deliveryTime": "soon"},
            {"deliveryTime": "-1"},
            {"symbol": "ETHUSDT"},
        ],
    )
    def test_undecodable(self, values: dict[str, Any]) -> None:
        run = Driver(TICKERS)
        assert run.send(ticker("snapshot", **values)) is Outcome.UNDECODABLE

    @pytest.mark.parametrize("text", ["99999999999999999999.999999999999999999", "-0.000000000000000001"])
    def test_the_widest_numbers(self, text: str) -> None:
        run = Driver(TICKERS)
        run.send(ticker("snapshot", lastPrice=text))
        assert self.rows(run)[0]["last_price"] == Decimal(text)

    @pytest.mark.parametrize(("category", "healed_by"), [("linear", "snapshot"), ("spot", "message")])
    def test_healing(self, category: str, healed_by: str) -> None:
        run = Driver(TICKERS, category=category)
        run.send(ticker("snapshot", lastPrice="1"))
        run.feeds.on_stale(TICKERS, GapCause.SILENCE, 5 * 10**9)
        run.send(ticker("delta", markPrice="2"))
        run.send(ticker("snapshot", lastPrice="3"))
        assert [row["applied"] for row in self.rows(run)] == [True, False, True]
        assert run.spans() == [("silence", None, None, healed_by)]


class TestStates:
    def test_disconnect_takes_only_its_line(self) -> None:
        run = Driver(subscribe=False)
        run.send(snapshot(5), line=0)
        run.send(snapshot(5, topic=LEVEL_1), line=1)
        run.feeds.on_disconnect(0, 3 * 10**9)
        states = [run.feeds.state(topic) for topic in ALL]
        assert states == [FeedState.STALE, FeedState.LIVE, FeedState.EMPTY, FeedState.EMPTY]

    def test_an_open_gap_stays_as_it_is(self) -> None:
        run = Driver(BOOK)
        for frame in (snapshot(5), delta(9)):
            run.send(frame)
        run.feeds.on_disconnect(0, 3 * 10**9)
        run.feeds.on_stale(BOOK, "silence", 4 * 10**9)
        assert run.spans() == [("lost", 6, None, None)]

    def test_subscribing(self) -> None:
        run = Driver(subscribe=False)
        run.feeds.on_subscribed(ALL, 0, 0)
        states = [run.feeds.state(topic) for topic in ALL]
        assert states == [FeedState.SYNCING, FeedState.SYNCING, FeedState.LIVE, FeedState.SYNCING]

    @pytest.mark.parametrize(
        "topic", ["orderbook.x.B", "orderbook.50", "kline.1.B", "tickers.", "", "orderbook.050.B"]
    )
    def test_unknown_topics(self, topic: str) -> None:
        with pytest.raises(ConfigError):
            ReferenceFeeds(Category.LINEAR).add_feed(topic)

    def test_book_rows_have_the_tables_columns(self) -> None:
        run = Driver(BOOK)
        run.send(snapshot(5))
        names = set(SCHEMAS[Table.BOOK_UPDATES].names) - {"collector", "digest"} | {"topic", "symbol"}
        assert set(run.books()[0]) == names


def _example_feed() -> Path:
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "bybit_linear_btc_eth.jsonl.gz"
    return Path(os.environ.get("TAPEBOOK_FEED", default))


class TestExampleFeed:
    FRAMES = 20_000

    def test_every_book_frame(self) -> None:
        """The window after each order-book frame, against the crc32 that was made with the feed."""
        feed = _example_feed()
        check = feed.with_name(feed.name.replace(".jsonl", ".check.tsv"))
        if not feed.exists() or not check.exists():
            pytest.skip(f"no example feed at {feed} (set TAPEBOOK_FEED)")
        feeds = ReferenceFeeds("linear")
        for symbol in ("BTCUSDT", "ETHUSDT"):
            feeds.announce(symbol, 2, 3)
            for kind in ("orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers"):
                feeds.add_feed(f"{kind}.{symbol}")
        with gzip.open(check, "rt") as lines:
            answers = {
                int(number): rest for number, *rest in (line.rstrip("\n").split("\t") for line in lines)
            }
        compared = 0
        with gzip.open(feed, "rb") as lines:
            for number, line in zip(range(self.FRAMES), lines, strict=False):
                receive_ns, _, frame = line.rstrip(b"\n").partition(b" ")
                assert feeds.on_frame(frame, int(receive_ns), number) is Outcome.DATA
                if number not in answers:
                    continue
                topic, update_id, crc, *best = answers[number]
                bids, asks = feeds.top(topic, 1_000)
                text = "|".join(";".join(f"{price}:{size}" for price, size in side) for side in (bids, asks))
                assert (feeds.update_id(topic), f"{zlib.crc32(text.encode()):08x}") == (int(update_id), crc)
                assert [bids[0][0], asks[0][0]] == [int(price) for price in best]
                compared += 1
        assert compared > self.FRAMES // 2
        assert feeds.gaps + feeds.open_gaps() == []
