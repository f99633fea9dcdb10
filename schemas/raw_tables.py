"""The table that makes the archive a capture: what rows don't say of the journal's records (docs/capture.md)."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from schemas.columns import COLLECTOR, RECEIVE, SEQUENCE, column

__all__ = ["FORM", "OPEN", "RAW_RECORDS", "RAW_ROW", "REPEAT"]

OPEN: Final = 253
"""``kind`` of digits that a frame's form leaves open."""
FORM: Final = 254
"""``kind`` of a wire form."""
REPEAT: Final = 255
"""``kind`` of a frame with the bytes of an earlier one."""

RAW_RECORDS: Final = pa.schema(
    [
        SEQUENCE,
        COLLECTOR,
        column("receive_time", RECEIVE, "When it was received or made (our wall clock, ns)."),
        column("line", pa.uint16(), "Connection slot."),
        column(
            "kind",
            pa.uint8(),
            "As in the journal: 0 frame, 1 REST answer, 2 session event, 3 note. 253: digits of a frame that its wire "
            "form leaves open. 254: the wire form in which the rows of a feed are written from this frame on. 255: a frame "
            "with the bytes of an earlier one.",
        ),
        column(
            "payload",
            pa.binary(),
            "The record byte for byte; a wire form as JSON; for a repeat the sequence of the earlier frame, as text.",
        ),
    ]
)

RAW_ROW: Final = (
    "One record of the journal that the rows of other tables can't hand back as it was, or what they need to be handed "
    "back by ([capture.md](capture.md)); filed under the symbol `_`."
)
"""What a row is, for the documents."""
