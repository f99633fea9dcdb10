"""The synchronisation of the full book: the sheet's steps one by one, and against an exchange whose answers lag."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bybit.full_sync import (
    Again,
    FullSync,
    Load,
    NoBook,
    Outdated,
    Phase,
    SyncOptions,
    frames_of,
    read_delta,
)
from engine.bybit.rest import RestBook
from schemas.errors import ExchangeError
from schemas.notes import FullBook

TOPIC = "orderbook.full.MNTUSDT"
SAMPLE = (  # protocol section 3.3
    b'{"topic":"orderbook.full.MNTUSDT","ts":1784103477732,"type":"delta","data":{"s":"MNTUSDT","b":[["0.4758",'
    b'"2342.47"],["0.4757","0"]],"a":[],"u":278547,"seq":1501100579},"cts":1784103477730}'
)
SECOND = 1_000_000_000
LEVEL = [["1", "1"]]


def delta(u: int, seq: int | None = None, bids: list[Any] = LEVEL, kind: str = "delta") -> bytes:
    data = {"s": "MNTUSDT", "b": bids, "a": [], "u": u, "seq": 10 * u if seq is None else seq}
    return json.dumps({"topic": TOPIC, "ts": 1, "type": kind, "data": data}).encode()


def book(u: int, seq: int | None = None, bids: tuple[tuple[str, str], ...] = (("1", "1"),)) -> RestBook:
    return RestBook("MNTUSDT", bids, (), u, 10 * u if seq is None else seq, 1_700_000_000_000, None)


def waiting(*frames: bytes, options: SyncOptions | None = None) -> FullSync:
    sync = FullSync(Random(1), options=options)
    sync.subscribed(0)
    for frame in frames:
        sync.delta(frame, 1)
    return sync


def judged(sync: FullSync, answer: RestBook, now_ns: int = 2) -> Any:
    assert sync.wants(now_ns)
    return sync.answer(sync.ask(now_ns), answer, now_ns)


def load(*frames: bytes, is_empty: bool = False) -> Load:
    return Load(list(frames), is_empty)


# ---- reading -----------------------------------------------------------------------------------------------------


def test_the_documented_frame() -> None:
    read = read_delta(SAMPLE)
    assert read is not None
    assert read[:3] == (278547, 1501100579, False)


@pytest.mark.parametrize(
    "frame",
    [b"", b"{", b"[]", b"\xff", b'{"type":"delta"}', delta(5, kind="snapshot"), b'{"a":' + b"[" * 10_000],
)
def test_what_is_no_delta(frame: bytes) -> None:
    assert read_delta(frame) is None
    sync = waiting(delta(5), frame, delta(6))
    assert sync.waiting == 2


# ---- step 1: what waits --------------------------------------------------------------------------------------------


def test_a_jump_empties_the_buffer() -> None:
    sync = waiting(delta(5), delta(6), delta(8))
    assert sync.waiting == 1
    assert isinstance(judged(sync, book(6)), Again)


def test_what_a_second_line_repeats_is_there_already() -> None:
    sync = waiting(delta(1, 10, []), delta(1, 10, []), delta(2), delta(3), delta(2), delta(3), delta(4))
    assert (sync.waiting, sync.dropped) == (4, 0)


def test_a_seq_that_goes_down_is_dropped() -> None:
    sync = waiting(delta(5, 50), delta(6, 49), delta(6, 50))
    assert (sync.waiting, sync.dropped) == (2, 1)


def test_update_id_1_empties_the_buffer_whatever_its_seq() -> None:
    sync = waiting(delta(5), delta(6), delta(1, 3))
    assert sync.waiting == 1
    assert judged(sync, book(1, 3)) == load()


def test_the_buffer_is_bounded() -> None:
    sync = waiting(*(delta(u) for u in range(2, 12)), options=SyncOptions(most_frames=4))
    assert (sync.waiting, sync.dropped) == (4, 6)
    assert isinstance(judged(sync, book(6)), Again)  # older than what is left
    length = len(delta(10))
    sync = waiting(*(delta(u) for u in range(10, 20)), options=SyncOptions(most_bytes=3 * length))
    assert sync.waiting == 3


# ---- steps 2 and 3 -------------------------------------------------------------------------------------------------


def test_the_book_is_asked_for_with_the_first_delta() -> None:
    sync = FullSync(Random(1))
    assert not sync.wants(10 * SECOND)
    sync.subscribed(0)
    assert not sync.wants(SECOND)
    sync.delta(delta(5), SECOND)
    assert sync.wants(SECOND)


def test_on_a_quiet_feed_it_is_asked_for_all_the_same() -> None:
    sync = waiting()
    assert not sync.wants(2 * SECOND - 1)
    assert judged(sync, book(7), 2 * SECOND) == load()
    assert sync.phase is Phase.LIVE


def test_a_delta_may_outrun_the_acknowledgement() -> None:
    sync = FullSync(Random(1))
    sync.delta(delta(5), 0)
    sync.subscribed(1)
    assert sync.waiting == 1
    assert judged(sync, book(5)) == load()


def test_one_request_at_a_time() -> None:
    sync = waiting(delta(5))
    sync.ask(1)
    assert not sync.wants(100 * SECOND)
    with pytest.raises(RuntimeError, match="nothing is to be asked"):
        sync.ask(100 * SECOND)


def test_an_answer_that_is_too_old_is_asked_for_again_later() -> None:
    sync = waiting(delta(5), delta(6))
    now, waits = 2, []
    for _ in range(12):
        verdict = judged(sync, book(4), now)
        assert isinstance(verdict, Again)
        assert "too old" in verdict.why == sync.last_why
        due = next(at for at in range(now, now + 200 * SECOND, SECOND // 100) if sync.wants(at))
        waits.append(due - now)
        now = due
    assert waits[0] <= SECOND // 4 + SECOND // 50
    assert all(waits[i] <= 2 * (SECOND // 4 << i) for i in range(8))
    assert 30 * SECOND <= waits[-1] <= 61 * SECOND
    assert sync.given_up
    # what waits is still good for an answer that comes at last
    assert judged(sync, book(5), now) == load(delta(6))
    sync.taken(True, now)
    assert (sync.given_up, sync.attempts, sync.loads) == (False, 0, 1)


def test_a_failed_request_is_one_of_no_use() -> None:
    sync = waiting(delta(5))
    sync.failed(sync.ask(1), 1, "no network")
    assert (sync.attempts, sync.last_why, sync.phase) == (1, "no network", Phase.WAITING)
    assert not sync.wants(1)


def test_an_answer_without_seq() -> None:
    sync = waiting(delta(5))
    answer = RestBook("MNTUSDT", (("1", "1"),), (), 5, None, 1, None)
    assert isinstance(judged(sync, answer), Again)


# ---- steps 4 to 6 --------------------------------------------------------------------------------------------------


def test_equal_seq_and_equal_update_id() -> None:
    assert judged(waiting(delta(5), delta(6), delta(7), delta(8)), book(6)) == load(delta(7), delta(8))


def test_equal_seq_and_another_update_id() -> None:
    verdict = judged(waiting(delta(5), delta(6), delta(7)), book(9, 60))
    assert isinstance(verdict, Again)
    assert "u 9" in verdict.why


def test_several_deltas_of_one_seq() -> None:
    frames = [delta(5, 50), delta(6, 60), delta(7, 60), delta(8, 60), delta(9, 90)]
    assert judged(waiting(*frames), book(7, 60)) == load(*frames[3:])


def test_no_equal_seq_and_the_next_update_id() -> None:
    assert judged(waiting(delta(5), delta(6), delta(7)), book(6, 65)) == load(delta(7))


@pytest.mark.parametrize("u", [5, 7])
def test_no_equal_seq_and_another_update_id(u: int) -> None:
    assert isinstance(judged(waiting(delta(5), delta(6), delta(7)), book(u, 65)), Again)


def test_an_answer_that_is_newer_than_all_that_waits() -> None:
    assert judged(waiting(delta(5), delta(6)), book(9)) == load()
    assert isinstance(judged(waiting(delta(5), delta(6)), book(5, 90)), Again)


# ---- beginning again -----------------------------------------------------------------------------------------------


def test_a_break_begins_again_with_the_delta_that_showed_it() -> None:
    sync = waiting(delta(5))
    assert judged(sync, book(5)) == load()
    sync.taken(True, 2)
    sync.delta(delta(9), 3)
    assert (sync.phase, sync.waiting) == (Phase.WAITING, 1)
    assert not sync.wants(3)  # however often a chain breaks
    assert judged(sync, book(9), 2 + SECOND) == load()


def test_a_book_that_is_not_believed_is_asked_for_without_a_delta() -> None:
    sync = waiting(delta(5))
    assert judged(sync, book(5)) == load()
    sync.taken(True, 2)
    sync.disbelieved(3)
    assert not sync.wants(3)
    assert judged(sync, book(5), 3 * SECOND) == load()
    sync = waiting(delta(5))
    sync.disbelieved(3)  # nothing new to one that waits
    assert sync.waiting == 1


def test_what_the_core_refuses_is_asked_for_again_later() -> None:
    sync = waiting(delta(5))
    assert judged(sync, book(5)) == load()
    sync.taken(False, 2)
    assert (sync.phase, sync.attempts, sync.loads) == (Phase.WAITING, 1, 0)


def test_the_answer_of_an_ended_subscription_counts_for_nothing() -> None:
    sync = waiting(delta(5))
    asked = sync.ask(2)
    sync.lost()
    assert (sync.phase, sync.waiting) == (Phase.IDLE, 0)
    assert sync.answer(asked, book(5), 3) == Outdated()
    sync.subscribed(4)
    assert sync.answer(asked, book(5), 5) == Outdated()
    sync.failed(asked, 5)
    assert sync.attempts == 0
    assert sync.phase is Phase.WAITING


def test_an_acknowledgement_in_between_changes_nothing() -> None:
    sync = waiting(delta(5))
    asked = sync.ask(2)
    sync.subscribed(3)
    assert sync.answer(asked, book(5), 4) == load()


# ---- the five meanings of u = 1 ------------------------------------------------------------------------------------


def test_service_restart() -> None:
    sync = waiting(delta(1, 70), delta(2, 71))
    assert judged(sync, book(1, 70)) == load(delta(2, 71))
    assert sync.phase is Phase.LIVE


def test_delisting() -> None:
    sync = waiting(delta(1, 70, []))
    assert judged(sync, book(1, 70, ())) == load(is_empty=True)
    assert sync.phase is Phase.NO_BOOK
    assert not sync.wants(1_000 * SECOND)


@pytest.mark.parametrize("frames", [(), (delta(1, 70, []),)])
def test_before_the_auction(frames: tuple[bytes, ...]) -> None:
    """The answer may say nothing at all, not even ids."""
    sync = waiting(*frames)
    assert judged(sync, book(0, 0, ()), 2 * SECOND) == NoBook()
    assert sync.phase is Phase.NO_BOOK
    assert not sync.wants(1_000 * SECOND)


def test_from_the_auction_to_trading() -> None:
    sync = waiting()
    assert judged(sync, book(0, 0, ()), 2 * SECOND) == NoBook()
    sync.delta(delta(1, 70, []), 5 * SECOND)
    assert judged(sync, book(1, 70), 5 * SECOND) == load()
    assert sync.phase is Phase.LIVE


def test_tick_size_change() -> None:
    """The answer is ready when it is: until then it is empty, or of before, and asked for again."""
    sync = waiting(delta(1, 70, []), delta(2, 80))
    assert isinstance(judged(sync, book(1, 69, ())), Again)
    due = next(at for at in range(2, SECOND, 1000) if sync.wants(at))
    assert judged(sync, book(2, 80), due) == load()


def test_an_empty_book_that_fills_behind_the_answer() -> None:
    sync = waiting(delta(1, 70, []), delta(2, 80))
    assert judged(sync, book(1, 70, ())) == load(delta(2, 80))
    assert sync.phase is Phase.LIVE


# ---- frames --------------------------------------------------------------------------------------------------------


def _body(**changes: Any) -> str:
    result = {
        "s": "MNTUSDT",
        "b": [["0.4758", "1.50"]],
        "a": [],
        "u": 7,
        "seq": 70,
        "ts": 12,
        "cts": 11,
    } | changes
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": result, "time": 1})


def test_an_answer_becomes_frames() -> None:
    answer = FullBook(topic=TOPIC, path="/v5", body=_body(), deltas=[delta(8).decode()])
    snapshot, behind = frames_of(answer)
    assert json.loads(snapshot) == {
        "topic": TOPIC,
        "ts": 12,
        "type": "snapshot",
        "data": {"s": "MNTUSDT", "b": [["0.4758", "1.50"]], "a": [], "u": 7, "seq": 70},
        "cts": 11,
    }
    assert behind == delta(8)


@pytest.mark.parametrize("body", ["", "{}", _body(s="BTCUSDT"), '{"retCode":10001,"retMsg":"x","result":{}}'])
def test_a_body_that_is_no_answer(body: str) -> None:
    with pytest.raises(ExchangeError):
        frames_of(FullBook(topic=TOPIC, path="/v5", body=body, deltas=[]))


# ---- against an exchange -------------------------------------------------------------------------------------------


class Exchange:
    """A book that changes one price at a time, and remembers every state."""

    def __init__(self) -> None:
        self.u, self.seq = 100, 1_000
        self.levels: dict[str, str] = {"1": "1", "2": "1"}
        self.states = {self.u: (self.seq, dict(self.levels))}

    def change(self, price: str, size: str, skip: int) -> bytes:
        self.u, self.seq = self.u + 1, self.seq + skip
        self.levels[price] = size
        if size == "0":
            del self.levels[price]
        self.states[self.u] = (self.seq, dict(self.levels))
        return delta(self.u, self.seq, [[price, size]])

    def answer(self, lag: int) -> RestBook:
        u = max(min(self.states), self.u - lag)
        seq, levels = self.states[u]
        return book(u, seq, tuple(levels.items()))


moves = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from("12345"), st.sampled_from("0123"), st.integers(0, 3)),
        st.tuples(st.just("lose"), st.sampled_from("12345"), st.sampled_from("0123"), st.integers(0, 3)),
        st.tuples(st.just("repeat"), st.integers(1, 3)),
        st.tuples(st.just("ask")),
        st.tuples(st.just("answer"), st.integers(0, 6)),
        st.tuples(st.just("fail")),
        st.tuples(st.just("reconnect")),
        st.tuples(st.just("late"), st.integers(1, 4)),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(moves)
def test_what_is_joined_is_the_exchange(steps: list[tuple[Any, ...]]) -> None:
    """Whatever is lost, repeated or late: a joined book is the exchange's at its u, and follows it by the live rule."""
    exchange, sync, now = Exchange(), FullSync(Random(3)), 0
    sync.subscribed(now)
    sent: list[bytes] = []
    asked: tuple[int, Exchange, int] | None = None
    local: dict[str, str] | None = None
    local_u = 0

    def receive(frame: bytes) -> None:
        nonlocal local, local_u
        data = json.loads(frame)["data"]
        if local is not None:
            if data["u"] <= local_u:
                return
            if data["u"] == local_u + 1:
                change(data)
                return
            local = None
        sync.delta(frame, now)

    def change(data: dict[str, Any]) -> None:
        nonlocal local_u
        assert local is not None
        for price, size in data["b"]:
            if Decimal(size):
                local[price] = size
            else:
                local.pop(price, None)
        local_u = data["u"]
        assert local == exchange.states[local_u][1]

    for move, *rest in steps:
        now += SECOND
        if move in ("say", "lose"):
            price, size, skip = rest
            if size == "0" and price not in exchange.levels:
                continue
            frame = exchange.change(price, size, skip)
            sent.append(frame)
            if move == "say":
                receive(frame)
        elif move == "repeat" and len(sent) >= rest[0]:
            receive(sent[-rest[0]])
        elif move == "late" and len(sent) > rest[0]:
            receive(sent[-1 - rest[0]])
        elif move == "ask" and asked is None and sync.wants(now):
            asked = sync.ask(now), exchange, now
        elif move == "answer" and asked is not None:
            answer = exchange.answer(rest[0])
            verdict = sync.answer(asked[0], answer, now)
            asked = None
            if isinstance(verdict, Load):
                local, local_u = dict(answer.bids), answer.update_id
                for frame in verdict.deltas:
                    data = json.loads(frame)["data"]
                    assert data["u"] == local_u + 1
                    change(data)
                sync.taken(True, now)
        elif move == "fail" and asked is not None:
            sync.failed(asked[0], now)
            asked = None
        elif move == "reconnect":
            local = None
            sync.lost()
            sync.subscribed(now)
