"""The exchange's candle files, by the columns of protocol section 9.3."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import open_archive
from recorder.cli import main
from recorder.importing.kline_files import KlineFile, is_kline_file
from recorder.importing.run import ImportPlan, Report, run_import
from recorder.manifest import read_manifest
from recorder.rebuild import rebuild
from recorder.verify import verify
from schemas.errors import ConfigError, DataError
from schemas.names import Category

PREMIUM = """start_at,symbol,period,open,high,low,close
1577836800,BTCUSD,1,-0.000123,0.0002,-0.0003,0.000001
1577836860,BTCUSD,1,0.000001,0.000001,0.000001,0.000001
"""
MT4 = """2026.08.01 00:00,78000.5,78100,77900.25,78050,12.5
2026.08.01 01:00,78050,78060,78040,78055.1,0
"""


def gzipped(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def import_klines(data: Path, file: Path, category: Category, **options: object) -> Report:
    return run_import(ImportPlan([KlineFile(file, category)], "candles", category, **options), data)  # type: ignore[arg-type]


def rows(data: Path) -> list[dict[str, Any]]:
    with open_archive(data) as archive:
        return (
            archive.sql(
                "SELECT symbol, kind, interval, epoch_ms(start_time) start, open_price, high_price, low_price, "
                "close_price, volume, turnover, epoch_ns(receive_time) // 1000000 received FROM reference_klines_raw "
                "ORDER BY start_time"
            )
            .table()
            .to_pylist()
        )


def test_names_tell_what_is_in_a_file() -> None:
    for name, expected in (
        ("BTCUSD2020-01-01_premium_index.csv.gz", True),
        ("BTCUSD2020-01-01_index_price.csv.gz", True),
        ("BTCUSDT_60_2026-08-01_2026-08-31.csv.gz", True),
        ("BTCUSDT_7_2026-08-01_2026-08-31.csv.gz", False),
        ("BTCUSDT2026-08-31.csv.gz", False),
        ("BTCUSDT-2026-08.csv.gz", False),
        ("BTCUSDT_2026-08-31.csv.gz", False),
    ):
        assert is_kline_file(Path(name)) is expected, name


@pytest.mark.parametrize(
    ("name", "kind"),
    [("BTCUSD2020-01-01_index_price.csv.gz", "index"), ("BTCUSD2020-01-01_premium_index.csv", "premium")],
)
def test_index_files(tmp_path: Path, name: str, kind: str) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(PREMIUM.encode()) if name.endswith(".gz") else PREMIUM.encode())
    category = Category.LINEAR if kind == "premium" else Category.INVERSE
    report = import_klines(tmp_path / "data", file, category)
    assert (report.complete, report.files[0].records) == (True, 1)
    first, second = rows(tmp_path / "data")
    assert first == {
        "symbol": "BTCUSD", "kind": kind, "interval": "1", "start": 1577836800000,
        "open_price": Decimal("-0.000123"), "high_price": Decimal("0.0002"), "low_price": Decimal("-0.0003"),
        "close_price": Decimal("0.000001"), "volume": None, "turnover": None, "received": 1577836920000,
    }  # fmt: skip
    assert second["start"] == 1577836860000
    assert not verify(tmp_path / "data", deep=True).failures


def test_candles_for_metatrader(tmp_path: Path) -> None:
    """Its clock is three hours ahead of UTC, and it has no turnover."""
    file = gzipped(tmp_path / "BTCUSDT_60_2026-08-01_2026-08-31.csv.gz", MT4)
    import_klines(tmp_path / "data", file, Category.LINEAR)
    first, second = rows(tmp_path / "data")
    assert first == {
        "symbol": "BTCUSDT", "kind": "trade", "interval": "60", "start": 1785531600000,  # 2026-07-31T21:00:00Z
        "open_price": Decimal("78000.5"), "high_price": Decimal(78100), "low_price": Decimal("77900.25"),
        "close_price": Decimal(78050), "volume": Decimal("12.5"), "turnover": None, "received": 1785538800000,
    }  # fmt: skip
    assert (second["start"], second["volume"]) == (1785535200000, 0)


def test_many_rows_are_several_answers_and_come_once(tmp_path: Path) -> None:
    lines = [f"{1577836800 + 60 * n},BTCUSD,1,{n},{n},{n},{n}" for n in range(2500)]
    text = "\n".join(["start_at,symbol,period,open,high,low,close", *lines]) + "\n"
    file = gzipped(tmp_path / "BTCUSD2020-01-01_index_price.csv.gz", text)
    plan = ImportPlan([KlineFile(file, Category.INVERSE)], "candles", Category.INVERSE)
    first = run_import(plan, tmp_path / "data")
    assert first.complete
    assert first.files[0].records == 3
    found = rows(tmp_path / "data")
    assert [row["open_price"] for row in found] == list(range(2500))
    manifest = read_manifest(tmp_path / "data" / "archive")
    assert manifest.segments
    assert all(rebuild(manifest, entry).records for entry in manifest.segments.values())
    with pytest.raises(ConfigError, match="has it already"):
        run_import(plan, tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (
            "A_index_price.csv",
            "start,symbol\n1,2\n",
            "line 1: found 'start,symbol', expected start_at,symbol",
        ),
        (
            "A_index_price.csv",
            PREMIUM + "1577836920,BTCUSD,1,x,1,1,1\n",
            "line 4.*found 'x', expected a decimal",
        ),
        ("A_index_price.csv", PREMIUM + "1577836920.5,BTCUSD,1,1,1,1,1\n", "line 4.*expected whole seconds"),
        ("A_index_price.csv", PREMIUM + "1577836920,BTCUSD,7,1,1,1,1\n", "line 4.*found period '7'"),
        ("A_index_price.csv", PREMIUM + "1577836920,BTC/USD,1,1,1,1,1\n", "line 4.*expected a symbol"),
        ("A_index_price.csv", PREMIUM + "1577836920,BTCUSD,1,1,1,1\n", "line 4.*found 6 columns, expected 7"),
        ("A_1_2026-08-01_2026-08-31.csv", MT4 + "2026-08-01,1,1,1,1,1\n", "line 3.*a row of a candle"),
        ("A_1_2026-08-01_2026-08-31.csv", MT4 + "2026.08.01 00:00,1,1,1,1\n", "line 3.*found 5 columns"),
        ("A_1_2026-08-01_2026-08-31.csv", "\xff\n", "line 1.*a row of a candle"),
        ("A_1_2026-08-01_2026-08-31.csv", "0001.01.01 00:00,1,1,1,1,1\n", "line 1.*a row of a candle"),
    ],
)
def test_bad_rows_are_named_and_nothing_is_imported(tmp_path: Path, name: str, text: str, words: str) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=words):
        import_klines(tmp_path / "data", file, Category.INVERSE)
    assert not (tmp_path / "data" / "archive" / "manifest").exists()


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    file = tmp_path / "A_index_price.csv"
    file.write_text(PREMIUM + "1577836920,BTCUSD,1,x,1,1,1\n1577836980,BTCUSD,1,1,1,1,1\n")
    report = import_klines(tmp_path / "data", file, Category.INVERSE, skip_bad=True)
    assert report.files[0].refused == 1
    assert [row["start"] for row in rows(tmp_path / "data")] == [1577836800000, 1577836860000, 1577836980000]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = gzipped(tmp_path / "BTCUSDT_60_2026-08-01_2026-08-31.csv.gz", MT4)
    with pytest.raises(SystemExit) as ended:
        main(["import", "bybit", str(file), "--category", "option", "--data", str(tmp_path / "data")])
    assert ended.value.code == 2
    assert "klines of option: the exchange has it for" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["import", "bybit", str(file), "--category", "linear", "--data", str(tmp_path / "data")])
    assert ended.value.code == 0
    assert len(rows(tmp_path / "data")) == 2
