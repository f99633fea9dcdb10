"""What the simulated market trades: symbols, steps, price levels and activity (protocol: symbol grammar)."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from engine.market.text import decimal_text
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["Instrument", "Listing", "OptionTerms", "default_symbols", "listing", "split_symbol"]

# base coin: price level in USD, activity relative to BTC
_COINS: Final[dict[str, tuple[float, float]]] = {
    "BTC": (61_800.0, 1.0),
    "ETH": (2_680.0, 0.9),
    "SOL": (145.0, 0.6),
    "XRP": (0.58, 0.4),
    "DOGE": (0.105, 0.35),
    "BNB": (512.0, 0.3),
    "ADA": (0.345, 0.25),
    "LINK": (10.4, 0.25),
    "AVAX": (22.1, 0.2),
    "LTC": (60.5, 0.2),
}
# (decimals written, price step in units of the last decimal, decimals of sizes)
_STEPS: Final[dict[tuple[Category, str], tuple[int, int, int]]] = {
    (Category.LINEAR, "BTC"): (2, 10, 3),
    (Category.LINEAR, "ETH"): (2, 1, 3),
    (Category.LINEAR, "SOL"): (3, 10, 1),
    (Category.INVERSE, "BTC"): (2, 10, 0),
    (Category.INVERSE, "ETH"): (2, 5, 0),
    (Category.SPOT, "BTC"): (2, 1, 6),
    (Category.SPOT, "ETH"): (2, 1, 5),
    (Category.SPOT, "SOL"): (2, 1, 3),
    (Category.OPTION, "BTC"): (0, 5, 2),
    (Category.OPTION, "ETH"): (1, 1, 1),
}
_QUOTES: Final = ("USDT", "USDC", "PERP", "USD", "BTC", "ETH")
_STRIKE_SHARE: Final = 0.08
_FAR_MONEYNESS: Final = 0.45
"""Options further out of the money than this have sellers and no buyers."""
_LEVEL_NOTIONAL_USD: Final = 3_000.0
_SPREAD_SHIFT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Instrument:
    """What instruments-info tells about a symbol.

    Attributes:
        tick_size: smallest price step, exact decimal text.
        size_step: smallest size step, exact decimal text.
        launch_ms: when it was listed; 0 for long ago.
        delivery_ms: when it is delivered or delisted; 0 while that is not announced.
    """

    category: Category
    symbol: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    tick_size: str
    size_step: str
    launch_ms: int = 0
    delivery_ms: int = 0


@dataclass(frozen=True, slots=True)
class OptionTerms:
    """Strike in USD, call or put, and expiry."""

    strike: float
    is_call: bool
    expiry_ns: int


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument with what its simulation needs.

    Attributes:
        price_decimals: decimals that prices are written with.
        tick: price step in units of the last decimal.
        size_decimals: decimals that sizes are written with; one lot is 10^-size_decimals.
        level: price (of the underlying, for options) around which it trades, USD.
        activity: order flow relative to BTC.
        typical_lots: median size of a book level, lots.
        levels: book levels kept per side, (bids, asks).
        option: terms of an option contract, else None.
        shift: ticks by which prices are shown lower than they are traded: those of spreads may be negative.
    """

    instrument: Instrument
    price_decimals: int
    tick: int
    size_decimals: int
    level: float
    activity: float
    typical_lots: float
    levels: tuple[int, int]
    option: OptionTerms | None = None
    shift: int = 0

    @property
    def category(self) -> Category:
        """Category of the instrument."""
        return self.instrument.category

    @property
    def symbol(self) -> str:
        """Symbol of the instrument."""
        return self.instrument.symbol

    @property
    def is_padded(self) -> bool:
        """Whether the wire pads decimals with zeros: futures do, spot and options do not."""
        return self.category in (Category.LINEAR, Category.INVERSE)

    @property
    def tick_value(self) -> float:
        """Price step in USD."""
        return self.tick / 10.0**self.price_decimals

    def price_text(self, ticks: int) -> str:
        """Write a price given in ticks."""
        return decimal_text((ticks - self.shift) * self.tick, self.price_decimals, padded=self.is_padded)

    def size_text(self, lots: int) -> str:
        """Write a size given in lots; ``0`` is written bare, as on the wire."""
        return decimal_text(lots, self.size_decimals, padded=self.is_padded) if lots else "0"


def split_symbol(category: Category, symbol: str) -> tuple[str, str, str]:
    """Guess (base, quote, settle) coins from a symbol's spelling; an unknown one is a base coin in USDT."""
    if category is Category.OPTION:
        parts = symbol.split("-")
        settle = parts[4] if len(parts) > 4 else "USDC"
        return parts[0], "USD" if settle == "USDC" else settle, settle
    stem = (
        symbol.split("-", 1)[0].split("_", 1)[0] if category is Category.SPREAD else symbol.split("-", 1)[0]
    )
    for quote in _QUOTES:
        if stem.endswith(quote) and len(stem) > len(quote):
            base = stem[: -len(quote)]
            if quote == "PERP":
                return base, "USDC", "USDC"
            return base, quote, base if category is Category.INVERSE else quote
    if category is Category.INVERSE and "USD" in stem:
        base = stem.split("USD", 1)[0]
        return base, "USD", base
    # A bare coin before a dash is a USDC-settled dated contract: BTC-24MAR23.
    return (stem, "USDC", "USDC") if stem != symbol else (stem, "USDT", "USDT")


def default_symbols(category: Category, count: int, start_ns: int) -> tuple[str, ...]:
    """Name ``count`` symbols of a category: the well-known ones first, then synthetic ``SIM001…``.

    Args:
        start_ns: when the market opens; options expire on the last Friday about three months later.
    """
    if category is Category.OPTION:
        return tuple(_option_symbols(count, start_ns))
    quote = "USD" if category is Category.INVERSE else "USDT"
    coins = [*_COINS, *(f"SIM{number:03d}" for number in range(1, count + 1))]
    names = (coin + quote for coin in coins[:count])
    if category is Category.SPREAD:  # a perpetual against spot
        return tuple(f"{name}_{coin}/USDT" for name, coin in zip(names, coins, strict=False))
    return tuple(names)


def _option_symbols(count: int, start_ns: int) -> list[str]:
    expiry = _expiry(start_ns).strftime("%d%b%y").upper().lstrip("0")
    # The fourth is far out of the money: one-sided from the start.
    offsets = [("BTC", 0, "C"), ("BTC", 0, "P"), ("ETH", 0, "C"), ("BTC", 8, "C"), ("ETH", 0, "P")]
    distance = 1
    while len(offsets) < count:
        offsets += [(coin, distance, "C") for coin in ("BTC", "ETH") if (coin, distance, "C") not in offsets]
        offsets += [(coin, -distance, "P") for coin in ("BTC", "ETH")]
        distance += 1
    return [f"{coin}-{expiry}-{_strike(coin, steps)}-{kind}-USDT" for coin, steps, kind in offsets[:count]]


def _strike(coin: str, steps: int) -> int:
    level = _COINS[coin][0]
    unit = int(10.0 ** math.floor(math.log10(level * _STRIKE_SHARE)))
    return max(unit, round(level / unit) * unit + round(level * _STRIKE_SHARE / unit) * unit * steps)


def _expiry(start_ns: int) -> datetime:
    target = datetime.fromtimestamp(start_ns // 10**9, UTC) + timedelta(days=90)
    following = date(target.year + target.month // 12, target.month % 12 + 1, 1)
    last = following - timedelta(days=1)
    friday = last - timedelta(days=(last.weekday() - 4) % 7)
    return datetime(friday.year, friday.month, friday.day, 8, tzinfo=UTC)


def listing(category: Category, symbol: str) -> Listing:
    """Describe any symbol of a category.

    Raises:
        ConfigError: the simulation cannot trade it (options must read ``BTC-26DEC25-60000-C-USDT``).
    """
    if not symbol or symbol != symbol.upper() or '"' in symbol or "\\" in symbol or not symbol.isascii():
        raise ConfigError(
            f"symbol {symbol!r}: expected upper-case ASCII as the exchange writes it, e.g. BTCUSDT"
        )
    base, quote, settle = split_symbol(category, symbol)
    level, activity = _COINS.get(base) or _synthetic(base)
    terms = _option_terms(symbol) if category is Category.OPTION else None
    decimals, tick, size_decimals = _STEPS.get((category, base)) or _steps_for(category, level)
    lot_notional = 1.0 if category is Category.INVERSE else level / 10**size_decimals
    levels = (1_080, 1_080)
    if terms is not None:
        activity *= 0.04
        moneyness = math.log(terms.strike / level) * (1 if terms.is_call else -1)
        levels = (0 if moneyness > _FAR_MONEYNESS else 34, 38)
    if category is Category.SPREAD:
        # The fourth has sellers only.
        activity, levels = activity * 0.1, (0 if base == "XRP" else 34, 38)
    instrument = Instrument(
        category=category,
        symbol=symbol,
        base_coin=base,
        quote_coin=quote,
        settle_coin=settle,
        tick_size=decimal_text(tick, decimals, padded=category is not Category.SPOT),
        size_step=decimal_text(1, size_decimals, padded=True),
        delivery_ms=0 if terms is None else terms.expiry_ns // 1_000_000,
    )
    return Listing(
        instrument=instrument,
        price_decimals=decimals,
        tick=tick,
        size_decimals=size_decimals,
        level=level,
        activity=activity,
        typical_lots=max(2.0, _LEVEL_NOTIONAL_USD / lot_notional),
        levels=levels,
        option=terms,
        shift=_SPREAD_SHIFT if category is Category.SPREAD else 0,
    )


def _synthetic(base: str) -> tuple[float, float]:
    noise = zlib.crc32(base.encode()) / 2**32
    return float(f"{10 ** (4 * noise - 1.5):.3g}"), 0.05 + 0.1 * noise


def _steps_for(category: Category, level: float) -> tuple[int, int, int]:
    magnitude = math.floor(math.log10(level))
    decimals = max(1, 4 - magnitude)
    if category is Category.INVERSE:
        return decimals, 1, 0
    return decimals, 1, max(0, magnitude + (1 if category is Category.LINEAR else 2))


def _option_terms(symbol: str) -> OptionTerms:
    parts = symbol.split("-")
    try:
        if len(parts) not in (4, 5) or parts[3] not in ("C", "P"):
            raise ValueError
        expiry = datetime.strptime(parts[1].zfill(7), "%d%b%y").replace(hour=8, tzinfo=UTC)
        strike = float(parts[2])
        if not 0 < strike < 1e12:
            raise ValueError
    except ValueError as error:
        raise ConfigError(
            f"option symbol {symbol!r}: expected BASE-DDMMMYY-STRIKE-C or -P, e.g. BTC-26DEC25-60000-C-USDT"
        ) from error
    return OptionTerms(strike=strike, is_call=parts[3] == "C", expiry_ns=int(expiry.timestamp()) * 10**9)
