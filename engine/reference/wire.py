"""Frames from archive rows in plain Python: what engine/core/src/tb_wire.c does, to read and to hold it against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from schemas.tables import TICKER_FIELDS
from schemas.wire import TRADE_EXTRAS, WireForm

__all__ = ["number_text", "render_frame", "wide_text"]

Row = Mapping[str, Any]
_EXTRA_COLUMNS: Final = dict(
    zip(TRADE_EXTRAS, ("mark_price", "index_price", "mark_iv", "trade_iv"), strict=True)
)
_SIDES: Final = {"buy": "Buy", "sell": "Sell"}


def number_text(mantissa: int, decimals: int, style: str) -> str | None:
    """mantissa / 10^decimals as a form writes it (``WireForm.numbers``), or None where it can't."""
    sign = "-" if mantissa < 0 else ""
    digits = abs(mantissa)
    if style == "trimmed":
        while decimals and digits % 10 == 0:
            digits, decimals = digits // 10, decimals - 1
        return sign + _pointed(digits, decimals)
    places = int(style.removesuffix("z"))
    if digits == 0 and not style.endswith("z"):
        return "0"
    if places >= decimals:
        digits *= 10 ** (places - decimals)
    elif digits % 10 ** (decimals - places):
        return None
    else:
        digits //= 10 ** (decimals - places)
    return sign + _pointed(digits, places)


def _pointed(digits: int, decimals: int) -> str:
    text = str(digits).rjust(decimals + 1, "0")
    return f"{text[:-decimals]}.{text[-decimals:]}" if decimals else text


def render_frame(form: WireForm, rows: Sequence[Row], symbol: str, digits: str | None = None) -> bytes | None:
    """The frame that these rows came of, or None where the form can't write it.

    Args:
        form: of the feed.
        rows: as in the archive, one or (trades) several; times as integers of the column's unit.
        symbol: under which they are filed.
        digits: what the form leaves open.
    """
    row = rows[0]
    out: list[str | None] = []
    for place, part in enumerate(form.frame):
        if place % 2 == 0:
            out.append(part)
            continue
        match part:
            case "topic":
                out.append(form.topic)
            case "symbol":
                out.append(symbol)
            case "kind":
                out.append(row.get("kind", "snapshot"))
            case "push":
                out.append(str(row["push_time"]))
            case "match":
                out.append(_integer(row.get("match_time")))
            case "update":
                out.append(_integer(row.get("update_id")))
            case "cross":
                out.append(_integer(row.get("cross_sequence")))
            case "open":
                out.append(digits)
            case "bids" | "asks":
                out.append(_levels(form, row, part[:3]))
            case "values":
                out.append(_members(form, row))
            case "trades":
                trades = [_trade(form, trade, symbol) for trade in rows]
                out.append(None if None in trades else ",".join(text for text in trades if text is not None))
            case _:
                return None
    return _joined(out)


def _joined(parts: Sequence[str | None]) -> bytes | None:
    return None if None in parts else "".join(part for part in parts if part is not None).encode()


def _integer(value: int | None) -> str | None:
    return None if value is None else str(value)


def _levels(form: WireForm, row: Row, side: str) -> str | None:
    price_decimals, size_decimals = -row["price_exponent"], -row["size_exponent"]
    columns = [
        (row[f"{side}_price_mantissa"], price_decimals, form.numbers["price"]),
        (row[f"{side}_size_mantissa"], size_decimals, form.numbers["size"]),
    ]
    if f"{side}_rpi_size_mantissa" in row:
        columns.append((row[f"{side}_rpi_size_mantissa"], size_decimals, form.numbers["rpi_size"]))
    levels = []
    for place in range(len(columns[0][0])):
        texts = [number_text(values[place], decimals, style) for values, decimals, style in columns]
        if None in texts:
            return None
        levels.append("[" + ",".join(f'"{text}"' for text in texts) + "]")
    return ",".join(levels)


def wide_text(value: Decimal, style: str | None) -> str | None:
    """A decimal as a form writes it, or None where it can't."""
    if style is None:
        return None
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    mantissa = int("".join(map(str, digits))) * (-1 if sign else 1)
    if exponent > 0:
        mantissa, exponent = mantissa * 10**exponent, 0
    return number_text(mantissa, -exponent, style)


def _members(form: WireForm, row: Row) -> str | None:
    fields = {field.key: (bit, field) for bit, field in enumerate(TICKER_FIELDS)}
    out = []
    for key in form.order or fields:
        bit, field = fields[key]
        if not row["keys"] >> bit & 1:
            continue
        value = row[field.column]
        if value is None:
            text: str | None = ""
        elif field.kind == "text":
            text = value
        elif field.kind == "time":
            text = _time(value, form.numbers.get(key))
        else:
            text = wide_text(value, form.numbers.get(key))
        if text is None:
            return None
        out.append(f',"{key}":"{text}"')
    return "".join(out)


def _time(ms: int, style: str | None) -> str | None:
    if style == "ms":
        return str(ms)
    if style != "iso" or ms % 1000:
        return None
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _trade(form: WireForm, row: Row, symbol: str) -> str | None:
    out: list[str | None] = []
    for place, part in enumerate(form.each):
        if place % 2 == 0:
            out.append(part)
            continue
        match part:
            case "symbol":
                out.append(symbol)
            case "match":
                out.append(str(row["match_time"]))
            case "cross":
                out.append(_integer(row["cross_sequence"]))
            case "side":
                out.append(_SIDES[row["side"]])
            case "price" | "size":
                exponent = row[f"{part}_exponent"]
                out.append(number_text(row[f"{part}_mantissa"], -exponent, form.numbers[part]))
            case "tick":
                out.append(row["tick_direction"])
            case "id":
                out.append(row["trade_id"])
            case "block" | "rpi":
                flag = row["is_block" if part == "block" else "is_rpi"]
                out.append(None if flag is None else "true" if flag else "false")
            case _:
                value = row[_EXTRA_COLUMNS[part]]
                out.append("" if value is None else wide_text(value, form.numbers.get(part)))
    text = _joined(out)
    return None if text is None else text.decode()
