"""Over all segments of a collector: what was recorded, and where its numbers go on."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Final

from recorder.journal.files import SegmentFile, segments
from recorder.journal.format import ROW_BYTES, HeaderDamaged, SegmentGone
from recorder.journal.reader import SegmentReader
from schemas.names import RecordKind

__all__ = ["next_sequence", "read_frames"]

_ATTEMPTS: Final = 10


def read_frames(
    data: Path, collector: str | None = None, category: str | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield (receive_ns, frame) of every frame of the sealed segments.

    Each collector's come in the order of its sequences, several collectors' by receive time.

    Args:
        data: the data directory.
        collector: only this one's; by default all.
        category: only those of this product line. The same symbol is another thing in another one, and a frame doesn't
            say of which it is.

    Raises:
        Corrupt, StoreError: as `SegmentReader`.
    """
    whose: dict[str, list[SegmentFile]] = {}
    for found in segments(data, collector):
        if found.state == "sealed":
            whose.setdefault(found.collector, []).append(found)
    streams = [_frames_of(files, category) for files in whose.values()]
    return streams[0] if len(streams) == 1 else merge(*streams, key=itemgetter(0))


def _frames_of(files: list[SegmentFile], category: str | None) -> Iterator[tuple[int, bytes]]:
    for found in files:
        with SegmentReader(found.path) as reader:
            if category is not None and reader.info.category != category:
                continue
            for record in reader.records(RecordKind.FRAME):
                yield record.receive_ns, record.payload


def next_sequence(data: Path, collector: str) -> int:
    """One more than the last sequence the collector ever used; 0 when it never recorded.

    Looks at the newest files until one tells: a sealed one by its closing note, an unsealed one by a pass
    over it. What is torn counts for as many records as its bytes could hold, and a closing note that is
    still missing for one, so numbers may be left out but are never used twice.

    Raises:
        ConfigError: a bad collector name.
        Corrupt, StoreError: as `SegmentReader`, where the newest segment is not one of ours or cannot be
            read.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _next_sequence(segments(data, collector))
        except SegmentGone:
            continue  # another process is recovering, and gave it its next name
    return _next_sequence(segments(data, collector))


def _next_sequence(files: list[SegmentFile]) -> int:
    sealed = {found.start_ns for found in files if found.state == "sealed"}
    skipped = 0
    for found in reversed(files):
        if found.state == "torn":
            if found.start_ns not in sealed:  # else its closing note's sequence is behind them
                skipped += -(-found.size // ROW_BYTES)
            continue
        try:
            with SegmentReader(found.path, lenient=True) as reader:
                return _behind(reader, sealed=found.state == "sealed") + skipped
        except HeaderDamaged:
            skipped += found.size
    return skipped


def _behind(reader: SegmentReader, *, sealed: bool) -> int:
    """The first sequence that a segment cannot have used, nor its recovery will."""
    if sealed and reader.read_closing() is not None:
        return reader.closing_sequence + 1
    for _ in reader:
        pass
    # Where there is no closing note yet, a recovery will number one, maybe at this moment.
    closing_sequence = reader.last_sequence + 1 if reader.closing is None else reader.closing_sequence
    tail_bytes = reader.size_bytes - reader.good_bytes if reader.stopped else 0
    # A sealed file that is damaged may be compressed: there a record can take a single byte.
    return closing_sequence + 1 + -(-tail_bytes // (1 if sealed else ROW_BYTES))
