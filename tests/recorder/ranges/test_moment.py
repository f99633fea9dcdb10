"""``book_at`` as a table: what ``recorder.book_state.book_at`` says, a row a level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recorder.archive import Archive, open_archive
from recorder.ranges import FUNCTIONS
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import BOOK, COVERAGE, cover, gap, row
from tests.recorder.ranges.asking import rows_of, simple

BOOK_AT = FUNCTIONS["book_at"]


def at(archive: Archive, ms: int, **named: Any) -> list[dict[str, Any]]:
    arguments = BOOK_AT.bind(["linear", "BTCUSDT", f"{NOON_NS + ms * MS}ns"], named)
    return rows_of(pa.Table.from_batches(list(BOOK_AT.run(archive, arguments)), BOOK_AT.schema(arguments)))


def test_a_row_a_level(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(2, 1100, bid=99, size=7), row(9, 3000, "snapshot")]
    with open_archive(simple(tmp_path, rows, [gap(9, rows[1], rows[2])])) as archive:
        found = at(archive, 1100)
        assert [(each["side"], each["level"], each["price"], each["size"]) for each in found] == [
            ("bid", 1, 1.0, 1.0),
            ("bid", 2, 0.99, 0.007),
            ("ask", 1, 2.0, 5.0),
        ]
        same = {
            "time": NOON_NS + 1100 * MS, "trusted": True, "age_ms": 0.0, "update_id": 2, "cross_sequence": 20,
            "topic": "orderbook.50.BTCUSDT", "gap": None, "rpi_size": None, "price_exponent": -2,
            "size_exponent": -3, "rpi_size_mantissa": None,
        }  # fmt: skip
        for each in found:
            assert {name: each[name] for name in same} == same
        assert [(each["price_mantissa"], each["size_mantissa"]) for each in found] == [
            (100, 1000), (99, 7), (200, 5000),
        ]  # fmt: skip
        assert [each["level"] for each in at(archive, 1100, depth=1)] == [1, 1]
        stale = at(archive, 2000)
        assert {(each["trusted"], each["gap"], each["age_ms"]) for each in stale} == {(False, "lost", 900.0)}
        assert {each["update_id"] for each in at(archive, 3000, clock="receive")} == {2}
        with pytest.raises(NoData, match="outside of what was recorded"):
            at(archive, 20_000)
        with pytest.raises(NoData, match="ask for at most 50"):
            at(archive, 1100, depth=51)
        with pytest.raises(ConfigError, match="no order book"):
            at(archive, 1100, topic="publicTrade")


def test_the_deepest_topic_that_has_a_book_then(tmp_path: Path) -> None:
    rows = [row(1, 1000, "snapshot"), row(2, 1500, "snapshot", depth=200, bid=7)]
    deep = cover(0, 1400, 10_000, topic="orderbook.200.BTCUSDT")
    HandmadeArchive(tmp_path).segment(NOON_NS, {BOOK: rows, COVERAGE: [cover(0, 0, 10_000), deep]})
    with open_archive(tmp_path) as archive:
        assert [each["topic"] for each in at(archive, 1200, depth=1)] == ["orderbook.50.BTCUSDT"] * 2
        assert [each["topic"] for each in at(archive, 1600, depth=1)] == ["orderbook.200.BTCUSDT"] * 2


def test_a_book_with_two_sizes_a_level(tmp_path: Path) -> None:
    sizes = {f"{side}_rpi_size_mantissa": [3] for side in ("bid", "ask")}
    rpi = row(1, 1000, "snapshot", depth=50, ask_size_mantissa=[5]) | sizes
    tables = {
        (Table.RPI_BOOK_UPDATES, "BTCUSDT"): [rpi],
        COVERAGE: [cover(0, 0, 10_000, topic="orderbook.rpi.BTCUSDT")],
    }
    HandmadeArchive(tmp_path).segment(NOON_NS, tables)
    with open_archive(tmp_path) as archive:
        found = at(archive, 1200, topic="orderbook.rpi")
        assert [(each["side"], each["size"], each["rpi_size"]) for each in found] == [
            ("bid", 1.0, 0.003), ("ask", 0.005, 0.003),
        ]  # fmt: skip
