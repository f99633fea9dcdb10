"""The view `lateness`, over an archive written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recorder.archive import open_archive
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

NOON_MS = NOON_NS // MS


def row(sequence: int, late_ms: float, *, matched_ms: int = 3, **values: Any) -> dict[str, Any]:
    """A row that came so long after it was pushed, which was ``matched_ms`` after it was matched."""
    return {
        "sequence": sequence,
        "receive_time": NOON_NS + int(late_ms * MS),
        "push_time": NOON_MS,
        "match_time": NOON_MS - matched_ms,
    } | values


def test_what_counts_and_what_does_not(tmp_path: Path) -> None:
    books = [
        row(1, 50, kind="snapshot", update_id=1, matched_ms=60_000),  # an idle book: matched long ago
        row(2, 2, update_id=2),
        row(2, 2, kind="keyframe", update_id=2),
        row(3, 4.5, update_id=3),
        row(4, 9, update_id=9, applied=False),
        row(5, 7, kind="snapshot", update_id=5, depth=1),
        row(6, 3000, kind="snapshot", update_id=5, depth=1, matched_ms=3003),  # says the same again
        row(7, 6, kind="snapshot", update_id=6, depth=1),
    ]
    price = {"price_mantissa": 1, "size_mantissa": 1}
    trades = [row(8, 11, matched_ms=5, **price), row(8, 11, matched_ms=4, **price), row(9, -2, **price)]
    ticker = {key: value for key, value in row(10, 20).items() if key != "match_time"}
    HandmadeArchive(tmp_path).segment(
        NOON_NS,
        {
            (Table.BOOK_UPDATES, "BTCUSDT"): books,
            (Table.TRADES, "BTCUSDT"): trades,
            (Table.TICKERS, "BTCUSDT"): [ticker],
        },
    )
    with open_archive(tmp_path) as archive:
        rows = archive.sql(
            "SELECT sequence, class, push_ms, match_ms FROM lateness ORDER BY sequence"
        ).table()
    found = [tuple(each.values()) for each in rows.to_pylist()]
    assert found == [
        (1, "orderbook.50", 50.0, None),
        (2, "orderbook.50", 2.0, 5.0),
        (3, "orderbook.50", 4.5, 7.5),
        (5, "orderbook.1", 7.0, 10.0),
        (7, "orderbook.1", 6.0, 9.0),
        (8, "publicTrade", 11.0, 15.0),
        (9, "publicTrade", -2.0, 1.0),
        (10, "tickers", 20.0, None),
    ]
