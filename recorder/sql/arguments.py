"""Arguments of our functions: what an expression of a query comes to, as a plain value.

An argument is computed by DuckDB itself before the query runs, so it may be anything that stands for itself: literals,
parameters, arithmetic, intervals, a subquery with one value.
"""

from __future__ import annotations

from typing import Any, Final

import duckdb
import pyarrow as pa

from recorder.sql.calls import Piece
from recorder.sql.statements import refuse_all_but_reading
from schemas.errors import ConfigError

__all__ = ["argument_value"]

_UNIT_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_DAY_NS: Final = 86_400 * 1_000_000_000


def argument_value(session: duckdb.DuckDBPyConnection, expression: Piece, label: str) -> object:
    """Return an argument's value; moments and intervals as text in nanoseconds (``1723161300123456789ns``).

    Args:
        session: where it is computed.
        expression: what is to be computed.
        label: how messages name it.

    Raises:
        ConfigError: it can't be computed before the query, or is a time without a time zone.
    """
    text, values = expression
    if not text:
        raise ConfigError(f"{label}: there is nothing between two commas")
    query = f"SELECT ({text})"
    try:
        refuse_all_but_reading(session, query)
        found = session.sql(query, params=values) if values else session.sql(query)
        column = found.limit(2).to_arrow_table().column(0)
    except duckdb.Error as error:
        raise ConfigError(_why_not(label, text, str(error))) from None
    if len(column) != 1:
        raise ConfigError(
            f"{label}: {text} has {'no value' if len(column) == 0 else 'several values'}; expected one"
        )
    return _plain(column[0], column.type, label, text)


def _why_not(label: str, text: str, words: str) -> str:
    first = words.split("\n", 1)[0]
    hint = ""
    if text.isidentifier():
        hint = f"; if it is text, quote it: '{text}'"
    elif "Referenced" in first:
        hint = "; an argument is computed before the query, so it can't name columns of its tables"
    return f"{label}: {text} has no value: {first}{hint}"


def _plain(value: pa.Scalar[Any], type_: pa.DataType, label: str, text: str) -> object:
    if not value.is_valid:
        return None
    if pa.types.is_timestamp(type_):
        if type_.tz is None:
            raise ConfigError(
                f"{label}: {text} is a TIMESTAMP without time zone, so it names no moment; "
                "write TIMESTAMPTZ '2024-08-08T23:55:00Z', or only the text"
            )
        return f"{value.value * _UNIT_NS[type_.unit]}ns"
    if pa.types.is_date(type_):
        raise ConfigError(
            f"{label}: {text} is a day, not a moment; write it like TIMESTAMPTZ '{value.as_py()}T00:00:00Z'"
        )
    if pa.types.is_interval(type_):
        interval = value.as_py()
        if interval.months:
            raise ConfigError(
                f"{label}: {text} has months, which differ in length; write days, hours or less"
            )
        return f"{interval.days * _DAY_NS + interval.nanoseconds}ns"
    if pa.types.is_decimal(type_) and type_.scale == 0:
        return int(value.as_py())
    return value.as_py()
