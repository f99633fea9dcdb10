"""The ledger: whole lines, at once, with the check sums of what was really sent."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from recorder.gateway.books import FrameInfo
from recorder.gateway.ledger import Ledger
from schemas.errors import ConfigError, StoreError

INFO = FrameInfo("orderbook.50.BTCUSDT", 7, "delta")


def read(path: Path) -> list[dict[str, object]]:
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text("of an earlier run\n")
    ledger = Ledger(path)
    ledger.event("open", 3)
    ledger.event("subscribe", 3, topic=INFO.topic)
    ledger.frame(3, INFO, b"{}", rebuilt=False)
    ledger.frame(3, FrameInfo('odd"topic', None, None), b"{", rebuilt=True, fault="corrupt")
    ledger.fault(3, "drop", INFO, b"abc")
    ledger.fault(3, "close")
    assert read(path) == []
    ledger.flush()
    opened, subscribed, frame, damaged, dropped, closed = read(path)
    assert opened == {"event": "open", "connection": 3}
    assert subscribed == {"event": "subscribe", "connection": 3, "topic": INFO.topic}
    assert isinstance(frame.pop("sent_ns"), int)
    assert frame == {
        "event": "frame",
        "connection": 3,
        "topic": INFO.topic,
        "u": 7,
        "crc32": f"{zlib.crc32(b'{}'):08x}",
        "type": "delta",
        "rebuilt": False,
    }
    assert (damaged["topic"], damaged["u"], damaged["type"]) == ('odd"topic', None, None)
    assert (damaged["rebuilt"], damaged["fault"]) == (True, "corrupt")
    assert dropped == {
        "event": "fault",
        "fault": "drop",
        "connection": 3,
        "topic": INFO.topic,
        "u": 7,
        "crc32": f"{zlib.crc32(b'abc'):08x}",
    }
    assert (closed["fault"], closed["topic"], closed["crc32"]) == ("close", None, None)
    ledger.event("close", 3)
    ledger.close()
    assert read(path)[-1] == {"event": "close", "connection": 3}


def test_a_ledger_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a file that can be written"):
        Ledger(tmp_path / "no such directory" / "ledger.jsonl")


def test_a_full_disk_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    ledger = Ledger(Path("/dev/full"))
    ledger.event("open", 1)
    with pytest.raises(StoreError, match="No space left"):
        ledger.flush()
    ledger.close()
