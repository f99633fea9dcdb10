"""When silence is too long, and when a snapshot is asked for again."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine.bybit.limits import LEVEL_1_REPEAT_MS
from engine.core.feeds import Engine
from engine.freshness import (
    LEAST_MESSAGES,
    PER_SECOND,
    Freshness,
    IdleClock,
    Resyncs,
    needs_snapshot,
)
from engine.timing import Timing
from schemas.names import Category, FeedState

TIMING = Timing()

SECOND = 10**9
TRADES = "publicTrade.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"


def _trade(symbol: str = "BTCUSDT") -> bytes:
    return (
        f'{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":1700000000000,"data":[{{"T":1700000000000,'
        f'"s":"{symbol}","S":"Buy","v":"1","p":"1","i":"1"}}]}}'
    ).encode()


def _book(update_id: int, kind: str = "delta") -> bytes:
    return (
        f'{{"topic":"{BOOK}","type":"{kind}","ts":1700000000000,"data":{{"s":"BTCUSDT","b":[],"a":[],'
        f'"u":{update_id},"seq":1}}}}'
    ).encode()


class Market:
    """Feeds that speak every so many seconds, under a clock that is moved by hand."""

    def __init__(self, *, whole: bool = True) -> None:
        self.engine = Engine(Category.LINEAR)
        self.engine.add_feed(BOOK)
        self.engine.add_feed(TRADES)
        self.engine.apply(_book(100, "snapshot"), 1, 1)
        self.engine.subscribed(TRADES, 1, 1)
        self.freshness = Freshness(self.engine, whole=whole)
        self.now_ns = 1_000 * SECOND
        self.update_id = 100

    def tick(self, seconds: float = 1.0) -> list[tuple[int, int]]:
        self.now_ns += int(seconds * SECOND)
        return self.freshness.tick(self.now_ns)

    def book(self) -> None:
        self.update_id += 1
        self.engine.apply(_book(self.update_id), 1, 1)

    def talk(self, seconds: int, *, book_every: int = 1, trade_every: int = 1) -> None:
        for second in range(seconds):
            if book_every and second % book_every == 0:
                self.book()
            if trade_every and second % trade_every == 0:
                self.engine.apply(_trade(), 1, 1)
            assert self.tick() == []

    def silence(self, *, talking: str = "") -> dict[int, int]:
        """Seconds of silence after which each feed was first found silent, within ten minutes."""
        found: dict[int, int] = {}
        for second in range(1, 601):
            if talking == "trades":
                self.engine.apply(_trade(), 1, 1)
            for feed, silence_ns in self.tick():
                assert silence_ns // SECOND >= found.setdefault(feed, second)
        return found


def test_a_busy_feed_is_given_ten_seconds() -> None:
    market = Market()
    for _ in range(60):
        for _ in range(50):
            market.book()
        market.tick()
    assert market.freshness.threshold_ns(0) == TIMING.least_silence_ns == 10 * SECOND
    assert market.silence(talking="trades") == {0: 10}


def test_silence_while_nobody_listened_is_forgiven() -> None:
    """Reading paused because the disk was behind: silence begins anew, and nothing is learned from the pause."""
    market = Market()
    market.talk(60)
    threshold = market.freshness.threshold_ns(0)
    market.now_ns += 3600 * SECOND
    market.freshness.forgive()
    assert market.tick() == []
    assert market.freshness.threshold_ns(0) == threshold
    assert market.silence() == {0: threshold // SECOND, 1: 60}


def test_a_slow_feed_is_given_twenty_of_its_intervals() -> None:
    market = Market()
    market.talk(600, book_every=5)
    threshold = market.freshness.threshold_ns(0)
    assert threshold is not None
    assert 95 * SECOND <= threshold <= 105 * SECOND
    assert set(market.silence(talking="trades")) == {0}


def test_trades_are_given_sixty() -> None:
    """They come in bursts, so silence says less."""
    market = Market()
    market.talk(600, book_every=3, trade_every=3)
    book, trades = market.freshness.threshold_ns(0), market.freshness.threshold_ns(1)
    assert book is not None
    assert trades is not None
    assert trades == pytest.approx(3 * book, rel=0.02)
    assert trades >= 60 * 3 * SECOND * 0.95


def test_a_burst_of_trades_at_the_beginning_is_no_rate() -> None:
    """A feed that begins with a hundred trades in two seconds isn't blamed after ten seconds, but after a minute."""
    market = Market()
    market.tick()
    for _ in range(2):
        for _ in range(50):
            market.engine.apply(_trade(), 1, 1)
        market.tick()
    assert market.silence()[1] in (58, 59, 60)


def test_level_one_is_judged_however_little_it_said() -> None:
    """It repeats itself every three seconds, so that silence is no quiet market."""
    engine = Engine(Category.LINEAR)
    engine.add_feed("orderbook.1.BTCUSDT")
    freshness = Freshness(engine)
    engine.apply(_book(100, "snapshot").replace(b"orderbook.50", b"orderbook.1"), 1, 1)
    found = [silent for second in range(1, 20) for silent in freshness.tick(second * SECOND)]
    assert found == [(0, TIMING.repeat_silence_ns)]
    assert TIMING.repeat_silence_ns >= 3 * LEVEL_1_REPEAT_MS * 10**6


def test_a_feed_that_said_little_is_not_judged() -> None:
    market = Market()
    assert market.freshness.threshold_ns(0) is None
    market.tick()
    for _ in range(LEAST_MESSAGES - 1):
        market.book()
    market.tick()
    assert market.freshness.threshold_ns(0) is None
    assert market.silence() == {}
    market.book()
    market.tick()
    assert market.freshness.threshold_ns(0) is None  # these 19 are mostly forgotten


def test_a_rate_is_forgotten() -> None:
    """Half an hour of another rate is what counts, not what was before."""
    market = Market()
    market.talk(600, book_every=1)
    market.talk(1_800, book_every=10)
    threshold = market.freshness.threshold_ns(0)
    assert threshold is not None
    assert threshold > 190 * SECOND


def test_a_feed_that_is_not_live_is_not_judged_and_its_silence_starts_anew() -> None:
    market = Market()
    market.talk(60)
    market.tick(9)
    market.engine.stale(BOOK, "silence", 1, 1)
    market.tick()
    assert all(feed != 0 for feed, _ in market.tick(500))
    market.engine.apply(_book(500, "snapshot"), 1, 1)
    assert market.engine.state(0) is FeedState.LIVE
    market.tick()
    assert all(feed != 0 for feed, _ in market.tick(9))
    assert [feed for feed, _ in market.tick(10_000)].count(0) == 1


def test_a_feed_that_comes_later_is_judged_from_then_on() -> None:
    market = Market()
    market.talk(30)
    late = market.engine.add_feed("publicTrade.ETHUSDT")
    assert market.tick() == []
    for _ in range(100):
        for _ in range(10):
            market.engine.apply(_trade("ETHUSDT"), 1, 1)
        market.book()
        market.tick()
    assert market.freshness.threshold_ns(late) == TIMING.least_silence_ns


def test_the_end_of_all_data_is_no_silence_where_it_is_expected() -> None:
    market = Market(whole=False)
    market.talk(60)
    assert market.silence() == {}


def test_one_feed_of_several_is_judged_even_then() -> None:
    market = Market(whole=False)
    for _ in range(60):
        for _ in range(10):
            market.book()
        market.engine.apply(_trade(), 1, 1)
        market.tick()
    assert market.silence(talking="trades") == {0: 10}


def test_by_default_silence_of_all_counts() -> None:
    market = Market()
    market.talk(60)
    assert market.silence() == {0: 20, 1: 60}


@pytest.mark.parametrize("every", [5, 10, 14])
def test_a_slow_feed_is_judged_too(every: int) -> None:
    """The silence itself must not raise the limit that it is held against."""
    market = Market()
    market.talk(1_200, book_every=every, trade_every=1)
    found = market.silence(talking="trades")
    assert found[0] == pytest.approx(20 * every, rel=0.1)


def test_a_market_that_slows_down_is_not_resynced_for_ever() -> None:
    """A silence that was declared is learned from: a snapshot that ends it says nothing about the rate."""
    market = Market()
    market.talk(600)
    declared = []
    for second in range(3_600):
        if second % 40 == 39:
            market.book()
        if any(feed == 0 for feed, _ in market.tick()):
            declared.append(second)
            market.engine.stale(BOOK, "silence", 1, 1)
            market.update_id += 100
            market.tick()
            market.engine.apply(_book(market.update_id, "snapshot"), 1, 1)
    assert declared
    assert declared[-1] < 1_000


@pytest.mark.parametrize(
    ("category", "topic", "expected"),
    [
        (Category.LINEAR, "orderbook.50.BTCUSDT", True),
        (Category.LINEAR, "orderbook.1.BTCUSDT", False),
        (Category.LINEAR, "tickers.BTCUSDT", True),
        (Category.INVERSE, "tickers.BTCUSD", True),
        (Category.SPOT, "tickers.BTCUSDT", False),
        (Category.OPTION, "tickers.BTC-1JAN30-1-C", False),
        (Category.OPTION, "orderbook.25.BTC-1JAN30-1-C", True),
        (Category.SPOT, "publicTrade.BTCUSDT", False),
    ],
)
def test_what_only_a_snapshot_heals(category: Category, topic: str, expected: bool) -> None:
    assert needs_snapshot(category, topic) is expected


# ---- resyncs -----------------------------------------------------------------------------------------------------


def _engine(feeds: int = 1) -> tuple[Engine, list[str]]:
    engine = Engine(Category.LINEAR)
    topics = [f"orderbook.50.S{number}" for number in range(feeds)]
    for topic in topics:
        engine.add_feed(topic)
    return engine, topics


def test_a_broken_chain_is_resynced_at_once_and_then_with_doubling_pauses() -> None:
    engine, (topic,) = _engine()
    resyncs = Resyncs(engine)
    start = 7 * SECOND
    resyncs.want(topic, start)
    asked = [tenth / 10 for tenth in range(4_000) if resyncs.due(start + tenth * SECOND // 10)]
    assert asked[:5] == [0, 2, 6, 14, 30]
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses[0] == TIMING.first_retry_ns / SECOND
    assert max(pauses) == TIMING.last_retry_ns / SECOND
    assert pauses[5:] == [TIMING.last_retry_ns / SECOND] * len(pauses[5:])
    assert resyncs.count == len(asked)


def test_wanting_it_again_changes_nothing() -> None:
    engine, (topic,) = _engine()
    resyncs = Resyncs(engine)
    resyncs.want(topic, 0)
    assert resyncs.due(0) == [topic]
    resyncs.want(topic, 1)
    assert resyncs.due(SECOND) == []
    assert len(resyncs) == 1


def test_a_first_snapshot_is_waited_for() -> None:
    engine, (topic,) = _engine()
    resyncs = Resyncs(engine)
    resyncs.want(topic, 5, patient=True)
    assert resyncs.due(TIMING.first_snapshot_ns + 4) == []
    assert resyncs.due(TIMING.first_snapshot_ns + 5) == [topic]


def test_a_chain_that_breaks_while_its_first_snapshot_is_waited_for_is_resynced_at_once() -> None:
    engine, (topic,) = _engine()
    resyncs = Resyncs(engine)
    resyncs.want(topic, 5, patient=True)
    resyncs.want(topic, 7)
    assert resyncs.due(7) == [topic]
    resyncs.want(topic, 8)  # it was asked for: pauses from here on
    assert resyncs.due(8) == []


def test_what_is_live_again_is_dropped() -> None:
    engine = Engine(Category.LINEAR)
    engine.add_feed(BOOK)
    resyncs = Resyncs(engine)
    resyncs.want(BOOK, 0)
    assert resyncs.due(0) == [BOOK]
    engine.apply(_book(5, "snapshot"), 1, 1)
    assert resyncs.due(100 * SECOND) == []
    assert len(resyncs) == 0
    engine.stale(BOOK, "silence", 1, 1)
    assert resyncs.due(200 * SECOND) == []  # nobody asked again


def test_one_budget_for_all() -> None:
    engine, topics = _engine(2 * PER_SECOND + 10)
    resyncs = Resyncs(engine)
    for topic in topics:
        resyncs.want(topic, 0)
    start = 10 * SECOND
    first = resyncs.due(start)
    assert len(first) == PER_SECOND
    assert resyncs.due(start + SECOND - 1) == []
    second = resyncs.due(start + SECOND)
    assert len(second) == PER_SECOND
    third = resyncs.due(start + 2 * SECOND)
    # The rest, and the first ones whose pause is over, within the budget.
    assert set(topics) <= {*first, *second, *third}
    assert len(third) <= PER_SECOND


def test_what_is_forgotten_is_not_asked_for() -> None:
    engine, (topic,) = _engine()
    resyncs = Resyncs(engine)
    resyncs.want(topic, 0)
    resyncs.forget(topic)
    resyncs.forget("orderbook.50.NEVER")
    assert resyncs.due(SECOND) == []
    resyncs.want(topic, 3 * SECOND)
    assert resyncs.due(3 * SECOND) == [topic]


class TestIdleClock:
    def test_counts_only_the_time_of_listening(self) -> None:
        clock = IdleClock()
        assert clock.tick(100, heard_ns=0, listening=False) == 0
        assert clock.tick(200, heard_ns=0, listening=True) == 100
        assert clock.tick(300, heard_ns=0, listening=False) == 100
        assert clock.tick(400, heard_ns=0, listening=True) == 200

    def test_a_process_that_was_kept_from_looking_was_not_idle_for_as_long(self) -> None:
        clock = IdleClock()
        clock.tick(0, heard_ns=0, listening=True)
        assert clock.tick(60 * SECOND, heard_ns=0, listening=True) == SECOND // 2
        assert clock.tick(60 * SECOND + 100, heard_ns=0, listening=True) == SECOND // 2 + 100

    def test_data_starts_it_anew(self) -> None:
        clock = IdleClock()
        clock.tick(100, heard_ns=0, listening=True)
        assert clock.tick(200, heard_ns=0, listening=True) == 100
        assert clock.tick(300, heard_ns=250, listening=True) == 0
        assert clock.tick(400, heard_ns=250, listening=True) == 100
