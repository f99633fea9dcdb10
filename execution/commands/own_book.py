"""A live book to hold prices against: a recorder's, read from shared memory, or one that the command follows itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import Final

from engine.core.shared import SharedBook
from execution.commands.options import Choices
from execution.desk.limits import Limits, Quote
from execution.quotes import LiveQuotes
from schemas.errors import ConfigError, ExchangeError
from schemas.names import Category, FeedState

__all__ = ["SharedQuotes", "is_needed", "own_book"]

_PATIENCE_S: Final = 15.0
_LOOK_S: Final = 0.02

QuoteOf = Callable[[Category, str], Quote | None]


def is_needed(limits: Limits) -> bool:
    """Whether any limit looks at a book."""
    return any(
        limit is not None
        for limit in (limits.collar, limits.order_notional, limits.position_notional, limits.daily_loss)
    )


class SharedQuotes:
    """Best prices of a recorder's live book in another process.

    A quote is as old as the book's last message, or as the moment since which every connection of the recorder has
    brought something: a book that is quiet while they are not is no older for that.

    Args:
        data: the recorder's data directory.
        clock, wall_clock: monotonic and UTC, in nanoseconds.

    Raises:
        ConfigError: no recorder publishes the book there.
    """

    def __init__(
        self,
        data: str,
        category: Category,
        symbol: str,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        from recorder.live_books import open_book

        self._clock, self._wall_clock = clock, wall_clock

        self._key = category, symbol
        self._book: SharedBook = open_book(data, symbol, category=category)

    def __repr__(self) -> str:
        return f"<SharedQuotes {self._book!r}>"

    def __call__(self, category: Category, symbol: str) -> Quote | None:
        """The best prices; None of other symbols, and while the book may not be believed."""
        book = self._book
        if (category, symbol) != self._key:
            return None
        heard_ns = book.heard_ns  # first, so that the book has what came until then
        seen = book.read(1)
        if seen.trouble or seen.state is not FeedState.LIVE or not len(seen.bids) or not len(seen.asks):
            return None
        # What is published again is no message: both clocks have to say that one came.
        told_ns = max(self._clock() - seen.published_ns, self._wall_clock() - (seen.receive_ns or 0))
        age_ms = min(told_ns, self._clock() - heard_ns) // 1_000_000
        bid, ask = (Decimal(int(side[0, 0])).scaleb(seen.price_exponent) for side in (seen.bids, seen.asks))
        return Quote(bid, ask, age_ms)


@asynccontextmanager
async def own_book(
    choices: Choices, limits: Limits, category: Category, symbol: str
) -> AsyncIterator[QuoteOf | None]:
    """Best prices of one symbol, once there are some; None where no limit looks at them.

    Raises:
        ConfigError: the configured recorder has no such book.
        ExchangeError: there is none that may be believed.
    """
    if not is_needed(limits):
        yield None
        return
    if choices.config.data:
        quotes = SharedQuotes(choices.config.data, category, symbol)
        if quotes(category, symbol) is None:
            raise ConfigError(
                f"{choices.config.data}: the recorder's book of {symbol} may not be believed at the moment; see "
                "`tapebook watch`, or leave `data` away to follow the exchange's here"
            )
        yield quotes
        return
    async with _followed(choices, category, symbol) as followed:
        yield followed


@asynccontextmanager
async def _followed(choices: Choices, category: Category, symbol: str) -> AsyncIterator[LiveQuotes]:
    """A recording of one symbol's book for as long as the command lasts."""
    import recorder

    topic = "orderbook.25" if category is Category.OPTION else "orderbook.50"
    with TemporaryDirectory(prefix="tapebook-trade-") as directory:
        recording = recorder.live(
            endpoint=choices.root,
            ca_file=choices.config.ca_file,
            category=category.value,
            symbols=[symbol],
            # level 1 says every three seconds at least that it is there, which a quiet book doesn't
            topics=[topic] if category is Category.OPTION else [topic, "orderbook.1"],
            data=directory,
            roll=False,
            live=False,
            audit_every=0,
            clock_every=0,
            refresh_every=0,
        )
        async with recording:
            quotes = LiveQuotes(category, recording.subscribe(topic))
            following = asyncio.create_task(quotes.run())
            try:
                await _first(quotes, category, symbol, following)
                yield quotes
            finally:
                following.cancel()


async def _first(quotes: LiveQuotes, category: Category, symbol: str, following: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while quotes(category, symbol) is None:
                if following.done():
                    break
                await asyncio.sleep(_LOOK_S)
            else:
                return
    except TimeoutError:
        pass
    raise ExchangeError(
        f"no live book of {category.value} {symbol} within {_PATIENCE_S:g} s, and limits look at it: is there such a "
        "symbol? A limit of none needs no book"
    )
