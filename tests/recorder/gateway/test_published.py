"""The account of what was published, and the checksum of a book."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from recorder.gateway import GatewayOptions
from recorder.gateway.books import FrameInfo
from recorder.gateway.ledger import Ledger
from recorder.gateway.published import Published, book_checksum
from schemas.errors import ConfigError
from schemas.names import Category

TOPIC = "orderbook.50.BTCUSDT"


def test_the_checksum_is_of_numbers_not_of_texts() -> None:
    expected = f"{zlib.crc32(b'10.5:1;10:20|11:0.003'):08x}"
    assert book_checksum([("10.50", "1.000"), ("10", "20")], [("11.0", "0.0030")]) == expected
    assert book_checksum([], []) == f"{zlib.crc32(b'|'):08x}"
    assert book_checksum([("1", "2")], []) != book_checksum([], [("1", "2")])


def message(kind: str, update_id: int, bids: list[list[str]]) -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": [["9", "1"]], "u": update_id, "seq": 40 + update_id}
    return json.dumps({"topic": TOPIC, "type": kind, "ts": 1, "data": data, "cts": 1}).encode()


def test_a_book_follows_what_is_published(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    published = Published(ledger, Category.LINEAR)
    published.note(FrameInfo(TOPIC, 7, "delta"), message("delta", 7, [["5", "1"]]))
    published.note(FrameInfo(TOPIC, 8, "snapshot"), message("snapshot", 8, [["5", "1"]]), rebuilt=True)
    published.note(FrameInfo(TOPIC, 9, "delta"), message("delta", 9, [["5", "0"], ["4", "2.50"]]))
    published.note(FrameInfo("publicTrade.BTCUSDT", None, "snapshot"), b'{"type":"snapshot","data":[]}')
    ledger.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["u"], line["seq"], line["book"], line["rebuilt"]) for line in lines] == [
        (7, None, None, False),
        (8, 48, book_checksum([("5", "1")], [("9", "1")]), True),
        (9, 49, book_checksum([("4", "2.5")], [("9", "1")]), False),
        (None, None, None, False),
    ]
    assert lines[2]["crc32"] == f"{zlib.crc32(message('delta', 9, [['5', '0'], ['4', '2.50']])):08x}"


def test_books_need_a_ledger() -> None:
    with pytest.raises(ConfigError, match="--ledger-books"):
        GatewayOptions(simulate=1, ledgers_books=True)
