"""Statements in a text that is still being written: where one ends, and whether the last one has."""

from __future__ import annotations

import duckdb

__all__ = ["is_complete", "split_statements"]


def split_statements(text: str) -> tuple[list[str], str]:
    """Return the statements that end with a semicolon, without it, and what is left behind the last one.

    Semicolons in quotes and comments end nothing. Statements of nothing but comments are left out.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError:  # a stray byte from a terminal; whoever runs it says so
        return [text], ""
    statements: list[str] = []
    start, has_words = 0, False
    for at, kind in duckdb.tokenize(text):
        if kind.name == "operator" and content[at : at + 1] == b";":
            if has_words:
                statements.append(content[start:at].decode().strip())
            start, has_words = at + 1, False
        elif kind.name != "comment":
            has_words = True
    rest = content[start:].decode()
    return statements, rest.strip() if has_words or _is_open(rest) else ""


def _is_open(comments: str) -> bool:
    """Whether the last comment goes on, so that a word behind it would be part of it."""
    return all(kind.name == "comment" for _, kind in duckdb.tokenize(f"{comments}\nx"))


def is_complete(text: str) -> bool:
    """Whether there is nothing left to write: a statement has its semicolon, a command of the shell is one line."""
    stripped = text.strip()
    if not stripped or stripped.startswith("\\") or stripped.lower() in ("help", "exit", "quit"):
        return True
    return not split_statements(text)[1]
