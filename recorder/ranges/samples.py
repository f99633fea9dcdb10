"""Samples of a recorded book at moments of a range: the core's sampler over the rows, with gaps marked or left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.arrow_rows import plain_array
from engine.core.sample import Sampler
from recorder.ranges.book_range import BookRange, Stretch
from recorder.ranges.function import Untrusted
from recorder.ranges.gap_watch import WATCHED_COLUMNS, GapWatch
from schemas.columns import RECEIVE, column
from schemas.time import NS_PER_MS

__all__ = ["DOUBLES", "FILLED", "HEAD", "Samples", "doubles", "list_offsets", "samples", "value_column"]

SAMPLES_IN_A_BATCH: Final = 8_192
VALUES_IN_A_BATCH: Final = 1 << 18
# Bits of the kernel's flags.
TRUSTED, AGED, TWO_SIDED, FILLED = 1, 2, 4, 8

DOUBLES: Final = pa.list_(pa.field("element", pa.float64(), nullable=False))
HEAD: Final = [
    column("time", RECEIVE, "The moment."),
    column("trusted", pa.bool_(), "The book was what the live book was: in no gap."),
    column(
        "age_ms",
        pa.float64(),
        "How old the book was, by the message that made it.",
        null=True,
    ),
    column("update_id", pa.int64(), "Of that message."),
]
"""Columns that all samples begin with."""


class Samples(NamedTuple):
    """Some samples in order.

    Attributes:
        columns: what the kernel made, NumPy arrays by name.
        trusted: of each sample, whether the book was what the live book was, outside of gaps.
        keep: which samples are part of the answer; None: all.
        part: the recording that answers.
    """

    columns: dict[str, npt.NDArray[Any]]
    trusted: npt.NDArray[np.bool_]
    keep: npt.NDArray[np.bool_] | None
    part: Stretch

    @property
    def two_sided(self) -> npt.NDArray[np.bool_]:
        """Of each sample, whether both sides had a level."""
        return np.asarray((self.columns["flags"] & TWO_SIDED) != 0)

    def repeated(self, count: int) -> Samples:
        """Each sample so many times."""
        columns = {
            name: np.repeat(self.columns[name], count) for name in ("time", "age_ns", "update_id", "flags")
        }
        keep = None if self.keep is None else np.repeat(self.keep, count)
        return Samples(columns, np.repeat(self.trusted, count), keep, self.part)

    def batch(self, schema: pa.Schema, arrays: list[pa.Array]) -> pa.RecordBatch:
        """The columns of ``HEAD`` and others, of the samples that are kept."""
        made = pa.RecordBatch.from_arrays([*_head(self), *arrays], schema=schema)
        return made if self.keep is None else made.filter(pa.array(self.keep))


def samples(
    book: BookRange,
    kind: Literal["levels", "flow", "bands", "fill"],
    every_ns: int,
    origin_ns: int,
    untrusted: Untrusted,
    *,
    levels: int = 1,
    bands: tuple[int, ...] = (),
    fill: tuple[int, int, int] = (0, 0, 0),
) -> Iterator[Samples]:
    """Yield samples at ``origin_ns`` and every multiple of ``every_ns`` behind it that lie in the range.

    Args:
        book: the range.
        kind: of the kernel: ``levels``, ``flow``, ``bands`` or ``fill``.
        every_ns, origin_ns: the moments.
        untrusted: whether samples that are not to be trusted are kept.
        levels, bands, fill: as of the kernel.
    """
    levels = min(levels, book.depth)
    capacity = max(64, min(SAMPLES_IN_A_BATCH, VALUES_IN_A_BATCH // max(levels, len(bands), 1)))
    for part in book.stretches:
        sampler = Sampler(
            kind, book.depth, book.clock.column,
            every_ns=every_ns, origin_ns=origin_ns, start_ns=part.start_ns, end_ns=part.end_ns - 1,
            levels=levels, bands=bands, fill=fill, capacity=capacity, begin_ns=part.start_ns,
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
                if kind == "flow" and book.depth == 1:  # deeper books' update ids tell what is missing
                    trusted &= ~watch.healed_since(found["rows"])
                keep = None if untrusted is Untrusted.MARK or trusted.all() else trusted
                if keep is None or keep.any():
                    yield Samples(found, trusted, keep, part)
            if sampler.over:
                break


def _with_end(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch | None]:
    yield from batches
    yield None


def _head(found: Samples) -> list[pa.Array]:
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


def value_column(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """A column of doubles, null where it isn't valid."""
    return plain_array(np.ascontiguousarray(values, dtype=np.float64), pa.float64(), valid)


def list_offsets(offsets: npt.NDArray[np.int32]) -> pa.Array:
    """Offsets of a list column."""
    return plain_array(offsets, pa.int32())
