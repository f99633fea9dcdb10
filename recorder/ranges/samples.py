"""Samples of a recorded book at moments of a range: the core's sampler over the rows, with gaps marked or left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.arrow_rows import plain_array
from engine.core.sample import Sampler
from recorder.ranges.book_range import BookRange
from recorder.ranges.function import Untrusted
from recorder.ranges.gap_watch import WATCHED_COLUMNS, GapWatch
from schemas.columns import RECEIVE
from schemas.time import NS_PER_MS

__all__ = ["DOUBLES", "HEAD", "Samples", "doubles", "head", "list_offsets", "samples"]

SAMPLES_IN_A_BATCH: Final = 8_192
VALUES_IN_A_BATCH: Final = 1 << 18
# Bits of the kernel's flags.
TRUSTED, AGED, TWO_SIDED = 1, 2, 4

DOUBLES: Final = pa.list_(pa.field("element", pa.float64(), nullable=False))
HEAD: Final = [
    pa.field("time", RECEIVE, nullable=False),
    pa.field("trusted", pa.bool_(), nullable=False),
    pa.field("age_ms", pa.float64()),
    pa.field("update_id", pa.int64(), nullable=False),
]
"""Columns that all samples begin with."""


class Samples(NamedTuple):
    """Some samples in order.

    Attributes:
        columns: what the kernel made, NumPy arrays by name.
        trusted: of each sample, whether the book was what the live book was, outside of gaps.
        keep: which samples are part of the answer; None: all.
    """

    columns: dict[str, npt.NDArray[Any]]
    trusted: npt.NDArray[np.bool_]
    keep: npt.NDArray[np.bool_] | None


def samples(
    book: BookRange,
    kind: Literal["levels", "flow", "bands"],
    every_ns: int,
    origin_ns: int,
    untrusted: Untrusted,
    *,
    levels: int = 1,
    bands: tuple[int, ...] = (),
) -> Iterator[Samples]:
    """Yield samples at ``origin_ns`` and every multiple of ``every_ns`` behind it that lie in the range.

    Args:
        book: the range.
        kind: of the kernel: ``levels``, ``flow`` or ``bands``.
        every_ns, origin_ns: the moments.
        untrusted: whether samples that are not to be trusted are kept.
        levels, bands: as of the kernel.
    """
    levels = min(levels, book.depth)
    capacity = max(64, min(SAMPLES_IN_A_BATCH, VALUES_IN_A_BATCH // max(levels, len(bands), 1)))
    for part in book.stretches:
        sampler = Sampler(
            kind, book.depth, book.clock.column,
            every_ns=every_ns, origin_ns=origin_ns, start_ns=part.start_ns, end_ns=part.end_ns - 1,
            levels=levels, bands=bands, capacity=capacity, begin_ns=part.start_ns,
        )  # fmt: skip
        watch = GapWatch(part.gaps, book.clock)
        columns = (book.clock.column, *(WATCHED_COLUMNS if part.gaps else ()))
        for batch in _with_end(part.batches(columns)):
            watch.take(batch)
            sampler.begin(batch)
            while (found := sampler.more()) is not None:
                trusted = (found["flags"] & TRUSTED) != 0
                doubted = watch.doubted(found["rows"], found["time"])
                if doubted is not None:
                    trusted &= ~doubted
                keep = None if untrusted is Untrusted.MARK or trusted.all() else trusted
                if keep is None or keep.any():
                    yield Samples(found, trusted, keep)
            if sampler.over:
                break


def _with_end(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch | None]:
    yield from batches
    yield None


def head(found: Samples) -> list[pa.Array]:
    """The columns of ``HEAD``."""
    columns = found.columns
    return [
        plain_array(columns["time"], RECEIVE),
        pa.array(found.trusted),
        plain_array(columns["age_ns"] / NS_PER_MS, pa.float64(), (columns["flags"] & AGED) != 0),
        plain_array(columns["update_id"], pa.int64()),
    ]


def doubles(
    mantissas: npt.NDArray[np.int64], exponents: npt.NDArray[np.int8], counts: npt.NDArray[Any] | int = 1
) -> npt.NDArray[np.float64]:
    """Mantissas as the nearest doubles.

    Args:
        mantissas: whole numbers, so many for each sample.
        exponents: of each sample.
        counts: how many each sample has.
    """
    if len(exponents) and exponents.min() == exponents.max():
        return np.asarray(mantissas / 10.0 ** -int(exponents[0]))
    return np.asarray(mantissas / 10.0 ** -np.repeat(exponents.astype(np.float64), counts))


def list_offsets(offsets: npt.NDArray[np.int32]) -> pa.Array:
    """Offsets of a list column."""
    return plain_array(offsets, pa.int32())
