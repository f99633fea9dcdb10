"""A collector's manifest made again: from the journal, and from those of its own lines that can still be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from recorder.file_places import sha256_of
from recorder.journal import SegmentReader, segments
from recorder.journal.content import chain_value
from recorder.manifest import before_path, read_manifest_file
from recorder.manifest_lines import check_line
from recorder.parquet_files import sync_directory
from recorder.roll import roll_fully
from recorder.row_groups import ArchiveReader, int64s
from recorder.stored_only import StoredOnly
from recorder.version import SOFTWARE
from recorder.whole_files import write_synced
from schemas.errors import Corrupt, StoreError, TapebookError
from schemas.manifest import (
    Entry,
    ManifestCheckpoint,
    ManifestCompaction,
    ManifestFile,
    ManifestPruned,
    ManifestSegment,
    decode_line,
    encode_lines,
)
from schemas.names import Table

__all__ = ["Remade", "manifests_to_remake", "remake_manifest", "set_aside"]


class Remade(NamedTuple):
    """A manifest that was made again.

    Attributes:
        collector: whose.
        from_journal: segments that were rolled again for it.
        from_lines: segments that the journal doesn't have, taken from the old lines.
        aside: where the old manifest is; None if there was none.
        lost: what is missing now, and why.
    """

    collector: str
    from_journal: int
    from_lines: int
    aside: Path | None
    lost: list[tuple[str, str]]


def manifests_to_remake(archive: Path) -> Iterator[tuple[Path, str]]:
    """Yield the manifests that can't be read, and why. Raises StoreError for one of a newer tapebook."""
    for path in sorted((archive / "manifest").glob("*.jsonl")):
        try:
            read_manifest_file(path)
        except Corrupt as error:
            yield path, error.why


def set_aside(path: Path, *, keep: bool = False) -> Path:
    """Give a file another name beside it, ``.damaged``, under which it counts for nobody; return that.

    Args:
        path: the file.
        keep: leave it its own name too, for something to take its place in one step.
    """
    for number in count():
        aside = path.with_name(f"{path.name}.damaged" + (f".{number}" if number else ""))
        if not aside.exists():
            if keep:
                os.link(path, aside)
            else:
                path.rename(aside)
            return aside
    raise AssertionError


def remake_manifest(data: Path, path: Path) -> Remade:
    """Make a collector's manifest again. Hold ``roll_lock`` meanwhile.

    Segments that the journal has are rolled again, into the archive. Of the others, and of those whose file has other
    records than a line says that is sound in its chain, the lines that can be read are kept, and the merged files that
    hold their rows. Files that were merged from the journal's segments alone have no
    line in it: their segments' own files stand for them until they are compacted again.

    Args:
        data: the data directory.
        path: the manifest; it may be missing.

    Raises:
        StoreError: the disk refuses.
    """
    archive, collector = data / "archive", path.stem
    old = _Salvage(path)
    sealed = {file.start_ns: file.path for file in segments(data, collector) if file.state == "sealed"}
    lost: list[tuple[str, str]] = []
    lines: dict[int, list[Entry]] = {}
    rolled: set[int] = set()
    for start_ns in _order(list(old.segments), sorted(sealed)):
        try:
            if start_ns in sealed and not (
                start_ns in old.sound and _is_another(sealed[start_ns], old, start_ns)
            ):
                lines[start_ns] = roll_fully(sealed[start_ns], archive).entries
                rolled.add(start_ns)
                continue
        except (Corrupt, msgspec.MsgspecError):
            pass  # verify has its say about the segment
        if start_ns not in old.segments:
            continue
        kept, entry = list(old.files.get(start_ns, {}).values()), old.segments[start_ns]
        lines[start_ns] = [*kept, entry]
        if len(kept) != entry.files and start_ns not in old.short:
            lost.append(
                (
                    f"{collector}/{start_ns}.arrows",
                    f"{entry.files - len(kept)} of its {entry.files} lines are lost",
                )
            )
    for start_ns in sorted(old.files.keys() - lines.keys()):
        what = "its line is lost, and the journal doesn't have it: its files count for nobody, and are left alone"
        lost.append((f"{collector}/{start_ns}.arrows", what))
    merged, removed = _kept_merges(archive, old, lines, rolled)
    out: list[Entry] = []
    behind = 0
    chain: str | None = None
    for start_ns, entries in lines.items():
        *files, segment = entries
        assert isinstance(segment, ManifestSegment)
        if segment.content_sha256 is not None:
            expected = chain_value(chain, collector, start_ns, segment.content_sha256)
            if start_ns in rolled:
                segment = msgspec.structs.replace(segment, chain=expected)
            elif segment.chain != expected:
                what = (
                    "its link in the chain doesn't follow from the one before: lines between them are lost, and the "
                    "journal doesn't have the segment"
                )
                lost.append((f"{collector}/{start_ns}.arrows", what))
            chain = segment.chain
        out += [*files, segment]
        if start_ns in old.short:
            behind = len(out)
    if old.mark is not None:
        out.insert(behind, old.mark)
    if merged:
        out += [*merged, ManifestCompaction(collector, old.compacted_ns, len(merged), removed, SOFTWARE)]
    out += [entry for entry in old.pruned.values() if entry.segment not in sealed]
    aside = _write(path, out)
    before_path(path).unlink(missing_ok=True)  # its lines are told again, or are not to be
    return Remade(collector, len(rolled), len(lines) - len(rolled), aside, lost)


class _Salvage:
    """What can still be read of a manifest.

    Attributes:
        segments: the last line of each, in the order in which they first came.
        files: of segments, by start and path.
        merged: files of compactions that no later one replaced.
        pruned: segments that were pruned.
        compacted_ns: when files were merged last.
        short: segments whose lines a checkpoint has gone over: those of files that were merged are missing.
        mark: the newest checkpoint.
        sound: segments whose last line follows in the chain from the line before.
    """

    def __init__(self, path: Path) -> None:
        self.segments: dict[int, ManifestSegment] = {}
        self.files: dict[int, dict[str, ManifestFile]] = {}
        self.merged: dict[str, ManifestFile] = {}
        self.pruned: dict[int, ManifestPruned] = {}
        self.compacted_ns = 0
        self.short: set[int] = set()
        self.mark: ManifestCheckpoint | None = None
        self.sound: set[int] = set()
        self._chain: str | None = None
        for each in (before_path(path), path):  # what a checkpoint left out is in the longer one
            self._chain = None
            for number, line in enumerate(_content(each).split(b"\n"), 1):
                try:
                    entry = decode_line(line)
                    check_line(path, number, entry)
                except (msgspec.DecodeError, RecursionError, Corrupt):
                    continue
                self._take(entry)
        self.short = {one for one in self.short if len(self.files.get(one, {})) != self.segments[one].files}
        if not self.short:
            self.mark = None

    def _follow(self, entry: ManifestSegment) -> None:
        self.sound.discard(entry.segment)
        if entry.content_sha256 is None or entry.chain is None:
            return
        with suppress(ValueError):
            if chain_value(self._chain, entry.collector, entry.segment, entry.content_sha256) == entry.chain:
                self.sound.add(entry.segment)
        self._chain = entry.chain

    def _take(self, entry: Entry) -> None:
        match entry:
            case ManifestFile(last_segment=None):
                self.files.setdefault(entry.segment, {})[entry.path] = entry
            case ManifestFile():
                self.merged[entry.path] = entry
            case ManifestSegment():
                self.segments[entry.segment] = entry
                self._follow(entry)
            case ManifestCompaction():
                self.compacted_ns = max(self.compacted_ns, entry.time_ns)
                for each in entry.removed:
                    self.merged.pop(each, None)
            case ManifestPruned():
                self.pruned[entry.segment] = entry
            case ManifestCheckpoint():
                self.short.update(self.segments)
                self.mark = entry


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error


def _is_another(path: Path, old: _Salvage, start_ns: int) -> bool:
    """Whether a segment's file has other records than its line says. Raises Corrupt."""
    with SegmentReader(path, hashed=True) as reader:
        for _ in reader:
            pass
        return (
            reader.content is not None and reader.content.hexdigest() != old.segments[start_ns].content_sha256
        )


def _order(known: list[int], sealed: list[int]) -> list[int]:
    """The segments in the order of the old lines, each other one before the first that began later."""
    out = list(known)
    for start_ns in sealed:
        if start_ns not in known:
            place = next((i for i, other in enumerate(out) if other > start_ns), len(out))
            out.insert(place, start_ns)
    return out


def _kept_merges(
    archive: Path, old: _Salvage, lines: dict[int, list[Entry]], rolled: set[int]
) -> tuple[list[ManifestFile], list[str]]:
    """The merged files with rows of segments that the journal doesn't have, and the paths that they stand for."""
    merged: list[ManifestFile] = []
    removed: list[str] = []
    stored = StoredOnly(archive)
    for file in old.merged.values():
        parts = [
            entry
            for start_ns, entries in lines.items()
            if file.last_segment is not None and file.segment <= start_ns <= file.last_segment
            for entry in entries
            if isinstance(entry, ManifestFile)
            and entry.path.rpartition("/")[0] == file.path.rpartition("/")[0]
        ]
        unknown = any(
            file.last_segment is not None and file.segment <= start_ns <= file.last_segment
            for start_ns in lines.keys() - rolled
            if len(old.files.get(start_ns, {}))
            != old.segments[start_ns].files  # what is missing may be merged here
        )
        if parts and not unknown and all(part.segment in rolled for part in parts):
            continue
        try:
            place = stored.place(file.path)
            if sha256_of(place) != file.sha256:
                continue
            with ArchiveReader(place, Table(file.table)) as reader:
                sequences = np.unique(
                    np.concatenate(
                        [int64s(rows, "sequence") for rows in reader.batches(reader.groups, ["sequence"])]
                    )
                )
        except TapebookError:
            continue
        merged.append(file)
        for part in parts:
            segment = lines[part.segment][-1]
            assert isinstance(segment, ManifestSegment)
            low = np.searchsorted(sequences, segment.sequence[0])
            high = np.searchsorted(sequences, segment.sequence[1], "right")
            if low < high:
                removed.append(part.path)
    return merged, removed


def _write(path: Path, entries: list[Entry]) -> Path | None:
    """Put the lines in the manifest's place at once; returns where the old ones are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".tmp")
    try:
        write_synced(new, encode_lines(entries))
        aside = None
        if path.exists():
            aside = set_aside(path, keep=True)
        new.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path}: could not be made again: {error}; mend the disk, then repair again"
        ) from error
    return aside
