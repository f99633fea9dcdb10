"""The rule language of ``--symbols``: text in, a selection out. Pure; grammar and examples are in docs/universe.md.

::

    parse_selection("USDT perpetuals with turnover24h > 5e6, top 100; BTC-*", Category.LINEAR)

``str`` of what comes out is the same selection in one canonical spelling. An error points at the word that was found,
says what was expected, and what is nearest.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Collection
from decimal import Decimal
from typing import Final

import msgspec

from engine.bybit.selection import COIN_ROLES, FIELDS, Condition, Expiry, Kind, Name, Rule, Selection
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["RuleError", "parse_selection"]

MAXIMUM_CHARACTERS: Final = 200_000
MAXIMUM_ITEMS: Final = 20_000
MAXIMUM_CONDITIONS: Final = 32
MAXIMUM_SYMBOL: Final = 64
MAXIMUM_TOP: Final = 100_000
MAXIMUM_DAYS: Final = 3_650
MAXIMUM_ADJUSTED: Final = 40


class RuleError(ConfigError):
    """A selection that can't be read: points at the word."""


_KINDS_OF: Final = {
    Category.SPOT: (Kind.ANY,),
    Category.LINEAR: (Kind.ANY, Kind.PERPETUAL, Kind.FUTURE),
    Category.INVERSE: (Kind.ANY, Kind.PERPETUAL, Kind.FUTURE),
    Category.OPTION: (Kind.ANY, Kind.OPTION, Kind.CALL, Kind.PUT),
    Category.SPREAD: (Kind.ANY,),
}
_NOUNS: Final = {
    **dict.fromkeys(("symbols", "symbol", "pairs", "pair", "instruments", "contracts"), Kind.ANY),
    **dict.fromkeys(("perpetuals", "perpetual", "perps", "perp"), Kind.PERPETUAL),
    **dict.fromkeys(("futures", "future", "dated"), Kind.FUTURE),
    "options": Kind.OPTION,
    **dict.fromkeys(("calls", "call"), Kind.CALL),
    **dict.fromkeys(("puts", "put"), Kind.PUT),
}
_CATEGORIES: Final = tuple(category.value for category in Category)
_CLAUSES: Final = ("with", "top", "except", "expiring", "status", "strict")
_RULE_WORDS: Final = frozenset({"all", *_CATEGORIES, *_NOUNS, *COIN_ROLES, *_CLAUSES})
_STATUSES: Final = ("PreLaunch", "Trading", "Delivering", "Closed")
_OPERATORS: Final = (">", ">=", "<", "<=", "=")
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_TOKEN: Final = re.compile(r"[,;]|>=|<=|==|[<>=]|[^\s,;<>=]+")
_NUMBER: Final = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_COIN: Final = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)
_SYMBOL: Final = re.compile(
    r"[!#-&(-+\--:?-\[\]-`{-~]{1,64}", re.ASCII
)  # printable, without space " ' , ; < = > \


class _Word(msgspec.Struct, frozen=True):
    text: str
    start: int

    @property
    def is_separator(self) -> bool:
        return self.text in ",;"

    @property
    def keyword(self) -> str:
        """The word in lower case; a word in capitals is a symbol or a coin."""
        return "" if self.text == self.text.upper() else self.text.lower()


class _Draft:
    """A rule while it is being read."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.conditions: list[Condition] = []
        self.excluded: list[Name] = []

    def rule(self) -> Rule:
        return Rule(**self.values, conditions=tuple(self.conditions), excluded=tuple(self.excluded))  # type: ignore[arg-type]


class _Parser:
    def __init__(self, text: str, category: Category) -> None:
        self._text = text
        self._category = category
        self._words = [_Word(found.group(), found.start()) for found in _TOKEN.finditer(text)]
        self._at = 0

    # -- the words -----------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> _Word | None:
        at = self._at + ahead
        return self._words[at] if at < len(self._words) else None

    def _ends(self, ahead: int = 0) -> bool:
        word = self._peek(ahead)
        return word is None or word.is_separator

    def _next(self, expected: str) -> _Word:
        word = self._peek()
        if word is None:
            raise self._error(None, expected)
        self._at += 1
        return word

    def _error(
        self, word: _Word | None, expected: str, choices: Collection[str] = (), why: str = ""
    ) -> RuleError:
        """Point at a word (None: behind the end)."""
        start = len(self._text.rstrip()) if word is None else word.start
        shown = word.text[:60] if word is not None else ""
        found = f"found {shown!r} at character {start + 1}" if word is not None else "found the end"
        near = ""
        if choices and word is not None:
            lower = {choice.lower(): choice for choice in choices}
            closest = difflib.get_close_matches(word.text[:60].lower(), lower, n=1, cutoff=0.0)[0]
            near = f"; the nearest is {lower[closest]!r}"
        low, high = max(0, start - 50), min(len(self._text), start + 60)
        line = "".join(c if c.isprintable() else "?" for c in self._text[low:high])
        mark = " " * (start - low) + "^" * max(1, min(len(shown), high - start))
        because = f" ({why})" if why else ""
        return RuleError(f"--symbols: {found}{because}, expected {expected}{near}\n  {line}\n  {mark}")

    # -- the grammar ---------------------------------------------------------------------------------------

    def selection(self) -> Selection:
        items: list[Name | Rule] = []
        while self._peek() is not None:
            if self._ends():
                self._at += 1
                continue
            if len(items) >= MAXIMUM_ITEMS:
                raise self._error(self._peek(), f"at most {MAXIMUM_ITEMS} symbols and rules")
            items.append(self._item())
            if not self._ends():
                raise self._error(self._peek(), "a comma, or the end")
        return Selection(tuple(items))

    def _item(self) -> Name | Rule:
        word = self._next("a symbol or a rule")
        if self._ends() and word.keyword not in _RULE_WORDS:
            return self._name(word)
        self._at -= 1
        return self._rule()

    def _name(self, word: _Word) -> Name:
        text = word.text
        if text != text.upper():
            raise self._error(
                word, "a symbol in capitals, or a rule", {text[:MAXIMUM_SYMBOL].upper(), *_RULE_WORDS}
            )
        if not _SYMBOL.fullmatch(text) or not any(c.isalpha() or c in "*?" for c in text):
            raise self._error(word, f"a symbol such as BTCUSDT, of at most {MAXIMUM_SYMBOL} characters")
        return Name(text)

    def _rule(self) -> Rule:
        draft = _Draft()
        first = True
        while True:
            if self._ends() and not self._goes_on():
                return draft.rule()
            word = self._next("a rule")
            if not (first and word.keyword == "all"):
                self._word(draft, word)
            first = False

    def _goes_on(self) -> bool:
        """Whether what is behind a comma still belongs to the rule: ``…, top 100``; steps over the comma."""
        word, behind = self._peek(), self._peek(1)
        goes_on = (
            word is not None
            and word.text == ","
            and behind is not None
            and behind.keyword in (*_CLAUSES, "and")
        )
        if goes_on:
            self._at += 1
        return goes_on

    def _word(self, draft: _Draft, word: _Word) -> None:
        keyword = word.keyword
        if keyword in ("with", "top") and not FIELDS[self._category]:
            raise self._error(
                word,
                "symbols, patterns such as BTC*, or coins",
                why=f"tickers of {self._category.value} can't be asked for all at once",
            )
        if keyword in _CATEGORIES:
            self._set(draft, word, "category", self._its_category(word))
        elif keyword in _NOUNS:
            self._set(draft, word, "kind", self._kind(word))
            behind = self._peek()
            if keyword == "dated" and behind is not None and behind.keyword in ("future", "futures"):
                self._at += 1
        elif keyword in COIN_ROLES:
            self._set(draft, word, keyword, self._coin(self._next("a coin such as USDT")))
        elif keyword == "with" or (keyword == "and" and draft.conditions):
            self._has_tickers(word)
            self._conditions(draft)
        elif keyword == "top":
            self._has_tickers(word)
            self._set(draft, word, "top", self._count("a count", MAXIMUM_TOP))
            behind = self._peek()
            if behind is not None and behind.keyword == "by":
                self._at += 1
                draft.values["by"] = self._field()
        elif keyword == "expiring":
            self._set(draft, word, "expiry", self._expiry())
        elif keyword == "status":
            self._set(draft, word, "status", self._status())
        elif keyword == "strict":
            self._set(draft, word, "strict", True)
        elif keyword == "except":
            self._excluded(draft)
        elif not keyword and _COIN.fullmatch(word.text) and not any(c.islower() for c in word.text):
            self._set(draft, word, "coin", word.text)
        else:
            raise self._error(
                word,
                "a coin, a kind, or one of " + ", ".join(_CLAUSES),
                _RULE_WORDS | {"and"} if keyword else (),
            )

    def _has_tickers(self, word: _Word) -> None:
        if not FIELDS[self._category]:
            why = f"tickers of {self._category.value} can't be asked for all at once"
            raise self._error(word, "symbols, patterns, or a rule without fields", why=why)

    def _set(self, draft: _Draft, word: _Word, name: str, value: object) -> None:
        if name in draft.values:
            raise self._error(word, "a comma before the next rule", why=f"the rule has a {name} already")
        draft.values[name] = value

    def _its_category(self, word: _Word) -> Category:
        category = Category(word.keyword)
        if category is not self._category:
            raise self._error(
                word,
                f"{self._category.value} or no category",
                why=f"this recording is of {self._category.value}",
            )
        return category

    def _kind(self, word: _Word) -> Kind:
        kind, has = _NOUNS[word.keyword], _KINDS_OF[self._category]
        if kind not in has:
            raise self._error(
                word,
                "one of " + ", ".join(kind.value for kind in has),
                why=f"{self._category.value} has no {kind.value}",
            )
        return kind

    def _coin(self, word: _Word) -> str:
        if not _COIN.fullmatch(word.text):
            raise self._error(word, "a coin in capitals, such as USDT")
        return word.text

    def _count(self, what: str, highest: int) -> int:
        word = self._next(f"{what} from 1 to {highest}")
        digits = word.text if word.text.isascii() and word.text.isdigit() and len(word.text) < 10 else "0"
        if not 1 <= int(digits) <= highest:
            raise self._error(word, f"{what} from 1 to {highest}")
        return int(digits)

    def _field(self) -> str:
        fields = FIELDS[self._category]
        word = self._next("a field of the tickers, such as turnover24h")
        by_lower = {field.lower(): field for field in fields}
        if word.text.lower() not in by_lower:
            raise self._error(word, "a field of the tickers: " + ", ".join(fields), fields)
        return by_lower[word.text.lower()]

    def _conditions(self, draft: _Draft) -> None:
        while True:
            if len(draft.conditions) >= MAXIMUM_CONDITIONS:
                raise self._error(self._peek(), f"at most {MAXIMUM_CONDITIONS} conditions")
            field = self._field()
            word = self._next("one of " + " ".join(_OPERATORS))
            operator = "=" if word.text == "==" else word.text
            if operator not in _OPERATORS:
                raise self._error(word, "one of " + " ".join(_OPERATORS))
            draft.conditions.append(Condition(field, operator, self._number()))
            behind = self._peek()
            if behind is None or behind.keyword != "and":
                return
            self._at += 1

    def _number(self) -> Decimal:
        word = self._next("a number such as 5e6")
        if not _NUMBER.fullmatch(word.text):
            raise self._error(word, "a number such as 5000000, 5e6 or 0.01, without grouping")
        value = Decimal(word.text)
        if not value:
            return Decimal(0)
        if abs(value.adjusted()) > MAXIMUM_ADJUSTED:
            raise self._error(word, f"a number between 1e-{MAXIMUM_ADJUSTED} and 1e{MAXIMUM_ADJUSTED}")
        return value

    def _status(self) -> str:
        word = self._next("one of " + ", ".join(_STATUSES))
        by_lower = {status.lower(): status for status in _STATUSES}
        if word.text.lower() not in by_lower:
            raise self._error(word, "one of " + ", ".join(_STATUSES), _STATUSES)
        return by_lower[word.text.lower()]

    def _expiry(self) -> Expiry:
        expected = "a date such as 25DEC26 or 2026-12-25, 'before' a date, or 'within' some days"
        word = self._next(expected)
        if word.keyword == "within":
            days = self._count("a number of days", MAXIMUM_DAYS)
            behind = self._next("'days'")
            if behind.keyword not in ("days", "day"):
                raise self._error(behind, "'days'")
            return Expiry("within", days=days)
        how = "before" if word.keyword == "before" else "on"
        if how == "before":
            word = self._next("a date such as 25DEC26 or 2026-12-25")
        date = _iso_date(word.text)
        if not date:
            raise self._error(word, expected)
        return Expiry(how, date)

    def _excluded(self, draft: _Draft) -> None:
        while True:
            draft.excluded.append(self._name(self._next("a symbol to leave out")))
            if len(draft.excluded) > MAXIMUM_ITEMS:
                raise self._error(self._peek(), f"at most {MAXIMUM_ITEMS} symbols to leave out")
            comma, name, behind = self._peek(), self._peek(1), self._peek(2)
            if comma is None or comma.text != "," or name is None or name.is_separator or name.keyword:
                return
            if behind is not None and not behind.is_separator and behind.keyword not in _CLAUSES:
                return  # a rule of its own begins behind the comma
            self._at += 1


def _iso_date(text: str) -> str:
    """``25DEC26`` (as in symbols) or ``2026-12-25`` as ISO 8601; empty when it is no day of the calendar."""
    try:
        match = re.fullmatch(r"(\d{1,2})([A-Za-z]{3})(\d{2})", text, re.ASCII)
        if match is not None:
            month = _MONTHS.index(match[2].upper()) + 1
            return datetime.date(2000 + int(match[3]), month, int(match[1])).isoformat()
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    return ""


def parse_selection(text: str, category: Category) -> Selection:
    """Read a selection: symbols, patterns and rules, separated by commas (or semicolons).

    Args:
        text: what ``--symbols`` was given.
        category: of the recording; a rule that names another one is refused.

    Raises:
        RuleError: with the word found, what was expected, what is nearest, and a line that points at it.
    """
    if len(text) > MAXIMUM_CHARACTERS:
        raise RuleError(
            f"--symbols: found {len(text)} characters, expected at most {MAXIMUM_CHARACTERS}: use a rule or a pattern"
        )
    return _Parser(text, category).selection()
