"""The writer: records from the event loop, group commits to the disk, in a thread of its own.

The event loop appends and hands over; it never waits for the disk. One daemon thread encodes, writes, syncs,
seals. Between them is a queue that the caller bounds by looking at ``backlog_bytes``, with a hard limit
behind it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from engine.core.delays import Delays
from recorder.journal.disk import Disk, disk_errors
from recorder.journal.files import NEW, check_collector, segments
from recorder.journal.format import MAX_RECORD_BYTES, ROW_BYTES, Pending, SegmentInfo
from recorder.journal.segment import HASHED_BYTES, OpenSegment
from schemas.errors import ConfigError, StoreError
from schemas.names import Fsync

__all__ = ["Commit", "JournalOptions", "JournalWriter"]

_MAX_COMMIT_BYTES: Final = 64 << 20
_BATCH_BYTES: Final = 528
"""What a batch takes beside its rows: prefix, metadata, the last offset and padding (measured)."""
_NEVER: Final = -1
"""A commit threshold that every append reaches: so a failed or closed writer costs `append` no test."""


class JournalOptions(msgspec.Struct, frozen=True):
    """How the journal groups, syncs and cuts. Times in seconds, sizes in bytes, all above zero.

    Attributes:
        commit_interval_s: how often the event loop should call `flush`; what a kill can lose.
        commit_bytes: pending bytes at which `append` flushes by itself.
        fsync: when what is written is put on the disk. In any case a segment is when it is sealed.
        fsync_interval_s: least time between two fsyncs by ``interval``; what a power cut can lose.
        segment_seconds, segment_bytes: when the collector should rotate.
        backlog_limit_bytes: unwritten bytes at which the writer gives up; the collector pauses reading long
            before.
    """

    commit_interval_s: float = 0.010
    commit_bytes: int = 256 << 10
    fsync: Fsync = Fsync.INTERVAL
    fsync_interval_s: float = 1.0
    segment_seconds: float = 900
    segment_bytes: int = 512 << 20
    backlog_limit_bytes: int = 1 << 30


class Commit(NamedTuple):
    """A group commit that returned: a kill of the process no longer loses it, and once synced no power cut
    does.

    Attributes:
        segment: the file, by its name at that moment.
        batch: number of the batch.
        rows: records in it.
        last_sequence: everything up to here is written (or, if ``synced``, on the disk).
        offset_bytes: length of the file with it.
        synced: False when the write returned, True after an fsync (then ``batch`` is the last one it covers).
    """

    segment: Path
    batch: int
    rows: int
    last_sequence: int
    offset_bytes: int
    synced: bool


class _Batch(NamedTuple):
    first_sequence: int
    monotonic_ns: int
    records: list[Pending]
    size_bytes: int


class _Seal(NamedTuple):
    reason: str
    sequence: int
    successor: SegmentInfo | None


class JournalWriter:
    """Appends records to a collector's journal.

    All methods are for one thread, the event loop's; the callbacks run in the writer's own. The caller holds
    the `CollectorLock`, has recovered what a crash left, and got ``next_sequence`` from `next_sequence`.

    Args:
        directory: ``DATA/journal/<collector>`` (see `journal_directory`); created when missing.
        info: of the first segment. Its ``start_ns`` is moved up behind the newest segment that exists, so
            that the order of names is the order of sequences even when the wall clock was set back.
        next_sequence: of the first record.
        options: see `JournalOptions`.
        on_commit: told each group commit when its write returned, and again at each fsync (see `Commit`).
        on_sealed: told the final path of each sealed segment.
        clock: monotonic, in ns.
        delays: counts from each record's receive stamp to the return of its write, by the wall clock.
        disk: the system calls; tests give one that fails.

    Attributes:
        error: what stopped the writer, or None.
        segment_start_ns: of the segment that takes the next record.
        segment_age_s: how long it has been taking records, by the monotonic clock.

    Raises:
        ConfigError: a directory that is not the collector's, or an option out of range.
        StoreError: the first segment cannot be created.
    """

    def __init__(
        self,
        directory: Path,
        info: SegmentInfo,
        *,
        next_sequence: int,
        options: JournalOptions = JournalOptions(),  # noqa: B008 (frozen)
        on_commit: Callable[[Commit], None] | None = None,
        on_sealed: Callable[[Path], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        delays: Delays | None = None,
        disk: Disk = Disk(),  # noqa: B008 (has no state)
    ) -> None:
        _check(directory, info, options)
        self.error: StoreError | None = None
        self._directory = directory
        self._options = options
        self._on_commit = on_commit
        self._on_sealed = on_sealed
        self._clock = clock
        self._delays = delays
        self._disk = disk
        self._next_sequence = next_sequence
        self._closed = False
        # Written by the event loop, read by both; the thread's own counter is _written_bytes.
        self._threshold_bytes = options.commit_bytes
        self._accepted_bytes = 0
        self._written_bytes = 0
        self._segment_bytes = 0
        self._pending: list[Pending] = []
        self._push = self._pending.append
        self._pending_bytes = 0
        self._queue: queue.SimpleQueue[_Batch | _Seal] = queue.SimpleQueue()

        with disk_errors(directory, "preparing the collector's directory", "start again"):
            directory.mkdir(parents=True, exist_ok=True)
            for leaving in directory.glob(f"*{NEW}"):
                leaving.unlink()  # the trace of a kill at creation: a header, never a record
            newest = max(
                (found.start_ns for found in segments(directory.parent.parent, info.collector)), default=-1
            )
        self._info = msgspec.structs.replace(info, start_ns=max(info.start_ns, newest + 1))
        self._segment = OpenSegment(directory, self._info, next_sequence, disk)
        self._began_ns = clock()
        # The thread's: whether bytes wait for an fsync, and when the last one was.
        self._dirty: Commit | None = None
        self._synced_ns = clock()
        self._thread = threading.Thread(target=self._run, name=f"journal-{info.collector}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        state = "failed" if self.error else "closed" if self._closed else "open"
        return (
            f"<JournalWriter {self._info.collector} {state} segment={self._info.start_ns} "
            f"next_sequence={self._next_sequence} backlog_bytes={self.backlog_bytes}>"
        )

    @property
    def segment_start_ns(self) -> int:
        """Start of the segment that takes the next record."""
        return self._info.start_ns

    @property
    def segment_age_s(self) -> float:
        """How long that segment has been taking records. Its name may be ahead of a wall clock that was set back."""
        return (self._clock() - self._began_ns) / 1e9

    @property
    def segment_bytes(self) -> int:
        """Bytes accepted for that segment, to within a few percent of its file's length once written."""
        return self._segment_bytes + self._pending_bytes

    @property
    def accepted_bytes(self) -> int:
        """Bytes taken in by this writer, of all its segments."""
        return self._accepted_bytes + self._pending_bytes

    @property
    def backlog_bytes(self) -> int:
        """Bytes appended and not yet written; 0 once the writer failed, for then nothing waits any more."""
        if self.error is not None:
            return 0
        return self._accepted_bytes + self._pending_bytes - self._written_bytes

    def append(self, receive_ns: int, line: int, kind: int, payload: bytes) -> int:
        """Take a record and return its sequence. Constant time, no system call, never waits.

        Hands over what is pending once it reaches ``commit_bytes``. A note (kind 3) named ``close`` is the
        writer's own and must not be appended.

        Raises:
            StoreError: the writer failed (its first error, each time), is closed, or the payload exceeds
                ``MAX_RECORD_BYTES`` (then nothing was taken and the writer goes on).
        """
        pending_bytes = self._pending_bytes + len(payload) + ROW_BYTES
        if pending_bytes >= self._threshold_bytes:
            return self._append_and_flush(receive_ns, line, kind, payload)
        self._push((receive_ns, line, kind, payload))
        self._pending_bytes = pending_bytes
        sequence = self._next_sequence
        self._next_sequence = sequence + 1
        return sequence

    def flush(self) -> None:
        """Hand what is pending to the writer's thread as one group commit; nothing pending, nothing done.

        Raises:
            StoreError: the writer failed or is closed, or the backlog passed its hard limit.
        """
        self._check_usable()
        if not self._pending:
            return
        backlog_bytes = self.backlog_bytes
        if backlog_bytes > self._options.backlog_limit_bytes:
            self._stop(
                StoreError(
                    f"{self._directory}: {backlog_bytes} bytes wait to be written, the limit is "
                    f"{self._options.backlog_limit_bytes}; the disk is slower than the exchange: "
                    "use a faster one, or record fewer topics"
                )
            )
            # Wakes the thread, which sees the error first.
            self._queue.put(_Seal("stopped", self._next_sequence, None))
            self._check_usable()
        records, size_bytes = self._pending, self._pending_bytes
        self._pending = []
        self._push = self._pending.append
        self._pending_bytes = 0
        self._accepted_bytes += size_bytes
        self._segment_bytes += size_bytes + _BATCH_BYTES
        self._queue.put(_Batch(self._next_sequence - len(records), self._clock(), records, size_bytes))

    def commit_due(self) -> None:
        """What the event loop's timer calls every ``commit_interval_s``: the same as `flush`."""
        self.flush()

    def rotate(self, start_ns: int, first_payloads: Sequence[Pending]) -> None:
        """Seal the current segment (reason ``rotated``) and begin another; never waits.

        Args:
            start_ns: of the new segment; moved up behind the current one's where the clock was set back.
            first_payloads: its first records, as (receive_ns, line, kind, payload).

        Raises:
            StoreError: as `append` and `flush`.
        """
        self.flush()
        self._info = msgspec.structs.replace(self._info, start_ns=max(start_ns, self._info.start_ns + 1))
        self._seal("rotated", self._info)
        self._segment_bytes = 0
        self._began_ns = self._clock()
        for receive_ns, line, kind, payload in first_payloads:
            self.append(receive_ns, line, kind, payload)

    def close(self, reason: str = "stopped") -> None:
        """Write everything, seal the segment and end the thread. Closing again does nothing.

        Raises:
            StoreError: the writer failed, now or before; nothing sealed is harmed, and the open segment is
                readable up to its last commit.
        """
        if self.error is None and not self._closed:
            self.flush()
            self._seal(reason, None)
            self._closed = True
            self._threshold_bytes = _NEVER
        self._thread.join()
        if self.error is not None:
            raise self.error.with_traceback(None)

    def _seal(self, reason: str, successor: SegmentInfo | None) -> None:
        sequence = self._next_sequence
        self._next_sequence = sequence + 1
        self._queue.put(_Seal(reason, sequence, successor))

    def _append_and_flush(self, receive_ns: int, line: int, kind: int, payload: bytes) -> int:
        self._check_usable()
        if len(payload) > MAX_RECORD_BYTES:
            raise StoreError(
                f"{self._directory}: a payload of {len(payload)} bytes, expected at most {MAX_RECORD_BYTES}"
            )
        self._push((receive_ns, line, kind, payload))
        self._pending_bytes += len(payload) + ROW_BYTES
        sequence = self._next_sequence
        self._next_sequence = sequence + 1
        self.flush()
        return sequence

    def _check_usable(self) -> None:
        if self.error is not None:
            raise self.error.with_traceback(None)
        if self._closed:
            raise StoreError(f"{self._directory}: this journal writer is closed; make another to go on")

    def _stop(self, error: StoreError) -> None:
        self.error = error
        self._threshold_bytes = _NEVER

    # The writer's thread from here on.

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except StoreError as error:
            self._stop(error)
        except BaseException as error:
            # A callback's error, or a number that does not fit its column: recording on would lose it
            # silently.
            failure = StoreError(f"{self._segment.path}: the journal writer stopped on {error!r}")
            failure.__cause__ = error
            self._stop(failure)
        finally:
            self._segment.close()
            while not self._queue.empty():
                self._queue.get()

    def _step(self) -> bool:
        """Do one thing that is due; False once the last segment is sealed."""
        try:
            task = self._queue.get(timeout=self._until_sync_s())
        except queue.Empty:
            self._sync()
            return True
        if self.error is not None:
            return False
        if isinstance(task, _Batch):
            self._segment.append(task.first_sequence, task.monotonic_ns, task.records)
            self._written_bytes += task.size_bytes
            if self._delays is not None:
                self._delays.add_since(task.records, time.time_ns())
            self._dirty = self._report(len(task.records), synced=False)
            self._segment.hash(HASHED_BYTES)
            if self._until_sync_s() == 0:
                self._sync()
            return True
        self._segment.seal(task.reason, task.sequence)
        self._dirty = None
        self._synced_ns = self._clock()
        self._report(1, synced=True)
        if self._on_sealed is not None:
            self._on_sealed(self._segment.path)
        if task.successor is None:
            return False
        self._segment = OpenSegment(self._directory, task.successor, task.sequence + 1, self._disk)
        return True

    def _until_sync_s(self) -> float | None:
        if self._dirty is None or self._options.fsync is Fsync.NEVER:
            return None
        if self._options.fsync is Fsync.COMMIT and self._queue.empty():
            return 0  # commits that wait share one
        due_ns = self._synced_ns + round(self._options.fsync_interval_s * 1e9)
        return max(0, due_ns - self._clock()) / 1e9

    def _sync(self) -> None:
        written, self._dirty = self._dirty, None
        if written is None:
            return
        self._segment.sync()
        self._synced_ns = self._clock()
        if self._on_commit is not None:
            self._on_commit(written._replace(synced=True))

    def _report(self, rows: int, *, synced: bool) -> Commit:
        segment = self._segment
        commit = Commit(
            segment.path, segment.batches - 1, rows, segment.last_sequence, segment.offset_bytes, synced
        )
        if self._on_commit is not None:
            self._on_commit(commit)
        return commit


def _check(directory: Path, info: SegmentInfo, options: JournalOptions) -> None:
    check_collector(info.collector)
    if directory.name != info.collector or directory.parent.name != "journal":
        raise ConfigError(f"{directory}: expected the collector's directory, DATA/journal/{info.collector}")
    for name in options.__struct_fields__:
        if name != "fsync" and getattr(options, name) <= 0:
            raise ConfigError(f"journal option {name} = {getattr(options, name)}: expected more than 0")
    if options.commit_bytes > _MAX_COMMIT_BYTES:
        raise ConfigError(
            f"journal option commit_bytes = {options.commit_bytes}: expected at most {_MAX_COMMIT_BYTES}"
        )
