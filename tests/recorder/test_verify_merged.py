"""Verify over compacted files: what was changed in one is named, with or without the journal, or parts of it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from engine.stored_rows import store
from recorder.compact import compact_data
from recorder.compare_rows import rows_of
from recorder.journal import segments
from recorder.manifest import manifest_path, read_manifest
from recorder.prune import prune_segment
from recorder.roll import roll_data, roll_lock
from recorder.verify import Finding, verify
from schemas.manifest import ManifestFile, decode_line, encode_lines
from schemas.names import Table
from tests.recorder.recordings import BOOK, TRADES, Tape, market


@pytest.fixture(scope="module")
def compacted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments in files of the day."""
    data = tmp_path_factory.mktemp("compacted") / "data"
    tape = Tape(data)
    for start in (0, 70, 140):
        tape.frames(market(start, start + 70), flush_every=20)
        if start < 140:
            tape.rotate()
    tape.stop()
    with roll_lock(data, wait=False):
        roll_data(data)
    compact_data(data, grace_s=0)
    return data


@pytest.fixture
def data(compacted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(compacted, tmp_path / "data"))


def merged(data: Path, table: Table) -> ManifestFile:
    (file,) = read_manifest(data / "archive").select(table, symbol="BTCUSDT")
    return file


def forge(data: Path, table: Table, change: Callable[[pa.Table], pa.Table]) -> ManifestFile:
    """Change the rows of a merged file, and let the manifest speak of the new bytes."""
    entry = merged(data, table)
    path = data / "archive" / entry.path
    rows = change(pa.concat_tables(rows_of(path, table)).unify_dictionaries().combine_chunks())
    path.unlink()
    scratch = data / "new.parquet"
    pq.write_table(store(table, rows), scratch)
    digest = hashlib.sha256(scratch.read_bytes()).hexdigest()
    name = f"{entry.collector}-{entry.segment}-{entry.last_segment}-{digest[:12]}.parquet"
    forged = msgspec.structs.replace(
        entry,
        path=f"{entry.path.rpartition('/')[0]}/{name}",
        sha256=digest,
        bytes=scratch.stat().st_size,
        rows=rows.num_rows,
    )
    scratch.rename(data / "archive" / forged.path)
    manifest = manifest_path(data / "archive", "linear")
    lines = [decode_line(line) for line in manifest.read_bytes().splitlines()]
    manifest.write_bytes(
        encode_lines([forged if getattr(line, "path", None) == entry.path else line for line in lines])
    )
    return forged


def first_of(data: Path, where: ManifestFile) -> Finding:
    found = [failure for failure in verify(data).failures if failure.where.endswith(where.path)]
    assert found
    return found[0]


def changed(rows: pa.Table, name: str, place: int, value: Any) -> pa.Table:
    column = rows.column(name)
    values = [
        column.slice(0, place),
        pa.chunked_array([pa.array([value], column.type)]),
        column.slice(place + 1),
    ]
    chunks = [chunk for part in values for chunk in part.chunks]
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), pa.chunked_array(chunks))


def test_compacted_days_are_well(data: Path) -> None:
    result = verify(data, deep=True)
    assert result.findings == []
    assert result.segments == 3
    assert result.keyframes > 0
    assert result.archive_digests == result.live_digests > 0
    assert verify(data, quick=True).findings == []


@pytest.mark.parametrize("place", [0, 50, 104])
def test_a_changed_value_is_named_with_its_row(data: Path, place: int) -> None:
    forged = forge(data, Table.TRADES, lambda rows: changed(rows, "price_mantissa", place, 7))
    finding = first_of(data, forged)
    assert (finding.row, finding.feed) == (place, TRADES)
    assert "price_mantissa is 7, the journal says" in finding.what


def test_a_changed_level_of_a_book_is_named_with_its_feed(data: Path) -> None:
    def alter(rows: pa.Table) -> pa.Table:
        assert rows.column("depth")[300].as_py() == 50
        return changed(rows, "bid_size_mantissa", 300, [12345] * len(rows.column("bid_price_mantissa")[300]))

    finding = first_of(data, forge(data, Table.BOOK_UPDATES, alter))
    assert (finding.row, finding.feed) == (300, BOOK)


@pytest.mark.parametrize("gone", [(0,), (1,), (2,), (0, 2)])
def test_where_the_journal_has_parts_only_these_are_compared(data: Path, gone: tuple[int, ...]) -> None:
    files = segments(data)
    kept = next(number for number in range(3) if number not in gone)
    segment = read_manifest(data / "archive").segments["linear", files[kept].start_ns]
    for number in gone:
        files[number].path.unlink()
    result = verify(data)
    assert result.failures == []
    assert len(result.findings) == len(gone)

    def alter(rows: pa.Table) -> pa.Table:
        inside = pc.greater_equal(rows.column("sequence"), segment.sequence[0] + 9)
        place = inside.to_pylist().index(True)
        return changed(rows, "price_mantissa", place, 7)

    finding = first_of(data, forge(data, Table.TRADES, alter))
    assert "price_mantissa is 7, the journal says" in finding.what
    forged = forge(
        data, Table.TRADES, lambda rows: rows.filter(pc.not_equal(rows.column("price_mantissa"), 7))
    )
    assert first_of(data, forged).fails


def test_rows_that_are_missing_or_too_many_are_found(data: Path) -> None:
    finding = first_of(data, forge(data, Table.TICKERS, lambda rows: rows.slice(0, rows.num_rows - 1)))
    assert "ends after 52 rows, the journal holds 53" in finding.what
    again = forge(data, Table.TICKERS, lambda rows: pa.concat_tables([rows, rows.slice(0, 3)]))
    assert first_of(data, again).fails


def test_without_the_journal_books_and_lines_remain(data: Path) -> None:
    for file in segments(data):
        file.path.unlink()
    assert verify(data).failures == []

    def alter(rows: pa.Table) -> pa.Table:
        return changed(rows, "bid_size_mantissa", 130, [12345] * len(rows.column("bid_price_mantissa")[130]))

    finding = first_of(data, forge(data, Table.BOOK_UPDATES, alter))
    assert finding.feed == BOOK
    forged = forge(data, Table.TRADES, lambda rows: rows.slice(1))
    assert "the manifest says" in first_of(data, forged).what


def test_quick_finds_altered_bytes_and_broken_manifests(data: Path) -> None:
    path = data / "archive" / merged(data, Table.TRADES).path
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    (finding,) = verify(data, quick=True).failures
    assert "the file was altered" in finding.what
    manifest = manifest_path(data / "archive", "linear")
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(
        b"".join(line for line in lines if b'"last_segment":1' not in line or b"trades/" not in line)
    )
    assert any("a compaction says" in failure.what for failure in verify(data, quick=True).failures)


def test_what_is_pruned_while_it_verifies_is_no_failure(data: Path) -> None:
    first = segments(data)[0]

    def prune(what: str) -> None:
        if what == f"segment linear/{first.path.name}":
            assert prune_segment(data, first, now_ns=2**62).kept is None

    result = verify(data, progress=prune)
    assert not first.path.exists()
    assert not result.failures
    assert any("pruned meanwhile" in str(finding) for finding in result.findings)
    assert not verify(data).failures


def test_what_vanishes_while_it_verifies_is_one(data: Path) -> None:
    first = segments(data)[0]
    result = verify(data, progress=lambda what: first.path.unlink() if first.path.name in what else None)
    assert [finding.where for finding in result.failures] == [str(first.path)]
