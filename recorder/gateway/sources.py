"""Where replayed frames come from: capture files and data directories, read as streams."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, cast

import msgspec
import pyarrow as pa

from engine.market import Instrument
from engine.market.listing import split_symbol
from recorder.gateway.books import topic_of
from recorder.gateway.dialect import symbol_of
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["ReplaySource", "Survey", "retimed"]

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
SURVEY_BYTES: Final = 64 * 1024 * 1024
"""How much of a replay is read ahead to learn its symbols; a file that fits is known whole."""
_STEP_FRAMES: Final = 20
"""Frames of a symbol whose decimals are counted."""
_MAX_RECEIVE_DIGITS: Final = 19
_BUFFER_BYTES: Final = 256 * 1024

_CLOCK = re.compile(
    rb'(?<=[{,])"(ts|cts|T|nextFundingTime|start|end|timestamp|updateTime|begin)":("?)(\d{13})(?=[",}])'
)


def retimed(payload: bytes, shift_ms: int) -> bytes:
    """Shift every clock of a frame (``ts``, ``cts``, ``T``, ``nextFundingTime``, …); all other bytes stay.

    Only values of 13 digits are clocks; an empty ``nextFundingTime`` stays empty.
    """

    def shifted(found: re.Match[bytes]) -> bytes:
        key, quote, value = found.groups()
        return b'"%b":%b%013d' % (key, quote, int(value) + shift_ms)

    return _CLOCK.sub(shifted, payload)


@dataclass(slots=True)
class Survey:
    """What reading ahead told about a replay.

    Attributes:
        first_ns: receive time of the first frame.
        instruments: by symbol, in order of appearance, steps taken from the decimals of the first frames.
        is_complete: whether the whole replay was seen, so that a symbol that is not listed is not in it.
    """

    first_ns: int
    instruments: dict[str, Instrument] = field(default_factory=dict)
    is_complete: bool = False

    def has_symbol(self, symbol: str) -> bool:
        """Whether a subscription to the symbol makes sense."""
        if self.is_complete:
            return symbol in self.instruments
        return bool(symbol) and symbol == symbol.upper()


class ReplaySource:
    """A recording that can be read from its start any number of times.

    Args:
        path: a capture file of ``<receive_ns> <frame>`` lines (plain, ``.gz``, ``.zst``), or a data
            directory, whose journalled frames are replayed.
        category: of a data directory, which collectors' frames; None for all of them.

    Raises:
        ConfigError: no such file or directory.
    """

    def __init__(self, path: Path, category: Category | None = None) -> None:
        if not path.exists():
            raise ConfigError(f"replay {path}: no such file or directory")
        self.path = path
        self._category = category

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield (receive_ns, frame) in recorded order.

        Raises:
            ConfigError: a malformed line, named with file and line number, or a file that can't be read.
        """
        if self.path.is_dir():
            from recorder.journal import read_frames
            from recorder.pruned_spans import warn_of_pruned

            warn_of_pruned(self.path, None, None, None)
            return read_frames(self.path, category=self._category)
        return self._lines()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        try:
            with ExitStack() as stack:
                file = self._open(stack)
                while line := file.readline(MAX_LINE_BYTES + 1):
                    number += 1
                    if line.isspace():
                        continue
                    yield self._parse(line, number)
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigError(f"{self.path}: unreadable after line {number}: {error}") from error

    def _open(self, stack: ExitStack) -> BinaryIO:
        if self.path.suffix == ".gz":
            return cast(BinaryIO, io.BufferedReader(stack.enter_context(gzip.open(self.path)), _BUFFER_BYTES))
        if self.path.suffix == ".zst":
            stream = stack.enter_context(pa.CompressedInputStream(pa.OSFile(str(self.path), "r"), "zstd"))
            return cast(BinaryIO, io.BufferedReader(stream, _BUFFER_BYTES))
        return stack.enter_context(self.path.open("rb"))

    def _parse(self, line: bytes, number: int) -> tuple[int, bytes]:
        stamp, space, frame = line.rstrip(b"\r\n").partition(b" ")
        if not space or not frame or not stamp.isdigit() or len(stamp) > _MAX_RECEIVE_DIGITS:
            excerpt = line[:60].decode(errors="backslashreplace").rstrip()
            if len(line) > MAX_LINE_BYTES:
                excerpt = f"a line of more than {MAX_LINE_BYTES} bytes"
            raise ConfigError(
                f"{self.path}, line {number}: expected '<receive_ns> <frame>', found {excerpt!r}"
            )
        if len(line) > MAX_LINE_BYTES:
            raise ConfigError(f"{self.path}, line {number}: longer than {MAX_LINE_BYTES} bytes")
        return int(stamp), frame

    def survey(self, category: Category) -> Survey:
        """Read ahead to learn the first receive time and the symbols.

        Raises:
            ConfigError: nothing to replay, or a malformed line in the part that was read.
        """
        survey: Survey | None = None
        steps: dict[str, _Steps] = {}
        seen_bytes = 0
        complete = True
        for receive_ns, payload in self.frames():
            if survey is None:
                survey = Survey(receive_ns)
            topic = topic_of(payload)
            if topic is not None:
                _note_steps(steps, category, topic, payload)
            seen_bytes += len(payload)
            if seen_bytes > SURVEY_BYTES:
                complete = False
                break
        if survey is None:
            of = (
                f" of {self._category}; --category names another"
                if self._category and self.path.is_dir()
                else ""
            )
            raise ConfigError(f"replay {self.path}: holds no frames{of}")
        survey.is_complete = complete
        for symbol, found in steps.items():
            base, quote, settle = split_symbol(category, symbol)
            survey.instruments[symbol] = Instrument(
                category,
                symbol,
                base,
                quote,
                settle,
                _step_text(found.price_decimals),
                _step_text(found.size_decimals),
            )
        return survey


class _Steps:
    __slots__ = ("frames", "price_decimals", "size_decimals")

    def __init__(self) -> None:
        self.frames = 0
        self.price_decimals = 0
        self.size_decimals = 0


class _Numbers(msgspec.Struct):
    """The price and size texts of an order-book or trades frame."""

    data: _Levels | list[_Trade]


class _Levels(msgspec.Struct):
    b: list[tuple[str, str]] = []
    a: list[tuple[str, str]] = []


class _Trade(msgspec.Struct):
    s: str
    p: str
    v: str


_NUMBERS: Final = msgspec.json.Decoder(_Numbers)


_NAMES_SYMBOL: Final = frozenset(
    {"orderbook", "publicTrade", "tickers", "kline", "allLiquidation", "priceLimit"}
)


def _note_steps(steps: dict[str, _Steps], category: Category, topic: str, payload: bytes) -> None:
    name = topic.partition(".")[0]
    symbol = symbol_of(topic)
    is_base_coin = name == "publicTrade" and category is Category.OPTION
    if not is_base_coin and name in _NAMES_SYMBOL:
        found = steps.setdefault(symbol, _Steps())
        if name not in ("orderbook", "publicTrade") or found.frames >= _STEP_FRAMES:
            return
    elif not is_base_coin:
        return
    try:
        data = _NUMBERS.decode(payload).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(data, _Levels):
        pairs = [(symbol, price, size) for price, size in (*data.b, *data.a)]
    else:
        pairs = [(trade.s, trade.p, trade.v) for trade in data]
    for owner, price, size in pairs:
        found = steps.setdefault(owner, _Steps())
        found.price_decimals = max(found.price_decimals, _decimals(price))
        found.size_decimals = max(found.size_decimals, _decimals(size))
    for owner in {owner for owner, _, _ in pairs}:
        steps[owner].frames += 1


def _decimals(text: str) -> int:
    return min(18, len(text.partition(".")[2]))


def _step_text(decimals: int) -> str:
    return "0." + "0" * (decimals - 1) + "1" if decimals else "1"
