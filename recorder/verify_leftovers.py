"""What lies in an archive and no line of its manifest names: held against everything else that has rows.

A crash leaves such files behind, and then the journal or the files that are named have their rows. Where nothing has
them, lines of the manifest are lost, and with them rows that were recorded: that is a difference, and no leaving.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recorder.findings import Verification
from recorder.journal import SegmentReader, segments
from recorder.leftovers import Leftover, find_leftovers, is_ours, merged_name
from recorder.manifest import Manifest, manifest_path, read_manifest
from recorder.row_groups import ArchiveReader, int64s
from recorder.row_ranges import BOOK_TABLES
from schemas.errors import TapebookError
from schemas.manifest import ManifestSegment
from schemas.names import RowKind, Table

__all__ = ["check_leftovers", "note_beginnings"]

_COUNTED = (
    ("replaced", "were replaced by merged files, and are deleted by a later roll or compaction"),
    ("orphan", "were left behind by a crash; `tapebook compact` or `tapebook repair` deletes them"),
    (
        "temporary",
        "are being written, or were when something was killed; `tapebook repair` deletes these",
    ),
    (
        "unrolled",
        "were merged, and no line names them; the journal has their rows, and `tapebook roll` makes them again",
    ),
)


def check_leftovers(data: Path, manifest: Manifest, result: Verification) -> None:
    """Say what counts for nobody; a file of ours with rows that nothing else has is a failure, as for ``repair``.

    Args:
        data: the data directory, of which others may be writing.
        manifest: as it was when the check began.
        result: takes the findings.
    """
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    foreign: list[Leftover] = []
    for leftover in find_leftovers(data, manifest):
        if leftover.why == "foreign":
            foreign.append(leftover)
            continue
        counts[leftover.why] += 1
        sizes[leftover.why] += leftover.bytes
    ours = {leftover.path for leftover in foreign if is_ours(leftover.path.rpartition("/")[2])}
    unnamed = _still_unnamed(data, manifest.archive, ours) if ours else set()
    journal = _JournalRows(data)
    lost = 0
    for leftover in foreign:
        where = manifest.archive / leftover.path
        if leftover.path not in ours:
            result.note(where, "no line of the manifest names it: it counts for nobody")
        elif leftover.path not in unnamed:
            continue
        elif journal.has_all(where, leftover.path):
            counts["unrolled"] += 1
            sizes["unrolled"] += leftover.bytes
        else:
            lost += 1
            result.fail(
                where,
                "no line of the manifest names it, and neither the journal nor the files that are named have all of "
                "its rows: it is left alone",
            )
    if lost:
        result.note(
            manifest.archive / "manifest",
            f"{lost} files have rows that nobody finds without their lines: put a copy of the manifest here that names "
            "them, then `tapebook repair`",
        )
    for why, what in _COUNTED:
        if counts[why]:
            result.note(manifest.archive, f"{counts[why]} files ({sizes[why]:,} bytes) {what}")


def note_beginnings(
    archive: Path, segments_of: dict[tuple[str, int], ManifestSegment], result: Verification
) -> None:
    """Say of whom the first record known isn't the first that was numbered: what came before is out of reach."""
    first: dict[str, ManifestSegment] = {}
    for (collector, _), segment in sorted(segments_of.items()):
        first.setdefault(collector, segment)
    for collector, segment in first.items():
        if segment.sequence[0] > 0:
            result.note(
                manifest_path(archive, collector),
                f"records are known from number {segment.sequence[0]} on: the ones before it, if there were any, are "
                "neither in the archive nor in the journal",
            )


def _still_unnamed(data: Path, archive: Path, paths: set[str]) -> set[str]:
    """Those that nothing speaks for even now: others may have rolled, merged and pruned beside a check."""
    fresh = read_manifest(archive)
    directories = {path.rpartition("/")[0] for path in paths}
    found = {
        leftover.path for leftover in find_leftovers(data, fresh, directories) if leftover.why == "foreign"
    }
    latest = read_manifest(archive)
    named = {file.path for file in latest.files} | latest.replaced.keys()
    return (paths & found) - named


class _JournalRows:
    """Tells whether sealed segments, rolled or not, have all the rows of a merged file."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._spans: dict[tuple[str, int], tuple[int, int]] | None = None

    def has_all(self, where: Path, path: str) -> bool:
        found = merged_name(where.name)
        if found is None:
            return False
        collector, first, last = found
        if self._spans is None:
            self._spans = dict(_spans(self._data))
        spans = sorted(
            span for key, span in self._spans.items() if key[0] == collector and first <= key[1] <= last
        )
        if not spans:
            return False
        table = Table(path.partition("/")[0])
        columns = ["sequence", "kind"] if table in BOOK_TABLES else ["sequence"]
        try:
            with ArchiveReader(where, table) as reader:
                return all(_are_within(rows, spans, table) for rows in reader.batches(reader.groups, columns))
        except TapebookError:
            return False


def _are_within(rows: pa.Table, spans: list[tuple[int, int]], table: Table) -> bool:
    """Whether each row is of one of the spans; keyframes at the heads of segments bear numbers of others' records."""
    sequences = int64s(rows, "sequence")
    if table in BOOK_TABLES:
        is_keyframe = pc.equal(rows.column("kind").cast(pa.string()), RowKind.KEYFRAME.value)
        sequences = sequences[~np.asarray(is_keyframe.to_numpy())]
    lows, highs = np.array(spans, np.int64).T
    places = np.searchsorted(lows, sequences, "right") - 1
    return bool(np.all((places >= 0) & (sequences <= highs[places])))


def _spans(data: Path) -> Iterator[tuple[tuple[str, int], tuple[int, int]]]:
    """Collector and start, and the sequences, of each sealed segment that says where it ends."""
    for segment in segments(data):
        if segment.state != "sealed":
            continue
        try:
            with SegmentReader(segment.path, lenient=True) as reader:
                if reader.read_closing() is not None:
                    span = reader.first_sequence, reader.closing_sequence
                    yield (segment.collector, segment.start_ns), span
        except TapebookError:
            continue
