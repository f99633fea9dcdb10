"""Verify: is it complete, and is it right? Archive and journal are replayed and held against each other.

Four independent witnesses have to agree. The *manifest* says which files exist and what their bytes hash to. The
*journal* is replayed afresh into rows, which must be the rows of the files. The *live digests*, which the recorder
wrote while the frames came in, must be what that replay arrives at. And the *archive's own rows*, applied to books one
by one, must arrive at those digests too, and at every keyframe.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.core.book import Book
from engine.replay import Mismatch
from engine.rpi_book import RpiBook, apply_levels, load_levels
from recorder.chain import broken_links
from recorder.journal import segments
from recorder.manifest import Manifest, read_manifest
from recorder.roll import Rolled, roll_fully
from schemas.errors import Corrupt, TapebookError
from schemas.manifest import ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.tables import LEVEL_COLUMNS, RPI_LEVEL_COLUMNS, book_topic, schema_of
from schemas.time import NS_PER_MS, format_ns

__all__ = ["Finding", "Verification", "verify"]

BOOK_COLUMNS = (
    "sequence", "depth", "kind", "applied", "update_id", "price_exponent", "size_exponent", "digest",
)  # fmt: skip
LEVELS_OF = {Table.BOOK_UPDATES: LEVEL_COLUMNS, Table.RPI_BOOK_UPDATES: RPI_LEVEL_COLUMNS}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found.

    Attributes:
        fails: whether it makes the check fail; others are worth knowing.
        where: file or segment.
        feed: topic, where one is concerned.
        row: index in the file, from 0.
        what: found, expected.
    """

    fails: bool
    where: str
    what: str
    feed: str | None = None
    row: int | None = None

    def __str__(self) -> str:
        place = [self.where]
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.feed is not None:
            place.append(self.feed)
        return f"{'FAIL' if self.fails else 'note'}  {', '.join(place)}: {self.what}"


@dataclass(slots=True)
class Verification:
    """What was checked, and what was found. ``chains``: each collector's newest chain value."""

    segments: int = 0
    files: int = 0
    rows: int = 0
    frames: int = 0
    live_digests: int = 0
    books: int = 0
    archive_digests: int = 0
    keyframes: int = 0
    gaps: int = 0
    undecodable: int = 0
    chains: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def failures(self) -> list[Finding]:
        """The findings that make the check fail."""
        return [finding for finding in self.findings if finding.fails]

    def fail(self, where: object, what: str, *, feed: str | None = None, row: int | None = None) -> None:
        """Note a failure."""
        self.findings.append(Finding(fails=True, where=str(where), what=what, feed=feed, row=row))

    def note(self, where: object, what: str) -> None:
        """Note something worth knowing."""
        self.findings.append(Finding(fails=False, where=str(where), what=what))


def verify(data: Path, *, progress: Callable[[str], None] = lambda _: None) -> Verification:
    """Check a whole data directory.

    Args:
        data: the data directory.
        progress: told what is being looked at.

    Returns:
        Counts and findings; recorded gaps and undecodable frames are no failures, unexplained differences are.
    """
    result = Verification()
    archive = data / "archive"
    try:
        manifest = read_manifest(archive)
    except TapebookError as error:
        result.fail(archive / "manifest", str(error))
        return result
    by_segment: dict[tuple[str, int], list[ManifestFile]] = {key: [] for key in manifest.segments}
    for file in manifest.files:
        by_segment[file.collector, file.segment].append(file)
    for where, what in broken_links(manifest):
        result.fail(where, what)
    result.chains = {collector: str(links[-1].chain) for collector, links in manifest.links.items()}
    unrolled = _check_journal(data, manifest, by_segment, result, progress)
    _check_order({**unrolled, **manifest.segments}, result)
    _check_books(archive, manifest, result, progress)
    return result


# ---- journal against archive -----------------------------------------------------------------------------------


def _check_journal(
    data: Path,
    manifest: Manifest,
    by_segment: dict[tuple[str, int], list[ManifestFile]],
    result: Verification,
    progress: Callable[[str], None],
) -> dict[tuple[str, int], ManifestSegment]:
    """Hold every segment against its files; returns what those that are not rolled yet would be in the manifest."""
    archive = data / "archive"
    journal = {}
    unrolled: dict[tuple[str, int], ManifestSegment] = {}
    for segment in segments(data):
        if segment.state == "sealed":
            journal[segment.collector, segment.start_ns] = segment.path
        elif segment.state == "torn":
            result.note(segment.path, "set aside by a recovery; the records before it are in the segment")
        else:
            result.note(
                segment.path, "open: being recorded, or waiting for the next `record` or `roll` to recover it"
            )
    for key in sorted({*journal, *by_segment}):
        path = journal.get(key)
        files = by_segment.get(key)
        intact = {file.path: _check_file(archive, file, result) for file in files or []}
        if path is None:
            where, listed = f"{key[0]}/{key[1]}.arrows", len(by_segment[key])
            result.note(where, "not in the journal: its files are checked by themselves")
            if listed != manifest.segments[key].files:
                result.fail(
                    where,
                    f"the manifest says {manifest.segments[key].files} files, and lists {listed} of them",
                )
            continue
        progress(f"segment {key[0]}/{path.name}")
        try:
            with tempfile.TemporaryDirectory(prefix="tapebook-verify-") as scratch:
                rolled = roll_fully(path, Path(scratch))
                fresh = _check_segment(path, rolled, manifest.segments.get(key), result)
                if files is None:
                    unrolled[key] = fresh
                    result.note(path, "not rolled yet")
                else:
                    _compare_files(archive, Path(scratch), files, rolled, intact, result)
        except Corrupt as error:
            result.fail(error.path, error.why)
        except (TapebookError, msgspec.MsgspecError, ValueError) as error:
            result.fail(path, str(error))
    return unrolled


def _check_file(archive: Path, file: ManifestFile, result: Verification) -> bool:
    """Whether a file's bytes are the ones that the manifest speaks of."""
    path = archive / file.path
    result.files += 1
    result.rows += file.rows
    if file.table == Table.GAPS.value:
        result.gaps += file.rows
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        result.fail(path, f"missing, although the manifest lists it with {file.rows} rows")
        return False
    except OSError as error:
        result.fail(path, f"cannot be read: {error}")
        return False
    if digest.hexdigest() != file.sha256:
        result.fail(
            path, f"sha256 is {digest.hexdigest()[:16]}…, expected {file.sha256[:16]}…: the file was altered"
        )
        return False
    return True


def _check_segment(
    path: Path, rolled: Rolled, recorded: ManifestSegment | None, result: Verification
) -> ManifestSegment:
    result.segments += 1
    fresh = rolled.entries[-1]
    assert isinstance(fresh, ManifestSegment)
    result.frames += fresh.frames
    result.live_digests += rolled.digests
    result.undecodable += sum(fresh.undecodable.values())
    if rolled.mismatches:
        first: Mismatch = rolled.mismatches[0]
        more = f" (and {len(rolled.mismatches) - 1} more)" if len(rolled.mismatches) > 1 else ""
        result.fail(
            path,
            f"record {first.sequence}: the live book at update id {first.update_id} had digest {first.live}, "
            f"the replay has {first.replayed}{more}",
            feed=first.topic,
        )
    if recorded is None:
        return fresh
    names = (
        "records",
        "frames",
        "sequence",
        "undecodable",
        "repeats",
        "ended",
        "files",
        "content_sha256",
        "header",
    )
    for name in names[: None if recorded.content_sha256 is not None else -2]:
        found, expected = getattr(recorded, name), getattr(fresh, name)
        if found != expected:
            result.fail(path, f"the manifest says {name} = {found}, the journal says {expected}")
    return fresh


def _compare_files(
    archive: Path,
    scratch: Path,
    files: list[ManifestFile],
    rolled: Rolled,
    intact: dict[str, bool],
    result: Verification,
) -> None:
    fresh = {entry.path: entry for entry in rolled.entries if isinstance(entry, ManifestFile)}
    listed = {file.path for file in files}
    for path in sorted(fresh.keys() - listed):
        result.fail(
            archive / path, f"not in the manifest, although the journal holds {fresh[path].rows} rows for it"
        )
    for file in files:
        expected = fresh.get(file.path)
        if expected is None:
            result.fail(archive / file.path, f"has {file.rows} rows, the journal holds none for it")
        elif expected.sha256 != file.sha256 or not intact[file.path]:
            difference = _first_difference(
                archive / file.path, scratch / file.path, Table(file.table), file.symbol
            )
            if difference is not None:
                row, feed, what = difference
                result.fail(archive / file.path, what, feed=feed, row=row)
            elif intact[file.path]:
                result.note(
                    archive / file.path, "other bytes than this version would write, and the same rows"
                )


def _first_difference(
    found_path: Path, expected_path: Path, table: Table, symbol: str
) -> tuple[int | None, str | None, str] | None:
    try:
        found = pq.read_table(found_path)
    except FileNotFoundError:
        return None  # said already
    except (OSError, pa.ArrowException) as error:
        return None, None, f"is no Parquet file any more: {error}"
    expected = pq.read_table(expected_path)
    if not found.schema.equals(schema_of(table)):
        return None, None, "has other columns than its table"
    low, high = 0, min(found.num_rows, expected.num_rows)
    while low < high:  # the length of the longest common beginning
        middle = (low + high + 1) // 2
        if found.slice(low, middle - low).equals(expected.slice(low, middle - low)):
            low = middle
        else:
            high = middle - 1
    if low == found.num_rows == expected.num_rows:
        return None
    if low < min(found.num_rows, expected.num_rows):
        left, right = _plain_row(found, low), _plain_row(expected, low)
        name = next((n for n in left if left[n] != right[n]), found.schema.names[0])
        what = f"{name} is {_short(left[name])}, the journal says {_short(right[name])}"
    else:
        what = f"ends after {found.num_rows} rows, the journal holds {expected.num_rows}"
    if found.num_rows != expected.num_rows:
        what += f" ({found.num_rows} rows, the journal holds {expected.num_rows})"
    at = (expected if low < expected.num_rows else found).slice(low, 1)
    return low, _feed_of(at, table, symbol), what


def _plain_row(table: pa.Table, index: int) -> dict[str, Any]:
    """One row as plain values. Times in nanoseconds go through integers: datetime objects can't hold them."""
    row = {}
    for item, column in zip(table.schema, table.columns, strict=True):
        cell = column.slice(index, 1)
        if pa.types.is_timestamp(item.type):
            ticks = cell.cast(pa.int64())[0].as_py()
            scale = 1 if item.type.unit == "ns" else NS_PER_MS
            row[item.name] = None if ticks is None else format_ns(ticks * scale)
        else:
            row[item.name] = cell[0].as_py()
    return row


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "…"


_TOPICS = {
    Table.TRADES: "publicTrade",
    Table.TICKERS: "tickers",
    Table.LIQUIDATIONS: "allLiquidation",
    Table.INSURANCE: "insurance",
    Table.ADL_ALERTS: "adlAlert",
    Table.PRICE_LIMITS: "priceLimit",
    Table.SYSTEM_STATUS: "system.status",
}


def _feed_of(row: pa.Table, table: Table, symbol: str) -> str | None:
    if row.num_rows == 0:
        return None
    if table in LEVELS_OF:
        return book_topic(table, row.column("depth")[0].as_py(), symbol)
    if "topic" in row.schema.names:
        return str(row.column("topic")[0].as_py())
    if table is Table.INSTRUMENTS:
        return str(row.column("symbol")[0].as_py())
    if table is Table.KLINES:
        return f"kline.{row.column('interval')[0].as_py()}.{symbol}"
    if table in (Table.INSURANCE, Table.ADL_ALERTS):
        return f"{_TOPICS[table]}.{row.column('pool_group')[0].as_py()}"
    return _TOPICS.get(table, table.value) + ("" if symbol == "_" else f".{symbol}")


def _check_order(segments_of: dict[tuple[str, int], ManifestSegment], result: Verification) -> None:
    """Sequences of a collector go on from segment to segment, except behind a crash, which may lose its last ones."""
    before: ManifestSegment | None = None
    for _, segment in sorted(segments_of.items()):
        if before is not None and before.collector == segment.collector:
            expected = before.sequence[1] + 1
            first = segment.sequence[0]
            if first < expected or (first > expected and before.ended != "crashed"):
                result.fail(
                    f"{segment.collector}/{segment.segment}.arrows",
                    f"begins with record {first}, expected {expected}: a segment is missing or out of place",
                )
        before = segment


# ---- the archive by itself -------------------------------------------------------------------------------------


class _BookWalk:
    """The rows of one feed of one collector, applied one by one across its files."""

    def __init__(self, table: Table, symbol: str, depth: int) -> None:
        self.topic = book_topic(table, depth, symbol)
        self.is_rpi = table is Table.RPI_BOOK_UPDATES
        self.depth = depth
        self.book: Book | RpiBook | None = None
        self.update_id = -1
        self.sequence = -1

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


def _check_books(
    archive: Path, manifest: Manifest, result: Verification, progress: Callable[[str], None]
) -> None:
    feeds = [(table, *names) for table in LEVELS_OF for names in manifest.symbols(table)]
    for table, category, symbol in feeds:
        progress(f"books {category} {symbol}")
        walks: dict[tuple[str, int], _BookWalk] = {}
        files = manifest.select(table, category=category, symbol=symbol)
        for file in sorted(files, key=lambda f: (f.collector, f.segment, f.date)):
            path = archive / file.path
            try:
                bad = _walk_file(path, file, table, walks, result)
            except (OSError, pa.ArrowException, TapebookError, ValueError, KeyError) as error:
                result.fail(path, f"its rows can't be applied: {error}")
                bad = True
            if bad:  # everything behind a broken row would be wrong too, and say nothing new
                for key in [key for key in walks if key[0] == file.collector]:
                    del walks[key]


def _walk_file(
    path: Path,
    file: ManifestFile,
    table: Table,
    walks: dict[tuple[str, int], _BookWalk],
    result: Verification,
) -> bool:
    broken: set[int] = set()
    index = 0
    for key, walk in walks.items():
        if key[0] == file.collector:
            walk.sequence = -1  # rows of one segment may alternate between the files of two dates
    for columns, levels in _book_batches(path, table):
        for i in range(len(columns["sequence"])):
            row = {name: values[i] for name, values in columns.items()}
            depth = row["depth"]
            if depth not in broken:
                walk = walks.setdefault((file.collector, depth), _BookWalk(table, file.symbol, depth))
                what = walk.row(row, tuple(side(i) for side in levels), result)
                if what is not None:
                    result.fail(path, what, feed=walk.topic, row=index)
                    broken.add(depth)
            index += 1
    return bool(broken)


def _book_batches(
    path: Path, table: Table
) -> Iterator[tuple[dict[str, list[Any]], list[Callable[[int], Any]]]]:
    """Batches of a book file: plain columns as lists, and one function per level list that cuts row i out of it."""
    with pq.ParquetFile(path) as parquet:
        if not parquet.schema_arrow.equals(schema_of(table)):
            raise ValueError("other columns than its table has")
        for batch in parquet.iter_batches(batch_size=8192, columns=[*BOOK_COLUMNS, *LEVELS_OF[table]]):
            columns: dict[str, list[Any]] = {}
            levels: list[Callable[[int], Any]] = []
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name.endswith("_mantissa"):
                    offsets = column.offsets.to_numpy()
                    values = column.values.to_numpy()
                    levels.append(lambda i, o=offsets, v=values: v[o[i] : o[i + 1]])  # type: ignore[misc]
                else:
                    columns[name] = column.to_pylist()
            yield columns, levels
