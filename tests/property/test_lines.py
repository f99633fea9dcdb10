"""Two lines and more: what one of them brings is not lost, and nothing comes twice."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.names import Category, Table
from tests.lined import lined_runs
from tests.strategies import Run, write

core = pytest.importorskip("engine.core.feeds", reason="the extensions are not built (make build)")
events = pytest.importorskip("engine.events")

SYMBOL = "BTCUSDT"
BOOK, LEVEL_1 = f"orderbook.50.{SYMBOL}", f"orderbook.1.{SYMBOL}"
TRADES, TICKER = f"publicTrade.{SYMBOL}", f"tickers.{SYMBOL}"
TOPICS = (BOOK, LEVEL_1, TRADES, TICKER)
MILLISECOND_NS = 10**6
MOVES = ("say", "say", "read", "read", "read", "wait", "join", "join", "end", "resync")


class Venue:
    """One exchange, its lines, and an engine that reads them; every message differs from every other."""

    def __init__(self, lines: int, category: Category = Category.LINEAR) -> None:
        self.category = category
        self.engine = core.Engine(category, columns=True)
        for topic in TOPICS:
            self.engine.add_feed(topic)
        self.ways: dict[int, list[bytes]] = {line: [] for line in range(lines)}
        self.up: set[int] = set()
        self.now_ms = 1_700_000_000_000
        self.count = 100
        self.said: dict[str, list[bytes]] = {topic: [] for topic in TOPICS}
        self.brought: dict[int, bytes] = {}
        self.stamps: dict[int, int] = {}
        self.told: list[Any] = []

    @property
    def now_ns(self) -> int:
        return self.now_ms * MILLISECOND_NS + len(self.brought)

    def message(self, topic: str, kind: str = "delta") -> bytes:
        count, now = self.count, self.now_ms
        place = count % 50  # a book that grows without end would be resynced
        levels = {"b": [[str(100 + place), "1"]], "a": [[str(9_000 + place), "1"]]}
        body: dict[str, Any] = {"topic": topic, "type": kind, "ts": now}
        if topic == TRADES:
            side = {"S": "Buy", "v": "1", "p": "7", "i": f"id-{count}", "BT": False, "seq": count}
            return write(body | {"type": "snapshot", "data": [{"T": now, "s": SYMBOL} | side]})
        if topic == TICKER:
            if self.category is Category.SPOT:
                body |= {"type": "snapshot", "said": kind}
            return write(body | {"data": {"symbol": SYMBOL, "lastPrice": str(count)}, "cs": count})
        if topic == LEVEL_1:
            # what answers a subscription is not what is said to all
            body |= {"type": "snapshot", "said": kind}
        return write(body | {"data": {"s": SYMBOL, "u": count, "seq": count} | levels, "cts": now})

    def join(self, line: int) -> None:
        """Subscribe; what answers is the state as it is, in a frame of this line's own."""
        self.up.add(line)
        for topic in TOPICS:
            self.engine.subscribed(topic, self.now_ns, len(self.brought), line)
            if topic != TRADES:
                self.ways[line].append(self.message(topic, "snapshot"))

    def say(self) -> None:
        self.count += 1
        self.now_ms += 1
        for topic in TOPICS:
            frame = self.message(topic)
            self.said[topic].append(frame)
            for line in self.up:
                self.ways[line].append(frame)

    def deliver(self, line: int, count: int = 1_000_000) -> None:
        for frame in self.ways[line][:count]:
            sequence = len(self.brought)
            self.stamps[sequence] = self.now_ns
            self.engine.apply(frame, self.stamps[sequence], sequence, line)
            self.brought[sequence] = frame
        del self.ways[line][:count]

    def deliver_all(self) -> None:
        for line in self.ways:
            self.deliver(line)

    def leave(self, line: int) -> None:
        """Unsubscribe: what was on its way comes, and the answer behind it."""
        self.up.discard(line)
        self.deliver(line)
        for topic in TOPICS:
            self.engine.unsubscribed(topic, self.now_ns, len(self.brought), line)

    def resync(self, line: int) -> None:
        """What is stale is subscribed anew."""
        self.deliver(line)
        for topic in TOPICS:
            if self.engine.state(self.engine.feed_index(topic)).value == "stale":
                self.engine.subscribed(topic, self.now_ns, len(self.brought), line)
                self.ways[line].append(self.message(topic, "snapshot"))

    def settle(self) -> None:
        """Long enough, and with so much said, that every line has shown that it carries the same as the others."""
        self.deliver_all()
        self.now_ms += 600
        for _ in range(3):
            self.say()
            self.deliver_all()

    def cut(self, line: int) -> None:
        self.up.discard(line)
        self.ways[line].clear()
        self.engine.disconnect(line, self.now_ns, len(self.brought))

    def bring_back(self) -> None:
        """The one line that was cut is subscribed anew."""
        (back,) = self.ways.keys() - self.up
        self.join(back)
        self.settle()

    def rows(self) -> tuple[dict[str, Counter[bytes]], dict[str, int]]:
        """Frames of which rows were made, by topic, and how many rows are not applied."""
        made: dict[str, Counter[bytes]] = {topic: Counter() for topic in TOPICS}
        unapplied = dict.fromkeys(TOPICS, 0)
        for table in self.engine.take_rows("c").values():
            for row in _plain(table):
                if row.get("kind") == "keyframe":
                    continue
                frame = self.brought[row["sequence"]]
                topic = json.loads(frame)["topic"]
                made[topic][frame] += 1
                unapplied[topic] += not row.get("applied", True)
        return made, unapplied

    def applied(self) -> dict[str, list[tuple[int, int]]]:
        """By topic, each row that was applied: its place in what was said, and when; a line's own snapshots aside."""
        places = {frame: place for topic in TOPICS for place, frame in enumerate(self.said[topic])}
        found: dict[str, list[tuple[int, int]]] = {topic: [] for topic in TOPICS}
        for table in self.engine.take_rows("c").values():
            for row in _plain(table):
                frame = self.brought[row["sequence"]]
                if row.get("kind") != "keyframe" and row.get("applied", True) and frame in places:
                    found[json.loads(frame)["topic"]].append((places[frame], self.stamps[row["sequence"]]))
        return found

    def events(self) -> list[Any]:
        """All that the engine has told."""
        self.told += self.engine.take_events()
        return self.told

    def gaps(self) -> Counter[str]:
        """Gaps that were opened, by topic."""
        return Counter(
            event.topic for event in self.engine.take_events() if event.kind is events.EventKind.GAP_OPENED
        )


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    names = ("sequence", "kind", "applied", "depth", "update_id")
    return list(table.select([name for name in names if name in table.column_names]).to_pylist())


def _begin(draw: st.DrawFn, lines: int, category: Category = Category.LINEAR) -> Venue:
    venue = Venue(lines, category)
    for line in draw(st.permutations(range(lines))):
        venue.join(line)
    venue.settle()
    for _ in range(12):
        venue.say()
        venue.deliver_all()
    return venue


def _assert_all_rows(venue: Venue) -> None:
    made, unapplied = venue.rows()
    for topic, said in venue.said.items():
        # the snapshots that answered the first subscription are rows too, those of later ones may be
        found = {frame: count for frame, count in made[topic].items() if frame in set(said)}
        assert found == dict.fromkeys(said, 1), topic
    assert not any(unapplied.values()), unapplied


@settings(deadline=None)
@given(data=st.data())
def test_a_line_lost_costs_nothing(data: st.DataObject) -> None:
    """Lines are late in any order, and one after another is cut: no gap, no row lost, none doubled."""
    lines = data.draw(st.sampled_from([2, 3]))
    venue = _begin(data.draw, lines)
    venue.gaps()
    for _ in range(data.draw(st.integers(1, 30))):
        action = data.draw(st.sampled_from(["say", "say", "deliver", "deliver", "cut", "wait"]))
        line = data.draw(st.integers(0, lines - 1))
        if action == "say":
            venue.say()
        elif action == "deliver":
            venue.deliver(line, data.draw(st.integers(1, 9)))
        elif action == "wait":
            venue.now_ms += data.draw(st.sampled_from([1, 50, 400]))
        elif len(venue.up) == lines:
            venue.deliver(line, data.draw(st.integers(0, 9)))
            venue.cut(line)
        else:
            venue.bring_back()
    venue.deliver_all()
    assert not venue.gaps()
    _assert_all_rows(venue)
    for topic in TOPICS:
        assert venue.engine.state(venue.engine.feed_index(topic)).value == "live"


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_lines_may_be_far_apart(data: st.DataObject) -> None:
    """One is read long before another, by more than is remembered, and cut: no gap, no row lost, none doubled."""
    lines = data.draw(st.sampled_from([2, 3]))
    venue = _begin(data.draw, lines, data.draw(st.sampled_from([Category.LINEAR, Category.SPOT])))
    venue.gaps()
    for _ in range(data.draw(st.integers(1, 8))):
        for _ in range(data.draw(st.sampled_from([1, 50, 127, 128, 129, 400]))):
            venue.say()
        for _ in range(data.draw(st.integers(1, 4))):
            line = data.draw(st.integers(0, lines - 1))
            venue.deliver(line, data.draw(st.sampled_from([1, 5, 400, 508, 512, 516, 1_000, 4_000])))
        if max(map(len, venue.ways.values())) > 2_000:  # trades are known again among the last 1,024
            venue.deliver_all()
        if len(venue.up) == lines and data.draw(st.integers(0, 2)) == 0:
            ahead = min(venue.up, key=lambda line: len(venue.ways[line]))
            venue.cut(ahead)
        elif len(venue.up) < lines:
            venue.deliver_all()
            venue.bring_back()
    venue.deliver_all()
    assert not venue.gaps()
    _assert_all_rows(venue)


@settings(deadline=None)
@given(data=st.data())
def test_what_one_line_brings_is_not_lost(data: st.DataObject) -> None:
    """Each line loses what it will, never all the same: with ids no gap, without them what is lost is in one."""
    lines = data.draw(st.sampled_from([2, 3]))
    venue = _begin(data.draw, lines)
    venue.gaps()
    for _ in range(data.draw(st.integers(1, 20))):
        venue.say()
        if data.draw(st.integers(0, 3)) == 0:
            line = data.draw(st.integers(0, lines - 1))
            way = venue.ways[line]
            at = data.draw(st.integers(0, len(way) - 1))
            if all(way[at] in others for other, others in venue.ways.items() if other != line):
                del way[at]
        for line in data.draw(st.permutations(range(lines))):
            venue.deliver(line, data.draw(st.sampled_from([1_000, 1_000, 3])))
    venue.settle()
    gaps = venue.gaps()
    assert not gaps[BOOK]
    assert not gaps[TRADES]
    made, unapplied = venue.rows()
    for topic in (BOOK, TRADES):
        assert [made[topic][frame] for frame in venue.said[topic]] == [1] * len(venue.said[topic])
    for topic in (LEVEL_1, TICKER):
        missing = [frame for frame in venue.said[topic] if not made[topic][frame]]
        assert not missing or gaps[topic], (topic, missing)
        assert not unapplied[topic] or gaps[topic]


def _move(draw: st.DrawFn, venue: Venue, lines: int) -> None:
    """Something that befalls lines while topics move between them, and two frames may have the same push time."""
    action = draw(st.sampled_from(MOVES))
    line = draw(st.integers(0, lines - 1))
    if action == "say":
        for _ in range(draw(st.integers(1, 3))):
            venue.say()
            venue.now_ms -= draw(st.integers(0, 1))
    elif action == "read":
        venue.deliver(line, draw(st.sampled_from([1, 4, 8, 1_000, 1_000])))
    elif action == "wait":  # longer than any line lags behind another
        venue.deliver_all()
        venue.now_ms += draw(st.sampled_from([100, 600]))
    elif action == "join" and line not in venue.up:
        venue.join(line)
    elif action == "end" and line in venue.up:
        if len(venue.up) > 1 and draw(st.booleans()):
            venue.leave(line)
        else:
            venue.deliver(line, draw(st.integers(0, 9)))
            venue.cut(line)
    elif action == "resync" and line in venue.up:
        venue.resync(line)


@settings(deadline=None)
@given(data=st.data())
def test_rows_are_in_the_order_of_what_was_said(data: st.DataObject) -> None:
    """Lines join, leave and are cut while others lag by whole reads: outside gaps the rows are what was said."""
    lines = data.draw(st.sampled_from([2, 3, 4]))
    venue = Venue(lines)
    for line in data.draw(st.sampled_from([[0, 1], [1, 0], [0]])):
        venue.join(line)
    venue.settle()
    for _ in range(data.draw(st.sampled_from([0, 6, 12]))):
        venue.say()
        venue.deliver_all()
    for _ in range(data.draw(st.integers(1, 60))):
        _move(data.draw, venue, lines)
    venue.deliver_all()
    spans = _spans(venue)
    for topic, rows in venue.applied().items():
        if topic == TRADES:  # each once; in which order lines bring them is no matter
            assert len({place for place, _ in rows}) == len(rows)
            continue
        for (place, at_ns), (following, then_ns) in pairwise(rows):
            in_gap = any(start <= then_ns and at_ns <= end for start, end in spans[topic])
            assert following == place + 1 or in_gap, f"{topic}: {place} is followed by {following}"


def _spans(venue: Venue) -> dict[str, list[tuple[int, int]]]:
    """Gaps from beginning to end, by topic."""
    spans: dict[str, list[tuple[int, int]]] = {topic: [] for topic in TOPICS}
    for event in venue.events():
        if event.kind is events.EventKind.GAP_OPENED:
            spans[event.topic].append((event.start_ns, 2**63))
        elif event.kind is events.EventKind.GAP_CLOSED:
            spans[event.topic].remove((event.start_ns, 2**63))
            spans[event.topic].append((event.start_ns, event.receive_ns))
    return spans


@settings(deadline=None)
@given(run=lined_runs())
def test_no_delta_and_no_trade_comes_twice(run: Run) -> None:
    """Whatever the lines do: a chain has each applied id once, and a trade one row."""
    engine = core.Engine(run.category, columns=True)
    for topic in run.topics:
        engine.add_feed(topic)
    for sequence, step in enumerate(run.steps):
        now = (1_700_000_000_000 + step.late_ms) * MILLISECOND_NS + sequence
        if step.action == "frame":
            engine.apply(step.frame, now, sequence, step.line)
        elif step.action == "subscribed":
            engine.subscribed(step.topic, now, sequence, step.line)
        elif step.action == "unsubscribed":
            engine.unsubscribed(step.topic, now, sequence, step.line)
        elif step.action == "disconnect":
            engine.disconnect(step.line, now, sequence)
        elif step.action == "stale":
            engine.stale(step.topic, "silence", now, sequence)
    last: dict[int, int] = {}
    for (table, _, _), rows in engine.take_rows("c").items():
        if table is Table.TRADES:
            ids = rows.column("trade_id").to_pylist()
            assert len(ids) == len(set(ids))
        elif table is Table.BOOK_UPDATES:
            for row in sorted(_plain(rows), key=lambda row: row["sequence"]):
                if row["applied"] and row["depth"] > 1 and row["kind"] != "keyframe":
                    assert row["kind"] == "snapshot" or row["update_id"] == last[row["depth"]] + 1
                    last[row["depth"]] = row["update_id"]


WITHOUT_IDS = (LEVEL_1, TICKER)


def _assert_lost_only_in_gaps(venue: Venue, first: dict[str, int]) -> None:
    """From a place of what was said on, by topic: each is an applied row, or between two that a gap touches."""
    spans, applied = _spans(venue), venue.applied()
    for topic in WITHOUT_IDS:
        rows = [(place, at_ns) for place, at_ns in applied[topic] if place >= first[topic]]
        assert rows, topic
        assert rows[-1][0] == len(venue.said[topic]) - 1, topic
        for (place, at_ns), (following, then_ns) in pairwise(rows):
            in_gap = any(start <= then_ns and at_ns <= end for start, end in spans[topic])
            assert following == place + 1 or in_gap, f"{topic}: {place} is followed by {following}"


@settings(deadline=None)
@given(data=st.data())
def test_what_one_line_loses_shows_from_the_first_common_frame_on(data: st.DataObject) -> None:
    """One line, whichever, loses what it will, and is cut: what the others brought is a row, or in a gap.

    Also where another gap is open when it shows, which began behind it.
    """
    category = data.draw(st.sampled_from([Category.LINEAR, Category.SPOT]))
    lines = data.draw(st.sampled_from([2, 2, 3]))
    venue = Venue(lines, category)
    for line in data.draw(st.permutations(range(lines))):
        venue.join(line)
    venue.deliver_all()
    venue.say()  # what all of them have
    venue.deliver_all()
    venue.now_ms += 600
    first = {topic: len(venue.said[topic]) - 1 for topic in TOPICS}
    loser = data.draw(st.integers(0, lines - 1))
    lost = set()
    for _ in range(data.draw(st.integers(1, 25))):
        venue.say()
        way = venue.ways[loser]
        if way and data.draw(st.integers(0, 2)) == 0:
            frame = way.pop(data.draw(st.integers(0, len(way) - 1)))
            lost.add(json.loads(frame)["topic"])
        for line in data.draw(st.permutations(range(lines))):
            venue.deliver(line, data.draw(st.sampled_from([1_000, 1_000, 4, 3, 1, 0])))
        match data.draw(st.integers(0, 9)):
            case 0:
                venue.deliver_all()
                venue.resync(data.draw(st.sampled_from(sorted(venue.up))))
                venue.deliver_all()
            case 1 if loser in venue.up:
                lost |= {json.loads(frame)["topic"] for frame in venue.ways[loser]}
                venue.cut(loser)
            case 2 if loser not in venue.up:
                venue.join(loser)
            case 3 | 4:
                topic = data.draw(st.sampled_from(WITHOUT_IDS))
                venue.engine.stale(topic, "silence", venue.now_ns, len(venue.brought))
    venue.settle()
    venue.resync(data.draw(st.sampled_from(sorted(venue.up))))
    venue.settle()
    opened = [event for event in venue.events() if event.kind is events.EventKind.GAP_OPENED]
    assert {event.topic for event in opened if event.detail != "silence"} <= lost - {BOOK, TRADES}
    _assert_lost_only_in_gaps(venue, first)


@settings(deadline=None)
@given(data=st.data())
def test_where_nothing_is_lost_there_is_no_gap(data: st.DataObject) -> None:
    """Lines join one after another, lag, leave, and say things twice, from the first frame on."""
    category = data.draw(st.sampled_from([Category.LINEAR, Category.SPOT]))
    lines = data.draw(st.sampled_from([2, 3]))
    venue = Venue(lines, category)
    venue.join(0)
    for _ in range(data.draw(st.integers(1, 40))):
        action = data.draw(
            st.sampled_from(["say", "say", "say", "deliver", "deliver", "again", "join", "leave", "wait"])
        )
        line = data.draw(st.integers(0, lines - 1))
        if action == "say":
            venue.say()
        elif action == "deliver":
            venue.deliver(line, data.draw(st.integers(1, 9)))
        elif action == "again" and venue.ways[line]:
            at = data.draw(st.integers(0, len(venue.ways[line]) - 1))
            frame = venue.ways[line][at]
            if frame in venue.said[json.loads(frame)["topic"]]:
                venue.ways[line].insert(at, frame)
        elif action == "join" and line not in venue.up:
            venue.join(line)
        elif action == "leave" and line in venue.up and len(venue.up) > 1:
            venue.deliver_all()
            venue.now_ms += 600
            venue.leave(line)
        elif action == "wait":  # longer than any line lags behind another
            venue.deliver_all()
            venue.now_ms += data.draw(st.sampled_from([100, 600]))
    venue.deliver_all()
    assert not venue.gaps()
