"""Columns of the tables as whole numbers and bytes, which is how their files hold them (the face of src/tb_columns.h)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t

from engine.core.whole cimport *


cdef extern from "tb_columns.h" nogil:
    int tb_uuid_bytes(const uint8_t *texts, int64_t count, uint8_t *out)
    uint64_t tb_low_words(const uint64_t *words, const uint8_t *valid, int64_t start, int64_t count)
    int tb_divide(const uint64_t *words, const uint8_t *valid, int64_t start, int64_t count, unsigned places, uint64_t *out)


def uuid_bytes(const uint8_t[::1] texts not None):
    """The 16 bytes of each UUID of texts of 36 characters, one behind the other; None unless all are UUIDs, in lower case."""
    cdef int64_t count = texts.shape[0] // 36
    if texts.shape[0] != count * 36:
        raise ValueError(f"found {texts.shape[0]} bytes, expected 36 for each text")
    cdef bytes out = PyBytes_FromStringAndSize(NULL, 16 * count)
    cdef uint8_t *target = <uint8_t *>PyBytes_AS_STRING(out)
    cdef const uint8_t *first = &texts[0] if count else NULL
    cdef int fine
    with nogil:
        fine = tb_uuid_bytes(first, count, target)
    return out if fine else None


cdef const uint8_t *_bits(const uint8_t[::1] valid, int64_t start, int64_t count) except? NULL:
    """The validity of numbers; NULL where all are there."""
    if valid is None:
        return NULL
    if start < 0 or valid.shape[0] * 8 < start + count or not count:
        raise ValueError(f"found {valid.shape[0]} bytes of validity, expected {start + count} bits")
    return &valid[0]


def low_words(const uint64_t[:, ::1] words not None, const uint8_t[::1] valid, int64_t start):
    """The low words of numbers of 128 bits, one bit over the other.

    Args:
        words: low and high word of each.
        valid: their validity, as Arrow has it, from the bit ``start`` on; nulls don't count. None: all are there.
    """
    cdef int64_t count = words.shape[0]
    if words.shape[1] != 2:
        raise ValueError(f"found {words.shape[1]} words a number, expected 2")
    if not count:
        return 0
    return tb_low_words(&words[0, 0], _bits(valid, start, count), start, count)


def divided(const uint64_t[:, ::1] words not None, const uint8_t[::1] valid, int64_t start, unsigned places):
    """Numbers of 128 bits over 10^places (1 to 18), in as many bits; None unless each is an int64 times that.

    Args:
        words, valid, start: as ``low_words`` has them; nulls become 0.
    """
    cdef int64_t count = words.shape[0]
    cdef int fine
    if words.shape[1] != 2 or not 1 <= places <= 18:
        raise ValueError(f"found {words.shape[1]} words a number and {places} places, expected 2 and 1 to 18")
    cdef bytes out = PyBytes_FromStringAndSize(NULL, 16 * count)
    cdef uint64_t *target = <uint64_t *>PyBytes_AS_STRING(out)
    cdef const uint64_t *first = &words[0, 0] if count else NULL
    cdef const uint8_t *bits = _bits(valid, start, count) if count else NULL
    with nogil:
        fine = tb_divide(first, bits, start, count, places, target)
    return out if fine else None
