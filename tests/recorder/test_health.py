"""When a recorder is not well, and the words for it."""

from __future__ import annotations

from typing import Any

import pytest

from recorder.health import class_of, findings, is_troubled, most, sum_by_class, troubles

SECOND = 10**9
NOW = 1_700_000_000 * SECOND


def feed(topic: str, state: str = "live", **changes: Any) -> dict[str, Any]:
    return {
        "topic": topic, "state": state, "messages": 10, "gaps": 1, "bytes": 100, "refused": None,
        "last_receive_ns": NOW - SECOND,
    } | changes  # fmt: skip


def live(*feeds: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "running": True, "written_ns": NOW, "seconds": 3600.0, "paused": False, "backlog_bytes": 0,
        "lines": [{"line": 0, "connected": True, "connects": 1}, {"line": 1, "connected": True, "connects": 1}],
        "feeds": list(feeds) or [feed("tickers.X")],
        "pressure": {"level": "ease"},
        "vitals": {"disk_free_bytes": 50, "disk_total_bytes": 100},
        "lateness": {"classes": {"tickers": {"push": {"recent": {"p99_ms": 20.0}}}}},
    } | changes  # fmt: skip


def said(told: dict[str, Any], **options: Any) -> list[str]:
    return troubles(told, **{"running": True, "now_ns": NOW} | options)


def test_all_is_well() -> None:
    assert said(live()) == []
    assert said(live(), running=False) != []
    assert said(live(running=False), running=False) == []
    assert said({key: live()[key] for key in ("running", "written_ns", "paused", "lines", "feeds")}) == []


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (live(written_ns=NOW - 61 * SECOND), "it has told nothing for 61 s"),
        (live(feed("a.X", refused="no such symbol")), "refused by the exchange: a.X"),
        (live(feed("a.X", "stale")), "stale: a.X"),
        (live(feed("a.X", "syncing"), feed("a.Y")), "syncing: a.X"),
        (live(feed("a.X", "empty"), feed("a.Y")), "empty: a.X"),
        (live(feed("a.X", last_receive_ns=NOW - 121 * SECOND)), "no frame for 121 s"),
        (live(feed("a.X", last_receive_ns=None)), "no feed has delivered anything yet"),
        (live(lines=[{"line": 4, "connected": False, "connects": 1}]), "not connected: line 4"),
        (live(paused=True), "reading is paused"),
        (live(pressure={"level": "spare"}, backlog_bytes=3 << 20), "behind by 3,072 KiB: rolling is paused"),
        (live(vitals={"disk_free_bytes": 4, "disk_total_bytes": 100}), "4.0% left"),
        (
            live(lateness={"classes": {"tickers": {"push": {"recent": {"p99_ms": 12_345.0}}}}}),
            "tickers is 12.3 s late",
        ),
        (live(clock={"offset_ns": 700_000_000}), "our clock is 700 ms behind the exchange's"),
        (live(clock={"offset_ns": -700_000_000}), "our clock is 700 ms ahead of the exchange's"),
    ],
)
def test_each_trouble_has_its_words(told: dict[str, Any], words: str) -> None:
    (sentence,) = said(told)
    assert words in sentence


def test_a_finding_keeps_its_kind_while_its_figures_change() -> None:
    told = live(feed("a.X", last_receive_ns=NOW - 121 * SECOND))
    first, later = (findings(told, running=True, now_ns=NOW + wait * SECOND) for wait in (0, 10))
    assert [found.kind for found in first] == [found.kind for found in later] == ["silent"]
    assert first[0].words != later[0].words
    slow = live(lateness={"classes": {name: {"push": {"recent": {"p99_ms": 2e4}}} for name in ("a", "b")}})
    assert [found.kind for found in findings(slow, running=True, now_ns=NOW)] == ["late a", "late b"]


def test_lateness_is_judged_by_one_clock() -> None:
    """The exchange's clock is 9.5 s ahead: what looks 1 s late is 10.5 s late."""
    told = live(
        clock={"offset_ns": 9_500_000_000},
        lateness={"classes": {"tickers": {"push": {"recent": {"p99_ms": 1000.0}}}}},
    )
    assert said(told)[0] == "tickers is 10.5 s late (p99 since push time)"
    assert said(live(clock={"offset_ns": None})) == said(live(clock=None)) == []


def test_a_disk_that_fills_up() -> None:
    (sentence,) = said(live(), days_left=0.5)
    assert "full in 12 h" in sentence
    assert said(live(), days_left=3.0) == []
    near = {"disk_free_bytes": 900 << 20, "disk_total_bytes": 100 << 30, "disk_floor_bytes": 256 << 20}
    assert said(live(vitals=near)) == ["the disk has 900 MiB left, and recording ends at 256 MiB"]
    assert "full in" in said(live(vitals=near | {"disk_free_bytes": 50 << 30}), days_left=0.5)[0]
    assert "0.9% left" in said(live(vitals=near | {"disk_floor_bytes": 0}))[0]


def test_a_recorder_that_has_just_started_is_given_time() -> None:
    """It waits for its connections and first snapshots; a feed that was live and went stale is told of at once."""
    young = {"seconds": 5.0}
    assert said(live(feed("a.X", "syncing", last_receive_ns=None), **young)) == []
    lines = [{"line": number, "connected": False, "connects": 0} for number in range(2)]
    assert said(live(lines=lines, **young)) == []
    assert said(live(feed("a.X", "stale"), **young)) == ["stale: a.X"]


def test_six_hundred_stale_feeds_are_one_sentence() -> None:
    (sentence,) = said(live(*(feed(f"tickers.S{number}", "stale") for number in range(600))))
    assert sentence == "stale: tickers.S0, tickers.S1, tickers.S2, tickers.S3, tickers.S4 and 595 more"
    assert most(["a"]) == "a"


def test_sums_by_class() -> None:
    sums = sum_by_class(
        [
            feed("orderbook.50.A"),
            feed("orderbook.50.B", "stale", last_receive_ns=NOW),
            feed("orderbook.50.C", "empty", refused="no", last_receive_ns=None),
            feed("publicTrade.A"),
        ]
    )
    assert list(sums) == ["orderbook.50", "publicTrade"]
    assert sums["orderbook.50"] == {
        "feeds": 3, "states": {"live": 1, "stale": 1, "refused": 1}, "messages": 30, "gaps": 3, "bytes": 300,
        "last_receive_ns": NOW,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("orderbook.50.BTCUSDT", "orderbook.50"),
        ("orderbook.rpi.BTCUSDT", "orderbook.rpi"),
        ("kline.60.BTCUSDT", "kline.60"),
        ("tickers.XRP-30OCT26-0.4-P-USDT", "tickers"),
        ("orderbook.25.XRP-30OCT26-0.4-P-USDT", "orderbook.25"),
        ("publicTrade.BTC", "publicTrade"),
        ("system.status", "system"),
        ("system", "system"),
    ],
)
def test_the_class_ends_before_the_symbol(topic: str, name: str) -> None:
    assert class_of(topic) == name


def test_who_is_troubled() -> None:
    assert [is_troubled(feed("a", state)) for state in ("live", "stale", "syncing", "empty")] == [
        False,
        True,
        True,
        True,
    ]
    assert not is_troubled(feed("a", "syncing"), settled=False)
    assert is_troubled(feed("a", refused="no"))
