"""``orderbook.full`` and ``orderbook.rpi`` of a simulated symbol (protocol sections 3.2, 3.3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from engine.market.flow import OrderFlow
from engine.market.streams import MS, BookStream, book_interval_ns
from engine.market.window import WindowStream
from schemas.tables import FULL_DEPTH, RPI_DEPTH

__all__ = ["MAX_LAG", "FullState", "FullStream", "RpiStream", "interval_of"]

MAX_LAG: Final = 16
_RPI_INTERVAL_NS: Final = 100 * MS
_RPI_SHARE: Final = 3
"""One level in so many has retail-price-improvement orders beside the others."""

Sides = tuple[dict[int, int], dict[int, int]]
RpiSide = dict[int, tuple[int, int]]


def interval_of(stream: BookStream | RpiStream) -> int:
    """Push interval of a book stream, in nanoseconds."""
    return _RPI_INTERVAL_NS if isinstance(stream, RpiStream) else book_interval_ns(stream.depth)


class FullState(NamedTuple):
    """The book at one push."""

    sides: Sides
    update_id: int
    sequence: int
    match_ns: int


class FullStream(BookStream):
    """``orderbook.full.{symbol}``: every change of the whole book, never a snapshot.

    What the REST endpoint answers is the state of a push that may lie some pushes back, as it does where markets are
    busy: then whoever synchronises has to ask again.
    """

    __slots__ = ("_states",)

    def __init__(self, topic: str, flow: OrderFlow, now_ns: int, restarted_ns: int | None = None) -> None:
        super().__init__(topic, FULL_DEPTH, flow, now_ns, restarted_ns)
        self._states: deque[FullState] = deque(maxlen=MAX_LAG + 1)
        self._remember()

    def push(self, now_ns: int) -> tuple[str, bytes] | None:
        """Return (kind, frame) if anything has changed since the last push, else None."""
        pushed = super().push(now_ns)
        if pushed is not None:
            self._remember()
        return pushed

    def restart(self, now_ns: int) -> bytes:
        """Begin a new chain: a packet with update id 1 that names no level; the book is had from REST."""
        self.update_id = 1
        self._states.clear()
        self._remember()
        return self._frame("delta", now_ns, (), ())

    def view(self, lag: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]], FullState]:
        """Return bids and asks as texts, best first, with the state they are of: ``lag`` pushes back, at most."""
        state = self._states[max(0, len(self._states) - 1 - lag)]
        bids, asks = state.sides
        return self._texts(bids.items()), self._texts(asks.items()), state

    def _remember(self) -> None:
        self._states.append(
            FullState((self._bids, self._asks), self.update_id, self.sequence, self._match_ns)
        )


class RpiStream(WindowStream[tuple[int, int]]):
    """``orderbook.rpi.{symbol}``: the best 50 prices a side, each with the two sizes.

    Some levels have RPI orders beside the others, and one price a side, a tick inside the spread, has nothing else.
    Where it would reach the opposite best price it is hidden: sent as 0, so that the level is not there.
    """

    GONE = (0, 0)
    __slots__ = ()

    def __init__(self, topic: str, flow: OrderFlow, now_ns: int, restarted_ns: int | None = None) -> None:
        since_ns = now_ns if restarted_ns is None else now_ns - restarted_ns
        super().__init__(topic, RPI_DEPTH, flow, now_ns, since_ns // _RPI_INTERVAL_NS % 10**10 + 2)

    def levels(self) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
        """Return (bids, asks) as last pushed, best first, as texts: price, size, RPI size."""
        return self._texts(self._bids.items()), self._texts(self._asks.items())

    def _window(self) -> tuple[RpiSide, RpiSide]:
        bids, asks = self._flow.window(self.depth)
        sides = []
        for side, other in ((bids, asks), (asks, bids)):
            levels = {key: (lots, _rpi_lots(key, lots)) for key, lots in side.items()}
            if side and other:
                inside = next(iter(side)) - 1
                # A bid's key is the negative of its price, so that the opposite best price is at minus its key.
                if inside > -next(iter(other)):
                    levels[inside] = (0, 1 + _rpi_lots(inside, side[inside + 1]))
            sides.append(dict(sorted(levels.items())[: self.depth]))
        return sides[0], sides[1]

    def _texts(self, levels: Iterable[tuple[int, tuple[int, int]]]) -> list[tuple[str, str, str]]:
        listing = self._flow.listing
        return [
            (listing.price_text(abs(key)), listing.size_text(lots), listing.size_text(rpi))
            for key, (lots, rpi) in levels
        ]

    def _text(self, levels: Iterable[tuple[int, tuple[int, int]]]) -> str:
        return (
            "["
            + ",".join([f'["{price}","{size}","{rpi}"]' for price, size, rpi in self._texts(levels)])
            + "]"
        )


def _rpi_lots(key: int, lots: int) -> int:
    """RPI lots at a price: nothing at most of them, and always the same at the same price and size."""
    mixed = (key * 2_654_435_761 + lots) & 0xFFFFFFFF
    return 0 if mixed % _RPI_SHARE else lots // 4 + mixed % 7
