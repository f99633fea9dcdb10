"""Delays counted for the picture, against the delays themselves."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.plots.latency import (
    HIGHEST,
    LOWEST,
    PARTS_OF_A_DECADE,
    Since,
    latency_picture,
    percentile_ms,
)
from recorder.plots.latency_figure import draw_latency, lines_of_text, ms_text, shown_decades
from schemas.errors import NoData
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS
from tests.recorder.plots.archives import SECOND_NS, gap, made, span, trade
from tests.recorder.plots.figures import hatched_spans, legend_texts, words


def book_row(sequence: int, at_ms: int, push_ns: int, match_ms: int) -> dict[str, Any]:
    """A delta received so many ms after noon, pushed so many ns before."""
    receive_ns = NOON_NS + at_ms * MS
    return {
        "sequence": sequence,
        "receive_time": receive_ns + push_ns % MS,
        "push_time": (receive_ns - push_ns) // MS + (1 if push_ns % MS else 0),
        "match_time": receive_ns // MS - match_ms,
        "update_id": sequence,
    }


@given(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_percentiles_are_never_too_low_and_little_too_high(delays: list[float], share: float) -> None:
    counts = np.zeros(HIGHEST - LOWEST, np.int64)
    for ms in delays:
        counts[math.floor(math.log10(ms) * PARTS_OF_A_DECADE) - LOWEST] += 1
    exact = sorted(delays)[max(math.ceil(share * len(delays)) - 1, 0)]
    found = percentile_ms(counts, share)
    assert exact * (1 - 1e-9) <= found <= exact * 10 ** (1 / PARTS_OF_A_DECADE) * (1 + 1e-9)


def test_no_message_no_percentile() -> None:
    assert math.isnan(percentile_ms(np.zeros(HIGHEST - LOWEST, np.int64), 0.5))
    assert ms_text(float("nan")) == "-"


def test_every_message_is_counted_where_it_belongs(tmp_path: Path) -> None:
    draw = random.Random(5)
    rows = [
        book_row(n, draw.randrange(60_000), draw.choice([-3, 0, 1, 7, 120, 4000]) * MS, draw.randrange(1, 90))
        for n in range(800)
    ]
    trades = [trade(5000 + n, n * 500, 10_000, 1) for n in range(100)]
    with made(
        tmp_path / "d",
        trades=trades,
        coverage=[span(1, 0, 60), span(2, 0, 60, "orderbook.50.BTCUSDT")],
        more={(Table.BOOK_UPDATES, "BTCUSDT"): rows},
    ) as archive:
        range_ns = NOON_NS + 10 * SECOND_NS, NOON_NS + 50 * SECOND_NS
        picture = latency_picture(archive, *range_ns, buckets=8)
        by_match = latency_picture(
            archive, *range_ns, since=Since.MATCH, class_="orderbook.50", symbol="BTCUSDT"
        )
        with pytest.raises(NoData, match="nothing of spot"):
            latency_picture(archive, category="spot")
        with pytest.raises(
            NoData,
            match=r"no message of orderbook.1 .* classes: orderbook.50, publicTrade",
        ):
            latency_picture(archive, class_="orderbook.1")
    assert picture.classes == ["orderbook.50", "publicTrade"]
    assert picture.step_ns == 5 * SECOND_NS
    expected = np.zeros_like(picture.counts)
    early = 0
    for row in [*rows, *trades]:
        at = row["receive_time"] - NOON_NS
        if not 10 * SECOND_NS <= at < 50 * SECOND_NS:
            continue
        ms = (row["receive_time"] - row["push_time"] * MS) / 1e6
        if ms <= 0:
            early += 1
            continue
        place = min(max(math.floor(math.log10(ms) * PARTS_OF_A_DECADE), LOWEST), HIGHEST - 1) - LOWEST
        expected[("price_mantissa" in row and 1) or 0, at // picture.step_ns - 2, place] += 1
    assert (picture.counts == expected).all()
    assert picture.early == early > 0
    assert picture.longest_ms[0] == 4000.0
    assert by_match.what == "BTCUSDT orderbook.50"
    assert by_match.counts.sum() == sum(
        10 <= (row["receive_time"] - NOON_NS) / SECOND_NS < 50 for row in rows
    )


def test_the_figure_names_what_it_leaves_out(tmp_path: Path) -> None:
    rows = [book_row(n, 100 * n, (20 if n % 9 else -5) * MS, 25) for n in range(300) if not 100 <= n < 150]
    topic = "orderbook.50.BTCUSDT"
    with made(
        tmp_path / "d",
        coverage=[span(1, 0, 30, topic)],
        gaps=[gap(900, 10, 15, topic, healed_by="backfill")],
        more={(Table.BOOK_UPDATES, "BTCUSDT"): rows},
    ) as archive:
        picture = latency_picture(archive, NOON_NS, NOON_NS + 40 * SECOND_NS)
    figure = draw_latency(picture)
    text = words(figure)
    for part in (
        "Latency · everything · push to receive · 2024-08-08 12:00:00 to 12:00:40 UTC",
        "221 messages", "29 that came early by the clocks left out", "1 gap of single feeds",
        "all of them in gaps for 5 s", "10 s not recorded", "p99.9 20 ms",
    ):  # fmt: skip
        assert part in text
    above, below, *_ = figure.axes
    assert hatched_spans(below) == [(10.0, 15.0)]
    assert above.get_xlim() == below.get_ylim()
    low, high = below.get_ylim()
    assert 10 < low < 20 < high < 40
    assert {"p50", "p99", "gap: recorded, not trusted", "not recorded"} <= set(legend_texts(figure))
    # Where nothing was counted no percentile is drawn.
    line = below.get_lines()[0]
    seconds = np.asarray(line.get_xdata(), float) * 86400 - NOON_NS / SECOND_NS
    inside = (seconds > 10.3) & (seconds < 14.7)
    assert inside.any()
    assert np.isnan(np.asarray(line.get_ydata(), float)[inside]).all()


def test_the_shown_decades_hold_all_that_was_counted(tmp_path: Path) -> None:
    rows = [book_row(1, 100, 1 * MS, 2), book_row(2, 200, 900_000 * MS, 2)]
    coverage = [span(1, 0, 1, "orderbook.50.BTCUSDT")]
    with made(tmp_path / "d", coverage=coverage, more={(Table.BOOK_UPDATES, "BTCUSDT"): rows}) as archive:
        picture = latency_picture(archive)
    low, high = shown_decades(picture)
    assert picture.counts[:, :, low:high].sum() == 2


@pytest.mark.parametrize(("ms", "text"), [(0.0042, "4.2 us"), (4.2, "4.2 ms"), (61_000.0, "61 s")])
def test_delays_are_written_in_their_unit(ms: float, text: str) -> None:
    assert ms_text(ms) == text


@pytest.mark.parametrize(("pixels", "lines"), [(5.0, 1), (25.0, 1), (45.0, 2), (60.0, 3), (500.0, 3)])
def test_texts_beside_classes_are_as_long_as_there_is_room_for(pixels: float, lines: int) -> None:
    assert lines_of_text(pixels) == lines
