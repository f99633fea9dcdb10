"""What a segment says, as one hash that batches and compression leave alone, and the chain over segments.

``docs/journal.md`` tells it to others. Each column has a sha256 of its own that runs over the whole segment, so that
batches can be hashed as they come, whatever they hold, and a difference can be told by column; the content hash is the
sha256 over the six digests. The closing note counts the batches of its file; here that number is 0. It also tells the
hash itself, where the writer took it; here it doesn't.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
import pyarrow as pa

from recorder.journal.format import ClosingNote, build_batch, fixed_values, payloads_of

__all__ = ["COLUMNS", "ContentHash", "chain_value", "without_batches"]

COLUMNS: Final = ("sequence", "receive_ns", "line", "kind", "length", "payload")
"""What is hashed, in this order: the journal's columns, the payloads as their lengths (uint32) and their bytes."""


class ContentHash:
    """The running hash of a segment's records."""

    def __init__(self) -> None:
        self._columns = [hashlib.sha256() for _ in COLUMNS]

    def update(self, batch: pa.RecordBatch) -> None:
        """Take the next records (the journal's columns, without nulls)."""
        offsets, payloads = payloads_of(batch)
        lengths = (offsets[1:] - offsets[:-1]).astype("<u4", copy=False)
        for running, values in zip(
            self._columns, (*fixed_values(batch), lengths.data, payloads), strict=True
        ):
            running.update(values)

    def columns(self) -> dict[str, str]:
        """The hash of each column so far, hex."""
        return {name: running.hexdigest() for name, running in zip(COLUMNS, self._columns, strict=True)}

    def hexdigest(self) -> str:
        """The content hash of the records so far."""
        return hashlib.sha256(b"".join(running.digest() for running in self._columns)).hexdigest()


def without_batches(table: pa.RecordBatch, note: ClosingNote) -> pa.RecordBatch:
    """The closing note's batch as it counts for the content: with the number of batches, the file's affair, as 0, and
    without the content hash."""
    sequence, receive_ns, line, kind = (column[0].as_py() for column in table.columns[:-1])
    payload = msgspec.json.encode(note.as_content())
    return build_batch(sequence, [(receive_ns, line, kind, payload)])


def chain_value(previous: str | None, collector: str, start_ns: int, content_sha256: str) -> str:
    """The next link of a collector's chain.

    Args:
        previous: the link before, hex; None for the first.
        collector, start_ns: which segment.
        content_sha256: its content hash, hex.
    """
    before = bytes(32) if previous is None else bytes.fromhex(previous)
    name = f"{collector}\n{start_ns}\n".encode()
    return hashlib.sha256(before + name + bytes.fromhex(content_sha256)).hexdigest()
