"""Frames back from rows, and the check that they come back as they were: the face of src/tb_wire.h.

Forms are ``schemas.wire.WireForm``; engine/reference/wire.py does the same in plain Python.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from engine.core.core cimport *
from engine.core.whole cimport *

import numpy as np

from schemas.errors import DataError
from schemas.tables import TICKER_FIELDS
from schemas.wire import TRADE_EXTRAS

KINDS = ("book", "rpi", "trades", "ticker")

cdef dict _FRAME = {
    "symbol": TB_WIRE_SYMBOL, "kind": TB_WIRE_KIND, "push": TB_WIRE_PUSH, "match": TB_WIRE_MATCH, "update": TB_WIRE_UPDATE,
    "cross": TB_WIRE_CROSS, "open": TB_WIRE_OPEN, "bids": TB_WIRE_BIDS, "asks": TB_WIRE_ASKS, "values": TB_WIRE_VALUES, "trades": TB_WIRE_TRADES,
}
cdef dict _EACH = {
    "symbol": TB_WIRE_SYMBOL, "match": TB_WIRE_TRADE_MATCH, "cross": TB_WIRE_TRADE_CROSS, "side": TB_WIRE_TRADE_SIDE,
    "price": TB_WIRE_TRADE_PRICE, "size": TB_WIRE_TRADE_SIZE, "tick": TB_WIRE_TRADE_TICK, "id": TB_WIRE_TRADE_ID,
    "block": TB_WIRE_TRADE_BLOCK, "rpi": TB_WIRE_TRADE_RPI,
    **{key: TB_WIRE_TRADE_EXTRA + i for i, key in enumerate(TRADE_EXTRAS)},
}
_TABLES = {"book": TB_TABLE_BOOKS, "rpi": TB_TABLE_RPI_BOOKS, "trades": TB_TABLE_TRADES, "ticker": TB_TABLE_TICKERS}
_FIELDS = {field.key: (place, field.kind) for place, field in enumerate(TICKER_FIELDS)}
_LEVELS = ('","b":[', "bids", '],"a":[', "asks", '],"u":', "update", ',"seq":', "cross", '},"cts":', "match", "}")
# what the decoder's fast path takes, in its order (tb_fast.c): type first, clock first
_LAYOUTS = (
    ('{"topic":"', "topic", '","type":"', "kind", '","ts":', "push", ',"data":{"s":"', "symbol", *_LEVELS),
    ('{"topic":"', "topic", '","ts":', "push", ',"type":"', "kind", '","data":{"s":"', "symbol", *_LEVELS),
)
_TEXTS = [place for place, field in enumerate(TICKER_FIELDS) if field.kind == "text"]


# ---- forms -----------------------------------------------------------------------------------------------------------


cdef int _style(text) except? -2:
    if text is None:
        return TB_WIRE_UNKNOWN
    if text == "trimmed":
        return TB_WIRE_TRIMMED
    if text == "ms":
        return TB_WIRE_MS
    if text == "iso":
        return TB_WIRE_ISO
    places = text.removesuffix("z")
    if not (places.isascii() and places.isdigit() and len(places) < 3 and int(places) <= 18):
        raise DataError(f"found {text!r} as the writing of a number, expected 0 to 18, 0z to 18z, trimmed, ms or iso")
    return int(places) + (TB_WIRE_FULL if text.endswith("z") else 0)


cdef list _parts(form, parts, dict names):
    """(step, literal) in turn; the topic is a literal too."""
    cdef list out = []
    cdef bytes pending = b""
    for place, part in enumerate(parts):
        if place % 2 == 0:
            pending += part.encode()
        elif part == "topic":
            pending += form.topic.encode()
        elif part in names:
            if pending:
                out.append((TB_WIRE_LITERAL, pending))
            pending = b""
            out.append((names[part], b""))
        else:
            raise DataError(f"{form.topic}: found {part!r} in a form, expected one of {', '.join(names)}")
    if pending:
        out.append((TB_WIRE_LITERAL, pending))
    return out


cdef tb_wire_form *_compile(form, kind) except NULL:
    """The form as the core has it; ``DataError`` where it is none."""
    cdef list frame = _parts(form, form.frame, _FRAME), each = _parts(form, form.each, _EACH)
    cdef list steps = frame + each
    cdef bytes text = b"".join(literal for _, literal in steps), key
    cdef tb_wire_form *made = <tb_wire_form *>calloc(1, sizeof(tb_wire_form))
    cdef Py_ssize_t at = 0
    if made == NULL:
        raise MemoryError
    try:
        made.table = _TABLES[kind]
        made.is_rpi = kind == "rpi"
        made.layout = 1 + _LAYOUTS.index(form.frame) if kind == "book" and form.frame in _LAYOUTS else 0
        made.text = <uint8_t *>malloc(len(text) + TB_WIRE_PIECE)
        made.steps = <tb_wire_step *>calloc(len(steps) + 1, sizeof(tb_wire_step))
        made.members = <tb_wire_member *>calloc(TB_TICKER_FIELDS if kind == "ticker" else 1, sizeof(tb_wire_member))
        if made.text == NULL or made.steps == NULL or made.members == NULL:
            raise MemoryError
        memcpy(made.text, <const char *>text, len(text))
        made.step_count = len(frame)
        made.each_count = len(each)
        for i, (step, literal) in enumerate(steps):
            made.steps[<int>i].kind = step
            made.steps[<int>i].at = at
            made.steps[<int>i].length = len(literal)
            at += len(literal)
        memset(made.styles, TB_WIRE_UNKNOWN, sizeof(made.styles))
        if kind == "ticker":
            for name in form.order or _FIELDS:
                if name not in _FIELDS or made.member_count == TB_TICKER_FIELDS:
                    raise DataError(f"{form.topic}: found {name!r} in the order of a form, expected the keys of tickers once")
                place, sort = _FIELDS[name]
                key = f',"{name}":"'.encode()
                made.members[made.member_count].field = place
                made.members[made.member_count].length = len(key)
                memcpy(made.members[made.member_count].key, <const char *>key, len(key))
                made.member_count += 1
                made.styles[<int>place] = (
                    TB_WIRE_TEXT + _TEXTS.index(place) if sort == "text" else _checked(form, name, sort)
                )
        else:
            made.styles[TB_WIRE_PRICE] = _plain(form, "price")
            made.styles[TB_WIRE_SIZE] = _plain(form, "size")
            made.styles[TB_WIRE_RPI_SIZE] = _plain(form, "rpi_size") if kind == "rpi" else 0
            for i, name in enumerate(TRADE_EXTRAS):
                made.styles[TB_WIRE_EXTRA + <int>i] = _checked(form, name, "decimal")
    except BaseException:
        tb_wire_free_form(made)
        raise
    return made


cdef int _checked(form, name, sort) except? -2:
    style = _style(form.numbers.get(name))
    if style != TB_WIRE_UNKNOWN and (sort == "time") != (style in (TB_WIRE_MS, TB_WIRE_ISO)):
        raise DataError(f"{form.topic}: found {form.numbers[name]!r} as the writing of {name}, which is a {sort}")
    return style


cdef int _plain(form, name) except? -2:
    """The style of a number that every row has."""
    if name not in form.numbers:
        raise DataError(f"{form.topic}: found no writing of {name} in a form")
    return _checked(form, name, "decimal")


# ---- the check, while a segment is rolled ----------------------------------------------------------------------------


cdef class WireCheck:
    """Holds what the archive could write against what came, frame by frame, behind ``Engine.apply_batch``.

    Args:
        engine: the ``Engine`` whose rows these are; it makes columns.
    """

    cdef tb_wire wire
    cdef const tb_engine *engine
    cdef object owner
    cdef tb_batch batch
    cdef object held
    cdef int64_t count

    def __cinit__(self, engine):
        self.owner = engine
        self.engine = <const tb_engine *><uintptr_t>engine.core
        memset(&self.wire, 0, sizeof(tb_wire))

    def __dealloc__(self):
        tb_wire_free(&self.wire)

    def begin(self, const uint8_t[::1] payloads, const int32_t[::1] offsets, const int64_t[::1] sequences,
              const uint8_t[::1] kinds, int32_t[:, ::1] made):
        """Take up a batch; ``made`` is what ``Engine.apply_batch`` says of its frames."""
        cdef int64_t n = kinds.shape[0]
        if not (n > 0 and offsets.shape[0] == n + 1 and sequences.shape[0] == made.shape[0] == n and made.shape[1] == 5):
            raise ValueError("found columns of different lengths, or none")
        self.held = (payloads, offsets, sequences, kinds, made)
        self.count = n
        memset(&self.batch, 0, sizeof(tb_batch))
        self.batch.payloads = &payloads[0] if payloads.shape[0] else NULL
        self.batch.offsets = &offsets[0]
        self.batch.sequences = &sequences[0]
        self.batch.kinds = &kinds[0]
        self.batch.made = <tb_made *>&made[0, 0]
        if not tb_wire_reserve(&self.wire, self.engine.feed_count):
            raise MemoryError

    def check(self, int64_t start, int64_t stop):
        """Look at records [start, stop). Returns the first one that the archive can't hand back as things stand, or stop."""
        cdef int64_t found
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"found records {start} to {stop}, expected some of 0..{self.count}")
        if not tb_wire_reserve(&self.wire, self.engine.feed_count):
            raise MemoryError
        with nogil:
            found = tb_wire_check(&self.wire, self.engine, &self.batch, start, stop)
        if found < 0:
            raise MemoryError
        return found

    def remember(self, int64_t i):
        """A record that ``check`` stopped at is kept as it is; later ones may repeat it."""
        if not 0 <= i < self.count:
            raise IndexError(i)
        if not tb_wire_remember(&self.wire, &self.batch, i):
            raise MemoryError

    @property
    def remembered_bytes(self):
        """Memory of the frames that later ones may repeat, of all feeds."""
        cdef size_t total = 0
        cdef int feed, recent
        for feed in range(self.wire.feed_count):
            if self.wire.feeds[feed].recent != NULL:
                for recent in range(TB_WIRE_RECENT):
                    total += self.wire.feeds[feed].recent[recent].capacity
        return total

    def symbol(self, int index):
        """Name of a symbol, by its number in what was made."""
        if not 0 <= index < self.engine.symbol_count:
            raise IndexError(f"found symbol {index}, expected one of 0..{self.engine.symbol_count - 1}")
        return self.engine.symbols[index].name[:self.engine.symbols[index].name_length].decode()

    def take_repeats(self):
        """[(record of the batch, sequence of the frame whose bytes it repeats)] since the last call."""
        cdef int64_t i
        out = [(self.wire.repeats[2 * i], self.wire.repeats[2 * i + 1]) for i in range(self.wire.repeat_count)]
        self.wire.repeat_count = 0
        return out

    def take_opens(self):
        """[(record of the batch, digits that its form leaves open)] since the last call."""
        cdef int64_t i
        cdef const int64_t *entry
        out = []
        for i in range(self.wire.open_count):
            entry = self.wire.opens + 3 * i
            out.append((entry[0], PyBytes_FromStringAndSize(<const char *>self.batch.payloads + entry[1], entry[2])))
        self.wire.open_count = 0
        return out

    def take_met(self):
        """[(record of the batch, its payload)]: digest notes that ``Engine.apply_batch`` went over, since the last call."""
        cdef int64_t i, record
        cdef list out = []
        for i in range(self.wire.met_count):
            record = self.wire.met[i]
            out.append((record, PyBytes_FromStringAndSize(<const char *>self.batch.payloads + self.batch.offsets[record],
                                                          self.batch.offsets[record + 1] - self.batch.offsets[record])))
        self.wire.met_count = 0
        return out

    def set_form(self, int feed, form, kind):
        """Write a feed's frames so from here on; None for not at all. ``DataError`` if it is no form."""
        cdef tb_wire_form *made = NULL
        if not 0 <= feed < self.engine.feed_count:
            raise IndexError(f"found feed {feed}, expected one of 0..{self.engine.feed_count - 1}")
        if not tb_wire_reserve(&self.wire, self.engine.feed_count):
            raise MemoryError
        if form is not None:
            made = _compile(form, kind)
        tb_wire_free_form(self.wire.feeds[feed].form)
        self.wire.feeds[feed].form = made


# ---- rendering, when the archive is read -----------------------------------------------------------------------------


cdef class Renderer:
    """Writes the frames of one feed from its rows.

    Args:
        form: the feed's.
        kind: book, rpi, trades or ticker.
        symbol: under which the rows are filed.

    Raises:
        DataError: it is no form.
    """

    cdef tb_wire_form *form
    cdef bytes symbol
    cdef object kind
    cdef object topic

    def __cinit__(self, form, kind, symbol):
        self.form = _compile(form, kind)
        self.symbol = symbol.encode()
        if len(self.symbol) > 64:
            raise DataError(f"found the symbol {symbol[:80]!r}, expected at most 64 bytes")
        self.kind = kind
        self.topic = form.topic

    def __dealloc__(self):
        tb_wire_free_form(self.form)

    cdef int64_t most_bytes(self, const tb_wire_source *source, int64_t row, int64_t rows):
        """No frame of these rows is longer."""
        cdef int64_t levels = 0, i
        for i in range(self.form.step_count + self.form.each_count):
            levels += self.form.steps[i].length // 64 + 2
        if self.form.table == TB_TABLE_BOOKS or self.form.table == TB_TABLE_RPI_BOOKS:
            for i in (TB_BOOK_bid_end, TB_BOOK_ask_end):
                levels += 3 * ((<const int32_t *>source.columns[i])[row + 1] - (<const int32_t *>source.columns[i])[row])
        return 64 * (levels * max(rows, 1) + 2 * TB_TICKER_FIELDS) + TB_WIRE_SLACK

    def render(self, dict columns, list values, const int64_t[::1] first, const int64_t[::1] counts, list opens=None):
        """Write frames.

        Args:
            columns: {number of a column of src/tb_rows.h: NumPy array of its type} (``engine.wire_columns``).
            values: what the ``end`` columns point into.
            first: each frame's first row.
            counts: how many rows it has.
            opens: each frame's digits that the form leaves open, as bytes, or None; by default there are none.

        Returns:
            (the frames' bytes one after the other, int64 offsets, one more than there are frames).

        Raises:
            DataError: a row holds what the form can't write.
        """
        cdef void *places[128]
        cdef tb_wire_source source
        cdef int64_t i, length, most, room = 1 << 16, used = 0, n = first.shape[0]
        cdef uint8_t *out
        cdef uint8_t *grown
        cdef tb_wire_open open
        cdef bytes text
        memset(&open, 0, sizeof(open))
        memset(places, 0, sizeof(places))
        memset(&source, 0, sizeof(source))
        for place, array in columns.items():
            places[<int>place] = <void *><uintptr_t>array.ctypes.data
        for place, array in enumerate(values):
            source.values[<int>place] = <const uint8_t *><uintptr_t>array.ctypes.data
        source.columns = places
        source.symbol = self.symbol
        source.symbol_length = len(self.symbol)
        offsets = np.zeros(n + 1, np.int64)
        cdef int64_t[::1] ends = offsets
        out = <uint8_t *>malloc(room)
        if out == NULL:
            raise MemoryError
        try:
            for i in range(n):
                most = self.most_bytes(&source, first[i], counts[i])
                if room - used < most + 2 * TB_WIRE_SLACK:
                    room = 2 * room + most + 2 * TB_WIRE_SLACK
                    grown = <uint8_t *>realloc(out, room)
                    if grown == NULL:
                        raise MemoryError
                    out = grown
                if opens is not None and opens[i] is not None:
                    text = opens[i]
                    open.text = <const uint8_t *>PyBytes_AS_STRING(text)
                    open.length = PyBytes_GET_SIZE(text)
                    source.open = &open
                else:
                    source.open = NULL
                length = tb_wire_render(self.form, &source, first[i], counts[i], out + used, most)
                if length < 0:
                    raise DataError(f"{self.topic}: row {first[i]} can't be written as its form says")
                used += length
                ends[i + 1] = used
            return (<char *>out)[:used], offsets
        finally:
            free(out)


COLUMNS = {
    "book": {
        "push_ms": TB_BOOK_push_ms, "match_ms": TB_BOOK_match_ms, "update_id": TB_BOOK_update_id,
        "cross_sequence": TB_BOOK_cross_sequence, "kind": TB_BOOK_kind, "bid_end": TB_BOOK_bid_end,
        "ask_end": TB_BOOK_ask_end, "price_exponent": TB_BOOK_price_exponent, "size_exponent": TB_BOOK_size_exponent,
    },
    "trades": {
        "push_ms": TB_TRADE_push_ms, "match_ms": TB_TRADE_match_ms, "price": TB_TRADE_price, "size": TB_TRADE_size,
        "cross_sequence": TB_TRADE_cross_sequence, "id_end": TB_TRADE_id_end, "price_exponent": TB_TRADE_price_exponent,
        "size_exponent": TB_TRADE_size_exponent, "side": TB_TRADE_side, "tick_direction": TB_TRADE_tick_direction,
        "is_block": TB_TRADE_is_block, "is_rpi": TB_TRADE_is_rpi, "extras": TB_TRADE_extras,
        **{name: TB_TRADE_mark_price + i for i, name in enumerate(("mark_price", "index_price", "mark_iv", "trade_iv"))},
    },
    "ticker": {
        "push_ms": TB_TICKER_push_ms, "cross_sequence": TB_TICKER_cross_sequence, "keys": TB_TICKER_keys,
        "present": TB_TICKER_present, "text_0_end": TB_TICKER_text_0_end, "text_1_end": TB_TICKER_text_1_end,
        "kind": TB_TICKER_kind, **{field.column: TB_TICKER_FIRST_FIELD + i for i, field in enumerate(TICKER_FIELDS)},
    },
}
COLUMNS["rpi"] = COLUMNS["book"]
"""Numbers of the columns that frames are written from (src/tb_rows.h), by kind of feed."""
