"""``latency``: how late messages came, added up over a range of our clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa

from recorder.ranges.function import Arguments, Kind, Parameter
from recorder.sql.function import Statement, sql_function, sql_text
from recorder.sql.trade_functions import MICROSECONDS, RANGE, field
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from schemas.time import NS_PER_SECOND, format_ns

if TYPE_CHECKING:
    from recorder.archive import Archive

__all__ = ["LATENCY"]

_BEFORE_NS: Final = 60 * NS_PER_SECOND
_LAST_NS: Final = 2**63 - 1 - NS_PER_SECOND
_TABLES: Final = (Table.BOOK_UPDATES, Table.TRADES, Table.TICKERS)


def _latency(
    archive: Archive, _session: duckdb.DuckDBPyConnection, arguments: Arguments, name: str
) -> Statement:
    category, symbol, t0_ns, t1_ns = (arguments[each.name] for each in RANGE)
    variables: dict[str, object] = {}
    some = False
    for table in _TABLES:
        files = archive.files(table, category=category, symbol=symbol, receive_ns=(t0_ns - _BEFORE_NS, t1_ns))
        some = some or any(file.receive_ns is not None and file.receive_ns[1] >= t0_ns for file in files)
        variables[f"{name} {table.value}"] = archive.sql_paths(table, files)
    if not some:
        raise NoData(_nothing(archive, category, symbol, t0_ns, t1_ns))
    every_ns = arguments["every"]
    if every_ns is not None and every_ns % 1_000:
        raise ConfigError("every: expected a whole number of microseconds, such as 100ms")
    text = sql_text("latency").format(
        name=name,
        # Nothing was received before 1970, and the ends of int64 are no moments to DuckDB.
        t0=format_ns(max(t0_ns, 0)),
        since=format_ns(max(t0_ns - _BEFORE_NS, 0)),
        t1=format_ns(min(max(t1_ns, 0), _LAST_NS)),
        lateness=sql_text("lateness").split("CREATE VIEW lateness AS", 1)[1].rstrip().removesuffix(";"),
        bar_ns=t0_ns if every_ns is None else f"epoch_ns(receive_time) // {every_ns} * {every_ns}",
    )
    return Statement(text, variables)


def _nothing(archive: Archive, category: str, symbol: str, t0_ns: int, t1_ns: int) -> str:
    spans = [
        span.receive_ns
        for table in _TABLES
        for span in archive.ranges(category, symbol, table)
        if span.receive_ns is not None
    ]
    if not spans:
        return f"no book, trade or ticker of {category} {symbol} was recorded"
    low, high = min(spans)[0], max(span[1] for span in spans)
    return (
        f"no message of {category} {symbol} was received from {format_ns(t0_ns)} to {format_ns(t1_ns)}; "
        f"there are some between {format_ns(low)} and {format_ns(high)}"
    )


LATENCY: Final = sql_function(
    "latency",
    "How late book, trade and ticker messages came: percentiles of each class of topics, on our clock.",
    (
        *RANGE,
        Parameter(
            "every", Kind.DURATION, "Length of time that a row speaks of; the whole range if left out.", None
        ),
    ),
    pa.schema(
        [
            field("time", MICROSECONDS, "Where the time begins that the row speaks of, by receive time."),
            field("class", pa.string(), "Class of topics, such as orderbook.50."),
            field(
                "clock",
                pa.string(),
                "Since when: push (the gateway's stamp) or match (the matching engine's).",
            ),
            field("messages", pa.int64(), "How many have such a stamp."),
            field("least_ms", pa.float64(), "The least, in milliseconds."),
            field("p50_ms", pa.float64(), "Half of them came that late at most."),
            field("p90_ms", pa.float64(), "90 of 100 came that late at most."),
            field("p99_ms", pa.float64(), "99 of 100 came that late at most."),
            field("most_ms", pa.float64(), "The most."),
        ]
    ),
    _latency,
)
