"""The order state machine, case by case; what holds in every case is in test_requests_property."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from execution.desk.live import GONE, LiveAccount
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side
from execution.desk.outcomes import Evidence, Lookup, OrderRequest, OutcomeKind, RequestState
from execution.desk.requests import Requests
from execution.desk.wire import Op
from schemas.names import Category

NOW = 1_760_000_000_000
WINDOW = 5_000
KEY = OrderKey(Category.LINEAR, "BTCUSDT", "", "tb-1")


def row(**more: Any) -> dict[str, Any]:
    return {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "o1",
        "orderLinkId": "tb-1",
        "side": "Buy",
        "orderStatus": "New",
        "price": "50000",
        "qty": "0.01",
        "cumExecQty": "0",
        "updatedTime": str(NOW),
        **more,
    }


class Bench:
    def __init__(self) -> None:
        self.account = LiveAccount()
        self.done: list[OrderRequest] = []
        self.requests = Requests(self.account, on_done=self.done.append)
        self.requests.clock_error_ms = 200
        self.count = 0

    def begin(self, op: Op, key: OrderKey = KEY, **change: str) -> OrderRequest:
        self.count += 1
        fields, changed = key.fields(), {}
        if op is Op.CREATE:
            fields = NewOrder(
                category=key.category,
                symbol=key.symbol,
                side=Side.BUY,
                quantity=Decimal("0.01"),
                price=Decimal(50_000),
                link_id=key.link_id,
            ).fields()
            return self.requests.begin_create(key, fields, f"r{self.count}", Decimal("0.01"))
        if op is Op.AMEND:
            changed = Change(**{name: Decimal(value) for name, value in change.items()}).wire()
        return self.requests.begin(op, key, fields | changed, f"r{self.count}", changed)

    def send(self, op: Op, key: OrderKey = KEY, **change: str) -> OrderRequest:
        request = self.begin(op, key, **change)
        self.requests.sending(request, NOW, WINDOW)
        return request

    def lookup(self, now_ms: int) -> Lookup:
        (lookup,) = self.requests.due(now_ms)
        return lookup

    def reply(self, request: OrderRequest, code: int = 0, order_id: str = "o1") -> None:
        self.requests.on_reply(request.request_id, code, "words", order_id, NOW + 5)


@pytest.fixture
def bench() -> Bench:
    return Bench()


DEAD = NOW + WINDOW + 200 + 1_000
"""The last moment at which absence says nothing: window, clock error, and what is taken becoming visible."""


def test_an_answer_ends_a_request(bench: Bench) -> None:
    request = bench.send(Op.CREATE)
    bench.reply(request)
    assert request.outcome is not None
    assert (request.outcome.kind, request.outcome.evidence) == (OutcomeKind.ACKED, Evidence.REPLY)
    assert not request.outcome.was_unknown
    assert request.order_id == "o1"
    assert bench.done == [request]


def test_a_refusal_keeps_the_exchanges_words(bench: Bench) -> None:
    request = bench.send(Op.CREATE)
    bench.reply(request, 110007, "")
    assert request.outcome is not None
    assert (request.outcome.kind, request.outcome.code, request.outcome.words) == (
        OutcomeKind.REJECTED,
        110007,
        "words",
    )
    assert bench.requests.is_settled


def test_nothing_is_sent_twice(bench: Bench) -> None:
    request = bench.send(Op.CREATE)
    with pytest.raises(RuntimeError, match="sent once"):
        bench.requests.sending(request, NOW, WINDOW)
    with pytest.raises(Refused, match="must not be sent again"):
        bench.begin(Op.CREATE)
    bench.requests.lose([request], NOW + 10)
    with pytest.raises(Refused, match="it is unknown"):
        bench.begin(Op.CREATE)
    bench.requests.on_order(row(), NOW + 20)
    with pytest.raises(Refused, match="placed already"):
        bench.begin(Op.CREATE)


def test_what_never_left_may_be_sent_again(bench: Bench) -> None:
    request = bench.begin(Op.CREATE)
    bench.requests.not_sent(request, "the socket is closed")
    assert request.outcome is not None
    assert request.outcome.kind is OutcomeKind.EXPIRED
    assert bench.begin(Op.CREATE).state is RequestState.READY


@pytest.mark.parametrize("late_ms", [0, 1])
def test_absence_counts_only_once_the_request_is_dead(bench: Bench, late_ms: int) -> None:
    request = bench.send(Op.CREATE)
    bench.requests.lose([request], NOW + 10)
    early = bench.lookup(NOW + 10)
    bench.requests.on_lookup(early, [], NOW + 60)
    assert request.state is RequestState.UNKNOWN
    for _ in range(20):
        moment = bench.requests.next_ms()
        assert moment is not None
        if moment > DEAD:
            break
        bench.requests.on_lookup(bench.lookup(moment), [], moment)
        assert request.state is RequestState.UNKNOWN, moment - NOW
    assert moment == DEAD + 1, "the first decisive question is asked in time"
    lookup = bench.lookup(DEAD + 1)
    bench.requests.on_lookup(Lookup(lookup.ordinal, lookup.key, DEAD + late_ms), [], DEAD + 500)
    assert (request.state is RequestState.DONE) == bool(late_ms)
    if late_ms:
        assert request.outcome is not None
        assert (request.outcome.kind, request.outcome.evidence) == (OutcomeKind.EXPIRED, Evidence.REST)
        assert request.outcome.was_unknown
        assert bench.requests.is_settled


def test_a_failed_lookup_says_nothing(bench: Bench) -> None:
    request = bench.send(Op.CREATE)
    bench.requests.lose([request], NOW)
    bench.requests.on_lookup(bench.lookup(DEAD + 1), None, DEAD + 2)
    assert request.state is RequestState.UNKNOWN
    moment = bench.requests.next_ms()
    assert moment is not None
    assert moment > DEAD + 2, "not at once again"
    bench.requests.on_lookup(bench.lookup(moment), [row()], moment)
    assert request.outcome is not None
    assert (request.outcome.kind, request.outcome.evidence) == (OutcomeKind.ACKED, Evidence.REST)


@pytest.mark.parametrize(
    "listed",
    [
        [row(orderStatus="Suspended")],  # a word that the exchange learnt lately
        [row(qty=0.01)],
        [row(orderId="o9", orderLinkId="another")],
        [None],
    ],
)
def test_an_answer_that_cannot_be_read_is_not_an_absence(bench: Bench, listed: list[Any]) -> None:
    request = bench.send(Op.CREATE)
    bench.requests.lose([request], NOW + 10)
    for later_ms in (1, 10_000, 20_000):
        bench.requests.on_lookup(bench.lookup(DEAD + later_ms), listed, DEAD + later_ms)
        assert request.state is RequestState.UNKNOWN
    bench.requests.on_lookup(bench.lookup(DEAD + 30_000), [row()], DEAD + 30_000)
    assert request.outcome is not None
    assert request.outcome.kind is OutcomeKind.ACKED


@pytest.mark.parametrize(("age_ms", "kind"), [(0, OutcomeKind.ACKED), (86_400_000, OutcomeKind.REJECTED)])
def test_a_name_that_an_older_order_has(bench: Bench, age_ms: int, kind: OutcomeKind) -> None:
    """Duplicate, says the exchange: of this very request that arrived twice, or of an order of an earlier run."""
    request = bench.send(Op.CREATE)
    bench.reply(request, 110072, "")
    assert request.state is RequestState.UNKNOWN
    created = row(orderStatus="Filled", createdTime=str(NOW - age_ms))
    bench.requests.on_lookup(bench.lookup(NOW + 10), [created], NOW + 20)
    assert request.outcome is not None
    assert (request.outcome.kind, request.outcome.code) == (kind, 110072 if age_ms else 0)


def test_a_lookup_is_asked_once_at_a_time(bench: Bench) -> None:
    request = bench.send(Op.CREATE)
    bench.requests.lose([request], NOW)
    bench.lookup(NOW)
    assert bench.requests.due(NOW + 60_000) == []


def test_silence_makes_a_request_unknown(bench: Bench) -> None:
    request = bench.send(Op.CREATE)
    assert bench.requests.next_ms() == NOW + 3_000
    assert bench.requests.due(NOW + 2_999) == []
    assert len(bench.requests.due(NOW + 3_000)) == 1
    assert request.state is RequestState.UNKNOWN
    bench.reply(request)  # after all
    assert request.outcome is not None
    assert request.outcome.was_unknown


@pytest.mark.parametrize("code", [10016, 10000, 170007, 110072])
def test_codes_that_leave_it_open(bench: Bench, code: int) -> None:
    request = bench.send(Op.CREATE)
    bench.reply(request, code, "")
    assert request.state is RequestState.UNKNOWN
    bench.requests.on_order(row(), NOW + 20)
    assert request.outcome is not None
    assert request.outcome.kind is OutcomeKind.ACKED


def test_a_fill_proves_the_order(bench: Bench) -> None:
    request = bench.send(Op.CREATE)
    bench.requests.lose([request], NOW)
    fill = bench.account.on_execution(
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "orderId": "o1",
            "orderLinkId": "tb-1",
            "execId": "e1",
            "execPrice": "1",
            "execQty": "1",
        }
    )
    assert fill is not None
    bench.requests.on_fill(fill, NOW + 1)
    assert request.outcome is not None
    assert request.outcome.kind is OutcomeKind.ACKED
    assert not bench.requests.is_settled, "the order itself is still to be seen"


def test_a_lost_amend_is_told_by_its_values(bench: Bench) -> None:
    bench.reply(bench.send(Op.CREATE))
    bench.requests.on_order(row(), NOW + 10)
    with pytest.raises(Refused, match="has these values already"):
        bench.begin(Op.AMEND, price="50000.0")
    request = bench.send(Op.AMEND, price="50001")
    bench.requests.lose([request], NOW + 20)
    bench.requests.on_order(row(cumExecQty="0.001", orderStatus="PartiallyFilled"), NOW + 30)
    assert request.state is RequestState.UNKNOWN, "an old value proves nothing"
    bench.requests.on_order(row(price="50001", cumExecQty="0.001", updatedTime=str(NOW + 31)), NOW + 40)
    assert request.outcome is not None
    assert request.outcome.kind is OutcomeKind.ACKED


def test_a_lost_amend_expires_once_rest_shows_the_old_values(bench: Bench) -> None:
    bench.reply(bench.send(Op.CREATE))
    bench.requests.on_order(row(), NOW + 10)
    request = bench.send(Op.AMEND, price="50001")
    bench.requests.lose([request], NOW + 20)
    bench.requests.on_lookup(bench.lookup(NOW + 20), [row()], NOW + 30)
    assert request.state is RequestState.UNKNOWN
    bench.requests.on_lookup(bench.lookup(DEAD + 1), [row()], DEAD + 30)
    assert request.outcome is not None
    assert request.outcome.kind is OutcomeKind.EXPIRED


@pytest.mark.parametrize(
    ("status", "cancel_type", "kind"),
    [
        ("Cancelled", "CancelByUser", OutcomeKind.ACKED),
        ("Cancelled", "CancelByDCP", OutcomeKind.EXPIRED),
        ("Filled", "UNKNOWN", OutcomeKind.EXPIRED),
        # a cancel that raced a fill (section 7.4)
        ("Filled", "CancelByUser", OutcomeKind.EXPIRED),
    ],
)
def test_a_lost_cancel_is_told_by_the_orders_end(
    bench: Bench, status: str, cancel_type: str, kind: OutcomeKind
) -> None:
    bench.reply(bench.send(Op.CREATE))
    bench.requests.on_order(row(), NOW + 10)
    request = bench.send(Op.CANCEL)
    bench.requests.lose([request], NOW + 20)
    bench.requests.on_order(row(orderStatus=status, cancelType=cancel_type), NOW + 30)
    assert request.outcome is not None
    assert request.outcome.kind is kind


def test_a_request_waits_for_what_is_in_doubt(bench: Bench) -> None:
    bench.reply(bench.send(Op.CREATE))
    bench.requests.on_order(row(), NOW + 10)
    bench.send(Op.AMEND, price="50001")
    with pytest.raises(Refused, match=r"order\.amend is sent"):
        bench.begin(Op.AMEND, price="50002")
    cancel = bench.send(Op.CANCEL)  # may always follow
    with pytest.raises(Refused, match=r"order\.cancel is sent"):
        bench.begin(Op.CANCEL)
    bench.reply(cancel)
    with pytest.raises(Refused, match="no row has shown it yet"):
        bench.begin(Op.CANCEL)
    by_id = OrderKey(Category.LINEAR, "BTCUSDT", "o1", "")
    with pytest.raises(Refused, match="no row has shown it yet"):
        bench.begin(Op.CANCEL, by_id)
    bench.requests.on_order(row(orderStatus="Cancelled", cancelType="CancelByUser"), NOW + 40)
    with pytest.raises(Refused, match="is Cancelled"):
        bench.begin(Op.CANCEL)


def test_an_amend_of_nobodys_order_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="not among the account's orders"):
        bench.begin(Op.AMEND, OrderKey(Category.LINEAR, "BTCUSDT", "o9", ""), price="50001")


def test_what_was_acknowledged_is_looked_up_if_no_row_comes(bench: Bench) -> None:
    bench.reply(bench.send(Op.CREATE))
    assert bench.requests.due(NOW + 5 + 1_999) == []
    lookup = bench.lookup(NOW + 5 + 2_000)
    bench.requests.on_lookup(lookup, [row(orderStatus="Filled", cumExecQty="0.01")], NOW + 2_050)
    order = bench.account.order(Category.LINEAR, link_id="tb-1")
    assert order is not None
    assert order.status == "Filled"
    assert bench.requests.is_settled


def test_what_was_acknowledged_and_never_shows_is_a_contradiction(bench: Bench) -> None:
    bench.reply(bench.send(Op.CREATE))
    bench.requests.on_lookup(bench.lookup(DEAD + 1), [], DEAD + 2)
    assert bench.requests.contradictions == 1
    assert bench.requests.is_settled


def test_an_order_that_was_said_never_to_be_one(bench: Bench) -> None:
    bench.reply(bench.send(Op.CREATE), 110007, "")
    bench.requests.on_order(row(), NOW + 20)
    bench.requests.on_order(row(orderStatus="Filled"), NOW + 30)
    assert bench.requests.contradictions == 1


def test_an_open_order_that_is_not_listed_is_looked_up(bench: Bench) -> None:
    bench.requests.on_order(row(), NOW)
    bench.requests.on_open_orders(Category.LINEAR, [], NOW + 100, NOW + 150)
    lookup = bench.lookup(NOW + 150)
    assert lookup.key.order_id == "o1"
    bench.requests.on_lookup(lookup, [row(orderStatus="Cancelled")], NOW + 200)
    assert bench.account.open_orders == []
    assert bench.requests.is_settled


def test_a_row_newer_than_the_list_is_not_doubted(bench: Bench) -> None:
    bench.requests.on_order(row(), NOW + 101)
    bench.requests.on_open_orders(Category.LINEAR, [], NOW + 100, NOW + 150)
    assert bench.requests.due(NOW + 150) == []


def test_an_order_that_the_exchange_forgot_is_gone(bench: Bench) -> None:
    bench.requests.on_order(row(), NOW)
    bench.requests.on_open_orders(Category.LINEAR, [], NOW + 2_000, NOW + 2_000)
    bench.requests.on_lookup(bench.lookup(NOW + 2_000), [], NOW + 2_050)
    order = bench.account.order(Category.LINEAR, link_id="tb-1")
    assert order is not None
    assert order.status == GONE
    assert not order.is_open


DAY = 86_400_000


def ask(bench: Bench, now_ms: int, rows: list[dict[str, Any]]) -> Lookup:
    """Let REST answer the one question that is due."""
    lookup = bench.lookup(now_ms)
    bench.requests.on_lookup(lookup, rows, now_ms + 1)
    return lookup


def restored(bench: Bench, op: Op, key: OrderKey = KEY, sent_ms: int = NOW) -> OrderRequest:
    """A request that a run before sent at a moment; this one begins later."""
    bench.count += 1
    changed = {"price": "1"} if op is Op.AMEND else {}
    request = OrderRequest(f"r{bench.count}", op, key, key.fields() | changed, changed)
    request.timestamp_ms, request.window_ms = sent_ms, WINDOW
    bench.requests.restore(request, sent_ms)
    return request


def kind(request: OrderRequest) -> OutcomeKind:
    assert request.outcome is not None
    return request.outcome.kind


@pytest.mark.parametrize(
    ("after_ms", "expected"),
    [
        (DEAD - NOW + 1, OutcomeKind.EXPIRED),
        (22 * 3_600_000, OutcomeKind.EXPIRED),
        (DAY, OutcomeKind.FORGOTTEN),
        (400 * DAY, OutcomeKind.FORGOTTEN),
    ],
)
def test_absence_a_day_later_says_only_that_it_is_over(
    bench: Bench, after_ms: int, expected: OutcomeKind
) -> None:
    create = restored(bench, Op.CREATE)
    cancel = restored(bench, Op.CANCEL)
    assert ask(bench, NOW + after_ms, []).sent_ms == NOW
    assert (kind(create), kind(cancel)) == (expected, expected)
    assert create.outcome is not None
    assert ("may have been taken" in create.outcome.words) == (expected is OutcomeKind.FORGOTTEN)
    assert bench.requests.is_settled
    if expected is OutcomeKind.FORGOTTEN:
        with pytest.raises(Refused, match="may have been placed: take another"):
            bench.begin(Op.CREATE)
        bench.requests.on_order(row(orderStatus="Cancelled"), NOW)
        assert bench.requests.contradictions == 0, "it was never said not to have been"
    else:
        assert bench.begin(Op.CREATE)


def test_what_is_there_a_day_later_is_known(bench: Bench) -> None:
    create, cancel = restored(bench, Op.CREATE), restored(bench, Op.CANCEL)
    ask(bench, NOW + 3 * DAY, [row(orderStatus="Filled", cumExecQty="0.01")])
    assert (kind(create), kind(cancel)) == (OutcomeKind.ACKED, OutcomeKind.EXPIRED)


@pytest.mark.parametrize("op", [Op.AMEND, Op.CANCEL])
def test_a_lost_request_about_an_order_that_the_exchange_knows_no_more(bench: Bench, op: Op) -> None:
    """It was there, so it has ended, and how is in no history any more."""
    bench.requests.on_order(row(), NOW - 5 * DAY)
    request = bench.send(op, price="1") if op is Op.AMEND else bench.send(op)
    bench.requests.lose([request], NOW + 10)
    ask(bench, NOW + 10, [])
    assert kind(request) is OutcomeKind.FORGOTTEN
    order = bench.account.order(Category.LINEAR, link_id="tb-1")
    assert order is not None
    assert order.status == GONE


def test_a_request_about_an_order_of_an_earlier_run_of_which_nothing_is_known(bench: Bench) -> None:
    request = restored(bench, Op.CANCEL)
    ask(bench, DEAD + 1, [])
    assert kind(request) is OutcomeKind.FORGOTTEN, "it may have been placed days before"


def test_a_cancel_of_an_order_that_certainly_never_was(bench: Bench) -> None:
    create = bench.send(Op.CREATE)
    bench.reply(create, 110007, "")
    cancel = bench.send(Op.CANCEL)
    bench.requests.lose([cancel], NOW + 10)
    ask(bench, DEAD + 1, [])
    assert kind(cancel) is OutcomeKind.EXPIRED


def test_a_new_doubt_while_a_question_is_under_way(bench: Bench) -> None:
    """An answer to a question from before the doubt must not settle it."""
    bench.requests.on_order(row(), NOW)
    bench.requests.on_open_orders(Category.LINEAR, [], NOW + 100, NOW + 100)
    first = bench.lookup(NOW + 100)
    bench.requests.on_open_orders(Category.LINEAR, [], NOW + 200, NOW + 200)
    bench.requests.on_lookup(first, [row()], NOW + 210)
    assert not bench.requests.is_settled
    moment = bench.requests.next_ms()
    assert moment is not None
    bench.requests.on_lookup(bench.lookup(moment), [row(orderStatus="Cancelled")], moment)
    assert bench.requests.is_settled


def test_a_refused_cancel_of_an_order_that_we_think_open_is_looked_up(bench: Bench) -> None:
    bench.requests.on_order(row(), NOW)
    bench.reply(bench.send(Op.CANCEL), 110001, "")
    lookup = bench.lookup(NOW + 10)
    bench.requests.on_lookup(lookup, [row(orderStatus="Filled", cumExecQty="0.01")], NOW + 20)
    assert bench.account.open_orders == []


def test_a_request_of_an_earlier_run_is_in_doubt(bench: Bench) -> None:
    old = OrderRequest("old", Op.CREATE, KEY, {}, timestamp_ms=NOW - 60_000, window_ms=WINDOW)
    bench.requests.restore(old, NOW)
    with pytest.raises(Refused, match="must not be sent again"):
        bench.begin(Op.CREATE)
    bench.requests.on_lookup(bench.lookup(NOW), [], NOW + 20)
    assert old.outcome is not None
    assert old.outcome.kind is OutcomeKind.EXPIRED
    assert bench.begin(Op.CREATE).state is RequestState.READY


def test_answers_to_nothing_are_counted(bench: Bench) -> None:
    bench.requests.on_reply("nobody", 0, "OK", "o1", NOW)
    request = bench.send(Op.CREATE)
    bench.reply(request)
    bench.reply(request)
    assert bench.requests.strays == 2
    assert bench.requests.contradictions == 0


def test_an_acknowledgement_of_what_had_expired(bench: Bench) -> None:
    request = bench.send(Op.CREATE)
    bench.requests.lose([request], NOW)
    bench.requests.on_lookup(bench.lookup(DEAD + 1), [], DEAD + 2)
    bench.reply(request)
    assert bench.requests.contradictions == 1
    assert request.outcome is not None
    assert request.outcome.kind is OutcomeKind.EXPIRED


def test_no_more_than_a_few_questions_at_once(bench: Bench) -> None:
    for index in range(20):
        request = bench.send(Op.CREATE, OrderKey(Category.LINEAR, "BTCUSDT", "", f"tb-{index}"))
        bench.requests.lose([request], NOW)
    lookups = bench.requests.due(NOW)
    assert len(lookups) == 8
    assert bench.requests.due(NOW) == []
    assert bench.requests.next_ms() is None, "nothing to do before an answer"
    bench.requests.on_lookup(lookups[0], None, NOW)
    assert len(bench.requests.due(NOW)) == 1


def test_a_create_leaves_what_is_under_way_of_its_name_alone(bench: Bench) -> None:
    """Somebody may cancel a name that isn't there yet; that request has an outcome, too."""
    cancel = bench.send(Op.CANCEL)
    create = bench.send(Op.CREATE)
    assert bench.requests.open == [cancel, create]
    bench.reply(cancel, 110001)
    bench.reply(create)
    assert [request.outcome is not None for request in (cancel, create)] == [True, True]
    assert not bench.requests.open
    bench.requests.on_order(row(), NOW + 10)
    assert not bench.requests.is_pending(KEY)


def test_an_order_without_a_name_is_refused_before_anything_is_kept(bench: Bench) -> None:
    with pytest.raises(Refused, match="every order needs one"):
        bench.requests.begin_create(
            OrderKey(Category.LINEAR, "BTCUSDT", "", ""), {"qty": "1"}, "r", Decimal(1)
        )
    assert bench.requests.is_settled
