"""Rows of ``book_updates`` made by hand, and what a slow and literal reader makes of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pyarrow as pa

from engine.reference import ReferenceBook, mantissa_of
from schemas.names import Table
from schemas.tables import schema_of

__all__ = [
    "Levels",
    "Row",
    "SlowBook",
    "Touch",
    "as_columns",
    "cut",
    "grid",
    "reached",
    "slow_flow",
    "state_at",
    "table_of",
    "with_digests",
]

Levels = list[tuple[int, int]]

NS_PER_MS = 10**6


@dataclass(frozen=True)
class Row:
    """One row; prices and sizes as mantissas, clocks in milliseconds."""

    kind: str = "delta"
    bids: Sequence[tuple[int, int]] = ()
    asks: Sequence[tuple[int, int]] = ()
    update_id: int = 1
    sequence: int = 0
    applied: bool = True
    price_exponent: int = -2
    size_exponent: int = -3
    match_ms: int | None = 0
    receive_ns: int = 0
    digest: int | None = None
    depth: int = 50

    def values(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """The levels as the numbers that they stand for."""
        bids, asks = (
            [
                (Decimal(price).scaleb(self.price_exponent), Decimal(size).scaleb(self.size_exponent))
                for price, size in side
            ]
            for side in (self.bids, self.asks)
        )
        return bids, asks


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The rows as the archive has them."""
    columns: dict[str, Any] = {
        "sequence": [row.sequence for row in rows],
        "collector": ["linear"] * len(rows),
        "receive_time": [row.receive_ns for row in rows],
        "push_time": [row.receive_ns // NS_PER_MS for row in rows],
        "match_time": [row.match_ms for row in rows],
        "line": [0] * len(rows),
        "bid_price_mantissa": [[price for price, _ in row.bids] for row in rows],
        "bid_size_mantissa": [[size for _, size in row.bids] for row in rows],
        "ask_price_mantissa": [[price for price, _ in row.asks] for row in rows],
        "ask_size_mantissa": [[size for _, size in row.asks] for row in rows],
    }
    for name in ("depth", "kind", "applied", "update_id", "price_exponent", "size_exponent", "digest"):
        columns[name] = [getattr(row, name) for row in rows]
    columns["cross_sequence"] = columns["update_id"]
    schema = schema_of(Table.BOOK_UPDATES)
    arrays = []
    for field in schema:
        plain = pa.int64() if pa.types.is_timestamp(field.type) else field.type
        arrays.append(pa.array(columns[field.name], plain).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def cut(table: pa.Table, borders: Sequence[int]) -> list[pa.RecordBatch]:
    """The table in pieces, whose buffers begin before their rows do and go on behind them, and name kinds variously."""
    out = []
    edges = [0, *sorted(min(border, table.num_rows) for border in borders), table.num_rows]
    for number, (start, end) in enumerate(pairwise(edges)):
        padding = table.slice(0, min(3 + number, table.num_rows))
        padded = pa.concat_tables([padding, table.slice(start, end - start), padding]).combine_chunks()
        if padded.num_rows == 0:
            continue
        (batch,) = padded.to_batches()
        place, kinds = batch.schema.get_field_index("kind"), batch["kind"].to_pylist()
        if number % 3 == 1:
            batch = batch.set_column(place, "kind", pa.array(kinds, pa.string()))
        elif number % 3 == 2:
            names = ["keyframe", "?", "delta", "snapshot"]
            indices = pa.array(map(names.index, kinds), pa.int32())
            batch = batch.set_column(place, "kind", pa.DictionaryArray.from_arrays(indices, names))
        out.append(batch.slice(padding.num_rows, end - start))
    return out


@dataclass(frozen=True)
class Touch:
    """The best levels, as numbers; None where a side is empty."""

    bid: tuple[Decimal, Decimal] | None
    ask: tuple[Decimal, Decimal] | None


class SlowBook:
    """Rows applied to the reference book, one by one, by the words of docs/sampling.md."""

    def __init__(self, depth: int = 50) -> None:
        self.depth = depth
        self.book: ReferenceBook | None = None
        self.pair = (0, 0)
        self.trusted = False
        self.update_id = self.sequence = -1
        self.clock_ns: int | None = None
        self.took = self.follows = False

    def take(self, row: Row, clock_ns: int | None = None) -> None:
        self.took = self.follows = False
        if not row.applied:
            late = row.kind == "delta" and 1 < row.update_id <= self.update_id
            self.trusted = self.trusted and late
            return
        pair = -row.price_exponent, -row.size_exponent
        if row.kind == "delta":
            if self.book is None:
                return
            self.book.delta(*row.values())
            self.pair = max(self.pair[0], pair[0]), max(self.pair[1], pair[1])
            self.follows = self.trusted
        else:
            self.follows = self.trusted and (
                self.depth == 1 or row.update_id in (self.update_id, self.update_id + 1)
            )
            self.book = ReferenceBook()
            self.book.snapshot(*row.values())
            self.pair, self.trusted = pair, True
        self.took = True
        self.update_id, self.sequence, self.clock_ns = row.update_id, row.sequence, clock_ns

    def levels(self, count: int) -> tuple[Levels, Levels]:
        if self.book is None:
            return [], []
        bids, asks = (
            [(mantissa_of(price, self.pair[0]), mantissa_of(size, self.pair[1])) for price, size in side]
            for side in self.book.top(count)
        )
        return bids, asks

    @property
    def touch(self) -> Touch:
        if self.book is None:
            return Touch(None, None)
        bids, asks = self.book.top(1)
        return Touch(*((side[0] if side else None) for side in (bids, asks)))

    @property
    def digest(self) -> int:
        assert self.book is not None
        return self.book.digest(*self.pair)


def reached(clocks: Sequence[int | None]) -> list[int | None]:
    """The running maximum of readings; None before the first."""
    out: list[int | None] = []
    highest: int | None = None
    for reading in clocks:
        if reading is not None and (highest is None or reading > highest):
            highest = reading
        out.append(highest)
    return out


def grid(
    clocks: Sequence[int | None], every_ns: int, origin_ns: int, start_ns: int | None, end_ns: int | None
) -> list[int]:
    """Moments from the first reading to the end, whatever the book was then."""
    readings = [reading for reading in clocks if reading is not None]
    if not readings:
        return []
    first = readings[0] if start_ns is None else max(readings[0], start_ns)
    last = max(readings) if end_ns is None else end_ns
    steps = -((origin_ns - first) // every_ns)
    return list(range(origin_ns + steps * every_ns, last + 1, every_ns))


def state_at(
    rows: Sequence[Row], clocks: Sequence[int | None], at_ns: int, depth: int = 50
) -> tuple[SlowBook, int]:
    """The state behind the longest prefix whose running maximum is at most ``at_ns``, and that prefix's length."""
    highest = [-(2**63) if reading is None else reading for reading in reached(clocks)]
    length = bisect_right(highest, at_ns)
    book = SlowBook(depth)
    for row, clock_ns in zip(rows[:length], clocks, strict=False):
        book.take(row, clock_ns)
    return book, length


def _contribution(before: Touch, now: Touch) -> Decimal:
    """e_n, word for word; a missing bid is infinitely low, a missing ask infinitely high, and both have size 0."""

    def parts(touch: Touch) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        bid = touch.bid or (Decimal("-Infinity"), Decimal(0))
        ask = touch.ask or (Decimal("Infinity"), Decimal(0))
        return *bid, *ask

    bid_0, bid_size_0, ask_0, ask_size_0 = parts(before)
    bid_1, bid_size_1, ask_1, ask_size_1 = parts(now)
    return (
        (bid_1 >= bid_0) * bid_size_1
        - (bid_1 <= bid_0) * bid_size_0
        - (ask_1 <= ask_0) * ask_size_1
        + (ask_1 >= ask_0) * ask_size_0
    )


def slow_flow(
    rows: Sequence[Row],
    clocks: Sequence[int | None],
    first: int,
    last: int,
    since_ns: int,
    until_ns: int,
    depth: int,
) -> dict[str, Any]:
    """What adds up over rows ``first`` up to ``last`` (excluded), and over the time between two moments."""
    book = SlowBook(depth)
    flow, messages, breaks, area, spread_ns = Decimal(0), 0, 0, Fraction(0), 0
    decimals = 0
    highest = reached(clocks)
    for index in range(last + 1):
        # the spread as it stood from the row before until this one
        moment = until_ns if index == last else highest[index]
        before = highest[index - 1] if index else None
        if moment is not None and before is not None:
            elapsed_ns = min(moment, until_ns) - max(before, since_ns)
            touch = book.touch
            if elapsed_ns > 0 and book.trusted and touch.bid and touch.ask:
                area += Fraction(touch.ask[0] - touch.bid[0]) * elapsed_ns
                spread_ns += elapsed_ns
        if index == first and book.book is not None:
            decimals = book.pair[1]
        if index == last:
            break
        was = book.touch, book.book is not None
        book.take(rows[index], clocks[index])
        if index < first or not book.took:
            continue
        decimals = max(decimals, book.pair[1])
        messages += rows[index].kind != "keyframe"
        if was[1] and not book.follows:
            breaks += 1
        elif was[1]:
            flow += _contribution(was[0], book.touch)
    return {
        "messages": messages,
        "breaks": breaks,
        "size_exponent": -decimals,
        "order_flow_mantissa": mantissa_of(flow, decimals),
        "mean_spread": area / spread_ns if spread_ns else None,
    }


def with_digests(rows: Sequence[Row], chosen: set[int]) -> list[Row]:
    """The rows, some of them with the digest of the book behind them."""
    book, out = SlowBook(), []
    for index, row in enumerate(rows):
        book.take(row)
        out.append(replace(row, digest=book.digest) if book.took and index in chosen else row)
    return out


def as_columns(batch: pa.RecordBatch | pa.Table) -> dict[str, list[Any]]:
    """Columns as lists, times as integers."""
    out = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        out[name] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return out
