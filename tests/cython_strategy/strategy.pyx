"""A worked example: a strategy over two depths of one symbol that decides without touching a Python object.

It buys `clip` when the top of the shallow book leans to the bid, a purchase of that size can be had within `limit` of the mid of
the deep one, and both books are live; it sells the mirror image. Python hands it its books once and calls `on_frame` after every
frame; all it reads and keeps is C.
"""

from libc.stdint cimport int32_t, int64_t

from engine.core.book cimport Book
from engine.core.core cimport TB_ASKS, TB_BIDS, tb_fill, tb_int128, tb_level


cdef class Taker:
    cdef Book shallow, deep
    cdef int32_t levels
    cdef double lean
    cdef int64_t clip
    cdef double limit
    cdef int64_t seen
    cdef readonly int64_t position
    cdef readonly int64_t decisions
    cdef tb_int128 balance

    def __init__(self, Book shallow not None, Book deep not None, int levels, double lean, int64_t clip, double limit):
        self.shallow, self.deep = shallow, deep
        self.levels, self.lean, self.clip, self.limit = levels, lean, clip, limit
        self.seen = -1

    def on_frame(self):
        """Look at the books after a frame. Returns what it bought (negative: sold)."""
        cdef int64_t traded
        with nogil:
            traded = self.decide()
        return traded

    @property
    def cash(self):
        """What sales brought less what purchases cost, at price + size exponent."""
        return self.balance

    cdef int64_t decide(self) noexcept nogil:
        cdef double lean, mid
        cdef int side
        cdef tb_fill fill
        if not (self.shallow.c_live() and self.deep.c_live() and self.deep.c_has_both_sides()):
            return 0
        if self.deep.c_crossed() or self.deep.c_update_id() == self.seen:
            return 0
        self.seen = self.deep.c_update_id()
        self.decisions += 1
        lean, mid = self.shallow.c_imbalance(self.levels), self.deep.c_mid()
        if not (lean >= self.lean or lean <= -self.lean):  # NaN: an empty book leans nowhere
            return 0
        side = TB_ASKS if lean > 0 else TB_BIDS
        fill = self.deep.c_cost_to_fill(side, self.clip)
        if not fill.complete or (fill.average_price - mid) * (1 if side == TB_ASKS else -1) > self.limit:
            return 0
        if side == TB_BIDS:
            fill.filled, fill.notional = -fill.filled, -fill.notional
        self.position += fill.filled
        self.balance -= fill.notional
        return fill.filled


def weighted_ladder(Book book not None, int32_t levels):
    """Sum over both sides of price x size, best first, weighted by 1 / (1 + place): a loop over levels."""
    cdef double total = 0
    cdef int32_t i
    cdef tb_level bid, ask
    with nogil:
        for i in range(levels):
            bid, ask = book.c_level(TB_BIDS, i), book.c_level(TB_ASKS, i)
            total += (<double>bid.price * <double>bid.size + <double>ask.price * <double>ask.size) / (1 + i)
    return total
