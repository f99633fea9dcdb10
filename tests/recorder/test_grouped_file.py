"""Files written row group by row group: the bytes of one writer, and nothing kept between the groups."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.stored_rows import store
from recorder import grouped_file
from recorder.encodings import open_writer, profile
from recorder.grouped_file import GroupedFile, joined
from recorder.row_scratch import RowScratch
from schemas.errors import StoreError
from schemas.names import Table
from tests.table_rows import random_rows

TABLES = (Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES, Table.TRADES, Table.TICKERS, Table.COVERAGE)


def _groups(table: Table, lengths: Sequence[int] = (30, 1, 7, 50, 3, 3, 20)) -> list[pa.Table]:
    return [
        store(table, random_rows(table, seed, length).combine_chunks()) for seed, length in enumerate(lengths)
    ]


def _of_one_writer(table: Table, groups: list[pa.Table]) -> bytes:
    file = io.BytesIO()
    with open_writer(file, table, profile("roll", table)) as writer:
        for rows in groups:
            writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
    return file.getvalue()


def _file(tmp_path: Path, table: Table = Table.TRADES) -> GroupedFile:
    scratch = RowScratch(tmp_path / "scratch")
    return GroupedFile(tmp_path / "new" / "a.parquet", table, profile("roll", table), scratch)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("rests", "of_a_writer"),
    [((), 99), ((), 3), ((), 1), ((0, 1, 2, 3, 4, 5, 6), 99), ((2, 5), 99), ((0, 4), 2)],
)
def test_the_bytes_are_those_of_one_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Table, rests: tuple[int, ...], of_a_writer: int
) -> None:
    monkeypatch.setattr(grouped_file, "GROUPS_OF_A_WRITER", of_a_writer)
    groups = _groups(table)
    file = _file(tmp_path, table)
    assert not file.is_begun
    for number, rows in enumerate(groups):
        file.write(rows, resting=number in rests)
        assert file.is_begun
    assert (file.writers > 0) == bool(rests or of_a_writer < len(groups))
    sha256 = file.finish()
    content = (tmp_path / "new" / "a.parquet").read_bytes()
    assert content == _of_one_writer(table, groups)
    assert (file.length, sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert pq.read_table(io.BytesIO(content)).num_rows == sum(rows.num_rows for rows in groups)


def test_a_file_without_rows(tmp_path: Path) -> None:
    file = _file(tmp_path)
    empty = store(Table.TRADES, random_rows(Table.TRADES, 1, 0))
    file.write(empty, resting=False)
    file.finish()
    assert (tmp_path / "new" / "a.parquet").read_bytes() == _of_one_writer(Table.TRADES, [empty])


def test_at_rest_it_has_no_writer_and_no_descriptor(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    files = [_file(tmp_path / str(number), Table.BOOK_UPDATES) for number in range(8)]
    (rows,) = _groups(Table.BOOK_UPDATES, (5,))
    files[0].write(rows, resting=True)  # makes its scratch file
    before = descriptors()
    for _ in range(3):
        files[0].write(rows, resting=True)
    assert descriptors() == before
    assert files[0].writers == 4
    for file in files:
        file.abandon()


def test_a_writer_says_of_few_row_groups_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The footer of one writer grows with the file; ours are all of one length."""
    caught: list[int] = []
    put = RowScratch.put_bytes

    def counted(scratch: RowScratch, content: bytes) -> Any:
        caught.append(len(content))
        return put(scratch, content)

    monkeypatch.setattr(RowScratch, "put_bytes", counted)
    file = _file(tmp_path)
    (rows,) = _groups(Table.TRADES, (2,))
    for _ in range(6 * grouped_file.GROUPS_OF_A_WRITER):
        file.write(rows, resting=False)
    assert len(caught) == 6
    assert max(caught) < 1.1 * min(caught)  # the numbers in them become longer
    file.finish()
    assert (
        pq.read_metadata(tmp_path / "new" / "a.parquet").num_row_groups == 6 * grouped_file.GROUPS_OF_A_WRITER
    )


@pytest.mark.parametrize("resting", [False, True])
def test_abandoned_it_is_no_parquet_file(tmp_path: Path, resting: bool) -> None:
    file = _file(tmp_path, Table.BOOK_UPDATES)
    file.abandon()  # nothing is there yet
    for rows in _groups(Table.BOOK_UPDATES):
        file.write(rows, resting=resting)
    file.abandon()
    file.abandon()
    assert not (tmp_path / "new" / "a.parquet").read_bytes()[4:].endswith(b"PAR1")


def test_disks_that_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (rows,) = _groups(Table.TRADES, (5,))
    (tmp_path / "scratch").write_text("in the way")
    file = _file(tmp_path)
    with pytest.raises(StoreError, match="could not be set aside"):
        file.write(rows, resting=True)
    file.abandon()
    (tmp_path / "scratch").unlink()
    (tmp_path / "new" / "a.parquet").unlink()
    (tmp_path / "new").rmdir()
    (tmp_path / "new").write_text("in the way")
    file = _file(tmp_path)
    with pytest.raises(OSError, match=r"exists|directory"):
        file.write(rows, resting=True)
    file.abandon()


@pytest.mark.parametrize("spoil", [lambda one: one[1:], lambda one: one[:-1] + b"x", lambda one: b""])
def test_footers_that_are_none(spoil: Any) -> None:
    content = _of_one_writer(Table.TRADES, _groups(Table.TRADES, (3,)))
    footer = content[-8 - int.from_bytes(content[-8:-4], "little") :]
    assert b"".join(joined([footer], 3, 1)) == footer
    with pytest.raises(ValueError, match="found"):
        b"".join(joined([footer, spoil(footer)], 6, 2))
    with pytest.raises(ValueError, match="found 1 row groups in the footers, expected 2"):
        b"".join(joined([footer], 3, 2))
