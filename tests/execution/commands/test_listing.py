"""`tapebook trade orders|positions|balance`, and what all commands share: the key, the endpoint, the words."""

from __future__ import annotations

import pytest

from tests.execution.commands.conftest import KEY, SECRET, Desk
from tests.processes import tapebook


def test_an_empty_account(desk: Desk) -> None:
    assert desk.rows("orders") == desk.rows("orders", "--closed") == desk.rows("positions") == []
    assert desk("orders").out == "no open orders\n"
    assert desk("positions").out == "no open positions\n"


def test_the_balance_has_all_digits(desk: Desk) -> None:
    coins = {row["coin"]: row for row in desk.rows("balance")}
    assert coins["USDT"] == {"coin": "USDT", "wallet": "100000", "equity": "100000", "locked": "0"}
    table = desk("balance").out.splitlines()
    assert table[0].split() == ["coin", "wallet", "equity"], "nothing is locked, so there is no such column"
    assert ["USDT", "100000", "100000"] in [line.split() for line in table]


def test_looking_needs_no_right_to_trade_and_leaves_nothing_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPEBOOK_API_KEY", f"{KEY}-looker")
    assert desk.rows("balance")
    assert sorted(path.name for path in desk.directory.iterdir()) == ["trade.toml"]


def test_a_wrong_secret(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPEBOOK_API_SECRET", "another")
    ended = desk("orders")
    assert ended.code == 3
    assert "code 10004" in ended.err
    assert KEY not in ended.err, "the exchange quotes the key"


def test_no_key_at_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAPEBOOK_API_KEY")
    ended = desk("orders")
    assert ended.code == 2
    assert "set TAPEBOOK_API_KEY and TAPEBOOK_API_SECRET" in ended.err


def test_a_key_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    file = desk.directory.parent / f"{desk.directory.name}-key.toml"
    file.write_text(f'api_key = "{KEY}-looker"\nsecret = "{SECRET}"\n')
    file.chmod(0o600)
    monkeypatch.delenv("TAPEBOOK_API_KEY")
    assert desk.rows("balance", "--key-file", file)
    file.chmod(0o644)
    ended = desk("balance", "--key-file", file)
    assert ended.code == 2
    assert "chmod 600" in ended.err


def test_no_exchange_there(desk: Desk) -> None:
    ended = desk("balance", "--endpoint", "ws://127.0.0.1:9")
    assert ended.code == 3
    assert "Cannot connect" in ended.err
    assert "Traceback" not in ended.err


def test_real_money_has_to_be_asked_for(desk: Desk) -> None:
    ended = desk("balance", "--endpoint", "wss://stream.bybit.com")
    assert ended.code == 2
    assert "without --live" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("orders", "--category", "spread"), "orders are placed in spot"),
        (("orders", "--count", "51"), "less than or equal to 50"),
        (("orders", "--directory", ""), "--directory is empty"),
        (("balance", "--format", "xml"), "xml"),
        (("balances",), "balances"),
    ],
)
def test_usage(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    ended = desk(*arguments)
    assert ended.code == 2
    assert said in ended.err


def test_help_shows_examples_and_every_option() -> None:
    ended = tapebook("trade", "orders", "--help")
    assert ended.code == 0
    for word in (
        "tapebook trade orders --closed --count 5 --format json",
        "--config",
        "--live",
        "--key-file",
    ):
        assert word in ended.out
