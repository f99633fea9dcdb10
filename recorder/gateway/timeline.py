"""The gateway's time: it plays a recording, or lets simulated markets run, at the pace that was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from engine.market import Market
from recorder.gateway.books import Feeds, FrameInfo, topic_of
from recorder.gateway.connection import Connection
from recorder.gateway.exchange import Exchange, Subscriptions
from recorder.gateway.options import GatewayOptions
from recorder.gateway.restarts import Renumbering
from recorder.gateway.sources import ReplaySource, retimed
from recorder.gateway.venue import MarketVenue
from schemas.names import Category

__all__ = ["MarketTimeline", "Outlet", "ReplayTimeline", "Timeline"]

_BATCH_FRAMES: Final = 256
_BATCH_BYTES: Final = 256 * 1024
_SHORTEST_SLEEP_S: Final = 0.0005
_MARKET_TICK_S: Final = 0.01
_MARKET_STEP_NS: Final = 100_000_000
"""Longest stretch of market time simulated between two looks at the sockets."""
_NS: Final = 1_000_000_000


class Outlet:
    """Where a timeline's frames leave: gathered, then written, accounted for, at full speed waited for."""

    def __init__(self, flush_ledger: Callable[[], None]) -> None:
        self._flush_ledger = flush_ledger
        self.touched: set[Connection] = set()

    def flush(self) -> list[Connection]:
        """Write what has gathered; return the connections that got something."""
        written = list(self.touched)
        self.touched.clear()
        for connection in written:
            connection.flush()
        self._flush_ledger()
        return written

    async def flush_and_drain(self) -> None:
        """Write what has gathered and wait until every socket takes more."""
        for connection in self.flush():
            await connection.drain()
        await asyncio.sleep(0)


class Timeline(Protocol):
    """A pace and a clock."""

    def now_ns(self) -> int:
        """The exchange's clock, UTC nanoseconds."""

    async def run(self) -> None:
        """Send everything there is to send; return after the last frame."""


class ReplayTimeline:
    """Plays a recording to an exchange.

    Args:
        first_ns: receive time of the recording's first frame.
        release_held: called at the end of each pass, when nothing more will follow what faults hold back.
        renumbering: of the frames, since the push service was restarted.
    """

    def __init__(
        self,
        source: ReplaySource,
        first_ns: int,
        feeds: Feeds,
        exchange: Exchange,
        subscriptions: Subscriptions,
        outlet: Outlet,
        options: GatewayOptions,
        release_held: Callable[[], None],
        renumbering: Renumbering,
    ) -> None:
        self._source = source
        self._feeds = feeds
        self._exchange = exchange
        self._subscriptions = subscriptions
        self._outlet = outlet
        self._options = options
        self._release_held = release_held
        self._renumbering = renumbering
        self._monotonic_s = time.monotonic  # uvloop's own goes by whole milliseconds
        self._first_ns = first_ns
        self._reached_ns = first_ns
        self._is_started = False
        self._is_running = False
        self._start_s = 0.0
        self._start_wall_ns = 0

    def now_ns(self) -> int:
        """The recording's clock: still until the start, paced while it plays, real time after its end."""
        if self._options.is_retiming:
            return time.time_ns()
        if not self._is_started:
            return self._first_ns
        elapsed_ns = int((self._monotonic_s() - self._start_s) * _NS)
        if not self._is_running:
            return self._reached_ns + elapsed_ns
        speed = self._options.speed
        return self._reached_ns if speed is None else self._first_ns + int(elapsed_ns * speed)

    async def run(self) -> None:
        """Play the recording, once or for ever, from the first settled subscriptions on."""
        while True:
            await self._subscriptions.settled(0.0 if self._is_started else self._options.settle_seconds)
            self._feeds.reset()
            self._renumbering.reset()
            self._start_s = self._monotonic_s()
            self._start_wall_ns = time.time_ns()
            self._reached_ns = self._first_ns
            self._is_started = self._is_running = True
            frames = self._source.frames()
            if self._options.speed is None:
                await self._pass_at_full_speed(frames)
            else:
                await self._pass_at_pace(frames, self._options.speed)
            self._release_held()
            await self._outlet.flush_and_drain()
            if not self._options.is_looping:
                self._reached_ns = self.now_ns()
                self._start_s = self._monotonic_s()
                self._is_running = False
                return

    async def _pass_at_pace(self, frames: Iterator[tuple[int, bytes]], speed: float) -> None:
        waiting = 0
        for receive_ns, payload in frames:
            due_s = self._start_s + (receive_ns - self._first_ns) / _NS / speed
            delay_s = due_s - self._monotonic_s()
            if delay_s > _SHORTEST_SLEEP_S:
                self._outlet.flush()
                waiting = 0
                await asyncio.sleep(delay_s)
            elif waiting >= _BATCH_FRAMES:
                self._outlet.flush()
                waiting = 0
                await asyncio.sleep(0)
            waiting += 1
            self._send(receive_ns, payload, self._start_wall_ns + int((receive_ns - self._first_ns) / speed))

    async def _pass_at_full_speed(self, frames: Iterator[tuple[int, bytes]]) -> None:
        count = size = 0
        for receive_ns, payload in frames:
            if self._subscriptions.count == 0:
                # Nobody is there: hold, and give whoever comes back the time to subscribe to everything.
                self._outlet.flush()
                await self._subscriptions.settled(self._options.settle_seconds)
            self._send(receive_ns, payload, time.time_ns())
            count, size = count + 1, size + len(payload)
            if count >= _BATCH_FRAMES or size >= _BATCH_BYTES:
                count = size = 0
                await self._outlet.flush_and_drain()

    def _send(self, receive_ns: int, payload: bytes, wall_ns: int) -> None:
        self._reached_ns = max(self._reached_ns, receive_ns)
        topic = topic_of(payload)
        if topic is None:
            return
        if self._options.is_retiming:
            payload = retimed(payload, (wall_ns - receive_ns) // 1_000_000)
        payload = self._renumbering.renumber(topic, payload)
        info = self._feeds.apply(topic, payload)
        self._exchange.publish(info, payload, self._outlet.touched)


class MarketTimeline:
    """Lets the markets that somebody looks at run, each on the same clock."""

    def __init__(
        self,
        seed: int,
        exchanges: dict[Category, Exchange],
        subscriptions: Subscriptions,
        outlet: Outlet,
        options: GatewayOptions,
        others: Sequence[Exchange] = (),
    ) -> None:
        self._seed = seed
        self._exchanges = exchanges
        self._others = others
        self._subscriptions = subscriptions
        self._outlet = outlet
        self._options = options
        self._monotonic_s = time.monotonic  # uvloop's own goes by whole milliseconds
        self._start_s = self._monotonic_s()
        self._start_ns = time.time_ns()
        self._stepped_ns = self._start_ns

    def now_ns(self) -> int:
        """The market's clock: the time of day, or however far it was simulated at full speed."""
        if self._options.speed is None:
            return self._stepped_ns
        return self._start_ns + int((self._monotonic_s() - self._start_s) * _NS * self._options.speed)

    def open_market(self, category: Category) -> Market:
        """Open a category's market now."""
        return Market(
            self._seed,
            category,
            start_ns=self.now_ns(),
            symbol_count=self._options.symbol_count,
            rate=self._options.rate,
            listings=self._options.listings,
            delistings=self._options.delistings,
        )

    def open_status(self) -> Market:
        """Open what stands beside all categories: a market without symbols, which tells the system's status."""
        return Market(self._seed, Category.LINEAR, (), start_ns=self.now_ns())

    async def run(self) -> None:
        """Run for ever."""
        while True:
            if self._options.speed is None:
                await self._subscriptions.settled(0.0)
                self._stepped_ns += _MARKET_STEP_NS
                self._advance(self._stepped_ns)
                await self._outlet.flush_and_drain()
            else:
                behind = self._advance(self.now_ns())
                self._outlet.flush()
                await asyncio.sleep(0 if behind else _MARKET_TICK_S)

    def _advance(self, to_ns: int) -> bool:
        """Simulate up to a moment, or one step towards it; return whether there is more to do."""
        behind = False
        for exchange in (*self._exchanges.values(), *self._others):
            venue = exchange.venue
            if not isinstance(venue, MarketVenue) or venue.opened is None:
                continue
            market = venue.opened
            target_ns = min(to_ns, market.now_ns + _MARKET_STEP_NS)
            behind = behind or target_ns < to_ns
            for frame in market.advance(target_ns):
                info = FrameInfo(frame.topic, frame.update_id, frame.kind)
                exchange.publish(info, frame.payload, self._outlet.touched)
        return behind
