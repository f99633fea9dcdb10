"""What the table functions are: ``docs/functions.md`` (``python -m recorder.sql.describe``), and help in the shell."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa

from recorder.ranges.function import REQUIRED, Kind, RangeFunction
from recorder.sql.functions import TABLE_FUNCTIONS

__all__ = ["columns_of", "describe_functions", "function_help"]

_HEAD: Final = """\
# Functions of SQL

Written by `python -m recorder.sql.describe` from what the functions say of themselves; a test holds the two together.
How to call them: [sql.md](sql.md); what all those of books have in common: [ranges.md](ranges.md).
"""

# Arguments that any function may be asked for its columns with.
_EXAMPLES: Final[dict[Kind, Any]] = {
    Kind.TEXT: "x",
    Kind.MOMENT: "2024-08-08T12:00:00Z",
    Kind.DURATION: "1s",
    Kind.COUNT: 1,
    Kind.NUMBERS: 1,
    Kind.QUANTITY: 1,
    Kind.SIDE: "buy",
    Kind.CLOCK: "match",
    Kind.UNTRUSTED: "mark",
    Kind.FLAG: False,
}


def describe_functions() -> str:
    """Return the page, Markdown."""
    return "\n".join((_HEAD, *(_described(function) for _, function in sorted(TABLE_FUNCTIONS.items()))))


def function_help(function: RangeFunction) -> str:
    """Return the same of one function as text for a terminal."""
    lines = [function.signature, "", function.doc, ""]
    lines += _aligned((f"  {each.name}", each.doc) for each in function.parameters)
    lines += ["", "columns:"]
    lines += _aligned((f"  {name}", type_, meaning) for name, type_, meaning in columns_of(function))
    return "\n".join(lines)


def columns_of(function: RangeFunction) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of each column, as they come with the defaults."""
    given = {each.name: _EXAMPLES[each.kind] for each in function.parameters if each.default is REQUIRED}
    schema = function.schema(function.bind((), given))
    return [
        (field.name, _type_name(field.type), (field.metadata or {}).get(b"meaning", b"").decode())
        for field in schema
    ]


def _described(function: RangeFunction) -> str:
    lines = [f"## {function.name}", "", f"    {function.signature}", "", function.doc, ""]
    lines += ["| argument | is |", "|---|---|"]
    lines += [f"| `{each.name}` | {each.doc} |" for each in function.parameters]
    lines += ["", "| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {type_} | {meaning} |" for name, type_, meaning in columns_of(function)]
    return "\n".join((*lines, ""))


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = list(rows)
    widths = [max(len(row[index]) for row in cells) for index in range(len(cells[0]))] if cells else []
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _type_name(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return f"list of {_type_name(type_.value_type)}"
    if pa.types.is_timestamp(type_):
        return f"time, {type_.unit}"
    if pa.types.is_dictionary(type_) or pa.types.is_string(type_):
        return "text"
    return str(type_)


if __name__ == "__main__":
    sys.stdout.write(describe_functions())
