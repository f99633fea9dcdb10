"""What popular guides get wrong about orders and authentication (protocol section 10), from the client's side.

One session goes through a relay that keeps what was said on the wire; most tests look at that. The gateway's side of
the same facts is in tests/recorder/gateway/trading/test_guides.py, and docs/execution.md has the table of both.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import hmac
import inspect
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from engine.bybit.limits import PING_INTERVAL_NS
from execution.client import TradingClient
from execution.desk.codes import UNKNOWN, leaves_open, may_retry
from execution.desk.live import LiveAccount, LiveOrder
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side, TimeInForce
from execution.desk.outcomes import Outcome, OutcomeKind
from execution.desk.rates import PUBLISHED
from execution.desk.replies import (
    Authenticated,
    Pong,
    RestAnswer,
    Subscribed,
    Unreadable,
    read_private,
    read_trade,
)
from execution.desk.wire import Op, private_url, trade_url
from execution.rest_calls import RestCalls
from execution.settings import Settings
from execution.sockets import _LASTING
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.gateway.trading.options import TradeOptions
from schemas.errors import ConfigError, ExchangeError
from schemas.names import Category
from tests.execution.conftest import KEYS, NO_LIMITS, Place, until
from tests.execution.relay import Relay, relay

D = Decimal
LINEAR, SPOT = Category.LINEAR, Category.SPOT
ROOT = Path(__file__).parents[2]
SECRET = KEYS["demo"].secret.encode()


class Session:
    """What was said, and what came of it.

    Attributes:
        outcomes: by what was done.
        refusals: the exchange's words where a REST call was refused.
    """

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.outcomes: dict[str, Outcome] = {}
        self.orders: dict[str, LiveOrder | None] = {}
        self.refusals: dict[str, str] = {}
        self.links: list[str] = []

    def requests(self, op: str) -> list[dict[str, Any]]:
        """The objects of an operation on the trade socket."""
        return [message["args"][0] for message in self.relay.ours("/v5/trade") if message["op"] == op]


async def _session(directory: Path) -> Session:
    options = GatewayOptions(
        simulate=7, category=LINEAR, symbol_count=1, trade=TradeOptions(KEYS, order_limit=1_000)
    )
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Gateway(options))
        between = await stack.enter_async_context(relay(gateway.url))
        place = Place(gateway, directory, stack)
        client = await place.client(root=between.root)
        session = Session(between)
        await _trade(place, client, session)
    return session


async def _trade(place: Place, client: TradingClient, session: Session) -> None:
    async def done(name: str, order: NewOrder, *, or_rest: bool = False) -> OrderKey:
        ticket = client.create(order, or_rest=or_rest)
        session.outcomes[name] = await ticket.outcome()
        session.links.append(ticket.key.link_id)
        await until(lambda: not client.is_pending(ticket.key))
        session.orders[name] = client.order(ticket.key)
        return ticket.key

    resting, mid = await place.resting(), await place.mid()
    crossing = await place.resting("1.01", time_in_force=TimeInForce.POST_ONLY)
    key = await done("crossing post-only", crossing)
    await until(lambda: client.account.order(LINEAR, link_id=key.link_id).status == "Cancelled")  # type: ignore[union-attr]
    session.orders["crossing post-only"] = client.order(key)
    await done("beyond the price limit", await place.resting("1.2"))

    protected = await place.resting(take_profit=(mid * 2).quantize(D(1)), stop_loss=(mid / 2).quantize(D(1)))
    key = await done("with take profit and stop loss", protected)
    try:
        await client.rest.set_trading_stop(LINEAR, "BTCUSDT", stop_loss=D(1_000))
    except ExchangeError as error:
        session.refusals["trading-stop while the entry is unfilled"] = str(error)
    await client.amend(key, Change(quantity=D("0.02"), price=mid * D("0.96"))).outcome()
    await client.cancel(key).outcome()
    await done("conditional", await place.resting("1.04", trigger_price=mid * D("1.03"), trigger_rises=True))
    tickets = client.create_batch([resting, resting])
    for ticket in tickets:
        await ticket.outcome()
    for ticket in client.cancel_batch([ticket.key for ticket in tickets]):
        await ticket.outcome()

    await done("market", NewOrder(category=LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=D("0.01")))
    await client.rest.set_trading_stop(
        LINEAR, "BTCUSDT", stop_loss=(mid * D("0.9")).quantize(D(1)), trailing_stop=D(500)
    )
    closing = NewOrder(
        category=LINEAR, symbol="BTCUSDT", side=Side.SELL, quantity=D("0.01"), reduce_only=True
    )
    await done("reduce-only", closing)
    client._trade.renew()
    await done("over REST", resting, or_rest=True)
    await client.cancel_everything()
    await client.rest.set_leverage(LINEAR, "BTCUSDT", D(5))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return asyncio.run(_session(tmp_path_factory.mktemp("guides")))


# -- sockets and authentication ----------------------------------------------------------------------------


def test_orders_go_to_the_trade_socket_and_subscriptions_to_the_private_one(session: Session) -> None:
    trade = {message["op"] for message in session.relay.ours("/v5/trade")}
    private = {message["op"] for message in session.relay.ours("/v5/private")}
    orders = {"order.create", "order.amend", "order.cancel", "order.create-batch", "order.cancel-batch"}
    assert trade == {"auth", "ping", *orders}
    assert private == {"auth", "subscribe", "ping"}
    assert {URL(frame.target).path for frame in session.relay.frames} == {"/v5/trade", "/v5/private"}
    assert session.outcomes["market"].kind is OutcomeKind.ACKED, "so orders can be placed there"


def test_what_is_signed_and_when_it_ends(session: Session) -> None:
    begun: dict[int, int] = {}
    for frame in session.relay.frames:
        if not frame.is_ours:
            continue
        position = begun[frame.connection] = begun.get(frame.connection, -1) + 1
        assert (frame.message["op"] == "auth") == (position == 0), "first of all, and once"
    authentications = [
        frame for frame in session.relay.frames if frame.is_ours and frame.message["op"] == "auth"
    ]
    assert len(authentications) >= 3, "both sockets, and the trade socket's successor"
    for frame in authentications:
        key, expires, signature = frame.message["args"]
        expected = hmac.new(SECRET, f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
        assert (key, signature) == ("demo", expected)
        answer = next(
            f.message
            for f in session.relay.frames
            if f.connection == frame.connection and not f.is_ours and f.message["op"] == "auth"
        )
        assert answer.get("success") is True or answer["retCode"] == 0
    stamps = [
        int(call.headers["x-bapi-timestamp"]) for call in session.relay.calls if "x-bapi-sign" in call.headers
    ]
    assert all(frame.message["args"][1] > min(stamps) for frame in authentications), "ahead of the clock"


@pytest.mark.parametrize("name", ["id", "reqId", "req_id"])
def test_answers_to_an_authentication_have_two_shapes(name: str) -> None:
    assert read_trade(b'{"retCode":0,"retMsg":"OK","op":"auth","connId":"c"}') == Authenticated(0, "OK")
    refused = b'{"%b":"1","retCode":10004,"retMsg":"sign","op":"auth","connId":"c"}' % name.encode()
    assert read_trade(refused) == Authenticated(10004, "sign")
    assert read_private(b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}') == Authenticated(0, "")
    assert read_private(b'{"success":false,"ret_msg":"no","op":"auth","conn_id":"c"}') == Authenticated(
        -1, "no"
    )
    guide = b'{"success":true,"retMsg":"","op":"auth","connId":"c"}'
    assert isinstance(read_trade(guide), Unreadable), "no answer of a trade socket, which has codes"


@pytest.mark.parametrize(
    ("code", "lasts"), [(10003, True), (10004, True), (10005, True), (10010, True), (10002, False)]
)
def test_each_refusal_of_an_authentication_has_its_code(code: int, lasts: bool) -> None:
    assert (code in _LASTING) == lasts


async def test_a_computer_that_slept_is_let_in_again(place: Place) -> None:
    client = await place.client()
    for hours in (1, -2):
        place.desk._skew_ms += hours * 3_600_000  # from here on our clock is that much behind, or ahead
        for socket in (client._private, client._trade):
            socket.renew()
        await until(lambda: not client.is_current or not client.can_send)
        await until(lambda: client.is_current and client.can_send)
        outcome = await client.create(await place.resting()).outcome()
        assert outcome.kind is OutcomeKind.ACKED
    await place.check_soon(client)


def test_requests_carry_the_exchanges_time_and_never_run_ahead(session: Session) -> None:
    """The exchange takes less than a second of the future; ours is what its own clock said."""
    told = [f.message["header"] for f in session.relay.frames if not f.is_ours and "header" in f.message]
    sent = [message for message in session.relay.ours("/v5/trade") if "header" in message]
    assert len(told) >= len(sent) - 1 > 5
    for message in sent:
        answers = [
            f.message
            for f in session.relay.frames
            if not f.is_ours and f.message.get("reqId") == message["reqId"]
        ]
        for answer in answers:
            assert int(message["header"]["X-BAPI-TIMESTAMP"]) < int(answer["header"]["Timenow"]) + 1_000


def test_pongs_of_either_spelling_and_a_ping_each_twenty_seconds() -> None:
    assert read_trade(b'{"retCode":0,"retMsg":"OK","op":"pong","data":["1"],"connId":"c"}') == Pong()
    assert read_private(b'{"req_id":"1","op":"pong","args":["1"],"conn_id":"c"}') == Pong()
    assert read_private(b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}') == Pong()
    assert inspect.signature(Settings).parameters["ping_s"].default * 10**9 == PING_INTERVAL_NS


def test_how_long_a_socket_may_be_silent_is_part_of_its_url() -> None:
    assert trade_url("wss://x", 30) == "wss://x/v5/trade?max_active_time=30s"
    assert private_url("wss://x", 600) == "wss://x/v5/private?max_active_time=600s"
    with pytest.raises(ValueError, match="30 to 600"):
        trade_url("wss://x", 601)


@pytest.mark.parametrize("root", ["wss://stream-demo.bybit.com", "https://api-demo.bybit.com"])
def test_demo_is_another_place_and_has_no_order_entry(root: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="demo trading has no order entry over WebSocket"):
        Settings(root=root, directory=tmp_path, symbols={LINEAR: ("BTCUSDT",)}, limits=NO_LIMITS)


def test_only_topics_that_exist_are_subscribed(session: Session) -> None:
    (subscribed,) = {tuple(m["args"]) for m in session.relay.ours("/v5/private") if m["op"] == "subscribe"}
    assert set(subscribed) == {"order", "execution", "position", "wallet"}
    assert read_private(b'{"success":true,"ret_msg":"","op":"subscribe","conn_id":"c"}') == Subscribed(
        True, ""
    )


# -- orders ------------------------------------------------------------------------------------------------


def test_every_request_has_its_header_and_a_name_of_its_own(session: Session) -> None:
    sent = [message for message in session.relay.ours("/v5/trade") if message["op"].startswith("order.")]
    for message in sent:
        assert set(message) == {"reqId", "header", "op", "args"}
        assert set(message["header"]) == {"X-BAPI-TIMESTAMP", "X-BAPI-RECV-WINDOW"}
        assert len(message["args"]) == 1
    assert len({message["reqId"] for message in sent}) == len(sent)


def test_what_is_signed_over_rest_is_what_is_sent(session: Session) -> None:
    signed = [call for call in session.relay.calls if "x-bapi-sign" in call.headers]
    assert {call.method for call in signed} == {"GET", "POST"}
    for call in signed:
        stamp, window = call.headers["x-bapi-timestamp"], call.headers["x-bapi-recv-window"]
        payload = (
            call.body
            if call.method == "POST"
            else "&".join(f"{k}={v}" for k, v in call.query.items()).encode()
        )
        text = f"{stamp}demo{window}".encode() + payload
        assert call.headers["x-bapi-sign"] == hmac.new(SECRET, text, hashlib.sha256).hexdigest()
        assert call.method == "POST" or call.body == b"", "a GET with a body is answered 403"


def test_accepted_is_not_live_and_the_stream_says_so(session: Session) -> None:
    assert session.outcomes["crossing post-only"].kind is OutcomeKind.ACKED
    order = session.orders["crossing post-only"]
    assert order is not None
    assert (order.status, order.is_open) == ("Cancelled", False)
    assert order.row["rejectReason"] == "EC_PostOnlyWillTakeLiquidity"


def test_states_are_spelled_as_the_exchange_spells_them(session: Session) -> None:
    conditional = session.orders["conditional"]
    assert conditional is not None
    assert (conditional.status, conditional.is_open) in {("Untriggered", True), ("Deactivated", False)}
    account = LiveAccount()
    for status in ("NEW", "FILLED", "CANCELED", "PARTIALLY_FILLED"):
        row = {"category": "linear", "symbol": "X", "orderId": "1", "orderStatus": status, "qty": "1"}
        assert account.on_order(row, 1) is None
    assert account.malformed == 4


def test_a_refusal_keeps_the_exchanges_code_and_words(session: Session) -> None:
    outcome = session.outcomes["beyond the price limit"]
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, 110121)
    assert outcome.words


async def test_the_least_that_an_order_is_worth_is_refused_as_what_it_is(place: Place) -> None:
    """Guides take 10001 for "below the minimum"; here it has a rule of its own, and nothing is sent."""
    client = await place.client()
    for order, rule in (
        (await place.resting("0.05", "0.001"), "minimum notional"),
        (await place.resting(quantity="0.0001"), "quantity"),
    ):
        with pytest.raises(Refused) as caught:
            client.create(order)
        assert caught.value.rule == rule
    filters = client.filters[LINEAR, "BTCUSDT"]
    client.filters[LINEAR, "BTCUSDT"] = type(filters)(
        **{name: getattr(filters, name) for name in filters.__struct_fields__ if name != "minimum_notional"}
    )
    outcome = await client.create(await place.resting("0.05", "0.001")).outcome()
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, 110094)


def test_protection_goes_with_the_order_and_not_before_its_fill(session: Session) -> None:
    created = next(fields for fields in session.requests("order.create") if "takeProfit" in fields)
    assert (created["tpslMode"], "reduceOnly" in created) == ("Full", False)
    assert session.outcomes["with take profit and stop loss"].kind is OutcomeKind.ACKED
    assert "code 10001" in session.refusals["trading-stop while the entry is unfilled"]
    with pytest.raises(Refused, match="set them on the position"):
        NewOrder(
            category=LINEAR, symbol="BTCUSDT", side=Side.SELL, quantity=D(1), reduce_only=True, stop_loss=D(1)
        )


def test_a_trading_stop_says_its_mode_and_its_side(session: Session) -> None:
    for fields in session.relay.posts("/v5/position/trading-stop"):
        assert (fields["tpslMode"], fields["positionIdx"]) == ("Full", 0)
    assert session.relay.posts("/v5/position/trading-stop")[-1]["trailingStop"] == "500", "a distance"


def test_a_conditional_order_says_its_direction_and_no_filter(session: Session) -> None:
    (fields,) = [fields for fields in session.requests("order.create") if "triggerPrice" in fields]
    assert fields["triggerDirection"] == 1
    assert "orderFilter" not in fields
    with pytest.raises(Refused, match="trigger_rises"):
        NewOrder(category=LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=D(1), trigger_price=D(1))


def test_an_amend_has_the_names_of_a_create(session: Session) -> None:
    (fields,) = session.requests("order.amend")
    assert set(fields) == {"category", "symbol", "orderLinkId", "qty", "price"}


CREATE_FIELDS = {
    "category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "orderLinkId", "positionIdx",
    "reduceOnly", "closeOnTrigger", "triggerPrice", "triggerDirection", "triggerBy", "orderFilter",
    "takeProfit", "stopLoss", "tpTriggerBy", "slTriggerBy", "tpslMode", "tpOrderType", "slOrderType",
    "tpLimitPrice", "slLimitPrice", "marketUnit", "smpType", "slippageToleranceType", "slippageTolerance",
}  # fmt: skip
"""Section 6.4: what `order.create` takes, without what we don't offer."""


def test_an_order_has_the_names_and_values_of_v5(session: Session) -> None:
    for op in ("order.create", "order.create-batch"):
        for message in session.requests(op):
            for fields in message.get("request", [message]):
                assert set(fields) <= CREATE_FIELDS
                assert fields["timeInForce"] in ("GTC", "IOC", "FOK", "PostOnly")
                assert fields["side"] in ("Buy", "Sell")
                assert fields["orderType"] in ("Limit", "Market")
                assert isinstance(fields["qty"], str)
    for name in ("smp_group", "tp_size", "sl_size", "order_type", "iceberg"):
        with pytest.raises(TypeError):
            NewOrder(category=LINEAR, symbol="X", side=Side.BUY, quantity=D(1), **{name: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "rule", "words"),
    [
        ({"quantity": 0.01}, "quantity", "0.01 is a float: give a Decimal"),
        ({"quantity": "0.01"}, "quantity", "'0.01' is a str: give a Decimal"),
        ({"quantity": 1}, "quantity", "1 is a int: give a Decimal"),
        ({"price": 50_000 * 0.98}, "price", "is a float: give a Decimal"),
        ({"stop_loss": 1.0}, "stop loss", "is a float: give a Decimal"),
        ({"side": "BUY"}, "Side", "'BUY' is a str: give one of Side.BUY, Side.SELL"),
        ({"side": "Buy"}, "Side", "Side.BUY"),
        ({"time_in_force": "GoodTillCancel"}, "TimeInForce", "TimeInForce.GTC, TimeInForce.IOC"),
        ({"category": "linear"}, "Category", "Category.LINEAR"),
        ({"trigger_by": "LastPrice"}, "TriggerBy", "TriggerBy.LAST"),
    ],
)
def test_numbers_are_exact_and_words_are_those_of_the_exchange(
    more: dict[str, Any], rule: str, words: str
) -> None:
    values = {"category": LINEAR, "symbol": "BTCUSDT", "side": Side.BUY, "quantity": D(1), "price": D(1)}
    with pytest.raises(Refused, match=re.escape(words)) as caught:
        NewOrder(**(values | more))
    assert caught.value.rule == rule


def test_a_change_is_exact_too() -> None:
    with pytest.raises(Refused, match="is a float: give a Decimal"):
        Change(price=50_000.1)  # type: ignore[arg-type]


async def test_what_is_not_a_multiple_is_rounded_before_the_wire(place: Place) -> None:
    client = await place.client()
    price, quantity = await place.mid() * D("0.98") + D("0.0123456789"), D("0.0199999")
    order = NewOrder(category=LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=quantity, price=price)
    assert (await client.create(order).outcome()).kind is OutcomeKind.ACKED
    (there,) = place.truth.orders.values()
    assert there.quantity == D("0.019")
    assert there.price is not None
    assert there.price <= price, "a buy is never made dearer"
    assert there.price % D("0.1") == 0


async def test_a_symbol_of_another_category_is_not_sent(place: Place) -> None:
    client = await place.client()
    order = NewOrder(category=LINEAR, symbol="BTCUSD", side=Side.BUY, quantity=D(1), price=D(1))
    with pytest.raises(Refused, match="it isn't among the symbols"):
        client.create(order)


def test_batches_are_for_every_category(session: Session) -> None:
    (created,) = session.requests("order.create-batch")
    assert set(created) == {"category", "request"}
    assert [set(fields) & {"category"} for fields in created["request"]] == [set(), set()]
    assert len(session.requests("order.cancel-batch")) == 1


def test_cancel_all_is_rest_and_says_what_it_is_about(session: Session) -> None:
    bodies = session.relay.posts("/v5/order/cancel-all")
    assert bodies
    assert all({"symbol", "baseCoin", "settleCoin"} & set(body) for body in bodies)
    assert [op.value for op in Op] == ["order.create", "order.amend", "order.cancel"], (
        "and none over the socket"
    )


SPOT_KINDS = ("Order", "tpslOrder", "StopOrder", "OcoOrder", "BidirectionalTpslOrder")


@pytest.mark.parametrize(
    ("category", "scopes"),
    [
        (LINEAR, [{"settleCoin": "USDT"}, {"settleCoin": "USDC"}]),
        (Category.INVERSE, [{"symbol": "BTCUSD"}]),
        (SPOT, [{"orderFilter": kind} for kind in SPOT_KINDS]),
        (Category.OPTION, [{}]),
    ],
)
async def test_cancel_all_covers_its_category(category: Category, scopes: list[dict[str, str]]) -> None:
    asked: list[dict[str, Any]] = []

    class Rest:
        async def wait_for(self, path: str) -> None:
            """Nothing is held back."""

        async def post(self, path: str, fields: dict[str, Any]) -> Any:
            asked.append(fields)
            return RestAnswer(0, "", {"list": [{}, {}]}, {}, 0), None

    cancelled = await RestCalls(Rest()).cancel_all(category, ["BTCUSD"])  # type: ignore[arg-type]
    assert asked == [{"category": category.value, **scope} for scope in scopes]
    assert cancelled == 2 * len(scopes)


def test_the_wallet_is_the_unified_account(session: Session) -> None:
    asked = [call.query for call in session.relay.calls if call.path == "/v5/account/wallet-balance"]
    assert asked
    assert all(query == {"accountType": "UNIFIED"} for query in asked)


def test_the_name_of_an_order_never_comes_twice(session: Session) -> None:
    assert len(set(session.links)) == len(session.links) > 5
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,36}", link) for link in session.links)


async def test_a_name_that_was_used_is_refused(place: Place) -> None:
    client = await place.client()
    order = await place.resting(link_id="1760000000000")
    assert (await client.create(order).outcome()).kind is OutcomeKind.ACKED
    with pytest.raises(Refused, match="placed already"):
        client.create(order)


# -- rates and repetition ----------------------------------------------------------------------------------


async def test_limits_are_by_operation_and_both_ways_count_together(place: Place) -> None:
    assert {category.value: limits[Op.CREATE] for category, limits in PUBLISHED.items()} == {
        "spot": 20, "linear": 10, "inverse": 10, "option": 10,
    }  # fmt: skip
    client = await place.client()
    order = await place.resting()
    first = client.create(order)
    assert (await first.outcome()).kind is OutcomeKind.ACKED
    limit = client.rates.limit(LINEAR, Op.CREATE)
    assert limit == 1_000, "as the first answer says"
    client._trade.renew()
    second = client.create(order, or_rest=True)
    moment_ms = second.request.timestamp_ms
    assert client.rates.wait_ms(LINEAR, Op.CREATE, moment_ms, limit - 2) == 0
    if moment_ms < first.request.timestamp_ms + 1_000:
        assert client.rates.wait_ms(LINEAR, Op.CREATE, moment_ms, limit - 1) > 0, "one over each way"
    assert (await second.outcome()).kind is OutcomeKind.ACKED


async def test_too_many_requests_are_refused_and_nobody_is_banned(open_place: Callable[..., Any]) -> None:
    place: Place = await open_place("order_limited=1")
    client = await place.client()
    outcome = await client.create(await place.resting()).outcome()
    assert (outcome.kind, outcome.code) == (OutcomeKind.REJECTED, 10006)
    assert client.rates.wait_ms(LINEAR, Op.CREATE, client.clock.now_ms()) <= 1_000
    assert client.can_send
    await client.reload()


async def test_nothing_that_changes_something_is_sent_again(open_place: Callable[..., Any]) -> None:
    place: Place = await open_place("order_lost_ack=1")
    async with relay(place.gateway.url) as between:
        client = await place.client(root=between.root)
        ticket = client.create(await place.resting())
        outcome = await ticket.outcome()
        assert (outcome.kind, outcome.was_unknown) == (OutcomeKind.ACKED, True)
        created = [m for m in between.ours("/v5/trade") if m["op"] == "order.create"]
        assert [m["args"][0]["orderLinkId"] for m in created] == [ticket.key.link_id]
        assert not between.posts("/v5/order/create")
        await client.__aexit__(None, None, None)


def test_what_may_be_tried_again_is_said_by_its_code() -> None:
    retried = {10000, 10002, 10006, 10016, 10429}
    assert all(may_retry(code) for code in retried)
    assert not any(may_retry(code) for code in (10001, 10003, 10004, 10005, 110001, 110007, 170131))
    for code in (10000, 10016):
        assert code in UNKNOWN
        assert leaves_open(code, is_create=True), "looked up by its orderLinkId first"


def test_every_test_that_the_table_names_exists() -> None:
    table = (ROOT / "docs" / "execution.md").read_text().partition("## What guides get wrong")[2]
    named = set(re.findall(r"`(test_\w+)`", table))
    found: set[str] = set()
    for path in ("tests/execution", "tests/recorder/gateway/trading"):
        for file in (ROOT / path).rglob("test_*.py"):
            found |= {
                node.name
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    assert len(named) > 25
    assert named <= found, named - found
