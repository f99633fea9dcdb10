"""Who gets what: the subscriptions of a gateway's connections, and the fan-out of frames to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from recorder.gateway.books import FrameInfo
from recorder.gateway.connection import Connection, text_message
from recorder.gateway.dialect import Action, Answer
from recorder.gateway.faults import Deed
from recorder.gateway.lies import Lies
from recorder.gateway.published import Published
from recorder.gateway.venue import Venue

__all__ = ["Exchange", "Subscriptions", "WatchedExchange"]


class Subscriptions:
    """What all connections together have subscribed to, and since when that has been quiet."""

    def __init__(self) -> None:
        self._count = 0
        self._changed_s = 0.0
        self._present = asyncio.Event()

    @property
    def count(self) -> int:
        """Subscriptions of all connections."""
        return self._count

    def add(self, difference: int) -> None:
        """Count subscriptions made (above 0) or ended (below 0)."""
        self._count += difference
        if difference > 0:
            self._changed_s = asyncio.get_running_loop().time()
            self._present.set()
        if self._count == 0:
            self._present.clear()

    async def settled(self, quiet_seconds: float) -> None:
        """Wait until there is a subscription, and none has been added for a while."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._present.wait()
            left_s = self._changed_s + quiet_seconds - clock()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)


class Exchange:
    """One category: its venue and the connections to it."""

    def __init__(
        self,
        venue: Venue,
        subscriptions: Subscriptions,
        published: Published | None = None,
        lies: Lies | None = None,
    ) -> None:
        self.venue = venue
        self.lies = lies or Lies(())
        self._subscriptions = subscriptions
        self._published = published
        self._subscribers: dict[str, dict[Connection, None]] = {}

    def publish(self, info: FrameInfo, payload: bytes, touched: set[Connection]) -> None:
        """Hand a data frame to every connection that has its topic, and add those to ``touched``."""
        if self._published is not None:
            self._published.note(info, payload)
        subscribers = self._subscribers.get(info.topic)
        if not subscribers:
            return
        if self.lies:
            payload = self.lies.frame(info.topic, payload)
        message = text_message(payload)
        # A copy, because a fault may end a connection on the way.
        for connection in tuple(subscribers):
            connection.deliver(info, payload, message)
            touched.add(connection)

    def restart(self, now_ms: int, touched: set[Connection]) -> None:
        """Start the push service anew, for every connection alike."""
        for info, payload in self.venue.restart(now_ms):
            self.publish(info, payload, touched)

    def perform(self, connection: Connection, answer: Answer, now_ms: int, deed: Deed | None = None) -> None:
        """Send an answer and do what it says; a fresh snapshot follows each new subscription.

        Args:
            deed: what befalls the answer.
        """
        if deed is Deed.DATA_FIRST:
            self._obey(connection, answer, now_ms)
            connection.reply(answer.payload)
        else:
            connection.reply(answer.payload, deed)
            self._obey(connection, answer, now_ms)

    def _obey(self, connection: Connection, answer: Answer, now_ms: int) -> None:
        for topic in answer.topics:
            if answer.action is Action.SUBSCRIBE:
                self._join(connection, topic, now_ms)
            elif topic in connection.topics:
                connection.unsubscribe(topic)
                self._leave(connection, topic)

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        for topic in connection.topics:
            self._leave(connection, topic)
        connection.topics.clear()

    def _join(self, connection: Connection, topic: str, now_ms: int) -> None:
        if not connection.is_open:
            return
        connection.subscribe(topic)
        self._subscribers.setdefault(topic, {})[connection] = None
        self._subscriptions.add(1)
        first = self.venue.first_frame(topic, now_ms)
        if first is not None:
            info, payload = first
            if self._published is not None:
                self._published.note(info, payload, rebuilt=True)
            if self.lies:
                payload = self.lies.frame(info.topic, payload)
            connection.deliver(info, payload, text_message(payload), rebuilt=True)

    def _leave(self, connection: Connection, topic: str) -> None:
        subscribers = self._subscribers.get(topic, {})
        if connection not in subscribers:
            return
        del subscribers[connection]
        self._subscriptions.add(-1)
        if not subscribers:
            del self._subscribers[topic]
            self.venue.abandon(topic)


class WatchedExchange(Exchange):
    """An exchange that shows every frame that it publishes to somebody else as well, before anybody gets it.

    Attributes:
        witness: who is shown them; nobody while None.
    """

    witness: Callable[[FrameInfo, bytes], None] | None = None

    def publish(self, info: FrameInfo, payload: bytes, touched: set[Connection]) -> None:
        """Show a data frame, then hand it out."""
        if self.witness is not None:
            self.witness(info, payload)
        super().publish(info, payload, touched)
