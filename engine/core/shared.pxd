# Live books in shared memory for Cython code: the C header of foreign readers (src/tapebook_shared.h), and the Python readers.
#
# Methods whose names begin with c_ touch no Python object and run without the GIL.

cimport cython
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "tapebook_shared.h" nogil:
    enum:
        TAPEBOOK_VERSION
        TAPEBOOK_MAX_TOPICS
        TAPEBOOK_NONE
        TAPEBOOK_EMPTY
        TAPEBOOK_SYNCING
        TAPEBOOK_LIVE
        TAPEBOOK_STALE
        TAPEBOOK_RUNNING
        TAPEBOOK_PAUSED
        TAPEBOOK_STOPPED
        TAPEBOOK_REPLACED
        TAPEBOOK_FINE
        TAPEBOOK_WRITER_DEAD
        TAPEBOOK_WRITER_GONE
        TAPEBOOK_WRITER_REPLACED
        TAPEBOOK_READING_PAUSED
        TAPEBOOK_FEED_ENDED
        TAPEBOOK_NOT_WHOLE
        TAPEBOOK_HAS_BID
        TAPEBOOK_HAS_ASK
        TAPEBOOK_CROSSED
        TAPEBOOK_ENDED
        TAPEBOOK_BOOK_CHANGE
        TAPEBOOK_TRADES
        TAPEBOOK_STATE_CHANGE
        TAPEBOOK_IS_SNAPSHOT
        TAPEBOOK_LEVELS_OMITTED
        TAPEBOOK_NAMES_SYMBOLS
        TAPEBOOK_FEED_IS_ENDED
        TAPEBOOK_SELL
        TAPEBOOK_BLOCK
        TAPEBOOK_RPI
        TAPEBOOK_SYMBOL_BYTES
    const char *TAPEBOOK_CONTROL_MAGIC
    const char *TAPEBOOK_BOOK_MAGIC
    const char *TAPEBOOK_TAPE_MAGIC
    ctypedef struct tapebook_control:
        char magic[8]
        uint32_t version
        uint32_t header_bytes
        uint64_t file_bytes
        uint64_t token
        int64_t writer_pid
        int64_t started_ns
        int64_t interval_ns
        int64_t timeout_ns
        uint32_t topic_bytes
        uint32_t topic_capacity
        char collector[64]
        char category[16]
        char environment[16]
        int64_t heartbeat_ns
        int64_t heard_ns
        uint32_t status
        uint32_t topic_count
    ctypedef struct tapebook_topic:
        char topic[88]
        char symbol[72]
        uint8_t kind
        uint8_t has_book
        int32_t depth
        uint32_t capacity
    ctypedef struct tapebook_level:
        int64_t price
        int64_t size
    ctypedef struct tapebook_book_file:
        char magic[8]
        uint32_t version
        uint32_t header_bytes
        uint64_t file_bytes
        uint64_t token
        int64_t writer_pid
        uint32_t capacity
        int32_t depth
        uint32_t feed
        char category[16]
        char symbol[72]
        char topic[88]
        uint64_t lock
        uint8_t state
        uint8_t flags
        int8_t price_exponent
        int8_t size_exponent
        uint8_t cause
        int64_t update_id
        int64_t published_ns
        int32_t count[2]
    ctypedef struct tapebook_tape_file:
        char magic[8]
        uint32_t version
        uint32_t header_bytes
        uint64_t file_bytes
        uint64_t token
        int64_t writer_pid
        uint64_t ring_bytes
        uint64_t reserved
        uint64_t written
    ctypedef struct tapebook_entry:
        uint32_t bytes
        uint8_t type
        uint8_t flags
        uint8_t state
        uint8_t cause
        uint64_t ordinal
        int32_t feed
        int8_t price_exponent
        int8_t size_exponent
        int64_t update_id
        int64_t cross_sequence
        int64_t match_ms
        int64_t push_ms
        int64_t receive_ns
        int64_t record
        int64_t published_ns
        uint32_t count[2]
    ctypedef struct tapebook_trade:
        int64_t price
        int64_t size
        int64_t match_ms
        int64_t cross_sequence
        int8_t price_exponent
        int8_t size_exponent
        uint8_t flags
    ctypedef struct tapebook_quote:
        tapebook_level bid
        tapebook_level ask
        int64_t update_id
        int64_t published_ns
        uint8_t state
        uint8_t flags
        int8_t price_exponent
        int8_t size_exponent
    ctypedef struct tapebook_snapshot:
        int64_t update_id
        int64_t cross_sequence
        int64_t match_ms
        int64_t push_ms
        int64_t receive_ns
        int64_t published_ns
        int64_t record
        uint64_t digest
        uint64_t version
        int32_t count[2]
        int32_t held[2]
        uint8_t state
        uint8_t flags
        uint8_t cause
        int8_t price_exponent
        int8_t size_exponent
    enum:
        TAPEBOOK_LEAST_RING
        TAPEBOOK_GOOD
        TAPEBOOK_OTHER_KIND
        TAPEBOOK_OTHER_VERSION
        TAPEBOOK_CUT
        TAPEBOOK_DAMAGED
        TAPEBOOK_OTHER_START
    const uint64_t TAPEBOOK_MOST_RING
    ctypedef struct tapebook_collector:
        const tapebook_control *control
        const tapebook_topic *topics
        uint32_t topic_capacity
        int64_t timeout_ns
        uint64_t token
    ctypedef struct tapebook_book:
        const tapebook_book_file *file
        const tapebook_level *sides[2]
        uint32_t capacity
        tapebook_collector collector
    ctypedef struct tapebook_tape:
        const tapebook_tape_file *file
        uint64_t ring_bytes
        uint64_t position
        uint64_t next
        uint64_t lost
        tapebook_collector collector
    int tapebook_attach_collector(tapebook_collector *collector, const void *memory, size_t bytes)
    int tapebook_attach_book(tapebook_book *book, const void *memory, size_t bytes, const tapebook_collector *collector)
    int tapebook_attach_tape(tapebook_tape *tape, const void *memory, size_t bytes, const tapebook_collector *collector)
    int64_t tapebook_now_ns()  # where the header is included whole
    uint32_t tapebook_topic_count(const tapebook_collector *collector)
    int tapebook_writer(const tapebook_collector *collector, int64_t now_ns)
    int tapebook_trouble_at(const tapebook_book *book, int64_t now_ns)
    uint64_t tapebook_begin(const tapebook_book *book)
    int tapebook_unchanged(const tapebook_book *book, uint64_t version)
    int tapebook_look(const tapebook_book *book, tapebook_quote *quote)
    int tapebook_copy(const tapebook_book *book, tapebook_snapshot *snapshot, tapebook_level *bids, tapebook_level *asks,
                      uint32_t depth)
    void tapebook_tape_end(tapebook_tape *tape)
    void tapebook_tape_back(tapebook_tape *tape)
    int64_t tapebook_tape_read(tapebook_tape *tape, void *out, size_t room)


# A buffer that is held for as long as somebody reads or writes it.
@cython.final
cdef class _Memory:
    cdef Py_buffer view
    cdef bint held


@cython.final
cdef class SharedControl:
    cdef object memory
    cdef tapebook_collector at
    cdef list names  # of feeds, as far as they were asked for
    cdef object _names_of(self, int feed)


@cython.final
cdef class SharedBook:
    cdef object memory, control, clock, bid_levels, ask_levels
    cdef readonly str topic, symbol, category
    cdef tapebook_book at  # for everything that the header offers
    # One of the best levels' states, if one could be had; what it is worth is for the caller to see (state, trouble).
    cdef bint c_look(self, tapebook_quote *quote) noexcept nogil
    cdef int c_trouble(self, int64_t now_ns) noexcept nogil
    cdef bint _look(self, tapebook_quote *quote) except -1
