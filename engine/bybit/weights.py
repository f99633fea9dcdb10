"""How many frames a second a topic may be expected to send, before any was seen.

The measurements behind it (section 4, sizing hint): on linear, BTCUSDT sends about 30 frames/s at depth 50, 10 at depth
200, 10 to 17 at depth 1, and 172 perpetuals at depth 50 together 1,400 to 3,700. Nothing is known of other topics but
their push intervals (section 3), which bound them. What is measured later wins over all of this.
"""

from __future__ import annotations

from typing import Final

from schemas.names import Category

__all__ = ["expected_frames_per_second"]

_BOOKS: Final = {
    "1": (6.0, 100.0),
    "25": (1.0, 50.0),
    "50": (15.0, 50.0),
    "100": (0.5, 10.0),
    "200": (7.0, 10.0),
} | {
    "1000": (4.0, 5.0),
    "rpi": (7.0, 10.0),
    "full": (4.0, 5.0),
}
"""Depth: of a middling symbol, and what the push interval allows at most."""

_OTHERS: Final = {
    "publicTrade": (2.0, 50.0),
    "tickers": (4.0, 10.0),
    "kline": (0.7, 1.0),
    "allLiquidation": (0.02, 2.0),
    "priceLimit": (3.0, 4.0),
    "adlAlert": (1.0, 1.0),
    "insurance": (0.1, 1.0),
    "system": (0.001, 1.0),
}
_RARE: Final = 0.1
_QUIET: Final = {Category.OPTION: 0.25, Category.SPREAD: 0.25}
"""Options are many and quiet, spreads few and quiet."""

_MIDDLING_TURNOVER: Final = 5e7
_STEEPNESS: Final = 0.35
"""A hundred times the turnover brings about five times the frames."""


def expected_frames_per_second(category: Category, topic: str, turnover_24h: float | None = None) -> float:
    """Return a guess of a topic's frames per second.

    Args:
        category: of the topic.
        topic: full.
        turnover_24h: of its symbol in quote currency, where it is known.
    """
    head, _, rest = topic.partition(".")
    if head == "orderbook":
        middling, most = _BOOKS.get(rest.partition(".")[0], (_RARE, 50.0))
    else:
        middling, most = _OTHERS.get(head, (_RARE, 50.0))
    activity = _QUIET.get(category, 1.0)
    if turnover_24h is not None and category not in _QUIET:
        activity = min(2.0, max(0.05, (max(0.0, turnover_24h) / _MIDDLING_TURNOVER) ** _STEEPNESS))
    return min(middling * activity, most)
