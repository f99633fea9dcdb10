"""The stream session, talked to frame by frame; no socket and no clock anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bybit.events import (
    Dead,
    Pong,
    Refused,
    SessionEvent,
    Silent,
    Subscribed,
    Unexplained,
    Unsubscribed,
)
from engine.bybit.limits import argument_characters
from engine.bybit.session import SessionOptions, StreamSession
from schemas.errors import ConfigError
from schemas.names import Category

SECOND = 1_000_000_000
CONTRACTS = [Category.LINEAR, Category.INVERSE]
WITH_IDS = [Category.SPOT, *CONTRACTS]
BOOK = "orderbook.50.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"
LIKE_OPTIONS = (Category.OPTION, Category.SPREAD)
"""They acknowledge with lists of topics, without op and id, and their pongs tell the time (sections 2.1, 2.3)."""


class Exchange:
    """The far end: applies requests the way the fact-sheet says and answers in the category's shape."""

    def __init__(self, category: Category, *, bad: set[str] | None = None, echo: bool = True) -> None:
        self.category = category
        self.bad = bad or set()
        self.active: set[str] = set()
        self.requests: list[dict[str, Any]] = []
        self.echo = echo

    def answer(self, message: bytes) -> bytes:
        request = json.loads(message)
        self.requests.append(request)
        if request["op"] == "ping":
            return self.pong(request)
        success, words = self.apply(request)
        if self.category in LIKE_OPTIONS:
            # Whatever was asked for is acknowledged.
            data = {"failTopics": [], "successTopics": request["args"]}
            return json.dumps(
                {"success": True, "conn_id": "c", "data": data, "type": "COMMAND_RESP"}
            ).encode()
        reply = {"success": success, "ret_msg": words, "conn_id": "c", "op": request["op"]}
        if self.echo:
            reply["req_id"] = request["req_id"]
        return json.dumps(reply).encode()

    def pong(self, request: dict[str, Any]) -> bytes:
        if self.category in LIKE_OPTIONS:
            return b'{"args":["1672916271846"],"op":"pong"}'
        reply = {"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"}
        if self.category is not Category.SPOT:
            reply["req_id"] = request["req_id"]
        return json.dumps(reply).encode()

    def apply(self, request: dict[str, Any]) -> tuple[bool, str]:
        topics = request["args"]
        if self.category is Category.SPOT and len(topics) > 10:
            return False, "args size >10"
        for topic in topics:
            if self.category not in LIKE_OPTIONS and topic in self.bad:
                return False, f"error:handler not found,topic:{topic}"
            if request["op"] == "subscribe" and topic in self.active:
                return False, f"error:already subscribed,topic:{topic}"
        if request["op"] == "subscribe":
            self.active.update(topics)
        else:
            self.active.difference_update(topics)
        return True, "subscribe" if self.category is Category.SPOT else ""


def start(category: Category = Category.LINEAR, *topics: str, **options: int) -> StreamSession:
    session = StreamSession(category, options=SessionOptions(**options))
    session.subscribe(topics, 0)
    session.opened(0)
    return session


def converse(session: StreamSession, exchange: Exchange, now_ns: int = 0) -> list[SessionEvent]:
    """Let both sides talk until there is nothing left to say; returns what the session told, pongs apart."""
    told: list[SessionEvent] = []
    for _ in range(10_000):
        messages = session.to_send()
        told += session.events()
        if not messages:
            return [event for event in told if not isinstance(event, Pong)]
        for message in messages:
            session.control(exchange.answer(message), now_ns)
    raise AssertionError("the conversation doesn't end")


def requests(session: StreamSession) -> list[dict[str, Any]]:
    return [json.loads(message) for message in session.to_send()]


def subscribed(told: list[SessionEvent]) -> list[str]:
    return [topic for event in told if isinstance(event, Subscribed) for topic in event.topics]


def accept(request_id: str, op: str = "subscribe") -> bytes:
    return json.dumps(
        {"success": True, "ret_msg": "", "conn_id": "c", "req_id": request_id, "op": op}
    ).encode()


def reject(request_id: str, words: str, op: str = "subscribe") -> bytes:
    return json.dumps({"success": False, "ret_msg": words, "req_id": request_id, "op": op}).encode()


# -- opening and batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("category", list(Category))
def test_a_ping_goes_out_first_then_the_topics(category: Category) -> None:
    session = start(category, BOOK, TRADES)
    assert requests(session) == [
        {"req_id": "p1", "op": "ping"},
        {"req_id": "s2", "op": "subscribe", "args": [BOOK, TRADES]},
    ]


def test_messages_are_compact() -> None:
    assert start(Category.LINEAR, BOOK).to_send() == [
        b'{"req_id":"p1","op":"ping"}',
        b'{"req_id":"s2","op":"subscribe","args":["orderbook.50.BTCUSDT"]}',
    ]


def test_nothing_is_said_before_opening_and_after_closing() -> None:
    session = StreamSession(Category.LINEAR)
    session.subscribe([BOOK], 0)
    session.tick(10**18)
    assert session.to_send() == []
    assert session.next_deadline_ns() is None
    assert session.lifetime_ns is None
    session.opened(5)
    session.closed(9)
    session.subscribe([TRADES], 10)
    session.tick(10**18)
    assert session.to_send() == []
    assert session.events() == []
    assert session.awaiting_data == set()
    assert session.next_deadline_ns() is None
    assert session.lifetime_ns == 4
    assert session.topics == (BOOK, TRADES)
    with pytest.raises(RuntimeError, match="new session"):
        session.opened(11)


def test_a_session_that_never_opened_lived_for_no_time() -> None:
    session = StreamSession(Category.LINEAR)
    session.closed(9)
    assert session.lifetime_ns == 0


@pytest.mark.parametrize(
    ("category", "size"), [(Category.SPOT, 10), (Category.LINEAR, 200), (Category.OPTION, 200)]
)
def test_batches(category: Category, size: int) -> None:
    topics = [f"tickers.T{number}" for number in range(450)]
    session, exchange = start(category, *topics), Exchange(category)
    assert subscribed(converse(session, exchange)) == topics
    assert exchange.active == set(topics)
    sizes = [len(request["args"]) for request in exchange.requests if request["op"] == "subscribe"]
    assert sizes == [size] * (450 // size) + [450 % size] * (450 % size > 0)
    ids = [request["req_id"] for request in exchange.requests]
    assert len(set(ids)) == len(ids)


def test_requests_ahead_of_their_acknowledgements_are_bounded() -> None:
    session = start(Category.SPOT, *[f"tickers.T{n}" for n in range(100)], requests_in_flight=3)
    assert [r["req_id"] for r in requests(session)] == ["p1", "s2", "s3", "s4"]
    session.control(accept("s3"), 1)
    assert [r["req_id"] for r in requests(session)] == ["s5"]


def test_too_many_characters_are_refused_before_anything_is_sent() -> None:
    session = start(Category.LINEAR, *[f"orderbook.50.{n:014d}" for n in range(600)])
    session.to_send()
    more = [f"orderbook.200.{n:014d}" for n in range(101)]
    with pytest.raises(ConfigError, match="21000"):
        session.subscribe(more, 1)
    assert session.to_send() == []
    assert len(session.topics) == 600
    assert argument_characters([*session.topics, *more]) > 21_000


def test_asking_twice_sends_once() -> None:
    session = start(Category.LINEAR, BOOK, BOOK)
    session.subscribe([BOOK], 1)
    assert [r["args"] for r in requests(session) if r["op"] == "subscribe"] == [[BOOK]]


# -- acknowledgements --------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("echo", [True, False])
def test_subscribe_and_unsubscribe_in_every_shape(category: Category, echo: bool) -> None:
    session, exchange = start(category, BOOK, TRADES), Exchange(category, echo=echo)
    assert converse(session, exchange) == [Subscribed((BOOK, TRADES))]
    session.unsubscribe([BOOK, "tickers.UNKNOWN"], 1)
    assert converse(session, exchange) == [Unsubscribed((BOOK,))]
    assert exchange.active == {TRADES}
    assert session.topics == (TRADES,)
    assert session.counters["unmatched"] == 0


@pytest.mark.parametrize("words", ["subscribe", "", "anything else"])
def test_success_is_told_by_its_flag_alone(words: str) -> None:
    session = start(Category.SPOT, BOOK)
    session.control(
        json.dumps({"success": True, "ret_msg": words, "req_id": "s2", "op": "subscribe"}).encode(), 1
    )
    assert session.events() == [Subscribed((BOOK,))]


def test_acknowledgements_may_come_in_any_order() -> None:
    session = start(Category.SPOT, *[f"tickers.T{n}" for n in range(20)])
    session.control(accept("s3"), 1)
    session.control(accept("s2"), 2)
    assert [event.topics[0] for event in session.events() if isinstance(event, Subscribed)] == [
        "tickers.T10",
        "tickers.T0",
    ]


def test_data_may_come_before_the_acknowledgement() -> None:
    session = start(Category.LINEAR, BOOK, TRADES)
    assert session.awaiting_data == {BOOK, TRADES}
    session.data(BOOK, 1)
    assert session.awaiting_data == {TRADES}
    session.control(accept("s2"), 2)
    session.events()
    session.data(TRADES, 3)
    session.received(25 * SECOND)
    session.tick(25 * SECOND)
    assert not [e for e in session.events() if isinstance(e, Silent)]


def test_option_topics_under_fail_are_refused_and_the_others_go_on() -> None:
    session = start(Category.OPTION, "orderbook.25.A", "orderbook.25.B")
    session.control(
        b'{"success":true,"data":{"failTopics":["orderbook.25.A"],"successTopics":["orderbook.25.B"]},'
        b'"type":"COMMAND_RESP"}',
        1,
    )
    assert session.events() == [
        Refused("orderbook.25.A", "listed under failTopics"),
        Subscribed(("orderbook.25.B",)),
    ]
    assert session.topics == ("orderbook.25.B",)


def test_option_failure_settles_what_it_names_and_retries_the_rest() -> None:
    session = start(Category.OPTION, "tickers.A", "tickers.B", "tickers.C")
    session.to_send()
    session.control(
        b'{"success":false,"data":{"failTopics":["tickers.A"],"successTopics":["tickers.B"]},"type":"COMMAND_RESP"}',
        1,
    )
    assert [type(e) for e in session.events()] == [Refused, Subscribed]
    assert [r["args"] for r in requests(session)] == [["tickers.C"]]


def test_option_answer_without_topics_goes_to_the_oldest_request() -> None:
    session = start(Category.OPTION, "tickers.A")
    session.control(
        b'{"success":true,"data":{"failTopics":null,"successTopics":null},"type":"COMMAND_RESP"}', 1
    )
    assert session.events() == [Subscribed(("tickers.A",))]


def test_an_answer_to_nothing_is_unexplained_and_changes_nothing() -> None:
    session = start(Category.LINEAR, BOOK)
    session.control(accept("s99"), 1)
    session.control(accept("", "unsubscribe"), 1)
    session.control(b'{"success":true}', 1)
    assert [e.cause for e in session.events() if isinstance(e, Unexplained)] == ["unmatched"] * 3
    session.control(accept("s2"), 2)
    assert session.events() == [Subscribed((BOOK,))]
    session.control(accept("s2"), 3)
    assert [type(e) for e in session.events()] == [Unexplained]


# -- rejections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", WITH_IDS)
@pytest.mark.parametrize("echo", [True, False])
@pytest.mark.parametrize("bad", [{0}, {7}, {0, 1, 2}, {3, 8, 15, 24}, set(range(25))])
def test_only_the_bad_topics_of_a_batch_are_refused(category: Category, echo: bool, bad: set[int]) -> None:
    topics = [f"orderbook.50.T{number:02d}" for number in range(25)]
    refused = {topics[number] for number in bad}
    session, exchange = start(category, *topics), Exchange(category, bad=refused, echo=echo)
    told = converse(session, exchange)
    assert {e.topic for e in told if isinstance(e, Refused)} == refused
    assert {e.words for e in told if isinstance(e, Refused)} == {
        f"error:handler not found,topic:{topic}" for topic in refused
    }
    assert exchange.active == set(session.topics) == set(topics) - refused
    assert sorted(subscribed(told)) == sorted(exchange.active)
    assert len(told) == len([e for e in told if isinstance(e, Refused | Subscribed)])


def test_a_rejection_that_names_no_topic_is_bisected() -> None:
    topics = [f"tickers.T{number}" for number in range(8)]
    session = start(Category.LINEAR, *topics)
    asked = 0
    while messages := session.to_send():
        for request in map(json.loads, messages):
            if request["op"] == "subscribe":
                asked += 1
                bad = "tickers.T5" in request["args"]
                session.control(reject(request["req_id"], "no") if bad else accept(request["req_id"]), 1)
    told = session.events()
    assert [e for e in told if isinstance(e, Refused)] == [Refused("tickers.T5", "no")]
    assert sorted(subscribed(told)) == sorted(set(topics) - {"tickers.T5"})
    assert asked == 7


def test_too_many_arguments_is_bisected_too() -> None:
    session = start(Category.LINEAR, *[f"tickers.T{n}" for n in range(4)])
    session.to_send()
    session.control(reject("s2", "args size >10"), 1)
    assert [len(r["args"]) for r in requests(session)] == [2, 2]


def test_parts_that_wait_for_their_turn_expect_no_data_yet() -> None:
    session = start(Category.LINEAR, "tickers.A", "tickers.B", "tickers.C", requests_in_flight=1)
    session.control(reject("s2", "error:handler not found,topic:tickers.B"), 1)
    assert session.awaiting_data == {"tickers.B"}
    assert not session.settled


def test_a_session_is_settled_when_every_request_has_its_answer() -> None:
    session, exchange = StreamSession(Category.LINEAR), Exchange(Category.LINEAR)
    assert not session.settled
    session.opened(0)
    assert session.settled
    session.subscribe([BOOK], 0)
    assert not session.settled
    converse(session, exchange)
    assert session.settled
    session.closed(1)
    assert not session.settled


def test_a_refusal_without_words_says_so() -> None:
    session = start(Category.LINEAR, BOOK)
    session.control(reject("s2", ""), 1)
    assert session.events() == [Refused(BOOK, "refused without a word")]


@pytest.mark.parametrize("category", WITH_IDS)
def test_already_subscribed_is_success(category: Category) -> None:
    topics = [f"tickers.T{number}" for number in range(6)]
    session, exchange = start(category, *topics), Exchange(category)
    exchange.active = {topics[1], topics[4]}
    told = converse(session, exchange)
    assert sorted(subscribed(told)) == topics
    assert {t for e in told if isinstance(e, Subscribed) and not e.fresh for t in e.topics} == {
        topics[1],
        topics[4],
    }
    assert exchange.active == set(topics)


def test_already_subscribed_answering_a_repeat_settles_the_whole_request() -> None:
    topics = [f"tickers.T{number}" for number in range(6)]
    session = start(Category.LINEAR, *topics)
    session.tick(5 * SECOND)
    session.control(reject("s2", f"error:already subscribed,topic:{topics[0]}"), 6 * SECOND)
    assert session.events() == [Subscribed(tuple(topics), fresh=False)]


def test_topics_unsubscribed_while_their_batch_is_retried_stay_away() -> None:
    session = start(Category.LINEAR, "tickers.A", "tickers.B", "tickers.C")
    session.to_send()
    session.unsubscribe(["tickers.B"], 1)
    session.control(reject("s2", "error:handler not found,topic:tickers.A"), 2)
    assert [r["args"] for r in requests(session)] == [["tickers.B"], ["tickers.A"], ["tickers.C"]]


def test_an_unsubscribe_that_is_refused_ends_with_the_words() -> None:
    session, exchange = start(Category.LINEAR, BOOK, TRADES), Exchange(Category.LINEAR)
    converse(session, exchange)
    exchange.bad = {BOOK}
    session.unsubscribe([BOOK, TRADES], 1)
    told = converse(session, exchange)
    assert Unsubscribed((TRADES,)) in told
    assert Unsubscribed((BOOK,), f"error:handler not found,topic:{BOOK}") in told
    assert session.topics == ()


def test_unsubscribing_what_was_never_sent_ends_at_once() -> None:
    session = StreamSession(Category.LINEAR)
    session.subscribe([BOOK, TRADES], 0)
    session.unsubscribe([BOOK], 0)
    assert session.events() == [Unsubscribed((BOOK,))]
    session.opened(1)
    assert [r.get("args") for r in requests(session)] == [None, [TRADES]]


def test_changing_ones_mind_keeps_the_order_on_the_wire() -> None:
    session, exchange = start(Category.LINEAR, BOOK), Exchange(Category.LINEAR)
    converse(session, exchange)
    session.unsubscribe([BOOK], 1)
    session.subscribe([BOOK], 1)
    assert converse(session, exchange) == [Unsubscribed((BOOK,)), Subscribed((BOOK,))]
    assert exchange.active == {BOOK}


# -- timeouts of requests ----------------------------------------------------------------------------------


def test_a_request_without_answer_is_sent_once_more_and_then_the_connection_is_dead() -> None:
    session = start(Category.LINEAR, BOOK)
    (_, first) = session.to_send()
    assert session.next_deadline_ns() == 5 * SECOND
    session.tick(5 * SECOND - 1)
    assert session.to_send() == []
    session.tick(5 * SECOND)
    assert session.to_send() == [first]
    session.tick(10 * SECOND)
    (dead,) = session.events()
    assert isinstance(dead, Dead)
    assert "s2" in dead.reason
    assert BOOK in dead.reason
    session.tick(20 * SECOND)
    assert (session.events(), session.to_send(), session.next_deadline_ns()) == ([], [], None)


def test_data_counts_as_acknowledgement_when_the_answer_is_late() -> None:
    session = start(Category.LINEAR, BOOK, TRADES)
    session.to_send()
    session.data(BOOK, 1)
    session.tick(5 * SECOND)
    assert session.events() == [Subscribed((BOOK,))]
    assert [r["args"] for r in requests(session)] == [[TRADES]]
    session.data(TRADES, 6 * SECOND)
    session.tick(10 * SECOND)
    assert session.events() == [Subscribed((TRADES,))]
    session.control(accept("s2"), 11 * SECOND)
    assert session.events() == []
    assert session.counters["late_acknowledgements"] == 1


def test_an_answer_to_the_repeat_is_taken() -> None:
    session = start(Category.LINEAR, TRADES)
    session.tick(5 * SECOND)
    session.control(accept("s2"), 6 * SECOND)
    assert session.events() == [Subscribed((TRADES,))]


# -- resync ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", list(Category))
def test_resync_asks_again_for_this_topic_alone(category: Category) -> None:
    session, exchange = start(category, BOOK, TRADES), Exchange(category)
    converse(session, exchange)
    session.data(BOOK, 1)
    exchange.requests.clear()
    assert session.resync(BOOK, 2)
    assert not session.resync(BOOK, 2)
    assert converse(session, exchange, 3) == [Unsubscribed((BOOK,)), Subscribed((BOOK,))]
    assert [(r["op"], r["args"]) for r in exchange.requests] == [
        ("unsubscribe", [BOOK]),
        ("subscribe", [BOOK]),
    ]
    assert session.awaiting_data == {BOOK, TRADES}
    assert session.resync(BOOK, 4)
    assert session.counters["resyncs"] == 2


def test_resync_goes_on_without_the_acknowledgement() -> None:
    session, exchange = start(Category.LINEAR, BOOK), Exchange(Category.LINEAR)
    converse(session, exchange)
    session.data(BOOK, 1)
    session.resync(BOOK, SECOND)
    (unsubscribe,) = requests(session)
    assert BOOK not in session.awaiting_data
    session.received(3 * SECOND)
    session.tick(3 * SECOND - 1)
    assert session.to_send() == []
    session.tick(3 * SECOND)
    (subscribe,) = requests(session)
    assert (subscribe["op"], subscribe["args"]) == ("subscribe", [BOOK])
    session.control(accept(unsubscribe["req_id"], "unsubscribe"), 4 * SECOND)
    assert session.events() == []
    session.control(accept(subscribe["req_id"]), 4 * SECOND)
    assert session.events() == [Subscribed((BOOK,))]


@pytest.mark.parametrize("late", [False, True])
def test_unsubscribing_in_the_middle_of_a_resync_ends_the_topic(late: bool) -> None:
    session, exchange = start(Category.LINEAR, BOOK), Exchange(Category.LINEAR)
    converse(session, exchange)
    session.resync(BOOK, 1)
    session.unsubscribe([BOOK], 2)
    if late:
        session.tick(3 * SECOND)
        assert session.events() == [Unsubscribed((BOOK,), "not acknowledged")]
    else:
        assert converse(session, exchange) == [Unsubscribed((BOOK,))]
    assert session.topics == ()
    assert len([r for r in requests(session) if r["op"] == "subscribe"]) == 0


def test_resync_after_a_refused_unsubscribe_still_asks_again() -> None:
    session, exchange = start(Category.LINEAR, BOOK), Exchange(Category.LINEAR)
    converse(session, exchange)
    session.resync(BOOK, 1)
    (request,) = requests(session)
    session.control(reject(request["req_id"], "error:invalid", "unsubscribe"), 2)
    assert session.events() == [Unsubscribed((BOOK,), "error:invalid")]
    assert [r["op"] for r in requests(session)] == ["subscribe"]


def test_old_frames_between_the_halves_of_a_resync_are_not_its_first_data() -> None:
    session, exchange = start(Category.LINEAR, BOOK), Exchange(Category.LINEAR)
    converse(session, exchange)
    session.resync(BOOK, 1)
    assert session.awaiting_data == set()
    session.data(BOOK, 2)
    converse(session, exchange, 3)
    assert session.awaiting_data == {BOOK}


def test_only_what_is_subscribed_can_be_resynced() -> None:
    session = StreamSession(Category.LINEAR)
    session.subscribe([BOOK], 0)
    assert not session.resync(BOOK, 0)
    session.opened(0)
    assert not session.resync(BOOK, 0)
    assert not session.resync("tickers.UNKNOWN", 0)
    session.control(accept("s2"), 1)
    assert session.resync(BOOK, 1)
    session.closed(2)
    assert not session.resync(BOOK, 3)


# -- silence and heartbeat ---------------------------------------------------------------------------------


@pytest.mark.parametrize("category", list(Category))
def test_an_acknowledged_topic_without_its_first_snapshot_is_silent_once(category: Category) -> None:
    session, exchange = start(category, BOOK, "tickers.X", TRADES), Exchange(category)
    converse(session, exchange, SECOND)
    session.data("tickers.X", SECOND)
    assert session.next_deadline_ns() == 11 * SECOND
    session.tick(11 * SECOND - 1)
    assert session.events() == []
    session.tick(11 * SECOND)
    assert session.events() == [Silent(BOOK)]
    session.received(12 * SECOND)
    session.tick(30 * SECOND)
    assert session.events() == []
    # Trades come when someone trades; their silence is normal.
    assert session.awaiting_data == {BOOK, TRADES}


def test_a_resync_arms_the_silence_timer_anew() -> None:
    session, exchange = start(Category.LINEAR, BOOK), Exchange(Category.LINEAR)
    converse(session, exchange)
    session.data(BOOK, 1)
    session.resync(BOOK, 9 * SECOND)
    converse(session, exchange, 9 * SECOND)
    session.tick(10 * SECOND)
    assert session.events() == []
    session.tick(19 * SECOND)
    assert session.events() == [Silent(BOOK)]


@pytest.mark.parametrize("category", list(Category))
def test_heartbeat_in_every_shape(category: Category) -> None:
    session, exchange = start(category), Exchange(category)
    for beat in range(5):
        now_ns = beat * 20 * SECOND
        session.tick(now_ns)
        (message,) = session.to_send()
        session.control(exchange.answer(message), now_ns + 7)
        (pong,) = session.events()
        assert isinstance(pong, Pong)
        assert (pong.round_trip_ns, pong.received_ns) == (7, now_ns + 7)
        assert (pong.exchange_ms is None) == (category not in LIKE_OPTIONS)
        assert session.next_deadline_ns() == now_ns + 20 * SECOND
    assert session.counters["pings"] == session.counters["pongs"] == 5


def test_two_missed_pongs_are_death_even_while_data_flows() -> None:
    session = start()
    for second in range(40):
        session.received(second * SECOND)
        session.tick(second * SECOND)
    assert [r["op"] for r in requests(session)] == ["ping", "ping"]
    assert session.events() == []
    session.received(40 * SECOND)
    session.tick(40 * SECOND)
    assert session.events() == [Dead("2 pings in a row were not answered")]


def test_one_missed_pong_is_forgiven() -> None:
    session = start()
    session.received(20 * SECOND)
    session.tick(20 * SECOND)
    session.control(b'{"op":"pong"}', 21 * SECOND)
    assert session.events() == [Pong(None, 21 * SECOND)]
    session.tick(40 * SECOND)
    session.control(b'{"op":"pong"}', 41 * SECOND)
    assert session.events() == [Pong(SECOND, 41 * SECOND)]


def test_nothing_at_all_for_too_long_is_death() -> None:
    session = start(ping_interval_ns=5 * SECOND, missed_pongs=100)
    session.received(3 * SECOND)
    session.tick(33 * SECOND - 1)
    assert session.events() == []
    session.tick(33 * SECOND)
    assert session.events() == [Dead("nothing was received for 30.0 s")]


def test_a_pong_nobody_asked_for_is_counted() -> None:
    session = start()
    for _ in range(1_000):
        session.control(b'{"op":"pong"}', 1)
    assert len(session.events()) == 1
    assert session.counters["unasked_pongs"] == 999


# -- hostile bytes -----------------------------------------------------------------------------------------


def test_hostile_frames_are_counted_by_cause_and_told_in_bounded_number() -> None:
    session = start(Category.LINEAR, BOOK)
    frames = [b"", b"\xff\xfe", b"{", b"[1]", b'{"success":"yes"}', b"x" * (2 << 20), b"[" * 1_000_000]
    for frame in frames * 10:
        session.control(frame, 1)
    told = session.events()
    assert len(told) == 16
    assert all(isinstance(event, Unexplained) and len(event.excerpt) <= 300 for event in told)
    assert session.counters["undecodable"] == 50
    assert session.counters["unknown_shape"] == 10
    assert session.counters["oversize"] == 10
    session.control(b"again", 2)
    assert session.events() == [Unexplained("undecodable", "again", 5)]
    session.control(accept("s2"), 3)
    assert session.events() == [Subscribed((BOOK,))]


def test_repr_tells_the_state() -> None:
    session = start(Category.SPOT, BOOK, TRADES)
    assert repr(session) == (
        "<StreamSession spot open queued=0 subscribing=2 subscribed=0 resyncing=0 unsubscribing=0 "
        "in_flight=1 requests_queued=0 awaiting_data=2 pings_open=1>"
    )
    session.closed(1)
    assert "spot closed" in repr(session)


TOPICS = [f"orderbook.50.T{number}" for number in range(6)] + ["publicTrade.A", "tickers.B"]
CONTROL_FRAMES = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda success, op, words, request_id, extra: json.dumps(
            {"success": success, "op": op, "ret_msg": words, "req_id": request_id, **extra}
        ).encode(),
        st.booleans() | st.none(),
        st.sampled_from(["subscribe", "unsubscribe", "ping", "", "x"]),
        st.sampled_from(["", "pong", "error:already subscribed,topic:x", "args size >10"])
        | st.sampled_from(TOPICS).map("error:handler not found,topic:{}".format)
        | st.sampled_from(TOPICS).map("error:already subscribed,topic:{}".format),
        st.sampled_from([""] + [f"{letter}{n}" for letter in "sup" for n in range(1, 12)]),
        st.just({})
        | st.fixed_dictionaries(
            {
                "type": st.just("COMMAND_RESP"),
                "data": st.fixed_dictionaries(
                    {
                        "successTopics": st.lists(st.sampled_from(TOPICS), max_size=3),
                        "failTopics": st.lists(st.sampled_from(TOPICS), max_size=3),
                    }
                ),
            }
        ),
    ),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("control"), CONTROL_FRAMES),
        st.tuples(
            st.sampled_from(["subscribe", "unsubscribe"]), st.lists(st.sampled_from(TOPICS), max_size=4)
        ),
        st.tuples(st.sampled_from(["resync", "data"]), st.sampled_from(TOPICS)),
        st.tuples(st.just("tick"), st.integers(0, 8 * SECOND)),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(st.sampled_from(list(Category)), STEPS)
def test_no_sequence_of_calls_and_frames_breaks_the_session(category: Category, steps: list[Any]) -> None:
    session = StreamSession(category)
    session.opened(0)
    now_ns = 0
    ids: set[str] = set()
    for name, argument in steps:
        if name == "tick":
            now_ns += argument
            session.tick(now_ns)
        elif name == "control":
            session.control(argument, now_ns)
        else:
            getattr(session, name)(argument, now_ns)
        messages = session.to_send()
        assert len(messages) <= 64
        for request in map(json.loads, messages):
            assert set(request) <= {"req_id", "op", "args"}
            if request["op"] != "ping":
                assert request["args"]
                assert set(request["args"]) <= set(TOPICS)
            ids.add(request["req_id"])
        assert session.awaiting_data <= set(TOPICS)
        dead = [event for event in session.events() if isinstance(event, Dead)]
        deadline_ns = session.next_deadline_ns()
        assert (deadline_ns is None) == bool(dead) or "dead" in repr(session)
        if name == "tick" and deadline_ns is not None:
            assert deadline_ns > now_ns
        assert repr(session)


@settings(max_examples=100)
@given(
    st.sampled_from(list(Category)),
    st.sets(st.sampled_from(TOPICS)),
    st.lists(
        st.tuples(
            st.sampled_from(["subscribe", "unsubscribe", "resync"]), st.sampled_from(TOPICS), st.booleans()
        ),
        max_size=30,
    ),
)
def test_with_an_honest_exchange_both_sides_agree_in_the_end(
    category: Category, bad: set[str], steps: list[tuple[str, str, bool]]
) -> None:
    exchange = Exchange(category, bad=bad)
    session = StreamSession(category)
    session.opened(0)
    wanted: set[str] = set()
    for name, topic, talk in steps:
        if name == "resync":
            session.resync(topic, 0)
        else:
            getattr(session, name)([topic], 0)
            (wanted.add if name == "subscribe" else wanted.discard)(topic)
        if talk:
            converse(session, exchange)
    converse(session, exchange)
    expected = wanted if category in LIKE_OPTIONS else wanted - bad
    assert set(session.topics) == exchange.active == expected
    assert session.counters["unmatched"] == 0
