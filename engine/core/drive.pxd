# Strategies in Cython: `from engine.core.drive cimport Strategy, tb_moment`. docs/time-travel.md has an example.
#
# Override the methods whose names begin with c_; they are called with the GIL, and what they do without Python objects costs
# nothing else. Books are those of `engine.core.book`, fetched in `begin`.

from libc.stdint cimport int32_t, int64_t, uint16_t, uint8_t

from engine.core.core cimport tb_engine, tb_trade


cdef struct tb_moment:
    int64_t sequence
    int64_t receive_ns
    int64_t push_ms
    int64_t match_ms  # TB_NONE where the message has none


cdef class Strategy:
    cdef bint hears_books, hears_trades, hears_states  # whether Python methods were overridden
    cdef int c_on_book(self, int32_t feed, const tb_moment *at) except -1
    cdef int c_on_trades(self, int32_t feed, const tb_moment *at, const tb_trade *trades, int32_t count) except -1
    cdef int c_on_state(self, int32_t feed, const tb_moment *at, int state) except -1


cdef class FanOut(Strategy):
    cdef readonly tuple strategies
    cdef readonly object engine
    cdef object _failed, _slow, _clock
    cdef int64_t _slow_ns

    cdef int fail(self, Strategy strategy, error) except -1
    cdef int took(self, Strategy strategy, int64_t began) except -1


cdef class Driver:
    cdef readonly object engine
    cdef readonly Strategy strategy
    cdef tb_engine *core
    cdef const bint *busy  # the engine's: a batch is being taken without the GIL; never NULL
    cdef int64_t[::1] _taken
    cdef int[::1] _states
    cdef int32_t known

    cdef int grow(self) except -1
    cdef int32_t one(self, const uint8_t *frame, size_t length, tb_moment *at, uint16_t line, bint told) except? -1000
    cdef int look(self, int32_t feed, tb_moment *at, bint told, bint framed) except -1
    cdef int look_at_all(self, tb_moment *at, bint told) except -1
