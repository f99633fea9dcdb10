"""Connections that are closed again and again: no trade is missing in the archive, and every gap says so."""

from __future__ import annotations

import json
from pathlib import Path

from recorder.archive import open_archive
from recorder.status import live_status
from tests.processes import gateway, recording, tapebook

COUNT = 900
"""Not more than the exchange tells of at a time: however long a gap is, it can be filled."""
STEP_NS = 4_500_000
START_NS = 1_760_000_000_000_000_000


def test_no_trade_is_missing(tmp_path: Path) -> None:
    capture = tmp_path / "capture"
    with capture.open("w") as file:
        for number in range(COUNT):
            now_ns = START_NS + number * STEP_NS
            one = {
                "T": now_ns // 1_000_000,
                "s": "BTCUSDT",
                "S": "Buy",
                "v": "0.5",
                "p": "100.5",
                "i": f"id-{number}",
            }
            frame = {
                "topic": "publicTrade.BTCUSDT",
                "type": "snapshot",
                "ts": now_ns // 1_000_000,
                "data": [one],
            }
            file.write(f"{now_ns} {json.dumps(frame, separators=(',', ':'))}\n")
    data = tmp_path / "data"

    def has_all() -> bool:
        live = live_status(data, "linear")
        if live is None or live["backfill"]["healed"] == 0:
            return False
        return bool(live["frames"] + live["backfill"]["rows"] >= COUNT)

    with (
        gateway(tmp_path / "gateway", "--replay", capture, "--fault", "close=2.2") as exchange,
        recording(
            tmp_path / "record", exchange.url, data, "--symbols", "BTCUSDT", "--topics", "publicTrade"
        ) as running,
    ):
        running.until(has_all, "every trade")
        done = running.stop()
    assert done.code == 0, done.err
    with open_archive(data) as archive:
        trades = archive.sql("SELECT trade_id, source FROM trades").table().to_pylist()
        gaps = archive.sql("SELECT cause, healed_by, start_match_time FROM gaps").table().to_pylist()
        (last,) = archive.sql("SELECT max(match_time) AS match_time FROM trades").table().to_pylist()
    assert len(trades) == COUNT
    assert {row["trade_id"] for row in trades} == {f"id-{number}" for number in range(COUNT)}
    assert any(row["source"] == "backfill" for row in trades)
    assert gaps
    # a cut may come so late that the recording ends before it is asked about: nothing was lost by then
    unhealed = [gap for gap in gaps if gap["healed_by"] != "backfill"]
    assert all(gap["start_match_time"] == last["match_time"] for gap in unhealed)
    assert len(unhealed) < len(gaps)
    verified = tapebook("verify", "--data", data)
    assert verified.code == 0, verified.out
