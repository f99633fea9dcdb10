"""Quotes of a recording's books: there while the book is live, and as old as its connection's last sign of life."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

import recorder
from execution.desk.limits import Limits, Quote
from execution.desk.orders import NewOrder, Refused, Side
from execution.quotes import LiveQuotes
from schemas.names import Category
from tests.execution.conftest import NO_LIMITS, Place, until
from tests.recorder.recordings import BOOK
from tests.recorder.test_subscriptions import Market

D = Decimal
LINEAR = Category.LINEAR
MS = 1_000_000


class Following:
    """Quotes of a hub's book, on a clock that a test sets."""

    def __init__(self) -> None:
        self.market = Market()
        self.heard_ns = self.now_ns = 10_000 * MS
        self.market.hub.heard_ns = lambda topic: self.heard_ns if topic == BOOK else 0
        self.quotes = LiveQuotes(
            LINEAR, self.market.hub.subscribe(("orderbook.50",)), clock=lambda: self.now_ns
        )

    def quote(self) -> Quote | None:
        return self.quotes(LINEAR, "BTCUSDT")


@asynccontextmanager
async def following() -> AsyncIterator[Following]:
    """One that has its book."""
    found = Following()
    task = asyncio.create_task(found.quotes.run())
    found.market.book()
    await until(lambda: found.quote() is not None)
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_quote_is_as_old_as_its_connections_last_sign_of_life() -> None:
    async with following() as found:
        assert found.quote() == Quote(D(99), D(101), 0)
        found.now_ns += 30_000 * MS  # nothing came at all
        assert found.quote() == Quote(D(99), D(101), 30_000)
        found.heard_ns = (
            found.now_ns - 7 * MS
        )  # something else came: the book is quiet, and no older for that
        assert found.quote() == Quote(D(99), D(101), 7)


async def test_where_no_connection_delivers_the_book_there_is_no_quote() -> None:
    async with following() as found:
        found.heard_ns = 0
        assert found.quote() is None
        found.heard_ns = found.now_ns
        assert found.quote() is not None
        found.market.lose()
        assert found.quote() is None


async def test_no_order_goes_out_on_a_book_whose_connection_has_stalled(
    open_place: Callable[..., Any],
) -> None:
    """It is open and the book live still: neither knows yet that nothing comes any more."""
    place: Place = await open_place("half_open=0.02")
    limits = {name: getattr(NO_LIMITS, name) for name in Limits.__struct_fields__}
    options: dict[str, Any] = {"data": str(place.directory / "data"), "roll": False, "live": False}
    async with recorder.live(
        endpoint=place.gateway.url, symbols=["BTCUSDT"], topics=["orderbook.50"], **options
    ) as recording:
        quotes = LiveQuotes(LINEAR, recording.subscribe("orderbook.50"))
        task = asyncio.create_task(quotes.run())
        client = await place.client(
            quote_of=quotes, limits=Limits(**(limits | {"collar": D("0.05"), "quote_age_ms": 1_000}))
        )
        price = await place.mid() * D("0.97")
        order = NewOrder(
            category=LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=D("0.001"), price=price
        )  # fmt: skip

        def is_old() -> bool:
            quote = quotes(LINEAR, "BTCUSDT")
            return client.is_current and quote is not None and quote.age_ms > 1_000

        await until(is_old)
        with pytest.raises(Refused) as caught:
            client.create(order)
        assert caught.value.rule == "price collar"
        assert client.quote(LINEAR, "BTCUSDT") is None, "what a strategy looks at, too"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    shutil.rmtree(place.directory / "data")
