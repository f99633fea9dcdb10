"""The exception tree. Every error says what was found, what was expected and what to do.

::

    TapebookError                       exit code
    ├── ConfigError                     2   usage or configuration
    ├── ExchangeError                   3   the exchange or the network
    │   ├── ConnectError
    │   └── Rejected                        the exchange refused a request, in its own words
    ├── DataError                       1   the data fails a check
    │   ├── DecimalError                    a number that int64 or DECIMAL(38,18) cannot hold
    │   └── NoData                          nothing recorded where it was asked for
    └── StoreError                      4   disk
        ├── OutOfSpace                      it ended before the disk is full
        └── Corrupt                     1   a file of ours is not what was written
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ConfigError",
    "ConnectError",
    "Corrupt",
    "DataError",
    "DecimalError",
    "ExchangeError",
    "NoData",
    "OutOfSpace",
    "Rejected",
    "StoreError",
    "TapebookError",
]


class TapebookError(Exception):
    """Base of everything tapebook raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(TapebookError):
    """A wrong argument, option, configuration key or a data directory in use."""

    exit_code = 2


class ExchangeError(TapebookError):
    """The exchange, or the way to it, failed."""

    exit_code = 3


class ConnectError(ExchangeError):
    """No connection could be made or kept.

    Args:
        message: what happened, and what to do.
        status: the HTTP status that the other side answered with, if it did.
        lasting: trying again at once cannot help.
    """

    def __init__(self, message: str, *, status: int | None = None, lasting: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.lasting = lasting


class Rejected(ExchangeError):
    """The exchange refused a request.

    Args:
        subject: what was asked for, e.g. the topic.
        words: the exchange's own text.
    """

    def __init__(self, subject: str, words: str) -> None:
        super().__init__(f"{subject}: refused by the exchange: {words}")
        self.subject = subject
        self.words = words


class DataError(TapebookError):
    """Recorded data fails a check."""

    exit_code = 1


class DecimalError(DataError, ValueError):
    """A number that cannot be held exactly."""


class NoData(DataError):
    """Nothing was recorded where it was asked for; the message names what is near."""


class StoreError(TapebookError):
    """The disk is full, read-only, gone or failing."""

    exit_code = 4


class OutOfSpace(StoreError):
    """The disk is nearly full: what goes on writing was ended before it is."""


class Corrupt(StoreError):
    """A file of ours is not what was written.

    Args:
        path: the file.
        why: what was found and what was expected, with the offset or row.
    """

    exit_code = 1

    def __init__(self, path: object, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why
