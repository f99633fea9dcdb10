"""The archive as it came: frames of many feeds in one order of time, for an engine that takes them as it did live."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.core.drive import Driver, Strategy
from engine.core.feeds import Engine
from engine.strategy import Moment, TradeSeen
from recorder.archive import Archive
from recorder.replay_streams import LAST, Act, Piece, Stream, book_streams, trade_streams, trades_topic
from schemas.errors import ConfigError, NoData
from schemas.names import Category, FeedState
from schemas.time import format_ns, parse_time

__all__ = ["BookChange", "Event", "Replay", "Strategy", "replay"]

_WAIT_S: Final = 0.05
"""How long is waited at most before it is looked whether somebody paused or sought."""

Levels = list[tuple[int, int]]


class BookChange(NamedTuple):
    """What a message said of a book: mantissas, best first; in a delta a size of 0 removes a level."""

    kind: str
    update_id: int
    bids: Levels
    asks: Levels


class Event(NamedTuple):
    """One frame of a replay; the engine has taken it.

    Attributes:
        feed, topic: whose it is; the engine's index.
        at: when it came.
        frame: the message, as the stream would write it.
        change: what it said of the book; None for others, and where the book did not take it.
        trades: the trades that it brought.
        state: of the feed.
    """

    feed: int
    topic: str
    at: Moment
    frame: bytes
    change: BookChange | None
    trades: list[TradeSeen]
    state: FeedState


class Replay:
    """Frames, book changes and trades of some symbols, in the order in which they were received.

    Iterate it for an `Event` a frame, or have it `run` a strategy at the core's speed. Before the first frame the books
    are as of the beginning; a strategy is not told of what made them.

    Args:
        archive: where they are.
        category: of the symbols.
        feeds: (symbol, book topic or None for the deepest that covers the range, whether trades are wanted).
        t0_ns, t1_ns: receive times, the end not included.
        speed: how many seconds of the recording go by in one; None: as fast as can be.
        clock, sleep: for tests.

    Attributes:
        engine: what takes the frames, with the books; another one after a `seek`.
        topics: in the order of the engine's indices.
        at_ns: receive time of the frame that was taken last.
    """

    def __init__(
        self,
        archive: Archive,
        category: str,
        feeds: Sequence[tuple[str, str | None, bool]],
        t0_ns: int,
        t1_ns: int,
        *,
        books: bool = True,
        speed: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._archive = archive
        self._category = Category(category)
        self._feeds = feeds
        self._books = books
        self._t0_ns, self._t1_ns = t0_ns, t1_ns
        self._clock, self._sleep = clock, sleep
        self._running = threading.Event()
        self._running.set()
        self._sought: int | None = None
        self._speed = _checked_speed(speed)
        self.at_ns = t0_ns
        self.topics: list[str] = []
        self._chosen: dict[str, str] = {}
        self._streams: list[Stream] = []
        self.engine = Engine(self._category)
        self._begin(t0_ns)

    @property
    def speed(self) -> float | None:
        """Seconds of the recording that go by in one; None: as fast as can be. ConfigError for what is not above 0."""
        return self._speed

    @speed.setter
    def speed(self, speed: float | None) -> None:
        self._speed = _checked_speed(speed)

    def pause(self) -> None:
        """Hold before the next frame until `resume`, which another thread calls; `run` at full speed sees it later."""
        self._running.clear()

    def resume(self) -> None:
        """Go on; the time of the pause counts for nothing."""
        self._running.set()

    def seek(self, moment: str | datetime) -> None:
        """Go on from another moment of the range, earlier or later, with the next frame.

        Another engine begins there, and a strategy's ``begin`` is called again.

        Raises:
            ConfigError: it lies outside of the range.
        """
        ns = parse_time(moment)
        if not self._t0_ns <= ns < self._t1_ns:
            raise ConfigError(
                f"{format_ns(ns)} lies outside of the replay, {format_ns(self._t0_ns)} to {format_ns(self._t1_ns)}"
            )
        self._sought = ns

    def run(self, strategy: Strategy) -> int:
        """Drive a strategy with every frame, and return how many there were. What it raises comes out of here."""
        frames = 0
        while True:
            driver = Driver(self.engine, strategy)
            for window in self._windows():
                if self._has_sought():
                    break
                if self.speed is None and self._running.is_set():
                    window.play(driver)
                    self.at_ns = max(self.at_ns, window.last_ns)
                    frames += window.told
                    continue
                for one, receive_ns in window.one_by_one(driver):
                    if receive_ns is not None:
                        self._wait(receive_ns)
                    if self._has_sought():
                        break
                    self._archive.refuse_closed()
                    one()
                    if receive_ns is not None:
                        frames += 1
                        self.at_ns = receive_ns
            if not self._has_sought():
                return frames
            self._restart()

    def __iter__(self) -> Iterator[Event]:
        while True:
            listener = _Listener()
            driver = Driver(self.engine, listener)
            for window in self._windows():
                for one, receive_ns in window.one_by_one(driver):
                    if receive_ns is not None:
                        self._wait(receive_ns)
                    if self._has_sought():
                        break
                    self._archive.refuse_closed()
                    listener.heard = None
                    feed, frame, sequence = one()
                    if receive_ns is None:
                        continue
                    self.at_ns = receive_ns
                    yield self._event(driver, listener, feed, frame, sequence, receive_ns)
                if self._has_sought():
                    break
            if not self._has_sought():
                return
            self._restart()

    def _event(
        self, driver: Driver, listener: _Listener, feed: int, frame: bytes, sequence: int, receive_ns: int
    ) -> Event:
        change, trades = None, []
        at = Moment(sequence, receive_ns, receive_ns // 10**6, None)
        if listener.heard is not None:
            at, trades_or_none = listener.heard
            if trades_or_none is None:
                bids, asks = driver.said()
                kind = "snapshot" if b'"type":"snapshot"' in frame[:120] else "delta"
                change = BookChange(kind, self.engine.update_id(feed) or 0, bids, asks)
            else:
                trades = trades_or_none
        return Event(feed, self.topics[feed], at, frame, change, trades, self.engine.state(feed))

    def _windows(self) -> Iterator[_Window]:
        """Frames in order, as long as the archive is open."""
        self._archive.refuse_closed()
        for window in _windows(self._streams):
            self._archive.refuse_closed()
            yield window

    def _has_sought(self) -> bool:
        return self._sought is not None

    def _restart(self) -> None:
        assert self._sought is not None
        at_ns, self._sought = self._sought, None
        self.engine = Engine(self._category)
        self._begin(at_ns)

    def _begin(self, at_ns: int) -> None:
        self._archive.refuse_closed()
        streams: list[Stream] = []
        self.topics = []
        for symbol, topic, has_trades in self._feeds:
            if self._books:
                streams += self._book_streams(symbol, topic, at_ns)
            if has_trades:
                streams += trade_streams(self._archive, self._category.value, symbol, at_ns, self._t1_ns)
                self._add(trades_topic(self._category.value, symbol))
        self._streams = streams
        self._paced: tuple[float, int, float] | None = None
        self.at_ns = at_ns

    def _book_streams(self, symbol: str, topic: str | None, at_ns: int) -> list[Stream]:
        """Of a topic that was chosen once, whatever is sought later; behind its last recording there is nothing."""
        chosen = self._chosen.get(symbol)
        try:
            found, streams = book_streams(
                self._archive, self._category.value, symbol, chosen or topic, at_ns, self._t1_ns
            )
        except NoData:
            if chosen is None:
                raise
            found, streams = chosen, []
        self._chosen[symbol] = found
        self._add(found)
        return streams

    def _add(self, topic: str) -> None:
        if topic not in self.topics:
            self.engine.add_feed(topic)
            self.topics.append(topic)

    def _wait(self, receive_ns: int) -> None:
        """Until the frame is due, and nobody pauses."""
        while True:
            if self._has_sought():
                return
            if not self._running.is_set():
                self._paced = None
                self._sleep(_WAIT_S)
                continue
            speed = self.speed
            if speed is None:
                return
            if self._paced is None or self._paced[2] != speed:
                self._paced = (self._clock(), max(self.at_ns, self._t0_ns), speed)
            began, from_ns, _ = self._paced
            left = began + (receive_ns - from_ns) / 1e9 / speed - self._clock()
            if left <= 0:
                return
            self._sleep(min(left, _WAIT_S))


def replay(
    archive: Archive,
    symbols: str | Sequence[str],
    t0: str | datetime,
    t1: str | datetime,
    *,
    category: str = "linear",
    topic: str | None = None,
    books: bool = True,
    trades: bool = True,
    speed: float | None = None,
) -> Replay:
    """Replay an archive from ``t0`` to before ``t1``, by receive time.

    Args:
        archive: an opened one; once it is closed, a replay of it is refused to go on.
        symbols: one or several of one product line; one that is named twice counts once.
        t0, t1: ISO 8601 with an offset, or aware datetimes.
        category: the product line.
        topic: of the books, such as ``orderbook.50``; the deepest recorded one that covers the range by default.
        books, trades: what is wanted.
        speed: how many seconds of the recording go by in one; None: as fast as can be.

    Raises:
        ConfigError: t0 is after t1, the speed is none, nothing is wanted, the topic is no order book, or an argument is
            of the wrong type.
        NoData: a symbol or its book was not recorded then; the message names what is near.
    """
    start_ns, end_ns = parse_time(t0), parse_time(t1)
    if start_ns > end_ns:
        raise ConfigError(f"t0 ({format_ns(start_ns)}) is after t1 ({format_ns(end_ns)}); exchange them")
    names = _names(symbols)
    if topic is not None and not isinstance(topic, str):
        raise ConfigError(f"found topic {topic!r}, expected a text such as 'orderbook.50', or None")
    if not names or not (books or trades):
        raise ConfigError("found nothing to replay, expected symbols, and books, trades or both")
    if category not in list(Category):
        raise ConfigError(f"found category {category!r}, expected one of {', '.join(Category)}")
    found = Replay(
        archive,
        category,
        [(name, topic, trades) for name in names],
        start_ns,
        end_ns,
        books=books,
        speed=speed,
    )
    if not found._streams and start_ns < end_ns:
        raise NoData(
            f"no trades of {', '.join(names)} were recorded from {format_ns(start_ns)} to {format_ns(end_ns)}"
        )
    return found


def _names(symbols: object) -> list[str]:
    """Each symbol once, in the order in which they are named first."""
    found = [symbols] if isinstance(symbols, str) or not isinstance(symbols, Iterable) else symbols
    names: dict[str, None] = {}
    for name in found:
        if not isinstance(name, str):
            raise ConfigError(f"found symbol {name!r}, expected a text such as 'BTCUSDT', or a list of them")
        names[name] = None
    return list(names)


class _Listener(Strategy):
    """Keeps what was told of the frame at hand."""

    def __init__(self) -> None:
        self.heard: tuple[Moment, list[TradeSeen] | None] | None = None

    def on_book(self, feed: int, at: Moment) -> None:  # noqa: ARG002
        self.heard = at, None

    def on_trades(self, feed: int, at: Moment, trades: list[TradeSeen]) -> None:  # noqa: ARG002
        self.heard = at, trades


# ---- one order of time ---------------------------------------------------------------------------------------------


class _Window(NamedTuple):
    """Frames of all streams and acts up to some moment, in order; behind it come later ones only."""

    payload: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    receive_ns: npt.NDArray[np.int64]
    sequences: npt.NDArray[np.int64]
    is_told: npt.NDArray[np.bool_]
    acts: list[Act]
    order: npt.NDArray[np.int32]  # places of frames; -1 - i: act i

    @property
    def told(self) -> int:
        return int(np.count_nonzero(self.is_told))

    @property
    def last_ns(self) -> int:
        return int(self.receive_ns.max(initial=0))

    def play(self, driver: Driver) -> None:
        """All at once: stretches of frames that are told, or are not, between acts."""
        order = self.order
        codes = np.full(len(order), -1)
        codes[order >= 0] = self.is_told[order[order >= 0]]
        borders = np.flatnonzero(np.diff(codes)) + 1
        for run in np.split(order, borders):
            if not len(run):
                continue
            if run[0] < 0:
                for number in run:
                    _act(driver, self.acts[-1 - int(number)])
            else:
                self._apply(driver, run, bool(self.is_told[run[0]]))

    def one_by_one(self, driver: Driver) -> Iterator[tuple[Callable[[], Any], int | None]]:
        """What is to be done in turn, and when a frame that is told was received; None for what nobody waits for."""
        for number in self.order:
            place = int(number)
            if place < 0:
                yield partial(_act, driver, self.acts[-1 - place]), None
            else:
                told = bool(self.is_told[place])
                yield partial(self._one, driver, place, told), int(self.receive_ns[place]) if told else None

    def _one(self, driver: Driver, place: int, told: bool) -> tuple[int, bytes, int]:
        frame = self.payload[int(self.starts[place]) : int(self.ends[place])].tobytes()
        if told:
            feed = driver.apply(frame, int(self.receive_ns[place]), int(self.sequences[place]))
            return feed, frame, int(self.sequences[place])
        self._apply(driver, self.order[self.order == place], False)
        return -1, frame, int(self.sequences[place])

    def _apply(self, driver: Driver, run: npt.NDArray[np.int32], told: bool) -> None:
        driver.apply_all(
            self.payload,
            self.starts,
            self.ends,
            self.receive_ns,
            self.sequences,
            np.ascontiguousarray(run),
            told,
        )


def _act(driver: Driver, act: Act) -> tuple[int, bytes, int]:
    if act.widen is not None:
        driver.engine.widen(act.symbol, *act.widen, act.key, act.sequence)
    else:
        driver.stale(act.topic, act.cause, act.key, 0)
    return -1, b"", 0


class _Cursor:
    """What of a stream lies ready."""

    def __init__(self, stream: Stream) -> None:
        self._pieces = stream.pieces
        self.bound = stream.bound
        self.pieces: list[Piece] = []
        self.opened = False
        self.over = False

    def more(self) -> None:
        """Read on."""
        self.opened = True
        piece = next(self._pieces, None)
        if piece is None:
            self.over = True
            return
        self.pieces.append(piece)
        ends = [int(piece.keys[-1])] if len(piece.keys) else []
        self.bound = max([self.bound, *ends])

    def take(self, before: int) -> list[Piece]:
        """Everything before a moment."""
        out, rest = [], []
        for piece in self.pieces:
            count = int(np.searchsorted(piece.keys, before, "left"))
            acts = [act for act in piece.acts if act.key < before]
            later = [act for act in piece.acts if act.key >= before]
            out.append(
                Piece(
                    piece.payload, piece.offsets[: count + 1], piece.keys[:count], piece.receive_ns[:count],
                    piece.sequences[:count], piece.told[:count], acts,
                )
            )  # fmt: skip
            if count < len(piece.keys) or later:
                rest.append(
                    Piece(
                        piece.payload, piece.offsets[count:], piece.keys[count:], piece.receive_ns[count:],
                        piece.sequences[count:], piece.told[count:], later,
                    )
                )  # fmt: skip
        self.pieces = rest
        return out


def _windows(streams: list[Stream]) -> Iterator[_Window]:
    """Merge streams: what lies before the moment up to which every stream has been read is in order for good."""
    cursors = sorted((_Cursor(stream) for stream in streams), key=lambda cursor: cursor.bound)
    while cursors:
        nearest = min((cursor.bound for cursor in cursors if not cursor.over), default=LAST)
        for cursor in cursors:
            if not cursor.over and cursor.bound <= nearest:
                cursor.more()
        horizon = min((cursor.bound for cursor in cursors if not cursor.over), default=LAST)
        window = _window([piece for cursor in cursors for piece in cursor.take(horizon)])
        cursors = [cursor for cursor in cursors if not cursor.over or cursor.pieces]
        if len(window.order):
            yield window


def _window(pieces: list[Piece]) -> _Window:
    payloads, starts, ends = [], [], []
    at = 0
    for piece in pieces:
        low, high = int(piece.offsets[0]), int(piece.offsets[-1])
        payloads.append(piece.payload[low:high])
        starts.append(piece.offsets[:-1] - low + at)
        ends.append(piece.offsets[1:] - low + at)
        at += high - low
    acts = [act for piece in pieces for act in piece.acts]

    def joined(name: str, type_: Any) -> npt.NDArray[Any]:
        return np.concatenate([np.empty(0, type_), *(getattr(piece, name) for piece in pieces)]).astype(type_)

    keys, sequences = joined("keys", np.int64), joined("sequences", np.int64)
    count = len(keys)
    # Exponents come into force before the frame of their record; a feed goes stale behind what came with the last good.
    places = np.concatenate([np.arange(count), -1 - np.arange(len(acts))]).astype(np.int32)
    all_keys = np.concatenate([keys, np.array([act.key for act in acts], np.int64)])
    all_sequences = np.concatenate([sequences, np.array([act.sequence for act in acts], np.int64)])
    order = places[np.lexsort((places >= 0, all_sequences, all_keys))]
    none = np.empty(0, np.int64)
    return _Window(
        np.frombuffer(b"".join(payloads), np.uint8),
        np.concatenate([none, *starts]).astype(np.int64),
        np.concatenate([none, *ends]).astype(np.int64),
        joined("receive_ns", np.int64),
        sequences,
        joined("told", np.bool_),
        acts,
        np.ascontiguousarray(order),
    )


def _checked_speed(speed: float | None) -> float | None:
    """Return a speed that is one. Raises ConfigError for others."""
    if speed is None or (isinstance(speed, int | float) and 0 < speed < math.inf):
        return speed
    raise ConfigError(f"found speed {speed!r}, expected a number above 0 (10: ten seconds in one), or None")
