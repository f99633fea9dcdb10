# A book for Cython strategies: `from engine.core.book cimport Book`. docs/books.md has an example.
#
# Methods whose names begin with c_ are the C-level twins of the Python ones: they touch no Python object and run without the
# GIL. The short ones are compiled into the strategy; the others are called through the class, so that a strategy needs the
# headers in engine/core/src and nothing to link with. Prices and sizes are mantissas; sides are TB_BIDS and TB_ASKS; `levels`
# is cut to the book's depth; `changes` are two, of bids and of asks, best first and no price twice, at the book's own decimals.
# Only one thread at a time may touch a book, the one that applies frames included: the C-level methods don't look.

cimport cython
from libc.stdint cimport int32_t, int64_t

from engine.core.core cimport (
    TB_ASKS,
    TB_BIDS,
    TB_LIVE,
    tb_book,
    tb_book_crossed,
    tb_change,
    tb_changes,
    tb_error,
    tb_feed,
    tb_fill,
    tb_has_both_sides,
    tb_int128,
    tb_level,
    tb_level_at,
    tb_microprice,
    tb_mid,
    tb_mid_doubled,
    tb_spread,
)


@cython.final
cdef class Book:
    cdef const tb_book *handle  # of its own or a feed's; never NULL, and fixed for life
    cdef const tb_feed *feed    # what the book belongs to, or NULL
    cdef tb_book own
    cdef object engine          # which owns the feed
    cdef const bint *busy       # its: a batch is being taken without the GIL; or NULL
    cdef readonly int depth

    cdef int look(self) except -1

    # ---- whether it may be believed ----

    cdef inline bint c_live(self) noexcept nogil:
        return self.feed == NULL or self.feed.state == TB_LIVE

    cdef inline int64_t c_update_id(self) noexcept nogil:
        # -1: none yet, or a book of one's own
        return -1 if self.feed == NULL else self.feed.update_id

    # ---- in constant time ----

    cdef inline int32_t c_readable(self, int side) noexcept nogil:
        # levels of a side that readers see
        return min(self.handle.sides[side].count, <int32_t>self.depth)

    cdef inline bint c_has_both_sides(self) noexcept nogil:
        return tb_has_both_sides(self.handle)

    cdef inline tb_level c_level(self, int side, int32_t i) noexcept nogil:
        # size 0 where there is none
        return tb_level_at(self.handle, side, i if i < self.depth else -1)

    cdef inline tb_level c_best_bid(self) noexcept nogil:
        return tb_level_at(self.handle, TB_BIDS, 0)

    cdef inline tb_level c_best_ask(self) noexcept nogil:
        return tb_level_at(self.handle, TB_ASKS, 0)

    cdef inline bint c_crossed(self) noexcept nogil:
        return tb_book_crossed(self.handle)

    cdef inline tb_int128 c_mid_doubled(self) noexcept nogil:
        return tb_mid_doubled(self.handle)

    cdef inline tb_int128 c_spread(self) noexcept nogil:
        return tb_spread(self.handle)

    cdef inline double c_mid(self) noexcept nogil:
        return tb_mid(self.handle)

    cdef inline double c_microprice(self) noexcept nogil:
        return tb_microprice(self.handle)

    # ---- over levels ----

    cdef tb_int128 c_cumulative_size(self, int side, int32_t levels) noexcept nogil
    cdef double c_imbalance(self, int32_t levels) noexcept nogil
    cdef tb_int128 c_depth_within(self, int side, int64_t width_micro_bps) noexcept nogil
    cdef bint c_depth_profile(self, int side, int64_t width_micro_bps, int32_t buckets, tb_int128 *out) noexcept nogil
    cdef tb_fill c_cost_to_fill(self, int side, int64_t size) noexcept nogil
    cdef tb_fill c_size_for_notional(self, int side, tb_int128 notional) noexcept nogil

    # ---- what changes; and of a book of one's own, changing it ----

    # Returns how many levels a delta (or with `replace` a snapshot) would change; the first `capacity` of them are in `out`.
    cdef int64_t c_changes_of(self, const tb_changes *changes, bint replace, tb_change *out, int64_t capacity) noexcept nogil
    # TB_OK, or why the book is as it was: TB_BAD_VALUE (it is a view), TB_BAD_NUMBER (a negative size or count), TB_DECIMAL (a
    # price of -2^63, decimals beyond 18), TB_DUPLICATE_LEVEL (not best first, or a price twice), TB_NO_MEMORY.
    cdef tb_error c_load(self, const tb_changes *changes, unsigned price_decimals, unsigned size_decimals) noexcept nogil
    cdef tb_error c_apply(self, const tb_changes *changes, int64_t *changed) noexcept nogil


cdef Book view_of_feed(const tb_feed *feed, object engine, const bint *busy)
cdef Book view_of_rpi(const tb_feed *feed, object engine, const bint *busy)
