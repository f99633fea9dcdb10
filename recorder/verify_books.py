"""The archive by itself: its rows, applied to books, must arrive at the live digests and at every keyframe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from engine.core.book import Book
from engine.rpi_book import RpiBook, apply_levels, load_levels
from recorder.feed_files import FeedFiles, FeedPiece
from recorder.findings import Verification
from recorder.manifest import Manifest
from recorder.merge_rows import depths_of
from recorder.row_groups import ArchiveReader
from schemas.errors import Corrupt, TapebookError
from schemas.manifest import ManifestFile
from schemas.names import Table
from schemas.tables import LEVEL_COLUMNS, RPI_LEVEL_COLUMNS, book_topic

__all__ = ["check_books"]

BOOK_COLUMNS = (
    "sequence", "depth", "kind", "applied", "update_id", "price_exponent", "size_exponent", "digest",
)  # fmt: skip
LEVELS_OF = {Table.BOOK_UPDATES: LEVEL_COLUMNS, Table.RPI_BOOK_UPDATES: RPI_LEVEL_COLUMNS}


def check_books(manifest: Manifest, result: Verification, progress: Callable[[str], None]) -> None:
    """Apply the rows of every book feed of the archive; differences are findings.

    The first difference of a feed in a file is told; then the feed goes on with the next full book of another file, for
    everything behind a broken row would be wrong too, and say nothing new.
    """
    for table in LEVELS_OF:
        for category, symbol in manifest.symbols(table):
            progress(f"books {category} {symbol}")
            files: dict[str, list[ManifestFile]] = {}
            for file in manifest.select(table, category=category, symbol=symbol):
                if _is_readable(manifest, file, table, result):
                    files.setdefault(file.collector, []).append(file)
            for each in files.values():
                bad: set[str] = set()
                for depth in depths_of(each):
                    _check_feed(manifest, table, symbol, depth, each, bad, result)


def _is_readable(manifest: Manifest, file: ManifestFile, table: Table, result: Verification) -> bool:
    path = manifest.place(file.path)
    try:
        with ArchiveReader(path, table) as reader:
            if reader.is_of_table:
                return True
            what = "other columns than its table has"
    except Corrupt as error:
        what = error.why
    except TapebookError as error:
        what = str(error)
    result.fail(path, f"its rows can't be applied: {what}")
    return False


def _check_feed(
    manifest: Manifest,
    table: Table,
    symbol: str,
    depth: int,
    files: Sequence[ManifestFile],
    bad: set[str],
    result: Verification,
) -> None:
    """Walk one feed; files that turn out to be unreadable are left out from there on (``bad``)."""
    walk = _BookWalk(table, symbol, depth)
    columns = [*BOOK_COLUMNS, *LEVELS_OF[table]]
    while True:
        left = [file for file in files if file.path not in bad]
        seen = walk.sequence
        try:
            with FeedFiles(left, lambda file: manifest.place(file.path), depth) as feed:
                for piece in feed.forwards(columns):
                    _check_piece(manifest, piece, walk, seen, table, result)
            return
        except (TapebookError, pa.ArrowException, ValueError, KeyError) as error:
            path = str(error.path) if isinstance(error, Corrupt) else ""
            unreadable = [file.path for file in left if path == str(manifest.place(file.path))]
            why = error.why if isinstance(error, Corrupt) else str(error)
            if not unreadable:
                result.fail(path or walk.topic, f"its rows can't be applied: {why}", feed=walk.topic)
                return
            result.fail(path, f"its rows can't be applied: {why}")
            bad.update(unreadable)
            walk.forget(behind=None)


def _check_piece(
    manifest: Manifest, piece: FeedPiece, walk: _BookWalk, seen: int, table: Table, result: Verification
) -> None:
    rows = piece.rows.combine_chunks()
    columns = {name: rows.column(name).to_pylist() for name in BOOK_COLUMNS}
    sides = [_cutter(rows.column(name)) for name in LEVELS_OF[table]]
    for i, origin in enumerate(piece.origin.tolist()):
        row = {name: values[i] for name, values in columns.items()}
        file = piece.groups[origin].file
        if row["sequence"] <= seen or walk.is_waiting(row, file.path):
            continue
        path = manifest.place(file.path)
        try:
            what = walk.row(row, tuple(side(i) for side in sides), result)
        except (TapebookError, ValueError) as error:
            what = f"can't be applied: {error}"
        if what is not None:
            result.fail(path, what, feed=walk.topic, row=int(piece.places[i]))
            walk.forget(behind=file.path)


def _cutter(column: Any) -> Callable[[int], Any]:
    """A function that cuts the list of row i out of a column of lists."""
    lists = column.combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    offsets, values = lists.offsets.to_numpy(), lists.values.to_numpy()
    return lambda i: values[offsets[i] : offsets[i + 1]]


class _BookWalk:
    """The rows of one feed of one collector, applied one by one across its files."""

    def __init__(self, table: Table, symbol: str, depth: int) -> None:
        self.topic = book_topic(table, depth, symbol)
        self.is_rpi = table is Table.RPI_BOOK_UPDATES
        self.depth = depth
        self.book: Book | RpiBook | None = None
        self.update_id = -1
        self.sequence = -1
        self._is_lost = False
        self._broken: set[str] = set()

    def forget(self, behind: str | None) -> None:
        """Begin anew with the next full book; of a file in which a row was wrong, nothing more is told."""
        self.book, self.update_id = None, -1
        self._is_lost = True
        if behind is not None:
            self._broken.add(behind)
            self.sequence = -1

    def is_waiting(self, r: dict[str, Any], path: str) -> bool:
        """Whether a row is passed over: it is behind a broken one, and no full book has come since."""
        if path in self._broken:
            return True
        if self._is_lost and r["kind"] == "delta":
            return True
        self._is_lost = False
        return False

    def row(self, r: dict[str, Any], levels: tuple[Any, ...], result: Verification) -> str | None:
        """Apply one row; returns what is wrong with it."""
        sequence, kind, update_id = r["sequence"], r["kind"], r["update_id"]
        exponents = r["price_exponent"], r["size_exponent"]
        if sequence < self.sequence:
            return f"sequence {sequence} comes after {self.sequence}"
        self.sequence = sequence
        if kind == "keyframe":
            result.keyframes += 1
            fresh = self._empty()
            load_levels(fresh, levels, exponents)
            same = self.book is not None and self.update_id == update_id
            if same and fresh.digest != self._digest_at(exponents):
                return f"the keyframe at update id {update_id} is not the book that the rows before it make"
            self.book, self.update_id = fresh, update_id
        elif not r["applied"]:
            return None
        elif kind == "snapshot":
            self.book = self._empty()
            load_levels(self.book, levels, exponents)
            self.update_id = update_id
        else:
            if self.book is None:
                return f"update id {update_id} is applied, and no snapshot or keyframe comes before it"
            if update_id != self.update_id + 1:
                return f"update id {update_id} is applied after {self.update_id}"
            apply_levels(self.book, levels, exponents)
            self.update_id = update_id
        result.books += 1
        if r["digest"] is not None:
            result.archive_digests += 1
            if self.book.digest != r["digest"]:
                return (
                    f"at update id {update_id} the rows make a book with digest {self.book.digest:016x}, "
                    f"the live book had {r['digest']:016x}"
                )
        return None

    def _empty(self) -> Book | RpiBook:
        return RpiBook(self.depth) if self.is_rpi else Book(self.depth)

    def _digest_at(self, exponents: tuple[int, int]) -> int:
        """The running book's digest at a keyframe's exponents, which another feed of the symbol may have widened."""
        assert self.book is not None
        apply_levels(self.book, [_NONE] * (6 if self.is_rpi else 4), exponents)
        return self.book.digest


_NONE = np.empty(0, np.int64)


_NONE = np.empty(0, np.int64)
