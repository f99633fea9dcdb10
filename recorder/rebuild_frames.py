"""Frames out of the archive's rows: each under the wire form that was in force, or as it was kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.core.wire import Renderer
from engine.event_wire import EVENT_KEYS, event_topic, render_event
from engine.stored_rows import restore
from engine.wire_columns import wire_columns
from recorder.file_places import FilePlace, parquet_source, sha256_of
from recorder.manifest import Manifest
from recorder.record_scratch import Column, Places
from schemas.errors import Corrupt, DataError, StoreError
from schemas.manifest import ManifestFile, ManifestSegment
from schemas.names import Category, RecordKind, Table
from schemas.raw_tables import FORM, OPEN, REPEAT
from schemas.tables import book_topic
from schemas.wire import WireForm, WireKind, decode_form

__all__ = [
    "WRITTEN",
    "Raw",
    "Unprovable",
    "check_bytes",
    "files_of",
    "read_raw",
    "write_frames",
]

WRITTEN: Final[dict[Table, WireKind]] = {
    Table.BOOK_UPDATES: "book",
    Table.RPI_BOOK_UPDATES: "rpi",
    Table.TRADES: "trades",
    Table.TICKERS: "ticker",
}
"""Tables from whose rows frames are written."""
PIECE_ROWS: Final = 8192


class Unprovable(StoreError):
    """The archive does not say enough about a segment to make it again."""


class Raw(NamedTuple):
    """What ``raw_records`` says of a segment."""

    sequences: Column  # of records that are there as they are, sorted
    repeats: dict[int, int]
    opens: dict[int, bytes]  # digits that forms leave open
    forms: dict[str, list[tuple[int, WireForm]]]  # by topic, each with the sequence from which on it holds
    verbatim: int


def files_of(manifest: Manifest, entry: ManifestSegment, *tables: Table) -> Iterator[ManifestFile]:
    """Yield the files of some tables that have rows of a segment's own sequences."""
    low, high = entry.sequence
    for table in tables:
        for file in manifest.select(table, category=entry.category, collector=entry.collector):
            last = file.segment if file.last_segment is None else file.last_segment
            if not file.segment <= entry.segment <= last:  # keyframes bear sequences of the segment before
                continue
            if file.sequence is not None and file.sequence[0] <= high and file.sequence[1] >= low:
                yield file


def check_bytes(manifest: Manifest, file: ManifestFile, whole: set[str]) -> None:
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
            for batch in parquet.iter_batches(PIECE_ROWS, row_groups=groups, use_threads=False):
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


def read_raw(manifest: Manifest, entry: ManifestSegment, places: Places, whole: set[str]) -> Raw:
    """Read the segment's ``raw_records``: what was kept as it came goes to its place at once.

    Raises:
        Unprovable: there are none.
        Corrupt: a file is not what the manifest speaks of, or says what can't be read.
    """
    sequences: list[Column] = []
    repeats: dict[int, int] = {}
    opens: dict[int, bytes] = {}
    forms: dict[str, list[tuple[int, WireForm]]] = {}
    verbatim = 0
    for file in files_of(manifest, entry, Table.RAW_RECORDS):
        path = manifest.place(file.path)
        check_bytes(manifest, file, whole)
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
    return Raw(np.unique(np.concatenate(sequences)), repeats, opens, forms, verbatim)


def write_frames(
    path: FilePlace, file: ManifestFile, entry: ManifestSegment, raw: Raw, places: Places
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
    raw: Raw,
    places: Places,
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
    path: FilePlace, table: Table, symbol: str, rows: pa.Table, raw: Raw, places: Places
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
    places: Places,
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
    renderer: Renderer, kind: WireKind, rows: pa.Table, opens: dict[int, bytes], places: Places
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
