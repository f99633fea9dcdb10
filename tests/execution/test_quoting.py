"""The example: both sides quoted, followed, and pulled while there is no book to believe; and its demonstration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from execution.client import TradingClient
from execution.demo import main, trade
from execution.desk.limits import Quote
from execution.quoting import Quoting
from schemas.names import Category
from tests.execution.conftest import Place, until

D = Decimal


class Market:
    """A quote that a test sets."""

    def __init__(self) -> None:
        self.quote: Quote | None = None

    def __call__(self, category: Category, symbol: str) -> Quote | None:
        return self.quote


async def settle(quoting: Quoting, client: TradingClient, condition: Callable[[], bool]) -> None:
    """Let the strategy look until the world is as it should be."""

    def look() -> bool:
        quoting.step()
        return condition() and client.requests.is_settled

    await until(look)


async def test_both_sides_follow_the_book_and_are_pulled_without_one(place: Place) -> None:
    market = Market()
    client = await place.client(quote_of=market)
    mid = await place.mid()
    quoting = Quoting(client, Category.LINEAR, "BTCUSDT", D("0.01"), away=D("0.01"))
    quoting.step()
    assert quoting.placed == 0, "nothing is quoted without a book"

    def prices() -> list[Decimal]:
        return sorted(order.price for order in client.account.open_orders if order.price is not None)

    market.quote = Quote(mid - 1, mid + 1)
    await settle(quoting, client, lambda: len(prices()) == 2)
    low, high = prices()
    assert low < mid * D("0.9901") < mid * D("1.0099") < high
    assert quoting.placed == 2

    market.quote = Quote(mid + 99, mid + 101)
    await settle(quoting, client, lambda: len(prices()) == 2 and prices()[0] > low and prices()[1] > high)
    assert (quoting.placed, quoting.moved) == (2, 2)

    market.quote = None
    await settle(quoting, client, lambda: not prices())
    assert quoting.pulled == 2
    assert not place.truth.orders
    await place.check_soon(client)


async def test_the_demonstration_leaves_nothing_open(place: Place) -> None:
    for seconds in (1.0, 10.0, 50.0):
        words = await trade(place.gateway.url, place.directory / str(seconds), seconds)
        if not any(line.startswith("placed 0") for line in words):
            break  # else the machine was too slow for a live book within that time
    assert any(line.startswith("placed ") and not line.startswith("placed 0") for line in words), words
    assert "open orders: 0, requests without an outcome: 0" in words
    assert not place.truth.orders


def test_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--seconds", "0"])
    assert caught.value.code == 2
    assert "more than 0" in capsys.readouterr().err


async def test_quotes_are_those_of_live_books(place: Place) -> None:
    """A recording's books become quotes, and are none once it has ended."""
    import recorder
    from execution.quotes import LiveQuotes

    options: dict[str, Any] = {"data": str(place.directory / "data"), "roll": False}
    recording = recorder.live(
        endpoint=place.gateway.url, symbols=["BTCUSDT"], topics=["orderbook.50"], **options
    )
    async with recording:
        quotes = LiveQuotes(Category.LINEAR, recording.subscribe("orderbook.50"))
        following = asyncio.create_task(quotes.run())
        await until(lambda: quotes(Category.LINEAR, "BTCUSDT") is not None)
        quote = quotes(Category.LINEAR, "BTCUSDT")
        assert quote is not None
        assert 0 < quote.bid < quote.ask
        assert abs(quote.bid - await place.mid()) < 1_000
        assert quotes(Category.SPOT, "BTCUSDT") is None
        assert quotes(Category.LINEAR, "ETHUSDT") is None
    await following
    assert quotes(Category.LINEAR, "BTCUSDT") is None
