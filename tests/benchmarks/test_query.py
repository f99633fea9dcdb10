"""The archive that questions are asked of is the same whenever it is made; answers are looked at before they count."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import query as module
from benchmarks.query import query
from benchmarks.query_archive import DAY_START_NS, PERIOD_NS, SYMBOLS, make_archive
from recorder.archive import open_archive
from recorder.book_state import book_at
from recorder.manifest import read_manifest
from schemas.errors import ConfigError
from schemas.names import Table


def test_every_question_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY_FILES", 700)
    result = query(tmp_path, 0.5, 4, 1, compacted=False)
    assert result["files"] == 12  # two quarters of books, trades and coverage of two symbols
    assert result["book_at"]["python"]["count"] == 4
    assert result["snapshots"]["rows"] > 17_900
    assert 0 < result["bars"]["bars"] <= 1_800
    assert result["open_many_files"]["files"] == 700
    # kept: asked again, nothing is made anew
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    data = tmp_path / "rolled-0.5h"
    make_archive(data, 0.5)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == made
    with pytest.raises(ConfigError, match="holds an archive of 2 periods"):
        make_archive(data, 0.75)
    with pytest.raises(ConfigError, match="holds something else"):
        make_archive(tmp_path, 0.5)

    first, second = (
        file for file in read_manifest(data / "archive").select(Table.BOOK_UPDATES, symbol=SYMBOLS[0])
    )
    assert (first.rows, second.sequence) == (second.rows, _later(first.sequence, second.sequence))
    with open_archive(data) as archive:
        books = [
            book_at(
                archive,
                "linear",
                "BTCUSDT",
                "orderbook.50.BTCUSDT",
                DAY_START_NS + n * PERIOD_NS + 300 * 10**9,
            )
            for n in (0, 1)
        ]
    assert books[0].bids == books[1].bids
    assert len(books[0].bids) == 50
    assert books[0].update_id < books[1].update_id


def _later(first: tuple[int, int] | None, second: tuple[int, int] | None) -> tuple[int, int]:
    """The second quarter's sequences: as long as the first's, and behind them."""
    assert first is not None
    assert second is not None
    assert second[0] > first[1]
    return second[0], second[0] + first[1] - first[0]
