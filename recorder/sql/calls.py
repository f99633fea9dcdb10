"""Calls of our functions in the text of a query: where they are, and the query with something in their place.

DuckDB's Python has no table functions of its own making, and its parsed form of a statement (``json_serialize_sql``)
knows neither EXPLAIN nor PIVOT. So its own lexer finds the calls, which knows comments and every way to quote, and only
their bytes are replaced: whatever else DuckDB says about a query is about what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

import duckdb

from schemas.errors import ConfigError

__all__ = ["Argument", "Call", "Piece", "replace_calls", "tables_read"]

_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")
_NAMES_AN_ARGUMENT: Final = frozenset((":=", "=>"))
# What may follow a table in a query. Any other word behind a call is the alias that it was given.
_CLAUSES: Final = frozenset((
    "anti", "asof", "cross", "except", "for", "from", "full", "fetch", "group", "having", "inner",
    "intersect", "join", "left", "limit", "natural", "offset", "on", "order", "pivot", "positional",
    "qualify", "right", "sample", "select", "semi", "tablesample", "union", "unpivot", "using", "where",
    "window", "with",
))  # fmt: skip


_NAMES_A_TABLE: Final = frozenset(("from", "join", "pivot", "summarize", "table", "unpivot"))
# Behind these, a comma separates no tables any more.
_ENDS_TABLES: Final = frozenset((
    "except", "fetch", "group", "having", "intersect", "limit", "offset", "order", "qualify", "sample",
    "select", "tablesample", "union", "where", "window", "with",
))  # fmt: skip


class Piece(NamedTuple):
    """A part of a query with the values of its parameters, which are numbered from $1 in it."""

    text: str
    values: list[object]


class Argument(NamedTuple):
    """An argument of a call; ``name`` is None where it was given by its position."""

    name: str | None
    expression: Piece


class Call(NamedTuple):
    """A call of a table function."""

    name: str
    arguments: list[Argument]


class _Token(NamedTuple):
    text: str
    kind: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        return self.kind in ("identifier", "keyword")

    @property
    def name(self) -> str:
        """A name as DuckDB understands it: without its quotes, whatever the case."""
        quoted = self.text.startswith('"') and self.text.endswith('"') and len(self.text) > 1
        return (self.text[1:-1].replace('""', '"') if quoted else self.text).lower()


def replace_calls(
    query: str,
    parameters: Sequence[object],
    names: Collection[str],
    relation: Callable[[Call], str],
) -> Piece:
    """Return a query with each call of a function as the relation that ``relation`` names for it.

    Args:
        query: the text; of DuckDB's grammar or not, which it will say itself.
        parameters: values of ``?`` or ``$1``, ``$2``, …
        names: of the functions, in lower case.
        relation: makes the rows of a call known to DuckDB and returns the name that they have there.

    Raises:
        ConfigError: a parameter has no value; and what ``relation`` raises.
    """
    return _Rewriting(query, parameters, names, relation).whole()


def tables_read(query: str) -> set[str]:
    """Return the names that stand where a query names its tables, in lower case, the last part of a longer name.

    Names of WITH are among them; functions are not.

    Args:
        query: a text that DuckDB understands.
    """
    tokens = _tokens(query.encode())
    found = set()
    is_due = is_list = False
    outer: list[bool] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        if token.text == "(":
            outer.append(is_list)
            is_list = is_due  # FROM (a JOIN b): what is due is due in there
        elif token.text == ")":
            is_due, is_list = False, outer.pop() if outer else False
        elif token.text == ",":
            is_due = is_list
        elif not token.is_word:
            is_due = False
        elif token.kind == "keyword" and token.name in _NAMES_A_TABLE:
            is_due = is_list = True
        elif token.kind == "keyword" and token.name in _ENDS_TABLES:
            is_due = is_list = False
        elif is_due and not (token.kind == "keyword" and token.name == "lateral"):
            while index + 1 < len(tokens) and tokens[index].text == "." and tokens[index + 1].is_word:
                token = tokens[index + 1]
                index += 2
            if index == len(tokens) or tokens[index].text != "(":
                found.add(token.name)
            is_due = False
    return found


class _Rewriting:
    def __init__(
        self,
        query: str,
        parameters: Sequence[object],
        names: Collection[str],
        relation: Callable[[Call], str],
    ) -> None:
        try:
            self._query = query.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"the query is no UTF-8: found a stray byte or half a character at {error.start + 1} of its "
                f"{len(query)} characters"
            ) from None
        self._tokens = _tokens(self._query)
        self._parameters = parameters
        self._names = names
        self._relation = relation
        self._ordinals = self._parameter_ordinals()

    def whole(self) -> Piece:
        text, values = bytearray(), _Values(self._parameters)
        at = 0
        index = 0
        while index < len(self._tokens):
            end = self._call_end(index)
            if end is None:
                at = self._copy(text, values, at, index)
                index += 1
                continue
            call = Call(self._tokens[index].name, self._arguments(index + 2, end))
            text += self._query[at : self._tokens[index].start]
            text += self._in_place(self._relation(call), index, end)
            at = self._tokens[end].end
            index = end + 1
        text += self._query[at:]
        return Piece(text.decode(), values.used)

    def _call_end(self, index: int) -> int | None:
        """The index of the closing parenthesis of the call that begins at a token, None where none begins."""
        token = self._tokens[index]
        if not token.is_word or token.name not in self._names or not self._is(index + 1, "("):
            return None
        before = self._tokens[index - 1] if index else None
        if before is not None and (
            before.text in (".", ")")
            or before.kind == "identifier"
            or before.kind.endswith("const")
            or before.name == "as"
        ):
            return None  # part of a longer name, or an alias with names of columns behind it
        end = self._closing(index + 1)
        if end is None:
            return None
        if self._is(end + 1, "as") and self._is_any(end + 2, ("(", "not", "materialized")):
            return None  # names of the columns of WITH
        return end

    def _closing(self, opening: int) -> int | None:
        depth = 0
        for index in range(opening, len(self._tokens)):
            text = self._tokens[index].text
            depth += (text in _OPENING) - (text in _CLOSING)
            if depth == 0:
                return index
        return None

    def _arguments(self, start: int, end: int) -> list[Argument]:
        arguments = []
        for first, last in self._split(start, end):
            name = None
            if (
                first + 1 < last
                and self._tokens[first].is_word
                and self._is_any(first + 1, _NAMES_AN_ARGUMENT)
            ):
                name = self._tokens[first].name
                first += 2
            arguments.append(Argument(name, self._piece(first, last)))
        return arguments

    def _split(self, start: int, end: int) -> list[tuple[int, int]]:
        """Where the arguments between two tokens are: first token, and the one behind the last."""
        parts = []
        depth, first = 0, start
        for index in range(start, end):
            text = self._tokens[index].text
            depth += (text in _OPENING) - (text in _CLOSING)
            if depth == 0 and text == ",":
                parts.append((first, index))
                first = index + 1
        if start < end:
            parts.append((first, end))
        return parts

    def _piece(self, first: int, last: int) -> Piece:
        if first >= last:
            return Piece("", [])
        text, values = bytearray(), _Values(self._parameters)
        at = self._tokens[first].start
        for index in range(first, last):
            at = self._copy(text, values, at, index)
        text += self._query[at : self._tokens[last - 1].end]
        return Piece(text.decode(), values.used)

    def _copy(self, text: bytearray, values: _Values, at: int, index: int) -> int:
        """Copy up to a token; a parameter gets the number that its value has in this text."""
        ordinal = self._ordinals.get(index)
        if ordinal is None:
            return at
        token = self._tokens[index]
        end = token.end if token.text == "?" else self._tokens[index + 1].end
        text += self._query[at : token.start] + f"${values.number(ordinal)}".encode()
        return end

    def _in_place(self, relation: str, index: int, end: int) -> bytes:
        """The relation, by the function's name unless the query gives it another."""
        quoted = '"' + relation.replace('"', '""') + '"'
        follows = self._tokens[end + 1] if end + 1 < len(self._tokens) else None
        has_alias = follows is not None and follows.is_word and follows.name not in _CLAUSES
        described = index > 0 and self._tokens[index - 1].name in ("describe", "desc", "summarize", "show")
        alias = "" if has_alias or described else f" AS {self._tokens[index].name}"
        return f"{quoted}{alias}".encode()

    def _parameter_ordinals(self) -> dict[int, int]:
        """Which tokens are parameters, and of which value; none where no values were given."""
        found: dict[int, int] = {}
        if not self._parameters:
            return found
        marks = 0
        for index, token in enumerate(self._tokens):
            if token.text == "?":
                marks += 1
                found[index] = marks
            elif token.text == "$" and index + 1 < len(self._tokens):
                number = self._tokens[index + 1]
                if number.kind == "numeric_const" and number.text.isdecimal() and number.start == token.end:
                    found[index] = int(number.text)
        return found

    def _is(self, index: int, text: str) -> bool:
        return index < len(self._tokens) and self._tokens[index].text.lower() == text

    def _is_any(self, index: int, texts: Collection[str]) -> bool:
        return index < len(self._tokens) and self._tokens[index].text.lower() in texts


class _Values:
    """The values that a text uses of those given, in the order of their first use."""

    def __init__(self, given: Sequence[object]) -> None:
        self._given = given
        self._numbers: dict[int, int] = {}
        self.used: list[object] = []

    def number(self, ordinal: int) -> int:
        if not 1 <= ordinal <= len(self._given):
            raise ConfigError(f"parameter ${ordinal} has no value: {len(self._given)} were given")
        if ordinal not in self._numbers:
            self.used.append(self._given[ordinal - 1])
            self._numbers[ordinal] = len(self.used)
        return self._numbers[ordinal]


def _tokens(query: bytes) -> list[_Token]:
    """What the lexer finds, without comments."""
    found = [(start, kind.name) for start, kind in duckdb.tokenize(query.decode())]
    ends = [*(start for start, _ in found[1:]), len(query)]
    tokens = []
    for (start, kind), end in zip(found, ends, strict=False):
        text = query[start:end].decode(errors="replace").rstrip()
        if kind != "comment":
            tokens.append(_Token(text, kind, start, start + len(text.encode())))
    return tokens
