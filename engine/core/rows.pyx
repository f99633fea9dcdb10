"""Rows that the core made (src/tb_rows.h) as Arrow tables: its memory becomes theirs.

A symbol's rows of one table are a pile: columns in one block, and buffers of the values that a row may have any number of.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdlib cimport free

from engine.core.core cimport *
from engine.core.values cimport name_of

import numpy as np

from engine.arrow_rows import book_table, rpi_book_table, split_by_day, ticker_table, trade_table
from schemas.names import Table


cdef class Memory:
    """Memory that the core has handed over: a read-only buffer, freed with its last user."""

    cdef void *at
    cdef Py_ssize_t length

    def __dealloc__(self):
        free(self.at)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.at, self.length, 1, flags)


cdef Memory _own(void *at, Py_ssize_t length):
    cdef Memory memory = Memory.__new__(Memory)
    memory.at = at
    memory.length = length
    return memory


cdef dict _take_table(tb_table *table, tb_table_kind kind, const row_functions *core):
    """Columns by name (a ticker's field by its index) as arrays over the core's memory, which is theirs from here on."""
    cdef int count, i
    cdef const tb_column *columns = core.columns_of(kind, &count)
    cdef dict out = {}
    cdef bint ends
    cdef Py_ssize_t offset
    cdef int64_t rows = table.count
    cdef void **starts = table.columns  # which are in the block too
    memory = _own(starts, core.block_bytes(table, kind))
    core.forget_table(table)
    for i in range(count):
        if columns[i].width == 0:
            continue
        ends = columns[i].numpy[0] == c"e"
        offset = <char *>starts[i] - <char *>starts
        if columns[i].numpy[0] == c"d":
            array = np.frombuffer(memory, np.int64, 2 * rows, offset).reshape(-1, 2)
        else:
            dtype = np.int32 if ends else columns[i].numpy.decode()
            array = np.frombuffer(memory, dtype, rows + ends, offset)
        out[columns[i].name.decode() if columns[i].name != NULL else i - TB_TICKER_FIRST_FIELD] = array
    return out


cdef list _take_values(tb_buffer *buffers, int count, dtype, const row_functions *core):
    """Buffers that follow each other, as arrays over the core's memory."""
    cdef list out = []
    cdef int i
    for i in range(count):
        memory = _own(buffers[i].bytes, buffers[i].used)
        core.forget_buffer(&buffers[i])
        out.append(np.frombuffer(memory, dtype))
    return out


cdef size_t bytes_of_rows(const tb_engine *engine, const row_functions *core):
    """What rows not yet taken use."""
    cdef size_t total = 0
    cdef int i, kind
    for i in range(engine.symbol_count):
        for kind in range(TB_TABLE_COUNT):
            total += core.pile_bytes(engine.symbols[i].rows, kind)
    return total


cdef size_t _least_pile(const tb_engine *engine, const row_functions *core, size_t keep_bytes):
    """The bytes from which on piles are taken, so that the smaller ones that are left hold ``keep_bytes`` at most."""
    cdef list piles = []
    cdef size_t size, kept = 0
    cdef int i, kind
    for i in range(engine.symbol_count):
        for kind in range(TB_TABLE_COUNT):
            size = core.pile_bytes(engine.symbols[i].rows, kind)
            if size:
                piles.append(size)
    for size in sorted(piles):
        kept += size
        if kept > keep_bytes:
            return size
    return kept + 1


cdef int _take_piles(dict out, tb_rows *rows, size_t least, str symbol, str collector, const row_functions *core) except -1:
    """A symbol's piles of ``least`` bytes and more."""
    if core.pile_bytes(rows, TB_TABLE_BOOKS) >= least:
        columns = _take_table(&rows.tables[TB_TABLE_BOOKS], TB_TABLE_BOOKS, core)
        levels = _take_values(&rows.buffers[TB_BID_PRICES], 4, np.int64, core)
        split_by_day(out, Table.BOOK_UPDATES, symbol, *book_table(columns, levels, collector))
    if core.pile_bytes(rows, TB_TABLE_RPI_BOOKS) >= least:
        columns = _take_table(&rows.tables[TB_TABLE_RPI_BOOKS], TB_TABLE_RPI_BOOKS, core)
        levels = _take_values(&rows.buffers[TB_RPI_BID_PRICES], 6, np.int64, core)
        split_by_day(out, Table.RPI_BOOK_UPDATES, symbol, *rpi_book_table(columns, levels, collector))
    if core.pile_bytes(rows, TB_TABLE_TRADES) >= least:
        columns = _take_table(&rows.tables[TB_TABLE_TRADES], TB_TABLE_TRADES, core)
        ids = _take_values(&rows.buffers[TB_IDS_OF_TRADES], 1, np.uint8, core)[0]
        split_by_day(out, Table.TRADES, symbol, *trade_table(columns, ids, collector))
    if core.pile_bytes(rows, TB_TABLE_TICKERS) >= least:
        columns = _take_table(&rows.tables[TB_TABLE_TICKERS], TB_TABLE_TICKERS, core)
        texts = _take_values(&rows.buffers[TB_TEXTS_OF_TICKERS], TB_TICKER_TEXTS, np.uint8, core)
        split_by_day(out, Table.TICKERS, symbol, *ticker_table(columns, texts, collector))
    return 0


cdef dict rows_taken(tb_engine *engine, const row_functions *core, str collector, size_t keep_bytes):
    """Take the piles, but for the smallest while they hold ``keep_bytes`` at most: {(table, symbol, day): pyarrow.Table}."""
    if engine.rows_lost:
        raise MemoryError(f"{engine.rows_lost} rows found no memory")
    cdef dict out = {}
    cdef tb_feed *feed
    cdef int i, kind
    cdef size_t least = _least_pile(engine, core, keep_bytes) if keep_bytes else 1
    for i in range(engine.symbol_count):
        if engine.symbols[i].rows == NULL:
            break
        _take_piles(out, engine.symbols[i].rows, least, name_of(engine.symbols[i]), collector, core)
    for i in range(engine.feed_count):
        feed = engine.feeds[i]
        kind = TB_TABLE_RPI_BOOKS if feed.kind == TB_KIND_RPI else TB_TABLE_BOOKS
        if feed.last_row >= 0 and engine.symbols[feed.symbol].rows.tables[kind].count == 0:
            feed.last_row = -1
    return out
