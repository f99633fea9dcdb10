"""What the shell says about itself, about views and about functions, from the texts of the schemas."""

from __future__ import annotations

import difflib
from typing import Final

from recorder.ranges.function import RangeFunction
from recorder.shell.vocabulary import Vocabulary
from recorder.sql.describe import function_help
from schemas.describe import ROWS
from schemas.names import Table
from schemas.tables import SCHEMAS

__all__ = ["HELP", "about", "function_list", "view_list"]

HELP: Final = """\
Statements end with a semicolon and may run over lines; Tab completes, arrows and Ctrl-R go through earlier ones.
Ctrl-C stops a query, Ctrl-D leaves.

  \\d            views                       \\d NAME     columns of a view, arguments and columns of a function
  \\df           functions                   \\s [WORD]   symbols that were recorded
  \\f FORMAT     table, csv or json          \\timing     whether each query says how long it took
  \\r            open the archive again, to see what was recorded since
  \\? or help    this                        \\q or exit  leave"""

# Views that are not called like the table whose columns they have.
_TABLE_OF: Final = {
    "candles": Table.KLINES,
    "instruments_now": Table.INSTRUMENTS,
    "mark_prices": Table.TICKERS,
    "index_prices": Table.TICKERS,
    "funding_rates": Table.TICKERS,
    "deliveries": Table.TICKERS,
    "lateness": Table.BOOK_UPDATES,
}
_OF_EVERY_VIEW: Final = {
    "category": "Product line: spot, linear, inverse, option or spread.",
    "symbol": "The exchange's symbol.",
    "date": "UTC date of push time (receive time where there is none).",
}


def view_list(words: Vocabulary) -> list[tuple[str, str]]:
    """Return the views with what a row of each is; those that show every row as recorded are only counted."""
    shown = [(name, _row(name)) for name in words.views if not name.endswith("_raw")]
    return [*shown, ("…_raw", "Each table exactly as it was recorded.")]


def function_list(words: Vocabulary) -> list[tuple[str, str]]:
    """Return the functions with a sentence each."""
    return [(name, function.doc) for name, (function, _) in sorted(words.functions.items())]


def about(name: str, words: Vocabulary) -> tuple[str, list[tuple[str, ...]]]:
    """Return what there is to say of a view or function: a text, and rows of columns.

    Raises:
        KeyError: there is none of that name; the message names those like it.
    """
    name = name.strip('";').lower()
    if name in words.functions:
        function: RangeFunction = words.functions[name][0]
        return function_help(function), []
    if name not in words.views:
        near = difflib.get_close_matches(name, [*words.views, *words.functions], n=3)
        raise KeyError(f"no view or function {name}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    meanings = _meanings(name)
    rows: list[tuple[str, ...]] = [
        (each.name, each.type, meanings.get(each.name, "")) for each in words.views[name]
    ]
    return _row(name), rows


def _row(view: str) -> str:
    table = _table(view)
    return "" if table is None or view in _TABLE_OF else ROWS[table].split(". ", 1)[0].rstrip(".") + "."


def _meanings(view: str) -> dict[str, str]:
    table = _table(view)
    if table is None:
        return {}
    return _OF_EVERY_VIEW | {field.name: field.metadata[b"meaning"].decode() for field in SCHEMAS[table]}


def _table(view: str) -> Table | None:
    name = view.removesuffix("_raw")
    return _TABLE_OF.get(name) or (Table(name) if name in set(Table) else None)
