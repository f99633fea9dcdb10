"""What a recording would open and cost, before it opens anything. Pure.

Connections, requests, arguments and characters are exact: they come from the code that subscribes. Rates and sizes are
estimates from few measurements; docs/universe.md says which, and how far to trust them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from engine.bybit.limits import (
    CONNECT_WINDOW_NS,
    CONNECTIONS_PER_ADDRESS,
    CONNECTS_PER_WINDOW,
    argument_characters,
    arguments_per_request,
)
from engine.bybit.spread import spread
from engine.bybit.topics import SYSTEM_STATUS, TopicKind, parse_topic
from engine.bybit.weights import expected_frames_per_second
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["ClassPlan", "ConnectionPlan", "Plan", "make_plan"]

MAXIMUM_FEEDS: Final = 65_536
"""Of one collector: the core's own limit (TB_MAX_FEEDS)."""

_SECONDS_PER_DAY: Final = 86_400

# A journal of 74,952 frames of BTCUSDT and ETHUSDT in 357 s (docs/universe.md): beside the payloads, so many bytes a
# record (columns, digests, checkpoints) and so many a group commit, of which there are up to one each ten milliseconds.
_RECORD_BYTES: Final = 25
_COMMIT_BYTES: Final = 530
_COMMITS_PER_SECOND: Final = 100

# Class of topics: bytes of a frame, of its rows in the archive, and whether they were measured (in that recording, and
# for orderbook.50 over 172 perpetuals, section 4) or are guessed from the documents' samples.
_SIZES: Final[dict[str, tuple[float, float, bool]]] = {
    "orderbook.1": (197, 13, True),
    "orderbook.50": (270, 40, True),
    "orderbook.200": (1_310, 203, True),
    "publicTrade": (717, 103, True),
    "tickers": (293, 76, True),
    "orderbook.25": (300, 45, False),
    "orderbook.100": (700, 110, False),
    "orderbook.1000": (4_000, 600, False),
    "orderbook.rpi": (800, 120, False),
    "orderbook.full": (3_000, 500, False),
    "kline": (265, 40, False),
    "allLiquidation": (160, 60, False),
    "priceLimit": (125, 20, False),
    "insurance": (250, 60, False),
    "adlAlert": (230, 60, False),
}
_OTHER: Final = (300.0, 60.0, False)

PROCESS_BYTES: Final = 216 << 20
"""Resident memory of a collector with ten feeds (136 MiB) and of its roller at rest (80 MiB), as measured."""

_LEVEL_BYTES: Final = 16
_FEED_BYTES: Final = 512
_TRADES_BYTES: Final = 22 << 10
_TICKER_BYTES: Final = 1 << 10
_MERGE_BYTES: Final = 7 << 10
_FULL_LEVELS: Final = 10_000


class ClassPlan(msgspec.Struct, frozen=True):
    """Topics of one class, the part before the symbol: what they bring a second and leave a day, over all copies.

    Attributes:
        journal_bytes_per_day: raw frames; every copy's.
        archive_bytes_per_day: rows; once.
        is_measured: whether the size of its frames has been measured anywhere.
    """

    name: str
    topics: int
    frames_per_second: float
    bytes_per_second: float
    journal_bytes_per_day: float
    archive_bytes_per_day: float
    is_measured: bool


class ConnectionPlan(msgspec.Struct, frozen=True):
    """One connection.

    Attributes:
        number: from 0.
        copy: which of the connections that carry the same topics it is, from 0.
        stream: the category, or ``status``.
        topics: arguments, all requests together.
        requests: subscribe requests.
        characters: of the args arrays; the exchange takes 21,000 (section 2.3).
    """

    number: int
    copy: int
    stream: str
    topics: int
    requests: int
    characters: int
    frames_per_second: float
    bytes_per_second: float


class Plan(msgspec.Struct, frozen=True):
    """What ``record`` would open.

    Attributes:
        symbols: that the topics name.
        memory_bytes: of collector and roller, resident.
        connect_seconds: until every connection may be open, within the exchange's budget of new ones (section 2.4).
        notes: what the numbers rest on.
    """

    category: Category
    copies: int
    symbols: int
    topics: int
    connections: tuple[ConnectionPlan, ...]
    classes: tuple[ClassPlan, ...]
    memory_bytes: int
    connect_seconds: float
    notes: tuple[str, ...]

    @property
    def frames_per_second(self) -> float:
        """Of all connections."""
        return sum(one.frames_per_second for one in self.classes)

    @property
    def bytes_per_second(self) -> float:
        """Of all connections, payloads alone."""
        return sum(one.bytes_per_second for one in self.classes)

    @property
    def journal_bytes_per_day(self) -> float:
        """Raw frames of every copy."""
        return sum(one.journal_bytes_per_day for one in self.classes)

    @property
    def archive_bytes_per_day(self) -> float:
        """Rows of every table."""
        return sum(one.archive_bytes_per_day for one in self.classes)


def make_plan(
    category: Category,
    topics: Sequence[str],
    *,
    copies: int = 1,
    most: float,
    turnovers: Mapping[str, float] | None = None,
) -> Plan:
    """Work out what recording these topics takes.

    Args:
        category: of the topics.
        topics: full, each once.
        copies: connections that carry each topic.
        most: frames per second that one connection should carry.
        turnovers: 24 h turnover by symbol, where it is known; without it every symbol counts as middling.

    Raises:
        ConfigError: a limit would be broken: which, where it is written, what would fit.
    """
    turnovers = turnovers or {}
    symbol_of = {topic: _symbol_of(category, topic) for topic in topics}
    rates = {
        topic: expected_frames_per_second(category, topic, turnovers.get(symbol_of[topic]))
        for topic in topics
    }
    _check(category, topics)
    groups = _groups(category, topics, rates, most)
    needed = copies * len(groups)
    if needed > CONNECTIONS_PER_ADDRESS:
        fit = len(topics) * CONNECTIONS_PER_ADDRESS // needed
        raise ConfigError(
            f"{len(topics)} topics over {copies} line(s) need {needed} {category} connections, one address may hold "
            f"{CONNECTIONS_PER_ADDRESS} per category (protocol section 2.4); about {fit} topics fit: choose "
            "fewer symbols (a rule with 'top N'), --topics or --lines, or more --frames-per-connection"
        )
    names = {topic: _class_of(topic) for topic in topics}
    connections = [
        _connection(category, copy * len(groups) + at, copy, group, rates, names)
        for copy in range(copies)
        for at, group in enumerate(groups)
    ]
    by_class: dict[str, list[float]] = {}
    for topic in topics:
        by_class.setdefault(names[topic], []).append(rates[topic])
    overhead = _overhead_bytes(copies * sum(rates.values()))
    classes = [_class(name, its_rates, copies, overhead) for name, its_rates in by_class.items()]
    windows = max(0, needed - 1) // CONNECTS_PER_WINDOW
    return Plan(
        category=category,
        copies=copies,
        symbols=len({symbol for symbol in symbol_of.values() if symbol}),
        topics=len(topics),
        connections=tuple(connections),
        classes=tuple(classes),
        memory_bytes=PROCESS_BYTES + sum(_memory(category, topic, copies) for topic in topics),
        connect_seconds=windows * CONNECT_WINDOW_NS / 1e9,
        notes=_notes(category, classes, turnovers, set(symbol_of.values())),
    )


def _check(category: Category, topics: Sequence[str]) -> None:
    if len(topics) > MAXIMUM_FEEDS:
        raise ConfigError(
            f"{len(topics)} {category} topics, one collector holds {MAXIMUM_FEEDS} feeds: record them with several "
            "collectors of different --name"
        )


def _groups(
    category: Category, topics: Sequence[str], rates: Mapping[str, float], most: float
) -> list[list[str]]:
    """As a line set spreads them: the category's stream, and the status stream by itself."""
    status = [topic for topic in topics if topic == SYSTEM_STATUS]
    others = [topic for topic in topics if topic != SYSTEM_STATUS]
    try:
        groups = spread(category, others, rates.__getitem__, most)
    except ConfigError as error:
        raise ConfigError(f"{error} (protocol section 2.4)") from None
    return [*groups, status] if status else groups


def _connection(
    category: Category,
    number: int,
    copy: int,
    group: Sequence[str],
    rates: Mapping[str, float],
    names: Mapping[str, str],
) -> ConnectionPlan:
    return ConnectionPlan(
        number=number,
        copy=copy,
        stream="status" if SYSTEM_STATUS in group else category.value,
        topics=len(group),
        requests=-(-len(group) // arguments_per_request(category)),
        characters=argument_characters(group),
        frames_per_second=sum(rates[topic] for topic in group),
        bytes_per_second=sum(rates[topic] * _SIZES.get(names[topic], _OTHER)[0] for topic in group),
    )


def _overhead_bytes(frames_per_second: float) -> float:
    """What the journal takes per frame beside its payload: a commit is shared by all frames of its ten milliseconds."""
    commits = _COMMITS_PER_SECOND * -math.expm1(-frames_per_second / _COMMITS_PER_SECOND)
    return _RECORD_BYTES + (_COMMIT_BYTES * commits / frames_per_second if frames_per_second else 0.0)


def _class(name: str, rates: Sequence[float], copies: int, overhead: float) -> ClassPlan:
    frame_bytes, row_bytes, is_measured = _SIZES.get(name, _OTHER)
    once = sum(rates)
    return ClassPlan(
        name=name,
        topics=len(rates),
        frames_per_second=once * copies,
        bytes_per_second=once * copies * frame_bytes,
        journal_bytes_per_day=once * copies * (frame_bytes + overhead) * _SECONDS_PER_DAY,
        archive_bytes_per_day=once * row_bytes * _SECONDS_PER_DAY,
        is_measured=is_measured,
    )


def _class_of(topic: str) -> str:
    """The topic up to its symbol: ``orderbook.50``, ``publicTrade``, ``kline``."""
    head, _, rest = topic.partition(".")
    return f"{head}.{rest.partition('.')[0]}" if head == "orderbook" else head


def _symbol_of(category: Category, topic: str) -> str:
    parsed = parse_topic(category, topic)
    return parsed.symbol if parsed.kind.names_symbol else ""


def _memory(category: Category, topic: str, copies: int) -> int:
    parsed = parse_topic(category, topic)
    merge = _MERGE_BYTES if copies > 1 else 0
    if parsed.kind is TopicKind.ORDER_BOOK:
        depth = topic.split(".")[1]
        levels = {"rpi": 2 * 50, "full": _FULL_LEVELS}.get(depth) or int(depth)
        return _FEED_BYTES + 2 * (2 * levels + 1) * _LEVEL_BYTES + merge
    if parsed.kind is TopicKind.PUBLIC_TRADE:
        return _FEED_BYTES + _TRADES_BYTES + merge
    return _FEED_BYTES + _TICKER_BYTES + merge


def _notes(
    category: Category, classes: Sequence[ClassPlan], turnovers: Mapping[str, float], symbols: set[str]
) -> tuple[str, ...]:
    notes: list[str] = []
    known = sum(symbol in turnovers for symbol in symbols if symbol)
    total = sum(bool(symbol) for symbol in symbols)
    if category in (Category.OPTION, Category.SPREAD):
        notes.append(f"symbols of {category.value} are many and quiet: each counts as equally quiet")
    elif not known:
        notes.append("no turnover is known: every symbol counts as one with a turnover of 50 million a day")
    elif known < total:
        notes.append(
            f"the turnover of {total - known} of {total} symbols is not known: they count as middling"
        )
    else:
        notes.append("rates are scaled by the turnover of 24 hours")
    guessed = [one.name for one in classes if not one.is_measured]
    if guessed:
        notes.append("sizes of " + ", ".join(guessed) + " are guessed from the documents, not measured")
    notes.append(
        "rates and sizes are good to a factor of two on a calm day; a wild hour brings ten times as much"
    )
    return tuple(notes)
