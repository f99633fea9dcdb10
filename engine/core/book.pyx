"""One order book over int64 mantissas, fed from columns: what readers of the archive replay rows with."""

from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc

from engine.core.core cimport (
    TB_OK,
    tb_book,
    tb_book_apply,
    tb_book_can_widen,
    tb_book_clear,
    tb_book_crossed,
    tb_book_digest,
    tb_book_digest_recomputed,
    tb_book_free,
    tb_book_init,
    tb_book_level,
    tb_book_load,
    tb_book_widen,
    tb_changes,
    tb_is_sorted,
    tb_level,
    tb_rescale,
    tb_sort_changes,
)

from schemas.errors import DecimalError


cdef class Book:
    """A book of one symbol.

    Args:
        depth: levels a side that readers see; deeper ones stay in state and digest.

    Prices and sizes are mantissas at ``price_exponent`` and ``size_exponent``; rows with a finer exponent widen the book
    exactly, rows with a coarser one are brought to the book's.
    """

    cdef tb_book book
    cdef readonly int depth

    def __cinit__(self, int depth):
        if depth < 1:
            raise ValueError(f"found depth {depth}, expected at least 1")
        self.depth = depth
        tb_book_init(&self.book)

    def __dealloc__(self):
        tb_book_free(&self.book)

    def load(self, bid_prices, bid_sizes, ask_prices, ask_sizes, int price_exponent, int size_exponent):
        """Replace the book by a snapshot or keyframe (int64 buffers, any order; sizes of 0 are ignored)."""
        self._take(bid_prices, bid_sizes, ask_prices, ask_sizes, price_exponent, size_exponent, True)

    def apply(self, bid_prices, bid_sizes, ask_prices, ask_sizes, int price_exponent, int size_exponent):
        """Apply a delta: absolute sizes, 0 removes. Returns the count of levels that changed."""
        return self._take(bid_prices, bid_sizes, ask_prices, ask_sizes, price_exponent, size_exponent, False)

    cdef int64_t _take(self, bid_prices, bid_sizes, ask_prices, ask_sizes, int price_exponent, int size_exponent,
                       bint replace) except -1:
        cdef const int64_t[::1] prices, sizes
        cdef tb_changes changes[2]
        cdef int64_t *memory = NULL
        cdef int64_t *price_out
        cdef int64_t *size_out
        cdef int64_t changed = 0
        cdef int side, status = TB_OK
        cdef Py_ssize_t i, n, total
        cdef unsigned price_decimals, size_decimals
        if not (-18 <= price_exponent <= 0 and -18 <= size_exponent <= 0):
            raise DecimalError(f"found exponents {price_exponent}, {size_exponent}, expected -18..0")
        if replace:
            tb_book_clear(&self.book)
            self.book.price_decimals = self.book.size_decimals = 0
        price_decimals = max(<unsigned>-price_exponent, self.book.price_decimals)
        size_decimals = max(<unsigned>-size_exponent, self.book.size_decimals)
        cdef unsigned price_by = price_decimals - <unsigned>-price_exponent
        cdef unsigned size_by = size_decimals - <unsigned>-size_exponent
        total = len(bid_prices) + len(ask_prices)
        try:
            # prices and sizes, and behind them what sorting needs
            memory = <int64_t *>malloc(4 * max(total, 1) * sizeof(int64_t))
            if memory == NULL:
                raise MemoryError
            price_out = memory
            size_out = memory + total
            for side in range(2):
                prices = bid_prices if side == 0 else ask_prices
                sizes = bid_sizes if side == 0 else ask_sizes
                n = prices.shape[0]
                if sizes.shape[0] != n:
                    raise ValueError(f"found {n} prices and {sizes.shape[0]} sizes, expected as many of each")
                for i in range(n):
                    price_out[i] = prices[i]
                    size_out[i] = sizes[i]
                    if sizes[i] < 0:
                        raise ValueError(f"found size {sizes[i]}, expected none below 0")
                    if (prices[i] == INT64_MIN or tb_rescale(&price_out[i], price_by) != TB_OK
                            or tb_rescale(&size_out[i], size_by) != TB_OK):
                        raise DecimalError(
                            f"level {prices[i]} x {sizes[i]} does not fit: expected mantissas of at most 2^63 - 1 at the "
                            f"book's exponents {-<int>price_decimals}, {-<int>size_decimals}"
                        )
                if not tb_is_sorted(price_out, <int32_t>n, side):
                    if tb_sort_changes(price_out, size_out, <int32_t>n, side, <tb_level *>(memory + 2 * total)):
                        raise ValueError("found one price twice on one side")
                changes[side].prices = price_out
                changes[side].sizes = size_out
                changes[side].count = <int32_t>n
                price_out += n
                size_out += n
            if tb_book_can_widen(&self.book, price_decimals, size_decimals) != TB_OK:
                raise DecimalError("the book does not fit the wider exponents")
            if price_decimals != self.book.price_decimals or size_decimals != self.book.size_decimals:
                tb_book_widen(&self.book, price_decimals, size_decimals)
            if replace:
                status = tb_book_load(&self.book, changes)
            else:
                status = tb_book_apply(&self.book, changes, &changed)
            if status != TB_OK:
                raise MemoryError
        finally:
            free(memory)
        return changed

    cdef list _side(self, int side, n):
        cdef int32_t count = self.book.sides[side].count
        cdef int32_t wanted = self.depth if n is None else min(<int>n, 2147483647)
        cdef tb_level level
        cdef list out = []
        for i in range(min(count, max(wanted, 0))):
            level = tb_book_level(&self.book, side, i)
            out.append((level.price, level.size))
        return out

    def bids(self, n=None):
        """The best ``n`` bids (default: depth) as (price, size) mantissas, best first."""
        return self._side(0, n)

    def asks(self, n=None):
        """The best ``n`` asks (default: depth) as (price, size) mantissas, best first."""
        return self._side(1, n)

    @property
    def counts(self):
        """Levels held: (bids, asks), those beyond ``depth`` included."""
        return self.book.sides[0].count, self.book.sides[1].count

    @property
    def price_exponent(self):
        """Price value = mantissa x 10^price_exponent."""
        return -<int>self.book.price_decimals

    @property
    def size_exponent(self):
        """Size value = mantissa x 10^size_exponent."""
        return -<int>self.book.size_decimals

    @property
    def digest(self):
        """The 64-bit digest of the whole state (docs/digest.md)."""
        return tb_book_digest(&self.book)

    def recomputed_digest(self):
        """The digest computed afresh from every level; equal to ``digest``."""
        return tb_book_digest_recomputed(&self.book)

    @property
    def crossed(self):
        """Whether the best bid is at or above the best ask."""
        return bool(tb_book_crossed(&self.book))

    def __repr__(self):
        bids, asks = self.counts
        return f"<Book depth={self.depth} bids={bids} asks={asks} digest={self.digest:016x}>"
