"""Audits, pure: what agrees in a simulated market agrees, what is falsified is found, and nothing is held for ever."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.audit import (
    FIRST_PAUSE_NS,
    MOST_STATES,
    STREAK,
    Agreement,
    Candidate,
    Difference,
    Level,
    RestAudit,
    State,
    candidates,
    first_difference,
    mantissa_of,
)
from engine.bybit.rest import RestBook
from engine.core.feeds import Engine
from engine.market import Market
from recorder.gateway.lies import Lies
from schemas.names import Category

START_NS = 1_760_000_000_000_000_000
MS = 1_000_000
SECOND = 1_000 * MS
SYMBOL = "BTCUSDT"
DEEPEST = f"orderbook.1000.{SYMBOL}"
TOPICS = [f"orderbook.{depth}.{SYMBOL}" for depth in (1, 50, 200)]


# ---- comparing ----


@given(st.integers(-(10**18), 10**18), st.integers(-18, 0), st.integers(0, 5))
def test_a_mantissa_is_the_decimal_exactly(mantissa: int, exponent: int, zeros: int) -> None:
    text = f"{Decimal(mantissa).scaleb(exponent):f}"
    padded = text + "0" * zeros if "." in text else text
    assert mantissa_of(padded, exponent) == mantissa


@pytest.mark.parametrize("text", ["", ".5", "-", "--1", "1e5", "0.001", "1_0", "٣", "1.2.3", " 1", "9" * 50])
def test_what_has_no_mantissa(text: str) -> None:
    assert mantissa_of(text, -2) is None


def test_the_first_difference() -> None:
    book: tuple[list[Level], list[Level]] = ([(9, 1), (8, 1)], [(10, 1)])
    assert first_difference(book, book, 5) is None
    assert first_difference(book, ([(9, 1), (8, 2)], [(10, 1)]), 5) == Difference("bid", 2, (8, 1), (8, 2))
    assert first_difference(book, ([(9, 1), (8, 2)], [(10, 1)]), 1) is None
    assert first_difference(book, ([(9, 1), (8, 1)], []), 5) == Difference("ask", 1, (10, 1), None)
    assert first_difference(([], []), book, 5) == Difference("bid", 1, None, (9, 1))


# ---- depths ----


class Depths:
    """An engine that follows a simulated market in several depths, some of them falsified."""

    def __init__(self, lies: tuple[str, ...] = (), topics: list[str] = TOPICS) -> None:
        self.market = Market(5, Category.LINEAR, [SYMBOL], start_ns=START_NS, rate=5.0)
        self.engine = Engine(Category.LINEAR)
        self.lies = Lies(lies)
        self.sequence = 0
        self.topics = topics
        for topic in topics:
            self.engine.add_feed(topic)
        self.agreement = Agreement(self.engine, tell_every_ns=10**15)
        for topic in topics:
            frame = self.market.follow(topic)
            assert frame is not None
            self.apply(topic, frame.payload)

    def apply(self, topic: str, payload: bytes) -> None:
        self.sequence += 1
        self.engine.apply(self.lies.frame(topic, payload), self.market.now_ns, self.sequence)

    def resubscribe(self, topic: str) -> None:
        frame = self.market.follow(topic)
        assert frame is not None
        self.apply(topic, frame.payload)

    def run(self, seconds: float) -> list[tuple[str, str, tuple[str, ...]]]:
        """Let time pass; return who disagreed, and who is not believed. What is not believed is subscribed anew."""
        told = []
        for _ in range(int(seconds * 100)):
            for frame in self.market.advance(self.market.now_ns + 10 * MS):
                self.apply(frame.topic, frame.payload)
            for found in self.agreement.look(self.market.now_ns):
                assert found.difference is not None
                told.append((found.topic, found.against, found.disbelieved))
                for topic in found.disbelieved:
                    self.engine.stale(topic, "disagreement", self.market.now_ns, self.sequence)
                    self.resubscribe(topic)
        return told


def test_depths_of_one_market_agree() -> None:
    depths = Depths()
    assert depths.run(4) == []
    assert depths.agreement.pairs == 3
    assert depths.agreement.agreed == depths.agreement.compared > 20
    sums = depths.agreement.finish()
    assert sum(found.comparisons for found in sums) == depths.agreement.agreed
    assert {found.difference for found in sums} == {None}
    assert depths.agreement.finish() == []


@pytest.mark.parametrize("lies", [(), ("orderbook.200",)])
def test_the_whole_book_is_held_against_the_others(lies: tuple[str, ...]) -> None:
    depths = Depths(lies, TOPICS[1:])
    topic = f"orderbook.full.{SYMBOL}"
    answer = depths.market.full_book(SYMBOL)
    assert answer is not None
    data = {
        "s": SYMBOL,
        "b": answer.bids,
        "a": answer.asks,
        "u": answer.update_id,
        "seq": answer.cross_sequence,
    }
    snapshot = {"topic": topic, "ts": answer.push_ms, "type": "snapshot", "data": data}
    assert depths.engine.restate(topic, [json.dumps(snapshot).encode()], 1, 1) == 1
    told = depths.run(3)
    assert depths.agreement.pairs == 3
    suspects = [topics for _, _, topics in told if topics]
    assert all(f"{lie}.{SYMBOL}" in topics for topics in suspects for lie in lies)
    assert bool(suspects) == bool(lies)
    agreed = {found.topic for found in depths.agreement.finish() if found.against == topic}
    assert TOPICS[1] in agreed


@pytest.mark.parametrize("wrong", ["orderbook.50", "orderbook.200"])
def test_of_three_depths_the_wrong_one_is_disbelieved(wrong: str) -> None:
    told = Depths((wrong,), [*TOPICS[1:], DEEPEST]).run(3)
    disbelieved = [suspects for _, _, suspects in told if suspects]
    assert (f"{wrong}.{SYMBOL}",) in disbelieved
    # where no third depth has shown the same moment in time, both are: the wrong one is always among them
    assert all(f"{wrong}.{SYMBOL}" in suspects for suspects in disbelieved)


def test_of_two_depths_both_are() -> None:
    told = Depths(("orderbook.200",), TOPICS[1:]).run(3)
    assert told[0][2] == told[1][2] == ()
    assert {suspects for _, _, suspects in told if suspects} == {tuple(TOPICS[1:])}


def test_a_pair_that_goes_on_differing_is_left_alone_for_longer_and_longer() -> None:
    depths = Depths(("orderbook.200",), TOPICS[1:])
    verdicts = [
        number for number, told in enumerate(depths.run(1) for _ in range(34)) if any(t[2] for t in told)
    ]
    pauses = [after - before for before, after in pairwise(verdicts)]
    assert len(verdicts) >= 2
    assert pauses[0] >= FIRST_PAUSE_NS / SECOND - 1
    assert all(after > before for before, after in pairwise(pauses))


def test_two_differences_in_a_row_are_none() -> None:
    depths = Depths(("orderbook.200",), TOPICS[1:])
    while depths.agreement.disagreed < STREAK - 1:
        assert not any(suspects for _, _, suspects in depths.run(0.01))
    depths.lies = Lies(())
    depths.resubscribe(TOPICS[2])
    assert depths.run(5) == []
    assert depths.agreement.agreed > 0


def test_books_that_are_not_live_are_not_compared_and_their_streak_ends() -> None:
    depths = Depths(("orderbook.200",), TOPICS[1:])
    while depths.agreement.disagreed < STREAK - 1:
        depths.run(0.01)
    depths.engine.stale(TOPICS[2], "silence", depths.market.now_ns, depths.sequence)
    compared = depths.agreement.compared
    depths.agreement.look(depths.market.now_ns)
    assert depths.agreement.compared == compared
    depths.resubscribe(TOPICS[2])
    told = depths.run(2)
    assert [bool(suspects) for _, _, suspects in told[:STREAK]] == [False, False, True]


def test_a_moment_is_compared_once_and_work_is_bounded() -> None:
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
    market = Market(5, Category.LINEAR, symbols, start_ns=START_NS)
    engine = Engine(Category.LINEAR)
    for number, topic in enumerate(f"orderbook.{depth}.{s}" for s in symbols for depth in (50, 200)):
        engine.add_feed(topic)
        frame = market.follow(topic)
        assert frame is not None
        engine.apply(frame.payload, START_NS, number)
    agreement = Agreement(engine)
    assert agreement.look(0, comparisons=3) == []
    assert agreement.compared == 3
    agreement.look(0)
    assert agreement.compared == 4
    agreement.look(0)
    assert agreement.compared == 4


def test_agreements_are_summed_up_from_time_to_time() -> None:
    depths = Depths(topics=TOPICS[1:])
    depths.agreement = Agreement(depths.engine, tell_every_ns=SECOND)
    sums = []
    for _ in range(400):
        for frame in depths.market.advance(depths.market.now_ns + 10 * MS):
            depths.apply(frame.topic, frame.payload)
        sums += depths.agreement.look(depths.market.now_ns - START_NS)
    assert 1 <= len(sums) <= 4
    assert all(found.comparisons > 1 and found.difference is None for found in sums)


def test_new_feeds_are_found_and_other_topics_are_no_depths() -> None:
    engine = Engine(Category.LINEAR)
    engine.add_feed("orderbook.50.BTCUSDT")
    engine.add_feed("publicTrade.BTCUSDT")
    agreement = Agreement(engine)
    agreement.look(0)
    assert agreement.pairs == 0
    engine.add_feed("orderbook.200.BTCUSDT")
    engine.add_feed("orderbook.200.ETHUSDT")
    agreement.look(0)
    assert agreement.pairs == 1


# ---- REST ----


def test_the_deepest_book_of_a_symbol_is_audited() -> None:
    topics = [
        "orderbook.1.B",
        "orderbook.1000.A",
        "orderbook.50.A",
        "orderbook.50.B",
        "tickers.A",
        "orderbook.1.C",
    ]
    assert candidates(Category.LINEAR, topics) == [
        Candidate("A", "orderbook.1000.A", True, 1000),
        Candidate("B", "orderbook.50.B", False, 50),
        Candidate("C", "orderbook.1.C", False, 1),
    ]
    assert candidates(Category.OPTION, ["orderbook.25.X", "orderbook.100.X"]) == [
        Candidate("X", "orderbook.100.X", False, 25)
    ]
    assert candidates(Category.SPREAD, ["orderbook.25.A_B/C"]) == [
        Candidate("A_B/C", "orderbook.25.A_B/C", True, 25)
    ]


DEEP = Candidate(SYMBOL, f"orderbook.1000.{SYMBOL}", True, 1000)


def state(update_id: int, size: int = 10) -> State:
    return State(update_id, 10 * update_id, [(100, size)], [(101, 5)], -1, -2)


def answer(update_id: int, size: str = "0.10", *, symbol: str = SYMBOL, seq: int | None = None) -> RestBook:
    return RestBook(symbol, (("10.0", size),), (("10.1", "0.05"),), update_id, seq, 1, 1)


def test_an_answer_about_a_state_that_has_passed() -> None:
    audit = RestAudit(DEEP, 0)
    for update_id in (5, 6, 7):
        audit.saw(update_id, state(update_id))
    audit.answered(answer(6))
    assert audit.outcome == "agreed"
    assert audit.state == state(6)


def test_an_answer_about_a_state_that_is_yet_to_come() -> None:
    audit = RestAudit(DEEP, 0)
    audit.saw(5, state(5))
    audit.answered(answer(7))
    assert audit.outcome is None
    assert not audit.is_new(6)
    assert audit.is_new(7)
    audit.saw(7, state(7, size=11))
    assert audit.outcome == "disagreed"
    assert audit.difference == Difference("bid", 1, (100, 11), (100, 10))
    assert audit.theirs == ("10.0", "0.10")


def test_a_state_that_passed_unseen_is_missed_and_one_that_never_comes_unmatched() -> None:
    audit = RestAudit(DEEP, 0, patience_ns=100)
    audit.saw(5, state(5))
    audit.saw(7, state(7))
    audit.answered(answer(6))
    assert audit.outcome == "missed"
    audit = RestAudit(DEEP, 0, patience_ns=100)
    audit.saw(5, state(5))
    audit.answered(answer(9))
    audit.tick(99)
    assert audit.outcome is None
    audit.tick(100)
    assert audit.outcome == "unmatched"


def test_no_answer_and_no_book() -> None:
    audit = RestAudit(DEEP, 0, patience_ns=100)
    audit.tick(100)
    assert audit.outcome == "failed"
    audit = RestAudit(DEEP, 0)
    audit.lost()
    audit.answered(answer(1))
    assert audit.outcome == "missed"


@pytest.mark.parametrize("bad", [answer(5, symbol="ETHUSDT"), answer(5, seq=None)])
def test_an_answer_of_no_use(bad: RestBook) -> None:
    audit = RestAudit(DEEP._replace(by_update_id=False), 0)
    audit.saw(50, state(5))
    audit.answered(bad)
    assert audit.outcome == "failed"


def test_a_new_chain_makes_the_answer_one_about_another_count() -> None:
    audit = RestAudit(DEEP, 0)
    audit.saw(500, state(500))
    audit.answered(answer(502))
    audit.saw(1, state(1))
    assert audit.outcome == "missed"
    audit = RestAudit(DEEP, 0)
    audit.saw(500, state(500))
    audit.saw(1, state(1))
    audit.answered(answer(1))
    assert audit.outcome == "agreed"


def test_a_size_that_ours_cannot_express_differs() -> None:
    audit = RestAudit(DEEP, 0)
    audit.saw(5, state(5))
    audit.answered(answer(5, size="0.1000001"))
    assert audit.outcome == "disagreed"
    assert audit.theirs == ("10.0", "0.1000001")


def test_memory_is_bounded() -> None:
    audit = RestAudit(DEEP, 0)
    for update_id in range(10 * MOST_STATES):
        audit.saw(update_id, state(update_id))
    assert len(audit._states) == MOST_STATES
    audit.answered(answer(3))
    assert audit.outcome == "missed"


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 400),
    st.lists(st.integers(1, 12), min_size=1, max_size=60),
    st.integers(0, 30),
    st.booleans(),
)
def test_right_books_never_differ_whenever_they_are_looked_at(
    answered_at: int, pauses: list[int], behind: int, by_update_id: bool
) -> None:
    """Our book is looked at now and then; the answer is of any moment and comes at any other."""
    audit = RestAudit(DEEP._replace(by_update_id=by_update_id), 0)
    seen, now = set(), 0
    about = max(0, answered_at - behind)
    told = False
    for pause in pauses:
        now += pause
        if not told and now >= answered_at:
            told = True
            size = f"0.{about % 90 + 10}"
            audit.answered(answer(about, size, seq=10 * about))
        key = now if by_update_id else 10 * now
        if audit.outcome is None and audit.is_new(key):
            seen.add(now)
            audit.saw(key, state(now, size=now % 90 + 10))
    if told:
        expected = "agreed" if about in seen else "missed" if any(n > about for n in seen) else None
        assert audit.outcome == expected
    else:
        assert audit.outcome is None
