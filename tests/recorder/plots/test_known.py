"""What can be trusted, against a count moment by moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.archive import open_archive
from recorder.feed_rows import Clock
from recorder.plots.known import (
    FeedGap,
    Known,
    Range,
    known_feeds,
    known_of,
    merged,
    only_category,
    recorded_range,
)
from recorder.plots.spans import total
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from tests.recorder.archives import NOON_NS, HandmadeArchive
from tests.recorder.plots.archives import SECOND_NS, gap, made, span
from tests.recorder.plots.test_spans import moments

END = 30


def seconds(start_s: float, end_s: float) -> Range:
    return Range(NOON_NS + int(start_s * SECOND_NS), NOON_NS + int(end_s * SECOND_NS))


def read(data: Path, range_: Range, **options: Any) -> Known:
    with open_archive(data) as archive:
        return merged(range_, known_feeds(archive, range_, **options))


SPANS = st.lists(st.tuples(st.integers(0, END), st.integers(1, 8)), min_size=1, max_size=4)


@given(SPANS, SPANS, SPANS, SPANS, st.integers(0, END - 1), st.integers(1, END))
def test_what_one_collector_trusts_another_may_have_lost(
    own: list[tuple[int, int]],
    own_gaps: list[tuple[int, int]],
    others: list[tuple[int, int]],
    others_gaps: list[tuple[int, int]],
    start: int,
    length: int,
) -> None:
    """Moment by moment: trusted where one was there and in no gap of its own, recorded there and in gaps."""

    def held(spans: list[tuple[int, int]]) -> set[int]:
        return {at for begin, its_length in spans for at in range(begin, begin + its_length)}

    spans = {"a": own, "b": others}
    gaps = [("a", *each) for each in own_gaps] + [("b", *each) for each in others_gaps]
    known = known_of(
        Range(start, start + length),
        {name: [(at, at + long) for at, long in each] for name, each in spans.items()},
        [FeedGap(name, at, at + long, "snapshot") for name, at, long in gaps],
    )
    inside = set(range(start, start + length))
    trusted = (held(own) - held(own_gaps)) | (held(others) - held(others_gaps))
    recorded = held(own) | held(own_gaps) | held(others) | held(others_gaps)
    assert moments(known.trusted) == trusted & inside
    assert moments(known.recorded) == recorded & inside
    assert moments(known.lost) == (recorded - trusted) & inside
    assert moments(known.absent(Range(start, start + length))) == inside - recorded


def test_each_feed_has_its_own_gaps(tmp_path: Path) -> None:
    other = "tickers.BTCUSDT"
    rows = [span(1, 0, 10), span(2, 0, 20, other), span(3, 0, 5, "zzz.BTCUSDT")]
    gaps = [gap(4, 1, 2), gap(5, 3, 7, other), gap(6, 8, 9, "nothing.BTCUSDT")]
    made(tmp_path / "d", coverage=rows, gaps=gaps).close()
    with open_archive(tmp_path / "d") as archive:
        found = {
            feed.topic: total(known.lost) // SECOND_NS for feed, known in known_feeds(archive, seconds(0, 20))
        }
    assert found == {"publicTrade.BTCUSDT": 1, other: 4, "zzz.BTCUSDT": 0}


def test_a_gap_that_nothing_healed_lasts_to_the_end_of_its_span(tmp_path: Path) -> None:
    made(tmp_path / "d", coverage=[span(1, 0, 10), span(5, 20, 30)], gaps=[gap(3, 4, None)]).close()
    known = read(tmp_path / "d", seconds(0, 40))
    assert (known.lost - NOON_NS).tolist() == [[4 * SECOND_NS, 10 * SECOND_NS]]
    assert (known.absent(seconds(0, 40)) - NOON_NS).tolist() == [
        [10 * SECOND_NS, 20 * SECOND_NS],
        [30 * SECOND_NS, 40 * SECOND_NS],
    ]


def test_a_gap_between_two_spans_is_a_gap(tmp_path: Path) -> None:
    """A feed that is subscribed anew, or a collector that crashed, owns up to what lies between."""
    made(tmp_path / "d", coverage=[span(1, 0, 10), span(5, 12, 20)], gaps=[gap(3, 10, 12)]).close()
    known = read(tmp_path / "d", seconds(0, 20))
    assert len(known.absent(seconds(0, 20))) == 0
    assert total(known.lost) == 2 * SECOND_NS


def test_trades_that_were_fetched_back_are_no_gap_of_trades(tmp_path: Path) -> None:
    rows = [gap(3, 2, 4, healed_by="backfill"), gap(4, 6, 7)]
    made(tmp_path / "d", coverage=[span(1, 0, 10)], gaps=rows).close()
    known = read(tmp_path / "d", seconds(0, 10))
    assert (known.gaps, known.fetched, total(known.lost)) == (1, 1, SECOND_NS)
    known = read(tmp_path / "d", seconds(0, 10), fetched_is_trusted=False)
    assert (known.gaps, known.fetched, total(known.lost)) == (2, 0, 3 * SECOND_NS)


def test_the_match_clock_reads_the_gaps_match_times_where_there_are_any(tmp_path: Path) -> None:
    match_ms = NOON_NS // 10**6
    rows = [gap(3, 2, 4, start_match_time=match_ms + 1900, end_match_time=match_ms + 3900), gap(4, 6, 7)]
    made(tmp_path / "d", coverage=[span(1, 0, 10)], gaps=rows).close()
    known = read(tmp_path / "d", seconds(0, 10), clock=Clock.MATCH)
    assert ((known.lost - NOON_NS) // 10**6).tolist() == [[1900, 3900], [6000, 7000]]


def test_ranges_are_filled_in_and_refused_in_words(tmp_path: Path) -> None:
    with made(tmp_path / "d", coverage=[span(1, 0, 10), span(2, 20, 30)]) as archive:
        topic = {"category": "linear", "topic": "publicTrade.BTCUSDT"}
        assert recorded_range(archive, None, None, **topic) == seconds(0, 30)
        assert recorded_range(archive, NOON_NS + 5 * SECOND_NS, None, **topic) == seconds(5, 30)
        with pytest.raises(
            NoData, match=r"recorded from \S+12:00:40\.0+Z; recorded: \S+ to \S+12:00:30\.0+Z"
        ):
            recorded_range(archive, NOON_NS + 40 * SECOND_NS, None, **topic)
        with pytest.raises(NoData, match=r"recorded to \S+11:59:00.000000000Z; recorded:"):
            recorded_range(archive, None, NOON_NS - 60 * SECOND_NS, **topic)
        with pytest.raises(
            NoData, match=r"nothing of linear ETHUSDT was recorded; recorded: linear publicTrade\.BTC"
        ):
            recorded_range(archive, None, None, category="linear", symbol="ETHUSDT")


def test_a_symbol_of_two_product_lines_has_to_be_told_apart(tmp_path: Path) -> None:
    with made(tmp_path / "d", coverage=[span(1, 0, 10)]) as archive:
        assert only_category(archive, "BTCUSDT") == "linear"
        with pytest.raises(NoData, match="nothing of BTCUSD was recorded; recorded: BTCUSDT"):
            only_category(archive, "BTCUSD")
    spot = HandmadeArchive(tmp_path / "d", collector="spot", category="spot")
    spot.segment(NOON_NS, {(Table.COVERAGE, "BTCUSDT"): [span(1, 0, 10)]})
    with (
        open_archive(tmp_path / "d") as archive,
        pytest.raises(ConfigError, match="recorded in linear, spot; choose one with --category"),
    ):
        only_category(archive, "BTCUSDT")
