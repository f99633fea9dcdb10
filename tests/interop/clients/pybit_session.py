"""A session of the exchange's own SDK, as published, against a gateway: ``python pybit_session.py PORT CA_FILE``.

Prints one JSON object of what it was told. Its only settings are those that pybit offers, and the name of the host:
``api.bybit.localhost`` and ``stream.bybit.localhost`` are the loopback.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0


def resolve_loopback() -> None:
    """Let the names below ``localhost`` be the loopback, as RFC 6761 has it and not every resolver does."""
    resolve = socket.getaddrinfo

    def loopback(host: Any, *arguments: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.endswith(".localhost"):
            return resolve("127.0.0.1", *arguments, **more)
        return resolve(host, *arguments, **more)

    socket.getaddrinfo = loopback


class Awaited(dict[str, str]):
    """pybit notes a subscription after it has sent it, and ends at an answer that comes in between: here it waits."""

    def __missing__(self, key: str) -> str:
        end = time.monotonic() + PATIENCE_S
        while key not in self:
            if time.monotonic() > end:
                raise KeyError(key)
            time.sleep(0.001)
        return self[key]


class Heard:
    """Rows by topic, as callbacks bring them."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self._changed = threading.Condition()

    def __call__(self, message: dict[str, Any]) -> None:
        with self._changed:
            self.rows.setdefault(message["topic"], []).extend(message["data"])
            self._changed.notify_all()

    def until(self, topic: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a row."""
        end = time.monotonic() + PATIENCE_S
        with self._changed:
            while True:
                for row in self.rows.get(topic, ()):
                    if condition(row):
                        return row
                if not self._changed.wait(end - time.monotonic()):
                    raise SystemExit(f"waited in vain on {topic}; heard {json.dumps(self.rows)}")


class Replies:
    """Replies of the trade socket, one at a time."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._came = threading.Semaphore(0)

    def __call__(self, message: dict[str, Any]) -> None:
        self.all.append(message)
        self._came.release()

    def next(self) -> dict[str, Any]:
        """Wait for the next reply."""
        if not self._came.acquire(timeout=PATIENCE_S):
            raise SystemExit("waited in vain for a reply")
        return self.all[-1]


def main(port: str, ca_file: str) -> dict[str, Any]:
    """The session."""
    from pybit.unified_trading import HTTP, WebSocket, WebSocketTrading

    keys = {"api_key": "demo", "api_secret": "demo-secret"}
    place = {"testnet": False, "domain": "bybit", "tld": f"localhost:{port}"}
    rest = HTTP(**keys, **place)
    rest.client.verify = ca_file
    bybit = {"category": "linear", "symbol": "BTCUSDT"}
    before = rest.get_wallet_balance(accountType="UNIFIED", coin="USDT")["result"]["list"][0]["coin"][0]
    permissions = rest.get_api_key_information()["result"]
    rest.set_leverage(**bybit, buyLeverage="5", sellLeverage="5")
    bid = float(rest.get_orderbook(**bybit, limit=1)["result"]["b"][0][0])
    low = str(int(bid * 0.97))

    heard, replies, errors = Heard(), Replies(), Replies()
    private = WebSocket(channel_type="private", **keys, **place, private_auth_expire=10)
    private.subscriptions = Awaited()
    private.order_stream(heard)
    private.execution_stream(heard)
    private.position_stream(heard)
    private.wallet_stream(heard)
    private.fast_execution_stream(heard)
    trade = WebSocketTrading(recv_window=10_000, **keys, **place, private_auth_expire=10)

    resting = {**bybit, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": low}
    trade.place_order(replies, errors, **resting, orderLinkId="rests", timeInForce="PostOnly")
    order_id = replies.next()["data"]["orderId"]
    trade.amend_order(replies, errors, **bybit, orderId=order_id, qty="0.02")
    replies.next()
    heard.until("order", lambda row: row["qty"] == "0.02")
    (opened,) = rest.get_open_orders(**bybit)["result"]["list"]
    trade.cancel_order(replies, errors, **bybit, orderLinkId="rests")
    replies.next()
    heard.until("order", lambda row: row["orderStatus"] == "Cancelled")
    trade.cancel_order(replies, errors, **bybit, orderLinkId="rests")
    refused = errors.next()

    batch = [{key: value for key, value in resting.items() if key != "category"} for _ in range(2)]
    trade.place_batch_order(replies, errors, category="linear", request=batch)
    batched = replies.next()
    rest.cancel_all_orders(category="linear", settleCoin="USDT")

    taken = rest.place_order(**bybit, side="Buy", orderType="Market", qty=0.01, orderLinkId="takes")
    heard.until("order", lambda row: row["orderLinkId"] == "takes" and row["orderStatus"] == "Filled")
    heard.until("execution", lambda row: row["orderLinkId"] == "takes" and row["leavesQty"] == "0")
    heard.until("execution.fast", lambda row: row["orderLinkId"] == "takes")
    heard.until("position", lambda row: row["size"] == "0.01")
    rest.set_trading_stop(**bybit, tpslMode="Full", positionIdx=0, stopLoss=low)
    (position,) = rest.get_positions(**bybit)["result"]["list"]
    executions = rest.get_executions(**bybit)["result"]["list"]
    after = rest.get_wallet_balance(accountType="UNIFIED", coin="USDT")["result"]["list"][0]["coin"][0]
    heard.until(
        "wallet", lambda row: after["walletBalance"] in [coin["walletBalance"] for coin in row["coin"]]
    )
    trade.exit()
    private.exit()
    return {
        "permissions": permissions,
        "before": before,
        "after": after,
        "opened": opened,
        "refused": refused,
        "batched": batched,
        "taken": taken,
        "position": position,
        "executions": executions,
        "heard": heard.rows,
    }


if __name__ == "__main__":
    resolve_loopback()
    print(json.dumps(main(sys.argv[1], sys.argv[2])))
