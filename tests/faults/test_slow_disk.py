"""A disk that stalls under a recorder at work, over real sockets: reading pauses, memory is bounded, no loss."""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

from schemas.names import Category
from tests.ledger import expect, read_ledger
from tests.processes import Running, gateway, recording
from tests.recorded import Recorded, assert_verified

LIMIT_MIB = 0.05
PIPE_BYTES = 4096


class StalledDisk:
    """Stands in for one: a pipe to which the journal's thread writes a line after each commit, and that nobody reads.

    When it is full the thread stands still, as it does in a write that doesn't return.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self._descriptor, True)
        self._thread = threading.Thread(target=self._read)

    def recover(self) -> None:
        """The disk works again, until the recorder ends."""
        self._thread.start()

    def _read(self) -> None:
        while os.read(self._descriptor, 1 << 16):
            pass
        os.close(self._descriptor)

    def join(self) -> None:
        self._thread.join(60)


def told(recorder: Running) -> dict[str, Any]:
    found = re.search(r"status at (http://\S+)/status", recorder.err)
    if found is None:
        return {}
    with urllib.request.urlopen(found[0].removeprefix("status at "), timeout=60) as answer:
        collectors = json.load(answer)["collectors"]
    return dict(collectors[0]) if collectors else {}


def test_a_disk_that_stalls_and_recovers(tmp_path: Path) -> None:
    data, ledger = tmp_path / "data", tmp_path / "ledger.jsonl"
    disk = StalledDisk(tmp_path / "commits")
    market = ["--simulate", 5, "--category", "linear", "--symbol-count", 2, "--rate", 10, "--ledger", ledger]
    options = [
        "--symbols", "BTCUSDT,ETHUSDT", "--topics", "orderbook.50,publicTrade", "--backlog-mib", LIMIT_MIB,
        "--commit-ledger", tmp_path / "commits", "--metrics", "0",
    ]  # fmt: skip
    with (
        gateway(tmp_path / "gateway", *market) as served,
        recording(tmp_path / "run", served.url, data, *options) as recorder,
    ):
        recorder.until(lambda: bool(told(recorder).get("paused")), "reading paused")
        before = told(recorder)
        recorder.until(
            lambda: told(recorder)["pressure"]["longest_hold_seconds"] > 2, "it stayed so for two seconds"
        )
        paused = told(recorder)
        # bounded: not one frame more was taken
        assert paused["frames"] == before["frames"]
        limit = paused["pressure"]["limit_bytes"]
        assert limit < paused["backlog_bytes"] <= paused["pressure"]["peak_backlog_bytes"] < limit + (1 << 20)
        assert "reading is paused" in " ".join(paused["troubles"])
        disk.recover()
        recorder.until(lambda: not told(recorder)["paused"], "reading goes on")
        recorder.until(lambda: told(recorder)["frames"] > paused["frames"] + 100, "frames come again")
        pressure = told(recorder)["pressure"]
        assert (pressure["held"] >= 1, pressure["spared_seconds"] >= pressure["held_seconds"]) == (True, True)
        done = recorder.stop()
    assert done.code == 0, done.err
    assert "the disk has caught up" in done.err
    disk.join()
    # what waited in the sockets was late, not lost
    recorded = Recorded(data, "linear")
    frames = [frame.payload for frame in recorded.frames]
    assert not expect(read_ledger(ledger), frames, Category.LINEAR).gaps
    assert recorded.gaps == []
    assert_verified(data)
