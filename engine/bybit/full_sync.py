"""How ``orderbook.full`` begins: deltas from the stream, the book from REST, joined by ``seq`` and ``u`` (section 3.3).

The stream has no snapshot, so until one has been fetched its deltas wait here. `FullSync` says when to ask for the book
and what an answer is worth; it opens no socket and looks at no clock: monotonic time is an argument. Once the book is
joined, the core goes on by the live rule, and tells by its state when all has to begin again.

::

    sync.subscribed(now_ns)                          # and sync.lost() when the subscription ends
    sync.delta(frame, now_ns)                        # every delta that the core could not apply
    sync.disbelieved(now_ns)                         # the core's book is not live, whyever
    if sync.wants(now_ns):
        asked = sync.ask(now_ns)                     # then GET /v5/market/full_orderbook
        verdict = sync.answer(asked, book, now_ns)   # or sync.failed(asked, now_ns)
        if isinstance(verdict, Load):
            ...                                      # take the book, and the deltas behind it
            sync.taken(complete, now_ns)
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from random import Random
from typing import Final, NamedTuple

import msgspec

from engine.bybit.rest import RestBook, parse_order_book
from schemas.errors import ExchangeError
from schemas.notes import FullBook

__all__ = [
    "Again",
    "Delta",
    "FullSync",
    "Load",
    "NoBook",
    "Outdated",
    "Phase",
    "SyncOptions",
    "frames_of",
    "read_delta",
]

_SECOND_NS: Final = 1_000_000_000


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a synchronisation is, and what it may hold.

    Attributes:
        least_interval_ns: between two requests, however often a chain breaks.
        first_delta_ns: how long to wait for a first delta before the book is asked for all the same; an answer can
            only be held against deltas.
        retry_ns, longest_retry_ns: ceiling of the wait behind the first answer of no use; it doubles up to the other.
        attempts: answers of no use in a row, after which the feed is given up as one that has no snapshot. It is asked
            for again, at the longest interval.
        most_frames, most_bytes: what may wait; beyond that the oldest are forgotten.
    """

    least_interval_ns: int = _SECOND_NS
    first_delta_ns: int = 2 * _SECOND_NS
    retry_ns: int = _SECOND_NS // 4
    longest_retry_ns: int = 60 * _SECOND_NS
    attempts: int = 8
    most_frames: int = 2_048
    most_bytes: int = 2 << 20


class Phase(StrEnum):
    """Where a synchronisation stands."""

    IDLE = "idle"
    """Not subscribed."""
    WAITING = "waiting"
    """Deltas gather; the book has to be asked for, or asked for again."""
    ASKING = "asking"
    """A request is on its way."""
    LIVE = "live"
    """The book is joined; the core goes on by itself."""
    NO_BOOK = "no_book"
    """The exchange says that there is no book: before an auction, or after a delisting."""


class Delta(NamedTuple):
    """What of a frame matters here: ids, whether it names no level, and its bytes."""

    update_id: int
    cross_sequence: int
    is_empty: bool
    frame: bytes


class Load(NamedTuple):
    """The answer is good: take the book, then these deltas (step 6). ``is_empty``: it says that there is no book."""

    deltas: list[bytes]
    is_empty: bool


class Again(NamedTuple):
    """The answer is of no use; another one is asked for later."""

    why: str


class NoBook(NamedTuple):
    """There is no book, and nothing to take; a packet of the stream begins anew."""


class Outdated(NamedTuple):
    """The answer belongs to a subscription that has ended since."""


class _Data(msgspec.Struct):
    b: list[msgspec.Raw]
    a: list[msgspec.Raw]
    u: int
    seq: int


class _Frame(msgspec.Struct):
    type: str
    data: _Data


_FRAME: Final = msgspec.json.Decoder(_Frame)


def read_delta(frame: bytes) -> Delta | None:
    """Read what matters of a frame that the core could read; None for one that is no delta with a ``seq``."""
    try:
        read = _FRAME.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    data = read.data
    if read.type != "delta":
        return None
    return Delta(data.u, data.seq, not data.b and not data.a, frame)


class FullSync:
    """The state machine of one feed, from subscription to subscription.

    Args:
        random: source of the jitter between requests.
        options: patience and bounds.

    Attributes:
        phase: where it stands.
        attempts: answers of no use in a row.
        loads, asked: books joined and requests made so far.
        dropped: deltas thrown away because their ``seq`` went down, or because there was no room.
    """

    def __init__(self, random: Random, *, options: SyncOptions | None = None) -> None:
        self._random = random
        self._options = options or SyncOptions()
        self._deltas: deque[Delta] = deque()
        self._bytes = 0
        self._subscription = 0
        self._next_ns = 0
        self._asked_ns: int | None = None
        self.phase = Phase.IDLE
        self.attempts = 0
        self.loads = 0
        self.asked = 0
        self.dropped = 0
        self.last_why = ""

    def __repr__(self) -> str:
        return (
            f"<FullSync {self.phase.value} waiting={len(self._deltas)} bytes={self._bytes} "
            f"attempts={self.attempts} loads={self.loads}>"
        )

    @property
    def waiting(self) -> int:
        """Deltas that wait for an answer."""
        return len(self._deltas)

    @property
    def given_up(self) -> bool:
        """Whether so many answers were of no use that the feed counts as one without a snapshot."""
        return self.attempts >= self._options.attempts

    # -- the subscription ----------------------------------------------------------------------------------

    def subscribed(self, now_ns: int) -> None:
        """The exchange acknowledged the topic. Deltas may have come before; then nothing changes."""
        if self.phase is Phase.IDLE:
            self._begin(now_ns + self._options.first_delta_ns)

    def lost(self) -> None:
        """The subscription ended: what waits is worth nothing, and an answer on its way belongs to it."""
        self._forget()
        self._subscription += 1
        self.phase = Phase.IDLE

    def disbelieved(self, now_ns: int) -> None:
        """The core's book isn't live any more, and no delta has shown why: it was silent, or a frame was damaged."""
        if self.phase is Phase.LIVE:
            self._forget()
            self._begin(now_ns + self._options.first_delta_ns)

    # -- the stream ----------------------------------------------------------------------------------------

    def delta(self, frame: bytes, now_ns: int) -> None:
        """A delta that the core could not apply (step 1); one that can't be read here is as good as lost."""
        delta = read_delta(frame)
        if delta is None:
            return
        last = self._deltas[-1] if self._deltas else None
        if self.phase in (Phase.LIVE, Phase.NO_BOOK, Phase.IDLE):
            # The chain broke or ended, or the first delta outran the acknowledgement: go to step 1.
            self._forget()
            self._begin(now_ns)
            last = None
        elif self.phase is Phase.WAITING and last is None and not self.attempts:
            self._begin(now_ns)
        if last is not None and self._is_known(delta):
            return
        if last is not None and delta.update_id != 1:
            if delta.cross_sequence < last.cross_sequence:
                self.dropped += 1
                return
            if delta.update_id != last.update_id + 1:
                self._forget()
        elif last is not None:
            self._forget()
        self._deltas.append(delta)
        self._bytes += len(frame)
        while len(self._deltas) > self._options.most_frames or self._bytes > self._options.most_bytes:
            self._bytes -= len(self._deltas.popleft().frame)
            self.dropped += 1

    def _is_known(self, delta: Delta) -> bool:
        """Whether a delta waits already: a second line brought it once more."""
        place = delta.update_id - self._deltas[0].update_id
        return 0 <= place < len(self._deltas) and self._deltas[place].cross_sequence == delta.cross_sequence

    # -- the answer ----------------------------------------------------------------------------------------

    def wants(self, now_ns: int) -> bool:
        """Whether the book should be asked for now."""
        return self.phase is Phase.WAITING and now_ns >= self._next_ns

    def ask(self, now_ns: int) -> int:
        """A request goes out (step 2); returns what its answer has to be given with."""
        if not self.wants(now_ns):
            raise RuntimeError(f"{self!r}: nothing is to be asked for now")
        self.phase = Phase.ASKING
        self._asked_ns = now_ns
        self.asked += 1
        return self._subscription

    def failed(self, asked: int, now_ns: int, why: str = "") -> None:
        """No answer came, or none that can be read."""
        if asked == self._subscription and self.phase is Phase.ASKING:
            self._again(now_ns, why)

    def answer(self, asked: int, book: RestBook, now_ns: int) -> Load | Again | NoBook | Outdated:
        """Judge an answer (steps 3 to 6).

        Args:
            asked: what `ask` returned.
            book: the answer.
            now_ns: monotonic.
        """
        if asked != self._subscription or self.phase is not Phase.ASKING:
            return Outdated()
        is_empty = not book.bids and not book.asks
        why = self._objection(book)
        if why:
            if is_empty and all(delta.is_empty for delta in self._deltas):
                return self._no_book()
            return self._again(now_ns, why)
        if is_empty and not self._deltas:
            return self._no_book()
        deltas = [delta.frame for delta in self._deltas if delta.update_id > book.update_id]
        is_empty = is_empty and not deltas
        self._forget()
        self.phase = Phase.NO_BOOK if is_empty else Phase.LIVE
        return Load(deltas, is_empty)

    def taken(self, complete: bool, now_ns: int) -> None:
        """What `Load` said was done; not ``complete`` when the core refused some of it."""
        if complete:
            self.attempts = 0
            self.loads += 1
            self.last_why = ""
        elif self.phase in (Phase.LIVE, Phase.NO_BOOK):
            self._again(now_ns, "the book or a delta behind it is not one that can be taken")

    def _objection(self, book: RestBook) -> str:
        """Why the answer can't be joined to what waits; empty when it can. With nothing waiting, the live rule does."""
        if book.cross_sequence is None:
            return "the answer has no seq"
        if not self._deltas:
            return ""
        first, last = self._deltas[0], self._deltas[-1]
        if book.cross_sequence < first.cross_sequence:
            return f"the answer is too old: seq {book.cross_sequence}, the first delta has {first.cross_sequence}"
        same = [delta.update_id for delta in self._deltas if delta.cross_sequence == book.cross_sequence]
        if same:
            if book.update_id in same:
                return ""
            return f"at seq {book.cross_sequence} the answer has u {book.update_id}, the stream {same[0]}"
        behind = next((delta for delta in self._deltas if delta.cross_sequence > book.cross_sequence), None)
        if behind is None:
            if book.update_id >= last.update_id:
                return ""
            return f"the answer is newer than u {last.update_id} by its seq, and has u {book.update_id}"
        if behind.update_id == book.update_id + 1:
            return ""
        return f"u {behind.update_id} does not follow the answer's {book.update_id}"

    # -- steps ---------------------------------------------------------------------------------------------

    def _begin(self, next_ns: int) -> None:
        self.phase = Phase.WAITING
        self.attempts = 0
        self._next_ns = next_ns
        if self._asked_ns is not None:
            self._next_ns = max(next_ns, self._asked_ns + self._options.least_interval_ns)

    def _forget(self) -> None:
        self._deltas.clear()
        self._bytes = 0

    def _again(self, now_ns: int, why: str) -> Again:
        options = self._options
        ceiling = min(options.longest_retry_ns, options.retry_ns << min(self.attempts, 32))
        self.attempts += 1
        self.last_why = why
        self.phase = Phase.WAITING
        # Half of it for certain, so that an answer that lags has time to catch up; the other half spreads the feeds.
        self._next_ns = now_ns + ceiling // 2 + self._random.randint(0, ceiling // 2)
        return Again(why)

    def _no_book(self) -> NoBook:
        self._forget()
        self.attempts = 0
        self.phase = Phase.NO_BOOK
        return NoBook()


def frames_of(answer: FullBook) -> list[bytes]:
    """Return a recorded answer as frames of its feed: a snapshot, and the deltas behind it.

    Raises:
        ExchangeError: the body is no such answer (it was read before it was recorded).
    """
    book = parse_order_book(answer.body.encode(), "market/full_orderbook")
    symbol = answer.topic.split(".", 2)[2]
    if book.symbol != symbol:
        raise ExchangeError(
            f"market/full_orderbook: found the book of {book.symbol[:64]!r}, expected {symbol}"
        )
    frame: dict[str, object] = {
        "topic": answer.topic,
        "ts": book.push_ms,
        "type": "snapshot",
        "data": {
            "s": symbol,
            "b": book.bids,
            "a": book.asks,
            "u": book.update_id,
            "seq": book.cross_sequence or 0,
        },
    }
    if book.match_ms is not None:
        frame["cts"] = book.match_ms
    return [msgspec.json.encode(frame), *(delta.encode() for delta in answer.deltas)]
