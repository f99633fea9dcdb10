"""The histograms of the page: shares that add up, over edges that all have in common."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.delays import Delays
from engine.latency import MINUTE_NS, Histogram
from recorder.serving.feed_table import Told
from recorder.serving.lateness_view import EDGES_NS, LatenessView, bars
from tests.recorder.serving.pretend import pretend_feed, pretend_status


def _counted(*delays_ns: int) -> Histogram:
    delays = Delays()
    for delay in delays_ns:
        delays.add(delay)
    return delays.histogram()


def test_edges_are_of_equal_width_on_a_logarithmic_axis() -> None:
    assert EDGES_NS[0] == 10_000
    assert EDGES_NS[-1] == 10_000_000_000
    assert EDGES_NS[6] == 100_000
    assert sorted(set(EDGES_NS)) == EDGES_NS


@given(st.lists(st.integers(-(10**10), 10**12), min_size=1, max_size=60))
def test_shares_add_up_to_all(delays: list[int]) -> None:
    found = bars(_counted(*delays))
    assert len(found) == len(EDGES_NS) + 1
    assert sum(found) == pytest.approx(1, abs=1e-3)
    assert min(found) >= 0


@pytest.mark.parametrize(
    ("delay_ns", "bar"),
    [(-5, 0), (50, 0), (9_000, 0), (11_000, 1), (13_000_000, 19), (9 * 10**9, 36), (2 * 10**10, 37)],
)
def test_a_delay_is_counted_where_it_belongs(delay_ns: int, bar: int) -> None:
    found = bars(_counted(delay_ns))
    # a bucket of the recorder may lie across an edge: then its share is parted between both
    assert sum(found[max(0, bar - 1) : bar + 2]) == pytest.approx(1, abs=1e-4)
    assert found[bar] >= 0.5


def test_nothing_counted() -> None:
    assert set(bars(Histogram())) == {0.0}


def _told(status: dict[str, Any], held: bool = True) -> list[Told]:
    # as it comes out of a file
    return [Told("linear", held, msgspec.json.decode(msgspec.json.encode(status)))]


def _shown(view: LatenessView) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["class"], each["way"]): each for each in json.loads(view.encode(-1))["histograms"]}


def test_every_way_of_every_class() -> None:
    view = LatenessView()
    view.take(_told(pretend_status([pretend_feed("tickers.X"), pretend_feed("orderbook.50.X")])), 0)
    shown = _shown(view)
    assert set(shown) == {
        ("tickers", "match"), ("tickers", "push"), ("orderbook.50", "match"), ("orderbook.50", "push"),
        ("", "applied"), ("", "journaled"),
    }  # fmt: skip
    tickers = shown["tickers", "push"]
    assert tickers["count"] == 400
    assert 3 < tickers["quantiles"][0] < 5 < tickers["quantiles"][1] <= tickers["most_ms"]
    assert view.typical_ms("linear", "tickers") == pytest.approx(tickers["quantiles"][0], abs=0.001)
    assert view.typical_ms("linear", "kline.1") is None


def test_it_is_of_the_last_minutes() -> None:
    view = LatenessView()
    status = pretend_status([pretend_feed("tickers.X")])
    view.take(_told(status), 0)
    for minute in range(1, 4):
        view.take(_told(status), minute * MINUTE_NS)
    assert _shown(view)["tickers", "push"]["count"] == 0, "nothing came lately"
    assert view.typical_ms("linear", "tickers") is None


def test_who_doesnt_run_has_none() -> None:
    view = LatenessView()
    view.take(_told(pretend_status([pretend_feed("tickers.X")]), held=False), 0)
    assert _shown(view) == {}
    view.take(
        _told(
            pretend_status([pretend_feed("tickers.X")], lateness={"classes": {}, "applied": {"histogram": 3}})
        ),
        0,
    )
    assert _shown(view) == {}
    assert view.version == 2
