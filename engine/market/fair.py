"""What things are worth: smooth seeded price paths, and Black-Scholes for options.

A path is a function of time without state, so every symbol of a coin, in every category, sees the same coin
at the same moment, however the market is stepped.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from engine.market.listing import Listing

__all__ = ["FairValue", "OptionValue", "PricePath"]

_PERIODS_S = (7.3, 19.1, 47.0, 131.0, 613.0, 2_903.0, 14_401.0)
_AMPLITUDES = (0.4e-5, 1.0e-5, 2.4e-5, 7e-5, 3e-4, 1.2e-3, 6e-3)
_YEAR_NS = 365 * 86_400 * 10**9
_RISK_FREE = 0.0
_SPREAD_NS = 300 * 10**9


class PricePath:
    """Price of one coin in USD over time: a sum of slow waves with seeded phases around its level."""

    __slots__ = ("_level", "_waves")

    def __init__(self, seed: int, coin: str, level: float) -> None:
        phases = random.Random(f"path/{seed}/{coin}")
        self._level = level
        self._waves = tuple(
            (amplitude, 2e-9 * math.pi / (period * phases.uniform(0.9, 1.1)), phases.uniform(0, 2 * math.pi))
            for period, amplitude in zip(_PERIODS_S, _AMPLITUDES, strict=True)
        )

    def at(self, now_ns: int) -> float:
        """Return the price at a moment, USD."""
        return self._level * (1.0 + sum([a * math.sin(w * now_ns + p) for a, w, p in self._waves]))


@dataclass(frozen=True, slots=True)
class OptionValue:
    """Theoretical price (USD), implied volatility and greeks of an option."""

    price: float
    volatility: float
    underlying: float
    delta: float
    gamma: float
    vega: float
    theta: float


class FairValue:
    """Where a listing's book should centre at a moment."""

    __slots__ = ("_listing", "_path")

    def __init__(self, listing: Listing, seed: int) -> None:
        self._listing = listing
        self._path = PricePath(seed, listing.instrument.base_coin, listing.level)

    def index(self, now_ns: int) -> float:
        """Price of the underlying coin, USD."""
        return self._path.at(now_ns)

    def ticks(self, now_ns: int) -> float:
        """Fair price of the listing in ticks, at least 2."""
        if self._listing.option is not None:
            return max(2.0, self.option(now_ns).price / self._listing.tick_value)
        if self._listing.shift:
            # What a coin gained in five minutes goes up and down around nothing.
            gained = self._path.at(now_ns) - self._path.at(now_ns - _SPREAD_NS)
            return max(2.0, self._listing.shift + gained / self._listing.tick_value)
        return max(2.0, self._path.at(now_ns) / self._listing.tick_value)

    def option(self, now_ns: int) -> OptionValue:
        """Value the option contract by Black-Scholes, with a smile that rises away from the money."""
        terms = self._listing.option
        if terms is None:
            raise ValueError(f"{self._listing.symbol} is not an option")
        underlying = self._path.at(now_ns)
        years = max(terms.expiry_ns - now_ns, 3_600 * 10**9) / _YEAR_NS
        moneyness = math.log(terms.strike / underlying)
        volatility = 0.55 + 0.25 * moneyness * moneyness
        spread = volatility * math.sqrt(years)
        d1 = (-moneyness + (_RISK_FREE + volatility * volatility / 2) * years) / spread
        d2 = d1 - spread
        density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
        call = underlying * _normal(d1) - terms.strike * _normal(d2)
        price = call if terms.is_call else call - underlying + terms.strike
        return OptionValue(
            price=max(price, 0.0),
            volatility=volatility,
            underlying=underlying,
            delta=_normal(d1) - (0.0 if terms.is_call else 1.0),
            gamma=density / (underlying * spread),
            vega=underlying * density * math.sqrt(years) / 100,
            theta=-underlying * density * volatility / (2 * math.sqrt(years)) / 365,
        )


def _normal(x: float) -> float:
    return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))
