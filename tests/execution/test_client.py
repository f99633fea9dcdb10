"""The trading client against a gateway that trades: what it is told, what it believes, what goes wrong on purpose."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.bybit.endpoints import default_root
from execution.client import TradingClient
from execution.desk.limits import Limits
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side, TimeInForce
from execution.desk.outcomes import Evidence, OrderRequest, OutcomeKind
from execution.desk.wire import Op
from execution.order_journal import OrderJournal, read_orders
from execution.settings import Settings
from execution.ticket import Ticket
from schemas.errors import ConfigError, ExchangeError
from schemas.names import Category, Environment
from tests.execution.conftest import KEYS, NO_LIMITS, PATIENCE_S, UID, Place, until

D = Decimal
LINEAR = Category.LINEAR
ROOT = Path(__file__).parents[2]


async def ended(ticket: Ticket) -> OutcomeKind:
    async with asyncio.timeout(PATIENCE_S):
        return (await ticket.outcome()).kind


def market(side: Side, quantity: str = "0.01") -> NewOrder:
    return NewOrder(category=LINEAR, symbol="BTCUSDT", side=side, quantity=D(quantity))


async def test_an_order_is_placed_amended_and_cancelled(place: Place) -> None:
    client = await place.client()
    ticket = client.create(await place.resting(time_in_force=TimeInForce.POST_ONLY))
    outcome = await ticket.outcome()
    assert (outcome.kind, outcome.evidence, outcome.was_unknown) == (OutcomeKind.ACKED, Evidence.REPLY, False)
    await until(lambda: len(client.account.open_orders) == 1)
    order = client.account.open_orders[0]
    assert order.link_id == ticket.key.link_id
    assert order.price is not None
    assert order.price % D("0.1") == 0, "rounded to the tick"
    await place.check_soon(client)

    assert await ended(client.amend(ticket.key, Change(quantity=D("0.02")))) is OutcomeKind.ACKED
    await until(lambda: order.quantity == D("0.02"))
    assert await ended(client.cancel(ticket.key)) is OutcomeKind.ACKED
    await until(lambda: not client.account.open_orders)
    assert order.status == "Cancelled"
    with pytest.raises(Refused, match="is Cancelled"):
        client.cancel(ticket.key)
    await place.check_soon(client)


async def test_no_request_is_made_from_another_thread(place: Place) -> None:
    client = await place.client()
    ticket = client.create(await place.resting())
    assert await ended(ticket) is OutcomeKind.ACKED
    await until(lambda: len(client.account.open_orders) == 1)
    order, key, change = await place.resting(), ticket.key, Change(quantity=D("0.02"))
    before = [(shown.link_id, shown.quantity) for shown in client.account.open_orders]
    asked: list[Callable[[], object]] = [
        lambda: client.create(order),
        lambda: client.create_batch([order]),
        lambda: client.amend(key, change),
        lambda: client.amend_batch([(key, change)]),
        lambda: client.cancel(key),
        lambda: client.cancel_batch([key]),
    ]
    for ask in asked:
        with pytest.raises(Refused, match="in the thread that began the client"):
            await asyncio.to_thread(ask)
    assert client.requests.open == []
    await place.check_soon(client)
    assert [(shown.link_id, shown.quantity) for shown in client.account.open_orders] == before
    # what the words say to do instead
    brought: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(loop.call_soon_threadsafe, lambda: brought.set_result(client.create(order)))
    assert await ended(await brought) is OutcomeKind.ACKED
    await place.check_soon(client)


async def test_fills_move_the_position_and_the_wallet(place: Place) -> None:
    client = await place.client()
    await place.mid()
    before = client.account.coins["USDT"].wallet_balance
    assert await ended(client.create(market(Side.BUY))) is OutcomeKind.ACKED
    key = (LINEAR, "BTCUSDT", 0)
    await until(lambda: key in client.account.positions and client.account.positions[key].signed == D("0.01"))
    await until(lambda: client.account.coins["USDT"].wallet_balance != before)
    fees = sum((fill.fee or D(0) for fill in client.account.fills.values()), D(0))
    assert before - client.account.coins["USDT"].wallet_balance == fees > 0
    assert await ended(client.create(market(Side.SELL))) is OutcomeKind.ACKED
    await until(lambda: client.account.positions[key].signed == 0)
    await client.reload()
    await place.check_soon(client)


async def test_the_exchanges_refusal_in_its_words(place: Place) -> None:
    client = await place.client()
    outcome = await client.create(await place.resting("1.2")).outcome()
    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.code == 110121, "beyond the exchange's price limit"
    assert outcome.words
    assert not place.truth.orders


async def test_what_is_refused_here_never_arrives(place: Place) -> None:
    limits = Limits(
        order_notional=D(1_000),
        position_notional=None,
        requests_per_second=None,
        collar=D("0.01"),
        daily_loss=None,
    )
    client = await place.client(limits=limits)
    resting = await place.resting()
    for order, rule in (
        (await place.resting(quantity="1"), "order notional"),
        (await place.resting("1.02"), "price collar"),
        (await place.resting(quantity="0.00001"), "quantity"),
        (NewOrder(category=LINEAR, symbol="ETHUSDT", side=Side.BUY, quantity=D(1), price=D(1)), "symbol"),
    ):
        with pytest.raises(Refused) as caught:
            client.create(order)
        assert caught.value.rule == rule
    with pytest.raises(Refused, match="no row has shown it"):
        client.amend(OrderKey(LINEAR, "BTCUSDT", "", "nobody"), Change(price=D(1)))
    assert await ended(client.create(resting)) is OutcomeKind.ACKED
    await until(lambda: len(client.account.open_orders) == 1)
    assert len(place.truth.orders) == 1
    assert not place.truth.closed
    await place.check_soon(client)


async def test_a_name_that_cannot_be_written_is_refused_and_leaves_nothing_open(place: Place) -> None:
    client = await place.client()
    for key in (OrderKey(LINEAR, "BTCUSDT", "", "\ud800"), OrderKey(LINEAR, "\udfff", "o1")):
        with pytest.raises(Refused) as caught:
            client.cancel(key)
        assert caught.value.rule == "name"
    assert client.requests.is_settled
    assert read_orders(client._written().path)[0] == {}


async def test_the_exchanges_rate_is_kept_here(open_place: Callable[..., Any]) -> None:
    place: Place = await open_place(order_limit=3)
    client = await place.client()
    order = await place.resting()
    # the published limit until the first answer says what is in force
    assert await ended(client.create(order)) is OutcomeKind.ACKED
    tickets: list[Ticket] = []
    refused: list[str] = []
    for _ in range(6):
        try:
            tickets.append(client.create(order))
        except Refused as refusal:
            refused.append(refusal.rule)
    assert set(refused) == {"rate"}
    outcomes = [await ticket.outcome() for ticket in tickets]
    assert OutcomeKind.ACKED in {outcome.kind for outcome in outcomes}
    # where the way there takes most of a second, its second is not ours: what it refuses then is refused for that alone
    assert {outcome.code for outcome in outcomes} <= {0, 10006}
    assert client.rates.limit(LINEAR, Op.CREATE) == 3, "as the answers said"


async def test_rest_takes_over_only_where_it_is_allowed(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    client._trade.renew()
    assert not client.can_send
    with pytest.raises(Refused, match="trade socket"):
        client.create(order)
    ticket = client.create(order, or_rest=True)
    assert await ended(ticket) is OutcomeKind.ACKED
    client._trade.renew()
    assert await ended(client.cancel(ticket.key)) is OutcomeKind.ACKED
    await until(lambda: client.can_send)
    await until(lambda: not client.account.open_orders)
    await place.check_soon(client)


async def test_a_clock_that_is_wrong_by_far_does_not_matter(open_place: Callable[..., Any]) -> None:
    place: Place = await open_place("skew=-45000")
    client = await place.client()
    assert client.clock.error_ms() < 5_000
    assert await ended(client.create(await place.resting())) is OutcomeKind.ACKED


async def test_leverage_protection_fees_and_the_key(place: Place) -> None:
    client = await place.client()
    assert client.key_info["readOnly"] == 0
    await place.mid()
    for _ in range(2):  # the second changes nothing, which is fine
        await client.rest.set_leverage(LINEAR, "BTCUSDT", D(5))
    assert await client.rest.fee_rates(LINEAR, "BTCUSDT") == (D("0.0002"), D("0.00055"))
    assert await ended(client.create(market(Side.BUY))) is OutcomeKind.ACKED
    stop = (await place.mid() * D("0.9")).quantize(D(1))
    for _ in range(2):
        await client.rest.set_trading_stop(LINEAR, "BTCUSDT", stop_loss=stop)
    key = (LINEAR, "BTCUSDT", 0)
    await until(lambda: key in client.account.positions and client.account.positions[key].leverage == 5)
    await until(lambda: D(client.account.positions[key].row["stopLoss"]) == stop)
    with pytest.raises(ExchangeError, match="code"):
        await client.rest.set_leverage(LINEAR, "BTCUSDT", D(5_000))


async def test_cancel_all_of_a_symbol_and_of_a_category(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    for cancel in (
        lambda: client.rest.cancel_symbol(LINEAR, "BTCUSDT"),
        lambda: client.rest.cancel_all(LINEAR, ["BTCUSDT"]),
    ):
        for _ in range(3):
            assert await ended(client.create(order)) is OutcomeKind.ACKED
        assert await cancel() == 3
        await until(lambda: not client.account.open_orders)
    await place.check_soon(client)


async def test_a_batch_is_one_message_with_outcomes_of_its_own(place: Place) -> None:
    client = await place.client()
    good, refused = await place.resting(), await place.resting("1.2")
    tickets = client.create_batch([good, refused, good])
    kinds = [await ended(ticket) for ticket in tickets]
    assert kinds == [OutcomeKind.ACKED, OutcomeKind.REJECTED, OutcomeKind.ACKED]
    await until(lambda: len(client.account.open_orders) == 2)
    keys = [tickets[0].key, tickets[2].key]
    assert [await ended(ticket) for ticket in client.cancel_batch(keys)] == [OutcomeKind.ACKED] * 2
    await until(lambda: not client.account.open_orders)
    await place.check_soon(client)


async def test_a_batch_is_not_a_way_around_the_rate(place: Place) -> None:
    limits = msgspec.structs.replace(NO_LIMITS, requests_per_second=3)
    client, order = await place.client(limits=limits), await place.resting()
    with pytest.raises(Refused) as caught:
        client.create_batch([order] * 4)
    assert caught.value.rule == "requests per second"
    tickets = client.create_batch([order] * 3)
    with pytest.raises(Refused):
        client.create(order)
    assert [await ended(ticket) for ticket in tickets] == [OutcomeKind.ACKED] * 3


async def test_a_batch_is_sent_whole_or_not_at_all(place: Place) -> None:
    limits = Limits(
        order_notional=None,
        position_notional=D(1_500),
        requests_per_second=None,
        collar=None,
        daily_loss=None,
    )
    client = await place.client(limits=limits)
    order = await place.resting()  # worth some 600
    with pytest.raises(Refused) as caught:
        client.create_batch([order, order, order])
    assert caught.value.rule == "position", "each counts for the next"
    assert client.requests.is_settled
    spot = NewOrder(category=Category.SPOT, symbol="X", side=Side.BUY, quantity=D(1))
    for orders in ([], [order] * 21, [order, spot], [spot] * 11):
        with pytest.raises(Refused) as caught:
            client.create_batch(orders)
        assert caught.value.rule == "batch"
    assert not place.truth.orders
    assert not place.truth.closed
    tickets = client.create_batch([order, order])
    cancels = [tickets[0].key, tickets[0].key]
    with pytest.raises(Refused, match="in doubt"):
        client.cancel_batch(cancels)
    assert [await ended(ticket) for ticket in tickets] == [OutcomeKind.ACKED] * 2


async def test_an_outcome_that_the_end_leaves_open_is_an_error_in_words(
    open_place: Callable[..., Any],
) -> None:
    place: Place = await open_place("order_lost=1")
    client = await place.client()
    order = await place.resting()
    before, after = client.create(order), client.create(order)
    waiting = [asyncio.create_task(ended(before)), asyncio.create_task(client.settled())]
    await asyncio.sleep(0)
    await client.__aexit__(None, None, None)
    for task in waiting:
        with pytest.raises(ExchangeError, match="the client has ended"):
            await task
    for ticket in (before, after):
        with pytest.raises(ExchangeError, match="the next client of the directory finds out"):
            await ended(ticket)


async def test_a_client_is_entered_once(place: Place) -> None:
    client = await place.client()
    with pytest.raises(ConfigError, match="a client is entered once"):
        await client.__aenter__()
    assert await ended(client.create(await place.resting())) is OutcomeKind.ACKED, "it goes on"
    await client.__aexit__(None, None, None)
    with pytest.raises(ConfigError, match="a client is entered once"):
        await client.__aenter__()
    again = await place.client()
    await again.cancel_everything()
    assert not place.truth.orders


# -- safety ------------------------------------------------------------------------------------------------


async def test_the_kill_switch_cancels_everything_and_stays_on(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    tickets = [client.create(order) for _ in range(4)]
    await client.kill("enough")
    assert not place.truth.orders
    assert not client.account.open_orders
    assert client.requests.is_settled
    assert all(ticket.request.outcome is not None for ticket in tickets)
    with pytest.raises(Refused, match="enough"):
        client.create(order)
    await client.__aexit__(None, None, None)
    again = await place.client()
    with pytest.raises(Refused, match="enough"):
        again.create(order)
    again.kill_switch.release()
    assert await ended(again.create(order)) is OutcomeKind.ACKED


async def test_an_end_from_another_thread_is_refused_and_changes_nothing(place: Place) -> None:
    client = await place.client()
    assert await ended(client.create(await place.resting())) is OutcomeKind.ACKED
    await until(lambda: len(client.account.open_orders) == 1)
    for end in (lambda: client.kill("enough"), client.cancel_everything):
        with pytest.raises(Refused, match="run_coroutine_threadsafe"):
            await asyncio.to_thread(asyncio.run, end())
    assert not client.kill_switch.is_on
    assert client._why_stopped() is None
    await place.check_soon(client)
    assert len(client.account.open_orders) == 1
    # what the words say to do instead
    loop = asyncio.get_running_loop()
    brought = await asyncio.to_thread(asyncio.run_coroutine_threadsafe, client.kill("enough"), loop)
    await asyncio.wrap_future(brought)
    assert not place.truth.orders


async def kill_and_give_up(client: TradingClient) -> None:
    killing = asyncio.create_task(client.kill("enough"))
    await asyncio.sleep(0)
    assert client.kill_switch.is_on
    killing.cancel()


async def trip_the_switch_alone(client: TradingClient) -> None:
    client.kill_switch.trip("enough", 1)


async def trip_it_again_at_once(client: TradingClient) -> None:
    """Not seen off in between by whoever looks each second."""
    resting = client.account.open_orders[0]
    await client.kill("enough")
    client.kill_switch.release()
    again = NewOrder(
        category=resting.category, symbol=resting.symbol, side=Side.BUY, quantity=D("0.02"), price=resting.price
    )  # fmt: skip
    assert await ended(client.create(again)) is OutcomeKind.ACKED
    client.kill_switch.trip("once more", 2)


@pytest.mark.parametrize("trip", [kill_and_give_up, trip_the_switch_alone, trip_it_again_at_once])
async def test_whoever_switched_it_on_what_is_open_is_cancelled(
    place: Place, trip: Callable[[TradingClient], Awaitable[None]]
) -> None:
    client = await place.client()
    assert await ended(client.create(await place.resting())) is OutcomeKind.ACKED
    await until(lambda: len(client.account.open_orders) == 1)
    await trip(client)
    assert place.truth.orders
    await until(lambda: client._swept_trips == client.kill_switch.trips and not client._cancelling)
    assert not place.truth.orders
    assert client.kill_switch.is_on
    client._sweep()
    assert not client._cancelling, "once is enough: what others of the account open later is theirs"


async def test_the_kill_switch_cancels_what_others_of_the_account_have_open(
    open_place: Callable[..., Any],
) -> None:
    """Inverse contracts have to be cancelled by symbol, and the account is not the client's alone."""
    place: Place = await open_place(category=Category.INVERSE)
    for symbol in ("BTCUSD", "ETHUSD"):
        place.desk.market("inverse", symbol)
    await until(
        lambda: (
            all(market.reference is not None for market in place.venue.markets.values())
            and len(place.venue.markets) == 2
        )
    )
    client = await place.client(symbols={Category.INVERSE: ("BTCUSD",)})
    for (category, symbol), market_of in list(place.venue.markets.items()):
        assert market_of.reference is not None
        price = market_of.rules.band(market_of.reference, Side.SELL)
        fields = {"category": category.value, "symbol": symbol, "side": "Buy", "orderType": "Limit"}
        place.desk.create(UID, {**fields, "qty": "10", "price": str(price)})
    place.desk.publish()
    await until(lambda: len(client.account.open_orders) == 2)
    await client.kill("enough", PATIENCE_S)
    assert not place.truth.orders


async def test_a_file_that_appears_stops_a_running_client(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    assert await ended(client.create(order)) is OutcomeKind.ACKED
    (place.directory / "account" / "KILLED").touch()
    await until(lambda: client.kill_switch.is_on)
    with pytest.raises(Refused, match="KILLED"):
        client.create(order)
    await until(lambda: not place.truth.orders)


async def test_a_start_with_the_switch_on_cancels_what_is_open_still(place: Place) -> None:
    client = await place.client()
    assert await ended(client.create(await place.resting())) is OutcomeKind.ACKED
    await client.__aexit__(None, None, None)
    (
        place.directory / "account" / "KILLED"
    ).touch()  # tripped by a run that was killed before it had cancelled
    await place.client()
    await until(lambda: not place.truth.orders)


async def test_a_silent_program_is_taken_for_dead(place: Place) -> None:
    client = await place.client(dead_man_s=100.0)
    client.alive()
    assert await ended(client.create(await place.resting())) is OutcomeKind.ACKED
    assert not client.kill_switch.is_on
    client._alive_s -= 101.0
    await until(lambda: client.kill_switch.is_on)
    assert "dead man" in str(client.kill_switch.reason)
    await until(lambda: not place.truth.orders)


async def test_the_days_loss_ends_the_day(place: Place) -> None:
    limits = Limits(
        order_notional=None,
        position_notional=None,
        requests_per_second=None,
        collar=None,
        daily_loss={"USDT": D("0.5")},
    )
    client = await place.client(limits=limits)
    await place.mid()
    client.create(market(Side.BUY, "0.05"))  # the fee alone is more
    await until(lambda: client.kill_switch.is_on)
    assert "daily loss" in str(client.kill_switch.reason)


async def test_the_days_loss_of_spot_trades_ends_the_day_too(open_place: Callable[..., Any]) -> None:
    place: Place = await open_place(category=Category.SPOT)
    limits = Limits(
        order_notional=None,
        position_notional=None,
        requests_per_second=None,
        collar=None,
        daily_loss={"USDT": D("0.5")},
    )
    client = await place.client(symbols={Category.SPOT: ("BTCUSDT",)}, limits=limits)
    place.desk.market("spot", "BTCUSDT")
    await until(lambda: place.quote(Category.SPOT, "BTCUSDT") is not None)
    client.create(NewOrder(category=Category.SPOT, symbol="BTCUSDT", side=Side.BUY, quantity=D("0.05")))
    await until(lambda: client.kill_switch.is_on)  # the fee alone is more, in coins as it is
    assert "daily loss: today's result is -" in str(client.kill_switch.reason)


async def test_what_was_lost_before_counts_before_the_first_order(place: Place) -> None:
    client = await place.client()
    await place.mid()
    assert await ended(client.create(market(Side.BUY, "0.05"))) is OutcomeKind.ACKED
    await until(lambda: bool(client.account.fills))
    await client.__aexit__(None, None, None)
    limits = msgspec.structs.replace(NO_LIMITS, daily_loss={"USDT": D("0.5")})  # the fee alone was more
    again = await place.client(limits=limits)
    with pytest.raises(Refused, match="daily loss"):
        again.create(market(Side.BUY))


async def test_who_tells_no_prices_stops_trading_and_not_what_keeps_it_safe(place: Place) -> None:
    quotes: list[Callable[[Category, str], Any]] = [place.quote]
    limits = msgspec.structs.replace(NO_LIMITS, daily_loss={"USDT": D(10_000)})
    client = await place.client(limits=limits, quote_of=lambda *key: quotes[-1](*key))
    order = await place.resting()
    assert await ended(client.create(market(Side.BUY))) is OutcomeKind.ACKED
    await until(lambda: any(position.size for position in client.account.positions.values()))
    assert await ended(client.create(order)) is OutcomeKind.ACKED
    quotes.append(lambda *_: (D(1), D(2)))
    await until(lambda: bool(client._broken))
    with pytest.raises(Refused, match="expected a Quote"):
        client.create(order)
    assert place.truth.orders
    (place.directory / "account" / "KILLED").touch()
    await until(lambda: not place.truth.orders)
    await client.__aexit__(None, None, None)
    client.kill_switch.release()
    with pytest.raises(ConfigError, match="expected a Quote"):
        await place.client(limits=limits, quote_of=quotes[-1])


async def test_the_exchanges_own_switch_is_armed_and_works(place: Place) -> None:
    client = await place.client(dcp_window_s=3)
    assert client.dcp["DERIVATIVES"]["timeWindow"] == "3"
    assert client.dcp["DERIVATIVES"]["dcpStatus"] == "ON"
    ticket = client.create(await place.resting())
    assert await ended(ticket) is OutcomeKind.ACKED
    await client.__aexit__(None, None, None)
    await until(lambda: not place.truth.orders)
    order = place.truth.find(LINEAR, "", ticket.key.link_id)
    assert order is not None
    assert order.cancel_type.value == "CancelByDCP"


async def test_a_key_that_may_only_look_does_not_trade(place: Place) -> None:
    with pytest.raises(ConfigError, match="may only look"):
        await place.client("looker")


async def test_a_wrong_secret_ends_at_once_and_is_not_shown(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from execution.desk.signers import HmacSigner

    client = TradingClient(place.settings(), HmacSigner("demo", "not-the-secret"))
    with pytest.raises(ExchangeError) as caught:
        await client.__aenter__()
    assert "10004" in str(caught.value)
    assert "not-the-secret" not in str(caught.value) + caplog.text


async def test_a_session_shows_no_secret(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client = await place.client()
        ticket = client.create(await place.resting())
        await ended(ticket)
        await client.kill("the end")
        shown = f"{client!r} {ticket!r} {client._rest!r} {client._signer!r} {client._trade!r}"
    secret = KEYS["demo"].secret
    assert secret not in caplog.text
    assert secret not in shown
    files = [path for path in place.directory.rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        assert secret.encode() not in path.read_bytes(), path


def test_real_money_needs_permission(tmp_path: Path) -> None:
    values: dict[str, Any] = {"directory": tmp_path, "symbols": {LINEAR: ("BTCUSDT",)}, "limits": NO_LIMITS}
    with pytest.raises(ConfigError, match="trades real money"):
        Settings(root=default_root(Environment.MAINNET), **values)
    Settings(root=default_root(Environment.TESTNET), **values)


@pytest.mark.parametrize(
    "more",
    [{"symbols": {}}, {"symbols": {Category.SPREAD: ("X",)}}, {"recv_window_ms": 5}, {"dcp_window_s": 2},
     {"dead_man_s": 0.0}, {"dead_man_s": float("nan")}, {"dead_man_s": "5"},
     # of other types, which would be taken for something else, or fail only once there are orders
     {"fsync": "commit"}, {"fsync": "whenever"}, {"fsync": True}, {"directory": "trading"}, {"limits": None},
     {"limits": {"collar": None}}, {"symbols": {"linear": ("BTCUSDT",)}}, {"symbols": {LINEAR: "BTCUSDT"}},
     {"symbols": {LINEAR: ("",)}}, {"symbols": {LINEAR: (5,)}}, {"symbols": {LINEAR: None}},
     {"symbols": ("BTCUSDT",)}, {"recv_window_ms": 5_000.0}, {"dcp_window_s": 40.0}, {"live": "no"}],
)  # fmt: skip
def test_settings_that_do_not_fit(tmp_path: Path, more: dict[str, Any]) -> None:
    values: dict[str, Any] = {
        "root": "ws://127.0.0.1:1",
        "directory": tmp_path,
        "symbols": {LINEAR: ("BTCUSDT",)},
        "limits": NO_LIMITS,
    }
    (name,) = more
    with pytest.raises(ConfigError, match="no symbol" if more == {"symbols": {}} else name):
        Settings(**(values | more))


# -- what goes wrong ---------------------------------------------------------------------------------------

STORM = (
    "order_lost=0.06,order_lost_ack=0.06,order_cut_before=0.03,order_cut=0.03,order_error=0.06,order_double_ack=0.06,"
    "order_slow_ack=0.06,order_held=0.06,order_limited=0.03,private_cut=0.01,trade_restart=2,delay=0.3,seed={}"
)


PASSING = (
    "in doubt", "order is over", "unknown order", "change", "trade socket", "account", "rate", "minimum notional",
)  # fmt: skip
"""Refusals of our own that a program meets when what it wants doesn't go at the moment."""


def draw(chance: random.Random, mid: Decimal) -> NewOrder:
    """An order that rests, trades, or is refused."""
    side = chance.choice((Side.BUY, Side.SELL))
    far = D(chance.choice(("0.03", "0.02", "0.0001", "-0.0005")))
    return NewOrder(
        category=LINEAR,
        symbol="BTCUSDT",
        side=side,
        quantity=D(chance.randint(1, 20)) / 1000,
        price=None if chance.random() < 0.1 else mid * (1 - far * side.sign),
    )


async def trade_at_random(place: Place, client: TradingClient, seed: int, lifecycles: int) -> list[Ticket]:
    """Place, amend and cancel at random, one by one and in batches, over either way, whatever happens."""
    chance = random.Random(seed)
    tickets: list[Ticket] = []
    created = 0
    while created < lifecycles:
        await asyncio.sleep(0.005)
        mid = await place.mid()
        keys = [ticket.key for ticket in tickets[-15:]]
        what, or_rest = chance.random(), chance.random() < 0.5
        several = chance.randint(2, 4) if chance.random() < 0.25 else 1
        quiet = [
            k for k in keys if (o := client.order(k)) is not None and o.is_open and not client.is_pending(k)
        ]
        known = quiet if quiet and chance.random() < 0.7 else keys
        some = list(dict.fromkeys(chance.choices(known, k=several))) if known else []
        change = Change(quantity=D(chance.randint(1, 30)) / 1000)
        if or_rest and chance.random() < 0.15:
            client._trade.renew()  # what comes next goes over REST
        try:
            if what < 0.5 or not keys:
                orders = [draw(chance, mid) for _ in range(several)]
                made = (
                    [client.create(orders[0], or_rest=or_rest)]
                    if several == 1
                    else client.create_batch(orders, or_rest=or_rest)
                )
                created += len(made)
            elif what < 0.75:
                made = (
                    [client.amend(some[0], change, or_rest=or_rest)]
                    if several == 1
                    else client.amend_batch([(key, change) for key in some], or_rest=or_rest)
                )
            else:
                made = [client.cancel(some[0])] if several == 1 else client.cancel_batch(some)
            tickets += made
        except Refused as refusal:
            if refusal.rule not in PASSING:
                raise
    return tickets


async def check_storm(place: Place, client: TradingClient, tickets: list[Ticket]) -> None:
    for ticket in tickets:
        await ended(ticket)
    await until(lambda: client.is_current and client.requests.is_settled)
    await client.reload()
    await until(lambda: client.requests.is_settled)
    await place.check_soon(client)
    created = [ticket for ticket in tickets if ticket.request.op.value == "order.create"]
    there = {order.link_id for order in [*place.truth.orders.values(), *place.truth.closed]}
    for ticket in created:
        assert ticket.request.outcome is not None
        is_acked = ticket.request.outcome.kind is OutcomeKind.ACKED
        assert is_acked == (ticket.key.link_id in there), ticket
    links = [order.link_id for order in [*place.truth.orders.values(), *place.truth.closed]]
    assert len(links) == len(set(links)), "nothing was placed twice"


async def test_every_request_has_its_outcome_in_a_storm(open_place: Callable[..., Any]) -> None:
    place: Place = await open_place(STORM.format(3))
    client = await place.client()
    tickets = await trade_at_random(place, client, 3, 120)
    await check_storm(place, client, tickets)
    outcomes = [ticket.request.outcome for ticket in tickets]
    assert any(outcome is not None and outcome.was_unknown for outcome in outcomes), "the storm blew"
    together = Counter((ticket.request.op, ticket.request.timestamp_ms) for ticket in tickets)
    assert any(count > 1 for count in together.values()), "batches, of whatever kind the storm let through"
    assert '"way":"rest"' in client._written().path.read_text(), "and REST in between"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
async def test_ten_thousand_lifecycles_in_storms(open_place: Callable[..., Any], seed: int) -> None:
    place: Place = await open_place(STORM.format(seed))
    client = await place.client()
    tickets = await trade_at_random(place, client, seed, 500)
    await check_storm(place, client, tickets)


async def test_a_killed_program_is_reconciled_at_the_next_start(open_place: Callable[..., Any]) -> None:
    place: Place = await open_place("order_lost_ack=0.5,order_lost=0.3,seed=1")
    price = str(await place.mid() * D("0.97"))
    program = """
import asyncio, os, signal, sys
from decimal import Decimal
from pathlib import Path
from execution.client import TradingClient
from execution.desk.orders import NewOrder, Side
from execution.desk.signers import HmacSigner
from execution.settings import Settings
from schemas.names import Category
from tests.execution.conftest import NO_LIMITS

async def main():
    settings = Settings(root=sys.argv[1], directory=Path(sys.argv[2]), symbols={Category.LINEAR: ("BTCUSDT",)},
                        limits=NO_LIMITS, recv_window_ms=1000)
    async with TradingClient(settings, HmacSigner("demo", "demo-secret")) as client:
        order = NewOrder(category=Category.LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=Decimal("0.01"),
                         price=Decimal(sys.argv[3]))
        for _ in range(8):
            client.create(order)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    directory = place.directory / "account"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, place.gateway.url, str(directory), price,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, words = await process.communicate()
    assert process.returncode == -9, words.decode()
    (journal,) = (directory / "orders").glob("*.jsonl")
    in_doubt = read_orders(journal)[0]
    assert len(in_doubt) == 8, "killed before any answer was taken"

    assert place.gateway._trading is not None
    place.gateway._trading.calm()
    client = await place.client()
    assert {request.request_id for request in client._written().restored} == set(in_doubt)
    await until(lambda: client.requests.is_settled)
    there = {order.link_id for order in place.truth.orders.values()}
    assert len(there) < 8, "some were lost on the way there"
    outcomes = {
        request.key.link_id: request.outcome.kind
        for request in client._written().restored
        if request.outcome is not None
    }
    assert outcomes == {
        line.link_id: OutcomeKind.ACKED if line.link_id in there else OutcomeKind.EXPIRED
        for line in in_doubt.values()
    }
    await client.reload()
    await place.check_soon(client)
    assert read_orders(client._written().path)[0] == {}, "and the journal says so"


async def test_a_program_that_starts_again_days_later_claims_no_more_than_can_be_known(place: Place) -> None:
    """Requests that an earlier run left in doubt: of today, of yesterday, and one whose order is there."""
    directory, now_ms = place.directory / "account", place.desk.request_ms()
    there = await (await place.client()).create(await place.resting(link_id="there")).outcome()
    assert there.kind is OutcomeKind.ACKED
    other = place.directory / "other"
    with OrderJournal(other) as journal:
        for link_id, days in (("today", 0), ("yesterday", 1), ("there", 9)):
            key = OrderKey(LINEAR, "BTCUSDT", "", link_id)
            request = OrderRequest(
                f"r-{link_id}", Op.CREATE, key, key.fields() | {"qty": "0.01", "side": "Buy"}
            )
            request.timestamp_ms, request.window_ms = now_ms - days * 86_400_000 - 2_000, 1_000
            journal.request(request, "socket", 0)
    assert directory != other
    client = await place.client(directory=other)
    await until(lambda: client.requests.is_settled)
    outcomes = {r.key.link_id: r.outcome.kind for r in client._written().restored if r.outcome is not None}
    assert outcomes == {
        "today": OutcomeKind.EXPIRED,
        "yesterday": OutcomeKind.FORGOTTEN,
        "there": OutcomeKind.ACKED,
    }
    assert read_orders(client._written().path)[0] == {}
