"""Tardis's CSV files, ``incremental_book_L2`` and ``trades``: rows become frames such as the stream would have sent.

The frames are made up: Tardis keeps levels, not frames. Rows that follow each other with the same stamps are one;
update ids count them up from the first one's stamp, since the exchange's are not in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from recorder.exporting.tardis import BOOK_HEADER, TRADES_HEADER
from recorder.importing.sources import MAX_NS, Bad, Found, excerpt, lines_of, opened, reading
from schemas.errors import DataError

__all__ = ["TardisFile"]

MOST_LEVELS: Final = 20_000
MOST_TRADES: Final = 1000
_NUMBER: Final = re.compile(r"-?[0-9]{1,38}(\.[0-9]{1,38})?([eE][+-]?[0-9]{1,2})?")
_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Za-z0-9._/-]{0,63}")
_ID: Final = re.compile(r"[\x21-\x7e]{1,64}")
_ENCODER: Final = msgspec.json.Encoder()


class _Row(NamedTuple):
    """A row's stamps and symbol, which are the same for a whole message, and what it says itself."""

    key: tuple[str, int, int, str]
    side: str
    price: str
    amount: str
    trade_id: str


class TardisFile:
    """One file, plain, ``.gz`` or ``.zst``.

    Args:
        path: of the file.
        depth: of the book's topic; the engine holds no more than twice as many levels a side.
        option: the file is of options, whose trades come under their coin.
    """

    form: ClassVar[str] = "tardis"
    overlaps: ClassVar[bool] = False

    def __init__(self, path: Path, *, depth: int, option: bool = False) -> None:
        self.path = path
        self.read_bytes = 0
        self._depth = depth
        self._option = option

    def items(self) -> Iterator[Found | Bad]:
        """Yield the messages; the position is that of a message's last line."""
        with reading(self.path) as reached, opened(self) as file:
            lines = lines_of(file, reached)
            _, first = next(lines, (0, b""))
            header = first.decode("ascii", "replace")
            if header not in (BOOK_HEADER, TRADES_HEADER):
                raise DataError(
                    f"{self.path}, line 1: found {excerpt(first)}, expected the header of incremental_book_L2 "
                    f"({BOOK_HEADER}) or of trades ({TRADES_HEADER})"
                )
            yield from self._messages(lines, is_book=header == BOOK_HEADER)

    def _messages(self, lines: Iterator[tuple[int, bytes]], *, is_book: bool) -> Iterator[Found | Bad]:
        held: list[_Row] = []
        prices: set[tuple[str, str]] = set()
        last = made = first_us = 0

        def message() -> Found:
            nonlocal made, first_us
            first_us = first_us or held[0].key[2]
            made += 1
            frame = self._book(held, first_us + made) if is_book else self._trades(held)
            return Found(last, held[0].key[2] * 1000, _ENCODER.encode(frame))

        for number, line in lines:
            if not line or line.isspace():
                continue
            try:
                row = _read(line.decode("ascii"), is_book=is_book)
            except ValueError as error:
                if held:
                    yield message()
                    held, prices = [], set()
                yield Bad(number, f"line {number}", excerpt(line), f"a row of this file: {error}")
                continue
            full = len(held) >= (MOST_LEVELS if is_book else MOST_TRADES)
            again = is_book and (row.side, row.price) in prices
            if held and (row.key != held[0].key or again or full):
                yield message()
                held, prices = [], set()
            held.append(row)
            prices.add((row.side, row.price))
            last = number
        if held:
            yield message()

    def _book(self, rows: list[_Row], update_id: int) -> dict[str, Any]:
        symbol, at_us, _, whole = rows[0].key
        levels: dict[str, list[tuple[str, str]]] = {"bid": [], "ask": []}
        for row in rows:
            levels[row.side].append((row.price, row.amount))
        return {
            "topic": f"orderbook.{self._depth}.{symbol}",
            "type": "snapshot" if whole == "true" else "delta",
            "ts": at_us // 1000,
            "data": {"s": symbol, "b": levels["bid"], "a": levels["ask"], "u": update_id, "seq": update_id},
        }

    def _trades(self, rows: list[_Row]) -> dict[str, Any]:
        symbol, at_us, _, _ = rows[0].key
        return {
            "topic": f"publicTrade.{symbol.partition('-')[0] if self._option else symbol}",
            "type": "snapshot",
            "ts": at_us // 1000,
            "data": [
                {
                    "T": at_us // 1000,
                    "s": symbol,
                    "S": row.side.capitalize(),
                    "v": row.amount,
                    "p": row.price,
                    "i": row.trade_id,
                }
                for row in rows
            ],
        }


def _read(line: str, *, is_book: bool) -> _Row:
    """Read a row. Raises ValueError, saying what was found and what expected."""
    cells = line.strip().split(",")
    if len(cells) != 8:
        raise ValueError(f"{len(cells)} columns, expected 8")
    exchange, symbol, at, local, fifth, side, price, amount = cells
    if not exchange.startswith("bybit"):
        raise ValueError(f"exchange {exchange[:40]!r}, expected bybit, bybit-spot or bybit-options")
    if _SYMBOL.fullmatch(symbol) is None:
        raise ValueError(f"symbol {symbol[:40]!r}, expected one such as BTCUSDT")
    sides = ("bid", "ask") if is_book else ("buy", "sell")
    if side not in sides:
        raise ValueError(f"side {side[:40]!r}, expected {' or '.join(sides)}")
    if is_book and fifth not in ("true", "false"):
        raise ValueError(f"is_snapshot {fifth[:40]!r}, expected true or false")
    if not is_book and _ID.fullmatch(fifth) is None:
        raise ValueError(f"id {fifth[:40]!r}, expected the trade's")
    return _Row(
        (symbol, _stamp(at), _stamp(local), fifth if is_book else ""),
        side,
        _number(price, "price"),
        _number(amount, "amount"),
        "" if is_book else fifth,
    )


def _stamp(text: str) -> int:
    if not (text.isdigit() and len(text) <= 16 and 0 < int(text) <= MAX_NS // 1000):
        raise ValueError(f"a stamp {text[:40]!r}, expected microseconds since 1970")
    return int(text)


def _number(text: str, name: str) -> str:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{name} {text[:40]!r}, expected a number")
    return f"{Decimal(text):f}" if "e" in text.lower() else text
