"""A collector's journal, sent to a broker: in order, complete, from where it was left (``docs/nats.md``)."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from recorder.journal import Break, JournalFollower, newest_segment, segments
from recorder.sink.broker import Away, Broker, Refused, StreamLimits
from recorder.sink.messages import Message, MessageMaker, Place
from recorder.sink.state import SinkState, load_state, save_state
from recorder.sink.subjects import stream_name, stream_subjects
from schemas.errors import ConfigError
from schemas.time import format_ns

__all__ = ["POLL_S", "CollectorSink", "SinkOptions", "describe"]

POLL_S: Final = 0.005
"""How often it is looked for the next group commit; the collector writes one each 10 ms."""
BATCH_MESSAGES: Final = 2_000
BATCH_BYTES: Final = 4 << 20
SAVE_S: Final = 0.2
REPORT_S: Final = 60.0
WEIGH_S: Final = 2.0
"""Between two looks at how much of the journal is left: it takes a listing."""
LOOKS: Final = 3
"""A listing beside a rename can miss a name."""
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 10.0

log = logging.getLogger("tapebook")


@dataclass(frozen=True)
class SinkOptions:
    """What a sink does.

    Attributes:
        data: the data directory.
        name: of the sink, under which it keeps its state there.
        prefix: of every subject.
        start: where a journal is begun that was never sent: ``now``, with the segment that is being written, or
            ``oldest``.
        jetstream: whether each collector has a stream.
        limits: of streams that are made.
        tops_s: how often best levels are sent, where they changed; 0 for never.
        once: end when everything is sent.
    """

    data: Path
    name: str = "nats"
    prefix: str = "tapebook"
    start: Literal["now", "oldest"] = "now"
    jetstream: bool = False
    limits: StreamLimits = field(default_factory=StreamLimits)
    tops_s: float = 0.0
    once: bool = False


class CollectorSink:
    """Sends one collector's journal until it is told to stop.

    Args:
        options: see there.
        collector: its name.
        broker: makes a connection that is not connected yet.
        since_begin: the collector came after the sink: its journal is sent from its beginning.

    Raises:
        StoreError: the state of an earlier run can't be read.
    """

    def __init__(
        self,
        options: SinkOptions,
        collector: str,
        broker: Callable[[], Broker],
        *,
        since_begin: bool = False,
    ) -> None:
        self.collector = collector
        self._options = options
        self._make_broker = broker
        self._broker: Broker | None = None
        self._stop = asyncio.Event()
        stream = stream_name(options.prefix, collector) if options.jetstream else None
        known = load_state(options.data, options.name, collector)
        self.state = known or SinkState(collector=collector, prefix=options.prefix)
        self.state.prefix, self.state.stream = options.prefix, stream
        self.state.connected = False
        self._whole = known is not None or since_begin or options.start == "oldest"
        self._follower: JournalFollower | None = None
        self._maker = MessageMaker(collector)
        self._making: Iterator[Message | None] = iter(())
        self._unsent: deque[Message] = deque()
        self._published = 0  # of the unsent, those that may have arrived all the same
        self._before = 0
        self._batch = BATCH_MESSAGES
        self._max_bytes = 0
        self._saved_s = self._reported_s = self._tops_s = 0.0
        self._has_more = True
        self._weighed_s = 0.0
        self._waits = 0
        self._told_damage = ""

    def stop(self) -> None:
        """Let it end behind what is on its way."""
        self._stop.set()

    async def run(self) -> None:
        """Send until ``stop``, or with ``once`` until everything is sent; a server that is away is waited for.

        Raises:
            ConfigError: the server or the stream is not what is needed.
            StoreError: the journal can't be read, or the state can't be written.
        """
        if not self._whole:
            begin = await asyncio.to_thread(newest_segment, self._options.data, self.collector)
            self.state.place = None if begin is None else Place(*begin)
            await self._save()
        try:
            while True:
                self._broker = self._make_broker()
                try:
                    await self._broker.connect()
                    await self._begin()
                    await self._pump()
                    return
                except Away as error:
                    self._lose(str(error))
                except Refused as error:
                    # What the first message is refused for shows where it is alone.
                    self._batch = 1
                    self._lose(f"the stream refuses: {error}")
                finally:
                    await self._broker.close()
                    self.state.connected = False
                if await self._waited():
                    return
        finally:
            await self._save()
            if self._follower is not None:
                self._follower.close()

    # ---- connections ----

    async def _begin(self) -> None:
        """Find out where the server is, and read on from there."""
        assert self._broker is not None
        options, state = self._options, self.state
        place, known = state.place, self._follower is not None
        if state.stream is not None:
            subjects = stream_subjects(options.prefix, self.collector)
            self._before, stored = await self._broker.open_stream(state.stream, subjects, options.limits)
            if stored is not None and stored != place:
                await asyncio.to_thread(self._must_be_ours, stored)
                known = known and self._acknowledge_up_to(stored)
                if not known and place is not None and stored < place:
                    log.warning(
                        "%s: the stream ends at sequence %d, and %d was acknowledged: what it lost is sent again",
                        self.collector, stored.sequence, place.sequence,
                    )  # fmt: skip
                place = stored
        if not known or self._max_bytes != self._broker.max_bytes:
            self._read_from(place)
        state.connected = True
        state.connects += 1
        state.again += self._published
        self._published = 0

    def _must_be_ours(self, stored: Place) -> None:
        """Two recorders of one name, on two machines, would take turns in a stream, and each would skip what it lacks.

        Raises:
            ConfigError: the stream's last message is of a segment that this journal never had, as far as can be told.
        """
        known = self.state.place
        if known is not None and known.start_ns == stored.start_ns:
            return
        for _ in range(LOOKS):
            starts = [found.start_ns for found in segments(self._options.data, self.collector)]
            if not starts or stored.start_ns < min(starts) or stored.start_ns in starts:
                return
        raise ConfigError(
            f"stream {self.state.stream}: its last message is of a segment that began at "
            f"{format_ns(stored.start_ns)}, which {self._options.data} does not have: another recorder of the name "
            f"{self.collector!r} is sent into it; give one of the two another prefix (--prefix)"
        )

    def _acknowledge_up_to(self, stored: Place) -> bool:
        """Take messages that the stream has for delivered; False where its last one is none of those on their way."""
        for number, message in enumerate(self._unsent, 1):
            if message.place == stored:
                self._acknowledge(number)
                return True
        return False

    def _read_from(self, place: Place | None) -> None:
        assert self._broker is not None
        if self._follower is not None:
            self._follower.close()
        self.state.place = place
        self._max_bytes = self._broker.max_bytes
        self._follower = JournalFollower(
            self._options.data, self.collector, None if place is None else place.position
        )
        self._maker = MessageMaker(
            self.collector,
            prefix=self._options.prefix,
            sent=None if place is None or place.part + 1 == place.parts else place,
            max_bytes=self._max_bytes,
            tops=self._options.tops_s > 0,
        )
        self._making = iter(())
        self._unsent.clear()
        self._published = 0

    def _lose(self, words: str) -> None:
        self.state.trouble = words
        if self._waits in (0, 5) or self._waits % 60 == 0:
            log.warning("%s: %s; it is tried again, and nothing is lost meanwhile", self.collector, words)

    async def _waited(self) -> bool:
        """Wait before the next attempt, ever longer; whether it is told to stop."""
        longest = min(FIRST_WAIT_S * 2 ** min(self._waits, 10), LONGEST_WAIT_S)
        self._waits += 1
        await self._save()
        try:
            await asyncio.wait_for(self._stop.wait(), longest * random.uniform(0.7, 1.0))
        except TimeoutError:
            return False
        return True

    # ---- messages ----

    async def _pump(self) -> None:
        assert self._broker is not None
        while not self._stop.is_set():
            self._has_more = self._fill()
            await self._send_tops()
            if not self._unsent and self._has_more:
                await asyncio.sleep(0)
                continue
            if not self._unsent:
                self._broker.check()
                self._well()
                await self._keep(idle=True)
                if self._options.once:
                    return
                try:
                    await asyncio.wait_for(self._stop.wait(), POLL_S)
                except TimeoutError:
                    continue
                return
            batch = self._next_batch()
            self.state.sent += len(batch)
            self._published = len(batch)
            await self._broker.send(batch, self._before if self.state.stream is not None else None)
            self._before += len(batch)
            self._acknowledge(len(batch))
            self._batch = min(self._batch * 2, BATCH_MESSAGES)
            await self._keep(idle=False)

    def _next_batch(self) -> Sequence[Message]:
        batch: list[Message] = []
        size = 0
        for message in self._unsent:
            size += len(message.payload)
            if batch and (len(batch) >= self._batch or size > BATCH_BYTES):
                break
            batch.append(message)
        return batch

    def _fill(self) -> bool:
        """Make messages of what the journal has, as many as are sent at once; False where it has no more now."""
        assert self._follower is not None
        size = sum(len(message.payload) for message in self._unsent)
        while len(self._unsent) < BATCH_MESSAGES and size < BATCH_BYTES:
            try:
                message = next(self._making)
            except StopIteration:
                found = self._follower.read()
                if found is None:
                    return False
                self._making = self._maker.follow(found)
                continue
            if message is None:
                return True
            self._unsent.append(message)
            size += len(message.payload)
        return True

    def _acknowledge(self, count: int) -> None:
        state = self.state
        for _ in range(count):
            message = self._unsent.popleft()
            state.omitted += message.is_omitted
            if message.missing is not None:
                self._tell_break(message.missing)
            state.receive_ns = message.receive_ns or state.receive_ns
        state.acknowledged += count
        state.place = message.place
        self._published = max(self._published - count, 0)
        self._well()

    def _well(self) -> None:
        """It works, or works again."""
        if self._waits:
            log.info("%s: goes on", self.collector)
        self._waits, self.state.trouble = 0, ""

    def _tell_break(self, found: Break) -> None:
        setattr(self.state, found.kind, getattr(self.state, found.kind) + found.numbers)
        log.warning(
            "%s: sequences %d to %d can't be sent: %s",
            self.collector, found.first_sequence, found.last_sequence, found.words or _WHY[found.kind],
        )  # fmt: skip

    async def _send_tops(self) -> None:
        now_s = time.monotonic()
        if not self._options.tops_s or now_s - self._tops_s < self._options.tops_s:
            return
        self._tops_s = now_s
        tops = self._maker.take_tops()
        if tops:
            assert self._broker is not None
            await self._broker.tell(tops)
            self.state.tops += len(tops)

    # ---- what is told ----

    async def _keep(self, *, idle: bool) -> None:
        """Save the state and say how it stands, now and then."""
        now_s = time.monotonic()
        if now_s - self._saved_s >= (1.0 if idle else SAVE_S):
            self._saved_s = now_s
            await self._save()
        if now_s - self._reported_s >= REPORT_S:
            if self._reported_s:
                log.info("%s", describe(self.state))
            self._reported_s = now_s
        assert self._follower is not None
        if self._follower.damage != self._told_damage:
            self._told_damage = self._follower.damage
            if self._told_damage:
                log.error("%s: %s; what comes behind it is sent", self.collector, self._told_damage)

    async def _save(self) -> None:
        now_ns = time.time_ns()
        self.state.updated_ns = now_ns
        if not self._has_more:
            self.state.behind_bytes = 0
        elif self._follower is not None and time.monotonic() - self._weighed_s > WEIGH_S:
            self.state.behind_bytes = await asyncio.to_thread(self._follower.behind_bytes)
            self._weighed_s = time.monotonic()
        is_behind = bool(self._unsent) or self.state.behind_bytes > 0
        oldest_ns = self._unsent[0].receive_ns if self._unsent else self.state.receive_ns
        self.state.behind_s = max(now_ns - oldest_ns, 0) / 1e9 if is_behind and oldest_ns else 0.0
        await asyncio.to_thread(save_state, self._options.data, self._options.name, self.state)


def describe(state: SinkState) -> str:
    """How a collector stands, in a line."""
    words = f"{state.collector}: {state.sent:,} sent, {state.acknowledged:,} acknowledged"
    if state.again:
        words += f", {state.again:,} sent again"
    if state.omitted:
        words += f", {state.omitted:,} too large"
    if state.missing:
        words += f", {state.missing:,} sequences missing"
    if state.behind_bytes or state.behind_s:
        words += f"; behind by {state.behind_bytes / 1e6:,.1f} MB of journal, {state.behind_s:,.1f} s"
    if state.trouble:
        words += f"; {state.trouble}"
    return words


_WHY: Final = {
    "removed": "their segments were removed before they were sent",
    "torn": "a crash tore them; the recovery set them aside",
    "damaged": "their segment is damaged",
    "withdrawn": "they were sent, and a power cut took them from the journal",
}
