"""The words that a query over an archive is made of, and which of them may follow where the cursor is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import duckdb

from recorder.archive import Archive
from recorder.ranges.function import RangeFunction
from recorder.sql.describe import columns_of
from recorder.sql.functions import TABLE_FUNCTIONS
from schemas.names import Table

__all__ = ["Candidate", "Column", "Vocabulary", "candidates", "open_call", "vocabulary_of"]

_BEFORE_A_TABLE: Final = frozenset(("from", "join", "describe", "summarize", "pivot", "unpivot", "table"))
_MOST_CANDIDATES: Final = 500


class Column(NamedTuple):
    """A column of a view or function."""

    name: str
    type: str


class Candidate(NamedTuple):
    """A word that may follow.

    Attributes:
        text: the word.
        length: how many characters before the cursor it replaces.
        kind: what it is, in a word or two.
    """

    text: str
    length: int
    kind: str


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words.

    Attributes:
        views: of the archive, with their columns.
        functions: those that are called like tables, with their columns.
        scalars: other functions of DuckDB and ours.
        keywords: of SQL.
        values: symbols, and what else stands between quotes.
    """

    views: Mapping[str, Sequence[Column]]
    functions: Mapping[str, tuple[RangeFunction, Sequence[Column]]]
    scalars: Sequence[str]
    keywords: Sequence[str]
    values: Sequence[str]

    def columns(self, relation: str) -> Sequence[Column]:
        """The columns of a view or function; none if there is no such."""
        if relation in self.functions:
            return self.functions[relation][1]
        return self.views.get(relation, ())


def vocabulary_of(archive: Archive) -> Vocabulary:
    """Ask an archive for its words."""
    views: dict[str, list[Column]] = {}
    columns = archive.sql(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal "
        "ORDER BY table_name, column_index"
    )
    for row in columns.table().to_pylist():
        views.setdefault(row["table_name"], []).append(Column(row["column_name"], row["data_type"]))
    names = archive.sql(
        "SELECT DISTINCT function_name AS name FROM duckdb_functions() "
        "WHERE function_type IN ('scalar', 'aggregate', 'macro') AND function_name SIMILAR TO '[a-z]\\w*' ORDER BY 1"
    )
    keywords = archive.sql("SELECT keyword_name AS name FROM duckdb_keywords() ORDER BY 1")
    pairs = {pair for table in Table for pair in archive.manifest.symbols(table)}
    values = sorted({symbol for _, symbol in pairs if symbol != "_"}) + sorted(
        {category for category, _ in pairs}
    )
    return Vocabulary(
        views,
        {
            name: (function, [Column(column, type_) for column, type_, _ in columns_of(function)])
            for name, function in TABLE_FUNCTIONS.items()
        },
        names.table()["name"].to_pylist(),
        keywords.table()["name"].to_pylist(),
        values,
    )


class _Word(NamedTuple):
    text: str
    kind: str
    end: int


def candidates(before: str, after: str, words: Vocabulary) -> list[Candidate]:
    """Return what may be meant by the word before the cursor, likeliest first.

    Args:
        before: the query up to the cursor.
        after: and behind it.
        words: to choose from.
    """
    tokens = _words(before)
    if _in_comment(before):
        return []
    if tokens and tokens[-1].kind == "string_const" and _is_open(tokens[-1].text):
        return _fitting(tokens[-1].text[1:], _of("value", words.values))
    prefix = _prefix(before)
    earlier = tokens[:-1] if prefix else tokens
    last = earlier[-1].text.lower() if earlier else ""
    relations = _relations(_words(before + after), words)
    if last == "." and len(earlier) > 1:
        owner = relations.get(earlier[-2].text.lower(), "")
        return _fitting(prefix, _columns(words.columns(owner)))
    tables: list[Iterable[Candidate]] = [
        _of("function", (f"{name}(" for name in words.functions)),
        _of("view", words.views),
    ]
    call = _open_function(earlier, words)
    if last in _BEFORE_A_TABLE or (last == "," and call is None and _in_from(earlier)):
        found = tables
    else:
        columns = [_columns(words.columns(name)) for name in dict.fromkeys(relations.values())]
        found = [
            *(
                [_of("argument", (f"{each.name} := " for each in call.parameters))]
                if call is not None
                else []
            ),
            *columns,
            _of("keyword", (_cased(word, prefix) for word in words.keywords)),
            _of("function", (f"{name}(" for name in words.scalars)),
            *tables,
        ]
    return _fitting(prefix, (each for group in found for each in group))


def open_call(before: str, words: Vocabulary) -> RangeFunction | None:
    """Return the table function between whose parentheses the cursor is, if it is between any."""
    return _open_function(_words(before), words)


def _open_function(tokens: Sequence[_Word], words: Vocabulary) -> RangeFunction | None:
    depth = 0
    for index in range(len(tokens) - 1, 0, -1):
        depth += (tokens[index].text == ")") - (tokens[index].text == "(")
        if depth < 0:
            found = words.functions.get(tokens[index - 1].text.lower())
            return None if found is None else found[0]
    return None


def _in_from(tokens: Sequence[_Word]) -> bool:
    """Whether the last clause that began is FROM."""
    for token in reversed(tokens):
        word = token.text.lower()
        if word in ("from", "join"):
            return True
        if word in ("select", "where", "by", "having", "on", "using", "limit", "qualify", "values"):
            return False
    return False


def _relations(tokens: Sequence[_Word], words: Vocabulary) -> dict[str, str]:
    """The views and functions that a query names, by their names and by the aliases that it gives them."""
    found: dict[str, str] = {}
    for index, token in enumerate(tokens):
        name = token.text.lower()
        if name not in words.views and name not in words.functions:
            continue
        found[name] = name
        behind = _behind_parentheses(tokens, index + 1)
        if behind < len(tokens) and tokens[behind].text.lower() == "as":
            behind += 1
        if behind < len(tokens) and tokens[behind].kind == "identifier":
            found[tokens[behind].text.lower()] = name
    return found


def _behind_parentheses(tokens: Sequence[_Word], index: int) -> int:
    if index >= len(tokens) or tokens[index].text != "(":
        return index
    depth = 0
    for at in range(index, len(tokens)):
        depth += (tokens[at].text == "(") - (tokens[at].text == ")")
        if depth == 0:
            return at + 1
    return len(tokens)


def _fitting(prefix: str, found: Iterable[Candidate]) -> list[Candidate]:
    fitting: dict[str, Candidate] = {}
    for candidate in found:
        if candidate.text.lower().startswith(prefix.lower()) and candidate.text != prefix:
            fitting.setdefault(candidate.text.lower(), candidate._replace(length=len(prefix)))
            if len(fitting) == _MOST_CANDIDATES:
                break
    return list(fitting.values())


def _of(kind: str, texts: Iterable[str]) -> Iterator[Candidate]:
    return (Candidate(text, 0, kind) for text in texts)


def _columns(columns: Iterable[Column]) -> Iterator[Candidate]:
    return (Candidate(column.name, 0, column.type) for column in columns)


def _cased(word: str, prefix: str) -> str:
    return word.lower() if prefix and prefix == prefix.lower() else word.upper()


def _prefix(before: str) -> str:
    found = re.search(r"[^\W\d]\w*$", before)
    return found[0] if found else ""


def _is_open(text: str) -> bool:
    return text.startswith("'") and (len(text) == 1 or not text.endswith("'"))


def _clean(text: str) -> str:
    """Text as it is, but for stray bytes that a terminal may send."""
    return text.encode(errors="replace").decode()


def _in_comment(text: str) -> bool:
    text = _clean(text)
    found = duckdb.tokenize(text)
    if not found or found[-1][1].name != "comment":
        return False
    comment = text.encode()[found[-1][0] :]
    return not comment.endswith(b"*/") if comment.startswith(b"/*") else b"\n" not in comment


def _words(text: str) -> list[_Word]:
    text = _clean(text)
    content = text.encode()
    found = [(at, kind.name) for at, kind in duckdb.tokenize(text)]
    ends = [*(at for at, _ in found[1:]), len(content)]
    words = []
    for (at, kind), end in zip(found, ends, strict=False):
        if kind != "comment":
            part = content[at:end].decode(errors="replace").rstrip()
            words.append(_Word(part, kind, end))
    return words
