"""recorder.shell.vocabulary: which words may follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.archive import open_archive
from recorder.shell.vocabulary import Column, Vocabulary, candidates, open_call, vocabulary_of
from recorder.sql.functions import TABLE_FUNCTIONS
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

WORDS = Vocabulary(
    {
        "trades": [Column("symbol", "VARCHAR"), Column("price", "DOUBLE"), Column("size", "DOUBLE")],
        "tickers": [Column("symbol", "VARCHAR"), Column("last_price", "DECIMAL(38,18)")],
    },
    {"bars": (TABLE_FUNCTIONS["bars"], [Column("time", "time"), Column("vwap", "double")])},
    ["sum", "pow"],
    ["select", "from", "where", "schema"],
    ["BTCUSDT", "ETHUSDT", "linear"],
)


def texts(query: str) -> list[str]:
    """What may follow at the bar."""
    before, _, after = query.partition("|")
    return [found.text for found in candidates(before, after, WORDS)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM tr|", ["trades"]),
        ("SELECT * FROM |", ["bars(", "trades", "tickers"]),
        ("SELECT * FROM trades JOIN ti|", ["tickers"]),
        ("FROM trades, ti|", ["tickers"]),
        ("FROM ba|", ["bars("]),
        ("sel|", ["select"]),
        ("SEL|", ["SELECT"]),
        ("SELECT pri| FROM trades", ["price"]),
        ("SELECT po| FROM trades", ["pow("]),
        ("SELECT t.| FROM trades t", ["symbol", "price", "size"]),
        ("SELECT t.l| FROM trades, tickers AS t", ["last_price"]),
        ("SELECT trades.s| FROM trades", ["symbol", "size"]),
        ("SELECT b.v| FROM bars('linear', f(1)) b", ["vwap"]),
        ("SELECT unknown.| FROM trades", []),
        ("FROM bars('lin|", ["linear"]),
        ("FROM bars('linear', 'b|", ["BTCUSDT"]),
        ("FROM trades WHERE symbol = '|", ["BTCUSDT", "ETHUSDT", "linear"]),
        ("FROM bars('linear', ev|", ["every := "]),
        ("FROM bars('linear', e|) WHERE x", ["every := "]),
        ("SELECT 'it''s', pri| FROM trades", ["price"]),
        ("SELECT 1 -- FROM tr|", []),
        ("FROM trades WHERE SYM|", ["symbol"]),
        ("SELECT '\udce9', pri| FROM trades", ["price"]),
    ],
)
def test_what_fits_comes(query: str, expected: list[str]) -> None:
    found = texts(query)
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)


def test_a_candidate_replaces_what_was_typed_of_it() -> None:
    (found,) = candidates("SELECT * FROM tr", "", WORDS)
    assert (found.text, found.length, found.kind) == ("trades", 2, "view")
    assert candidates("SELECT price FROM trades WHERE pric", "", WORDS)[0].kind == "DOUBLE"
    assert candidates("FROM trades WHERE symbol = 'BT", "", WORDS)[0].length == 2


def test_the_open_call_is_the_innermost() -> None:
    function = TABLE_FUNCTIONS["bars"]
    assert open_call("FROM bars('a', ", WORDS) is function
    assert open_call("FROM bars('a', (1 + ", WORDS) is None
    assert open_call("FROM bars('a', (1), ", WORDS) is function
    assert open_call("FROM bars('a')", WORDS) is None
    assert open_call("", WORDS) is None


@given(st.text(alphabet="SELECT FROM trades.bars('\",;()-/*$é\n"))
def test_anything_may_be_typed(text: str) -> None:
    candidates(text, text, WORDS)
    open_call(text, WORDS)


@pytest.fixture
def words(tmp_path: Path) -> Iterator[Vocabulary]:
    row = {"sequence": 1, "receive_time": NOON_NS, "push_time": NOON_NS // MS, "match_time": NOON_NS // MS}
    archive = HandmadeArchive(tmp_path)
    archive.segment(NOON_NS, {(Table.TRADES, "BTCUSDT"): [row | {"price_mantissa": 1, "size_mantissa": 1}]})
    with open_archive(tmp_path) as opened:
        yield vocabulary_of(opened)


def test_an_archive_knows_its_words(words: Vocabulary) -> None:
    assert {table.value for table in Table} <= set(words.views)
    assert {"price", "size", "price_mantissa"} <= {each.name for each in words.columns("trades")}
    assert [each.name for each in words.columns("trades")][:3] == ["category", "symbol", "date"]
    assert set(words.functions) == set(TABLE_FUNCTIONS)
    assert [each.name for each in words.columns("bars")][:2] == ["time", "open"]
    assert {"exact_price", "time_bucket", "sum", "date_trunc"} <= set(words.scalars)
    assert "select" in words.keywords
    assert words.values == ["BTCUSDT", "linear"]
