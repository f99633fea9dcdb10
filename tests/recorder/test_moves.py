"""Planned moves without sockets: first there, then gone here, and back where it doesn't work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import recorder.line
from engine.bybit.backoff import Budget
from engine.bybit.spread import LineLoad, Move, Spreader
from engine.timing import Timing
from recorder.line import AMPLE_CONNECTS
from recorder.moves import Mover
from schemas.errors import ConnectError
from schemas.names import Category, FeedState
from tests.recorder.lines import FakeConnection, FakeExchange, until
from tests.recorder.recordings import BOOK, MS, START_NS, TICKER, TRADES, book
from tests.recorder.test_lines import Wired

SECOND = 10**9
AT_MS = START_NS // MS
TOPICS = [BOOK, TRADES, TICKER]


class Planned(Spreader):
    """A policy that proposes what a test wants."""

    def __init__(self) -> None:
        super().__init__(Category.LINEAR, 1_000)
        self.plan: list[Move] = []
        self.loads: list[LineLoad] = []
        self.may_open = False
        self.ended = 0

    def propose(self, loads: object, now_ns: int, *, may_open: bool) -> Move | None:
        self.loads, self.may_open = loads, may_open  # type: ignore[assignment]
        return self.plan.pop(0) if self.plan else None

    def moved(self, now_ns: int) -> None:
        self.ended += 1


class Moving:
    """One line with three topics, and a mover."""

    def __init__(self, wired: Wired) -> None:
        self.wired = wired
        self.policy = Planned()
        self.budget = Budget(500, 300 * SECOND)
        self.mover = Mover(wired.lines, self.policy, budget=self.budget)
        self.now_ns = 0

    def tick(self, seconds: float = 10.0) -> None:
        self.now_ns += int(seconds * SECOND)
        self.mover.tick(self.now_ns)

    def on(self, topic: str) -> list[int]:
        return [line.slot for line in self.wired.lines.lines_of(topic)]


@pytest.fixture
async def moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Moving]:
    exchange = FakeExchange()
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    wired = Wired(tmp_path, exchange)
    wired.lines.add_topics(TOPICS)
    (await wired.connection()).acknowledge()
    yield Moving(wired)
    await wired.lines.stop()


async def begin(moving: Moving, *topics: str) -> tuple[FakeConnection, FakeConnection]:
    """Begin a move to a new line; returns the old connection and the new one."""
    moving.policy.plan.append(Move(0, None, topics, "the test"))
    moving.tick()
    target = await moving.wired.connection(1)
    return moving.wired.exchange.connections[0], target


async def test_first_there_then_gone_here(moving: Moving) -> None:
    source, target = await begin(moving, BOOK)
    assert target.topics("subscribe") == [BOOK]
    moving.tick()
    target.acknowledge()
    moving.tick()
    assert source.topics("unsubscribe") == []  # it has not delivered
    assert moving.on(BOOK) == [0, 1]
    target.deliver(book("snapshot", 7, [("1", "1")], [], AT_MS))
    moving.tick()
    assert source.topics("unsubscribe") == []  # both carry it for a while
    moving.tick()
    assert source.topics("unsubscribe") == [BOOK]
    assert moving.on(BOOK) == [1]
    assert moving.on(TRADES) == [0]
    assert (moving.mover.moves, moving.mover.topics_moved, moving.policy.ended) == (1, 1, 1)
    source.acknowledge("unsubscribe")
    assert moving.wired.lines.line(0).topics == [TRADES, TICKER]
    assert moving.wired.failures == []


async def test_the_loads_are_those_of_the_lines_that_are_up(moving: Moving) -> None:
    moving.tick()
    (load,) = moving.policy.loads
    assert (load.slot, load.copy, set(load.topics)) == (0, 0, set(TOPICS))
    assert load.rate == sum(map(moving.wired.lines.weight, TOPICS)) > 10
    moving.wired.exchange.connections[0].drop("bye")
    moving.tick()
    assert moving.policy.loads == []


async def test_it_looks_now_and_then_and_opens_only_while_the_budget_is_ample(moving: Moving) -> None:
    moving.tick()
    assert moving.policy.may_open
    while moving.budget.left(0) > AMPLE_CONNECTS:
        moving.budget.take(0)
    moving.tick(1)
    assert moving.policy.may_open
    moving.tick(9)
    assert not moving.policy.may_open


async def test_what_comes_only_now_and_then_is_moved_once_it_is_acknowledged_for_good(moving: Moving) -> None:
    source, target = await begin(moving, TRADES)
    target.acknowledge()
    moving.tick(1)
    moving.tick(Timing().quiet_move_ns / SECOND - 0.1)
    assert source.topics("unsubscribe") == []
    moving.tick(0.2)
    assert source.topics("unsubscribe") == [TRADES]


async def test_what_is_refused_there_stays_here(moving: Moving) -> None:
    source, target = await begin(moving, BOOK, TRADES)
    target.acknowledge(refuse=TRADES, words=f"error:handler not found,topic:{TRADES}")
    assert moving.wired.lines.refused == {}  # it is recorded, on its old line
    target.deliver(book("snapshot", 7, [("1", "1")], [], AT_MS))
    moving.tick()
    assert source.topics("unsubscribe") == []  # both carry it for a while
    moving.tick()
    assert source.topics("unsubscribe") == [BOOK]
    assert (moving.on(BOOK), moving.on(TRADES)) == ([1], [0])
    assert moving.policy.ended == 1


async def test_what_never_comes_stays_where_it_was(moving: Moving, caplog: pytest.LogCaptureFixture) -> None:
    source, target = await begin(moving, BOOK)
    target.acknowledge()
    for _ in range(7):
        moving.tick()
    assert source.topics("unsubscribe") == []
    assert moving.on(BOOK) == [0]
    assert "1 of 1 topics stay on line 0: they didn't come through on line 1" in caplog.text
    await until(lambda: len(moving.wired.lines) == 1, "the end of the new line")
    assert not target.is_open
    assert (moving.mover.topics_moved, moving.policy.ended) == (0, 1)


async def test_a_new_line_that_cannot_be_opened(moving: Moving) -> None:
    moving.wired.exchange.failures = 1_000
    moving.wired.exchange.error = ConnectError("full", status=429, lasting=True)
    moving.policy.plan.append(Move(0, None, (BOOK,), "the test"))
    moving.tick()
    await until(lambda: moving.wired.exchange.attempts > 1, "an attempt")
    for _ in range(7):
        moving.tick()
    await until(lambda: len(moving.wired.lines) == 1, "the end of the new line")
    assert moving.on(BOOK) == [0]
    assert moving.wired.failures == []  # the recording goes on


async def test_the_old_line_is_lost_in_the_middle(moving: Moving) -> None:
    source, target = await begin(moving, BOOK)
    target.acknowledge()
    source.drop("bye")
    target.deliver(book("snapshot", 7, [("1", "1")], [], AT_MS))
    moving.tick()
    moving.tick()
    assert moving.on(BOOK) == [1]
    again = await moving.wired.connection(2)
    assert again.topics("subscribe") == [TRADES, TICKER]


async def test_the_new_line_is_lost_in_the_middle(moving: Moving) -> None:
    source, target = await begin(moving, BOOK)
    target.acknowledge()
    target.drop("bye")
    moving.tick()
    assert source.topics("unsubscribe") == []
    again = await moving.wired.connection(2)
    assert again.topics("subscribe") == [BOOK]
    again.acknowledge()
    again.deliver(book("snapshot", 7, [("1", "1")], [], AT_MS))
    moving.tick()
    moving.tick()
    assert source.topics("unsubscribe") == [BOOK]


async def test_a_topic_that_is_removed_in_the_middle(moving: Moving) -> None:
    source, target = await begin(moving, BOOK)
    target.acknowledge()
    moving.wired.lines.remove_topics([BOOK])
    assert (source.topics("unsubscribe"), target.topics("unsubscribe")) == ([BOOK], [BOOK])
    moving.tick()
    assert moving.policy.ended == 1
    await until(lambda: len(moving.wired.lines) == 1, "the end of the new line")


async def test_a_line_whose_topics_have_all_moved_is_closed(moving: Moving) -> None:
    source, target = await begin(moving, *TOPICS)
    target.acknowledge()
    target.deliver(book("snapshot", 7, [("1", "1")], [], AT_MS))
    for _ in range(3):
        moving.tick(3)
    assert moving.on(TRADES) == [1]
    assert moving.on(TICKER) == [0, 1]  # its snapshot hasn't come
    for _ in range(6):
        moving.tick()
    assert moving.on(TICKER) == [0]
    assert source.is_open


async def test_a_line_that_closes_before_its_last_topics_are_acknowledged_carries_nothing(
    moving: Moving,
) -> None:
    lines, engine = moving.wired.lines, moving.wired.engine
    source, target = await begin(moving, BOOK, TRADES)
    target.acknowledge()
    for connection in (source, target):
        connection.deliver(book("snapshot", 7, [("1", "1")], [], AT_MS))
    moving.wired.lines.remove_topics([TICKER])
    for _ in range(12):
        moving.tick()
    await until(lambda: len(lines) == 1, "the end of the old line")
    assert engine.state(engine.feed_index(BOOK)) is FeedState.LIVE
    target.drop("bye")
    for topic in (BOOK, TRADES):
        assert engine.state(engine.feed_index(topic)) is FeedState.STALE


async def test_by_measured_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From counters to a move, with the policy that is used."""
    exchange = FakeExchange()
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    wired = Wired(tmp_path, exchange, most=100)
    wired.lines.add_topics([BOOK, TRADES])
    (await wired.connection()).acknowledge()
    mover = Mover(wired.lines, Spreader(Category.LINEAR, 100), budget=Budget(500, 1))
    for second in range(0, 120, 5):
        wired.lines.rates.observe([(BOOK, 90 * second), (TRADES, 60 * second)], second * SECOND)
        mover.tick(second * SECOND)
    assert mover.moves == 1
    target = await wired.connection(1)
    assert target.topics("subscribe") == [TRADES]  # 90 frames/s are more than is put together on purpose
    await wired.end()
