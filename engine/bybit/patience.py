"""How patient a stream session is, and its two kinds of waiting: for pongs and for first snapshots."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from engine.bybit.limits import MISSED_PONGS, PING_INTERVAL_NS

__all__ = ["FirstData", "Heartbeat", "SessionOptions"]

_SECOND_NS: Final = 1_000_000_000


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a session is.

    Attributes:
        ping_interval_ns: between text pings; the first goes out at once.
        missed_pongs: pings without an answer that make the connection dead.
        silence_timeout_ns: time without any inbound frame that makes it dead.
        acknowledgement_timeout_ns: after it a request is sent once more, after it again all is given up.
        resync_timeout_ns: how long a resync waits for its unsubscribe to be acknowledged.
        first_data_timeout_ns: from acknowledgement to the first snapshot.
        requests_in_flight: requests sent ahead of their acknowledgements.
    """

    ping_interval_ns: int = PING_INTERVAL_NS
    missed_pongs: int = MISSED_PONGS
    silence_timeout_ns: int = 30 * _SECOND_NS
    acknowledgement_timeout_ns: int = 5 * _SECOND_NS
    resync_timeout_ns: int = 2 * _SECOND_NS
    first_data_timeout_ns: int = 10 * _SECOND_NS
    requests_in_flight: int = 20

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected a positive number")
        if self.silence_timeout_ns <= self.ping_interval_ns:
            raise ValueError(
                f"silence_timeout_ns {self.silence_timeout_ns} must exceed ping_interval_ns "
                f"{self.ping_interval_ns}: on a quiet connection pongs are all there is"
            )


class Heartbeat:
    """Pings, their answers and the time since anything arrived (section 2.1).

    Attributes:
        last_received_ns: when anything last arrived; its owner writes it.
    """

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._open: dict[str, int] = {}
        self._next_ping_ns = 0
        self.last_received_ns = 0

    @property
    def pings_open(self) -> int:
        """Pings that have not been answered."""
        return len(self._open)

    def pinged(self, request_id: str, now_ns: int) -> None:
        """A ping was sent."""
        self._open[request_id] = now_ns
        self._next_ping_ns = now_ns + self._options.ping_interval_ns

    def ping_due(self, now_ns: int) -> bool:
        """Return whether another ping should be sent."""
        return now_ns >= self._next_ping_ns

    def ponged(self, request_id: str, now_ns: int) -> int | None:
        """Take in the answer to a ping; one must be open.

        Returns:
            The round trip in ns; null when several pings were open and the answer doesn't tell which it
            means, since spot and option sockets don't echo the id.
        """
        sent_ns = self._open.get(request_id)
        if sent_ns is None and len(self._open) == 1:
            sent_ns = next(iter(self._open.values()))
        self._open.clear()
        return None if sent_ns is None else max(0, now_ns - sent_ns)

    def verdict(self, now_ns: int) -> str | None:
        """Return why the connection is dead, or null while it may be alive."""
        quiet_ns = now_ns - self.last_received_ns
        if quiet_ns >= self._options.silence_timeout_ns:
            return f"nothing was received for {quiet_ns / _SECOND_NS:.1f} s"
        if self.ping_due(now_ns) and len(self._open) >= self._options.missed_pongs:
            return f"{len(self._open)} pings in a row were not answered"
        return None

    def deadline_ns(self) -> int:
        """Return when to look next."""
        return min(self._next_ping_ns, self.last_received_ns + self._options.silence_timeout_ns)


class FirstData:
    """Topics that were subscribed and have not shown a frame, and timers for those that must.

    Attributes:
        awaiting: topics without a first frame since they were last subscribed.
    """

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._subscription = 0
        self._subscription_of: dict[str, int] = {}
        # All timers run equally long, so they expire in the order in which they were set.
        self._timers: deque[tuple[int, str, int]] = deque()
        self.awaiting: set[str] = set()

    def expect(self, topic: str) -> None:
        """A subscription to this topic was sent; timers of an earlier one no longer count."""
        self._subscription += 1
        self._subscription_of[topic] = self._subscription
        self.awaiting.add(topic)

    def arm(self, topic: str, now_ns: int) -> None:
        """Start the timer of a topic, unless its first frame is here already."""
        if topic in self.awaiting:
            self._timers.append((now_ns + self._timeout_ns, topic, self._subscription_of[topic]))

    def forget(self, topic: str) -> None:
        """Expect nothing from this topic."""
        self.awaiting.discard(topic)
        self._subscription_of.pop(topic, None)

    def clear(self) -> None:
        """Expect nothing at all."""
        self.awaiting.clear()
        self._subscription_of.clear()
        self._timers.clear()

    def silent(self, now_ns: int) -> list[str]:
        """Return the topics whose timer has run out, each once per subscription."""
        topics: list[str] = []
        while (deadline_ns := self.deadline_ns()) is not None and now_ns >= deadline_ns:
            topics.append(self._timers.popleft()[1])
        return topics

    def deadline_ns(self) -> int | None:
        """Return when the next timer runs out; null without one."""
        while self._timers:
            deadline_ns, topic, subscription = self._timers[0]
            if topic in self.awaiting and self._subscription_of[topic] == subscription:
                return deadline_ns
            self._timers.popleft()
        return None
