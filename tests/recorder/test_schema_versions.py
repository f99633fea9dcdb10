"""Archives that an earlier version wrote: every command reads them, beside new files too; compact makes them new."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from engine.stored_rows import restore
from recorder.archive import open_archive
from recorder.book_state import book_at
from recorder.compact import compact_data
from recorder.feed_rows import Clock
from recorder.manifest import manifest_path, read_manifest
from recorder.rebuild import rebuild
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.manifest import Entry, ManifestFile, decode_line, encode_lines
from schemas.names import Table
from schemas.tables import SCHEMA_VERSION, schema_of
from tests.recorder.recordings import BOOK, START_NS, record_day


def as_version_1(data: Path, which: Callable[[int], bool] = lambda _: True) -> None:
    """Write files of the archive again as version 1 did: the tables as they are, with the Arrow schema."""
    path = manifest_path(data / "archive", "linear")
    lines: list[Entry] = []
    for line in map(decode_line, path.read_bytes().splitlines()):
        if isinstance(line, ManifestFile) and which(len(lines)):
            file = data / "archive" / line.path
            table = Table(line.table)
            rows = restore(table, pq.read_table(file, partitioning=None))
            assert rows.schema.equals(schema_of(table))
            pq.write_table(rows, file, compression="zstd")
            content = file.read_bytes()
            line = msgspec.structs.replace(
                line, schema_version=1, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
            )
        lines.append(line)
    path.write_bytes(encode_lines(lines))


def answers(data: Path) -> dict[str, Any]:
    """What every view shows, and a book."""
    found: dict[str, Any] = {}
    with open_archive(data, masked=False) as archive:
        for table in Table:
            rows = archive.sql(f"SELECT * FROM {table.value}_raw").table()
            found[table.value] = sorted(map(repr, zip(*_texts(rows), strict=True)))
        found["book"] = book_at(archive, "linear", "BTCUSDT", BOOK, START_NS + 10**9, Clock.RECEIVE)
    return found


def _texts(rows: Any) -> list[list[Any]]:
    """Columns as texts: moments have more digits than Python's."""
    return [[str(value) for value in column.cast("string").to_pylist()]
            if str(column.type).startswith("timestamp") else column.to_pylist()
            for column in rows.columns]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    record_day(tmp_path, steps=120, rotate_at=(60,))
    roll_data(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "which", [lambda _: True, lambda number: number % 2 == 0], ids=["all of it", "half of it"]
)
def test_an_archive_of_version_1_is_read_like_a_new_one(data: Path, which: Callable[[int], bool]) -> None:
    expected = answers(data)
    assert all(expected[name] for name in ("trades", "tickers", "book_updates"))
    as_version_1(data, which)
    manifest = read_manifest(data / "archive")
    assert 1 in {file.schema_version for file in manifest.files}
    assert answers(data) == expected
    assert verify(data).failures == []
    for entry in manifest.segments.values():
        assert rebuild(manifest, entry).content_sha256 == entry.content_sha256


def test_compacting_makes_it_new(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("new")
    record_day(other, steps=120, rotate_at=(60,))
    roll_data(other)
    expected = answers(data)
    as_version_1(data)
    for directory in (data, other):
        assert compact_data(directory, grace_s=0).damaged == {}
    files = read_manifest(data / "archive").files
    assert {file.schema_version for file in files} == {SCHEMA_VERSION}
    # whatever the rows were written in before
    assert [file.sha256 for file in files] == [file.sha256 for file in read_manifest(other / "archive").files]
    assert answers(data) == expected
    assert verify(data).failures == []
