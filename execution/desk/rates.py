"""How many requests a second may go out: published limits first, then whatever the answers' headers say (section 7.3).

One counter per operation and category, shared by the trade socket and REST, over a rolling second. A request counts
from when it is sent until a second after its answer, however slow the way is. An answer's headers name the limit in
force and what is left of it; where they say that nothing is left, nothing goes out before the reset.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Mapping
from itertools import chain, repeat
from typing import Final

import msgspec

from execution.desk.wire import Op
from schemas.names import Category

__all__ = ["PUBLISHED", "Bucket", "PathLimiter", "RateHeaders", "RateLimiter", "read_headers"]

WINDOW_MS: Final = 1_000
_MAXIMUM_LIMIT: Final = 10_000
_DERIVATIVES: Final = {Op.CREATE: 10, Op.AMEND: 10, Op.CANCEL: 10}
PUBLISHED: Final[dict[Category, dict[Op, int]]] = {
    Category.SPOT: {Op.CREATE: 20, Op.AMEND: 10, Op.CANCEL: 20},
    Category.LINEAR: _DERIVATIVES,
    Category.INVERSE: _DERIVATIVES,
    Category.OPTION: _DERIVATIVES,
}
"""Requests a second of an account without raised limits (sections 6.3 and 7.3)."""


class RateHeaders(msgspec.Struct, frozen=True):
    """What an answer said: the limit, what is left of it, and when it is whole again (exchange's ms)."""

    limit: int
    left: int
    reset_ms: int


def read_headers(headers: Mapping[str, object]) -> RateHeaders | None:
    """Read ``X-Bapi-Limit``, ``-Status`` and ``-Reset-Timestamp``, in any spelling; None without sensible ones."""
    numbers: dict[str, int] = {}
    for name, value in headers.items():
        short = name.lower()
        if not short.startswith("x-bapi-limit") or not isinstance(value, str):
            continue
        if value.isascii() and value.isdigit() and len(value) <= 16:
            numbers[short] = int(value)
    limit, left = numbers.get("x-bapi-limit"), numbers.get("x-bapi-limit-status")
    if limit is None or left is None or not 0 < limit <= _MAXIMUM_LIMIT:
        return None
    return RateHeaders(limit, left, numbers.get("x-bapi-limit-reset-timestamp", 0))


class Bucket:
    """What counts of one operation: each request from when it is sent until a second after its answer came.

    When the exchange counts it lies somewhere in between. One that is never answered counts until it cannot be taken
    any more, and a second longer.

    Attributes:
        limit: requests a second as far as known.
        used: what counts, and perhaps what does so no longer.
        closed_until_ms: nothing goes out before.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.closed_until_ms = 0
        self.used = 0
        self._in_flight: dict[int, list[int]] = {}  # by when they were sent: how many, and until when at most
        self._answered: deque[int] = deque()  # until when each counts

    def count(self, now_ms: int, until_ms: int, cost: int) -> None:
        """Count what goes out now."""
        self.used += cost
        if now_ms in self._in_flight:
            found = self._in_flight[now_ms]
            found[0] += cost
            found[1] = max(found[1], until_ms)
        else:
            self._in_flight[now_ms] = [cost, until_ms]

    def answered(self, sent_ms: int, now_ms: int) -> None:
        """Note that one of those that went out at a moment has been heard of."""
        found = self._in_flight.get(sent_ms)
        if found is None:
            return
        # an answer that comes late adds nothing to a request that could not be taken any more
        insort(self._answered, min(now_ms + WINDOW_MS, found[1]))
        found[0] -= 1
        if not found[0]:
            del self._in_flight[sent_ms]

    def wait_ms(self, now_ms: int, cost: int) -> int:
        """How long until so many may go out."""
        wait = max(0, self.closed_until_ms - now_ms)
        if self.used + cost > self.limit:
            self._forget(now_ms)
            over = self.used + cost - self.limit
            if over > 0:
                ends = chain(self._answered, *(repeat(until, n) for n, until in self._in_flight.values()))
                wait = max(wait, sorted(ends)[over - 1] - now_ms)
        return wait

    def _forget(self, now_ms: int) -> None:
        while self._answered and self._answered[0] <= now_ms:
            self._answered.popleft()
            self.used -= 1
        for sent_ms, (count, until_ms) in list(self._in_flight.items()):
            if until_ms <= now_ms:
                del self._in_flight[sent_ms]
                self.used -= count


class RateLimiter:
    """Meters requests; times are ms of the exchange's clock.

    Attributes:
        refused: requests that were told to wait.
    """

    def __init__(self) -> None:
        self._buckets = {
            (category, op): Bucket(limit)
            for category in PUBLISHED
            for op, limit in PUBLISHED[category].items()
        }
        for op in Op:  # futures are counted together
            self._buckets[Category.INVERSE, op] = self._buckets[Category.LINEAR, op]
        self.refused = 0

    def __repr__(self) -> str:
        limits = {f"{op.value} {category.value}": b.limit for (category, op), b in self._buckets.items()}
        return f"<RateLimiter {limits} refused={self.refused}>"

    def bucket(self, category: Category, op: Op) -> Bucket:
        """What counts of an operation; always the same object."""
        return self._buckets[category, op]

    def limit(self, category: Category, op: Op) -> int:
        """Requests a second as far as known."""
        return self._buckets[category, op].limit

    def wait_ms(self, category: Category, op: Op, now_ms: int, cost: int = 1) -> int:
        """How long to wait at most until ``cost`` requests may go out; 0 when they may now.

        Raises:
            ValueError: more than ever may go out in a second.
        """
        bucket = self._buckets[category, op]
        if cost > bucket.limit:
            raise ValueError(f"{cost} requests at once: {bucket.limit} a second are allowed")
        if bucket.used + cost <= bucket.limit and bucket.closed_until_ms <= now_ms:
            return 0
        wait = bucket.wait_ms(now_ms, cost)
        self.refused += wait > 0
        return wait

    def count(self, category: Category, op: Op, now_ms: int, last_ms: int, cost: int = 1) -> None:
        """Count what goes out now.

        Args:
            last_ms: the last moment at which the exchange may take it, if nothing is ever heard of it.
        """
        self._buckets[category, op].count(now_ms, last_ms + WINDOW_MS, cost)

    def answered(self, category: Category, op: Op, sent_ms: int, now_ms: int) -> None:
        """Note that one of the requests that went out at a moment has been heard of: it was counted by now."""
        self._buckets[category, op].answered(sent_ms, now_ms)

    def on_headers(self, category: Category, op: Op, headers: RateHeaders, now_ms: int) -> None:
        """Believe what an answer said."""
        bucket = self._buckets[category, op]
        bucket.limit = headers.limit
        # Never longer than a window: a reset far away would be a mistake of either clock.
        reset_ms = min(headers.reset_ms, now_ms + WINDOW_MS)
        bucket.closed_until_ms = reset_ms if headers.left == 0 else 0

    def on_refusal(self, category: Category, op: Op, now_ms: int) -> None:
        """Too many requests, says an answer (10006): wait for a window even if it named no time."""
        bucket = self._buckets[category, op]
        bucket.closed_until_ms = max(bucket.closed_until_ms, now_ms + WINDOW_MS)


class PathLimiter:
    """Meters what is no order by what the answers' headers say; times are ms of the exchange's clock.

    Each path has a limit of its own, which nobody knows before its first answer: nothing waits until one says that
    nothing is left, or that it was too much.
    """

    def __init__(self) -> None:
        self._closed_until_ms: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<PathLimiter {self._closed_until_ms}>"

    def wait_ms(self, path: str, now_ms: int) -> int:
        """How long to wait until a path may be asked, at most a second; 0 when it may now."""
        return max(0, min(self._closed_until_ms.get(path, 0) - now_ms, WINDOW_MS))

    def on_headers(self, path: str, headers: RateHeaders, now_ms: int) -> None:
        """Believe what an answer said: where nothing is left, all is again a window later.

        The reset that it names says so earlier only of what was refused; else it is now, by a clock that isn't ours.
        """
        if headers.left > 0:
            self._closed_until_ms.pop(path, None)
        else:
            self._closed_until_ms[path] = now_ms + WINDOW_MS

    def on_refusal(self, path: str, now_ms: int) -> None:
        """Too many requests, says an answer (10006)."""
        self._closed_until_ms[path] = max(self._closed_until_ms.get(path, 0), now_ms + WINDOW_MS)
