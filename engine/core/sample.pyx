"""Samples of a book while its rows are replayed, as columns: the face of src/tb_sample.h.

``engine.sampling`` makes Arrow batches of them and says what they mean.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int8_t, int32_t, int64_t, uint8_t, uint64_t, uintptr_t
from libc.string cimport memset

from engine.core.replay cimport TB_ROW_OK, BookReplay, Columns
from engine.core.whole cimport *

import numpy as np

from schemas.errors import DecimalError

_INT128 = np.dtype([("low", "<u8"), ("high", "<i8")])

cdef dict _KINDS = {"levels": TB_SAMPLE_LEVELS, "flow": TB_SAMPLE_FLOW, "bands": TB_SAMPLE_BANDS,
                    "fill": TB_SAMPLE_FILL}


cdef class Sampler:
    """Samples of one feed.

    Args:
        kind: ``levels``, ``flow``, ``bands`` or ``fill``.
        depth: of the topic.
        clock: the column that moments are read from, such as ``match_time``.
        every_ns, origin_ns: sample at ``origin_ns`` plus every multiple of this; 0: by messages instead.
        every_messages: sample behind each so many messages.
        start_ns, end_ns: no samples before and behind these.
        levels: how many a side.
        bands: thousandths of a basis point, rising.
        fill: of what kind of the same name: the side of the book that is taken from (0: bids, 1: asks), the size as a
            mantissa, and its decimals.
        capacity: samples in one piece of output, at most.
        begin_ns: where the clock stands before the first row, when rows before it are left out; None: the first row's
            reading is the first one.
    """

    cdef tb_sampler sampler
    cdef BookReplay books
    cdef Columns columns
    cdef str clock
    cdef int64_t capacity
    cdef int64_t row

    def __cinit__(self, str kind, int depth, str clock, *, int64_t every_ns=0, int64_t origin_ns=0,
                  int64_t every_messages=0, int64_t start_ns=INT64_MIN, int64_t end_ns=INT64_MAX, int32_t levels=1,
                  tuple bands=(), tuple fill=(0, 0, 0), int64_t capacity=65536, begin_ns=None):
        if (every_ns > 0) == (every_messages > 0) or every_ns < 0 or every_messages < 0:
            raise ValueError(f"found every_ns={every_ns} and every_messages={every_messages}, expected one of them above 0")
        if levels < 1 or capacity < 1 or levels * capacity > 2**31 - 1:
            raise ValueError(f"found {levels} levels in {capacity} samples, expected at least 1 and 2^31 - 1 in all")
        if len(bands) > TB_MAX_BANDS:
            raise ValueError(f"found {len(bands)} bands, expected at most {TB_MAX_BANDS}")
        tb_sampler_init(&self.sampler)
        self.sampler.kind = _KINDS[kind]
        self.sampler.every_ns, self.sampler.origin_ns = every_ns, origin_ns
        self.sampler.every_messages = every_messages
        self.sampler.start_ns, self.sampler.end_ns = start_ns, end_ns
        self.sampler.levels = levels
        self.sampler.bands = len(bands)
        for i, band in enumerate(bands):
            self.sampler.band[<int>i] = band
        self.sampler.fill_side, self.sampler.fill_size, self.sampler.fill_decimals = fill
        if self.sampler.fill_side > 1 or self.sampler.fill_size < 0 or self.sampler.fill_decimals > 18:
            raise ValueError(f"found fill={fill}, expected side 0 or 1, a size of at least 0 and at most 18 decimals")
        if begin_ns is not None:
            tb_sampler_begin_at(&self.sampler, begin_ns)
        self.books = BookReplay(depth)
        self.clock = clock
        self.capacity = capacity
        self.row = 0

    def begin(self, batch):
        """The next rows: a record batch, or None behind the last one."""
        self.columns = None if batch is None else Columns(batch, clock=self.clock)
        self.row = 0

    def more(self):
        """The next piece of samples, or None when the rows of this batch are done.

        Returns:
            NumPy arrays by name, of as many samples each; see ``engine.sampling``.

        Raises:
            DataError, DecimalError: a row can't be taken, or a sum does not fit.
        """
        cdef tb_samples out
        cdef bint done
        cdef dict arrays = self._allocate(&out)
        self.books.begin()
        try:
            if self.columns is None:
                with nogil:
                    done = tb_sample_rest(&self.sampler, &self.books.replay, &out)
            else:
                with nogil:
                    self.row = tb_sample_rows(&self.sampler, &self.books.replay, &self.columns.columns, self.row, &out)
                done = self.row == self.columns.columns.count
            if self.books.replay.error != TB_ROW_OK:
                if self.columns is None:
                    raise DecimalError(self.books.words(None))
                raise self.books.error(self.columns, self.row)
        finally:
            self.books.busy = False
        if out.used == 0 and done:
            return None
        return self._cut(arrays, out.used)

    @property
    def over(self):
        """Whether no row can bring another sample."""
        return bool(self.sampler.over)

    cdef dict _allocate(self, tb_samples *out):
        cdef int side
        cdef int32_t bands = self.sampler.bands
        cdef dict arrays = {}

        def memory(name, dtype, count):
            arrays[name] = array = np.empty(count, dtype)
            return array.ctypes.data

        n = self.capacity
        memset(out, 0, sizeof(tb_samples))
        out.capacity = n
        out.time_ns = <int64_t *><uintptr_t>memory("time", np.int64, n)
        out.age_ns = <int64_t *><uintptr_t>memory("age_ns", np.int64, n)
        out.update_id = <int64_t *><uintptr_t>memory("update_id", np.int64, n)
        out.sequence = <int64_t *><uintptr_t>memory("sequence", np.int64, n)
        out.rows = <int64_t *><uintptr_t>memory("rows", np.int64, n)
        out.price_exponent = <int8_t *><uintptr_t>memory("price_exponent", np.int8, n)
        out.size_exponent = <int8_t *><uintptr_t>memory("size_exponent", np.int8, n)
        out.flags = <uint8_t *><uintptr_t>memory("flags", np.uint8, n)
        if self.sampler.kind == TB_SAMPLE_LEVELS:
            for side in range(2):
                out.offsets[side] = <int32_t *><uintptr_t>memory(("bid", "ask")[side], np.int32, n + 1)
                out.offsets[side][0] = 0
            for side in range(4):
                name = ("bid_price", "bid_size", "ask_price", "ask_size")[side] + "_mantissa"
                out.levels[side] = <int64_t *><uintptr_t>memory(name, np.int64, n * self.sampler.levels)
        elif self.sampler.kind == TB_SAMPLE_FLOW:
            out.messages = <int64_t *><uintptr_t>memory("messages", np.int64, n)
            out.breaks = <int64_t *><uintptr_t>memory("breaks", np.int64, n)
            out.flow = <int64_t *><uintptr_t>memory("order_flow_mantissa", np.int64, n)
            out.spread = <int64_t *><uintptr_t>memory("spread_mantissa", np.int64, n)
            out.twice_mid = <int64_t *><uintptr_t>memory("twice_mid_mantissa", np.int64, n)
            out.spread_time = <uint64_t *><uintptr_t>memory("spread_time", _INT128, n)
            out.spread_ns = <uint64_t *><uintptr_t>memory("spread_ns", np.uint64, n)
            out.spread_decimals = <int8_t *><uintptr_t>memory("spread_decimals", np.int8, n)
        elif self.sampler.kind == TB_SAMPLE_FILL:
            out.twice_mid = <int64_t *><uintptr_t>memory("twice_mid_mantissa", np.int64, n)
            out.filled = <uint64_t *><uintptr_t>memory("filled", _INT128, n)
            out.notional = <uint64_t *><uintptr_t>memory("notional", _INT128, n)
            out.filled_decimals = <int8_t *><uintptr_t>memory("filled_decimals", np.int8, n)
            out.worst_price = <int64_t *><uintptr_t>memory("worst_price_mantissa", np.int64, n)
            out.touched = <int32_t *><uintptr_t>memory("levels", np.int32, n)
        else:
            out.twice_mid = <int64_t *><uintptr_t>memory("twice_mid_mantissa", np.int64, n)
            for side in range(2):
                name = ("bid", "ask")[side]
                out.band_sizes[side] = <int64_t *><uintptr_t>memory(f"{name}_size_mantissa", np.int64, n * bands)
                out.covered[side] = <int8_t *><uintptr_t>memory(f"{name}_bands_covered", np.int8, n)
        return arrays

    cdef dict _cut(self, dict arrays, int64_t used):
        """The part that was written."""
        cut = {name: array[:used] for name, array in arrays.items()}
        if self.sampler.kind == TB_SAMPLE_LEVELS:
            for side in ("bid", "ask"):
                cut[side] = arrays[side][:used + 1]
                for what in ("price", "size"):
                    cut[f"{side}_{what}_mantissa"] = arrays[f"{side}_{what}_mantissa"][:cut[side][used]]
        elif self.sampler.kind == TB_SAMPLE_BANDS:
            for side in ("bid", "ask"):
                cut[f"{side}_size_mantissa"] = arrays[f"{side}_size_mantissa"][:used * self.sampler.bands]
        return cut
