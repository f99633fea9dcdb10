# The best levels of a book as Python's tuples. Inline, because they are asked for once a frame: no module stands behind this.

from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport int32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from engine.core.core cimport tb_book, tb_book_level, tb_level


cdef extern from "Python.h":
    # as CPython has them: borrowed and stolen references, and no reference taken to count them
    Py_ssize_t Py_REFCNT(PyObject *object)
    PyObject *PyTuple_GET_ITEM(object items, Py_ssize_t at)
    void PyTuple_SET_ITEM(object items, Py_ssize_t at, object value)

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030E0000
    #define tb_forget_hash(tuple) (((PyTupleObject *)(tuple))->ob_hash = -1) /* tuples remember their hash */
    #else
    #define tb_forget_hash(tuple) ((void)(tuple))
    #endif
    """
    void tb_forget_hash(object items)


# The tuple that stands for a book's best levels: most frames leave them as they were.
cdef struct quote_cache:
    tb_level best[2]
    bint held[2]
    PyObject *quote


# Of every feed, by its index.
cdef struct quote_caches:
    quote_cache *of
    int32_t count


cdef inline int grow_quotes(quote_caches *caches, int32_t count) except -1:
    cdef quote_cache *grown = <quote_cache *>realloc(caches.of, count * sizeof(quote_cache))
    if grown == NULL:
        raise MemoryError
    memset(grown + caches.count, 0, (count - caches.count) * sizeof(quote_cache))
    caches.of = grown
    caches.count = count
    return 0


cdef inline void free_quotes(quote_caches *caches):
    cdef int32_t i
    for i in range(caches.count):
        Py_XDECREF(caches.of[i].quote)
    free(caches.of)


cdef inline void _put(tuple items, Py_ssize_t at, object value):
    # an item of a tuple that nobody else has
    cdef PyObject *old = PyTuple_GET_ITEM(items, at)
    Py_INCREF(value)
    PyTuple_SET_ITEM(items, at, value)
    Py_XDECREF(old)


cdef inline int _put_level(tuple quote, Py_ssize_t at, tb_level *known, bint *held, tb_level *level, bint has) except -1:
    if not has:
        _put(quote, at, None)
        _put(quote, at + 1, None)
    else:
        if not held[0] or known.price != level.price:
            _put(quote, at, level.price)
        if not held[0] or known.size != level.size:
            _put(quote, at + 1, level.size)
    known[0] = level[0]
    held[0] = has
    return 0


cdef inline tuple quote_of(const tb_book *book, int32_t feed, quote_cache *cache):
    # (feed, bid price, bid size, ask price, ask size), mantissas, None for the two of an empty side
    cdef tb_level bid, ask
    cdef tuple quote
    cdef int i
    bid.price = bid.size = ask.price = ask.size = 0
    cdef bint has_bid = book.sides[0].count > 0, has_ask = book.sides[1].count > 0
    if has_bid:
        bid = tb_book_level(book, 0, 0)
    if has_ask:
        ask = tb_book_level(book, 1, 0)
    if (cache.quote != NULL and cache.best[0].price == bid.price and cache.best[0].size == bid.size
            and cache.best[1].price == ask.price and cache.best[1].size == ask.size
            and cache.held[0] == has_bid and cache.held[1] == has_ask):
        return <tuple>cache.quote
    # What hasn't changed is not made anew: an int costs as much as the rest of this call. Nor is the tuple, if nobody
    # but the cache has it any more.
    if cache.quote == NULL or Py_REFCNT(cache.quote) > 1:
        quote = (feed, None, None, None, None)
        if cache.quote != NULL:
            for i in range(1, 5):
                _put(quote, i, (<tuple>cache.quote)[i])
            Py_XDECREF(cache.quote)
        Py_INCREF(quote)
        cache.quote = <PyObject *>quote
    quote = <tuple>cache.quote
    tb_forget_hash(quote)
    _put_level(quote, 1, &cache.best[0], &cache.held[0], &bid, has_bid)
    _put_level(quote, 3, &cache.best[1], &cache.held[1], &ask, has_ask)
    return quote


cdef inline tuple best_of(const tb_book *book):
    # (bid price, bid size, ask price, ask size)
    cdef tb_level bid, ask
    cdef bint has_bid = book.sides[0].count > 0, has_ask = book.sides[1].count > 0
    if has_bid and has_ask:
        bid = tb_book_level(book, 0, 0)
        ask = tb_book_level(book, 1, 0)
        return bid.price, bid.size, ask.price, ask.size
    if has_bid:
        bid = tb_book_level(book, 0, 0)
        return bid.price, bid.size, None, None
    if has_ask:
        ask = tb_book_level(book, 1, 0)
        return None, None, ask.price, ask.size
    return None, None, None, None
