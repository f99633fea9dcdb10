"""Snapshots over a range: what a slow reader says of each moment, whatever recordings, gaps and files there are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recorder.archive import Archive, open_archive
from recorder.compact import compact_data
from recorder.feed_rows import Clock
from recorder.ranges import FUNCTIONS
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from schemas.time import format_ns
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import BOOK, COVERAGE, TOPIC, cover, gap, reference, row
from tests.recorder.ranges.asking import ask as ask_of
from tests.recorder.ranges.asking import random_archive, random_range, rows_of, simple, times

SNAPSHOTS = FUNCTIONS["snapshots"]


def ask(archive: Archive, t0_ns: int, t1_ns: int, every_ns: int, **named: Any) -> pa.Table:
    return ask_of(archive, "snapshots", t0_ns, t1_ns, every=every_ns, **named)


@pytest.mark.parametrize("seed", range(18))
def test_random_recordings_agree_with_the_reference(tmp_path: Path, seed: int) -> None:
    rng = random.Random(1000 + seed)
    recordings = random_archive(tmp_path, rng)
    if seed % 2:
        compact_data(tmp_path)
    with open_archive(tmp_path) as opened:
        for clock in Clock:
            every_ns = rng.choice((3 * MS, 7 * MS + 1))
            t0, t1 = random_range(rng, recordings, clock, every_ns)
            expected = {
                at_ns: found
                for at_ns in range(t0, t1, every_ns)
                if (found := reference(recordings, at_ns, clock)) is not None
            }
            options = {"clock": clock.value, "depth": 50, "exact": True}
            try:
                marked = ask(opened, t0, t1, every_ns, untrusted="mark", **options)
            except NoData:
                assert not expected
                continue
            assert times(marked) == sorted(expected), clock
            for sample in rows_of(marked):
                at_ns = sample["time"]
                state, update_id, *sides = expected[at_ns]
                assert (sample["trusted"], sample["update_id"]) == (state == "live", update_id), (
                    clock,
                    at_ns,
                )
                for side, levels in zip(("bid", "ask"), sides, strict=True):
                    for place, what in enumerate(("price", "size")):
                        exponent = sample[f"{what}_exponent"]
                        exact = [level[place].scaleb(-exponent) for level in levels]
                        assert sample[f"{side}_{what}_mantissa"] == exact
                        assert sample[f"{side}_{what}"] == [float(level[place]) for level in levels]
            assert ask(opened, t0, t1, every_ns, **options) == marked.filter(marked["trusted"])
            middle = t0 + len(range(t0, t1, every_ns)) // 2 * every_ns
            halves = []
            for low, high in ((t0, middle), (middle, t1)):
                try:
                    halves.append(ask(opened, low, high, every_ns, untrusted="mark", **options))
                except NoData:
                    assert not [at_ns for at_ns in expected if low <= at_ns < high]
            assert pa.concat_tables(halves).combine_chunks() == marked.combine_chunks()


def test_the_moments_begin_with_t0_and_end_before_t1(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(2, 1100, bid=101), row(3, 1300, bid=102)]
    with open_archive(simple(tmp_path, rows)) as archive:
        start = NOON_NS + 1050 * MS
        found = ask(archive, start, start + 300 * MS, 100 * MS)
        assert times(found) == [start, start + 100 * MS, start + 200 * MS]
        assert found["update_id"].to_pylist() == [1, 2, 2]
        assert found["bid_price"].to_pylist() == [[1.0], [1.01, 1.0], [1.01, 1.0]]
        assert found["age_ms"].to_pylist() == [50.0, 50.0, 150.0]
        assert ask(archive, start, start, MS).num_rows == 0
        assert ask(archive, start, start + MS, MS, depth=1)["bid_size"].to_pylist() == [[1.0]]


def test_a_silence_that_no_row_shows_is_not_to_be_trusted(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(9, 2000, "snapshot", bid=105)]
    with open_archive(simple(tmp_path, rows, [gap(9, rows[0], rows[1], cause="disconnect")])) as archive:
        t0, t1 = NOON_NS + 1000 * MS, NOON_NS + 2200 * MS
        marked = ask(archive, t0, t1, 200 * MS, untrusted="mark")
        assert marked["trusted"].to_pylist() == [True, False, False, False, False, True]
        assert times(ask(archive, t0, t1, 200 * MS)) == [t0, t0 + 1000 * MS]


def test_a_frame_that_may_have_been_anything_may_have_been_the_top_of_the_book(tmp_path: Path) -> None:
    tops = [row(sequence, match, "snapshot", depth=1) for sequence, match in ((1, 1000), (9, 2000))]
    rows = [*tops, row(2, 1000, "snapshot"), row(3, 1900)]
    damaged = gap(5, row(4, 1300, match_time=None), row(6, 1310), topic="", cause="undecodable")
    top = cover(0, 0, 10_000, topic="orderbook.1.BTCUSDT")
    tables = {BOOK: rows, COVERAGE: [cover(0, 0, 10_000), top], (Table.GAPS, "_"): [damaged]}
    HandmadeArchive(tmp_path).segment(NOON_NS, tables)
    with open_archive(tmp_path) as archive:
        t0, t1 = NOON_NS + 1000 * MS, NOON_NS + 2400 * MS
        marked = ask(archive, t0, t1, 200 * MS, untrusted="mark", topic="orderbook.1")
        assert marked["trusted"].to_pylist() == [True, False, False, False, False, True, True]
        # of deeper books the next update id tells
        marked = ask(archive, t0, t1, 200 * MS, untrusted="mark", topic="orderbook.50")
        assert marked["trusted"].to_pylist() == [True] * 7


def test_the_deepest_topic_that_covers_the_range_answers(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot", depth=50), row(2, 1500, "snapshot", depth=200, bid=7)]
    deep = cover(0, 1400, 10_000, topic="orderbook.200.BTCUSDT")
    HandmadeArchive(tmp_path).segment(NOON_NS, {BOOK: rows, COVERAGE: [cover(0, 0, 10_000), deep]})
    with open_archive(tmp_path) as archive:
        early, late = NOON_NS + 1200 * MS, NOON_NS + 1600 * MS
        end = NOON_NS + 1800 * MS
        assert ask(archive, late, end, 100 * MS)["bid_price"].to_pylist() == [[0.07]] * 2
        assert ask(archive, early, end, 100 * MS)["bid_price"].to_pylist() == [[1.0]] * 6
        assert ask(archive, late, end, 100 * MS, topic="orderbook.50")["update_id"].to_pylist() == [1, 1]
        assert ask(archive, early, end, 100 * MS, depth=51)["update_id"].to_pylist() == [2] * 3


@pytest.mark.parametrize(("begins_ms", "deepest"), [(1_090, 200), (1_110, 200), (2_300, 50), (9_000, 50)])
def test_a_deep_topic_that_began_a_moment_later_answers_all_the_same(
    tmp_path: Path, begins_ms: int, deepest: int
) -> None:
    rows = [row(1, 1000, "snapshot", depth=50), row(2, begins_ms, "snapshot", depth=200, bid=7)]
    deep = cover(0, begins_ms, 13_000, topic="orderbook.200.BTCUSDT")
    HandmadeArchive(tmp_path).segment(NOON_NS, {BOOK: rows, COVERAGE: [cover(0, 0, 13_000), deep]})
    with open_archive(tmp_path) as archive:
        found = ask(archive, NOON_NS, NOON_NS + 60_000 * MS, 100 * MS)
        assert found["bid_price"].to_pylist()[-1] == [0.07 if deepest == 200 else 1.0]


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    simple(tmp_path, [row(1, 1000, "snapshot")])
    for path in (tmp_path / "archive" / "book_updates").rglob("*.parquet"):
        path.write_bytes(b"gone")
    with open_archive(tmp_path) as archive:
        arguments = SNAPSHOTS.bind(["linear", "BTCUSDT", "2024-08-08T12:00:01Z", "2024-08-08T12:00:02Z"])
        SNAPSHOTS.run(archive, arguments)


def test_called_like_a_function(tmp_path: Path) -> None:
    with open_archive(simple(tmp_path, [row(1, 1000, "snapshot")])) as archive:
        start, end = "2024-08-08T12:00:01Z", "2024-08-08T12:00:03Z"
        rows = SNAPSHOTS(archive, "linear", "BTCUSDT", start, end, depth=1)
        assert rows.schema.names[4:] == ["bid_price", "bid_size", "ask_price", "ask_size"]
        assert rows.table()["bid_price"].to_pylist() == [[1.0], [1.0]]
        assert archive.ask("snapshots", "linear", "BTCUSDT", start, end, depth=1).table().num_rows == 2
        with pytest.raises(ConfigError, match=r"found the question 'snapshot', expected one of .*snapshots"):
            archive.ask("snapshot", "linear", "BTCUSDT", start, end)
        with pytest.raises(ConfigError, match="did you mean 'every'"):
            SNAPSHOTS(archive, "linear", "BTCUSDT", start, end, evry="1s")


def test_what_cannot_be_answered_is_said_in_words(tmp_path: Path) -> None:
    with open_archive(simple(tmp_path, [row(1, 1000, "snapshot")])) as archive:
        second = NOON_NS + 1000 * MS
        with pytest.raises(NoData, match=rf"nearest: {format_ns(second)} to .*\({TOPIC}\)"):
            ask(archive, 0, MS, MS)
        with pytest.raises(
            NoData, match=r"the deepest recorded book of linear BTCUSDT is .*; ask for at most 50"
        ):
            ask(archive, second, second + MS, MS, depth=51)
        with pytest.raises(NoData, match=rf"{TOPIC} has 50 levels a side; ask for no more"):
            ask(archive, second, second + MS, MS, depth=51, topic="orderbook.50")
        with pytest.raises(NoData, match="recorded symbols near it: BTCUSDT"):
            list(SNAPSHOTS.run(archive, SNAPSHOTS.bind(["linear", "BTCUSD", "0ns", "1ns"])))
        with pytest.raises(ConfigError, match="no order book"):
            ask(archive, second, second + MS, MS, topic="tickers")
