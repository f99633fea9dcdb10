"""Rows for people and programs: a text table, CSV, JSON lines, Parquet. Everything streams in batches.

One meaning in every text format: moments are ISO 8601 with nanoseconds (``Z`` where the column is UTC),
decimals keep all their digits, null is empty (JSON: null). JSON writes integers as numbers and decimals as
strings; a HUGEINT beyond 64 bits is a string too, and so are ``NaN`` and the infinities, for which JSON has
no number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any, BinaryIO, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from recorder.archive import Result
from schemas.time import format_ns

__all__ = ["MAX_TABLE_ROWS", "Format", "write_rows"]

MAX_TABLE_ROWS: Final = 1_000
"""Rows that a text table shows; they are all held at once, since columns are as wide as their widest cell."""

_MAX_CELL_CHARACTERS: Final = 48
_EXPLANATION: Final = ["explain_key", "explain_value"]
_UNIT_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_DAYS_NS_RANGE: Final = range(-(2**63), 2**63)

Plain = Callable[[Any], Any]


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def write_rows(result: Result, style: Format, out: BinaryIO) -> int:
    """Write all rows and return how many there were (of a table: at most ``MAX_TABLE_ROWS`` are shown)."""
    if style is Format.PARQUET:
        return _write_parquet(result, out)
    if style is Format.JSON:
        return _write_json(result, out)
    if style is Format.CSV:
        return _write_csv(result, out)
    return _write_table(result, out)


def _write_parquet(result: Result, out: BinaryIO) -> int:
    rows = 0
    with pq.ParquetWriter(out, result.schema, compression="zstd") as writer:
        for batch in result:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_json(result: Result, out: BinaryIO) -> int:
    encoder = msgspec.json.Encoder()
    names = _unique(result.schema.names)
    rows = 0
    for columns in _plain_columns(result):
        lines = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        out.write(encoder.encode_lines(lines))
        rows += len(lines)
    return rows


def _write_csv(result: Result, out: BinaryIO) -> int:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(result.schema.names)
        rows = 0
        for columns in _plain_columns(result):
            cells = [[_cell(value) for value in column] for column in columns]
            writer.writerows(zip(*cells, strict=True))
            rows += len(cells[0]) if cells else 0
    finally:
        text.detach()
    return rows


def _write_table(result: Result, out: BinaryIO) -> int:
    if result.schema.names == _EXPLANATION:
        return _write_explanation(result, out)
    shown: list[list[str]] = []
    rows = 0
    for columns in _plain_columns(result):
        for row in zip(*columns, strict=True):
            rows += 1
            if len(shown) < MAX_TABLE_ROWS:
                shown.append([_cropped(_cell(value)) for value in row])
        if rows > MAX_TABLE_ROWS:
            break
    names = [_cropped(name) for name in result.schema.names]
    widths = [max(len(line[index]) for line in [names, *shown]) for index in range(len(names))]
    right = [_is_number(type_) for type_ in result.schema.types]
    lines = [names, ["-" * width for width in widths], *shown]
    for line in lines:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        out.write("  ".join(cells).rstrip().encode() + b"\n")
    return rows


def _write_explanation(result: Result, out: BinaryIO) -> int:
    plans = result.table().column(1).to_pylist()
    for plan in plans:
        out.write(f"{plan}\n".encode())
    return len(plans)


def _plain_columns(result: Result) -> Iterable[list[list[Any]]]:
    """Yield each batch as lists of plain values, one list per column."""
    converters = [
        _converter(field.type, huge=name == "HUGEINT" or name == "UHUGEINT")
        for field, name in zip(result.schema, result.types, strict=True)
    ]
    for batch in result:
        yield [
            _values(column) if convert is None else [convert(value) for value in _values(column)]
            for column, convert in zip(batch.columns, converters, strict=True)
        ]


def _values(column: pa.Array[Any]) -> list[Any]:
    return list(_as_integers(column).to_pylist())


def _as_integers(column: pa.Array[Any]) -> pa.Array[Any]:
    """Turn moments into integers before Python objects are made, which hold microseconds only."""
    return column.cast(_with_integers(column.type)) if _has_moment(column.type) else column


def _has_moment(type_: pa.DataType) -> bool:
    if pa.types.is_timestamp(type_) or pa.types.is_time64(type_):
        return True
    return any(_has_moment(type_.field(index).type) for index in range(type_.num_fields))


def _with_integers(type_: Any) -> Any:
    if pa.types.is_timestamp(type_) or pa.types.is_time64(type_):
        return pa.int64()
    if pa.types.is_map(type_):
        return pa.map_(_with_integers(type_.key_type), _with_integers(type_.item_type))
    if pa.types.is_list(type_):
        return pa.list_(type_.value_field.with_type(_with_integers(type_.value_type)))
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(type_.value_field.with_type(_with_integers(type_.value_type)), type_.list_size)
    if pa.types.is_struct(type_):
        fields = [type_.field(index) for index in range(type_.num_fields)]
        return pa.struct([field.with_type(_with_integers(field.type)) for field in fields])
    return type_


def _converter(type_: pa.DataType, *, huge: bool = False) -> Plain | None:
    """Return what makes a value of the type plain (JSON can write it), None where it is already."""
    plain = _nested_converter(type_) or _scalar_converter(type_, huge=huge)
    if plain is None:
        return None
    return lambda value: None if value is None else plain(value)


def _scalar_converter(type_: pa.DataType, *, huge: bool) -> Plain | None:
    if pa.types.is_timestamp(type_):
        factor, zone = _UNIT_NS[type_.unit], type_.tz is not None
        return lambda value: _moment(value * factor, utc=zone)
    if pa.types.is_time64(type_):
        factor = _UNIT_NS[type_.unit]
        return lambda value: format_ns(value * factor)[11:-1]
    if pa.types.is_decimal(type_):
        return _integer if huge else _decimal
    if pa.types.is_floating(type_):
        return lambda value: value if isfinite(value) else _not_finite(value)
    if pa.types.is_interval(type_):
        return _duration
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        return bytes.hex
    if pa.types.is_integer(type_) or pa.types.is_boolean(type_) or _is_text(type_):
        return None
    return str


def _nested_converter(type_: pa.DataType) -> Plain | None:
    if pa.types.is_map(type_):
        key, item = _converter(type_.key_type) or _same, _converter(type_.item_type) or _same
        return lambda value: [[key(each), item(its)] for each, its in value]
    if pa.types.is_list(type_) or pa.types.is_fixed_size_list(type_):
        element = _converter(type_.value_type)
        return _same if element is None else lambda value: [element(each) for each in value]
    if pa.types.is_struct(type_):
        fields = [type_.field(index) for index in range(type_.num_fields)]
        parts = {field.name: _converter(field.type) or _same for field in fields}
        return lambda value: {name: part(value[name]) for name, part in parts.items()}
    return None


def _same(value: Any) -> Any:
    return value


def _moment(ns: int, *, utc: bool) -> str:
    if ns not in _DAYS_NS_RANGE:
        # DuckDB's years reach further than ours, and it has infinities; they keep their integer.
        return f"{ns}ns"
    text = format_ns(ns)
    return text if utc else text[:-1]


def _decimal(value: Decimal) -> str:
    return f"{value:f}"


def _integer(value: Decimal) -> int | str:
    number = int(value)
    return number if -(2**63) <= number < 2**63 else str(number)


def _not_finite(value: float) -> str:
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _duration(value: Any) -> str:
    """Return an interval as ISO 8601: ``P1M2DT0.000456000S``."""
    seconds, fraction = divmod(abs(value.nanoseconds), 1_000_000_000)
    sign = "-" if value.nanoseconds < 0 else ""
    return f"P{value.months}M{value.days}DT{sign}{seconds}.{fraction:09d}S"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return str(value)


def _cropped(cell: str) -> str:
    """Return a cell fit for a terminal: one line, bounded, no control characters."""
    clean = "".join(character if character.isprintable() else "·" for character in cell)
    return clean if len(clean) <= _MAX_CELL_CHARACTERS else clean[: _MAX_CELL_CHARACTERS - 1] + "…"


def _is_number(type_: pa.DataType) -> bool:
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_))


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return _is_text(type_.value_type)
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _unique(names: list[str]) -> list[str]:
    """Return the names with repeats numbered, since an object holds each key once."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(candidate)
        unique.append(candidate)
    return unique
