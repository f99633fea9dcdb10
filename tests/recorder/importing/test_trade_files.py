"""The exchange's trade files, by the samples of protocol section 9.3."""

from __future__ import annotations

import gzip
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.trade_files import COLUMNS, columns_of, read_row
from recorder.archive import open_archive
from recorder.importing.run import ImportPlan, Report, run_import
from recorder.importing.trade_files import TradeFile
from recorder.verify import verify
from schemas.errors import ConfigError, DataError
from schemas.names import Category

SPOT = """id,timestamp,price,volume,side,rpi
1,1788220800624,78580.8,0.00016,buy,0
2,1788220800624,78580.9,1.5,sell,1
3,1788307199999,78580.9,2,sell,0
"""
LINEAR = """timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional,RPI
1788220800.1169,BTCUSDT,Sell,0.001,78541.70,MinusTick,555a5c11-8b1d-5c5f-81b1-7f0bfc2ef2f3,7.854169999999999e+09,0.001,78.54169999999999,0
1788220800.1169,BTCUSDT,Buy,2,78541.80,PlusTick,655a5c11-8b1d-5c5f-81b1-7f0bfc2ef2f3,1.570836e+13,2,157083.6,1
"""
INVERSE = """timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional
1788220801.0925,BTCUSD,Sell,79,78513.00,PlusTick,e94f18f9-4bc4-5530-87ee-d067f8267a62,100620.27944416848,79,0.0010062027944416848
"""
OPTION = """trade_id,trade_seq,timestamp,instrument_name,direction,price,amount,iv,index_price,mark_price,mark_iv
398583df-bc95-58d6-ac59-3effd57c5c0d,74394749937,1788220801096,BTC-1SEP26-78500-P-USDT,Sell,300,0.04,0.3597,78581.70613787,294.89701743,0.3544
"""


def gzipped(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()))
    return path


def import_trades(data: Path, file: Path, category: Category, **options: object) -> Report:
    source = TradeFile(file, spot=category is Category.SPOT)
    return run_import(ImportPlan([source], "trades", category, **options), data)  # type: ignore[arg-type]


def rows(data: Path) -> list[dict[str, Any]]:
    with open_archive(data) as archive:
        found = archive.sql(
            "SELECT symbol, epoch_ns(receive_time) received, epoch_ms(match_time) matched, epoch_ms(push_time) pushed, "
            "trade_id, side, price_mantissa, price_exponent, size_mantissa, size_exponent, tick_direction, is_rpi, "
            "cross_sequence, mark_price, index_price, mark_iv, trade_iv, source FROM trades ORDER BY sequence"
        ).table()
    out = found.to_pylist()
    for row in out:
        for name in ("price", "size"):
            row[name] = Decimal(row.pop(f"{name}_mantissa")).scaleb(row.pop(f"{name}_exponent"))
    return out


NOTHING = {
    "tick_direction": None, "is_rpi": None, "cross_sequence": None, "mark_price": None, "index_price": None,
    "mark_iv": None, "trade_iv": None, "source": "import",
}  # fmt: skip


def test_spot(tmp_path: Path) -> None:
    file = gzipped(tmp_path / "BTCUSDT_2026-09-01.csv.gz", SPOT)
    report = import_trades(tmp_path / "data", file, Category.SPOT)
    assert (report.topics, report.undecodable, report.complete) == (1, 0, True)
    first = 1_788_220_800_624
    common = NOTHING | {"symbol": "BTCUSDT", "received": first * 10**6, "matched": first, "pushed": first}
    assert rows(tmp_path / "data") == [
        common
        | {
            "trade_id": "2026-09-01#1",
            "side": "buy",
            "price": Decimal("78580.8"),
            "size": Decimal("0.00016"),
            "is_rpi": False,
        },
        common
        | {
            "trade_id": "2026-09-01#2",
            "side": "sell",
            "price": Decimal("78580.9"),
            "size": Decimal("1.5"),
            "is_rpi": True,
        },
        common
        | {
            "received": 1_788_307_199_999 * 10**6,
            "matched": 1_788_307_199_999,
            "pushed": 1_788_307_199_999,
            "trade_id": "2026-09-01#3",
            "side": "sell",
            "price": Decimal("78580.9"),
            "size": Decimal(2),
            "is_rpi": False,
        },
    ]
    assert not verify(tmp_path / "data", deep=True).failures


@pytest.mark.parametrize("header", [True, False])
def test_linear(tmp_path: Path, header: bool) -> None:
    text = LINEAR if header else LINEAR.split("\n", 1)[1]
    file = gzipped(tmp_path / "BTCUSDT2026-09-01.csv.gz", text)
    import_trades(tmp_path / "data", file, Category.LINEAR)
    common = NOTHING | {
        "symbol": "BTCUSDT",
        "received": 1_788_220_800_116_900_000,
        "matched": 1_788_220_800_116,
        "pushed": 1_788_220_800_116,
    }
    assert rows(tmp_path / "data") == [
        common
        | {
            "trade_id": "555a5c11-8b1d-5c5f-81b1-7f0bfc2ef2f3",
            "side": "sell",
            "price": Decimal("78541.70"),
            "size": Decimal("0.001"),
            "tick_direction": "MinusTick",
            "is_rpi": False,
        },
        common
        | {
            "trade_id": "655a5c11-8b1d-5c5f-81b1-7f0bfc2ef2f3",
            "side": "buy",
            "price": Decimal("78541.80"),
            "size": Decimal(2),
            "tick_direction": "PlusTick",
            "is_rpi": True,
        },
    ]
    assert not verify(tmp_path / "data", deep=True).failures


def test_inverse_sizes_are_contracts(tmp_path: Path) -> None:
    file = gzipped(tmp_path / "BTCUSD2026-09-01.csv.gz", INVERSE)
    import_trades(tmp_path / "data", file, Category.INVERSE)
    (row,) = rows(tmp_path / "data")
    assert (row["symbol"], row["size"], row["is_rpi"]) == ("BTCUSD", Decimal(79), None)
    assert row["received"] == 1_788_220_801_092_500_000


def test_options_go_to_their_contract(tmp_path: Path) -> None:
    file = tmp_path / "2026-09-01_BTC_USDT.trades.csv.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("2026-09-01_BTC_USDT.trades.csv", OPTION)
    import_trades(tmp_path / "data", file, Category.OPTION)
    (row,) = rows(tmp_path / "data")
    assert row == NOTHING | {
        "symbol": "BTC-1SEP26-78500-P-USDT",
        "received": 1_788_220_801_096 * 10**6,
        "matched": 1_788_220_801_096,
        "pushed": 1_788_220_801_096,
        "trade_id": "398583df-bc95-58d6-ac59-3effd57c5c0d",
        "side": "sell",
        "price": Decimal(300),
        "size": Decimal("0.04"),
        "cross_sequence": 74_394_749_937,
        "mark_price": Decimal("294.89701743"),
        "index_price": Decimal("78581.70613787"),
        "mark_iv": Decimal("0.3544"),
        "trade_iv": Decimal("0.3597"),
    }
    assert not verify(tmp_path / "data", deep=True).failures


def test_a_file_of_many_rows_is_cut_and_goes_on(tmp_path: Path) -> None:
    head, row, *_ = LINEAR.splitlines()
    lines = [head]
    for number in range(5000):  # 2,500 of one millisecond, then others
        cells = row.split(",")
        cells[0] = "1788220800" if number < 2500 else f"{1_788_220_800 + number}"
        cells[6] = f"{number:08d}-8b1d-5c5f-81b1-7f0bfc2ef2f3"
        lines.append(",".join(cells))
    file = gzipped(tmp_path / "BTCUSDT2026-09-01.csv.gz", "\n".join(lines))
    data = tmp_path / "data"
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > 16

    plan = ImportPlan([TradeFile(file)], "trades", Category.LINEAR, segment_bytes=100_000)
    assert not run_import(plan, data, should_stop=stop).complete
    report = run_import(plan, data)
    assert report.complete
    assert report.files[0].before > 2500
    assert [row["trade_id"][:8] for row in rows(data)] == [f"{number:08d}" for number in range(5000)]
    assert not verify(data, deep=True).failures


def test_a_row_that_is_none_is_named(tmp_path: Path) -> None:
    head, good, other = LINEAR.splitlines()
    bad = [
        good.replace("Sell", "Short"),
        good.replace("78541.70", "NaN"),
        good.replace("1788220800.1169", "yesterday"),
        good.replace("MinusTick", "Sideways"),
        good + ",1",
        "é" + good,
    ]
    file = gzipped(tmp_path / "BTCUSDT2026-09-01.csv.gz", "\n".join([head, good, *bad, other]))
    with pytest.raises(DataError) as caught:
        import_trades(tmp_path / "data", file, Category.LINEAR)
    text = str(caught.value)
    for number, why in enumerate(
        ("side 'Short'", "price 'NaN'", "timestamp 'yesterday'", "'Sideways'", "12 columns"), 3
    ):
        line = next(line for line in text.splitlines() if f"line {number}:" in line)
        assert why in line
    assert "line 8:" in text
    report = import_trades(tmp_path / "data", file, Category.LINEAR, skip_bad=True)
    assert report.files[0].refused == len(bad)
    assert len(rows(tmp_path / "data")) == 2


def test_a_file_of_another_product_is_refused(tmp_path: Path) -> None:
    spot = gzipped(tmp_path / "BTCUSDT_2026-09-01.csv.gz", SPOT)
    with pytest.raises(DataError, match="expected the columns of the exchange's trade files"):
        import_trades(tmp_path / "data", spot, Category.LINEAR)
    linear = gzipped(tmp_path / "ETHUSDT_2026-09-01.csv.gz", LINEAR)
    with pytest.raises(DataError, match="expected the columns of the exchange's trade files"):
        import_trades(tmp_path / "data", linear, Category.SPOT)
    with pytest.raises(ConfigError, match="no symbol in the name"):
        TradeFile(tmp_path / "trades.csv.gz", spot=True)


def test_numbers_are_decimals() -> None:
    columns = COLUMNS[3]
    cells = LINEAR.splitlines()[1].split(",")
    cells[0], cells[3], cells[4] = "1600000000", "1e-3", "1.5E+2"
    trade = read_row(columns, ",".join(cells))
    assert trade.match_ns == 1_600_000_000 * 10**9
    assert (trade.row["v"], trade.row["p"]) == ("0.001", "150")
    cells[0] = "1788220800.1234567891"  # a float would say …123456716
    assert read_row(columns, ",".join(cells)).match_ns == 1_788_220_800_123_456_789


def test_columns_are_told_by_the_first_line() -> None:
    for columns in COLUMNS:
        assert columns_of(columns) == columns
    assert columns_of("1,1788220800624,78580.8,0.00016,buy") == COLUMNS[0]
    assert columns_of(INVERSE.splitlines()[1]) == COLUMNS[2]
    assert columns_of("open_time,open,high") is None
