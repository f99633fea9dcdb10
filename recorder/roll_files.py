"""All files that a segment becomes, written by one thread or by several; the bytes are the same.

Each file is one thread's at a time, and gets its rows in their order. While threads write what was handed over last,
the replay goes on; before it hands over more, they are waited for, so that no more than that is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from engine.replay import Key
from recorder import parquet_files
from recorder.arrow_memory import give_back
from recorder.journal import SegmentInfo
from recorder.parquet_files import ArchiveFile, Held
from schemas.manifest import ManifestFile
from schemas.names import Table

__all__ = ["RollFiles"]

MANY_FILES = 100
"""From so many files on rows are set aside as they come, and the memory that they were in is given back at once."""


class RollFiles:
    """The files of one segment that is being rolled. A context manager: left with an exception, nothing stays behind.

    Args:
        archive: root of the archive.
        info: whose segment it is.
        jobs: threads that write; 1 starts none, and the caller writes itself.

    Attributes:
        held: the rows that wait in memory, and those set aside.
    """

    def __init__(self, archive: Path, info: SegmentInfo, jobs: int = 1) -> None:
        # threads may add a whole hand-over before anybody looks again
        self.held = Held(archive, parquet_files.MAX_WAITING_BYTES // 2 if jobs > 1 else None)
        self._archive = archive
        self._info = info
        self._files: dict[Key, ArchiveFile] = {}
        self._threads = ThreadPoolExecutor(jobs, "roll") if jobs > 1 else None
        self._running: list[Future[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        if kind is not None:
            for file in self._files.values():
                file.discard()
        self.held.close()

    def take(self, rows: dict[Key, pa.Table]) -> None:
        """Hand rows to their files; they are the files' from here on.

        Raises:
            StoreError: the disk failed, now or with the rows before.
        """
        self._wait()
        self.held.relieve()
        for key in list(rows):
            # whoever writes them is the only one that has them
            table = rows.pop(key)
            file = self._files.get(key)
            if file is None:
                info = self._info
                file = self._files[key] = ArchiveFile(
                    self._archive, key, info.category, info.collector, info.start_ns, self.held
                )
                self.held.is_crowded = len(self._files) > MANY_FILES
            self._run(file.append, table)
        if self._threads is None:
            self.held.relieve()
        if self.held.is_crowded:
            give_back()

    def finish(self) -> list[ManifestFile]:
        """Give every file its final name; returns what the manifest says of them. Raises StoreError."""
        self._wait()
        gaps: dict[str, int] = {}
        for (table, symbol, _), file in self._files.items():
            if table is Table.GAPS:
                gaps[symbol] = gaps.get(symbol, 0) + file.rows
        ordered = [(self._files[key], gaps.get(key[1], 0)) for key in sorted(self._files)]
        if self._threads is None:
            return [file.finish(count) for file, count in ordered]
        self._running = [self._threads.submit(file.finish, count) for file, count in ordered]
        return [entry for entry in self._wait() if isinstance(entry, ManifestFile)]

    def directories(self) -> list[Path]:
        """The files' directories and those above them, which may be new: each once, the deepest first."""
        return _directories(self._archive, (file.path for file in self._files.values()))

    def _run(self, work: Callable[[pa.Table], None], rows: pa.Table) -> None:
        if self._threads is None:
            work(rows)
        else:
            self._running.append(self._threads.submit(work, rows))

    def _wait(self) -> list[Any]:
        """Results of what is running, in the order in which it was begun; the first failure is raised."""
        running, self._running = self._running, []
        return [future.result() for future in running]


def _directories(archive: Path, paths: Iterable[Path]) -> list[Path]:
    found: set[Path] = {archive}
    for path in paths:
        directory = path.parent
        while directory not in found:
            found.add(directory)
            directory = directory.parent
    return sorted(found, key=lambda directory: (-len(directory.parts), directory))
