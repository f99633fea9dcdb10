"""Push streams beside books, trades and tickers: klines, liquidations, insurance pools, ADL alerts, price limits and
the system's status (protocol sections 3.6 to 3.11). All of them follow from the trades, the prices and the time.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final, Protocol

from engine.market.flow import OrderFlow, Trade
from engine.market.text import decimal_text
from schemas.names import Category

__all__ = [
    "KLINE_INTERVALS",
    "EventStreams",
    "GroupStream",
    "SymbolStream",
    "candle_bounds_ms",
    "is_liquidation",
]

MS: Final = 10**6
SECOND: Final = 10**9
KLINE_INTERVALS: Final = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M")
_GROUPS: Final[dict[Category, dict[str, str]]] = {
    Category.LINEAR: {"USDT": "USDT", "USDC": "USDC"},
    Category.INVERSE: {"inverse": ""},
}
"""Groups of pools, and the coin in which their contracts settle."""
_BY_SYMBOL: Final = {
    Category.SPOT: frozenset({"kline", "priceLimit"}),
    Category.LINEAR: frozenset({"kline", "priceLimit", "allLiquidation"}),
    Category.INVERSE: frozenset({"kline", "priceLimit", "allLiquidation"}),
}
_MS_PER_DAY: Final = 86_400_000
_MONDAY_DAYS: Final = 4
"""Days from the epoch, a Thursday, to the first Monday."""
_QUIET_KLINE_NS: Final = 60 * SECOND
_LIQUIDATION_NS: Final = 500 * MS
_LIMIT_NS: Final = 300 * MS
_ONE_LIQUIDATION_IN: Final = 400
_BANKRUPTCY: Final = 0.004
_LIMIT_SHARE: Final = 0.05
_STATUS_NS: Final = 20 * SECOND
_STATES: Final = ("scheduled", "ongoing", "completed")


class SymbolStream(Protocol):
    """A topic of one symbol."""

    topic: str

    def push(self, now_ns: int, trades: Sequence[Trade]) -> list[bytes]:
        """Take the trades since the last call, and return the frames that fall due."""


class GroupStream(Protocol):
    """A topic about several symbols."""

    topic: str

    def note(self, flow: OrderFlow, now_ns: int, trades: Sequence[Trade]) -> None:
        """Take one symbol's trades; symbols come one after the other, each in order of time."""

    def finish(self, from_ns: int, to_ns: int) -> list[tuple[int, bytes]]:
        """Return (time, frame) of what fell due after ``from_ns``, once every symbol has told its trades."""


def candle_bounds_ms(interval: str, at_ms: int) -> tuple[int, int]:
    """First millisecond of the candle that a moment lies in, and of the next one."""
    if interval == "M":
        moment = datetime.fromtimestamp(at_ms // 1000, UTC)
        first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
        following = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
        return int(first.timestamp()) * 1000, int(following.timestamp()) * 1000
    length = {"D": _MS_PER_DAY, "W": 7 * _MS_PER_DAY}.get(interval) or int(interval) * 60_000
    shift = _MONDAY_DAYS * _MS_PER_DAY if interval == "W" else 0
    start = (at_ms - shift) // length * length + shift
    return start, start + length


class _KlineStream:
    """``kline.{interval}.{symbol}``: the open candle once a second while it changes, and its end once, confirmed."""

    def __init__(self, topic: str, interval: str, flow: OrderFlow, now_ns: int) -> None:
        self.topic = topic
        self._interval = interval
        self._flow = flow
        self._pushed_ns = now_ns
        self._begin(now_ns // MS, flow.statistics.last)
        for trade in flow.recent:  # of the candle that is open already, as far back as anybody remembers
            if trade.time_ns // MS >= self._start_ms:
                self._add(trade)

    def push(self, now_ns: int, trades: Sequence[Trade]) -> list[bytes]:
        """Take trades; return frames."""
        frames = []
        for trade in trades:
            frames += self._roll(trade.time_ns // MS, now_ns)
            self._add(trade)
        frames += self._roll(now_ns // MS, now_ns)
        is_due = now_ns % SECOND == 0 and (self._changed or now_ns - self._pushed_ns >= _QUIET_KLINE_NS)
        if is_due and not frames:
            frames.append(self._frame(now_ns, is_confirmed=False))
        return frames

    def _roll(self, at_ms: int, now_ns: int) -> list[bytes]:
        """Close the candles that are over by this moment."""
        frames = []
        while at_ms >= self._end_ms:
            frames.append(self._frame(now_ns, is_confirmed=True))
            self._begin(self._end_ms, self._close)
        return frames

    def _begin(self, at_ms: int, price: int) -> None:
        self._start_ms, self._end_ms = candle_bounds_ms(self._interval, at_ms)
        self._open = self._high = self._low = self._close = price
        self._volume = self._turnover = 0
        self._inverse_turnover = 0.0
        self._match_ms = self._start_ms
        self._changed = False
        self._has_traded = False

    def _add(self, trade: Trade) -> None:
        if not self._has_traded:
            self._open = self._high = self._low = trade.ticks
            self._has_traded = True
        self._high, self._low = max(self._high, trade.ticks), min(self._low, trade.ticks)
        self._close = trade.ticks
        self._volume += trade.lots
        self._turnover += trade.lots * trade.ticks
        listing = self._flow.listing
        self._inverse_turnover += trade.lots / (trade.ticks * listing.tick_value)
        self._match_ms = trade.time_ns // MS
        self._changed = True

    def _frame(self, now_ns: int, *, is_confirmed: bool) -> bytes:
        self._pushed_ns = now_ns
        self._changed = False
        listing = self._flow.listing
        prices = ",".join(
            f'"{key}":"{listing.price_text(ticks)}"'
            for key, ticks in (
                ("open", self._open), ("close", self._close), ("high", self._high), ("low", self._low)
            )
        )  # fmt: skip
        if listing.category is Category.INVERSE:
            turnover = decimal_text(round(self._inverse_turnover * 10**8), 8, padded=False)
        else:
            decimals = listing.price_decimals + listing.size_decimals
            turnover = decimal_text(self._turnover * listing.tick, decimals, padded=False)
        return (
            f'{{"topic":"{self.topic}","data":[{{"start":{self._start_ms},"end":{self._end_ms - 1},'
            f'"interval":"{self._interval}",{prices},"volume":"{listing.size_text(self._volume)}",'
            f'"turnover":"{turnover}","confirm":{"true" if is_confirmed else "false"},'
            f'"timestamp":{self._match_ms}}}],"ts":{now_ns // MS},"type":"snapshot"}}'
        ).encode()


def is_liquidation(flow: OrderFlow, trade: Trade) -> bool:
    """Whether a trade closed a position that was liquidated."""
    return zlib.crc32(f"{flow.listing.symbol}/{trade.number}".encode()) % _ONE_LIQUIDATION_IN == 0


class _LiquidationStream:
    """``allLiquidation.{symbol}``: those of half a second."""

    def __init__(self, topic: str, flow: OrderFlow) -> None:
        self.topic = topic
        self._flow = flow
        self._items: list[str] = []

    def push(self, now_ns: int, trades: Sequence[Trade]) -> list[bytes]:
        """Take trades; return the frame of the half second that is over."""
        listing = self._flow.listing
        for trade in trades:
            if is_liquidation(self._flow, trade):
                # A long position is closed by a sell, and was bankrupt further down.
                share = 1 + _BANKRUPTCY if trade.is_buy else 1 - _BANKRUPTCY
                price = listing.price_text(round(trade.ticks * share))
                self._items.append(
                    f'{{"T":{trade.time_ns // MS},"s":"{listing.symbol}","S":"{"Sell" if trade.is_buy else "Buy"}",'
                    f'"v":"{listing.size_text(trade.lots)}","p":"{price}"}}'
                )
        if now_ns % _LIQUIDATION_NS or not self._items:
            return []
        data, self._items = ",".join(self._items), []
        return [f'{{"topic":"{self.topic}","type":"snapshot","ts":{now_ns // MS},"data":[{data}]}}'.encode()]


class _PriceLimitStream:
    """``priceLimit.{symbol}``: so far from the fair price orders are accepted."""

    def __init__(self, topic: str, flow: OrderFlow) -> None:
        self.topic = topic
        self._flow = flow

    def push(self, now_ns: int, trades: Sequence[Trade]) -> list[bytes]:  # noqa: ARG002 - one signature for all
        """Return the frame that is due every 300 ms."""
        return [self.frame(now_ns)] if now_ns % _LIMIT_NS == 0 else []

    def frame(self, now_ns: int) -> bytes:
        """The limits of this moment."""
        listing = self._flow.listing
        fair = self._flow.fair.ticks(now_ns)
        highest, lowest = (
            listing.price_text(round(fair * (1 + share))) for share in (_LIMIT_SHARE, -_LIMIT_SHARE)
        )
        return (
            f'{{"topic":"{self.topic}","data":{{"symbol":"{listing.symbol}","buyLmt":"{highest}",'
            f'"sellLmt":"{lowest}"}},"ts":{now_ns // MS}}}'
        ).encode()


class _Pools:
    """Insurance pools, one a symbol, which liquidations feed and drain; balances in hundredths."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.balances = {symbol: 1_000_000 + zlib.crc32(symbol.encode()) % 5_000_000 for symbol in symbols}
        self.peaks = dict(self.balances)
        self._changes: dict[int, dict[str, int]] = {}

    def note(self, flow: OrderFlow, now_ns: int, trades: Sequence[Trade]) -> None:
        symbol = flow.listing.symbol
        if symbol not in self.balances:
            return
        change = sum(
            zlib.crc32(f"pool/{symbol}/{trade.number}".encode()) % 9_001 - 4_000
            for trade in trades
            if is_liquidation(flow, trade)
        )
        if change:
            second_ns = -(-now_ns // SECOND) * SECOND
            of_second = self._changes.setdefault(second_ns, {})
            of_second[symbol] = of_second.get(symbol, 0) + change

    def advance(self, second_ns: int) -> list[str]:
        """Take in the changes of a second that is over; returns the symbols whose pool changed."""
        changes = self._changes.pop(second_ns, {})
        for symbol, change in changes.items():
            self.balances[symbol] = max(0, self.balances[symbol] + change)
            self.peaks[symbol] = max(self.peaks[symbol], self.balances[symbol])
        return sorted(changes)


class _PoolStream:
    """A topic that tells of a group's pools at full seconds: its items, and in what form."""

    KIND: ClassVar[str]

    def __init__(self, topic: str, coins: dict[str, str]) -> None:
        self.topic = topic
        self._coins = coins
        self._pools = _Pools(list(coins))

    def note(self, flow: OrderFlow, now_ns: int, trades: Sequence[Trade]) -> None:
        """Take trades."""
        self._pools.note(flow, now_ns, trades)

    def finish(self, from_ns: int, to_ns: int) -> list[tuple[int, bytes]]:
        """Return the frames of the seconds in which there is something to tell."""
        frames = []
        for second_ns in _seconds(from_ns, to_ns):
            at_ms = second_ns // MS
            items = self._items(self._pools.advance(second_ns), at_ms)
            if items is not None:
                data = ",".join(items)
                text = f'{{"topic":"{self.topic}","type":"{self.KIND}","ts":{at_ms},"data":[{data}]}}'
                frames.append((second_ns, text.encode()))
        return frames

    def _items(self, changed: list[str], at_ms: int) -> list[str] | None:
        """What there is to tell of a second in which these pools changed; None for no frame."""
        raise NotImplementedError


class _InsuranceStream(_PoolStream):
    """``insurance.{group}``: the pools that changed within a second."""

    KIND = "delta"

    def _items(self, changed: list[str], at_ms: int) -> list[str] | None:
        return [
            f'{{"coin":"{self._coins[symbol]}","symbols":"{symbol}",'
            f'"balance":"{decimal_text(self._pools.balances[symbol], 2, padded=True)}","updateTime":"{at_ms}"}}'
            for symbol in changed
        ] or None


class _AdlStream(_PoolStream):
    """``adlAlert.{group}``: every pool every second, its numbers bare."""

    KIND = "snapshot"

    def _items(self, changed: list[str], at_ms: int) -> list[str] | None:  # noqa: ARG002 - one signature for all
        return [self._pool(symbol) for symbol in sorted(self._coins)]

    def _pool(self, symbol: str) -> str:
        balance, peak = self._pools.balances[symbol], self._pools.peaks[symbol]
        drawdown = decimal_text((balance - peak) * 10**6 // peak, 6, padded=False)
        return (
            f'{{"c":"{self._coins[symbol]}","s":"{symbol}","b":{decimal_text(balance, 2, padded=False)},"mb":"",'
            f'"i_pr":-0.3,"pr":{drawdown},"adl_tt":10000,"adl_sr":-0.25}}'
        )


class _StatusStream:
    """``system.status``: a maintenance that is announced, begins and ends, and then the next one."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._told = -1

    def note(self, flow: OrderFlow, now_ns: int, trades: Sequence[Trade]) -> None:
        """Trades don't matter to it."""

    def finish(self, from_ns: int, to_ns: int) -> list[tuple[int, bytes]]:
        """Return what is new in a second, at first what is known."""
        frames = []
        for second_ns in _seconds(from_ns, to_ns):
            number = second_ns // _STATUS_NS
            if number == self._told:
                continue
            self._told = number
            which, state = number // len(_STATES), _STATES[number % len(_STATES)]
            begin_ms = (which * len(_STATES) + 1) * _STATUS_NS // MS
            text = (
                f'{{"topic":"{self.topic}","ts":{second_ns // MS},"data":[{{"id":"simulated-{which}",'
                f'"title":"Maintenance {which}","state":"{state}","begin":"{begin_ms}",'
                f'"end":"{begin_ms + _STATUS_NS // MS}","href":"","serviceTypes":[2,3],"product":[1,2],"uidSuffix":[],'
                f'"maintainType":1,"env":1}}]}}'
            )
            frames.append((second_ns, text.encode()))
        return frames


def _seconds(from_ns: int, to_ns: int) -> range:
    return range((from_ns // SECOND + 1) * SECOND, to_ns + 1, SECOND)


class EventStreams:
    """The topics of this kind that somebody follows in a market.

    Args:
        category: of the market.
        flows: by symbol.
    """

    def __init__(self, category: Category, flows: dict[str, OrderFlow]) -> None:
        self._category = category
        self._flows = flows
        self._by_symbol: defaultdict[str, dict[str, SymbolStream]] = defaultdict(dict)
        self.groups: dict[str, GroupStream] = {}

    @property
    def topics(self) -> list[str]:
        """Topics followed."""
        return [*(topic for streams in self._by_symbol.values() for topic in streams), *self.groups]

    def has_topic(self, topic: str) -> bool:
        """Whether the market can push the topic at all."""
        return self._parse(topic) is not None

    def of_symbol(self, symbol: str) -> list[SymbolStream]:
        """Streams of one symbol."""
        return list(self._by_symbol.get(symbol, {}).values())

    def forget(self, symbol: str) -> None:
        """A symbol is traded no more."""
        self._by_symbol.pop(symbol, None)

    def follow(self, topic: str, now_ns: int) -> bytes | None:
        """Begin to build frames for a topic; returns what answers the subscription, if anything does."""
        name, interval, last = self._parse(topic) or ("", "", "")
        if name in ("insurance", "adlAlert"):
            make = _InsuranceStream if name == "insurance" else _AdlStream
            self.groups.setdefault(topic, make(topic, self._coins(last)))
        elif name == "system":
            self.groups.setdefault(topic, _StatusStream(topic))
        elif name and topic not in self._by_symbol[last]:
            flow = self._flows[last]
            stream: SymbolStream = (
                _KlineStream(topic, interval, flow, now_ns)
                if name == "kline"
                else _LiquidationStream(topic, flow)
                if name == "allLiquidation"
                else _PriceLimitStream(topic, flow)
            )
            self._by_symbol[last][topic] = stream
        stream_now = self._by_symbol.get(last, {}).get(topic)
        return stream_now.frame(now_ns) if isinstance(stream_now, _PriceLimitStream) else None

    def unfollow(self, topic: str) -> None:
        """Stop building frames for a topic; unknown topics are ignored."""
        self.groups.pop(topic, None)
        for streams in self._by_symbol.values():
            streams.pop(topic, None)

    def _coins(self, group: str) -> dict[str, str]:
        """The symbols that have a pool in a group, and the pool's coin."""
        settles = _GROUPS[self._category][group]
        instruments = [flow.listing.instrument for flow in self._flows.values()]
        return {
            instrument.symbol: instrument.settle_coin
            for instrument in instruments
            if settles in ("", instrument.settle_coin)
        }

    def _parse(self, topic: str) -> tuple[str, str, str] | None:
        """First word, interval, and symbol or group."""
        name, _, rest = topic.partition(".")
        interval = ""
        if topic == "system.status":
            return name, "", rest
        if name in ("insurance", "adlAlert"):
            return (name, "", rest) if rest in _GROUPS.get(self._category, {}) else None
        if name == "kline":
            interval, _, rest = rest.partition(".")
            if interval not in KLINE_INTERVALS:
                return None
        known = name in _BY_SYMBOL.get(self._category, ()) and rest in self._flows
        return (name, interval, rest) if known else None
