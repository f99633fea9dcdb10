"""Tables about the recording rather than the market: was a book audited, how far off is our clock."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from schemas.columns import COLLECTOR, DECIMAL, NAME, RECEIVE_TIME, SEQUENCE, column

__all__ = ["AUDITS", "AUDIT_OUTCOMES", "CLOCK_METHODS", "CLOCK_OFFSETS"]

CLOCK_METHODS: Final = ("rest", "pong", "push", "step")
AUDIT_OUTCOMES: Final = ("agreed", "disagreed", "missed", "unmatched", "failed")

CLOCK_OFFSETS: Final = pa.schema(
    [
        SEQUENCE,
        COLLECTOR,
        RECEIVE_TIME,
        column(
            "method",
            NAME,
            "What was asked last: `rest` (market/time), `pong`, `push` (stamps of frames); or `step`: our wall clock jumped.",
        ),
        column(
            "offset_ns",
            pa.int64(),
            "The exchange's clock minus our wall clock; add it to a `receive_time` to compare with the exchange's times.",
            null=True,
        ),
        column(
            "error_ns",
            pa.int64(),
            "The true offset lies within this distance, as far as clocks drift no faster than allowed.",
            null=True,
        ),
        column("round_trip_ns", pa.int64(), "Round trip of the answer, where one was asked for.", null=True),
        column("step_ns", pa.int64(), "By how much our wall clock jumped; null in other rows.", null=True),
    ]
)

AUDITS: Final = pa.schema(
    [
        SEQUENCE,
        COLLECTOR,
        RECEIVE_TIME,
        column("topic", pa.string(), "Topic of the book that was held against something else."),
        column("against", pa.string(), "`rest`, or the topic of another depth of the symbol."),
        column(
            "outcome",
            NAME,
            "`agreed`; `disagreed`; `missed` (the answer's state was not among those seen); `unmatched` (it never came); "
            "`failed` (no usable answer).",
        ),
        column("comparisons", pa.int32(), "Comparisons that this row stands for, the last of them in it."),
        column("update_id", pa.int64(), "Update id of `topic` in the comparison.", null=True),
        column("cross_sequence", pa.int64(), "Cross sequence that both sides had.", null=True),
        column("levels", pa.int32(), "Levels a side that were compared.", null=True),
        column("side", NAME, "`bid` or `ask`: the side of the first level that differs.", null=True),
        column("level", pa.int32(), "Its number, the best being 1.", null=True),
        column("our_price", DECIMAL, "Its price in `topic`; null where it has no such level.", null=True),
        column("our_size", DECIMAL, "Its size in `topic`.", null=True),
        column("their_price", DECIMAL, "Its price in `against`; null where it has no such level.", null=True),
        column("their_size", DECIMAL, "Its size in `against`.", null=True),
        column(
            "disbelieved",
            pa.bool_(),
            "True where this disagreement was one too many in a row: the feeds concerned are gaps from here on.",
        ),
    ]
)
