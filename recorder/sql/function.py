"""A table function that is SQL itself: its text goes into the query, so that DuckDB plans the two as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import pyarrow as pa

from recorder.ranges.function import Arguments, Kind, Parameter, RangeFunction

if TYPE_CHECKING:
    from recorder.archive import Archive

__all__ = ["SqlFunction", "Statement", "sql_function", "sql_text"]


class Statement(NamedTuple):
    """A SELECT, and what it reads beside the archive's tables.

    Attributes:
        text: it.
        variables: of the session.
        streams: what the engine makes, by the names that the text has for it.
    """

    text: str
    variables: Mapping[str, object]
    streams: Mapping[str, tuple[RangeFunction, Arguments]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SqlFunction(RangeFunction):
    """A question whose answer is a SELECT over the archive's files.

    Attributes:
        statement: what is to be selected, for bound arguments. Its variables' names begin with the name that is given
            to it, which is that of the call. Raises ConfigError, NoData, and what DuckDB raises.
    """

    statement: Callable[[Archive, duckdb.DuckDBPyConnection, Arguments, str], Statement]


def sql_function(
    name: str,
    doc: str,
    parameters: tuple[Parameter, ...],
    columns: pa.Schema,
    statement: Callable[[Archive, duckdb.DuckDBPyConnection, Arguments, str], Statement],
) -> SqlFunction:
    """Return a function of these columns; as a range function it asks the archive for itself."""

    def run(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
        given = {
            each.name: _as_given(each.kind, arguments[each.name])
            for each in parameters
            if arguments[each.name] is not None
        }
        named = ", ".join(f"{name} := ${number}" for number, name in enumerate(given, 1))
        for batch in archive.sql(f"FROM {name}({named})", list(given.values())):
            yield batch.cast(columns)

    return SqlFunction(name, doc, parameters, lambda _: columns, run, statement)


def sql_text(name: str) -> str:
    """Return the text of ``schemas/sql/<name>.sql``, to be formatted."""
    return (files("schemas") / "sql" / f"{name}.sql").read_text(encoding="utf-8").rstrip()


def _as_given(kind: Kind, value: Any) -> object:
    return f"{value}ns" if kind in (Kind.MOMENT, Kind.DURATION) else value
