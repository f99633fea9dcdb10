"""The feeds of one category, driven by frames: the face of the C engine (src/tb_engine.h).

Live, `Engine.apply` is one call per frame; in replay `Engine.apply_batch` is one `nogil` call per run of frames in a
journal batch. What the bytes don't say (acknowledgements, disconnects, silence) comes in through methods of its own.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc

from engine.core.book cimport view_of_feed, view_of_rpi
from engine.core.checkpoints cimport checkpoint_functions, checkpoint_of, restore_feed, restore_lines, shared_of
from engine.core.core cimport *
from engine.core.merge cimport lines_of
from engine.core.quotes cimport best_of, free_quotes, grow_quotes, quote_caches, quote_of
from engine.core.readings cimport counters_of, counters_of_feed, delays_of, events_of, gap_of, levels_of, state_of
from engine.core.rows cimport bytes_of_rows, row_functions, rows_taken
from engine.core.values cimport optional, required, topic_of
from engine.core.whole cimport *

import numpy as np

from engine.drivers import Rows, Stamp, UndecodableError, driven
from engine.events import ERRORS
from engine.topics import parse_feed
from schemas.errors import ConfigError
from schemas.names import Category
from schemas.tables import CAUSES, FULL_DEPTH

CONTROL = -1
UNKNOWN_TOPIC = -2
UNDECODABLE = -3

KINDS = ("book", "trades", "ticker", "driven", "rpi")
assert FULL_DEPTH == TB_FULL_DEPTH


cdef checkpoint_functions CHECKPOINTS = checkpoint_functions(
    line=tb_engine_line, sort_changes=tb_sort_changes, load_book=tb_book_load, copy_trades=tb_copy_trades,
    remember_trade=tb_remember_trade,
)
cdef row_functions ROWS = row_functions(
    columns_of=tb_columns_of, block_bytes=tb_table_block_bytes, pile_bytes=tb_pile_bytes, forget_table=tb_table_forget,
    forget_buffer=tb_buffer_forget,
)


cdef list _rpi_side(const tb_feed *feed, int side, object columns):
    cdef int64_t[:, ::1] at = columns
    count = tb_rpi_levels(feed, side, &at[0, 0], &at[1, 0], &at[2, 0])
    return list(zip(*columns[:, :count].tolist()))


cdef inline tb_stamp _stamp(at):
    cdef tb_stamp stamp
    stamp.sequence, stamp.receive_ns, stamp.line = at
    return stamp


cdef object _category(category):
    try:
        return Category(category)
    except ValueError:
        raise ConfigError(f"found category {category!r}, expected one of {', '.join(Category)}") from None


cdef class Engine:
    """The feeds of one category: books, trades and tickers read by the core, the rest by drivers (engine.drivers).

    It belongs to one thread at a time. ``apply_batch`` lets other threads run while it works, and what they ask of this engine
    meanwhile raises RuntimeError, and so does a ``Book`` of it; books that Cython reads don't look.

    Args:
        category: where the frames come from; options' trade topics name a base coin, their rows the contract.
        columns: collect archive rows and keyframes (replay) instead of reporting live digests.

    Events (gaps, and every 64 updates a digest) wait for ``take_events``: half a million at most, then they are counted as lost.

    Raises:
        ConfigError: there is no such category.
    """

    cdef tb_engine engine
    cdef quote_caches quotes
    cdef readonly object category
    cdef dict drivers  # by feed index
    cdef readonly object driven_rows
    cdef bint busy  # a batch is being taken without the GIL: nothing else may touch the feeds

    def __cinit__(self, category, bint columns=False):
        self.category = _category(category)
        self.drivers = {}
        self.driven_rows = Rows() if columns else None
        tb_engine_init(&self.engine, columns)

    def __dealloc__(self):
        free_quotes(&self.quotes)
        tb_engine_free(&self.engine)

    cdef inline int _own(self) except -1:
        if self.busy:
            raise RuntimeError(
                "another thread is applying a batch to this engine; give each thread an engine of its own, or wait for it"
            )
        return 0

    # ---- feeds ----

    def add_feed(self, topic: str) -> int:
        """Register a topic (again is fine) and return its feed index."""
        self._own()
        kind, depth, symbol = parse_feed(self.category, topic)
        cdef bytes name = topic.encode()
        cdef bytes owner = symbol.encode() if kind != "driven" else b""
        index = tb_engine_add_feed(&self.engine, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), KINDS.index(kind),
                                   depth, PyBytes_AS_STRING(owner), PyBytes_GET_SIZE(owner))
        if index < 0:
            raise ConfigError(f"{topic}: no room for another feed (at most 65,536, topics up to 80 bytes)")
        if kind == "driven" and <int>index not in self.drivers:
            other = driven(self.category, topic)
            self.engine.feeds[index].quiet = other.quiet
            self.drivers[index] = other.driver(self, index, topic, self.driven_rows)
        return index

    cdef tb_feed *_feed(self, int index) except NULL:
        self._own()
        if not 0 <= index < self.engine.feed_count:
            raise IndexError(f"found feed {index}, expected one of 0..{self.engine.feed_count - 1}")
        return self.engine.feeds[index]

    def feed_index(self, topic: str) -> int:
        """The feed's index, or -1."""
        cdef bytes name = topic.encode()
        return tb_engine_find_feed(&self.engine, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))

    @property
    def symbol_count(self):
        """Symbols that were met, those of trades without a feed of their own too."""
        return self.engine.symbol_count

    @property
    def feed_count(self):
        """Registered feeds."""
        return self.engine.feed_count

    def topics(self):
        """All topics, in feed order."""
        return [topic_of(self.engine.feeds[i]) for i in range(self.engine.feed_count)]

    # ---- input ----

    def apply(self, bytes frame not None, int64_t receive_ns, int64_t sequence, uint16_t line=0):
        """Take one frame. Returns its feed's index, or CONTROL (no topic), UNKNOWN_TOPIC or UNDECODABLE."""
        self._own()
        tb_fetch_frame(<const uint8_t *>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
        cdef int32_t feed = tb_engine_apply(&self.engine, <const uint8_t *>PyBytes_AS_STRING(frame),
                                            PyBytes_GET_SIZE(frame), receive_ns, sequence, line)
        return feed if feed > TB_RESULT_DRIVEN else self._drive(feed, frame, Stamp(sequence, receive_ns, line))

    cdef int32_t _drive(self, int32_t result, bytes frame, at) except? -1:
        """Have a frame read by its feed's driver."""
        cdef int32_t feed = TB_RESULT_DRIVEN - result
        if tb_engine_is_copy(&self.engine, feed, _stamp(at)):
            return feed
        try:
            self.drivers[feed].frame(frame, at)
        except UndecodableError as error:
            tb_engine_refuse(&self.engine, feed, ERRORS.index(error.cause), _stamp(at))
            return TB_RESULT_UNDECODABLE
        return feed

    def quote(self, bytes frame not None, int64_t receive_ns, int64_t sequence, uint16_t line=0):
        """Take one frame; if it is of a book that is LIVE behind it, return that book's best levels.

        Returns:
            (feed, bid price, bid size, ask price, ask size), mantissas, None for the two of an empty side; or None.
        """
        self._own()
        tb_fetch_frame(<const uint8_t *>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
        cdef int32_t feed = tb_engine_apply(&self.engine, <const uint8_t *>PyBytes_AS_STRING(frame),
                                            PyBytes_GET_SIZE(frame), receive_ns, sequence, line)
        if feed < 0:
            if feed <= TB_RESULT_DRIVEN:
                self._drive(feed, frame, Stamp(sequence, receive_ns, line))
            return None
        cdef tb_feed *f = self.engine.feeds[feed]
        if f.kind != TB_KIND_BOOK or f.state != TB_LIVE:
            return None
        if feed >= self.quotes.count:
            grow_quotes(&self.quotes, self.engine.feed_count)
        return quote_of(&f.book, feed, &self.quotes.of[feed])

    def apply_batch(self, const uint8_t[::1] payloads, const int32_t[::1] offsets, const int64_t[::1] receive_ns,
                    const int64_t[::1] sequences, const uint16_t[::1] lines, const uint8_t[::1] kinds,
                    int64_t start=0, int threads=1, int64_t least_run=512, int32_t[:, ::1] made=None):
        """Take the frames of a journal batch from ``start`` up to the first record that is not a frame.

        Where columns are made and ``made`` is given, a digest note that its book agrees with is taken too: its digest is put
        on the newest row, and it is counted (``digests_met``). One that differs is for the caller, like every other record.

        Returns the index of that record, or the batch's length. Runs without the GIL. With more ``threads`` than one the
        symbols are dealt out to them, and what comes out is the same; stretches of fewer frames than ``least_run`` between
        records that concern more than one symbol are left to one thread, because starting more costs more than it brings.

        ``made`` has five columns and is told, for each frame, its feed, the symbol whose rows came of it, the first of
        them, how many (-2: a digest note), and how it was laid out (``engine.core.wire`` holds the frames against these).
        """
        self._own()
        cdef int64_t n = kinds.shape[0], stopped
        if not (offsets.shape[0] == n + 1 and receive_ns.shape[0] == sequences.shape[0] == lines.shape[0] == n):
            raise ValueError("found columns of different lengths")
        if not 0 <= start <= n:
            raise IndexError(f"found start {start}, expected one of 0..{n}")
        if n == 0:
            return 0
        cdef int64_t i
        for i in range(start, n):
            if offsets[i] < 0 or offsets[i + 1] < offsets[i]:
                raise ValueError("found offsets that do not rise")
        if offsets[n] > payloads.shape[0]:
            raise ValueError("found offsets beyond the payloads")
        cdef const uint8_t *data = &payloads[0] if payloads.shape[0] else NULL
        cdef tb_batch batch
        batch.payloads = data
        batch.offsets = &offsets[0]
        batch.receive_ns = &receive_ns[0]
        batch.sequences = &sequences[0]
        batch.lines = &lines[0]
        batch.kinds = &kinds[0]
        batch.made = NULL
        if made is not None:
            if made.shape[0] != n or made.shape[1] != 5:
                raise ValueError(f"found {made.shape[0]} by {made.shape[1]} places for what was made, expected {n} by 5")
            batch.made = <tb_made *>&made[0, 0]
        while True:
            self._own()  # a driver's Python lets other threads in
            self.busy = True
            with nogil:
                stopped = tb_engine_apply_batch_in_threads(&self.engine, &batch, start, n, threads, max(least_run, 1))
            self.busy = False
            if stopped == n or kinds[stopped] != 0:
                return stopped
            # a frame that a driver has to read
            feed = self.apply(PyBytes_FromStringAndSize(<const char *>data + offsets[stopped],
                                                        offsets[stopped + 1] - offsets[stopped]),
                              receive_ns[stopped], sequences[stopped], lines[stopped])
            if batch.made != NULL:
                batch.made[stopped].feed = feed
                batch.made[stopped].rows = -1
            start = stopped + 1

    @property
    def digests_met(self):
        """Digest notes that ``apply_batch`` took."""
        return self.engine.digests_met

    @property
    def core(self):
        """Address of the C engine, for other modules of this package; it is there as long as this object."""
        return <uintptr_t>&self.engine

    @property
    def busy_at(self):
        """Address of the C int that is not 0 while a batch is being taken; likewise."""
        return <uintptr_t>&self.busy

    def subscribed(self, topic: str, int64_t receive_ns, int64_t sequence, uint16_t line=0):
        """The exchange acknowledged the topic (registered if need be) on this line."""
        self._own()
        tb_engine_subscribed(&self.engine, self.add_feed(topic), line, receive_ns, sequence)

    def disconnect(self, uint16_t line, int64_t receive_ns, int64_t sequence):
        """The line is gone: what no other line carries is stale."""
        self._own()
        tb_engine_disconnect(&self.engine, line, receive_ns, sequence)

    def unsubscribed(self, topic: str, int64_t receive_ns, int64_t sequence, uint16_t line=0):
        """The line carries the topic no longer, on purpose."""
        self._own()
        cdef int feed = self.feed_index(topic)
        if feed >= 0 and not self.engine.feeds[feed].ended:  # one that has ended is unknown in later segments
            tb_engine_unsubscribed(&self.engine, feed, line, receive_ns, sequence)

    def stale(self, topic: str, cause: str, int64_t receive_ns, int64_t sequence):
        """Declare a LIVE feed stale for a reason that no frame shows. ConfigError for another cause than ``schemas.tables.CAUSES``
        has, or where no such feed was added."""
        self._own()
        cdef int feed = self.feed_index(topic)
        if feed < 0:
            raise ConfigError(f"{topic}: found no such feed in this engine, expected one that was added")
        if cause not in CAUSES:
            raise ConfigError(f"found cause {cause!r}, expected one of {', '.join(CAUSES)}")
        tb_engine_stale(&self.engine, feed, CAUSES.index(cause), receive_ns, sequence)

    def end_feed(self, topic: str, int64_t receive_ns, int64_t sequence):
        """The topic is not ours any more: its frames are unknown ones from here on, until ``add_feed`` begins it anew."""
        self._own()
        cdef int feed = self.feed_index(topic)
        if feed >= 0:
            tb_engine_end_feed(&self.engine, feed, receive_ns, sequence)
            self.drivers.pop(feed, None)

    def ended(self, int feed):
        """Whether the feed was ended, and not added again since."""
        return bool(self._feed(feed).ended)

    def backfill(self, bytes frame not None, int64_t receive_ns, int64_t sequence, *, bint imported=False):
        """Take trades that were fetched back, or ``imported`` from a file, oldest first, in the shape of a frame of a registered trades topic.

        Those that the feed has not brought become rows with source ``backfill`` or ``import``; the feed's state, gap and
        last good frame stay as they are. Returns "ok", or why nothing was taken (``engine.events.ERRORS``).
        """
        self._own()
        return ERRORS[tb_engine_backfill(&self.engine, <const uint8_t *>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame),
                                         receive_ns, sequence, TB_FROM_IMPORT if imported else TB_FROM_BACKFILL)]

    def widen(self, symbol: str, unsigned price_decimals, unsigned size_decimals, int64_t receive_ns, int64_t sequence):
        """Announce decimals; the pair in force becomes the widest. Returns False if a level would not fit."""
        self._own()
        cdef bytes name = symbol.encode()
        index = tb_engine_symbol(&self.engine, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if index < 0:
            raise ConfigError(f"{symbol}: no room for another symbol (names up to 64 bytes)")
        return tb_engine_widen(&self.engine, index, price_decimals, size_decimals, sequence, receive_ns) == TB_OK

    def restate(self, topic: str, frames, int64_t receive_ns, int64_t sequence):
        """Bring an orderbook.full feed to what a REST answer and the deltas behind it tell (protocol section 3.3).

        Args:
            topic: of the feed, registered if need be.
            frames: bytes of the feed's frames: the answer as a snapshot, then deltas whose ids go on from it.

        Returns:
            How many were taken; 0 leaves everything as it was. One digest is reported, behind the last.

        Raises:
            ConfigError: it is a feed of another kind.
            TypeError: a frame is no bytes.
        """
        # a number would become as many zeroes
        cdef list held = [frame if type(frame) is bytes else bytes(memoryview(frame)) for frame in frames]
        cdef int32_t index = self.add_feed(topic)
        if self.engine.feeds[index].kind != TB_KIND_BOOK or self.engine.feeds[index].depth != TB_FULL_DEPTH:
            raise ConfigError(f"{topic}: is restated by its own snapshots, expected orderbook.full.SYMBOL")
        cdef int32_t count = len(held)
        cdef const uint8_t **at = <const uint8_t **>malloc(max(count, 1) * sizeof(uint8_t *))
        cdef size_t *lengths = <size_t *>malloc(max(count, 1) * sizeof(size_t))
        try:
            if at == NULL or lengths == NULL:
                raise MemoryError
            for i in range(count):
                at[i] = <const uint8_t *>PyBytes_AS_STRING(held[i])
                lengths[i] = PyBytes_GET_SIZE(held[i])
            return tb_engine_restate(&self.engine, index, at, lengths, count, receive_ns, sequence)
        finally:
            free(at)
            free(lengths)

    def set_digest(self, topic: str, int64_t update_id, uint64_t digest):
        """Put a live digest on the feed's newest row. False if that row has another update id, or there is no such feed."""
        self._own()
        cdef int feed = self.feed_index(topic)
        return feed >= 0 and bool(tb_engine_set_digest(&self.engine, feed, update_id, digest))

    # ---- what drivers say of their feeds ----

    def heard(self, int feed, at, *, int rows=0, int drift=0):
        """The frame could be read: the feed and its line are alive. Counts what came of it."""
        cdef tb_feed *f = self._feed(feed)
        tb_engine_heard(&self.engine, feed, _stamp(at))
        f.rows += rows
        self.engine.drift += drift

    def good(self, int feed, at, int64_t push_ms, match_ms=None):
        """And it was good: the feed is LIVE, and an open gap is closed."""
        self._feed(feed)
        tb_engine_good(&self.engine, feed, push_ms, required(match_ms), _stamp(at))

    # ---- output ----

    @property
    def pending(self):
        """Events waiting in ``take_events``."""
        return self.engine.event_count

    def take_events(self):
        """Return and forget the events since the last call, oldest first."""
        self._own()
        cdef list out = events_of(&self.engine) if self.engine.event_count else []
        self.engine.event_count = 0
        return out

    def state(self, int feed):
        """The feed's state; only LIVE may be read as truth."""
        return state_of(self._feed(feed))

    def update_id(self, int feed):
        """``u`` of the feed's last good frame, or None."""
        return optional(self._feed(feed).update_id)

    def last_good(self, int feed):
        """Stamps of the feed's last good frame: (cross sequence, match ms, push ms, receive ns), each or None."""
        cdef tb_feed *f = self._feed(feed)
        return optional(f.cross_sequence), optional(f.match_ms), optional(f.push_ms), optional(f.receive_ns)

    def digest(self, int feed):
        """Digest of the feed's book."""
        return tb_feed_digest(self._feed(feed))

    def recomputed_digest(self, int feed):
        """The same, computed afresh from every level."""
        return tb_feed_digest_recomputed(self._feed(feed))

    def best(self, int feed):
        """(bid price, bid size, ask price, ask size) mantissas; None, None for an empty side."""
        return best_of(&self._feed(feed).book)

    def levels(self, int feed, n=None):
        """(bids, asks): the best ``n`` levels a side (default: all held) as (price, size) mantissas, best first."""
        cdef tb_book *book = &self._feed(feed).book
        return levels_of(book, 0, n), levels_of(book, 1, n)

    def book(self, int feed):
        """A read-only ``Book`` over a book feed's levels; it follows every frame, keeps the engine, and is the truth only while
        its ``live`` is. Of an RPI feed it has the sizes that are no RPI. ConfigError for a feed of another kind."""
        cdef tb_feed *f = self._feed(feed)
        if f.kind != TB_KIND_BOOK and f.kind != TB_KIND_RPI:
            raise ConfigError(f"{topic_of(f)}: has no book, expected a feed of orderbook.DEPTH.SYMBOL")
        return view_of_feed(f, self, &self.busy)

    def rpi_book(self, int feed):
        """A ``Book`` as ``book`` gives it, over the second sizes of an RPI feed: retail-price-improvement orders alone."""
        cdef tb_feed *f = self._feed(feed)
        if f.kind != TB_KIND_RPI:
            raise ConfigError(f"{topic_of(f)}: has no RPI sizes, expected a feed of orderbook.rpi.SYMBOL")
        return view_of_rpi(f, self, &self.busy)

    def rpi_levels(self, int feed):
        """(bids, asks) of an RPI feed: every level held, as (price, size, RPI size) mantissas, best first."""
        cdef tb_feed *f = self._feed(feed)
        if f.kind != TB_KIND_RPI:
            raise ConfigError(f"{topic_of(f)}: has no RPI sizes, expected a feed of orderbook.rpi.SYMBOL")
        out = []
        for side in range(2):
            most = f.book.sides[side].count + f.rpi.sides[side].count
            columns = np.empty((3, max(most, 1)), np.int64)
            out.append(_rpi_side(f, side, columns))
        return out[0], out[1]

    def exponents(self, symbol: str):
        """(price, size) exponents in force for the symbol, each in -18..0."""
        self._own()
        cdef bytes name = symbol.encode()
        index = tb_engine_symbol(&self.engine, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if index < 0:
            return 0, 0
        return -<int>self.engine.symbols[index].price_decimals, -<int>self.engine.symbols[index].size_decimals

    def feed_counters(self, int feed):
        """Counts of one feed: messages decoded, rows, repeats, unapplied; and the receive stamps."""
        return counters_of_feed(self._feed(feed))

    def first(self, int feed):
        """(receive stamp, sequence) of the first frame of the feed that this engine decoded, or None."""
        cdef tb_feed *f = self._feed(feed)
        return (f.first_receive_ns, f.first_sequence) if f.messages else None

    def open_gap(self, int feed):
        """The feed's open gap as ``OpenGap``, or None."""
        return gap_of(&self._feed(feed).gap)

    def last_receive_ns(self, int feed):
        """Receive stamp of the feed's last decoded frame, or None."""
        return optional(self._feed(feed).last_receive_ns)

    def messages(self, int feed):
        """Decoded frames of the feed."""
        return self._feed(feed).messages

    def lines(self, int feed):
        """What each line did for a feed that several carry or carried, as ``engine.lines.LineShare``; empty for one line."""
        return lines_of(self._feed(feed))

    def has_left(self, int feed):
        """Whether the feed was given up on purpose: no line carries it, and none is to."""
        return self._feed(feed).subscribed == 2

    def leading_line(self, int feed):
        """The line that brought the feed's last good frame, or took over from it."""
        return self._feed(feed).line

    def counters(self):
        """Counts of the whole engine."""
        return counters_of(&self.engine)

    def measure_delays(self):
        """Measure from here on how late the frames are that LIVE feeds take through ``apply`` and ``quote``."""
        self._own()
        if not tb_engine_measure(&self.engine):
            raise MemoryError

    def delays(self):
        """{class of topics: (match to receive, push to receive)} as ``engine.latency.Histogram``.

        A class is a topic up to its last dot. Left out is what says nothing about lateness: repeats, a feed's first message,
        keep-alives of level 1 and, from match time, snapshots of deeper books, which are as old as their last change (protocol
        section 3.1). Trades count once a message, by its last trade.
        """
        self._own()
        return delays_of(&self.engine)

    # ---- checkpoints ----

    def shared(self):
        """Checkpoint of what feeds share: exponent pairs and lines."""
        self._own()
        return shared_of(&self.engine)

    def restore_shared(self, note):
        """Take up a ``Shared`` checkpoint; before any feed is restored."""
        self._own()
        for name, (price, size) in note.symbols.items():
            self.widen(name, price, size, 0, 0)
        restore_lines(&self.engine, &CHECKPOINTS, note.lines)
        self.engine.event_count = 0

    def checkpoint(self, int feed):
        """The feed's whole state, as a ``FeedCheckpoint``."""
        cdef tb_feed *f = self._feed(feed)
        return checkpoint_of(f, tb_feed_digest(f))

    def restore(self, note):
        """Take up a ``FeedCheckpoint``: the feed is registered and continues exactly where the other engine was.

        With columns, a LIVE book with deltas begins with a keyframe, so that its rows stand alone.
        """
        cdef int32_t index = self.add_feed(note.topic)
        restore_feed(self.engine.feeds[index], &CHECKPOINTS, note)
        tb_engine_keyframe(&self.engine, index)

    # ---- rows ----

    @property
    def row_bytes(self):
        """Memory that rows not yet taken use."""
        self._own()
        cdef size_t total = bytes_of_rows(&self.engine, &ROWS)
        return total + (0 if self.driven_rows is None else self.driven_rows.bytes)

    def take_rows(self, collector: str, size_t keep_bytes=0):
        """Return and forget the rows made since the last call.

        A symbol's rows of one table are a pile. The smallest piles stay where they are while they hold ``keep_bytes`` at
        most; rows that drivers made never stay.

        Returns:
            {(table, symbol, day): pyarrow.Table} with the schemas of schemas.tables; ``day`` counts UTC days since
            1970-01-01. Rows keep the order of the journal.
        """
        self._own()
        cdef dict out = rows_taken(&self.engine, &ROWS, collector, keep_bytes)
        if self.driven_rows is not None:
            self.driven_rows.take(collector, out)
        return out

    def __repr__(self):
        return f"<Engine {self.category} feeds={self.engine.feed_count} symbols={self.engine.symbol_count}>"


def ticker_keys():
    """The core's ticker fields as (key, kind), in bit order; a test holds them against schemas.tables."""
    kinds = {"d": "decimal", "t": "time", "s": "text"}
    return [(tb_ticker_key(i).decode(), kinds[chr(tb_ticker_type(i))]) for i in range(TB_TICKER_FIELDS)]
