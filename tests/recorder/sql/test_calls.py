"""recorder.sql.calls: where the calls in a query are, and what stands in their place."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.sql.calls import Call, Piece, replace_calls, tables_read
from schemas.errors import ConfigError

NAMES = ("snapshots", "quotes")


def replaced(query: str, parameters: Sequence[object] = ()) -> tuple[Piece, list[Call]]:
    calls: list[Call] = []

    def relation(call: Call) -> str:
        calls.append(call)
        return f"{call.name} #{len(calls)}"

    return replace_calls(query, parameters, NAMES, relation), calls


def arguments(query: str, parameters: Sequence[object] = ()) -> list[tuple[str | None, str, list[object]]]:
    _, calls = replaced(query, parameters)
    return [(each.name, *each.expression) for call in calls for each in call.arguments]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("FROM snapshots('a')", 'FROM "snapshots #1" AS snapshots'),
        ("FROM Snapshots ( 'a' ) WHERE x", 'FROM "snapshots #1" AS snapshots WHERE x'),
        ('FROM "snapshots"(1)', 'FROM "snapshots #1" AS snapshots'),
        ("FROM snapshots(1) s", 'FROM "snapshots #1" s'),
        ("FROM snapshots(1) AS s(a, b)", 'FROM "snapshots #1" AS s(a, b)'),
        ("FROM snapshots(1) day", 'FROM "snapshots #1" day'),
        ("FROM snapshots(1) LEFT JOIN t", 'FROM "snapshots #1" AS snapshots LEFT JOIN t'),
        (
            "FROM quotes(1), snapshots(2) JOIN LATERAL quotes(3) USING (t)",
            'FROM "quotes #1" AS quotes, "snapshots #2" AS snapshots JOIN LATERAL "quotes #3" AS quotes USING (t)',
        ),
        (
            "WITH a AS (FROM quotes(1)) SELECT (SELECT max(x) FROM quotes(2)) FROM a;",
            'WITH a AS (FROM "quotes #1" AS quotes) SELECT (SELECT max(x) FROM "quotes #2" AS quotes) FROM a;',
        ),
        ("DESCRIBE snapshots(1)", 'DESCRIBE "snapshots #1"'),
        ("SUMMARIZE snapshots(1)", 'SUMMARIZE "snapshots #1"'),
        ("EXPLAIN FROM snapshots(1)", 'EXPLAIN FROM "snapshots #1" AS snapshots'),
        ("PIVOT snapshots(1) ON x USING count(*)", 'PIVOT "snapshots #1" AS snapshots ON x USING count(*)'),
        ("SELECT 'é', é FROM quotes('ü') -- quotes(1)", "SELECT 'é', é FROM \"quotes #1\" AS quotes -- quotes(1)"),
    ],
)  # fmt: skip
def test_only_the_call_is_replaced(query: str, expected: str) -> None:
    assert replaced(query)[0] == (expected, [])
    assert replaced(expected)[0] == (expected, [])


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'FROM snapshots(1)', \"snapshots(1)\", $$ snapshots(1) $$, e'\\' snapshots(1)'",
        "SELECT 1 -- snapshots(1)",
        "SELECT /* snapshots(1) */ 1",
        "FROM snapshots",
        "SELECT snapshots FROM t",
        "FROM other.snapshots(1)",
        "WITH quotes(a, b) AS (SELECT 1, 2) FROM quotes",
        "WITH quotes(a) AS NOT MATERIALIZED (SELECT 1) FROM quotes",
        "FROM t AS quotes(a)",
        "FROM t quotes(a)",
        "FROM (SELECT 1) quotes(a)",
        "FROM snapshots(1",
        "FROM snapshots(",
        "snapshots_of(1)",
        "",
        "'",
    ],
)
def test_what_is_no_call_stays(query: str) -> None:
    assert replaced(query) == ((query, []), [])


def test_arguments_are_told_apart() -> None:
    found = arguments(
        "FROM quotes('a, (b', f(1, [2, 3]), {'x': 1}, every := INTERVAL 1 SECOND, Depth => -2, )"
    )
    assert [(name, text) for name, text, _ in found] == [
        (None, "'a, (b'"),
        (None, "f(1, [2, 3])"),
        (None, "{'x': 1}"),
        ("every", "INTERVAL 1 SECOND"),
        ("depth", "-2"),
        (None, ""),
    ]
    assert arguments("FROM quotes()") == []
    assert arguments("FROM quotes((SELECT max(x) /* , */ FROM t))") == [
        (None, "(SELECT max(x) /* , */ FROM t)", [])
    ]


def test_each_text_has_the_parameters_that_it_uses() -> None:
    query = "SELECT $3, $1 FROM quotes($2, depth := $1 + $2, x := '$1') WHERE y = $3"
    piece, calls = replaced(query, ["a", "b", "c"])
    assert piece == ('SELECT $1, $2 FROM "quotes #1" AS quotes WHERE y = $1', ["c", "a"])
    assert [each.expression for each in calls[0].arguments] == [
        ("$1", ["b"]),
        ("$1 + $2", ["a", "b"]),
        ("'$1'", []),
    ]
    query = "SELECT ? FROM quotes(?, x := ?::INT) WHERE y = ?"
    piece, calls = replaced(query, [1, 2, 3, 4])
    assert piece == ('SELECT $1 FROM "quotes #1" AS quotes WHERE y = $2', [1, 4])
    assert [each.expression for each in calls[0].arguments] == [("$1", [2]), ("$1::INT", [3])]


def test_a_parameter_without_a_value_is_said() -> None:
    with pytest.raises(ConfigError, match=r"\$3 has no value: 2 were given"):
        replaced("FROM quotes($1, $3)", [1, 2])


def test_half_a_character_is_said() -> None:
    with pytest.raises(ConfigError, match=r"no UTF-8: .* at 9 of its 9 characters"):
        replaced("SELECT '\udcff")


WORDS = st.sampled_from(
    ["FROM", "SELECT", "(", ")", ",", "quotes", "snapshots(1)", "'x(", '"', "$1", "?", "--", "\n", "é", " ", "$$",
     "/*", "*/", "as", ".", "x", "[", "}"]
)  # fmt: skip


@given(st.lists(WORDS).map(" ".join))
def test_any_text_comes_through(query: str) -> None:
    piece, calls = replaced(query)
    assert piece.text.count("#") >= len(calls)
    if not calls:
        assert piece.text == query
    # nothing is left that would be found again
    assert replaced(piece.text) == (piece, []) or not calls


@given(st.text())
def test_any_characters_come_through(text: str) -> None:
    try:
        duckdb.tokenize(text)
    except (duckdb.Error, UnicodeError, ValueError):
        return
    assert replaced(text)[0].text == text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT a, b FROM trades", {"trades"}),
        ("SELECT 1 AS trades", set()),
        ("from Main.Trades select gaps", {"trades"}),
        ('SELECT * FROM a, b AS c, "D" WHERE x IN (e, f)', {"a", "b", "d"}),
        ("SELECT * FROM (a JOIN b USING (x, y)), c", {"a", "b", "c"}),
        ("SELECT * FROM (SELECT trades, gaps FROM a) t, b ORDER BY x, y", {"a", "b"}),
        ("SELECT * FROM a ASOF LEFT JOIN b ON a.x = b.x, c LIMIT 3", {"a", "b", "c"}),
        ("SELECT trades, gaps FROM bars('linear', 'x', 1, 2), tickers", {"tickers"}),
        ("SELECT (SELECT count(*) FROM a), trades FROM b", {"a", "b"}),
        ("WITH w AS (FROM a) SELECT * FROM w -- FROM trades", {"a", "w"}),
        ("SELECT 'FROM trades' FROM a", {"a"}),
        ("SELECT * FROM a, LATERAL (SELECT * FROM b)", {"a", "b"}),
        ("SUMMARIZE a", {"a"}),
        ("PIVOT a ON x USING sum(y)", {"a"}),
        ("SELECT * FROM a UNION ALL SELECT x, y FROM b", {"a", "b"}),
        ("EXPLAIN SELECT * FROM a.b.c", {"c"}),
        ('SELECT "from", trades', set()),
    ],
)
def test_tables_are_told_by_where_they_stand(query: str, expected: set[str]) -> None:
    assert tables_read(query) == expected


@given(st.lists(WORDS | st.sampled_from(["join", "UNION", "with", "a.b", '"C"'])).map(" ".join))
def test_any_text_may_be_asked_for_its_tables(query: str) -> None:
    found = tables_read(query)
    assert all(name and name in query.lower() for name in found)
    assert found == set() or any(word in query.lower() for word in ("from", "join"))
