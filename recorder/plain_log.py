"""The log on standard error: what others say is told in it as text, for a terminal obeys escape sequences."""

from __future__ import annotations

import logging
import sys

__all__ = ["log_to_stderr", "plain"]


def plain(text: str) -> str:
    """Text with everything unprintable but line ends and tabs replaced."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else "?" for one in text)


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


def log_to_stderr(level: int) -> None:
    """Tell of everything from a level on, in place of how it was told before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("tapebook: %(levelname)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
