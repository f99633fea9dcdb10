"""All connections of a collector: which topics each carries, and which connection carries a topic.

A *copy* is one whole set of connections that carries every topic once; with two copies every topic has two lines.
Slots number the connections in the journal; a slot that was given up may serve another connection later.
"""

from __future__ import annotations

import asyncio
import ssl as tls
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random

from engine.bybit.backoff import Backoff
from engine.bybit.limits import CONNECTIONS_PER_ADDRESS, has_room
from engine.bybit.rates import Rates
from engine.bybit.spread import spread
from engine.bybit.weights import expected_frames_per_second
from engine.freshness import Resyncs
from engine.timing import Timing
from recorder.capture import Capture
from recorder.line import Line
from recorder.network import Spending
from recorder.transport import Connection
from recorder.warnings import Warnings
from schemas.errors import ConfigError, ConnectError, TapebookError
from schemas.names import Category

__all__ = ["LineSet"]

Ended = Callable[[asyncio.Task[None]], None]


class LineSet:
    """Owns every line, and the way from a topic to its lines.

    Args:
        url: of the stream.
        category: of the stream.
        capture: where everything goes.
        resyncs: told of topics that stay silent.
        budget: of new connections, shared by all lines.
        ssl: TLS context for wss, or None for the default one.
        fail: called with what ends the recording as a whole.
        ended: called with the task of a line that ended by itself.
        copies: connections that carry each topic.
        most: frames per second that one connection should carry.
        elsewhere: topics that have a stream of their own, and its URL.
        timing: how patient every line is.
        kind: the client that reads.
        warnings: where trouble is told that the exchange could make without end.
    """

    def __init__(
        self,
        url: str,
        category: Category,
        capture: Capture,
        resyncs: Resyncs,
        *,
        budget: Spending,
        ssl: tls.SSLContext | None,
        fail: Callable[[TapebookError], None],
        ended: Ended = lambda _: None,
        copies: int = 1,
        most: float = 4_000.0,
        elsewhere: Mapping[str, str] | None = None,
        timing: Timing | None = None,
        kind: type[Connection] = Connection,
        warnings: Warnings | None = None,
    ) -> None:
        self._url = url
        self._category = category
        self._capture = capture
        self._resyncs = resyncs
        self._budget = budget
        self._ssl = ssl
        self._fail = fail
        self._ended = ended
        self._copies = copies
        self._most = most
        self._observed_ns = 0
        self.turnovers: dict[str, float] = {}
        self._elsewhere = dict(elsewhere or {})
        self._timing = timing or Timing()
        self._kind = kind
        self._warnings = warnings
        self.rates = Rates(self._timing.rate_memory_ns)
        self._lines: dict[int, Line] = {}
        self._lines_of: dict[str, list[Line]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._resynced: dict[str, int] = {}
        self._paused = False

    def __repr__(self) -> str:
        connected = sum(line.connected for line in self)
        return f"<LineSet lines={len(self)} connected={connected} topics={len(self._lines_of)}>"

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Line]:
        return iter([self._lines[slot] for slot in sorted(self._lines)])

    # ---- topics ----

    @property
    def topics(self) -> list[str]:
        """Every topic that is asked for, in the order in which it was added."""
        return list(self._lines_of)

    def lines_of(self, topic: str) -> list[Line]:
        """The lines that carry a topic; none for one that isn't ours."""
        return list(self._lines_of.get(topic, ()))

    def add_topics(self, topics: Iterable[str]) -> None:
        """Carry these topics too, on lines with room, else on new ones; those carried already are left alone.

        Raises:
            ConfigError: they need more connections than one address may hold; nothing was added.
        """
        fresh = [topic for topic in dict.fromkeys(topics) if topic not in self._lines_of]
        if not fresh:
            return
        plans = [self._plan(copy, fresh) for copy in range(self._copies)]
        needed = len(self) + sum(len(groups) for _, groups in plans)
        if needed > CONNECTIONS_PER_ADDRESS:
            raise ConfigError(
                f"{len(fresh)} more {self._category} topics need {needed} connections, at most "
                f"{CONNECTIONS_PER_ADDRESS} per address are allowed: record fewer topics or use several addresses"
            )
        self._capture.add_feeds(fresh)
        for copy, (on_lines, groups) in enumerate(plans):
            for slot, group in on_lines.items():
                self.give(self._lines[slot], group)
            for group in groups:
                self.give(self.open(copy, self._url_of(group[0])), group)

    def remove_topics(self, topics: Iterable[str]) -> None:
        """Carry these topics no longer; a line that is left with none is closed."""
        gone = [topic for topic in dict.fromkeys(topics) if topic in self._lines_of]
        by_line: dict[int, list[str]] = {}
        for topic in gone:
            for line in self._lines_of.pop(topic):
                by_line.setdefault(line.slot, []).append(topic)
            self._resyncs.forget(topic)
            self._resynced.pop(topic, None)
        self._capture.end_feeds(gone)
        for slot, on_line in by_line.items():
            self._lighten(self._lines[slot], on_line)

    def weight(self, topic: str) -> float:
        """Frames per second of a topic: as measured, else as expected."""
        known = self.rates.of(topic)
        if known is not None:
            return known
        symbol = topic.rpartition(".")[2]
        return expected_frames_per_second(self._category, topic, self.turnovers.get(symbol))

    def _plan(self, copy: int, topics: list[str]) -> tuple[dict[int, list[str]], list[list[str]]]:
        """Which topics go on which line of this copy, and the groups that need new lines."""
        on_lines: dict[int, list[str]] = {}
        left: list[str] = []
        lines = [
            (line, sum(map(self.weight, line.topics))) for line in self if line.copy == copy and line.topics
        ]
        for topic in topics:
            weight = self.weight(topic)
            for at, (line, rate) in enumerate(lines):
                given = on_lines.get(line.slot, [])
                is_theirs = line.url == self._url_of(topic) and rate + weight <= self._most
                if is_theirs and has_room(self._category, [*line.topics, *given], topic):
                    on_lines.setdefault(line.slot, []).append(topic)
                    lines[at] = line, rate + weight
                    break
            else:
                left.append(topic)
        by_url: dict[str, list[str]] = {}
        for topic in left:
            by_url.setdefault(self._url_of(topic), []).append(topic)
        return on_lines, [
            group
            for topics in by_url.values()
            for group in spread(self._category, topics, self.weight, self._most)
        ]

    def _url_of(self, topic: str) -> str:
        return self._elsewhere.get(topic, self._url)

    # ---- lines ----

    def line(self, slot: int) -> Line:
        """The line in a slot."""
        return self._lines[slot]

    def is_to_category(self, line: Line) -> bool:
        """Whether a line goes to the category's stream, so that its topics may change places with others."""
        return line.url == self._url

    def give(self, line: Line, topics: list[str]) -> None:
        """Let a line carry these topics, beside those that carry them already."""
        for topic in topics:
            self._lines_of.setdefault(topic, []).append(line)
        line.add(topics, time.monotonic_ns())
        if line.slot not in self._tasks:
            task = self._tasks[line.slot] = asyncio.create_task(line.run(), name=f"line {line.slot}")
            task.add_done_callback(self._ended)

    def take(self, line: Line, topics: list[str]) -> None:
        """Let a line carry these topics no longer, others do; one that is left with none is closed."""
        for topic in topics:
            self._lines_of[topic].remove(line)
        self._lighten(line, topics)

    def _lighten(self, line: Line, topics: list[str]) -> None:
        line.remove(topics, time.monotonic_ns())
        if not line.topics:
            self._retire(line)

    def open(self, copy: int, url: str = "") -> Line:
        """Make a line, to the category's stream unless another is given; it connects once it is given topics."""
        slot = next(slot for slot in range(len(self._lines) + 1) if slot not in self._lines)
        line = Line(
            slot,
            url or self._url,
            self._category,
            [],
            self._capture,
            self._resyncs,
            copy=copy,
            budget=self._budget,
            backoff=_backoff(self._timing),
            ssl=self._ssl,
            fail=self._fail,
            is_reached=self._is_reached,
            is_covered=self._is_covered,
            timing=self._timing,
            kind=self._kind,
            warnings=self._warnings,
        )
        line.pause(self._paused)
        self._lines[slot] = line
        return line

    def _is_reached(self) -> bool:
        return any(line.connects for line in self)

    def _is_covered(self, topic: str, slot: int) -> bool:
        """Whether a line other than that one carries the topic too, and is up."""
        return any(
            line.connected and line.slot != slot and topic not in line.refused
            for line in self._lines_of.get(topic, ())
        )

    def _close_barren(self) -> None:
        """Close lines that were left with nothing but refused topics, by a move, say; others answer for those."""
        for line in self:
            if not line.is_barren or any(self._is_moving(topic, line) for topic in line.topics):
                continue
            alike = [other for other in self if (other.copy, other.url) == (line.copy, line.url)]
            heir = next((other for other in alike if other.topics and not other.is_barren), None)
            if heir is not None:
                for topic in heir.take_over_refused(line):
                    carriers = self._lines_of[topic]
                    carriers[carriers.index(line)] = heir
                self._retire(line)

    def _is_moving(self, topic: str, line: Line) -> bool:
        """Whether two lines of one copy carry a topic; then the move settles what becomes of it."""
        return any(other is not line and other.copy == line.copy for other in self._lines_of[topic])

    def _retire(self, line: Line) -> None:
        """Close a line that carries nothing any more; its slot is free once it is closed."""
        task = asyncio.create_task(self._close(line), name=f"close line {line.slot}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        task.add_done_callback(self._ended)

    async def _close(self, line: Line) -> None:
        await line.retire()
        task = self._tasks.pop(line.slot)
        task.cancel()  # it may be waiting for its next attempt
        await asyncio.gather(task, return_exceptions=True)
        del self._lines[line.slot]

    # ---- all lines at once ----

    def tick(self, now_ns: int) -> None:
        """Let every session look at the time (monotonic)."""
        for line in self:
            line.tick(now_ns)
        if now_ns - self._observed_ns >= self._timing.look_ns:
            self._observed_ns = now_ns
            self._close_barren()
            engine = self._capture.engine
            # What every copy brings is counted for each.
            self.rates.observe(
                (
                    (topic, engine.messages(engine.feed_index(topic)) // self._copies)
                    for topic in self._lines_of
                ),
                now_ns,
            )

    def resync(self, topic: str, now_ns: int) -> None:
        """Subscribe one topic anew, on the line that leads it; if that was tried last, on another one that has it.

        A line that was refused it, or has not got its answer yet, can't: it uses up no attempt.
        """
        engine = self._capture.engine
        leading = engine.leading_line(engine.feed_index(topic))
        able = [line for line in self._lines_of.get(topic, ()) if line.is_subscribed(topic)]
        able.sort(key=lambda line: (line.slot == self._resynced.get(topic), line.slot != leading))
        if able:
            self._resynced[topic] = able[0].slot
            able[0].resync(topic, now_ns)

    def pause(self, paused: bool) -> None:
        """Leave bytes in the sockets while the disk is behind."""
        self._paused = paused
        for line in self:
            line.pause(paused)

    async def stop(self) -> list[int]:
        """Close every connection for good; returns the slots that were connected until now."""
        connected = [line.slot for line in self if line.connected]
        tasks = [*self._tasks.values(), *self._closing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(line.stop() for line in self))
        return connected

    # ---- what they have to say ----

    @property
    def refused(self) -> dict[str, str]:
        """Topics that the exchange refused on every line that is to carry them, and its words."""
        return {
            topic: words
            for line in self
            for topic, words in line.refused.items()
            if all(topic in other.refused for other in self._lines_of.get(topic, ()))
        }

    @property
    def all_refused(self) -> bool:
        """Whether there is nothing left to record."""
        refused = self.refused
        return bool(refused) and all(topic in refused for topic in self._lines_of)

    @property
    def listening(self) -> bool:
        """Whether every line is up and has its subscriptions."""
        return all(line.connected and line.acknowledged for line in self)

    @property
    def answered(self) -> bool:
        """Whether the exchange has acknowledged anything."""
        return any(line.answered for line in self)

    @property
    def data_ns(self) -> int:
        """When the last data frame came that answered no subscription (monotonic), 0 for never."""
        return max((line.data_ns for line in self), default=0)

    def heard_ns(self, topic: str) -> int:
        """When the last frame, of whatever kind, came on a connection that delivers the topic (monotonic), 0 for never.

        A connection keeps the order: what the exchange had sent of the topic before that frame had come by then.
        """
        newest_ns = 0
        for line in self._lines_of.get(topic, ()):
            if line.heard_ns > newest_ns and line.delivers(topic):
                newest_ns = line.heard_ns
        return newest_ns

    def all_heard_ns(self) -> int:
        """Since when every connection to the stream that is up has brought something (monotonic); 0 where none is."""
        return min((line.heard_ns for line in self if line.connected and line.url == self._url), default=0)

    def why_unanswered(self) -> ConnectError:
        """What to tell when the exchange has not acknowledged anything at all."""
        errors = [line.last_error for line in self if line.last_error is not None]
        if errors:
            return errors[-1]
        reasons = [line.last_reason for line in self if line.last_reason]
        why = f" (the last connection: {reasons[-1]})" if reasons else ""
        return ConnectError(
            f"{self._url} acknowledged no subscription and sent no frame{why}; "
            "is it the right endpoint, and is the exchange up?"
        )


def _backoff(timing: Timing) -> Backoff:
    return Backoff(
        Random(),
        base_ns=timing.backoff_base_ns,
        cap_ns=timing.backoff_cap_ns,
        stay_away_ns={403: timing.banned_ns, 429: timing.too_many_ns},
    )
