"""The archive's table of contents: reading, indexing and appending ``archive/manifest/<collector>.jsonl``.

Readers go by these lines and never by what happens to lie in a directory (design section 6). A ``file``
line counts once a later ``segment`` line of the same collector and segment commits it, that of a merged file
once a ``compaction`` line does, which takes the files that it replaces back. A last line without its newline
is the trace of a crash and counts as absent.
"""

from __future__ import annotations

import gc
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.chain import chained
from recorder.manifest_lines import FileLine, Wanted, no_files, read_lines, same_directory
from recorder.manifest_state import Day, ManifestState, day_of
from recorder.stored_only import StoredOnly
from recorder.whole_files import append_lines, sync_directories
from schemas.errors import StoreError
from schemas.manifest import (
    Entry,
    FileRun,
    ManifestCompaction,
    ManifestFile,
    ManifestPruned,
    ManifestSegment,
    encode_lines,
)
from schemas.names import Table

if TYPE_CHECKING:
    from recorder.object_store import StoredFile

__all__ = [
    "Manifest",
    "append_manifest",
    "before_path",
    "manifest_around",
    "manifest_of",
    "manifest_path",
    "parse_manifest",
    "read_manifest",
    "read_manifest_file",
    "read_segments",
    "rolled_files",
]


class Manifest:
    """One consistent reading of an archive's manifest; it does not follow later appends.

    Attributes:
        archive: the directory that file paths are relative to.
        files: the files that count, in order of collector and of commit.
        segments: the committed segments by (collector, start_ns).
        pruned: those whose journal file was deleted after proof.
        listed: how many files each segment's commit listed, replaced since or not.
        replaced: paths that compactions took back, and when; deleted a while later.
        compactions: their lines, each with the number of merged files that were listed for it.
        links: the segment lines of each collector's chain, in its order: that of the lines, those included that a
            later roll of the same segment replaced.
    """

    __slots__ = (
        "_by_day",
        "_by_table",
        "_starts",
        "_stored",
        "archive",
        "compactions",
        "files",
        "links",
        "listed",
        "pruned",
        "replaced",
        "segments",
    )

    def __init__(
        self,
        archive: Path,
        files: list[ManifestFile],
        segments: dict[tuple[str, int], ManifestSegment],
        *,
        pruned: dict[tuple[str, int], ManifestPruned] | None = None,
        listed: dict[tuple[str, int], int] | None = None,
        replaced: dict[str, int] | None = None,
        links: dict[str, list[ManifestSegment]] | None = None,
    ) -> None:
        self.archive = archive
        self.files = files
        self.segments = segments
        self.pruned = {} if pruned is None else pruned
        self.listed = {} if listed is None else listed
        self.replaced = {} if replaced is None else replaced
        self.links = {} if links is None else links
        self.compactions: list[tuple[ManifestCompaction, int]] = []
        self._by_table: dict[str, dict[tuple[str, str], list[ManifestFile]]] = {}
        self._by_day: dict[Day, list[ManifestFile]] | None = None
        self._starts: dict[str, list[int]] | None = None
        self._stored = StoredOnly(archive)
        for file in files:
            by_symbol = self._by_table.setdefault(file.table, {})
            by_symbol.setdefault((file.category, file.symbol), []).append(file)

    def __repr__(self) -> str:
        return f"<Manifest {self.archive} files={len(self.files)} segments={len(self.segments)}>"

    def select(
        self,
        table: Table,
        *,
        category: str | None = None,
        symbol: str | None = None,
        dates: tuple[str, str] | None = None,
        collector: str | None = None,
        receive_ns: tuple[int, int] | None = None,
    ) -> list[ManifestFile]:
        """Return the table's files that fit, in order of commit.

        Args:
            table: the table.
            category, symbol, collector: exact values; None for any.
            dates: first and last date, both included (``YYYY-MM-DD``).
            receive_ns: a span, both ends included; files whose rows all lie outside of it are left out.
        """
        by_symbol = self._by_table.get(table.value, {})
        if category is not None and symbol is not None:
            found: list[ManifestFile] = by_symbol.get((category, symbol), [])
        else:
            found = [
                file
                for (its_category, its_symbol), files in by_symbol.items()
                if category in (None, its_category) and symbol in (None, its_symbol)
                for file in files
            ]
        if dates is not None:
            found = [file for file in found if dates[0] <= file.date <= dates[1]]
        if collector is not None:
            found = [file for file in found if file.collector == collector]
        if receive_ns is not None:
            low, high = receive_ns
            found = [
                file
                for file in found
                if file.receive_ns is None or (file.receive_ns[0] <= high and file.receive_ns[1] >= low)
            ]
        return list(found)

    def symbols(self, table: Table) -> list[tuple[str, str]]:
        """Return the (category, symbol) pairs that have files of the table, sorted."""
        return sorted(self._by_table.get(table.value, {}))

    def topics(self, category: str, symbol: str) -> list[str]:
        """Return the topics that the symbol's book files name, sorted."""
        return sorted(
            topic
            for table in (Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES)
            for topic in {
                topic
                for file in self._by_table.get(table.value, {}).get((category, symbol), [])
                for topic in file.feeds
            }
        )

    def place(self, path: str) -> Path | StoredFile:
        """Return where a file is to be read: here, or in the object store that alone has it (docs/places.md).

        Raises:
            Corrupt, StoreError: the list of what is only there can't be read.
        """
        return self._stored.place(path)

    def stored_url(self, path: str) -> str | None:
        """Return the object store that alone has a file; None: it is here, or missing. Raises as ``place``."""
        return self._stored.url_of(path)

    def is_missing(self, path: str) -> bool:
        """Whether a file is neither here nor known to be in an object store; raises as ``place``."""
        return not (self.archive / path).exists() and self._stored.url_of(path) is None

    def only_stored(self) -> dict[str, list[ManifestFile]]:
        """Return the files that are not here but in an object store, by its URL; raises as ``place``."""
        return self._stored.only(self.files)

    def runs_of(self, file: ManifestFile) -> list[FileRun]:
        """Return what a file has of each recording run."""
        if file.runs is not None:
            return file.runs
        run = self.segments[file.collector, file.segment].run
        return [FileRun(run, file.rows, file.sequence, file.receive_ns, file.match_ms, file.push_ms)]

    def segments_of(self, file: ManifestFile) -> list[ManifestSegment]:
        """Return the segments whose rows of its table, symbol and date a file holds, or would hold if they had any.

        Segments in a merged file's span whose own file lies beside it are not in it: they were rolled later.
        """
        if file.last_segment is None:
            return [self.segments[file.collector, file.segment]]
        if self._starts is None:
            self._starts = {}
            for collector, start_ns in sorted(self.segments):
                self._starts.setdefault(collector, []).append(start_ns)
        starts = self._starts.get(file.collector, [])
        beside = {other.segment for other in self.beside(file) if other.last_segment is None}
        return [
            self.segments[file.collector, start_ns]
            for start_ns in starts[
                bisect_left(starts, file.segment) : bisect_right(starts, file.last_segment)
            ]
            if start_ns not in beside
        ]

    def beside(self, file: ManifestFile) -> list[ManifestFile]:
        """Return the files of the same collector, table, symbol and date, this one included."""
        if self._by_day is None:
            self._by_day = {}
            for each in self.files:
                self._by_day.setdefault(day_of(each), []).append(each)
        return self._by_day.get(day_of(file), [])


def manifest_path(archive: Path, collector: str) -> Path:
    """Return where a collector's manifest is."""
    return archive / "manifest" / f"{collector}.jsonl"


def before_path(path: Path) -> Path:
    """Return where a manifest is kept as it was before its newest checkpoint; it counts for no reader."""
    return path.with_name(f"{path.name}.before")


def read_manifest(
    archive: Path, wanted: Wanted | None = None, *, replaced_since_ns: int | None = None
) -> Manifest:
    """Read every collector's manifest; an archive that does not exist yet is an empty one.

    Args:
        archive: its root.
        wanted: of which files: the others are left out, those that were replaced too; None for all.
        replaced_since_ns: all the same, which files were replaced since then.

    Raises:
        Corrupt: a whole line is not a manifest line, or a path leads elsewhere than its line says.
        StoreError: the lines or files come from a newer tapebook, or the disk fails.
    """
    try:
        paths = sorted((archive / "manifest").glob("*.jsonl"))
        states = (read_manifest_file(path, wanted, replaced_since_ns=replaced_since_ns) for path in paths)
        return manifest_of(archive, states)
    except OSError as error:
        raise StoreError(f"{archive / 'manifest'}: cannot be read: {error}") from error


def read_segments(archive: Path, *, replaced_since_ns: int | None = None) -> Manifest:
    """Read what the manifests say of segments, and of no file: quickly, and in little memory. As ``read_manifest``."""
    return read_manifest(archive, no_files, replaced_since_ns=replaced_since_ns)


def manifest_around(archive: Path, segment: tuple[str, int]) -> Manifest:
    """Read a collector's manifest as far as a segment (collector, start_ns) goes: of the table, symbol and date of each
    file that has its rows, or might. Errors as of ``read_manifest``."""
    path, found = manifest_path(archive, segment[0]), set[str]()
    try:
        for lines in read_lines(path, wanted=no_files):
            for line in lines:
                if isinstance(line, FileLine) and line.segment <= segment[1] <= (
                    line.last_segment or line.segment
                ):
                    found.add(line.path.rpartition("/")[0])
        return manifest_of(archive, [read_manifest_file(path, same_directory(found.__contains__))])
    except FileNotFoundError:
        return Manifest(archive, [], {})
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error


def manifest_of(archive: Path, states: Iterable[ManifestState]) -> Manifest:
    """Return what the collectors' manifests come to together; ``archive`` is where their files are."""
    found = Manifest(archive, [], {})
    files: list[ManifestFile] = []
    for state in states:
        files.extend(state.files.values())
        found.segments.update(state.segments)
        found.pruned.update(state.pruned)
        found.listed.update(state.listed)
        found.replaced.update(state.replaced)
        found.compactions += state.compactions
        if state.links:
            found.links[state.links[0].collector] = state.links
    whole = Manifest(
        archive, files, found.segments,
        pruned=found.pruned, listed=found.listed, replaced=found.replaced, links=found.links,
    )  # fmt: skip
    whole.compactions = found.compactions
    return whole


def read_manifest_file(
    path: Path, wanted: Wanted | None = None, *, replaced_since_ns: int | None = None
) -> ManifestState:
    """Return what one collector's lines come to; arguments and errors as of ``read_manifest``, and OSError."""
    return _state(path, None, wanted, replaced_since_ns)


def parse_manifest(
    path: Path | StoredFile, content: bytes | Path, wanted: Wanted | None = None
) -> ManifestState:
    """Return what one collector's lines come to, be they bytes or in a file; ``path`` is where they are from.

    Arguments and errors as of ``read_manifest``.
    """
    return _state(path, content, wanted, None)


def _state(
    path: Path | StoredFile,
    content: bytes | Path | None,
    wanted: Wanted | None,
    replaced_since_ns: int | None,
) -> ManifestState:
    state = ManifestState(wanted=wanted, replaced_since_ns=replaced_since_ns)
    with _garbage_collection_paused():
        for lines in read_lines(path, content, wanted):
            for line in lines:
                state.take(line)
    return state


def rolled_files(archive: Path, segment: tuple[str, int]) -> list[ManifestFile]:
    """Return what a segment (collector, start_ns) was rolled into last, replaced since or not; errors as above."""
    found: dict[str, ManifestFile] = {}
    committed: list[ManifestFile] = []
    for lines in read_lines(manifest_path(archive, segment[0])):
        for line in lines:
            if isinstance(line, ManifestFile) and line.last_segment is None and line.segment == segment[1]:
                found[line.path] = line
            elif isinstance(line, ManifestSegment) and line.segment == segment[1]:
                committed, found = list(found.values()), {}
    return committed


def append_manifest(archive: Path, collector: str, entries: Sequence[Entry]) -> None:
    """Append lines in one write and make them last: file and directory are synced before this returns.

    Segment lines with a content hash become links of the collector's chain (recorder.chain). A torn last line, left
    behind by a crash, is cut off first. One writer at a time: the roller holds a lock.

    Raises:
        StoreError: the disk refused; nothing was appended.
    """
    path = manifest_path(archive, collector)
    try:
        append_lines(path, lambda descriptor, end: encode_lines(chained(entries, path, descriptor, end)))
        sync_directories(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path}: {len(entries)} manifest lines could not be appended: {error}; "
            "free space or mend the disk, then roll again"
        ) from error


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Pause cyclic garbage collection: amid tens of thousands of live lines it only scans in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
