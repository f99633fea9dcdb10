"""Order flow over intervals of a range, against the formula word for word; intervals that miss something say so."""

from __future__ import annotations

import random
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import open_archive
from recorder.compact import compact_data
from recorder.feed_rows import Clock
from tests.book_rows import Row, reached, slow_flow
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import BOOK, COVERAGE, GAPS, cover, gap, moment_of, reference, row
from tests.recorder.ranges.asking import (
    ask,
    ask_or_none,
    random_archive,
    random_range,
    rows_of,
    simple,
    times,
)


def plain(each: dict[str, Any]) -> Row:
    sides = (
        list(zip(each[f"{side}_price_mantissa"], each[f"{side}_size_mantissa"], strict=True))
        for side in ("bid", "ask")
    )
    bids, asks = sides
    return Row(
        kind=each["kind"], bids=bids, asks=asks, update_id=each["update_id"], sequence=each["sequence"],
        applied=each["applied"], price_exponent=each["price_exponent"], size_exponent=each["size_exponent"],
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(16))
def test_random_recordings_agree_with_the_formula(tmp_path: Path, seed: int) -> None:
    rng = random.Random(4000 + seed)
    recordings = random_archive(tmp_path, rng, most=1)
    if seed % 2:
        compact_data(tmp_path)
    feed = [each for each in recordings[0].rows if each["depth"] == 50]
    # what comes before the first full book is passed over
    first = next((i for i, each in enumerate(feed) if each["applied"] and each["kind"] != "delta"), len(feed))
    before, feed = feed[: first + 1], feed[first:]
    with open_archive(tmp_path) as opened:
        for clock in Clock:
            every_ns = rng.choice((23 * MS, 31 * MS + 1))
            t0, t1 = random_range(rng, recordings, clock, every_ns)
            options = {"every": every_ns, "clock": clock.value}
            table = ask_or_none(opened, "order_flow_imbalance", t0, t1, untrusted="mark", **options)
            moments = [moment_of(each, clock) for each in feed]
            moments[:1] = [max(moment_of(each, clock) for each in before)]
            highest = [-1 if found is None else found for found in reached(moments)]
            ends = [
                at_ns
                for at_ns in range(t0 + every_ns, t1 + 1, every_ns)
                if reference(recordings, at_ns, clock) is not None
            ]
            if table is None:
                assert not ends
                continue
            assert times(table) == ends
            for found in rows_of(table):
                end_ns = found["time"]
                since_ns = end_ns - every_ns
                expected = reference(recordings, end_ns, clock)
                assert expected is not None
                whole = highest[0] <= since_ns
                if not whole:
                    assert not found["trusted"]
                    continue
                low, high = bisect_right(highest, since_ns), bisect_right(highest, end_ns)
                flow = slow_flow(list(map(plain, feed)), moments, low, high, since_ns, end_ns, 50)
                assert (found["messages"], found["breaks"]) == (flow["messages"], flow["breaks"])
                value = Fraction(flow["order_flow_mantissa"]) / 10 ** -flow["size_exponent"]
                assert found["order_flow"] == pytest.approx(float(value), rel=1e-12)
                assert found["trusted"] == (expected[0] == "live" and flow["breaks"] == 0)
                if found["trusted"]:
                    mean = flow["mean_spread"]
                    assert found["mean_spread"] == (
                        None if mean is None else pytest.approx(float(mean), rel=1e-9)
                    )
                bids, asks = expected[2], expected[3]
                spread = float(asks[0][0] - bids[0][0]) if bids and asks else None
                assert found["spread"] == (None if spread is None else pytest.approx(spread, rel=1e-12))
            trusted = ask(opened, "order_flow_imbalance", t0, t1, **options)
            assert trusted == table.filter(table["trusted"])


def test_intervals_end_with_their_moment(tmp_path: Path) -> None:
    rows = [
        row(1, 1000, "snapshot"),
        row(2, 1100, size=1500),
        row(3, 1200, size=1600),
        row(4, 1300, bid=101, size=50),
    ]
    with open_archive(simple(tmp_path, rows)) as archive:
        start = NOON_NS + 1000 * MS
        found = ask(archive, "order_flow_imbalance", start, start + 300 * MS, every=100 * MS)
        assert times(found) == [start + ms * MS for ms in (100, 200, 300)]
        assert found["order_flow"].to_pylist() == [0.5, 0.1, 0.05]
        assert found["messages"].to_pylist() == [1, 1, 1]
        # begun within a recording: what came before is part of no interval
        later = ask(archive, "order_flow_imbalance", start + 50 * MS, start + 300 * MS, every=100 * MS)
        assert later["order_flow"].to_pylist() == [0.5, 0.1]


def test_an_interval_with_a_gap_in_it_is_not_to_be_trusted(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(9, 1500, "snapshot", bid=105), row(10, 2500, bid=106)]
    with open_archive(simple(tmp_path, rows, [gap(9, rows[0], rows[1], cause="disconnect")])) as archive:
        start = NOON_NS + 1000 * MS
        marked = ask(archive, "order_flow_imbalance", start, start + 3000 * MS, untrusted="mark")
        assert marked["trusted"].to_pylist() == [False, True, True]
        assert marked["breaks"].to_pylist() == [1, 0, 0]
        # one that lies before the first book began is not whole
        early = ask(archive, "order_flow_imbalance", start - 500 * MS, start + 500 * MS, untrusted="mark")
        assert early["trusted"].to_pylist() == [False]


def test_a_gap_of_snapshots_alone_breaks_the_interval_that_it_was_healed_in(tmp_path: Path) -> None:
    """Each message of level 1 is a whole book, so that none of them shows that others are missing."""
    moments = ((1, 1000), (2, 1200), (9, 1700), (10, 1900), (11, 2500))
    rows = [row(sequence, match, "snapshot", depth=1) for sequence, match in moments]
    topic = "orderbook.1.BTCUSDT"
    lost = gap(9, rows[1], rows[2], cause="disconnect", topic=topic)
    covered = cover(0, 0, 10_000, topic=topic)
    HandmadeArchive(tmp_path).segment(
        NOON_NS, {BOOK: rows, COVERAGE: [covered], GAPS: [lost]}, row_group_rows=2
    )
    with open_archive(tmp_path) as archive:
        start = NOON_NS + 1000 * MS
        for every, expected in ((1000, [False, True, True]), (200, [True, False, False, False, True])):
            end = start + every * len(expected) * MS
            options = {"every": every * MS, "topic": "orderbook.1", "untrusted": "mark"}
            marked = ask(archive, "order_flow_imbalance", start, end, **options)
            assert marked["trusted"].to_pylist() == expected
            assert marked["breaks"].to_pylist() == [0] * len(expected)
