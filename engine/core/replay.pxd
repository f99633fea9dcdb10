# Rows of the archive back to books, for Cython code: `from engine.core.replay cimport BookReplay`. Header: src/tb_replay.h.

from libc.stdint cimport INT64_MIN, int8_t, int16_t, int32_t, int64_t, uint8_t, uint64_t

from engine.core.core cimport tb_book


cdef extern from "tb_loose.h" nogil:
    ctypedef struct tb_loose:
        tb_book book
    void tb_loose_settle(tb_loose *loose)


cdef extern from "tb_replay.h" nogil:
    enum:
        TB_NO_KIND
        TB_HAS_BID
        TB_HAS_ASK
        TB_IS_TRUSTED
        TB_COLUMN_SEQUENCE
        TB_COLUMN_DEPTH
        TB_COLUMN_KIND
        TB_COLUMN_APPLIED
        TB_COLUMN_UPDATE_ID
        TB_COLUMN_LISTS
        TB_COLUMN_PRICE_EXPONENT
        TB_COLUMN_SIZE_EXPONENT
        TB_COLUMN_COUNT
        TB_ROW_OK
        TB_ROW_NULL
        TB_ROW_NULL_LEVEL
        TB_ROW_KIND
        TB_ROW_DEPTH
        TB_ROW_SEQUENCE
        TB_ROW_EXPONENT
        TB_ROW_OFFSETS
        TB_ROW_COUNTS
        TB_ROW_SIZE
        TB_ROW_DUPLICATE
        TB_ROW_DECIMAL
        TB_ROW_WIDER
        TB_ROW_BREAK
        TB_ROW_NO_MEMORY
        TB_ROW_NO_BOOK
        TB_ROW_KEYFRAME
        TB_ROW_DIGEST
        TB_ROW_CLOCK
        TB_ROW_SUM
    ctypedef struct tb_bits:
        const uint8_t *bytes
        int64_t first
    ctypedef struct tb_lists:
        const int32_t *offsets
        const int64_t *values
        int64_t length
        tb_bits values_there
    ctypedef struct tb_replay_columns:
        int64_t count
        const int64_t *sequence
        const int64_t *update_id
        const int16_t *depth
        const uint8_t *kind
        const uint8_t *kind_names
        tb_bits applied
        tb_lists lists[4]
        const int8_t *price_exponent
        const int8_t *size_exponent
        uint8_t nulls
        tb_bits there[11]
        const uint64_t *digest
        tb_bits digest_there
        const int64_t *clock
        tb_bits clock_there
        int64_t clock_ns
    ctypedef struct tb_replay:
        tb_loose loose
        int32_t depth
        uint8_t held
        uint8_t trusted
        int64_t update_id
        int64_t sequence
        int64_t last_sequence
        int64_t rows
        int64_t books
        int64_t keyframes
        int64_t digests
        int error
        int32_t column
        int64_t found
        int64_t expected
    ctypedef struct tb_best:
        int64_t *bid_price
        int64_t *bid_size
        int64_t *ask_price
        int64_t *ask_size
        int8_t *price_exponent
        int8_t *size_exponent
        uint8_t *flags
    void tb_replay_init(tb_replay *replay, int32_t depth)
    void tb_replay_free(tb_replay *replay)
    int tb_replay_row(tb_replay *replay, const tb_replay_columns *columns, int64_t i)
    int64_t tb_replay_best(tb_replay *replay, const tb_replay_columns *columns, tb_best *out)
    int64_t tb_flag_bits(const uint8_t *flags, int64_t count, uint8_t flag, uint8_t *bits)
    int64_t tb_replay_verify(tb_replay *replay, const tb_replay_columns *columns)


cdef class Columns:
    cdef tb_replay_columns columns
    cdef uint8_t names[256]
    cdef list kept
    cdef list dictionary

    cdef object column(self, batch, name, type_)
    cdef const uint8_t *start(self, array, int index, int bits, Py_ssize_t more) except? NULL
    cdef tb_bits bits(self, array, int index)
    cdef tb_bits validity(self, array)
    cdef const uint8_t *plain(self, batch, int index, type_) except? NULL
    cdef int kinds(self, batch) except -1
    cdef int lists(self, batch, int which) except -1
    cdef int clock(self, batch, name) except -1


cdef class BookReplay:
    cdef tb_replay replay
    cdef bint busy

    cdef int begin(self) except -1
    cdef tb_book *settled(self) except NULL
    cdef object error(self, Columns columns, int64_t row)
    cdef str words(self, Columns columns)
    cdef list _side(self, int side, n)
