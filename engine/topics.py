"""What a topic of the exchange says of the feed that it names."""

from __future__ import annotations

from engine.drivers import driven
from schemas.errors import ConfigError
from schemas.names import Category
from schemas.tables import FULL_DEPTH, RPI_DEPTH

__all__ = ["parse_feed"]


def _depth_of(text: str) -> int | None:
    """The depth of a book of levels in a plain number; None for anything else."""
    is_number = text.isascii() and text.isdigit() and text[0] != "0" and len(text) < 5
    return int(text) if is_number and int(text) <= 1000 else None


def parse_feed(category: Category | str, topic: str) -> tuple[str, int, str]:
    """Split a topic into (kind, depth, symbol): kind book, rpi, trades, ticker or driven.

    A ticker's depth is 1 where each message is a whole snapshot (spot, options), else 0; trades have depth 0; the
    full book's is ``FULL_DEPTH``. Only books whose update ids are consecutive have a depth above 1. The symbol is empty
    where rows name their own.

    Raises:
        ConfigError: for any other topic.
    """
    stream, _, rest = topic.partition(".")
    if stream == "orderbook":
        named, _, symbol = rest.partition(".")
        depth = FULL_DEPTH if named == "full" else RPI_DEPTH if named == "rpi" else _depth_of(named)
        if symbol and depth is not None:
            return "rpi" if named == "rpi" else "book", depth, symbol
    elif stream == "publicTrade" and rest:
        return "trades", 0, "" if category == Category.OPTION else rest
    elif stream == "tickers" and rest:
        return "ticker", int(category in (Category.SPOT, Category.OPTION, Category.SPREAD)), rest
    other = driven(Category(category), topic)
    if other is not None:
        return "driven", 0, other.symbol
    raise ConfigError(
        f"found topic {topic!r}, expected orderbook.DEPTH.SYMBOL (a number, rpi or full), publicTrade.SYMBOL or"
        " tickers.SYMBOL"
    )
