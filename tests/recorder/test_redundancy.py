"""What lines save, and lines that carry less than they should."""

from __future__ import annotations

from typing import Any, cast

from engine.core.feeds import Engine
from recorder.lines import LineSet
from recorder.redundancy import Laggards, line_shares
from tests.engine.core.test_merge import BOOK, book

SECOND_NS = 10**9


def delta(u: int) -> bytes:
    """A change of always the same level."""
    return book(u).replace(b'["%d","1"]' % u, b'["5","1"]')


class FakeLine:
    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.subscribed = True
        self.resyncs: list[str] = []

    def is_subscribed(self, topic: str) -> bool:
        return self.subscribed and topic == BOOK

    def resync(self, topic: str, now_ns: int) -> None:
        self.resyncs.append(topic)


class FakeLines:
    def __init__(self) -> None:
        self.lines = [FakeLine(0), FakeLine(1)]

    def lines_of(self, topic: str) -> list[FakeLine]:
        return self.lines if topic == BOOK else []


class Watch:
    """A book over two lines, and what watches them."""

    def __init__(self) -> None:
        self.engine = Engine("linear")
        self.lines = FakeLines()
        self.laggards = Laggards(self.engine, cast(LineSet, self.lines))
        self.now_ns = 0
        self.u = 10
        for line in (0, 1):
            self.engine.subscribed(BOOK, 0, 0, line)
        for line in (0, 1):
            self.engine.apply(book(self.u, "snapshot"), 1, 1, line)

    def pass_time(self, seconds: int, lines: tuple[int, ...]) -> list[Any]:
        """Ten deltas a second on these lines."""
        found = []
        for _ in range(seconds):
            for _ in range(10):
                self.u += 1
                for line in lines:
                    self.engine.apply(delta(self.u), self.now_ns, self.u, line)
            self.now_ns += SECOND_NS
            found += self.laggards.tick(self.now_ns)
        return found


def test_lines_that_deliver_are_left_alone() -> None:
    assert Watch().pass_time(60, (0, 1)) == []


def test_a_line_that_brings_nothing_is_subscribed_anew() -> None:
    watch = Watch()
    watch.pass_time(10, (0, 1))
    assert watch.pass_time(15, (0,)) == [(BOOK, 1)]
    assert [line.resyncs for line in watch.lines.lines] == [[], [BOOK]]
    assert watch.laggards.count == 1
    assert watch.pass_time(30, (0, 1)) == []


def test_a_quiet_topic_is_nobodys_fault() -> None:
    watch = Watch()
    watch.pass_time(10, (0, 1))
    assert watch.pass_time(60, ()) == []


def test_a_line_that_is_not_subscribed_is_not_judged() -> None:
    watch = Watch()
    watch.lines.lines[1].subscribed = False
    assert watch.pass_time(60, (0,)) == []


def test_shares_are_summed_over_feeds() -> None:
    watch = Watch()
    watch.pass_time(1, (1, 0))
    other = "orderbook.200.BTCUSDT"
    for line in (0, 1):
        watch.engine.subscribed(other, 0, 0, line)
    for line in (1, 0):
        watch.engine.apply(book(5, "snapshot", topic=other), 1, 1, line)
    assert line_shares(watch.engine) == {
        0: {"taken": 1, "repeats": 11, "ahead": 0, "saved": 0},
        1: {"taken": 11, "repeats": 1, "ahead": 0, "saved": 0},
    }


def test_one_line_has_no_shares() -> None:
    engine = Engine("linear")
    engine.apply(book(10, "snapshot"), 1, 1, 0)
    assert line_shares(engine) == {}
