"""Samples of a book from its archive rows: the book itself, order flow, depth. Pure: Arrow in, Arrow out.

A sample at T is the state *as of T* on a clock: the one behind the longest run of rows, from the first on, whose
running maximum of that clock is at most T. docs/sampling.md says what follows from that, and what rows can't show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import chain, pairwise
from operator import index
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from engine.arrow_rows import plain_array
from engine.core.replay import depth_of, record_batches
from engine.core.sample import Sampler
from schemas.columns import RECEIVE
from schemas.tables import LEVEL_COLUMNS, MANTISSAS

__all__ = ["Clock", "Rows", "depth_profile", "mean_spread", "order_flow", "snapshots", "wide_values"]

Clock = Literal["match", "push", "receive"]
Kind = Literal["levels", "flow", "bands"]
Rows: TypeAlias = "pa.Table | pa.RecordBatch | Iterable[pa.RecordBatch]"
"""Rows of ``book_updates`` of one feed and one span of coverage, in the order of ``sequence``."""

Columns = dict[str, np.ndarray[Any, Any]]

LOWEST: Final = -(2**63)
HIGHEST: Final = 2**63 - 1
VALUES_IN_A_BATCH: Final = 1 << 20
SAMPLES_IN_A_BATCH: Final = 1 << 16
# Bits of the kernel's flags.
TRUSTED, AGED, TWO_SIDED = 1, 2, 4
# Bands are whole numbers of these.
PARTS_OF_A_BASIS_POINT: Final = 1000
MOST_BASIS_POINTS: Final = 10_000

_HEAD: Final = [
    pa.field("time", RECEIVE, nullable=False),
    pa.field("age_ns", pa.int64()),
    pa.field("update_id", pa.int64(), nullable=False),
    pa.field("sequence", pa.int64(), nullable=False),
    pa.field("trusted", pa.bool_(), nullable=False),
    pa.field("price_exponent", pa.int8(), nullable=False),
    pa.field("size_exponent", pa.int8(), nullable=False),
]
_LEVELS: Final = pa.schema([*_HEAD, *(pa.field(name, MANTISSAS, nullable=False) for name in LEVEL_COLUMNS)])
_FLOW: Final = pa.schema(
    [
        *_HEAD,
        pa.field("messages", pa.int64(), nullable=False),
        pa.field("breaks", pa.int64(), nullable=False),
        pa.field("order_flow_mantissa", pa.int64(), nullable=False),
        pa.field("spread_mantissa", pa.int64()),
        pa.field("twice_mid_mantissa", pa.int64()),
        pa.field("mean_spread_mantissa", pa.float64()),
    ]
)


def snapshots(
    rows: Rows,
    *,
    levels: int = 20,
    every_ns: int | None = None,
    every_updates: int | None = None,
    clock: Clock = "match",
    origin_ns: int = 0,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> pa.Table | pa.RecordBatchReader:
    """Sample the book to ``levels`` levels a side.

    Args:
        rows: of one feed; a table or record batch, or an iterable of record batches for what doesn't fit in memory.
        levels: how many levels a side at most; no more than the topic's depth are ever seen.
        every_ns: sample at ``origin_ns`` plus every multiple of this, from the first such moment at or after the first
            row's clock on.
        every_updates: instead, sample behind each so many messages that the book took (keyframes are none).
        clock: what time is: ``match``, ``push`` or ``receive``.
        origin_ns: a moment of the grid; the epoch unless given.
        start_ns, end_ns: no samples before and behind these; without an end, none behind the last row's clock.

    Returns:
        For a table or record batch a Table; otherwise a RecordBatchReader, which makes each piece of samples
        when it is asked for. Columns: ``time`` of the sample (UTC, ns); ``age_ns``, since the clock's reading in
        the message that made the state (null where it had none); ``update_id`` and ``sequence`` of that message;
        ``trusted``; the exponents; and ``bid_price_mantissa``, ``bid_size_mantissa``, ``ask_price_mantissa``,
        ``ask_size_mantissa``, best first, shorter where the book has fewer levels.

    Raises:
        ValueError: a number of the call makes no sense.
        TypeError: it is no whole number.
        DataError, DecimalError: a row can't be taken; the message counts it from 0 in its record batch.
    """
    levels = _whole("levels", levels)
    if levels < 1:
        raise ValueError(f"found levels={levels}, expected at least 1")
    make = _maker("levels", clock, every_ns, every_updates, origin_ns, start_ns, end_ns, levels=levels)
    return _sampled(rows, make, _LEVELS, _levels)


def order_flow(
    rows: Rows,
    *,
    every_ns: int | None = None,
    every_updates: int | None = None,
    clock: Clock = "match",
    origin_ns: int = 0,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> pa.Table | pa.RecordBatchReader:
    """Order-flow imbalance at the best prices, interval by interval, with the spread and the middle at its end.

    The imbalance of an interval is the sum of e_n over its messages (R. Cont, A. Kukanov, S. Stoikov: The Price Impact
    of Order Book Events, Journal of Financial Econometrics 12, 2014): what was added to demand at the best bid, less
    what was added to supply at the best ask.

    Args:
        rows, every_ns, every_updates, clock, origin_ns, start_ns, end_ns: as for ``snapshots``. An interval ends at its
            sample, included, and begins behind the one before.

    Returns:
        Likewise. Columns: ``time`` to ``size_exponent`` as for ``snapshots``, but ``size_exponent`` is the finest
        of the interval; ``messages`` that the book took; ``breaks``, how often the flow could not be carried on,
        because the book was not trusted or messages are missing; ``order_flow_mantissa``, the exact sum;
        ``spread_mantissa`` and ``twice_mid_mantissa``, ask less bid and ask plus bid at the sample (null where a
        side is empty); ``mean_spread_mantissa`` (float64), the spread's mean over the time in which it was
        trusted, at ``price_exponent`` (null where that is no time).

    Raises:
        ValueError, TypeError, DataError: as for ``snapshots``.
        DecimalError: a sum does not fit into int64.
    """
    make = _maker("flow", clock, every_ns, every_updates, origin_ns, start_ns, end_ns)
    return _sampled(rows, make, _FLOW, _flow)


def depth_profile(
    rows: Rows,
    *,
    bands_bps: Sequence[int | float | Decimal | Fraction],
    every_ns: int | None = None,
    every_updates: int | None = None,
    clock: Clock = "match",
    origin_ns: int = 0,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> pa.Table | pa.RecordBatchReader:
    """Sum the sizes within bands around the middle, on both sides.

    Args:
        rows, every_ns, every_updates, clock, origin_ns, start_ns, end_ns: as for ``snapshots``.
        bands_bps: how far from the middle, in basis points of it, narrowest first; whole thousandths.

    Returns:
        Likewise. Columns: ``time`` to ``size_exponent`` as for ``snapshots``; ``twice_mid_mantissa``; and for each side
        ``bid_size_mantissa`` and ``ask_size_mantissa``, lists of as many exact sums as there are bands, each with the
        narrower ones inside it; ``bid_bands_covered`` and ``ask_bands_covered``, how many of the bands the levels reach
        across: wider ones would hold more if the topic were deeper. All null where a side is empty.

    Raises:
        ValueError, TypeError, DataError: as for ``snapshots``.
        DecimalError: a sum does not fit into int64.
    """
    bands = tuple(map(_parts, bands_bps))
    if not bands or any(wider <= band for band, wider in pairwise(bands)):
        raise ValueError(f"found bands_bps={list(bands_bps)}, expected at least one, narrowest first")
    sums = pa.list_(pa.field("element", pa.int64(), nullable=False), len(bands))
    sides = [(f"{side}_size_mantissa", f"{side}_bands_covered") for side in ("bid", "ask")]
    schema = pa.schema(
        [
            *_HEAD,
            pa.field("twice_mid_mantissa", pa.int64()),
            *(pa.field(name, sums) for name, _ in sides),
            *(pa.field(name, pa.int8()) for _, name in sides),
        ]
    )
    make = _maker("bands", clock, every_ns, every_updates, origin_ns, start_ns, end_ns, bands=bands)
    return _sampled(rows, make, schema, partial(_bands, sums=sums))


def _parts(basis_points: int | float | Decimal | Fraction) -> int:
    try:
        parts = Fraction(str(basis_points)) * PARTS_OF_A_BASIS_POINT
    except ValueError:
        parts = Fraction(0)
    if parts.denominator != 1 or not 0 < parts <= MOST_BASIS_POINTS * PARTS_OF_A_BASIS_POINT:
        raise ValueError(
            f"found a band of {basis_points} basis points, expected one above 0 and up to {MOST_BASIS_POINTS:,}, "
            "in whole thousandths"
        )
    return int(parts)


# ---- the walk ------------------------------------------------------------------------------------------------------


def _whole(name: str, number: int) -> int:
    """The number, of whatever kind of whole numbers it is."""
    try:
        return index(number)
    except TypeError:
        raise TypeError(f"found {name}={number!r}, expected a whole number") from None


def _maker(
    kind: Kind,
    clock: Clock,
    every_ns: int | None,
    every_updates: int | None,
    origin_ns: int,
    start_ns: int | None,
    end_ns: int | None,
    *,
    levels: int = 1,
    bands: tuple[int, ...] = (),
) -> Callable[[int], Sampler]:
    """What makes the sampler, once the feed's depth is known. What is wrong with the call is said now."""
    if clock not in ("match", "push", "receive"):
        raise ValueError(f"found clock={clock!r}, expected match, push or receive")
    given = {"every_ns": every_ns, "every_updates": every_updates, "origin_ns": origin_ns}
    for name, number in {**given, "start_ns": start_ns, "end_ns": end_ns}.items():
        if number is not None and not LOWEST <= _whole(name, number) <= HIGHEST:
            raise ValueError(f"found {name}={number}, expected what int64 can hold")
    if (every_ns is None) == (every_updates is None) or (every_ns or every_updates or 0) < 1:
        raise ValueError(
            f"found every_ns={every_ns} and every_updates={every_updates}, expected one of them, at least 1"
        )

    def make(depth: int) -> Sampler:
        return Sampler(
            kind,
            depth,
            f"{clock}_time",
            every_ns=every_ns or 0,
            every_messages=every_updates or 0,
            origin_ns=origin_ns,
            start_ns=LOWEST if start_ns is None else start_ns,
            end_ns=HIGHEST if end_ns is None else end_ns,
            levels=min(levels, depth),
            bands=bands,
            capacity=max(
                1, min(SAMPLES_IN_A_BATCH, VALUES_IN_A_BATCH // max(min(levels, depth), len(bands)))
            ),
        )

    return make


def _sampled(
    rows: Rows,
    make: Callable[[int], Sampler],
    schema: pa.Schema,
    assemble: Callable[[Columns], dict[str, pa.Array]],
) -> pa.Table | pa.RecordBatchReader:
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return pa.Table.from_batches(_samples(iter(record_batches(rows)), make, schema, assemble), schema)
    return pa.RecordBatchReader.from_batches(schema, _samples(iter(rows), make, schema, assemble))


def _samples(
    batches: Iterator[pa.RecordBatch],
    make: Callable[[int], Sampler],
    schema: pa.Schema,
    assemble: Callable[[Columns], dict[str, pa.Array]],
) -> Iterator[pa.RecordBatch]:
    first = next((batch for batch in batches if len(batch)), None)
    if first is None:
        return
    sampler = make(depth_of(first))
    for batch in chain([first], batches, [None]):
        sampler.begin(batch)
        while (columns := sampler.more()) is not None:
            arrays = {**_head(columns), **assemble(columns)}
            yield pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)
        if sampler.over:
            return


# ---- columns out -----------------------------------------------------------------------------------------------------


def _head(columns: Columns) -> dict[str, pa.Array]:
    flags = columns["flags"]
    return {
        "time": plain_array(columns["time"], RECEIVE),
        "age_ns": plain_array(columns["age_ns"], pa.int64(), (flags & AGED) != 0),
        "update_id": plain_array(columns["update_id"], pa.int64()),
        "sequence": plain_array(columns["sequence"], pa.int64()),
        "trusted": pa.array((flags & TRUSTED) != 0),
        "price_exponent": plain_array(columns["price_exponent"], pa.int8()),
        "size_exponent": plain_array(columns["size_exponent"], pa.int8()),
    }


def _levels(columns: Columns) -> dict[str, pa.Array]:
    return {
        name: pa.ListArray.from_arrays(
            plain_array(columns[name[:3]], pa.int32()), plain_array(columns[name], pa.int64()), type=MANTISSAS
        )
        for name in LEVEL_COLUMNS
    }


def _flow(columns: Columns) -> dict[str, pa.Array]:
    two_sided = (columns["flags"] & TWO_SIDED) != 0
    plain = ("messages", "breaks", "order_flow_mantissa")
    return {
        **{name: plain_array(columns[name], pa.int64()) for name in plain},
        **{
            name: plain_array(columns[name], pa.int64(), two_sided)
            for name in ("spread_mantissa", "twice_mid_mantissa")
        },
        "mean_spread_mantissa": plain_array(mean_spread(columns), pa.float64(), columns["spread_ns"] > 0),
    }


def wide_values(pairs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """128-bit numbers, as the kernel gives them, as doubles within 2^-51 of their value."""
    low, high = pairs["low"], pairs["high"]
    negative = high < 0
    high = np.where(negative, ~high + (low == 0), high)
    low = np.where(negative, ~low + np.uint64(1), low)
    return np.asarray((high * 2.0**64 + low) * np.where(negative, -1.0, 1.0))


def mean_spread(columns: Columns) -> np.ndarray[Any, Any]:
    """The integral of the spread over its time, 128 bits of it, and only here a float, over that time."""
    finer = columns["spread_decimals"] + columns["price_exponent"]
    area = wide_values(columns["spread_time"])
    return np.asarray(area / np.maximum(columns["spread_ns"], 1) / 10.0**finer)


def _bands(columns: Columns, *, sums: pa.DataType) -> dict[str, pa.Array]:
    two_sided = (columns["flags"] & TWO_SIDED) != 0
    mask = None if two_sided.all() else pa.array(~two_sided)
    out = {"twice_mid_mantissa": plain_array(columns["twice_mid_mantissa"], pa.int64(), two_sided)}
    for side in ("bid", "ask"):
        name = f"{side}_size_mantissa"
        out[name] = pa.FixedSizeListArray.from_arrays(
            plain_array(columns[name], pa.int64()), type=sums, mask=mask
        )
        name = f"{side}_bands_covered"
        out[name] = plain_array(columns[name], pa.int8(), two_sided)
    return out
