"""Wire forms of the topics that drivers read: klines, liquidations, insurance pools and price limits (docs/capture.md).

These are few enough for plain Python, which learns a form, writes frames with it while a segment is rolled, and again
when it is rebuilt. A form is a ``WireForm`` whose names are columns of the table, beside ``topic`` and ``symbol``;
``rows`` stands for the items of an array, each as in ``each``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from engine.reference.wire import wide_text
from engine.wire_forms import learn_number, members, template
from schemas.columns import DECIMAL
from schemas.names import Table
from schemas.tables import SCHEMAS
from schemas.wire import WireForm

__all__ = ["EVENT_KEYS", "event_topic", "learn_event_form", "render_event"]

EVENT_KEYS: Final[dict[Table, dict[str, str]]] = {
    Table.KLINES: {
        "start": "start_time", "end": "end_time", "interval": "interval", "open": "open_price", "close": "close_price",
        "high": "high_price", "low": "low_price", "volume": "volume", "turnover": "turnover", "confirm": "confirmed",
        "timestamp": "match_time",
    },
    Table.LIQUIDATIONS: {"T": "match_time", "s": "symbol", "S": "side", "v": "size", "p": "price"},
    Table.INSURANCE: {"coin": "coin", "symbols": "symbols", "balance": "balance", "updateTime": "update_time"},
    Table.PRICE_LIMITS: {"symbol": "symbol", "buyLmt": "highest_bid", "sellLmt": "lowest_ask"},
}  # fmt: skip
"""Keys of an item and the columns that hold them."""
NO_SYMBOL: Final = "_"
_SIDES: Final = {"buy": "Buy", "sell": "Sell"}
_DECIMALS: Final = {
    table: frozenset(field.name for field in SCHEMAS[table] if field.type == DECIMAL) for table in EVENT_KEYS
}

Row = Mapping[str, Any]
Span = tuple[int, int, str]


def event_topic(table: Table, row: Row, symbol: str) -> str:
    """The topic that a row came of."""
    match table:
        case Table.KLINES:
            return f"kline.{row['interval']}.{symbol}"
        case Table.LIQUIDATIONS:
            return f"allLiquidation.{symbol}"
        case Table.INSURANCE:
            return f"insurance.{row['pool_group']}"
        case _:
            return f"priceLimit.{symbol}"


def learn_event_form(
    table: Table, topic: str, symbol: str, frame: bytes, known: WireForm | None
) -> WireForm | None:
    """The form that would write this frame, as far as it can be told; as ``engine.wire_forms.learn_form``."""
    numbers = dict(known.numbers) if known is not None else {}
    keys = EVENT_KEYS[table]
    each: tuple[str, ...] = ()
    constants = (("topic", topic), ("symbol", "" if symbol == NO_SYMBOL else symbol))
    spans: list[Span] = []
    try:
        text = frame.decode()
        for key, start, end in members(text, 0):
            if key == "ts":
                spans.append((start, end, "push_time"))
            elif key == "type" and "kind" in SCHEMAS[table].names:
                spans.append((start + 1, end - 1, "kind"))
            elif key == "data" and text[start] == "[":
                spans.append((start + 1, end - 1, "rows"))
                first = text.index("{", start)
                inside = json.JSONDecoder().raw_decode(text, first)[1]
                each = template(text, first, inside, list(_item(text, first, keys)), constants)
                for item in json.loads(text[start:end], parse_int=str, parse_float=str):
                    _learn(table, keys, item, numbers)
            elif key == "data":
                spans += _item(text, start, keys)
                item = json.loads(text[start:end], parse_int=str, parse_float=str)
                _learn(table, keys, item, numbers)
        whole = template(text, 0, len(text), spans, constants)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
    return WireForm(topic, whole, each, numbers)


def _item(text: str, at: int, keys: dict[str, str]) -> Iterator[Span]:
    for key, start, end in members(text, at):
        if key in keys:
            quoted = text[start] == '"'
            yield start + quoted, end - quoted, keys[key]


def _learn(table: Table, keys: dict[str, str], item: dict[str, Any], numbers: dict[str, str]) -> None:
    for key, value in item.items():
        column = keys.get(key)
        if column is not None and column in _DECIMALS[table] and isinstance(value, str):
            learn_number(numbers, column, value)


def render_event(form: WireForm, rows: Sequence[Row], symbol: str) -> bytes | None:
    """The frame that these rows came of, or None where the form can't write it.

    Args:
        form: of the feed.
        rows: as in the archive, by column; times as integers of the column's unit.
        symbol: under which they are filed.
    """
    out: list[str] = []
    for place, part in enumerate(form.frame):
        if place % 2 == 0:
            found: str | None = part
        elif part == "rows":
            items = [_written(form, form.each, row, symbol) for row in rows]
            found = None if None in items else ",".join(item for item in items if item is not None)
        elif len(rows) == 1 or part in ("topic", "symbol", "push_time", "kind"):
            found = _value(form, part, rows[0], symbol)
        else:
            found = None
        if found is None:
            return None
        out.append(found)
    return "".join(out).encode()


def _written(form: WireForm, parts: Sequence[str], row: Row, symbol: str) -> str | None:
    out: list[str] = []
    for place, part in enumerate(parts):
        found = part if place % 2 == 0 else _value(form, part, row, symbol)
        if found is None:
            return None
        out.append(found)
    return "".join(out)


def _value(form: WireForm, name: str, row: Row, symbol: str) -> str | None:
    if name == "topic":
        return form.topic
    if name == "symbol":
        return symbol
    value = row.get(name)
    match value:
        case None:
            return "" if name in row else None
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Decimal():
            return wide_text(value, form.numbers.get(name))
        case str():
            return _SIDES[value] if name == "side" else value
        case _:
            return None
