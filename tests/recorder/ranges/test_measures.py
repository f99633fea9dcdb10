"""Measures at moments of a range: what the definitions say of the books that a slow reader arrives at."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recorder.archive import Archive, open_archive
from recorder.compact import compact_data
from recorder.feed_rows import Clock
from schemas.errors import ConfigError, DecimalError
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import (
    BOOK,
    COVERAGE,
    GAPS,
    LATENCY_NS,
    Recording,
    cover,
    gap,
    reference,
    row,
)
from tests.recorder.ranges.asking import (
    ask,
    ask_or_none,
    random_archive,
    random_range,
    rows_of,
    simple,
    times,
)
from tests.slow_measures import SlowBook

DECIMALS = 8
UNIT = 10**DECIMALS
NEAR = 1e-12
"""Relative error of doubles that come from a few operations."""


class Expected(NamedTuple):
    """A book of whole numbers, of 10^-8 each, and whether it is live."""

    book: SlowBook
    live: bool


def whole(levels: list[tuple[Decimal, Decimal]]) -> list[tuple[int, int]]:
    return [(int(price.scaleb(DECIMALS)), int(size.scaleb(DECIMALS))) for price, size in levels]


def expected_books(recordings: list[Recording], moments: range, clock: Clock) -> dict[int, Expected]:
    found = {}
    for at_ns in moments:
        answer = reference(recordings, at_ns, clock)
        if answer is not None:
            state, _, bids, asks = answer
            found[at_ns] = Expected(SlowBook(whole(bids), whole(asks), 50), state == "live")
    return found


def number(value: Fraction | int | None, unit: int = UNIT) -> Any:
    return None if value is None else pytest.approx(float(Fraction(value) / unit), rel=NEAR, abs=1e-12)


def check_head(rows: list[dict[str, Any]], expected: dict[int, Expected], each: int = 1) -> None:
    assert [found["time"] for found in rows] == [at_ns for at_ns in sorted(expected) for _ in range(each)]
    for found in rows:
        assert found["trusted"] == expected[found["time"]].live


def check_quotes(
    archive: Archive, t0: int, t1: int, options: dict[str, Any], expected: dict[int, Expected]
) -> None:
    rows = rows_of(ask(archive, "quotes", t0, t1, **options))
    check_head(rows, expected)
    for found in rows:
        book = expected[found["time"]].book
        for side, levels in (("bid", book.bids), ("ask", book.asks)):
            price, size = levels[0] if levels else (None, None)
            assert (found[f"{side}_price"], found[f"{side}_size"]) == (number(price), number(size))


def check_spread(
    archive: Archive, t0: int, t1: int, options: dict[str, Any], expected: dict[int, Expected]
) -> None:
    rows = rows_of(ask(archive, "spread", t0, t1, **options))
    check_head(rows, expected)
    for found in rows:
        book = expected[found["time"]].book
        bps = None if book.spread is None or not book.mid else Fraction(book.spread) / abs(book.mid) * 10_000
        assert (found["mid"], found["spread"]) == (number(book.mid), number(book.spread))
        assert found["spread_bps"] == number(bps, 1)
        assert found["microprice"] == number(book.microprice)


def check_depth(
    archive: Archive, t0: int, t1: int, options: dict[str, Any], expected: dict[int, Expected]
) -> None:
    bands = [Fraction(7), Fraction("33.5"), Fraction(2000), Fraction(6000)]
    given = [float(band) for band in reversed(bands)]
    rows = rows_of(ask(archive, "depth_within_bps", t0, t1, bps=given, **options))
    check_head(rows, expected, len(bands))
    assert [found["bps"] for found in rows] == [float(band) for band in bands] * len(expected)
    for found in rows:
        book = expected[found["time"]].book
        depth = book.depth_within(Fraction(str(found["bps"])))
        bid_size, ask_size = (None, None) if depth is None else depth
        assert (found["bid_size"], found["ask_size"]) == (number(bid_size), number(ask_size))
        assert found["mid"] == number(book.mid)
        for side, levels in (("bid", book.bids), ("ask", book.asks)):
            covered = None
            if book.mid is not None:
                reach = abs(book.mid) * Fraction(str(found["bps"])) / 10_000
                covered = any(abs(price - book.mid) > reach for price, _ in levels)
            assert found[f"{side}_covered"] == covered


def check_fill(
    archive: Archive, t0: int, t1: int, options: dict[str, Any], expected: dict[int, Expected], size: Decimal
) -> None:
    for side in ("buy", "sell"):
        rows = rows_of(ask(archive, "cost_to_fill", t0, t1, side=side, size=size, **options))
        check_head(rows, expected)
        for found in rows:
            book = expected[found["time"]].book
            fill = book.cost_to_fill(side, int(size.scaleb(DECIMALS)))
            assert found["average_price"] == number(fill.average_price)
            assert found["worst_price"] == number(fill.worst_price)
            assert found["filled"] == number(fill.filled)
            assert found["notional"] == number(fill.notional, UNIT * UNIT)
            assert (found["levels"], found["complete"]) == (fill.touched, fill.complete)
            assert found["mid"] == number(book.mid)
            slippage = None
            if book.mid and fill.average_price is not None:
                away = fill.average_price - book.mid
                slippage = (away if side == "buy" else -away) / abs(book.mid) * 10_000
            assert found["slippage_bps"] == number(slippage, 1)


@pytest.mark.parametrize("seed", range(10))
def test_random_recordings_agree_with_the_definitions(tmp_path: Path, seed: int) -> None:
    rng = random.Random(2000 + seed)
    recordings = random_archive(tmp_path, rng)
    if seed % 2:
        compact_data(tmp_path)
    with open_archive(tmp_path) as opened:
        for clock in Clock:
            every_ns = rng.choice((11 * MS, 17 * MS + 1))
            t0, t1 = random_range(rng, recordings, clock, every_ns)
            options = {"every": every_ns, "clock": clock.value, "untrusted": "mark"}
            expected = expected_books(recordings, range(t0, t1, every_ns), clock)
            if not expected:
                assert ask_or_none(opened, "quotes", t0, t1, **options) is None
                continue
            check_quotes(opened, t0, t1, options, expected)
            check_spread(opened, t0, t1, options, expected)
            check_depth(opened, t0, t1, options, expected)
            check_fill(
                opened,
                t0,
                t1,
                options,
                expected,
                rng.choice([Decimal("0.5"), Decimal("7.12345"), Decimal(900)]),
            )
            for name, more in (
                ("quotes", {}),
                ("depth_within_bps", {"bps": [5, 10]}),
                ("cost_to_fill", {"side": "buy", "size": 1}),
            ):
                marked = ask(opened, name, t0, t1, **options, **more)
                trusted = ask(opened, name, t0, t1, **options | {"untrusted": "leave out"}, **more)
                assert trusted == marked.filter(marked["trusted"])


def test_a_fill_finer_than_the_book_counts(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot", bid_price_mantissa=[100, 90], bid_size_mantissa=[1, 5])]
    with open_archive(simple(tmp_path, rows)) as archive:
        start = NOON_NS + 1000 * MS
        (found,) = rows_of(ask(archive, "cost_to_fill", start, start + 1, side="sell", size="0.0015"))
        assert (found["filled"], found["levels"], found["complete"]) == (0.0015, 2, True)
        assert found["average_price"] == pytest.approx((0.001 * 1.00 + 0.0005 * 0.90) / 0.0015)
        assert found["worst_price"] == 0.9
        (found,) = rows_of(ask(archive, "cost_to_fill", start, start + 1, side="sell", size=1))
        assert (found["filled"], found["complete"]) == (0.006, False)


def test_what_no_measure_takes(tmp_path: Path) -> None:
    levels = {
        "bid_price_mantissa": [2**62 - place for place in range(9)],
        "bid_size_mantissa": [2**63 - 1] * 9,
        "size_exponent": -18,
    }
    rows = [row(1, 1000, "snapshot", **levels)]
    with open_archive(simple(tmp_path, rows)) as archive:
        start = NOON_NS + 1000 * MS
        for bps in ([0.0005], [10_001], list(range(1, 66))):
            with pytest.raises(ConfigError, match=r"^bps: found .*, expected"):
                ask(archive, "depth_within_bps", start, start + 1, bps=bps)
        for size in ("1e-19", "1e19"):
            with pytest.raises(ConfigError, match=r"^size: found .*, expected"):
                ask(archive, "cost_to_fill", start, start + 1, side="buy", size=size)
        with pytest.raises(DecimalError, match="does not fit"):
            ask(archive, "cost_to_fill", start, start + 1, side="sell", size=10**18)


# ---- quotes whenever they change -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("name", ["quotes", "spread"])
def test_the_last_quote_before_a_moment_is_the_quote_at_the_moment(
    tmp_path: Path, seed: int, name: str
) -> None:
    rng = random.Random(3000 + seed)
    recordings = random_archive(tmp_path, rng, most=1)
    columns = ("bid_price", "ask_price", *(("bid_size", "ask_size") if name == "quotes" else ()))
    with open_archive(tmp_path) as opened:
        for clock in Clock:
            t0, t1 = random_range(rng, recordings, clock, 13 * MS)
            whole_range = t0 - 100_000 * MS
            table = ask_or_none(opened, name, whole_range, t1, clock=clock.value)
            expected = expected_books(recordings, range(t0, t1, 13 * MS), clock)
            if table is None:
                assert not expected
                continue
            found = rows_of(table)
            assert [each["time"] for each in found] == sorted(each["time"] for each in found)
            assert all(each["trusted"] for each in found)
            for one, next_one in pairwise(found):
                assert [one[column] for column in columns] != [next_one[column] for column in columns] or (
                    name == "spread"  # a size may have changed
                )
            for at_ns, (book, _) in expected.items():
                last = [each for each in found if each["time"] <= at_ns][-1]
                for side, levels in (("bid", book.bids), ("ask", book.asks)):
                    price, size = levels[0] if levels else (None, None)
                    assert last[f"{side}_price"] == number(price), (clock, at_ns)
                    if name == "quotes":
                        assert last[f"{side}_size"] == number(size)
            # in two halves, cut at a row's own moment or anywhere
            for middle in (rng.choice(found)["time"], rng.randrange(whole_range, t1)):
                halves = [
                    ask_or_none(opened, name, low, high, clock=clock.value)
                    for low, high in ((whole_range, middle), (middle, t1))
                ]
                assert [each for half in halves if half is not None for each in rows_of(half)] == found


@pytest.mark.parametrize("gone", [False, True])
def test_a_recording_that_takes_over_in_its_midst_says_its_quote(tmp_path: Path, gone: bool) -> None:
    """The later one answers while it lasts; then the earlier one does again, which meanwhile heard of a change."""
    first = [row(1, 1000, "snapshot"), row(2, 1500, bid=101)]
    later = [row(1, 1200, "snapshot"), row(2, 1300, bid=99, collector="other")]
    lost = gap(9, first[1], row(9, 3000, "snapshot"))
    rows = [*first, row(9, 3000, "snapshot", bid_price_mantissa=[101, 100], bid_size_mantissa=[1000, 1000])]
    tables = {BOOK: rows, COVERAGE: [cover(0, 0, 10_000)]} | ({GAPS: [lost]} if gone else {})
    HandmadeArchive(tmp_path).segment(NOON_NS, tables)
    HandmadeArchive(tmp_path, collector="other").segment(
        NOON_NS + 1, {BOOK: later, COVERAGE: [cover(0, 1100, 2000)]}
    )
    with open_archive(tmp_path) as archive:
        found = rows_of(ask(archive, "quotes", NOON_NS, NOON_NS + 9000 * MS))
        assert [(row_["time"] - NOON_NS) // MS for row_ in found][:2] == [1000, 1200]
        (again,) = found[2:]
        # 7.000123 ms under way: the other one went on that much longer than its last message says
        taken_over = NOON_NS + 2000 * MS - LATENCY_NS + 1
        assert (again["bid_price"], again["time"]) == (1.01, NOON_NS + 3000 * MS if gone else taken_over)
        for every_ns in (7 * MS, 50 * MS):
            for sample in rows_of(ask(archive, "quotes", NOON_NS, NOON_NS + 9000 * MS, every=every_ns)):
                last = [each for each in found if each["time"] <= sample["time"]][-1]
                assert (last["bid_price"], last["bid_size"]) == (sample["bid_price"], sample["bid_size"])


def test_quotes_with_mantissas_and_what_is_no_change(tmp_path: Path) -> None:
    rows = [
        row(1, 1000, "snapshot"),
        row(2, 1100, bid=90, size=7),  # behind the best
        row(3, 1200, bid=100, size=1001),
        row(4, 1300, "keyframe", update_id=3, bid_price_mantissa=[100, 90], bid_size_mantissa=[1001, 7]),
        row(
            5, 1400, update_id=4, bid=1000, size=1001, price_exponent=-3, ask_price_mantissa=[2000]
        ),  # as before, finer
        row(
            6,
            1500,
            update_id=5,
            bid=1001,
            size=3,
            price_exponent=-3,
            ask_price_mantissa=[2000],
            ask_size_mantissa=[0],
        ),
    ]
    with open_archive(simple(tmp_path, rows)) as archive:
        found = ask(archive, "quotes", NOON_NS, NOON_NS + 9000 * MS, exact=True)
        assert times(found) == [NOON_NS + ms * MS for ms in (1000, 1200, 1500)]
        assert found["bid_price"].to_pylist() == [1.0, 1.0, 1.001]
        assert found["bid_size_mantissa"].to_pylist() == [1000, 1001, 3]
        assert found["price_exponent"].to_pylist() == [-2, -2, -3]
        assert found["ask_price"].to_pylist() == [2.0, 2.0, None]
        assert found["ask_price_mantissa"].to_pylist() == [200, 200, None]
        assert found["age_ms"].to_pylist() == [0.0, 0.0, 0.0]


def test_no_quote_changes_in_a_gap(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(3, 1100, bid=105, applied=False), row(9, 2000, "snapshot", bid=105)]
    with open_archive(simple(tmp_path, rows, [gap(9, rows[0], rows[2])])) as archive:
        found = ask(archive, "quotes", NOON_NS, NOON_NS + 9000 * MS, untrusted="mark")
        assert found["update_id"].to_pylist() == [1, 9]
