"""The calendar of coverage, against a count moment by moment."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from recorder.archive import open_archive
from recorder.plots import coverage
from recorder.plots.coverage import By, Row, coverage_picture, coverage_step_ns
from recorder.plots.coverage_figure import GAP_SHOWN, PARTS, cell_parts, draw_coverage, row_image
from recorder.plots.known import Range
from recorder.plots.steps import DAY_NS
from recorder.plots.style import ABSENT, BUY
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from tests.recorder.archives import NOON_NS, HandmadeArchive
from tests.recorder.plots.archives import SECOND_NS, gap, made, span
from tests.recorder.plots.figures import legend_texts, words

HOUR_S = 3600
TOPICS = ("orderbook.50.BTCUSDT", "orderbook.200.BTCUSDT", "publicTrade.BTCUSDT")


def test_shares_of_days_are_what_a_count_of_hours_gives(tmp_path: Path) -> None:
    draw = random.Random(11)
    hours = 24 * 9
    spans, gaps, expected = [], [], {}
    for number, topic in enumerate(TOPICS):
        state = np.zeros(hours, int)
        for n in range(4):
            start = draw.randrange(hours - 30)
            end = start + draw.randrange(1, 30)
            spans.append(span(100 * number + n, start * HOUR_S, end * HOUR_S, topic))
            state[start:end] = np.maximum(state[start:end], 1)
            begin = draw.randrange(start, end)
            gaps.append(gap(100 * number + 50 + n, begin * HOUR_S, min(begin + 3, end) * HOUR_S, topic))
            state[begin : min(begin + 3, end)] = 2
        expected[topic] = state
    made(tmp_path / "d", coverage=spans, gaps=gaps).close()
    start_ns, end_ns = NOON_NS, NOON_NS + hours * HOUR_S * SECOND_NS
    with open_archive(tmp_path / "d") as archive:
        picture = coverage_picture(archive, start_ns, end_ns)
        summed = coverage_picture(archive, start_ns, end_ns, by=By.SYMBOL)
        fine = coverage_picture(archive, start_ns, start_ns + 2 * DAY_NS)
    assert (picture.step_ns, picture.is_calendar, len(picture.edges_ns)) == (DAY_NS, True, 11)
    assert [row.name for row in picture.rows] == [
        "linear orderbook.50.BTCUSDT", "linear orderbook.200.BTCUSDT", "linear publicTrade.BTCUSDT",
    ]  # fmt: skip
    for row in picture.rows:
        # The first and the last bucket are half days, since the range begins at noon.
        state = expected[row.name.split()[1]]
        days = [state[:12], *(state[12 + 24 * day : 36 + 24 * day] for day in range(8)), state[-12:]]
        assert row.trusted == pytest.approx([(day == 1).mean() for day in days])
        assert row.lost == pytest.approx([(day == 2).mean() for day in days])
        assert row.gaps == 4
    (both,) = summed.rows
    assert (both.name, both.feeds, both.gaps) == ("linear BTCUSDT", 3, 12)
    assert both.trusted == pytest.approx(np.mean([row.trusted for row in picture.rows], axis=0))
    assert (fine.step_ns, fine.is_calendar) == (300 * SECOND_NS, False)


@pytest.mark.parametrize(("days", "step_days"), [(3.1, 1), (400, 1), (401, 7), (3000, 14)])
def test_cells_are_days_or_weeks(days: float, step_days: int) -> None:
    assert coverage_step_ns(Range(0, int(days * DAY_NS))) == step_days * DAY_NS


def test_more_rows_than_fit_are_summed_up_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "COMFORTABLE_ROWS", 5)
    monkeypatch.setattr(coverage, "MOST_ROWS", 25)
    data = tmp_path / "d"
    tables = {}
    for number in range(13):
        symbol = f"COIN{number}USDT"
        topics = [f"orderbook.50.{symbol}", f"tickers.{symbol}"]
        tables[Table.COVERAGE, symbol] = [
            span(2 * number + n, 0, 10, topic) for n, topic in enumerate(topics)
        ]
    HandmadeArchive(data).segment(NOON_NS, tables)
    with open_archive(data) as archive:
        assert coverage_picture(archive).by is By.CLASS
        assert [(row.name, row.feeds) for row in coverage_picture(archive).rows] == [
            ("linear orderbook.50", 13), ("linear tickers", 13),
        ]  # fmt: skip
        assert len(coverage_picture(archive, by=By.SYMBOL).rows) == 13
        with pytest.raises(
            ConfigError, match=r"26 rows by topic .* --by symbol \(13 rows\) or --by class \(2\)"
        ):
            coverage_picture(archive, by=By.TOPIC)
        assert len(coverage_picture(archive, symbol="COIN7USDT").rows) == 2
        with pytest.raises(NoData, match="nothing of ETHUSDT was recorded"):
            coverage_picture(archive, symbol="ETHUSDT")


def row(trusted: list[float], lost: list[float], feeds: int = 1) -> Row:
    return Row("linear x", feeds, np.asarray(trusted), np.asarray(lost), 1)


def test_a_gap_shows_however_short_and_nothing_is_invented() -> None:
    cells = row([1.0, 0.99999, 0.0, 0.0, 0.5, 0.9999], [0.0, 0.00001, 0.0, 1.0, 0.25, 0.0])
    lost, trusted = cell_parts(cells, is_calendar=True)
    absent = PARTS - lost - trusted
    assert lost.tolist() == [0, 3, 0, PARTS, 6, 0]
    assert absent.tolist() == [0, 0, PARTS, 0, 6, 1]
    image = row_image(cells, is_calendar=True)
    assert image.shape == (PARTS, 6, 3)
    for column, colours in enumerate(
        ({BUY}, {BUY, GAP_SHOWN}, {ABSENT}, {GAP_SHOWN}, {BUY, GAP_SHOWN, ABSENT})
    ):
        assert {tuple(pixel) for pixel in image[:, column]} == {to_rgb(colour) for colour in colours}
    assert tuple(image[-1, 1]) == to_rgb(BUY)
    # A minute of a day shows, with gaps in it and without.
    short = row([0.0007, 0.0007, 0.0007], [0.0, 0.00001, 0.9993])
    assert [part.tolist() for part in cell_parts(short, is_calendar=True)] == [[0, 3, PARTS - 2], [2, 2, 2]]
    # In detail a gap of one feed takes half of the cell's height; of several, its share.
    assert cell_parts(cells, is_calendar=False)[0][1] == PARTS // 2
    assert cell_parts(row([0.99], [0.01], feeds=5), is_calendar=False)[0].tolist() == [3]


def test_the_figure_names_rows_and_shares(tmp_path: Path) -> None:
    topic = TOPICS[0]
    made(
        tmp_path / "d",
        coverage=[span(1, 0, 86400 * 5, topic), span(2, 0, 3600, TOPICS[1])],
        gaps=[gap(3, 60, 61, topic)],
    ).close()
    with open_archive(tmp_path / "d") as archive:
        figure = draw_coverage(coverage_picture(archive))
        hour = draw_coverage(coverage_picture(archive, NOON_NS, NOON_NS + 3600 * SECOND_NS))
    text = words(figure)
    for part in (
        "Coverage · everything · 2024-08-08 12:00:00 to 2024-08-13 12:00:00 UTC", "2 feeds", "a cell is 1 d", "1 gap",
        "linear orderbook.50.BTCUSDT", "99.999 %   1 gap", "0.833 %",
    ):  # fmt: skip
        assert part in text
    assert legend_texts(figure) == [
        "recorded and trusted",
        "gap (never smaller than one can see)",
        "not recorded",
    ]
    assert "a cell is 10 s" in words(hour)
    assert "100 %" in words(hour)
    (axes,) = hour.axes
    lowest, highest = ((end * 86400 - NOON_NS / SECOND_NS) for end in axes.get_xlim())
    assert (round(lowest), round(highest)) == (0, 3600)
