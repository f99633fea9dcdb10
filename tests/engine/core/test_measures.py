"""What a book tells, by hand: the answers that docs/books.md promises, what is refused, and views that never dangle."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.core.book import MAX_BUCKETS, Book
from engine.core.feeds import Engine
from engine.measures import Fill, Level, LevelChange, decimal_of, mantissa_at, micro_bps, spread_bps
from schemas.errors import ConfigError, DecimalError
from schemas.names import Category, Side

MAX = 2**63 - 1
TOPIC = "orderbook.50.BTCUSDT"
NONE: list[tuple[int, int]] = []
Levels = list[tuple[int, int]]


def _columns(bids: Levels, asks: Levels) -> tuple[Any, Any, Any, Any]:
    columns = [
        np.array([level[item] for level in side], dtype=np.int64) for side in (bids, asks) for item in (0, 1)
    ]
    return columns[0], columns[1], columns[2], columns[3]


def _book(bids: Levels, asks: Levels, depth: int = 50, exponents: tuple[int, int] = (-1, -3)) -> Book:
    book = Book(depth)
    book.load(*_columns(bids, asks), *exponents)
    return book


# The book of docs/books.md: prices 100.0 and 100.2 and so on, in tenths; sizes in thousandths.
BIDS = [(1_000, 3_000), (999, 1_000), (990, 5_000)]
ASKS = [(1_002, 1_000), (1_004, 2_000), (1_010, 4_000)]


class Frames:
    """An engine with one book feed, driven by frames with levels in whole numbers."""

    def __init__(self, topic: str = TOPIC, kind: type[Engine] = Engine) -> None:
        self.engine = kind(Category.LINEAR)
        self.topic, self.update_id = topic, 0
        self.feed = self.engine.add_feed(topic)

    def send(self, kind: str, bids: Levels, asks: Levels, skip: int = 0) -> None:
        self.update_id += 1 + skip
        sides = [[[str(price), str(size)] for price, size in side] for side in (bids, asks)]
        data = {"s": "BTCUSDT", "b": sides[0], "a": sides[1], "u": self.update_id, "seq": self.update_id}
        frame = {"topic": self.topic, "type": kind, "ts": 1_000, "data": data, "cts": 1_000}
        assert self.engine.apply(json.dumps(frame).encode(), self.update_id, self.update_id) == self.feed


# ---- prices and ratios ----


def test_prices() -> None:
    book = _book(BIDS, ASKS)
    assert (book.best_bid, book.best_ask) == (Level(1_000, 3_000), Level(1_002, 1_000))
    assert (book.spread, book.mid_doubled, book.mid, book.crossed) == (2, 2_002, 1_001.0, False)
    # three quarters of the size at the best prices is bid, so the price is pulled three quarters of the way to the ask
    assert book.microprice == 1_001.5
    assert book.imbalance(1) == 0.5
    assert book.imbalance(2) == (4_000 - 3_000) / 7_000
    assert book.cumulative_size(2) == (4_000, 3_000)
    assert book.imbalance() == book.imbalance(3) == book.imbalance(10**30) == (9_000 - 7_000) / 16_000


@pytest.mark.parametrize("sides", [(NONE, NONE), (BIDS, NONE), (NONE, ASKS)], ids=["neither", "bids", "asks"])
def test_without_two_sides_there_is_no_mid(sides: tuple[Levels, Levels]) -> None:
    book = _book(*sides)
    assert (book.spread, book.mid_doubled, book.mid, book.microprice) == (None,) * 4
    assert book.depth_within(10) is None
    assert book.depth_profile(3, 10) is None
    assert (book.best_bid is None, book.best_ask is None) == (not sides[0], not sides[1])


def test_imbalance_of_empty_sides() -> None:
    assert [_book(*sides).imbalance() for sides in [(BIDS, NONE), (NONE, ASKS), (NONE, NONE)]] == [
        1.0,
        -1.0,
        None,
    ]
    assert _book(BIDS, ASKS).imbalance(0) is None
    assert _book([(1, 1)], NONE).imbalance() == 1.0  # the smallest book there is


def test_a_crossed_and_a_locked_book() -> None:
    crossed, locked = _book([(1_010, 1), (1_000, 2)], [(1_002, 4)]), _book([(5, 1)], [(5, 3)])
    assert (crossed.crossed, crossed.spread, crossed.mid) == (True, -8, 1_006.0)
    assert crossed.depth_within(0) == (1, 4)  # what lies across the mid is within any width
    assert (locked.crossed, locked.spread, locked.mid, locked.microprice) == (True, 0, 5.0, 5.0)


def test_prices_may_be_negative() -> None:
    spread_product = _book([(-12, 1), (-20, 9)], [(-8, 3), (4, 1)])
    assert (spread_product.spread, spread_product.mid, spread_product.microprice) == (4, -10.0, -11.0)
    # 20 % of 10 either way: down to -12 and up to -8
    assert spread_product.depth_within(2_000) == (1, 3)
    assert spread_product.depth_within(1_999) == (0, 0)


def test_the_largest_numbers() -> None:
    book = _book([(MAX - 1, MAX), (MAX - 2, MAX)], [(MAX, MAX), (-MAX, MAX)], exponents=(0, 0))
    assert (book.best_ask, book.spread, book.mid_doubled) == ((-MAX, MAX), 1 - 2 * MAX, -1)
    assert book.cumulative_size() == (2 * MAX, 2 * MAX)
    assert book.cost_to_fill("sell", MAX).notional == (MAX - 1) * MAX


# ---- distances ----


def test_depth_within_includes_its_boundary() -> None:
    book = _book([(9_999, 1), (9_990, 2), (9_989, 4)], [(10_001, 1), (10_010, 2), (10_011, 4)])
    assert book.depth_within(10) == (3, 3)
    assert book.depth_within(Decimal("9.999999")) == (1, 1)
    assert book.depth_within(10.999999) == (3, 3)
    assert book.depth_within(11) == (7, 7)
    assert book.depth_within(0) == (0, 0)
    assert book.depth_within(np.int64(10)) == (3, 3)


def test_a_float_means_the_decimal_that_is_written() -> None:
    """0.3 is less than three tenths in binary, which must not cost a level on the boundary."""
    book = _book([(99_997, 1)], [(100_003, 1)])
    assert book.depth_within(0.3) == (1, 1)
    assert book.depth_within(0.299999) == (0, 0)


def test_a_profile_adds_up() -> None:
    book = _book([(9_999, 1), (9_990, 2), (9_985, 4), (9_000, 8)], [(10_001, 1), (10_020, 2), (10_021, 4)])
    assert book.depth_profile(4, 5) == ([1, 2, 4, 0], [1, 0, 0, 2])
    assert book.depth_profile(1, 20) == ([7], [3])
    assert sum(book.depth_profile(MAX_BUCKETS, 1).bids) == 15  # type: ignore[union-attr]


def test_a_mid_of_zero_has_no_width() -> None:
    book = _book([(-1, 1)], [(1, 1)])
    assert (book.mid, book.depth_within(10**6)) == (0.0, (0, 0))
    assert book.depth_profile(2, 10**6) == ([0, 0], [0, 0])
    assert _book([(0, 2)], [(0, 3)]).depth_within(0) == (2, 3)


# ---- costs ----


def test_cost_to_fill() -> None:
    book = _book(BIDS, ASKS)
    assert book.cost_to_fill("buy", 2_000) == Fill(2_000, 2_006_000, 1_003.0, 1_004, 2, True)
    assert book.cost_to_fill("sell", 3_000) == Fill(3_000, 3_000_000, 1_000.0, 1_000, 1, True)
    assert book.cost_to_fill(Side.SELL, 3_001) == Fill(3_001, 3_000_999, 3_000_999 / 3_001, 999, 2, True)
    assert book.cost_to_fill("buy", 0) == Fill(0, 0, None, None, 0, True)


def test_a_partial_fill_is_told() -> None:
    book = _book(BIDS, ASKS, depth=2)
    assert book.cost_to_fill("buy", 5_000) == Fill(3_000, 3_010_000, 3_010_000 / 3_000, 1_004, 2, False)
    assert _book(NONE, NONE).cost_to_fill("sell", 1) == Fill(0, 0, None, None, 0, False)


def test_size_for_notional() -> None:
    book = _book(BIDS, ASKS)
    # after 1,000 at 1,002 there are 4,015 left: three at 1,004, and 1,003 remain, too little for a fourth
    assert book.size_for_notional("buy", 1_002_000 + 4_015) == Fill(
        1_003, 1_005_012, 1_005_012 / 1_003, 1_004, 2, True
    )
    assert book.size_for_notional("buy", 1_001) == Fill(0, 0, None, None, 0, True)
    assert book.size_for_notional("sell", 10**9).complete is False
    everything = book.cost_to_fill("sell", 9_000)
    assert book.size_for_notional("sell", everything.notional) == everything


def test_notionals_at_prices_of_zero_and_below() -> None:
    book = _book(
        [(5, 2), (0, 3), (-5, 4)], [(-5, 2), (0, 3), (5, 4)]
    )  # crossed or not, sides are walked alone
    # paid 10 for the first two, the next three are free, and 13 buy two at 5
    assert book.size_for_notional("buy", 3) == Fill(7, 0, 0.0, 5, 3, True)
    # two at 5 bring 10; selling at 0 and below brings nothing more
    assert book.size_for_notional("sell", 11) == Fill(2, 10, 5.0, 5, 1, False)
    assert book.cost_to_fill("sell", 9) == Fill(9, -10, -10 / 9, -5, 3, True)


def test_values() -> None:
    book = _book(BIDS, ASKS)
    assert str(book.price(1_002)) == "100.2"
    assert book.price(1_003.5) == 100.35
    assert str(book.size(np.int64(2_000))) == "2.000"
    assert str(book.notional(2_006_000)) == "200.6000"
    assert (book.price_mantissa(Decimal("100.2")), book.size_mantissa("0.5"), book.size_mantissa(2)) == (
        1_002,
        500,
        2_000,
    )


# ---- what is refused ----

REFUSALS: list[tuple[Callable[[Book], Any], type[Exception], str]] = [
    (lambda book: book.imbalance(-1), ValueError, "found -1 levels"),
    (lambda book: book.cumulative_size(-(10**40)), ValueError, "found -10+ levels"),
    (lambda book: book.imbalance(1.5), TypeError, "float"),  # type: ignore[arg-type]
    (lambda book: book.cost_to_fill("bid", 1), ValueError, "found side 'bid', expected 'buy' or 'sell'"),  # type: ignore[arg-type]
    (lambda book: book.cost_to_fill("buy", -1), ValueError, "found size -1"),
    (lambda book: book.cost_to_fill("buy", MAX + 1), ValueError, "found size 9223372036854775808"),
    (lambda book: book.cost_to_fill("buy", 1.0), TypeError, "float"),  # type: ignore[arg-type]
    (lambda book: book.size_for_notional("sell", -1), ValueError, "found notional -1"),
    (lambda book: book.size_for_notional("sell", MAX**2 + 1), ValueError, "found notional"),
    (lambda book: book.depth_within(-1), ValueError, "found -1 bps"),
    (lambda book: book.depth_within(float("nan")), ValueError, "found nan bps"),
    (lambda book: book.depth_within(float("inf")), ValueError, "found inf bps"),
    (lambda book: book.depth_within(Decimal("Infinity")), ValueError, "found Infinity bps"),
    (lambda book: book.depth_within(Decimal("1e-999999999")), ValueError, "expected a multiple of 0.000001"),
    (lambda book: book.depth_within(Decimal("1e999999999")), ValueError, "expected a multiple of 0.000001"),
    (lambda book: book.depth_within(1e-7), ValueError, "expected a multiple of 0.000001"),
    (lambda book: book.depth_within(1e300), ValueError, "to 9.2e12"),
    (lambda book: book.depth_within(10**13), ValueError, "to 9.2e12"),
    (lambda book: book.depth_within("1"), TypeError, "str"),  # type: ignore[arg-type]
    (lambda book: book.depth_profile(0, 1), ValueError, "found 0 buckets, expected 1..65536"),
    (lambda book: book.depth_profile(MAX_BUCKETS + 1, 1), ValueError, "found 65537 buckets"),
    (lambda book: book.depth_profile(3, 0), ValueError, "expected a width above 0"),
    (lambda book: book.depth_profile(3, 9 * 10**12), ValueError, "at most 9.2e12 bps in all"),
    (lambda book: book.price_mantissa("100.25"), DecimalError, "at most 1 decimals"),
    (lambda book: book.price_mantissa("1e2"), DecimalError, "found '1e2'"),
    (lambda book: book.price_mantissa(MAX), DecimalError, "int64"),
    (lambda book: book.size_mantissa(Decimal("NaN")), DecimalError, "found NaN"),
    (lambda book: book.size_mantissa(0.5), TypeError, "float"),  # type: ignore[arg-type]
    (lambda book: book.size(0.5), TypeError, "float"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize(("call", "error", "match"), REFUSALS)
def test_refusals(call: Callable[[Book], Any], error: type[Exception], match: str, empty: bool) -> None:
    with pytest.raises(error, match=match):
        call(_book(NONE if empty else BIDS, ASKS))


def test_widths_and_mantissas() -> None:
    assert [micro_bps(width) for width in (0, 7, 0.1, 1e-6, Decimal("2.5"), np.float64(0.3))] == [
        0, 7_000_000, 100_000, 1, 2_500_000, 300_000,
    ]  # fmt: skip
    assert micro_bps(Decimal(MAX).scaleb(-6)) == MAX
    assert mantissa_at(Decimal("-0.000000000000000001"), -18) == -1
    assert mantissa_at(Decimal("0e-999999"), -2) == 0
    assert str(decimal_of(-(10**38) - 1, -36)) == "-100.000000000000000000000000000000000001"


# ---- what changes ----


def test_what_a_delta_changes() -> None:
    book = _book(BIDS, ASKS)
    message = _columns([(1_001, 7), (999, 0), (995, 0), (990, 5_000), (980, 1)], [(1_004, 9)])
    expected = [
        LevelChange("bid", 1_001, 0, 7, 0),
        LevelChange("bid", 999, 1_000, 0, 1),
        LevelChange("bid", 980, 0, 1, 3),
        LevelChange("ask", 1_004, 2_000, 9, 1),
    ]
    assert book.changes_of(*message, -1, -3) == (-1, -3, expected)
    assert book.best_bid == (1_000, 3_000)
    assert book.apply_with_changes(*message, -1, -3) == (-1, -3, expected)
    assert book.best_bid == (1_001, 7)


def test_what_a_snapshot_changes() -> None:
    book = _book([(10, 1), (9, 2)], [(11, 3)])
    message = _columns([(9, 2), (8, 4)], [(12, 5)])
    expected = [
        LevelChange("bid", 10, 1, 0, 0),
        LevelChange("bid", 8, 0, 4, 2),
        LevelChange("ask", 11, 3, 0, 0),
        LevelChange("ask", 12, 0, 5, 1),
    ]
    assert book.changes_of(*message, -1, -3, replace=True).levels == expected
    assert book.load_with_changes(*message, -1, -3).levels == expected
    assert book.bids() == [(9, 2), (8, 4)]


def test_changes_are_told_at_the_finer_exponents() -> None:
    book = _book([(10, 1)], NONE, exponents=(-1, 0))
    finer = _columns([(100, 5)], NONE)
    expected = (-2, -1, [LevelChange("bid", 100, 10, 5, 0)])
    assert book.changes_of(*finer, -2, -1) == expected
    assert (book.price_exponent, book.bids()) == (-1, [(10, 1)])
    assert book.apply_with_changes(*finer, -2, -1) == expected
    assert (book.price_exponent, book.bids()) == (-2, [(100, 5)])
    coarser = _columns([(1, 5)], NONE)  # 1 is 100 hundredths
    assert book.load_with_changes(*coarser, 0, 0) == (-2, -1, [LevelChange("bid", 100, 5, 50, 0)])
    assert (book.price_exponent, book.bids()) == (0, [(1, 5)])


def test_changes_that_do_not_fit_are_refused_and_nothing_is_done() -> None:
    book = _book([(MAX, 1)], NONE, exponents=(0, 0))
    for method in (book.changes_of, book.apply_with_changes, book.load_with_changes):
        with pytest.raises(DecimalError, match="wider exponents"):
            method(*_columns([(1, 1)], NONE), -1, 0)
    assert (book.price_exponent, book.bids()) == (0, [(MAX, 1)])


# ---- views of an engine's books ----


def test_a_view_follows_its_feed() -> None:
    frames = Frames()
    book = frames.engine.book(frames.feed)
    assert (book.topic, book.depth, book.live, book.update_id, book.best_bid) == (
        TOPIC,
        50,
        False,
        None,
        None,
    )
    frames.send("snapshot", [(10, 1)], [(11, 2)])
    assert (book.live, book.update_id, book.best_bid, book.mid_doubled) == (True, 1, (10, 1), 21)
    assert book.digest == frames.engine.digest(frames.feed) == book.recomputed_digest()
    frames.send("delta", [(10, 0), (9, 5)], [])
    assert (book.update_id, book.best_bid) == (2, (9, 5))
    frames.send("delta", [], [(11, 7)], skip=1)
    assert (book.live, book.update_id) == (False, 2)
    assert repr(book) == f"<Book of {TOPIC}, not live, depth=50 bids=1 asks=1 digest={book.digest:016x}>"


def test_a_book_of_ones_own_is_what_was_put_in() -> None:
    book = _book(BIDS, ASKS)
    assert (book.topic, book.live, book.update_id) == (None, True, None)


def test_readers_see_no_deeper_than_the_topic() -> None:
    frames = Frames("orderbook.1.BTCUSDT")
    book = frames.engine.book(frames.feed)
    frames.send("snapshot", [(10, 1), (9, 1)], [(11, 2), (12, 2)])
    assert book.counts == (2, 2)
    assert book.cumulative_size(2) == (1, 2)
    assert book.cost_to_fill("buy", 3) == Fill(2, 22, 11.0, 11, 1, False)
    assert book.depth_within(10_000) == (1, 2)
    assert (book.bid_levels.tolist(), book.ask_levels.tolist()) == ([[10, 1]], [[11, 2]])


def test_a_view_is_read_only() -> None:
    frames = Frames()
    frames.send("snapshot", [(10, 1)], [(11, 2)])
    book = frames.engine.book(frames.feed)
    for method in (book.load, book.apply, book.apply_with_changes, book.load_with_changes):
        with pytest.raises(TypeError, match=rf"found a view of {TOPIC}.*Book\(depth\)"):
            method(*_columns([(1, 1)], NONE), 0, 0)
    assert book.changes_of(*_columns([(10, 0)], NONE), 0, 0).levels == [LevelChange("bid", 10, 1, 0, 0)]
    assert book.best_bid == (10, 1)


def test_only_book_feeds_have_books() -> None:
    engine = Engine(Category.LINEAR)
    feed = engine.add_feed("publicTrade.BTCUSDT")
    with pytest.raises(ConfigError, match=r"publicTrade\.BTCUSDT: has no book"):
        engine.book(feed)
    with pytest.raises(IndexError, match="found feed 7"):
        engine.book(7)


# ---- arrays ----


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_arrays_are_the_books_own_memory() -> None:
    frames = Frames()
    book = frames.engine.book(frames.feed)
    frames.send("snapshot", [(10, 1), (9, 2)], [(11, 3)])
    levels, sizes = book.bid_levels, book.bid_sizes
    assert (levels.dtype, levels.shape, levels.strides) == (np.dtype(np.int64), (2, 2), (-16, 8))
    assert levels.tolist() == [[10, 1], [9, 2]]
    assert np.shares_memory(levels, sizes)
    assert np.shares_memory(levels, book.bid_levels)
    assert _address(levels) == _address(frames.engine.book(frames.feed).bid_levels)
    frames.send("delta", [(10, 7)], [])
    assert levels.tolist() == [[10, 7], [9, 2]]  # nobody copied: the frame shows in what was taken before it


def test_arrays_are_read_only() -> None:
    levels = _book(BIDS, ASKS).ask_levels
    with pytest.raises(ValueError, match="read-only"):
        levels[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        levels.flags.writeable = True
    base = levels.base.obj  # type: ignore[union-attr]
    assert memoryview(base).readonly
    with pytest.raises(BufferError, match="read-only and strided"):
        np.frombuffer(base, dtype=np.int64)
    assert np.asarray(type(base)()).size == 0  # one that nobody made for a book


def test_arrays_of_an_empty_side() -> None:
    book = Book(5)
    assert (book.bid_levels.shape, book.ask_prices.shape) == ((0, 2), (0,))
    assert book.bid_levels.dtype == np.int64


class Watched(Engine):
    """An engine that can be watched, and that can hold what refers to it."""

    book_of_mine: Book


def test_an_array_keeps_its_engine_alive() -> None:
    frames = Frames(kind=Watched)
    frames.send("snapshot", [(10, 1), (9, 2)], [(11, 3)])
    watch = weakref.ref(frames.engine)
    prices = frames.engine.book(frames.feed).bid_prices
    del frames
    gc.collect()
    assert watch() is not None
    assert prices.tolist() == [10, 9]
    del prices
    gc.collect()
    assert watch() is None


def test_an_engine_that_holds_its_own_view_can_go() -> None:
    frames = Frames(kind=Watched)
    frames.send("snapshot", [(10, 1)], [(11, 3)])
    watch = weakref.ref(frames.engine)
    assert isinstance(frames.engine, Watched)
    frames.engine.book_of_mine = frames.engine.book(frames.feed)
    del frames
    gc.collect()
    assert watch() is None


def test_an_array_outlives_the_memory_that_the_book_grew_out_of() -> None:
    book = _book(BIDS, ASKS)
    before = book.bid_levels
    kept = before.tolist()
    for count in (100, 10_000, 100_000):
        book.load(*_columns([(price, 1) for price in range(1, count)], NONE), 0, 0)
        assert before.tolist() == kept
        assert not np.shares_memory(before, book.bid_levels)
    del book
    gc.collect()
    assert before.tolist() == kept


def test_arrays_of_a_feed_stay_where_they_are() -> None:
    """A feed has room for twice its depth from its first frame on, so that a view of it only ages, and never moves."""
    frames = Frames()
    book = frames.engine.book(frames.feed)
    frames.send("snapshot", [(1, 1)], [(1_000, 1)])
    first = _address(book.bid_levels)
    for price in range(2, 90):
        frames.send("delta", [(price, 1)], [])
    array = book.bid_levels
    assert _address(array) == first + 16 * 88
    assert array[:, 0].tolist() == list(range(89, 39, -1))


@pytest.mark.parametrize(
    ("bid", "ask", "points"),
    [
        (9_999, 10_001, 2.0),
        (10_001, 9_999, -2.0),
        (-10_001, -9_999, 2.0),
        (-9_999, -10_001, -2.0),
        (-5, 6, 220_000.0),
        (0, 10, 20_000.0),
        (-5, 5, None),
        (0, 0, None),
    ],
)
def test_only_a_crossed_book_has_a_spread_below_zero(bid: int, ask: int, points: float | None) -> None:
    assert spread_bps(bid, ask) == points
