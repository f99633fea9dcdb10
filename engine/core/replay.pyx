"""Rows of `book_updates` back to books: one `nogil` call for a chunk of one feed's rows, straight from Arrow's buffers.

A chunk may begin and end anywhere; the book lives on between calls. What rows mean is in docs/tables.md and docs/sampling.md:
snapshots and keyframes replace the book, deltas change it, rows with ``applied = false`` are passed over.
"""

from concurrent.futures import ThreadPoolExecutor

from libc.stdint cimport uintptr_t
from libc.string cimport memset

from engine.core.core cimport tb_book_digest, tb_book_digest_recomputed, tb_book_level, tb_level
from engine.core.whole cimport *

import pyarrow as pa

from schemas.errors import DataError, DecimalError
from schemas.tables import LEVEL_COLUMNS, MANTISSAS, NAME, ROW_KINDS

COLUMNS = (
    "sequence", "depth", "kind", "applied", "update_id", *LEVEL_COLUMNS, "price_exponent", "size_exponent",
)
BEST = pa.schema(
    [
        *(pa.field(name, pa.int64()) for name in LEVEL_COLUMNS),
        pa.field("price_exponent", pa.int8(), nullable=False),
        pa.field("size_exponent", pa.int8(), nullable=False),
        pa.field("trusted", pa.bool_(), nullable=False),
    ]
)

cdef object _BOOL = pa.bool_(), _INT8 = pa.int8(), _INT16 = pa.int16(), _INT64 = pa.int64(), _UINT64 = pa.uint64()
cdef dict _UNITS_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


# ---- columns in ------------------------------------------------------------------------------------------------------


cdef class Columns:
    """The buffers of one record batch, long enough for what it says of itself, and kept alive."""

    def __cinit__(self, batch, bint digest=False, clock=None):
        cdef int i
        if type(batch) is not pa.RecordBatch:  # a subclass could say anything about its length
            raise TypeError(f"found {type(batch).__name__}, expected a pyarrow.RecordBatch or Table")
        memset(&self.columns, 0, sizeof(tb_replay_columns))
        self.kept = []
        self.columns.count = batch.num_rows
        self.columns.sequence = <const int64_t *>self.plain(batch, TB_COLUMN_SEQUENCE, _INT64)
        self.columns.depth = <const int16_t *>self.plain(batch, TB_COLUMN_DEPTH, _INT16)
        self.columns.update_id = <const int64_t *>self.plain(batch, TB_COLUMN_UPDATE_ID, _INT64)
        self.columns.price_exponent = <const int8_t *>self.plain(batch, TB_COLUMN_PRICE_EXPONENT, _INT8)
        self.columns.size_exponent = <const int8_t *>self.plain(batch, TB_COLUMN_SIZE_EXPONENT, _INT8)
        applied = self.column(batch, "applied", _BOOL)
        self.columns.there[<int>TB_COLUMN_APPLIED] = self.validity(applied)
        self.columns.applied = self.bits(applied, 1)
        self.kinds(batch)
        for i in range(4):
            self.lists(batch, i)
        for i in range(TB_COLUMN_COUNT):
            self.columns.nulls |= self.columns.there[i].bytes != NULL
        if digest:
            array = self.column(batch, "digest", _UINT64)
            self.columns.digest = <const uint64_t *>self.start(array, 1, 64, 0)
            self.columns.digest_there = self.validity(array)
        if clock is not None:
            self.clock(batch, clock)

    cdef object column(self, batch, name, type_):
        """The column of that name, of that type unless it is None."""
        index = batch.schema.get_field_index(name)
        if index < 0:
            raise DataError(f"found no column {name!r}, or several; expected the columns of book_updates")
        array = batch.column(index)
        if len(array) != self.columns.count:
            raise DataError(f"column {name!r}: found {len(array)} rows, expected {self.columns.count} as the batch says")
        if type_ is not None and array.type != type_:
            raise DataError(f"column {name!r}: found type {array.type}, expected {type_}")
        return array

    cdef const uint8_t *start(self, array, int index, int bits, Py_ssize_t more) except? NULL:
        """Buffer ``index`` of an array, which holds ``bits`` for each of its items and for ``more``, at its first item."""
        cdef Py_ssize_t first = array.offset, count = len(array)
        buffer = array.buffers()[index]
        if buffer is None:
            if count + more > 0 and not (count == 0 and first == 0):
                raise DataError(f"found an array of {array.type} without its buffer {index}, expected {count} items")
            return NULL
        if not buffer.is_cpu:
            raise DataError("found a buffer in the memory of a device, expected the processor's; copy it first")
        if buffer.size * 8 // bits - first - more < count and count > 0:
            raise DataError(
                f"found {buffer.size} bytes in buffer {index} of an array of {array.type}, "
                f"expected enough for {first + count} items"
            )
        if bits > 1 and buffer.address % (bits // 8):
            raise DataError(f"found an array of {array.type} at an odd address, expected it aligned to {bits // 8} bytes")
        self.kept.append(buffer)
        return <const uint8_t *><uintptr_t>buffer.address + (first * bits // 8 if bits > 1 else 0)

    cdef tb_bits bits(self, array, int index):
        cdef tb_bits out
        out.bytes = self.start(array, index, 1, 0)
        out.first = array.offset
        return out

    cdef tb_bits validity(self, array):
        cdef tb_bits out
        out.bytes = NULL
        out.first = 0
        if array.null_count:
            out = self.bits(array, 0)
        return out

    cdef const uint8_t *plain(self, batch, int index, type_) except? NULL:
        array = self.column(batch, COLUMNS[index], type_)
        self.columns.there[index] = self.validity(array)
        return self.start(array, 1, type_.bit_width, 0)

    cdef int kinds(self, batch) except -1:
        array = self.column(batch, "kind", None)
        type_ = array.type
        if pa.types.is_string(type_) or pa.types.is_large_string(type_):
            array = array.dictionary_encode()
        elif type_ != NAME and not pa.types.is_dictionary(type_):
            raise DataError(f"column 'kind': found type {type_}, expected a dictionary of strings")
        indices, self.dictionary = array.indices, array.dictionary.to_pylist()
        if indices.type != _INT8:
            try:
                indices = indices.cast(_INT8)
            except pa.ArrowInvalid as error:
                raise DataError(f"column 'kind': {error}; expected {', '.join(ROW_KINDS)}") from error
        memset(self.names, TB_NO_KIND, sizeof(self.names))
        for place, name in enumerate(self.dictionary[:128]):
            if name in ROW_KINDS:
                self.names[<int>place] = ROW_KINDS.index(name)
        self.columns.kind_names = self.names
        self.columns.kind = self.start(indices, 1, 8, 0)
        self.columns.there[<int>TB_COLUMN_KIND] = self.validity(indices)
        return 0

    cdef int lists(self, batch, int which) except -1:
        cdef tb_lists *out = &self.columns.lists[which]
        name = LEVEL_COLUMNS[which]
        array = self.column(batch, name, None)
        type_ = array.type
        if type_ != MANTISSAS and not (pa.types.is_list(type_) and type_.value_type == _INT64):
            raise DataError(f"column {name!r}: found type {type_}, expected {MANTISSAS}")
        self.columns.there[TB_COLUMN_LISTS + which] = self.validity(array)
        out.offsets = <const int32_t *>self.start(array, 1, 32, 1)
        values = array.values
        out.values = <const int64_t *>self.start(values, 1, 64, 0)
        out.length = len(values)
        out.values_there = self.validity(values)
        return 0

    cdef int clock(self, batch, name) except -1:
        array = self.column(batch, name, None)
        if not pa.types.is_timestamp(array.type) or array.type.tz is None:
            raise DataError(f"column {name!r}: found type {array.type}, expected a timestamp with time zone, such as "
                            "timestamp[ns, tz=UTC]")
        self.columns.clock = <const int64_t *>self.start(array, 1, 64, 0)
        self.columns.clock_there = self.validity(array)
        self.columns.clock_ns = _UNITS_NS[array.type.unit]
        return 0


def record_batches(rows):
    """The record batches of a table, or the one that was given, without copying."""
    if type(rows) is pa.Table:
        return rows.to_batches()
    if type(rows) is pa.RecordBatch:
        return [rows]
    raise TypeError(f"found {type(rows).__name__}, expected a pyarrow.Table or RecordBatch")


# ---- books out -------------------------------------------------------------------------------------------------------


cdef tuple _bits(flags, int64_t count, int flag):
    """(bitmap of the rows that have the flag, count of those that don't)."""
    bitmap = pa.allocate_buffer(count // 8 + 1)
    cdef int64_t there = tb_flag_bits(<const uint8_t *><uintptr_t>flags.address, count, <uint8_t>flag,
                                      <uint8_t *><uintptr_t>bitmap.address)
    return bitmap, count - there


cdef object _array(type_, int64_t count, tuple there, values):
    return pa.Array.from_buffers(type_, count, [there[0], values], null_count=there[1])


cdef class BookReplay:
    """The book of one feed, made from its rows.

    Args:
        depth: of the topic, the 50 of ``orderbook.50.BTCUSDT``; rows of another are refused.

    Rows come in the order of ``sequence``, a table or record batch after another, each beginning where the one before
    ended. Deltas before the first snapshot or keyframe find no book and are passed over. A row that the live book did
    not take (``applied`` false) leaves the book as it is, and untrusted until the next snapshot or keyframe, unless it
    is a delta that came late. Prices and sizes are mantissas at ``price_exponent`` and ``size_exponent``, the row's for
    a snapshot or keyframe; a delta with a finer one widens the book exactly, a coarser one is brought to the book's.
    """

    def __cinit__(self, int depth):
        if not 1 <= depth <= 32767:
            raise ValueError(f"found depth {depth}, expected one of 1..32767")
        tb_replay_init(&self.replay, depth)

    def __dealloc__(self):
        tb_replay_free(&self.replay)

    cdef int begin(self) except -1:
        if self.busy:
            raise RuntimeError("another thread is replaying rows into this book; give each feed a BookReplay of its own")
        self.busy = True
        return 0

    cdef tb_book *settled(self) except NULL:
        self.begin()
        tb_loose_settle(&self.replay.loose)
        self.busy = False
        return &self.replay.loose.book

    def best(self, rows):
        """Take rows, and return the best bid and ask behind each of them.

        Args:
            rows: a pyarrow Table or RecordBatch with the columns of book_updates; more columns are ignored.

        Returns:
            A RecordBatch of as many rows: ``bid_price_mantissa``, ``bid_size_mantissa``, ``ask_price_mantissa``,
            ``ask_size_mantissa`` (int64, null where there is no such level or no book yet), ``price_exponent``,
            ``size_exponent`` (int8), ``trusted`` (false: there is no book yet, or it is the last good one).

        Raises:
            DataError: a column is missing or has another type; or a row is not one of this feed, out of order, does not
                follow the one before it, or holds what no book can. The message gives the row, counted from 0 in
                ``rows``; those before it were taken, and it has changed nothing.
            DecimalError: a number that int64 can't hold at the book's exponents; likewise.
        """
        cdef tb_best out
        cdef Columns columns
        cdef int64_t at = 0, taken
        batches = record_batches(rows)
        n = sum(batch.num_rows for batch in batches)
        numbers = [pa.allocate_buffer(8 * n) for _ in range(4)]
        exponents = [pa.allocate_buffer(n) for _ in range(2)]
        flags = pa.allocate_buffer(n)
        self.begin()
        try:
            for batch in batches:
                columns = Columns(batch)
                out.bid_price = <int64_t *><uintptr_t>numbers[0].address + at
                out.bid_size = <int64_t *><uintptr_t>numbers[1].address + at
                out.ask_price = <int64_t *><uintptr_t>numbers[2].address + at
                out.ask_size = <int64_t *><uintptr_t>numbers[3].address + at
                out.price_exponent = <int8_t *><uintptr_t>exponents[0].address + at
                out.size_exponent = <int8_t *><uintptr_t>exponents[1].address + at
                out.flags = <uint8_t *><uintptr_t>flags.address + at
                with nogil:
                    taken = tb_replay_best(&self.replay, &columns.columns, &out)
                if taken < columns.columns.count:
                    raise self.error(columns, at + taken)
                at += taken
        finally:
            self.busy = False
        there = [_bits(flags, n, TB_HAS_BID), _bits(flags, n, TB_HAS_ASK)]
        everywhere = (None, 0)
        arrays = [_array(_INT64, n, there[place // 2], values) for place, values in enumerate(numbers)]
        arrays += [_array(_INT8, n, everywhere, values) for values in exponents]
        arrays.append(_array(_BOOL, n, everywhere, _bits(flags, n, TB_IS_TRUSTED)[0]))
        return pa.RecordBatch.from_arrays(arrays, schema=BEST)

    def verify(self, rows):
        """Take rows, and hold what they say of the book against the book that they make.

        Args:
            rows: as for ``best``, with the column ``digest``.

        Returns:
            None, or (row, what is wrong) of the first row at which digests, keyframes, update ids or sequences don't
            fit; rows behind it were not looked at, and the book is of no more use.

        Raises:
            DataError, DecimalError: as for ``best``.
        """
        cdef Columns columns
        cdef int64_t at = 0, taken
        self.begin()
        try:
            for batch in record_batches(rows):
                columns = Columns(batch, digest=True)
                with nogil:
                    taken = tb_replay_verify(&self.replay, &columns.columns)
                if taken < columns.columns.count:
                    if self.replay.error in _FINDINGS:
                        return at + taken, self.words(columns)
                    raise self.error(columns, at + taken)
                at += taken
        finally:
            self.busy = False
        return None

    def forget_sequence(self):
        """Rows that follow may have any sequence: those of one segment may alternate between the files of two dates."""
        self.begin()
        self.replay.last_sequence = INT64_MIN
        self.busy = False

    cdef object error(self, Columns columns, int64_t row):
        """The exception for the row that could not be taken."""
        if self.replay.error == TB_ROW_NO_MEMORY:
            return MemoryError(f"row {row}: no memory for a book of so many levels")
        decimal = self.replay.error in (TB_ROW_DECIMAL, TB_ROW_WIDER, TB_ROW_SUM)
        return (DecimalError if decimal else DataError)(f"row {row}: {self.words(columns)}")

    cdef str words(self, Columns columns):
        cdef tb_replay *r = &self.replay
        cdef int error = r.error
        name = COLUMNS[r.column]
        if error == TB_ROW_NULL:
            return f"found a null in {name}, expected a value"
        if error == TB_ROW_NULL_LEVEL:
            return f"found a null in {name}, expected a mantissa at place {r.found}"
        if error == TB_ROW_KIND:
            known = r.found < len(columns.dictionary)
            kind = repr(columns.dictionary[r.found]) if known else f"index {r.found} into {len(columns.dictionary)} names"
            return f"found kind {kind}, expected {', '.join(ROW_KINDS)}"
        if error == TB_ROW_DEPTH:
            return f"found depth {r.found}, expected {r.expected}; select the rows of one feed"
        if error == TB_ROW_SEQUENCE:
            return f"sequence {r.found} comes after {r.expected}"
        if error == TB_ROW_EXPONENT:
            return f"found {name} {r.found}, expected one of -18..0"
        if error == TB_ROW_OFFSETS:
            return f"found offsets {r.found}, {r.expected} in {name}, expected them to rise within its values"
        if error == TB_ROW_COUNTS:
            side = "bid" if r.column == TB_COLUMN_LISTS else "ask"
            return f"found {r.found} {side} prices and {r.expected} {side} sizes, expected as many of each"
        if error == TB_ROW_SIZE:
            return f"found size {r.found} in {name}, expected none below 0"
        if error == TB_ROW_DUPLICATE:
            return f"found one price twice in {name}, expected each once"
        if error == TB_ROW_DECIMAL:
            return f"found {r.found} in {name}, expected what int64 can hold at the book's exponents, and its negative"
        if error == TB_ROW_WIDER:
            return f"the book does not fit the exponents {r.found}, {r.expected}, expected mantissas of at most 2^63 - 1"
        if error == TB_ROW_BREAK:
            return f"update id {r.found} is applied after {r.expected}"
        if error == TB_ROW_NO_BOOK:
            return f"update id {r.found} is applied, and no snapshot or keyframe comes before it"
        if error == TB_ROW_KEYFRAME:
            return f"the keyframe at update id {r.found} is not the book that the rows before it make"
        if error == TB_ROW_CLOCK:
            return f"found a moment of {r.found}, expected one that int64 can hold in nanoseconds"
        if error == TB_ROW_SUM:
            return "a sum over the samples up to this row does not fit into int64 at the book's exponents"
        return (f"at update id {r.update_id} the rows make a book with digest {<uint64_t>r.found:016x}, "
                f"the live book had {<uint64_t>r.expected:016x}")

    cdef list _side(self, int side, n):
        cdef tb_book *book = self.settled()
        cdef int64_t count = book.sides[side].count
        cdef tb_level level
        cdef list out = []
        cdef int64_t wanted = levels_wanted(n, self.replay.depth, count)
        for i in range(wanted):
            level = tb_book_level(book, side, <int32_t>i)
            out.append((level.price, level.size))
        return out

    def bids(self, n=None):
        """The best ``n`` bids (default: depth) as (price, size) mantissas, best first."""
        return self._side(0, n)

    def asks(self, n=None):
        """The best ``n`` asks (default: depth) as (price, size) mantissas, best first."""
        return self._side(1, n)

    @property
    def depth(self):
        """Of the topic: levels a side that readers see; deeper ones stay in state and digest."""
        return self.replay.depth

    @property
    def held(self):
        """Whether there is a book: a snapshot or keyframe has come."""
        return bool(self.replay.held)

    @property
    def trusted(self):
        """Whether it is what the live book was; False without one, and behind a row that the live book did not take."""
        return bool(self.replay.trusted)

    @property
    def update_id(self):
        """``u`` of the message that made the book, or None."""
        return self.replay.update_id if self.replay.held else None

    @property
    def sequence(self):
        """Ordinal of the record that made the book, or None."""
        return self.replay.sequence if self.replay.held else None

    @property
    def price_exponent(self):
        """Price value = mantissa x 10^price_exponent."""
        return -<int>self.replay.loose.book.price_decimals

    @property
    def size_exponent(self):
        """Size value = mantissa x 10^size_exponent."""
        return -<int>self.replay.loose.book.size_decimals

    @property
    def digest(self):
        """The 64-bit digest of the whole state."""
        return tb_book_digest(self.settled())

    def recomputed_digest(self):
        """The digest computed afresh from every level; equal to ``digest``."""
        return tb_book_digest_recomputed(self.settled())

    @property
    def counts(self):
        """What was done so far: ``rows`` taken, ``books`` they made, ``keyframes`` and ``digests`` looked at."""
        return {"rows": self.replay.rows, "books": self.replay.books, "keyframes": self.replay.keyframes,
                "digests": self.replay.digests}

    def __repr__(self):
        state = "trusted" if self.replay.trusted else "untrusted" if self.replay.held else "empty"
        return f"<BookReplay depth={self.replay.depth} {state} rows={self.replay.rows} digest={self.digest:016x}>"


cdef tuple _FINDINGS = (TB_ROW_SEQUENCE, TB_ROW_BREAK, TB_ROW_NO_BOOK, TB_ROW_KEYFRAME, TB_ROW_DIGEST)


def depth_of(rows):
    """The depth of a feed's rows, by the first of them; 1 where there are none. Raises DataError where it is none."""
    for batch in record_batches(rows):
        if batch.num_rows:
            depth = (<Columns>Columns(batch)).column(batch, "depth", _INT16)[0].as_py()
            if depth is None or depth < 1:
                raise DataError(f"row 0: found depth {depth}, expected at least 1")
            return depth
    return 1


def replay_books(tables, int threads=1):
    """Best bid and ask behind each row of several feeds, each feed by itself.

    Args:
        tables: from any key to the rows of one feed, as for ``BookReplay.best``; the depth is that of the first row.
        threads: how many feeds are replayed at a time.

    Returns:
        From the same keys, in their order, to what ``BookReplay.best`` returns; it does not depend on ``threads``.

    Raises:
        DataError, DecimalError: of the first feed, in the order of the keys, that can't be replayed; it is named.
    """
    if threads < 1:
        raise ValueError(f"found {threads} threads, expected at least 1")

    def replayed(item):
        key, rows = item
        try:
            return key, BookReplay(depth_of(rows)).best(rows)
        except DataError as error:
            raise type(error)(f"{key}: {error}") from error

    if threads == 1:
        return dict(map(replayed, tables.items()))
    with ThreadPoolExecutor(threads, "replay") as pool:
        return dict(pool.map(replayed, tables.items()))
