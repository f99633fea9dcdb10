"""What the commands print: a table for people, one object a line for programs; numbers keep all their digits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.venue.rules import decimal_of, plain
from execution.desk.live import CoinBalance, Fill, LiveOrder, LivePosition
from recorder.options import ReportFormat
from recorder.output import standard_output
from recorder.plain_log import plain as printable
from schemas.time import format_ns

__all__ = ["coin_row", "event_line", "fill_row", "order_row", "position_row", "print_rows", "row_json"]

Row = Mapping[str, Any]

_MS: Final = 1_000_000
_MOST_TEXT: Final = 60


def _moment(ms: int) -> str | None:
    """A moment that the exchange told in ms."""
    return f"{format_ns(ms * _MS)[:-7]}Z" if 0 < ms < 1 << 43 else None


def _number(row: Mapping[str, Any], name: str) -> Decimal | None:
    """A number of the exchange's row; None where it is empty or 0, which there means that there is none."""
    return decimal_of(row.get(name)) or None


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def order_row(order: LiveOrder) -> Row:
    """An order."""
    row = order.row
    return {
        "updated": _moment(order.updated_ms),
        "category": order.category.value,
        "symbol": order.symbol,
        "side": order.side,
        "type": _text(row, "orderType"),
        "price": order.price,
        "quantity": order.quantity,
        "filled": order.filled,
        "average": _number(row, "avgPrice"),
        "trigger": _number(row, "triggerPrice"),
        "reduce_only": order.is_reduce_only,
        "time_in_force": _text(row, "timeInForce"),
        "status": order.status,
        "why": _why(row),
        "order_id": order.order_id,
        "link_id": order.link_id or None,
    }


def _why(row: Mapping[str, Any]) -> str | None:
    """Why an order ended, in the exchange's word, where it says so."""
    for name in ("rejectReason", "cancelType"):
        word = _text(row, name)
        if word is not None and word not in ("EC_NoError", "UNKNOWN"):
            return word
    return None


def position_row(position: LivePosition) -> Row:
    """A position."""
    row = position.row
    return {
        "category": position.category.value,
        "symbol": position.symbol,
        "index": position.index,
        "side": position.side or None,
        "size": position.size,
        "entry": position.entry_price or None,
        "mark": _number(row, "markPrice"),
        "value": _number(row, "positionValue"),
        "unrealised": position.unrealised,
        "leverage": position.leverage,
        "liquidation": _number(row, "liqPrice"),
        "take_profit": _number(row, "takeProfit"),
        "stop_loss": _number(row, "stopLoss"),
        "updated": _moment(position.updated_ms),
    }


def coin_row(coin: CoinBalance) -> Row:
    """A coin."""
    return {"coin": coin.coin, "wallet": coin.wallet_balance, "equity": coin.equity, "locked": coin.locked}


def fill_row(fill: Fill) -> Row:
    """A fill."""
    return {
        "time": _moment(fill.executed_ms),
        "category": fill.category.value,
        "symbol": fill.symbol,
        "side": fill.side,
        "kind": fill.kind,
        "price": fill.price,
        "quantity": fill.quantity,
        "maker": fill.is_maker,
        "fee": fill.fee,
        "fee_coin": fill.fee_coin or None,
        "profit": fill.profit,
        "order_id": fill.order_id,
        "link_id": fill.link_id or None,
        "execution_id": fill.execution_id,
    }


def row_json(row: Row) -> bytes:
    """A row as one line of JSON; numbers are texts, so that none of their digits is lost."""
    values = {name: plain(value) if isinstance(value, Decimal) else value for name, value in row.items()}
    return msgspec.json.encode(values) + b"\n"


def print_rows(rows: Sequence[Row], style: ReportFormat, nothing: str) -> None:
    """Print rows of one kind; ``nothing`` is what a person is told where there are none."""
    with standard_output() as out:
        if style is ReportFormat.JSON:
            out.write(b"".join(map(row_json, rows)))
        elif rows:
            out.write("".join(f"{line}\n" for line in _table(rows)).encode())
        else:
            out.write(f"{nothing}\n".encode())


def _table(rows: Sequence[Row]) -> Iterable[str]:
    """Columns as wide as their widest cell; those that nothing is in are left out."""
    names = [name for name in rows[0] if any(row[name] not in (None, False) for row in rows)]
    right = [all(isinstance(row[name], Decimal | int | None) for row in rows) for name in names]
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(names))]
    for line in cells:
        padded = (
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _cell(value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    text = plain(value) if isinstance(value, Decimal) else printable(str(value)).replace("\n", " ")
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def event_line(event: str, row: Row) -> str:
    """One event of ``watch`` for a person."""
    words = {"order": _order_words, "fill": _fill_words, "position": _position_words, "coin": _coin_words}
    text = words[event](row) if event in words else str(row.get("words") or "")
    return printable(
        f"{row.get('updated') or row.get('time') or '':<24}  {event:<12}  {text}".rstrip()
    ).replace("\n", " ")


def _order_words(row: Row) -> str:
    price = f" at {_cell(row['price'])}" if row["price"] is not None else ""
    trigger = f", trigger {_cell(row['trigger'])}" if row["trigger"] is not None else ""
    average = f" at {_cell(row['average'])}" if row["average"] is not None else ""
    filled = f", filled {_cell(row['filled'])}{average}" if row["filled"] else ""
    why = f" ({row['why']})" if row["why"] else ""
    name = row["link_id"] or row["order_id"]
    return (
        f"{row['symbol']} {row['side']} {row['type'] or ''} {_cell(row['quantity'])}{price}{trigger}: "
        f"{row['status']}{why}{filled}, {name}"
    )


def _fill_words(row: Row) -> str:
    fee = f", fee {_cell(row['fee'])} {row['fee_coin'] or ''}".rstrip() if row["fee"] is not None else ""
    kind = "" if row["kind"] == "Trade" else f" ({row['kind']})"
    return (
        f"{row['symbol']} {row['side']} {_cell(row['quantity'])} at {_cell(row['price'])}{kind}, "
        f"{'maker' if row['maker'] else 'taker'}{fee}, {row['link_id'] or row['order_id']}"
    )


def _position_words(row: Row) -> str:
    index = f" (index {row['index']})" if row["index"] else ""
    if not row["size"]:
        return f"{row['symbol']}{index} flat"
    return f"{row['symbol']}{index} {row['side']} {_cell(row['size'])} at {_cell(row['entry'])}"


def _coin_words(row: Row) -> str:
    locked = f", {_cell(row['locked'])} of it locked" if row["locked"] else ""
    return f"{row['coin']} {_cell(row['wallet'])}{locked}"
