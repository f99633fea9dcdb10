"""All topics of a category at once, over two lines, in several segments: every table has its rows, and what is rolled
from the journal is the same after it was compressed, which cuts it into other batches.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.bybit.topics import recorded_prefixes
from recorder.archive import open_archive
from recorder.roll import roll_data, roll_lock
from recorder.verify import verify
from schemas.names import Category
from tests.processes import Tally, gateway, json_lines, recording, tapebook

ALWAYS = {"book_updates", "trades", "tickers", "instruments_now", "coverage", "raw_records"}
CANDLES = {"klines", "candles", "price_limits", "rpi_book_updates"}
EXPECTED = {
    Category.SPOT: ALWAYS | CANDLES,
    Category.LINEAR: ALWAYS | CANDLES | {"adl_alerts", "mark_prices", "index_prices", "funding_rates"},
    Category.INVERSE: ALWAYS | CANDLES | {"adl_alerts", "mark_prices", "index_prices", "funding_rates"},
    Category.OPTION: ALWAYS | {"mark_prices", "index_prices"},
    Category.SPREAD: ALWAYS,
}
CATEGORIES = list(Category) if os.environ.get("TAPEBOOK_NIGHTLY") else [Category.LINEAR, Category.SPOT]
FULL_ELSEWHERE = "orderbook.full"
"""Begins with an answer over REST, and the simulated exchange has it on spot alone."""


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_recording_of_everything_over_two_lines(tmp_path: Path, category: Category) -> None:
    prefixes = [
        prefix
        for prefix in recorded_prefixes(category)
        if not (prefix.startswith("kline.") and prefix not in ("kline.1", "kline.D"))
        and (prefix != FULL_ELSEWHERE or category is Category.SPOT)
    ]
    data, ledger = tmp_path / "data", tmp_path / "ledger.jsonl"
    options = ("--simulate", 7, "--category", category.value, "--speed", 10, "--ledger", ledger)
    with gateway(tmp_path / "gateway", *options) as served:
        asked = ("--category", category.value, "--symbols", "all", "--topics", ",".join(prefixes))
        more = ("--lines", 2, "--segment-seconds", 1, "--segment-mib", 4)
        trades = Tally(ledger, '"publicTrade.')
        with recording(tmp_path / "recorder", served.url, data, *asked, *more) as recorder:
            recorder.until(
                lambda: trades() >= (100 if category in (Category.OPTION, Category.SPREAD) else 800), "trades"
            )
            done = recorder.stop()
    assert done.code == 0, done.err
    with open_archive(data) as archive:
        rows = {
            name: archive.sql(f"SELECT count(*) AS n FROM {name}").table()["n"][0].as_py()
            for name in sorted(EXPECTED[category])
        }
    assert [name for name, count in rows.items() if not count] == []
    assert tapebook("journal", "recompress", "--data", data).code == 0
    stated = json_lines(tapebook("journal", "stat", "--data", data, "--format", "json").out)
    assert "zstd" in {line.get("compression") for line in stated}
    result = verify(data, deep=True)
    assert [str(finding) for finding in result.findings if finding.fails] == []
    assert result.rebuilt >= 1
    with roll_lock(data, wait=True):
        roll_data(data)
    assert verify(data).findings == result.findings
    assert_a_capture_of_it_has_each_frame_once(data, category)


def assert_a_capture_of_it_has_each_frame_once(data: Path, category: Category) -> None:
    """What is imported of its lines has the same rows, but of full books, which begin over REST."""
    capture, again = data.with_name("capture.zst"), data.with_name("again")
    done = tapebook("journal", "cat", "--data", data, "--once", "-o", capture)
    assert done.code == 0, done.err
    assert "several lines" not in done.err
    asked = ("--category", category.value, "--name", "again", "--data", again, "--environment", "gateway")
    done = tapebook("import", "capture", capture, *asked)
    assert done.code == 0, done.err
    assert messages(again) == messages(data)


def messages(data: Path) -> dict[str, int]:
    """Rows of messages, by table; trades by their ids."""
    books = "kind <> 'keyframe' AND depth <> 32767"
    tables = {"book_updates": books, "rpi_book_updates": books, "trades": "source = 'stream'"}
    tables |= dict.fromkeys(
        ("tickers", "klines", "price_limits", "liquidations", "adl_alerts", "insurance"), "true"
    )
    # on a slow machine the lines may be read further apart than trades are known again (docs/lines.md)
    counted = {"trades": "DISTINCT trade_id"}
    with open_archive(data) as archive:
        return {
            name: archive.sql(f"SELECT count({counted.get(name, '*')}) AS n FROM {name} WHERE {where}")
            .table()["n"][0]
            .as_py()
            for name, where in tables.items()
        }
