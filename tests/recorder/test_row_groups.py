"""Damaged footers: an error that names the file, and never the end of the process."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.compact import compact_data
from recorder.manifest import read_manifest
from recorder.roll import roll_data
from recorder.row_groups import ArchiveReader
from schemas.errors import Corrupt
from schemas.names import Table
from tests.recorder.recordings import record_day

FLIPPED = 170
"""Bytes of a footer in which the schema and the first column's chunk lie."""

EVERY_FLIP = """
import sys
from pathlib import Path
from recorder.row_groups import ArchiveReader
from schemas.errors import Corrupt
from schemas.names import Table

whole, target, refused = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]), 0
start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
for at in range(start, start + int(sys.argv[3])):
    for bit in range(8):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        target.write_bytes(damaged)
        try:
            with ArchiveReader(target, Table.RAW_RECORDS) as reader:
                for rows in reader.batches(reader.groups):
                    pass
        except Corrupt:
            refused += 1
print(refused)
"""


def raw_records(data: Path) -> Path:
    record_day(data)
    roll_data(data)
    compact_data(data)
    (file,) = (
        file for file in read_manifest(data / "archive").files if file.table == Table.RAW_RECORDS.value
    )
    return data / "archive" / file.path


def test_a_flipped_bit_in_a_footer_is_refused_and_ends_no_process(tmp_path: Path) -> None:
    path = raw_records(tmp_path / "data")
    done = subprocess.run(
        [sys.executable, "-c", EVERY_FLIP, path, tmp_path / "damaged", str(FLIPPED)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert FLIPPED * 2 < int(done.stdout) < FLIPPED * 8


def _pages(path: Path) -> int:
    """How many bytes of a file come before its footer."""
    whole = path.read_bytes()
    return len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")


@pytest.mark.parametrize("table", [Table.BOOK_UPDATES, Table.TRADES, Table.TICKERS, Table.RAW_RECORDS])
def test_no_flipped_bit_in_a_compacted_files_pages_changes_a_row(tmp_path: Path, table: Table) -> None:
    """Page headers aside, of which some bits say nothing that is read."""
    raw_records(tmp_path / "data")
    archive = tmp_path / "data" / "archive"
    path = archive / next(file.path for file in read_manifest(archive).files if file.table == table.value)
    whole = path.read_bytes()
    with ArchiveReader(path, table) as reader:
        expected = [reader.group(group) for group in reader.groups]
    rng = random.Random(5)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.randrange(4, _pages(path))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            with ArchiveReader(path, table) as reader:
                assert [reader.group(group) for group in reader.groups] == expected
        except Corrupt:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("cut", [0, 3, 7, 8, 12, 200])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, cut: int) -> None:
    path = raw_records(tmp_path / "data")
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] if cut < 100 else whole[:-cut])
    with pytest.raises(Corrupt, match="cannot be read as Parquet"):
        ArchiveReader(path, Table.RAW_RECORDS)
