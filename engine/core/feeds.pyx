"""The feeds of one category, driven by frames: the face of the C engine (src/tb_engine.h).

Live, `Engine.apply` is one call per frame; in replay `Engine.apply_batch` is one `nogil` call per run of frames in a
journal batch. What the bytes don't say (acknowledgements, disconnects, silence) comes in through methods of its own.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from engine.core.book cimport view_of_feed, view_of_rpi
from engine.core.delays cimport histogram_of
from engine.core.core cimport *
from engine.core.merge cimport lines_of, merge_of, restore_merge


cdef extern from "Python.h":
    # as CPython has them: borrowed and stolen references, and no reference taken to count them
    Py_ssize_t Py_REFCNT(PyObject *object)
    PyObject *PyTuple_GET_ITEM(object items, Py_ssize_t at)
    void PyTuple_SET_ITEM(object items, Py_ssize_t at, object value)

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030E0000
    #define tb_forget_hash(tuple) (((PyTupleObject *)(tuple))->ob_hash = -1) /* tuples remember their hash */
    #else
    #define tb_forget_hash(tuple) ((void)(tuple))
    #endif
    """
    void tb_forget_hash(object items)


import numpy as np

from engine.arrow_rows import book_table, rpi_book_table, split_by_day, ticker_table, trade_table
from engine.drivers import Rows, Stamp, UndecodableError, driven
from engine.events import ERRORS, Event, EventKind
from schemas.errors import ConfigError
from schemas.names import Category, FeedState, Table
from schemas.notes import FeedCheckpoint, LineCheckpoint, OpenGap, Shared, TickerState
from schemas.tables import CAUSES, FULL_DEPTH, RPI_DEPTH, TICKER_FIELDS

CONTROL = -1
UNKNOWN_TOPIC = -2
UNDECODABLE = -3

HEALERS = ("snapshot", "message", "subscribed", "end", "gap")
STATES = (FeedState.EMPTY, FeedState.SYNCING, FeedState.LIVE, FeedState.STALE)
KINDS = ("book", "trades", "ticker", "driven", "rpi")
assert FULL_DEPTH == TB_FULL_DEPTH

# The tuple that stands for a book's best levels: most frames leave them as they were.
ctypedef struct quote_cache:
    tb_level best[2]
    bint held[2]
    PyObject *quote


cdef inline void _put(tuple items, Py_ssize_t at, object value):
    """Set an item of a tuple that nobody else has."""
    cdef PyObject *old = PyTuple_GET_ITEM(items, at)
    Py_INCREF(value)
    PyTuple_SET_ITEM(items, at, value)
    Py_XDECREF(old)


cdef class Memory:
    """Memory that the core has handed over: a read-only buffer, freed with its last user."""

    cdef void *at
    cdef Py_ssize_t length

    def __dealloc__(self):
        free(self.at)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.at, self.length, 1, flags)


cdef Memory _own(void *at, Py_ssize_t length):
    cdef Memory memory = Memory.__new__(Memory)
    memory.at = at
    memory.length = length
    return memory


cdef dict _take_table(tb_table *table, tb_table_kind kind):
    """Columns by name (a ticker's field by its index) as arrays over the core's memory, which is theirs from here on."""
    cdef int count, i
    cdef const tb_column *columns = tb_columns_of(kind, &count)
    cdef dict out = {}
    cdef bint ends
    cdef Py_ssize_t offset
    memory = _own(table.columns, tb_table_block_bytes(table, kind))
    for i in range(count):
        if columns[i].width == 0:
            continue
        ends = columns[i].numpy[0] == c"e"
        offset = <char *>table.columns[i] - <char *>table.columns
        if columns[i].numpy[0] == c"d":
            array = np.frombuffer(memory, np.int64, 2 * table.count, offset).reshape(-1, 2)
        else:
            dtype = np.int32 if ends else columns[i].numpy.decode()
            array = np.frombuffer(memory, dtype, table.count + ends, offset)
        out[columns[i].name.decode() if columns[i].name != NULL else i - TB_TICKER_FIRST_FIELD] = array
    tb_table_forget(table)
    return out


cdef object _take_buffer(tb_buffer *buffer, dtype):
    memory = _own(buffer.bytes, buffer.used)
    tb_buffer_forget(buffer)
    return np.frombuffer(memory, dtype)


cdef list _pairs(const tb_book *book, int side):
    """The levels of a side, best first."""
    cdef tb_level level
    cdef list out = []
    cdef int32_t i
    for i in range(book.sides[side].count):
        level = tb_book_level(book, side, i)
        out.append((level.price, level.size))
    return out


cdef list _rpi_side(const tb_feed *feed, int side, object columns):
    cdef int64_t[:, ::1] at = columns
    count = tb_rpi_levels(feed, side, &at[0, 0], &at[1, 0], &at[2, 0])
    return list(zip(*columns[:, :count].tolist()))


cdef object _optional(int64_t value):
    return None if value < 0 else value


cdef int64_t _required(value):
    return -1 if value is None else value


def parse_feed(category, topic):
    """Split a topic into (kind, depth, symbol): kind book, rpi, trades, ticker or driven. Raises ConfigError for others.

    A ticker's depth is 1 where each message is a whole snapshot (spot, options), else 0; trades have depth 0; the full book's
    is FULL_DEPTH. Only books whose update ids are consecutive have a depth above 1. The symbol is empty where rows name their own.
    """
    parts = topic.split(".", 2)
    if parts[0] == "orderbook" and len(parts) == 3 and parts[2]:
        if parts[1] == "full":
            return "book", FULL_DEPTH, parts[2]
        if parts[1] == "rpi":
            return "rpi", RPI_DEPTH, parts[2]
        if parts[1].isascii() and parts[1].isdigit() and parts[1][0] != "0" and len(parts[1]) < 5 and int(parts[1]) <= 1000:
            return "book", int(parts[1]), parts[2]
    parts = topic.split(".", 1)
    if len(parts) == 2 and parts[1]:
        if parts[0] == "publicTrade":
            return "trades", 0, "" if category == Category.OPTION else parts[1]
        if parts[0] == "tickers":
            return "ticker", int(category in (Category.SPOT, Category.OPTION, Category.SPREAD)), parts[1]
    other = driven(category, topic)
    if other is not None:
        return "driven", 0, other.symbol
    raise ConfigError(
        f"found topic {topic!r}, expected orderbook.DEPTH.SYMBOL (a number, rpi or full), publicTrade.SYMBOL or tickers.SYMBOL"
    )


cdef inline tb_stamp _stamp(at):
    cdef tb_stamp stamp
    stamp.sequence, stamp.receive_ns, stamp.line = at
    return stamp


cdef class Engine:
    """The feeds of one category: books, trades and tickers read by the core, the rest by drivers (engine.drivers).

    It belongs to one thread at a time. ``apply_batch`` lets other threads run while it works, and what they ask of this engine
    meanwhile raises RuntimeError, and so does a ``Book`` of it; books that Cython reads don't look.

    Args:
        category: where the frames come from; options' trade topics name a base coin, their rows the contract.
        columns: collect archive rows and keyframes (replay) instead of reporting live digests.

    Events (gaps, and every 64 updates a digest) wait for ``take_events``: half a million at most, then they are counted as lost.
    """

    cdef tb_engine engine
    cdef quote_cache *quotes
    cdef int32_t quote_count
    cdef readonly object category
    cdef dict drivers  # by feed index
    cdef readonly object driven_rows
    cdef bint busy  # a batch is being taken without the GIL: nothing else may touch the feeds

    def __cinit__(self, category, bint columns=False):
        self.category = Category(category)
        self.drivers = {}
        self.driven_rows = Rows() if columns else None
        tb_engine_init(&self.engine, columns)

    def __dealloc__(self):
        for i in range(self.quote_count):
            Py_XDECREF(self.quotes[i].quote)
        free(self.quotes)
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
        return [self._topic(i) for i in range(self.engine.feed_count)]

    cdef str _topic(self, int index):
        if index < 0:
            return ""
        cdef tb_feed *feed = self.engine.feeds[index]
        return feed.topic[:feed.topic_length].decode()

    cdef str _symbol(self, int index):
        if index < 0:
            return ""
        cdef tb_symbol *symbol = self.engine.symbols[index]
        return symbol.name[:symbol.name_length].decode()

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
        if feed >= self.quote_count:
            self._grow_quotes()
        cdef quote_cache *cache = &self.quotes[feed]
        cdef tb_level bid, ask
        cdef tuple quote
        bid.price = bid.size = ask.price = ask.size = 0
        cdef bint has_bid = f.book.sides[0].count > 0, has_ask = f.book.sides[1].count > 0
        if has_bid:
            bid = tb_book_level(&f.book, 0, 0)
        if has_ask:
            ask = tb_book_level(&f.book, 1, 0)
        if (cache.quote != NULL and cache.best[0].price == bid.price and cache.best[0].size == bid.size
                and cache.best[1].price == ask.price and cache.best[1].size == ask.size
                and cache.held[0] == has_bid and cache.held[1] == has_ask):
            return <object>cache.quote
        # What hasn't changed is not made anew: an int costs as much as the rest of this call. Nor is the tuple, if nobody
        # but the cache has it any more.
        if cache.quote == NULL or Py_REFCNT(cache.quote) > 1:
            quote = (feed, None, None, None, None)
            if cache.quote != NULL:
                for i in range(1, 5):
                    _put(quote, i, (<tuple>cache.quote)[i])
                Py_XDECREF(cache.quote)
            Py_INCREF(quote)
            cache.quote = <PyObject *>quote
        quote = <tuple>cache.quote
        tb_forget_hash(quote)
        self._put_level(quote, 1, &cache.best[0], &cache.held[0], &bid, has_bid)
        self._put_level(quote, 3, &cache.best[1], &cache.held[1], &ask, has_ask)
        return quote

    cdef inline int _put_level(self, tuple quote, Py_ssize_t at, tb_level *known, bint *held, tb_level *level,
                               bint has) except -1:
        if not has:
            _put(quote, at, None)
            _put(quote, at + 1, None)
        else:
            if not held[0] or known.price != level.price:
                _put(quote, at, level.price)
            if not held[0] or known.size != level.size:
                _put(quote, at + 1, level.size)
        known[0] = level[0]
        held[0] = has
        return 0

    cdef int _grow_quotes(self) except -1:
        cdef int32_t count = self.engine.feed_count
        cdef quote_cache *quotes = <quote_cache *>realloc(self.quotes, count * sizeof(quote_cache))
        if quotes == NULL:
            raise MemoryError
        self.quotes = quotes
        memset(quotes + self.quote_count, 0, (count - self.quote_count) * sizeof(quote_cache))
        self.quote_count = count
        return 0

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
        """Declare a LIVE feed stale for a reason that no frame shows."""
        tb_engine_stale(&self.engine, self.add_feed(topic), CAUSES.index(cause), receive_ns, sequence)

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
        """
        cdef int32_t index = self.add_feed(topic)
        if self.engine.feeds[index].kind != TB_KIND_BOOK or self.engine.feeds[index].depth != TB_FULL_DEPTH:
            raise ConfigError(f"{topic}: is restated by its own snapshots, expected orderbook.full.SYMBOL")
        cdef list held = [bytes(frame) for frame in frames]
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
        tb_engine_good(&self.engine, feed, push_ms, _required(match_ms), _stamp(at))

    # ---- output ----

    @property
    def pending(self):
        """Events waiting in ``take_events``."""
        return self.engine.event_count

    def take_events(self):
        """Return and forget the events since the last call, oldest first."""
        self._own()
        cdef list out = []
        cdef tb_event *e
        for i in range(self.engine.event_count):
            e = &self.engine.events[i]
            if e.type == EventKind.UNDECODABLE:
                detail = ERRORS[e.detail]
            elif e.type <= EventKind.GAP_CLOSED:
                detail = CAUSES[e.detail]
            else:
                detail = ""
            out.append(Event(
                EventKind(e.type), self._topic(e.feed), self._symbol(e.symbol), detail,
                HEALERS[e.healer] if e.type == EventKind.GAP_CLOSED else None,
                e.line, e.sequence, e.receive_ns, _optional(e.match_ms), _optional(e.first_update_id),
                _optional(e.last_update_id), e.start_ns, _optional(e.start_match_ms), _optional(e.update_id),
                e.digest, e.price_decimals, e.size_decimals,
            ))
        self.engine.event_count = 0
        return out

    def state(self, int feed):
        """The feed's state; only LIVE may be read as truth."""
        return STATES[self._feed(feed).state]

    def update_id(self, int feed):
        """``u`` of the feed's last good frame, or None."""
        return _optional(self._feed(feed).update_id)

    def last_good(self, int feed):
        """Stamps of the feed's last good frame: (cross sequence, match ms, push ms, receive ns), each or None."""
        cdef tb_feed *f = self._feed(feed)
        return _optional(f.cross_sequence), _optional(f.match_ms), _optional(f.push_ms), _optional(f.receive_ns)

    def digest(self, int feed):
        """Digest of the feed's book."""
        return tb_feed_digest(self._feed(feed))

    def recomputed_digest(self, int feed):
        """The same, computed afresh from every level."""
        return tb_feed_digest_recomputed(self._feed(feed))

    def best(self, int feed):
        """(bid price, bid size, ask price, ask size) mantissas; None, None for an empty side."""
        cdef tb_book *book = &self._feed(feed).book
        cdef tb_level bid, ask
        cdef bint has_bid = book.sides[0].count > 0, has_ask = book.sides[1].count > 0
        if has_bid and has_ask:
            bid = tb_book_level(book, 0, 0)
            ask = tb_book_level(book, 1, 0)
            return bid.price, bid.size, ask.price, ask.size
        if has_bid:
            bid = tb_book_level(book, 0, 0)
            return bid.price, bid.size, None, None
        if has_ask:
            ask = tb_book_level(book, 1, 0)
            return None, None, ask.price, ask.size
        return None, None, None, None

    def levels(self, int feed, n=None):
        """(bids, asks): the best ``n`` levels a side (default: all held) as (price, size) mantissas, best first."""
        cdef tb_book *book = &self._feed(feed).book
        cdef tb_level level
        cdef list sides = []
        for side in range(2):
            count = book.sides[side].count if n is None else min(<int>n, book.sides[side].count)
            out = []
            for i in range(count):
                level = tb_book_level(book, side, i)
                out.append((level.price, level.size))
            sides.append(out)
        return sides[0], sides[1]

    def book(self, int feed):
        """A read-only ``Book`` over a book feed's levels; it follows every frame, keeps the engine, and is the truth only while
        its ``live`` is. Of an RPI feed it has the sizes that are no RPI. ConfigError for a feed of another kind."""
        cdef tb_feed *f = self._feed(feed)
        if f.kind != TB_KIND_BOOK and f.kind != TB_KIND_RPI:
            raise ConfigError(f"{self._topic(feed)}: has no book, expected a feed of orderbook.DEPTH.SYMBOL")
        return view_of_feed(f, self, &self.busy)

    def rpi_book(self, int feed):
        """A ``Book`` as ``book`` gives it, over the second sizes of an RPI feed: retail-price-improvement orders alone."""
        cdef tb_feed *f = self._feed(feed)
        if f.kind != TB_KIND_RPI:
            raise ConfigError(f"{self._topic(feed)}: has no RPI sizes, expected a feed of orderbook.rpi.SYMBOL")
        return view_of_rpi(f, self, &self.busy)

    def rpi_levels(self, int feed):
        """(bids, asks) of an RPI feed: every level held, as (price, size, RPI size) mantissas, best first."""
        cdef tb_feed *f = self._feed(feed)
        if f.kind != TB_KIND_RPI:
            raise ConfigError(f"{self._topic(feed)}: has no RPI sizes, expected a feed of orderbook.rpi.SYMBOL")
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
        cdef tb_feed *f = self._feed(feed)
        return {
            "messages": f.messages, "rows": f.rows, "repeats": f.repeats, "unapplied": f.unapplied,
            "last_receive_ns": _optional(f.last_receive_ns), "last_push_ms": _optional(f.push_ms),
            "last_match_ms": _optional(f.match_ms),
        }

    def first(self, int feed):
        """(receive stamp, sequence) of the first frame of the feed that this engine decoded, or None."""
        cdef tb_feed *f = self._feed(feed)
        return (f.first_receive_ns, f.first_sequence) if f.messages else None

    def open_gap(self, int feed):
        """The feed's open gap as ``OpenGap``, or None."""
        return self._gap(&self._feed(feed).gap)

    def last_receive_ns(self, int feed):
        """Receive stamp of the feed's last decoded frame, or None."""
        return _optional(self._feed(feed).last_receive_ns)

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
        return {
            "undecodable": {ERRORS[i]: self.engine.undecodable[i] for i in range(1, TB_ERROR_COUNT)
                            if self.engine.undecodable[i]},
            "unattributed": self.engine.unattributed,
            "controls": self.engine.controls,
            "unknown_topics": self.engine.unknown_topics,
            "drift": self.engine.drift,
            "events_lost": self.engine.events_lost,
            "rows_lost": self.engine.rows_lost,
        }

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
        cdef dict out = {}
        cdef tb_class_delays *delays = self.engine.delays
        if delays != NULL:
            for i in range(delays.count):
                name = delays.names[i].text[:delays.names[i].length].decode()
                out[name] = (histogram_of(&delays.match[i]), histogram_of(&delays.push[i]))
        return out

    # ---- checkpoints ----

    cdef object _gap(self, tb_gap *gap):
        if not gap.open:
            return None
        moved = gap.reach_ns != gap.start_ns
        return OpenGap(
            CAUSES[gap.cause], gap.start_ns, _optional(gap.start_match_ms), _optional(gap.first_update_id),
            gap.reach_ns if moved else None, _optional(gap.reach_match_ms) if moved else None,
        )

    cdef int _set_gap(self, tb_gap *gap, value) except -1:
        memset(gap, 0, sizeof(tb_gap))
        if value is not None:
            gap.open = 1
            gap.cause = CAUSES.index(value.cause)
            gap.start_ns = value.start_ns
            gap.start_match_ms = _required(value.start_match_ms)
            gap.reach_ns = gap.start_ns if value.reach_ns is None else value.reach_ns
            gap.reach_match_ms = gap.start_match_ms if value.reach_ns is None else _required(value.reach_match_ms)
            gap.first_update_id = _required(value.first_update_id)
        return 0

    def shared(self):
        """Checkpoint of what feeds share: exponent pairs and lines."""
        self._own()
        symbols = {}
        for i in range(self.engine.symbol_count):
            symbols[self._symbol(i)] = (self.engine.symbols[i].price_decimals, self.engine.symbols[i].size_decimals)
        lines = []
        for i in range(self.engine.line_count):
            lines.append(LineCheckpoint(i, _optional(self.engine.lines[i].damage_sequence), _optional(self.engine.lines[i].good_ns),
                                        self._gap(&self.engine.lines[i].gap)))
        return Shared(symbols=symbols, lines=lines)

    def restore_shared(self, note):
        """Take up a ``Shared`` checkpoint; before any feed is restored."""
        cdef tb_line *line
        for name, (price, size) in note.symbols.items():
            self.widen(name, price, size, 0, 0)
        for item in note.lines:
            line = tb_engine_line(&self.engine, item.line)
            if line == NULL:
                raise MemoryError
            line.damage_sequence = _required(item.damage_sequence)
            line.good_ns = _required(item.good_ns)
            self._set_gap(&line.gap, item.gap)
        self.engine.event_count = 0

    def checkpoint(self, int feed):
        """The feed's whole state, as a ``FeedCheckpoint``."""
        cdef tb_feed *f = self._feed(feed)
        sides = [_pairs(&f.book, side) for side in range(2)]
        rpi = [_pairs(f.rpi, side) if f.rpi != NULL else [] for side in range(2)]
        ticker = None
        if f.ticker != NULL and f.state == TB_LIVE:
            values = {}
            for i in range(TB_TICKER_FIELDS):
                if f.ticker.present >> i & 1 and tb_ticker_type(i) != c"s":
                    values[i] = str(int.from_bytes((<const uint8_t *>&f.ticker.values[i])[:16], "little", signed=True))
            texts = tuple(
                f.ticker.texts[i].bytes[:f.ticker.texts[i].length].decode()
                if f.ticker.present >> field & 1 else ""
                for i, field in enumerate(_TEXT_FIELDS)
            )
            ticker = TickerState(f.ticker.keys, f.ticker.present, values, texts)
        ids = b""
        if f.trade_ids != NULL:
            first = f.trade_ids.at if f.trade_ids.count == f.trade_ids.room else 0
            ids = b"".join(
                (<const uint8_t *>&f.trade_ids.hash[(first + i) % f.trade_ids.room][0])[:16]
                for i in range(f.trade_ids.count)
            )
        return FeedCheckpoint(
            topic=self._topic(feed), state=STATES[f.state].value, line=f.line, subscribed=f.subscribed == 1, left=f.subscribed == 2,
            crossed=bool(f.crossed), update_id=_optional(f.update_id), cross_sequence=_optional(f.cross_sequence),
            match_ms=_optional(f.match_ms), push_ms=_optional(f.push_ms), receive_ns=_optional(f.receive_ns),
            sequence=_optional(f.sequence), since_digest=f.since_digest,
            seen=[(f.seen[i].low, f.seen[i].high) for i in range(f.seen_count)],
            digest=f"{tb_feed_digest(f):016x}" if f.kind in (TB_KIND_BOOK, TB_KIND_RPI) and f.state == TB_LIVE else None,
            bids=sides[0], asks=sides[1], rpi_bids=rpi[0], rpi_asks=rpi[1], gap=self._gap(&f.gap), ticker=ticker,
            trade_ids=ids.hex(),
            carried=bool(f.carried), merge=merge_of(f),
        )

    def restore(self, note):
        """Take up a ``FeedCheckpoint``: the feed is registered and continues exactly where the other engine was.

        With columns, a LIVE book with deltas begins with a keyframe, so that its rows stand alone.
        """
        cdef int index = self.add_feed(note.topic)
        cdef tb_feed *f = self._feed(index)
        cdef uint64_t hashed[2]
        cdef bytes raw
        f.state = STATES.index(FeedState(note.state))
        f.line = note.line
        f.subscribed = 2 if note.left else note.subscribed
        f.carried = note.carried
        restore_merge(f, note.merge)
        if f.trade_ids != NULL and note.merge is not None:
            self._make_room(f, note.merge.trade_room)
        f.crossed = note.crossed
        f.update_id = _required(note.update_id)
        f.cross_sequence = _required(note.cross_sequence)
        f.match_ms = _required(note.match_ms)
        f.push_ms = _required(note.push_ms)
        f.receive_ns = f.last_receive_ns = _required(note.receive_ns)
        f.sequence = _required(note.sequence)
        f.since_digest = note.since_digest
        f.keyframe_push_ms = f.push_ms
        self._set_gap(&f.gap, note.gap)
        f.seen_count = 0
        for low, high in note.seen[-TB_SEEN_RANGES:]:
            f.seen[f.seen_count].low = low
            f.seen[f.seen_count].high = high
            f.seen_count += 1
        if f.kind == TB_KIND_RPI:
            self._restore_book(f, f.rpi, note.rpi_bids, note.rpi_asks)
        if f.kind == TB_KIND_BOOK or f.kind == TB_KIND_RPI:
            self._restore_book(f, &f.book, note.bids, note.asks)
            tb_engine_keyframe(&self.engine, index)
        if f.ticker != NULL and note.ticker is not None:
            f.ticker.keys = note.ticker.keys
            f.ticker.present = note.ticker.present
            for i, text in note.ticker.values.items():
                if not 0 <= i < TB_TICKER_FIELDS:
                    raise ValueError(f"{note.topic}: found ticker field {i}, expected one of 0..{TB_TICKER_FIELDS - 1}")
                raw = int(text).to_bytes(16, "little", signed=True)
                memcpy(&f.ticker.values[<int>i], PyBytes_AS_STRING(raw), 16)
            for i, text in enumerate(note.ticker.texts):
                raw = text.encode()[:TB_TEXT_BYTES]
                f.ticker.texts[<int>i].length = len(raw)
                memcpy(f.ticker.texts[<int>i].bytes, PyBytes_AS_STRING(raw), len(raw))
        if f.trade_ids != NULL:
            raw = bytes.fromhex(note.trade_ids)
            for i in range(len(raw) // 16):
                memcpy(hashed, PyBytes_AS_STRING(raw) + 16 * <Py_ssize_t>i, 16)
                tb_remember_trade(f.trade_ids, hashed)

    cdef int _make_room(self, tb_feed *f, int32_t room) except -1:
        """Remember as many trade ids as the other engine did."""
        cdef tb_trade_ids *grown
        if room <= f.trade_ids.room:
            return 0
        if room > TB_MOST_TRADE_IDS or room & (room - 1):
            raise ValueError(f"found room for {room} trade ids, expected a power of two up to {TB_MOST_TRADE_IDS}")
        grown = tb_copy_trades(f.trade_ids, room)
        if grown == NULL:
            raise MemoryError
        free(f.trade_ids)
        f.trade_ids = grown
        return 0

    cdef int _restore_book(self, tb_feed *f, tb_book *book, list bids, list asks) except -1:
        cdef tb_changes changes[2]
        cdef Py_ssize_t total = len(bids) + len(asks)
        cdef int64_t *memory = <int64_t *>malloc(4 * max(total, 1) * sizeof(int64_t))
        cdef int64_t *prices = memory
        cdef int64_t *sizes = memory + total
        if memory == NULL:
            raise MemoryError
        try:
            for side, source in enumerate((bids, asks)):
                for i, (price, size) in enumerate(source):
                    prices[<int>i] = price
                    sizes[<int>i] = size
                tb_sort_changes(prices, sizes, len(source), side, <tb_level *>(memory + 2 * total))
                changes[<int>side].prices = prices
                changes[<int>side].sizes = sizes
                changes[<int>side].count = len(source)
                prices += len(source)
                sizes += len(source)
            if tb_book_load(book, changes) != TB_OK:
                raise ValueError(
                    f"found {len(bids)} bids and {len(asks)} asks, expected at most {2 * f.depth} of each: twice the depth"
                )
        finally:
            free(memory)
        return 0

    # ---- rows ----

    @property
    def row_bytes(self):
        """Memory that rows not yet taken use."""
        self._own()
        cdef size_t total = 0
        for i in range(self.engine.symbol_count):
            total += tb_rows_bytes(self.engine.symbols[i].rows)
        return total + (0 if self.driven_rows is None else self.driven_rows.bytes)

    cdef size_t _least_pile(self, size_t keep_bytes):
        """The bytes from which on piles are taken, so that the smaller ones that are left hold ``keep_bytes`` at most."""
        cdef list piles = []
        cdef size_t size, kept = 0
        cdef int i, kind
        for i in range(self.engine.symbol_count):
            for kind in range(TB_TABLE_COUNT):
                size = tb_pile_bytes(self.engine.symbols[i].rows, kind)
                if size:
                    piles.append(size)
        for size in sorted(piles):
            kept += size
            if kept > keep_bytes:
                return size
        return kept + 1

    def take_rows(self, collector: str, size_t keep_bytes=0):
        """Return and forget the rows made since the last call.

        A symbol's rows of one table are a pile. The smallest piles stay where they are while they hold ``keep_bytes`` at
        most; rows that drivers made never stay.

        Returns:
            {(table, symbol, day): pyarrow.Table} with the schemas of schemas.tables; ``day`` counts UTC days since
            1970-01-01. Rows keep the order of the journal.
        """
        self._own()
        if self.engine.rows_lost:
            raise MemoryError(f"{self.engine.rows_lost} rows found no memory")
        out = {}
        cdef tb_rows *rows
        cdef int kind
        cdef size_t least = self._least_pile(keep_bytes) if keep_bytes else 1
        for i in range(self.engine.symbol_count):
            rows = self.engine.symbols[i].rows
            if rows == NULL:
                break
            symbol = self._symbol(i)
            if tb_pile_bytes(rows, TB_TABLE_BOOKS) >= least:
                columns = _take_table(&rows.tables[TB_TABLE_BOOKS], TB_TABLE_BOOKS)
                levels = [_take_buffer(&rows.buffers[TB_BID_PRICES + side], np.int64) for side in range(4)]
                split_by_day(out, Table.BOOK_UPDATES, symbol, *book_table(columns, levels, collector))
            if tb_pile_bytes(rows, TB_TABLE_RPI_BOOKS) >= least:
                columns = _take_table(&rows.tables[TB_TABLE_RPI_BOOKS], TB_TABLE_RPI_BOOKS)
                levels = [_take_buffer(&rows.buffers[TB_RPI_BID_PRICES + side], np.int64) for side in range(6)]
                split_by_day(out, Table.RPI_BOOK_UPDATES, symbol, *rpi_book_table(columns, levels, collector))
            if tb_pile_bytes(rows, TB_TABLE_TRADES) >= least:
                columns = _take_table(&rows.tables[TB_TABLE_TRADES], TB_TABLE_TRADES)
                ids = _take_buffer(&rows.buffers[TB_IDS_OF_TRADES], np.uint8)
                split_by_day(out, Table.TRADES, symbol, *trade_table(columns, ids, collector))
            if tb_pile_bytes(rows, TB_TABLE_TICKERS) >= least:
                columns = _take_table(&rows.tables[TB_TABLE_TICKERS], TB_TABLE_TICKERS)
                texts = [_take_buffer(&rows.buffers[TB_TEXTS_OF_TICKERS + text], np.uint8) for text in range(2)]
                split_by_day(out, Table.TICKERS, symbol, *ticker_table(columns, texts, collector))
        cdef tb_feed *feed
        for i in range(self.engine.feed_count):
            feed = self.engine.feeds[i]
            kind = TB_TABLE_RPI_BOOKS if feed.kind == TB_KIND_RPI else TB_TABLE_BOOKS
            if feed.last_row >= 0 and self.engine.symbols[feed.symbol].rows.tables[kind].count == 0:
                feed.last_row = -1
        if self.driven_rows is not None:
            self.driven_rows.take(collector, out)
        return out

    def __repr__(self):
        return f"<Engine {self.category} feeds={self.engine.feed_count} symbols={self.engine.symbol_count}>"


_TEXT_FIELDS = tuple(i for i, field in enumerate(TICKER_FIELDS) if field.kind == "text")


def ticker_keys():
    """The core's ticker fields as (key, kind), in bit order; a test holds them against schemas.tables."""
    kinds = {"d": "decimal", "t": "time", "s": "text"}
    return [(tb_ticker_key(i).decode(), kinds[chr(tb_ticker_type(i))]) for i in range(TB_TICKER_FIELDS)]
