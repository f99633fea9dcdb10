"""Rows of the exchange's trade files (protocol section 9.3) as a frame of their topic. Pure.

A file's lines are journal records; live and in replay the same function turns them into a frame, and the core makes
rows of it. Numbers are never floats: seconds with fractions and exponents are read as decimals.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from schemas.notes import ImportedTrades

__all__ = ["COLUMNS", "FileTrade", "columns_of", "read_imported", "read_row", "topic_of_trade"]

SPOT: Final = "id,timestamp,price,volume,side"
DERIVATIVES: Final = (
    "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
)
OPTION: Final = (
    "trade_id,trade_seq,timestamp,instrument_name,direction,price,amount,iv,index_price,mark_price,mark_iv"
)
COLUMNS: Final = (SPOT, f"{SPOT},rpi", DERIVATIVES, f"{DERIVATIVES},RPI", OPTION)
"""Of spot, of linear, inverse and dated contracts, of options; older files lack the last one of what has two forms."""

_NUMBER: Final = re.compile(r"[0-9]{1,38}(\.[0-9]{1,38})?([eE][+-]?[0-9]{1,2})?")
_ID: Final = re.compile(r"[\x21-\x7e]{1,64}")
_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Za-z0-9._/-]{0,63}")
_TICKS: Final = frozenset({"PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick"})
_SIDES: Final = {"buy": "Buy", "sell": "Sell"}
_LAST_NS: Final = 9 * 10**18
_ENCODER: Final = msgspec.json.Encoder()


class FileTrade(NamedTuple):
    """One trade: its symbol, its time in ns as exact as the file has it, and its row as the stream writes it."""

    symbol: str
    match_ns: int
    row: dict[str, Any]


def columns_of(first: str) -> str | None:
    """The columns of a file by its first line: a header, or, in very old files, a row. None for neither."""
    head = first.strip().lstrip("\ufeff")
    if head in COLUMNS:
        return head
    for columns in COLUMNS:
        try:
            read_row(columns, head, "X")
        except ValueError:
            continue
        return columns
    return None


def topic_of_trade(columns: str, symbol: str) -> str:
    """The topic that brings a symbol's trades: of an option its coin's."""
    return "publicTrade." + (symbol.partition("-")[0] if columns == OPTION else symbol)


def read_row(columns: str, line: str, symbol: str = "") -> FileTrade:
    """Read one row.

    Args:
        columns: one of ``COLUMNS``.
        line: the row.
        symbol: where the rows don't have it.

    Raises:
        ValueError: it isn't one; the message says which column has what, and what was expected.
    """
    names, values = columns.split(","), line.strip().split(",")
    if len(names) != len(values):
        raise ValueError(f"{len(values)} columns, expected {len(names)}: {columns}")
    cells = dict(zip(names, values, strict=True))
    if columns == OPTION:
        return _option(cells)
    if columns.startswith(SPOT):
        return _spot(cells, symbol)
    return _derivative(cells)


def _spot(cells: dict[str, str], symbol: str) -> FileTrade:
    match_ns = _time(cells, "timestamp", 6)
    number = _matching(cells, "id", re.compile(r"[0-9]{1,18}"), "a count")
    # The file's ids count from 1 in each file: with the day they are told apart.
    day = datetime.fromtimestamp(match_ns // 10**9, UTC).date().isoformat()
    row = _row(match_ns, symbol, cells, "side", "price", "volume", f"{day}#{number}")
    return FileTrade(symbol, match_ns, row | _flag(cells, "rpi"))


def _derivative(cells: dict[str, str]) -> FileTrade:
    match_ns = _time(cells, "timestamp", 9)
    symbol = _matching(cells, "symbol", _SYMBOL, "a symbol")
    row = _row(match_ns, symbol, cells, "side", "price", "size", _matching(cells, "trdMatchID", _ID, "an id"))
    if cells["tickDirection"]:
        if cells["tickDirection"] not in _TICKS:
            raise ValueError(
                f"tickDirection {cells['tickDirection'][:40]!r}, expected one of {', '.join(sorted(_TICKS))}"
            )
        row["L"] = cells["tickDirection"]
    return FileTrade(symbol, match_ns, row | _flag(cells, "RPI"))


def _option(cells: dict[str, str]) -> FileTrade:
    match_ns = _time(cells, "timestamp", 6)
    symbol = _matching(cells, "instrument_name", _SYMBOL, "a contract")
    row = _row(
        match_ns, symbol, cells, "direction", "price", "amount", _matching(cells, "trade_id", _ID, "an id")
    )
    row["seq"] = int(_matching(cells, "trade_seq", re.compile(r"[0-9]{1,18}"), "a count"))
    for key, name in (("mP", "mark_price"), ("iP", "index_price"), ("mIv", "mark_iv"), ("iv", "iv")):
        if cells[name]:
            row[key] = _number(cells, name)
    return FileTrade(symbol, match_ns, row)


def _row(
    match_ns: int, symbol: str, cells: dict[str, str], side: str, price: str, size: str, trade_id: str
) -> dict[str, Any]:
    taker = _SIDES.get(cells[side].lower())
    if taker is None:
        raise ValueError(f"{side} {cells[side][:40]!r}, expected buy or sell")
    return {
        "T": match_ns // 10**6,
        "s": symbol,
        "S": taker,
        "v": _number(cells, size),
        "p": _number(cells, price),
        "i": trade_id,
    }


def _flag(cells: dict[str, str], name: str) -> dict[str, bool]:
    value = cells.get(name, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{name} {value[:40]!r}, expected 0 or 1")
    return {"RPI": value == "1"} if value else {}


def _time(cells: dict[str, str], name: str, digits: int) -> int:
    """A time in ns, out of seconds (9 digits are one) or milliseconds (6)."""
    text = _matching(cells, name, _NUMBER, "a number")
    ns = int(Decimal(text).scaleb(digits))
    if not 0 < ns <= _LAST_NS:
        raise ValueError(
            f"{name} {text[:40]!r}, expected {'seconds' if digits == 9 else 'milliseconds'} since 1970"
        )
    return ns


def _number(cells: dict[str, str], name: str) -> str:
    text = _matching(cells, name, _NUMBER, "a number")
    return f"{Decimal(text):f}" if "e" in text.lower() else text


def _matching(cells: dict[str, str], name: str, pattern: re.Pattern[str], what: str) -> str:
    text = cells[name]
    if pattern.fullmatch(text) is None:
        raise ValueError(f"{name} {text[:40]!r}, expected {what}")
    return text


def read_imported(trades: ImportedTrades) -> bytes | None:
    """The frame that rows of a file are; None where one of them can't be read."""
    try:
        rows = [read_row(trades.columns, line, trades.symbol).row for line in trades.rows]
    except ValueError:
        return None
    if not rows:
        return None
    return _ENCODER.encode({"topic": trades.topic, "type": "snapshot", "ts": rows[-1]["T"], "data": rows})
