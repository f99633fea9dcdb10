"""What published clients of the exchange report of an account is what ours believes of it, after one session."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest

from execution.client import TradingClient
from execution.desk.live import LiveOrder
from execution.desk.orders import Change, NewOrder, Side, TimeInForce
from execution.desk.outcomes import OutcomeKind
from execution.ticket import Ticket
from schemas.names import Category
from tests.execution.conftest import KEYS, Place, until
from tests.interop.clients.pybit_session import Awaited

D = Decimal
SYMBOL = "BTC/USDT:USDT"
LINEAR = Category.LINEAR
KEY = (LINEAR, "BTCUSDT", 0)
_TRIES = 50


async def taken(ticket: Ticket) -> Ticket:
    assert (await ticket.outcome()).kind is OutcomeKind.ACKED
    return ticket


async def fill_in_part(place: Place, client: TradingClient) -> LiveOrder:
    """Take all there is at the best price and a little more, then give up the rest."""
    for _ in range(_TRIES):
        ladder = place.venue.markets[LINEAR, "BTCUSDT"].ladders[Side.SELL]
        price = ladder.best
        assert price is not None
        wanted = NewOrder(
            category=LINEAR,
            symbol="BTCUSDT",
            side=Side.BUY,
            quantity=ladder.available(price) + D("0.05"),
            price=price,
        )
        ticket = client.create(wanted)
        assert (await ticket.outcome()).kind is OutcomeKind.ACKED
        await until(lambda: not client.is_pending(ticket.key))  # noqa: B023
        order = client.order(ticket.key)
        assert order is not None
        if order.is_open:
            await client.cancel(
                ticket.key
            ).outcome()  # refused where it filled meanwhile, which is no part of it
            await until(lambda: not order.is_open)  # noqa: B023
        if 0 < order.filled < order.quantity:
            return order
    raise AssertionError("the market never let an order fill in part")


async def script(place: Place, client: TradingClient) -> LiveOrder:
    """Place, amend, cancel, buy, fill in part, reduce; two orders are open at the end."""
    resting = await place.resting()
    kept = await taken(client.create(resting))
    moved = await taken(client.create(await place.resting("0.96", time_in_force=TimeInForce.POST_ONLY)))
    await until(lambda: len(client.account.open_orders) == 2)
    await taken(client.amend(moved.key, Change(quantity=D("0.02"))))
    gone = await taken(client.create(resting))
    await until(lambda: not client.is_pending(gone.key))
    await taken(client.cancel(gone.key))
    for side, quantity, reduce_only in ((Side.BUY, "0.03", False), (Side.SELL, "0.01", True)):
        order = NewOrder(
            category=LINEAR, symbol="BTCUSDT", side=side, quantity=D(quantity), reduce_only=reduce_only
        )
        ticket = await taken(client.create(order))
        await until(lambda: not client.is_pending(ticket.key))  # noqa: B023
    part = await fill_in_part(place, client)
    await until(lambda: client.requests.is_settled)
    await client.reload()
    assert {order.link_id for order in client.account.open_orders} == {kept.key.link_id, moved.key.link_id}
    await place.check_soon(client)
    return part


def orders_of(client: TradingClient) -> dict[str, tuple[Any, ...]]:
    """Every order that the client knows, as peers can tell it too."""
    return {
        o.order_id: (o.link_id, o.side, o.status, o.price or D(0), o.quantity, o.filled, o.filled_value)
        for o in client.account.orders
    }


def order_in(row: dict[str, Any]) -> tuple[Any, ...]:
    """The same out of the exchange's row, as pybit hands it on."""
    numbers = (D(row[name]) for name in ("price", "qty", "cumExecQty", "cumExecValue"))
    return (row["orderLinkId"], row["side"], row["orderStatus"], *numbers)


def fills_of(client: TradingClient) -> dict[str, tuple[Any, ...]]:
    return {
        f.execution_id: (f.order_id, f.price, f.quantity, f.fee, f.is_maker)
        for f in client.account.fills.values()
    }


def fill_in(row: dict[str, Any]) -> tuple[Any, ...]:
    numbers = (D(row[name]) for name in ("execPrice", "execQty", "execFee"))
    return (row["orderId"], *numbers, row["isMaker"])


class Heard:
    """What pybit's private socket brings, on its thread: each topic's latest row of each thing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[str, dict[str, dict[str, Any]]] = {}

    def __call__(self, message: dict[str, Any]) -> None:
        name = {"order": "orderId", "execution": "execId", "position": "symbol", "wallet": "accountType"}[
            message["topic"]
        ]
        with self._lock:
            for row in message["data"]:
                self._latest.setdefault(message["topic"], {})[row[name]] = row

    def rows(self, topic: str) -> dict[str, dict[str, Any]]:
        with self._lock:
            return dict(self._latest.get(topic, {}))


async def test_pybit_reports_what_the_client_believes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pybit = pytest.importorskip(
        "pybit.unified_trading", reason="pybit is not installed: pip install 'tapebook[interop]'"
    )
    # Unmodified and over TLS it trades in tests/interop; here it listens at an address that it has no setting for.
    monkeypatch.setattr(pybit, "PRIVATE_WSS", f"{place.gateway.url}/v5/private")
    keys = {"api_key": "demo", "api_secret": KEYS["demo"].secret}
    client = await place.client()
    heard = Heard()

    def listen() -> Any:
        socket = pybit.WebSocket(channel_type="private", testnet=False, **keys, private_auth_expire=10)
        socket.subscriptions = Awaited()
        for subscribe in (
            socket.order_stream,
            socket.execution_stream,
            socket.position_stream,
            socket.wallet_stream,
        ):
            subscribe(heard)
        return socket

    def ask() -> dict[str, Any]:
        rest = pybit.HTTP(testnet=False, **keys)
        rest.endpoint = place.gateway.url.replace("ws://", "http://")
        bybit = {"category": "linear", "symbol": "BTCUSDT"}
        return {
            "open": rest.get_open_orders(**bybit, limit=50)["result"]["list"],
            "history": rest.get_order_history(**bybit, limit=50)["result"]["list"],
            "positions": rest.get_positions(**bybit)["result"]["list"],
            "coins": rest.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]["coin"],
            "fills": rest.get_executions(**bybit, limit=100)["result"]["list"],
        }

    socket = await asyncio.to_thread(listen)
    try:
        part = await script(place, client)
        account = client.account
        asked = await asyncio.to_thread(ask)

        told = {row["orderId"]: order_in(row) for row in [*asked["open"], *asked["history"]]}
        assert {row["orderId"] for row in asked["open"]} == {o.order_id for o in account.open_orders}
        assert told == orders_of(client)
        assert told[part.order_id][2] == "Cancelled"
        assert {row["execId"]: fill_in(row) for row in asked["fills"]} == fills_of(client)
        position = account.positions[KEY]
        assert [
            (row["side"], D(row["size"]), D(row["avgPrice"]), row["seq"]) for row in asked["positions"]
        ] == [(position.side, position.size, position.entry_price, position.sequence)]
        balances = {c.coin: c.wallet_balance for c in account.coins.values() if c.wallet_balance}
        assert {row["coin"]: D(row["walletBalance"]) for row in asked["coins"]} == balances

        # what it heard meanwhile, to the last row
        await until(lambda: {i: order_in(row) for i, row in heard.rows("order").items()} == orders_of(client))
        await until(
            lambda: {i: fill_in(row) for i, row in heard.rows("execution").items()} == fills_of(client)
        )
        await until(lambda: heard.rows("position")["BTCUSDT"]["seq"] == position.sequence)
        row = heard.rows("position")["BTCUSDT"]
        assert (row["side"], D(row["size"]), D(row["entryPrice"])) == (
            position.side,
            position.size,
            position.entry_price,
        )
        (wallet,) = heard.rows("wallet").values()
        assert {c["coin"]: D(c["walletBalance"]) for c in wallet["coin"] if D(c["walletBalance"])} == {
            c["coin"]: balances[c["coin"]] for c in wallet["coin"] if c["coin"] in balances
        }
        assert "USDT" in {c["coin"] for c in wallet["coin"]}
    finally:
        await asyncio.to_thread(socket.exit)


def settings(place: Place) -> dict[str, Any]:
    """The addresses of the gateway, in the places where ccxt has the exchange's."""
    root = place.gateway.url.replace("ws://", "http://")
    api = dict.fromkeys(("spot", "futures", "v2", "public", "private"), root)
    return {
        "apiKey": "demo",
        "secret": KEYS["demo"].secret,
        "enableRateLimit": False,
        "urls": {"api": api},
        "options": {"fetchMarkets": {"types": ["linear"]}},
    }


async def test_ccxt_reports_what_the_client_believes(place: Place) -> None:
    ccxt = pytest.importorskip(
        "ccxt.async_support", reason="ccxt is not installed: pip install 'tapebook[interop]'"
    )
    client = await place.client()
    part = await script(place, client)

    peer = ccxt.bybit(settings(place))
    try:
        orders = await peer.fetch_open_orders(SYMBOL)
        closed = await peer.fetch_canceled_and_closed_orders(SYMBOL)
        positions = await peer.fetch_positions([SYMBOL])
        balance = await peer.fetch_balance()
        trades = await peer.fetch_my_trades(SYMBOL)
    finally:
        await peer.close()
    account = client.account
    assert {
        (o["id"], o["clientOrderId"], D(str(o["price"])), D(str(o["amount"])), o["side"]) for o in orders
    } == {(o.order_id, o.link_id, o.price, o.quantity, o.side.lower()) for o in account.open_orders}
    assert {
        (o["id"], o["clientOrderId"], o["status"], D(str(o["filled"])), D(str(o["amount"]))) for o in closed
    } == {
        (o.order_id, o.link_id, "canceled" if o.status == "Cancelled" else "closed", o.filled, o.quantity)
        for o in account.orders
        if not o.is_open
    }
    assert part.order_id in {o["id"] for o in closed}
    # an average of fills may have more digits than the floats of ccxt
    assert [(p["side"], D(str(p["contracts"])), p["entryPrice"]) for p in positions] == [
        ("long", account.positions[KEY].size, float(account.positions[KEY].entry_price))
    ]
    # the equity that it calls the total moves with the market from one question to the next
    coins = balance["info"]["result"]["list"][0]["coin"]
    assert {row["coin"]: D(row["walletBalance"]) for row in coins} == {
        coin.coin: coin.wallet_balance for coin in account.coins.values() if coin.wallet_balance
    }
    assert {(t["id"], D(str(t["price"])), D(str(t["amount"])), D(str(t["fee"]["cost"]))) for t in trades} == {
        (f.execution_id, f.price, f.quantity, f.fee) for f in account.fills.values()
    }
