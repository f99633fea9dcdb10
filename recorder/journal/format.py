"""The segment format: schema, header, batches, checksums, closing note. ``docs/journal.md`` tells it to
others.

Pure: bytes in and out, no file. Numbers in the file are little-endian.
"""

from __future__ import annotations

import base64
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np
import pyarrow as pa
from crc32c import crc32c

from recorder.journal.frame import END_OF_STREAM
from schemas.errors import Corrupt, StoreError
from schemas.names import RecordKind
from schemas.notes import Close as ClosingNote

__all__ = [
    "COMPRESSED_VERSION",
    "FORMAT_VERSION",
    "MAX_COMMITS",
    "MAX_RECORD_BYTES",
    "ROW_BYTES",
    "BatchEncoder",
    "ClosingNote",
    "Commits",
    "HeaderDamaged",
    "Pending",
    "Record",
    "SegmentGone",
    "SegmentInfo",
    "build_batch",
    "checksum",
    "decode_commits",
    "encode_commits",
    "fixed_values",
    "payloads_of",
    "read_header",
]

FORMAT_VERSION: Final = 1
"""What is written while recording: a batch is a group commit."""
COMPRESSED_VERSION: Final = 2
"""What a sealed segment becomes later: a batch holds many group commits and is compressed."""
MAX_COMMITS: Final = 4096
"""Most group commits in one batch, so that what its metadata says of them stays below the reader's limit."""
MAX_RECORD_BYTES: Final = 64 << 20
"""Largest payload of one record; with it no batch comes near the 2 GiB that its int32 offsets can address."""
ROW_BYTES: Final = 23
"""What a record takes in an uncompressed segment beside its payload: 8 + 8 + 2 + 1, and 4 of offset."""

_FIELDS: Final = (
    pa.field("sequence", pa.int64(), nullable=False),
    pa.field("receive_ns", pa.int64(), nullable=False),
    pa.field("line", pa.uint16(), nullable=False),
    pa.field("kind", pa.uint8(), nullable=False),
    pa.field("payload", pa.binary(), nullable=False),
)
_KINDS: Final = ",".join(f"{kind.value}={kind.name.lower()}" for kind in RecordKind)

Pending = tuple[int, int, int, bytes]
"""A record that has no sequence yet: receive_ns, line, kind, payload."""


class Record(NamedTuple):
    """One record of a journal.

    Attributes:
        sequence: its ordinal in its collector's journal; never reused.
        receive_ns: when it was received or made, by our wall clock, ns since the epoch.
        line: connection slot.
        kind: a ``schemas.names.RecordKind``.
        payload: the frame as received, or JSON.
    """

    sequence: int
    receive_ns: int
    line: int
    kind: int
    payload: bytes


class SegmentInfo(msgspec.Struct, frozen=True):
    """What a segment says about itself in its header.

    Attributes:
        collector, category, environment: whose it is, and what of which exchange.
        endpoint: root of the connections.
        software: name and version of the writer.
        run_start_ns: start of the recording run it belongs to.
        start_ns: its own start; also its file's name.
    """

    collector: str
    category: str
    environment: str
    endpoint: str
    software: str
    run_start_ns: int
    start_ns: int
    format_version: int = FORMAT_VERSION


class Commits(NamedTuple):
    """The group commits that a batch holds.

    Attributes:
        first: number of the first in its segment.
        rows: records of each.
        monotonic_ns: stamp of each.
    """

    first: int
    rows: Sequence[int]
    monotonic_ns: Sequence[int]


class HeaderDamaged(Corrupt):
    """A segment without a readable header: nothing in it can be interpreted."""


class SegmentGone(StoreError, FileNotFoundError):
    """A segment's file is not there: renamed or removed by another process since it was listed."""


class BatchEncoder:
    """Turns record batches into the bytes of one segment.

    Args:
        info: goes into the header.
        first_sequence: sequence of the segment's first record; goes into the header too.
        level: zstd's, to compress batches with; None to leave them as they are.
    """

    def __init__(self, info: SegmentInfo, first_sequence: int, *, level: int | None = None) -> None:
        # Not with threads: whoever compresses is in the background and has one core at most.
        self._options = pa.ipc.IpcWriteOptions(
            compression=None if level is None else pa.Codec("zstd", compression_level=level),
            use_threads=False,
        )
        texts = {
            "format_version": str(info.format_version),
            "collector": info.collector,
            "category": info.category,
            "environment": info.environment,
            "endpoint": info.endpoint,
            "software": info.software,
            "run_start_ns": str(info.run_start_ns),
            "start_ns": str(info.start_ns),
            "first_sequence": str(first_sequence),
            "kinds": _KINDS,
        }
        entries = {key.encode(): value.encode() for key, value in texts.items()}
        entries[b"crc32c"] = f"{_header_checksum(entries):08x}".encode()
        self._schema = pa.schema(_FIELDS, metadata=cast(Any, entries))
        sink = pa.BufferOutputStream()
        pa.ipc.new_stream(sink, self._schema).close()
        stream = sink.getvalue().to_pybytes()
        self.header: bytes = stream[: -len(END_OF_STREAM)]

    def encode(
        self, number: int, monotonic_ns: int, batch: pa.RecordBatch, commits: Commits | None = None
    ) -> memoryview:
        """One message: the batch with its number, its stamp and its checksum.

        Args:
            number: of the batch.
            monotonic_ns: its stamp, that of its first commit.
            batch: the records.
            commits: where it holds several, or may; for ``COMPRESSED_VERSION`` only.
        """
        entries = {
            b"batch": b"%d" % number,
            b"monotonic_ns": b"%d" % monotonic_ns,
            b"crc32c": b"%08x" % checksum(batch),
        }
        if commits is not None:
            entries[b"commit"] = b"%d" % commits.first
            entries[b"commits"] = encode_commits(commits)
        sink = pa.BufferOutputStream()
        # A stream of its own each time costs about 10 us and gives the whole message as one buffer, for one
        # write.
        with pa.ipc.new_stream(sink, self._schema, options=self._options) as stream:
            stream.write_batch(batch, custom_metadata=pa.KeyValueMetadata(entries))
        return memoryview(sink.getvalue())[len(self.header) : -len(END_OF_STREAM)]

    def encode_closing(
        self, note: ClosingNote, *, sequence: int, receive_ns: int, monotonic_ns: int
    ) -> bytes:
        """The bytes that end a segment: the closing note's batch and the end-of-stream marker."""
        record = (receive_ns, 0, RecordKind.NOTE, msgspec.json.encode(note))
        return bytes(self.encode(note.batches, monotonic_ns, build_batch(sequence, [record]))) + END_OF_STREAM


def build_batch(first_sequence: int, records: Sequence[Pending]) -> pa.RecordBatch:
    """Make one record batch of consecutive records, without a Python object per cell.

    Raises:
        OverflowError, ValueError: a number does not fit its column.
    """
    rows = len(records)
    receive_ns, lines, kinds, payloads = zip(*records, strict=True)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(np.fromiter(map(len, payloads), np.int32, rows), out=offsets[1:])
    columns = [
        _fixed(pa.int64(), rows, np.arange(first_sequence, first_sequence + rows, dtype=np.int64)),
        _fixed(pa.int64(), rows, array("q", receive_ns)),
        _fixed(pa.uint16(), rows, array("H", lines)),
        _fixed(pa.uint8(), rows, bytes(kinds)),
        pa.Array.from_buffers(
            pa.binary(),
            rows,
            [None, pa.py_buffer(offsets.data), pa.py_buffer(b"".join(payloads))],
            null_count=0,
        ),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(_FIELDS))


def _fixed(type_: pa.DataType, rows: int, values: Any) -> pa.Array[Any]:
    return pa.Array.from_buffers(type_, rows, [None, pa.py_buffer(values)], null_count=0)


def checksum(batch: pa.RecordBatch) -> int:
    """CRC-32C over the logical bytes of every column in order, without copying them.

    Integers as they are; the payload as its ``rows + 1`` int32 offsets counted from 0, then the data between
    them.
    """
    value = 0
    for values in fixed_values(batch):
        value = crc32c(values, value)
    offsets, data = payloads_of(batch)
    value = crc32c(offsets.data.cast("B"), value)
    return crc32c(data, value)


def fixed_values(batch: pa.RecordBatch) -> Iterator[memoryview]:
    """The bytes of every column but the payload's, in order, without a copy."""
    for column in batch.columns[:-1]:
        width = column.type.byte_width
        data = _view(column.buffers()[1])
        yield data[column.offset * width : (column.offset + len(column)) * width]


def payloads_of(batch: pa.RecordBatch) -> tuple[np.ndarray[tuple[int], np.dtype[np.int32]], memoryview]:
    """The payload column without a copy: ``rows + 1`` int32 offsets counted from 0, and the data they cut."""
    column = batch.columns[-1]
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(_view(offset_buffer), np.int32, len(column) + 1, column.offset * 4)
    first, last = int(offsets[0]), int(offsets[-1])
    data = _view(data_buffer)[first:last]
    return (offsets if first == 0 else offsets - offsets[0]), data


def _view(buffer: Any) -> memoryview:
    return memoryview(b"" if buffer is None else buffer)


def encode_commits(commits: Commits) -> bytes:
    """Rows and stamps of commits as text: base64 of zlib of two int64 arrays, the rows and then the stamps, each
    but the first as its distance from the one before."""
    stamps = np.diff(np.array(commits.monotonic_ns, np.int64), prepend=np.int64(0))
    values = np.concatenate([np.array(commits.rows, np.int64), stamps]).astype("<i8")
    return base64.b64encode(zlib.compress(values.tobytes(), 6))


def decode_commits(first: int, text: bytes) -> Commits:
    """The reverse of ``encode_commits``. Raises ``ValueError``."""
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(base64.b64decode(text, validate=True), MAX_COMMITS * 16)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacking.eof or len(data) % 16 or not data:
        raise ValueError(
            f"{len(data)} bytes that are not whole pairs of int64, or over {MAX_COMMITS} of them"
        )
    values = np.frombuffer(data, "<i8")
    rows, stamps = np.split(values, 2)
    return Commits(first, rows.tolist(), np.cumsum(stamps).tolist())


def read_header(path: Path, schema: pa.Schema) -> tuple[SegmentInfo, int]:
    """Check a schema message and return what it says: the segment's info and its first sequence.

    Raises:
        StoreError: written in a newer format.
        HeaderDamaged: its checksum fails.
        Corrupt: not a journal segment.
    """
    entries = dict(schema.metadata or {})
    version = entries.get(b"format_version", b"")
    if not version.isdigit() or b"collector" not in entries:
        raise Corrupt(
            path, "an Arrow stream, but not a journal segment (no format_version and collector in its schema)"
        )
    if len(version) > 9 or int(version) > COMPRESSED_VERSION:
        raise StoreError(
            f"{path}: written by a newer tapebook (journal format {version[:9].decode()}, this one reads "
            f"up to {COMPRESSED_VERSION}); update tapebook to read it"
        )
    if entries.get(b"crc32c") != f"{_header_checksum(entries):08x}".encode():
        raise HeaderDamaged(path, "the header fails its checksum")
    if schema.remove_metadata() != pa.schema(_FIELDS):
        # Its own entries say that it was one: a damaged header, then, and not a foreign file.
        raise HeaderDamaged(path, f"the header's columns are not those of journal format {int(version)}")
    try:
        text = {key.decode(): value.decode() for key, value in entries.items()}
        info = SegmentInfo(
            text["collector"],
            text["category"],
            text["environment"],
            text["endpoint"],
            text["software"],
            int(text["run_start_ns"]),
            int(text["start_ns"]),
            int(text["format_version"]),
        )
        return info, int(text["first_sequence"])
    except (KeyError, ValueError) as error:
        raise Corrupt(path, f"a header without its entries ({error!r})") from error


def _header_checksum(entries: dict[bytes, bytes]) -> int:
    lines = (key + b"=" + value + b"\n" for key, value in sorted(entries.items()) if key != b"crc32c")
    return crc32c(b"".join(lines))
