"""What the picture of latency shows: how many messages came how late, class by class and over time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from recorder.archive import Archive
from recorder.plots.known import Known, Range, known_feeds, merged, recorded_range
from recorder.plots.spans import Ints
from recorder.plots.steps import DAY_NS, bucket_ns, edges_of
from schemas.errors import NoData
from schemas.time import format_date, format_ns

__all__ = ["PARTS_OF_A_DECADE", "LatencyPicture", "Since", "class_of", "latency_picture", "percentile_ms"]

BUCKETS: Final = 240
PARTS_OF_A_DECADE: Final = 40
"""Delays are counted in buckets of a fortieth of a decade: what is read from them is at most 5.9 % too high."""
LOWEST: Final = -4 * PARTS_OF_A_DECADE
"""0.1 us; what is shorter counts as that."""
HIGHEST: Final = 7 * PARTS_OF_A_DECADE
"""Some hours; what is longer counts as that."""


class Since(StrEnum):
    """What a delay is counted from: the exchange's push, or the matching engine."""

    PUSH = "push"
    MATCH = "match"


@dataclass(frozen=True, slots=True)
class LatencyPicture:
    """Delays of a range, counted.

    Attributes:
        what: such as ``linear BTCUSDT``.
        range: receive times.
        known: when at least one of the feeds was recorded, and trusted.
        since: what delays are counted from.
        step_ns: length of a bucket of time.
        edges_ns: of the buckets of time, one more than there are.
        classes: of topics, as ``orderbook.50``, those that have counts.
        counts: of shape (classes, buckets of time, buckets of delay); the first bucket of delay begins at 10**(LOWEST /
            PARTS_OF_A_DECADE) ms.
        longest_ms: of each class.
        early: messages that came before they were made, going by the clocks: they have no place on a logarithmic axis.
        unknown: messages without the exchange's stamp.
    """

    what: str
    range: Range
    known: Known
    since: Since
    step_ns: int
    edges_ns: Ints
    classes: list[str]
    counts: Ints
    longest_ms: list[float]
    early: int
    unknown: int


def class_of(topic: str) -> str:
    """Return a topic up to its last dot: ``orderbook.50``."""
    return topic.rpartition(".")[0]


def percentile_ms(counts: Ints, share: float) -> float:
    """Return below which delay that share of the counted messages is: the upper end of its bucket; NaN of none."""
    total = counts.sum()
    if not total:
        return float("nan")
    index = int(np.searchsorted(np.cumsum(counts), share * total, "left"))
    return float(10.0 ** ((LOWEST + index + 1) / PARTS_OF_A_DECADE))


def latency_picture(
    archive: Archive,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    category: str | None = None,
    symbol: str | None = None,
    class_: str | None = None,
    since: Since = Since.PUSH,
    buckets: int = BUCKETS,
) -> LatencyPicture:
    """Count how late messages of a range came. Times are of receipt.

    Args:
        archive: where.
        start_ns, end_ns: the range; the ends of what was recorded where they are not given.
        category, symbol, class_: only these.
        since: what delays are counted from.
        buckets: of time, at most about so many.

    Raises:
        NoData: there is nothing to count; the message says what there is.
    """
    range_ = recorded_range(archive, start_ns, end_ns, category=category, symbol=symbol)
    step_ns = bucket_ns(range_, buckets)
    edges = edges_of(range_, step_ns)
    given = [
        format_date(range_.start_ns - DAY_NS),
        format_date(range_.end_ns + DAY_NS),
        format_ns(range_.start_ns),
        format_ns(range_.end_ns),
    ]
    wanted = {"category": category, "symbol": symbol, "class": class_}
    only = "".join(
        f" AND {name} = ${number}"
        for number, name in enumerate((name for name, value in wanted.items() if value is not None), 5)
    )
    given += [value for value in wanted.values() if value is not None]
    rows: Any = archive.sql(
        f"""
        SELECT
            class, epoch_ns(receive_time) // {step_ns} - {edges[0] // step_ns} AS bucket,
            CASE WHEN ms > 0 THEN CAST(floor(log10(ms) * {PARTS_OF_A_DECADE}) AS BIGINT) END AS delay,
            ms IS NULL AS is_unknown, count(*) AS messages, max(ms) AS longest_ms
        FROM (
            SELECT class, receive_time, {since.value}_ms AS ms FROM lateness
            WHERE date BETWEEN CAST($1 AS DATE) AND CAST($2 AS DATE)
                AND receive_time >= CAST($3 AS TIMESTAMPTZ_NS) AND receive_time < CAST($4 AS TIMESTAMPTZ_NS){only}
        )
        GROUP BY ALL ORDER BY ALL
        """,
        given,
    ).table()
    classes = np.asarray(rows["class"].to_pylist(), dtype=np.str_)
    messages = rows["messages"].to_numpy()
    counted = np.asarray(rows["delay"].is_valid())
    unknown = np.asarray(rows["is_unknown"])
    names = sorted(set(classes[counted].tolist()))
    what = " ".join(value for value in wanted.values() if value is not None) or "everything"
    if not names:
        there = {
            class_of(feed.topic) for feed, _ in known_feeds(archive, range_, category=category, symbol=symbol)
        }
        raise NoData(
            f"no message of {what} from {range_} has a delay that can be drawn: "
            f"{messages[~unknown].sum():,} came early by the clocks, {messages[unknown].sum():,} have no stamp; "
            f"recorded classes: {', '.join(sorted(there))}"
        )
    counts = np.zeros((len(names), len(edges) - 1, HIGHEST - LOWEST), np.int64)
    delay = np.clip(rows["delay"].fill_null(0).to_numpy(), LOWEST, HIGHEST - 1) - LOWEST
    place = (
        np.searchsorted(names, classes[counted]),
        rows["bucket"].to_numpy()[counted],
        delay[counted],
    )
    np.add.at(counts, place, messages[counted])
    longest = rows["longest_ms"].to_numpy()
    feeds = [
        (feed, known)
        for feed, known in known_feeds(
            archive, range_, category=category, symbol=symbol, fetched_is_trusted=False
        )
        if class_of(feed.topic) in names
    ]
    return LatencyPicture(
        what=what,
        range=range_,
        known=merged(range_, feeds),
        since=since,
        step_ns=step_ns,
        edges_ns=edges,
        classes=names,
        counts=counts,
        longest_ms=[float(longest[counted & (classes == name)].max()) for name in names],
        early=int(messages[~counted & ~unknown].sum()),
        unknown=int(messages[unknown].sum()),
    )
