"""What the picture of trades shows, against a slow count; and that its figure says and shows that."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from recorder.archive import open_archive
from recorder.plots.bubbles import bubble_areas
from recorder.plots.spans import union
from recorder.plots.trades import trade_topic, trades_picture
from recorder.plots.trades_figure import draw_trades, runs_of
from schemas.errors import NoData
from tests.recorder.archives import NOON_NS
from tests.recorder.plots.archives import SECOND_NS, gap, made, span, trade
from tests.recorder.plots.figures import hatched_spans, legend_texts, words

LENGTH_S = 60
GAPS = [(10.0, 12.5), (12.5, 13.0), (40.2, 40.3)]


def test_cells_are_what_a_count_of_every_trade_gives(tmp_path: Path) -> None:
    draw = random.Random(7)
    rows = [
        trade(n, draw.randrange(LENGTH_S * 1000), draw.randrange(100_00, 110_00), draw.randrange(1, 5000),
              draw.choice(["buy", "sell"]))
        for n in range(3000)
    ]  # fmt: skip
    gaps = [gap(9000 + n, *ends) for n, ends in enumerate(GAPS)]
    with made(tmp_path / "d", trades=rows, coverage=[span(1, 0, LENGTH_S)], gaps=gaps) as archive:
        picture = trades_picture(
            archive,
            "linear",
            "BTCUSDT",
            NOON_NS + 5 * SECOND_NS,
            NOON_NS + 50 * SECOND_NS,
            buckets=20,
            largest=40,
        )
    step_s = picture.step_ns / SECOND_NS
    assert step_s == 5.0

    expected: dict[tuple[int, int], list[tuple[float, float, str]]] = {}
    left_out = 0
    drawn = []
    for row in rows:
        at = (row["match_time"] * 10**6 - NOON_NS) / SECOND_NS
        if not 5 <= at < 50:
            continue
        if any(start <= at < end for start, end in GAPS):
            left_out += 1
            continue
        # Which cell: the bucket, and behind how many gaps.
        cell = int(at // step_s), sum(at >= end for _, end in GAPS)
        one = row["price_mantissa"] / 100, row["size_mantissa"] / 1000, row["side"]
        expected.setdefault(cell, []).append(one)
        drawn.append((row["size_mantissa"] / 1000, row["match_time"] * 10**6, *one[:1]))
    assert picture.left_out == left_out > 0
    assert picture.trades == len(drawn)
    assert len(picture.cells) == len(expected)
    for number, cell in enumerate(sorted(expected)):
        trades = expected[cell]
        start, end = (picture.cells[number] - NOON_NS) / SECOND_NS
        assert cell[0] * step_s <= start < end <= (cell[0] + 1) * step_s
        assert picture.low[number] == min(price for price, _, _ in trades)
        assert picture.high[number] == max(price for price, _, _ in trades)
        volume = sum(size for _, size, _ in trades)
        assert picture.average[number] == pytest.approx(sum(p * s for p, s, _ in trades) / volume)
        assert picture.bought[number] == pytest.approx(sum(s for _, s, side in trades if side == "buy"))
        assert picture.sold[number] == pytest.approx(sum(s for _, s, side in trades if side == "sell"))
    largest = sorted(drawn, reverse=True)[:40]
    assert sorted(picture.largest.sizes.tolist(), reverse=True) == [size for size, _, _ in largest]
    assert (np.diff(picture.largest.moments) >= 0).all()
    # Nothing that is drawn lies in a gap.
    lost = picture.known.lost
    for start, end in lost.tolist():
        assert ((picture.cells[:, 1] <= start) | (picture.cells[:, 0] >= end)).all()
        assert ((picture.largest.moments < start) | (picture.largest.moments >= end)).all()


def test_each_trade_counts_once_whoever_recorded_it(tmp_path: Path) -> None:
    for collector in ("a", "b"):
        rows = [trade(n, 1000 * n, 10_000, 1000) for n in range(5)]
        made(tmp_path / "d", trades=rows, coverage=[span(1, 0, 10)], collector=collector).close()
    with open_archive(tmp_path / "d") as archive:
        picture = trades_picture(archive, "linear", "BTCUSDT")
    assert (picture.trades, picture.bought.sum(), picture.collectors) == (5, 5.0, 2)
    assert len(picture.largest.sizes) == 5
    assert "2 collectors, each trade once" in words(draw_trades(picture))


def test_no_line_joins_what_a_gap_parts() -> None:
    trusted = union([(0, 10), (20, 30)])
    cells = np.asarray([(0, 5), (5, 10), (20, 25), (28, 30)])
    assert [part.tolist() for part in runs_of(cells, trusted)] == [[0, 1], [2, 3]]


def test_the_figure_says_what_it_shows_and_marks_gaps_above_all_else(tmp_path: Path) -> None:
    rows = [trade(n, 1000 * n, 10_000 + n, 1000, "sell") for n in range(30)]
    gaps = [gap(90, 10.25, 12.25), gap(91, 20, 20.001)]
    with made(tmp_path / "d", trades=rows, coverage=[span(1, 0, 25)], gaps=gaps) as archive:
        picture = trades_picture(archive, "linear", "BTCUSDT", NOON_NS, NOON_NS + 30 * SECOND_NS)
    figure = draw_trades(picture, 900, 500)
    text = words(figure)
    for part in (
        "Trades · linear BTCUSDT · 2024-08-08 12:00:00 to 12:00:30 UTC",
        "22 trades, match time", "2 gaps (2 s) left out", "5 s not recorded", "8 trades of such times left out",
    ):  # fmt: skip
        assert part in text
    prices, volumes = figure.axes
    for axes in (prices, volumes):
        assert hatched_spans(axes) == [(10.25, 12.25), (20.0, 20.001)]
        lowest, highest = ((end * 86400 - NOON_NS / SECOND_NS) for end in axes.get_xlim())
        assert (round(lowest, 3), round(highest, 3)) == (0.0, 30.0)
        hole = max(artist.get_zorder() for artist in axes.collections if artist.get_hatch() is not None)
        others = [
            artist for artist in axes.get_children() if getattr(artist, "get_hatch", lambda: None)() is None
        ]
        assert all(artist.get_zorder() < hole for artist in others)
    assert prices.get_ylim()[0] < 100.0 < 100.24 < prices.get_ylim()[1]
    assert "gap: recorded, not trusted" in legend_texts(figure)
    assert "not recorded" in legend_texts(figure)


def test_nothing_to_draw_is_said_in_words(tmp_path: Path) -> None:
    rows = [trade(1, 2500, 10_000, 1000)]
    with made(tmp_path / "d", trades=rows, coverage=[span(1, 0, 10)], gaps=[gap(5, 2, 3)]) as archive:
        with pytest.raises(NoData, match=r"no trade of linear BTCUSDT .*in gaps, which are not drawn: 1"):
            trades_picture(archive, "linear", "BTCUSDT")
        with pytest.raises(NoData, match="no trade of linear BTCUSDT from 2024-08-08T12:00:05"):
            trades_picture(archive, "linear", "BTCUSDT", NOON_NS + 5 * SECOND_NS)


def test_trades_of_options_come_by_their_coin() -> None:
    assert trade_topic("option", "BTC-29NOV26-60000-C-USDT") == "publicTrade.BTC"
    assert trade_topic("linear", "BTCUSDT") == "publicTrade.BTCUSDT"


def test_areas_are_in_proportion_to_sizes() -> None:
    areas = bubble_areas(np.asarray([100.0, 50.0, 0.001]))
    assert areas[1] * 2 == areas[0]
    assert areas[2] > 0
    assert len(bubble_areas(np.empty(0))) == 0
