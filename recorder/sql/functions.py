"""The table functions of SQL: those that the engine answers, and those that are SQL themselves.

A function is called like a table, ``FROM snapshots('linear', 'BTCUSDT', …)``. Before a query runs, each call becomes a
relation of its session: of the engine's functions (``recorder.ranges``) a stream of batches, made as DuckDB asks for
them, anew for each scan; of the others a view.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa

from recorder.ranges import FUNCTIONS
from recorder.ranges.function import Arguments, RangeFunction
from recorder.sql.arguments import argument_value
from recorder.sql.calls import Call, Piece, replace_calls
from recorder.sql.function import SqlFunction
from recorder.sql.latency_function import LATENCY
from recorder.sql.trade_functions import BARS, TRADES_WITH_QUOTES
from schemas.errors import ConfigError
from schemas.names import Table

if TYPE_CHECKING:
    from recorder.archive import Archive

__all__ = ["TABLE_FUNCTIONS", "Calls"]

TABLE_FUNCTIONS: Final[Mapping[str, RangeFunction]] = MappingProxyType(
    {function.name: function for function in (*FUNCTIONS.values(), BARS, LATENCY, TRADES_WITH_QUOTES)}
)
"""Every table function by name."""

_UNKNOWN: Final = re.compile(r"Table Function with name \"?(\w+)\"? does not exist")


class Calls:
    """The calls of one query: what they need is made in its session, and taken back when the query is over.

    Args:
        archive: what the functions ask.
        session: where the query runs.
    """

    def __init__(self, archive: Archive, session: duckdb.DuckDBPyConnection) -> None:
        self._archive = archive
        self._session = session
        self._scans: dict[str, _Scan] = {}
        self._streams: dict[str, _Scan] = {}
        self._views: list[str] = []
        self._variables: list[str] = []

    def __len__(self) -> int:
        return len(self._scans)

    def prepared(self, query: str, parameters: Sequence[object]) -> Piece:
        """Return the query with its calls replaced, and the parameters that are left.

        Raises:
            ConfigError: an argument is missing, unknown, of the wrong kind or no constant; with the signature.
        """
        return replace_calls(query, parameters, TABLE_FUNCTIONS.keys(), self._relation)

    def take_back(self) -> None:
        """Forget what was made; the session must not be reading it any more."""
        with suppress(duckdb.Error):  # the archive may be closed already
            self._forget()

    def _forget(self) -> None:
        for name in self._views:
            self._session.execute(f'DROP VIEW "{name}"')
        for name in self._variables:
            self._session.execute(f'RESET VARIABLE "{name}"')
        for name in [*(self._scans.keys() - set(self._views)), *self._streams]:
            self._session.unregister(name)
        self._scans.clear()
        self._streams.clear()
        self._views.clear()
        self._variables.clear()

    def cause(self, error: Exception) -> BaseException | None:
        """Return what an error of DuckDB's came from, or comes to; None if calls have nothing to do with it."""
        for scan in (*self._scans.values(), *self._streams.values()):
            if scan.error is not None:
                return scan.error
        text = str(error)
        for name in self._scans:
            if f'"{name}"' in text and "Binder Error" in text:
                return ConfigError(
                    f"{text}\n{name.split()[0]} is a table function: SELECT * FROM {name.split()[0]}(…)"
                )
        unknown = _UNKNOWN.search(text)
        near = difflib.get_close_matches(unknown[1].lower(), TABLE_FUNCTIONS, n=1) if unknown else []
        head = text.split("\n", 1)[0]
        if unknown and (view := unknown[1].lower()) in list(Table):
            return ConfigError(
                f"{head}\n{view} is a view, without arguments: SELECT * FROM {view} WHERE symbol = 'BTCUSDT'"
            )
        if near:
            return ConfigError(f"{head}\nthere is {TABLE_FUNCTIONS[near[0]].signature}")
        return None

    def _relation(self, call: Call) -> str:
        function = TABLE_FUNCTIONS[call.name]
        positional: list[object] = []
        named: dict[str, object] = {}
        try:
            for number, argument in enumerate(call.arguments):
                expression = self.prepared(*argument.expression)  # a subquery may have calls too
                label = _label(function, number, argument.name)
                value = argument_value(self._session, expression, label)
                if argument.name is None:
                    if named:
                        raise ConfigError("arguments without a name come before those with one")
                    positional.append(value)
                elif argument.name in named:
                    raise ConfigError(f"{argument.name} is given twice")
                else:
                    named[argument.name] = value
        except ConfigError as error:
            raise ConfigError(f"{call.name}: {error}\n{function.signature}") from None
        try:
            arguments = function.bind(positional, named)
        except ConfigError as error:
            raise ConfigError(f"{call.name}: {error}") from None
        name = f"{call.name} #{len(self._scans) + 1}"
        self._scans[name] = scan = _Scan(self._archive, function, arguments)
        if isinstance(function, SqlFunction):
            self._create_view(name, function, arguments)
        else:
            self._session.register(name, scan)
        return name

    def _create_view(self, name: str, function: SqlFunction, arguments: Arguments) -> None:
        try:
            statement = function.statement(self._archive, self._session, arguments, name)
        except ConfigError as error:
            raise ConfigError(f"{function.name}: {error}\n{function.signature}") from None
        for variable, value in statement.variables.items():
            self._session.execute(f'SET VARIABLE "{variable}" = $1', [value])
            self._variables.append(variable)
        for stream, (source, given) in statement.streams.items():
            self._streams[stream] = _Scan(self._archive, source, given)
            self._session.register(stream, self._streams[stream])
        self._session.execute(f'CREATE OR REPLACE TEMP VIEW "{name}" AS {statement.text}')
        self._views.append(name)


@dataclass(slots=True)
class _Scan:
    """A call's rows for DuckDB: asked for its schema when a query is planned, for a stream at each scan."""

    archive: Archive
    function: RangeFunction
    arguments: Arguments
    error: BaseException | None = None

    def __arrow_c_schema__(self) -> object:
        return self.function.schema(self.arguments).__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        schema = self.function.schema(self.arguments)
        return pa.RecordBatchReader.from_batches(schema, self._batches()).__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self.function.run(self.archive, self.arguments)
        except (Exception, KeyboardInterrupt) as error:  # DuckDB keeps but its text
            self.error = error
            raise


def _label(function: RangeFunction, number: int, name: str | None) -> str:
    if name is not None:
        return name
    if number < len(function.parameters):
        return function.parameters[number].name
    return f"argument {number + 1}"
