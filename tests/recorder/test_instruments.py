"""The table `instruments`, from the journal to SQL."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from recorder.archive import open_archive
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.notes import Gone
from tests.recorder.recordings import SECOND, Tape, files_of, market

PATH = "/v5/market/instruments-info?category=linear&limit=1000"


def _body(**tick_sizes: str) -> bytes:
    rows = [
        {
            "symbol": symbol,
            "status": "Trading",
            "priceFilter": {"tickSize": tick},
            "launchTime": "1585526400000",
        }
        for symbol, tick in tick_sizes.items()
    ]
    return json.dumps({"retCode": 0, "retMsg": "OK", "result": {"list": rows}, "time": 1}).encode()


def _record(data: Path) -> None:
    tape = Tape(data)
    tape.capture.rest(PATH, _body(BTCUSDT="0.1", ETHUSDT="0.01"))
    tape.frames(market(0, 60))
    tape.capture.rest(PATH, _body(BTCUSDT="0.1", ETHUSDT="0.01"))
    tape.rotate()
    tape.capture.rest(PATH, _body(BTCUSDT="0.1", ETHUSDT="0.01"))
    tape.now_ns += SECOND
    tape.capture.rest(PATH, _body(BTCUSDT="0.01", ADAUSDT="0.0001"))
    tape.capture.note(Gone(symbols=["ETHUSDT"]))
    tape.stop()


def _rows(data: Path, sql: str) -> list[dict[str, Any]]:
    with open_archive(data) as archive:
        return archive.sql(sql).table().to_pylist()


def test_one_row_per_change_over_segments(tmp_path: Path) -> None:
    _record(tmp_path)
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []
    rows = _rows(
        tmp_path,
        "SELECT category, symbol, kind, tick_size, epoch_ms(launch_time) AS launch FROM instruments "
        "ORDER BY sequence, symbol",
    )
    assert [(row["symbol"], row["kind"], row["tick_size"]) for row in rows] == [
        ("BTCUSDT", "listed", Decimal("0.1")),
        ("ETHUSDT", "listed", Decimal("0.01")),
        ("ADAUSDT", "listed", Decimal("0.0001")),
        ("BTCUSDT", "changed", Decimal("0.01")),
        ("ETHUSDT", "gone", None),
    ]
    assert {row["category"] for row in rows} == {"linear"}
    assert [row["launch"] for row in rows] == [1585526400000] * 4 + [None]
    now = _rows(tmp_path, "SELECT symbol, tick_size FROM instruments_now ORDER BY symbol")
    assert now == [
        {"symbol": "ADAUSDT", "tick_size": Decimal("0.0001")},
        {"symbol": "BTCUSDT", "tick_size": Decimal("0.01")},
    ]


def test_the_same_segment_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _record(tmp_path / name)
        roll_data(tmp_path / name)
    one, two = (files_of(tmp_path / name / "archive" / "instruments") for name in ("one", "two"))
    assert len(one) == 2
    assert one == two
