"""The REST client against a small server on the loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aiohttp import web

from recorder import rest
from recorder.rest import RestClient
from schemas.errors import ConfigError, ConnectError, ExchangeError, Rejected
from schemas.names import Category

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reply(result: object, code: int = 0, words: str = "OK") -> web.Response:
    return web.json_response({"retCode": code, "retMsg": words, "result": result, "time": 1})


def instrument(symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "status": "Trading",
        "priceFilter": {"tickSize": "0.10"},
        "lotSizeFilter": {"qtyStep": "0.001"},
    }


@asynccontextmanager
async def client(handler: Handler, **options: Any) -> AsyncIterator[RestClient]:
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with RestClient(
            f"ws://127.0.0.1:{port}", random=Random(1), retry_base_ns=1_000, **options
        ) as rest_client:
            yield rest_client
    finally:
        await runner.cleanup()


async def test_all_pages_are_read_and_the_cursor_goes_back_as_it_came() -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        if "cursor" not in request.query:
            return reply(
                {"list": [instrument("A"), instrument("B")], "nextPageCursor": "first%3D1%26x%3A%2F"}
            )
        return reply({"list": [instrument("C")], "nextPageCursor": ""})

    async with client(handler) as exchange:
        bodies, instruments = await exchange.instruments(Category.LINEAR)
    assert [one.symbol for one in instruments] == ["A", "B", "C"]
    assert seen == [
        "/v5/market/instruments-info?category=linear&limit=1000",
        "/v5/market/instruments-info?category=linear&limit=1000&cursor=first%3D1%26x%3A%2F",
    ]
    assert [len(json.loads(body)["result"]["list"]) for body in bodies] == [2, 1]
    assert instruments[0].price_exponent == -2


@pytest.mark.parametrize(
    ("category", "query"), [(Category.SPOT, {"category": "spot"}), (Category.OPTION, {"baseCoin": "All"})]
)
async def test_every_instrument_of_a_category_is_asked_for(category: Category, query: dict[str, str]) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert query.items() <= request.query.items()
        return reply({"list": [instrument("A")]})

    async with client(handler) as exchange:
        assert [one.symbol for one in (await exchange.instruments(category))[1]] == ["A"]


async def test_a_few_symbols_are_asked_one_by_one_and_unknown_ones_are_missing() -> None:
    async def handler(request: web.Request) -> web.Response:
        symbol = request.query["symbol"]
        if symbol == "UNKNOWN":
            return reply({}, 10001, "params error: Symbol Invalid")
        return reply({"list": [] if symbol == "EMPTY" else [instrument(symbol)]})

    async with client(handler) as exchange:
        bodies, instruments = await exchange.instruments(Category.LINEAR, ["B", "UNKNOWN", "A", "EMPTY", "B"])
    assert [one.symbol for one in instruments] == ["B", "A"]
    assert len(bodies) == 4
    assert b"Symbol Invalid" in bodies[1]


async def test_many_symbols_are_picked_from_the_whole_list() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert "symbol" not in request.query
        return reply({"list": [instrument(f"S{number}") for number in range(50)]})

    wanted = [f"S{number}" for number in range(20, 5, -1)] + ["UNKNOWN"]
    async with client(handler) as exchange:
        bodies, instruments = await exchange.instruments(Category.LINEAR, iter(wanted))
        assert exchange.requests == 1
    assert [one.symbol for one in instruments] == wanted[:-1]
    assert len(bodies) == 1


async def test_pages_that_go_in_circles_end() -> None:
    async def handler(request: web.Request) -> web.Response:
        return reply({"list": [], "nextPageCursor": "again"})

    async with client(handler) as exchange:
        with pytest.raises(ExchangeError, match="the pages don't end"):
            await exchange.instruments(Category.LINEAR)
        assert exchange.requests == 2


async def test_pages_without_end_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "MAXIMUM_PAGES", 5)
    numbers = iter(range(1_000))

    async def handler(request: web.Request) -> web.Response:
        return reply({"list": [], "nextPageCursor": str(next(numbers))})

    async with client(handler) as exchange:
        with pytest.raises(ExchangeError, match="the pages don't end after 5"):
            await exchange.instruments(Category.LINEAR)


async def test_books_tickers_trades_and_time_with_their_bodies() -> None:
    book = {"s": "X", "b": [["1.0", "2"]], "a": [], "ts": 5, "u": 7, "seq": 8, "cts": 4}
    trade = {"execId": "i", "symbol": "X", "price": "1.0", "size": "2", "side": "Buy", "time": "5"}
    results: dict[str, object] = {
        "/v5/market/time": {"timeNano": "9"},
        "/v5/market/orderbook": book,
        "/v5/market/tickers": {"list": [{"symbol": "X"}]},
        "/v5/market/recent-trade": {"list": [trade]},
    }

    async def handler(request: web.Request) -> web.Response:
        return reply(results[request.path])

    async with client(handler) as exchange:
        body, time_ns = await exchange.server_time_ns()
        assert (json.loads(body)["result"], time_ns) == ({"timeNano": "9"}, 9)
        body, read = await exchange.order_book(Category.LINEAR, "X", 50)
        assert (json.loads(body)["result"], read.bids, read.update_id) == (book, (("1.0", "2"),), 7)
        assert (await exchange.tickers(Category.LINEAR, symbol="X"))[1] == [{"symbol": "X"}]
        assert (await exchange.recent_trades(Category.LINEAR, symbol="X"))[1][0].trade_id == "i"


async def test_the_exchanges_refusal_is_told_in_its_words() -> None:
    async def handler(request: web.Request) -> web.Response:
        return reply({}, 10001, "category invalid")

    async with client(handler) as exchange:
        with pytest.raises(Rejected, match="category invalid"):
            await exchange.instruments(Category.LINEAR)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_pass_is_tried_again(status: int) -> None:
    answers = iter([web.Response(status=status), web.Response(status=status), reply({"timeNano": "9"})])

    async def handler(request: web.Request) -> web.Response:
        return next(answers)

    async with client(handler) as exchange:
        assert (await exchange.server_time_ns())[1] == 9
        assert exchange.requests == 3


async def test_a_connection_that_breaks_is_tried_again() -> None:
    attempts = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            assert request.transport is not None
            request.transport.close()
        return reply({"timeNano": "9"})

    async with client(handler) as exchange:
        assert (await exchange.server_time_ns())[1] == 9
    assert attempts == 3


async def test_patience_ends_and_tells_the_last_problem() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=503, text="maintenance " * 1_000)

    async with client(handler) as exchange:
        with pytest.raises(
            ConnectError, match=r"no answer after 5 attempts.*HTTP 503.*maintenance"
        ) as failure:
            await exchange.server_time_ns()
        assert exchange.requests == 5
        assert len(str(failure.value)) < 800


async def test_a_server_that_never_answers_is_given_up() -> None:
    released = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    async with client(handler, timeout_s=0.02) as exchange:
        with pytest.raises(ConnectError, match="no answer after 5 attempts"):
            await exchange.server_time_ns()
        released.set()


async def test_403_stops_everything_and_names_the_reasons() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=403, text="access too frequent")

    async with client(handler) as exchange:
        for _ in range(3):
            with pytest.raises(ConnectError, match=r"access too frequent.*mainland China.*too many requests"):
                await exchange.server_time_ns()
        assert exchange.requests == 1
        assert "stopped" in repr(exchange)


async def test_the_stop_after_403_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "REST_BAN_NS", 0)
    answers = iter([web.Response(status=403), reply({"timeNano": "9"})])

    async def handler(request: web.Request) -> web.Response:
        return next(answers)

    async with client(handler) as exchange:
        with pytest.raises(ConnectError, match="403"):
            await exchange.server_time_ns()
        assert (await exchange.server_time_ns())[1] == 9


@pytest.mark.parametrize("status", [301, 400, 404])
async def test_other_answers_are_not_tried_again(status: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "https://other.example/"})

    async with client(handler) as exchange:
        with pytest.raises(ConnectError, match=rf"HTTP {status}.*check the endpoint"):
            await exchange.server_time_ns()
        assert exchange.requests == 1


@pytest.mark.parametrize("compressed", [False, True])
async def test_oversize_answers_are_refused(compressed: bool) -> None:
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(body=b" " * 1_000_000)
        if compressed:
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async with client(handler, maximum_body_bytes=100_000) as exchange:
        with pytest.raises(ConnectError, match="exceeds 100000 bytes"):
            await exchange.server_time_ns()
        assert exchange.requests == 1


async def test_requests_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that only sleeping moves, no window holds more requests than allowed."""
    now_ns = 0
    sent: list[int] = []

    async def sleep(seconds: float) -> None:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)

    monkeypatch.setattr(rest.asyncio, "sleep", sleep)
    monkeypatch.setattr(rest.time, "monotonic_ns", lambda: now_ns)
    exchange = RestClient("ws://127.0.0.1:1")
    for _ in range(200):
        await exchange._pace()
        sent.append(now_ns)
    for start in sent:
        assert sum(start <= at < start + 5_000_000_000 for at in sent) <= rest.REQUESTS_PER_WINDOW <= 150


async def test_a_client_that_was_not_entered_and_a_bad_root_say_so() -> None:
    exchange = RestClient("ws://127.0.0.1:1")
    assert repr(exchange) == "<RestClient http://127.0.0.1:1 closed requests=0>"
    with pytest.raises(RuntimeError, match="async with"):
        await exchange.server_time_ns()
    with pytest.raises(ConfigError, match="ws://"):
        RestClient("http://127.0.0.1:1")
