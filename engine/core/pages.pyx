"""Parquet's levels and values of a column of lists: the face of src/tb_pages.h."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free


cdef extern from "tb_pages.h" nogil:
    int64_t tb_count_levels(const int32_t *offsets, int64_t lists)
    size_t TB_BITS_ROOM(int64_t levels)
    size_t TB_RUNS_ROOM(int64_t levels)
    void tb_list_levels(const int32_t *offsets, int64_t lists, int64_t levels, uint8_t *repetition, uint8_t *definition)
    size_t tb_bit_runs(const uint8_t *bits, int64_t count, uint8_t *out)
    void tb_split_bytes(const int64_t *values, int64_t count, uint8_t *out, int64_t all)


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
    levels = tb_count_levels(&offsets[0], lists) if lists >= 0 else -1
    if levels < 0:
        raise ValueError("found offsets that do not rise, or none")
    cdef size_t room = TB_BITS_ROOM(levels), repetition_bytes, definition_bytes
    cdef uint8_t *bits = <uint8_t *>calloc(2 * room + 2 * TB_RUNS_ROOM(levels), 1)
    if bits == NULL:
        raise MemoryError
    cdef uint8_t *runs = bits + 2 * room
    cdef uint8_t *others = runs + TB_RUNS_ROOM(levels)
    with nogil:
        tb_list_levels(&offsets[0], lists, levels, bits, bits + room)
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


def split_bytes(list parts not None):
    """BYTE_STREAM_SPLIT of all int64 in some arrays: their first bytes, then their second ones, and so on."""
    cdef const int64_t[::1] values
    cdef int64_t count = 0, at = 0
    for part in parts:
        count += len(part)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, 8 * count)
    cdef uint8_t *target = <uint8_t *>PyBytes_AS_STRING(out)
    for part in parts:
        values = part
        if values.shape[0] and at + values.shape[0] <= count:
            with nogil:
                tb_split_bytes(&values[0], values.shape[0], target + at, count)
        at += values.shape[0]
    return out
