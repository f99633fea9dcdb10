"""What Parquet keeps of columns: levels and values of lists (the face of src/tb_pages.h), and where its structs end."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from engine.core.whole cimport *


cdef extern from "tb_pages.h" nogil:
    int64_t tb_count_levels(const int32_t *offsets, int64_t lists)
    size_t TB_BITS_ROOM(int64_t levels)
    size_t TB_RUNS_ROOM(int64_t levels)
    void tb_list_levels(const int32_t *offsets, int64_t lists, int64_t levels, uint8_t *repetition, uint8_t *definition)
    size_t tb_bit_runs(const uint8_t *bits, int64_t count, uint8_t *out)
    ctypedef struct tb_deltas:
        pass
    size_t TB_DELTAS_ROOM(int64_t count)
    void tb_deltas_begin(tb_deltas *to, int64_t left, uint8_t *out)
    void tb_deltas_add(tb_deltas *to, const int64_t *values, int64_t count)
    uint8_t *tb_deltas_end(tb_deltas *to)


def list_levels(const int32_t[::1] offsets not None):
    """Levels of lists, none of which is null, nor is any value in them.

    Args:
        offsets: one more than there are lists.

    Returns:
        (how many levels, repetition levels, definition levels), the levels as Parquet's hybrid of runs and packed bits.

    Raises:
        ValueError: the offsets don't rise, or there are none.
    """
    cdef int64_t lists = offsets.shape[0] - 1, levels
    cdef const int32_t *first = &offsets[0] if lists >= 0 else NULL
    levels = tb_count_levels(first, lists) if lists >= 0 else -1
    if levels < 0:
        raise ValueError("found offsets that do not rise, or none")
    cdef size_t room = TB_BITS_ROOM(levels), repetition_bytes, definition_bytes
    cdef uint8_t *bits = <uint8_t *>calloc(2 * room + 2 * TB_RUNS_ROOM(levels), 1)
    if bits == NULL:
        raise MemoryError
    cdef uint8_t *runs = bits + 2 * room
    cdef uint8_t *others = runs + TB_RUNS_ROOM(levels)
    with nogil:
        tb_list_levels(first, lists, levels, bits, bits + room)
        repetition_bytes = tb_bit_runs(bits, levels, runs)
        definition_bytes = tb_bit_runs(bits + room, levels, others)
    try:
        return (
            levels,
            PyBytes_FromStringAndSize(<const char *>runs, repetition_bytes),
            PyBytes_FromStringAndSize(<const char *>others, definition_bytes),
        )
    finally:
        free(bits)


def bit_runs(const uint8_t[::1] bits not None, int64_t count):
    """Levels of one bit each, the first in the lowest bit, as Parquet's hybrid of runs and packed bits."""
    if count < 0 or bits.shape[0] * 8 < count:
        raise ValueError(f"found {bits.shape[0]} bytes, expected {count} bits")
    cdef uint8_t *runs = <uint8_t *>malloc(TB_RUNS_ROOM(count))
    if runs == NULL:
        raise MemoryError
    try:
        return PyBytes_FromStringAndSize(<const char *>runs, tb_bit_runs(&bits[0], count, runs) if count else 0)
    finally:
        free(runs)


def pack_deltas(list parts not None):
    """DELTA_BINARY_PACKED of all int64 in some arrays, one array behind the other."""
    cdef const int64_t[::1] values
    cdef const int64_t *first
    cdef int64_t count = 0
    cdef tb_deltas to
    for part in parts:
        count += len(part)
    cdef uint8_t *out = <uint8_t *>malloc(TB_DELTAS_ROOM(count))
    if out == NULL:
        raise MemoryError
    try:
        tb_deltas_begin(&to, count, out)
        for part in parts:
            values = part
            if values.shape[0]:
                first = &values[0]
                with nogil:
                    tb_deltas_add(&to, first, values.shape[0])
        return PyBytes_FromStringAndSize(<const char *>out, tb_deltas_end(&to) - out)
    finally:
        free(out)


# ---- Thrift's compact protocol (recorder/thrift.py) ------------------------------------------------------------------

cdef enum:
    DEEPEST = 16


cdef Py_ssize_t _end_of_number(const uint8_t *data, Py_ssize_t at, Py_ssize_t size, uint64_t *value) noexcept nogil:
    cdef int shift = 0
    value[0] = 0
    while at < size and shift < 64:
        value[0] |= (<uint64_t>(data[at] & 0x7F)) << shift
        at += 1
        if data[at - 1] < 0x80:
            return at
        shift += 7
    return -1


cdef Py_ssize_t _end_of_value(const uint8_t *data, Py_ssize_t at, Py_ssize_t size, int kind, int depth) noexcept nogil:
    """Where a value of a type ends; -1 where it is none."""
    cdef uint64_t count
    cdef int of
    if depth > DEEPEST:
        return -1
    if kind == 4 or kind == 5 or kind == 6:
        return _end_of_number(data, at, size, &count)
    if kind == 8:
        at = _end_of_number(data, at, size, &count)
        return -1 if at < 0 or count > <uint64_t>(size - at) else at + <Py_ssize_t>count
    if kind == 9 or kind == 10:
        if at >= size:
            return -1
        of, count = data[at] & 0xF, data[at] >> 4
        at += 1
        if count == 15:
            at = _end_of_number(data, at, size, &count)
        if at < 0 or count > <uint64_t>(size - at):
            return -1
        while count and at >= 0:
            at = _end_of_value(data, at, size, of, depth + 1)
            count -= 1
        return at
    if kind == 12:
        while at < size and data[at]:
            of = data[at] & 0xF
            at = at + 1 if data[at] >> 4 else _end_of_number(data, at + 1, size, &count)
            if at >= 0 and of != 1 and of != 2:  # these are told by the type
                at = _end_of_value(data, at, size, of, depth + 1)
            if at < 0:
                return -1
        return at + 1 if at < size else -1
    if kind == 1 or kind == 2 or kind == 3:  # in a list; a byte
        return at + 1 if at < size else -1
    if kind == 7:
        return at + 8 if size - at >= 8 else -1
    return -1


def struct_end(bytes data not None, Py_ssize_t at):
    """Where the struct ends that begins at a place in these bytes; -1 where none does."""
    cdef Py_ssize_t size = len(data)
    if not 0 <= at <= size:
        return -1
    return _end_of_value(<const uint8_t *>PyBytes_AS_STRING(data), at, size, 12, 0)


cdef int _put_number(bytearray out, uint64_t value) except -1:
    while value >= 0x80:
        out.append(<int>(value & 0x7F | 0x80))
        value >>= 7
    out.append(<int>value)
    return 0


cdef int _put_signed(bytearray out, int64_t value) except -1:
    return _put_number(out, (<uint64_t>value << 1) ^ <uint64_t>(value >> 63))


cdef int _put_struct(bytearray out, dict struct) except -1:
    cdef int field, kind, before = 0
    for field in sorted(struct):
        kind, value = struct[field]
        if kind == 1 or kind == 2:
            kind = 1 if value else 2
        if 0 < field - before <= 15:
            out.append(field - before << 4 | kind)
        else:
            out.append(kind)
            _put_signed(out, field)
        if kind > 2:
            _put_value(out, kind, value)
        before = field
    out.append(0)
    return 0


cdef int _put_value(bytearray out, int kind, value) except -1:
    cdef int of
    if kind == 4 or kind == 5 or kind == 6:
        _put_signed(out, value)
    elif kind == 8:
        _put_number(out, len(value))
        out += value
    elif kind == 9 or kind == 10:
        of, elements = value
        if len(elements) < 15:
            out.append(<int>len(elements) << 4 | of)
        else:
            out.append(0xF0 | of)
            _put_number(out, len(elements))
        for element in elements:
            _put_value(out, of, element)
    elif kind == 12:
        if isinstance(value, bytes):
            out += value
        else:
            _put_struct(out, value)
    elif kind == 1 or kind == 2:  # in a list
        out.append(1 if value else 2)
    elif kind == 3:
        out.append(<int>(value & 0xFF))
    elif kind == 7:
        out += value
    else:
        raise ValueError(f"found type {kind}, which Parquet doesn't use")
    return 0


def struct_bytes(dict struct not None):
    """The bytes of a struct, {field id: (type, value)}."""
    cdef bytearray out = bytearray()
    _put_struct(out, struct)
    return bytes(out)
