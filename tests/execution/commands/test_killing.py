"""`tapebook trade kill`: on first, then everything cancelled, beside a client that trades too; and it stays on."""

from __future__ import annotations

import pytest

from execution.kill_switch import KillSwitch
from execution.order_journal import OrderJournal, order_files
from tests.execution.commands.conftest import Desk
from tests.execution.commands.test_placing import resting_price


def test_it_cancels_stays_on_and_is_released(desk: Desk) -> None:
    price = resting_price(desk)
    assert desk("kill", "--status").out == f"the kill switch of {desk.directory}/trading is off\n"
    desk.rows("buy", "BTCUSDT", "0.01", "--price", price)
    ended = desk("kill", "the book looks wrong")
    assert ended.code == 0
    assert "is on: the book looks wrong" in ended.err
    assert ended.err.splitlines()[-1] == "tapebook: nothing is open"
    assert desk.rows("orders") == []
    assert desk.rows("orders", "--closed")[0]["status"] == "Cancelled"
    said = "\n".join(file.read_text() for file in order_files(desk.directory / "trading"))
    assert '"kind":"kill switch","words":"the book looks wrong"' in said

    for more in ((), ("--dry-run",)):
        refused = desk("buy", "BTCUSDT", "0.01", "--price", price, *more, "--format", "json")
        assert refused.code == 2
        assert refused.rows[0]["rule"] == "kill switch"
        assert "not sent (kill switch): the book looks wrong; it stays on until it is released" in refused.err
    (status,) = desk.rows("kill", "--status")
    assert (status["on"], status["reason"]) == (True, "the book looks wrong")
    assert "on since 20" in desk("kill", "--status").out
    assert desk("cancel-all").code == 0, "cancels are never held back"

    assert desk("kill", "--release").code == 0
    assert desk.rows("kill", "--status") == [{"on": False, "reason": None, "since": None}]
    assert desk("kill", "--release").err.endswith("was off\n")
    (row,) = desk.rows("buy", "BTCUSDT", "0.01", "--price", price)
    assert row["status"] == "New"
    assert len(desk.rows("cancel-all")) == 1


def test_beside_a_client_that_hangs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the directory is left some time; then the orders are cancelled all the same."""
    monkeypatch.setattr("execution.commands.killing._ITS_TURN_S", 0.5)
    desk.rows("buy", "BTCUSDT", "0.01", "--price", resting_price(desk))
    with OrderJournal(desk.directory / "trading"):
        ended = desk("kill", "it hangs")
    assert ended.code == 0
    assert "a client trades here: it cancels everything once it sees the switch" in ended.err
    assert "after 0.5 s 1 orders are open: cancelling them from here" in ended.err
    assert desk.rows("orders") == []
    assert KillSwitch(desk.directory / "trading").reason == "it hangs"


def test_a_damaged_journal_holds_no_kill_up(desk: Desk) -> None:
    desk.rows("buy", "BTCUSDT", "0.01", "--price", resting_price(desk))
    newest = order_files(desk.directory / "trading")[-1]
    newest.write_bytes(b"no line\n" + newest.read_bytes())
    ended = desk("kill", "why")
    assert ended.code == 0
    assert "cancelling without the order journal" in ended.err
    assert desk.rows("orders") == []


def test_it_goes_on_before_anybody_is_asked(desk: Desk) -> None:
    ended = desk("kill", "no network", "--endpoint", "ws://127.0.0.1:9")
    assert ended.code == 3
    assert "is on: no network" in ended.err
    assert KillSwitch(desk.directory / "trading").is_on
    ended = desk("kill", "another reason", "--endpoint", "wss://stream.bybit.com")
    assert ended.code == 2
    assert "is on, and was before: no network" in ended.err


@pytest.mark.parametrize("arguments", [(), ("why", "--release"), ("--status", "--release"), (" ",)])
def test_usage(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert desk("kill", *arguments).code == 2
    assert not (desk.directory / "trading").exists()
