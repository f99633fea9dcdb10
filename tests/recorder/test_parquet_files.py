"""Archive files: where they lie, that their bytes depend on their rows alone, and what the manifest hears."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.stored_rows import restore
from recorder.parquet_files import COLUMN_BYTES, ArchiveFile, Held, date_of_day, file_path, sync_directory
from schemas.errors import StoreError
from schemas.names import Table
from schemas.stored import stored_schema
from schemas.tables import SCHEMA_VERSION, schema_of
from tests.recorder.archives import NOON_NS, small_row_groups, table_of

DAY = NOON_NS // 86_400_000_000_000
KEY = (Table.TRADES, "BTCUSDT", DAY)


def _rows(start: int, stop: int) -> pa.Table:
    return table_of(
        Table.TRADES,
        [
            {
                "sequence": i, "receive_time": NOON_NS + 1_000 * i, "push_time": NOON_NS // 10**6 + i,
                "match_time": NOON_NS // 10**6 + i - 1, "trade_id": f"t{i}", "price_mantissa": 100 + i % 7,
                "size_mantissa": i, "cross_sequence": 10 * i,
            }
            for i in range(start, stop)
        ],
    )  # fmt: skip


def _write(archive: Path, parts: list[pa.Table]) -> ArchiveFile:
    file = ArchiveFile(archive, KEY, "linear", "linear", 7)
    for part in parts:
        file.append(part)
    return file


@pytest.mark.parametrize(
    ("day", "date"),
    [(0, "1970-01-01"), (DAY, "2024-08-08"), (19_782, "2024-02-29"), (2_932_896, "9999-12-31")],
)
def test_dates(day: int, date: str) -> None:
    assert date_of_day(day) == date


@pytest.mark.parametrize(
    ("symbol", "encoded"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("SOLUSDT_SOL/USDT", "SOLUSDT_SOL%2FUSDT"),
        ("a b=c?", "a%20b%3Dc%3F"),
        ("_", "_"),
    ],
)
def test_paths(symbol: str, encoded: str) -> None:
    assert file_path((Table.GAPS, symbol, DAY), "spot", "mine", 12) == (
        f"gaps/category=spot/symbol={encoded}/date=2024-08-08/mine-12.parquet"
    )


def test_how_rows_arrive_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_row_groups(monkeypatch, rows=10)
    written = []
    for number, cuts in enumerate([[35], [1, 34], [10, 20, 30], list(range(35)), [9, 11, 29]]):
        edges = sorted({0, *cuts, 35})
        parts = [_rows(start, stop) for start, stop in pairwise(edges)]
        entry = _write(tmp_path / str(number), parts).finish(0)
        written.append(((tmp_path / str(number) / entry.path).read_bytes(), entry))
    assert all(one == written[0] for one in written)
    metadata = pq.read_metadata(tmp_path / "0" / written[0][1].path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [10, 10, 10, 5]


def _book_rows(levels: list[tuple[int, int]]) -> pa.Table:
    """Rows of an order book with so many bids and asks each."""
    return table_of(
        Table.BOOK_UPDATES,
        [
            {
                "sequence": i, "receive_time": NOON_NS + i, "push_time": NOON_NS // 10**6 + i,
                "depth": 50, "update_id": i,
                "bid_price_mantissa": list(range(i, i + bids)), "bid_size_mantissa": [1] * bids,
                "ask_price_mantissa": list(range(i, i + asks)), "ask_size_mantissa": [2] * asks,
            }
            for i, (bids, asks) in enumerate(levels)
        ],
    )  # fmt: skip


LEVELS = [(3, 2), (0, 0), (1, 9), (40, 0), (0, 4), (2, 3), (5, 5), (1, 0), (0, 9), (0, 0), (0, 0)]
# the row that brings a group's levels to 10 ends it, and so does its fifth row
GROUPS_OF_LEVELS = [3, 1, 3, 2, 2]


@pytest.mark.parametrize("cuts", [[], [1], [3], [4, 5], list(range(1, 11))])
def test_deep_books_have_shorter_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: list[int]
) -> None:
    small_row_groups(monkeypatch, rows=5, levels=10)
    rows = _book_rows(LEVELS)
    file = ArchiveFile(tmp_path, (Table.BOOK_UPDATES, "BTCUSDT", DAY), "linear", "linear", 7)
    for start, stop in pairwise([0, *cuts, len(LEVELS)]):
        file.append(rows.slice(start, stop - start))
    entry = file.finish(0)
    metadata = pq.read_metadata(tmp_path / entry.path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == GROUPS_OF_LEVELS
    assert restore(Table.BOOK_UPDATES, pq.read_table(tmp_path / entry.path, partitioning=None)).equals(rows)


@pytest.mark.parametrize("most_bytes", [0, 2_000, 1 << 30])
def test_what_is_set_aside_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    small_row_groups(monkeypatch, rows=10)
    expected = _write(tmp_path / "held", [_rows(0, 35)]).finish(0)
    held = Held(tmp_path / "aside", most_bytes)
    files = [ArchiveFile(tmp_path / "aside", KEY, "linear", "linear", at, held) for at in (7, 8)]
    largest = 0
    for start in range(0, 35, 3):
        for file in files:
            rows = _rows(start, min(start + 3, 35))
            largest = max(largest, rows.get_total_buffer_size() + COLUMN_BYTES * rows.num_columns)
            file.append(rows)
            held.relieve()
            assert held.bytes <= most_bytes
            assert held.bytes == sum(file.waiting_bytes for file in files)
    assert held.peak_bytes <= most_bytes + largest
    assert (held.scratch.written_bytes > 0) == (most_bytes < 1 << 30)
    assert files[0].finish(0) == expected
    assert (tmp_path / "aside" / expected.path).read_bytes() == (
        tmp_path / "held" / expected.path
    ).read_bytes()
    files[1].discard()
    held.close()
    # nothing has a name but the finished file
    assert [path.name for path in (tmp_path / "aside").rglob("*") if path.is_file()] == ["linear-7.parquet"]


def test_the_largest_piles_are_set_aside_first(tmp_path: Path) -> None:
    held = Held(tmp_path, most_bytes=1 << 30)
    files = [ArchiveFile(tmp_path, KEY, "linear", "linear", at, held) for at in range(3)]
    for file, count in zip(files, (5, 400, 20), strict=True):
        file.append(_rows(0, count))
    held.most_bytes = 2 * (files[0].waiting_bytes + files[2].waiting_bytes) + 2
    held.relieve()
    assert [file.waiting_bytes > 0 for file in files] == [True, False, True]


def test_a_file_exists_for_nobody_until_it_is_finished(tmp_path: Path) -> None:
    file = _write(tmp_path, [_rows(0, 5)])
    assert not list(tmp_path.rglob("*.parquet"))
    entry = file.finish(3)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["linear-7.parquet"]
    content = (tmp_path / entry.path).read_bytes()
    assert (entry.bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (entry.rows, entry.gaps, entry.date, entry.schema_version) == (5, 3, "2024-08-08", SCHEMA_VERSION)
    assert entry.sequence == (0, 4)
    assert entry.receive_ns == (NOON_NS, NOON_NS + 4_000)
    assert entry.match_ms == (NOON_NS // 10**6 - 1, NOON_NS // 10**6 + 3)
    assert entry.cross_sequence == (0, 40)
    assert entry.update_id is None


def test_a_discarded_file_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_row_groups(monkeypatch, rows=2)
    file = _write(tmp_path, [_rows(0, 5)])
    assert list(tmp_path.rglob("*.tmp"))
    file.discard()
    file.discard()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_empty_table_is_a_file_too(tmp_path: Path) -> None:
    entry = _write(tmp_path, []).finish(0)
    rows = pq.read_table(tmp_path / entry.path, partitioning=None)
    assert (entry.rows, rows.num_rows, entry.sequence) == (0, 0, None)
    assert rows.schema.equals(stored_schema(Table.TRADES))
    assert restore(Table.TRADES, rows).schema.equals(schema_of(Table.TRADES))


def test_feeds_of_a_book_file(tmp_path: Path) -> None:
    file = ArchiveFile(tmp_path, (Table.BOOK_UPDATES, "BTCUSDT", DAY), "linear", "linear", 7)
    base = {"receive_time": NOON_NS, "push_time": NOON_NS // 10**6}
    rows: list[dict[str, Any]] = [
        {"depth": 50, "update_id": 5, "digest": None},
        {"depth": 200, "update_id": 90, "digest": 7},
        {"depth": 50, "update_id": 6, "digest": 255},
        {"depth": 50, "update_id": 7, "digest": 2**64 - 1},
        {"depth": 50, "update_id": 8, "digest": None},
    ]
    for i, row in enumerate(rows):
        file.append(table_of(Table.BOOK_UPDATES, [base | row | {"sequence": i}]))
    entry = file.finish(0)
    assert list(entry.feeds) == ["orderbook.200.BTCUSDT", "orderbook.50.BTCUSDT"]
    ends = entry.feeds["orderbook.50.BTCUSDT"]
    assert (ends.rows, ends.first_update_id, ends.last_update_id) == (4, 5, 8)
    assert (ends.first_digest, ends.last_digest) == (f"{255:016x}", "f" * 16)
    assert entry.update_id == (5, 90)


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "trades").write_text("in the way")
    with pytest.raises(StoreError, match="the journal still has everything"):
        _write(tmp_path, [_rows(0, 5)]).finish(0)
    with pytest.raises(StoreError, match="could not be synced"):
        sync_directory(tmp_path / "nothing")
