"""A manifest made short again: lines of files that were merged away, and are gone, are left out.

An append-only manifest of 500 symbols has some 200,000 lines a day, of which 2,500 count once the day is compacted, and
every reader goes over all of them. So a compaction that finds many dead lines writes the manifest anew: without those
of replaced files that are gone from the disk, in their order, and behind them a ``checkpoint`` line with the hash of
what they stand for. All segment lines stay, and the chain with them. It takes the manifest's place by a rename: who
reads has the one or the other, and both come to the same, which is proved before. The longer one stays beside it
(``.before``) until the next time, for a repair that may want its lines.

A year's manifest has 800,000 lines: they are read and written piece by piece, and proved in shares.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from recorder.manifest import before_path, manifest_path, parse_manifest, read_manifest_file
from recorder.manifest_lines import FileLine, no_files, read_lines, same_directory, whole_lines
from recorder.manifest_state import ManifestState
from recorder.parquet_files import sync_directory
from recorder.version import SOFTWARE
from schemas.errors import StoreError
from schemas.manifest import (
    Entry,
    ManifestCheckpoint,
    ManifestCompaction,
    ManifestFile,
    ManifestPruned,
    ManifestSegment,
    encode_lines,
)

__all__ = ["LEAST_DROPPED", "shorten_manifest"]

LEAST_DROPPED: Final = 1000
"""Fewer lines are not worth the writing."""
ALWAYS_DROPPED: Final = 100_000
"""So many are, however long the manifest is."""
SHARE_LINES: Final = 50_000
"""Lines that a proof has in memory at once, about."""


def shorten_manifest(archive: Path, collector: str, *, least: int | None = None) -> int:
    """Leave out the dead lines of a collector's manifest, if they are many. Hold ``roll_lock`` meanwhile.

    Args:
        archive: its root.
        collector: whose.
        least: so many dead lines there must be; by default ``LEAST_DROPPED``, and as many as others, or
            ``ALWAYS_DROPPED``.

    Returns:
        How many lines were left out; 0: the manifest is as it was.

    Raises:
        Corrupt: the manifest can't be read.
        StoreError: the disk refused, or what was to be written doesn't come to the same; the manifest is as it was.
    """
    path = manifest_path(archive, collector)
    new = path.with_name(path.name + ".tmp")
    try:
        dead = _look(path, archive)
        if dead is None or not _is_worth(len(dead.gone), dead.lines - len(dead.gone), least):
            return 0
        dropped, kept = _write(path, new, dead)
        if not _is_worth(dropped, kept, least):
            new.unlink()
            return 0
        _prove(path, new, dead)
        _replace(path, new)
    except OSError as error:
        raise StoreError(
            f"{path}: could not be written anew: {error}; it is as it was, and counts"
        ) from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    return dropped


def _is_worth(dropped: int, others: int, least: int | None) -> bool:
    return dropped >= (max(LEAST_DROPPED, min(others, ALWAYS_DROPPED)) if least is None else least)


@dataclass(slots=True)
class _Dead:
    """What is known of the lines that may go.

    Attributes:
        lines: how many there are of all kinds.
        gone: replaced files that are not on the disk any more.
        on_disk: those that are.
        pruned: what the last line of each pruned segment is.
        again: directories of segments that were rolled more than once: their lines count by what they come to.
        state: that, of these directories.
        touched: directories of which lines were left out, or went with a line that was.
    """

    lines: int
    gone: set[str]
    on_disk: set[str]
    pruned: dict[tuple[str, int], ManifestPruned]
    again: set[str]
    state: ManifestState = field(default_factory=ManifestState)
    touched: set[str] = field(default_factory=set)

    def is_kept(self, file: ManifestFile) -> bool:
        if file.path.rpartition("/")[0] in self.again:
            return self.state.files.get(file.path) == file or file.path in self.on_disk
        return file.path not in self.gone


def _look(path: Path, archive: Path) -> _Dead | None:
    """Look through the lines for what is replaced; None: there is no manifest."""
    state = ManifestState(wanted=no_files, replaced_since_ns=0)
    lines, again = 0, set[tuple[str, int]]()
    try:
        for piece in read_lines(path, wanted=no_files):
            lines += len(piece)
            for line in piece:
                if (
                    isinstance(line, ManifestSegment)
                    and (key := (line.collector, line.segment)) in state.segments
                ):
                    again.add(key)
                state.take(line)
    except FileNotFoundError:
        return None
    gone = {each for each in state.replaced if not (archive / each).exists()}
    dead = _Dead(lines, gone, state.replaced.keys() - gone, state.pruned, set())
    if again:
        for piece in read_lines(path, wanted=no_files):
            dead.again.update(
                line.path.rpartition("/")[0]
                for line in piece
                if isinstance(line, FileLine) and (line.collector, line.segment) in again
            )
        dead.state = read_manifest_file(path, same_directory(dead.again.__contains__))
    return dead


def _write(path: Path, new: Path, dead: _Dead) -> tuple[int, int]:
    """Write the lines that stay, and the checkpoint; returns how many were left out, and how many stay."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for text in whole_lines(stream):
            digest.update(text)
    kept = before = marks = 0
    with new.open("wb") as stream:
        for entries in _kept(path, dead):
            stay = [entry for entry in entries if not isinstance(entry, ManifestCheckpoint)]
            marks += len(entries) - len(stay)
            before += sum(entry.dropped for entry in entries if isinstance(entry, ManifestCheckpoint))
            kept += len(stay)
            stream.write(encode_lines(stay))
        dropped = dead.lines - marks - kept
        mark = ManifestCheckpoint(path.stem, time.time_ns(), before + dropped, digest.hexdigest(), SOFTWARE)
        stream.write(encode_lines([mark]))
        stream.flush()
        os.fsync(stream.fileno())
    return dropped, kept


def _kept(path: Path, dead: _Dead) -> Iterator[list[Entry]]:
    """The lines that stay, and the checkpoints, which do not."""
    merged: list[
        tuple[str, bool]
    ] = []  # file lines before a compaction's: their paths, and whether they stay
    for lines in read_lines(path):
        kept: list[Entry] = []
        for line in lines:
            match line:
                case ManifestFile():
                    stays = dead.is_kept(line)
                    if stays:
                        kept.append(line)
                    else:
                        dead.touched.add(line.path.rpartition("/")[0])
                    if line.last_segment is not None:
                        merged.append((line.path, stays))
                case ManifestCompaction():
                    removed = [each for each in line.removed if each in dead.on_disk]
                    own = merged[len(merged) - line.files if line.files < len(merged) else 0 :]
                    files = sum(stays for _, stays in own)
                    if (files, len(removed)) != (line.files, len(line.removed)):
                        dead.touched.update(each.rpartition("/")[0] for each, _ in own)
                        dead.touched.update(each.rpartition("/")[0] for each in line.removed)
                    if files or removed:
                        kept.append(msgspec.structs.replace(line, files=files, removed=removed))
                    merged = []
                case ManifestSegment():
                    kept.append(line)
                    merged = []
                case ManifestPruned():
                    if dead.pruned[line.collector, line.segment] == line:
                        kept.append(line)
                case ManifestCheckpoint():
                    kept.append(line)
        yield kept


def _prove(path: Path, new: Path, dead: _Dead) -> None:
    """Whether both come to the same, but for what was replaced and is gone. Raises StoreError.

    Of directories without a line that was left out, every line is as it was; of the others it is seen.
    """
    shares = 1 + len(dead.gone) // SHARE_LINES
    for share in range(shares):
        wanted = same_directory(
            lambda directory, share=share: (  # type: ignore[misc]
                directory in dead.touched and zlib.crc32(directory.encode()) % shares == share
            )
        )
        old, now = read_manifest_file(path, wanted), parse_manifest(path, new, wanted)
        for name in ("files", "segments", "pruned", "links"):
            if getattr(old, name) != getattr(now, name):
                raise StoreError(
                    f"{path}: without its dead lines it would come to other {name}: it was left as it is, with all of "
                    "its lines; please report this"
                )
        if now.replaced != {each: at for each, at in old.replaced.items() if each in dead.on_disk}:
            raise StoreError(
                f"{path}: without its dead lines it would know other replaced files; it was left as it is"
            )


def _replace(path: Path, new: Path) -> None:
    link = path.with_name(path.name + ".before.tmp")
    link.unlink(missing_ok=True)
    os.link(path, link)
    link.replace(before_path(path))
    new.replace(path)
    sync_directory(path.parent)
