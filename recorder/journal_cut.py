"""``tapebook journal cut``: a span of one collector's journal as a file of lines, or as segments that stand alone.

A segment that is cut in its middle can't begin there: books would be missing. So everything before the cut is replayed,
and the new segment begins with the notes with which a recorder begins its next one: checkpoints of what feeds share, of
every feed, of the instruments. They take the numbers right before the first record's, so that every record keeps its
own. One that is cut at its end gets an end of its own, by two numbers more; every other keeps its closing note.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from engine.replay import Replay
from recorder.journal import Disk, SegmentFile, SegmentReader, journal_directory
from recorder.journal.disk import disk_errors
from recorder.journal.files import SEALED, segment_path
from recorder.journal.format import FORMAT_VERSION, BatchEncoder, ClosingNote, SegmentInfo, build_batch
from recorder.journal_cat import Selection, cat, in_span, journal_files, open_segment
from recorder.journal_nothing import nothing_in_span
from recorder.pruned_spans import warn_of_pruned
from schemas.errors import ConfigError
from schemas.names import Category, RecordKind
from schemas.notes import End, encode

__all__ = ["CutSegment", "cut_lines", "cut_segments", "one_collector"]

_OF_THE_FRAME_BEFORE: Final = (b'{"note":"digest"', b'{"note":"widened"')
"""What the engine says about a frame right behind it: no cut goes between them."""
_REASON: Final = "cut"
_MAX_HELD_BYTES: Final = 64 << 20
"""Rows that the replay before a cut may hold before they are dropped."""


class CutSegment(NamedTuple):
    """A segment that was made.

    Attributes:
        path: of its file.
        records: in it, all that was added included.
        checkpoints: notes that were added at its beginning.
    """

    path: Path
    records: int
    checkpoints: int


class _Commit(NamedTuple):
    """Consecutive records of one group commit, or what is left of it."""

    table: pa.RecordBatch
    monotonic_ns: int


def one_collector(data: Path, collector: str | None) -> tuple[str, list[SegmentFile]]:
    """The collector and its files; without a name there must be one only. Raises ConfigError, NoData."""
    files = journal_files(data, collector)
    names = sorted({file.collector for file in files})
    if len(names) > 1:
        raise ConfigError(f"{data} has the collectors {', '.join(names)}: name one with --collector")
    return names[0], files


def cut_lines(
    data: Path, collector: str | None, from_ns: int, to_ns: int, output: Path, *, once: bool = False
) -> int:
    """Write the frames of a span as lines; returns how many.

    Raises:
        ConfigError, NoData: which collector, or nothing of it in the span.
        Corrupt, StoreError, DataError: as ``cat``.
    """
    name, _ = one_collector(data, collector)
    if output.exists():
        raise ConfigError(f"{output}: exists already and is left alone; choose another name")
    count = cat(data, name, Selection(from_ns=from_ns, to_ns=to_ns, once=once), output=output)
    if not count:
        raise nothing_in_span(data, name, from_ns, to_ns)
    return count


def cut_segments(data: Path, collector: str | None, from_ns: int, to_ns: int, into: Path) -> list[CutSegment]:
    """Make a data directory with the records of a span, in segments that stand alone.

    The first record is the first that was received at or after ``from_ns`` (digests and exponents of the frame before
    it left out); the last is the one before the first that was received at or after ``to_ns``. Where the journal itself
    begins so shortly before that there are no numbers for checkpoints, its beginning is taken too.

    Args:
        data: the data directory.
        collector: whose.
        from_ns, to_ns: the span, by receive time, its end not included.
        into: the new directory.

    Raises:
        ConfigError, NoData: which collector, nothing of it in the span, or ``into`` is there already.
        Corrupt, StoreError: a segment can't be read, or the new ones can't be written; nothing is left of them.
    """
    name, files = one_collector(data, collector)
    if into.exists():
        raise ConfigError(f"{into}: exists already and is left alone; choose another directory")
    target = into.resolve()
    for part in ("journal", "archive"):
        if target.is_relative_to((data / part).resolve()):
            raise ConfigError(
                f"{into} lies in {data / part}, which holds the recording; choose another directory"
            )
    temporary = target.with_name(target.name + ".tmp")
    with disk_errors(temporary, "making the new data directory", "cut again"):
        shutil.rmtree(temporary, ignore_errors=True)
        directory = journal_directory(temporary, name)
        directory.mkdir(parents=True)
        try:
            made = _cut_all(in_span(files, from_ns, to_ns), from_ns, to_ns, directory)
            if not made:
                raise nothing_in_span(data, name, from_ns, to_ns)
            warn_of_pruned(data, name, from_ns, to_ns)
            Disk().sync_directory(directory)
            temporary.rename(target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    home = journal_directory(into, name)
    return [each._replace(path=home / each.path.name) for each in made]


def _cut_all(files: list[SegmentFile], from_ns: int, to_ns: int, directory: Path) -> list[CutSegment]:
    made: list[CutSegment] = []
    for number, file in enumerate(files):
        after = files[number + 1].start_ns if number + 1 < len(files) else None
        with open_segment(file) as reader:
            cutting = _Cutting(reader, directory, from_ns, to_ns, begun=bool(made), before_ns=after)
            segment = cutting.run()
        if segment is not None:
            made.append(segment)
        if cutting.over:
            break
    return made


class _Cutting:
    """What becomes of one segment.

    Args:
        reader: of the segment.
        directory: where the new one goes.
        from_ns, to_ns: the span.
        begun: an earlier segment had records of the span: this one is taken from its beginning.
        before_ns: start of the next segment, which the new one's must not reach.

    Attributes:
        over: the span's end was found.
    """

    def __init__(
        self,
        reader: SegmentReader,
        directory: Path,
        from_ns: int,
        to_ns: int,
        *,
        begun: bool,
        before_ns: int | None,
    ) -> None:
        self._reader = reader
        self._directory = directory
        self._from_ns = from_ns
        self._to_ns = to_ns
        self._begun = begun
        self._before_ns = before_ns
        self._replay = Replay(reader.info.collector, Category(reader.info.category), reader.info.start_ns)
        self._writer: _Writer | None = None
        self.over = False

    def run(self) -> CutSegment | None:
        for commit in self._commits():
            if self._writer is None and not self._begin(commit):
                continue
            assert self._writer is not None
            rest = self._after_beginning(commit)
            end = self._end_in(rest)
            self._writer.append(rest if end is None else _sliced(rest, 0, end))
            if end is not None:
                self.over = True
                break
        writer = self._writer
        if writer is None:
            return None
        if writer.is_bare:
            writer.discard()  # the span ended before the first record behind its beginning
            return None
        closing = self._reader.closing
        return (
            writer.cut()
            if self.over or closing is None
            else writer.close(closing, self._reader.closing_sequence)
        )

    def _commits(self) -> Iterator[_Commit]:
        """The segment's group commits, without the closing note."""
        for batch in self._reader:
            if self._reader.closing is not None:
                return
            at = 0
            for rows, stamp in zip(batch.commits.rows, batch.commits.monotonic_ns, strict=True):
                yield _Commit(batch.table.slice(at, rows), stamp)
                at += rows

    def _begin(self, commit: _Commit) -> bool:
        """Look for the beginning in a commit, and replay what is before it."""
        first = 0
        if not self._begun:
            received = commit.table.column(1).to_numpy()
            found = np.flatnonzero(received >= self._from_ns)
            first = int(found[0]) if len(found) else commit.table.num_rows
            while first < commit.table.num_rows and _belongs_to_frame_before(commit.table, first):
                first += 1
        if first == commit.table.num_rows:
            self._take(commit.table)
            return False
        self._take(commit.table.slice(0, first))
        sequence = commit.table.column(0)[first].as_py()
        if sequence == self._reader.first_sequence:
            self._writer = _Writer(self._directory, self._reader.info, sequence)
            self._skip = 0
            return True
        return self._begin_with_checkpoints(commit, first, sequence)

    def _take(self, table: pa.RecordBatch) -> None:
        if (
            self._replay.row_bytes > _MAX_HELD_BYTES
            and table.num_rows
            and table.column(3)[0].as_py() == RecordKind.FRAME  # no note about the last row can follow
        ):
            self._replay.take_rows()
        self._replay.batch(table)

    def _begin_with_checkpoints(self, commit: _Commit, first: int, sequence: int) -> bool:
        info = self._reader.info
        received = commit.table.column(1)[first].as_py()
        notes = [encode(note) for note in self._replay.checkpoints(info.run_start_ns)]
        if sequence - len(notes) < 0:
            self._from_beginning(sequence)
            self._skip = first
            return True
        # Behind the segment it is cut from and before the next one, whatever the clock did.
        last = self._before_ns - 1 if self._before_ns is not None else received
        start_ns = min(max(received, info.start_ns + 1), max(last, info.start_ns + 1))
        self._writer = _Writer(
            self._directory, msgspec.structs.replace(info, start_ns=start_ns), sequence - len(notes)
        )
        records = [(received, 0, int(RecordKind.NOTE), note) for note in notes]
        self._writer.append(_Commit(build_batch(sequence - len(notes), records), commit.monotonic_ns))
        self._writer.checkpoints = len(notes)
        self._skip = first
        return True

    def _from_beginning(self, before: int) -> None:
        """Copy everything of the segment before a sequence."""
        writer = self._writer = _Writer(self._directory, self._reader.info, self._reader.first_sequence)
        with SegmentReader(self._reader.path, lenient=True) as again:
            for batch in again:
                at = 0
                for rows, stamp in zip(batch.commits.rows, batch.commits.monotonic_ns, strict=True):
                    left = before - batch.table.column(0)[at].as_py()
                    if left <= 0:
                        return
                    writer.append(_Commit(batch.table.slice(at, min(rows, left)), stamp))
                    at += rows

    def _after_beginning(self, commit: _Commit) -> _Commit:
        skip, self._skip = self._skip, 0
        return _sliced(commit, skip, commit.table.num_rows)

    def _end_in(self, commit: _Commit) -> int | None:
        """Where the span ends in a commit; None where it goes on."""
        found = np.flatnonzero(commit.table.column(1).to_numpy() >= self._to_ns)
        if not len(found):
            return None
        end = int(found[0])
        while end < commit.table.num_rows and _belongs_to_frame_before(commit.table, end):
            end += 1  # it says something of the last frame that is taken
        return end if end < commit.table.num_rows else None


def _belongs_to_frame_before(table: pa.RecordBatch, row: int) -> bool:
    if table.column(3)[row].as_py() != RecordKind.NOTE:
        return False
    payload: bytes = table.column(4)[row].as_py()
    return payload.startswith(_OF_THE_FRAME_BEFORE)


def _sliced(commit: _Commit, start: int, end: int) -> _Commit:
    return _Commit(commit.table.slice(start, end - start), commit.monotonic_ns)


class _Writer:
    """A new segment: written beside its final name, synced, renamed by ``close``.

    Attributes:
        checkpoints: notes that were added at its beginning.
    """

    def __init__(self, directory: Path, info: SegmentInfo, first_sequence: int) -> None:
        self._path = segment_path(directory, info.start_ns, SEALED)
        self._new = self._path.with_name(self._path.name + ".tmp")
        self._info = msgspec.structs.replace(info, format_version=FORMAT_VERSION)
        self._encoder = BatchEncoder(self._info, first_sequence)
        self._file = self._new.open("wb")
        self._file.write(self._encoder.header)
        self._batches = self._rows = 0
        self._last = first_sequence - 1
        self._last_receive_ns, self._last_monotonic_ns = info.start_ns, 0
        self.checkpoints = 0

    def append(self, commit: _Commit) -> None:
        rows = commit.table.num_rows
        if not rows:
            return
        self._file.write(self._encoder.encode(self._batches, commit.monotonic_ns, commit.table))
        self._batches, self._rows = self._batches + 1, self._rows + rows
        self._last = commit.table.column(0)[-1].as_py()
        self._last_receive_ns = commit.table.column(1)[-1].as_py()
        self._last_monotonic_ns = commit.monotonic_ns

    @property
    def is_bare(self) -> bool:
        """Whether there is nothing but what was added."""
        return self._rows == self.checkpoints

    def cut(self) -> CutSegment:
        """End where the journal went on, or still goes on."""
        end = (self._last_receive_ns, 0, int(RecordKind.NOTE), encode(End(reason=_REASON)))
        self.append(_Commit(build_batch(self._last + 1, [end]), self._last_monotonic_ns))
        return self.close(ClosingNote(_REASON, 0, 0, 0), self._last + 1)

    def close(self, note: ClosingNote, sequence: int) -> CutSegment:
        """End as the segment itself did, with its note and that note's sequence."""
        note = msgspec.structs.replace(
            note.as_content(), batches=self._batches, rows=self._rows, last_sequence=self._last
        )
        self._file.write(
            self._encoder.encode_closing(
                note,
                sequence=sequence,
                receive_ns=self._last_receive_ns,
                monotonic_ns=self._last_monotonic_ns,
            )
        )
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._new.rename(self._path)
        return CutSegment(self._path, self._rows + 1, self.checkpoints)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._new.unlink()
