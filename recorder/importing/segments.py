"""Where an import writes: segments are made out of sight and come into the journal sealed, whole or not at all.

What a kill leaves is beside the journal and is deleted by the next import, which makes it again from its file.
"""

from __future__ import annotations

import queue
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.core.feeds import Engine
from recorder.capture import Capture
from recorder.importing.history import History
from recorder.journal import Disk, JournalOptions, JournalWriter, SegmentInfo, journal_directory
from recorder.journal.disk import disk_errors
from schemas.names import Category, Fsync
from schemas.notes import Imported, Note

__all__ = ["ImportJournal"]

_COMMIT_BYTES: Final = 1 << 20
_MOST_BACKLOG_BYTES: Final = 64 << 20


class ImportJournal:
    """A run of records by the clock of what is imported.

    Args:
        data: the data directory; the caller holds the collector's lock.
        info: of the first segment; its start lies behind those of all that exist.
        next_sequence: of the first record.
        history: told of each segment.
        continued: the notes with which a run goes on that an interruption left; None for a new one.

    Attributes:
        now_ns: the clock, moved by the caller.
        segments: how many have come into the journal.
    """

    def __init__(
        self,
        data: Path,
        info: SegmentInfo,
        *,
        next_sequence: int,
        history: History,
        now_ns: int,
        continued: list[Note] | None = None,
    ) -> None:
        self.now_ns = now_ns
        self.segments = 0
        self._home = journal_directory(data, info.collector)
        self._scratch = data / "importing" / info.collector
        self._history = history
        self._notes: list[Imported] = []
        self._sealed: queue.SimpleQueue[Path] = queue.SimpleQueue()
        with disk_errors(self._scratch, "preparing the import", "import again"):
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch.mkdir(parents=True)
        self._journal = JournalWriter(
            journal_directory(self._scratch, info.collector),
            info,
            next_sequence=next_sequence,
            options=JournalOptions(commit_bytes=_COMMIT_BYTES, fsync=Fsync.NEVER),
            on_sealed=self._sealed.put,
        )
        self.capture = Capture(
            Engine(Category(info.category)),
            self._journal,
            run=info.run_start_ns,
            on_event=lambda _: None,
            clock=lambda: self.now_ns,
        )
        if continued is None:
            self.capture.begin([], [])
        else:
            for note in continued:
                self.capture.note(note)
            self.capture.topics = self.capture.engine.topics()
            self.capture.feed_bytes = [0] * len(self.capture.topics)

    @property
    def segment_bytes(self) -> int:
        """Size of the segment that is being made."""
        return self._journal.segment_bytes

    def read(self, note: Imported) -> None:
        """Say where the frames came from that were taken since the last word of it."""
        self.capture.note(note)
        self._notes.append(note)

    def breathe(self) -> None:
        """Wait while the disk is far behind."""
        while self._journal.backlog_bytes > _MOST_BACKLOG_BYTES:
            time.sleep(0.005)

    def rotate(self) -> None:
        """Seal the segment, have it in the journal, and go on with the next."""
        self.capture.rotate()
        self._take_home()

    def finish(self) -> None:
        """End the run: all of it is in the journal."""
        self.capture.finish([0])
        self._journal.close("stopped")
        self._take_home()
        self._forget()

    def abandon(self) -> None:
        """Drop the segment that is being made; those before it stay."""
        self._journal.close("abandoned")
        self._forget()

    def _take_home(self) -> None:
        while True:
            try:
                sealed = self._sealed.get(timeout=0.2)
                break
            except queue.Empty:
                if self._journal.error is not None:
                    raise self._journal.error from None
        target = self._home / sealed.name
        with disk_errors(target, "putting an imported segment into the journal", "import again"):
            self._home.mkdir(parents=True, exist_ok=True)
            sealed.rename(target)
            Disk().sync_directory(self._home)
        self.segments += 1
        self._history.add(int(target.stem), self._notes)
        self._notes = []

    def _forget(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        with suppress(OSError):  # another import is at work
            self._scratch.parent.rmdir()
