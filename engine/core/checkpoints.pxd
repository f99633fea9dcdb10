from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t

from engine.core.core cimport tb_book, tb_changes, tb_engine, tb_error, tb_feed, tb_level, tb_line, tb_trade_ids


# What the core does for a checkpoint, handed over by the engine whose it is: linked to this module too, it would bring along
# all that reads frames.
cdef struct checkpoint_functions:
    tb_line *(*line)(tb_engine *engine, uint16_t line) noexcept nogil
    int (*sort_changes)(int64_t *prices, int64_t *sizes, int32_t count, int side, tb_level *scratch) noexcept nogil
    tb_error (*load_book)(tb_book *book, const tb_changes *changes) noexcept nogil
    tb_trade_ids *(*copy_trades)(const tb_trade_ids *ids, int32_t room) noexcept nogil
    int (*remember_trade)(tb_trade_ids *ids, const uint64_t *hash) noexcept nogil


cdef object shared_of(const tb_engine *engine)
cdef int restore_lines(tb_engine *engine, const checkpoint_functions *core, object lines) except -1
cdef object checkpoint_of(const tb_feed *feed, uint64_t digest)
cdef int restore_feed(tb_feed *feed, const checkpoint_functions *core, object note) except -1
