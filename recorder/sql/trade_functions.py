"""``bars``: trades added up, by SQL over the files that the manifest names for a symbol and a range."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from recorder.feed_rows import Clock
from recorder.ranges.book_range import BOOK_PARAMETERS
from recorder.ranges.function import Arguments, Kind, Parameter, Untrusted
from recorder.sql.function import Statement, sql_function, sql_text
from recorder.sql.quote_states import QUOTE_STATES
from recorder.sql.trusted import trusted_spans
from schemas.errors import ConfigError, NoData
from schemas.manifest import ManifestFile
from schemas.names import Table
from schemas.time import NS_PER_MS, format_ns

if TYPE_CHECKING:
    from recorder.archive import Archive

__all__ = ["BARS", "MICROSECONDS", "RANGE", "TRADES_WITH_QUOTES", "ceiling", "field", "trades_of_range"]

_UUID: Final = "CAST(CAST(trade_uuid AS UUID) AS VARCHAR)"
_ID: Final = f"coalesce(trade_id, {_UUID}, CAST(trade_number AS VARCHAR))"
_ONCE: Final = "\nQUALIFY row_number() OVER (PARTITION BY {trade_id} ORDER BY place) = 1"
MICROSECONDS: Final = pa.timestamp("us", "UTC")

RANGE: Final = tuple(BOOK_PARAMETERS[name] for name in ("category", "symbol", "t0", "t1"))


class _Trades(NamedTuple):
    """The text that selects the trades of a range, its variables, and their exponents."""

    text: str
    variables: dict[str, object]
    price_exponent: int
    size_exponent: int


def trades_of_range(
    archive: Archive, session: duckdb.DuckDBPyConnection, arguments: Arguments, name: str
) -> _Trades:
    """Return how the trades of a range are selected.

    Raises:
        NoData: there is no file that may have any; the message names what was recorded.
    """
    files = _files(archive, arguments["category"], arguments["symbol"], arguments["t0"], arguments["t1"])
    paths = archive.sql_paths(Table.TRADES, files)
    t0_us, t1_us = (ceiling(arguments[which], 1_000) for which in ("t0", "t1"))
    (exponents,) = session.execute(
        "SELECT min(price_exponent), max(price_exponent), min(size_exponent), max(size_exponent) "
        "FROM read_parquet($1, hive_partitioning = false)",
        [paths],
    ).fetchall()
    price, highest_price, size, highest_size = exponents
    versions = {min(file.schema_version, 2) for file in files}
    trade_id = "trade_id" if versions == {1} else _ID
    text = sql_text("trades_once").format(
        name=name,
        t0_us=t0_us,
        t1_us=t1_us,
        price_mantissa=_brought("price", price, highest_price),
        size_mantissa=_brought("size", size, highest_size),
        trade_id=trade_id,
        by_name=str(len(versions) > 1).lower(),
        once=_ONCE.format(trade_id=trade_id) if len({file.collector for file in files}) > 1 else "",
    )
    return _Trades(text, {f"{name} files": paths}, price, size)


def _files(archive: Archive, category: str, symbol: str, t0_ns: int, t1_ns: int) -> list[ManifestFile]:
    """The files of a symbol that may have trades of a range, in the order of what they were recorded from."""
    recorded = archive.files(Table.TRADES, category=category, symbol=symbol)
    if not recorded:
        known = sorted({name for _, name in archive.manifest.symbols(Table.TRADES)})
        near = difflib.get_close_matches(symbol, known, n=5, cutoff=0.5) or known[:5]
        hint = f"; symbols near it with trades: {', '.join(near)}" if near else "; there are none at all"
        raise NoData(f"no trades of {category} {symbol} were recorded{hint}")
    found = [
        file
        for file in recorded
        if file.match_ms is not None
        and file.match_ms[0] * NS_PER_MS < t1_ns
        and file.match_ms[1] * NS_PER_MS >= t0_ns
    ]
    if not found:
        spans = [file.match_ms for file in recorded if file.match_ms is not None]
        low, high = min(span[0] for span in spans), max(span[1] for span in spans)
        raise NoData(
            f"no trades of {category} {symbol} were recorded from {format_ns(t0_ns)} to {format_ns(t1_ns)}; "
            f"there are some between {format_ns(low * NS_PER_MS)} and {format_ns(high * NS_PER_MS)}"
        )
    return sorted(found, key=lambda file: (file.segment, file.collector))


def _brought(what: str, finest: int, coarsest: int) -> str:
    """Mantissas of the finest exponent; most often there is but one."""
    if finest == coarsest:
        return f"{what}_mantissa"
    return f"{what}_mantissa * CAST(pow(10, {what}_exponent - {finest}) AS BIGINT)"


def _bars(archive: Archive, session: duckdb.DuckDBPyConnection, arguments: Arguments, name: str) -> Statement:
    every_ns = arguments["every"]
    every_ms, rest = divmod(every_ns, NS_PER_MS)
    if rest:
        raise ConfigError(
            "every: match times are milliseconds; expected a whole number of them, such as 100ms"
        )
    trades = trades_of_range(archive, session, arguments, name)
    spans = trusted_spans(archive, arguments["category"], arguments["symbol"])
    text = sql_text("bars").format(
        name=name,
        trades=trades.text,
        every_ms=every_ms,
        t0_ms=ceiling(arguments["t0"], NS_PER_MS),
        t1_ms=ceiling(arguments["t1"], NS_PER_MS),
        price_exponent=trades.price_exponent,
        size_exponent=trades.size_exponent,
        kept="WHERE trusted" if arguments["untrusted"] is Untrusted.LEAVE_OUT else "",
    )
    return Statement(text, trades.variables | _spans_variable(name, spans))


def _trades_with_quotes(
    archive: Archive, session: duckdb.DuckDBPyConnection, arguments: Arguments, name: str
) -> Statement:
    trades = trades_of_range(archive, session, arguments, name)
    of_book = QUOTE_STATES.bind(
        [arguments["category"], arguments["symbol"], f"{arguments['t0']}ns", f"{arguments['t1']}ns"],
        {"topic": arguments["topic"]},
    )
    text = sql_text("trades_with_quotes").format(
        name=name,
        trades=trades.text,
        price_exponent=trades.price_exponent,
        size_exponent=trades.size_exponent,
        kept="WHERE trusted" if arguments["untrusted"] is Untrusted.LEAVE_OUT else "",
    )
    of_book = {**of_book, "clock": Clock.MATCH}
    return Statement(text, trades.variables, {f"{name} quotes": (QUOTE_STATES, of_book)})


def _spans_variable(name: str, spans: Any) -> dict[str, object]:
    # Never empty, so that the type of its elements is known.
    return {f"{name} spans": [span._asdict() for span in spans] or [{"start_ms": 2**62, "end_ms": 2**62}]}


def ceiling(number: int, unit: int) -> int:
    """Return how many units hold a number."""
    return -(-number // unit)


def field(name: str, type_: pa.DataType, meaning: str) -> pa.Field[Any]:
    """Return a column with a few words about it."""
    return pa.field(name, type_, metadata={"meaning": meaning})


BARS: Final = sql_function(
    "bars",
    "Open, high, low, close and volume of trades, for each length of match time in which there were any.",
    (
        *RANGE,
        Parameter(
            "every",
            Kind.DURATION,
            "Length of a bar; bars begin at multiples of it. The first and the last have only the trades of the range.",
            10**9,
        ),
        Parameter(
            "untrusted",
            Kind.UNTRUSTED,
            "What becomes of bars whose trades were not all recorded: of a gap, or of the recording's ends.",
            Untrusted.LEAVE_OUT,
        ),
    ),
    pa.schema(
        [
            field("time", MICROSECONDS, "Where the bar begins."),
            field("open", pa.float64(), "Price of its first trade by match time."),
            field("high", pa.float64(), "Highest price."),
            field("low", pa.float64(), "Lowest price."),
            field("close", pa.float64(), "Price of its last trade."),
            field("volume", pa.float64(), "Sum of the sizes: base coin, or USD contracts on inverse."),
            field("vwap", pa.float64(), "Mean price, weighted by size."),
            field("trades", pa.int64(), "How many."),
            field("buy_volume", pa.float64(), "Sum of the sizes that takers bought."),
            field("trusted", pa.bool_(), "Every trade of it that the range has was recorded."),
        ]
    ),
    _bars,
)

TRADES_WITH_QUOTES: Final = sql_function(
    "trades_with_quotes",
    "Trades with the best bid and ask before them, by match time and then by the matching engine's sequence.",
    (
        *RANGE,
        Parameter(
            "topic",
            Kind.TEXT,
            "Topic of the book, e.g. orderbook.50; the shallowest recorded one that covers the range.",
            None,
        ),
        Parameter(
            "untrusted",
            Kind.UNTRUSTED,
            "What becomes of trades of a time in which no book may be trusted.",
            Untrusted.LEAVE_OUT,
        ),
    ),
    pa.schema(
        [
            field("time", pa.timestamp("ms", "UTC"), "When the trade was matched."),
            field("trade_id", pa.string(), "The exchange's id."),
            field("side", pa.string(), "Taker side: buy or sell."),
            field("price", pa.float64(), "Price."),
            field("size", pa.float64(), "Size."),
            field("is_block", pa.bool_(), "Block trade."),
            field("cross_sequence", pa.int64(), "The matching engine's sequence."),
            field("bid_price", pa.float64(), "Best bid before the trade; null where there is none."),
            field("bid_size", pa.float64(), "Its size."),
            field("ask_price", pa.float64(), "Best ask before the trade; null where there is none."),
            field("ask_size", pa.float64(), "Its size."),
            field("quote_age_ms", pa.int64(), "Time from the message that made the quote to the trade."),
            field("trusted", pa.bool_(), "The book may be trusted there."),
        ]
    ),
    _trades_with_quotes,
)
