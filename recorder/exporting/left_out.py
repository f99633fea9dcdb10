"""What of an export's span was not recorded, or is not to be trusted: none of its rows says so."""

from __future__ import annotations

import pyarrow as pa

from recorder.archive import Archive
from recorder.exporting.selection import ExportSelection, spans_of
from recorder.left_out import reaches_beyond
from recorder.sql.trusted import Span, joined
from schemas.names import Table

__all__ = ["left_out"]

_NS = pa.timestamp("ns", "UTC")


def left_out(archive: Archive, chosen: ExportSelection) -> str:
    """Return one line: how far the recording reaches, if the span goes beyond, and how many holes it has within.

    Nothing where the span was recorded as a whole, nor of a symbol without coverage, of which a history was fetched.
    """
    rows = spans_of(archive, Table.COVERAGE, chosen).table()
    starts, ends = (
        rows[name].cast(_NS, safe=False).cast(pa.int64()).to_pylist() for name in ("start_time", "end_time")
    )
    if not starts:
        return ""
    last = 2**63 - 1 if None in ends else max(ends)
    # A span as short as a moment was recorded too, and spans that touch are one.
    spans = joined(
        [Span(start, (last if end is None else end) + 1) for start, end in zip(starts, ends, strict=True)]
    )
    beyond = reaches_beyond(
        min(starts) if chosen.from_ns is None else chosen.from_ns,
        last if chosen.to_ns is None else chosen.to_ns,
        min(starts),
        last,
    )
    gaps = spans_of(archive, Table.GAPS, chosen).table().num_rows
    counts = ((len(spans) - 1, "break"), (gaps, "gap"))
    holes = [f"{count:,} {what}{'s' if count > 1 else ''}" for count, what in counts if count]
    within = [f"in what is exported lie {' and '.join(holes)} (views coverage and gaps)"] if holes else []
    return "; ".join([*([beyond] if beyond else []), *within])
