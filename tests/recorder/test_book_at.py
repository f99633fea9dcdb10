"""Books as of a moment: the rules one by one, and random recordings against a slow, obvious reference."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recorder import merged_files
from recorder.archive import open_archive
from recorder.book_at import BookAnswer, Clock, book_at, book_object, book_text
from recorder.book_state import choose_topic, latest_book, topics_by_depth
from recorder.cli import app
from recorder.compact import compact_data
from recorder.encodings import Profile, Purpose, profile
from schemas.errors import ConfigError, Corrupt, NoData
from schemas.names import FeedState, Table
from schemas.time import format_ns
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import (
    BOOK,
    COVERAGE,
    GAPS,
    LATENCY_NS,
    NOON_MS,
    TOPIC,
    Recording,
    cover,
    gap,
    moment_of,
    record,
    reference,
    row,
)


def at(data: Path, match_ms: float, clock: Clock = Clock.MATCH, topic: str = TOPIC) -> BookAnswer:
    with open_archive(data) as archive:
        return book_at(archive, "linear", "BTCUSDT", topic, NOON_NS + round(match_ms * MS), clock)


def simple(
    tmp_path: Path, rows: list[dict[str, Any]], gaps: list[dict[str, Any]] | None = None, **kwargs: Any
) -> Path:
    tables = {BOOK: rows, COVERAGE: [cover(0, 0, 10_000)]}
    if gaps:
        tables[GAPS] = gaps
    HandmadeArchive(tmp_path).segment(NOON_NS, tables, **kwargs)
    return tmp_path


def test_the_state_at_each_clock_and_all_that_is_said_of_it(tmp_path: Path) -> None:
    data = simple(
        tmp_path,
        [
            row(1, 1000, "snapshot", bid_price_mantissa=[99, 98], bid_size_mantissa=[7, 8]),
            row(2, 1100, bid=100, size=1500),
            row(3, 1200, bid=99, size=0),
        ],
    )
    answer = at(data, 1150.5)
    assert (answer.update_id, answer.cross_sequence, answer.state) == (2, 20, FeedState.LIVE)
    assert answer.bids == [(100, 1500), (99, 7), (98, 8)]
    assert answer.asks == [(200, 5000)]
    assert book_object(answer, 2) == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "topic": TOPIC,
        "state": "live",
        "update_id": 2,
        "cross_sequence": 20,
        "match_time": "2024-08-08T12:00:01.100000000Z",
        "push_time": "2024-08-08T12:00:01.102000000Z",
        "receive_time": "2024-08-08T12:00:01.107000123Z",
        "age_ms": 50.5,
        "bids": [["1.00", "1.500"], ["0.99", "0.007"]],
        "asks": [["2.00", "5.000"]],
    }
    assert at(data, 1100).update_id == 2
    assert at(data, 1099.999999).update_id == 1
    assert at(data, 1101.999999, Clock.PUSH).update_id == 1
    assert at(data, 1102, Clock.PUSH).update_id == 2
    assert at(data, 1107.000122, Clock.RECEIVE).update_id == 1
    assert at(data, 1107.000123, Clock.RECEIVE).update_id == 2
    assert at(data, 1200).bids == [(100, 1500), (98, 8)]
    assert book_object(at(data, 1300), 1)["age_ms"] == 100


def test_a_running_maximum_cuts_the_prefix(tmp_path: Path) -> None:
    rows = [
        row(1, 1000, "snapshot"),
        row(2, 1300, bid=101),
        row(3, 1100, bid=102),
        row(4, 1400, bid=103),
    ]
    data = simple(tmp_path, rows)
    # Row 3 says 1100, but the frame before it had said 1300 already.
    assert at(data, 1200).update_id == 1
    assert at(data, 1300).update_id == 3
    assert book_object(at(data, 1350), 1)["age_ms"] == 250


def test_rows_without_a_match_time_stay_with_the_row_before(tmp_path: Path) -> None:
    data = simple(tmp_path, [row(1, 1000, "snapshot"), row(2, None, bid=101), row(3, 1200, bid=102)])
    answer = at(data, 1100)
    assert (answer.update_id, answer.match_ns) == (2, None)
    assert book_object(answer, 1)["match_time"] is None


def test_outside_of_coverage_there_is_no_book(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    archive.segment(NOON_NS, {BOOK: [row(1, 1000, "snapshot")], COVERAGE: [cover(0, 0, 2000)]})
    archive.segment(NOON_NS + 1, {BOOK: [row(11, 9000, "snapshot")], COVERAGE: [cover(10, 8500, 9500)]})
    for moment in (999.9, 1993.1, 5000, 8999, 9600):
        with pytest.raises(NoData) as caught:
            at(tmp_path, moment)
        assert format_ns(NOON_NS + 1000 * MS) in str(caught.value)
        assert format_ns(NOON_NS + 9000 * MS) in str(caught.value)
    # After the last frame the feed was recorded for another while: the book stood still, and is known to.
    assert at(tmp_path, 1990).update_id == 1
    assert at(tmp_path, 9400).update_id == 11
    for moment in (7000, 8400, 9501):
        with pytest.raises(NoData, match="receive clock"):
            at(tmp_path, moment, Clock.RECEIVE)
    assert at(tmp_path, 2000, Clock.RECEIVE).update_id == 1


def test_of_several_spans_the_latest_recorded_one_answers(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    first = [row(1, 1000, "snapshot", bid=100), row(2, 2000, bid=101)]
    again = [
        row(11, 1000, "snapshot", bid=110, receive_time=NOON_NS + 50_000 * MS),
        row(12, 1500, bid=111, receive_time=NOON_NS + 50_500 * MS),
    ]
    archive.segment(NOON_NS, {BOOK: first, COVERAGE: [cover(0, 900, 3000)]})
    archive.segment(NOON_NS + 1, {BOOK: again, COVERAGE: [cover(10, 49_900, 50_600)]})
    assert at(tmp_path, 1200).update_id == 11
    assert at(tmp_path, 1550).update_id == 12
    assert at(tmp_path, 2500).update_id == 2  # the second recording had ended by then
    assert at(tmp_path, 50_400, Clock.RECEIVE).update_id == 11
    assert at(tmp_path, 1200, Clock.RECEIVE).update_id == 1


def test_inside_a_gap_the_last_good_book_is_shown_as_stale(tmp_path: Path) -> None:
    rows = [
        row(1, 1000, "snapshot"),
        row(2, 1100, bid=101),
        row(4, 1300, bid=999, applied=False),
        row(5, 1500, "snapshot", bid=105),
    ]
    data = simple(tmp_path, rows, [gap(5, rows[1], rows[3])])
    for clock, shift in ((Clock.MATCH, 0), (Clock.PUSH, 2), (Clock.RECEIVE, LATENCY_NS / MS)):
        assert at(data, 1100 + shift, clock).state is FeedState.LIVE
        for moment in (1100.000001, 1200, 1300, 1400, 1499):
            answer = at(data, moment + shift, clock)
            assert (answer.state, answer.gap, answer.update_id) == (FeedState.STALE, "lost", 2)
            assert answer.bids == [(101, 1000), (100, 1000)]
        healed = at(data, 1500 + shift, clock)
        assert (healed.state, healed.bids) == (FeedState.LIVE, [(105, 1000)])
    assert "last good book" in book_text(at(data, 1200), 5)
    assert "last good book" not in book_text(at(data, 1050), 5)


def test_a_gap_without_rows_is_a_gap_too(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(5, 1500, "snapshot", bid=105)]
    data = simple(tmp_path, rows, [gap(5, rows[0], rows[1], cause="disconnect")])
    assert at(data, 1200).gap == "disconnect"
    assert at(data, 1200, Clock.RECEIVE).state is FeedState.STALE
    assert at(data, 1500).state is FeedState.LIVE


def test_a_gap_that_nothing_healed_lasts(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(2, 1100)]
    data = simple(tmp_path, rows, [gap(9, rows[1], None, cause="silence")])
    assert at(data, 1100).state is FeedState.LIVE
    assert at(data, 5000).gap == "silence"


def test_a_gap_of_another_feed_or_collector_changes_nothing(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(2, 1100)]
    strangers = [
        gap(9, rows[1], None, topic="orderbook.200.BTCUSDT"),
        gap(9, rows[1], None, collector="other"),
    ]
    assert at(simple(tmp_path, rows, strangers), 2000).state is FeedState.LIVE


def test_a_gap_that_begins_with_a_bad_frame_leaves_the_time_before_it_good(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(3, 1500, "snapshot", bid=105)]
    damaged = gap(2, rows[0], rows[1], cause="undecodable", start_match_time=None)
    damaged["start_time"] += 200 * MS
    data = simple(tmp_path, rows, [damaged])
    for clock, shift in ((Clock.MATCH, 0), (Clock.PUSH, 2), (Clock.RECEIVE, LATENCY_NS / MS)):
        assert at(data, 1200 + shift, clock).state is FeedState.LIVE
        assert at(data, 1201 + shift, clock).gap == "undecodable"


def test_a_feed_subscribed_anew_to_heal_a_gap_is_stale_in_between(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(5, 1500, "snapshot", bid=105)]
    tables = {
        BOOK: rows,
        COVERAGE: [cover(0, 0, 1200), cover(4, 1400, 2000)],
        GAPS: [gap(5, rows[0], rows[1])],
    }
    HandmadeArchive(tmp_path).segment(NOON_NS, tables)
    assert at(tmp_path, 1300, Clock.RECEIVE).state is FeedState.STALE
    assert at(tmp_path, 1300, Clock.MATCH).state is FeedState.STALE
    assert at(tmp_path, 1600).update_id == 5


def test_unapplied_rows_alone_make_no_book(tmp_path: Path) -> None:
    data = simple(tmp_path, [row(1, 1000, applied=False), row(2, 1100, applied=False)])
    with pytest.raises(NoData, match="no snapshot yet"):
        at(data, 1050)


def test_a_late_row_that_opened_no_gap_leaves_the_book_as_it_was(tmp_path: Path) -> None:
    data = simple(tmp_path, [row(2, 1000, "snapshot"), row(3, 1100, update_id=1, bid=999, applied=False)])
    answer = at(data, 1150)
    assert (answer.state, answer.update_id, answer.bids) == (FeedState.LIVE, 2, [(100, 1000)])


def test_a_row_kept_out_by_a_gap_at_the_same_millisecond_makes_it_stale(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(3, 1000, applied=False)]
    rows[1]["receive_time"] += 1
    data = simple(tmp_path, rows, [gap(9, rows[0], None)])
    assert at(data, 1000).state is FeedState.STALE
    assert at(data, 1000 + LATENCY_NS / MS, Clock.RECEIVE).state is FeedState.LIVE


def test_a_gap_broken_and_healed_in_one_read_is_over_with_what_healed_it(tmp_path: Path) -> None:
    """The frames of one read share their receive stamp, so only the match time says which came first."""
    rows = [row(1, 1000, "snapshot"), row(3, 1005, "snapshot", size=7), row(4, 1009, size=8)]
    rows[1]["receive_time"] = rows[0]["receive_time"]
    data = simple(tmp_path, rows, [gap(3, rows[0], rows[1])])
    assert at(data, 1000).state is FeedState.LIVE
    assert at(data, 1003).state is FeedState.STALE
    healed = at(data, 1005)
    assert (healed.state, healed.update_id) == (FeedState.LIVE, 3)
    assert at(data, 1000 + LATENCY_NS / MS, Clock.RECEIVE).state is FeedState.LIVE


def test_a_later_segment_begins_with_a_keyframe(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    first = [row(1, 1000, "snapshot"), row(2, 1100, bid=101)]
    keyframe = row(
        2,
        1100,
        "keyframe",
        bid_price_mantissa=[101, 100],
        bid_size_mantissa=[1000, 1000],
        ask_size_mantissa=[5000],
    )
    second = [keyframe, row(3, 1900, bid=102)]
    archive.segment(NOON_NS, {BOOK: first, COVERAGE: [cover(0, 900, 1500)]}, run_ns=NOON_NS)
    archive.segment(NOON_NS + 9, {BOOK: second, COVERAGE: [cover(2, 1500, 2000)]}, run_ns=NOON_NS)
    assert at(tmp_path, 1500).bids == [(101, 1000), (100, 1000)]
    # The older file is not needed for a moment behind the keyframe.
    next((tmp_path / "archive" / "book_updates").rglob(f"linear-{NOON_NS}.parquet")).write_bytes(b"gone")
    assert at(tmp_path, 1950).bids == [(102, 1000), (101, 1000), (100, 1000)]
    with pytest.raises(Corrupt, match="cannot be read"):
        at(tmp_path, 1050)


def test_files_around_midnight_interleave(tmp_path: Path) -> None:
    midnight = 12 * 3600 * 1000
    rows = [
        row(1, midnight - 100, "snapshot"),
        row(2, midnight + 5, bid=101),
        row(3, midnight - 4, bid=102),  # pushed before midnight, received behind the first one of the new day
        row(4, midnight + 9, bid=103),
    ]
    span = cover(0, midnight - 1000, midnight + 1000)
    HandmadeArchive(tmp_path).segment(NOON_NS, {BOOK: rows, COVERAGE: [span]})
    assert len(list((tmp_path / "archive" / "book_updates").rglob("*.parquet"))) == 2
    assert at(tmp_path, midnight + 6).bids == [(102, 1000), (101, 1000), (100, 1000)]
    assert at(tmp_path, midnight + 4).bids == [(100, 1000)]


def test_rows_that_no_recorder_writes_are_corrupt_not_a_crash(tmp_path: Path) -> None:
    data = simple(tmp_path, [row(1, 1000, "snapshot", bid_price_mantissa=[5, 5], bid_size_mantissa=[1, 1])])
    with pytest.raises(Corrupt, match="sequence 1 cannot be applied"):
        at(data, 1500)


def test_topics_are_chosen_and_refused_in_words(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(2, 1000, "snapshot", depth=200), row(3, 1000, "snapshot", depth=1)]
    with open_archive(simple(tmp_path, rows)) as archive:
        assert choose_topic(archive, "linear", "BTCUSDT", None) == "orderbook.200.BTCUSDT"
        assert choose_topic(archive, "linear", "BTCUSDT", "orderbook.1") == "orderbook.1.BTCUSDT"
        assert choose_topic(archive, "linear", "BTCUSDT", TOPIC) == TOPIC
        with pytest.raises(NoData, match=r"recorded: orderbook\.1\.BTCUSDT, orderbook\.50\.BTCUSDT"):
            choose_topic(archive, "linear", "BTCUSDT", "orderbook.25")
        with pytest.raises(NoData, match="BTCUSDT"):
            choose_topic(archive, "linear", "BTCUSD", None)
        for wrong in ("tickers", "orderbook.x", "orderbook.50.ETHUSDT", "orderbook.0", ""):
            with pytest.raises(ConfigError, match=r"orderbook\.50"):
                choose_topic(archive, "linear", "BTCUSDT", wrong)
        with pytest.raises(ConfigError, match="no order book"):
            book_at(archive, "linear", "BTCUSDT", "publicTrade.BTCUSDT", NOON_NS)


DEEP = "orderbook.200.BTCUSDT"


@pytest.fixture
def two_depths(tmp_path: Path) -> Path:
    """Depth 50 of one collector for ten seconds, 200 of another for the one in their midst."""
    HandmadeArchive(tmp_path, "one").segment(
        NOON_NS, {BOOK: [row(1, 1000, "snapshot")], COVERAGE: [cover(0, 0, 10_000)]}
    )
    deep = cover(0, 5000, 6000, topic=DEEP)
    HandmadeArchive(tmp_path, "two").segment(
        NOON_NS, {BOOK: [row(1, 5000, "snapshot", depth=200)], COVERAGE: [deep]}
    )
    return tmp_path


@pytest.mark.parametrize(("ms", "topic"), [(2000, TOPIC), (5500, DEEP), (9000, TOPIC)])
def test_the_command_shows_the_deepest_book_that_there_is_then(two_depths: Path, ms: int, topic: str) -> None:
    asked = ["book", "BTCUSDT", "--at", f"{NOON_NS + ms * MS}ns", "--data", str(two_depths)]
    result = CliRunner().invoke(app, asked)
    assert result.exception is None, result.output
    assert result.stdout.startswith(f"linear {topic} at {format_ns(NOON_NS + ms * MS)} (match clock): live")


def test_what_another_depth_has_is_named(two_depths: Path) -> None:
    with open_archive(two_depths) as archive:

        def fails(ms: int, topic: str | None) -> str:
            topics = topics_by_depth(archive, "linear", "BTCUSDT", topic)
            with pytest.raises(NoData) as caught:
                latest_book(archive, "linear", "BTCUSDT", NOON_NS + ms * MS, topics, Clock.MATCH)
            return str(caught.value)

        assert topics_by_depth(archive, "linear", "BTCUSDT", None) == [DEEP, TOPIC]
        assert fails(2000, "orderbook.200").endswith(f"; {TOPIC} has a book then")
        assert "a book then" not in fails(20_000, "orderbook.200")
        both = fails(20_000, None)
        start, deep_start = (format_ns(NOON_NS + each * MS) for each in (1000, 5000))
        assert "no book of linear BTCUSDT at" in both
        assert f"recorded: {start} to " in both
        assert f"({TOPIC}, one)" in both
        assert f"{deep_start} to " in both
        assert f"({DEEP}, two)" in both


# ---- random recordings against a reference that reads everything, row by row ----


def in_small_groups(rows: int, levels: int) -> Callable[[Purpose, Table], Profile]:
    return lambda purpose, table: profile(purpose, table)._replace(
        row_group_rows=rows, row_group_levels=levels
    )


LAYOUTS = (None, (1, 100), (4, 3))
"""How the archive lies: as rolled, or compacted, with so many rows and levels a row group."""


@pytest.mark.parametrize("seed", range(36))
def test_random_recordings_agree_with_the_reference(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    layout = LAYOUTS[seed % 3]
    if layout is not None:
        monkeypatch.setattr(merged_files, "profile", in_small_groups(*layout))
    archive = HandmadeArchive(tmp_path)
    recordings: list[Recording] = []
    sequence, start_ns = 1, NOON_NS
    for number in range(rng.randrange(1, 4)):
        if layout is not None and number == 1 and seed % 2:
            compact_data(tmp_path)  # what comes later is merged into it, or lies beside it
        # Match times start over: later runs replay the same market time.
        recording, sequence = record(rng, archive, sequence, NOON_MS, start_ns)
        recordings.append(recording)
        start_ns = recording.end_ns + rng.randrange(1, 1000 * MS)
    if layout is not None and seed % 4:
        compact_data(tmp_path, grace_s=0)
    answered = 0
    with open_archive(tmp_path) as opened:
        for clock in Clock:
            moments = sorted({moment_of(each, clock) for recording in recordings for each in recording.rows})
            chosen = rng.sample(moments, min(len(moments), 8))
            for moment in (*chosen, moments[0] - 1, moments[-1] + 10**10):
                at_ns = moment + rng.choice((0, 0, 1, -1, MS // 2))
                expected = reference(recordings, at_ns, clock)
                try:
                    answer = book_at(opened, "linear", "BTCUSDT", TOPIC, at_ns, clock)
                except NoData:
                    assert expected is None, (clock, at_ns)
                    continue
                found = book_object(answer, 50)
                sides = [[(Decimal(p), Decimal(s)) for p, s in found[side]] for side in ("bids", "asks")]
                assert (found["state"], found["update_id"], *sides) == expected, (clock, at_ns)
                answered += 1
    usable = [
        each for recording in recordings for each in recording.rows if each["depth"] == 50 and each["applied"]
    ]
    assert bool(answered) == bool(usable)
