"""Which symbols a selection means in the market of this moment, and how that changes. Pure: answers and time in.

A choice says how it came about: how many instruments fit the description, how many each condition left, what the
``top`` cut off. A universe that is followed has hysteresis: a symbol that is recorded stays as long as it trades, even
if a rule's conditions or its ``top`` would not choose it any more, unless the rule says ``strict``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec

from engine.bybit.rest import Instrument
from engine.bybit.selection import Expiry, Kind, Name, Rule, Selection
from schemas.names import Category

__all__ = [
    "Changes",
    "Choice",
    "Step",
    "Verdict",
    "choose",
    "follow",
    "gone_because",
    "matches",
]

MS_PER_DAY: Final = 86_400_000
SHOWN: Final = 5
_MAXIMUM_TEXT: Final = 80
_GONE: Final = ("Delivering", "Closed")

Tickers = Mapping[str, Mapping[str, object]]
"""REST tickers by symbol, keys and values as sent."""


class Step(msgspec.Struct, frozen=True):
    """One reason to leave symbols out: what was asked for, and how many were left behind it."""

    what: str
    left: int


class Verdict(msgspec.Struct, frozen=True):
    """What became of one item of a selection.

    Attributes:
        item: as text.
        listed: instruments that were looked at.
        steps: how many each clause left, in order.
        symbols: chosen; by rank where there is one, else by name.
        cut: left out by ``top`` alone, highest first, with the value that ranked them.
        without_ticker: symbols that fitted the description and had no number to compare.
    """

    item: str
    listed: int
    steps: tuple[Step, ...]
    symbols: tuple[str, ...]
    cut: tuple[tuple[str, str], ...] = ()
    without_ticker: int = 0

    def __str__(self) -> str:
        text = f"{self.item}: {self.listed} listed"
        for step in self.steps:
            text += f", {step.left} {step.what}"
        if self.cut:
            shown = ", ".join(f"{symbol} ({value})" for symbol, value in self.cut[:SHOWN])
            more = f" and {len(self.cut) - SHOWN} more" if len(self.cut) > SHOWN else ""
            text += f"; cut by top: {shown}{more}"
        if self.without_ticker:
            text += f"; {self.without_ticker} had no such number in their ticker"
        return text


class Choice(msgspec.Struct, frozen=True):
    """What a selection means.

    Attributes:
        symbols: each once, in the order of the items.
        verdicts: one per rule and pattern.
        unlisted: plain symbols that instruments-info doesn't list.
    """

    symbols: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()
    unlisted: tuple[str, ...] = ()


class Changes(msgspec.Struct, frozen=True):
    """What a refresh changes.

    Attributes:
        added: newly chosen symbols.
        removed: symbols to end, and why.
        held: symbols that no rule would choose today and that stay because they trade.
    """

    added: tuple[str, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    held: tuple[str, ...] = ()


def matches(pattern: str, symbol: str) -> bool:
    """Whether a symbol fits a pattern; ``*`` is any text, ``?`` any character. Takes linear time in practice."""
    at = star = -1
    p = s = 0
    while s < len(symbol):
        if p < len(pattern) and pattern[p] == "*":
            star, at = p, s
            p += 1
        elif p < len(pattern) and pattern[p] in ("?", symbol[s]):
            p += 1
            s += 1
        elif star >= 0:
            at += 1
            p, s = star + 1, at
        else:
            return False
    return not pattern[p:].strip("*")


def gone_because(instrument: Instrument | None, now_ms: int) -> str:
    """Why a symbol doesn't trade any more; empty while it does."""
    if instrument is None:
        return "not listed any more"
    if instrument.status in _GONE:
        return f"its status is {instrument.status}"
    if instrument.delivery_time_ms is not None and instrument.delivery_time_ms <= now_ms:
        return f"delivered or delisted at {_moment(instrument.delivery_time_ms)}"
    return ""


def choose(
    category: Category, selection: Selection, instruments: Sequence[Instrument], tickers: Tickers, now_ms: int
) -> Choice:
    """Choose symbols.

    Args:
        category: of the recording.
        selection: what is wanted.
        instruments: everything that instruments-info lists.
        tickers: by symbol; may be empty where the selection doesn't need them.
        now_ms: the time, for what is delivered already or soon.
    """
    listed = {i.symbol: i for i in instruments if not gone_because(i, now_ms)}
    symbols: dict[str, None] = {}
    verdicts: list[Verdict] = []
    unlisted: list[str] = []
    for item in selection.items:
        if isinstance(item, Rule):
            verdict = _judge(category, item, listed, tickers, now_ms)
        elif item.is_pattern:
            fitting = tuple(sorted(symbol for symbol in _trading(listed) if matches(item.text, symbol)))
            verdict = Verdict(str(item), len(listed), (Step("fit the pattern", len(fitting)),), fitting)
        else:
            if item.text not in listed:
                unlisted.append(item.text)
            symbols[item.text] = None
            continue
        verdicts.append(verdict)
        symbols.update(dict.fromkeys(verdict.symbols))
    return Choice(tuple(symbols), tuple(verdicts), tuple(dict.fromkeys(unlisted)))


def follow(
    category: Category,
    selection: Selection,
    recorded: Iterable[str],
    instruments: Sequence[Instrument],
    tickers: Tickers,
    now_ms: int,
) -> tuple[Choice, Changes]:
    """Choose anew, beside what is recorded already.

    A recorded symbol ends when it is gone, or when only ``strict`` rules describe it and none of them chooses it.
    One that no rule describes at all (asked for by name, or by a full topic) ends only when it is gone.
    """
    choice = choose(category, selection, instruments, tickers, now_ms)
    by_symbol = {instrument.symbol: instrument for instrument in instruments}
    rules = [item for item in selection.items if isinstance(item, Rule)]
    chosen, recorded = set(choice.symbols), list(dict.fromkeys(recorded))
    removed: list[tuple[str, str]] = []
    held: list[str] = []
    for symbol in recorded:
        instrument = by_symbol.get(symbol)
        why = gone_because(instrument, now_ms)
        if not why and symbol not in chosen and instrument is not None:
            describing = [rule for rule in rules if _described(category, rule, instrument, now_ms)]
            if describing and all(rule.strict for rule in describing):
                why = f"not chosen any more by {describing[0]}"
            elif describing:
                held.append(symbol)
        if why:
            removed.append((symbol, why))
    known = set(recorded)
    # a name is chosen whatever its instrument says, which may be listed for a while after its end
    added = tuple(
        symbol
        for symbol in choice.symbols
        if symbol not in known and symbol in by_symbol and not gone_because(by_symbol[symbol], now_ms)
    )
    return choice, Changes(added, tuple(removed), tuple(held))


# -- one rule ----------------------------------------------------------------------------------------------


def _trading(listed: Mapping[str, Instrument]) -> list[str]:
    return [symbol for symbol, instrument in listed.items() if instrument.status in ("Trading", "")]


def _judge(
    category: Category, rule: Rule, listed: Mapping[str, Instrument], tickers: Tickers, now_ms: int
) -> Verdict:
    left = [i.symbol for i in listed.values() if _described(category, rule, i, now_ms)]
    steps = [Step(f"are {rule.description}" if rule.description != "all" else "trade", len(left))]
    without: set[str] = set()
    for condition in rule.conditions:
        values = {symbol: _number(tickers, symbol, condition.field) for symbol in left}
        without.update(symbol for symbol, value in values.items() if value is None)
        left = [symbol for symbol, value in values.items() if value is not None and condition.holds(value)]
        steps.append(Step(f"with {condition}", len(left)))
    left.sort()
    cut: list[tuple[str, str]] = []
    if rule.top:
        ranked = [
            (value, symbol) for symbol in left if (value := _number(tickers, symbol, rule.by)) is not None
        ]
        without.update(set(left) - {symbol for _, symbol in ranked})
        ranked.sort(key=lambda pair: pair[1])
        ranked.sort(key=lambda pair: pair[0], reverse=True)  # stable: equals stay in order of their names
        left = [symbol for _, symbol in ranked[: rule.top]]
        cut = [(symbol, f"{rule.by} {value}") for value, symbol in ranked[rule.top :]]
        steps.append(Step(f"in the top {rule.top} by {rule.by}", len(left)))
    return Verdict(str(rule), len(listed), tuple(steps), tuple(left), tuple(cut), len(without))


def _described(category: Category, rule: Rule, instrument: Instrument, now_ms: int) -> bool:
    """Whether an instrument is of the sort a rule means, whatever its ticker says."""
    if (instrument.status or "Trading") != rule.status or _excludes(rule.excluded, instrument.symbol):
        return False
    coins = {instrument.quote_coin, instrument.settle_coin}
    if category is Category.OPTION:
        coins.add(instrument.base_coin)
    return (
        (not rule.coin or rule.coin in coins)
        and (not rule.base or rule.base == instrument.base_coin)
        and (not rule.quote or rule.quote == instrument.quote_coin)
        and (not rule.settle or rule.settle == instrument.settle_coin)
        and _is_of_kind(category, rule.kind, instrument)
        and (rule.expiry is None or _expires(rule.expiry, instrument.delivery_time_ms, now_ms))
    )


def _excludes(names: Iterable[Name], symbol: str) -> bool:
    return any(matches(name.text, symbol) if name.is_pattern else name.text == symbol for name in names)


def _is_of_kind(category: Category, kind: Kind, instrument: Instrument) -> bool:
    match kind:
        case Kind.PERPETUAL:
            return instrument.contract_type.endswith("Perpetual")
        case Kind.FUTURE:
            return instrument.contract_type.endswith("Futures")
        case Kind.CALL | Kind.PUT:
            # BTC-25DEC26-100000-C-USDT: the letter is the fourth part
            return instrument.symbol.split("-")[3:4] == ["C" if kind is Kind.CALL else "P"]
        case Kind.OPTION:
            return category is Category.OPTION
    return True


def _expires(expiry: Expiry, delivery_ms: int | None, now_ms: int) -> bool:
    if delivery_ms is None:
        return False
    if expiry.how == "within":
        return delivery_ms <= now_ms + expiry.days * MS_PER_DAY
    day_ms = int(datetime.fromisoformat(expiry.date).replace(tzinfo=UTC).timestamp()) * 1000
    return delivery_ms < day_ms if expiry.how == "before" else day_ms <= delivery_ms < day_ms + MS_PER_DAY


def _number(tickers: Tickers, symbol: str, field: str) -> Decimal | None:
    """A field of a ticker as an exact decimal; null where it is absent, empty or no plain number."""
    text = tickers.get(symbol, {}).get(field)
    if not isinstance(text, str) or not 0 < len(text) <= _MAXIMUM_TEXT or not text.isascii():
        return None
    digits = text.removeprefix("-")
    return Decimal(text) if digits.replace(".", "", 1).isdigit() and digits[0] != "." else None


def _moment(ms: int) -> str:
    return (
        datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if ms < 253_402_300_800_000
        else str(ms)
    )
