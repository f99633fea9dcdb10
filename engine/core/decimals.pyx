"""Exact decimals: text to (mantissa, decimals) and back. The only place that turns price text into integers."""

from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from engine.core.core cimport int64_t, tb_decimal64, tb_error, uint8_t

from schemas.errors import DecimalError


def parse_decimal(text: str) -> tuple[int, int]:
    """Return (mantissa, count of decimals as written): ``"61809.40"`` is (6180940, 2).

    Grammar: ``-?(0|[1-9][0-9]*)(\\.[0-9]+)?``, at most 18 decimals, mantissa within int64 (design, "Numbers and time").

    Raises:
        DecimalError: anything else, with what was found.
    """
    cdef Py_ssize_t size = 0
    cdef const char *start = PyUnicode_AsUTF8AndSize(text, &size)
    cdef int64_t mantissa = 0
    cdef unsigned decimals = 0
    cdef tb_error error = 0
    cdef const uint8_t *first = <const uint8_t *>start
    cdef const uint8_t *end = tb_decimal64(first, first + size, &mantissa, &decimals, &error)
    if end == NULL or end != first + size:
        raise DecimalError(
            f"found {text[:64]!r}, expected a plain decimal such as 61809.40 with at most 18 decimals whose digits "
            "fit in 63 bits"
        )
    return mantissa, decimals


def format_decimal(mantissa: int, exponent: int) -> str:
    """Return mantissa x 10^exponent as exact text: (6180940, -2) is ``"61809.40"``; exponents are -18..0."""
    if not -18 <= exponent <= 0:
        raise DecimalError(f"found exponent {exponent}, expected one in -18..0")
    if exponent == 0:
        return str(mantissa)
    digits = str(abs(mantissa)).rjust(1 - exponent, "0")
    return f"{'-' if mantissa < 0 else ''}{digits[:exponent]}.{digits[exponent:]}"
