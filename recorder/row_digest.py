"""A digest of a set of rows, whatever their order: equal sets have equal digests, in whatever files they lie.

Each row is hashed over all its columns, values and nulls, and the hashes are added and XORed modulo 2^64. That finds
every accident (a row lost, doubled or changed, two values swapped); it is no defence against forgery, which is what the
files' sha256 are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["RowDigest"]

Hashes = npt.NDArray[np.uint64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_NULL: Final = np.uint64(0xA0761D6478BD642F)
_AT_ONCE: Final = 1 << 19
"""So many values of lists, or bytes of texts, are hashed at once: each is a number of eight bytes then, in half a dozen
arrays."""


class RowDigest:
    """Takes rows piece by piece, in any order. Two are equal when they took the same rows equally often."""

    __slots__ = ("rows", "sum", "xor")

    def __init__(self) -> None:
        self.rows = 0
        self.sum = 0
        self.xor = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowDigest) and (self.rows, self.sum, self.xor) == (
            other.rows,
            other.sum,
            other.xor,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<RowDigest {self.rows} rows {self.sum:016x} {self.xor:016x}>"

    def add(self, rows: pa.Table) -> None:
        """Take rows of the table's schema."""
        if rows.num_rows == 0:
            return
        total = np.zeros(rows.num_rows, np.uint64)
        for column in rows.combine_chunks().columns:
            total = _mix(total * _STEP + _hashes(column.chunk(0)))
        self.rows += rows.num_rows
        self.sum = (self.sum + int(np.add.reduce(_mix(total + _STEP)))) % 2**64
        self.xor ^= int(np.bitwise_xor.reduce(total))


def _mix(values: Hashes) -> Hashes:
    """The finalizer of splitmix64, value by value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hashes(array: Any) -> Hashes:
    """One number per value of a column."""
    type_ = array.type
    if isinstance(type_, pa.BaseExtensionType):
        return _hashes(array.storage)
    if pa.types.is_dictionary(type_):
        return _hashes(array.cast(type_.value_type))
    if pa.types.is_list(type_):
        lists = array.values
        found = _of_pieces(
            array.offsets.to_numpy(), lambda start, end: _hashes(lists.slice(start, end - start))
        )
    elif pa.types.is_string(type_) or pa.types.is_binary(type_):
        offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
        data = array.buffers()[2]
        text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
        found = _of_pieces(offsets, lambda start, end: text[start:end].astype(np.uint64))
    elif pa.types.is_boolean(type_):
        found = np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False)).astype(np.uint64)
    else:
        width = type_.bit_width // 8
        start = array.offset * width
        bytes_ = np.frombuffer(array.buffers()[1], np.uint8)[start : start + len(array) * width]
        if width <= 8 and width & (width - 1) == 0:
            found = bytes_.view(np.dtype(f"u{width}")).astype(np.uint64)
        else:
            offsets = np.arange(len(array) + 1) * width
            found = _of_pieces(offsets, lambda start, end: bytes_[start:end].astype(np.uint64))
    if array.null_count:
        found = np.where(np.asarray(array.is_null().to_numpy(zero_copy_only=False)), _NULL, found)
    return found


def _of_pieces(offsets: npt.NDArray[Any], values: Callable[[int, int], Hashes]) -> Hashes:
    """One number per piece that the offsets cut out of the values: of its values, their places and their count."""
    offsets = offsets.astype(np.int64)
    found = np.empty(len(offsets) - 1, np.uint64)
    at = 0
    while at < len(found):
        stop = max(at + 1, int(np.searchsorted(offsets, offsets[at] + _AT_ONCE, "right")) - 1)
        start, end = int(offsets[at]), int(offsets[stop])
        found[at:stop] = _of_few(offsets[at : stop + 1] - start, values(start, end))
        at = stop
    return found


def _of_few(offsets: npt.NDArray[np.int64], values: Hashes) -> Hashes:
    """The same of all values, of which the first is the first piece's."""
    lengths = np.diff(offsets)
    places = np.arange(len(values), dtype=np.int64) - np.repeat(offsets[:-1], lengths)
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(_mix(_mix(values + _STEP) + places.astype(np.uint64)), out=sums[1:])
    return _mix(sums[offsets[1:]] - sums[offsets[:-1]] + lengths.astype(np.uint64) * _STEP)
