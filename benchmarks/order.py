"""An order from `create()` to bytes in the socket; beside it what pybit and ccxt take to write and sign theirs.

The client is whole: filters, limits, rate meter, order journal, state machine, WebSocket frame, the socket's write. The
exchange is a gateway in a process of its own. What the socket's write takes is mostly the kernel's, which delivers to
the other process within it: it is timed apart, and beside it stands the same write by nobody but the benchmark to a
process that only reads. Where there are two processors the client has one to itself, as whoever counts microseconds
gives it one, and the exchange and the reader have the others. The peers' figures are those of their own functions that
turn arguments into the text (trade socket) or the signed request (REST) that they would send; nothing of them is sent.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.timing import machine
from execution.client import TradingClient
from execution.desk.limits import Limits, Quote
from execution.desk.orders import NewOrder, Refused, Side, TimeInForce
from execution.desk.outcomes import OutcomeKind
from execution.desk.signers import HmacSigner
from execution.desk.wire import Op, order_message, post_request
from execution.settings import Settings
from execution.ticket import Ticket
from recorder import transport
from schemas.errors import DataError
from schemas.names import Category

__all__ = ["order"]

KEY, SECRET = "demo", "demo-secret"
WARM_UP: Final = 300
_EVERY: Final = 5
_MOST_PER_SECOND: Final = 2_000
"""The exchange, and so the gateway, takes 3,000 requests a second from an address."""
_APART_NS: Final = 20_000
_BLOCKS: Final = 20
_PATIENCE_S: Final = 30.0
LIMITS: Final = Limits(
    order_notional=Decimal(10**9),
    position_notional=Decimal(10**9),
    requests_per_second=10**6,
    collar=Decimal("0.5"),
    daily_loss={"USDT": Decimal(10**9)},
)

Write = Callable[[], object]

_READ: Final = """
import selectors, socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(connection, selectors.EVENT_READ)
while selector.select() and connection.recv(1 << 16):
    pass
"""


def order(orders: int = 2_000, repetitions: int = 5) -> dict[str, Any]:
    """Measure, ns an order: wall time; of `create()` also this thread's processor time, which others leave alone.

    Raises:
        DataError: the gateway didn't start.
    """
    with (
        TemporaryDirectory(prefix="tapebook-order-") as directory,
        _gateway() as (root, gateway),
        _reader() as (plain, reader),
    ):
        try:
            with _own_processor((gateway, reader)):
                times, long_way = asyncio.run(_create(root, Path(directory), plain, orders * repetitions))
        finally:
            vars(transport)["os"] = os
    writers, missing = _writers()
    encoded: dict[str, list[int]] = {name: [] for name in writers}
    names = list(writers)
    for turn in range(repetitions):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            encoded[name] += _time(writers[name], orders)
    return {
        "benchmark": "order",
        "orders": orders * repetitions,
        "create_to_socket_ns": _figures(times.walls) | {"quietest_median": _quietest(times.walls)},
        "create_long_way_ns": _figures(long_way.walls),
        "create_after_pause_ns": _figures(times.first),
        "create_to_socket_processor_ns": _figures(times.worked),
        "socket_write_ns": _figures(times.writes),
        "plain_write_ns": _figures(times.plain),
        "frame_bytes": times.frame_bytes,
        "new_order_ns": _figures(_time(_new_order, orders)),
        "encode_ns": {name: _figures(found) for name, found in encoded.items()},
        "peers_missing": missing,
        **machine(("pybit", "ccxt", "msgspec", "websockets")),
    }


class _Times:
    """What was measured, ns: `create()` by wall and by processor time, and of other calls the socket's write alone.

    ``first``: of the wall times those of orders that followed upon a pause.
    """

    def __init__(self) -> None:
        self.walls: list[int] = []
        self.first: list[int] = []
        self.worked: list[int] = []
        self.writes: list[int] = []
        self.plain: list[int] = []
        self.frame_bytes = self.write_begun = self.write_done = 0

    def write(self, descriptor: int, data: bytes) -> int:
        """``os.write``, and when it began and returned."""
        self.write_begun = time.perf_counter_ns()
        written = os.write(descriptor, data)
        self.write_done = time.perf_counter_ns()
        if written != len(data):
            raise DataError(
                f"the socket took {written} of {len(data)} bytes: its time would be that of other work"
            )
        self.frame_bytes = written
        return written

    def write_plainly(self, connection: socket.socket) -> None:
        """As many bytes as often, and as far apart, to a process that only reads."""
        data, descriptor = bytes(self.frame_bytes), connection.fileno()
        for _ in range(_EVERY):
            begun = time.perf_counter_ns()
            os.write(descriptor, data)
            self.plain.append(time.perf_counter_ns() - begun)
            while time.perf_counter_ns() < begun + _APART_NS:
                pass


def _figures(times: list[int]) -> dict[str, int]:
    ordered = sorted(times)
    return {
        "median": int(statistics.median(ordered)),
        "min": ordered[0],
        "p99": ordered[len(ordered) * 99 // 100],
    }


def _quietest(times: list[int]) -> int:
    """The least median of the parts of a run: what others did to it meanwhile is in the others."""
    size = max(1, len(times) // _BLOCKS)
    parts = [times[start : start + size] for start in range(0, len(times) - size + 1, size)]
    return int(min(statistics.median(part) for part in parts))


def _time(write: Write, count: int) -> list[int]:
    for _ in range(WARM_UP):
        write()
    found = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        write()
        found.append(time.perf_counter_ns() - begun)
    return found


# -- the whole way -----------------------------------------------------------------------------------------


@contextmanager
def _gateway() -> Iterator[tuple[str, int]]:
    """A gateway that trades, in a process of its own: its root and its process."""
    arguments = ["--simulate", "7", "--port", "0", "--trade", f"{KEY}:{SECRET}", "--order-limit", "10000"]
    command = [sys.executable, "-m", "recorder", "gateway", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                found = re.search(r"ws://[\d.]+:\d+", line)
                if found is not None:
                    yield found[0], process.pid
                    return
            raise DataError("the gateway ended before it listened: see what it said")
        finally:
            process.terminate()


@contextmanager
def _reader() -> Iterator[tuple[socket.socket, int]]:
    """A connection to a process that reads what comes and does nothing else, and that process."""
    command = [sys.executable, "-c", _READ, "PORT"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        command[-1] = str(server.getsockname()[1])
        server.settimeout(_PATIENCE_S)
        with subprocess.Popen(command) as process:
            try:
                connection, _ = server.accept()
                with connection:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection.setblocking(False)
                    yield connection, process.pid
            finally:
                process.terminate()


@contextmanager
def _own_processor(others: tuple[int, ...]) -> Iterator[None]:
    """Keep this process on one processor, and those others (by process id) off it."""
    known = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(known) < 2:
        yield
        return
    for process in others:
        os.sched_setaffinity(process, known[:-1])
    os.sched_setaffinity(0, known[-1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, known)


def _new_order(take_profit: Decimal | None = None) -> NewOrder:
    return NewOrder(
        category=Category.LINEAR,
        symbol="BTCUSDT",
        side=Side.BUY,
        quantity=Decimal("0.001"),
        price=Decimal(50_000),
        time_in_force=TimeInForce.IOC,
        take_profit=take_profit,
    )


async def _create(root: str, directory: Path, plain: socket.socket, count: int) -> tuple[_Times, _Times]:
    """Time `create()` of orders that the exchange takes and ends at once (IOC, away from the market).

    From the call to when the socket's write has returned with every byte taken; what is booked after that isn't in it.

    Returns:
        Of plain orders, and of a fifth as many that take the long way (docs/execution.md): they have a take profit.
    """
    settings = Settings(
        root=root, directory=directory / "account", symbols={Category.LINEAR: ("BTCUSDT",)}, limits=LIMITS
    )
    quote = Quote(Decimal(60_000), Decimal(60_001))
    async with TradingClient(settings, HmacSigner(KEY, SECRET), quote_of=lambda *_: quote) as client:
        times = await _time_creates(client, _new_order(), plain, count)
        return times, await _time_creates(client, _new_order(Decimal(70_000)), plain, count // 5)


async def _time_creates(client: TradingClient, wanted: NewOrder, plain: socket.socket, count: int) -> _Times:
    times = _Times()
    tickets: list[Ticket] = []
    vars(transport)["os"] = times  # in place of the module, of which it uses only this
    done = 0
    while done < WARM_UP + count:
        worked = time.thread_time_ns()
        begun = time.perf_counter_ns()
        try:
            ticket = client.create(wanted)
        except Refused as refusal:
            if refusal.rule != "rate":
                raise
            await asyncio.sleep(0.02)
            continue
        if times.write_begun < begun:
            raise DataError("an order's bytes weren't in the socket when create() returned")
        if done >= WARM_UP:
            times.worked.append(time.thread_time_ns() - worked)
            times.walls.append(times.write_done - begun)
            times.writes.append(times.write_done - times.write_begun)
            if done % _EVERY == 0:
                times.first.append(times.walls[-1])
        tickets.append(ticket)
        done += 1
        if done % _EVERY == 0:
            await _answered(client, tickets)
            tickets.clear()
            await asyncio.sleep(_EVERY / _MOST_PER_SECOND / 2)
            times.write_plainly(plain)
            await asyncio.sleep(_EVERY / _MOST_PER_SECOND / 2)
    return times


async def _answered(client: TradingClient, tickets: list[Ticket]) -> None:
    """Let the answers in, so that nothing piles up, and see that the exchange took every order."""
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            if not client.requests.open:
                break
            await asyncio.sleep(0.001)
    for ticket in tickets:
        outcome = ticket.request.outcome
        if outcome is None or outcome.kind is not OutcomeKind.ACKED:
            raise DataError(f"an order wasn't taken: {ticket}; its time would be that of other work")


# -- writing and signing -----------------------------------------------------------------------------------


def _writers() -> tuple[dict[str, Write], dict[str, str]]:
    signer = HmacSigner(KEY, SECRET)
    wanted = NewOrder(
        category=Category.LINEAR,
        symbol="BTCUSDT",
        side=Side.BUY,
        quantity=Decimal("0.001"),
        price=Decimal(50_000),
        link_id="benchmark-1",
    )

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    writers: dict[str, Write] = {
        "tapebook_socket": lambda: order_message(Op.CREATE, wanted.fields(), "r-1", now_ms(), 5_000),
        "tapebook_rest": lambda: post_request(signer, Op.CREATE.path, wanted.fields(), now_ms(), 5_000),
    }
    missing: dict[str, str] = {}
    for name, add in (("pybit", _add_pybit), ("ccxt", _add_ccxt)):
        try:
            add(writers)
        except Exception as error:  # another version may have other insides
            missing[name] = f"{type(error).__name__}: {error}"
    return writers, missing


def _add_pybit(writers: dict[str, Write]) -> None:
    from pybit._websocket_trading import _V5TradeWebSocketManager
    from pybit.unified_trading import HTTP

    fields = {
        "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.001",
        "price": "50000", "timeInForce": "GTC", "orderLinkId": "benchmark-1",
    }  # fmt: skip

    class Nowhere:
        def send(self, text: str) -> None:
            """Take what would have been sent."""

    manager = object.__new__(_V5TradeWebSocketManager)
    manager.recv_window, manager.referral_id, manager.ws = 5_000, None, Nowhere()
    manager.callback_directory = {}

    def socket() -> None:
        manager._send_order_operation("order.create", print, fields)
        manager.callback_directory.clear()

    session = HTTP(api_key=KEY, api_secret=SECRET)

    def rest() -> object:
        from pybit import _helpers

        payload = session.prepare_payload("POST", fields)
        timestamp = _helpers.generate_timestamp()
        return session._auth(payload=payload, recv_window=5_000, timestamp=timestamp), payload

    socket()
    rest()
    writers |= {"pybit_socket": socket, "pybit_rest": rest}


def _add_ccxt(writers: dict[str, Write]) -> None:
    import ccxt

    exchange = ccxt.bybit({"apiKey": KEY, "secret": SECRET})
    symbol = "BTC/USDT:USDT"
    market = {
        "id": "BTCUSDT", "symbol": symbol, "base": "BTC", "quote": "USDT", "settle": "USDT", "baseId": "BTC",
        "quoteId": "USDT", "settleId": "USDT", "type": "swap", "spot": False, "margin": False, "swap": True,
        "future": False, "option": False, "active": True, "contract": True, "linear": True, "inverse": False,
        "contractSize": 1, "precision": {"amount": 0.001, "price": 0.1}, "limits": {"cost": {"min": 5}}, "info": {},
    }  # fmt: skip
    exchange.set_markets([market])

    def request() -> Any:
        return exchange.create_order_request(
            symbol, "limit", "buy", 0.001, 50_000, {"clientOrderId": "benchmark-1"}, True
        )

    def socket() -> str:
        text: str = exchange.json(
            {
                "op": "order.create",
                "reqId": "r-1",
                "args": [request()],
                "header": {"X-BAPI-TIMESTAMP": str(exchange.milliseconds()), "X-BAPI-RECV-WINDOW": "5000"},
            }
        )
        return text

    def rest() -> object:
        return exchange.sign("v5/order/create", ["private"], "POST", request())

    socket()
    rest()
    writers |= {"ccxt_socket": socket, "ccxt_rest": rest}
