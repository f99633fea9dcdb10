"""What the archive says about itself: the lines of ``archive/manifest/<collector>.jsonl``.

Append-only JSON lines. A roll appends one ``file`` line per Parquet file and then one ``segment`` line, in a single
write: only files whose segment line is present exist for readers, so a segment becomes visible whole or not at all.
A last line without its newline is the trace of a crash and counts as absent.
"""

from __future__ import annotations

import msgspec

__all__ = ["MANIFEST_VERSION", "FeedEnds", "ManifestFile", "ManifestSegment", "decode_line", "encode_lines"]

MANIFEST_VERSION = 1


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


class ManifestFile(msgspec.Struct, frozen=True, tag_field="event", tag="file"):
    """One Parquet file of the archive.

    Attributes:
        path: relative to ``archive/``, with ``/`` separators.
        segment: start_ns of the journal segment it was rolled from.
        sequence, receive_ns: lowest and highest of the file.
        match_ms, push_ms, update_id, cross_sequence: lowest and highest, or null where the table has none.
        gaps: rows of the segment's ``gaps`` table that concern this symbol.
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
    version: int = MANIFEST_VERSION


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
    version: int = MANIFEST_VERSION


_DECODER: msgspec.json.Decoder[ManifestFile | ManifestSegment] = msgspec.json.Decoder(
    ManifestFile | ManifestSegment
)
_ENCODER = msgspec.json.Encoder()


def decode_line(line: bytes) -> ManifestFile | ManifestSegment:
    """Decode one line (without its newline). Raises ``msgspec.DecodeError`` on anything else."""
    return _DECODER.decode(line)


def encode_lines(entries: list[ManifestFile | ManifestSegment]) -> bytes:
    """Encode entries as JSON lines, each with its newline."""
    return b"".join(_ENCODER.encode(entry) + b"\n" for entry in entries)
