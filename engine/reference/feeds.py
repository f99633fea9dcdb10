"""The reference state machine: frames in; rows, gaps and states out (design, "When a book may be believed")."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from engine.reference.books import ReferenceBook, ReferenceRpiBook, mantissa_of
from engine.reference.carriers import FeedView, Said, Verdict
from engine.reference.lines import Merge
from engine.reference.messages import (
    Book,
    Kind,
    Object,
    Ticker,
    Trades,
    UndecodableError,
    members,
    read_book,
    read_ticker,
    read_trades,
    text_of,
)
from schemas.errors import ConfigError, DecimalError
from schemas.names import Category, FeedState, GapCause, RowKind, Table
from schemas.tables import FULL_DEPTH, RPI_DEPTH, TICKER_FIELDS

__all__ = ["Outcome", "ReferenceFeeds"]

MAXIMUM_DECIMALS: Final = 18
REMEMBERED_TRADES: Final = 1_024
MOST_REMEMBERED_TRADES: Final = 8_192
BURST_NS: Final = 10**9
INT64_MAXIMUM: Final = 2**63 - 1
Row = dict[str, Any]


class Outcome(StrEnum):
    """What a frame was."""

    DATA = "data"
    UNDECODABLE = "undecodable"
    OTHER = "other"
    """An object that belongs to no feed: an answer, a pong, a topic that nobody asked for."""


class _Arrival(NamedTuple):
    """When and where something came; also what is known of a feed's last good frame."""

    receive_ns: int
    sequence: int
    line: int
    match_ms: int | None = None


@dataclass
class _Feed:
    topic: str
    kind: Kind
    symbol: str
    depth: int
    state: FeedState = FeedState.EMPTY
    line: int = 0
    good: _Arrival | None = None
    gap: Row | None = None
    reach: _Arrival | None = None  # from where on gaps have been told while this one was open
    # Books: `update_id` is of the last applied frame, `seen` are the ids of this chain.
    book: ReferenceBook | ReferenceRpiBook = field(default_factory=ReferenceBook)
    update_id: int | None = None
    seen: set[int] = field(default_factory=set)
    crossed: bool = False
    # Trades and tickers.
    trade_ids: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_TRADES))
    burst: tuple[int, int] = 0, 0
    values: Row = field(default_factory=dict)
    # Lines: `carried` by `line`, until a second line comes and `merge` tells.
    carried: bool = False
    merge: Merge | None = None
    cross_sequence: int | None = None
    push_ms: int = -1

    @property
    def has_consecutive_ids(self) -> bool:
        return self.kind is Kind.BOOK and self.depth > 1

    @property
    def is_rpi(self) -> bool:
        return isinstance(self.book, ReferenceRpiBook)

    @property
    def is_full(self) -> bool:
        return self.depth == FULL_DEPTH


class ReferenceFeeds:
    """Every feed of one category, driven frame by frame.

    Attributes:
        rows: per table (``book_updates``, ``trades``, ``tickers``), one dict per row with the table's columns
            except ``collector`` and ``digest``, plus ``topic`` and ``symbol``. Times are integers: ns for
            ``receive_time``, ms for the exchange's clocks; DECIMAL columns are ``Decimal``.
        gaps: healed gaps in the order of healing, with the columns of ``gaps`` except ``collector``.
        undecodable: frames that could not be used.
        repeated_deltas, repeated_trades: messages and trades that made no row because they had one already.
    """

    def __init__(self, category: Category | str) -> None:
        self.category = Category(category)
        self.rows: dict[Table, list[Row]] = {
            Table.BOOK_UPDATES: [],
            Table.RPI_BOOK_UPDATES: [],
            Table.TRADES: [],
            Table.TICKERS: [],
        }
        self.gaps: list[Row] = []
        self.undecodable = 0
        self.repeated_deltas = 0
        self.repeated_trades = 0
        self._feeds: dict[str, _Feed] = {}
        self._decimals: dict[str, tuple[int, int]] = {}
        self._line_good: dict[int, _Arrival] = {}
        self._line_gaps: dict[int, Row] = {}
        self._unattributed: dict[int, int] = {}  # line -> sequence of its last frame without a feed

    # What a reader may ask

    def state(self, topic: str) -> FeedState:
        """Return the feed's state."""
        return self._feeds[topic].state

    def update_id(self, topic: str) -> int | None:
        """Return the ``u`` of the last applied book message, None before the first."""
        return self._feeds[topic].update_id

    def decimals(self, symbol: str) -> tuple[int, int]:
        """Return the symbol's price and size decimals in force (exponents, negated)."""
        return self._decimals.get(symbol, (0, 0))

    def digest(self, topic: str) -> int:
        """Return the digest of the feed's book at the pair in force."""
        feed = self._feeds[topic]
        return feed.book.digest(*self.decimals(feed.symbol))

    def top(self, topic: str, count: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Return at most ``count`` (and at most the topic's depth) bids and asks as mantissas, best first."""
        bids, asks = self.levels(topic)
        count = min(count, self._feeds[topic].depth)
        return bids[:count], asks[:count]

    def levels(self, topic: str) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Return all bids and asks as mantissas, best first, those beyond the topic's depth too."""
        feed = self._feeds[topic]
        price_decimals, size_decimals = self.decimals(feed.symbol)
        bids, asks = (
            [
                (mantissa_of(price, price_decimals), *(mantissa_of(size, size_decimals) for size in sizes))
                for price, *sizes in side
            ]
            for side in feed.book.top(max(len(feed.book.bids), len(feed.book.asks)))
        )
        return bids, asks

    def open_gaps(self) -> list[Row]:
        """Return the gaps that nothing has healed yet: feeds in order of registration, then lines."""
        feeds = [feed.gap for feed in self._feeds.values() if feed.gap is not None]
        return feeds + [self._line_gaps[line] for line in sorted(self._line_gaps)]

    # What happens

    def add_feed(self, topic: str) -> None:
        """Register a topic: ``orderbook.N.SYMBOL``, ``publicTrade.X`` or ``tickers.SYMBOL``."""
        kind, _, rest = topic.partition(".")
        depth = "0"
        book: ReferenceBook | ReferenceRpiBook = ReferenceBook()
        if kind == Kind.BOOK:
            depth, _, rest = rest.partition(".")
            if depth == "rpi":
                book = ReferenceRpiBook()
            depth = {"rpi": str(RPI_DEPTH), "full": str(FULL_DEPTH)}.get(depth, depth)
        if kind not in list(Kind) or not rest or not re.fullmatch("0|[1-9][0-9]{0,4}", depth):
            raise ConfigError(
                f"topic {topic!r}: expected orderbook.N.SYMBOL, publicTrade.X or tickers.SYMBOL"
            )
        self._feeds.setdefault(topic, _Feed(topic, Kind(kind), rest, int(depth), book=book))

    def announce(self, symbol: str, price_decimals: int, size_decimals: int) -> None:
        """Widen the symbol's pair; ``DecimalError`` (and no change) where a book could not follow."""
        price, size = self.decimals(symbol)
        pair = max(price, price_decimals), max(size, size_decimals)
        self._check_pair(symbol, pair)
        self._decimals[symbol] = pair

    def on_subscribed(self, topics: Iterable[str], receive_ns: int, sequence: int, line: int = 0) -> None:
        """The exchange acknowledged a subscription."""
        for topic in topics:
            feed = self._feeds[topic]
            self._carry(feed, line, receive_ns)
            if feed.kind is Kind.TRADES:
                self._heal(feed, _Arrival(receive_ns, sequence, line), "subscribed")
            elif feed.state is FeedState.EMPTY:
                feed.state = FeedState.SYNCING

    def on_disconnect(self, line: int, receive_ns: int) -> None:
        """A connection ended: live feeds that no other line carries are stale from their last good frame on."""
        for feed in self._feeds.values():
            self._drop_line(feed, line, receive_ns)

    def on_unsubscribed(self, topic: str, line: int, receive_ns: int) -> None:
        """A line carries a topic no longer, on purpose."""
        feed = self._feeds[topic]
        if feed.merge is not None and any(carrier.line != line for carrier in feed.merge.up()):
            self._drop_line(feed, line, receive_ns)
        elif self._carries(feed, line):
            feed.carried = False
            if feed.merge is not None:
                feed.merge.leave(line)

    def on_stale(self, topic: str, cause: GapCause | str, receive_ns: int) -> None:
        """Something outside (silence, a crash, a failed audit) says that a live feed may not be believed."""
        feed = self._feeds[topic]
        if feed.state is FeedState.LIVE:
            self._stale(feed, GapCause(cause), _Arrival(receive_ns, 0, feed.line))

    def on_restate(self, topic: str, frames: Iterable[bytes], receive_ns: int, sequence: int) -> int:
        """A REST answer, as a snapshot frame, and the deltas behind it: begin the full book anew. Return how many
        frames were taken; whatever comes behind one that can't be is left out (protocol section 3.3)."""
        feed = self._feeds[topic]
        taken = 0
        for frame in frames:
            try:
                decoded = self._decode(frame)
                if decoded is None or decoded[0] is not feed or not isinstance(message := decoded[1], Book):
                    break
                follows = feed.update_id is not None and message.update_id == feed.update_id + 1
                if message.kind is not (RowKind.DELTA if taken else RowKind.SNAPSHOT) or (
                    taken and not follows
                ):
                    break
                pairs = self._fit(feed, message)
            except UndecodableError:
                break
            self._decimals.update(pairs)
            self._on_book(feed, message, _Arrival(receive_ns, sequence, feed.line, message.match_ms))
            if feed.state is not FeedState.LIVE:
                break
            taken += 1
        return taken

    def on_frame(self, frame: bytes, receive_ns: int, sequence: int, line: int = 0) -> Outcome:
        """Take one frame: all of it or, when it is undecodable, nothing."""
        arrival = _Arrival(receive_ns, sequence, line)
        try:
            decoded = self._decode(frame)
            if decoded is None:
                return Outcome.OTHER
            feed, message = decoded
            pairs = self._fit(feed, message)
        except UndecodableError as damage:
            self._damaged(damage.topic, arrival)
            return Outcome.UNDECODABLE
        self._line_good[line] = arrival
        if line in self._line_gaps:
            self._close(self._line_gaps.pop(line), arrival, "message")
        if isinstance(message, Book):
            arrival = arrival._replace(match_ms=message.match_ms)
        verdict = self._admit(feed, message, frame, arrival)
        if verdict is Verdict.COPY:
            self.repeated_deltas += 1
            return Outcome.DATA
        self._decimals.update(pairs)
        if verdict is Verdict.LATE:
            self._late(feed, message, arrival)
        elif isinstance(message, Book):
            self._on_book(feed, message, arrival)
        elif isinstance(message, Trades):
            self._on_trades(feed, message, arrival)
        else:
            self._on_ticker(feed, message, arrival)
        return Outcome.DATA

    # Decoding

    def _decode(self, frame: bytes) -> tuple[_Feed, Book | Trades | Ticker] | None:
        pairs: list[tuple[str, Any]] = []
        try:
            for pair in members(frame.decode()):
                pairs.append(pair)  # noqa: PERF402 - what was read before the damage is kept
        except UnicodeDecodeError as error:
            self._read_until_damage(frame[: error.start].decode(), pairs)
            raise UndecodableError("not UTF-8", self._attribute(frame, pairs)) from error
        except (ValueError, RecursionError) as error:
            raise UndecodableError("not JSON", self._attribute(frame, pairs)) from error
        topics = [value for key, value in pairs if key == "topic"]
        if not topics:
            return None
        try:
            if len(topics) > 1:
                raise UndecodableError("topic twice")
            feed = self._feeds.get(text_of(topics[0]))
            if feed is None:
                return None
            return feed, self._read(feed, Object(pairs))
        except UndecodableError as damage:
            damage.topic = self._attribute(frame, pairs)
            raise

    @staticmethod
    def _read_until_damage(text: str, pairs: list[tuple[str, Any]]) -> None:
        try:
            for pair in members(text):
                pairs.append(pair)  # noqa: PERF402 - what was read before the damage is kept
        except (ValueError, RecursionError):
            return

    def _attribute(self, frame: bytes, pairs: list[tuple[str, Any]]) -> str | None:
        """Find the feed of a damaged frame: by its topic key, or by the plain bytes of one."""
        for key, value in pairs:
            if key == "topic" and isinstance(value, str) and value in self._feeds:
                return value
        for match in re.finditer(rb'"topic":"([^"]*)"', frame):
            topic = match[1].decode(errors="replace")
            if topic in self._feeds:
                return topic
        return None

    def _read(self, feed: _Feed, envelope: Object) -> Book | Trades | Ticker:
        if feed.kind is Kind.BOOK:
            return read_book(envelope, feed.symbol, sizes=2 if feed.is_rpi else 1)
        if feed.kind is Kind.TICKERS:
            return read_ticker(envelope, feed.symbol)
        return read_trades(envelope, None if self.category is Category.OPTION else feed.symbol)

    # Exponents

    def _fit(self, feed: _Feed, message: Book | Trades | Ticker) -> dict[str, tuple[int, int]]:
        """Return the pairs that the frame's numbers need, or refuse the frame."""
        if isinstance(message, Ticker):
            return {}
        if isinstance(message, Book):
            numbers = [
                (feed.symbol, price, size) for price, *sizes in message.bids + message.asks for size in sizes
            ]
        else:
            numbers = [(trade.symbol, trade.price, trade.size) for trade in message.trades]
        pairs: dict[str, tuple[int, int]] = {}
        for symbol, price, size in numbers:
            price_decimals, size_decimals = pairs.get(symbol, self.decimals(symbol))
            if size.value != 0:
                size_decimals = max(size_decimals, size.decimals)
            pairs[symbol] = max(price_decimals, price.decimals), size_decimals
        try:
            for symbol, price, size in numbers:
                mantissa_of(price.value, pairs[symbol][0])
                mantissa_of(size.value, pairs[symbol][1])
            for symbol, pair in pairs.items():
                self._check_pair(symbol, pair)
        except DecimalError as error:
            raise UndecodableError(str(error), feed.topic) from error
        return pairs

    def _check_pair(self, symbol: str, pair: tuple[int, int]) -> None:
        """Raise ``DecimalError`` unless every level of the symbol's books fits int64 at this pair."""
        if pair == self.decimals(symbol):
            return
        if max(pair) > MAXIMUM_DECIMALS:
            raise DecimalError(f"{max(pair)} decimals: expected at most {MAXIMUM_DECIMALS}")
        for feed in self._feeds.values():
            if feed.kind is Kind.BOOK and feed.symbol == symbol:
                for side in (feed.book.bids, feed.book.asks):
                    for price, sizes in side.items():
                        mantissa_of(price, pair[0])
                        for size in sizes if feed.is_rpi else [sizes]:
                            mantissa_of(size, pair[1])

    # Lines

    def _carry(self, feed: _Feed, line: int, receive_ns: int) -> None:
        if feed.merge is None and (feed.line == line or not self._is_carried(feed)):
            feed.line, feed.carried = line, True
        else:
            self._merge(feed, receive_ns).join(line, receive_ns)

    @staticmethod
    def _is_carried(feed: _Feed) -> bool:
        return feed.carried or feed.state is FeedState.LIVE

    @staticmethod
    def _merge(feed: _Feed, receive_ns: int) -> Merge:
        """The feed gets a second line; the one that it had is the elected one."""
        if feed.merge is None:
            feed.merge = Merge()
            first = feed.merge.join(feed.line, 0 if feed.state is FeedState.LIVE else receive_ns)
            assert first is not None
            if feed.good is not None:
                feed.merge.opened.add(feed.line)
            if feed.state is FeedState.LIVE and feed.good is not None:
                first.met = True
                first.position = feed.update_id
                first.heard_ns = feed.good.receive_ns
                feed.merge.head_ms = feed.push_ms
            elif feed.state is FeedState.LIVE:  # rare messages, none yet: its silence counts from here
                first.heard_ns = receive_ns
        return feed.merge

    def _view(self, feed: _Feed) -> FeedView:
        return FeedView(
            feed.kind,
            feed.has_consecutive_ids,
            feed.kind is Kind.TICKERS
            and self.category not in (Category.SPOT, Category.OPTION, Category.SPREAD),
            feed.state,
            feed.line,
            feed.update_id,
            feed.cross_sequence,
            feed.seen,
            feed.good.receive_ns if feed.good is not None else None,
            feed.reach.receive_ns if feed.gap is not None and feed.reach is not None else None,
        )

    def _admit(
        self, feed: _Feed, message: Book | Trades | Ticker, frame: bytes, arrival: _Arrival
    ) -> Verdict:
        """Whether the feed follows a frame, or waits, or has had it."""
        if feed.merge is None and feed.line == arrival.line:
            return Verdict.TAKE
        if feed.merge is None and not self._is_carried(feed):
            feed.line, feed.carried = arrival.line, True
            return Verdict.TAKE
        merge = self._merge(feed, arrival.receive_ns)
        book = message if isinstance(message, Book) else None
        said = Said(
            frame,
            not isinstance(message, Trades) and message.kind is RowKind.SNAPSHOT,
            message.push_ms,
            book.match_ms if book else None,
            book.update_id if book else None,
            book.cross_sequence if book else None,
            arrival.receive_ns,
        )
        verdict = merge.admit(self._view(feed), arrival.line, said)
        if isinstance(message, Trades):
            return Verdict.TAKE  # their ids say it
        if merge.loss is not None:
            self._lose(feed, merge.loss.cause, merge.loss.start, arrival)
        return verdict

    def _lose(self, feed: _Feed, cause: str, start: tuple[int, int | None] | None, arrival: _Arrival) -> None:
        good = feed.good
        if feed.state is not FeedState.LIVE:
            if start is not None and feed.gap is not None:
                self._lengthen(
                    feed, GapCause(cause), arrival._replace(receive_ns=start[0], match_ms=start[1])
                )
            return
        if start is not None and good is not None:
            feed.good = good._replace(receive_ns=start[0], match_ms=start[1])
        self._stale(feed, GapCause(cause), arrival)
        feed.good = good

    def _lengthen(self, feed: _Feed, cause: GapCause, start: _Arrival) -> None:
        """What was lost ahead of the gap that is open makes another one, up to it."""
        assert feed.reach is not None
        if start.receive_ns >= feed.reach.receive_ns:
            return
        end, feed.reach = feed.reach._replace(sequence=start.sequence), start
        self._close(self._gap(feed.topic, cause, start), end, "gap")

    def _drop_line(self, feed: _Feed, line: int, receive_ns: int) -> None:
        arrival = _Arrival(receive_ns, 0, line)
        if feed.merge is not None:
            left = feed.merge.drop(self._view(feed), line, receive_ns)
            if left is None:
                return
            goes_on, feed.line = left
            if not goes_on and feed.state is FeedState.LIVE:
                start = feed.merge.loss.start if feed.merge.loss is not None else None
                self._lose(feed, GapCause.DISCONNECT, start, arrival)
        elif feed.line == line:
            feed.carried = False
            if feed.state is FeedState.LIVE:
                self._stale(feed, GapCause.DISCONNECT, arrival)

    def _is_covered(self, feed: _Feed, arrival: _Arrival) -> bool:
        if feed.merge is None:
            return feed.state is FeedState.LIVE and feed.line != arrival.line
        return feed.merge.is_covered(self._view(feed), arrival.line, arrival.receive_ns, arrival.sequence)

    def _carries(self, feed: _Feed, line: int) -> bool:
        if feed.merge is None:
            return feed.line == line and self._is_carried(feed)
        carrier = feed.merge.find(line)
        return carrier is not None and carrier.up

    def _late(self, feed: _Feed, message: Book | Trades | Ticker, arrival: _Arrival) -> None:
        """A frame that came too late makes a row that is not applied."""
        if isinstance(message, Book):
            self._book_row(feed, message, arrival, applied=False)
        elif isinstance(message, Ticker):
            self._ticker_row(feed, message, arrival, message.values, applied=False)

    # Books

    def _on_book(self, feed: _Feed, message: Book, arrival: _Arrival) -> None:
        if message.kind is RowKind.SNAPSHOT:
            applied: bool | None = self._snapshot(feed, message, arrival)
        else:
            applied = self._delta(feed, message, arrival)
        if applied is None:
            self.repeated_deltas += 1
            return
        feed.seen.add(message.update_id)
        self._book_row(feed, message, arrival, applied=applied)

    def _book_row(self, feed: _Feed, message: Book, arrival: _Arrival, *, applied: bool) -> None:
        price_decimals, size_decimals = self.decimals(feed.symbol)
        row = self._row(feed, arrival, message.push_ms) | {
            "match_time": message.match_ms,
            "depth": feed.depth,
            "kind": message.kind.value,
            "applied": applied,
            "update_id": message.update_id,
            "cross_sequence": message.cross_sequence,
            "price_exponent": -price_decimals,
            "size_exponent": -size_decimals,
        }
        for side, levels in (("bid", message.bids), ("ask", message.asks)):
            row[f"{side}_price_mantissa"] = [mantissa_of(level[0].value, price_decimals) for level in levels]
            row[f"{side}_size_mantissa"] = [mantissa_of(level[1].value, size_decimals) for level in levels]
            if feed.is_rpi:
                sizes = [mantissa_of(level[2].value, size_decimals) for level in levels]
                row[f"{side}_rpi_size_mantissa"] = sizes
        self.rows[Table.RPI_BOOK_UPDATES if feed.is_rpi else Table.BOOK_UPDATES].append(row)

    def _snapshot(self, feed: _Feed, message: Book, arrival: _Arrival) -> bool:
        """A snapshot always replaces the book and begins a chain, unless it is far too long."""
        feed.seen.clear()
        if message.most > 2 * feed.depth:
            self._stale(feed, GapCause.OVERFLOW, arrival, message.update_id)
            return False
        feed.book.snapshot(*message.levels())
        feed.crossed = feed.book.crossed
        if (
            feed.state is FeedState.LIVE
            and feed.has_consecutive_ids
            and feed.update_id is not None
            and message.update_id > feed.update_id + 1
            and not (feed.merge is not None and feed.merge.may_be_brought(feed.update_id + 1, arrival.line))
        ):  # nobody had missed anything, and yet there is something between
            self._open(feed, self._cause_of_loss(feed, arrival), arrival)
        self._heal(feed, arrival, "snapshot", message.update_id)
        self._good(feed, arrival, message.update_id)
        feed.cross_sequence, feed.push_ms = message.cross_sequence, message.push_ms
        return True

    def _delta(self, feed: _Feed, message: Book, arrival: _Arrival) -> bool | None:
        """Return whether the delta was applied; None for a repeat, which makes no row."""
        update_id = message.update_id
        if feed.state is not FeedState.LIVE or feed.update_id is None:
            if feed.is_full:
                self._await_answer(feed, update_id, arrival)
            if update_id in feed.seen:
                return None
            if feed.gap is None and not feed.is_full:
                self._open(feed, GapCause.NO_SNAPSHOT, arrival, update_id)
            return False
        if update_id == feed.update_id + 1 and not (feed.is_full and update_id == 1):
            return self._apply(feed, message, arrival)
        if update_id == 1:
            feed.seen.clear()
            self._stale(feed, GapCause.RESET, arrival)
            return False
        if update_id <= feed.update_id:
            if (message.cross_sequence or 0) > (
                feed.cross_sequence if feed.cross_sequence is not None else INT64_MAXIMUM
            ):  # newer, and yet not the next one: of a chain whose snapshot we lack
                feed.seen.clear()
                self._stale(feed, GapCause.RESET, arrival)
                return False
            return None if update_id in feed.seen else False
        self._stale(feed, self._cause_of_loss(feed, arrival), arrival)
        return False

    def _cause_of_loss(self, feed: _Feed, arrival: _Arrival) -> GapCause:
        assert feed.good is not None
        damaged = self._unattributed.get(arrival.line, -1) > feed.good.sequence
        damaged = damaged or (feed.merge is not None and feed.merge.was_hurt(feed.good.sequence))
        return GapCause.UNDECODABLE if damaged else GapCause.LOST

    def _await_answer(self, feed: _Feed, update_id: int, arrival: _Arrival) -> None:
        """The full book's snapshot comes by REST: to wait for it is no gap, a loss among what waits is one."""
        last = max(feed.seen, default=None)
        if update_id == 1 and last != 1:
            feed.seen.clear()
        elif (
            last is not None
            and update_id > last + 1
            and feed.gap is None
            and not (feed.merge is not None and feed.merge.may_be_brought(last + 1, arrival.line))
        ):
            self._open(feed, GapCause.LOST, arrival, last + 1)

    def _apply(self, feed: _Feed, message: Book, arrival: _Arrival) -> bool:
        """Apply the next delta; a book that comes out insane is put back as it was."""
        undo = feed.book.delta(*message.levels())
        crossed = feed.book.crossed
        cause = None
        if feed.book.deepest > 2 * feed.depth:
            cause = GapCause.OVERFLOW
        elif crossed and feed.crossed:
            cause = GapCause.CROSSED
        if cause is not None:
            feed.book.delta(*undo)
            self._stale(feed, cause, arrival)
            return False
        feed.crossed = crossed
        self._good(feed, arrival, message.update_id)
        feed.cross_sequence, feed.push_ms = message.cross_sequence, message.push_ms
        return True

    # Trades and tickers

    def _on_trades(self, feed: _Feed, message: Trades, arrival: _Arrival) -> None:
        # A gap before this message ends with its first trade, one behind it begins with its last.
        times = [trade.match_ms for trade in message.trades]
        self._heal(feed, arrival._replace(match_ms=times[0] if times else None), "message")
        before = feed.good.match_ms if feed.good is not None else None
        self._good(feed, arrival._replace(match_ms=times[-1] if times else before))
        self._make_room(feed, len(message.trades), arrival.receive_ns)
        for trade in message.trades:
            if trade.columns["trade_id"] in feed.trade_ids:
                self.repeated_trades += 1
                continue
            feed.trade_ids.append(trade.columns["trade_id"])
            price_decimals, size_decimals = self.decimals(trade.symbol)
            row = self._row(feed, arrival, message.push_ms) | trade.columns
            row |= {
                "symbol": trade.symbol,
                "match_time": trade.match_ms,
                "price_mantissa": mantissa_of(trade.price.value, price_decimals),
                "size_mantissa": mantissa_of(trade.size.value, size_decimals),
                "price_exponent": -price_decimals,
                "size_exponent": -size_decimals,
                "source": "stream",
            }
            self.rows[Table.TRADES].append(row)

    @staticmethod
    def _make_room(feed: _Feed, trades: int, receive_ns: int) -> None:
        """Lines bring a burst one after the other: remember what all of them bring in a second and in the next."""
        if feed.merge is None:
            return
        since_ns, count = feed.burst
        if not 0 <= receive_ns - since_ns <= BURST_NS:
            since_ns, count = receive_ns, 0
        feed.burst = since_ns, count + trades
        room = feed.trade_ids.maxlen or 0
        while room < 2 * feed.burst[1] and room < MOST_REMEMBERED_TRADES:
            room *= 2
        if room != feed.trade_ids.maxlen:
            feed.trade_ids = deque(feed.trade_ids, maxlen=room)

    def _on_ticker(self, feed: _Feed, message: Ticker, arrival: _Arrival) -> None:
        applied = message.kind is RowKind.SNAPSHOT or feed.state is FeedState.LIVE
        values = message.values
        if applied:
            snapshot_only = self.category in (Category.SPOT, Category.OPTION, Category.SPREAD)
            if message.kind is RowKind.DELTA:
                values = feed.values | values
            feed.values = values
            self._heal(feed, arrival, "message" if snapshot_only else "snapshot")
            self._good(feed, arrival)
            feed.push_ms = message.push_ms
        elif feed.gap is None:
            self._open(feed, GapCause.NO_SNAPSHOT, arrival)
        self._ticker_row(feed, message, arrival, values, applied=applied)

    def _ticker_row(
        self, feed: _Feed, message: Ticker, arrival: _Arrival, values: Row, *, applied: bool
    ) -> None:
        row = self._row(feed, arrival, message.push_ms) | {
            "kind": message.kind.value,
            "applied": applied,
            "keys": message.keys,
            "cross_sequence": message.cross_sequence,
        }
        row |= {known.column: values.get(known.column) for known in TICKER_FIELDS}
        self.rows[Table.TICKERS].append(row)

    @staticmethod
    def _row(feed: _Feed, arrival: _Arrival, push_ms: int) -> Row:
        return {
            "topic": feed.topic,
            "symbol": feed.symbol,
            "sequence": arrival.sequence,
            "receive_time": arrival.receive_ns,
            "push_time": push_ms,
            "line": arrival.line,
        }

    # States and gaps

    def _heal(self, feed: _Feed, arrival: _Arrival, healed_by: str, update_id: int | None = None) -> None:
        """The feed is live; a gap that was open ends here."""
        feed.state = FeedState.LIVE
        if feed.gap is not None:
            if feed.has_consecutive_ids and update_id is not None and update_id > 1:
                new_chain = feed.update_id is not None and update_id < feed.update_id
                feed.gap["last_update_id"] = None if new_chain else update_id - 1
            self._close(feed.gap, arrival, healed_by)
            feed.gap = None

    @staticmethod
    def _good(feed: _Feed, arrival: _Arrival, update_id: int | None = None) -> None:
        """This frame is the feed's last good one."""
        feed.line = arrival.line
        feed.good = arrival
        feed.update_id = update_id

    def _stale(self, feed: _Feed, cause: GapCause, arrival: _Arrival, update_id: int | None = None) -> None:
        """The feed may not be believed; a gap that is already open stays as it is."""
        if feed.gap is None:
            self._open(feed, cause, arrival, update_id)
        feed.state = FeedState.STALE

    def _open(self, feed: _Feed, cause: GapCause, arrival: _Arrival, update_id: int | None = None) -> None:
        """Open a gap behind a live feed's last good frame, else at this frame (of this ``update_id``)."""
        start = arrival
        if feed.state is FeedState.LIVE:
            start = feed.good or arrival
            update_id = None if feed.update_id in (None, INT64_MAXIMUM) else (feed.update_id or 0) + 1
        feed.gap, feed.reach = self._gap(feed.topic, cause, start), start
        if feed.has_consecutive_ids:
            feed.gap["first_update_id"] = update_id

    @staticmethod
    def _gap(topic: str, cause: GapCause, start: _Arrival) -> Row:
        return {
            "sequence": None,
            "topic": topic,
            "start_time": start.receive_ns,
            "end_time": None,
            "start_match_time": start.match_ms,
            "end_match_time": None,
            "first_update_id": None,
            "last_update_id": None,
            "cause": cause.value,
            "healed_by": None,
        }

    def _close(self, gap: Row, arrival: _Arrival, healed_by: str) -> None:
        gap |= {
            "sequence": arrival.sequence,
            "end_time": arrival.receive_ns,
            "end_match_time": arrival.match_ms,
            "healed_by": healed_by,
        }
        self.gaps.append(gap)

    def _damaged(self, topic: str | None, arrival: _Arrival) -> None:
        self.undecodable += 1
        if topic is None:
            self._unattributed[arrival.line] = arrival.sequence
            if arrival.line not in self._line_gaps and not self._all_are_covered(arrival):
                start = self._line_good.get(arrival.line, arrival)
                self._line_gaps[arrival.line] = self._gap("", GapCause.UNDECODABLE, start)
            return
        feed = self._feeds[topic]
        is_merged = feed.merge is not None or feed.line != arrival.line
        if is_merged and self._is_covered(feed, arrival):
            return
        if feed.state is FeedState.LIVE:
            self._stale(feed, GapCause.UNDECODABLE, arrival)
        elif feed.gap is None:
            self._open(feed, GapCause.UNDECODABLE, arrival)

    def _all_are_covered(self, arrival: _Arrival) -> bool:
        """A damaged frame that may be of any feed of its line: whether other lines carry all of them."""
        feeds = [feed for feed in self._feeds.values() if self._carries(feed, arrival.line)]
        covered = [
            feed.merge is not None and (self._is_covered(feed, arrival) or feed.gap is not None)
            for feed in feeds
        ]
        return bool(feeds) and all(covered)
