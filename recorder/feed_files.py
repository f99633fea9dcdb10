"""The rows of one order-book feed, wherever they lie: in files of segments and of whole days, beside other feeds' rows.

Files and row groups are told apart by their statistics, so that those of other feeds and other times are not read. What
comes at a time are the rows of row groups whose sequences overlap; nearly always that is one row group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recorder.object_store import StoredFile
from recorder.row_groups import ArchiveReader, RowGroup, int64s
from schemas.manifest import ManifestFile
from schemas.names import RowKind, Table
from schemas.tables import book_of_topic

__all__ = ["FeedFiles", "FeedGroup", "FeedPiece"]

STATISTICS: Final = ("sequence", "depth", "receive_time", "match_time", "push_time")
MOST_OPEN: Final = 32
"""Files kept open; what is needed again is opened again."""


class FeedGroup(NamedTuple):
    """A row group that has rows of the feed.

    Attributes:
        low, high: lowest and highest sequence of these.
        place: rank of its file, which orders what sequences don't.
    """

    low: int
    high: int
    place: int
    group: RowGroup
    file: ManifestFile


class FeedPiece(NamedTuple):
    """Some rows of the feed in order.

    Attributes:
        rows: the rows.
        groups: where they come from.
        origin: of each row, which of the groups it is from.
        places: of each row, its index in its file.
    """

    rows: pa.Table
    groups: list[FeedGroup]
    origin: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


class FeedFiles:
    """The files that one collector has of one table and symbol, for one depth. Close it, or use it in a ``with`` block.

    Args:
        files: the files.
        path: where a file lies.
        depth: the feed's.

    Attributes:
        files: by lowest sequence.
    """

    def __init__(
        self, files: Sequence[ManifestFile], path: Callable[[ManifestFile], Path | StoredFile], depth: int
    ) -> None:
        self.files = sorted(
            (file for file in files if file.sequence is not None),
            key=lambda file: (_span(file), file.segment, file.last_segment or 0, file.date),
        )
        self._path = path
        self._depth = depth
        self._readers: dict[str, ArchiveReader] = {}
        self._groups: dict[str, list[FeedGroup]] = {}
        self._alone: dict[str, bool] = {}
        self._places = {file.path: place for place, file in enumerate(self.files)}

    def __enter__(self) -> FeedFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        while self._readers:
            self._readers.popitem()[1].close()

    def groups(self, file: ManifestFile) -> list[FeedGroup]:
        """Return the row groups of a file that have rows of the feed. Raises StoreError, Corrupt."""
        known = self._groups.get(file.path)
        if known is None:
            found = [(group, self._ends(file, group)) for group in self._reader(file).groups]
            place = self._places[file.path]
            known = self._groups[file.path] = [
                FeedGroup(*ends, place, group, file) for group, ends in found if ends is not None
            ]
        return known

    def _leave(self, paths: set[str]) -> None:
        """Close files that have been read through, so that a long way holds few of them open."""
        for path in paths:
            reader = self._readers.pop(path, None)
            if reader is not None:
                reader.close()

    def _is_alone(self, file: ManifestFile) -> bool:
        """Whether all rows of a file are the feed's, by the manifest, which names each feed."""
        known = self._alone.get(file.path)
        if known is None:
            feeds = [book_of_topic(topic) for topic in file.feeds]
            known = self._alone[file.path] = [feed and feed[1] for feed in feeds] == [self._depth]
        return known

    def _ends(self, file: ManifestFile, group: RowGroup) -> tuple[int, int] | None:
        """Lowest and highest sequence of the feed in a row group; None where it has none of its rows.

        Where other feeds' rows lie between, statistics won't do: the keyframe at a file's head of a feed that was quiet
        bears a sequence of long ago, and all files since would seem to overlap.
        """
        if not group.may_have("depth", self._depth):
            return None
        ends = group.spans.get("sequence")
        if ends is not None and (
            self._is_alone(file) or group.spans.get("depth") == (self._depth, self._depth)
        ):
            return ends
        rows = self._reader(file).group(group, ["sequence", "depth"])
        own = int64s(rows, "sequence")[int64s(rows, "depth") == self._depth]
        return (int(own.min()), int(own.max())) if own.size else None

    def rows(self, group: FeedGroup, columns: list[str] | None = None) -> pa.Table:
        """Return the feed's rows of a row group, some columns of them. Raises StoreError, Corrupt."""
        wanted = None if columns is None else list(dict.fromkeys([*columns, "depth"]))
        rows = self._reader(group.file).group(group.group, wanted)
        if self._is_alone(group.file):
            return rows
        return rows.filter(pc.equal(rows.column("depth"), self._depth))

    def forwards(self, columns: list[str] | None = None, since: int | None = None) -> Iterator[FeedPiece]:
        """Yield all rows, first ones first.

        Args:
            columns: only these (and those that order them).
            since: only rows of this sequence or a higher one.
        """
        unopened = [file for file in self.files if since is None or _span(file)[1] >= since][::-1]
        waiting: list[FeedGroup] = []
        while unopened or waiting:
            piece: list[FeedGroup] = []
            end: int | None = None
            while True:
                bound = end if end is not None else min((group.low + 1 for group in waiting), default=None)
                while unopened and (bound is None or _span(unopened[-1])[0] < bound):
                    opened = self.groups(unopened.pop())
                    waiting += [group for group in opened if since is None or group.high >= since]
                    if end is None:
                        bound = min((group.low + 1 for group in waiting), default=None)
                if bound is None:
                    break
                if end is None:
                    # of those that begin at one sequence, the one that ends first: the others begin behind it
                    found = [min(waiting, key=lambda group: (group.low, group.high, group.place))]
                else:
                    found = [group for group in waiting if group.low < end]
                if not found:
                    break
                piece += found
                taken = {id(group) for group in found}
                waiting = [group for group in waiting if id(group) not in taken]
                end = max(group.high for group in piece)
            if piece:
                rows = self._piece(piece, columns)
                if since is not None and piece[0].low < since:
                    first = int(np.searchsorted(int64s(rows.rows, "sequence"), since, "left"))
                    rows = FeedPiece(
                        rows.rows.slice(first), rows.groups, rows.origin[first:], rows.places[first:]
                    )
                yield rows
                self._leave({group.file.path for group in piece} - {group.file.path for group in waiting})

    def backwards(self, below: int | None = None, columns: list[str] | None = None) -> Iterator[FeedPiece]:
        """Yield all rows, last ones first, in pieces that have their rows in order.

        Args:
            below: only rows of a lower sequence.
            columns: only these (and those that order them).
        """
        files = [file for file in self.files if below is None or _span(file)[0] < below]
        unopened = sorted(files, key=lambda file: (_span(file)[1], self._places[file.path]))
        waiting: list[FeedGroup] = []
        while unopened or waiting:
            piece: list[FeedGroup] = []
            start: int | None = None
            while True:
                bound = (
                    start if start is not None else max((group.high - 1 for group in waiting), default=None)
                )
                while unopened and (bound is None or _span(unopened[-1])[1] > bound):
                    opened = self.groups(unopened.pop())
                    waiting += [group for group in opened if below is None or group.low < below]
                    if start is None:
                        bound = max((group.high - 1 for group in waiting), default=None)
                if bound is None:
                    break
                if start is None:
                    found = [max(waiting, key=lambda group: (group.high, group.low, group.place))]
                else:
                    found = [group for group in waiting if group.high > start]
                if not found:
                    break
                piece += found
                taken = {id(group) for group in found}
                waiting = [group for group in waiting if id(group) not in taken]
                start = min(group.low for group in piece)
            if piece:
                rows = self._piece(piece, columns)
                if below is not None:
                    count = int(np.searchsorted(int64s(rows.rows, "sequence"), below, "left"))
                    rows = FeedPiece(
                        rows.rows.slice(0, count), rows.groups, rows.origin[:count], rows.places[:count]
                    )
                yield rows

    def _piece(self, groups: list[FeedGroup], columns: list[str] | None) -> FeedPiece:
        groups = sorted(groups, key=lambda group: (group.place, group.group.number))
        wanted = None if columns is None else list(dict.fromkeys([*columns, "sequence", "kind", "depth"]))
        parts, origins, indexes = [], [], []
        for number, group in enumerate(groups):
            rows = self._reader(group.file).group(group.group, wanted)
            if self._is_alone(group.file):
                index = np.arange(rows.num_rows)
            else:
                mask = np.asarray(pc.equal(rows.column("depth"), self._depth).to_numpy())
                index = np.flatnonzero(mask)
                rows = rows if mask.all() else rows.filter(pa.array(mask))
            parts.append(rows)
            indexes.append(index + group.group.first_row)
            origins.append(np.full(len(index), number, np.int64))
        rows = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
        origin, index = np.concatenate(origins), np.concatenate(indexes)
        if len(groups) > 1:
            # A keyframe comes behind the message whose stamps it bears, also where that lies in another file.
            is_keyframe = pc.equal(rows.column("kind").cast(pa.string()), RowKind.KEYFRAME.value).to_numpy()
            order = np.lexsort((np.asarray(is_keyframe), int64s(rows, "sequence")))
            rows, origin, index = rows.take(order), origin[order], index[order]
        return FeedPiece(rows, groups, origin, index)

    def _reader(self, file: ManifestFile) -> ArchiveReader:
        reader = self._readers.get(file.path)
        if reader is None:
            if len(self._readers) >= MOST_OPEN:
                self._readers.pop(next(iter(self._readers))).close()
            reader = self._readers[file.path] = ArchiveReader(self._path(file), Table(file.table), STATISTICS)
        return reader


def _span(file: ManifestFile) -> tuple[int, int]:
    return file.sequence if file.sequence is not None else (0, 0)
