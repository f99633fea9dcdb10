"""What a query may be, and what DuckDB's errors come to."""

from __future__ import annotations

import re
from typing import Final

import duckdb

from schemas.errors import ConfigError, DataError, StoreError, TapebookError

__all__ = ["refuse_all_but_reading", "translated"]

_EXPLAIN: Final = re.compile(r"\A\s*explain(?:\s+analyze)?(?:\s*\([^()]*\))?\s+(?P<rest>.*)\Z", re.I | re.S)


def refuse_all_but_reading(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Let one statement that only reads pass. Raises ConfigError for anything else, and what DuckDB's parser raises."""
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise ConfigError(f"a query is one statement; {len(statements)} were given")
    kind = statements[0].type.name
    explained = _EXPLAIN.match(query)
    if kind == "EXPLAIN" and explained is not None:
        # EXPLAIN ANALYZE runs what it explains, so that has to be a reading statement too.
        refuse_all_but_reading(connection, explained["rest"])
    elif kind != "SELECT" and not (kind == "MULTI" and _is_pivot(query)):
        raise ConfigError(
            f"{kind} statements are not for archives, which are only read; "
            "use SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE, PIVOT or EXPLAIN"
        )


def translated(error: Exception) -> TapebookError:
    """Return DuckDB's own words as an error of ours: the disk's, a damaged file's, or else the query's."""
    text = str(error)
    if found := re.search(r"^\s*StoreError: (.+)$", text, re.M):  # of an object store, through DuckDB
        return StoreError(found[1])
    if isinstance(error, duckdb.IOException) or text.startswith("IO Error"):
        return StoreError(
            f"{text}\nrun `tapebook verify` to see which files are missing or damaged; if the archive was compacted "
            "long after it was opened here, open it again"
        )
    if ".parquet" in text:
        return DataError(f"{text}\nrun `tapebook verify` to see which files are damaged")
    return ConfigError(text)


def _is_pivot(query: str) -> bool:
    return re.match(r"\s*(pivot|unpivot|from|with|select)\b", query, re.I) is not None
