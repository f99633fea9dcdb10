"""Following a collector's journal while it is written: commit by commit, over segments, beside everybody else.

The follower only reads, and holds nothing that others wait for. A batch that is not whole yet is not there yet. A
segment that is sealed, recovered, compressed or removed while it is read is read to its end all the same, for the file
that is open stays what it is. What can't be had any more (segments that were removed before they were read, what a
recovery set aside) is told as a `Break`, with its numbers.
"""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self

from recorder.journal.files import SEALED, SegmentFile, journal_directory, segment_path, segments
from recorder.journal.format import SegmentGone, SegmentInfo
from recorder.journal.reader import Batch, SegmentReader
from schemas.errors import Corrupt, StoreError

__all__ = ["Break", "Followed", "JournalFollower", "Position", "newest_segment"]

BreakKind = Literal["removed", "torn", "damaged", "withdrawn"]

_ATTEMPTS: Final = 10
_SETTLED_NS: Final = 1_000_000_000
"""A directory's time of change is coarse: for so long behind it another change may have the same."""


class Position(NamedTuple):
    """How far a journal was read.

    Attributes:
        start_ns: of the segment.
        sequence: of the last record, which may be one less than the segment's first.
    """

    start_ns: int
    sequence: int


class Followed(NamedTuple):
    """One batch of records.

    Attributes:
        info: of its segment.
        batch: the records.
        begins: it is its segment's first.
        known: records at its beginning that the position covers.
    """

    info: SegmentInfo
    batch: Batch
    begins: bool
    known: int


class Break(NamedTuple):
    """Numbers that no record follows under.

    Attributes:
        kind: ``removed``: their segments are gone (pruned, say). ``torn``: a crash tore their records, which may be
            fewer than the numbers, and a recovery set them aside. ``damaged``: their sealed segment can't be read.
            ``withdrawn``: they were read, and are in the journal no longer, since a power cut took them; the records
            that follow may have these numbers again.
        first_sequence, last_sequence: the numbers.
        start_ns: of the segment that was read before, None at the beginning.
        words: what is wrong with a damaged one.
    """

    kind: BreakKind
    first_sequence: int
    last_sequence: int
    start_ns: int | None
    words: str = ""

    @property
    def numbers(self) -> int:
        """How many numbers."""
        return self.last_sequence - self.first_sequence + 1


class JournalFollower:
    """Reads a collector's journal from a position on, and goes on with what comes. A context manager.

    A position's segment is read from its beginning, so that its checkpoints are met; `Followed.known` says what of it
    the position covers.

    Args:
        data: the data directory; neither it nor the collector's part need be there yet.
        collector: its name.
        position: how far it was read; None for the oldest segment that there is.

    Attributes:
        position: of the last record that was returned, or the one given if it is further on.
        damage: what is wrong with the segment before, if that could not be read to its end.

    Raises:
        ConfigError: a collector name that could be none.
    """

    def __init__(self, data: Path, collector: str, position: Position | None = None) -> None:
        self.position = position
        self._data = data
        self._collector = collector
        self._directory = journal_directory(data, collector)
        self._next_start_ns = -1 if position is None else position.start_ns
        self._ready: deque[Followed | Break] = deque()
        self._reader: SegmentReader | None = None
        self._descriptor = -1
        self._begins = False
        self._listed = (0, 0)  # when the directory was changed and looked at, where nothing was found
        self.damage = ""

    def __repr__(self) -> str:
        return f"<JournalFollower {self._collector} {self.position}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Harmless when done twice."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self) -> Followed | Break | None:
        """What comes next; None where nothing is there yet. Never waits for a writer.

        Raises:
            StoreError: the drive failed, or a segment is of a newer format.
        """
        while not self._ready:
            if self._reader is None and not self._open_next():
                return None
            if self._ready or self._reader is None:
                continue
            if not self._read_on(self._reader):
                return None
        return self._ready.popleft()

    def behind_bytes(self) -> int:
        """How many bytes of files have not been read yet."""
        reader = self._reader
        rest = 0 if reader is None or reader.ended else max(self._size() - reader.good_bytes, 0)
        start_ns = self._next_start_ns if reader is None else reader.info.start_ns + 1
        files = segments(self._data, self._collector)
        return rest + sum(
            found.size for found in files if found.state != "torn" and found.start_ns >= start_ns
        )

    # ---- within a segment ----

    def _read_on(self, reader: SegmentReader) -> bool:
        """Take the next batch, or leave the segment; False where neither can be done yet."""
        try:
            batch = reader.read_on(self._size())
            if batch is None and not reader.ended:
                if not self._is_final(reader):
                    return False
                # It was sealed or removed between the two looks, or it ends here.
                batch = reader.read_on(self._size())
                if batch is None and not reader.ended:
                    self._leave(reader, f"{reader.path}: ends at offset {reader.good_bytes} without its end")
                    return True
        except Corrupt as error:
            if not self._is_final(reader):
                return False  # a recovery will set it aside
            self._leave(reader, str(error))
            return True
        if batch is None:
            self._leave(reader, "")
            return True
        self._take(reader, batch)
        return True

    def _size(self) -> int:
        assert self._reader is not None
        return os.fstat(self._descriptor).st_size if self._descriptor >= 0 else self._reader.size_bytes

    def _is_final(self, reader: SegmentReader) -> bool:
        """Whether the file that is open will not grow any more: it has its final name, or none at all."""
        if self._descriptor < 0:
            return True
        found = os.fstat(self._descriptor)
        if found.st_nlink == 0:
            return True
        sealed = segment_path(self._directory, reader.info.start_ns, SEALED)
        try:
            return os.path.samestat(found, sealed.stat())
        except FileNotFoundError:
            return False

    def _take(self, reader: SegmentReader, batch: Batch) -> None:
        first, last = (int(batch.table.column(0)[at].as_py()) for at in (0, -1))
        position, start_ns = self.position, reader.info.start_ns
        covered = first - 1 if position is None or position.start_ns != start_ns else position.sequence
        if reader.closing is not None and first > reader.last_sequence + 1 > covered:
            self._ready.append(Break("torn", reader.last_sequence + 1, first - 1, start_ns))
        known = min(max(covered - first + 1, 0), batch.table.num_rows)
        self._ready.append(Followed(reader.info, batch, self._begins, known))
        self._begins = False
        if last > covered:
            self.position = Position(start_ns, last)

    def _leave(self, reader: SegmentReader, damage: str) -> None:
        """Go on with the next segment."""
        last = reader.closing_sequence if reader.closing is not None else reader.last_sequence
        position, start_ns = self.position, reader.info.start_ns
        if not damage and position is not None and position.start_ns == start_ns and position.sequence > last:
            self._ready.append(Break("withdrawn", last + 1, position.sequence, start_ns))
            self.position = Position(start_ns, last)
        self.damage = damage
        self._next_start_ns = start_ns + 1
        self.close()

    # ---- between segments ----

    def _open_next(self) -> bool:
        """Open the next segment; False where there is none yet."""
        changed_ns = self._changed_ns()
        if changed_ns == self._listed[0] and self._listed[1] - changed_ns > _SETTLED_NS:
            return False
        self._listed = (0, 0)
        for _ in range(_ATTEMPTS):
            now_ns = time.time_ns()
            later = self._later()
            if not later:
                self._listed = (changed_ns, now_ns)
            for found in later:
                try:
                    self._open(found)
                except SegmentGone:
                    break  # sealed, or removed: look again
                except Corrupt as error:
                    # It may be made by a recovery at this moment; it can't once others have come behind it.
                    if found is later[-1]:
                        return False
                    self.damage = str(error)
                    self._next_start_ns = found.start_ns + 1
                    continue
                if self._tell_break(found):
                    return True
                break
            else:
                return False
        return False

    def _changed_ns(self) -> int:
        """When a name in the directory last changed; a long listing is not made anew while none does."""
        try:
            return self._directory.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _later(self) -> list[SegmentFile]:
        found = (each for each in segments(self._data, self._collector) if each.state != "torn")
        return [each for each in found if each.start_ns >= self._next_start_ns]

    def _open(self, found: SegmentFile) -> None:
        if found.state == "open":
            try:
                self._descriptor = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise SegmentGone(f"{found.path}: no such file") from error
            except OSError as error:
                raise StoreError(f"{found.path}: cannot be opened: {error.strerror or error}") from error
        try:
            self._reader = SegmentReader(found.path)
        except BaseException:
            self.close()
            raise
        self._begins = True

    def _tell_break(self, found: SegmentFile) -> bool:
        """Tell what lies between the segment before and this one; False where it isn't the next one after all."""
        reader, before = self._reader, self.position
        assert reader is not None
        if before is None:
            self.position = Position(reader.info.start_ns, reader.first_sequence - 1)
            return True
        if before.start_ns == reader.info.start_ns:
            return True
        expected = before.sequence + 1
        if reader.first_sequence > expected:
            if any(each.start_ns < found.start_ns for each in self._later()):
                self.close()
                return False  # a listing beside a rename can miss a name: there is one in between
            kind: BreakKind = "damaged" if self.damage else "removed"
            words, self.damage = self.damage, ""
            last = reader.first_sequence - 1
            self._ready.append(Break(kind, expected, last, before.start_ns, words))
        elif reader.first_sequence < expected:
            self._ready.append(Break("withdrawn", reader.first_sequence, before.sequence, before.start_ns))
        self.position = Position(reader.info.start_ns, reader.first_sequence - 1)
        return True


def newest_segment(data: Path, collector: str) -> Position | None:
    """Before the first record of a collector's newest segment; None where it has none yet.

    Raises:
        ConfigError, StoreError: as `JournalFollower`.
    """
    for _ in range(_ATTEMPTS):
        files = [found for found in segments(data, collector) if found.state != "torn"]
        for found in reversed(files):
            try:
                with SegmentReader(found.path) as reader:
                    return Position(reader.info.start_ns, reader.first_sequence - 1)
            except SegmentGone:
                break
            except Corrupt:
                continue  # no header yet
        else:
            return None
    return None
