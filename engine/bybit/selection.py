"""What ``--symbols`` means, as values: names, rules, and the conditions in them. Pure; ``str`` gives the text back.

The text is read in ``engine.bybit.rules`` and held against the market in ``engine.bybit.universe``.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from schemas.names import Category

__all__ = ["COIN_ROLES", "DEFAULT_RANK", "FIELDS", "Condition", "Expiry", "Kind", "Name", "Rule", "Selection"]

COIN_ROLES: Final = ("base", "quote", "settle")
DEFAULT_RANK: Final = "turnover24h"

_SHARED: Final = ("turnover24h", "volume24h", "lastPrice", "highPrice24h", "lowPrice24h")
_BEST: Final = ("bid1Price", "bid1Size", "ask1Price", "ask1Size")
_CONTRACT: Final = (
    *_SHARED, "openInterest", "openInterestValue", "singleOpenInterest", "singleOpenInterestValue", "price24hPcnt",
    "prevPrice24h", "prevPrice1h", "markPrice", "indexPrice", "fundingRate", "fundingIntervalHour", "basis",
    "basisRate", *_BEST,
)  # fmt: skip
FIELDS: Final[dict[Category, tuple[str, ...]]] = {
    Category.SPOT: (*_SHARED, "price24hPcnt", "prevPrice24h", "usdIndexPrice", *_BEST),
    Category.LINEAR: _CONTRACT,
    Category.INVERSE: _CONTRACT,
    Category.OPTION: (
        *_SHARED, "openInterest", "totalVolume", "totalTurnover", "change24h", "markPrice", "indexPrice",
        "underlyingPrice", "markIv", "bid1Iv", "ask1Iv", "delta", "gamma", "vega", "theta", *_BEST,
    ),
    Category.SPREAD: (),  # its tickers have to be asked for one by one
}  # fmt: skip
"""Fields of the REST tickers that a rule may compare: the numeric ones (protocol sections 3.5 and 6.1)."""


class Kind(StrEnum):
    """What sort of instrument a rule means; the value is the word that prints it."""

    ANY = "symbols"
    PERPETUAL = "perpetuals"
    FUTURE = "futures"
    OPTION = "options"
    CALL = "calls"
    PUT = "puts"


class Condition(msgspec.Struct, frozen=True):
    """``field operator value``, as in ``turnover24h > 5E+6``; compared as decimals, never as floats."""

    field: str
    operator: str
    value: Decimal

    def __str__(self) -> str:
        return f"{self.field} {self.operator} {self.value}"

    def holds(self, value: Decimal) -> bool:
        """Whether a ticker's value fits."""
        limit = self.value
        match self.operator:
            case ">":
                return value > limit
            case ">=":
                return value >= limit
            case "<":
                return value < limit
            case "<=":
                return value <= limit
        return value == limit


class Expiry(msgspec.Struct, frozen=True):
    """When a contract is delivered: ``on`` or ``before`` a date (UTC, ISO 8601), or ``within`` so many days."""

    how: str
    date: str = ""
    days: int = 0

    def __str__(self) -> str:
        if self.how == "within":
            return f"within {self.days} days"
        return self.date if self.how == "on" else f"before {self.date}"


class Name(msgspec.Struct, frozen=True):
    """A symbol, or a pattern with ``*`` and ``?``."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_pattern(self) -> bool:
        """Whether it means whatever is listed and fits, rather than one symbol."""
        return "*" in self.text or "?" in self.text


class Rule(msgspec.Struct, frozen=True):
    """What is meant by a description.

    Attributes:
        coin: quote or settlement coin, for options base coin too; empty for any.
        base, quote, settle: the same, said exactly.
        top, by: the N highest by a field, most first; 0 for all.
        excluded: symbols and patterns left out.
        strict: symbols that no longer fit are dropped at a refresh, although they trade.
    """

    category: Category | None = None
    coin: str = ""
    base: str = ""
    quote: str = ""
    settle: str = ""
    kind: Kind = Kind.ANY
    expiry: Expiry | None = None
    status: str = "Trading"
    conditions: tuple[Condition, ...] = ()
    top: int = 0
    by: str = DEFAULT_RANK
    excluded: tuple[Name, ...] = ()
    strict: bool = False

    @property
    def description(self) -> str:
        """The part that doesn't need tickers: ``linear USDT perpetuals``; ``all`` where nothing is said."""
        words = [] if self.category is None else [self.category.value]
        if self.coin:
            words.append(self.coin)
        for name in COIN_ROLES:
            if coin := getattr(self, name):
                words += [name, coin]
        if not words and self.kind is Kind.ANY:
            words.append("all")
        else:
            words.append(self.kind.value)
        if self.expiry is not None:
            words += ["expiring", str(self.expiry)]
        if self.status != "Trading":
            words += ["status", self.status]
        return " ".join(words)

    @property
    def needs_tickers(self) -> bool:
        """Whether it compares or ranks by a field of the tickers."""
        return bool(self.conditions or self.top)

    def __str__(self) -> str:
        parts = [self.description]
        if self.conditions:
            parts.append("with " + " and ".join(map(str, self.conditions)))
        if self.top:
            parts.append(f"top {self.top}" + ("" if self.by == DEFAULT_RANK else f" by {self.by}"))
        if self.strict:
            parts.append("strict")
        if self.excluded:  # last, because the names go on behind a comma
            parts.append("except " + ", ".join(map(str, self.excluded)))
        return " ".join(parts)


class Selection(msgspec.Struct, frozen=True):
    """The union of its items, in the order written."""

    items: tuple[Name | Rule, ...] = ()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The plain symbols, each once."""
        names = (item.text for item in self.items if isinstance(item, Name) and not item.is_pattern)
        return tuple(dict.fromkeys(names))

    @property
    def is_list(self) -> bool:
        """Whether it is plain symbols only: nobody has to be asked what they are."""
        return all(isinstance(item, Name) and not item.is_pattern for item in self.items)

    @property
    def needs_tickers(self) -> bool:
        """Whether an item compares or ranks by a field of the tickers."""
        return any(isinstance(item, Rule) and item.needs_tickers for item in self.items)

    @property
    def statuses(self) -> tuple[str, ...]:
        """Statuses that rules ask for beyond what instruments-info lists unasked."""
        rules = (item for item in self.items if isinstance(item, Rule))
        return tuple(sorted({rule.status for rule in rules if rule.status != "Trading"}))

    def __str__(self) -> str:
        out, separator = "", ""
        for item in self.items:
            out += separator + str(item)
            separator = "; " if isinstance(item, Rule) and item.excluded else ", "
        return out
