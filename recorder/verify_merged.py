"""Merged files held against the journal: the segments that they are made of, rolled afresh and merged again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recorder.compare_rows import Keep, first_difference
from recorder.findings import Subject, Verification
from recorder.manifest import Manifest
from recorder.merge_rows import Source, merged_rows
from recorder.row_groups import int64s
from recorder.row_ranges import BOOK_TABLES
from schemas.manifest import ManifestFile, ManifestSegment
from schemas.names import RowKind, Table

__all__ = ["MergedChecks"]

Key = tuple[str, int]
_Day = tuple[str, str, str, str, str]


class MergedChecks:
    """Collects the rows of merged files, segment by segment, and compares each file once all of its segments were seen.

    Args:
        manifest: of the archive.
        scratch: below which segments are rolled.
        sealed: the segments that the journal has; of the others nothing is expected.
        result: takes the findings.
    """

    def __init__(
        self,
        manifest: Manifest,
        scratch: Path,
        sealed: set[Key],
        result: Verification,
    ) -> None:
        self._manifest = manifest
        self._scratch = scratch
        self._result = result
        self._files: dict[_Day, list[ManifestFile]] = {}
        self._held: dict[str, list[ManifestFile]] = {}
        self._rolled: set[Key] = set()
        self._missing: dict[str, set[Key]] = {}
        self._files_of: dict[Key, list[ManifestFile]] = {}
        for file in manifest.files:
            if file.last_segment is None:
                continue
            self._files.setdefault(_day(file), []).append(file)
            waiting = {(each.collector, each.segment) for each in manifest.segments_of(file)} & sealed
            self._held[file.path] = []
            self._missing[file.path] = set(waiting)
            for key in waiting:
                self._files_of.setdefault(key, []).append(file)

    def take(self, fresh: ManifestFile) -> bool:
        """Keep a file that was rolled afresh for the merged file that holds its rows; False if there is none."""
        for file in self._files.get(_day(fresh), []):
            if (fresh.collector, fresh.segment) in self._missing[file.path]:
                self._held[file.path].append(fresh)
                return True
        return False

    def needs(self, fresh: ManifestFile) -> bool:
        """Whether a file was kept."""
        return any(fresh in self._held.get(file.path, ()) for file in self._files.get(_day(fresh), []))

    def done(self, key: Key, *, rolled: bool) -> None:
        """A segment was rolled, or can't be: compare the files that waited for it alone."""
        if rolled:
            self._rolled.add(key)
        for file in self._files_of.pop(key, ()):
            self._missing[file.path].discard(key)
            if not self._missing[file.path]:
                held = self._held.pop(file.path)
                self._compare(file, held)
                for fresh in held:
                    (self._scratch / fresh.path).unlink(missing_ok=True)

    def _compare(self, file: ManifestFile, held: list[ManifestFile]) -> None:
        table = Table(file.table)
        parts = self._manifest.segments_of(file)
        absent = [each for each in parts if (each.collector, each.segment) not in self._rolled]
        if len(absent) == len(parts):
            return
        sources = [Source(fresh, self._scratch / fresh.path) for fresh in held]
        where = self._manifest.place(file.path)
        difference = first_difference(
            where,
            merged_rows(table, sources) if sources else (),
            sum(fresh.rows for fresh in held),
            table,
            file.symbol,
            _outside_of(absent, table) if absent else None,
        )
        if difference is not None:
            self._result.fail(
                where,
                difference.what,
                feed=difference.feed,
                row=difference.row,
                subject=Subject.FILE,
                collector=file.collector,
            )
        elif not absent and (gaps := sum(fresh.gaps for fresh in held)) != file.gaps:
            self._result.fail(
                where,
                f"the manifest says gaps = {file.gaps}, the journal says {gaps}",
                subject=Subject.MANIFEST,
                collector=file.collector,
            )


def _outside_of(absent: list[ManifestSegment], table: Table) -> Keep:
    """Rows of the segments that are there, without keyframes.

    Those at the heads of segments bear a sequence of the one before; what they must be, the rows before them say.
    """

    def keep(rows: pa.Table) -> npt.NDArray[np.bool_]:
        sequences = int64s(rows, "sequence")
        mask = np.ones(len(sequences), np.bool_)
        for segment in absent:
            mask &= (sequences < segment.sequence[0]) | (sequences > segment.sequence[1])
        if table in BOOK_TABLES:
            is_keyframe = pc.equal(rows.column("kind").cast(pa.string()), RowKind.KEYFRAME.value)
            mask &= ~np.asarray(is_keyframe.to_numpy())
        return mask

    return keep


def _day(file: ManifestFile) -> _Day:
    return file.collector, file.table, file.category, file.symbol, file.date
