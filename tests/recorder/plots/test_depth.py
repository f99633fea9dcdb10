"""The map of depth against slow counts, and that nothing is drawn where nothing was known."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, QuadMesh

from recorder.archive import open_archive
from recorder.plots.book import shown_book
from recorder.plots.depth import Levels, PriceRows, depth_picture, price_rows_of, resting
from recorder.plots.depth_figure import draw_depth, touch_lines
from recorder.plots.spans import intersect, total, union
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS
from tests.recorder.plots.archives import SECOND_NS, gap, made, span, trade
from tests.recorder.plots.figures import hatched_spans, legend_texts, words

TOPIC = "orderbook.50.BTCUSDT"


def book_row(
    sequence: int, at_ms: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]], **other: Any
) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "receive_time": NOON_NS + at_ms * MS,
        "push_time": NOON_NS // MS + at_ms,
        "match_time": NOON_NS // MS + at_ms,
        "update_id": sequence,
        "bid_price_mantissa": [price for price, _ in bids],
        "bid_size_mantissa": [size for _, size in bids],
        "ask_price_mantissa": [price for price, _ in asks],
        "ask_size_mantissa": [size for _, size in asks],
        **other,
    }


def walk(draw: random.Random, length_s: int) -> tuple[list[dict[str, Any]], list[tuple[int, Any]]]:
    """Rows of a book that changes every 100 ms, and the whole book behind each."""
    bids = {10_000 - 10 * n: draw.randrange(1, 5000) for n in range(30)}
    asks = {10_010 + 10 * n: draw.randrange(1, 5000) for n in range(30)}
    rows = [book_row(1, 0, sorted(bids.items(), reverse=True), sorted(asks.items()), kind="snapshot")]
    states: list[tuple[int, Any]] = [(0, (dict(bids), dict(asks)))]
    for n in range(1, length_s * 10):
        side, price = draw.choice([(bids, 9_500), (asks, 10_300)])
        price = draw.choice([*side, price + 10 * draw.randrange(20)])
        size = draw.choice([0, draw.randrange(1, 5000)])
        if size == 0 and (price not in side or len(side) < 5):
            size = 7
        change = (price, size)
        rows.append(
            book_row(1 + n, 100 * n, [change] if side is bids else [], [change] if side is asks else [])
        )
        if size:
            side[price] = size
        else:
            del side[price]
        states.append((100 * n, (dict(bids), dict(asks))))
    return rows, states


def test_what_rests_is_the_average_of_the_books_themselves(tmp_path: Path) -> None:
    rows, states = walk(random.Random(3), 40)
    more = {(Table.BOOK_UPDATES, "BTCUSDT"): rows}
    made(
        tmp_path / "d", coverage=[span(1, 0, 40, TOPIC)], gaps=[gap(900, 12, 14.5, TOPIC)], more=more
    ).close()
    with open_archive(tmp_path / "d") as archive:
        start_ns = NOON_NS + 5 * SECOND_NS
        picture = depth_picture(
            archive, "linear", "BTCUSDT", start_ns, start_ns + 30 * SECOND_NS, columns=15, rows=50, largest=5
        )
    assert (picture.step_ns, picture.every_ns, picture.levels) == (2 * SECOND_NS, SECOND_NS // 2, 50)
    assert picture.book.topic == TOPIC
    assert picture.trades is None
    assert picture.price_step == pytest.approx(0.2)  # in cents, prices are multiples of ten
    columns = len(picture.edges_ns) - 1
    expected = np.zeros((len(picture.price_edges) - 1, columns))
    samples = np.zeros(columns)
    times = []
    for number in range(int((picture.edges_ns[-1] - picture.edges_ns[0]) // picture.every_ns)):
        at_ns = int(picture.edges_ns[0]) + picture.every_ns // 2 + number * picture.every_ns
        at_s = (at_ns - NOON_NS) / SECOND_NS
        if not 5 <= at_s < 35 or 12 < at_s < 14.5:
            continue
        times.append(at_ns)
        column = (at_ns - int(picture.edges_ns[0])) // picture.step_ns
        samples[column] += 1
        bids, asks = max((state for state in states if state[0] <= at_s * 1000), key=lambda state: state[0])[
            1
        ]
        for price, size in [*bids.items(), *asks.items()]:
            row = int(np.searchsorted(picture.price_edges, price / 100, "right")) - 1
            if 0 <= row < len(expected):
                expected[row, column] += size / 1000
    assert picture.times_ns.tolist() == times
    for column in range(columns):
        if samples[column]:
            # Thirty levels or more, never fifty: whatever is not there does not rest.
            assert picture.resting[:, column] == pytest.approx(expected[:, column] / samples[column])
        else:
            assert np.isnan(picture.resting[:, column]).all()
    assert samples.min() == 0
    assert total(picture.known.lost) >= 2.5 * SECOND_NS
    shown = union((picture.times_ns[:, None] + np.asarray([0, 1])).tolist())
    assert total(intersect(shown, picture.known.lost)) == 0


def levels_of(books: list[tuple[list[int], list[int]]], trusted: list[bool] | None = None) -> Levels:
    """Samples a second apart; each level has the size 1."""
    sides = [[np.asarray(book[side], np.int64) for book in books] for side in (0, 1)]
    return Levels(
        np.arange(len(books), dtype=np.int64) * SECOND_NS,
        np.asarray(trusted if trusted is not None else [True] * len(books)),
        tuple(np.asarray([len(each) for each in side], np.int64) for side in sides),  # type: ignore[arg-type]
        tuple(np.concatenate(side) for side in sides),  # type: ignore[arg-type]
        tuple(np.ones(sum(map(len, side))) for side in sides),  # type: ignore[arg-type]
        -1,
    )


def test_beyond_the_last_level_nothing_is_known_only_where_the_topic_ends() -> None:
    levels = levels_of([([100, 99], [101, 103]), ([100], [101, 102])])
    edges = np.asarray([0, 1, 2], np.int64) * SECOND_NS
    grid = resting(levels, edges, PriceRows(95, 1, 12, 1), depth=2)
    assert np.isnan(grid[:, 0]).tolist() == [True] * 4 + [False] * 5 + [True] * 3
    assert grid[4:9, 0].tolist() == [1, 1, 1, 0, 1]  # 99, 100, 101, 102, 103
    # One bid of two: below it there is none.
    assert np.isnan(grid[:, 1]).tolist() == [False] * 8 + [True] * 4


def test_what_cannot_be_trusted_rests_nowhere() -> None:
    levels = levels_of([([100], [101]), ([100], [101])], [True, False])
    grid = resting(levels, np.asarray([0, 1, 2], np.int64) * SECOND_NS, PriceRows(99, 1, 4, 1), depth=5)
    assert grid[:, 0].tolist() == [0, 1, 1, 0]
    assert np.isnan(grid[:, 1]).all()


def rows_of(levels: Levels, most: int = 100, **options: Any) -> PriceRows:
    best = [np.asarray([side[0]] * len(levels.times_ns), float) for side in levels.prices]
    return price_rows_of(levels, best[0], best[1], options.get("prices", (None, None)), most)


def test_rows_are_multiples_of_the_tick_and_hold_the_touch() -> None:
    levels = levels_of([([1000, 995, 500], [1005, 1015, 2000])])
    rows = rows_of(levels)
    assert (rows.tick, rows.step % 5) == (5, 0)
    assert rows.edges[0] < 1000 < 1005 < rows.edges[-1]
    assert rows.rows <= 101
    narrow = rows_of(levels, prices=(99.0, 101.0))
    assert narrow.edges[0] <= 990 <= 1010 < narrow.edges[-1]
    assert (narrow.low, narrow.step, narrow.rows) == (990, 5, 5)
    wide = rows_of(levels, most=10, prices=(0.0, 300.0))
    assert wide.step * 10 >= 3000
    assert wide.step // 5 in {10 * n for n in (1, 2, 5, 10)}
    with pytest.raises(ConfigError, match=r"lowest price 101 does not lie below highest price 99; the touch"):
        rows_of(levels, prices=(101.0, 99.0))


def test_the_touch_is_broken_where_it_was_not_sampled_or_a_side_was_empty() -> None:
    times = np.asarray([0, 1, 2, 5, 6, 7, 8], np.int64) * SECOND_NS
    prices = np.asarray([10, 11, 11, 12, np.nan, 13, 13.0])
    lines = [
        [(round(float(x) * 86400, 6), float(y)) for x, y in line]
        for line in touch_lines(times, prices, SECOND_NS)
    ]
    assert [(line[0], line[-1]) for line in lines] == [
        ((-0.5, 10.0), (2.5, 11.0)), ((4.5, 12.0), (5.5, 12.0)), ((6.5, 13.0), (8.5, 13.0)),
    ]  # fmt: skip
    assert lines[0][1:3] == [(0.5, 10.0), (0.5, 11.0)]


def test_the_deepest_book_is_chosen_that_was_there_as_long_as_any(tmp_path: Path) -> None:
    rows = [
        book_row(depth + n, at, [(10_000, 5)], [(10_010, 5)], depth=depth, kind="snapshot")
        for depth in (1, 50, 200)
        for n, at in enumerate((0, 9_000))
    ]
    coverage = [
        span(1, 0, 10, "orderbook.1.BTCUSDT"), span(2, 0.1, 10, TOPIC), span(3, 8, 10, "orderbook.200.BTCUSDT"),
    ]  # fmt: skip
    more = {(Table.BOOK_UPDATES, "BTCUSDT"): rows}
    with made(tmp_path / "d", coverage=coverage, more=more) as archive:
        arguments = (archive, "linear", "BTCUSDT")
        assert shown_book(*arguments, None, None, None).topic == TOPIC
        assert shown_book(*arguments, None, NOON_NS + 8 * SECOND_NS, None).topic == "orderbook.200.BTCUSDT"
        assert shown_book(*arguments, "orderbook.1", None, None).depth == 1
        with pytest.raises(NoData, match=r"orderbook.500.BTCUSDT of linear was not recorded"):
            shown_book(*arguments, "orderbook.500", None, None)
        with pytest.raises(ConfigError, match="is no order book"):
            shown_book(*arguments, "tickers", None, None)


def test_the_figure_draws_nothing_into_gaps(tmp_path: Path) -> None:
    rows, _ = walk(random.Random(4), 20)
    more = {(Table.BOOK_UPDATES, "BTCUSDT"): rows}
    trades = [trade(5000 + n, n * 250, 10_000 + n, 1000) for n in range(80)]
    coverage = [span(1, 0, 20, TOPIC), span(2, 0, 20)]
    with made(
        tmp_path / "d",
        trades=trades,
        coverage=coverage,
        gaps=[gap(900, 8, 10, TOPIC), gap(901, 3, 4)],
        more=more,
    ) as archive:
        picture = depth_picture(archive, "linear", "BTCUSDT", NOON_NS, NOON_NS + 25 * SECOND_NS)
        with pytest.raises(NoData, match=r"no book of linear orderbook.50.BTCUSDT that can be trusted"):
            depth_picture(
                archive, "linear", "BTCUSDT", NOON_NS + int(8.2 * SECOND_NS), NOON_NS + int(9.8 * SECOND_NS)
            )
    assert picture.trades is not None
    assert picture.levels == 50
    moments = (picture.trades.moments - NOON_NS) / SECOND_NS
    assert len(moments) == 80 - 4 - 8  # neither in the gap of the trades nor in that of the book
    figure = draw_depth(picture)
    axes = figure.axes[0]
    (marked,) = hatched_spans(axes)
    assert marked[0] == 8.0
    assert 10.0 <= marked[1] < 10.1
    hole = max(artist.get_zorder() for artist in axes.collections if artist.get_hatch() is not None)
    drawn = [artist for artist in axes.collections if isinstance(artist, QuadMesh | LineCollection)]
    assert len(drawn) == 3
    assert all(artist.get_zorder() < hole for artist in drawn)
    text = words(figure)
    for part in (
        "Depth · linear BTCUSDT · 2024-08-08 12:00:00 to 12:00:25 UTC",
        TOPIC,
        "1 gap (2",
        "5 s not recorded",
    ):
        assert part in text
    assert axes.get_ylim() == (picture.price_edges[0], picture.price_edges[-1])
    assert {"best bid and ask", "beyond the recorded levels", "gap: recorded, not trusted"} <= set(
        legend_texts(figure)
    )


def test_prices_that_the_levels_never_reach_are_no_picture(tmp_path: Path) -> None:
    levels = [(10_000 - 10 * n, 5) for n in range(50)], [(10_010 + 10 * n, 5) for n in range(50)]
    rows = [book_row(1 + n, 1000 * n, *levels, kind="snapshot") for n in range(5)]
    more = {(Table.BOOK_UPDATES, "BTCUSDT"): rows}
    with (
        made(tmp_path / "d", coverage=[span(1, 0, 5, TOPIC)], more=more) as archive,
        pytest.raises(
            NoData, match=r"never reached the prices from .*; best bid and ask went from 100 to 100\.1"
        ),
    ):
        depth_picture(archive, "linear", "BTCUSDT", prices=(50.0, 60.0))


def test_a_snapshot_that_is_older_than_its_recording_makes_no_gap(tmp_path: Path) -> None:
    """A recording begins with a state of the past: the time before it was not recorded, and is not lost."""
    rows = [
        book_row(1, 0, [(10_000, 5)], [(10_010, 5)], kind="snapshot"),
        book_row(9, 12_000, [(10_000, 5)], [(10_010, 5)], kind="snapshot"),
    ]
    rows[1]["receive_time"] += 3 * SECOND_NS
    coverage = [span(1, 0, 10, TOPIC), span(9, 15, 20, TOPIC)]
    with made(tmp_path / "d", coverage=coverage, more={(Table.BOOK_UPDATES, "BTCUSDT"): rows}) as archive:
        picture = depth_picture(archive, "linear", "BTCUSDT", columns=40)
    assert len(picture.known.lost) == 0
    moments = (picture.times_ns - NOON_NS) / SECOND_NS
    assert not ((moments > 10) & (moments < 15)).any()
    assert (moments > 15).any()
