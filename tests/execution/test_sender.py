"""The straight way of plain orders through the client: what goes wrong on it, and in which order things happen."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from typing import Any

import msgspec
import pytest

from execution import order_journal
from execution.client import TradingClient
from execution.desk.limits import Quote
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side, TimeInForce
from execution.desk.outcomes import Evidence, OutcomeKind, RequestState
from execution.desk.wire import Op
from execution.order_journal import read_orders
from recorder import transport
from schemas.errors import ConnectError
from schemas.names import Category, Fsync
from tests.execution.conftest import PATIENCE_S, Place, until

D = Decimal


class Watched:
    """Counts how many orders of a client went the straight way."""

    def __init__(self, client: TradingClient) -> None:
        self.straight = 0
        self._begin = client._entry._begin_plain
        client._entry._begin_plain = self.begin  # type: ignore[method-assign]

    def begin(self, order: NewOrder, request_id: str, message: bytes) -> Any:
        self.straight += 1
        return self._begin(order, request_id, message)


def written(client: TradingClient) -> list[dict[str, Any]]:
    """The requests in the client's journal."""
    lines = client._written().path.read_text().splitlines()
    return [line["request"] for line in map(msgspec.json.decode, lines) if "request" in line]


async def kind_of(ticket: Any) -> OutcomeKind:
    async with asyncio.timeout(PATIENCE_S):
        return (await ticket.outcome()).kind


async def test_plain_orders_go_straight_and_others_do_not(place: Place) -> None:
    client = await place.client()
    watched = Watched(client)
    plain = client.create(await place.resting())
    assert watched.straight == 1
    assert plain.request.state is RequestState.SENT
    assert client.requests.open == [plain.request]
    # its answer is awaited, and counted, as any other's
    other = client.create(await place.resting(take_profit=await place.mid() * 2))
    assert watched.straight == 1
    assert await kind_of(plain) is await kind_of(other) is OutcomeKind.ACKED
    await until(lambda: len(client.account.open_orders) == 2)
    await place.check_soon(client)
    assert [request["request_id"] for request in written(client)] == [
        plain.request.request_id,
        other.request.request_id,
    ]
    fields = plain.request.fields
    assert written(client)[0]["fields"] == fields
    assert fields["orderLinkId"] == plain.key.link_id == plain.request.request_id
    assert D(fields["price"]) % D("0.1") == 0
    assert len(client.gate.recent) == 2
    assert client.rates.bucket(Category.LINEAR, plain.request.op).used == 2


async def test_the_journal_has_an_order_before_the_socket(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await place.client()
    watched = Watched(client)
    seen: list[list[str]] = []
    send = client._trade.send

    def look(message: bytes) -> int:
        seen.append([request["request_id"] for request in written(client)])
        return send(message)

    monkeypatch.setattr(client._trade, "send", look)
    ticket = client.create(await place.resting())
    assert watched.straight == 1
    assert seen == [[ticket.request.request_id]]
    assert await kind_of(ticket) is OutcomeKind.ACKED


async def test_it_is_on_the_disk_before_the_socket_where_that_is_wanted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await place.client(fsync=Fsync.COMMIT)
    watched = Watched(client)
    deeds: list[str] = []
    send, sync = client._trade.send, os.fdatasync
    monkeypatch.setattr(
        order_journal.os, "fdatasync", lambda descriptor: (deeds.append("disk"), sync(descriptor))
    )
    monkeypatch.setattr(client._trade, "send", lambda message: (deeds.append("socket"), send(message))[1])
    order = await place.resting()
    deeds.clear()
    client.create(order)
    assert watched.straight == 1
    assert deeds == ["disk", "socket"]


async def test_what_cannot_be_written_down_is_not_sent(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await place.client()
    watched = Watched(client)
    order = await place.resting()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(order_journal.os, "write", full)
        patched.setattr(client._trade, "send", lambda _: pytest.fail("it was sent"))
        with pytest.raises(Refused, match="No space left on device") as refusal:
            client.create(order)
    assert refusal.value.rule == "order journal"
    assert watched.straight == 1
    assert not client.requests.open
    assert client.requests.is_settled
    assert written(client) == []
    with pytest.raises(Refused, match="nothing more is sent"):
        client.create(order)


@pytest.mark.parametrize("take_profit", [False, True])
@pytest.mark.parametrize("share", [0, 2])
async def test_of_what_did_not_fit_on_the_disk_no_line_says_how_it_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch, take_profit: bool, share: int
) -> None:
    """On either way; a shorter line of its outcome may fit."""
    client = await place.client()
    watched = Watched(client)
    more = {"take_profit": await place.mid() * 2} if take_profit else {}
    order = await place.resting(**more)
    key = (ticket := client.create(order)).key
    assert await kind_of(ticket) is OutcomeKind.ACKED
    path, write = client._written().path, os.write
    whole = path.read_bytes()

    def fill(descriptor: int, data: bytes) -> int:
        patched.undo()
        if not share:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // share])

    for send in (client.create, client.cancel):
        with monkeypatch.context() as patched:
            patched.setattr(order_journal.os, "write", fill)
            if send == client.cancel:
                ticket = client.cancel(key)
                assert await kind_of(ticket) is OutcomeKind.ACKED, "a cancel goes out all the same"
            else:
                with pytest.raises(Refused, match="nothing more is sent"):
                    client.create(order)
        assert client._broken
        assert path.read_bytes() == whole
    assert watched.straight == (0 if take_profit else 2)
    await until(lambda: client.requests.is_settled)


async def test_a_line_that_is_written_and_not_on_the_disk_has_its_outcome(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await place.client(fsync=Fsync.COMMIT)
    order, sync = await place.resting(), os.fdatasync

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(order_journal.os, "fdatasync", fail)
    with pytest.raises(Refused, match="Input/output error"):
        client.create(order)
    monkeypatch.setattr(order_journal.os, "fdatasync", sync)
    assert len(written(client)) == 1
    assert read_orders(client._written().path)[0] == {}


async def test_what_the_socket_lost_is_looked_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await place.client()
    watched = Watched(client)
    order = await place.resting()

    def fail(_: bytes) -> int:
        raise ConnectError("it went away just now")

    with monkeypatch.context() as patched:
        patched.setattr(client._trade, "send", fail)
        ticket = client.create(order)
    assert watched.straight == 1
    assert ticket.request.state is RequestState.UNKNOWN
    outcome = await ticket.outcome()
    assert (outcome.kind, outcome.evidence, outcome.was_unknown) == (
        OutcomeKind.EXPIRED, Evidence.REST, True,
    )  # fmt: skip
    await place.check_soon(client)
    assert read_orders(client._written().path)[0] == {}


async def test_a_mistake_of_ours_in_the_socket_leaves_a_request_that_is_known(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await place.client()
    order = await place.resting()

    def fail(_: bytes) -> int:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(client._trade, "send", fail)
        with pytest.raises(ZeroDivisionError):
            client.create(order)
    (request,) = client.requests.open
    assert request.state is RequestState.SENT
    assert [line["request_id"] for line in written(client)] == [request.request_id]
    await until(lambda: request.outcome is not None)  # after its answer was missed


async def test_a_socket_that_takes_parts_gets_the_rest(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await place.client()
    client.rates.bucket(Category.LINEAR, Op.CREATE).limit = 1_000
    watched = Watched(client)
    orders = [await place.resting() for _ in range(20)]
    calls = itertools.count()

    class Part:
        """The module `os` as of a full socket."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def write(self, descriptor: int, data: bytes) -> int:
            call = next(calls)
            if call % 3 == 0:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            return os.write(descriptor, data[: call * 37 % len(data)])

    monkeypatch.setattr(transport, "os", Part())
    tickets = [client.create(order) for order in orders]
    assert {await kind_of(ticket) for ticket in tickets} == {OutcomeKind.ACKED}
    assert watched.straight == 20
    await place.check_soon(client)


async def test_nothing_more_goes_out_after_an_order_that_could_not_be_kept_in_mind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await place.client()
    known = client.create(await place.resting())
    assert await kind_of(known) is OutcomeKind.ACKED
    order = await place.resting()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(client._entry, "_begin_plain", interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.create(order)
    with pytest.raises(Refused, match="may have gone out") as refusal:
        client.create(order)
    assert refusal.value.rule == "stopped"
    assert await kind_of(client.cancel(known.key)) is OutcomeKind.ACKED
    assert list(read_orders(client._written().path)[0]) == [written(client)[1]["request_id"]]
    await client.__aexit__(None, None, None)
    client = await place.client()
    (request,) = client.restored
    await until(lambda: request.outcome is not None)
    assert request.outcome is not None
    assert request.outcome.kind is OutcomeKind.ACKED
    await place.check_soon(client)


@pytest.mark.parametrize("taken", ["half", "all but one", "all"])
async def test_of_a_connection_that_goes_amid_an_order_the_outcome_is_found_out(
    place: Place, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    client = await place.client()
    watched = Watched(client)
    orders = [await place.resting() for _ in range(3)]

    class Cut:
        """The module `os` as of a socket that ends with the next bytes."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def write(self, descriptor: int, data: bytes) -> int:
            patched.undo()
            size = {"half": len(data) // 2, "all but one": len(data) - 1, "all": len(data)}[taken]
            written = os.write(descriptor, data[:size])
            connection = client._trade._current
            assert connection is not None
            connection.abort("cut by a test")
            return written

    first = client.create(orders[0])
    with monkeypatch.context() as patched:
        patched.setattr(transport, "os", Cut())
        second = client.create(orders[1])
    assert watched.straight == 2
    with pytest.raises(Refused, match="it is down"):
        client.create(orders[2])
    kinds = [await kind_of(ticket) for ticket in (first, second)]
    placed = {order.link_id for order in place.truth.orders.values()}
    for ticket, kind in zip((first, second), kinds, strict=True):
        assert (kind is OutcomeKind.ACKED) == (ticket.key.link_id in placed)
        assert kind in (OutcomeKind.ACKED, OutcomeKind.EXPIRED)
    assert taken == "all" or kinds[1] is OutcomeKind.EXPIRED
    await until(lambda: client.can_send)
    assert await kind_of(client.create(orders[2])) is OutcomeKind.ACKED
    assert watched.straight == 3
    await place.check_soon(client)


async def test_whoever_tells_the_price_may_send_something(place: Place) -> None:
    """A request in between makes the order one more than was counted: it is looked at anew."""
    keys: list[OrderKey] = []

    def quote_of(category: Category, symbol: str) -> Quote | None:
        if keys:
            client.cancel(keys.pop())
        return place.quote(category, symbol)

    client = await place.client(quote_of=quote_of)
    watched = Watched(client)
    first = client.create(await place.resting())
    assert await kind_of(first) is OutcomeKind.ACKED
    keys.append(first.key)
    second = client.create(await place.resting())
    assert await kind_of(second) is OutcomeKind.ACKED
    assert watched.straight == 1, "the first"
    assert [request["op"] for request in written(client)] == ["order.create", "order.cancel", "order.create"]
    assert not read_orders(client._written().path)[0], "whose lines are numbered without gaps"


@pytest.mark.parametrize("take_profit", [False, True])
@pytest.mark.parametrize("context", [Context(prec=3), Context(prec=6)])
async def test_a_strategy_may_reckon_in_a_context_of_its_own(
    place: Place, context: Context, take_profit: bool
) -> None:
    """On either way an order is rounded exactly, and what has gone out is known."""
    client = await place.client()
    watched = Watched(client)
    mid = await place.mid()
    price = D(int(mid * D("0.97"))) + D("0.77")
    more = {"take_profit": D(int(mid * 2)) + D("0.77")} if take_profit else {}
    order = await place.resting(quantity="0.012345", **more)
    order = msgspec.structs.replace(order, price=price)
    with localcontext(context):
        ticket = client.create(order)
    assert watched.straight == (not take_profit)
    fields = ticket.request.fields
    assert written(client)[-1]["fields"] == fields
    assert (D(fields["price"]), fields["qty"]) == (price - D("0.07"), "0.012")
    assert ticket.request.quantity == D("0.012")
    assert await kind_of(ticket) is OutcomeKind.ACKED
    await place.check_soon(client)


async def test_rows_are_reckoned_exactly_in_a_context_of_three_digits(place: Place) -> None:
    order = await place.resting(quantity="1.234")
    with localcontext(Context(prec=3)):
        client = await place.client()
        ticket = client.create(order)
        assert await kind_of(ticket) is OutcomeKind.ACKED
        await until(lambda: bool(client.account.open_orders))
        direction = Category.LINEAR, "BTCUSDT", "Buy", 0
        assert client.account.exposure.of(direction) == D("1.234")
        await client.reload()
        assert client.account.exposure.of(direction) == D("1.234")
        at_market = NewOrder(category=Category.LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=D("1.111"))
        bought = client.create(at_market).key
        await until(lambda: (found := client.order(bought)) is not None and not found.is_open)
        found = client.order(bought)
        assert found is not None
        assert found.filled
        await until(lambda: client.account.held(Category.LINEAR, "BTCUSDT", 0) == found.filled)
    await place.check_soon(client)


@pytest.mark.parametrize("way", ["straight", "long", "batch", "amend"])
@pytest.mark.parametrize("is_noted", [True, False])
async def test_whoever_tells_the_price_may_stop_trading(place: Place, way: str, is_noted: bool) -> None:
    """With a line in the journal or, where that can't be written, without."""
    stops: list[Callable[[str], None]] = []

    def quote_of(category: Category, symbol: str) -> Quote | None:
        if stops:
            stops.pop()("by the price source")
        return place.quote(category, symbol)

    client = await place.client(quote_of=quote_of)
    watched = Watched(client)
    resting = client.create(await place.resting())
    assert await kind_of(resting) is OutcomeKind.ACKED
    await until(lambda: bool(client.account.open_orders))
    order = await place.resting(take_profit=await place.mid() * 2 if way == "long" else None)
    stops.append(client._switch_off if is_noted else client._break)
    ask: dict[str, Callable[[], object]] = {
        "batch": lambda: client.create_batch([order, order]),
        "amend": lambda: client.amend(resting.key, Change(quantity=D("0.02"))),
    }
    with pytest.raises(Refused, match="by the price source"):
        ask.get(way, lambda: client.create(order))()
    assert not stops
    assert watched.straight == 1
    assert len(written(client)) == 1
    assert not client.requests.open


async def test_nothing_goes_straight_while_trading_is_stopped_or_the_socket_is_down(place: Place) -> None:
    client = await place.client()
    watched = Watched(client)
    order = await place.resting()
    client._trade._current, kept = None, client._trade._current
    with pytest.raises(Refused, match="it is down"):
        client.create(order)
    ticket = client.create(order, or_rest=True)
    assert await kind_of(ticket) is OutcomeKind.ACKED
    client._trade._current = kept
    client.kill_switch.reason = "for a test"
    with pytest.raises(Refused, match="for a test"):
        client.create(order)
    assert watched.straight == 0
    client.kill_switch.reason = None
    client.create(order)
    assert watched.straight == 1


async def test_a_name_is_given_once(place: Place) -> None:
    client = await place.client()
    watched = Watched(client)
    mine = await place.resting(link_id="mine", time_in_force=TimeInForce.POST_ONLY)
    first = client.create(mine)
    assert watched.straight == 1
    with pytest.raises(Refused, match="must not be sent again"):
        client.create(mine)
    assert await kind_of(first) is OutcomeKind.ACKED
    with pytest.raises(Refused, match="was placed already"):
        client.create(mine)
    assert first.key == OrderKey(Category.LINEAR, "BTCUSDT", "", "mine")
    assert first.request.fields["side"] == Side.BUY
    assert watched.straight == 1
