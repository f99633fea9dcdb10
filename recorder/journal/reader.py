"""Reading segments: every checksum, number and sequence is checked, and one batch at a time is in memory.

Files are read with ``pread``, not mapped: a mapped file that another process cuts, or a drive that fails,
ends the reading process with a signal instead of an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec
import pyarrow as pa

from recorder.journal.content import ContentHash, without_batches
from recorder.journal.format import (
    COMPRESSED_VERSION,
    ClosingNote,
    Commits,
    HeaderDamaged,
    Record,
    SegmentGone,
    checksum,
    decode_commits,
    payloads_of,
    read_header,
)
from recorder.journal.frame import (
    CONTINUATION,
    END_OF_STREAM,
    RECORD_BATCH,
    SCHEMA,
    Frame,
    FrameError,
    frame_at,
)
from schemas.errors import Corrupt, StoreError
from schemas.names import RecordKind

__all__ = ["Batch", "SegmentReader", "records_of"]

_CLOSE_PREFIX: Final = b'{"note":"close"'
_TAIL_BYTES: Final = 1 << 16
_CLOSING = msgspec.json.Decoder(ClosingNote)


class Batch(NamedTuple):
    """One record batch, checked: a group commit, or, once the segment is compressed, many of them.

    Attributes:
        number: from 0 in its segment.
        monotonic_ns: the writer's monotonic clock when its first commit was handed over; comparable within one
            boot only.
        table: columns sequence, receive_ns, line, kind, payload.
        offset_bytes: length of the file with it (as in `Commit`).
        commits: the group commits in it.
    """

    number: int
    monotonic_ns: int
    table: pa.RecordBatch
    offset_bytes: int
    commits: Commits


class _Decoded(NamedTuple):
    table: pa.RecordBatch
    number: int
    commits: Commits


class SegmentReader:
    """Reads one segment; iterate for batches, or `records`. A context manager; iterating again starts over.

    The closing note is a record like any other, in the last batch.

    Args:
        path: a segment's file.
        lenient: stop without an error at the first batch that is torn or damaged, or at a missing end: for
            segments that are being written, or were when their process was killed. What the file grows by
            later is not read.
        hashed: keep ``content`` while iterating.

    Attributes:
        info: the header.
        first_sequence: of the first record.
        header_bytes: where the first batch begins.
        size_bytes: the file's length when it was opened.
        batches, rows, last_sequence, data_bytes: of the pass so far, without the closing note; ``batches`` counts
            group commits, also where a batch of a compressed file holds many; ``data_bytes`` is the length of the
            file with the last batch counted, ``last_sequence`` is ``first_sequence - 1`` before any.
        good_bytes: the same with the closing note.
        closing, closing_sequence: the closing note and its own sequence, once read (None and -1 before).
        stopped: why a lenient pass ended before the file did, or None.
        ended: ``read_on`` has come to the end of a sealed segment.
        content: hash of the records of the pass so far, the closing note included; None unless ``hashed``.

    Raises:
        Corrupt: not a segment, or its name and header disagree; `HeaderDamaged` when there is no readable
            header.
        StoreError: it cannot be opened or read, or is of a newer format; `SegmentGone` when it is not there.
    """

    def __init__(self, path: Path, *, lenient: bool = False, hashed: bool = False) -> None:
        self.path = path
        self.closing: ClosingNote | None
        self.closing_sequence: int
        self.first_sequence: int
        self.last_sequence: int
        self.stopped: str | None
        self.content: ContentHash | None
        self.ended: bool
        self._lenient = lenient
        self._hashed = hashed
        try:
            self._file: Any = pa.OSFile(str(path), "rb")
        except FileNotFoundError as error:
            raise SegmentGone(
                f"{path}: no such file; list the segments again, it may have another name"
            ) from error
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened: {error.strerror or error}") from error
        try:
            self.size_bytes: int = self._file.size()
            self._open_header()
        except BaseException:
            self._file.close()
            raise
        self._start_over()

    def __repr__(self) -> str:
        counts = f"batches={self.batches} rows={self.rows} good_bytes={self.good_bytes}"
        return f"<SegmentReader {self.path} {counts}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Harmless when done twice."""
        self._file.close()

    def __iter__(self) -> Iterator[Batch]:
        """Yield every batch in order.

        Raises:
            Corrupt: a batch is torn or altered, numbers or sequences do not follow, the end is missing, or the closing
                note tells of other content than ``content`` (unless lenient: then `stopped` says so).
            StoreError: the drive failed.
        """
        self._start_over()
        try:
            while (batch := self._next()) is not None:
                yield batch
        except Corrupt as error:
            if not self._lenient:
                raise
            self.stopped = error.why

    def read_on(self, size_bytes: int) -> Batch | None:
        """The next batch of a file that is this long by now; None where none is whole yet, or it has ``ended``.

        A pass that is begun so goes on where the last call ended; so a file is read beside its writer.

        Raises:
            Corrupt: what is there can't become a batch by growing, as iterating raises; the pass stays where it is.
            StoreError: the drive failed.
        """
        self.size_bytes = size_bytes
        if self.ended or size_bytes <= self.good_bytes:
            return None
        try:
            frame_at(self._read_at, self.good_bytes, size_bytes)
        except FrameError:
            return None  # the caller knows whether it still grows
        batch = self._next()
        self.ended = batch is None
        return batch

    def records(self, kind: RecordKind | None = None) -> Iterator[Record]:
        """Yield every record in order, the closing note included, or those of a kind. Raises as iterating."""
        for batch in self:
            yield from records_of(batch.table, kind)

    def read_closing(self) -> ClosingNote | None:
        """The closing note and end of a sealed file, found from its end without reading the rest; None when
        not there.

        Sets `closing` and the counts as a whole pass would. The rest of the file is not checked.
        """
        end = self.size_bytes - len(END_OF_STREAM)
        start = max(self.header_bytes, (self.size_bytes - _TAIL_BYTES) // 8 * 8)
        tail = self._read_at(self.size_bytes - start, start) if end >= start else b""
        if not tail.endswith(END_OF_STREAM):
            return None
        at = len(tail) - len(END_OF_STREAM)
        while (at := tail.rfind(CONTINUATION, 0, at)) >= 0:
            offset = start + at
            try:
                frame = frame_at(self._read_at, offset, end)
                if frame is None or offset + frame.length_bytes != end:
                    continue
                decoded = self._decode(offset, frame)
                table = decoded.table
                note = self._closing_note(table, offset)
            except (FrameError, Corrupt):
                continue
            if note is not None and note.batches == decoded.commits.first:
                self.closing, self.good_bytes, self.data_bytes = note, end, offset
                self.batches, self.rows, self.last_sequence = note.batches, note.rows, note.last_sequence
                self.closing_sequence = int(table.column(0)[0].as_py())
                return note
        return None

    def _open_header(self) -> None:
        try:
            frame = frame_at(self._read_at, 0, self.size_bytes)
            if frame is None or frame.header_type != SCHEMA:
                raise FrameError("no schema message")
            self._file.seek(0)
            self._stream = pa.ipc.open_stream(self._file)
            schema = self._stream.schema
        except (FrameError, pa.ArrowException, OSError, ValueError, MemoryError) as error:
            if getattr(error, "errno", None):
                raise StoreError(f"{self.path}: cannot be read: {error}; check the drive") from error
            raise HeaderDamaged(self.path, f"no segment header at offset 0: {error}") from error
        self.header_bytes = frame.length_bytes
        self.info, self.first_sequence = read_header(self.path, schema)
        named = self.path.name.split(".", 1)[0]
        if named != str(self.info.start_ns) or self.path.absolute().parent.name != self.info.collector:
            raise Corrupt(
                self.path,
                f"its header says collector {self.info.collector!r}, start {self.info.start_ns}; expected at "
                f"{self.info.collector}/{self.info.start_ns}.arrows: put it back there",
            )

    def _start_over(self) -> None:
        self.batches = 0
        self._read = 0  # batches of the file
        self.rows = 0
        self.last_sequence = self.first_sequence - 1
        self.closing_sequence = -1
        self.data_bytes = self.good_bytes = self.header_bytes
        self.closing = None
        self.stopped = None
        self.ended = False
        self.content = ContentHash() if self._hashed else None

    def _next(self) -> Batch | None:
        offset = self.good_bytes
        number = self._read
        if offset == self.size_bytes:
            raise Corrupt(
                self.path, f"ends at offset {offset} after batch {number - 1} without an end-of-stream marker"
            )
        try:
            frame = frame_at(self._read_at, offset, self.size_bytes)
        except FrameError as error:
            raise Corrupt(self.path, f"batch {number} at offset {offset}: {error}") from error
        if frame is None:
            self._check_end(offset)
            return None
        if self.closing is not None:
            raise Corrupt(self.path, f"a message at offset {offset}, after the closing note")
        table, found, commits = self._decode(offset, frame)
        if found != number:
            raise Corrupt(self.path, f"batch {found} at offset {offset}, expected number {number}")
        if commits.first != self.batches:
            raise Corrupt(
                self.path,
                f"batch {found} at offset {offset} begins with commit {commits.first}, expected {self.batches}",
            )
        self._count(table, len(commits.rows), offset, offset + frame.length_bytes)
        self._read += 1
        if self.content is not None:
            self.content.update(table if self.closing is None else without_batches(table, self.closing))
        return Batch(number, commits.monotonic_ns[0], table, offset + frame.length_bytes, commits)

    def _check_end(self, offset: int) -> None:
        rest = self.size_bytes - offset - len(END_OF_STREAM)
        if self.closing is None:
            raise Corrupt(
                self.path, f"an end-of-stream marker at offset {offset}, but no closing note before it"
            )
        if rest:
            raise Corrupt(self.path, f"{rest} bytes after the end-of-stream marker at offset {offset}")
        told = self.closing.content_sha256
        if self.content is not None and isinstance(told, str) and told != self.content.hexdigest():
            raise Corrupt(
                self.path,
                f"its records have content {self.content.hexdigest()[:16]}…, its closing note speaks of {told[:16]}…: "
                "they were altered, or whoever recorded them made a mistake",
            )

    def _decode(self, offset: int, frame: Frame) -> _Decoded:
        """The batch at an offset with its number and commits; its own bytes are checked, its place is not."""
        if frame.header_type != RECORD_BATCH:
            raise Corrupt(
                self.path,
                f"a message of type {frame.header_type} at offset {offset}, expected a record batch",
            )
        try:
            self._file.seek(offset)
            read = self._stream.read_next_batch_with_custom_metadata()
            read.batch.validate(full=True)
        except (pa.ArrowException, OSError, ValueError, MemoryError, StopIteration) as error:
            if getattr(error, "errno", None):
                raise StoreError(
                    f"{self.path}: cannot be read at offset {offset}: {error}; check the drive"
                ) from error
            raise Corrupt(self.path, f"the batch at offset {offset} cannot be decoded: {error}") from error
        table: pa.RecordBatch = read.batch
        metadata: Any = read.custom_metadata  # None when there is none
        try:
            entries = {} if metadata is None else dict(metadata)
            number, monotonic_ns = _natural(entries[b"batch"]), _natural(entries[b"monotonic_ns"])
            told = entries[b"crc32c"]
            commits = Commits(number, (table.num_rows,), (monotonic_ns,))
            if self.info.format_version == COMPRESSED_VERSION:
                commits = decode_commits(_natural(entries[b"commit"]), entries[b"commits"])
        except (KeyError, ValueError) as error:
            raise Corrupt(
                self.path, f"the batch at offset {offset} has no readable number, stamp, CRC or commits"
            ) from error
        if not table.num_rows or any(column.null_count for column in table.columns):
            raise Corrupt(
                self.path, f"batch {number} at offset {offset}: {table.num_rows} rows, or nulls in them"
            )
        if (
            min(commits.rows) < 1
            or sum(commits.rows) != table.num_rows
            or commits.monotonic_ns[0] != monotonic_ns
        ):
            raise Corrupt(
                self.path,
                f"batch {number} at offset {offset}: its commits tell of {sum(commits.rows)} rows, it has "
                f"{table.num_rows}",
            )
        found = f"{checksum(table):08x}".encode()
        if found != told:
            raise Corrupt(
                self.path,
                f"batch {number} at offset {offset} fails its checksum: crc32c {found.decode()}, expected "
                f"{told[:16].decode('ascii', 'replace')}",
            )
        return _Decoded(table, number, commits)

    def _count(self, table: pa.RecordBatch, commits: int, offset: int, end: int) -> None:
        sequences = table.column(0).to_numpy()
        expected = self.last_sequence + 1
        note = self._closing_note(table, offset)
        if note is not None:
            counted = (self.batches, self.rows, self.last_sequence)
            if (note.batches, note.rows, note.last_sequence) != counted:
                raise Corrupt(
                    self.path,
                    f"the closing note at offset {offset} tells of {note.batches} batches, {note.rows} rows, "
                    f"last sequence {note.last_sequence}; found {counted[0]}, {counted[1]}, {counted[2]}",
                )
            # A recovery leaves out the numbers that what it set aside may have used.
            if sequences[0] < expected or (sequences[0] != expected and not note.bytes_set_aside):
                raise Corrupt(self.path, f"the closing note has sequence {sequences[0]}, expected {expected}")
            self.closing = note
            self.closing_sequence = int(sequences[0])
            self.good_bytes = end
            return
        if sequences[0] != expected or not bool((sequences[1:] - sequences[:-1] == 1).all()):
            raise Corrupt(
                self.path,
                f"batch {self._read} at offset {offset}: sequences {sequences[0]} to {sequences[-1]}, "
                f"expected {expected} to {expected + table.num_rows - 1}",
            )
        self.batches += commits
        self.rows += table.num_rows
        self.last_sequence = int(sequences[-1])
        self.data_bytes = self.good_bytes = end

    def _closing_note(self, table: pa.RecordBatch, offset: int) -> ClosingNote | None:
        """The closing note a batch is, or None."""
        if table.num_rows != 1 or table.column(3)[0].as_py() != RecordKind.NOTE:
            return None
        payload: bytes = table.column(4)[0].as_py()
        if not payload.startswith(_CLOSE_PREFIX):
            return None
        try:
            return _CLOSING.decode(payload)
        except (msgspec.DecodeError, ValueError) as error:
            raise Corrupt(
                self.path, f"the closing note at offset {offset} cannot be read: {error}"
            ) from error

    def _read_at(self, count: int, offset: int) -> bytes:
        try:
            data: bytes = self._file.read_at(count, offset)
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot be read at offset {offset}: {error}; check the drive"
            ) from error
        return data


def records_of(table: pa.RecordBatch, kind: RecordKind | None = None) -> Iterator[Record]:
    """The records of a batch in order, or those of a kind."""
    sequences, receive, lines, kinds = (column.to_numpy().tolist() for column in table.columns[:-1])
    offsets, view = payloads_of(table)
    data = bytes(view)
    payloads = [data[start:end] for start, end in pairwise(offsets.tolist())]
    rows = map(Record, sequences, receive, lines, kinds, payloads)
    return rows if kind is None else (row for row in rows if row.kind == kind)


def _natural(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise ValueError(text)
    return int(text)
