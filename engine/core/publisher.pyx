"""Live books in shared memory, written: ``Publisher``. Who reads them is engine.core.shared.

Memory and time are arguments: who makes, announces and takes away the files is ``recorder.live_publisher``. Layout and
protocol: src/tapebook_shared.h. The writer waits for nobody.
"""

cimport cython
from libc.stdint cimport uintptr_t
from libc.string cimport memcmp, memcpy, memset

from engine.core.core cimport TB_KIND_BOOK, tb_engine, tb_feed, tb_shared, tb_symbol
from engine.core.shared cimport *
from engine.core.shared cimport _Memory
from engine.core.whole cimport *

from schemas.errors import ConfigError


cdef extern from "tb_shared.h" nogil:
    ctypedef int (*tb_gettime)(int clock, void *at)
    ctypedef struct tb_place:
        tapebook_book_file *file
        uint8_t known
        uint8_t state
        uint8_t cause
        uint8_t ended
    ctypedef struct tb_publishing "tb_shared":
        tb_place *places
        int32_t count
        tapebook_tape_file *tape
        uint64_t written
        uint64_t entries
        uint64_t sector
        int clock
        tb_gettime gettime
        int64_t now_ns
        int64_t published
        int64_t told
    void tb_shared_free(tb_publishing *shared)
    int tb_shared_reserve(tb_publishing *shared, int32_t feeds)
    size_t tb_shared_book_bytes(uint32_t capacity)
    void tb_shared_add(tb_engine *engine, int32_t index, tapebook_book_file *file)
    void tb_shared_touch(tb_publishing *shared, int32_t index)
    void tb_shared_tell(tb_engine *engine)


cdef extern from *:
    """
    /* Stores that readers of other processes order by. */
    static inline void tb_release_32(uint32_t *at, uint32_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
    static inline void tb_relax_64(int64_t *at, int64_t value) { __atomic_store_n(at, value, __ATOMIC_RELAXED); }
    """
    void tb_release_32(uint32_t *at, uint32_t value) nogil
    void tb_relax_64(int64_t *at, int64_t value) nogil


VERSION = TAPEBOOK_VERSION
CONTROL_HEADER_BYTES = 4096
CONTROL_BYTES = CONTROL_HEADER_BYTES + TAPEBOOK_MAX_TOPICS * sizeof(tapebook_topic)
TOPIC_BYTES = sizeof(tapebook_topic)
LEAST_TAPE_BYTES = TAPEBOOK_LEAST_RING
MOST_TAPE_BYTES = TAPEBOOK_MOST_RING
STATUSES = {"running": TAPEBOOK_RUNNING, "paused": TAPEBOOK_PAUSED, "stopped": TAPEBOOK_STOPPED, "replaced": TAPEBOOK_REPLACED}


def book_bytes(int capacity):
    """Bytes of the file of a book of so many levels a side."""
    if not 0 < capacity <= 32767:
        raise ValueError(f"found a capacity of {capacity} levels, expected 1 to 32767")
    return tb_shared_book_bytes(capacity)


def tape_bytes(ring_bytes):
    """Bytes of the file of a tape with a ring of so many bytes."""
    if not LEAST_TAPE_BYTES <= ring_bytes <= MOST_TAPE_BYTES or ring_bytes & (ring_bytes - 1):
        raise ValueError(f"found a ring of {ring_bytes} bytes, expected a power of two from {LEAST_TAPE_BYTES} to {MOST_TAPE_BYTES}")
    return sizeof(tapebook_tape_file) + ring_bytes


cdef int _set_text(char *at, size_t room, str text) except -1:
    cdef bytes raw = text.encode()
    if len(raw) >= <Py_ssize_t>room:
        raise ConfigError(f"found {text!r}, expected a name of at most {room - 1} bytes")
    memset(at, 0, room)
    memcpy(at, <const char *>raw, len(raw))
    return 0


@cython.no_gc_clear
cdef class Publisher:
    """Writes an engine's books into memory that other processes read, at the end of everything that changes them.

    While it is open, each frame that the engine applies is published by the C core itself. ``close`` before the memory goes.

    Args:
        engine: a live one.
        control: zeroed writable memory of CONTROL_BYTES, of which the header and the first rows have to be there.
        collector: its name.
        environment: where its frames come from.
        token: of this start; not 0.
        pid: of this process.
        started_ns: by the wall clock.
        now_ns: by the monotonic clock.
        interval_ns, timeout_ns: how often ``beat`` will be called, and after which silence readers take this writer for dead.
        tape: zeroed writable memory of ``tape_bytes(...)``, or None for no tape.
        gettime: address of POSIX's ``clock_gettime``, and ``clock`` the monotonic clock's number for it: what tells when a
            change was published. 0: the moment of the last ``beat`` stands for it.
    """

    cdef tb_publishing shared
    cdef tb_engine *engine
    cdef const bint *busy  # the engine's: another thread's batch is being taken
    cdef tapebook_control *at
    cdef object owner
    cdef list held

    def __init__(self, engine, control, *, str collector, str environment, uint64_t token, int64_t pid, int64_t started_ns,
                 int64_t now_ns, int64_t interval_ns, int64_t timeout_ns, tape=None, uintptr_t gettime=0, int clock=0):
        cdef _Memory held = _Memory(control, True)
        cdef _Memory ring
        cdef uintptr_t address = engine.core, busy = engine.busy_at
        cdef tapebook_tape_file *file
        if self.held is not None:
            raise ValueError("found a publisher that was begun already, expected a new one")
        if held.view.len != CONTROL_BYTES:
            raise ValueError(f"found {held.view.len} bytes for the control file, expected {CONTROL_BYTES}")
        if (<tb_engine *>address).shared != NULL:
            raise ValueError("found an engine that is published already")
        self.at = <tapebook_control *>held.view.buf
        self.held = [held]
        self.owner = engine
        self.at.version = TAPEBOOK_VERSION
        self.at.header_bytes = CONTROL_HEADER_BYTES
        self.at.file_bytes = held.view.len
        self.at.token = token
        self.at.writer_pid = pid
        self.at.started_ns = started_ns
        self.at.interval_ns = interval_ns
        self.at.timeout_ns = timeout_ns
        self.at.topic_bytes = sizeof(tapebook_topic)
        self.at.topic_capacity = TAPEBOOK_MAX_TOPICS
        _set_text(self.at.collector, sizeof(self.at.collector), collector)
        _set_text(self.at.category, sizeof(self.at.category), engine.category.value)
        _set_text(self.at.environment, sizeof(self.at.environment), environment)
        memcpy(self.at.magic, <const char *>TAPEBOOK_CONTROL_MAGIC, 8)
        if tape is not None:
            ring = _Memory(tape, True)
            ring_bytes = ring.view.len - <Py_ssize_t>sizeof(tapebook_tape_file)
            tape_bytes(ring_bytes)
            file = <tapebook_tape_file *>ring.view.buf
            file.version = TAPEBOOK_VERSION
            file.header_bytes = sizeof(tapebook_tape_file)
            file.file_bytes = ring.view.len
            file.token = token
            file.writer_pid = pid
            file.ring_bytes = ring_bytes
            memcpy(file.magic, <const char *>TAPEBOOK_TAPE_MAGIC, 8)
            self.held.append(ring)
            self.shared.tape = file
        self.shared.sector = <uint64_t>-1
        self.shared.gettime = <tb_gettime><void *>gettime
        self.shared.clock = clock
        self.shared.now_ns = now_ns
        self.busy = <const bint *>busy
        self.engine = <tb_engine *>address
        self.engine.shared = <tb_shared *>&self.shared
        tb_relax_64(&self.at.heartbeat_ns, now_ns)
        tb_release_32(&self.at.status, TAPEBOOK_RUNNING)

    def __dealloc__(self):
        if self.engine != NULL:
            self.engine.shared = NULL
        tb_shared_free(&self.shared)

    @property
    def feed_count(self):
        """Feeds that readers know."""
        return self.at.topic_count if self.at != NULL else 0

    @property
    def published(self):
        """Times that a book was written."""
        return self.shared.published

    @property
    def told(self):
        """Entries on the tape."""
        return self.shared.told

    @property
    def is_open(self):
        """Whether it still publishes."""
        return self.engine != NULL

    def wants_book(self, int feed):
        """The depth of the feed's topic if it has a book that can be published, else 0."""
        self._must_be_open()
        if not 0 <= feed < self.engine.feed_count:
            raise IndexError(f"found feed {feed}, expected one of 0..{self.engine.feed_count - 1}")
        return self.engine.feeds[feed].depth if self.engine.feeds[feed].kind == TB_KIND_BOOK else 0

    def begin_book(self, int feed, memory, int capacity):
        """Make memory (zeroed, of ``book_bytes(capacity)``) the file of a feed's book: its header, and the state as it is now.

        Readers find it once ``add`` has told them of the feed.
        """
        cdef _Memory held = _Memory(memory, True)
        cdef tapebook_book_file *at = <tapebook_book_file *>held.view.buf
        cdef const tb_feed *f
        if not self.wants_book(feed):
            raise ValueError(f"found feed {feed}, expected one with a book")
        if held.view.len != book_bytes(capacity):
            raise ValueError(f"found {held.view.len} bytes for a book of {capacity} levels, expected {book_bytes(capacity)}")
        f = self.engine.feeds[feed]
        at.version = TAPEBOOK_VERSION
        at.header_bytes = sizeof(tapebook_book_file)
        at.file_bytes = held.view.len
        at.token = self.at.token
        at.writer_pid = self.at.writer_pid
        at.capacity = capacity
        at.depth = f.depth
        at.feed = feed
        memcpy(at.category, self.at.category, sizeof(at.category))
        memcpy(at.topic, f.topic, f.topic_length)
        if f.symbol >= 0:
            memcpy(at.symbol, self.engine.symbols[f.symbol].name, self.engine.symbols[f.symbol].name_length)
        memcpy(at.magic, <const char *>TAPEBOOK_BOOK_MAGIC, 8)
        self.held.append(held)
        return <uintptr_t>at

    def add(self, int feed, uintptr_t book=0):
        """Tell readers of the next feed, and publish it from here on.

        Args:
            feed: its number, which is ``feed_count``.
            book: what ``begin_book`` gave; 0: it has none.
        """
        cdef tapebook_book_file *file = <tapebook_book_file *>book
        cdef tapebook_topic *row
        cdef const tb_feed *f
        self._must_be_open()
        if feed != <int>self.at.topic_count or feed >= self.engine.feed_count:
            raise IndexError(f"found feed {feed}, expected {self.at.topic_count}, the next one of {self.engine.feed_count}")
        if not tb_shared_reserve(&self.shared, feed + 1):
            raise MemoryError
        f = self.engine.feeds[feed]
        row = <tapebook_topic *>(<char *>self.at + self.at.header_bytes) + feed
        memset(row, 0, sizeof(tapebook_topic))
        memcpy(row.topic, f.topic, f.topic_length)
        if f.symbol >= 0:
            memcpy(row.symbol, self.engine.symbols[f.symbol].name, self.engine.symbols[f.symbol].name_length)
        row.kind = f.kind
        row.depth = f.depth
        if file != NULL:
            row.has_book = 1
            row.capacity = file.capacity
        tb_shared_add(self.engine, feed, file)
        tb_release_32(&self.at.topic_count, feed + 1)

    def beat(self, int64_t now_ns, int64_t heard_ns=0):
        """A sign of life; and whatever changed a state without the core's notice is told.

        Args:
            heard_ns: since then every connection that is up has brought something; 0: unknown.
        """
        cdef const tb_feed *f
        cdef const tb_place *place
        cdef int32_t i
        self._must_be_open()
        self.shared.now_ns = now_ns
        for i in range(self.shared.count):
            f = self.engine.feeds[i]
            place = &self.shared.places[i]
            if place.state != f.state or place.ended != f.ended or place.cause != (1 + f.gap.cause if f.gap.open else 0):
                tb_shared_touch(&self.shared, i)
        tb_shared_tell(self.engine)
        tb_relax_64(&self.at.heard_ns, heard_ns)
        tb_relax_64(&self.at.heartbeat_ns, now_ns)

    def set_status(self, str status):
        """``running`` or ``paused``: nothing is read meanwhile, so what is LIVE gets old."""
        self._must_be_open()
        tb_release_32(&self.at.status, STATUSES[status])

    def close(self):
        """Publish no more, and say to readers that this writer is gone. Again is fine."""
        if self.engine == NULL:
            return
        self._must_be_ours()
        self.engine.shared = NULL
        self.engine = NULL
        tb_release_32(&self.at.status, TAPEBOOK_STOPPED)
        self.at = NULL
        self.held = []
        self.owner = None

    cdef int _must_be_open(self) except -1:
        if self.engine == NULL:
            raise ValueError("found a publisher that is closed, or was never begun")
        return self._must_be_ours()

    cdef int _must_be_ours(self) except -1:
        if self.busy[0]:
            raise RuntimeError("another thread is applying a batch to this publisher's engine; wait for it")
        return 0


def mark_replaced(memory):
    """Say in the control file of a writer that is dead for sure (its lock is held by the caller) that another took its place."""
    cdef _Memory held = _Memory(memory, True)
    cdef tapebook_control *at = <tapebook_control *>held.view.buf
    if held.view.len >= <Py_ssize_t>sizeof(tapebook_control) and memcmp(at.magic, TAPEBOOK_CONTROL_MAGIC, 8) == 0:
        tb_release_32(&at.status, TAPEBOOK_REPLACED)
