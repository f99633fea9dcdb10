"""The spread step by step against a count nanosecond by nanosecond, and against the books themselves."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.archive import open_archive
from recorder.plots.known import Range
from recorder.plots.spans import union
from recorder.plots.spread import LOWEST, PARTS_OF_A_DECADE, Fold, spread_picture, spread_share
from recorder.plots.spread_figure import draw_spread, stairs_of, when_text
from recorder.plots.touch import Touch, recordings, touches
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from tests.recorder.archives import NOON_NS
from tests.recorder.plots.archives import SECOND_NS, gap, made, span
from tests.recorder.plots.figures import hatched_spans, legend_texts, words
from tests.recorder.plots.test_depth import TOPIC, book_row, walk

SIDES = st.one_of(st.none(), st.integers(1, 40))


@given(
    st.lists(st.tuples(st.integers(1, 6), SIDES, SIDES), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10)), max_size=4),
    st.integers(1, 12),
)
def test_cells_hold_what_stood_in_them(
    states: list[tuple[int, int | None, int | None]], spans: list[tuple[int, int]], batch: int
) -> None:
    pieces = union([(start, start + length) for start, length in spans])
    fold = Fold(pieces)
    moments: dict[int, tuple[float, float]] = {}
    at = 3
    columns: list[tuple[int, int, float, float]] = []
    for length, bid, width in states:
        ask = math.nan if bid is None or width is None else bid + width
        columns.append((at, at + length, math.nan if bid is None else float(bid), ask))
        if not math.isnan(ask):
            moments.update({moment: (float(bid or 0), ask) for moment in range(at, at + length)})
        at += length
    for first in range(0, len(columns), batch):
        part = columns[first : first + batch]
        starts, ends, bids, asks = (np.asarray(column) for column in zip(*part, strict=True))
        fold.take(Touch(starts, ends, bids.astype(float), asks.astype(float)))
    inside = []
    for number, (start, end) in enumerate(pieces.tolist()):
        own = [moments[moment] for moment in range(start, end) if moment in moments]
        inside += own
        assert fold.stood_ns[number] == len(own)
        spreads = [ask - bid for bid, ask in own]
        assert fold.spread_ns[number] == pytest.approx(sum(spreads))
        assert fold.middle_ns[number] == pytest.approx(sum((ask + bid) / 2 for bid, ask in own))
        assert fold.bps_ns[number] == pytest.approx(sum((a - b) / (a + b) * 20_000 for b, a in own))
        assert fold.low[number] == min(spreads, default=math.inf)
        assert fold.high[number] == max(spreads, default=-math.inf)
    assert fold.by_size_ns.sum() == len(inside)
    assert fold.widest == max((ask - bid for bid, ask in inside), default=-math.inf)


def test_prices_below_zero_have_no_spread_below_zero() -> None:
    fold = Fold(union([(0, 10), (20, 30)]))
    bids, asks = np.asarray([-101.0, -1.0]), np.asarray([-99.0, 1.0])
    fold.take(Touch(np.asarray([0, 20]), np.asarray([10, 30]), bids, asks))
    assert fold.bps_ns.tolist() == [200.0 * 10, 0.0]


def test_the_distribution_is_one_of_time() -> None:
    fold = Fold(union([(0, 100)]))
    starts, ends = np.asarray([0, 90]), np.asarray([90, 100])
    fold.take(Touch(starts, ends, np.asarray([10.0, 10.0]), np.asarray([10.1, 12.0])))
    edges, share = spread_share(fold.by_size_ns)
    assert edges[0] <= 0.1 < edges[1]
    assert edges[-2] <= 2.0 < edges[-1]
    assert (share[0], share[-1], share.sum()) == (0.9, 0.1, 1.0)
    assert len(edges) == len(share) + 1
    assert LOWEST % PARTS_OF_A_DECADE == 0


def test_what_crosses_for_a_moment_is_counted_as_the_narrowest() -> None:
    fold = Fold(union([(0, 10)]))
    fold.take(Touch(np.asarray([0]), np.asarray([10]), np.asarray([10.0]), np.asarray([9.0])))
    assert (fold.low[0], fold.by_size_ns[0]) == (-1.0, 10)


def best_of(book: tuple[dict[int, int], dict[int, int]]) -> tuple[float, float]:
    return max(book[0]) / 100, min(book[1]) / 100


def test_the_spread_of_a_recording_is_that_of_its_books(tmp_path: Path) -> None:
    rows, states = walk(random.Random(9), 40)
    more = {(Table.BOOK_UPDATES, "BTCUSDT"): rows}
    with made(
        tmp_path / "d", coverage=[span(1, 0, 40, TOPIC)], gaps=[gap(900, 12, 14.53, TOPIC)], more=more
    ) as archive:
        start_ns = NOON_NS + 5 * SECOND_NS
        picture = spread_picture(
            archive, "linear", "BTCUSDT", start_ns, start_ns + 30 * SECOND_NS, buckets=15
        )
        touched = list(touches(recordings(archive, picture.book), 50))
    assert picture.step_ns == 2 * SECOND_NS
    ends = [part for touch in touched for part in zip(touch.starts_ns, touch.ends_ns, strict=True)]
    assert ends[0][0] == start_ns
    assert all(end == start for (_, end), (start, _) in pairwise(ends))
    best = [best_of(book) for _, book in states]
    by_ms = {}
    at_ms, number = 5000, 0
    while at_ms < 35_000:
        while number + 1 < len(states) and states[number + 1][0] <= at_ms:
            number += 1
        if not 12_000 <= at_ms < 14_530:
            by_ms[at_ms] = best[number]
        at_ms += 1
    for cell, (start, end) in enumerate(((picture.cells - NOON_NS) // 10**6).tolist()):
        own = [by_ms[ms] for ms in range(start, end)]
        spreads = [ask - bid for bid, ask in own]
        assert picture.mean[cell] == pytest.approx(sum(spreads) / len(own))
        assert picture.middle[cell] == pytest.approx(sum((a + b) / 2 for b, a in own) / len(own))
        assert (picture.low[cell], picture.high[cell]) == pytest.approx((min(spreads), max(spreads)))
    assert (picture.cells[:, 1] - picture.cells[:, 0]).sum() == len(by_ms) * 10**6
    every = [ask - bid for bid, ask in by_ms.values()]
    assert picture.mean_spread == pytest.approx(sum(every) / len(every))
    widest = max(every)
    assert picture.widest == pytest.approx(widest)
    first = next(ms for ms, (bid, ask) in by_ms.items() if ask - bid == widest)
    assert picture.widest_ns == NOON_NS + first * 10**6


def quiet(rows: list[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]]) -> list[dict[str, Any]]:
    return [book_row(n + 1, at, bids, asks, kind="snapshot") for n, (at, bids, asks) in enumerate(rows)]


def test_the_figure_breaks_lines_at_gaps_and_says_what_it_shows(tmp_path: Path) -> None:
    rows = quiet([(at, [(10_000, 5)], [(10_010 + at // 100, 5)]) for at in range(0, 20_000, 500)])
    more = {(Table.BOOK_UPDATES, "BTCUSDT"): rows}
    with made(
        tmp_path / "d", coverage=[span(1, 0, 20, TOPIC)], gaps=[gap(900, 8, 10, TOPIC)], more=more
    ) as archive:
        picture = spread_picture(archive, "linear", "BTCUSDT", NOON_NS, NOON_NS + 25 * SECOND_NS)
        with pytest.raises(
            NoData, match=r"no spread of linear orderbook.50.BTCUSDT that can be trusted from"
        ):
            spread_picture(archive, "linear", "BTCUSDT", NOON_NS + int(8.5e9), NOON_NS + int(9.5e9))
        with pytest.raises(ConfigError, match="is no order book"):
            spread_picture(archive, "linear", "BTCUSDT", topic="tickers")
    lines = stairs_of(picture.cells, picture.mean, picture.known.trusted)
    ends = [[round(float(line[at, 0]) * 86400 - NOON_NS / SECOND_NS, 3) for at in (0, -1)] for line in lines]
    assert ends == [[0.0, 8.0], [10.0, 20.0]]
    figure = draw_spread(picture)
    text = words(figure)
    for part in (
        "Spread · linear BTCUSDT · 2024-08-08 12:00:00 to 12:00:25 UTC", TOPIC, "widest 2.05 at 12:00:19.500",
        "1 gap (2 s) left out", "5 s not recorded",
    ):  # fmt: skip
        assert part in text
    spreads, middles, shares = figure.axes
    for axes in (spreads, middles):
        assert hatched_spans(axes) == [(8.0, 10.0)]
    low, high = spreads.get_ylim()
    assert low < 0.1 < 2.05 < high
    assert shares.get_ylim() == (low, high)
    assert {"mean by time", "narrowest to widest", "gap: recorded, not trusted"} <= set(legend_texts(figure))


def test_moments_of_longer_ranges_have_their_day() -> None:
    day = 86_400 * SECOND_NS
    midnight = NOON_NS - day // 2
    assert when_text(NOON_NS, Range(midnight, midnight + day)) == "12:00:00.000"
    assert when_text(NOON_NS, Range(midnight, midnight + day + 1)) == "2024-08-08 12:00:00.000"


def test_a_book_with_one_side_has_no_spread(tmp_path: Path) -> None:
    rows = quiet([(0, [(10_000, 5)], []), (4000, [(10_000, 5)], [(10_010, 5)]), (6000, [], [(10_010, 5)])])
    more = {(Table.BOOK_UPDATES, "BTCUSDT"): rows}
    with made(tmp_path / "d", coverage=[span(1, 0, 10, TOPIC)], more=more) as archive:
        picture = spread_picture(archive, "linear", "BTCUSDT", NOON_NS, NOON_NS + 10 * SECOND_NS)
    assert picture.stood_ns.sum() == 2 * SECOND_NS
    assert (picture.cells[0, 0], picture.cells[-1, 1]) == (NOON_NS + 4 * SECOND_NS, NOON_NS + 6 * SECOND_NS)


def test_a_gap_of_the_recording_that_answers_is_one_though_another_recording_went_on(tmp_path: Path) -> None:
    """The later one answers; its silence leaves no row that says so, and its last quote would seem to stand."""
    for number, collector in enumerate(("early", "late")):
        rows = quiet([(at, [(10_000, 5)], [(10_010, 5)]) for at in range(number, 20_000, 500)])
        rows = [
            row
            for row in rows
            if collector == "early" or not 8_000 <= row["push_time"] - NOON_NS // 10**6 < 12_000
        ]
        made(
            tmp_path / "d",
            coverage=[span(1, 0 if collector == "early" else 0.001, 20, TOPIC)],
            gaps=[gap(900, 7.9, 12.1, TOPIC, cause="silence")] if collector == "late" else [],
            more={(Table.BOOK_UPDATES, "BTCUSDT"): rows},
            collector=collector,
        ).close()
    with open_archive(tmp_path / "d") as archive:
        picture = spread_picture(archive, "linear", "BTCUSDT", NOON_NS + SECOND_NS, NOON_NS + 18 * SECOND_NS)
    lost = (picture.known.lost - NOON_NS) / SECOND_NS
    assert lost.tolist() == [[7.9, 12.1]]
    assert (
        (picture.cells[:, 1] <= picture.known.lost[0, 0]) | (picture.cells[:, 0] >= picture.known.lost[0, 1])
    ).all()
