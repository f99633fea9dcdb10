"""What the rows of a range leave out: moments and bars outside of the recording, or in gaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recorder.archive import Archive
from recorder.ranges.function import Untrusted
from recorder.sql.trade_functions import ceiling
from recorder.sql.trusted import UNDER_WAY_MS, Span, recorded_spans, trusted_spans
from schemas.time import NS_PER_MS, format_ns

__all__ = ["MomentWatch", "bars_left_out", "reaches_beyond"]


class MomentWatch:
    """Counts the moments of ``snapshots``, whose answer has all that were recorded, a row each.

    Args:
        arguments: of the function; ``untrusted`` says whether moments in gaps stay in the answer.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._start_ns: int = arguments["t0"]
        self._every_ns: int = arguments["every"]
        self._total = ceiling(arguments["t1"] - self._start_ns, self._every_ns)
        self._keeps_all = arguments["untrusted"] is Untrusted.MARK
        self._first_ns: int | None = None
        self._last_ns = 0
        self._recorded = 0
        self._doubted = 0

    def pass_on(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield rows that were asked for with ``untrusted`` marked, as the arguments want them."""
        for batch in batches:
            if batch.num_rows:
                times = batch["time"].cast(pa.int64())
                self._first_ns = times[0].as_py() if self._first_ns is None else self._first_ns
                self._last_ns = times[-1].as_py()
                self._recorded += batch.num_rows
            if not self._keeps_all and (doubted := batch.num_rows - (pc.sum(batch["trusted"]).as_py() or 0)):
                self._doubted += doubted
                batch = batch.filter(batch["trusted"])
            yield batch

    def left_out(self) -> str:
        """Return one line that says which moments are no rows; nothing where all are. For when all rows have passed."""
        if self._first_ns is None:
            return _left_out("moments", self._total, [(self._total, "outside of what was recorded")])
        before = (self._first_ns - self._start_ns) // self._every_ns
        after = self._total - 1 - (self._last_ns - self._start_ns) // self._every_ns
        return _left_out(
            "moments",
            self._total,
            [
                (before, f"before the first recorded one ({format_ns(self._first_ns)})"),
                (after, f"behind the last ({format_ns(self._last_ns)})"),
                (self._total - before - after - self._recorded, "between recordings"),
                (self._doubted, "in gaps (--mark-untrusted shows them)"),
            ],
        )


class _Bars(NamedTuple):
    """The bars of a range, by number; all in milliseconds, ends not included."""

    start_ms: int
    end_ms: int
    every_ms: int

    @property
    def first(self) -> int:
        return self.start_ms // self.every_ms

    @property
    def end(self) -> int:
        return ceiling(self.end_ms, self.every_ms)

    def first_within(self, start_ms: int) -> int:
        """The first bar that has nothing before a moment."""
        first = self.first if self.start_ms >= start_ms else ceiling(start_ms, self.every_ms)
        return min(max(first, self.first), self.end)

    def end_within(self, end_ms: int) -> int:
        """The bar behind the last that has nothing behind a moment."""
        end = self.end if self.end_ms <= end_ms else end_ms // self.every_ms
        return min(max(end, self.first), self.end)

    def within(self, spans: Iterable[Span]) -> int:
        """How many lie wholly in a span of some that do not touch."""
        return sum(max(self.end_within(span.end_ms) - self.first_within(span.start_ms), 0) for span in spans)


def bars_left_out(archive: Archive, arguments: Mapping[str, Any]) -> str:
    """Return one line that says which bars of a range lack trades, as ``bars`` judges it; nothing where none does.

    Bars without a trade are no rows either, but nothing of them is missing: they don't count. Where such bars are
    marked, and so shown, only how far the recording reaches is said.
    """
    category, symbol = arguments["category"], arguments["symbol"]
    bars = _Bars(
        ceiling(arguments["t0"], NS_PER_MS),
        ceiling(arguments["t1"], NS_PER_MS),
        arguments["every"] // NS_PER_MS,
    )
    if bars.start_ms >= bars.end_ms:  # no millisecond lies in it
        return ""
    total = bars.end - bars.first
    recorded = [
        span
        for span in recorded_spans(archive, category, symbol)
        if span.start_ms < bars.end_ms and span.end_ms > bars.start_ms
    ]
    start_ms, end_ms = (recorded[0].start_ms, recorded[-1].end_ms) if recorded else (0, 0)
    if arguments["untrusted"] is Untrusted.MARK:
        if not recorded:
            return "the range lies outside of what was recorded"
        return reaches_beyond(*(ms * NS_PER_MS for ms in (bars.start_ms, bars.end_ms, start_ms, end_ms)))
    hint = "; --mark-untrusted shows those that have trades"
    if not recorded:
        return _left_out("bars", total, [(total, "outside of what was recorded")], hint)
    before = bars.first_within(start_ms) - bars.first
    after = min(bars.end - bars.end_within(end_ms - UNDER_WAY_MS), total - before)
    whole = bars.within(trusted_spans(archive, category, symbol))
    return _left_out(
        "bars",
        total,
        [
            (before, f"from before the recording ({_moment(start_ms)}) on"),
            (after, f"to its last second or beyond its end ({_moment(end_ms)})"),
            (total - before - after - whole, "in gaps or between recordings"),
        ],
        hint,
    )


def reaches_beyond(start_ns: int, end_ns: int, first_ns: int, last_ns: int) -> str:
    """Return what is to be said of a range where the recording begins after its start, or ends before its end."""
    ends = [
        *([f"begins at {format_ns(first_ns)}"] if start_ns < first_ns else []),
        *([f"ends at {format_ns(last_ns)}"] if end_ns > last_ns else []),
    ]
    return f"the range reaches beyond what was recorded, which {' and '.join(ends)}" if ends else ""


def _moment(ms: int) -> str:
    return format_ns(ms * NS_PER_MS)


def _left_out(what: str, total: int, parts: Sequence[tuple[int, str]], hint: str = "") -> str:
    """How many of all are left out, and for which reasons so many each; nothing where none is."""
    count = sum(number for number, _ in parts)
    if not count:
        return ""
    reasons = ", ".join(f"{number:,} {why}" for number, why in parts if number)
    return f"{count:,} of {total:,} {what} {'is' if count == 1 else 'are'} left out: {reasons}{hint}"
