"""What is wrong with a configuration beyond types: its key and why, and nothing of what depends on doubtful keys."""

from __future__ import annotations

import pytest

from recorder.objections import doubtful_keys, objections
from schemas.config import RecordConfig
from schemas.names import Category

TYPES = {"symbols": list[str], "category": Category, "lines": int}


def test_keys_of_which_it_is_not_known_what_was_meant() -> None:
    assert doubtful_keys({"symbols": ["A"], "category": "spot", "lines": 1}, TYPES) == set()
    assert doubtful_keys({"symbols": "A", "category": "spt", "lines": 1.5}, TYPES) == set(TYPES)
    assert doubtful_keys({"symbls": ["A"]}, TYPES) == {"symbls", "symbols"}
    assert doubtful_keys({"symbls": ["A"], "symbols": []}, TYPES) == {"symbls"}  # that one is there


def keys(doubtful: set[str] | None = None, **values: object) -> list[str]:
    config = RecordConfig(**{"symbols": ["BTCUSDT"], **values})  # type: ignore[arg-type]
    return [key for key, _ in objections(config, doubtful or set())]


def test_what_is_well() -> None:
    assert keys() == keys(symbols=[], topics=["tickers.BTCUSDT", "insurance", "system.status"]) == []


@pytest.mark.parametrize(
    ("values", "key", "depends_on"),
    [
        ({"name": "a/b"}, "name", {"name"}),
        ({"symbols": []}, "symbols", {"symbols", "topics"}),
        ({"symbols": ["USDT perpetuals with turnover > 5"]}, "symbols", {"symbols", "category"}),
        ({"topics": ["orderbook.51"]}, "topics", {"topics", "category"}),
        ({"topics": []}, "topics", {"topics", "category"}),
        ({"shard": "3/2"}, "shard", {"shard", "pins"}),
        ({"endpoint": "http://h"}, "endpoint", {"endpoint"}),
        ({"live_depth": "-1"}, "live_depth", {"live_depth"}),
    ],
)
def test_each_with_its_key(values: dict[str, object], key: str, depends_on: set[str]) -> None:
    assert keys(**values) == [key]
    for doubtful in depends_on:
        assert keys({doubtful}, **values) == []
    assert keys({"fsync", "lines"}, **values) == [key]


def test_several_at_once() -> None:
    assert keys(name="a/b", symbols=[], topics=["tickers", "orderbook.51"], endpoint="x", live_depth="x") == [
        "name",
        "symbols",
        "topics",
        "endpoint",
        "live_depth",
    ]


def test_a_lack_of_symbols_names_what_needs_them() -> None:
    config = RecordConfig(category=Category.OPTION, topics=["tickers", "orderbook.25", "system.status"])
    assert list(objections(config)) == [
        (
            "symbols",
            "found none, and tickers, orderbook.25 need some: expected symbols such as BTC-25DEC26-100000-C, "
            "patterns or rules, or topics in full such as tickers.BTC-25DEC26-100000-C",
        )
    ]
