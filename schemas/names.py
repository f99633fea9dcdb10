"""The vocabulary: every enumeration that crosses a file, a process or a table.

Values are what is written to disk, so they never change meaning; new members are appended.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

__all__ = [
    "Category",
    "Environment",
    "FeedState",
    "Fsync",
    "GapCause",
    "RecordKind",
    "RowKind",
    "Side",
    "Table",
    "Transport",
]


class Category(StrEnum):
    """A product line of the exchange; one public WebSocket path each (protocol section 1.1)."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"
    OPTION = "option"
    SPREAD = "spread"
    """Spread combinations: a path of its own and REST paths of its own, which name no category (protocol 3.12)."""


class Environment(StrEnum):
    """Where a recording comes from; never mixed in one archive."""

    MAINNET = "mainnet"
    TESTNET = "testnet"
    GATEWAY = "gateway"


class Transport(StrEnum):
    """The client that reads the public stream."""

    WEBSOCKETS = "websockets"
    PICOWS = "picows"


class Fsync(StrEnum):
    """When what the journal has written is put on the disk, beside the sealing of a segment."""

    INTERVAL = "interval"
    COMMIT = "commit"
    NEVER = "never"


class Side(StrEnum):
    """Taker side of a trade."""

    BUY = "buy"
    SELL = "sell"


class FeedState(StrEnum):
    """Whether a feed may be believed; only ``LIVE`` may be read as truth."""

    EMPTY = "empty"
    SYNCING = "syncing"
    LIVE = "live"
    STALE = "stale"


class GapCause(StrEnum):
    """Why a span of a feed is not trustworthy."""

    LOST = "lost"
    UNDECODABLE = "undecodable"
    DISCONNECT = "disconnect"
    SILENCE = "silence"
    NO_SNAPSHOT = "no_snapshot"
    CRASH = "crash"
    CROSSED = "crossed"
    OVERFLOW = "overflow"
    RESET = "reset"
    DISAGREEMENT = "disagreement"


class RecordKind(IntEnum):
    """What a journal record's payload is."""

    FRAME = 0
    """One WebSocket message, byte for byte, that is not an answer to a request of ours."""
    REST = 1
    """A REST answer that was used (JSON, see ``schemas.notes``)."""
    SESSION = 2
    """A session event: connected, subscribed, acknowledgement, pong, disconnected (JSON)."""
    NOTE = 3
    """What the recorder knew: checkpoints, digests, exponents, state changes, seals (JSON)."""


class RowKind(StrEnum):
    """How a book or ticker row came to be."""

    SNAPSHOT = "snapshot"
    DELTA = "delta"
    KEYFRAME = "keyframe"


class Table(StrEnum):
    """The archive's tables."""

    BOOK_UPDATES = "book_updates"
    RPI_BOOK_UPDATES = "rpi_book_updates"
    TRADES = "trades"
    TICKERS = "tickers"
    GAPS = "gaps"
    COVERAGE = "coverage"
    INSTRUMENTS = "instruments"
    CLOCK_OFFSETS = "clock_offsets"
    AUDITS = "audits"
    FUNDING_HISTORY = "funding_history"
    REFERENCE_KLINES = "reference_klines"
    OPEN_INTEREST = "open_interest"
    DELIVERY_PRICES = "delivery_prices"
    KLINES = "klines"
    LIQUIDATIONS = "liquidations"
    INSURANCE = "insurance"
    ADL_ALERTS = "adl_alerts"
    PRICE_LIMITS = "price_limits"
    SYSTEM_STATUS = "system_status"
    RAW_RECORDS = "raw_records"
