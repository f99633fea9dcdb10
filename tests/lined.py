"""Hypothesis strategies: what one exchange says over several lines, and what the ways do to it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from schemas.names import Category
from tests.strategies import SYMBOLS, Exchange, Run, Step, damaged, write

__all__ = ["far_runs", "lined_runs"]

CALM = ("say", "say", "say", "deliver", "deliver", "deliver", "deliver", "wait")
ROUGH = (*CALM, "cut", "join", "drop", "again", "swap", "leave")
HOSTILE = (*ROUGH, "restart", "damage", "stale", "lose all", "snapshot")
LINES = (0, 1, 4)
"""Slots need not be neighbours."""


@dataclass
class _Venue:
    """The exchange's side, and what is on its way on each line."""

    draw: st.DrawFn
    exchange: Exchange
    lines: tuple[int, ...]
    alike: bool
    calm: bool
    late_ms: int = 0
    up: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    ways: dict[int, list[tuple[str, bytes]]] = field(default_factory=lambda: defaultdict(list))
    steps: list[Step] = field(default_factory=list)

    def step(self, action: str, **what: Any) -> None:
        self.steps.append(Step(action, late_ms=self.late_ms, **what))

    def send(self, topic: str, message: dict[str, Any], line: int) -> None:
        """One line's own copy of a message."""
        if not self.alike:
            message = message | {"ts": message["ts"] + line}
        self.ways[line].append((topic, write(message)))

    def say(self, topic: str) -> None:
        message = self.exchange.message(self.draw, topic, st.just(2))
        if self.calm and topic.startswith("orderbook") and not topic.startswith("orderbook.1."):
            message = self._next_delta(topic, message)
        for line in self.lines:
            if topic in self.up[line]:
                self.send(topic, message, line)

    def _next_delta(self, topic: str, message: dict[str, Any]) -> dict[str, Any]:
        last = self.exchange.chains.get(topic, 99)
        self.exchange.chains[topic] = last + 1
        return message | {"type": "delta", "data": message["data"] | {"u": last + 1}}

    def state(self, topic: str, line: int) -> None:
        """The snapshot that answers a subscription."""
        if topic.startswith("publicTrade"):
            return
        message = self.exchange.message(self.draw, topic, st.just(2)) | {"type": "snapshot"}
        if topic.startswith("orderbook") and self.calm:
            message["data"]["u"] = self.exchange.chains.setdefault(topic, 99)
        self.send(topic, message, line)

    def deliver(self, line: int, count: int) -> None:
        for _, frame in self.ways[line][:count]:
            self.step("frame", frame=frame, line=line)
        del self.ways[line][:count]


FAR = (*("say",) * 2, *("read",) * 4, "cut", "join", "lose", "swap", "stale", "set back", "alone")


@st.composite
def far_runs(draw: st.DrawFn) -> Run:
    """A topic without ids over two or three lines, of which one may be hundreds of frames behind another."""
    category = draw(st.sampled_from([Category.LINEAR, Category.SPOT]))
    symbol = SYMBOLS[category]
    topic = f"{draw(st.sampled_from(['orderbook.1', 'tickers']))}.{symbol}"
    lines = LINES[: draw(st.sampled_from([2, 2, 3]))]
    ways: dict[int, list[bytes]] = {line: [] for line in lines}
    steps: list[Step] = []
    up: set[int] = set()
    push_ms = count = 1_700_000_000_000

    def message(kind: str) -> bytes:
        levels = {
            "s": symbol,
            "b": [[str(1 + count % 50), "1"]],
            "a": [["99", "1"]],
            "u": count,
            "seq": count,
        }
        ticker = {"symbol": symbol, "lastPrice": str(count % 1_000)}
        data = ticker if topic.startswith("tickers") else levels
        return write({"topic": topic, "type": kind, "ts": push_ms, "cs": count, "data": data, "cts": push_ms})

    def say(times: int) -> None:
        nonlocal push_ms, count
        for _ in range(times):
            count, push_ms = count + 1, push_ms + count % 2
            delta = topic.startswith("tickers") and category is Category.LINEAR
            frame = message("delta" if delta else "snapshot")
            for line in up:
                ways[line].append(frame)

    def read(line: int, times: int) -> None:
        steps.extend(Step("frame", frame=frame, line=line) for frame in ways[line][:times])
        del ways[line][:times]

    def join(line: int) -> None:
        steps.append(Step("subscribed", topic=topic, line=line))
        up.add(line)
        ways[line].append(message("snapshot"))

    for line in lines:
        join(line)
    for _ in range(draw(st.sampled_from([12, 12, 12, 3]))):
        say(1)
        for line in draw(st.permutations(lines)):
            read(line, 9)
    for _ in range(draw(st.integers(1, 20))):
        action, line = draw(st.sampled_from(FAR)), draw(st.sampled_from(lines))
        way = ways[line]
        if action == "say":
            say(draw(st.sampled_from([1, 20, 127, 130, 200])))
        elif action == "read":
            read(line, draw(st.sampled_from([1, 20, 127, 128, 129, 1_000])))
        elif action == "cut" and line in up:
            up.remove(line)
            way.clear()
            steps.append(Step("disconnect", line=line))
        elif action == "join" and line not in up:
            join(line)
        elif action == "stale":
            steps.append(Step("stale", topic=topic))
        elif action == "set back":
            push_ms -= draw(st.sampled_from([1, 40, 1_000]))
        elif action == "alone" and line in up:  # it says what the others don't
            count += 1
            way.append(message("snapshot"))
        elif action in ("lose", "swap") and way:
            at = draw(st.integers(0, len(way) - 1))
            if action == "lose":
                del way[at : at + draw(st.sampled_from([1, 3, 140]))]
            else:
                way[at], way[-1] = way[-1], way[at]
    for line in lines:
        read(line, 10_000)
    return Run(category, symbol, [topic], steps)


@st.composite
def lined_runs(draw: st.DrawFn, *, length: int = 50, category: Category | None = None) -> Run:
    """A run of at most ``length`` events over two or three lines."""
    chosen = draw(st.sampled_from([Category.LINEAR, Category.SPOT])) if category is None else category
    exchange = Exchange(chosen, SYMBOLS[chosen])
    topics = draw(st.lists(st.sampled_from(exchange.topics()), min_size=1, max_size=2, unique=True))
    venue = _Venue(
        draw,
        exchange,
        LINES[: draw(st.sampled_from([2, 2, 3]))],
        alike=draw(st.integers(0, 3)) > 0,
        calm=draw(st.booleans()),
    )
    for line in venue.lines:
        _join(venue, topics, line)
    actions = draw(st.sampled_from([CALM, ROUGH, HOSTILE]))
    for _ in range(draw(st.integers(1, length))):
        _happen(venue, draw(st.sampled_from(actions)), topics)
    for line in venue.lines:
        venue.deliver(line, 100)
    return Run(chosen, exchange.symbol, topics, venue.steps)


def _join(venue: _Venue, topics: list[str], line: int) -> None:
    for topic in topics:
        venue.step("subscribed", topic=topic, line=line)
        venue.up[line].add(topic)
        venue.state(topic, line)


def _happen(venue: _Venue, action: str, topics: list[str]) -> None:
    draw = venue.draw
    topic, line = draw(st.sampled_from(topics)), draw(st.sampled_from(venue.lines))
    way = venue.ways[line]
    if action == "say":
        for _ in range(draw(st.sampled_from([1, 1, 4, 12]))):
            venue.say(topic)
        if draw(st.booleans()):  # most of what is said arrives at once, on every line
            for other in draw(st.permutations(venue.lines)):
                venue.deliver(other, 100)
    elif action == "deliver":
        venue.deliver(line, draw(st.integers(1, 6)))
    elif action == "wait":
        venue.late_ms += draw(st.sampled_from([1, 100, 600, 1_100, 2_500, 11_000]))
    elif action == "cut":
        venue.deliver(line, draw(st.sampled_from([100, 0, 1])))
        way.clear()
        venue.up[line].clear()
        venue.step("disconnect", line=line)
    elif action == "join":
        _join(venue, [topic], line)
    elif action == "leave":
        venue.up[line].discard(topic)
        venue.step("unsubscribed", topic=topic, line=line)
    elif action == "stale":
        venue.step("stale", topic=topic)
    elif action == "restart":
        venue.exchange.chains[topic] = 1
        for other in venue.lines:
            venue.state(topic, other)
    elif action == "snapshot":
        venue.state(topic, line)
    elif action == "lose all":
        for other in venue.lines:
            venue.ways[other].clear()
    elif way:
        _hurt(venue, action, way, line)


def _hurt(venue: _Venue, action: str, way: list[tuple[str, bytes]], line: int) -> None:
    at = venue.draw(st.integers(0, len(way) - 1))
    if action == "drop":
        del way[at]
    elif action == "again":
        way.insert(at, way[venue.draw(st.integers(0, len(way) - 1))])
    elif action == "swap":
        way[at], way[-1] = way[-1], way[at]
    else:
        topic, frame = way[at]
        way[at] = topic, venue.draw(damaged(frame))
