"""The exchange's candle files (protocol section 9.3): premium and spot index by the minute, candles for MetaTrader 4.

A thousand rows become one answer of the REST history that has the same candles: made up, as nobody asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

import msgspec

from engine.bybit.histories import INTERVALS, LAST_MS, History, Window, window_request, windows
from recorder.importing.sources import Answer, Bad, excerpt, lines_of, opened, reading
from schemas.errors import DataError
from schemas.names import Category

__all__ = ["KlineFile", "is_kline_file"]

MOST_ROWS: Final = 1000
"""Of one answer: what the exchange gives at once."""
INDEX_HEADER: Final = "start_at,symbol,period,open,high,low,close"
MT4_AHEAD: Final = timedelta(hours=3)
"""Its clock is UTC+3."""

_INDEX_NAME: Final = re.compile(r".+_(premium_index|index_price)\.csv(\.gz|\.zst)?")
_MT4_NAME: Final = re.compile(
    r"([A-Z0-9]+)_(1|5|15|30|60)_\d{4}-\d{2}-\d{2}_\d{4}-\d{2}-\d{2}\.csv(\.gz|\.zst)?"
)
_DECIMAL: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,18})?")
_SYMBOL: Final = re.compile(r"[A-Z0-9-]{1,64}")


class _Candle(NamedTuple):
    symbol: str
    interval: str
    start_ms: int
    fields: list[str]
    """As the exchange lists them: start, prices, and of trades volume and turnover."""


def is_kline_file(path: Path) -> bool:
    """Whether a file's name is that of a candle file."""
    return bool(_INDEX_NAME.fullmatch(path.name) or _MT4_NAME.fullmatch(path.name))


class KlineFile:
    """A candle CSV, plain, ``.gz`` or ``.zst``.

    Args:
        path: of the file, whose name says what is in it.
        category: of the symbols.
    """

    form: ClassVar[str] = "bybit-klines"
    overlaps: ClassVar[bool] = False

    def __init__(self, path: Path, category: Category) -> None:
        self.path = path
        self.read_bytes = 0
        self._category = category
        self._mt4 = _MT4_NAME.fullmatch(path.name)
        index = _INDEX_NAME.fullmatch(path.name)
        self._history = (
            History.KLINES
            if index is None
            else History.PREMIUM
            if index[1] == "premium_index"
            else History.INDEX
        )

    def items(self) -> Iterator[Answer | Bad]:
        """Yield the rows, many at once; blank lines are none. A header is line 1.

        Raises:
            ConfigError: the category has no such candles.
            DataError: the file is damaged, or has other columns.
        """
        with reading(self.path) as reached, opened(self) as file:
            held: list[_Candle] = []
            last = 0
            for number, line in lines_of(file, reached):
                if not line or line.isspace():
                    continue
                if number == 1 and self._mt4 is None:
                    if line.decode("ascii", "replace").strip() != INDEX_HEADER:
                        raise DataError(
                            f"{self.path}, line 1: found {excerpt(line)}, expected {INDEX_HEADER} "
                            "(docs/import-export.md)"
                        )
                    continue
                try:
                    candle = self._candle(line.decode("ascii").strip())
                except (ValueError, OverflowError) as error:
                    if held:
                        yield self._answer(held, last)
                        held = []
                    yield Bad(number, f"line {number}", excerpt(line), f"a row of a candle: {error}")
                    continue
                if held and (len(held) >= MOST_ROWS or candle[:2] != held[0][:2]):
                    yield self._answer(held, last)
                    held = []
                held.append(candle)
                last = number
            if held:
                yield self._answer(held, last)

    def _candle(self, text: str) -> _Candle:
        parts = text.split(",")
        if self._mt4 is not None:
            if len(parts) != 6:
                raise ValueError(f"found {len(parts)} columns, expected time, four prices and volume")
            moment = datetime.strptime(parts[0], "%Y.%m.%d %H:%M").replace(tzinfo=UTC) - MT4_AHEAD
            start_ms, symbol, interval = int(moment.timestamp()) * 1000, self._mt4[1], self._mt4[2]
            numbers = parts[1:]
        else:
            if len(parts) != 7:
                raise ValueError(f"found {len(parts)} columns, expected 7")
            if not parts[0].isdigit() or len(parts[0]) > 12:
                raise ValueError(f"found {parts[0]!r}, expected whole seconds")
            start_ms, symbol, interval = int(parts[0]) * 1000, parts[1], parts[2]
            numbers = parts[3:]
            if _SYMBOL.fullmatch(symbol) is None:
                raise ValueError(f"found {symbol!r}, expected a symbol")
            if interval not in INTERVALS:
                raise ValueError(f"found period {interval!r}, expected one of {', '.join(INTERVALS)}")
        for number in numbers:
            if _DECIMAL.fullmatch(number) is None:
                raise ValueError(f"found {number!r}, expected a decimal")
        if not 0 < start_ms < LAST_MS:
            raise ValueError(f"found {parts[0]!r}, which is no time of a candle")
        turnover = [""] if self._mt4 is not None else []
        return _Candle(symbol, interval, start_ms, [str(start_ms), *numbers, *turnover])

    def _answer(self, candles: list[_Candle], position: int) -> Answer:
        first, last = candles[0], max(candles, key=lambda candle: candle.start_ms)
        end_ms = last.start_ms + INTERVALS[first.interval]
        window = Window(self._history, first.symbol, first.interval, min(c.start_ms for c in candles), end_ms)
        next(
            windows(self._history, self._category, first.symbol, first.interval, 0, 1)
        )  # does it have such ones?
        result = {
            "category": self._category.value,
            "symbol": first.symbol,
            "list": [candle.fields for candle in reversed(candles)],  # the newest first, as the exchange does
        }
        body = msgspec.json.encode({"retCode": 0, "retMsg": "OK", "result": result, "time": end_ms})
        return Answer(position, end_ms * 1_000_000, window_request(self._category, window).target, body)
