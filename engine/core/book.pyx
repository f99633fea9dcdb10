"""One order book over int64 mantissas and what it can tell: a book of one's own, fed from columns as readers of the archive
do, or a read-only view of a feed's book in an ``Engine``. docs/books.md shows every way of reading it."""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE
from libc.stdint cimport INT32_MAX, INT64_MIN, int32_t, int64_t
from libc.stdlib cimport free, malloc

from engine.core.core cimport (
    TB_BAD_NUMBER,
    TB_BAD_VALUE,
    TB_DECIMAL,
    TB_DUPLICATE_LEVEL,
    TB_MAX_DECIMALS,
    TB_OK,
    tb_book_apply,
    tb_book_can_widen,
    tb_book_changes,
    tb_book_clear,
    tb_book_copy,
    tb_book_digest,
    tb_book_digest_recomputed,
    tb_book_free,
    tb_book_init,
    tb_book_joint_digest,
    tb_book_level,
    tb_book_load,
    tb_book_reserve,
    tb_book_widen,
    tb_change,
    tb_changes,
    tb_depth_of,
    tb_depth_profile,
    tb_depth_within,
    tb_fill_notional,
    tb_fill_size,
    tb_imbalance,
    tb_is_sorted,
    tb_rescale,
    tb_sort_changes,
)
from engine.core.whole cimport *

from operator import index

import numpy as np

from engine.measures import Changes, Fill, Level, LevelChange, Profile, Sides, decimal_of, mantissa_at, micro_bps
from schemas.errors import DecimalError

MAX_BUCKETS = 65_536

cdef object MAX_MANTISSA = 2**63 - 1
cdef Py_ssize_t MAX_LEVELS = INT32_MAX // 64  # of a message; no book could hold as many


# of the kind that NumPy calls int64
cdef char *LEVEL_FORMAT = b"l" if sizeof(long) == sizeof(int64_t) else b"q"


cdef struct Rows:
    # One message at a book's exponents: prices and sizes, and behind them what sorting needs.
    int64_t *memory
    tb_changes changes[2]
    unsigned price_decimals
    unsigned size_decimals


@cython.final
@cython.no_gc_clear
cdef class Book:
    """A book of one symbol.

    Args:
        depth: levels a side that readers see; deeper ones stay in state and digest.

    ``Book(depth)`` is a book of one's own, for ``load`` and ``apply``. ``Engine.book(feed)`` is a read-only view of a feed's
    book: it follows every frame, and is the truth only while ``live``.

    Prices and sizes are mantissas at ``price_exponent`` and ``size_exponent``; rows with a finer exponent widen the book
    exactly, rows with a coarser one are brought to the book's. A measure that has no answer (an empty side) is None.

    Not for several threads at once, the one that applies frames included: while another thread's ``apply_batch`` is at work, what
    reads a view's levels raises RuntimeError.
    """

    def __cinit__(self, int depth):
        if depth < 1:
            raise ValueError(f"found depth {depth}, expected at least 1")
        self.depth = depth
        tb_book_init(&self.own)
        self.handle = &self.own

    def __dealloc__(self):
        tb_book_free(&self.own)

    cdef int look(self) except -1:
        # Levels that another thread's batch is moving are not to be read.
        if self.busy != NULL and self.busy[0]:
            raise RuntimeError("another thread is applying a batch to this book's engine; wait for it, then read the book")
        return 0

    # ---- what it is ----

    @property
    def topic(self):
        """The topic that a view is of; None for a book of one's own."""
        return None if self.feed == NULL else self.feed.topic[:self.feed.topic_length].decode()

    @property
    def live(self):
        """Whether the book may be read as truth: the state of a view's feed. True for a book of one's own."""
        return bool(self.c_live())

    @property
    def update_id(self):
        """``u`` of the last good frame behind a view; None before, and for a book of one's own."""
        return None if self.c_update_id() < 0 else self.c_update_id()

    @property
    def counts(self):
        """Levels held: (bids, asks), those beyond ``depth`` included."""
        return self.handle.sides[0].count, self.handle.sides[1].count

    @property
    def price_exponent(self):
        """Price value = mantissa x 10^price_exponent. Of a view, frames can lower it."""
        return -<int>self.handle.price_decimals

    @property
    def size_exponent(self):
        """Size value = mantissa x 10^size_exponent. Of a view, frames can lower it."""
        return -<int>self.handle.size_decimals

    @property
    def digest(self):
        """The 64-bit digest of the whole state (docs/verify.md)."""
        return tb_book_digest(self.handle)

    def recomputed_digest(self):
        """The digest computed afresh from every level; equal to ``digest``."""
        self.look()
        return tb_book_digest_recomputed(self.handle)

    def __repr__(self):
        bids, asks = self.counts
        of = "" if self.feed == NULL else f" of {self.topic}, {'live' if self.live else 'not live'},"
        return f"<Book{of} depth={self.depth} bids={bids} asks={asks} digest={self.digest:016x}>"

    # ---- exact values ----

    def price(self, mantissa):
        """The value of a price mantissa: an exact Decimal, or a float for a float (an average, a mid)."""
        exponent = self.price_exponent
        return mantissa / 10**-exponent if isinstance(mantissa, float) else decimal_of(mantissa, exponent)

    def size(self, mantissa):
        """The value of a size mantissa, as an exact Decimal."""
        return decimal_of(mantissa, self.size_exponent)

    def notional(self, mantissa):
        """The value of a notional mantissa (price exponent + size exponent), as an exact Decimal."""
        return decimal_of(mantissa, self.price_exponent + self.size_exponent)

    def price_mantissa(self, value):
        """The mantissa of a price (Decimal, text or int). DecimalError if the book's exponent can't hold it."""
        return mantissa_at(value, self.price_exponent)

    def size_mantissa(self, value):
        """The mantissa of a size (Decimal, text or int). DecimalError if the book's exponent can't hold it."""
        return mantissa_at(value, self.size_exponent)

    # ---- levels ----

    def bids(self, n=None):
        """The best ``n`` bids (default: depth; more reads beyond it) as (price, size) mantissas, best first.

        Raises TypeError for what is no whole number, ValueError for one below 0."""
        return _levels_of(self, 0, n)

    def asks(self, n=None):
        """The best ``n`` asks (default: depth; more reads beyond it) as (price, size) mantissas, best first.

        Raises TypeError for what is no whole number, ValueError for one below 0."""
        return _levels_of(self, 1, n)

    @property
    def best_bid(self):
        """The highest bid as ``Level``, or None."""
        self.look()
        cdef tb_level level = self.c_best_bid()
        return Level(level.price, level.size) if level.size else None

    @property
    def best_ask(self):
        """The lowest ask as ``Level``, or None."""
        self.look()
        cdef tb_level level = self.c_best_ask()
        return Level(level.price, level.size) if level.size else None

    @property
    def bid_levels(self):
        """The bids as a read-only int64 array [n, 2] of price and size mantissas, best first: n is at most ``depth``.

        It looks at the book's own memory, and is valid until the book next changes: after that its numbers mean nothing, though
        it stays safe to read, even when the book or its engine is gone. Take a new one after every frame, or a copy.
        """
        return _view(self, 0)

    @property
    def ask_levels(self):
        """The asks, as ``bid_levels``."""
        return _view(self, 1)

    @property
    def bid_prices(self):
        """Column 0 of ``bid_levels``: int64 [n]."""
        return _view(self, 0)[:, 0]

    @property
    def bid_sizes(self):
        """Column 1 of ``bid_levels``: int64 [n]."""
        return _view(self, 0)[:, 1]

    @property
    def ask_prices(self):
        """Column 0 of ``ask_levels``: int64 [n]."""
        return _view(self, 1)[:, 0]

    @property
    def ask_sizes(self):
        """Column 1 of ``ask_levels``: int64 [n]."""
        return _view(self, 1)[:, 1]

    # ---- prices ----

    @property
    def crossed(self):
        """Whether the best bid is at or above the best ask."""
        self.look()
        return bool(self.c_crossed())

    @property
    def spread(self):
        """Best ask less best bid, a price mantissa: negative when crossed. None without two sides."""
        self.look()
        return self.c_spread() if self.c_has_both_sides() else None

    @property
    def mid_doubled(self):
        """Best bid plus best ask: twice the mid, exactly, as a price mantissa. None without two sides."""
        self.look()
        return self.c_mid_doubled() if self.c_has_both_sides() else None

    @property
    def mid(self):
        """The mid as a price mantissa with fractions. None without two sides."""
        self.look()
        return self.c_mid() if self.c_has_both_sides() else None

    @property
    def microprice(self):
        """The mid weighted by the sizes opposite, as a price mantissa with fractions. None without two sides."""
        self.look()
        return self.c_microprice() if self.c_has_both_sides() else None

    # ---- sums, costs, ratios ----

    cdef tb_int128 c_cumulative_size(self, int side, int32_t levels) noexcept nogil:
        return tb_depth_of(self.handle, side, min(levels, <int32_t>self.depth))

    cdef double c_imbalance(self, int32_t levels) noexcept nogil:
        return tb_imbalance(self.handle, min(levels, <int32_t>self.depth))

    cdef tb_int128 c_depth_within(self, int side, int64_t width_micro_bps) noexcept nogil:
        return tb_depth_within(self.handle, side, self.depth, width_micro_bps)

    cdef bint c_depth_profile(self, int side, int64_t width_micro_bps, int32_t buckets, tb_int128 *out) noexcept nogil:
        return tb_depth_profile(self.handle, side, self.depth, width_micro_bps, buckets, out)

    cdef tb_fill c_cost_to_fill(self, int side, int64_t size) noexcept nogil:
        return tb_fill_size(self.handle, side, self.depth, size)

    cdef tb_fill c_size_for_notional(self, int side, tb_int128 notional) noexcept nogil:
        return tb_fill_notional(self.handle, side, self.depth, notional)

    def cumulative_size(self, levels=None):
        """``Sides``: the summed sizes of the best ``levels`` (default and at most: depth)."""
        self.look()
        cdef int32_t count = _count(self, levels)
        return Sides(self.c_cumulative_size(TB_BIDS, count), self.c_cumulative_size(TB_ASKS, count))

    def imbalance(self, levels=None):
        """(B - A) / (B + A) over the summed sizes of the best ``levels``: -1 (asks only) to 1. None if both are empty."""
        self.look()
        cdef double ratio = self.c_imbalance(_count(self, levels))
        return ratio if ratio == ratio else None

    def depth_within(self, bps):
        """``Sides``: the size no farther than ``bps`` basis points (int, float, Decimal) from the mid, boundary included.

        None without two sides. Raises ValueError for a negative or too fine width (``engine.measures.micro_bps``).
        """
        self.look()
        cdef int64_t width = micro_bps(bps)
        if not self.c_has_both_sides():
            return None
        return Sides(self.c_depth_within(TB_BIDS, width), self.c_depth_within(TB_ASKS, width))

    def depth_profile(self, buckets, width_bps):
        """``Profile``: the size in each of ``buckets`` steps of ``width_bps`` away from the mid.

        Bucket i holds what is beyond i widths and within i + 1, so the first n add up to ``depth_within(n * width_bps)``. None
        without two sides.

        Raises:
            ValueError: not 1..65,536 buckets, a width that ``depth_within`` refuses or 0, or more than 9.2e12 bps in all.
        """
        self.look()
        width = micro_bps(width_bps)
        count = index(buckets)
        if not 1 <= count <= MAX_BUCKETS:
            raise ValueError(f"found {count} buckets, expected 1..{MAX_BUCKETS}")
        if not 0 < width * count <= MAX_MANTISSA:
            raise ValueError(f"found {count} buckets of {width_bps} bps, expected a width above 0 and at most 9.2e12 bps in all")
        if not self.c_has_both_sides():
            return None
        return Profile(_profile(self, TB_BIDS, width, count), _profile(self, TB_ASKS, width, count))

    def cost_to_fill(self, side, size):
        """What taking ``size`` (a mantissa) costs: ``Fill``. ``side`` is the taker's: buy takes asks, sell takes bids.

        Raises ValueError for another side, a negative size or one beyond int64.
        """
        self.look()
        cdef int walked = _walked(side)
        wanted = index(size)
        if not 0 <= wanted <= MAX_MANTISSA:
            raise ValueError(f"found size {wanted}, expected a mantissa from 0 to 2^63 - 1")
        return _fill(self.c_cost_to_fill(walked, wanted))

    def size_for_notional(self, side, notional):
        """The largest size whose notional is at most ``notional`` (a mantissa at price + size exponent): ``Fill``.

        Raises ValueError for another side, a negative notional or one beyond (2^63 - 1)^2.
        """
        self.look()
        cdef int walked = _walked(side)
        wanted = index(notional)
        if not 0 <= wanted <= MAX_MANTISSA**2:
            raise ValueError(f"found notional {wanted}, expected a mantissa from 0 to (2^63 - 1)^2")
        return _fill(self.c_size_for_notional(walked, wanted))

    # ---- input, of a book of one's own ----

    cdef int64_t c_changes_of(self, const tb_changes *changes, bint replace, tb_change *out, int64_t capacity) noexcept nogil:
        return tb_book_changes(self.handle, changes, replace, out, capacity)

    cdef tb_error c_load(self, const tb_changes *changes, unsigned price_decimals, unsigned size_decimals) noexcept nogil:
        cdef tb_error error = _unfit(self, changes)
        if error == TB_OK and max(price_decimals, size_decimals) > <unsigned>TB_MAX_DECIMALS:
            error = TB_DECIMAL
        if error == TB_OK:
            error = tb_book_reserve(&self.own, changes[0].count, changes[1].count)
        if error == TB_OK:
            self.own.price_decimals, self.own.size_decimals = price_decimals, size_decimals
            error = tb_book_load(&self.own, changes)
        return error

    cdef tb_error c_apply(self, const tb_changes *changes, int64_t *changed) noexcept nogil:
        cdef tb_error error = _unfit(self, changes)
        return error if error != TB_OK else tb_book_apply(&self.own, changes, changed)

    def load(self, bid_prices, bid_sizes, ask_prices, ask_sizes, int price_exponent, int size_exponent):
        """Replace the book by a snapshot or keyframe (int64 buffers, any order; sizes of 0 are ignored).

        Raises:
            DecimalError: exponents outside -18..0, or a mantissa that int64 can't hold at the book's exponents.
            ValueError: another type, columns of different lengths, a negative size, a price twice on one side.
            TypeError: the book is a view, or a column no buffer.

        Whatever is raised, the book is as it was.
        """
        cdef Rows rows
        _must_be_own(self)
        _read(&rows, (bid_prices, bid_sizes, ask_prices, ask_sizes), price_exponent, size_exponent, 0, 0)
        try:
            if tb_book_reserve(&self.own, rows.changes[0].count, rows.changes[1].count) != TB_OK:
                raise MemoryError
            tb_book_clear(&self.own)
            self.own.price_decimals = rows.price_decimals
            self.own.size_decimals = rows.size_decimals
            tb_book_load(&self.own, rows.changes)
        finally:
            free(rows.memory)

    def apply(self, bid_prices, bid_sizes, ask_prices, ask_sizes, int price_exponent, int size_exponent):
        """Apply a delta: absolute sizes, 0 removes. Returns the count of levels that changed. Raises as ``load``."""
        return _apply(self, (bid_prices, bid_sizes, ask_prices, ask_sizes), price_exponent, size_exponent, False)

    def apply_with_changes(self, bid_prices, bid_sizes, ask_prices, ask_sizes, int price_exponent, int size_exponent):
        """Apply a delta as ``apply`` does and return what it changed: ``Changes``."""
        return _apply(self, (bid_prices, bid_sizes, ask_prices, ask_sizes), price_exponent, size_exponent, True)

    def load_with_changes(self, bid_prices, bid_sizes, ask_prices, ask_sizes, int price_exponent, int size_exponent):
        """Load a snapshot as ``load`` does and return what it changed: ``Changes``, at the finer of the exponents before and
        after (where int64 can't hold these, DecimalError, and the book is as it was)."""
        _must_be_own(self)
        columns = (bid_prices, bid_sizes, ask_prices, ask_sizes)
        changes = self.changes_of(*columns, price_exponent, size_exponent, replace=True)
        self.load(*columns, price_exponent, size_exponent)
        return changes

    def changes_of(self, bid_prices, bid_sizes, ask_prices, ask_sizes, int price_exponent, int size_exponent, *,
                   bint replace=False):
        """What applying a delta, or with ``replace`` loading a snapshot, would change: ``Changes``, at the finer of the book's
        and the rows' exponents. Changes nothing, so it is for views too. Raises as ``load``."""
        self.look()
        cdef Rows rows
        cdef tb_book wider
        _read(&rows, (bid_prices, bid_sizes, ask_prices, ask_sizes), price_exponent, size_exponent,
              self.handle.price_decimals, self.handle.size_decimals)
        tb_book_init(&wider)
        try:
            _must_fit(self.handle, &rows)
            if not _is_wider(self.handle, &rows):
                return _changes(self.handle, &rows, replace)
            if tb_book_copy(&wider, self.handle) != TB_OK:
                raise MemoryError
            tb_book_widen(&wider, rows.price_decimals, rows.size_decimals)
            return _changes(&wider, &rows, replace)
        finally:
            tb_book_free(&wider)
            free(rows.memory)


def joint_digest(Book sizes not None, Book rpi_sizes not None):
    """The digest of an RPI book that is kept as two books (docs/verify.md)."""
    return tb_book_joint_digest(tb_book_digest(sizes.handle), tb_book_digest(rpi_sizes.handle))


cdef Book view_of_feed(const tb_feed *feed, object engine, const bint *busy):
    # Engine.book: the feed and its book stay where they are as long as the engine lives.
    cdef Book book = Book.__new__(Book, feed.depth)
    book.feed = feed
    book.handle = &feed.book
    book.engine = engine
    book.busy = busy
    return book


cdef Book view_of_rpi(const tb_feed *feed, object engine, const bint *busy):
    # Engine.rpi_book: of an RPI feed, the second size of each level.
    cdef Book book = view_of_feed(feed, engine, busy)
    book.handle = feed.rpi
    return book


cdef list _levels_of(Book book, int side, n):
    book.look()
    cdef int32_t wanted = <int32_t>levels_wanted(n, book.depth, book.handle.sides[side].count)
    cdef tb_level level
    cdef list out = []
    for i in range(wanted):
        level = tb_book_level(book.handle, side, i)
        out.append((level.price, level.size))
    return out


cdef int32_t _count(Book book, levels) except -1:
    if levels is None:
        return book.depth
    count = index(levels)
    if count < 0:
        raise ValueError(f"found {count} levels, expected 0 or more (above the depth, {book.depth}, reads that many)")
    return min(count, book.depth)


cdef list _profile(Book book, int side, int64_t width, int32_t buckets):
    cdef tb_int128 *sums = <tb_int128 *>malloc(buckets * sizeof(tb_int128))
    if sums == NULL:
        raise MemoryError
    try:
        book.c_depth_profile(side, width, buckets, sums)
        return [sums[i] for i in range(buckets)]
    finally:
        free(sums)


cdef int _must_be_own(Book book) except -1:
    if book.feed != NULL:
        raise TypeError(f"found a view of {book.topic}, which only its frames change; expected a book of your own: "
                        "Book(depth)")
    return 0


cdef tb_error _unfit(Book book, const tb_changes *changes) noexcept nogil:
    # Why a book can't take changes that C code made, or TB_OK.
    cdef int side
    cdef int32_t i
    if book.feed != NULL:
        return TB_BAD_VALUE
    for side in range(2):
        if changes[side].count < 0:
            return TB_BAD_NUMBER
        for i in range(changes[side].count):
            if changes[side].sizes[i] < 0:
                return TB_BAD_NUMBER
            if changes[side].prices[i] == INT64_MIN:
                return TB_DECIMAL
        if not tb_is_sorted(changes[side].prices, changes[side].count, side):
            return TB_DUPLICATE_LEVEL
    return TB_OK


@cython.final
@cython.no_gc_clear
cdef class _Levels:
    # Lends the levels of one side to NumPy, and keeps alive what they lie in.
    cdef Book book
    cdef const tb_level *best
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t strides[2]

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if flags & PyBUF_WRITABLE == PyBUF_WRITABLE or flags & PyBUF_STRIDES != PyBUF_STRIDES:
            raise BufferError("the levels of a book are read-only and strided, expected a request for such memory")
        buffer.buf = <void *>self.best if self.best != NULL else <void *>self.shape
        buffer.obj = self
        buffer.len = self.shape[0] * sizeof(tb_level)
        buffer.itemsize = sizeof(int64_t)
        buffer.readonly = 1
        buffer.ndim = 2
        buffer.format = LEVEL_FORMAT if flags & PyBUF_FORMAT else NULL
        buffer.shape = self.shape
        buffer.strides = self.strides
        buffer.suboffsets = NULL
        buffer.internal = NULL


cdef object _view(Book book, int side):
    book.look()
    cdef _Levels levels = _Levels.__new__(_Levels)
    cdef Py_ssize_t count = book.c_readable(side)
    levels.book = book
    levels.shape = [count, 2]
    levels.strides = [-<Py_ssize_t>sizeof(tb_level), sizeof(int64_t)]
    if count:
        levels.best = &book.handle.sides[side].levels[book.handle.sides[side].count - 1]
        (<tb_book *>book.handle).viewed = 1
    return np.asarray(levels)


cdef int _walked(side) except -1:
    # The side of the book that a taker's order walks.
    if side == "buy":
        return TB_ASKS
    if side == "sell":
        return TB_BIDS
    raise ValueError(f"found side {side!r}, expected 'buy' or 'sell'")


cdef object _fill(tb_fill fill):
    cdef bint filled = fill.filled > 0
    return Fill(fill.filled, fill.notional, fill.average_price if filled else None, fill.worst_price if filled else None,
                fill.touched, bool(fill.complete))


cdef bint _is_wider(const tb_book *book, const Rows *rows) noexcept:
    return rows.price_decimals != book.price_decimals or rows.size_decimals != book.size_decimals


cdef int _must_fit(const tb_book *book, const Rows *rows) except -1:
    if _is_wider(book, rows) and tb_book_can_widen(book, rows.price_decimals, rows.size_decimals) != TB_OK:
        raise DecimalError(f"the book does not fit the wider exponents {-<int>rows.price_decimals}, "
                           f"{-<int>rows.size_decimals}: expected mantissas of at most 2^63 - 1")
    return 0


cdef object _apply(Book book, tuple columns, int price_exponent, int size_exponent, bint tell):
    cdef Rows rows
    cdef int64_t changed = 0
    changes = None
    _must_be_own(book)
    _read(&rows, columns, price_exponent, size_exponent, book.own.price_decimals, book.own.size_decimals)
    try:
        _must_fit(&book.own, &rows)
        if _is_wider(&book.own, &rows):
            tb_book_widen(&book.own, rows.price_decimals, rows.size_decimals)
        if tell:
            changes = _changes(&book.own, &rows, False)
        if tb_book_apply(&book.own, rows.changes, &changed) != TB_OK:
            raise MemoryError
    finally:
        free(rows.memory)
    return changes if tell else changed


cdef object _changes(const tb_book *book, const Rows *rows, bint replace):
    cdef int64_t capacity = <int64_t>rows.changes[0].count + rows.changes[1].count
    if replace:
        capacity += <int64_t>book.sides[0].count + book.sides[1].count
    cdef tb_change *out = <tb_change *>malloc(max(capacity, 1) * sizeof(tb_change))
    if out == NULL:
        raise MemoryError
    cdef int64_t i, count = tb_book_changes(book, rows.changes, replace, out, capacity)
    try:
        return Changes(-<int>book.price_decimals, -<int>book.size_decimals, [
            LevelChange("ask" if out[i].side else "bid", out[i].price, out[i].before, out[i].after, out[i].place)
            for i in range(count)
        ])
    finally:
        free(out)


cdef int _read(Rows *rows, tuple columns, int price_exponent, int size_exponent, unsigned price_decimals,
               unsigned size_decimals) except -1:
    # One message, sorted, at these decimals or its own, whichever are more. The caller frees rows.memory.
    if not (-18 <= price_exponent <= 0 and -18 <= size_exponent <= 0):
        raise DecimalError(f"found exponents {price_exponent}, {size_exponent}, expected -18..0")
    if columns[0] is None or columns[1] is None or columns[2] is None or columns[3] is None:
        raise TypeError("found None, expected int64 buffers")
    cdef const int64_t[::1] bid_prices = columns[0]
    cdef const int64_t[::1] bid_sizes = columns[1]
    cdef const int64_t[::1] ask_prices = columns[2]
    cdef const int64_t[::1] ask_sizes = columns[3]
    cdef Py_ssize_t bids = bid_prices.shape[0], asks = ask_prices.shape[0], total = bids + asks
    if bid_sizes.shape[0] != bids or ask_sizes.shape[0] != asks:
        raise ValueError(f"found {bids} prices and {bid_sizes.shape[0]} sizes of bids, {asks} and {ask_sizes.shape[0]} of asks, "
                         "expected as many of each")
    if total > MAX_LEVELS:
        raise ValueError(f"found {total} levels, expected at most {MAX_LEVELS}")
    rows.price_decimals = max(<unsigned>-price_exponent, price_decimals)
    rows.size_decimals = max(<unsigned>-size_exponent, size_decimals)
    rows.memory = <int64_t *>malloc(4 * max(total, 1) * sizeof(int64_t))
    if rows.memory == NULL:
        raise MemoryError
    cdef unsigned price_by = rows.price_decimals - <unsigned>-price_exponent
    cdef unsigned size_by = rows.size_decimals - <unsigned>-size_exponent
    cdef tb_level *scratch = <tb_level *>(rows.memory + 2 * total)
    rows.changes[0] = tb_changes(rows.memory, rows.memory + bids, <int32_t>bids)
    rows.changes[1] = tb_changes(rows.memory + 2 * bids, rows.memory + 2 * bids + asks, <int32_t>asks)
    try:
        if bids:
            _read_side(rows, 0, &bid_prices[0], &bid_sizes[0], price_by, size_by, scratch)
        if asks:
            _read_side(rows, 1, &ask_prices[0], &ask_sizes[0], price_by, size_by, scratch)
    except:
        free(rows.memory)
        raise
    return 0


cdef int _read_side(Rows *rows, int side, const int64_t *prices, const int64_t *sizes, unsigned price_by,
                    unsigned size_by, tb_level *scratch) except -1:
    cdef int32_t i, n = rows.changes[side].count
    cdef int64_t *price_out = <int64_t *>rows.changes[side].prices
    cdef int64_t *size_out = price_out + n
    for i in range(n):
        price_out[i] = prices[i]
        size_out[i] = sizes[i]
        if sizes[i] < 0:
            raise ValueError(f"found size {sizes[i]}, expected none below 0")
        if (prices[i] == INT64_MIN or tb_rescale(&price_out[i], price_by) != TB_OK
                or tb_rescale(&size_out[i], size_by) != TB_OK):
            raise DecimalError(
                f"level {prices[i]} x {sizes[i]} does not fit: expected mantissas of at most 2^63 - 1 at the "
                f"book's exponents {-<int>rows.price_decimals}, {-<int>rows.size_decimals}"
            )
    if not tb_is_sorted(price_out, n, side) and tb_sort_changes(price_out, size_out, n, side, scratch):
        raise ValueError("found one price twice on one side")
    return 0
