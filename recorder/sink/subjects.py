"""Subjects: what names become in them, and which of them a stream takes."""

from __future__ import annotations

import re

from schemas.errors import ConfigError

__all__ = ["check_prefix", "stream_name", "stream_subjects", "subject_token"]

_STRANGE = re.compile(r"[\s.*>%]|[^\x21-\x7e]")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_KINDS = ("frame.>", "state.>", "gap.>", "note.>", "session.>", "rest.>", "record.>", "segment", "break")


def subject_token(text: str, *, dots: bool = False) -> str:
    """Text as one token of a subject: what can't be in one is written as ``%`` and two hex digits for each byte.

    Args:
        text: a name.
        dots: keep them, so that it becomes as many tokens as it has parts.
    """

    def escaped(found: re.Match[str]) -> str:
        return "".join(f"%{byte:02X}" for byte in found[0].encode())

    if dots:
        return ".".join(subject_token(part) for part in text.split("."))
    return _STRANGE.sub(escaped, text) or "%"


def check_prefix(prefix: str) -> str:
    """Return it, or raise ConfigError."""
    if _PREFIX.fullmatch(prefix) is None:
        raise ConfigError(f"--prefix {prefix!r}: expected words of A-Z a-z 0-9 _ - with dots between them")
    return prefix


def stream_name(prefix: str, collector: str) -> str:
    """The stream of a collector; stream names have no dots."""
    return f"{prefix}-{subject_token(collector)}".replace(".", "-")


def stream_subjects(prefix: str, collector: str) -> list[str]:
    """What it takes: everything but the conflated best levels."""
    root = f"{prefix}.{subject_token(collector)}"
    return [f"{root}.{kind}" for kind in _KINDS]
