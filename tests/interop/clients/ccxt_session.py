"""A session of ccxt pro, as published, against a gateway: ``python ccxt_session.py PORT CA_FILE``.

Prints one JSON object of what it was told. Its only settings are those that ccxt offers: addresses, keys, an authority.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

PATIENCE_S = 60.0


def settings(port: str, ca_file: str) -> dict[str, Any]:
    """The addresses of the gateway, in the places where ccxt has the exchange's."""
    rest, sockets = f"https://localhost:{port}", f"wss://localhost:{port}/v5"
    categories = ("spot", "linear", "inverse", "option")
    return {
        "apiKey": "demo",
        "secret": "demo-secret",
        "cafile": ca_file,
        "enableRateLimit": False,
        "urls": {
            "api": {
                **dict.fromkeys(("spot", "futures", "v2", "public", "private"), rest),
                "ws": {
                    "public": {category: f"{sockets}/public/{category}" for category in categories},
                    "private": {
                        "spot": {"unified": f"{sockets}/private"},
                        "contract": f"{sockets}/private",
                        "trade": f"{sockets}/trade",
                    },
                },
            }
        },
    }


async def main(port: str, ca_file: str) -> dict[str, Any]:
    """The session."""
    import ccxt.pro

    exchange = ccxt.pro.bybit(settings(port, ca_file))
    symbol = "BTC/USDT:USDT"
    try:
        async with asyncio.timeout(PATIENCE_S):
            markets = await exchange.load_markets()
            before = await exchange.fetch_balance()
            book = await exchange.watch_order_book(symbol, 50)
            low = exchange.price_to_precision(symbol, book["bids"][0][0] * 0.97)

            # The first update of each is waited for from before there can be any.
            async def watch(name: str, *arguments: Any) -> list[Any]:
                found: list[Any] = []
                while True:
                    update = await getattr(exchange, name)(*arguments)
                    found.append(update)
                    watched[name] = found

            watched: dict[str, list[Any]] = {}
            watchers = [
                asyncio.ensure_future(watch(name, *arguments))
                for name, arguments in (
                    ("watch_orders", (symbol,)),
                    ("watch_my_trades", (symbol,)),
                    ("watch_positions", ([symbol],)),
                    ("watch_balance", ()),
                )
            ]
            await asyncio.sleep(0)

            async def until(condition: Any) -> None:
                while not condition():
                    for watcher in watchers:
                        if watcher.done():
                            watcher.result()
                    await asyncio.sleep(0.02)

            created = await exchange.create_order_ws(symbol, "limit", "buy", 0.01, float(low))
            edited = await exchange.edit_order_ws(created["id"], symbol, "limit", "buy", 0.02, float(low))
            opened = await exchange.fetch_open_orders(symbol)
            cancelled = await exchange.cancel_order_ws(created["id"], symbol)
            try:
                await exchange.cancel_order_ws(created["id"], symbol)
                refused = ""
            except ccxt.pro.BaseError as error:
                refused = type(error).__name__
            await until(lambda: _statuses(watched, created["id"])[-1:] == ["canceled"])
            taken = await exchange.create_order(symbol, "market", "buy", 0.01)
            await until(lambda: _statuses(watched, taken["id"])[-1:] == ["closed"])
            await until(lambda: watched.get("watch_my_trades"))
            await until(lambda: watched.get("watch_positions"))
            await until(lambda: watched.get("watch_balance"))
            positions = await exchange.fetch_positions([symbol])
            trades = await exchange.fetch_my_trades(symbol)
            after = await exchange.fetch_balance()
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        return {
            "markets": len(markets),
            "before": before["USDT"]["total"],
            "after": after["USDT"]["total"],
            "created": created["id"],
            "edited": edited["id"],
            "cancelled": cancelled["id"],
            "refused": refused,
            "opened": [[order["id"], order["amount"], order["status"]] for order in opened],
            "taken": taken["id"],
            "orders": [
                [order["id"], order["status"], order["filled"]]
                for update in watched["watch_orders"]
                for order in update
            ],
            "trades": [
                [trade["id"], trade["order"], trade["amount"], trade["takerOrMaker"]]
                for update in watched["watch_my_trades"]
                for trade in update
            ],
            "fetched": [[trade["id"], trade["amount"], trade["fee"]["cost"]] for trade in trades],
            "positions": [[p["side"], p["contracts"], p["entryPrice"]] for p in positions],
        }
    finally:
        await exchange.close()


def _statuses(watched: dict[str, list[Any]], identity: str) -> list[str]:
    return [o["status"] for update in watched.get("watch_orders", ()) for o in update if o["id"] == identity]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2]))))
