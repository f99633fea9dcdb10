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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from recorder.chain import chained
from recorder.stored_only import StoredOnly
from recorder.whole_files import append_lines, sync_directories
from schemas.errors import Corrupt, StoreError
from schemas.manifest import (
    MANIFEST_VERSION,
    Entry,
    FileRun,
    ManifestCheckpoint,
    ManifestCompaction,
    ManifestFile,
    ManifestPruned,
    ManifestSegment,
    encode_lines,
)
from schemas.names import Table
from schemas.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from recorder.object_store import StoredFile

__all__ = [
    "Manifest",
    "ManifestState",
    "append_manifest",
    "before_path",
    "check_line",
    "manifest_entries",
    "manifest_of",
    "manifest_path",
    "parse_manifest",
    "read_manifest",
    "read_manifest_file",
    "rolled_files",
]

_DECODER: Final[msgspec.json.Decoder[Entry]] = msgspec.json.Decoder(Entry)


class _Header(msgspec.Struct):
    """The two keys that every version of a line has."""

    event: str
    version: int = 1


_HEADER: Final = msgspec.json.Decoder(_Header)

# A file's path must say what its line says, since the views take category, symbol and date from the path.
_PATH_SLASHES: Final = 4


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
        self._by_day: dict[tuple[str, str, str, str, str], list[ManifestFile]] | None = None
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
                self._by_day.setdefault(_day(each), []).append(each)
        return self._by_day.get(_day(file), [])


def _day(file: ManifestFile) -> tuple[str, str, str, str, str]:
    return file.collector, file.table, file.category, file.symbol, file.date


def manifest_path(archive: Path, collector: str) -> Path:
    """Return where a collector's manifest is."""
    return archive / "manifest" / f"{collector}.jsonl"


def before_path(path: Path) -> Path:
    """Return where a manifest is kept as it was before its newest checkpoint; it counts for no reader."""
    return path.with_name(f"{path.name}.before")


def read_manifest(archive: Path) -> Manifest:
    """Read every collector's manifest; an archive that does not exist yet is an empty one.

    Raises:
        Corrupt: a whole line is not a manifest line, or a path leads elsewhere than its line says.
        StoreError: the lines or files come from a newer tapebook, or the disk fails.
    """
    try:
        paths = sorted((archive / "manifest").glob("*.jsonl"))
        return manifest_of(archive, (read_manifest_file(path) for path in paths))
    except OSError as error:
        raise StoreError(f"{archive / 'manifest'}: cannot be read: {error}") from error


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


def read_manifest_file(path: Path) -> ManifestState:
    """Return what one collector's lines come to; errors as of ``read_manifest``, and OSError."""
    return parse_manifest(path, path.read_bytes())


def parse_manifest(path: Path | StoredFile, content: bytes) -> ManifestState:
    """Return what one collector's lines come to; ``path`` is where they are from. Errors as of ``read_manifest``."""
    state = ManifestState()
    for number, entry in enumerate(_decode(path, content), 1):
        check_line(path, number, entry)
        state.take(entry)
    return state


def manifest_entries(path: Path, content: bytes) -> list[Entry]:
    """Return the lines themselves; errors as of ``read_manifest``."""
    return _decode(path, content)


def rolled_files(archive: Path, segment: tuple[str, int]) -> list[ManifestFile]:
    """Return what a segment (collector, start_ns) was rolled into last, replaced since or not; errors as above."""
    path = manifest_path(archive, segment[0])
    found: dict[str, ManifestFile] = {}
    committed: list[ManifestFile] = []
    for entry in _decode(path, path.read_bytes()):
        if isinstance(entry, ManifestFile) and entry.last_segment is None and entry.segment == segment[1]:
            found[entry.path] = entry
        elif isinstance(entry, ManifestSegment) and entry.segment == segment[1]:
            committed, found = list(found.values()), {}
    return committed


def check_line(path: Path | StoredFile, number: int, entry: Entry) -> None:
    """Raise Corrupt for a line of another collector, or whose path leads elsewhere than it says."""
    if entry.collector != path.stem:
        raise Corrupt(path, f"line {number} is of collector {entry.collector!r}, expected {path.stem!r}")
    if isinstance(entry, ManifestFile):
        _check_path(path, number, entry)


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


@dataclass(slots=True)
class ManifestState:
    """What the lines of one collector come to, taken one by one; attributes as of ``Manifest``, by path where it lists.

    Attributes:
        short: segments whose lines a checkpoint has gone over: those of files that were merged may be missing.
    """

    files: dict[str, ManifestFile] = field(default_factory=dict)
    segments: dict[tuple[str, int], ManifestSegment] = field(default_factory=dict)
    pruned: dict[tuple[str, int], ManifestPruned] = field(default_factory=dict)
    listed: dict[tuple[str, int], int] = field(default_factory=dict)
    replaced: dict[str, int] = field(default_factory=dict)
    links: list[ManifestSegment] = field(default_factory=list)
    short: set[tuple[str, int]] = field(default_factory=set)
    _pending: dict[tuple[str, int], dict[str, ManifestFile]] = field(default_factory=dict)
    compactions: list[tuple[ManifestCompaction, int]] = field(default_factory=list)
    _merged: list[ManifestFile] = field(default_factory=list)
    _own: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Follow the next line."""
        match entry:
            case ManifestFile(last_segment=None):
                self._pending.setdefault((entry.collector, entry.segment), {})[entry.path] = entry
            case ManifestFile():
                self._merged.append(entry)
            case ManifestSegment():
                self._segment((entry.collector, entry.segment), entry)
            case ManifestCompaction():
                self._compaction(entry)
            case ManifestPruned():
                self.pruned[entry.collector, entry.segment] = entry
            case ManifestCheckpoint():
                self.short.update(self.segments)
                self.listed.update((key, segment.files) for key, segment in self.segments.items())

    def _segment(self, key: tuple[str, int], entry: ManifestSegment) -> None:
        """A segment rolled again replaces what it was; what a compaction has merged stays where it is."""
        self._merged = []
        own = self._own.pop(key, set())
        for path in own:
            self.files.pop(path, None)
        if entry.chain is not None:
            self.links.append(entry)
        committed = self._pending.pop(key, {})
        merged = {
            path for path, file in committed.items()
            if path in self.replaced or (key in self.short and path not in own and self._is_merged(file))
        }  # fmt: skip
        self.segments[key] = entry
        self.listed[key] = len(committed)
        self._own[key] = committed.keys() - merged
        for path in committed:
            if path not in merged:
                self.files[path] = committed[path]

    def _is_merged(self, file: ManifestFile) -> bool:
        """Whether a merged file has the rows of this one, whose replacement no line tells any more."""
        return any(
            other.last_segment is not None
            and other.segment <= file.segment <= other.last_segment
            and _day(other) == _day(file)
            for other in self.files.values()
        )

    def _compaction(self, entry: ManifestCompaction) -> None:
        for path in entry.removed:
            self.files.pop(path, None)
            self.replaced[path] = entry.time_ns
        # Lines that a crash kept from being committed may lie before those of this compaction: they aren't its own.
        own = self._merged[len(self._merged) - entry.files if entry.files < len(self._merged) else 0 :]
        for file in own:
            self.files[file.path] = file
            self.replaced.pop(file.path, None)
        self.compactions.append((entry, len(own)))
        self._merged = []


def _decode(path: Path | StoredFile, content: bytes) -> list[Entry]:
    whole = content[: content.rfind(b"\n") + 1]
    try:
        with _garbage_collection_paused():
            entries = _DECODER.decode_lines(whole)
    except (msgspec.DecodeError, RecursionError):
        raise _explanation(path, whole) from None
    newest = max((entry.version for entry in entries), default=0)
    if newest > MANIFEST_VERSION:
        raise _newer(path, newest)
    return entries


def _explanation(path: Path | StoredFile, whole: bytes) -> StoreError:
    """Find the line that the decoder stumbled on and return what is wrong with it."""
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            _DECODER.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            try:
                version = _HEADER.decode(line).version
            except (msgspec.DecodeError, RecursionError):
                version = 0
            if version > MANIFEST_VERSION:
                return _newer(path, version)
            return Corrupt(path, f"line {number} is not a manifest line: {error}")
    return Corrupt(path, "its lines cannot be read together, although each is a manifest line")


def _newer(path: Path | StoredFile, version: int) -> StoreError:
    return StoreError(
        f"{path}: manifest version {version} was written by a newer tapebook; "
        f"this one reads up to version {MANIFEST_VERSION}: upgrade tapebook"
    )


def _check_path(path: Path | StoredFile, number: int, file: ManifestFile) -> None:
    parts = file.path.split("/")
    if (
        len(parts) != _PATH_SLASHES + 1
        or parts[0] != file.table
        or parts[1] != f"category={file.category}"
        or not parts[2].startswith("symbol=")
        or parts[3] != f"date={file.date}"
        or not parts[4].endswith(".parquet")
        or "\0" in file.path
    ):
        raise Corrupt(
            path,
            f"line {number} names {file.path!r}; expected "
            f"{file.table}/category={file.category}/symbol=…/date={file.date}/<name>.parquet",
        )
    if file.schema_version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: line {number} names a file of schema version {file.schema_version}, written by a newer "
            f"tapebook; this one reads up to version {SCHEMA_VERSION}: upgrade tapebook"
        )


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
