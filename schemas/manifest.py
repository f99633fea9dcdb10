"""What the archive says about itself: the lines of ``archive/manifest/<collector>.jsonl``.

Append-only JSON lines (docs/archive.md tells them to others). A roll appends one ``file`` line per Parquet file and
then one ``segment`` line, in a single write; a compaction appends one ``file`` line per merged file and then one
``compaction`` line. Only files whose committing line is present exist for readers, so both become visible whole or not
at all. A last line without its newline is the trace of a crash and counts as absent.

Version 2 added ``last_segment`` and ``runs`` of a file, ``content_sha256``, ``chain`` and ``header`` of a segment, and
the lines ``compaction`` and ``pruned``. Lines of version 1 are read as they are. Version 3 added the line
``checkpoint``: a compaction may write the manifest anew, without the lines of files that are gone.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = [
    "MANIFEST_VERSION",
    "Entry",
    "FeedEnds",
    "FileRun",
    "ManifestCheckpoint",
    "ManifestCompaction",
    "ManifestFile",
    "ManifestPruned",
    "ManifestSegment",
    "SegmentHeader",
    "decode_line",
    "encode_lines",
]

MANIFEST_VERSION = 3
"""The newest that is read; only ``checkpoint`` lines are of it."""
LINE_VERSION = 2
"""Of all other lines."""


class FeedEnds(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where one feed of a file begins and ends.

    Attributes:
        rows: rows of the feed in the file.
        first_update_id, last_update_id: ``u`` of the first and last row; null where ids do not exist.
        first_digest, last_digest: 16 hex digits, the live digests nearest the two ends; null where none was noted.
    """

    rows: int
    first_update_id: int | None = None
    last_update_id: int | None = None
    first_digest: str | None = None
    last_digest: str | None = None


class FileRun(msgspec.Struct, frozen=True):
    """What a merged file has of one recording run; spans are lowest and highest, null where the table has none.

    Attributes:
        run: start_ns of the recording run.
        rows: its rows.
    """

    run: int
    rows: int
    sequence: tuple[int, int] | None
    receive_ns: tuple[int, int] | None
    match_ms: tuple[int, int] | None
    push_ms: tuple[int, int] | None


class ManifestFile(msgspec.Struct, frozen=True, tag_field="event", tag="file"):
    """One Parquet file of the archive.

    Attributes:
        path: relative to ``archive/``, with ``/`` separators.
        segment: start_ns of the journal segment it was rolled from; of a merged file, of the first one.
        last_segment: null: rolled from ``segment`` alone. Otherwise the file was made by a compaction and holds the
            rows of every segment of this collector from ``segment`` to ``last_segment`` that had been rolled by then:
            of those whose own file of this table, symbol and date is not listed beside it.
        runs: what a merged file has of each recording run; null where ``last_segment`` is.
        sequence, receive_ns: lowest and highest of the file.
        match_ms, push_ms, update_id, cross_sequence: lowest and highest, or null where the table has none.
        gaps: rows of the segment's ``gaps`` table that concern this symbol; of a merged file, the sum.
        feeds: per topic, its ends (book tables only).
        sha256: of the file, hex.
    """

    path: str
    table: str
    category: str
    symbol: str
    date: str
    collector: str
    segment: int
    rows: int
    bytes: int
    sha256: str
    sequence: tuple[int, int] | None
    receive_ns: tuple[int, int] | None
    match_ms: tuple[int, int] | None
    push_ms: tuple[int, int] | None
    update_id: tuple[int, int] | None
    cross_sequence: tuple[int, int] | None
    gaps: int
    feeds: dict[str, FeedEnds]
    schema_version: int
    software: str
    last_segment: int | None = None
    runs: list[FileRun] | None = None
    version: int = LINE_VERSION


class SegmentHeader(msgspec.Struct, frozen=True):
    """What a journal segment says about itself beside what its line has: with it the segment can be made again.

    Attributes:
        endpoint: root of the connections.
        software: name and version of the recorder (the line's own is the roller's).
        first_sequence: of the first record, or the one it would have had.
        format_version: of the journal's format, as it was written first; it may have been compressed since.
    """

    endpoint: str
    software: str
    first_sequence: int
    format_version: int


class ManifestSegment(msgspec.Struct, frozen=True, tag_field="event", tag="segment"):
    """A journal segment that has been rolled; commits the ``file`` lines before it.

    Attributes:
        segment: start_ns of the segment.
        run: start_ns of the recording run it belongs to.
        end_ns: when the segment was closed.
        records, frames: records of the segment, and those that are frames.
        undecodable: frames that could not be decoded, by cause.
        repeats: frames that made no row because they had been recorded before.
        ended: ``rotated`` (the run goes on in the next segment), ``stopped`` or ``crashed``.
        content_sha256: hash of the segment's records, whatever their batches (docs/journal.md); null in version 1.
        chain: link of the collector's chain, which runs over the segment lines in the order of this file; null in
            version 1, whose lines the chain passes over.
        header: what else the segment says about itself; null in lines of version 1.
    """

    collector: str
    category: str
    environment: str
    segment: int
    run: int
    end_ns: int
    files: int
    records: int
    frames: int
    sequence: tuple[int, int]
    undecodable: dict[str, int]
    repeats: int
    ended: str
    software: str
    content_sha256: str | None = None
    chain: str | None = None
    header: SegmentHeader | None = None
    version: int = LINE_VERSION


class ManifestCompaction(msgspec.Struct, frozen=True, tag_field="event", tag="compaction"):
    """Files merged into others; commits the merged ``file`` lines before it and takes the replaced ones back.

    Attributes:
        time_ns: when; the replaced files stay on the disk for a while, so that open readers can finish.
        files: how many ``file`` lines it commits.
        removed: paths of the files that are replaced.
    """

    collector: str
    time_ns: int
    files: int
    removed: list[str]
    software: str
    version: int = LINE_VERSION


class ManifestPruned(msgspec.Struct, frozen=True, tag_field="event", tag="pruned"):
    """A journal segment's file was deleted, after proof that the archive hands it back byte for byte.

    Attributes:
        segment: start_ns of the segment.
        time_ns: when.
    """

    collector: str
    segment: int
    time_ns: int
    software: str
    version: int = LINE_VERSION


class ManifestCheckpoint(msgspec.Struct, frozen=True, tag_field="event", tag="checkpoint"):
    """The lines before are what was left of a longer manifest: those of files that were replaced and are gone are not.

    Attributes:
        time_ns: when it was made short.
        dropped: how many lines were left out, then and before.
        sha256: of the manifest that the lines stand for, hex.
    """

    collector: str
    time_ns: int
    dropped: int
    sha256: str
    software: str
    version: int = MANIFEST_VERSION


Entry = ManifestFile | ManifestSegment | ManifestCompaction | ManifestPruned | ManifestCheckpoint
"""One line."""

_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)
_ENCODER = msgspec.json.Encoder()


def decode_line(line: bytes) -> Entry:
    """Decode one line (without its newline). Raises ``msgspec.DecodeError`` on anything else."""
    return _DECODER.decode(line)


def encode_lines(entries: Sequence[Entry]) -> bytes:
    """Encode entries as JSON lines, each with its newline."""
    return b"".join(_ENCODER.encode(entry) + b"\n" for entry in entries)
