"""Topic text: what exists in which category, what is recorded, what only guides name (sections 3 and 10)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from engine.bybit.limits import PUSH_INTERVAL_MS
from schemas.errors import ConfigError
from schemas.names import Category
from schemas.tables import FULL_DEPTH, RPI_DEPTH

__all__ = [
    "DEEP",
    "GROUPS",
    "INTERVALS",
    "SYSTEM_STATUS",
    "Topic",
    "TopicKind",
    "depths_of",
    "expand",
    "parse_topic",
    "recorded_prefixes",
]

_MAXIMUM_SYMBOL: Final = 64

DEEP: Final[dict[str, int]] = {"rpi": RPI_DEPTH, "full": FULL_DEPTH}
"""Order books that name no number, and how deep they are. The full book of linear and inverse is announced and not
everywhere there yet (section 3.3): where it isn't, the exchange refuses it in its own words."""

INTERVALS: Final = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M")
"""Of klines: minutes, a day, a week, a month (section 3.6)."""

GROUPS: Final[dict[Category, tuple[str, ...]]] = {
    Category.LINEAR: ("USDT", "USDC"),
    Category.INVERSE: ("inverse",),
}
"""Of insurance pools and ADL alerts, by category (sections 3.8, 3.9)."""

SYSTEM_STATUS: Final = "system.status"
"""The one topic that names nothing; it has a socket of its own beside every category's (section 3.11)."""


class TopicKind(StrEnum):
    """The first word of a topic that is recorded."""

    ORDER_BOOK = "orderbook"
    PUBLIC_TRADE = "publicTrade"
    TICKERS = "tickers"
    KLINE = "kline"
    ALL_LIQUIDATION = "allLiquidation"
    INSURANCE = "insurance"
    ADL_ALERT = "adlAlert"
    PRICE_LIMIT = "priceLimit"
    SYSTEM = "system"

    @property
    def has_first_snapshot(self) -> bool:
        """Whether a subscription is answered with data at once. A kline may take a minute, others speak when something
        happens."""
        return self in (TopicKind.ORDER_BOOK, TopicKind.TICKERS, TopicKind.PRICE_LIMIT)

    @property
    def names_symbol(self) -> bool:
        """Whether its topics name a symbol, or the base coin of some."""
        return self not in (*_BY_GROUP, TopicKind.SYSTEM)


class Topic(msgspec.Struct, frozen=True):
    """One topic of one category.

    Attributes:
        text: what is sent to the exchange and echoed in every frame.
        depth: of an order book (that of ``rpi`` is 50, of ``full`` ``FULL_DEPTH``), else null.
        symbol: the last part; a base coin for trades of options, a group of pools, `status` of the system.
    """

    text: str
    kind: TopicKind
    depth: int | None
    symbol: str

    @property
    def has_first_snapshot(self) -> bool:
        """Whether a subscription is answered with a snapshot; trades only come when someone trades, and the full book
        comes by REST."""
        return self.kind.has_first_snapshot and self.depth != FULL_DEPTH


_BY_GROUP: Final = (TopicKind.INSURANCE, TopicKind.ADL_ALERT)
_CONTRACTS: Final = frozenset({Category.LINEAR, Category.INVERSE})
_NOT_OPTION: Final = _CONTRACTS | {Category.SPOT}

# Where the kinds of topics exist that don't exist everywhere (section 3).
_WHERE: Final[dict[str, frozenset[Category]]] = {
    TopicKind.KLINE: _NOT_OPTION,
    TopicKind.ALL_LIQUIDATION: _CONTRACTS,
    TopicKind.INSURANCE: _CONTRACTS,
    TopicKind.ADL_ALERT: _CONTRACTS,
    TopicKind.PRICE_LIMIT: _NOT_OPTION,
}

# Topics that exist and are not recorded yet, and where they exist.
_NOT_RECORDED: Final[dict[str, frozenset[Category]]] = {
    "rfq": frozenset(),
}

# First words that guides name and the exchange doesn't have: why, and what has the data.
_TICKERS_INSTEAD: Final = "tickers.{symbol}"
_GUIDES: Final[dict[str, tuple[str, str]]] = {
    "markPrice": ("does not exist; the mark price is the key markPrice of tickers", _TICKERS_INSTEAD),
    "indexPrice": ("does not exist; the index price is the key indexPrice of tickers", _TICKERS_INSTEAD),
    "funding": ("does not exist; fundingRate and nextFundingTime are keys of tickers", _TICKERS_INSTEAD),
    "fundingRate": ("does not exist; fundingRate is a key of tickers", _TICKERS_INSTEAD),
    "delivery": (
        "does not exist; tickers carries predictedDeliveryPrice in the last 30 minutes",
        _TICKERS_INSTEAD,
    ),
    "openInterest": ("does not exist; openInterest is a key of tickers", _TICKERS_INSTEAD),
    "liquidation": (
        "was retired in favour of allLiquidation.{symbol}, which linear and inverse have",
        "allLiquidation.{symbol}",
    ),
    "trade": ("is the name of an older dialect", "publicTrade.{symbol}"),
    "trades": ("does not exist", "publicTrade.{symbol}"),
    "ticker": ("does not exist", _TICKERS_INSTEAD),
    "bookticker": ("was retired with the older spot dialect", "orderbook.1.{symbol}"),
    "instrument_info": ("is the name of an older dialect", _TICKERS_INSTEAD),
    "candle": ("is the name of an older dialect of kline", "kline.1.{symbol}"),
    "orderBookL2_25": ("is the name of an older dialect", "orderbook.50.{symbol}"),
    "orderBook_200": ("is the name of an older dialect", "orderbook.200.{symbol}"),
    "kline_lt": ("was retired with the leveraged tokens", "kline.1.{symbol}"),
    "tickers_lt": ("was retired with the leveraged tokens", _TICKERS_INSTEAD),
    "lt": ("was retired with the leveraged tokens", _TICKERS_INSTEAD),
    **dict.fromkeys(
        ("order", "stopOrder", "execution", "position", "wallet", "greeks"),
        ("is a private topic, it needs a key and another socket", "publicTrade.{symbol}"),
    ),
}


def depths_of(category: Category) -> tuple[int, ...]:
    """Return the order-book depths of a category, shallow first (section 3)."""
    return tuple(PUSH_INTERVAL_MS[category])


def recorded_prefixes(category: Category) -> tuple[str, ...]:
    """Return every topic prefix of a category that can be recorded, and the full topic that names nothing."""
    out: list[str] = []
    for kind in TopicKind:
        if category not in _WHERE.get(kind, frozenset(Category)):
            continue
        if kind is TopicKind.ORDER_BOOK:
            out += [f"{kind.value}.{depth}" for depth in depths_of(category)]
            if category in _NOT_OPTION:
                out += [f"{kind.value}.{depth}" for depth in DEEP]
        elif kind is TopicKind.KLINE:
            out += [f"{kind.value}.{interval}" for interval in INTERVALS]
        else:
            out.append(SYSTEM_STATUS if kind is TopicKind.SYSTEM else kind.value)
    return tuple(out)


def _shown(category: Category) -> str:
    """The same in few words."""
    klines = f"{TopicKind.KLINE.value}.INTERVAL"
    shown = dict.fromkeys(
        klines if prefix.startswith("kline.") else prefix for prefix in recorded_prefixes(category)
    )
    return ", ".join(shown)


def _refuse(category: Category, text: str, why: str, right: str) -> ConfigError:
    return ConfigError(
        f"topic {text[:100]!r} {why}; the nearest valid one on {category} is {right} "
        f"(recorded: {_shown(category)})"
    )


def _nearest(category: Category, head: str) -> str:
    """Return the nearest prefix that is combined with a symbol."""
    candidates = {prefix.lower(): prefix for prefix in recorded_prefixes(category) if _by_symbol(prefix)}
    near = difflib.get_close_matches(head[:_MAXIMUM_SYMBOL].lower(), candidates, n=1, cutoff=0.0)
    return candidates[near[0]] if near else recorded_prefixes(category)[0]


def _by_symbol(prefix: str) -> bool:
    return TopicKind(prefix.partition(".")[0]).names_symbol


def _split(text: str) -> tuple[str, str | None, str | None]:
    """Split into first word, depth or interval, and symbol.

    At most two dots separate: a symbol may hold more of them ("XRP-30OCT26-0.4-P-USDT").
    """
    head, _, rest = text.partition(".")
    if head not in ("orderbook", "kline"):
        return head, None, rest or None
    middle, _, symbol = rest.partition(".")
    return head, middle or None, symbol or None


def _check_symbol(category: Category, text: str, symbol: str) -> None:
    if len(symbol) > _MAXIMUM_SYMBOL:
        raise ConfigError(
            f"symbol {symbol[:32]!r}… has {len(symbol)} characters, at most {_MAXIMUM_SYMBOL} expected"
        )
    # No finer check: new products bring new shapes of names.
    if not symbol.isascii() or not symbol.isprintable() or set(symbol) & set(" ,\"'\\"):
        raise ConfigError(
            f"symbol {symbol!r} in {text[:100]!r}: expected a name such as {_example(category)}"
        )
    if symbol != symbol.upper():
        raise ConfigError(
            f"symbol {symbol!r}: the exchange's symbols are upper case and case sensitive; "
            f"the nearest is {symbol.upper()!r}"
        )


def _example(category: Category) -> str:
    return {
        Category.INVERSE: "BTCUSD",
        Category.OPTION: "BTC-25DEC26-100000-C-USDT",
        Category.SPREAD: "SOLUSDT_SOL/USDT",
    }.get(category, "BTCUSDT")


def _check_unrecorded(
    category: Category, text: str, head: str, middle: str | None, symbol: str | None
) -> None:
    """Raise for a topic that is not recorded, with the real reason."""
    shown = symbol or "SYMBOL"
    name = f"{head}.{middle}" if head == TopicKind.ORDER_BOOK else head
    where = _NOT_RECORDED.get(name)
    if where is not None:
        if category in where:
            why = "is not recorded yet"
        elif where:
            why = f"does not exist on {category} (only on {', '.join(sorted(where))}) and is not recorded yet"
        else:
            why = "has a socket of its own and is not recorded yet"
        right = _nearest(category, name) if head == TopicKind.ORDER_BOOK else TopicKind.TICKERS.value
        raise _refuse(category, text, why, f"{right}.{shown}")
    if head in _GUIDES:
        why, right = _GUIDES[head]
        right = _available(category, right)
        raise _refuse(category, text, why.format(symbol=shown), right.format(symbol=shown))
    # A mistyped `orderbook.50` still has its depth behind the first dot.
    depth, _, rest = (symbol or "").partition(".")
    if depth.isdigit():
        name, shown = f"{head}.{depth}", rest or "SYMBOL"
    raise _refuse(category, text, "does not exist", f"{_nearest(category, name)}.{shown}")


def _available(category: Category, right: str) -> str:
    """Return the replacement, with a depth that the category has, or what the category has instead."""
    head, middle, _ = _split(right)
    if category not in _WHERE.get(head, frozenset(Category)):
        return _TICKERS_INSTEAD if head == TopicKind.KLINE else f"{TopicKind.PUBLIC_TRADE.value}.{{symbol}}"
    if head != TopicKind.ORDER_BOOK or middle is None or int(middle) in depths_of(category):
        return right
    return f"{head}.{_nearest_depth(category, int(middle))}.{{symbol}}"


def _nearest_depth(category: Category, depth: int) -> int:
    """Return the smallest depth that covers the wanted one, or the deepest there is."""
    depths = depths_of(category)
    return next((candidate for candidate in depths if candidate >= depth), depths[-1])


def _depth(category: Category, text: str, middle: str | None, symbol: str | None) -> int:
    shown = symbol or "SYMBOL"
    if middle in DEEP:
        if category in _NOT_OPTION:
            return DEEP[middle]
        right = f"orderbook.{depths_of(category)[-1]}.{shown}"
        raise _refuse(category, text, f"does not exist on {category} (only on spot, linear, inverse)", right)
    if middle is None or not (middle.isascii() and middle.isdigit()) or len(middle) > 5 or middle[0] == "0":
        raise _refuse(category, text, "names no depth", f"orderbook.{depths_of(category)[:2][-1]}.{shown}")
    depth = int(middle)
    if depth in depths_of(category):
        return depth
    if depth == 500:
        why = "was removed from the exchange on 2025-09-11"
    elif any(depth in depths for depths in map(depths_of, Category)):
        why = f"does not exist on {category}"
        if category is Category.OPTION:
            why += " (it would be acknowledged and stay silent)"
    else:
        why = "has a depth that does not exist"
    raise _refuse(category, text, why, f"orderbook.{_nearest_depth(category, depth)}.{shown}")


def _check_where(category: Category, text: str, kind: TopicKind, symbol: str | None) -> None:
    """Raise for a topic that other categories have."""
    where = _WHERE.get(kind)
    if where is None or category in where:
        return
    why = f"does not exist on {category} (only on {', '.join(sorted(where))})"
    if category is Category.OPTION and kind is TopicKind.KLINE:
        why = f"does not exist on {category}: it would be acknowledged and stay silent"
    right = TopicKind.PUBLIC_TRADE.value if kind is TopicKind.ALL_LIQUIDATION else TopicKind.TICKERS.value
    raise _refuse(category, text, why, f"{right}.{symbol if symbol and kind.names_symbol else 'SYMBOL'}")


def _check_rest(
    category: Category, text: str, kind: TopicKind, middle: str | None, symbol: str | None
) -> None:
    """Raise for an interval, a group of pools or a system topic that doesn't exist."""
    if kind is TopicKind.KLINE and middle not in INTERVALS:
        why = (
            "names no interval"
            if symbol is None
            else f"has an interval that is none of {', '.join(INTERVALS)}"
        )
        raise _refuse(category, text, why, f"{kind.value}.1.{symbol or middle or 'SYMBOL'}")
    if kind in _BY_GROUP and symbol is not None and symbol not in GROUPS[category]:
        groups = ", ".join(f"{kind.value}.{group}" for group in GROUPS[category])
        raise _refuse(
            category, text, f"does not exist, the pools of {category} are {groups}", groups.split(",")[0]
        )
    if kind is TopicKind.SYSTEM and text != SYSTEM_STATUS:
        raise _refuse(category, text, "does not exist", SYSTEM_STATUS)


def _parse(category: Category, text: str) -> tuple[TopicKind, int | None, str | None]:
    head, middle, symbol = _split(text)
    if head not in TopicKind.__members__.values():
        _check_unrecorded(category, text, head, middle, symbol)
    kind = TopicKind(head)
    _check_where(category, text, kind, symbol)
    _check_rest(category, text, kind, middle, symbol)
    depth = _depth(category, text, middle, symbol) if kind is TopicKind.ORDER_BOOK else None
    if symbol is not None and kind.names_symbol:
        _check_symbol(category, text, symbol)
    return kind, depth, symbol


def parse_topic(category: Category, text: str) -> Topic:
    """Parse one full topic, such as ``orderbook.50.BTCUSDT``.

    Raises:
        ConfigError: a topic that does not exist here or is not recorded: why, and the nearest that is.
    """
    kind, depth, symbol = _parse(category, text)
    if symbol is None:
        last = _example(category) if kind.names_symbol else GROUPS[category][0]
        what = "symbol" if kind.names_symbol else "group of pools"
        raise ConfigError(f"topic {text!r} names no {what}: expected {text}.{last}")
    if kind is TopicKind.PUBLIC_TRADE and category is Category.OPTION and "-" in symbol:
        raise _refuse(
            category,
            text,
            "does not exist, trades of options come by base coin",
            f"publicTrade.{_base_coin(symbol)}",
        )
    return Topic(text, kind, depth, symbol)


def _base_coin(symbol: str) -> str:
    return symbol.partition("-")[0]


def expand(category: Category, prefixes: Iterable[str], symbols: Iterable[str]) -> list[Topic]:
    """Combine topic prefixes with symbols; full topics are taken as they are.

    Args:
        category: of the connection.
        prefixes: such as ``orderbook.50``, ``publicTrade``, ``kline.1``, or a full ``tickers.BTCUSDT``; ``insurance``
            and ``adlAlert`` are combined with the category's groups of pools instead of symbols.
        symbols: such as ``BTCUSDT``; for trades of options their base coins are used.

    Returns:
        Each topic once, by prefix and then by symbol, in the order given.

    Raises:
        ConfigError: see `parse_topic`; also when a prefix meets no symbol, or nothing is asked for.
    """
    symbols = list(symbols)
    topics: dict[str, Topic] = {}
    for prefix in prefixes:
        kind, depth, symbol = _parse(category, prefix)
        if symbol is not None:
            topic = parse_topic(category, prefix)
            topics[topic.text] = topic
            continue
        if kind in _BY_GROUP:
            for group in GROUPS[category]:
                topics[f"{prefix}.{group}"] = Topic(f"{prefix}.{group}", kind, None, group)
            continue
        if not symbols:
            raise ConfigError(
                f"topic {prefix!r} names no symbol and none was given: add --symbols {_example(category)} "
                f"or write {prefix}.{_example(category)}"
            )
        for given in symbols:
            _check_symbol(category, given, given)
            by_coin = kind is TopicKind.PUBLIC_TRADE and category is Category.OPTION
            name = _base_coin(given) if by_coin else given
            text = f"{prefix}.{name}"
            topics[text] = Topic(text, kind, depth, name)
    if not topics:
        raise ConfigError(f"no topics were given: expected some of {_shown(category)}, separated by commas")
    return list(topics.values())
