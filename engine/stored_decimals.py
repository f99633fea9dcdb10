"""DECIMAL(38,18) columns as whole numbers of a smaller scale, and back: exactly, or at another scale.

Arrow divides 128-bit numbers one by one. Nearly all values here are 64-bit numbers times a power of ten, and those the
core divides in a tenth of the time: a number that 5^k divides is, modulo 2^64, multiplied by the inverse of 5^k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.core.columns import divided, low_words
from schemas.stored import MANTISSA
from schemas.tables import TICKER_DECIMAL

__all__ = ["decimals", "rescaled"]

Words = npt.NDArray[np.uint64]

_SCALE: Final = int(TICKER_DECIMAL.scale)


def rescaled(columns: Sequence[pa.Array]) -> tuple[int, list[pa.Array]]:
    """The smallest scale that holds all values of some columns, and these as whole numbers of that scale."""
    scale = max((_least_scale(column) for column in columns), default=0)
    while True:
        try:
            return scale, [_at_scale(column, scale) for column in columns]
        except pa.ArrowInvalid:  # a digit would be lost
            scale += 1


def decimals(mantissas: pa.Array, exponents: pa.Array) -> pa.Array:
    """What whole numbers of an exponent each are worth.

    Raises:
        pa.ArrowInvalid: an exponent is none of -18 to 0, or a value is too large.
    """
    if mantissas.null_count == len(mantissas):
        return pa.nulls(len(mantissas), TICKER_DECIMAL)
    found = pc.unique(exponents).to_pylist()
    if any(exponent is None or not -_SCALE <= exponent <= 0 for exponent in found):
        raise pa.ArrowInvalid(f"found exponents {found}, expected -{_SCALE} to 0")
    if len(found) == 1:
        return _reinterpreted(mantissas, pa.decimal128(38, -found[0])).cast(TICKER_DECIMAL)
    nothing = pa.scalar(None, MANTISSA)
    return pc.coalesce(
        *(
            _reinterpreted(
                pc.if_else(pc.equal(exponents, exponent), mantissas, nothing), pa.decimal128(38, -exponent)
            ).cast(TICKER_DECIMAL)
            for exponent in found
        )
    )


def _words(column: pa.Array) -> Words:
    """Low and high word of each value; of nulls anything."""
    return np.frombuffer(column.buffers()[1], np.uint64, len(column) * 2, column.offset * 16).reshape(-1, 2)


def _least_scale(column: pa.Array) -> int:
    """A scale that no smaller one can do: 10^k divides a number only if 2^k does."""
    if column.null_count == len(column):
        return 0
    together = low_words(_words(column), _validity(column), column.offset)
    zeros = (together & -together).bit_length() - 1 if together else 64
    return max(0, _SCALE - zeros)


def _at_scale(column: pa.Array, scale: int) -> pa.Array:
    """The values as whole numbers. Raises pa.ArrowInvalid where one has more places."""
    if column.null_count == len(column):
        return pa.nulls(len(column), MANTISSA)
    places = _SCALE - scale
    if places:
        quotients = _divided(column, places)
        if quotients is not None:
            return quotients
    return _reinterpreted(column.cast(pa.decimal128(38, scale)), MANTISSA)


def _divided(column: pa.Array, places: int) -> pa.Array | None:
    """The values over 10^places; None unless each is an int64 times that."""
    out = divided(_words(column), _validity(column), column.offset, places)
    if out is None:
        return None
    bits = column.buffers()[0] if column.null_count else None
    if bits is not None and column.offset:
        bits = pa.py_buffer(np.packbits(np.asarray(column.is_valid()), bitorder="little"))
    return pa.Array.from_buffers(MANTISSA, len(column), [bits, pa.py_buffer(out)], column.null_count)


def _validity(column: pa.Array) -> npt.NDArray[np.uint8] | None:
    return np.frombuffer(column.buffers()[0], np.uint8) if column.null_count else None


def _reinterpreted(column: pa.Array, type_: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(type_, len(column), column.buffers(), column.null_count, column.offset)
