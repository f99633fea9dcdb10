"""A window of a simulated book as a stream pushes it: its difference at each push, its snapshot, its update ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Final, Generic, TypeVar

from engine.market.flow import OrderFlow
from engine.market.text import book_frame

__all__ = ["WindowStream"]

_MS: Final = 10**6

Sizes = TypeVar("Sizes")
"""What stands at a price: lots, or a pair of them."""


class WindowStream(Generic[Sizes]):
    """What the topics of books have in common: two sides, best first, by key (a bid's is the negative of its price).

    Args:
        topic: its name.
        depth: levels a side.
        flow: the orders.
        now_ns: when the stream begins.
        first_id: the update id before its first push.
    """

    GONE: ClassVar[object]
    """The sizes with which a delta says that a price is empty now."""

    __slots__ = (
        "_asks",
        "_bids",
        "_flow",
        "_match_ns",
        "_pushed_ns",
        "_version",
        "depth",
        "sequence",
        "topic",
        "update_id",
    )

    def __init__(self, topic: str, depth: int, flow: OrderFlow, now_ns: int, first_id: int) -> None:
        self.topic = topic
        self.depth = depth
        self._flow = flow
        self._bids, self._asks = self._window()
        self._version = flow.version
        self._match_ns = flow.match_ns
        self.sequence = flow.sequence
        self._pushed_ns = now_ns
        self.update_id = first_id

    def push(self, now_ns: int) -> tuple[str, bytes] | None:
        """Return (kind, frame) if anything has changed since the last push, else None."""
        flow = self._flow
        if self._version == flow.version:
            return None
        self._version = flow.version
        bids, asks = self._window()
        if bids == self._bids and asks == self._asks:
            return None
        changes = self._changes(self._bids, bids), self._changes(self._asks, asks)
        self._bids, self._asks = bids, asks
        self.sequence, self._match_ns = flow.sequence, flow.match_ns
        self._pushed_ns = now_ns
        self.update_id += 1
        return self._pushed(now_ns, *changes)

    def _pushed(
        self, now_ns: int, bids: Iterable[tuple[int, Sizes]], asks: Iterable[tuple[int, Sizes]]
    ) -> tuple[str, bytes]:
        return "delta", self._frame("delta", now_ns, bids, asks)

    def snapshot(self, now_ns: int) -> bytes:
        """Return the state as last pushed, as the answer to a new subscription."""
        return self._frame("snapshot", now_ns, self._bids.items(), self._asks.items())

    def restart(self, now_ns: int) -> bytes:
        """Begin a new chain with the state as last pushed; returns its snapshot."""
        self.update_id = 1
        self._pushed_ns = now_ns
        return self.snapshot(now_ns)

    @property
    def match_ms(self) -> int:
        """``cts`` of the state."""
        return self._match_ns // _MS

    def _window(self) -> tuple[dict[int, Sizes], dict[int, Sizes]]:
        """The two sides as they are now."""
        raise NotImplementedError

    def _text(self, levels: Iterable[tuple[int, Sizes]]) -> str:
        """Levels as JSON."""
        raise NotImplementedError

    def _changes(self, before: dict[int, Sizes], after: dict[int, Sizes]) -> list[tuple[int, Sizes]]:
        if before == after:
            return []
        changed = {key: sizes for key, sizes in after.items() if before.get(key) != sizes}
        changed.update(dict.fromkeys(before.keys() - after.keys(), self.GONE))  # type: ignore[arg-type]
        return sorted(changed.items())

    def _frame(
        self,
        kind: str,
        now_ns: int,
        bids: Iterable[tuple[int, Sizes]],
        asks: Iterable[tuple[int, Sizes]],
    ) -> bytes:
        listing = self._flow.listing
        return book_frame(
            listing.category,
            self.topic,
            depth=self.depth,
            kind=kind,
            push_ms=now_ns // _MS,
            symbol=listing.symbol,
            bids=self._text(bids),
            asks=self._text(asks),
            update_id=self.update_id,
            cross_sequence=self.sequence,
            match_ms=self.match_ms,
        )
