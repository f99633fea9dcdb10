"""Rebuild: a segment's records, made again from the archive byte for byte, and held against their content hash.

Each file is read once, in small pieces; the frames that its rows come to are written beside one another into an unnamed
scratch file. What is held in memory is where each record lies there, some 40 bytes a record, whatever the tables and
however their rows are ordered: files of one segment and merged ones give the same (docs/capture.md).
"""

from __future__ import annotations

import mmap
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.core.wire import Renderer
from engine.event_wire import EVENT_KEYS, event_topic, render_event
from engine.stored_rows import restore
from engine.wire_columns import wire_columns
from recorder.file_places import FilePlace, parquet_source, sha256_of
from recorder.journal import ContentHash, Record
from recorder.journal.content import without_batches
from recorder.journal.format import build_batch
from recorder.manifest import Manifest
from schemas.errors import Corrupt, DataError, StoreError
from schemas.manifest import ManifestFile, ManifestSegment, SegmentHeader
from schemas.names import Category, RecordKind, Table
from schemas.notes import Close, decode_note
from schemas.raw_tables import FORM, OPEN, REPEAT
from schemas.tables import book_topic
from schemas.wire import WireForm, WireKind, decode_form

__all__ = ["Rebuilt", "Unprovable", "closing_of", "provable", "rebuild", "runs"]

WRITTEN: Final[dict[Table, WireKind]] = {
    Table.BOOK_UPDATES: "book",
    Table.RPI_BOOK_UPDATES: "rpi",
    Table.TRADES: "trades",
    Table.TICKERS: "ticker",
}
"""Tables from whose rows frames are written."""
BATCH_ROWS: Final = 8192
BATCH_BYTES: Final = 8 << 20

Column = np.ndarray[Any, Any]
Take = Callable[[list[Record]], None]


class Unprovable(StoreError):
    """The archive does not say enough about a segment to make it again."""


class Rebuilt(NamedTuple):
    """A segment made again.

    Attributes:
        entry: its manifest line.
        records: all of them, the closing note included.
        frames: those that are frames.
        verbatim: frames that were kept as they came.
        content_sha256: of what was made; equal to the line's.
    """

    entry: ManifestSegment
    records: int
    frames: int
    verbatim: int
    content_sha256: str


class _Place(NamedTuple):
    """Records beside one another in the scratch file, column by column."""

    sequence: Column
    receive_ns: Column
    line: Column
    kind: Column
    offset: Column
    length: Column


def rebuild(
    manifest: Manifest, entry: ManifestSegment, take: Take | None = None, *, whole: set[str] | None = None
) -> Rebuilt:
    """Make a segment's records again and prove that they are those that were rolled.

    Args:
        manifest: of the archive.
        entry: the segment's line in it.
        take: given the records in order, as lists, before the proof is complete: whoever keeps them must be ready to
            throw them away. The closing note is the last one.
        whole: paths of files whose bytes were held against their sha256 before; those that are held now come to it. A
            file is not opened before, because what reads Parquet may end the process over a damaged one.

    Raises:
        Unprovable: the line or the archive lacks what is needed (rolled by an older version).
        Corrupt: what comes out is not what the line's content hash speaks of.
        StoreError: a file can't be read, or there is no room for the scratch file.
    """
    where = manifest.archive / "manifest" / f"{entry.collector}.jsonl"
    provable(entry)
    with _Scratch(manifest.archive) as scratch:
        places = _Places(scratch)
        whole = set() if whole is None else whole
        raw = _read_raw(manifest, entry, places, whole)
        for file in _files(manifest, entry, *WRITTEN, *EVENT_KEYS):
            _check_bytes(manifest, file, whole)
            _write_frames(manifest.place(file.path), file, entry, raw, places)
        records = places.all()
        _check_places(records, entry, where)
        content, frames = ContentHash(), 0
        for chunk in _chunks(records, raw.repeats, scratch.map()):
            frames += sum(record.kind == RecordKind.FRAME for record in chunk)
            _hash(content, chunk)
            if take is not None:
                take(chunk)
    found, expected = content.hexdigest(), str(entry.content_sha256)
    if found != expected:
        raise Corrupt(
            where,
            f"{entry.collector}/{entry.segment}.arrows: the archive gives records of content {found[:16]}…, expected "
            f"{expected[:16]}…: files of the archive were altered",
        )
    return Rebuilt(entry, len(records.sequence), frames, raw.verbatim, found)


def provable(entry: ManifestSegment) -> SegmentHeader:
    """What the segment's own header said. Raises Unprovable where the line lacks it, or the content hash."""
    if entry.content_sha256 is None or entry.header is None:
        raise Unprovable(
            f"{entry.collector}/{entry.segment}.arrows was rolled by a version whose archives hand no frames back; "
            "delete the archive and run `tapebook roll` to make it anew, if the journal is still there"
        )
    return entry.header


# ---- what the archive has --------------------------------------------------------------------------------------------


class _Raw(NamedTuple):
    """What ``raw_records`` says of a segment."""

    sequences: Column  # of records that are there as they are, sorted
    repeats: dict[int, int]
    opens: dict[int, bytes]  # digits that forms leave open
    forms: dict[str, list[tuple[int, WireForm]]]  # by topic, each with the sequence from which on it holds
    verbatim: int


def _files(manifest: Manifest, entry: ManifestSegment, *tables: Table) -> Iterator[ManifestFile]:
    low, high = entry.sequence
    for table in tables:
        for file in manifest.select(table, category=entry.category, collector=entry.collector):
            last = file.segment if file.last_segment is None else file.last_segment
            if not file.segment <= entry.segment <= last:  # keyframes bear sequences of the segment before
                continue
            if file.sequence is not None and file.sequence[0] <= high and file.sequence[1] >= low:
                yield file


def _check_bytes(manifest: Manifest, file: ManifestFile, whole: set[str]) -> None:
    """Whether a file is the one that the manifest speaks of. Raises Corrupt."""
    if file.path in whole:
        return
    path = manifest.place(file.path)
    found = sha256_of(path)
    if found != file.sha256:
        raise Corrupt(path, f"sha256 is {found[:16]}…, expected {file.sha256[:16]}…: the file was altered")
    whole.add(file.path)


def _rows(path: FilePlace, table: Table, low: int, high: int) -> Iterator[pa.Table]:
    """The rows of a file with sequences from low to high, in pieces, in the order of the file."""
    try:
        with pq.ParquetFile(parquet_source(path)) as parquet:
            place = parquet.schema_arrow.get_field_index("sequence")
            groups = []
            for group in range(parquet.num_row_groups):
                told = parquet.metadata.row_group(group).column(place).statistics
                if told is None or not told.has_min_max or (told.min <= high and told.max >= low):
                    groups.append(group)
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=groups, use_threads=False):
                rows = pa.Table.from_batches([batch])
                sequences = _numbers(rows, "sequence")
                if len(sequences) and (sequences.min() < low or sequences.max() > high):
                    rows = rows.filter(pa.array((sequences >= low) & (sequences <= high)))
                if rows.num_rows:
                    rows.validate(full=True)
                    yield restore(table, rows)
    except FileNotFoundError as error:
        raise Corrupt(path, "missing, although the manifest lists it") from error
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise Corrupt(path, f"cannot be read: {error}") from error


def _numbers(rows: pa.Table, name: str) -> Column:
    column = rows.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    numbers: Column = column.to_numpy()
    return numbers


def _read_raw(manifest: Manifest, entry: ManifestSegment, places: _Places, whole: set[str]) -> _Raw:
    sequences: list[Column] = []
    repeats: dict[int, int] = {}
    opens: dict[int, bytes] = {}
    forms: dict[str, list[tuple[int, WireForm]]] = {}
    verbatim = 0
    for file in _files(manifest, entry, Table.RAW_RECORDS):
        path = manifest.place(file.path)
        _check_bytes(manifest, file, whole)
        for rows in _rows(path, Table.RAW_RECORDS, *entry.sequence):
            kinds = _numbers(rows, "kind")
            payloads = rows.column("payload").to_pylist()
            at_all = _numbers(rows, "sequence")
            try:
                for at in np.flatnonzero(kinds == FORM).tolist():
                    form = decode_form(payloads[at])
                    forms.setdefault(form.topic, []).append((int(at_all[at]), form))
                for at in np.flatnonzero(kinds == REPEAT).tolist():
                    repeats[int(at_all[at])] = int(payloads[at])
                    payloads[at] = b""
            except (ValueError, msgspec.MsgspecError) as error:
                raise Corrupt(path, f"record {at_all[at]}: no wire form, or no repeat: {error}") from error
            for at in np.flatnonzero(kinds == OPEN).tolist():
                opens[int(at_all[at])] = payloads[at]
            kept = np.flatnonzero((kinds != FORM) & (kinds != OPEN))
            verbatim += int(np.count_nonzero(kinds == RecordKind.FRAME))
            sequences.append(at_all[kept])
            places.add(
                at_all[kept],
                _numbers(rows, "receive_time")[kept],
                _numbers(rows, "line")[kept],
                np.where(kinds[kept] == REPEAT, int(RecordKind.FRAME), kinds[kept]),
                b"".join(payloads[at] for at in kept.tolist()),
                np.array([len(payloads[at]) for at in kept.tolist()], np.int64),
            )
    if not sequences:
        raise Unprovable(
            f"{entry.collector}/{entry.segment}.arrows: the archive has no raw_records of it; delete it and run "
            "`tapebook roll` to make it anew, if the journal is still there"
        )
    for changes in forms.values():
        changes.sort(key=lambda change: change[0])
    return _Raw(np.unique(np.concatenate(sequences)), repeats, opens, forms, verbatim)


def _write_frames(
    path: FilePlace, file: ManifestFile, entry: ManifestSegment, raw: _Raw, places: _Places
) -> None:
    """Write the frames of one file's rows into the scratch file."""
    table = Table(file.table)
    rest: pa.Table | None = None
    for rows in _rows(path, table, *entry.sequence):
        if rest is not None:
            rows = pa.concat_tables([rest, rows])
            rest = None
        if table is Table.TRADES or table in EVENT_KEYS:  # those of one frame may go on in the next piece
            sequences = _numbers(rows, "sequence")
            whole = int(np.searchsorted(sequences, sequences[-1]))
            rows, rest = rows.slice(0, whole), rows.slice(whole)
        _write_piece(path, table, file.symbol, rows, entry, raw, places)
    if rest is not None:
        _write_piece(path, table, file.symbol, rest, entry, raw, places)


def _write_piece(
    path: FilePlace,
    table: Table,
    symbol: str,
    rows: pa.Table,
    entry: ManifestSegment,
    raw: _Raw,
    places: _Places,
) -> None:
    if table in EVENT_KEYS:
        _write_events(path, table, symbol, rows, raw, places)
        return
    kind = WRITTEN[table]
    kept = ~np.isin(_numbers(rows, "sequence"), raw.sequences)
    if kind in ("book", "rpi"):
        names = rows.column("kind")
        kept &= np.array([name != "keyframe" for name in names.to_pylist()], bool)
    rows = rows.filter(pa.array(kept))
    if not rows.num_rows:
        return
    depths = np.unique(_numbers(rows, "depth")).tolist() if kind in ("book", "rpi") else [0]
    for depth in depths:
        part = rows.filter(pa.array(_numbers(rows, "depth") == depth)) if len(depths) > 1 else rows
        topic = _topic(table, depth, symbol, entry)
        try:
            _write_feed(kind, symbol, part, raw.forms.get(topic, []), raw.opens, places)
        except (DataError, ValueError, TypeError, KeyError) as error:
            raise Corrupt(path, f"{topic}: its frames can't be written from these rows: {error}") from error


def _write_events(
    path: FilePlace, table: Table, symbol: str, rows: pa.Table, raw: _Raw, places: _Places
) -> None:
    """Frames that drivers read: few enough for plain Python."""
    rows = rows.filter(pa.array(~np.isin(_numbers(rows, "sequence"), raw.sequences)))
    sequences = _numbers(rows, "sequence").tolist()
    if sequences != sorted(sequences):
        raise Corrupt(path, "rows that are out of order")
    columns = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in rows.columns
    ]
    plain = pa.table(columns, names=rows.schema.names).to_pylist()
    payloads: list[bytes] = []
    first: list[int] = []
    for sequence, group in groupby(range(len(plain)), key=sequences.__getitem__):
        at_all = list(group)
        items = [plain[at] for at in at_all]
        topic = event_topic(table, items[0], symbol)
        forms = raw.forms.get(topic, [])
        place = bisect_right([since for since, _ in forms], sequence) - 1
        try:
            frame = render_event(forms[place][1], items, symbol) if place >= 0 else None
        except (DataError, ValueError, KeyError) as error:
            raise Corrupt(path, f"{topic}: record {sequence} can't be written: {error}") from error
        if frame is None:
            raise Corrupt(path, f"{topic}: record {sequence} can't be written from its rows")
        payloads.append(frame)
        first.append(at_all[0])
    if payloads:
        at = np.array(first, np.int64)
        places.add(
            np.array(sequences, np.int64)[at],
            _numbers(rows, "receive_time")[at],
            _numbers(rows, "line")[at],
            np.zeros(len(at), np.int64),
            b"".join(payloads),
            np.array([len(payload) for payload in payloads], np.int64),
        )


def _topic(table: Table, depth: int, symbol: str, entry: ManifestSegment) -> str:
    if table is Table.TICKERS:
        return f"tickers.{symbol}"
    if table is Table.TRADES:
        return f"publicTrade.{symbol.split('-', 1)[0] if entry.category == Category.OPTION else symbol}"
    return book_topic(table, depth, symbol)


def _write_feed(
    kind: WireKind,
    symbol: str,
    rows: pa.Table,
    forms: list[tuple[int, WireForm]],
    opens: dict[int, bytes],
    places: _Places,
) -> None:
    """Rows of one feed, under the form that was in force for each."""
    sequences = _numbers(rows, "sequence")
    if np.any(np.diff(sequences) < 0):
        raise DataError("rows that are out of order")
    starts = [at for at, _ in forms]
    if not starts or sequences[0] < starts[0]:
        raise DataError(f"record {sequences[0]} comes before the feed's first wire form")
    begin = 0
    while begin < len(sequences):
        place = bisect_right(starts, int(sequences[begin])) - 1
        until = starts[place + 1] if place + 1 < len(starts) else None
        end = len(sequences) if until is None else int(np.searchsorted(sequences, until))
        renderer = Renderer(forms[place][1], kind, symbol)
        _write_run(renderer, kind, rows.slice(begin, end - begin), opens, places)
        begin = end


def _write_run(
    renderer: Renderer, kind: WireKind, rows: pa.Table, opens: dict[int, bytes], places: _Places
) -> None:
    sequences = _numbers(rows, "sequence")
    first = np.flatnonzero(np.diff(sequences, prepend=sequences[0] - 1))
    counts = np.diff(first, append=len(sequences))
    if kind != "trades" and len(first) != len(sequences):
        raise DataError("two rows of one frame")
    digits = [opens.get(at) for at in sequences[first].tolist()] if opens else None
    payloads, offsets = renderer.render(*wire_columns(kind, rows), first, counts, digits)
    places.add(
        sequences[first],
        _numbers(rows, "receive_time")[first],
        _numbers(rows, "line")[first],
        np.zeros(len(first), np.int64),
        payloads,
        np.diff(offsets),
    )


# ---- the scratch file ------------------------------------------------------------------------------------------------


class _Scratch:
    """An unnamed file in the archive's file system, or, where that can't be written, in that of temporary files."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None
        self.length = 0

    def __enter__(self) -> _Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BufferError):
            if self._map is not None:
                self._map.close()
        if self._file is not None:
            self._file.close()

    def append(self, content: bytes) -> int:
        """Write at the end; returns where it begins. Raises StoreError."""
        at = self.length
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(content)
        except OSError as error:
            raise StoreError(
                f"{self._archive}: records could not be set aside while a segment is rebuilt: {error}; free some space"
            ) from error
        self.length += len(content)
        return at

    def _open(self) -> BinaryIO:
        try:
            return tempfile.TemporaryFile(dir=self._archive)
        except OSError:
            return tempfile.TemporaryFile()

    def map(self) -> mmap.mmap | bytes:
        """Everything that was written."""
        if self._file is None or not self.length:
            return b""
        try:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), self.length, access=mmap.ACCESS_READ)
        except OSError as error:
            raise StoreError(f"{self._archive}: the scratch file can't be read: {error}") from error
        return self._map


class _Places:
    """Where records lie in the scratch file."""

    def __init__(self, scratch: _Scratch) -> None:
        self._scratch = scratch
        self._parts: list[_Place] = []

    def add(
        self,
        sequence: Column,
        receive_ns: Column,
        line: Column,
        kind: Column,
        payloads: bytes,
        length: Column,
    ) -> None:
        """Records, their payloads one after the other."""
        at = self._scratch.append(payloads)
        ends = np.cumsum(length)
        offset = at + ends - length
        self._parts.append(
            _Place(
                sequence.astype(np.int64),
                receive_ns.astype(np.int64),
                line.astype(np.uint16),
                kind.astype(np.uint8),
                offset.astype(np.int64),
                length.astype(np.uint32),
            )
        )

    def all(self) -> _Place:
        """All records in the order of the journal."""
        joined = _Place(*(np.concatenate(columns) for columns in zip(*self._parts, strict=True)))
        self._parts = []
        order = np.argsort(joined.sequence, kind="stable")
        return _Place(*(column[order] for column in joined))


def _check_places(records: _Place, entry: ManifestSegment, where: Path) -> None:
    """Say plainly what is missing or there twice; the content hash would only say that something is."""
    name = f"{entry.collector}/{entry.segment}.arrows"
    steps = np.diff(records.sequence)
    if np.any(steps == 0):
        at = int(records.sequence[np.flatnonzero(steps == 0)[0]])
        raise Corrupt(where, f"{name}: record {at} is in the archive twice")
    if len(records.sequence) != entry.records:
        holes = np.flatnonzero(steps > 1)
        after = f", the first behind {int(records.sequence[holes[0]])}" if len(holes) else ""
        raise Corrupt(
            where,
            f"{name}: the archive gives {len(records.sequence)} records, expected {entry.records}{after}",
        )


def _chunks(records: _Place, repeats: dict[int, int], content: mmap.mmap | bytes) -> Iterator[list[Record]]:
    """Records in order, some at a time."""
    offsets, lengths = records.offset, records.length
    for sequence, earlier in sorted(
        repeats.items()
    ):  # the earlier one may be a repeat itself, and is resolved by then
        at, of = np.searchsorted(records.sequence, [sequence, earlier]).tolist()
        if not (earlier < sequence and records.sequence[of] == earlier):
            raise DataError(f"record {sequence} repeats record {earlier}, which is not there")
        offsets[at], lengths[at] = offsets[of], lengths[of]
    start = 0
    ends = np.cumsum(lengths.astype(np.int64))
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + BATCH_BYTES)), start + 1)
        stop = min(stop, start + BATCH_ROWS, len(ends))
        columns = (column[start:stop].tolist() for column in records)
        yield [
            Record(sequence, receive_ns, line, kind, content[offset : offset + length])
            for sequence, receive_ns, line, kind, offset, length in zip(*columns, strict=True)
        ]
        start = stop


def closing_of(record: Record) -> Close | None:
    """The closing note that a record is, or None."""
    if record.kind != RecordKind.NOTE or not record.payload.startswith(b'{"note":"close"'):
        return None
    note = decode_note(record.payload)
    return note if isinstance(note, Close) else None


def _hash(content: ContentHash, chunk: list[Record]) -> None:
    for run in runs(chunk):
        batch = build_batch(run[0].sequence, [record[1:] for record in run])
        note = closing_of(run[0]) if len(run) == 1 else None
        content.update(batch if note is None else without_batches(batch, note))


def runs(chunk: list[Record]) -> Iterator[list[Record]]:
    """Records whose sequences follow; a closing note by itself."""
    run: list[Record] = []
    for record in chunk:
        if run and (record.sequence != run[-1].sequence + 1 or closing_of(record) is not None):
            yield run
            run = []
        run.append(record)
    if run:
        yield run
