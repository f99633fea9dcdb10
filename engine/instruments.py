"""Rows of `instruments` from the answers of instruments-info that the journal holds. Pure.

One row per instrument when it is first seen in a recording run, whenever a documented field of it changes, and when
it is gone. What has been seen is kept as one digest per symbol, small enough to begin every segment with, so that a
segment stands alone. Live and replay run the same code: live for the digests, replay for the rows.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.bybit.rest import instrument_rows
from schemas.errors import ExchangeError
from schemas.instruments import INSTRUMENT_FIELDS, InstrumentField
from schemas.notes import Gone, Instruments, Note, RestAnswer

__all__ = ["InstrumentLog", "is_instruments", "read_instrument"]

MAXIMUM_SYMBOLS: Final = 100_000
"""Beyond this nothing new is taken in: the exchange lists a few thousand."""

_PATHS: Final = ("/v5/market/instruments-info", "/v5/spread/instrument")
_MAXIMUM_SYMBOL: Final = 128
_MAXIMUM_TEXT: Final = 4_096
_DECIMAL: Final = re.compile(r"-?\d{1,20}(?:\.\d{1,18})?", re.ASCII)
_INTEGER: Final = re.compile(r"-?\d{1,18}", re.ASCII)

Row = dict[str, Any]


def is_instruments(path: str) -> bool:
    """Whether a REST answer is one of instruments-info, by its path with query."""
    return path.partition("?")[0] in _PATHS


_OF_SPREADS: Final = {
    "tickSize": ("priceFilter", "tickSize"),
    "minPrice": ("priceFilter", "minPrice"),
    "maxPrice": ("priceFilter", "maxPrice"),
    "lotSize": ("lotSizeFilter", "qtyStep"),
    "minSize": ("lotSizeFilter", "minOrderQty"),
    "maxSize": ("lotSizeFilter", "maxOrderQty"),
}
"""Spread combinations have these keys at the top, by names of their own (protocol section 6.1)."""


def read_instrument(raw: dict[str, Any]) -> Row:
    """Return an instrument's columns. What isn't there, empty, or no such value is null: the journal has it as sent."""
    if "priceFilter" not in raw and "lotSizeFilter" not in raw:
        filters: dict[str, dict[str, Any]] = {"priceFilter": {}, "lotSizeFilter": {}}
        for key, (name, inner) in _OF_SPREADS.items():
            filters[name][inner] = raw.get(key)
        raw = raw | filters
    return {field.column: _read(field, raw) for field in INSTRUMENT_FIELDS}


def _read(field: InstrumentField, raw: dict[str, Any]) -> Any:
    value: Any = raw
    for key in field.path:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None or value == "":
        return None
    match field.kind:
        case "flag":
            return value if isinstance(value, bool) else None
        case "json":
            text = msgspec.json.encode(value, order="deterministic").decode()
            return text if len(text) <= 16 * _MAXIMUM_TEXT else None
        case "text":
            return value if isinstance(value, str) and len(value) <= _MAXIMUM_TEXT else None
    # numbers come as text, and some as JSON integers
    text = str(value) if isinstance(value, str) or type(value) is int else ""
    if field.kind == "decimal":
        return Decimal(text) if _DECIMAL.fullmatch(text) else None
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return None if field.kind == "time" and number <= 0 else number


class InstrumentLog:
    """What has been seen of each instrument.

    An `Instruments` note says what is known, and that answers make rows from there on: segments of earlier versions
    have answers and no such note, and their rows stay what they were.

    Attributes:
        known: digest of each symbol's fields, 16 hex digits; None before such a note.
        malformed: rows of answers that could not be read.
    """

    def __init__(self) -> None:
        self.known: dict[str, str] | None = None
        self.malformed = 0
        self._read: dict[bytes, tuple[str, str]] = {}

    def answer(self, answer: RestAnswer, receive_ns: int, sequence: int) -> list[Row]:
        """Take in a REST answer; returns a row per instrument that is new or other than before."""
        if self.known is None or not is_instruments(answer.path):
            return []
        try:
            page = instrument_rows(answer.body.encode())
        except ExchangeError:  # an unknown symbol's answer is on record too
            return []
        rows: list[Row] = []
        for raw in page:
            # Nearly every row is what it was an hour ago, and reading a thousand of them would hold up the frames.
            seen = hashlib.blake2b(raw, digest_size=16).digest()
            symbol, digest = self._read.get(seen, ("", ""))
            if symbol and self.known.get(symbol) == digest:
                continue
            columns = self._columns(raw)
            if columns is None:
                self.malformed += 1
                continue
            symbol, digest = columns.pop("symbol"), _digest(columns)
            if len(self._read) >= 2 * MAXIMUM_SYMBOLS:
                self._read.clear()
            self._read[seen] = symbol, digest
            before = self.known.get(symbol)
            if before == digest or (before is None and len(self.known) >= MAXIMUM_SYMBOLS):
                continue
            self.known[symbol] = digest
            kind = "listed" if before is None else "changed"
            rows.append(_row(sequence, receive_ns, symbol, kind) | columns)
        return rows

    @staticmethod
    def _columns(raw: msgspec.Raw) -> Row | None:
        """The columns of a row, its symbol among them; None for what is no instrument."""
        try:
            row = msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        symbol = row.get("symbol")
        if not isinstance(symbol, str) or not 0 < len(symbol) <= _MAXIMUM_SYMBOL:
            return None
        return read_instrument(row) | {"symbol": symbol}

    def note(self, note: Note, receive_ns: int, sequence: int) -> list[Row]:
        """Take in a note; returns a row per instrument that is gone."""
        if isinstance(note, Instruments):
            self.known = dict(note.known)
        elif isinstance(note, Gone) and self.known is not None:
            known = self.known
            gone = [symbol for symbol in note.symbols if known.pop(symbol, None) is not None]
            nothing = dict.fromkeys(field.column for field in INSTRUMENT_FIELDS)
            return [_row(sequence, receive_ns, symbol, "gone") | nothing for symbol in gone]
        return []

    def checkpoint(self) -> Instruments:
        """What the next segment has to know."""
        return Instruments(known=dict(self.known or {}))


def _row(sequence: int, receive_ns: int, symbol: str, kind: str) -> Row:
    return {"sequence": sequence, "receive_time": receive_ns, "symbol": symbol, "kind": kind}


def _digest(columns: Row) -> str:
    text = "\0".join("" if value is None else str(value) for value in columns.values())
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
