"""Statements in a text that is still being written: where one ends, and whether the last one has."""

from __future__ import annotations

import duckdb

__all__ = ["is_complete", "split_statements"]


def split_statements(text: str) -> tuple[list[str], str]:
    """Return the statements that end with a semicolon, without it, and what is left behind the last one.

    Semicolons in quotes and comments end nothing. Statements of nothing but comments are left out.
    """
    content = text.encode()
    statements: list[str] = []
    start, has_words = 0, False
    for at, kind in duckdb.tokenize(text):
        if kind.name == "operator" and content[at : at + 1] == b";":
            if has_words:
                statements.append(content[start:at].decode().strip())
            start, has_words = at + 1, False
        elif kind.name != "comment":
            has_words = True
    return statements, content[start:].decode().strip() if has_words else ""


def is_complete(text: str) -> bool:
    """Whether there is nothing left to write: a statement has its semicolon, a command of the shell is one line."""
    stripped = text.strip()
    if not stripped or stripped.startswith("\\") or stripped.lower() in ("help", "exit", "quit"):
        return True
    return not split_statements(text)[1]
