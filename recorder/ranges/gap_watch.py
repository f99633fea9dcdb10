"""Which samples of a feed lie in a gap, found while its rows stream by."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recorder.feed_rows import NO_MOMENT, Clock, FeedGap, integers, moments_ns
from recorder.feed_trust import Prefix, stale_after

__all__ = ["WATCHED_COLUMNS", "GapWatch"]

WATCHED_COLUMNS = ("applied", "update_id", "receive_time", "push_time", "match_time")
"""Columns that rows need to be watched, beside the clock's."""

Int64s = npt.NDArray[np.int64]


class GapWatch:
    """Says of samples whether they lie in a gap; what rows alone show (``applied``) is not its concern.

    Args:
        gaps: those of the span, by start.
        clock: the clock of the samples.
    """

    def __init__(self, gaps: Sequence[FeedGap], clock: Clock) -> None:
        self._gaps = gaps
        self._starts = [gap.start_ns for gap in gaps]
        self._clock = clock
        self._base = 0  # rows before the batch at hand
        self._count = 0
        self._columns: dict[str, Int64s] = {}
        self._good: Int64s = np.empty(0, np.int64)
        # The last good row before the batch, the last row before it, and the latest update refused between them.
        self._carried: dict[str, int] | None = None
        self._last_receive_ns = NO_MOMENT
        self._refused = NO_MOMENT
        self._ends = np.array(sorted(gap.end_ns for gap in gaps if gap.end_ns is not None), np.int64)
        self._healing: Int64s = np.empty(
            0, np.int64
        )  # which rows healed gaps, of the batch at hand and before
        self._asked = 0

    def take(self, batch: pa.RecordBatch | None) -> None:
        """Take the next rows, or None behind the last ones. Samples of the rows before must have been asked about."""
        if not self._gaps:
            return
        if self._count:
            last = int(self._good[-1])
            if last >= 0:
                self._carried = {name: int(values[last]) for name, values in self._columns.items()}
                self._refused = NO_MOMENT
            self._refused = max(self._refused, self._latest_refused(last + 1, self._count))
            self._last_receive_ns = int(self._columns["receive_time"][-1])
        self._base += self._count
        self._count = 0 if batch is None else batch.num_rows
        if batch is None:
            self._columns = {}
            return
        rows = pa.Table.from_batches([batch])
        self._columns = {
            "applied": integers(rows, "applied"),
            "update_id": integers(rows, "update_id"),
            **{f"{clock.value}_time": moments_ns(rows, clock.column) for clock in Clock},
        }
        receive_ns = self._columns["receive_time"]
        healed = (self._ends > self._last_receive_ns) & (self._ends <= receive_ns.max(initial=NO_MOMENT))
        if self._last_receive_ns == NO_MOMENT:
            healed &= self._ends >= receive_ns[:1].max(initial=NO_MOMENT)
        heals = self._base + np.searchsorted(receive_ns, self._ends[healed], "left")
        self._healing = np.concatenate([self._healing, heals])
        places = np.arange(self._count, dtype=np.int64)
        self._good = np.maximum.accumulate(np.where(self._columns["applied"] != 0, places, -1))

    def doubted(self, rows: Int64s, times: Int64s) -> npt.NDArray[np.bool_] | None:
        """Return which samples lie in a gap; None: none does.

        Args:
            rows: how many rows lie before each sample, of all that were taken.
            times: the moments of the samples.
        """
        if not self._gaps or len(rows) == 0:
            return None
        found: npt.NDArray[np.bool_] | None = None
        prefixes, where = np.unique(rows, return_inverse=True)
        good_ns, next_ns = self._around(prefixes - self._base)
        first = bisect_left(self._starts, int(good_ns.min()))
        last = bisect_right(self._starts, int(next_ns.max()))
        for gap in self._gaps[first:last]:
            for at in np.flatnonzero((good_ns <= gap.start_ns) & (gap.start_ns <= next_ns)):
                prefix = self._prefix(int(prefixes[at]) - self._base)
                after_ns = None if prefix is None else stale_after(gap, prefix, self._clock)
                if after_ns is None:
                    continue
                hit = where == at if after_ns == NO_MOMENT else (where == at) & (times > after_ns)
                found = hit if found is None else found | hit
        return found

    def healed_since(self, rows: Int64s) -> npt.NDArray[np.bool_]:
        """Return between which samples and the one before each a gap was healed, whatever came of it before that.

        Args:
            rows: how many rows lie before each sample; those of the samples asked about last end where these begin.
        """
        before = np.concatenate([[self._asked], rows[:-1]])
        if len(rows):
            self._asked = int(rows[-1])
        counts = np.searchsorted(self._healing, [before, rows], "left")
        return np.asarray(counts[1] > counts[0])

    def _around(self, counts: Int64s) -> tuple[Int64s, Int64s]:
        """When the last good row of each prefix was received, and when the row behind it."""
        carried = NO_MOMENT if self._carried is None else self._carried["receive_time"]
        if not self._columns:
            ends = np.full(len(counts), np.iinfo(np.int64).max)
            return np.full(len(counts), carried), ends
        receive_ns = self._columns["receive_time"]
        good = np.where(counts > 0, self._good[np.maximum(counts - 1, 0)], -1)
        good_ns = np.where(good >= 0, receive_ns[np.maximum(good, 0)], carried)
        following = np.append(receive_ns, np.iinfo(np.int64).max)
        return good_ns, following[counts]

    def _prefix(self, count: int) -> Prefix | None:
        good = int(self._good[count - 1]) if count and self._columns else -1
        row: dict[str, Any] | None
        if good >= 0:
            row = {name: int(values[good]) for name, values in self._columns.items()}
            refused = self._latest_refused(good + 1, count)
        else:
            row = self._carried
            refused = max(self._refused, self._latest_refused(0, count))
        if row is None:
            return None
        receive_ns = self._columns.get("receive_time")
        return Prefix(
            {clock: row[clock.column] for clock in Clock},
            self._last_receive_ns if count == 0 or receive_ns is None else int(receive_ns[count - 1]),
            None if receive_ns is None or count == len(receive_ns) else int(receive_ns[count]),
            refused > row["update_id"],
        )

    def _latest_refused(self, start: int, stop: int) -> int:
        """The highest update id of rows that the book did not take."""
        if not self._columns or start >= stop:
            return NO_MOMENT
        refused = self._columns["applied"][start:stop] == 0
        return int(self._columns["update_id"][start:stop][refused].max(initial=NO_MOMENT))
