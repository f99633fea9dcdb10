"""recorder.sql.database: sessions, settings, readers beside each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recorder import archive as archives
from recorder.archive import Archive
from schemas.errors import ConfigError
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = [
        {
            "sequence": number,
            "receive_time": NOON_NS + number * MS,
            "push_time": NOON_NS // MS + number,
            "match_time": NOON_NS // MS + number,
            "price_mantissa": 100 + number,
            "size_mantissa": 1,
        }
        for number in range(5)
    ]
    HandmadeArchive(tmp_path).segment(NOON_NS, {(Table.TRADES, "BTCUSDT"): rows})
    return tmp_path


def value(archive: Archive, sql: str) -> Any:
    ((found,),) = (row.values() for row in archive.sql(sql).table().to_pylist())
    return found


def test_settings_reach_duckdb_and_stay(data: Path) -> None:
    with archives.open(data, memory_limit="300MB", threads=1) as archive:
        assert value(archive, "SELECT current_setting('threads')") == 1
        assert value(archive, "SELECT current_setting('memory_limit')") == "286.1 MiB"
        with pytest.raises(ConfigError):
            archive.sql("SET threads = 8")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory_limit": "4"}, "such as 4GB"),
        ({"memory_limit": "'; DROP"}, "such as 4GB"),
        ({"threads": 0}, "expected 1 or more"),
    ],
)
def test_what_is_no_setting_is_refused_before_anything_is_read(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        archives.open(tmp_path / "absent", **settings)


def test_a_query_beyond_the_memory_limit_spills(data: Path) -> None:
    with archives.open(data, memory_limit="100MB", threads=1) as archive:
        sql = "SELECT max(x) FROM (SELECT hash(range) AS x FROM range(12_000_000) ORDER BY x)"
        assert value(archive, sql) > 0


def test_sessions_are_used_again_however_a_result_ended(data: Path) -> None:
    with archives.open(data) as archive:
        counts = "SELECT count(*) FROM trades"
        assert value(archive, counts) == 5
        database = archive._opened()
        session = database.session()
        database.release(session)
        half_read = archive.sql("SELECT * FROM range(1_000_000)")
        next(iter(half_read))
        assert database.session() is not session  # it is in use: another is made
        half_read.close()
        assert database.session() is session
        database.release(session)
        for wrong in ("SELEC", "SELECT nothing FROM trades", "SELECT 1; SELECT 2"):
            with pytest.raises(ConfigError):
                archive.sql(wrong)
            assert database.session() is session
            database.release(session)
        with pytest.raises(ConfigError, match="too far"):
            archive.sql(
                "SELECT CASE WHEN range > 400000 THEN error('too far') END FROM range(1000000)"
            ).table()
        assert value(archive, counts) == 5
        assert database.session() is session


def test_threads_query_one_archive_at_once(data: Path) -> None:
    def ask(number: int) -> int:
        return sum(
            int(value(archive, f"SELECT sum(price_mantissa) + {number} FROM trades")) for _ in range(5)
        )

    with archives.open(data) as archive, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))) == [5 * (510 + number) for number in range(16)]


def test_rows_become_frames(data: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("polars")
    with archives.open(data) as archive:
        sql = "SELECT symbol, price, receive_time FROM trades ORDER BY sequence"
        assert list(archive.sql(sql).pandas()["price"]) == [1.0, 1.01, 1.02, 1.03, 1.04]
        assert archive.sql(sql).polars()["symbol"].to_list() == ["BTCUSDT"] * 5
