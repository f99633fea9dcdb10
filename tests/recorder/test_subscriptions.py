"""Queues of changes without a recording: what conflates, what makes room, what is never lost, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recorder.subscriptions
from engine.core.drive import Driver
from engine.core.feeds import Engine
from recorder.subscriptions import BookChanged, Change, Hub, StateChanged, Subscription, Traded
from schemas.errors import ConfigError, StoreError
from schemas.names import Category, FeedState
from tests.recorder.recordings import BOOK, TRADES, book, trade

ETH = "orderbook.50.ETHUSDT"
LIVE, STALE = FeedState.LIVE, FeedState.STALE


class Market:
    """A hub behind an engine, and messages in order."""

    def __init__(self, *topics: str) -> None:
        self.hub = Hub()
        self.engine = Engine(Category.LINEAR)
        for topic in topics or (BOOK, TRADES, ETH):
            self.engine.add_feed(topic)
        self.driver = Driver(self.engine, self.hub)
        self.sequence = 0
        self.update_ids: dict[str, int] = {}
        self.trades = 0

    def take(self, frame: bytes) -> None:
        self.sequence += 1
        self.driver.apply(frame, 1000 + self.sequence, self.sequence)

    def book(self, topic: str = BOOK, *, kind: str = "", size: str = "1") -> None:
        update_id = self.update_ids.get(topic, 10) + 1
        kind = kind or ("delta" if topic in self.update_ids else "snapshot")
        self.update_ids[topic] = update_id
        self.take(book(kind, update_id, [("99", size)], [("101", "1")], 1000 + self.sequence, topic))

    def lose(self, topic: str = BOOK) -> None:
        """A message is missing, which the next one shows."""
        self.update_ids[topic] += 1
        self.book(topic)

    def trade(self) -> None:
        self.trades += 1
        self.take(trade(f"t{self.trades}", "100", "1", 1000 + self.sequence))


def waiting(subscription: Subscription) -> list[Change]:
    """Everything that waits, taken."""
    out = []
    while subscription.pending:
        out.append(subscription._next())
    return out


def told(subscription: Subscription) -> list[tuple[Any, ...]]:
    out: list[tuple[Any, ...]] = []
    for change in waiting(subscription):
        if isinstance(change, BookChanged):
            out.append(("book", change.topic, change.at.sequence, change.conflated))
        elif isinstance(change, Traded):
            out.append(("trades", change.at.sequence, len(change.trades), change.dropped))
        else:
            out.append(("state", change.topic, change.state, change.conflated))
    return out


def test_a_book_conflates_to_its_newest_state() -> None:
    market = Market()
    slow, quick = market.hub.subscribe(()), market.hub.subscribe(("orderbook",))
    market.book()
    assert told(quick) == [("state", BOOK, LIVE, 0), ("book", BOOK, 1, 0)]
    market.trade()
    market.book(ETH)
    market.book(size="5")
    market.book(size="7")
    assert told(quick) == [("state", ETH, LIVE, 0), ("book", ETH, 3, 0), ("book", BOOK, 5, 1)]
    first, second, *_ = changes = waiting(slow)
    assert isinstance(first, StateChanged)
    assert isinstance(second, BookChanged)
    assert second.book.best_bid == (99, 7)
    assert (second.at.sequence, second.at.receive_ns, second.conflated) == (5, 1005, 2)
    assert [type(change) for change in changes] == [
        StateChanged, BookChanged, StateChanged, Traded, StateChanged, BookChanged,
    ]  # fmt: skip
    assert (slow.conflated, quick.conflated, slow.dropped) == (2, 1, 0)
    market.book()
    assert told(slow) == [("book", BOOK, 6, 0)]


def test_the_oldest_trades_make_room_and_are_counted() -> None:
    market = Market()
    subscription = market.hub.subscribe(("publicTrade",), most_trades=3)
    for _ in range(8):
        market.trade()
    assert subscription.dropped == 5
    assert told(subscription) == [
        ("state", TRADES, LIVE, 0), ("trades", 6, 1, 5), ("trades", 7, 1, 0), ("trades", 8, 1, 0),
    ]  # fmt: skip
    market.trade()
    assert told(subscription) == [("trades", 9, 1, 0)]


def test_a_book_that_is_stale_is_not_handed_out_but_its_states_are() -> None:
    market = Market()
    subscription = market.hub.subscribe(())
    market.book()
    market.book(ETH)
    market.lose()
    assert told(subscription) == [
        ("state", BOOK, LIVE, 0), ("state", ETH, LIVE, 0), ("book", ETH, 2, 0), ("state", BOOK, STALE, 0),
    ]  # fmt: skip
    market.book(kind="snapshot")
    assert told(subscription) == [("state", BOOK, LIVE, 0), ("book", BOOK, 4, 0)]


def test_states_beyond_the_room_become_the_last_one_of_each_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.subscriptions, "MOST_STATES", 4)
    market = Market()
    subscription = market.hub.subscribe(())
    market.book(ETH)
    for _ in range(10):
        market.book(kind="snapshot")
        market.lose()
    assert subscription.pending <= 4 + 2
    found = told(subscription)
    assert found[-1] == ("state", BOOK, STALE, found[-1][-1])
    assert ("state", ETH, LIVE, 0) in found
    # each change was handed out or is counted in one that was
    assert sum(1 + change[-1] for change in found if change[:2] == ("state", BOOK)) == 20


def test_a_late_subscription_begins_with_what_is_live() -> None:
    market = Market()
    market.book()
    market.trade()
    market.book(size="3")
    late = market.hub.subscribe((BOOK, "publicTrade"))
    assert told(late) == [("state", BOOK, LIVE, 0), ("book", BOOK, 3, 0), ("state", TRADES, LIVE, 0)]
    # and so where nobody listened before
    other = Hub()
    Driver(market.engine, other)
    first = waiting(other.subscribe((BOOK,)))
    assert [change.at.sequence for change in first] == [3, 3]
    assert [change.at.receive_ns for change in first] == [1003, 1003]


def test_another_engine_goes_on() -> None:
    market = Market()
    subscription = market.hub.subscribe(())
    market.book()
    market.book(ETH)
    fresh = Engine(Category.LINEAR)
    fresh.add_feed(ETH)
    driver = Driver(fresh, market.hub)
    found = told(subscription)
    assert found[2:] == [("state", BOOK, FeedState.EMPTY, 0), ("state", ETH, FeedState.EMPTY, 0)]
    driver.apply(book("snapshot", 3, [("5", "1")], [], 7, ETH), 50, 40)
    changes = waiting(subscription)
    assert [(change.topic, change.feed) for change in changes] == [(ETH, 0), (ETH, 0)]


def test_feeds_that_are_listed_later_are_told_of() -> None:
    market = Market()
    subscription = market.hub.subscribe(("orderbook.50",))
    late = "orderbook.50.LATEUSDT"
    market.engine.add_feed(late)
    market.book(late)
    assert told(subscription) == [("state", late, LIVE, 0), ("book", late, 1, 0)]


@pytest.mark.parametrize("topics", [("",), (7,)])
def test_topics_that_are_none(topics: Any) -> None:
    with pytest.raises(ConfigError, match=r"found topic .*, expected a text such as"):
        Hub().subscribe(topics)
    with pytest.raises(ConfigError, match="found room for 0 trades"):
        Hub().subscribe((), most_trades=0)


async def test_iterating_waits_and_ends_with_the_recording() -> None:
    market = Market()
    subscription = market.hub.subscribe(("orderbook",))

    async def consume() -> list[Change]:
        return [change async for change in subscription]

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0)
    market.book()
    await asyncio.sleep(0)
    market.book()
    market.hub.end(None)
    assert [type(change) for change in await consumer] == [StateChanged, BookChanged, BookChanged]
    assert [change async for change in market.hub.subscribe(())] == []


async def test_what_failed_is_raised_behind_what_was_told() -> None:
    market = Market()
    subscription = market.hub.subscribe(())
    market.book()
    market.hub.end(StoreError("the disk is full"))
    assert [type(await anext(subscription)) for _ in range(2)] == [StateChanged, BookChanged]
    for _ in range(2):
        with pytest.raises(StoreError, match="the disk is full"):
            await anext(subscription)


async def test_a_closed_one_takes_nothing_and_wakes_who_waits() -> None:
    market = Market()
    subscription, other = market.hub.subscribe(()), market.hub.subscribe(())
    waiter = asyncio.ensure_future(anext(subscription, None))
    await asyncio.sleep(0)
    async with subscription:
        pass
    assert await waiter is None
    market.book()
    assert (subscription.pending, other.pending) == (0, 2)
    subscription.close()


@given(
    steps=st.lists(st.sampled_from(["book", "eth", "trade", "lose", "heal", "take", "drain"]), max_size=60),
    room=st.integers(1, 5),
)
def test_whatever_happens_queues_are_bounded_and_nothing_is_lost_unsaid(steps: list[str], room: int) -> None:
    """Against a subscriber that never waits: what a slow one gets, and what it is told it didn't, adds up."""
    market = Market()
    slow = market.hub.subscribe((), most_trades=room)
    eager = market.hub.subscribe(())
    everything: list[Change] = []
    got: list[Change] = []
    for step in ["book", "eth", *steps]:
        match step:
            case "book":
                market.book()
            case "eth":
                market.book(ETH)
            case "trade":
                market.trade()
            case "lose":
                market.lose()
            case "heal":
                market.book(kind="snapshot")
            case "take" if slow.pending:
                got.append(slow._next())
                if isinstance(got[-1], BookChanged):
                    assert got[-1].book.live
            case "drain":
                got += waiting(slow)
        everything += waiting(eager)
        assert sum(isinstance(each, Traded) for each in slow._pending.values()) <= room
        assert len(slow._books) <= 2
    got += waiting(slow)
    assert [each for each in got if isinstance(each, StateChanged)] == [
        each for each in everything if isinstance(each, StateChanged)
    ]
    trades = [each for each in got if isinstance(each, Traded)]
    assert [each._replace(dropped=0) for each in trades] == [
        each for each in everything if isinstance(each, Traded) and each.at in {one.at for one in trades}
    ]
    assert sum(len(each.trades) for each in trades) + slow.dropped == market.trades
    assert slow.dropped == sum(each.dropped for each in trades)
    books = [each for each in got if isinstance(each, BookChanged)]
    every_book = [each for each in everything if isinstance(each, BookChanged)]
    assert len(books) + slow.conflated == len(every_book)
    for topic in (BOOK, ETH):
        of_topic = [each.at.sequence for each in books if each.topic == topic]
        assert of_topic == sorted(set(of_topic))
        assert set(of_topic) <= {each.at.sequence for each in every_book if each.topic == topic}
