"""The C-level twins with arguments that the Python face would refuse: what they answer is promised in tb_measure.h."""

from libc.stdint cimport int32_t, int64_t

from engine.core.book cimport Book
from engine.core.core cimport (
    TB_ASKS, TB_BAD_NUMBER, TB_BAD_VALUE, TB_BIDS, TB_DECIMAL, TB_DUPLICATE_LEVEL, TB_OK, tb_change, tb_changes, tb_error,
    tb_fill, tb_int128, tb_level,
)

ERRORS = {TB_OK: "ok", TB_BAD_NUMBER: "bad number", TB_BAD_VALUE: "bad value", TB_DECIMAL: "decimal",
          TB_DUPLICATE_LEVEL: "duplicate level"}

cdef object _told(tb_fill fill):
    return fill.filled, fill.notional, fill.worst_price, fill.touched, bool(fill.complete), fill.average_price


def level(Book book not None, int side, int32_t i):
    cdef tb_level found = book.c_level(side, i)
    return found.price, found.size


def best(Book book not None):
    cdef tb_level bid = book.c_best_bid(), ask = book.c_best_ask()
    return bid.price, bid.size, ask.price, ask.size


def prices(Book book not None):
    return book.c_mid_doubled(), book.c_spread(), book.c_mid(), book.c_microprice(), book.c_imbalance(5)


def cumulative_size(Book book not None, int32_t levels):
    return book.c_cumulative_size(TB_BIDS, levels), book.c_cumulative_size(TB_ASKS, levels)


def depth_within(Book book not None, int64_t width_micro_bps):
    return book.c_depth_within(TB_BIDS, width_micro_bps), book.c_depth_within(TB_ASKS, width_micro_bps)


def depth_profile(Book book not None, int64_t width_micro_bps, int32_t buckets):
    """The answer and four buckets that held 77 before."""
    cdef tb_int128 out[4]
    cdef int i
    for i in range(4):
        out[i] = 77
    answer = book.c_depth_profile(TB_BIDS, width_micro_bps, buckets, out)
    return bool(answer), [out[i] for i in range(4)]


def cost_to_fill(Book book not None, int side, int64_t size):
    return _told(book.c_cost_to_fill(side, size))


def size_for_notional(Book book not None, int side, notional):
    return _told(book.c_size_for_notional(side, notional))


cdef struct Message:
    int64_t numbers[16]
    tb_changes sides[2]


cdef int _fill(Message *message, bids, asks, int32_t counted) except -1:
    cdef int side, i
    for side, levels in enumerate((bids, asks)):
        message.sides[side] = tb_changes(&message.numbers[8 * side], &message.numbers[8 * side + 4], len(levels))
        for i, (price, size) in enumerate(levels):
            message.numbers[8 * side + i], message.numbers[8 * side + 4 + i] = price, size
    message.sides[0].count += counted
    return 0


def load(Book book not None, bids, asks, unsigned price_decimals=0, unsigned size_decimals=0, int32_t counted=0):
    cdef Message message
    cdef tb_error error
    _fill(&message, bids, asks, counted)
    with nogil:
        error = book.c_load(message.sides, price_decimals, size_decimals)
    return ERRORS[error]


def apply(Book book not None, bids, asks):
    cdef Message message
    cdef tb_error error
    cdef int64_t changed = -1
    _fill(&message, bids, asks, 0)
    with nogil:
        error = book.c_apply(message.sides, &changed)
    return ERRORS[error], changed


def changes_of(Book book not None, bids, asks, bint replace, int64_t capacity):
    cdef Message message
    cdef tb_change out[8]
    cdef int64_t count
    cdef int i
    _fill(&message, bids, asks, 0)
    with nogil:
        count = book.c_changes_of(message.sides, replace, out, capacity)
    return count, [(out[i].side, out[i].price, out[i].before, out[i].after, out[i].place) for i in range(min(count, capacity))]
