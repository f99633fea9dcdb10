"""Topics whose messages are complete in themselves: klines, liquidations, insurance pools, ADL alerts, price limits and
system status (protocol sections 3.6 to 3.11). Every message makes its rows; no message can be seen to be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from engine.drivers.base import Driver, Stamp, UndecodableError
from engine.drivers.reading import Fields, read_object
from engine.drivers.rows import Rows
from schemas.names import Table

if TYPE_CHECKING:
    from engine.core.feeds import Engine

__all__ = [
    "NO_SYMBOL",
    "EventDriver",
    "Said",
    "read_adl_alerts",
    "read_insurance",
    "read_klines",
    "read_liquidation",
    "read_liquidations",
    "read_price_limit",
    "read_system_status",
]

NO_SYMBOL: Final = "_"
"""Where rows are filed that belong to no symbol."""

MS_PER_DAY: Final = 86_400_000
INT32_MAXIMUM: Final = 2**31 - 1


class Said(NamedTuple):
    """What a message said.

    Attributes:
        rows: symbol, and the values of the table's columns between `push_time` and `line`.
        match_ms: the latest time of the matching engine in it, where it has any.
        drift: keys and values that nobody knows.
    """

    rows: list[tuple[str, list[Any]]]
    match_ms: int | None
    drift: int


Read = Callable[[Fields, list[str]], Said]
"""Reads a message, given the parts of its topic."""


class EventDriver(Driver):
    """Reads one feed of such messages.

    Args:
        engine, feed, topic, rows: as of every driver.
        table: where its rows go.
        read: what its messages say.
    """

    def __init__(
        self, engine: Engine, feed: int, topic: str, rows: Rows | None, *, table: Table, read: Read
    ) -> None:
        super().__init__(engine, feed, topic, rows)
        self._table = table
        self._read = read
        self._parts = topic.split(".", 2)

    def frame(self, frame: bytes, at: Stamp) -> None:
        """Take a frame."""
        message = read_object(frame)
        drift = message.unknown(_ENVELOPE)
        if message.text("topic") != self.topic:
            raise UndecodableError("bad_value")
        push_ms = message.milliseconds("ts")
        said = self._read(message, self._parts)
        self.engine.heard(self.feed, at, rows=len(said.rows), drift=drift + said.drift)
        self.engine.good(self.feed, at, push_ms=push_ms, match_ms=said.match_ms)
        if self.rows is not None:
            for symbol, values in said.rows:
                row = [at.sequence, at.receive_ns, push_ms, *values, at.line]
                self.rows.add(self._table, symbol, push_ms // MS_PER_DAY, row)


_ENVELOPE: Final = frozenset({"topic", "type", "ts", "data"})
_KLINE: Final = frozenset(
    {"start", "end", "interval", "open", "close", "high", "low", "volume", "turnover", "confirm", "timestamp"}
)
_LIQUIDATION: Final = frozenset({"T", "s", "S", "v", "p"})
_OLD_LIQUIDATION: Final = frozenset({"updatedTime", "symbol", "side", "size", "price"})
_POOL: Final = frozenset({"coin", "symbols", "balance", "updateTime"})
_ALERT: Final = frozenset({"c", "s", "b", "mb", "i_pr", "pr", "adl_tt", "adl_sr"})
_LIMIT: Final = frozenset({"symbol", "buyLmt", "sellLmt"})
_STATUS: Final = frozenset(
    {
        "id", "title", "state", "begin", "end", "href", "serviceTypes", "product", "uidSuffix",
        "maintainType", "env",
    }
)  # fmt: skip
_STATES: Final = frozenset({"scheduled", "ongoing", "completed", "canceled"})
_SIDES: Final = {"Buy": "buy", "Sell": "sell"}


def _unusual(message: Fields, *usual: str) -> int:
    """1 for a message of a type that its topic isn't known to have; what it says is complete all the same."""
    return int("type" in message and message.text("type") not in usual)


def read_klines(message: Fields, parts: list[str]) -> Said:
    """Candles, usually one (section 3.6)."""
    drift = _unusual(message, "snapshot")
    rows: list[tuple[str, list[Any]]] = []
    match_ms = None
    for candle in message.objects("data"):
        drift += candle.unknown(_KLINE)
        if candle.text("interval") != parts[1]:
            raise UndecodableError("bad_value")
        match_ms = candle.milliseconds("timestamp")
        values = [match_ms, parts[1], candle.milliseconds("start"), candle.milliseconds("end")]
        values += [candle.decimal(key) for key in ("open", "high", "low", "close", "volume", "turnover")]
        rows.append((parts[2], [*values, candle.flag("confirm")]))
    return Said(rows, match_ms, drift)


def read_liquidations(message: Fields, parts: list[str]) -> Said:
    """Liquidations of up to half a second (section 3.7)."""
    drift = _unusual(message, "snapshot")
    symbol = ".".join(parts[1:])
    rows: list[tuple[str, list[Any]]] = []
    match_ms = None
    for item in message.objects("data"):
        drift += item.unknown(_LIQUIDATION)
        if item.symbol("s") != symbol:
            raise UndecodableError("wrong_symbol")
        match_ms = item.milliseconds("T")
        rows.append((symbol, [match_ms, item.choice("S", _SIDES), item.decimal("p"), item.decimal("v")]))
    return Said(rows, match_ms, drift)


def read_liquidation(message: Fields, parts: list[str]) -> Said:
    """The one liquidation a second that `liquidation` told until 2025; recordings of then hold it (section 3.7)."""
    item = message.object("data")
    symbol = ".".join(parts[1:])
    if item.symbol("symbol") != symbol:
        raise UndecodableError("wrong_symbol")
    drift = item.unknown(_OLD_LIQUIDATION) + _unusual(message, "snapshot")
    match_ms = item.milliseconds("updatedTime")
    values = [match_ms, item.choice("side", _SIDES), item.decimal("price"), item.decimal("size")]
    return Said([(symbol, values)], match_ms, drift)


def read_insurance(message: Fields, parts: list[str]) -> Said:
    """Pools whose balance changed (section 3.8)."""
    kind = message.text("type") if "type" in message else None
    drift = _unusual(message, "snapshot", "delta")
    if drift:
        kind = None
    rows: list[tuple[str, list[Any]]] = []
    for pool in message.objects("data"):
        drift += pool.unknown(_POOL)
        values: list[Any] = [parts[1], kind, pool.text("coin"), pool.text("symbols"), pool.decimal("balance")]
        rows.append((NO_SYMBOL, [*values, pool.milliseconds_or_none("updateTime")]))
    return Said(rows, None, drift)


def read_adl_alerts(message: Fields, parts: list[str]) -> Said:
    """Pools, and how near they are to auto-deleveraging (section 3.9)."""
    drift = _unusual(message, "snapshot")
    rows: list[tuple[str, list[Any]]] = []
    for pool in message.objects("data"):
        drift += pool.unknown(_ALERT)
        values = [
            pool.decimal(key) if key in pool else None for key in ("mb", "i_pr", "pr", "adl_tt", "adl_sr")
        ]
        rows.append((pool.symbol("s"), [parts[1], pool.text("c"), pool.decimal("b"), *values]))
    return Said(rows, None, drift)


def read_price_limit(message: Fields, parts: list[str]) -> Said:
    """The limits of one symbol (section 3.10)."""
    limit = message.object("data")
    symbol = ".".join(parts[1:])
    if limit.symbol("symbol") != symbol:
        raise UndecodableError("wrong_symbol")
    drift = limit.unknown(_LIMIT) + _unusual(message)
    return Said([(symbol, [limit.decimal("buyLmt"), limit.decimal("sellLmt")])], None, drift)


def read_system_status(message: Fields, parts: list[str]) -> Said:  # noqa: ARG001 - one signature for all
    """Maintenances and incidents (section 3.11)."""
    drift = _unusual(message)
    rows: list[tuple[str, list[Any]]] = []
    for item in message.objects("data"):
        drift += item.unknown(_STATUS)
        state = item.text("state")
        drift += state not in _STATES
        values: list[Any] = [item.text("id"), item.text("title") if "title" in item else "", state]
        values += [item.milliseconds_or_none(key) if key in item else None for key in ("begin", "end")]
        values += [item.text("href") if "href" in item else ""]
        values += [
            item.numbers(key, INT32_MAXIMUM) if key in item else []
            for key in ("serviceTypes", "product", "uidSuffix")
        ]
        values += [
            item.number(key, INT32_MAXIMUM) if key in item else None for key in ("maintainType", "env")
        ]
        rows.append((NO_SYMBOL, values))
    return Said(rows, None, drift)
