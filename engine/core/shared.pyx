"""Live books in shared memory, read: ``SharedControl``, ``SharedBook``, ``SharedTape``. Who writes them is engine.core.publisher.

Memory and time are arguments: who finds and maps the files is ``recorder.live_books``. Layout and protocol:
src/tapebook_shared.h. Readers take no lock and can't slow the writer.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memset

from engine.core.core cimport TB_CAUSE_COUNT
from engine.core.shared cimport *
from engine.core.whole cimport *

import numpy as np

from engine.shared import BookChange, SharedTopic, SharedTrade, Snapshot, StateChange, TradesSeen
from schemas.errors import ConfigError
from schemas.names import FeedState, Side
from schemas.tables import CAUSES


cdef extern from "sched.h" nogil:
    int sched_yield()


cdef extern from *:
    """
    /* Of what a writer in another process may be storing. */
    static inline int64_t tb_relaxed_64(const int64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
    static inline uint8_t tb_relaxed_8(const uint8_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
    """
    int64_t tb_relaxed_64(const int64_t *at) nogil
    uint8_t tb_relaxed_8(const uint8_t *at) nogil


STATES = (FeedState.EMPTY, FeedState.SYNCING, FeedState.LIVE, FeedState.STALE)
KINDS = ("book", "trades", "ticker", "driven", "rpi")
TROUBLES = ("", "writer dead", "writer gone", "writer replaced", "reading paused", "feed ended", "not whole")

cdef tuple _STATES = STATES
cdef tuple _TROUBLES = TROUBLES
cdef tuple _CAUSES = (None, *CAUSES)
cdef int _PATIENT_LOOKS = 64


cdef object _optional(int64_t value):
    return None if value < 0 else value


cdef str _text(const char *at, size_t most):
    cdef const char *end = <const char *>memchr(at, 0, most)
    return at[:most if end == NULL else end - at].decode("utf-8", "replace")


cdef object _new = tuple.__new__  # of a NamedTuple: without a call of Python's


cdef object _levels(const tapebook_level *levels, Py_ssize_t count):
    # A copy, (count, 2).
    cdef Py_buffer view
    out = np.empty((count, 2), np.int64)
    if count:
        PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
        memcpy(view.buf, levels, count * sizeof(tapebook_level))
        PyBuffer_Release(&view)
    return out


cdef object _cause(uint8_t cause):
    return _CAUSES[cause] if cause <= TB_CAUSE_COUNT else "unknown"


cdef class _Memory:
    # A buffer that is held for as long as somebody reads or writes it.

    def __cinit__(self, memory, bint writable):
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.held = True
        if <uintptr_t>self.view.buf % 8:
            raise ValueError("found memory that is not aligned, expected whole words")

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cdef int _check(int found, _Memory memory, str what) except -1:
    # What attaching to memory has found, in words.
    cdef const tapebook_control *head = <const tapebook_control *>memory.view.buf
    if found == TAPEBOOK_GOOD:
        return 0
    if found == TAPEBOOK_OTHER_KIND:
        raise ConfigError(f"found {memory.view.len} bytes that begin {(<const char *>head)[:min(8, memory.view.len)]!r}, "
                          f"expected {what}")
    if found == TAPEBOOK_OTHER_VERSION:
        raise ConfigError(f"found version {head.version} of {what}, expected {TAPEBOOK_VERSION}: writer and reader must be of "
                          "one version of tapebook; update the older one")
    if found == TAPEBOOK_CUT:
        raise ConfigError(f"found {memory.view.len} bytes of {what}, expected {head.file_bytes}: the file was cut")
    if found == TAPEBOOK_OTHER_START:
        raise ConfigError(f"found {what} of another start of the collector: it was started again meanwhile; open it again")
    raise ConfigError(f"found sizes that don't agree in {what}: it is damaged")


cdef class SharedControl:
    """What one start of a collector says of itself: who it is, whether it is alive, and its topics by feed number.

    Args:
        memory: of the file ``control``.

    Raises:
        ConfigError: it is no such file, of another version, or cut short.
    """

    # The readers are made by __cinit__: there is none whose memory wasn't looked at.

    def __cinit__(self, memory):
        cdef _Memory held = _Memory(memory, False)
        _check(tapebook_attach_collector(&self.at, held.view.buf, held.view.len), held, "a collector's control file")
        self.memory = held
        self.names = []

    @property
    def collector(self):
        """The collector's name."""
        return _text(self.at.control.collector, sizeof(self.at.control.collector))

    @property
    def category(self):
        """Its product line."""
        return _text(self.at.control.category, sizeof(self.at.control.category))

    @property
    def environment(self):
        """Where its frames come from."""
        return _text(self.at.control.environment, sizeof(self.at.control.environment))

    @property
    def pid(self):
        """Its process."""
        return self.at.control.writer_pid

    @property
    def token(self):
        """Of this start: all its files have it."""
        return self.at.token

    @property
    def started_ns(self):
        """When it started, by the wall clock."""
        return self.at.control.started_ns

    @property
    def heartbeat_ns(self):
        """Its last sign of life, by the monotonic clock."""
        return tb_relaxed_64(&self.at.control.heartbeat_ns)

    @property
    def heard_ns(self):
        """Since then, by the same clock, every connection of it that is up has brought something; 0: unknown."""
        return tb_relaxed_64(&self.at.control.heard_ns)

    @property
    def timeout_ns(self):
        """A heartbeat older than that means that it is dead."""
        return self.at.timeout_ns

    @property
    def topic_count(self):
        """Topics so far; it grows with new listings."""
        return tapebook_topic_count(&self.at)

    def trouble(self, int64_t now_ns):
        """Why none of its books can be believed at that moment of the monotonic clock, in words (``TROUBLES``); or ""."""
        return _TROUBLES[tapebook_writer(&self.at, now_ns)]

    def topic(self, int feed):
        """The ``SharedTopic`` of a feed's number. IndexError: there is none."""
        if not 0 <= feed < self.topic_count:
            raise IndexError(f"found feed {feed}, expected one of 0..{self.topic_count - 1}")
        cdef const tapebook_topic *row = &self.at.topics[feed]
        return SharedTopic(
            feed, _text(row.topic, sizeof(row.topic)), _text(row.symbol, sizeof(row.symbol)),
            KINDS[row.kind] if row.kind < len(KINDS) else "unknown", row.depth, min(row.capacity, 32767) if row.has_book else 0,
        )

    def topics(self):
        """All topics, by feed number."""
        return [self.topic(feed) for feed in range(self.topic_count)]

    cdef object _names_of(self, int feed):
        # (topic, symbol), or None where there is no such feed.
        cdef const tapebook_topic *row
        if feed >= len(self.names):
            count = self.topic_count
            while len(self.names) < count:
                row = &self.at.topics[len(self.names)]
                self.names.append((_text(row.topic, sizeof(row.topic)), _text(row.symbol, sizeof(row.symbol))))
        return self.names[feed] if 0 <= feed < len(self.names) else None


cdef class SharedBook:
    """A collector's book, read from another process: without locks, without waiting for the writer, without its notice.

    Args:
        memory: of the book's file.
        control: of the same start of the same collector.
        clock: the machine's monotonic clock in nanoseconds (``time.monotonic_ns``): the writer's heartbeat is held against it.

    Raises:
        ConfigError: it is no such file, of another version, of another start, or cut short.
    """

    def __cinit__(self, memory, SharedControl control not None, clock):
        cdef _Memory held = _Memory(memory, False)
        cdef const tapebook_book_file *file
        _check(tapebook_attach_book(&self.at, held.view.buf, held.view.len, &control.at), held, "a book's file")
        file = self.at.file
        self.memory = held
        self.control = control
        self.clock = clock
        self.topic = _text(file.topic, sizeof(file.topic))
        self.symbol = _text(file.symbol, sizeof(file.symbol))
        self.category = _text(file.category, sizeof(file.category))
        capacity = self.at.capacity
        levels = np.frombuffer(memory, np.int64, 4 * capacity, <const char *>self.at.sides[0] - <const char *>file)
        levels = levels.reshape(2, capacity, 2)
        levels.flags.writeable = False
        self.bid_levels, self.ask_levels = levels[0], levels[1]

    @property
    def collector(self):
        """The collector's name."""
        return (<SharedControl>self.control).collector

    @property
    def heard_ns(self):
        """Since then (monotonic) every connection of the collector has brought something, so that a book that hasn't changed
        is no older; 0: unknown."""
        return (<SharedControl>self.control).heard_ns

    @property
    def feed(self):
        """The feed's number, as on the tape."""
        return self.at.file.feed

    @property
    def depth(self):
        """Of the topic; 32767 stands for all of it."""
        return self.at.file.depth

    @property
    def capacity(self):
        """Levels a side that can be seen here at most."""
        return self.at.capacity

    @property
    def price_exponent(self):
        """In force now: value = mantissa x 10^exponent. It may become finer; ``read`` has the one of its levels."""
        return <int8_t>tb_relaxed_8(<const uint8_t *>&self.at.file.price_exponent)

    @property
    def size_exponent(self):
        """The same for sizes."""
        return <int8_t>tb_relaxed_8(<const uint8_t *>&self.at.file.size_exponent)

    cdef int c_trouble(self, int64_t now_ns) noexcept nogil:
        return tapebook_trouble_at(&self.at, now_ns)

    def trouble(self):
        """Why the book can't be believed although its state may be LIVE: "writer dead" (no heartbeat), "writer gone" (it ended
        on purpose), "writer replaced" (open the book again), "reading paused" (the collector's disk is behind), "feed ended"
        (delisted). "" where there is no such reason."""
        return _TROUBLES[self.c_trouble(self.clock())]

    def state(self):
        """The feed's state, which is never LIVE or SYNCING where the writer is dead, gone or pauses: STALE then."""
        cdef uint8_t state = tb_relaxed_8(&self.at.file.state)
        if self.c_trouble(self.clock()) not in (TAPEBOOK_FINE, TAPEBOOK_FEED_ENDED):
            return FeedState.STALE
        return _STATES[state] if state <= TAPEBOOK_STALE else FeedState.STALE

    cdef bint c_look(self, tapebook_quote *quote) noexcept nogil:
        cdef int i
        for i in range(_PATIENT_LOOKS):
            if tapebook_look(&self.at, quote):
                return True
            if i > 2:
                sched_yield()
        return False

    cdef bint _look(self, tapebook_quote *quote) except -1:
        # Until there is a whole state, or the writer is dead for sure. It may have lost its processor in the midst of a change.
        cdef bint whole = self.c_look(quote)
        cdef int64_t until_ns
        if whole:
            return True
        until_ns = self.clock() + self.at.collector.timeout_ns
        while not whole:
            now_ns = self.clock()
            if now_ns > until_ns or tapebook_writer(&self.at.collector, now_ns) not in (TAPEBOOK_FINE, TAPEBOOK_READING_PAUSED):
                return False
            with nogil:
                whole = self.c_look(quote)
        return True

    def best(self):
        """(bid price, bid size, ask price, ask size), mantissas, None for the two of an empty side.

        None unless the feed is LIVE and its writer alive: then there is nothing that may be believed.
        """
        cdef tapebook_quote quote
        if not self._look(&quote) or quote.state != TAPEBOOK_LIVE or self.c_trouble(self.clock()) != TAPEBOOK_FINE:
            return None
        if quote.flags & (TAPEBOOK_HAS_BID | TAPEBOOK_HAS_ASK) == (TAPEBOOK_HAS_BID | TAPEBOOK_HAS_ASK):
            return quote.bid.price, quote.bid.size, quote.ask.price, quote.ask.size
        if quote.flags & TAPEBOOK_HAS_BID:
            return quote.bid.price, quote.bid.size, None, None
        if quote.flags & TAPEBOOK_HAS_ASK:
            return None, None, quote.ask.price, quote.ask.size
        return None, None, None, None

    def update_id(self):
        """``u`` of the newest state, or None: cheap to ask whether there is anything new."""
        return _optional(tb_relaxed_64(&self.at.file.update_id))

    def read(self, depth=None):
        """A ``Snapshot`` of the best ``depth`` levels a side (default: all that are there), all of one and the same update.

        Where the writer has died in the midst of a change there is no such thing: then it has no levels, and its trouble is
        "not whole" or the writer's.

        Raises TypeError for a depth that is no whole number, ValueError for one below 0.
        """
        cdef uint32_t most = self.at.capacity
        cdef tapebook_snapshot got
        cdef bint whole = False
        cdef int64_t until_ns = 0
        cdef int i = 0
        cdef tapebook_level *bids
        cdef tapebook_level *asks
        if depth is not None:
            depth = PyNumber_Index(depth)
            if depth < 0:
                raise ValueError(f"found a depth of {depth}, expected 0 or more")
            most = min(<object>most, depth)
        # malloc, not NumPy's: it is cut to what there is
        cdef tapebook_level *memory = <tapebook_level *>malloc((2 * <size_t>most + 1) * sizeof(tapebook_level))
        if memory == NULL:
            raise MemoryError
        bids, asks = memory, memory + most
        try:
            memset(&got, 0, sizeof(got))
            while True:
                with nogil:
                    for i in range(_PATIENT_LOOKS):
                        whole = tapebook_copy(&self.at, &got, bids, asks, most)
                        if whole:
                            break
                        if i > 2:
                            sched_yield()
                now_ns = self.clock()
                trouble = tapebook_writer(&self.at.collector, now_ns)
                if until_ns == 0:
                    until_ns = now_ns + self.at.collector.timeout_ns
                if whole or now_ns > until_ns or trouble not in (TAPEBOOK_FINE, TAPEBOOK_READING_PAUSED):
                    break
            if not whole:
                memset(&got, 0, sizeof(got))
                got.state = TAPEBOOK_STALE
                got.update_id = got.cross_sequence = got.match_ms = got.push_ms = got.receive_ns = got.record = -1
                trouble = trouble or TAPEBOOK_NOT_WHOLE
            elif trouble == TAPEBOOK_FINE and got.flags & TAPEBOOK_ENDED:
                trouble = TAPEBOOK_FEED_ENDED
            state = _STATES[got.state] if got.state <= TAPEBOOK_STALE else FeedState.STALE
            if trouble not in (TAPEBOOK_FINE, TAPEBOOK_FEED_ENDED):
                state = FeedState.STALE
            bid_side = _levels(bids, got.count[0])
            ask_side = _levels(asks, got.count[1])
        finally:
            free(memory)
        return _new(Snapshot, (
            state, _TROUBLES[trouble], _cause(got.cause), _optional(got.update_id), _optional(got.cross_sequence),
            _optional(got.match_ms), _optional(got.push_ms), _optional(got.receive_ns), got.published_ns, _optional(got.record),
            got.price_exponent, got.size_exponent, bid_side, ask_side, (got.held[0], got.held[1]),
            bool(got.flags & TAPEBOOK_CROSSED), got.digest, got.version,
        ))

    # ---- without a copy ----

    @property
    def bids(self):
        """(capacity, 2) prices and sizes, best first: the shared memory itself, of which ``counts`` says how much means
        anything. Only what was read between ``begin`` and an ``unchanged`` that says True is of one update."""
        return self.bid_levels

    @property
    def asks(self):
        """The same for asks."""
        return self.ask_levels

    @property
    def counts(self):
        """Levels of bids and asks that are there; to be read between ``begin`` and ``unchanged`` too."""
        cdef int32_t most = self.at.capacity
        return max(0, min(self.at.file.count[0], most)), max(0, min(self.at.file.count[1], most))

    def begin(self):
        """The version to be read now. An odd one, which is never unchanged, means that the writer is at it, or died there."""
        return tapebook_begin(&self.at)

    def unchanged(self, uint64_t version):
        """Whether everything read since then is of one state; and the writer alive is ``trouble``'s matter."""
        return bool(tapebook_unchanged(&self.at, version))

    def __repr__(self):
        return f"<SharedBook {self.topic} of {self.collector}: {self.state().value}{', ' + self.trouble() if self.trouble() else ''}>"


cdef class SharedTape:
    """What happened, entry by entry: messages of LIVE books, trades, changes of state, of all feeds of a collector.

    The writer never waits: a reader that falls a ring behind loses entries, and is told how many (``lost``).

    Args:
        memory: of the file ``tape``.
        control: of the same start of the same collector.
        clock: the machine's monotonic clock in nanoseconds.

    Raises:
        ConfigError: it is no such file, of another version, of another start, or cut short.
    """

    cdef object memory
    cdef SharedControl control
    cdef object clock
    cdef tapebook_tape tape
    cdef char *room
    cdef size_t room_bytes

    def __cinit__(self, memory, SharedControl control not None, clock):
        cdef _Memory held = _Memory(memory, False)
        _check(tapebook_attach_tape(&self.tape, held.view.buf, held.view.len, &control.at), held, "a tape")
        self.room_bytes = self.tape.ring_bytes // 4
        self.room = <char *>malloc(self.room_bytes)
        if self.room == NULL:
            raise MemoryError
        self.memory = held
        self.control = control
        self.clock = clock

    def __dealloc__(self):
        free(self.room)

    @property
    def lost(self):
        """Entries that were overwritten before this reader came to them."""
        return self.tape.lost

    @property
    def collector(self):
        """The collector's name."""
        return self.control.collector

    def topics(self):
        """All ``SharedTopic``s of the collector, by feed number; they grow with new listings."""
        return self.control.topics()

    def trouble(self):
        """Why nothing comes any more: "writer dead", "writer gone", "writer replaced", "reading paused"; or ""."""
        return _TROUBLES[tapebook_writer(&self.control.at, self.clock())]

    def rewind(self):
        """Go back, as far as half the ring, to read what was before this reader came; nothing counts as lost by that."""
        tapebook_tape_back(&self.tape)
        self.tape.next = 0

    def skip(self):
        """Go to the end: what comes from now on."""
        tapebook_tape_end(&self.tape)

    def read(self, int most=1024):
        """Up to ``most`` entries, oldest first; never blocks, and an empty list means that there is nothing new."""
        cdef list out = []
        cdef int64_t got
        cdef int i
        for i in range(most):
            got = tapebook_tape_read(&self.tape, self.room, self.room_bytes)
            if got == 0:
                break
            entry = self._entry(<const tapebook_entry *>self.room, got) if got > 0 else None
            if entry is not None:  # else it is none that a writer of ours has written
                out.append(entry)
        return out

    cdef object _entry(self, const tapebook_entry *e, int64_t size):
        names = self.control._names_of(e.feed)
        cdef const char *data = <const char *>e + sizeof(tapebook_entry)
        cdef int64_t room = size - <int64_t>sizeof(tapebook_entry)
        if names is None:
            return None
        topic = names[0]
        if e.type == TAPEBOOK_STATE_CHANGE:
            return StateChange(e.feed, topic, e.ordinal, _STATES[e.state & 3], _cause(e.cause),
                               bool(e.flags & TAPEBOOK_FEED_IS_ENDED), _optional(e.update_id), _optional(e.receive_ns), e.published_ns)
        if e.type == TAPEBOOK_TRADES:
            return self._trades(e, room, topic, names[1])
        if e.type != TAPEBOOK_BOOK_CHANGE or (<int64_t>e.count[0] + e.count[1]) * <int64_t>sizeof(tapebook_level) > room:
            return None
        bids = _levels(<const tapebook_level *>data, e.count[0])
        asks = _levels(<const tapebook_level *>data + e.count[0], e.count[1])
        return _new(BookChange, (
            e.feed, topic, e.ordinal, bool(e.flags & TAPEBOOK_IS_SNAPSHOT), _optional(e.update_id), _optional(e.cross_sequence),
            _optional(e.match_ms), _optional(e.push_ms), _optional(e.receive_ns), e.published_ns, _optional(e.record),
            e.price_exponent, e.size_exponent, bids, asks, bool(e.flags & TAPEBOOK_LEVELS_OMITTED),
        ))

    cdef object _trades(self, const tapebook_entry *e, int64_t room, topic, symbol):
        cdef const char *data = <const char *>e + sizeof(tapebook_entry)
        cdef bint named = e.flags & TAPEBOOK_NAMES_SYMBOLS
        cdef size_t each = sizeof(tapebook_trade) + (TAPEBOOK_SYMBOL_BYTES if named else 0)
        cdef const tapebook_trade *t
        cdef list out = []
        cdef uint32_t i
        if <int64_t>(e.count[0] * each) > room:
            return None
        for i in range(e.count[0]):
            t = <const tapebook_trade *>(data + i * each)
            out.append(_new(SharedTrade, (
                _text(<const char *>(t + 1), TAPEBOOK_SYMBOL_BYTES) if named else symbol,
                Side.SELL if t.flags & TAPEBOOK_SELL else Side.BUY, t.price, t.size, t.price_exponent, t.size_exponent,
                t.match_ms, _optional(t.cross_sequence), bool(t.flags & TAPEBOOK_BLOCK), bool(t.flags & TAPEBOOK_RPI),
            )))
        return TradesSeen(e.feed, topic, e.ordinal, _optional(e.push_ms), _optional(e.receive_ns), e.published_ns,
                          _optional(e.record), tuple(out))
