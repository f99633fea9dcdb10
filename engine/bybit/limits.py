"""The exchange's published limits as constants, and what follows from them for a connection's topics.

Every number names its unit and the protocol section it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from schemas.errors import ConfigError
from schemas.names import Category

__all__ = [
    "ARGUMENT_CHARACTERS_PER_CONNECTION",
    "CONNECTIONS_PER_ADDRESS",
    "CONNECTS_PER_WINDOW",
    "CONNECT_WINDOW_NS",
    "LEVEL_1_REPEAT_MS",
    "MISSED_PONGS",
    "OPTION_ARGUMENTS_PER_CONNECTION",
    "PING_INTERVAL_NS",
    "PUSH_INTERVAL_MS",
    "REST_BAN_NS",
    "REST_REQUESTS_PER_WINDOW",
    "REST_WINDOW_NS",
    "SPOT_ARGUMENTS_PER_REQUEST",
    "TOPICS_PER_REQUEST",
    "argument_characters",
    "arguments_per_request",
    "check_connection",
    "fits",
    "has_room",
]

NANOSECONDS_PER_SECOND: Final = 1_000_000_000

ARGUMENT_CHARACTERS_PER_CONNECTION: Final = 21_000
"""Length of the args array of one public connection, all requests together (section 2.3)."""

SPOT_ARGUMENTS_PER_REQUEST: Final = 10
"""Topics in one subscribe request on spot (section 2.3)."""

OPTION_ARGUMENTS_PER_CONNECTION: Final = 2_000
"""Topics on one option connection (section 2.3)."""

TOPICS_PER_REQUEST: Final = 200
"""Our own cap where the exchange has none: closures were seen above a few hundred (section 2.3)."""

CONNECTS_PER_WINDOW: Final = 500
"""New connections per ``CONNECT_WINDOW_NS`` and stream domain (section 2.4)."""

CONNECT_WINDOW_NS: Final = 300 * NANOSECONDS_PER_SECOND

CONNECTIONS_PER_ADDRESS: Final = 1_000
"""Concurrent market-data connections per IP address, counted per category (section 2.4)."""

PING_INTERVAL_NS: Final = 20 * NANOSECONDS_PER_SECOND
"""Recommended interval of the text ping (section 2.1)."""

MISSED_PONGS: Final = 2
"""Pings without an answer after which a connection counts as dead (section 2.1)."""

REST_REQUESTS_PER_WINDOW: Final = 600
"""HTTP requests per ``REST_WINDOW_NS`` and IP address over all hosts (section 2.5)."""

REST_WINDOW_NS: Final = 5 * NANOSECONDS_PER_SECOND

REST_BAN_NS: Final = 600 * NANOSECONDS_PER_SECOND
"""How long everything stops after "access too frequent" (section 2.5)."""

LEVEL_1_REPEAT_MS: Final = 3_000
"""An unchanged level 1 snapshot is sent again after this time (section 3.1)."""

_PUSH: Final = {1: 10, 50: 20, 200: 100, 1000: 200}

PUSH_INTERVAL_MS: Final[dict[Category, dict[int, int]]] = {
    Category.SPOT: _PUSH,
    Category.LINEAR: _PUSH,
    Category.INVERSE: _PUSH,
    Category.OPTION: {25: 20, 100: 100},
    Category.SPREAD: {25: 20},
}
"""Order-book depths of a category and the shortest time between two messages (section 3)."""


def arguments_per_request(category: Category) -> int:
    """Return how many topics one subscribe request of this category may carry (section 2.3)."""
    return SPOT_ARGUMENTS_PER_REQUEST if category is Category.SPOT else TOPICS_PER_REQUEST


def argument_characters(topics: Iterable[str]) -> int:
    """Return the length in characters of the compact JSON array of these topics.

    The exchange doesn't say whether quotes and commas count; counting them errs on the safe side.
    """
    return 1 + max(1, sum(len(topic) + 3 for topic in topics))


def check_connection(category: Category, topics: Sequence[str]) -> None:
    """Check that one connection may carry these topics.

    Raises:
        ConfigError: with the limit that would be broken and what to do (section 2.3).
    """
    if category is Category.OPTION and len(topics) > OPTION_ARGUMENTS_PER_CONNECTION:
        raise ConfigError(
            f"{len(topics)} topics on one option connection, the exchange takes at most "
            f"{OPTION_ARGUMENTS_PER_CONNECTION}: spread them over several connections"
        )
    characters = argument_characters(topics)
    if characters > ARGUMENT_CHARACTERS_PER_CONNECTION:
        raise ConfigError(
            f"{len(topics)} topics make {characters} characters of arguments on one {category} connection, "
            f"the exchange takes at most {ARGUMENT_CHARACTERS_PER_CONNECTION}: "
            "spread them over several connections"
        )


def fits(category: Category, topics: int, characters: int) -> bool:
    """Whether one connection may carry so many topics with so many characters of arguments (section 2.3)."""
    if category is Category.OPTION and topics > OPTION_ARGUMENTS_PER_CONNECTION:
        return False
    return characters <= ARGUMENT_CHARACTERS_PER_CONNECTION


def has_room(category: Category, topics: Sequence[str], topic: str) -> bool:
    """Whether a connection that carries these topics may carry one more (section 2.3)."""
    return fits(category, len(topics) + 1, argument_characters([*topics, topic]))
