"""`tapebook trade watch`: what there is, then what changes; in a process of its own, as it runs until Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tests.execution.commands.conftest import Desk
from tests.execution.commands.test_placing import resting_price
from tests.processes import PATIENCE_S, ROOT, Running, Tally, json_lines


def watching(desk: Desk, scratch: Path, *arguments: object) -> Running:
    return Running(["trade", "watch", "--config", desk.config, *arguments], scratch)


def test_what_there_is_and_what_changes(desk: Desk, tmp_path: Path) -> None:
    price = resting_price(desk)
    (before,) = desk.rows("buy", "BTCUSDT", "0.01", "--price", price)
    scratch = tmp_path.parent / f"{tmp_path.name}-watch"
    with watching(desk, scratch, "--format", "json") as running:
        connected = Tally(scratch / "out", '"event":"connected"')
        running.until(lambda: connected() == 1, "it was connected")
        first = json_lines(running.out)
        assert [row["order_id"] for row in first if row["event"] == "order"] == [before["order_id"]]
        assert {row["coin"] for row in first if row["event"] == "coin"} >= {"USDT", "BTC"}
        assert not [row for row in first if row["event"] in ("position", "fill")]

        desk.rows("cancel", before["order_id"])
        (bought,) = desk.rows("buy", "BTCUSDT", "0.01", "--market")
        cancelled = Tally(scratch / "out", '"event":"order"', '"Cancelled"')
        filled = Tally(scratch / "out", '"event":"fill"', bought["order_id"])
        held = Tally(scratch / "out", '"event":"position"', '"size":"0.01"')
        running.until(lambda: min(cancelled(), filled(), held()) > 0, "all was told")
        done = running.stop(signal.SIGINT)
    assert done.code == 0, done.err
    assert done.err == ""
    rows = json_lines(done.out)
    assert [row["status"] for row in rows if row.get("order_id") == before["order_id"]] == [
        "New",
        "Cancelled",
    ]
    assert "Filled" in [row.get("status") for row in rows]
    fills = [row for row in rows if row["event"] == "fill"]
    assert sum(Decimal(fill["quantity"]) for fill in fills) == Decimal("0.01"), "it may be filled in parts"
    assert {fill["order_id"] for fill in fills} == {bought["order_id"]}
    desk.said += done.out


def test_for_people_and_for_a_while(desk: Desk) -> None:
    for seconds in (2, 20, 60):
        ended = desk("watch", "--duration", seconds)
        assert ended.code == 0
        if "connected" in ended.out:
            break  # else the machine was too slow to connect within that time
    lines = ended.out.splitlines()
    assert lines[-1].split()[0] == "connected"
    assert "coin          USDT 100000" in [line.strip() for line in lines]


def test_a_wrong_key_ends_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEBOOK_API_SECRET", "another")
    ended = desk("watch")
    assert ended.code == 3
    assert ended.err


def test_it_ends_when_its_reader_leaves(desk: Desk) -> None:
    words = [sys.executable, "-m", "recorder", "trade", "watch", "--config", str(desk.config)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert b"coin" in process.stdout.readline()
            process.stdout.close()
            assert process.wait(PATIENCE_S) == 0, "though nothing changes any more"
            assert process.stderr is not None
            assert process.stderr.read() == b""
        finally:
            process.kill()
