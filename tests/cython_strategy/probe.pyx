"""The C-level twins with arguments that the Python face would refuse: what they answer is promised in tb_measure.h."""

from libc.stdint cimport int32_t, int64_t

from engine.core.book cimport Book
from engine.core.core cimport TB_ASKS, TB_BIDS, tb_fill, tb_int128, tb_level

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
