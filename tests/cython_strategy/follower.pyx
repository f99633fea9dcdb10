"""A strategy that is driven by frames, live or of an archive: it buys what was just bought, as long as the book leans that way.

All that it does between two frames is C: `c_on_book` and `c_on_trades` are called by the driver, and read a `Book` directly.
"""

from libc.stdint cimport int32_t, int64_t

from engine.core.book cimport Book
from engine.core.core cimport TB_ASKS, tb_fill, tb_trade
from engine.core.drive cimport Strategy, tb_moment


cdef class Follower(Strategy):
    cdef Book book
    cdef int32_t feed
    cdef int64_t clip
    cdef readonly int64_t seen, stale, position, bought

    def __init__(self, int64_t clip):
        self.clip = clip

    def begin(self, engine):
        self.feed = engine.feed_index("orderbook.50.BTCUSDT")
        self.book = engine.book(self.feed)

    cdef int c_on_book(self, int32_t feed, const tb_moment *at) except -1:
        self.seen += feed == self.feed
        return 0

    cdef int c_on_trades(self, int32_t feed, const tb_moment *at, const tb_trade *trades, int32_t count) except -1:
        cdef tb_fill fill
        cdef int32_t i
        for i in range(count):
            self.bought += trades[i].size if trades[i].side == 0 else 0
        if not self.book.c_live():
            self.stale += 1
        elif trades[count - 1].side == 0 and self.book.c_imbalance(5) > 0:
            fill = self.book.c_cost_to_fill(TB_ASKS, self.clip)
            self.position += fill.filled
        return 0
