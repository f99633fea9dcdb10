"""What a published client of the exchange reports of an account is what ours believes of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from execution.desk.orders import NewOrder, Side
from execution.desk.outcomes import OutcomeKind
from schemas.names import Category
from tests.execution.conftest import KEYS, Place, until

D = Decimal
SYMBOL = "BTC/USDT:USDT"


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
    resting = await place.resting()
    bought = NewOrder(category=Category.LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=D("0.02"))
    for order in (resting, resting, bought):
        assert (await client.create(order).outcome()).kind is OutcomeKind.ACKED
    key = (Category.LINEAR, "BTCUSDT", 0)
    await until(lambda: key in client.account.positions and client.account.positions[key].signed == D("0.02"))
    await until(lambda: len(client.account.open_orders) == 2)
    await client.reload()

    peer = ccxt.bybit(settings(place))
    try:
        orders = await peer.fetch_open_orders(SYMBOL)
        positions = await peer.fetch_positions([SYMBOL])
        balance = await peer.fetch_balance()
        trades = await peer.fetch_my_trades(SYMBOL)
    finally:
        await peer.close()
    account = client.account
    assert {
        (o["id"], o["clientOrderId"], D(str(o["price"])), D(str(o["amount"])), o["side"]) for o in orders
    } == {(o.order_id, o.link_id, o.price, o.quantity, o.side.lower()) for o in account.open_orders}
    assert [(p["side"], D(str(p["contracts"])), D(str(p["entryPrice"]))) for p in positions] == [
        ("long", account.positions[key].size, account.positions[key].entry_price)
    ]
    # the equity that it calls the total moves with the market from one question to the next
    coins = balance["info"]["result"]["list"][0]["coin"]
    assert {row["coin"]: D(row["walletBalance"]) for row in coins} == {
        coin.coin: coin.wallet_balance for coin in account.coins.values() if coin.wallet_balance
    }
    assert {(t["id"], D(str(t["price"])), D(str(t["amount"])), D(str(t["fee"]["cost"]))) for t in trades} == {
        (f.execution_id, f.price, f.quantity, f.fee) for f in account.fills.values()
    }
